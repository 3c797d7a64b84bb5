//! What is committed: preconditions and operations, as data.

use bytes::Bytes;

use crate::space::Space;

/// A key. Ordered bytewise; integers in keys are big-endian, so that their order is the keys' order.
pub type Key = Vec<u8>;

/// The number of a commit. The store gives them out in the order of commits, without gaps being promised; a version
/// that was acknowledged is never given out again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u64);

/// Who holds a lease for the how-manieth time: a later holder has a higher epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

/// The identity of a transaction, chosen by its caller at random. A second commit with the same identity within
/// [`Txn::REMEMBERED`] applies nothing and answers with the first one's version: that makes a commit whose answer was lost
/// safe to repeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TxnId(pub u128);

/// One atomic change: all of its operations happen if all of its preconditions hold, and none otherwise.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Txn {
    /// What must hold, looked at when the transaction takes its place in the order of commits.
    pub pre: Vec<Pre>,
    /// What is done, in this order.
    pub ops: Vec<Op>,
    /// Set where the caller may have to ask again without knowing whether it was done.
    pub id: Option<TxnId>,
}

/// What must hold for a transaction to happen.
#[derive(Clone, Debug, PartialEq)]
pub enum Pre {
    /// There is no such key.
    Absent(Space, Key),
    /// The key is there and has this value.
    Value(Space, Key, Bytes),
    /// There is no key in the range: from the first, included, to the second, excluded.
    RangeEmpty(Space, Key, Key),
    /// The lease of this name is held in this epoch.
    Fence(String, Epoch),
}

/// One operation.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// Sets a key. The value is kept as it was given: one that is a part of a larger buffer keeps all of that in memory.
    Put(Space, Key, Bytes),
    /// Removes a key; one that is not there is no error.
    Delete(Space, Key),
    /// Adds to a number, eight bytes big-endian in two's complement; a key that is not there counts as zero. A value of another
    /// length makes the transaction fail as [`crate::CommitError::Invalid`].
    Add(Space, Key, i64),
    /// Sets the key `prefix ++ version (8 bytes, big-endian) ++ suffix`, with the version of this very commit: for event streams,
    /// change streams and outboxes, whose order is the order of commits.
    PutAtVersion(Space, Key, Key, Bytes),
}

impl Txn {
    /// Bytes of keys and values that a transaction may have. Wide enough for ten messages of the largest size; an engine
    /// with less must split values, not ask its callers to.
    pub const MOST_BYTES: usize = 16 * 1024 * 1024;
    /// Preconditions and operations together.
    pub const MOST_PARTS: usize = 4096;
    /// Bytes of one key.
    pub const MOST_KEY_BYTES: usize = 4096;
    /// For how long the identity of a transaction is remembered, at least.
    pub const REMEMBERED: std::time::Duration = std::time::Duration::from_secs(600);

    /// An empty transaction.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an operation.
    #[must_use]
    pub fn put(mut self, space: Space, key: impl Into<Key>, value: impl Into<Bytes>) -> Self {
        self.ops.push(Op::Put(space, key.into(), value.into()));
        self
    }

    /// Adds an operation.
    #[must_use]
    pub fn delete(mut self, space: Space, key: impl Into<Key>) -> Self {
        self.ops.push(Op::Delete(space, key.into()));
        self
    }

    /// Adds a precondition.
    #[must_use]
    pub fn when(mut self, pre: Pre) -> Self {
        self.pre.push(pre);
        self
    }

    /// Bytes of its keys and values: what it takes of the room for commits under way.
    pub fn bytes(&self) -> usize {
        let pre = self.pre.iter().map(|pre| match pre {
            Pre::Absent(_, key) => key.len(),
            Pre::Value(_, key, value) => key.len() + value.len(),
            Pre::RangeEmpty(_, from, to) => from.len() + to.len(),
            Pre::Fence(name, _) => name.len(),
        });
        let ops = self.ops.iter().map(|op| match op {
            Op::Put(_, key, value) => key.len() + value.len(),
            Op::Delete(_, key) => key.len(),
            Op::Add(_, key, _) => key.len() + 8,
            Op::PutAtVersion(_, prefix, suffix, value) => prefix.len() + 8 + suffix.len() + value.len(),
        });
        pre.sum::<usize>() + ops.sum::<usize>()
    }
}
