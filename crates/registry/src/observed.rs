//! What is known of each instance, for those who decide and those who look.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kit::Timestamp;
use manifest::spec::InstanceId;

use crate::Moment;
use crate::endpoint::Endpoint;
use crate::health::Health;

/// Every registered instance at one moment.
pub type ObservedMap = Arc<BTreeMap<InstanceId, Observed>>;

/// One instance. What is a field is as it was when the map was published; what is a method counts on.
#[derive(Clone, Debug)]
pub struct Observed {
    /// Its health.
    pub health: Health,
    /// Since when.
    pub since: Timestamp,
    /// Why its last check failed, in one line: `GET /healthz answered 500`. Empty after a pass.
    pub detail: String,
    pub(crate) checks: Arc<AtomicU64>,
    pub(crate) endpoint: Option<Arc<Endpoint>>,
}

impl Observed {
    /// An instance without an address and before its first check.
    pub fn new(health: Health, since: Timestamp, detail: impl Into<String>) -> Self {
        Self { health, since, detail: detail.into(), checks: Arc::default(), endpoint: None }
    }

    /// The same with an endpoint.
    #[must_use]
    pub fn at(mut self, endpoint: Arc<Endpoint>) -> Self {
        self.endpoint = Some(endpoint);
        self
    }

    /// Where it takes requests, if it does.
    pub fn address(&self) -> Option<SocketAddr> {
        self.endpoint.as_ref().map(|endpoint| endpoint.address())
    }

    /// Checks begun since it was registered.
    pub fn checks(&self) -> u64 {
        self.checks.load(Ordering::Relaxed)
    }

    /// When the data path takes it into account again, or did: it was passed over for what it answered.
    /// [`Moment::NEVER`]: it never was.
    pub fn ejected_until(&self) -> Moment {
        self.endpoint.as_ref().map_or(Moment::NEVER, |endpoint| endpoint.strikes().ejected_until())
    }

    /// Exchanges that failed in a way that may be its fault.
    pub fn failures(&self) -> u64 {
        self.endpoint.as_ref().map_or(0, |endpoint| endpoint.failures())
    }

    /// How often the data path began to pass it over.
    pub fn ejections(&self) -> u64 {
        self.endpoint.as_ref().map_or(0, |endpoint| endpoint.ejections())
    }

    /// The time that an answer's head is expected to take; `None`: nothing is known yet.
    pub fn latency(&self, now: Moment) -> Option<Duration> {
        self.endpoint.as_ref()?.latency(now)
    }

    /// Exchanges under way.
    pub fn in_flight(&self) -> u32 {
        self.endpoint.as_ref().map_or(0, |endpoint| endpoint.in_flight())
    }

    /// Exchanges begun since it was registered.
    pub fn requests(&self) -> u64 {
        self.endpoint.as_ref().map_or(0, |endpoint| endpoint.requests())
    }
}
