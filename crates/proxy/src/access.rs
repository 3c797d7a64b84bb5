//! What is known of an exchange once it has ended.

use std::sync::Arc;

use http::{Method, Version};
use kit::Timestamp;
use manifest::spec::{InstanceId, ServiceName};

use registry::Endpoint;

use crate::exchange::Entrance;
use crate::failure::Kind;
use crate::head::RequestId;
use crate::table::Shown;
use crate::tls::Session;
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
    /// Which kind of listener it came in by.
    pub entrance: Arc<Entrance>,
    /// What was agreed on, if the client speaks TLS.
    pub tls: Option<Arc<Session>>,
    /// The address of the client's end of the connection.
    pub peer: std::net::SocketAddr,
    /// The request's version of HTTP.
    pub version: Version,
    /// The method.
    pub method: Method,
    /// The host that was asked for, lower case, without its port.
    pub host: Option<Box<str>>,
    /// Path and query as they came. A query can hold secrets: think before printing it.
    pub target: Box<str>,
    /// The status that the client was given; 499 when it left before there was one.
    pub status: u16,
    /// The route that took it; `None` when none matched.
    pub route: Option<Arc<Shown>>,
    /// The instance that answered, or was tried last.
    pub endpoint: Option<Arc<Endpoint>>,
    /// Attempts made to reach an instance.
    pub attempts: u32,
    /// From the last byte of the request's head to the last byte of the answer, in microseconds.
    pub duration_us: u64,
    /// To the answer's head, in microseconds; `None` when there was none.
    pub first_byte_us: Option<u64>,
    /// Of the time to the answer's head, how much was spent on waiting for instances, in microseconds.
    pub upstream_us: u64,
    /// Whether a second attempt was made beside a slow one.
    pub hedged: bool,
    /// Whether the answer is not the service's own: what `fallback` says was answered in its stead.
    pub fallback: bool,
    /// Bytes of the request's body that were passed on.
    pub bytes_in: u64,
    /// Bytes of the answer's body that were passed on.
    pub bytes_out: u64,
    /// Whether the connection was upgraded (`101`): the duration is that of the tunnel.
    pub upgraded: bool,
    /// `X-Request-Id`: visible ASCII.
    pub request_id: RequestId,
    /// Trace, span of this hop, and the span of whoever called.
    pub trace: Trace,
    /// What went wrong, if anything did.
    pub error: Option<Kind>,
}

impl AccessRecord {
    /// The service that called; `None`: it came in by the gateway.
    pub fn caller(&self) -> Option<&ServiceName> {
        match &*self.entrance {
            Entrance::Gateway => None,
            Entrance::Mesh { caller, .. } => Some(caller),
        }
    }

    /// The name of the route or, in the mesh, `caller -> callee`.
    pub fn route_name(&self) -> Option<&str> {
        Some(&self.route.as_ref()?.name)
    }

    /// The service behind the route.
    pub fn service(&self) -> Option<&ServiceName> {
        self.route.as_ref()?.service.as_ref()
    }

    /// The instance that answered, or was tried last.
    pub fn instance(&self) -> Option<&InstanceId> {
        Some(self.endpoint.as_ref()?.id())
    }

    /// The request id as text.
    pub fn request_id(&self) -> &str {
        self.request_id.as_str()
    }

    /// The path without its query.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }
}
