//! The directory of a store on disk.
//!
//! | file | what |
//! |---|---|
//! | `store.lock` | held for as long as it is open; the process id of who has it |
//! | `format` | the number of the format and the name of the engine; there once the first opening has come to its end |
//! | `mark` | the version that was last acknowledged: [`crate::mark`] |
//! | `restoring` | a restore into it is not finished |
//! | `fjall/`, `redb` | the engine's |
//! | `damaged/` | what was cut off or left out of a journal when it was opened |

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::open_error::OpenError;
use crate::options::EngineKind;

/// The number of what is written today.
const FORMAT: u32 = 1;

/// A directory that is ours.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    /// Whoever has the file open has the lock.
    _lock: File,
}

impl Directory {
    /// Makes it if it is not there, and takes its lock.
    pub(crate) fn take(path: &Path) -> Result<Self, OpenError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(OpenError::io("make the directory", path))?;
        let file = path.join("store.lock");
        let lock = lock(&file).map_err(OpenError::io("lock", &file))?;
        let lock = lock.map_err(|pid| OpenError::Locked { directory: path.to_owned(), pid })?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The engine it was made with; `None`: nobody has finished making it.
    pub(crate) fn engine(&self) -> Result<Option<EngineKind>, OpenError> {
        let path = self.join("format");
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(OpenError::io("read", path)(error)),
        };
        let words: Vec<&str> = text.split_whitespace().collect();
        let known = match words[..] {
            ["atoll-store", number, engine] if number.parse() == Ok(FORMAT) => EngineKind::of(engine),
            _ => None,
        };
        match known {
            Some(engine) => Ok(Some(engine)),
            None => Err(OpenError::Format {
                directory: self.path.clone(),
                found: text.trim().chars().take(80).collect(),
            }),
        }
    }

    pub(crate) fn write_engine(&self, engine: EngineKind) -> Result<(), OpenError> {
        self.write("format", format!("atoll-store {FORMAT} {engine}\n").as_bytes())
    }

    pub(crate) fn is_being_restored(&self) -> bool {
        self.join("restoring").exists()
    }

    /// Writes a file as a whole.
    pub(crate) fn write(&self, name: &str, content: &[u8]) -> Result<(), OpenError> {
        let path = self.join(name);
        let beside = self.join(&format!("{name}.new"));
        let written = File::create(&beside).and_then(|mut file| {
            file.write_all(content)?;
            file.sync_all()?;
            fs::rename(&beside, &path)?;
            sync_directory(&self.path)
        });
        written.map_err(OpenError::io("write", path))
    }

    pub(crate) fn remove(&self, name: &str) -> Result<(), OpenError> {
        let path = self.join(name);
        fs::remove_file(&path)
            .and_then(|()| sync_directory(&self.path))
            .map_err(OpenError::io("remove", path))
    }
}

pub(crate) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// The inner error: who has it.
fn lock(path: &Path) -> io::Result<Result<File, Option<u32>>> {
    let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let mut text = String::new();
            file.read_to_string(&mut text)?;
            return Ok(Err(text.trim().parse().ok()));
        }
        Err(error) => return Err(error.into()),
    }
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())?;
    Ok(Ok(file))
}
