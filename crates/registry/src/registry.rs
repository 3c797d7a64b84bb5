//! The registry at work: a cheap handle outside, one task inside that owns all state and never waits for a
//! check.

use std::convert::Infallible;
use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use kit::{BoxFuture, Clock, OnError, Tasks};
use manifest::spec::{HealthCheck, InstanceId, ServiceName};
use rand::RngExt;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::directory::Directory;
use crate::endpoint::Endpoint;
use crate::lane::Serial;
use crate::observed::ObservedMap;
use crate::probe::{self, ExecProbe};
use crate::roster::{Due, MAX_EXEC_CHECKS, MAX_NETWORK_CHECKS, Report, Roster};

/// Commands that may wait for the owner; callers wait for room.
const MAX_WAITING_COMMANDS: usize = 64;
/// What is taken in before the snapshots are published: a burst costs one publication.
const MAX_BURST: usize = 256;

/// What the registry needs.
pub struct Options {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Who owns its tasks.
    pub tasks: Tasks,
    /// Where endpoints are published.
    pub directory: Directory,
    /// Who runs checks by command.
    pub exec: Arc<dyn ExecProbe>,
}

/// Knows which instances exist and how they are. Cheap to clone; all clones are the same registry.
///
/// Every verb returns after what it changed is published. Once the tasks were told to stop, verbs have no
/// effect and return at once.
#[derive(Clone, Debug)]
pub struct Registry {
    commands: mpsc::Sender<(Command, oneshot::Sender<Answer>)>,
    observed: watch::Receiver<ObservedMap>,
}

#[derive(Debug)]
enum Command {
    Register { id: InstanceId, address: Option<SocketAddr>, check: Option<Box<HealthCheck>> },
    Drain(InstanceId),
    Deregister(InstanceId),
    Expect(ServiceName, bool),
}

/// The endpoint to wait for, where there is one.
type Answer = Option<Arc<Endpoint>>;

impl Registry {
    /// Starts the registry on the current runtime.
    pub fn start(options: Options) -> Self {
        let Options { clock, tasks, directory, exec } = options;
        let (commands, inbox) = mpsc::channel(MAX_WAITING_COMMANDS);
        // Each check under way holds a place in its lane until its report is read, so there is always room.
        let (report, reports) = mpsc::channel(MAX_NETWORK_CHECKS + MAX_EXEC_CHECKS);
        let roster = Roster::new(directory);
        let observed = roster.observe();
        let suspicions = FuturesUnordered::new();
        let owner = Owner {
            clock,
            tasks: tasks.clone(),
            exec,
            roster,
            inbox,
            report,
            reports,
            suspicions,
            answers: vec![],
        };
        tasks.spawn("registry", OnError::StopNode, |stop| owner.run(stop));
        Self { commands, observed }
    }

    /// Adds an instance and begins to check it. With a check it is ready once that passes. Without one: at
    /// once when it has no address; with an address as soon as something listens there, however long that
    /// takes, because a request sent earlier would fail. Pass an address only for what requests are sent to.
    ///
    /// The registration of an id that is already there replaces the earlier one.
    pub async fn register(&self, id: InstanceId, address: Option<SocketAddr>, check: Option<HealthCheck>) {
        let check = check.map(Box::new);
        self.ask(Command::Register { id, address, check }).await;
    }

    /// Takes an instance out of the balancer for good and waits up to `limit` for its exchanges under way.
    /// Returns how many are left; 0 for an instance that nobody knows.
    pub async fn drain(&self, id: &InstanceId, limit: Duration) -> u32 {
        match self.ask(Command::Drain(id.clone())).await {
            Some(endpoint) => endpoint.drain(limit).await,
            None => 0,
        }
    }

    /// Forgets an instance. Its checks end, and nobody sends it anything new.
    pub async fn deregister(&self, id: &InstanceId) {
        self.ask(Command::Deregister(id.clone())).await;
    }

    /// Says whether an instance of a service is on its way: requests may then wait for it when none is
    /// ready, instead of failing.
    pub async fn expect(&self, service: &ServiceName, expected: bool) {
        self.ask(Command::Expect(service.clone(), expected)).await;
    }

    /// What is known of every instance now.
    pub fn observed(&self) -> ObservedMap {
        Arc::clone(&self.observed.borrow())
    }

    /// What is known of every instance: published whole at each change of a health or a detail.
    ///
    /// What `borrow` and `wait_for` give out holds a read lock for which the next publication waits: clone
    /// the map out of it at once, and never keep it across an `await`.
    pub fn observe(&self) -> watch::Receiver<ObservedMap> {
        self.observed.clone()
    }

    async fn ask(&self, command: Command) -> Answer {
        let (answer, answered) = oneshot::channel();
        self.commands.send((command, answer)).await.ok()?;
        answered.await.ok()?
    }
}

