//! Starts, watches and stops instances through drivers. It has never heard of routes, health or YAML.
//!
//! Read in this order: [`driver`] (the narrow waist), then the drivers behind it.

pub mod driver;
pub mod logs;

pub use driver::{
    Driver, Event, Exit, Found, Launch, Lifetime, RecoverError, StartError, Started, Stop, StopError, Usage,
};
