//! The directory in which the state of one app lives, and the lock that makes it one node's.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use api::Apply;
use serde::{Deserialize, Serialize};

use crate::takeover;

/// The wish that is in force; a detached node that was killed starts from it.
const WISH: &str = "app.json";

/// Where output is kept.
const LOGS: &str = "logs";

/// Held for as long as a node lives; has its process id in it.
const LOCK: &str = "node.lock";

/// How long a node that was killed may hold its lock.
const DYING: Duration = Duration::from_secs(5);

/// Between two looks whether it still does.
const LOOK: Duration = Duration::from_millis(10);

/// Connections to the admin socket that may wait to be taken.
const MAX_WAITING: i32 = 128;

/// Version of the files in here. A node refuses a directory of a later version.
const FORMAT: u32 = 1;

/// An open state directory. The lock is held until this is dropped.
#[derive(Debug)]
pub(crate) struct StateDir {
    path: PathBuf,
    handle: File,
    lock: File,
}

/// What is kept of the wish.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct KeptWish {
    /// See [`FORMAT`].
    pub(crate) format: u32,
    /// Whether the node was detached: only then its app outlives it.
    pub(crate) detached: bool,
    /// The wish.
    pub(crate) apply: Apply,
}

/// What can be read of a file of any format.
#[derive(Deserialize)]
struct Format {
    format: u32,
}

/// Why the directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error("cannot use the state directory `{}`", .path.display())]
    Unusable { path: PathBuf, source: io::Error },
    #[error("another Atoll{} already runs this app", holder(.pid))]
    Taken { pid: Option<u32> },
}

/// Whether a process was killed and is not gone yet: its files stay open until the last of its threads, which may wait
/// for a disk, has ended.
fn is_dying(pid: u32) -> bool {
    match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with(['Z', 'X'])),
        Err(_) => true,
    }
}

fn holder(pid: &Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(" (process {pid})"))
}

impl StateDir {
    /// Opens or makes the directory (mode 0700: logs and the wish may hold secrets) and takes its lock.
    pub(crate) fn open(path: &Path) -> Result<Self, OpenError> {
        let unusable = |source| OpenError::Unusable { path: path.to_owned(), source };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(unusable)?;
        let logs = path.join(LOGS);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&logs).map_err(unusable)?;
        let handle = File::open(path).map_err(unusable)?;
        let mut lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(0o600)
            .open(path.join(LOCK))
            .map_err(unusable)?;
        let give_up = Instant::now() + DYING;
        while rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive).is_err() {
            let mut text = String::new();
            let _ = lock.seek(io::SeekFrom::Start(0)).and_then(|_| lock.read_to_string(&mut text));
            let pid = text.trim().parse().ok(); // without it the message only lacks the process id
            if Instant::now() >= give_up || !pid.is_some_and(is_dying) {
                return Err(OpenError::Taken { pid });
            }
            std::thread::sleep(LOOK);
        }
        let state = Self { path: path.to_owned(), handle, lock };
        state.sign().map_err(unusable)?;
        Ok(state)
    }

    /// The directory of a node that hands it over: `lock` is the open file that it holds locked. The lock
    /// belongs to the open file, not to a process: it is held until both have closed it.
    pub(crate) fn inherit(path: &Path, lock: File) -> io::Result<Self> {
        let (theirs, there) = (lock.metadata()?, fs::metadata(path.join(LOCK))?);
        if (theirs.dev(), theirs.ino()) != (there.dev(), there.ino()) {
            return Err(io::Error::other("its node holds another directory"));
        }
        Ok(Self { path: path.to_owned(), handle: File::open(path)?, lock })
    }

    /// The file that is held locked, for the node that takes over.
    pub(crate) fn lock(&self) -> &File {
        &self.lock
    }

    /// Says whose the directory is now. (Both nodes have the same place in the file.)
    pub(crate) fn sign(&self) -> io::Result<()> {
        self.lock.set_len(0)?;
        self.lock.write_all_at(std::process::id().to_string().as_bytes(), 0)
    }

    /// Where output is kept.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn logs(&self) -> PathBuf {
        self.path.join(LOGS)
    }

    /// Binds one of the node's sockets. A socket file from before belongs to nobody: the lock is ours.
    ///
    /// Whoever may connect may run anything as this user, so nobody else may, also where the directory was
    /// made by somebody with other permissions.
    pub(crate) fn bind(&self, name: &str) -> io::Result<UnixListener> {
        let socket = self.path.join(name);
        match fs::remove_file(&socket) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        // Through `/proc/self/fd`, because the path of a socket may have only 107 bytes.
        let short = format!("/proc/self/fd/{}/{}", self.handle.as_raw_fd(), name);
        listen_privately(Path::new(&short))
    }

    /// Takes the node's sockets away.
    pub(crate) fn remove_sockets(&self) {
        for name in [api::SOCKET, takeover::SOCKET] {
            let _ = fs::remove_file(self.path.join(name)); // a stale one is replaced at the next start
        }
    }

    /// The wish of a detached node from before, if there is one.
    pub(crate) fn kept_wish(&self) -> io::Result<Option<KeptWish>> {
        let text = match fs::read(self.path.join(WISH)) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let invalid = |why: String| io::Error::new(io::ErrorKind::InvalidData, why);
        let Format { format } = serde_json::from_slice(&text)
            .map_err(|error| invalid(format!("`{WISH}` is damaged: {error}")))?;
        if format > FORMAT {
            return Err(invalid(format!("`{WISH}` is of format {format}, this version knows {FORMAT}")));
        }
        let kept: KeptWish = serde_json::from_slice(&text)
            .map_err(|error| invalid(format!("`{WISH}` is damaged: {error}")))?;
        Ok(Some(kept).filter(|kept| kept.detached))
    }

    /// Keeps the wish, whole or not at all.
    pub(crate) fn keep_wish(&self, apply: &Apply, detached: bool) -> io::Result<()> {
        let kept = KeptWish { format: FORMAT, detached, apply: apply.clone() };
        self.write_whole(WISH, &serde_json::to_vec(&kept)?)
    }

    /// Forgets the wish: the app was stopped on purpose.
    pub(crate) fn forget_wish(&self) {
        let _ = fs::remove_file(self.path.join(WISH));
    }

    /// Reads a small file; `None` if it is not there.
    pub(crate) fn read(&self, name: &str) -> Option<Vec<u8>> {
        fs::read(self.path.join(name)).ok()
    }

    /// Replaces a file whole.
    pub(crate) fn write_whole(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        write_whole(&self.path, name, bytes)
    }
}

