//! The store's own space, number 0: what it has to remember between two lives.

use crate::space::{Space, SpaceKind};
use crate::txn::{TxnId, Version};

/// The number of the last commit, in every batch.
pub(crate) const VERSION: &[u8] = b"v";
/// How often the directory was opened.
pub(crate) const OPENED: &[u8] = b"o";
/// `s` and the number of a space: its kind, and its name.
pub(crate) const SPACES: &[u8] = b"s";
/// `t`, a bucket of ten minutes and the identity of a transaction: its version.
pub(crate) const TRANSACTIONS: &[u8] = b"t";

/// What stands under [`SPACES`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) id: u8,
    pub(crate) kind: SpaceKind,
    pub(crate) name: String,
}

impl Known {
    pub(crate) fn of(space: Space) -> Self {
        Self { id: space.id(), kind: space.kind(), name: space.name().to_owned() }
    }

    pub(crate) fn key(&self) -> Vec<u8> {
        [SPACES, &[self.id]].concat()
    }

    pub(crate) fn value(&self) -> Vec<u8> {
        let kind = match self.kind {
            SpaceKind::WriteOnce => b'w',
            SpaceKind::Rewritten => b'r',
            SpaceKind::Quiet => b'q',
        };
        [&[kind], self.name.as_bytes()].concat()
    }

    pub(crate) fn read(key: &[u8], value: &[u8]) -> Option<Self> {
        let id = *key.strip_prefix(SPACES)?.first()?;
        let (kind, name) = value.split_first()?;
        let kind = match kind {
            b'w' => SpaceKind::WriteOnce,
            b'r' => SpaceKind::Rewritten,
            b'q' => SpaceKind::Quiet,
            _ => return None,
        };
        Some(Self { id, kind, name: String::from_utf8(name.to_vec()).ok()? })
    }
}

/// A number as it is kept.
pub(crate) fn number(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_be_bytes)
}

/// Where the bucket begins.
pub(crate) fn bucket(bucket: u64) -> Vec<u8> {
    [TRANSACTIONS, &bucket.to_be_bytes()].concat()
}

/// Where a transaction is remembered.
pub(crate) fn transaction(bucket: u64, id: TxnId) -> Vec<u8> {
    [TRANSACTIONS, &bucket.to_be_bytes(), &id.0.to_be_bytes()].concat()
}

/// The bucket and the version of a remembered transaction.
pub(crate) fn remembered(key: &[u8], value: &[u8]) -> Option<(u64, Version)> {
    let bucket = key.strip_prefix(TRANSACTIONS)?.first_chunk::<8>()?;
    Some((u64::from_be_bytes(*bucket), Version(number(value)?)))
}
