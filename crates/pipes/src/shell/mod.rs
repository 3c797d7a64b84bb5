//! The shell around the cores: [`Pipes`] and [`Queue`], which everybody else uses. It reads the clock, commits what a
//! core decided, and wakes whoever waits.
//!
//! Every operation takes room in the store first, since that can be refused. Then, under the lock of its queue, it
//! has the core decide and submits what was decided: so commits have the order of decisions. It waits for the commit
//! without the lock, and only then answers.
//!
//! Read in this order: `pipes` and `queue` (the operations), `receive`, `inner` and `shard` (what they share), `open`
//! (reading back), `upkeep` (what is done in the background), `transfer` and `moves` (from queue to queue).

mod alarms;
mod check;
mod fresh;
mod inner;
mod moves;
mod open;
mod options;
mod parcel;
mod pipes;
mod queue;
mod receive;
mod shard;
mod transfer;
mod upkeep;
mod waiters;

pub use options::{
    Counts, Created, Declared, Limits, MoveId, MoveState, MoveTask, Moved, Options, Receive, Watch,
};
pub use pipes::Pipes;
pub use queue::Queue;
