//! The groups of one instance.

use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags, open};
use rustix::process::Pid;

use super::find::{Controller, pass_on};

/// The time between two tries to remove a group whose last process has just been reaped: the kernel lets go
/// of it a little later.
const REMOVE_PAUSE: Duration = Duration::from_millis(1);

/// Directories within an instance's group that are removed with it: it may have made groups itself.
const MAX_DEPTH: u32 = 16;

/// The groups of one instance; none where the machine does not allow any.
#[derive(Debug, Default)]
pub(crate) struct Group {
    unified: Option<Unified>,
    version_1: Vec<(Controller, PathBuf)>,
}

#[derive(Debug)]
struct Unified {
    path: PathBuf,
    directory: OwnedFd,
    /// Whether it carries limits: then an instance must not start outside of it.
    limited: bool,
}

impl Group {
    pub(super) fn add_unified(&mut self, base: &Path, name: &str) {
        let path = base.join(name);
        if make(base).is_err() || make(&path).is_err() {
            return;
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        if let Ok(directory) = open(&path, flags, Mode::empty()) {
            self.unified = Some(Unified { path, directory, limited: false });
        }
    }

    pub(super) fn limit_unified(&mut self, settings: &[[(&'static str, String); 2]]) -> bool {
        let Some(unified) = &mut self.unified else { return false };
        if let Some(base) = unified.path.parent() {
            pass_on(base, &Controller::ALL.into());
        }
        let limited = settings.iter().all(|[_, setting]| write(&unified.path, setting));
        unified.limited |= limited;
        limited
    }

    pub(super) fn limit_version_1(
        &mut self,
        base: &Path,
        name: &str,
        controller: Controller,
        settings: &[[(&'static str, String); 2]],
    ) -> bool {
        let path = base.join(name);
        if make(base).is_err() || make(&path).is_err() {
            return false;
        }
        if !settings.iter().all(|[setting, _]| write(&path, setting)) {
            let _ = fs::remove_dir(&path);
            return false;
        }
        self.version_1.push((controller, path));
        true
    }

    /// The directory of the group of version 2, to fork into.
    pub(crate) fn unified_directory(&self) -> Option<BorrowedFd<'_>> {
        self.unified.as_ref().map(|unified| unified.directory.as_fd())
    }

    /// Moves the calling process into the groups, one by one; `in_unified`: it was born in that one.
    pub(crate) fn join(&self, in_unified: bool) -> impl Iterator<Item = rustix::io::Result<()>> {
        let unified = self.unified.iter().filter(move |_| !in_unified).map(|unified| {
            let joined = enter(&unified.path);
            if unified.limited { joined } else { Ok(()) }
        });
        unified.chain(self.version_1.iter().map(|(_, path)| enter(path)))
    }

    /// Kills everything in the group of version 2, forks under way included (Linux 5.14).
    pub(crate) fn kill(&self) {
        if let Some(unified) = &self.unified {
            let _ = fs::write(unified.path.join("cgroup.kill"), "1");
        }
    }

    /// Whether any process is known to be in the groups.
    pub(crate) fn is_empty(&self) -> bool {
        self.unified.iter().all(|unified| members(&unified.path).is_empty())
            && self.version_1.iter().all(|(_, path)| members(path).is_empty())
    }

    /// Whether the kernel killed a process of the instance for want of memory.
    pub(crate) fn out_of_memory(&self) -> bool {
        let version_1 = self.version_1.iter().filter(|(controller, _)| *controller == Controller::Memory);
        let files = version_1
            .map(|(_, path)| path.join("memory.oom_control"))
            .chain(self.unified.iter().map(|unified| unified.path.join("memory.events")));
        files.into_iter().any(|file| value_in(&file, "oom_kill").is_some_and(|times| times > 0))
    }

    /// CPU time used since the start.
    pub(crate) fn cpu(&self) -> Option<Duration> {
        value_in(&self.unified.as_ref()?.path.join("cpu.stat"), "usage_usec").map(Duration::from_micros)
    }

    /// Memory in use, without file cache that can be dropped at any time (as `docker stats` counts).
    pub(crate) fn memory(&self) -> Option<u64> {
        let version_1 = self.version_1.iter().find(|(controller, _)| *controller == Controller::Memory);
        let (path, usage, cache) = match version_1 {
            Some((_, path)) => (path, "memory.usage_in_bytes", "total_inactive_file"),
            None => (&self.unified.as_ref()?.path, "memory.current", "inactive_file"),
        };
        let used: u64 = fs::read_to_string(path.join(usage)).ok()?.trim().parse().ok()?;
        Some(used.saturating_sub(value_in(&path.join("memory.stat"), cache).unwrap_or(0)))
    }

    /// The processes of the instance.
    pub(crate) fn processes(&self) -> Option<Vec<Pid>> {
        Some(members(&self.unified.as_ref()?.path))
    }

    /// Removes the groups, whose processes have ended. Tries for about as long as `limit`; `false` when one
    /// is still there.
    pub(crate) fn remove(&self, limit: Duration) -> bool {
        self.paths().filter(|path| !remove_tree(path, limit)).count() == 0
    }

    /// Removes the directories that held the groups, if these were the last in them and nobody is left to
    /// use them again.
    pub(crate) fn remove_bases(&self) {
        for base in self.paths().filter_map(Path::parent) {
            let _ = fs::remove_dir(base);
        }
    }

    fn paths(&self) -> impl Iterator<Item = &Path> {
        let unified = self.unified.iter().map(|unified| unified.path.as_path());
        unified.chain(self.version_1.iter().map(|(_, path)| path.as_path()))
    }
}

/// The processes in a group, given its directory.
pub(super) fn members(directory: &Path) -> Vec<Pid> {
    let list = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
    list.lines().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)).collect()
}

/// Removes a group and the groups within it.
pub(super) fn remove_tree(path: &Path, limit: Duration) -> bool {
    let began = Instant::now();
    loop {
        remove_children(path, MAX_DEPTH);
        match fs::remove_dir(path) {
            Ok(()) => return true,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return true,
            Err(_) if began.elapsed() >= limit => return false,
            Err(_) => std::thread::sleep(REMOVE_PAUSE),
        }
    }
}

fn remove_children(path: &Path, depth: u32) {
    let Ok(entries) = fs::read_dir(path) else { return };
    for entry in entries.flatten() {
        if depth > 0 && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_children(&entry.path(), depth - 1);
            let _ = fs::remove_dir(entry.path());
        }
    }
}

fn make(path: &Path) -> std::io::Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        outcome => outcome,
    }
}

fn write(directory: &Path, (name, value): &(&'static str, String)) -> bool {
    let (name, optional) = match name.strip_suffix('?') {
        Some(name) => (name, true),
        None => (*name, false),
    };
    fs::write(directory.join(name), value).is_ok() || optional
}

/// Moves the calling process.
fn enter(directory: &Path) -> rustix::io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    let file = open(directory.join("cgroup.procs"), flags, Mode::empty())?;
    rustix::io::write(&file, b"0").map(drop)
}

/// A value of a file with lines of a name, a blank and a number.
fn value_in(file: &Path, name: &str) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}
