//! The data path, for the gateway and the mesh alike: listen, route, filter, balance, connect, respond.
//! It has never heard of storage, controllers, or how instances are started.
//!
//! A request goes down this list, which is also the order to read the modules in:
//!
//! - [`listen`](Proxy): threads, listeners, tables in, requests counted;
//! - `handover`: listening sockets that another process takes over;
//! - [`tls`]: handshakes, certificates by name;
//! - `thread`, `connection`: one thread and what it owns; one client connection and its time limits;
//! - `engine`: who speaks HTTP on the sockets;
//! - [`exchange`]: one request, from its route to its record; `exchange::run` is the function to read;
//! - `head`: what is refused, not believed, passed on;
//! - [`table`], `router`: which route takes it;
//! - [`filter`]: what stands between a route and its service, or in its place;
//! - [`policy`]: breaker, bulkhead, limits, balance and the like, as machines without a clock;
//! - `retry`, `balance`, `pool`, `upload`, `alarms`: attempts on instances, and how long they may take;
//! - [`failure`], `respond`: what can go wrong, and the one place where that becomes an answer;
//! - `outgoing`, `tunnel`, `record`, [`access`]: the answer's way out and what is known in the end;
//! - [`signals`]: counts and latencies per route, and the channel on which records leave as spans;
//! - [`limits`], [`stats`], [`trace`], [`body`].
//!
//! `docs/life-of-a-request.md` tells it as a story.

pub mod access;
mod alarms;
mod attempt;
mod balance;
pub mod body;
mod compile;
mod connection;
mod deadline;
mod engine;
pub mod exchange;
pub mod failure;
mod fallback;
pub mod fields;
pub mod filter;
mod forward;
mod grpc;
pub mod guard;
mod handover;
mod head;
pub mod limits;
mod listen;
mod mirror;
mod outgoing;
pub mod policy;
mod pool;
mod rare;
mod record;
mod respond;
mod retry;
mod router;
pub mod signals;
mod stale;
pub mod stats;
pub mod table;
mod thread;
pub mod tls;
pub mod trace;
mod tunnel;
mod upload;

pub use access::{AccessRecord, AccessSink};
pub use body::Body;
pub use exchange::{Answer, Entrance, Exchange};
pub use failure::{Failure, Kind};
pub use filter::{Filter, Handler};
pub use guard::{GuardState, Guards};
pub use handover::Sockets;
pub use limits::Limits;
pub use listen::{Handle, Listener, Options, Proxy};
pub use stats::Stats;
pub use table::RouteTable;
