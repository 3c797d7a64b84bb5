//! All services and their endpoints, published as whole snapshots.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use manifest::spec::ServiceName;
use tokio::sync::watch;

use crate::endpoint::Endpoint;

/// The endpoints of one service at one moment. Never changes; a change is a new snapshot.
#[derive(Clone, Debug, Default)]
pub struct Endpoints {
    /// The ready ones, in order of their ids.
    pub ready: Vec<Arc<Endpoint>>,
    /// Those that only the data path speaks against: it could not reach them, and no check has failed. For when
    /// too few others are left.
    pub suspected: Vec<Arc<Endpoint>>,
    /// How many instances there are to take requests, ready or not: neither those that have not been ready yet
    /// (to grow is no emergency) nor those that leave. Zero: as many as are ready.
    pub known: usize,
    /// None may be ready now, but one is on its way (starting, or restarting as asked): a request may
    /// wait for it rather than fail.
    pub expected: bool,
}

/// One service as the data path sees it: a place where the current snapshot stands.
#[derive(Debug)]
pub struct Upstream {
    service: ServiceName,
    current: ArcSwap<Endpoints>,
    changed: watch::Sender<u64>,
}

impl Upstream {
    fn new(service: ServiceName) -> Self {
        let current = ArcSwap::from_pointee(Endpoints::default());
        Self { service, current, changed: watch::Sender::new(0) }
    }

    /// Its name.
    pub fn service(&self) -> &ServiceName {
        &self.service
    }

    /// The snapshot now: wait-free.
    pub fn load(&self) -> arc_swap::Guard<Arc<Endpoints>> {
        self.current.load()
    }

    /// Tells of every later snapshot.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Publishes a snapshot.
    pub fn publish(&self, endpoints: Endpoints) {
        self.current.store(Arc::new(endpoints));
        self.changed.send_modify(|version| *version += 1);
    }
}

/// Every service that is known. Cheap to clone; all clones are the same directory.
#[derive(Clone, Debug, Default)]
pub struct Directory {
    upstreams: Arc<Mutex<BTreeMap<ServiceName, Arc<Upstream>>>>,
}

impl Directory {
    /// The upstream of a service, made empty on first mention. For set-up, not for the request path:
    /// a route table holds the upstreams it needs.
    pub fn upstream(&self, service: &ServiceName) -> Arc<Upstream> {
        let mut upstreams = self.upstreams.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(
            upstreams.entry(service.clone()).or_insert_with(|| Arc::new(Upstream::new(service.clone()))),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_who_asks_for_a_service_sees_what_is_published_for_it() {
        let directory = Directory::default();
        let web: ServiceName = "web".parse().unwrap();
        let reader = directory.upstream(&web);
        assert!(reader.load().ready.is_empty());
        let endpoint = Endpoint::new("web-1#1".parse().unwrap(), ([127, 0, 0, 1], 1).into());
        let endpoints = Endpoints { ready: vec![Arc::new(endpoint)], expected: true, ..Endpoints::default() };
        directory.clone().upstream(&web).publish(endpoints);
        assert_eq!(reader.load().ready.len(), 1);
        assert!(reader.subscribe().has_changed().is_ok());
    }
}
