//! What can go wrong with a store that is open.

use std::sync::Arc;

use crate::txn::Version;

/// Why nothing is taken right now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Too much is under way: try again.
    #[error("too many bytes wait to be written")]
    Busy,
    /// A write or a sync has failed, or the disk is full: nobody knows what is on disk. Nothing is taken until the store
    /// was opened anew, and checked by that.
    #[error("the store has stopped: {0}")]
    Stopped(Arc<str>),
}

/// What became of a commit that did not happen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// A precondition does not hold, by its place in the transaction. Nothing was changed.
    #[error("precondition {0} does not hold")]
    Conflict(usize),
    /// The transaction itself is wrong: too large, an unknown space, a number that is none. Nothing was changed.
    #[error("no store can take this transaction: {0}")]
    Invalid(&'static str),
    /// Nobody knows whether it is on disk; the store has stopped.
    #[error("the store has stopped while this was written")]
    Failed,
}

/// What went wrong with a read, a lease or upkeep.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// Nothing is taken right now.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// Somebody else holds the lease, or has held it meanwhile.
    #[error("the lease `{0}` is held by somebody else")]
    Held(String),
    /// The disk or the engine.
    #[error("cannot {doing}: {why}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// What it came to.
        why: Arc<str>,
    },
    /// What is on disk is not what was written.
    #[error("damaged at version {}: {what}", .at.0)]
    Damaged {
        /// The last version that is whole.
        at: Version,
        /// What was found.
        what: String,
    },
}
