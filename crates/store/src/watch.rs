//! Who is told of commits, and what of the last ones is still there to be told.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;

use crate::engine::{Batch, Write};
use crate::seam::{Change, Watch};
use crate::space::Space;
use crate::txn::Version;

/// Bytes of keys and values of the last batches that are kept, so that a watch may begin a little before now: at the
/// version of a snapshot that was just read.
const KEPT_BYTES: usize = 1024 * 1024;
/// Batches that are kept.
const KEPT_BATCHES: usize = 1024;

pub(crate) struct Watchers(Mutex<Inner>);

struct Inner {
    watchers: Vec<Watcher>,
    kept: VecDeque<Arc<Batch>>,
    kept_bytes: usize,
    /// Everything after this is kept.
    since: Version,
    /// The last that was told.
    told: Version,
    closed: bool,
}

struct Watcher {
    space: u8,
    prefix: Vec<u8>,
    from: Version,
    sender: mpsc::Sender<Change>,
}

impl Watchers {
    pub(crate) fn new(version: Version) -> Self {
        Self(Mutex::new(Inner {
            watchers: Vec::new(),
            kept: VecDeque::new(),
            kept_bytes: 0,
            since: version,
            told: version,
            closed: false,
        }))
    }

    pub(crate) fn watch(&self, space: Space, prefix: &[u8], from: Version) -> Watch {
        let (sender, receiver) = mpsc::channel(Watch::HELD);
        let mut inner = self.locked();
        let watcher = Watcher { space: space.id(), prefix: prefix.to_vec(), from, sender };
        let begins =
            !inner.closed && from >= inner.since && inner.kept.iter().all(|batch| watcher.tell(batch));
        if begins {
            inner.watchers.push(watcher);
        }
        Watch(receiver)
    }

    /// Tells of a batch. Whoever does not keep up is let go of.
    pub(crate) fn publish(&self, batch: Batch, version: Version) {
        let batch = Arc::new(batch);
        let mut inner = self.locked();
        inner.watchers.retain(|watcher| watcher.tell(&batch));
        inner.told = version;
        inner.kept_bytes += batch.bytes;
        inner.kept.push_back(batch);
        while inner.kept_bytes > KEPT_BYTES || inner.kept.len() > KEPT_BATCHES {
            let Some(old) = inner.kept.pop_front() else { break };
            inner.kept_bytes -= old.bytes;
            inner.since = old.writes.iter().map(|write| write.version).max().unwrap_or(inner.told);
        }
    }

    /// Ends every watch.
    pub(crate) fn close(&self) {
        let mut inner = self.locked();
        inner.closed = true;
        inner.watchers.clear();
    }

    fn locked(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watcher {
    /// `false`: it is gone, or has fallen behind.
    fn tell(&self, batch: &Batch) -> bool {
        batch.writes.iter().filter(|write| self.wants(write)).all(|write| {
            let change =
                Change { version: write.version, key: write.key.to_vec(), value: write.value.clone() };
            self.sender.try_send(change).is_ok()
        }) && !self.sender.is_closed()
    }

    fn wants(&self, write: &Write) -> bool {
        write.space == self.space && write.version > self.from && write.key.starts_with(&self.prefix)
    }
}