/// Replaces a file of a state directory, which is nobody else's to read: written beside, synced, renamed.
pub(crate) fn write_whole(directory: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let beside = directory.join(format!("{name}.new"));
    let _ = fs::remove_file(&beside); // of a process that was killed here; its mode may be another
    let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, directory.join(name))?;
    File::open(directory)?.sync_all()
}

/// The name of the app whose node was killed and whose instances live on in `state_dir`, if there is one.
/// Ask only where no node answers.
pub fn left_behind(state_dir: &Path) -> Option<String> {
    if !runtime::process::keeper_lives(state_dir) {
        return None;
    }
    let kept = fs::read(state_dir.join(WISH)).ok();
    let kept = kept.and_then(|text| serde_json::from_slice::<KeptWish>(&text).ok());
    let app = kept.and_then(|kept| manifest::parse_resolved(&kept.apply.file, Path::new(WISH)).app);
    Some(app.map_or_else(|| "app".to_owned(), |app| app.name.to_string()))
}

/// A socket that is this user's alone from the first moment on: it listens only once it is.
fn listen_privately(path: &Path) -> io::Result<UnixListener> {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with};
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    bind(&socket, &SocketAddrUnix::new(path)?)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    listen(&socket, MAX_WAITING)?;
    Ok(UnixListener::from(socket))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_node_on_one_directory_is_told_who_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let _first = StateDir::open(dir.path()).unwrap();
        let second = StateDir::open(dir.path()).unwrap_err();
        assert_eq!(
            second.to_string(),
            format!("another Atoll (process {}) already runs this app", std::process::id())
        );
    }

    #[test]
    fn a_lock_that_is_handed_over_is_held_all_the_time() {
        let dir = tempfile::tempdir().unwrap();
        let first = StateDir::open(dir.path()).unwrap();
        let second = StateDir::inherit(dir.path(), first.lock().try_clone().unwrap()).unwrap();
        second.sign().unwrap();
        drop(first);
        assert!(matches!(StateDir::open(dir.path()), Err(OpenError::Taken { pid: Some(_) })));
        drop(second);
        StateDir::open(dir.path()).unwrap();
        let elsewhere = tempfile::tempfile().unwrap();
        assert!(StateDir::inherit(dir.path(), elsewhere).is_err());
    }

    #[test]
    fn only_the_wish_of_a_detached_node_is_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(dir.path()).unwrap();
        let apply = Apply { file: "name: x".into(), ..Apply::default() };
        state.keep_wish(&apply, true).unwrap();
        assert_eq!(state.kept_wish().unwrap().unwrap().apply, apply);
        state.keep_wish(&apply, false).unwrap();
        assert!(state.kept_wish().unwrap().is_none());
    }

    #[test]
    fn a_file_that_is_damaged_or_of_a_later_version_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(dir.path()).unwrap();
        let said = |text: &str| {
            fs::write(dir.path().join(WISH), text).unwrap();
            state.kept_wish().unwrap_err().to_string()
        };
        assert_eq!(said(""), "`app.json` is damaged: EOF while parsing a value at line 1 column 0");
        assert_eq!(
            said(r#"{"format":1,"detached":true}"#),
            "`app.json` is damaged: missing field `apply` at line 1 column 28"
        );
        assert_eq!(
            said(r#"{"format":7,"everything":"else"}"#),
            "`app.json` is of format 7, this version knows 1"
        );
    }

    #[test]
    fn nobody_else_may_connect_wherever_the_socket_lies() {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let state = StateDir::open(dir.path()).unwrap();
        let _listener = state.bind(api::SOCKET).unwrap();
        let mode = |name: &str| fs::metadata(dir.path().join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(api::SOCKET), mode(LOGS)), (0o600, 0o700));
    }

    #[test]
    fn the_admin_socket_may_lie_deeper_than_a_socket_path_is_long() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("d".repeat(120));
        let state = StateDir::open(&deep).unwrap();
        state.bind(api::SOCKET).unwrap();
        state.bind(api::SOCKET).unwrap(); // a stale socket is replaced
    }
}
