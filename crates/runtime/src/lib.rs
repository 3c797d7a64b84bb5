//! Starts, watches and stops instances through drivers. It has never heard of routes, health or YAML.
//!
//! Read in this order: [`driver`] (the narrow waist), [`process`] (host processes, the node's side),
//! [`keeper`] (the process that holds them), `sandbox` (from fork to exec and to the last descendant),
//! [`logs`], [`mock`].

mod cgroup;
pub mod driver;
pub mod keeper;
pub mod logs;
pub mod mock;
pub mod process;
mod procfs;
mod sandbox;
pub mod signals;
mod wire;

pub use driver::{
    Driver, Event, Exit, Found, Launch, Lifetime, RecoverError, StartError, Started, Stop, StopError, Usage,
};
