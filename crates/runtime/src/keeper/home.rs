//! The keeper's place on disk: one state directory has one keeper.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::stdio;

use super::{Failure, NULL};
use crate::wire::{LOCK, SOCKET};

/// Exit status of a keeper that found another one serving.
pub(crate) const BUSY_STATUS: u8 = 3;

/// How long an earlier keeper's wardens may take to end what they watch.
const LOCK_LIMIT: Duration = Duration::from_secs(15);
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// What a keeper holds of its state directory.
#[derive(Debug)]
pub(super) struct Home {
    pub(super) logs: PathBuf,
    /// Tells this directory's processes and cgroups from those of others.
    pub(super) digest: String,
    pub(super) directory: File,
    /// Locked as long as the keeper or one of its wardens lives: they share this descriptor.
    pub(super) lock: File,
    pub(super) listener: UnixListener,
    pub(super) null: OwnedFd,
}

impl Home {
    /// Leaves the terminal, takes the lock and opens the socket.
    pub(super) fn take(state_dir: &Path) -> Result<Self, Failure> {
        let cannot = |what: &str| {
            let what = what.to_owned();
            move |error: io::Error| Failure::new(format!("cannot {what} in {}: {error}", state_dir.display()))
        };
        let logs = state_dir.join("logs");
        let private = |path: &Path| std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
        private(state_dir).and_then(|()| private(&logs)).map_err(cannot("make directories"))?;
        let directory = File::open(state_dir).map_err(cannot("look"))?;
        let null = File::options().read(true).write(true).open(NULL);
        let null = OwnedFd::from(null.map_err(|error| Failure::new(format!("cannot open {NULL}: {error}")))?);
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(state_dir.join(LOCK));
        let lock = lock.map_err(cannot("make the lock"))?;
        wait_for_lock(&lock, &directory, state_dir)?;
        leave_terminal(state_dir, &null).map_err(cannot("write"))?;
        let socket = socket_path(&directory);
        let _ = std::fs::remove_file(&socket); // of a keeper that is gone: we have the lock
        let listener = UnixListener::bind(&socket).map_err(cannot("open the socket"))?;
        listener.set_nonblocking(true).map_err(cannot("open the socket"))?;
        Ok(Self { logs, digest: digest(state_dir), directory, lock, listener, null })
    }

    /// Removes the socket; the lock goes with the process.
    pub(super) fn leave(&self) {
        let _ = std::fs::remove_file(socket_path(&self.directory));
    }
}

/// The socket by way of the open directory: a path of any length fits into a socket address.
pub(crate) fn socket_path(directory: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}/{SOCKET}", directory.as_raw_fd()))
}

/// A session of our own without a terminal; standard error goes to a small file, for panics.
fn leave_terminal(state_dir: &Path, null: &OwnedFd) -> io::Result<()> {
    let _ = rustix::process::setsid();
    let _ = rustix::thread::set_name(c"atoll-keeper");
    std::env::set_current_dir("/")?;
    let errors = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(state_dir.join("keeper.err"))?;
    stdio::dup2_stdin(null)?;
    stdio::dup2_stdout(null)?;
    stdio::dup2_stderr(&errors)?;
    Ok(())
}

/// The lock is free once an earlier keeper and all its wardens are gone.
fn wait_for_lock(lock: &File, directory: &File, state_dir: &Path) -> Result<(), Failure> {
    let began = Instant::now();
    loop {
        match flock(lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(()),
            Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) => {}
            Err(errno) => {
                let error = io::Error::from(errno);
                return Err(Failure::new(format!("cannot lock {}: {error}", state_dir.join(LOCK).display())));
            }
        }
        if UnixStream::connect(socket_path(directory)).is_ok() {
            return Err(Failure {
                status: BUSY_STATUS,
                why: "another keeper serves this directory".to_owned(),
            });
        }
        if began.elapsed() > LOCK_LIMIT {
            let why = format!(
                "instances of an earlier run in {} did not end within {} s",
                state_dir.display(),
                LOCK_LIMIT.as_secs()
            );
            return Err(Failure::new(why));
        }
        std::thread::sleep(LOCK_PAUSE);
    }
}

/// FNV-1a, 64 bits, of the path: short, stable, and no secret.
pub(super) fn digest(state_dir: &Path) -> String {
    let bytes = state_dir.as_os_str().as_encoded_bytes();
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
}
