//! What a store is opened with.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use kit::{Clock, SystemClock};

use crate::admission::UNDER_WAY_BYTES;
use crate::engine::memory::Disk;
use crate::space::Space;

/// Which engine keeps the keys. Chosen when a directory is made, and for good: another one takes a backup and a restore.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EngineKind {
    /// The default: fastest, and small on disk.
    Fjall,
    /// Steadier and smaller in memory; slow at random puts. Its file never shrinks.
    Redb,
    /// No file at all.
    Memory,
}

impl EngineKind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Fjall => "fjall",
            Self::Redb => "redb",
            Self::Memory => "memory",
        }
    }

    pub(crate) fn of(name: &str) -> Option<Self> {
        [Self::Fjall, Self::Redb, Self::Memory].into_iter().find(|kind| kind.name() == name)
    }
}

impl fmt::Display for EngineKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How to open a store.
#[derive(Clone)]
pub struct Options {
    /// Where it is. Not looked at by [`EngineKind::Memory`].
    pub directory: PathBuf,
    /// What keeps it.
    pub engine: EngineKind,
    /// The spaces that will be used. Those of an earlier life that are not named here stay as they are.
    pub spaces: &'static [Space],
    /// Bytes of what was read that the engine keeps in memory.
    pub cache_bytes: u64,
    /// The memory that the process may use, from which the engine's buffers are derived. `None`: what control groups
    /// and machine allow.
    pub memory_limit: Option<u64>,
    /// Bytes of commits that may be under way.
    pub under_way_bytes: usize,
    /// Opens a store that has lost something, with all that can be read of it.
    pub salvage: bool,
    /// For leases, and for how long identities of transactions are remembered.
    pub clock: Arc<dyn Clock>,
    /// What [`EngineKind::Memory`] keeps its keys on: for tests that open it again.
    pub disk: Disk,
}

impl Options {
    /// A directory with the default engine.
    pub fn new(directory: impl Into<PathBuf>, spaces: &'static [Space]) -> Self {
        Self {
            directory: directory.into(),
            engine: EngineKind::Fjall,
            spaces,
            cache_bytes: 64 * 1024 * 1024,
            memory_limit: None,
            under_way_bytes: UNDER_WAY_BYTES,
            salvage: false,
            clock: Arc::new(SystemClock::new()),
            disk: Disk::new(),
        }
    }

    /// In memory alone.
    pub fn memory(spaces: &'static [Space]) -> Self {
        Self { engine: EngineKind::Memory, ..Self::new("", spaces) }
    }

    /// With another engine.
    #[must_use]
    pub fn engine(mut self, engine: EngineKind) -> Self {
        self.engine = engine;
        self
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("directory", &self.directory)
            .field("engine", &self.engine)
            .field("spaces", &self.spaces)
            .finish_non_exhaustive()
    }
}
