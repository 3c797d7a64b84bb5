//! Which instances exist, where, how healthy. It publishes endpoint snapshots whole; readers never lock.
//! It has never heard of HTTP routes or of how instances are started.
//!
//! Read in this order: [`endpoint`] (one instance as the data path sees it; with [`moment`], [`latency`] and
//! [`outlier`]), [`directory`] (all of them),
//! [`health`] (when one counts as ready), `probe` (how one is asked), `lane` and `roster` (who is
//! registered and what follows), `registry` (the task that owns all this, and its handle).

pub mod directory;
pub mod endpoint;
pub mod health;
mod lane;
pub mod latency;
pub mod moment;
pub mod observed;
pub mod outlier;
mod probe;
mod registry;
mod roster;

pub use directory::{Directory, Endpoints, Upstream};
pub use endpoint::{Endpoint, Lease};
pub use health::Health;
pub use moment::Moment;
pub use observed::{Observed, ObservedMap};
pub use probe::ExecProbe;
pub use registry::{Options, Registry};
