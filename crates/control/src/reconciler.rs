//! The state of the controller and what it does with each piece of news.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use kit::{Explain, OnError, Timestamp};
use manifest::spec::{HealthCheck, InstanceId, ServiceName, Slot};
use registry::Health;
use runtime::Stop;
use tokio::sync::{mpsc, oneshot, watch};

use crate::controller::{Happening, Level, Options, Outcome, RestartError};
use crate::desired::{Desired, Goal, Want};
use crate::fleet::{End, Fleet, Phase, Place, Prepare, Replica};
use crate::plan::{Step, StopWhy, plan};
use crate::status::{self, View};

/// How long requests under way may hold up the end of an instance, at most; never longer than its own
/// `stop_grace_period`. Streams that go on for ever are cut after it.
const DRAIN_LIMIT: Duration = Duration::from_secs(10);

/// How long an instance that could not be stopped is left alone before the next attempt.
pub(crate) const STOP_RETRY: Duration = Duration::from_secs(1);

/// How long to wait for somebody to give back a port.
const PORT_RETRY: Duration = Duration::from_secs(1);

/// The one owner of desired state and fleet.
pub(crate) struct Reconciler {
    pub(crate) with: Options,
    pub(crate) desired: Desired,
    pub(crate) fleet: Fleet,
    results: mpsc::Sender<Outcome>,
    publish: watch::Sender<Arc<View>>,
    /// What the registry was last told to expect.
    expected: BTreeMap<ServiceName, bool>,
    /// Counts `prepare` runs.
    prepare_runs: u32,
    /// The driver refused to stop something: no further attempt before this.
    pub(crate) stop_retry_at: Option<Timestamp>,
    /// No port was free: look again then.
    port_retry_at: Option<Timestamp>,
    pub(crate) down_answers: Vec<oneshot::Sender<()>>,
    pub(crate) restarts: Vec<PendingRestart>,
}

/// A restart that somebody waits for.
pub(crate) struct PendingRestart {
    /// Each place with the run that has to go.
    pub(crate) runs: BTreeMap<Place, u32>,
    pub(crate) answer: oneshot::Sender<Result<Vec<Place>, RestartError>>,
}

impl Reconciler {
    pub(crate) fn new(
        mut with: Options,
        results: mpsc::Sender<Outcome>,
        publish: watch::Sender<Arc<View>>,
    ) -> Self {
        let desired = std::mem::take(&mut with.desired);
        Self {
            with,
            desired,
            fleet: Fleet::default(),
            results,
            publish,
            expected: BTreeMap::new(),
            prepare_runs: 0,
            stop_retry_at: None,
            port_retry_at: None,
            down_answers: Vec::new(),
            restarts: Vec::new(),
        }
    }

    /// Takes over what lives from before. What it was started with decides later whether it stays.
    pub(crate) async fn adopt(&mut self) {
        for found in std::mem::take(&mut self.with.found) {
            let launch = found.launch;
            let id = launch.id.clone();
            let Some(place) = Place::of(&id) else {
                self.end_leftover(id); // a check or a `prepare` whose waiter is gone
                continue;
            };
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
                restarts: 0,
                last_end: None,
                ready_after: None,
                was_ready: false,
            };
            match found.exit {
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
                    self.fleet.replicas.insert(place, replica);
                    self.with.checks.remember(launch);
                    self.with.registry.register(id, address, check).await;
                }
            }
        }
    }

    pub(crate) fn end_leftover(&self, id: InstanceId) {
        let driver = Arc::clone(&self.with.driver);
        self.with.tasks.spawn("control.stop", OnError::Log, |_| async move {
            driver.stop(&id, Stop { signal: "SIGKILL".into(), grace: Duration::ZERO }).await
        });
    }

    /// Compares, plans, acts, and tells the world. Returns when to look again at the latest.
    pub(crate) async fn reconcile(&mut self) -> Option<Timestamp> {
        let now = self.with.clock.now();
        if self.stop_retry_at.is_some_and(|at| at <= now) {
            self.stop_retry_at = None;
        }
        let plan = plan(&self.desired, &self.fleet, now);
        for step in plan.steps {
            self.act(step, now);
        }
        self.settle_restarts();
        self.publish_view().await;
        self.settle_down();
        [plan.look_again, self.stop_retry_at, self.port_retry_at.take()].into_iter().flatten().min()
    }

    fn act(&mut self, step: Step, now: Timestamp) {
        match step {
            Step::Prepare { service, key } => self.act_prepare(service, key, now),
            Step::Start { place, run } => self.act_start(place, run, now),
            Step::Stop { place, why } => self.act_stop(&place, why),
            Step::Forget { place } => {
                self.fleet.replicas.remove(&place);
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
            restarts: before.map_or(0, |replica| replica.restarts),
            last_end: before.and_then(|replica| replica.last_end.clone()),
            ready_after: None,
            was_ready: same_revision && before.is_some_and(|replica| replica.was_ready),
        };
        let (address, check) = self.how_to_watch(&place, Some(port));
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
        let driver = Arc::clone(&self.with.driver);
        let registry = self.with.registry.clone();
        let results = self.results.clone();
        self.with.tasks.spawn("control.stop", OnError::Log, |_| async move {
            let left = registry.drain(&id, grace.min(DRAIN_LIMIT)).await;
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

    /// Where an instance is reached and how it is checked.
    fn how_to_watch(&self, place: &Place, port: Option<u16>) -> (Option<SocketAddr>, Option<HealthCheck>) {
        let Some(want) = self.desired.services.get(&place.service) else {
            return (None, None);
        };
        let address =
            port.filter(|_| want.listens).map(|port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port));
        (address, want.service.healthcheck.clone())
    }

    /// Answers restarts that have come to their end.
    fn settle_restarts(&mut self) {
        let down = matches!(self.desired.goal, Goal::Down { .. });
        let mut open = Vec::new();
        for pending in std::mem::take(&mut self.restarts) {
            match self.restart_result(&pending.runs, down) {
                Some(result) => {
                    let _ = pending.answer.send(result);
                }
                None => open.push(pending),
            }
        }
        self.restarts = open;
        let fleet = &self.fleet;
        self.desired
            .restarts
            .retain(|place, run| fleet.replicas.get(place).is_some_and(|replica| replica.run <= *run));
    }

    fn restart_result(
        &self,
        runs: &BTreeMap<Place, u32>,
        down: bool,
    ) -> Option<Result<Vec<Place>, RestartError>> {
        if down {
            return Some(Err(RestartError::GoingDown));
        }
        for (place, run) in runs {
            let Some(replica) = self.fleet.replicas.get(place) else { continue };
            let renewed = replica.run > *run;
            if renewed && (replica.is_ready() || replica.is_completed()) {
                continue;
            }
            let hopeless = replica.has_given_up() || replica.failures >= status::FAILED_AFTER;
            if renewed && hopeless {
                let why = replica.last_end.as_ref().map_or_else(String::new, |end| end.why.clone());
                return Some(Err(RestartError::Failed { place: place.clone(), why }));
            }
            return None;
        }
        Some(Ok(runs.keys().cloned().collect()))
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

    async fn publish_view(&mut self) {
        let mut view = status::view(&self.desired, &self.fleet);
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

/// Ports that Atoll picked go back; one that the file names was never taken.
pub(crate) fn release_port(with: &Options, port: Option<u16>, want: Option<&Want>) {
    if let Some(port) = port
        && want.is_none_or(|want| want.service.port != Some(port))
    {
        with.ports.release(port);
    }
}
