//! From what is asked to what is executed: all that can be decided, found or refused before the fork.

use std::ffi::{CString, OsString};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::process::{Resource, Rlimit, getegid, geteuid};

use super::users;
use crate::cgroup::Group;
use crate::driver::{Launch, StartError};
use crate::sandbox::plan::{Identity, Plan};
use crate::sandbox::report::{Failure, Step};
use crate::sandbox::sys::CStrings;

/// Where programs are looked up when the environment has no `PATH`.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Marks every process of an instance: `<digest of the state directory>/<instance>`. By it a new keeper finds
/// what a dead one left behind.
pub(super) const MARKER: &str = "ATOLL_INSTANCE";

/// Prepares a start, but for its cgroups. `nofile` is the limit of open files that the keeper was started with (its own is raised).
pub(super) fn prepare(
    launch: &Launch,
    digest: &str,
    [stdout, stderr]: [OwnedFd; 2],
    nofile: Rlimit,
) -> Result<Plan, StartError> {
    let setup = |step: String, why: String| StartError::Setup { id: launch.id.clone(), step, why };
    let program = find_program(launch)?;
    let c_string = |what: &str, bytes: Vec<u8>| {
        CString::new(bytes).map_err(|_| setup(format!("use its {what}"), "it holds a zero byte".to_owned()))
    };
    let mut arguments = Vec::new();
    for argument in &launch.command {
        arguments.push(c_string("command", argument.clone().into_bytes())?);
    }
    let mut environment = vec![c_string("name", format!("{MARKER}={digest}/{}", launch.id).into_bytes())?];
    for (name, value) in &launch.environment {
        if name != MARKER {
            environment.push(c_string("environment", format!("{name}={value}").into_bytes())?);
        }
    }
    let identity = match &launch.user {
        Some(text) => identity(text).map_err(|why| setup(format!("become user `{text}`"), why))?,
        None => None,
    };
    let ulimits =
        ulimits(launch, nofile).map_err(|(name, why)| setup(format!("set ulimit `{name}`"), why))?;
    let directory = launch.working_dir.clone().into_os_string().into_vec();
    Ok(Plan {
        warden_name: c_string("name", format!("atoll:{}", launch.id.name()).into_bytes())?,
        program: c_string("program", program.into_os_string().into_vec())?,
        arguments: CStrings::new(arguments),
        environment: CStrings::new(environment),
        directory: c_string("working directory", directory)?,
        identity,
        ulimits,
        group: Group::default(),
        stdout,
        stderr,
    })
}

/// Looks the program up as a shell would.
fn find_program(launch: &Launch) -> Result<PathBuf, StartError> {
    let program = launch.command.first().map_or("", String::as_str);
    let missing = |searched: String| StartError::NoProgram {
        id: launch.id.clone(),
        program: program.to_owned(),
        searched,
    };
    if program.is_empty() {
        return Err(missing("because the command is empty".to_owned()));
    }
    if program.contains('/') {
        let path = launch.working_dir.join(program);
        return match usable(&path) {
            Usable::Yes => Ok(path),
            Usable::Missing => Err(missing(format!("at {}", path.display()))),
            Usable::OutOfReach => {
                Err(cannot_run(launch, &path, "permission denied on the way to it".to_owned()))
            }
            Usable::No(why) => Err(cannot_run(launch, &path, why.to_owned())),
        };
    }
    let search = launch.environment.get("PATH").map_or(DEFAULT_PATH, String::as_str);
    let mut refused = None;
    for directory in search.split(':') {
        // An empty entry is the working directory, as for every shell.
        let path = launch.working_dir.join(directory).join(program);
        match usable(&path) {
            Usable::Yes => return Ok(path),
            Usable::Missing | Usable::OutOfReach => {}
            Usable::No(why) => refused = refused.or(Some((path, why))),
        }
    }
    match refused {
        Some((path, why)) => Err(cannot_run(launch, &path, why.to_owned())),
        None => Err(missing(format!("in PATH ({search})"))),
    }
}

