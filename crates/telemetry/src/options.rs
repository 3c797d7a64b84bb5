//! How much is kept, of what, and for how long. Every bound of this crate that a setting can move is here; those that
//! none can are in [`Limits`].

use std::time::Duration;

/// What is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// How long records are kept; whole hours go, the oldest first.
    pub keep: Duration,
    /// How many bytes records may take on disk; whole hours go, the oldest first.
    pub disk_bytes: u64,
    /// How long the roll-ups are kept: latency by service and minute, and who calls whom.
    pub keep_rollups: Duration,
    /// Bytes of records that wait to be indexed, at most: what comes then is dropped and counted.
    pub waiting_bytes: usize,
    /// Bytes of filters of blocks that are held in memory, at most; those of older blocks are read when asked for.
    pub filter_bytes: usize,
    /// Which traces are kept.
    pub sampling: Sampling,
    /// What a single record may be.
    pub limits: Limits,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            keep: Duration::from_secs(3 * 24 * 3600),
            disk_bytes: 2 << 30,
            keep_rollups: Duration::from_secs(21 * 24 * 3600),
            waiting_bytes: 64 << 20,
            filter_bytes: 64 << 20,
            sampling: Sampling::default(),
            limits: Limits::default(),
        }
    }
}

/// Which traces are kept. Those that failed or were slow are kept whole, of the rest a share.
#[derive(Clone, Debug, PartialEq)]
pub struct Sampling {
    /// The share of ordinary traces that is kept: 1 keeps everything, and nothing waits for a decision.
    pub share: f64,
    /// What counts as slow.
    pub slow: Slow,
    /// How long after its first span a trace is decided about, with what is known of it then.
    pub wait: Duration,
    /// Bytes of spans that wait for a decision, at most: over it the oldest traces are decided about early.
    pub waiting_bytes: usize,
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            share: 1.0,
            slow: Slow::Over(Duration::from_secs(1)),
            wait: Duration::from_secs(5),
            waiting_bytes: 32 << 20,
        }
    }
}

/// What counts as slow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Slow {
    /// A span that took longer.
    Over(Duration),
    /// A span that took longer than this share of those of its operation before it, such as 0.99.
    Quantile(f64),
}

/// What a single record may be. What is longer is cut and marked, what is more is left out and counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a name: of a service, an operation, a metric, the key of an attribute.
    pub name_bytes: usize,
    /// Bytes of the value of an attribute; lists and maps that are larger become their text, cut.
    pub value_bytes: usize,
    /// Bytes of the text of a log record, of the message of an error.
    pub body_bytes: usize,
    /// Attributes of a record, of an event of a span, of a link.
    pub attributes: usize,
    /// Events of a span, links of a span, frames of an error: each.
    pub parts: usize,
    /// Bytes of a whole record, after all cuts: one that is larger loses its attributes.
    pub record_bytes: usize,
    /// Labels of a metric.
    pub labels: usize,
    /// Buckets of a histogram.
    pub buckets: usize,
    /// How far ahead of our clock a record may be: one that is further has the time of its arrival.
    pub future: Duration,
    /// Services that are told apart; what others send is kept as that of `(others)`.
    pub services: usize,
    /// Operations of a service that are listed.
    pub operations: usize,
    /// Series of metrics within a day; points of further ones are dropped.
    pub series: usize,
    /// Groups of errors; the one that was seen longest ago makes room.
    pub groups: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            name_bytes: 256,
            value_bytes: 8 << 10,
            body_bytes: 32 << 10,
            attributes: 128,
            parts: 128,
            record_bytes: 256 << 10,
            labels: 32,
            buckets: 512,
            future: Duration::from_secs(600),
            services: 1_000,
            operations: 1_000,
            series: 100_000,
            groups: 5_000,
        }
    }
}
