//! The state of the controller and what it does with each piece of news.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use kit::{Explain, OnError, Timestamp};
use manifest::spec::{HealthCheck, InstanceId, ServiceName, Slot};
use registry::Health;
use runtime::{Found, Stop};
use tokio::sync::{mpsc, oneshot, watch};

use crate::controller::{Happening, Level, Options, Outcome};
use crate::desired::{Change, Desired, Goal};
use crate::fleet::{End, Fleet, Phase, Place, Prepare, Replica};
use crate::memory::Memory;
use crate::plan::{Step, StopWhy, plan};
use crate::restarts::PendingRestart;
use crate::status::{self, View};

/// How long requests under way may hold up the end of an instance, at most; never longer than its own
/// `stop_grace_period`. Streams that go on for ever are cut after it.
const DRAIN_LIMIT: Duration = Duration::from_secs(10);

/// How long an instance that could not be stopped is left alone before the next attempt.
pub(crate) const STOP_RETRY: Duration = Duration::from_secs(1);

/// How long to wait for somebody to give back a port.
const PORT_RETRY: Duration = Duration::from_secs(1);

/// How long a check or a `prepare` of an earlier node may take to end once killed.
const LEFTOVER_LIMIT: Duration = Duration::from_secs(5);

/// Where an instance is reached and how it is checked.
type Watched = (Option<SocketAddr>, Option<HealthCheck>);

/// Whom to tell what a wish changes.
pub(crate) type ChangeAnswer = (oneshot::Sender<(Vec<Change>, u32)>, (Vec<Change>, u32));

/// The one owner of desired state and fleet.
pub(crate) struct Reconciler {
    pub(crate) with: Options,
    pub(crate) desired: Desired,
    pub(crate) fleet: Fleet,
    results: mpsc::Sender<Outcome>,
    publish: watch::Sender<Arc<View>>,
    /// What the registry was last told to expect.
    expected: BTreeMap<ServiceName, bool>,
    /// How the registry was told to watch each replica that may live.
    watched: BTreeMap<Place, Watched>,
    /// Counts `prepare` runs.
    prepare_runs: u32,
    /// `prepare` runs that are being ended because a change has made them worthless.
    pub(crate) superseded: BTreeSet<u32>,
    /// The driver refused to stop something: no further attempt before this.
    pub(crate) stop_retry_at: Option<Timestamp>,
    /// No port was free: look again then.
    port_retry_at: Option<Timestamp>,
    /// Answers to changes of the wish, told once the view shows them: whoever looks next sees the new wish.
    pub(crate) change_answers: Vec<ChangeAnswer>,
    pub(crate) down_answers: Vec<oneshot::Sender<()>>,
    pub(crate) restarts: Vec<PendingRestart>,
    /// No step is begun that no restart needs.
    pub(crate) held: bool,
    /// Who waits until nothing is under way any more.
    pub(crate) hold_answers: Vec<oneshot::Sender<()>>,
    pub(crate) recall_answers: Vec<oneshot::Sender<Memory>>,
}

impl Reconciler {
    pub(crate) fn new(
        mut with: Options,
        results: mpsc::Sender<Outcome>,
        publish: watch::Sender<Arc<View>>,
    ) -> Self {
        let desired = std::mem::take(&mut with.desired);
        let held = with.after.is_some();
        Self {
            with,
            desired,
            fleet: Fleet::default(),
            results,
            publish,
            expected: BTreeMap::new(),
            watched: BTreeMap::new(),
            prepare_runs: 0,
            superseded: BTreeSet::new(),
            stop_retry_at: None,
            port_retry_at: None,
            change_answers: Vec::new(),
            down_answers: Vec::new(),
            restarts: Vec::new(),
            held,
            hold_answers: Vec::new(),
            recall_answers: Vec::new(),
        }
    }

