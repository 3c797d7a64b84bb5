//! Takes in, keeps and answers traces, logs, metrics and errors. It has never heard of the node, of sockets or of who asks.
//!
//! In this order: [`model`] (what it is about), [`Options`], [`Telemetry`] (the whole, opened and closed), [`Intake`] (how
//! things come in; never waits), [`Query`] and `filter` (what can be asked). Decoders of what services send: [`otlp`],
//! [`sentry`], [`loglines`], [`thrown`]; they make records of the model, and whoever listens offers those.
//!
//! Inside: `admission` (limits) → `intake` (a queue bounded in bytes) → `indexer` (the one thread that works on it:
//! `sampling`, `rollup`, `groups`) → `lane` (records of one kind: open ones in memory, sealed ones in blocks); `block` is the
//! form of a block, `files` are those on disk, `disk` is what the thread does with them.

pub mod loglines;
pub mod model;
pub mod otlp;
pub mod promql;
pub mod sentry;
pub mod slo;
pub mod thrown;

mod admission;
mod block;
mod bytes;
mod catalog;
mod counters;
mod disk;
mod files;
mod filter;
mod groups;
mod indexer;
mod intake;
mod lane;
mod onward;
mod options;
mod query;
mod rollup;
mod sampling;
mod shared;
mod sketch;
mod tail;
mod telemetry;
mod words;

pub use admission::{CUT_MARK, LEFT_OUT, NO_NAME, NO_SERVICE, SAID_TIME};
pub use catalog::MetricInfo;
pub use counters::Reason;
pub use filter::{ErrorFilter, LatencyFilter, LogFilter, MetricFilter, TimeRange, TraceFilter};
pub use intake::{Intake, Offered};
pub use onward::OnwardReader;
pub use options::{Limits, Options, Sampling, Slow};
pub use query::{Edge, ErrorDetail, Latency, Party, Query, Series, Stats, Trace, TraceSummary};
pub use rollup::{CALLER, PEER_SERVICE};
pub use sketch::Sketch;
pub use tail::{Tail, TailItem};
pub use telemetry::{OpenError, Telemetry};