enum Usable {
    Yes,
    Missing,
    /// A directory above it may not be entered.
    OutOfReach,
    No(&'static str),
}

fn usable(path: &Path) -> Usable {
    match path.metadata() {
        Ok(meta) if meta.is_dir() => Usable::No("it is a directory"),
        Ok(meta) if !meta.is_file() => Usable::No("it is not a regular file"),
        Ok(meta) if meta.permissions().mode() & 0o111 == 0 => {
            Usable::No("it is not marked as executable (`chmod +x` does that)")
        }
        Ok(_) => Usable::Yes,
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => Usable::OutOfReach,
        Err(_) => Usable::Missing,
    }
}

fn cannot_run(launch: &Launch, path: &Path, why: String) -> StartError {
    StartError::Setup { id: launch.id.clone(), step: format!("run `{}`", path.display()), why }
}

/// Whom to become; `None` when that is who we are.
fn identity(text: &str) -> Result<Option<Identity>, String> {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let identity = users::resolve(text, &read("/etc/passwd"), &read("/etc/group"))?;
    if geteuid().is_root() {
        return Ok(Some(identity));
    }
    if identity.user == geteuid() && identity.group == getegid() {
        return Ok(None);
    }
    Err("only root may run a service as another user or group".to_owned())
}

fn ulimits(launch: &Launch, nofile: Rlimit) -> Result<Vec<(Resource, Rlimit)>, (String, String)> {
    let mut limits = vec![(Resource::Nofile, nofile)];
    for (name, limit) in &launch.ulimits {
        let resource = resource(name).ok_or_else(|| (name.clone(), "there is no such limit".to_owned()))?;
        // A hard limit below the soft one is refused by the system with nothing but "invalid".
        if let (soft, Some(hard)) = (limit.soft, limit.hard)
            && soft.is_none_or(|soft| soft > hard)
        {
            return Err((name.clone(), "the soft limit is above the hard one".to_owned()));
        }
        limits.retain(|(known, _)| *known != resource);
        limits.push((resource, Rlimit { current: limit.soft, maximum: limit.hard }));
    }
    Ok(limits)
}

fn resource(name: &str) -> Option<Resource> {
    Some(match name {
        "as" => Resource::As,
        "core" => Resource::Core,
        "cpu" => Resource::Cpu,
        "data" => Resource::Data,
        "fsize" => Resource::Fsize,
        "locks" => Resource::Locks,
        "memlock" => Resource::Memlock,
        "msgqueue" => Resource::Msgqueue,
        "nice" => Resource::Nice,
        "nofile" => Resource::Nofile,
        "nproc" => Resource::Nproc,
        "rss" => Resource::Rss,
        "rtprio" => Resource::Rtprio,
        "rttime" => Resource::Rttime,
        "sigpending" => Resource::Sigpending,
        "stack" => Resource::Stack,
        _ => return None,
    })
}

/// Says what a failure between fork and exec means.
pub(super) fn explain(launch: &Launch, failure: Failure) -> StartError {
    let system = std::io::Error::from_raw_os_error(failure.errno);
    let system = system.to_string();
    let why = system.split(" (os error").next().unwrap_or(&system).to_lowercase();
    let directory = launch.working_dir.display();
    let (step, why) = match failure.step {
        Step::Fork if failure.which == 1 => ("run it".to_owned(), "it was stopped before it ran".to_owned()),
        Step::Fork => ("start a process for it".to_owned(), why),
        Step::Session => ("make a session".to_owned(), why),
        Step::Cgroup => ("enter its cgroup".to_owned(), why),
        Step::Streams => ("connect its output".to_owned(), why),
        Step::Ulimit => {
            let place = usize::from(failure.which);
            let unset = Rlimit { current: None, maximum: None };
            let name =
                ulimits(launch, unset).ok().and_then(|limits| limits.get(place).map(|(known, _)| *known));
            let name = name.map_or_else(|| "nofile".to_owned(), |known| format!("{known:?}").to_lowercase());
            (format!("set ulimit `{name}`"), why)
        }
        Step::User => (format!("become user `{}`", launch.user.as_deref().unwrap_or("")), why),
        Step::Enter => (format!("enter {directory}"), why),
        Step::Bind => ("bind it to its warden".to_owned(), why),
        Step::Exec => return exec_failed(launch, failure.errno, why),
    };
    StartError::Setup { id: launch.id.clone(), step, why }
}

fn exec_failed(launch: &Launch, errno: i32, why: String) -> StartError {
    let path = match find_program(launch) {
        Ok(path) => path,
        Err(gone_since) => return gone_since,
    };
    let why = match errno {
        libc::ENOEXEC => {
            "it is neither a program for this machine nor a script with `#!` in its first line".to_owned()
        }
        libc::ENOENT => match interpreter(&path) {
            Some(interpreter) => format!("its interpreter `{interpreter}` does not exist"),
            None => "the loader it was linked with does not exist on this machine".to_owned(),
        },
        libc::EACCES => format!("{why} (to the file, or its file system is mounted `noexec`)"),
        _ => why,
    };
    cannot_run(launch, &path, why)
}

/// What a script names in its first line.
fn interpreter(path: &Path) -> Option<String> {
    let mut head = Vec::new();
    std::fs::File::open(path).ok()?.take(256).read_to_end(&mut head).ok()?;
    let line = head.strip_prefix(b"#!")?.split(|&b| b == b'\n').next()?.trim_ascii();
    let name = line.split(u8::is_ascii_whitespace).next()?;
    Some(OsString::from_vec(name.to_vec()).to_string_lossy().into_owned())
}
