//! The seam: what the planes above need of a store, and all they may use of one.

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use kit::BoxFuture;
use tokio::sync::oneshot;

use crate::admission::Admission;
use crate::error::{CommitError, Refused, StoreError};
use crate::space::Space;
use crate::txn::{Epoch, Key, Txn, Version};

/// Ordered keys with atomic, conditional, durable commits. Embedded, or a database that several nodes share: whoever uses it
/// cannot tell, and must not try to.
pub trait Store: Send + Sync + 'static {
    /// Takes room for a commit of so many bytes, or says at once that there is none. Everything that can be refused is
    /// refused here: between this and [`Self::commit`] a caller may change what it holds in memory.
    fn admit(&self, bytes: usize) -> Result<Admission, Refused>;

    /// Commits a transaction. It takes its place behind all that were given before, by this very call and not when the
    /// future is polled first; dropping the future takes nothing back. The future is ready once the transaction is on disk.
    ///
    /// After [`CommitError::Failed`] the store refuses everything until it is opened again.
    fn commit(&self, admission: Admission, txn: Txn) -> Committing;

    /// A view of everything that was committed, and acknowledged, when it was taken.
    fn snapshot(&self) -> Result<Box<dyn Snapshot>, Refused>;

    /// Changes of keys with this prefix, of commits after `from`, in their order. What is no longer there to be told
    /// ([`Watch::next`]) has to be read from a snapshot.
    fn watch(&self, space: Space, prefix: &[u8], from: Version) -> Watch;

    /// Holds the lease of this name, if nobody else does, for `ttl` from now on.
    fn lease<'a>(&'a self, name: &'a str, ttl: Duration) -> BoxFuture<'a, Result<Lease, StoreError>>;

    /// Holds a lease for another `ttl`. An error: somebody else has it, or may have.
    fn renew<'a>(&'a self, lease: &'a Lease, ttl: Duration) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Lets go of a lease.
    fn release(&self, lease: Lease) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Removes every key with this prefix, without a cost for each where the engine can. Not atomic: readers may see
    /// some gone and others not; after a crash in the middle some may be left.
    fn drop_bucket<'a>(&'a self, space: Space, prefix: &'a [u8]) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Writes a consistent copy of everything into an empty directory, while commits go on.
    fn backup<'a>(&'a self, to: &'a Path) -> BoxFuture<'a, Result<BackupReport, StoreError>>;

    /// How it is.
    fn stats(&self) -> Stats;

    /// Takes nothing more, and waits until all that was given is on disk or has failed. Snapshots that are still held can
    /// be read.
    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}

/// A consistent view. Holding one holds back what the engine could forget: take it, read, drop it.
pub trait Snapshot: Send + Sync {
    /// The last commit that it shows.
    fn version(&self) -> Version;

    /// The value of a key.
    fn get<'a>(&'a self, space: Space, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Bytes>, StoreError>>;

    /// Keys and values of a range in order, at most `limit` of them and at least one if there is any. To go on, begin behind the
    /// last key.
    fn scan<'a>(&'a self, space: Space, scan: Scan)
    -> BoxFuture<'a, Result<Vec<(Bytes, Bytes)>, StoreError>>;
}

/// Which keys, and how many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scan {
    /// The first key, included.
    pub from: Key,
    /// The end, excluded; `None`: to the last key.
    pub to: Option<Key>,
    /// At most so many. A page may be shorter than that although there is more: see [`Snapshot::scan`].
    pub limit: usize,
    /// From the end backwards.
    pub reverse: bool,
}

impl Scan {
    /// Every key that begins with `prefix`, forwards.
    pub fn prefix(prefix: impl Into<Key>, limit: usize) -> Self {
        let from = prefix.into();
        let to = after_prefix(&from);
        Self { from, to, limit, reverse: false }
    }

    /// The same from behind `last` on, where the page before ended.
    #[must_use]
    pub fn behind(mut self, last: &[u8]) -> Self {
        if self.reverse {
            self.to = Some(last.to_vec());
        } else {
            self.from = last.to_vec();
            self.from.push(0);
        }
        self
    }
}

/// The first key behind all that begin with `prefix`; `None` if there is none.
pub fn after_prefix(prefix: &[u8]) -> Option<Key> {
    let last = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}

/// A commit under way.
#[derive(Debug)]
pub struct Committing(pub(crate) oneshot::Receiver<Result<Version, CommitError>>);

impl Future for Committing {
    type Output = Result<Version, CommitError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // Whoever had it is gone without a word: nobody knows whether it is on disk.
        Pin::new(&mut self.0).poll(cx).map(|outcome| outcome.unwrap_or(Err(CommitError::Failed)))
    }
}

/// A lease that is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// What is held.
    pub name: String,
    /// In which epoch: for [`crate::Pre::Fence`].
    pub epoch: Epoch,
}

/// Changes as they are committed.
#[derive(Debug)]
pub struct Watch(pub(crate) tokio::sync::mpsc::Receiver<Change>);

impl Watch {
    /// Changes that a watch holds for somebody who does not take them. Beyond that it ends.
    pub const HELD: usize = 1024;

    /// The next change. `None`: the watch has fallen behind, or the store is closed; read a snapshot and watch anew from
    /// its version.
    pub async fn next(&mut self) -> Option<Change> {
        self.0.recv().await
    }
}

/// A change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Of which commit.
    pub version: Version,
    /// Which key.
    pub key: Key,
    /// What it has now; `None`: it is gone.
    pub value: Option<Bytes>,
}

/// What a backup holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackupReport {
    /// The last commit in it.
    pub version: Version,
    /// Keys in it.
    pub keys: u64,
    /// Bytes of it.
    pub bytes: u64,
}

/// How a store is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// The name of its engine.
    pub engine: &'static str,
    /// The last commit that is on disk.
    pub version: Version,
    /// Commits since it was opened.
    pub commits: u64,
    /// Syncs since it was opened: commits that come together share one.
    pub syncs: u64,
    /// Bytes of commits under way, and how many there may be.
    pub under_way: (usize, usize),
    /// Bytes on disk.
    pub disk_bytes: u64,
    /// Why it refuses everything, if it does.
    pub failed: Option<Arc<str>>,
}
