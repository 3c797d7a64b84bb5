//! The seam below the store: what an embedded engine has to be able to do. It knows bytes in numbered spaces; versions,
//! preconditions and leases are above it.

pub(crate) mod fjall;
pub(crate) mod memory;
pub(crate) mod redb;

use std::fmt::Display;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::space::SpaceKind;
use crate::txn::Version;

/// One key that is set or removed.
#[derive(Clone, Debug)]
pub(crate) struct Write {
    pub(crate) version: Version,
    pub(crate) space: u8,
    pub(crate) key: Bytes,
    /// `None`: the key is removed.
    pub(crate) value: Option<Bytes>,
    /// A removal that may annihilate the one put it meets.
    pub(crate) weak: bool,
    /// No later write of the batch has this key. Engines see nothing but these; watchers see all.
    pub(crate) last: bool,
}

/// What reaches the disk as a whole or not at all.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) writes: Vec<Write>,
    pub(crate) bytes: usize,
}

impl Batch {
    /// At most one write for each key.
    pub(crate) fn last_writes(&self) -> impl Iterator<Item = &Write> {
        self.writes.iter().filter(|write| write.last)
    }
}

/// An engine that is open. One thread commits; any may read.
pub(crate) trait Engine: Send + Sync + 'static {
    /// Its name, as in the `format` file.
    fn name(&self) -> &'static str;

    /// Makes a space if it is not there, and lets it be used.
    fn open_space(&mut self, id: u8, kind: SpaceKind) -> Result<(), EngineError>;

    /// Writes and syncs a batch. Nobody sees any of it before it is on disk. After an error nobody knows whether it is.
    fn commit(&self, batch: &Batch) -> Result<(), EngineError>;

    /// Everything that was committed so far, as it is now.
    fn view(&self) -> Result<Arc<dyn View>, EngineError>;

    /// How long the next batch had better wait, lest the engine makes it wait longer.
    fn pace(&self) -> Duration {
        Duration::ZERO
    }

    /// Whether reads may have to wait for a disk.
    fn reads_block(&self) -> bool {
        true
    }

    /// Bytes on disk.
    fn disk_bytes(&self) -> u64;

    /// Checks what the engine can check beyond reading everything; what is wrong, in words.
    fn check(&mut self) -> Result<Vec<String>, EngineError> {
        Ok(Vec::new())
    }
}

/// A consistent view.
pub(crate) trait View: Send + Sync {
    /// The value of a key.
    fn get(&self, space: u8, key: &[u8]) -> Result<Option<Bytes>, EngineError>;

    /// Visits keys in order until there is none left or the visitor breaks off.
    fn scan(&self, space: u8, range: Between<'_>, visit: Visitor<'_>) -> Result<(), EngineError>;
}

/// Takes a key and its value.
pub(crate) type Visitor<'a> = &'a mut dyn FnMut(Bytes, Bytes) -> ControlFlow<()>;

/// From a key, included, to a key, excluded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Between<'a> {
    pub(crate) from: &'a [u8],
    pub(crate) to: Option<&'a [u8]>,
    pub(crate) reverse: bool,
}

impl<'a> Between<'a> {
    pub(crate) fn all() -> Self {
        Self { from: &[], to: None, reverse: false }
    }

    pub(crate) fn up(from: &'a [u8], to: Option<&'a [u8]>) -> Self {
        Self { from, to, reverse: false }
    }

    /// The end comes before the beginning: some engines panic at such a range.
    pub(crate) fn is_empty(&self) -> bool {
        self.to.is_some_and(|to| to <= self.from)
    }

    pub(crate) fn bounds(&self) -> (std::ops::Bound<&'a [u8]>, std::ops::Bound<&'a [u8]>) {
        use std::ops::Bound::{Excluded, Included, Unbounded};
        (Included(self.from), self.to.map_or(Unbounded, Excluded))
    }
}

/// An engine could not do something.
#[derive(Clone, Debug, thiserror::Error)]
#[error("cannot {doing}: {why}")]
pub(crate) struct EngineError {
    pub(crate) doing: &'static str,
    pub(crate) why: Arc<str>,
}

impl EngineError {
    pub(crate) fn new(doing: &'static str, why: impl Display) -> Self {
        Self { doing, why: why.to_string().into() }
    }

    pub(crate) fn no_space(id: u8) -> Self {
        Self::new("read a space", format_args!("there is none with number {id}"))
    }
}

impl From<EngineError> for crate::StoreError {
    fn from(error: EngineError) -> Self {
        Self::Io { doing: error.doing, why: error.why }
    }
}