    /// Takes over what lives from before. What it was started with decides later whether it stays.
    pub(crate) async fn adopt(&mut self) {
        let found = std::mem::take(&mut self.with.found);
        let memory = self.with.after.take().unwrap_or_default();
        self.end_unwatched(&found).await;
        for found in found {
            let launch = found.launch;
            let id = launch.id.clone();
            let Some(place) = Place::of(&id) else { continue };
            if let Some(want) = self.desired.services.get(&place.service)
                && want.revision == launch.revision
                && let Some(key) = &want.prepare_key
            {
                // It was prepared when it was started.
                self.fleet.prepares.insert(key.clone(), Prepare::Done);
            }
            if let Some(port) = launch.port {
                self.with.ports.keep(port);
            }
            let mut replica = Replica {
                run: id.run,
                revision: launch.revision.clone(),
                port: launch.port,
                stop_signal: launch.stop_signal.clone(),
                stop_grace: launch.stop_grace,
                phase: Phase::Running {
                    pid: found.started.pid,
                    since: found.started.at,
                    health: Health::Starting,
                    detail: String::new(),
                },
                failures: 0,
                short_lives: 0,
                restarts: 0,
                last_end: None,
                ready_after: None,
                was_ready: false,
            };
            memory.complete(&place, &mut replica);
            match found.exit {
                Some(_) if found.asked => {
                    let at = self.with.clock.now();
                    replica.phase = Phase::Ended { asked: true, at, retry_at: None };
                    if let Some(port) = replica.port.take() {
                        self.with.ports.release(port);
                    }
                    self.fleet.replicas.insert(place, replica);
                }
                None if found.asked => {
                    self.say(
                        Level::Info,
                        "instance.adopted",
                        &id,
                        format!("{place} is on its way to its end"),
                    );
                    let stop = Stop { signal: replica.stop_signal.clone(), grace: replica.stop_grace };
                    replica.phase =
                        Phase::Stopping { pid: found.started.pid, since: found.started.at, ended: None };
                    self.fleet.replicas.insert(place, replica);
                    self.stop(id, stop);
                }
                Some(exit) => {
                    let at = self.with.clock.now();
                    let end = End { why: exit.to_string(), exit: Some(exit), last_lines: Vec::new(), at };
                    self.fleet.replicas.insert(place.clone(), replica);
                    self.ended_by_itself(&place, end);
                }
                None => {
                    let (address, check) = self.how_to_watch(&place, launch.port);
                    self.say(Level::Info, "instance.adopted", &id, format!("{place} runs from before"));
                    replica.was_ready = true;
                    self.watched.insert(place.clone(), (address, check.clone()));
                    self.fleet.replicas.insert(place, replica);
                    self.with.checks.remember(launch);
                    self.with.registry.register(id, address, check).await;
                }
            }
        }
        memory.restore(&mut self.fleet);
    }

    /// Ends checks and `prepare` runs whose waiter is gone, before anything new starts in their place. New
    /// runs are counted on from theirs, so that their ends are not mistaken for those of new ones.
    async fn end_unwatched(&mut self, found: &[Found]) {
        for found in found {
            let id = &found.launch.id;
            match id.slot {
                Slot::Replica(_) => continue,
                Slot::Prepare => self.prepare_runs = self.prepare_runs.max(id.run),
                Slot::Check(_) => self.with.checks.count_from(id.run),
            }
            if found.exit.is_some() {
                continue;
            }
            let stop = Stop { signal: "SIGKILL".into(), grace: Duration::ZERO };
            match tokio::time::timeout(LEFTOVER_LIMIT, self.with.driver.stop(id, stop)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!("{error}"),
                Err(_) => tracing::warn!("`{id}` of an earlier node does not end"),
            }
        }
    }

    pub(crate) fn end_leftover(&self, id: InstanceId) {
        self.end(id, Stop { signal: "SIGKILL".into(), grace: Duration::ZERO });
    }

    pub(crate) fn end(&self, id: InstanceId, stop: Stop) {
        let driver = Arc::clone(&self.with.driver);
        self.with.tasks.spawn("control.stop", OnError::Log, |_| async move { driver.stop(&id, stop).await });
    }

    /// Compares, plans, acts, and tells the world. Returns when to look again at the latest.
    pub(crate) async fn reconcile(&mut self) -> Option<Timestamp> {
        let now = self.with.clock.now();
        if self.stop_retry_at.is_some_and(|at| at <= now) {
            self.stop_retry_at = None;
        }
        let plan = plan(&self.desired, &self.fleet, now);
        if !self.held || !self.restarts.is_empty() {
            for step in plan.steps {
                self.act(step, now);
            }
        }
        self.watch_as_wanted().await;
        self.settle_restarts();
        self.publish_view().await;
        for (answer, difference) in self.change_answers.drain(..) {
            let _ = answer.send(difference); // the caller may have gone; the wish stands
        }
        self.settle_down();
        self.settle_hold();
        for answer in self.recall_answers.drain(..) {
            let _ = answer.send(Memory::of(&self.fleet)); // who asked may have given up
        }
        [plan.look_again, self.stop_retry_at, self.port_retry_at.take()].into_iter().flatten().min()
    }

