//! Batteries the standard library and the async runtime do not ship, and no domain: a noun of the
//! platform (service, route, queue) has no place here.
//!
//! Read in this order: [`report`] (how errors speak), [`units`], [`clock`], [`backoff`], [`tasks`],
//! [`trace`], [`ansi`].

pub mod ansi;
pub mod backoff;
pub mod clock;
pub mod report;
pub mod tasks;
pub mod trace;
pub mod units;

pub use backoff::Backoff;
pub use clock::{Clock, SteppedClock, SystemClock, Timestamp};
pub use report::{Code, Explain, Help};
pub use tasks::{OnError, Tasks};

/// A boxed future, for traits that must be usable as `dyn`.
pub type BoxFuture<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + Send + 'a>>;
