//! One piece of work.

use super::value::size_of_attributes;
use super::{Attributes, SpanId, Text, TraceId};

/// One piece of work within a trace.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// The trace it belongs to.
    pub trace: TraceId,
    /// Its own id.
    pub span: SpanId,
    /// The span that caused it.
    pub parent: Option<SpanId>,
    /// Who did it.
    pub service: Text,
    /// What was done: the operation.
    pub name: Text,
    /// Which side of a call it saw.
    pub kind: SpanKind,
    /// When it began, in nanoseconds since the Unix epoch.
    pub start_ns: u64,
    /// How long it took, in nanoseconds.
    pub duration_ns: u64,
    /// How it ended.
    pub status: Status,
    /// What else is known of it.
    pub attributes: Attributes,
    /// What happened within it.
    pub events: Vec<SpanEvent>,
    /// Other spans it has to do with.
    pub links: Vec<Link>,
}

/// Which side of a call a span saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SpanKind {
    /// No call.
    #[default]
    Internal,
    /// It answered somebody.
    Server,
    /// It called somebody.
    Client,
    /// It sent a message.
    Producer,
    /// It worked on a message.
    Consumer,
}

impl SpanKind {
    /// Its name: `internal`, `server`, `client`, `producer`, `consumer`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Internal => "internal",
            Self::Server => "server",
            Self::Client => "client",
            Self::Producer => "producer",
            Self::Consumer => "consumer",
        }
    }

    /// Whether it is work that somebody asked for: what a service's latency is made of.
    pub const fn serves(self) -> bool {
        matches!(self, Self::Server | Self::Consumer)
    }
}

/// How a span ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Status {
    /// Nothing was said: well, as far as is known.
    #[default]
    Unset,
    /// Somebody said that it went well.
    Ok,
    /// It failed.
    Error {
        /// How; may be empty.
        message: Text,
    },
}

impl Status {
    /// Whether it failed.
    pub const fn failed(&self) -> bool {
        matches!(self, Self::Error { .. })
    }
}

/// Something that happened within a span.
#[derive(Clone, Debug, PartialEq)]
pub struct SpanEvent {
    /// When, in nanoseconds since the Unix epoch.
    pub time_ns: u64,
    /// What.
    pub name: Text,
    /// What else is known of it.
    pub attributes: Attributes,
}

/// Another span that a span has to do with.
#[derive(Clone, Debug, PartialEq)]
pub struct Link {
    /// The trace of the other.
    pub trace: TraceId,
    /// The other.
    pub span: SpanId,
    /// What else is known of it.
    pub attributes: Attributes,
}

impl Span {
    /// When it ended.
    pub const fn end_ns(&self) -> u64 {
        self.start_ns.saturating_add(self.duration_ns)
    }

    /// About how many bytes it takes in memory.
    pub fn size(&self) -> usize {
        let message = if let Status::Error { message } = &self.status { message.len() } else { 0 };
        let events: usize = self
            .events
            .iter()
            .map(|e| size_of::<SpanEvent>() + e.name.len() + size_of_attributes(&e.attributes))
            .sum();
        let links: usize =
            self.links.iter().map(|l| size_of::<Link>() + size_of_attributes(&l.attributes)).sum();
        size_of::<Self>() + self.name.len() + message + size_of_attributes(&self.attributes) + events + links
    }
}
