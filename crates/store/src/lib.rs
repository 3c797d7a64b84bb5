//! Ordered keys with atomic, conditional commits that are on disk before they are acknowledged. It has never heard of what
//! is kept in it: queues, tables and topics are keys here.
//!
//! The seam, all that the planes above may use: [`seam`] (the trait and what it gives), [`txn`] (what is committed),
//! [`space`], [`admission`], [`error`].
//!
//! The store inside one process: [`Options`] and [`open()`], then `embedded` (the trait over any engine), `committer` (the one
//! thread that writes), `draft` (one batch in the making), `watch`, `lease`. Below it `engine` (what an engine has to be able
//! to do, and three of them); beside it `directory`, `mark` and `journal` (whether what is on disk is what was acknowledged),
//! `backup` and `verify`.

pub mod admission;
pub mod error;
pub mod seam;
pub mod space;
pub mod txn;

mod backup;
mod committer;
mod directory;
mod draft;
mod embedded;
mod engine;
mod journal;
mod lease;
mod mark;
mod open;
mod open_error;
mod options;
mod own;
mod share;
mod verify;
mod watch;

pub use admission::Admission;
pub use backup::{BACKUP_FILE, restore};
pub use embedded::Embedded;
pub use engine::memory::{Disk, Fault};
pub use error::{CommitError, Refused, StoreError};
pub use open::open;
pub use open_error::OpenError;
pub use options::{EngineKind, Options};
pub use seam::{BackupReport, Change, Committing, Lease, Scan, Snapshot, Stats, Store, Watch, after_prefix};
pub use space::{Space, SpaceKind};
pub use txn::{Epoch, Key, Op, Pre, Txn, TxnId, Version};
pub use verify::{SpaceReport, VerifyReport, verify};
