//! One exchange after its end: a line of the access log, and a span of its trace.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Version};
use kit::Timestamp;
use manifest::spec::{InstanceId, ServiceName};
use registry::Endpoint;

use crate::exchange::Entrance;
use crate::failure::Kind;
use crate::signals::Label;
use crate::tls::Session;
use crate::trace::Trace;

/// Where one thread of the data path tells of exchanges that have ended. It is only called by that thread,
/// when the last byte of an answer has gone (or never will): it must not block.
pub trait Lane {
    /// Takes one hop.
    fn record(&self, hop: &Hop<'_>);

    /// Whether hosts and targets are wanted of the exchanges that begin now. Others have empty ones.
    fn wants_text(&self) -> bool {
        true
    }
}

/// One exchange, after its end. Shown, not given: whoever keeps something of it copies that.
#[derive(Clone, Copy, Debug)]
pub struct Hop<'a> {
    /// When the head of the request was complete.
    pub began: Timestamp,
    /// From then to the last byte of the answer (of a tunnel: to its end).
    pub took: Duration,
    /// From then to the answer's head; `None` when there was none.
    pub first_byte: Option<Duration>,
    /// Of the time to the answer's head, how much was spent on waiting for instances.
    pub waited: Duration,
    /// Which kind of listener it came in by.
    pub entrance: &'a Arc<Entrance>,
    /// What was agreed on, if the client speaks TLS.
    pub tls: Option<&'a Arc<Session>>,
    /// The address of the client's end of the connection.
    pub peer: SocketAddr,
    /// The request's version of HTTP.
    pub version: Version,
    /// The method.
    pub method: &'a Method,
    /// The host that was asked for, lower case, without its port. Empty: none, or not wanted.
    pub host: &'a str,
    /// Path and query as they came. A query can hold secrets: think before printing it. Empty: not wanted.
    pub target: &'a str,
    /// The status that the client was given; 499 when it left before there was one.
    pub status: u16,
    /// The route that took it; `None` when none matched.
    pub route: Option<&'a Arc<Label>>,
    /// The instance that answered, or was tried last.
    pub endpoint: Option<&'a Arc<Endpoint>>,
    /// Attempts made to reach an instance.
    pub attempts: u32,
    /// Those of them that were made beside a slow one.
    pub hedges: u32,
    /// Whether the answer is not the service's own: what `fallback` says was answered in its stead.
    pub fallback: bool,
    /// Bytes of the request's body that were passed on.
    pub bytes_in: u64,
    /// Bytes of the answer's body that were passed on.
    pub bytes_out: u64,
    /// Whether the connection was upgraded (`101`).
    pub upgraded: bool,
    /// `X-Request-Id`: visible ASCII.
    pub request_id: &'a str,
    /// Trace, span of this hop, and the span of whoever called.
    pub trace: Trace,
    /// What went wrong, if anything did.
    pub error: Option<Kind>,
}

impl<'a> Hop<'a> {
    /// The service that called; `None`: it came in by the gateway.
    pub fn caller(&self) -> Option<&'a ServiceName> {
        match &**self.entrance {
            Entrance::Gateway => None,
            Entrance::Mesh { caller, .. } => Some(caller),
        }
    }

    /// The name of the route or, in the mesh, `caller -> callee`.
    pub fn route_name(&self) -> Option<&'a str> {
        self.route.map(|route| route.route.as_str())
    }

    /// The service behind the route.
    pub fn service(&self) -> Option<&'a ServiceName> {
        self.route?.service.as_ref()
    }

    /// The instance that answered, or was tried last.
    pub fn instance(&self) -> Option<&'a InstanceId> {
        self.endpoint.map(|endpoint| endpoint.id())
    }

    /// The path without its query.
    pub fn path(&self) -> &'a str {
        self.target.split('?').next().unwrap_or_default()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::LazyLock;

    use super::*;
    use crate::trace::{SpanId, TraceId};

    static GATEWAY: LazyLock<Arc<Entrance>> = LazyLock::new(|| Arc::new(Entrance::Gateway));

    /// An exchange that went well.
    pub(crate) fn hop() -> Hop<'static> {
        Hop {
            began: Timestamp::from_micros(1_700_000_000_000_000),
            took: Duration::from_micros(1500),
            first_byte: Some(Duration::from_micros(1400)),
            waited: Duration::from_micros(1200),
            entrance: &GATEWAY,
            tls: None,
            peer: ([127, 0, 0, 1], 4000).into(),
            version: Version::HTTP_11,
            method: &Method::GET,
            host: "shop.example",
            target: "/books/7?secret=1",
            status: 200,
            route: None,
            endpoint: None,
            attempts: 1,
            hedges: 0,
            fallback: false,
            bytes_in: 0,
            bytes_out: 0,
            upgraded: false,
            request_id: "r-1",
            trace: Trace { id: TraceId([7; 16]), parent: None, span: SpanId([8; 8]), flags: 1 },
            error: None,
        }
    }

    #[test]
    fn a_path_is_told_without_the_secrets_of_its_query() {
        assert_eq!((hop().path(), hop().caller(), hop().route_name()), ("/books/7", None, None));
    }
}
