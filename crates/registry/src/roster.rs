//! Who is registered and what follows from it: the owner's state, without tasks, sockets or a clock.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kit::Timestamp;
use manifest::spec::{HealthCheck, InstanceId, ServiceName, Slot};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::directory::{Directory, Endpoints};
use crate::endpoint::{Endpoint, PASSIVE_FAILURES};
use crate::health::{Health, Rhythm, Transition, Watch};
use crate::lane::{Lane, Serial};
use crate::observed::{Observed, ObservedMap};
use crate::probe::Target;

/// Checks by network that may be under way at once.
pub(crate) const MAX_NETWORK_CHECKS: usize = 256;
/// Checks by command that may be under way at once: each is a process.
pub(crate) const MAX_EXEC_CHECKS: usize = 32;

/// A check that is to be made now.
#[derive(Debug)]
pub(crate) struct Due {
    /// For which registration.
    pub serial: Serial,
    /// Which of its checks.
    pub attempt: u64,
    /// The instance.
    pub id: InstanceId,
    /// What to ask whom.
    pub target: Arc<Target>,
    /// How long it may take.
    pub timeout: Duration,
    /// Cancelled when nobody wants to know any more.
    pub cancel: CancellationToken,
}

/// What became of a [`Due`] check. There is exactly one for each.
#[derive(Debug)]
pub(crate) struct Report {
    /// For which registration.
    pub serial: Serial,
    /// Which of its checks.
    pub attempt: u64,
    /// Whether it started a process.
    pub exec: bool,
    /// What it found; `None`: it was cancelled or broke off.
    pub outcome: Option<Result<(), String>>,
}

/// An endpoint whose suspicion somebody must wait for, until the token is cancelled.
pub(crate) type ToSuspect = (Serial, Arc<Endpoint>, CancellationToken);

struct Entry {
    id: InstanceId,
    watch: Watch,
    detail: String,
    endpoint: Option<Arc<Endpoint>>,
    target: Arc<Target>,
    timeout: Duration,
    /// Checks begun; also the number of the current one.
    checks: Arc<AtomicU64>,
    /// The moment under which it waits in its lane.
    queued: Option<Timestamp>,
    /// Held while a check is under way; dropping it cancels the check.
    under_way: Option<DropGuard>,
    /// Dropped with the entry: ends the wait for suspicion.
    _present: DropGuard,
}

/// All registrations. Names are unique; a serial names one registration of a name.
pub(crate) struct Roster {
    directory: Directory,
    names: BTreeMap<InstanceId, Serial>,
    entries: HashMap<Serial, Entry>,
    last_serial: Serial,
    expected: BTreeSet<ServiceName>,
    network: Lane,
    exec: Lane,
    observed: watch::Sender<ObservedMap>,
    observed_changed: BTreeSet<InstanceId>,
    services_changed: BTreeSet<ServiceName>,
}

impl Roster {
    pub(crate) fn new(directory: Directory) -> Self {
        Self {
            directory,
            names: BTreeMap::new(),
            entries: HashMap::new(),
            last_serial: 0,
            expected: BTreeSet::new(),
            network: Lane::new(MAX_NETWORK_CHECKS),
            exec: Lane::new(MAX_EXEC_CHECKS),
            observed: watch::Sender::default(),
            observed_changed: BTreeSet::new(),
            services_changed: BTreeSet::new(),
        }
    }

    pub(crate) fn observe(&self) -> watch::Receiver<ObservedMap> {
        self.observed.subscribe()
    }

    /// Adds an instance; one of the same name that is still there goes first.
    pub(crate) fn register(
        &mut self,
        id: InstanceId,
        address: Option<SocketAddr>,
        check: Option<&HealthCheck>,
        now: Timestamp,
    ) -> Option<ToSuspect> {
        self.deregister(&id);
        self.last_serial += 1;
        let serial = self.last_serial;
        let (target, rhythm) = match (check, address) {
            (Some(check), _) => (Target::of(check, address), Rhythm::of(check)),
            (None, Some(address)) => (Target::Tcp { address }, Rhythm::until_it_listens()),
            (None, None) => (Target::Alive, Rhythm::once_it_has_settled()),
        };
        let timeout = rhythm.timeout();
        let watch = Watch::new(rhythm, now);
        let endpoint = address.map(|address| Arc::new(Endpoint::new(id.clone(), address)));
        let present = CancellationToken::new();
        let to_suspect = endpoint.clone().map(|endpoint| (serial, endpoint, present.clone()));
        let entry = Entry {
            id: id.clone(),
            watch,
            detail: String::new(),
            endpoint,
            target: Arc::new(target),
            timeout,
            checks: Arc::default(),
            queued: None,
            under_way: None,
            _present: present.drop_guard(),
        };
        self.observed_changed.insert(id.clone());
        self.names.insert(id, serial);
        self.entries.insert(serial, entry);
        self.reschedule(serial);
        to_suspect
    }

