//! `atoll up` and what follows, with the real binary, real processes and real sockets.
#![allow(clippy::unwrap_used)]

mod asking;
mod bookshop;
mod changes;
mod detached;
mod faults;
mod foreground;
mod guards;
mod keys;
mod load;
mod notified;
mod onward;
mod queues;
mod sdk;
mod serving;
mod signatures;
mod slo;
mod telemetry;
mod tls;
mod topics;
mod topics_killed;
mod traces;
mod upgrade;
mod world;
