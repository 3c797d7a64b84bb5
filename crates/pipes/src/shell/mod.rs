//! The shell around the cores: [`Pipes`] and [`Queue`], which everybody else uses. It reads the clock, commits what a core
//! decided, and wakes whoever waits.

mod options;
mod pipes;
mod queue;

pub use options::{Counts, Created, Declared, Limits, MoveId, MoveState, MoveTask, Options, Receive};
pub use pipes::Pipes;
pub use queue::Queue;
