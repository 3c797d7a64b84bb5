//! The wire types of telemetry: traces, log records, metrics, errors. Questions are sent as JSON, because what
//! they look for may hold any character; fields that are left out ask for everything.

use std::collections::BTreeMap;

use kit::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A span of time; without an end: until now, without a beginning: as far back as there is anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    /// From here on.
    #[serde(default)]
    pub since: Option<Timestamp>,
    /// Up to here.
    #[serde(default)]
    pub until: Option<Timestamp>,
}

/// Which traces: those with a span of which all of this is true.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TraceQuery {
    /// The service that worked.
    #[serde(default)]
    pub service: Option<String>,
    /// What it did: the name of the span.
    #[serde(default)]
    pub operation: Option<String>,
    /// Only failed ones, or only others.
    #[serde(default)]
    pub failed: Option<bool>,
    /// At least as long, in microseconds.
    #[serde(default)]
    pub min_us: Option<u64>,
    /// At most as long, in microseconds.
    #[serde(default)]
    pub max_us: Option<u64>,
    /// Attributes, all of them equal: numbers and booleans as text.
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
    /// When it began.
    #[serde(flatten)]
    pub range: Range,
    /// At most so many, the newest first; 20 if left out, 1,000 at most.
    #[serde(default)]
    pub limit: Option<u32>,
}

/// A trace in a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TraceSummary {
    /// Its id: 32 hexadecimal digits.
    pub trace: String,
    /// The service of its first span.
    pub service: String,
    /// The name of its first span.
    pub operation: String,
    /// When it began.
    pub at: Timestamp,
    /// From its first beginning to its last end, in microseconds.
    pub duration_us: u64,
    /// How many spans are kept of it.
    pub spans: u32,
    /// How many of them failed.
    pub errors: u32,
    /// Who took part, in order of appearance.
    pub services: Vec<String>,
}

/// A trace, whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trace {
    /// Its id: 32 hexadecimal digits.
    pub trace: String,
    /// Its spans by the time they began; a parent before its children where clocks agree.
    pub spans: Vec<Span>,
    /// What was logged on the way.
    pub logs: Vec<LogRecord>,
    /// What was thrown on the way.
    pub errors: Vec<Occurrence>,
}

/// One piece of work.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Span {
    /// Its id: 16 hexadecimal digits.
    pub span: String,
    /// The span that caused it.
    pub parent: Option<String>,
    /// Who did it.
    pub service: String,
    /// What was done.
    pub name: String,
    /// `server`, `client`, `producer`, `consumer`, `internal`.
    pub kind: String,
    /// When it began.
    pub at: Timestamp,
    /// How long it took, in microseconds.
    pub duration_us: u64,
    /// It failed.
    pub failed: bool,
    /// How.
    pub message: Option<String>,
    /// What else is known of it.
    pub attributes: BTreeMap<String, Value>,
    /// What happened within it.
    pub events: Vec<SpanEvent>,
    /// Other spans it has to do with: trace and span.
    pub links: Vec<(String, String)>,
}

/// Something that happened within a span.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SpanEvent {
    /// When.
    pub at: Timestamp,
    /// What.
    pub name: String,
    /// What else is known of it.
    pub attributes: BTreeMap<String, Value>,
}

/// Which log records: those of which all of this is true.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LogQuery {
    /// Words that all occur in the text, in any case.
    #[serde(default)]
    pub words: Vec<String>,
    /// Of this service.
    #[serde(default)]
    pub service: Option<String>,
    /// Of this instance.
    #[serde(default)]
    pub instance: Option<String>,
    /// At least so severe.
    #[serde(default)]
    pub severity: Option<Severity>,
    /// Fields, all of them equal: numbers and booleans as text.
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
    /// Of this trace.
    #[serde(default)]
    pub trace: Option<String>,
    /// When.
    #[serde(flatten)]
    pub range: Range,
    /// At most so many, the newest first; 100 if left out, 10,000 at most.
    #[serde(default)]
    pub limit: Option<u32>,
    /// Go on behind this record of an earlier answer.
    #[serde(default)]
    pub before: Option<String>,
    /// After what is there (the oldest first then): what comes, as it comes.
    #[serde(default)]
    pub follow: bool,
}

/// How much a log record matters, as OpenTelemetry groups it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// 1 to 4.
    Trace,
    /// 5 to 8.
    Debug,
    /// 9 to 12; also where nothing was said.
    Info,
    /// 13 to 16.
    Warn,
    /// 17 to 20.
    Error,
    /// 21 to 24.
    Fatal,
}

/// One log record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogRecord {
    /// Its place among all records, for [`LogQuery::before`].
    pub cursor: String,
    /// When.
    pub at: Timestamp,
    /// Whose.
    pub service: String,
    /// Whose exactly, where that is known: `catalog-2`.
    pub instance: Option<String>,
    /// How much it matters.
    pub severity: Severity,
    /// What it says.
    pub text: String,
    /// Its fields.
    pub attributes: BTreeMap<String, Value>,
    /// The trace it belongs to.
    pub trace: Option<String>,
    /// The span it belongs to.
    pub span: Option<String>,
}

/// Which numbers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MetricQuery {
    /// The metric's name.
    pub name: String,
    /// Labels, all of them equal.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// When.
    #[serde(flatten)]
    pub range: Range,
    /// Seconds between two points; what gives about 200 points if left out.
    #[serde(default)]
    pub step_s: Option<u32>,
}

