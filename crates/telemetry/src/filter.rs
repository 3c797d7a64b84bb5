//! What can be asked. A filter that says nothing asks for everything; each says by itself whether a record is meant, and
//! that is the definition which the search through blocks is held against.

use std::time::Duration;

use kit::Timestamp;

use crate::model::{
    Attributes, Cursor, ErrorGroup, ErrorState, LogRecord, MetricPoint, Severity, Span, TraceId,
};
use crate::words;

/// A stretch of time in nanoseconds since the Unix epoch, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeRange {
    /// From here on.
    pub from_ns: u64,
    /// Up to here.
    pub until_ns: u64,
}

impl TimeRange {
    /// All of time.
    pub const ALL: Self = Self { from_ns: 0, until_ns: u64::MAX };

    /// Between two moments; what is left out is open.
    pub fn new(from: Option<Timestamp>, until: Option<Timestamp>) -> Self {
        let ns = |moment: Timestamp| moment.as_micros().saturating_mul(1_000);
        Self {
            from_ns: from.map_or(0, ns),
            until_ns: until.map_or(u64::MAX, |until| ns(until).saturating_add(999)),
        }
    }

    /// The last stretch before a moment.
    pub fn last(length: Duration, now: Timestamp) -> Self {
        Self::new(Some(now - length), Some(now))
    }

    /// Whether a moment is within.
    pub const fn has(&self, ns: u64) -> bool {
        self.from_ns <= ns && ns <= self.until_ns
    }

    /// Whether it has anything in common with the stretch from `first` to `last`.
    pub(crate) const fn meets(&self, first: u64, last: u64) -> bool {
        self.from_ns <= last && first <= self.until_ns
    }
}

impl Default for TimeRange {
    fn default() -> Self {
        Self::ALL
    }
}

/// Which traces: those with a span of which all of this is true.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceFilter {
    /// The service that worked.
    pub service: Option<String>,
    /// What it did: the name of the span.
    pub operation: Option<String>,
    /// Only failed ones, or only others.
    pub failed: Option<bool>,
    /// At least as long.
    pub min_ns: Option<u64>,
    /// At most as long.
    pub max_ns: Option<u64>,
    /// Attributes, all of them equal in their text.
    pub attributes: Vec<(String, String)>,
    /// When it began.
    pub range: TimeRange,
    /// At most so many.
    pub limit: usize,
}

impl Default for TraceFilter {
    fn default() -> Self {
        Self {
            service: None,
            operation: None,
            failed: None,
            min_ns: None,
            max_ns: None,
            attributes: Vec::new(),
            range: TimeRange::ALL,
            limit: 20,
        }
    }
}

impl TraceFilter {
    /// Whether this span is meant.
    pub fn matches(&self, span: &Span) -> bool {
        self.range.has(span.start_ns)
            && self.service.as_deref().is_none_or(|service| span.service == *service)
            && self.operation.as_deref().is_none_or(|operation| span.name == *operation)
            && self.failed.is_none_or(|failed| span.status.failed() == failed)
            && self.min_ns.is_none_or(|min| span.duration_ns >= min)
            && self.max_ns.is_none_or(|max| span.duration_ns <= max)
            && all_equal(&self.attributes, &span.attributes)
    }
}

/// Which log records.
#[derive(Clone, Debug, PartialEq)]
pub struct LogFilter {
    /// What occurs in the text as whole words, in any case of ASCII letters; all of them.
    pub words: Vec<String>,
    /// Of this service.
    pub service: Option<String>,
    /// Of this instance.
    pub instance: Option<String>,
    /// At least so severe.
    pub severity: Option<Severity>,
    /// Fields, all of them equal in their text.
    pub attributes: Vec<(String, String)>,
    /// Of this trace.
    pub trace: Option<TraceId>,
    /// When.
    pub range: TimeRange,
    /// Older than this record of an earlier answer.
    pub before: Option<Cursor>,
    /// At most so many.
    pub limit: usize,
}

impl Default for LogFilter {
    fn default() -> Self {
        Self {
            words: Vec::new(),
            service: None,
            instance: None,
            severity: None,
            attributes: Vec::new(),
            trace: None,
            range: TimeRange::ALL,
            before: None,
            limit: 100,
        }
    }
}

impl LogFilter {
    /// Whether this record is meant, wherever it stands among others.
    pub fn matches(&self, record: &LogRecord) -> bool {
        self.range.has(record.time_ns)
            && self.service.as_deref().is_none_or(|service| record.service == *service)
            && self.instance.as_deref().is_none_or(|instance| record.instance == *instance)
            && self.severity.is_none_or(|least| record.severity >= least)
            && self.trace.is_none_or(|trace| record.trace == Some(trace))
            && all_equal(&self.attributes, &record.attributes)
            && self.words.iter().all(|word| words::occurs(word, &record.body))
    }
}

fn all_equal(wanted: &[(String, String)], attributes: &Attributes) -> bool {
    wanted.iter().all(|(key, text)| {
        attributes.iter().any(|(other, value)| *other == key.as_str() && value.as_text() == text.as_str())
    })
}

/// Which numbers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MetricFilter {
    /// The metric's name.
    pub name: String,
    /// Labels, all of them equal.
    pub labels: Vec<(String, String)>,
    /// When.
    pub range: TimeRange,
    /// Between two points of the answer.
    pub step: Duration,
}

impl MetricFilter {
    /// Whether this point is meant.
    pub fn matches(&self, point: &MetricPoint) -> bool {
        point.name == self.name.as_str()
            && self.range.has(point.time_ns)
            && self.labels.iter().all(|(key, text)| {
                point.labels.iter().any(|(other, value)| *other == key.as_str() && *value == text.as_str())
            })
    }
}

/// Which latencies.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LatencyFilter {
    /// Of this service; all if left out.
    pub service: Option<String>,
    /// When; whole minutes.
    pub range: TimeRange,
    /// Minutes that are taken together; 0 is 1.
    pub step_minutes: u32,
}

/// Which groups of errors.
#[derive(Clone, Debug, PartialEq)]
pub struct ErrorFilter {
    /// Thrown by this service.
    pub service: Option<String>,
    /// In this state; if left out: those that are open or came back.
    pub state: Option<ErrorState>,
    /// Seen within.
    pub range: TimeRange,
    /// At most so many, the last seen first.
    pub limit: usize,
}

impl Default for ErrorFilter {
    fn default() -> Self {
        Self { service: None, state: None, range: TimeRange::ALL, limit: 100 }
    }
}

impl ErrorFilter {
    /// Whether this group is meant.
    pub fn matches(&self, group: &ErrorGroup) -> bool {
        let state = match self.state {
            Some(state) => group.state == state,
            None => matches!(group.state, ErrorState::Open | ErrorState::Regressed),
        };
        state
            && self.service.as_deref().is_none_or(|service| group.service == *service)
            && self.range.meets(group.first_seen_ns, group.last_seen_ns)
    }
}
