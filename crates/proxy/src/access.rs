//! What is known of an exchange once it has ended.

use std::sync::Arc;

use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Version};
use kit::Timestamp;
use manifest::spec::{InstanceId, ServiceName};

use crate::failure::Kind;
use crate::trace::Trace;

/// Takes the record of every exchange. Called on the threads of the data path when the last byte of an
/// answer has gone (or never will): it must not block.
pub trait AccessSink: Send + Sync + 'static {
    /// Takes one record.
    fn record(&self, record: AccessRecord);
}

/// A sink that keeps nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Discard;

impl AccessSink for Discard {
    fn record(&self, _record: AccessRecord) {}
}

/// One exchange, after its end.
#[derive(Clone, Debug)]
pub struct AccessRecord {
    /// When the head of the request was complete.
    pub time: Timestamp,
    /// The service that called, for a mesh listener; `None`: the gateway.
    pub caller: Option<ServiceName>,
    /// The address of the client's end of the connection.
    pub peer: std::net::SocketAddr,
    /// The request's version of HTTP.
    pub version: Version,
    /// The method.
    pub method: Method,
    /// The host that was asked for, lower case, without its port.
    pub host: Option<String>,
    /// Path and query as they came. A query can hold secrets: think before printing it.
    pub target: Option<PathAndQuery>,
    /// The status that the client was given; 499 when it left before there was one.
    pub status: u16,
    /// The name of the route or, in the mesh, `caller -> callee`. `None` when no route matched.
    pub route: Option<Arc<str>>,
    /// The service behind the route.
    pub service: Option<ServiceName>,
    /// The instance that answered, or was tried last.
    pub instance: Option<InstanceId>,
    /// Attempts made to reach an instance.
    pub attempts: u32,
    /// From the last byte of the request's head to the last byte of the answer, in microseconds.
    pub duration_us: u64,
    /// To the answer's head, in microseconds; `None` when there was none.
    pub first_byte_us: Option<u64>,
    /// Bytes of the request's body that were passed on.
    pub bytes_in: u64,
    /// Bytes of the answer's body that were passed on.
    pub bytes_out: u64,
    /// Whether the connection was upgraded (`101`): the duration is that of the tunnel.
    pub upgraded: bool,
    /// `X-Request-Id`: visible ASCII.
    pub request_id: HeaderValue,
    /// Trace, span of this hop, and the span of whoever called.
    pub trace: Trace,
    /// What went wrong, if anything did.
    pub error: Option<Kind>,
}

impl AccessRecord {
    /// The request id as text.
    pub fn request_id(&self) -> &str {
        self.request_id.to_str().unwrap_or_default()
    }

    /// The path without its query.
    pub fn path(&self) -> &str {
        self.target.as_ref().map_or("", PathAndQuery::path)
    }
}