    /// Removes an instance: out of the balancer, its checks ended, nothing new sent to it even by those who
    /// still hold an older snapshot.
    pub(crate) fn deregister(&mut self, id: &InstanceId) {
        let Some(serial) = self.names.remove(id) else { return };
        let Some(entry) = self.entries.remove(&serial) else { return };
        if let Some(at) = entry.queued {
            self.lane(entry.target.is_exec()).remove(at, serial);
        }
        if let Some(endpoint) = &entry.endpoint {
            endpoint.close();
        }
        if is_known(entry.watch.health()) {
            self.services_changed.insert(id.service.clone());
        }
        self.observed_changed.insert(id.clone());
    }

    /// Takes an instance out of the balancer for good. Returns the endpoint whose exchanges to wait for.
    pub(crate) fn drain(&mut self, id: &InstanceId, now: Timestamp) -> Option<Arc<Endpoint>> {
        let serial = *self.names.get(id)?;
        let entry = self.entries.get_mut(&serial)?;
        entry.under_way = None;
        entry.detail.clear();
        let turned = entry.watch.drain(now);
        let endpoint = entry.endpoint.clone();
        self.reschedule(serial);
        self.note_turn(id, turned);
        endpoint
    }

    /// Says whether an instance of a service is on its way.
    pub(crate) fn expect(&mut self, service: &ServiceName, expected: bool) {
        let changed =
            if expected { self.expected.insert(service.clone()) } else { self.expected.remove(service) };
        if changed {
            self.services_changed.insert(service.clone());
        }
    }

    /// The data path could not reach an instance. Whether it is still registered.
    pub(crate) fn suspect(&mut self, serial: Serial, now: Timestamp) -> bool {
        let Some(entry) = self.entries.get_mut(&serial) else { return false };
        let Some(turned) = entry.watch.suspect(now) else { return true };
        // What a check under way finds may be from before: it ends here, and a new one begins.
        entry.under_way = None;
        entry.detail = format!("{PASSIVE_FAILURES} requests in a row could not be delivered");
        let id = entry.id.clone();
        tracing::warn!(instance = %id, "unready: {}", entry.detail);
        self.reschedule(serial);
        self.note_turn(&id, Some(turned));
        true
    }

    /// A check is over.
    pub(crate) fn note(&mut self, report: Report, now: Timestamp, spread: f64) {
        self.lane(report.exec).give_back();
        let Some(entry) = self.entries.get_mut(&report.serial) else { return };
        let current = entry.checks.load(Ordering::Relaxed) == report.attempt;
        if !current || entry.under_way.take().is_none() {
            return;
        }
        let outcome = report.outcome.unwrap_or_else(|| Err("the check itself broke off".to_owned()));
        let was_suspected = entry.watch.is_merely_suspected();
        let turned = entry.watch.after(outcome.is_ok(), now, spread);
        let mut detail = outcome.err().unwrap_or_default();
        if let (Health::Ready, (failures @ 1.., retries)) = (entry.watch.health(), entry.watch.strikes()) {
            detail.push_str(&format!(" ({failures} of {retries})"));
        }
        match turned.map(|turned| turned.to) {
            Some(Health::Unready) => tracing::warn!(instance = %entry.id, "unready: {detail}"),
            Some(to) => tracing::info!(instance = %entry.id, "{to}"),
            None => {}
        }
        if let (Some(Transition { to: Health::Ready, .. }), Some(endpoint)) = (turned, &entry.endpoint) {
            endpoint.forgive();
        }
        let id = entry.id.clone();
        if entry.detail != detail {
            entry.detail = detail;
            self.observed_changed.insert(id.clone());
        }
        if was_suspected {
            self.services_changed.insert(id.service.clone());
        }
        self.reschedule(report.serial);
        self.note_turn(&id, turned);
    }