struct Owner {
    clock: Arc<dyn Clock>,
    tasks: Tasks,
    exec: Arc<dyn ExecProbe>,
    roster: Roster,
    inbox: mpsc::Receiver<(Command, oneshot::Sender<Answer>)>,
    report: mpsc::Sender<Report>,
    reports: mpsc::Receiver<Report>,
    /// One wait per endpoint, until it is suspected or gone.
    suspicions: FuturesUnordered<BoxFuture<'static, Suspicion>>,
    /// Given once what they are about is published.
    answers: Vec<(oneshot::Sender<Answer>, Answer)>,
}

/// How a wait for suspicion ended: `None` when the instance left.
type Suspicion = Option<(Serial, Arc<Endpoint>, CancellationToken)>;

impl Owner {
    async fn run(mut self, stop: CancellationToken) -> Result<(), Infallible> {
        loop {
            let next_check = self.roster.next_check();
            let clock = Arc::clone(&self.clock);
            let timer = async {
                match next_check {
                    Some(at) => clock.sleep_until(at).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                Some((command, answer)) = self.inbox.recv() => self.obey(command, answer),
                Some(report) = self.reports.recv() => self.note(report),
                Some(suspicion) = self.suspicions.next() => self.suspect(suspicion),
                () = timer => {}
            }
            self.take_what_waits();
            self.roster.publish();
            for (asker, answer) in self.answers.drain(..) {
                if let Some(endpoint) = &answer {
                    endpoint.close(); // after the publication, so that a refusal always has a newer snapshot
                }
                let _ = asker.send(answer);
            }
            self.start_due_checks();
        }
    }

    fn take_what_waits(&mut self) {
        for _ in 0..MAX_BURST {
            if let Ok((command, answer)) = self.inbox.try_recv() {
                self.obey(command, answer);
            } else if let Ok(report) = self.reports.try_recv() {
                self.note(report);
            } else {
                return;
            }
        }
    }

    fn obey(&mut self, command: Command, asker: oneshot::Sender<Answer>) {
        let now = self.clock.now();
        let answer = match command {
            Command::Register { id, address, check } => {
                if let Some((serial, endpoint, gone)) =
                    self.roster.register(id, address, check.as_deref(), now)
                {
                    self.suspicions.push(Box::pin(suspicion(serial, endpoint, gone)));
                }
                None
            }
            Command::Drain(id) => self.roster.drain(&id, now),
            Command::Deregister(id) => {
                self.roster.deregister(&id);
                None
            }
            Command::Expect(service, expected) => {
                self.roster.expect(&service, expected);
                None
            }
        };
        self.answers.push((asker, answer));
    }

    fn note(&mut self, report: Report) {
        let spread = rand::rng().random_range(0.0..=1.0);
        self.roster.note(report, self.clock.now(), spread);
    }

    fn suspect(&mut self, suspicion: Suspicion) {
        let Some((serial, endpoint, gone)) = suspicion else { return };
        if self.roster.suspect(serial, self.clock.now()) {
            self.suspicions.push(Box::pin(self::suspicion(serial, endpoint, gone)));
        }
    }

    fn start_due_checks(&mut self) {
        let now = self.clock.now();
        while let Some(due) = self.roster.take_due(now) {
            let Due { serial, attempt, id, target, timeout, cancel } = due;
            let report = Report { serial, attempt, exec: target.is_exec(), outcome: None };
            let mut reporter = Reporter { to: self.report.clone(), report: Some(report) };
            let exec = Arc::clone(&self.exec);
            self.tasks.spawn("registry.check", OnError::Log, |stop| async move {
                tokio::select! {
                    outcome = probe::run(&target, &id, timeout, &exec) => reporter.found(outcome),
                    () = cancel.cancelled() => {}
                    () = stop.cancelled() => {}
                }
                Ok::<_, Infallible>(())
            });
        }
    }
}

async fn suspicion(serial: Serial, endpoint: Arc<Endpoint>, gone: CancellationToken) -> Suspicion {
    tokio::select! {
        biased;
        () = gone.cancelled() => return None,
        () = endpoint.suspected() => {}
    }
    Some((serial, endpoint, gone))
}

/// Reports a check when dropped, however it ended: a check that panics gives its place back, too.
struct Reporter {
    to: mpsc::Sender<Report>,
    report: Option<Report>,
}

impl Reporter {
    fn found(&mut self, outcome: Result<(), String>) {
        if let Some(report) = &mut self.report {
            report.outcome = Some(outcome);
        }
    }
}

impl Drop for Reporter {
    fn drop(&mut self) {
        if let Some(report) = self.report.take() {
            let _ = self.to.try_send(report); // fails only when the owner is gone
        }
    }
}
