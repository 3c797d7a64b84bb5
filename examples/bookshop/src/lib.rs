//! What the bookshop's services share: how a service starts and stops, how it calls another one, how it
//! says no, and how its pages look. Nothing in here knows what the platform is called: a service reads
//! its environment and speaks HTTP, that is all.
//!
//! Read in this order: [`server`], [`call`], [`problem`], [`pipe`] with [`sign`], [`recent`], [`journal`], [`page`]; then
//! the services, one file each, in `src/bin`.

pub mod call;
pub mod journal;
pub mod page;
pub mod pipe;
pub mod problem;
pub mod recent;
pub mod server;
pub mod sign;

pub use call::{CallError, Trail, Upstream};
pub use journal::Journal;
pub use pipe::{Queue, Topic};
pub use problem::Problem;
pub use recent::Recent;