    /// When the next check can start.
    pub(crate) fn next_check(&self) -> Option<Timestamp> {
        match (self.network.next(), self.exec.next()) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        }
    }

    /// The next check that is due and has a place; the caller makes it and answers with a [`Report`].
    pub(crate) fn take_due(&mut self, now: Timestamp) -> Option<Due> {
        let serial = self.network.take_due(now).or_else(|| self.exec.take_due(now))?;
        let entry = self.entries.get_mut(&serial)?; // always there: who leaves is taken out of its lane
        let cancel = CancellationToken::new();
        entry.queued = None;
        entry.under_way = Some(cancel.clone().drop_guard());
        Some(Due {
            serial,
            attempt: entry.checks.fetch_add(1, Ordering::Relaxed) + 1,
            id: entry.id.clone(),
            target: Arc::clone(&entry.target),
            timeout: entry.timeout,
            cancel,
        })
    }

    /// Publishes what has changed since the last time, each snapshot whole.
    pub(crate) fn publish(&mut self) {
        for service in std::mem::take(&mut self.services_changed) {
            let endpoints = self.endpoints(&service);
            self.directory.upstream(&service).publish(endpoints);
        }
        let changed = std::mem::take(&mut self.observed_changed);
        if changed.is_empty() {
            return;
        }
        self.observed.send_modify(|map| {
            let map = Arc::make_mut(map); // copied only when a reader still holds the one from before
            for id in changed {
                match self.names.get(&id).and_then(|serial| self.entries.get(serial)) {
                    Some(entry) => drop(map.insert(id, entry.observed())),
                    None => drop(map.remove(&id)),
                }
            }
        });
    }

    fn endpoints(&self, service: &ServiceName) -> Endpoints {
        let first = InstanceId { service: service.clone(), slot: Slot::Replica(0), run: 0 };
        let mut endpoints = Endpoints { expected: self.expected.contains(service), ..Endpoints::default() };
        for (id, serial) in self.names.range(first..) {
            if id.service != *service {
                break;
            }
            let Some(Entry { watch, endpoint: Some(endpoint), .. }) = self.entries.get(serial) else {
                continue;
            };
            match watch.health() {
                Health::Ready => endpoints.ready.push(Arc::clone(endpoint)),
                Health::Unready if watch.is_merely_suspected() => {
                    endpoints.suspected.push(Arc::clone(endpoint));
                }
                Health::Unready => {}
                Health::Starting | Health::Draining => continue,
            }
            endpoints.known += 1;
        }
        endpoints
    }

    fn lane(&mut self, exec: bool) -> &mut Lane {
        if exec { &mut self.exec } else { &mut self.network }
    }

    /// Puts an instance where its watch wants it: in its lane, or nowhere while a check is under way.
    fn reschedule(&mut self, serial: Serial) {
        let Some(entry) = self.entries.get_mut(&serial) else { return };
        let next = entry.watch.next_check().filter(|_| entry.under_way.is_none());
        let before = std::mem::replace(&mut entry.queued, next);
        let exec = entry.target.is_exec();
        let lane = self.lane(exec);
        if let Some(at) = before {
            lane.remove(at, serial);
        }
        if let Some(at) = next {
            lane.put(at, serial);
        }
    }

    fn note_turn(&mut self, id: &InstanceId, turned: Option<Transition>) {
        let Some(Transition { from, to }) = turned else { return };
        self.observed_changed.insert(id.clone());
        if is_known(from) || is_known(to) {
            self.services_changed.insert(id.service.clone());
        }
    }
}

/// Whether an instance of this health counts among those that take requests, or should.
fn is_known(health: Health) -> bool {
    matches!(health, Health::Ready | Health::Unready)
}

impl Entry {
    fn observed(&self) -> Observed {
        Observed {
            health: self.watch.health(),
            since: self.watch.since(),
            detail: self.detail.clone(),
            checks: Arc::clone(&self.checks),
            endpoint: self.endpoint.clone(),
        }
    }
}

#[cfg(test)]
mod tests;
