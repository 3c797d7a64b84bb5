//! OpenTelemetry's protocol (OTLP), as protobuf and as JSON, into records. Read by hand: what is needed of it are a few dozen
//! fields, and types made of the schema would copy everything twice. Fields that nobody here knows are passed over.

mod answer;
pub mod encode;
mod json;
mod proto;
mod resource;

pub use answer::{Signal, answer, refused, said};

use crate::model::{LogRecord, MetricPoint, Span};

/// How a request is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// `application/x-protobuf`, and gRPC.
    Protobuf,
    /// `application/json`.
    Json,
}

/// What a request brought.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoded<R> {
    /// Records, in the order they came.
    pub records: Vec<R>,
    /// How many more it brought that cannot be kept.
    pub rejected: u64,
    /// Why; empty where all can be.
    pub why: String,
}

impl<R> Default for Decoded<R> {
    fn default() -> Self {
        Self { records: Vec::new(), rejected: 0, why: String::new() }
    }
}

impl<R> Decoded<R> {
    fn reject(&mut self, why: &str) {
        self.rejected += 1;
        if self.why.is_empty() {
            why.clone_into(&mut self.why);
        }
    }
}

/// What was sent cannot be read, and never will be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no OTLP request: {0}")]
pub struct BadRequest(String);

impl BadRequest {
    fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}

const NO_IDS: &str = "a span needs a trace id of 16 bytes and a span id of 8, neither all zero";
const NO_NAME: &str = "a metric needs a name";
const NO_NUMBER: &str = "a point of a metric needs a finite number";
const NO_QUANTILES: &str = "summaries are not kept: send a histogram";

/// Spans out of an `ExportTraceServiceRequest`.
pub fn traces(encoding: Encoding, body: &[u8]) -> Result<Decoded<Span>, BadRequest> {
    match encoding {
        Encoding::Protobuf => proto::traces(body),
        Encoding::Json => json::traces(body),
    }
}

/// Log records out of an `ExportLogsServiceRequest`.
pub fn logs(encoding: Encoding, body: &[u8]) -> Result<Decoded<LogRecord>, BadRequest> {
    match encoding {
        Encoding::Protobuf => proto::logs(body),
        Encoding::Json => json::logs(body),
    }
}

/// Points out of an `ExportMetricsServiceRequest`.
pub fn metrics(encoding: Encoding, body: &[u8]) -> Result<Decoded<MetricPoint>, BadRequest> {
    match encoding {
        Encoding::Protobuf => proto::metrics(body),
        Encoding::Json => json::metrics(body),
    }
}