/// A metric that there is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    /// Its name.
    pub name: String,
    /// `counter`, `gauge`, `histogram`.
    pub kind: String,
    /// Its unit, where that is known.
    pub unit: Option<String>,
    /// How many series it has.
    pub series: u64,
}

/// Values over time with the same labels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// When and how much: of counters and histograms the rate per second, which one value alone does not tell.
    pub points: Vec<(Timestamp, f64)>,
    /// What a counter stands at, or how many values a histogram has counted; of what is no total, nothing.
    #[serde(default)]
    pub total: Option<f64>,
}

/// Which latencies.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LatencyQuery {
    /// Of this service; all if left out.
    #[serde(default)]
    pub service: Option<String>,
    /// When.
    #[serde(flatten)]
    pub range: Range,
    /// Minutes that are taken together; 1 if left out.
    #[serde(default)]
    pub step_min: Option<u32>,
}

/// How long requests to a service took within one step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// The service.
    pub service: String,
    /// Beginning of the step.
    pub at: Timestamp,
    /// Spans that serve somebody.
    pub count: u64,
    /// Those that failed.
    pub errors: u64,
    /// Half took at most so long, in microseconds.
    pub p50_us: u64,
    /// Nine in ten did.
    pub p90_us: u64,
    /// 99 in a hundred did.
    pub p99_us: u64,
    /// For a heat map: upper bound of each bucket that is not empty, in microseconds, and how many are in it.
    pub buckets: Vec<(u64, u64)>,
}

/// Who calls whom.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Graph {
    /// What there is: services, the gateway, queues, topics.
    pub nodes: Vec<GraphNode>,
    /// Who calls, who is called.
    pub edges: Vec<GraphEdge>,
}

/// What takes part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GraphNode {
    /// Its name.
    pub name: String,
    /// `gateway`, `service`, `queue`, `topic`, `outside`.
    pub kind: String,
}

/// Calls from one to another within the range that was asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GraphEdge {
    /// Who calls.
    pub from: String,
    /// What that is, as in [`GraphNode::kind`]: a queue may be called as a service is.
    #[serde(default)]
    pub from_kind: String,
    /// Who is called.
    pub to: String,
    /// What that is.
    #[serde(default)]
    pub to_kind: String,
    /// Calls.
    pub count: u64,
    /// Those that failed.
    pub errors: u64,
    /// Calls per second over the range.
    pub rate: f64,
    /// Half took at most so long, in microseconds.
    pub p50_us: u64,
    /// 99 in a hundred did.
    pub p99_us: u64,
}

/// Which groups of errors.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ErrorQuery {
    /// Thrown by this service.
    #[serde(default)]
    pub service: Option<String>,
    /// In this state; those that are open or came back if left out.
    #[serde(default)]
    pub state: Option<ErrorState>,
    /// Seen within.
    #[serde(flatten)]
    pub range: Range,
    /// At most so many, the last seen first; 100 if left out, 1,000 at most.
    #[serde(default)]
    pub limit: Option<u32>,
}

/// Where a group of errors stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorState {
    /// Nobody has decided anything.
    Open,
    /// Somebody said that it is mended.
    Resolved,
    /// It was resolved and has happened again.
    Regressed,
    /// Nobody wants to hear of it.
    Ignored,
}

/// Errors that are the same one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ErrorGroup {
    /// Its id.
    pub id: String,
    /// `ValueError: no such book`.
    pub title: String,
    /// The frame that threw it.
    pub culprit: Option<String>,
    /// Who threw it.
    pub service: String,
    /// Where it stands.
    pub state: ErrorState,
    /// How often.
    pub count: u64,
    /// For the first time.
    pub first_seen: Timestamp,
    /// For the last time.
    pub last_seen: Timestamp,
    /// The release it was first seen in.
    pub first_release: Option<String>,
    /// The release it was last seen in.
    pub last_release: Option<String>,
}

/// A group of errors, and the last of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ErrorDetail {
    /// The group.
    pub group: ErrorGroup,
    /// The last ones, the newest first.
    pub last: Vec<Occurrence>,
}

/// An error that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Occurrence {
    /// The group it belongs to.
    pub group: String,
    /// When.
    pub at: Timestamp,
    /// Who threw it.
    pub service: String,
    /// The instance, where that is known.
    pub instance: Option<String>,
    /// `ValueError`.
    pub kind: String,
    /// `no such book`.
    pub message: String,
    /// Where, the innermost frame last.
    pub frames: Vec<Frame>,
    /// The trace that led to it.
    pub trace: Option<String>,
    /// The span it was thrown in.
    pub span: Option<String>,
    /// The release of the service.
    pub release: Option<String>,
    /// Tags and what else came with it.
    pub attributes: BTreeMap<String, Value>,
}

/// A frame of a stack.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Frame {
    /// The function.
    pub function: Option<String>,
    /// The file.
    pub file: Option<String>,
    /// The line.
    pub line: Option<u32>,
    /// It belongs to the service rather than to a library.
    pub in_app: bool,
}

/// A decision about a group of errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecideError {
    /// `open`, `resolved` or `ignored`.
    pub state: ErrorState,
}

/// What telemetry holds and costs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TelemetryStats {
    /// Spans kept.
    pub spans: u64,
    /// Log records kept.
    pub logs: u64,
    /// Series of metrics.
    pub series: u64,
    /// Groups of errors.
    pub error_groups: u64,
    /// Bytes on disk.
    pub disk: u64,
    /// Bytes in memory, by its own account.
    pub memory: u64,
    /// The oldest that is kept.
    pub oldest: Option<Timestamp>,
    /// What was not kept, by reason.
    pub dropped: BTreeMap<String, u64>,
}