    fn act(&mut self, step: Step, now: Timestamp) {
        match step {
            Step::Prepare { service, key } => self.act_prepare(service, key, now),
            Step::Start { place, run } => self.act_start(place, run, now),
            Step::Stop { place, why } => self.act_stop(&place, why),
            Step::Forget { place } => {
                self.fleet.forget(&place);
                self.watched.remove(&place);
                self.desired.restarts.remove(&place);
            }
        }
    }

    fn act_prepare(&mut self, service: ServiceName, key: String, now: Timestamp) {
        let Some(want) = self.desired.services.get(&service) else { return };
        self.prepare_runs = self.prepare_runs.wrapping_add(1);
        let id = InstanceId { service: service.clone(), slot: Slot::Prepare, run: self.prepare_runs };
        let launch = self.with.surroundings.prepare(want, id.clone());
        self.say(
            Level::Info,
            "service.preparing",
            &id,
            format!("preparing {service}: {}", launch.command.join(" ")),
        );
        self.fleet.prepare_runs.insert(key.clone(), self.prepare_runs);
        self.fleet.prepares.insert(key, Prepare::Running { service, since: now });
        let driver = Arc::clone(&self.with.driver);
        let results = self.results.clone();
        self.with.tasks.spawn("control.prepare", OnError::Log, |_| async move {
            if let Err(error) = driver.start(launch).await {
                let help = error.help();
                let why = kit::report::chain(&error);
                let _ = results
                    .send(Outcome::NotStarted { id, why, code: help.code.as_str(), hint: help.hint })
                    .await;
            }
            Ok::<_, String>(())
        });
    }

    fn act_start(&mut self, place: Place, run: u32, now: Timestamp) {
        let Some(want) = self.desired.services.get(&place.service) else { return };
        let id = place.instance(run);
        let port = match want.service.port.map_or_else(|| self.with.ports.pick(), Ok) {
            Ok(port) => port,
            Err(error) => {
                let message = format!("{place} has no port: {error}");
                self.say(Level::Error, "instance.not_started", &id, message);
                self.port_retry_at = Some(now + PORT_RETRY);
                return;
            }
        };
        self.with.ports.keep(port);
        let launch = self.with.surroundings.replica(want, id.clone(), port);
        let before = self.fleet.replicas.get(&place);
        let same_revision = before.is_some_and(|replica| replica.revision == want.revision);
        let replica = Replica {
            run,
            revision: want.revision.clone(),
            port: Some(port),
            stop_signal: want.service.stop_signal.clone(),
            stop_grace: want.service.stop_grace,
            phase: Phase::Starting { ended_early: None },
            failures: before.filter(|_| same_revision).map_or(0, |replica| replica.failures),
            short_lives: before.filter(|_| same_revision).map_or(0, |replica| replica.short_lives),
            restarts: before.map_or(0, |replica| replica.restarts),
            last_end: before.and_then(|replica| replica.last_end.clone()),
            ready_after: None,
            was_ready: same_revision && before.is_some_and(|replica| replica.was_ready),
        };
        let (address, check) = self.how_to_watch(&place, Some(port));
        self.watched.insert(place.clone(), (address, check.clone()));
        self.fleet.replicas.insert(place, replica);
        self.with.checks.remember(launch.clone());
        let driver = Arc::clone(&self.with.driver);
        let registry = self.with.registry.clone();
        let results = self.results.clone();
        self.with.tasks.spawn("control.start", OnError::Log, |_| async move {
            let outcome = match driver.start(launch).await {
                Ok(started) => {
                    registry.register(id.clone(), address, check).await;
                    Outcome::Started { id, pid: started.pid, at: started.at }
                }
                Err(error) => {
                    let help = error.help();
                    let why = kit::report::chain(&error);
                    Outcome::NotStarted { id, why, code: help.code.as_str(), hint: help.hint }
                }
            };
            let _ = results.send(outcome).await; // the controller has ended: nobody needs to know
            Ok::<_, String>(())
        });
    }

    fn act_stop(&mut self, place: &Place, why: StopWhy) {
        if self.stop_retry_at.is_some() {
            return; // the driver refuses at the moment
        }
        let Some(replica) = self.fleet.replicas.get_mut(place) else { return };
        let Phase::Running { pid, since, .. } = replica.phase else { return };
        let id = place.instance(replica.run);
        replica.phase = Phase::Stopping { pid, since, ended: None };
        let grace = match self.desired.goal {
            Goal::Down { grace: Some(grace) } => grace,
            Goal::Down { grace: None } | Goal::Run => replica.stop_grace,
        };
        let stop = Stop { signal: replica.stop_signal.clone(), grace };
        let reason = match why {
            StopWhy::Down => "the app goes down",
            StopWhy::Surplus => "no longer wanted",
            StopWhy::Changed => "what it was started with has changed",
            StopWhy::Restart => "restart",
        };
        self.say(Level::Info, "instance.stopping", &id, format!("{place} is stopping: {reason}"));
        self.stop(id, stop);
    }

