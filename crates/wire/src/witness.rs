//! Who is told of every request: spans and counts are made elsewhere.

use std::time::{Duration, Instant};

use kit::Timestamp;
use kit::trace::{Context, Trace};

/// A request that was answered.
#[derive(Clone, Debug)]
pub struct Exchange<'a> {
    /// The face: `sqs`.
    pub face: &'a str,
    /// What was asked for; empty if that is unknown.
    pub action: &'a str,
    /// The queue or topic; empty if none was found.
    pub resource: &'a str,
    /// Who asked; empty if nobody was let in.
    pub caller: &'a str,
    /// The status of the answer.
    pub status: u16,
    /// The code of the error.
    pub error: Option<&'a str>,
    /// How many messages went in or out.
    pub messages: u32,
    /// The message, if it was one and its id is known.
    pub message: Option<&'a str>,
    /// The span of this request.
    pub trace: Trace,
    /// Where its messages stand in traces, beside the parent of that span.
    pub links: &'a [Context],
    /// When the request's head was there.
    pub began: Instant,
    /// Until its answer was made.
    pub took: Duration,
    /// When there was something to answer, if it waited for that: before, nothing was done.
    pub since: Option<Timestamp>,
}

/// Is told of every request. Called on the request path: it neither waits nor writes.
pub trait Witness: Send + Sync + 'static {
    /// A request was answered.
    fn saw(&self, exchange: &Exchange<'_>);
}

/// Nobody.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unseen;

impl Witness for Unseen {
    fn saw(&self, _: &Exchange<'_>) {}
}
