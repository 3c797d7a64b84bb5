//! Desired state, reconciled: compares what the app asks for with what runs, plans, and acts.
//!
//! The thinking is pure and has no clock: [`desired`] (what should be), [`fleet`] (what is), [`plan`]
//! (what to do next), [`status`] (how to say it). The doing is dull: [`controller`] carries a plan out
//! through a driver and the registry. It has never heard of YAML, HTTP or what is inside a driver.

pub mod checks;
pub mod controller;
pub mod desired;
pub mod fleet;
pub mod launch;
mod memory;
mod news;
pub mod order;
pub mod plan;
pub mod ports;
mod reconciler;
mod restarts;
pub mod status;

pub use checks::Checks;
pub use controller::{Controller, Gone, Happening, Level, Options, RestartError, Target};
pub use desired::{Change, ChangeKind, Desired, Goal, Want};
pub use fleet::{Fleet, Place};
pub use memory::Memory;