    /// Drains an instance and ends it.
    fn stop(&self, id: InstanceId, stop: Stop) {
        let driver = Arc::clone(&self.with.driver);
        let registry = self.with.registry.clone();
        let results = self.results.clone();
        self.with.tasks.spawn("control.stop", OnError::Log, |_| async move {
            let left = registry.drain(&id, stop.grace.min(DRAIN_LIMIT)).await;
            if left > 0 {
                tracing::info!(instance = %id, left, "stopped with requests under way");
            }
            let outcome = match driver.stop(&id, stop).await {
                Ok(()) => {
                    registry.deregister(&id).await;
                    Outcome::Stopped { id }
                }
                Err(error) => Outcome::NotStopped { id, why: error.why },
            };
            let _ = results.send(outcome).await;
            Ok::<_, String>(())
        });
    }

    /// Checks and routes change in place: tells the registry of instances that are to be checked in another
    /// way than when they started, or are reached since.
    async fn watch_as_wanted(&mut self) {
        let mut changed = Vec::new();
        for (place, replica) in &self.fleet.replicas {
            if !matches!(replica.phase, Phase::Running { .. })
                || !self.desired.services.contains_key(&place.service)
            {
                continue;
            }
            let wanted = self.how_to_watch(place, replica.port);
            if self.watched.get(place) != Some(&wanted) {
                changed.push((place.clone(), replica.run, wanted));
            }
        }
        for (place, run, (address, check)) in changed {
            self.watched.insert(place.clone(), (address, check.clone()));
            self.with.registry.register(place.instance(run), address, check).await;
        }
    }

    /// Where an instance is reached and how it is checked.
    fn how_to_watch(&self, place: &Place, port: Option<u16>) -> Watched {
        let Some(want) = self.desired.services.get(&place.service) else {
            return (None, None);
        };
        let address =
            port.filter(|_| want.listens).map(|port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port));
        (address, want.service.healthcheck.clone())
    }

    fn settle_down(&mut self) {
        if matches!(self.desired.goal, Goal::Down { .. })
            && self.fleet.replicas.values().all(|replica| !replica.is_alive())
            && self.fleet.prepare_runs.is_empty()
        {
            for answer in self.down_answers.drain(..) {
                let _ = answer.send(());
            }
        } else if matches!(self.desired.goal, Goal::Down { .. }) {
            for (key, run) in &self.fleet.prepare_runs {
                if let Some(Prepare::Running { service, .. }) = self.fleet.prepares.get(key) {
                    self.end_leftover(InstanceId {
                        service: service.clone(),
                        slot: Slot::Prepare,
                        run: *run,
                    });
                }
            }
        }
    }

    /// Tells that nothing is under way, where somebody waits for it.
    fn settle_hold(&mut self) {
        let moves =
            |replica: &Replica| matches!(replica.phase, Phase::Starting { .. } | Phase::Stopping { .. });
        let quiet = self.restarts.is_empty()
            && self.fleet.prepare_runs.is_empty()
            && !self.fleet.replicas.values().any(moves);
        if quiet {
            for answer in self.hold_answers.drain(..) {
                let _ = answer.send(()); // who asked may have given up
            }
        }
    }

    async fn publish_view(&mut self) {
        let mut view = status::view(&self.desired, &self.fleet);
        let gone = |name: &ServiceName| view.services.iter().all(|service| service.name != *name);
        let gone: Vec<ServiceName> = self.expected.keys().filter(|name| gone(name)).cloned().collect();
        for name in gone {
            self.expected.remove(&name);
            self.with.registry.expect(&name, false).await;
        }
        for service in &view.services {
            let expected = status::is_expected(service, &self.fleet);
            if self.expected.get(&service.name) != Some(&expected) {
                self.expected.insert(service.name.clone(), expected);
                self.with.registry.expect(&service.name, expected).await;
            }
        }
        self.publish.send_if_modified(|current| {
            view.generation = current.generation;
            if **current == view {
                return false;
            }
            view.generation += 1;
            *current = Arc::new(view);
            true
        });
    }

    pub(crate) fn say(&self, level: Level, kind: &'static str, id: &InstanceId, message: String) {
        (self.with.tell)(Happening {
            level,
            kind,
            service: Some(id.service.clone()),
            instance: Some(id.name()),
            message,
            code: None,
            hint: None,
        });
    }
}
