//! The keeper: the process of a node that holds its instances.
//!
//! It is the same program run as `atoll __keep --state-dir <dir>`: one thread, no async runtime, one loop
//! around `epoll`. It forks a warden for each instance, reads what the instances write, and answers the node
//! on a Unix socket in the state directory. It outlives the node when the node says so.
//!
//! Read in this order: [`main`], `home` (its place on disk), `engine` (the loop), `link` and `requests`
//! (the node), `instance`, `launch` (from what is asked to what is executed), `wardens`, `outputs` and
//! `scribe` (the log files).

mod engine;
mod home;
mod instance;
mod launch;
mod link;
mod output;
mod outputs;
mod requests;
mod scribe;
mod survivors;
mod users;
mod wardens;

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use rustix::pipe::{PipeFlags, pipe_with};

use crate::sandbox::sys::{self, Forked};

pub(crate) use home::{BUSY_STATUS, socket_path};

/// Where the file system has the null device.
const NULL: &str = "/dev/null";

/// Becomes a keeper. Call it as the very first thing in `main`, before any thread or runtime exists, with the
/// arguments after `__keep`. Returns in the process that was started, once the keeper serves (or cannot);
/// the keeper itself is a child of that and ends the process by itself.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    match detach(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let _ = writeln!(std::io::stderr(), "{}", failure.why);
            ExitCode::from(failure.status)
        }
    }
}

/// Why there is no keeper.
struct Failure {
    status: u8,
    why: String,
}

impl Failure {
    fn new(why: impl Into<String>) -> Self {
        Self { status: 1, why: why.into() }
    }
}

/// Forks the keeper and waits until it says that it serves.
fn detach(arguments: impl IntoIterator<Item = OsString>) -> Result<(), Failure> {
    let state_dir = state_dir(arguments)?;
    let threads = std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count);
    if threads != 1 {
        return Err(Failure::new(format!("a keeper must begin with one thread, found {threads}")));
    }
    sys::close_all_but(&[]); // what the starter's parents forgot to close
    let system = |error: std::io::Error| Failure::new(format!("cannot start the keeper: {error}"));
    let (hears, tells) = pipe_with(PipeFlags::CLOEXEC).map_err(|errno| system(errno.into()))?;
    if sys::fork().map_err(system)? == Forked::Child {
        drop(hears);
        let outcome = std::panic::catch_unwind(|| engine::run(&state_dir, tells));
        sys::exit_now(if matches!(outcome, Ok(true)) { 0 } else { 1 });
    }
    drop(tells);
    let mut said = Vec::new();
    std::io::Read::read_to_end(&mut std::fs::File::from(hears), &mut said).map_err(system)?;
    match said.split_first() {
        Some((0, _)) => Ok(()),
        Some((status, why)) => {
            Err(Failure { status: *status, why: String::from_utf8_lossy(why).into_owned() })
        }
        None => Err(Failure::new("the keeper ended before it served")),
    }
}

fn state_dir(arguments: impl IntoIterator<Item = OsString>) -> Result<PathBuf, Failure> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    match arguments.as_slice() {
        [flag, path] if flag == "--state-dir" && PathBuf::from(path).is_absolute() => Ok(path.into()),
        _ => Err(Failure::new("usage: __keep --state-dir <absolute path> (started by `atoll up` itself)")),
    }
}
