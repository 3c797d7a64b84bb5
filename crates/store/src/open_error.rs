//! Why a store cannot be opened, and what to do about it.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use kit::{Explain, Help};

use crate::engine::EngineError;
use crate::txn::Version;

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The system does not let us.
    #[error("cannot {doing} `{}`", .path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// With which file.
        path: PathBuf,
        /// What it came to.
        source: io::Error,
    },
    /// Another process has it open.
    #[error("the store `{}` is open in {}", .directory.display(), .pid.as_ref().map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}")))]
    Locked {
        /// Which store.
        directory: PathBuf,
        /// Who has it, if it says so.
        pid: Option<u32>,
    },
    /// It was written by a later version of Atoll, or is no store.
    #[error("the store `{}` has the format `{found}`, which this version does not know", .directory.display())]
    Format {
        /// Which store.
        directory: PathBuf,
        /// What its `format` file says.
        found: String,
    },
    /// It was made with another engine.
    #[error("the store `{}` was made with the engine {is}, not {asked}", .directory.display())]
    Engine {
        /// Which store.
        directory: PathBuf,
        /// What it was made with.
        is: String,
        /// What was asked for.
        asked: &'static str,
    },
    /// A space has another name or kind than before.
    #[error("space {id} of the store `{}` is `{is}`, not `{asked}`", .directory.display())]
    Space {
        /// Which store.
        directory: PathBuf,
        /// The number of the space.
        id: u8,
        /// Its name and kind on disk.
        is: String,
        /// Its name and kind now.
        asked: String,
    },
    /// The journal is damaged, and what follows was acknowledged.
    #[error("the journal `{}` is damaged at byte {at}, and {behind} whole batches follow", .path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Where the damage begins.
        at: u64,
        /// Batches that can be read behind it.
        behind: u64,
    },
    /// What was acknowledged is not there.
    #[error("the store `{}` ends at version {}, but {} was acknowledged", .directory.display(), .found.0, .acknowledged.0)]
    Lost {
        /// Which store.
        directory: PathBuf,
        /// The last version that is there.
        found: Version,
        /// The last version that was acknowledged.
        acknowledged: Version,
    },
    /// The engine cannot read its files.
    #[error("cannot read the store `{}`: {why}", .directory.display())]
    Unreadable {
        /// Which store.
        directory: PathBuf,
        /// What the engine says.
        why: Arc<str>,
    },
    /// A restore into it was not finished.
    #[error("the store `{}` is half restored", .directory.display())]
    Unfinished {
        /// Which store.
        directory: PathBuf,
    },
    /// A restore needs an empty place.
    #[error("there is something in `{}` already", .directory.display())]
    NotEmpty {
        /// Which directory.
        directory: PathBuf,
    },
    /// A backup is not whole.
    #[error("the backup `{}` is damaged: {what}", .path.display())]
    Backup {
        /// Which file.
        path: PathBuf,
        /// What was found.
        what: String,
    },
}

impl OpenError {
    pub(crate) fn io(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { doing, path, source }
    }

    pub(crate) fn engine(directory: impl Into<PathBuf>) -> impl FnOnce(EngineError) -> Self {
        let directory = directory.into();
        move |error| Self::Unreadable { directory, why: error.to_string().into() }
    }
}

impl Explain for OpenError {
    fn help(&self) -> Help {
        match self {
            Self::Io { .. } => {
                Help::code("A0901").hint("make the directory writable and free space on its disk")
            }
            Self::Locked { .. } => {
                Help::code("A0902").hint("stop the other process, or use another state directory")
            }
            Self::Format { .. } => Help::code("A0903").hint("use the version of Atoll that wrote it"),
            Self::Engine { .. } => {
                Help::code("A0904").hint("go on with its engine, or restore a backup with the other")
            }
            Self::Space { .. } => Help::code("A0905").hint("use the version of Atoll that wrote it"),
            Self::Damaged { .. } => {
                Help::code("A0906").hint("copy the directory, then restore a backup or salvage")
            }
            Self::Lost { .. } => {
                Help::code("A0907").hint("copy the directory, then restore a backup or salvage")
            }
            Self::Unreadable { .. } => Help::code("A0908").hint("check the disk, then restore a backup"),
            Self::Unfinished { .. } => Help::code("A0909").hint("remove the directory and restore again"),
            Self::NotEmpty { .. } => Help::code("A0910").hint("name a directory that is empty or not there"),
            Self::Backup { .. } => Help::code("A0911").hint("use another backup"),
        }
    }
}
