//! Which instances exist, where, how healthy. It publishes endpoint snapshots whole; readers never lock.
//! It has never heard of HTTP routes or of how instances are started.
//!
//! Read in this order: [`endpoint`] (one instance as the data path sees it), [`directory`] (all of them).

pub mod directory;
pub mod endpoint;

pub use directory::{Directory, Endpoints, Upstream};
pub use endpoint::{Endpoint, Lease};
