//! Who is told of every exchange once it has ended. What it is told is a [`Hop`].

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Version};
use kit::Timestamp;
use manifest::spec::{InstanceId, ServiceName};
use registry::Endpoint;

use crate::exchange::Entrance;
use crate::failure::Kind;
use crate::signals::{Hop, Label, Lane};
use crate::tls::Session;
use crate::trace::Trace;

/// Takes what every exchange ends with.
pub trait AccessSink: Send + Sync + 'static {
    /// The way in for one thread of the data path. Asked for once by each, on that thread.
    fn lane(&self) -> Box<dyn Lane>;

    /// Whether hosts and targets are wanted from now on: what the app's file says of its access log.
    fn want_text(&self, _wanted: bool) {}
}

/// A sink that keeps nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Discard;

impl AccessSink for Discard {
    fn lane(&self) -> Box<dyn Lane> {
        Box::new(Self)
    }
}

impl Lane for Discard {
    fn record(&self, _hop: &Hop<'_>) {}

    fn wants_text(&self) -> bool {
        false
    }
}

/// A [`Hop`] that stands on its own, for whoever keeps it for longer than it is shown.
#[derive(Clone, Debug)]
#[allow(missing_docs)] // as in `Hop`
pub struct AccessRecord {
    pub began: Timestamp,
    pub took: Duration,
    pub first_byte: Option<Duration>,
    pub waited: Duration,
    pub entrance: Arc<Entrance>,
    pub tls: Option<Arc<Session>>,
    pub peer: SocketAddr,
    pub version: Version,
    pub method: Method,
    pub host: Box<str>,
    pub target: Box<str>,
    pub status: u16,
    pub route: Option<Arc<Label>>,
    pub endpoint: Option<Arc<Endpoint>>,
    pub attempts: u32,
    pub hedges: u32,
    pub fallback: bool,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub upgraded: bool,
    pub request_id: Box<str>,
    pub trace: Trace,
    pub error: Option<Kind>,
}

impl From<&Hop<'_>> for AccessRecord {
    fn from(hop: &Hop<'_>) -> Self {
        Self {
            began: hop.began,
            took: hop.took,
            first_byte: hop.first_byte,
            waited: hop.waited,
            entrance: Arc::clone(hop.entrance),
            tls: hop.tls.cloned(),
            peer: hop.peer,
            version: hop.version,
            method: hop.method.clone(),
            host: hop.host.into(),
            target: hop.target.into(),
            status: hop.status,
            route: hop.route.cloned(),
            endpoint: hop.endpoint.cloned(),
            attempts: hop.attempts,
            hedges: hop.hedges,
            fallback: hop.fallback,
            bytes_in: hop.bytes_in,
            bytes_out: hop.bytes_out,
            upgraded: hop.upgraded,
            request_id: hop.request_id.into(),
            trace: hop.trace,
            error: hop.error,
        }
    }
}

impl AccessRecord {
    /// The record as it was shown.
    pub fn hop(&self) -> Hop<'_> {
        Hop {
            began: self.began,
            took: self.took,
            first_byte: self.first_byte,
            waited: self.waited,
            entrance: &self.entrance,
            tls: self.tls.as_ref(),
            peer: self.peer,
            version: self.version,
            method: &self.method,
            host: &self.host,
            target: &self.target,
            status: self.status,
            route: self.route.as_ref(),
            endpoint: self.endpoint.as_ref(),
            attempts: self.attempts,
            hedges: self.hedges,
            fallback: self.fallback,
            bytes_in: self.bytes_in,
            bytes_out: self.bytes_out,
            upgraded: self.upgraded,
            request_id: &self.request_id,
            trace: self.trace,
            error: self.error,
        }
    }

    /// As of a [`Hop`].
    pub fn caller(&self) -> Option<&ServiceName> {
        self.hop().caller()
    }

    /// As of a [`Hop`].
    pub fn route_name(&self) -> Option<&str> {
        self.hop().route_name()
    }

    /// As of a [`Hop`].
    pub fn service(&self) -> Option<&ServiceName> {
        self.hop().service()
    }

    /// As of a [`Hop`].
    pub fn instance(&self) -> Option<&InstanceId> {
        self.hop().instance()
    }

    /// As of a [`Hop`].
    pub fn path(&self) -> &str {
        self.hop().path()
    }
}
