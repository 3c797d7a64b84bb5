//! Puts a node together, starts and stops it, serves the admin API.
//!
//! Read in this order: [`node`](Node) (start to end), `app` (from a file to listeners, routes and desired
//! state), `certificates` (those of the gateway), `edge` (what it checks), `guards` (breakers and ejections, told),
//! `broker` (queues and topics),
//! `observe` (telemetry), `console` (the web console), `admin` (the API), then the small parts: `state_dir`, `addresses`,
//! `events`, `spans` and `access`, `policies`, `listener`, `port_holder`.

mod access;
mod addresses;
mod admin;
mod app;
mod apply_error;
mod broker;
mod certificates;
mod console;
pub mod durability;
mod edge;
mod events;
mod guards;
mod listener;
mod node;
mod objectives;
mod observe;
mod outbound;
mod policies;
pub mod port_holder;
mod spans;
mod state_dir;
mod takeover;
pub mod upkeep;

pub use node::{Node, NodeError, Options};
pub use proxy::tls::install_provider as install_crypto_provider;
pub use runtime::keeper;
pub use state_dir::left_behind;
pub use takeover::{DRAIN, TakeOverError};
