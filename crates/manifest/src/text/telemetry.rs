//! `telemetry`: what is kept of traces, logs and metrics, and where services may send theirs.

use super::decode::record;
use super::scalar::{Part, Size, Time, Word};
use super::shape::{Dict, Form, List};
use super::slo::AlertsText;

record! {
    /// What is kept of traces, logs and metrics.
    pub struct TelemetryText: "a telemetry section" {
        /// Where services send OpenTelemetry data over gRPC: a port, or `host:port`.
        grpc: Word,
        /// Where services send OpenTelemetry data over HTTP: a port, or `host:port`.
        http: Word,
        /// Where tools that speak Prometheus or Jaeger may ask: a port, `host:port`, or a mapping.
        query: Form<Word, QueryText>,
        /// Where what is kept goes on to, over OTLP: an address, or a mapping.
        export: Form<Word, ExportText>,
        /// Who is told when something is wrong.
        alerts: AlertsText,
        /// How long anything is kept.
        keep: Time,
        /// How much is kept on disk.
        size: Size,
        /// The share of ordinary traces that is kept; failed and slow ones are kept whole.
        sample: Part,
        /// From how long on a trace counts as slow.
        slow: Time,
    }
}

record! {
    /// Where tools that speak Prometheus or Jaeger may ask.
    pub struct QueryText: "a query section" requires ["listen"] {
        /// Where it listens: a port (this machine only), or `host:port`.
        listen: Word,
        /// What who asks must know, as a bearer token or as the password of any user; needed where other machines can ask.
        token: String,
    }
}

record! {
    /// Where what is kept goes on to, over OTLP.
    pub struct ExportText: "an export section" requires ["endpoint"] {
        /// The address, without the path of a signal: `https://otlp.example`.
        endpoint: Word,
        /// `http/protobuf` (default) or `grpc`.
        protocol: Word,
        /// `gzip` (default) or `none`.
        compression: Word,
        /// What every request carries.
        headers: Dict<String>,
        /// Which of `traces`, `logs`, `metrics`; left out: all.
        signals: List<String>,
    }
}
