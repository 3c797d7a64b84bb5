//! Telemetry: what is kept of traces, logs and metrics, and where services may send theirs. Every default is here.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use kit::units::{Bytes, Share};

use super::Alerts;

/// What is kept of traces, logs and metrics.
#[derive(Clone, Debug, PartialEq)]
pub struct Telemetry {
    /// Where services send OpenTelemetry data over gRPC. `None`: [`Self::GRPC`], or another port where that is taken.
    pub grpc: Option<SocketAddr>,
    /// Where they send it over HTTP. `None`: [`Self::HTTP`], or another port where that is taken.
    pub http: Option<SocketAddr>,
    /// Where tools of others ask: Prometheus's and Jaeger's APIs. `None`: nowhere.
    pub query: Option<QueryDoor>,
    /// Where what is kept goes on to.
    pub export: Option<Export>,
    /// Who is told when something is wrong.
    pub alerts: Alerts,
    /// How long anything is kept.
    pub keep: Duration,
    /// How much is kept on disk; the oldest hours go first.
    pub size: Bytes,
    /// The share of ordinary traces that is kept. Failed and slow ones are kept whole.
    pub sample: Share,
    /// From how long on a trace counts as slow.
    pub slow: Duration,
}

/// Where tools of others ask, and what they have to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryDoor {
    /// Where it listens; never port 0.
    pub listen: SocketAddr,
    /// What who asks must know. Always there where others than this machine can reach it.
    pub token: Option<String>,
}

impl QueryDoor {
    /// The fewest bytes of a token.
    pub const TOKEN_BYTES: usize = 16;
}

/// Where what is kept goes on to, over OTLP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export {
    /// `http://…` or `https://…`, without the path of a signal.
    pub endpoint: String,
    /// How.
    pub protocol: ExportProtocol,
    /// How requests are packed.
    pub compression: Compression,
    /// What every request carries.
    pub headers: BTreeMap<String, String>,
    /// Spans.
    pub traces: bool,
    /// Log records.
    pub logs: bool,
    /// Metrics.
    pub metrics: bool,
}

impl Export {
    /// The port, if it is one of this machine: nobody else may listen there, least of all who sends.
    pub fn port_of_this_machine(&self) -> Option<u16> {
        let uri: http::Uri = self.endpoint.parse().ok()?;
        let host = uri.host()?.trim_matches(['[', ']']);
        let here = host.eq_ignore_ascii_case("localhost")
            || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback() || ip.is_unspecified());
        let usual = if uri.scheme_str() == Some("https") { 443 } else { 80 };
        here.then(|| uri.port_u16().unwrap_or(usual))
    }
}

/// How requests are packed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// `gzip`: who takes OTLP has to take it.
    #[default]
    Gzip,
    /// `none`.
    None,
}

/// How telemetry is sent on; named as OpenTelemetry's variables name it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExportProtocol {
    /// `http/protobuf`.
    #[default]
    Http,
    /// `grpc`.
    Grpc,
}

impl Telemetry {
    /// The port of OTLP over gRPC, on this machine only.
    pub const GRPC: u16 = 4317;
    /// The port of OTLP over HTTP, on this machine only.
    pub const HTTP: u16 = 4318;
    /// The shortest time that anything is kept: it goes by whole hours.
    pub const MIN_KEEP: Duration = Duration::from_secs(3600);
    /// The least room on disk.
    pub const MIN_SIZE: Bytes = Bytes(64 << 20);
}

impl Default for Telemetry {
    fn default() -> Self {
        Self {
            grpc: None,
            http: None,
            query: None,
            export: None,
            alerts: Alerts::default(),
            keep: Duration::from_secs(3 * 24 * 3600),
            size: Bytes(2 << 30),
            sample: Share::ALL,
            slow: Duration::from_secs(1),
        }
    }
}
