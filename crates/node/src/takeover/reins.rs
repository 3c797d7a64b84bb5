//! A driver that can be let go of, so that another node joins the keeper, and taken back. While it is let go
//! of, what is asked of it waits; nothing it tells is lost.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsString;
use std::future::pending;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use control::Checks;
use kit::{BoxFuture, Clock, OnError, SystemClock, Tasks};
use manifest::spec::InstanceId;
use registry::ExecProbe;
use runtime::process::{OpenError, ProcessDriver};
use runtime::{
    Driver, Event, Exit, Found, Launch, Lifetime, RecoverError, StartError, Started, Stop, StopError, Usage,
};
use tokio::sync::{mpsc, watch};

/// Events on their way from the driver to the controller.
const EVENTS: usize = 64;

/// How long the connection to the keeper may take to close.
const CLOSE: Duration = Duration::from_secs(2);

/// How long it may take to get the keeper back from a node that has just ended.
const TAKE_BACK: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(50);

/// How the keeper is reached or started.
#[derive(Clone, Debug)]
pub(crate) struct Keeper {
    pub(crate) state_dir: PathBuf,
    pub(crate) command: Vec<OsString>,
    pub(crate) lifetime: Lifetime,
}

impl Keeper {
    async fn join(&self, tasks: &Tasks) -> Result<ProcessDriver, OpenError> {
        ProcessDriver::open(runtime::process::Options {
            state_dir: self.state_dir.clone(),
            keeper_command: self.command.clone(),
            lifetime: self.lifetime,
            tasks: tasks.clone(),
        })
        .await
    }
}

/// The driver as the rest of the node has it.
pub(crate) struct Reins {
    keeper: Keeper,
    held: watch::Sender<Option<Held>>,
    /// Instances that this node has started or found, and whose end has not been told.
    living: Arc<Mutex<BTreeSet<InstanceId>>>,
    tell: mpsc::Sender<Event>,
    events: Mutex<Option<mpsc::Receiver<Event>>>,
}

/// A connection to the keeper, and the tasks of it alone.
#[derive(Clone)]
struct Held {
    driver: Arc<ProcessDriver>,
    tasks: Tasks,
}

impl Reins {
    /// Joins the keeper, or starts one.
    pub(crate) async fn open(keeper: Keeper) -> Result<Self, OpenError> {
        let (tell, events) = mpsc::channel(EVENTS);
        let reins = Self {
            keeper,
            held: watch::Sender::new(None),
            living: Arc::default(),
            tell,
            events: Mutex::new(Some(events)),
        };
        let held = reins.join().await?;
        reins.hold(held);
        Ok(reins)
    }

    async fn join(&self) -> Result<Held, OpenError> {
        let tasks = Tasks::new();
        let driver = Arc::new(self.keeper.join(&tasks).await?);
        Ok(Held { driver, tasks })
    }

    /// Passes on what a driver tells, and lets it be asked.
    fn hold(&self, held: Held) {
        let mut events = held.driver.events();
        let (tell, living) = (self.tell.clone(), Arc::clone(&self.living));
        held.tasks.spawn("node.driver_events", OnError::Log, |_| async move {
            // Ends with the driver, and not before all of it has been passed on.
            while let Some(event) = events.recv().await {
                if let Event::Exited { id, .. } = &event {
                    locked(&living).remove(id);
                }
                if tell.send(event).await.is_err() {
                    break; // nobody listens any more
                }
            }
            Ok::<_, String>(())
        });
        self.held.send_replace(Some(held));
    }

    /// Hangs up. A detached app goes on; otherwise the keeper ends it. All that has been told so far is with
    /// the taker of the events when this returns.
    pub(crate) async fn let_go(&self) {
        let Some(held) = self.held.send_replace(None) else { return };
        held.driver.close();
        if held.tasks.shutdown(CLOSE).await.is_err() {
            tracing::warn!("the connection to the keeper does not close");
        }
    }

    /// Joins the keeper again, and tells what has ended meanwhile. Nothing is to be done where it was never let
    /// go of: the keeper takes one node, and would refuse this one beside itself.
    pub(crate) async fn take_back(&self) -> Result<(), String> {
        if !self.is_let_go() {
            return Ok(());
        }
        let give_up = Instant::now() + TAKE_BACK;
        let held = loop {
            match self.join().await {
                Ok(held) => break held,
                Err(error) if Instant::now() > give_up => return Err(kit::report::chain(&error)),
                Err(_) => tokio::time::sleep(PAUSE).await, // the other node may still be seen
            }
        };
        let found = held.driver.recover().await.map_err(|error| error.to_string())?;
        let living = locked(&self.living).clone();
        for (id, exit) in ended(&living, &found) {
            locked(&self.living).remove(&id);
            let at = SystemClock::new().now();
            let event = Event::Exited { id, exit, at, last_lines: Vec::new() };
            let _ = self.tell.send(event).await; // without a taker nobody needs to know
        }
        self.hold(held);
        Ok(())
    }

    /// Whether another node may be with the keeper.
    fn is_let_go(&self) -> bool {
        self.held.borrow().is_none()
    }

    /// Returns when this is let go of.
    async fn loosened(&self) {
        let mut held = self.held.subscribe();
        if held.wait_for(Option::is_none).await.is_err() {
            pending::<()>().await;
        }
    }

    /// The driver, once it is held.
    async fn driver(&self) -> Arc<ProcessDriver> {
        let mut held = self.held.subscribe();
        loop {
            if let Some(held) = held.borrow_and_update().as_ref() {
                return Arc::clone(&held.driver);
            }
            if held.changed().await.is_err() {
                pending::<()>().await;
            }
        }
    }
}

/// Which of `living` have ended, and how, going by what the keeper still knows.
fn ended(living: &BTreeSet<InstanceId>, found: &[Found]) -> Vec<(InstanceId, Exit)> {
    let found: BTreeMap<&InstanceId, Option<&Exit>> =
        found.iter().map(|found| (&found.launch.id, found.exit.as_ref())).collect();
    let mut ended = Vec::new();
    for id in living {
        match found.get(id) {
            Some(None) => {}
            Some(Some(exit)) => ended.push((id.clone(), (*exit).clone())),
            None => ended.push((id.clone(), Exit::Unknown)),
        }
    }
    ended
}

impl Driver for Reins {
    fn start(&self, launch: Launch) -> BoxFuture<'_, Result<Started, StartError>> {
        Box::pin(async move {
            let driver = self.driver().await;
            let id = launch.id.clone();
            locked(&self.living).insert(id.clone()); // its end may be told before its start is
            let started = driver.start(launch).await;
            if started.is_err() {
                locked(&self.living).remove(&id);
            }
            started
        })
    }

    fn recover(&self) -> BoxFuture<'_, Result<Vec<Found>, RecoverError>> {
        Box::pin(async move {
            let found = self.driver().await.recover().await?;
            let living = found.iter().filter(|found| found.exit.is_none());
            locked(&self.living).extend(living.map(|found| found.launch.id.clone()));
            Ok(found)
        })
    }

    fn stop(&self, id: &InstanceId, stop: Stop) -> BoxFuture<'_, Result<(), StopError>> {
        let id = id.clone();
        Box::pin(async move { self.driver().await.stop(&id, stop).await })
    }

    fn events(&self) -> mpsc::Receiver<Event> {
        let taken = self.events.lock().unwrap_or_else(PoisonError::into_inner).take();
        taken.unwrap_or_else(|| mpsc::channel(1).1)
    }

    fn usage(&self) -> BoxFuture<'_, Vec<Usage>> {
        let held = self.held.borrow().clone();
        Box::pin(async move {
            match held {
                Some(held) => held.driver.usage().await,
                None => Vec::new(),
            }
        })
    }
}

/// Checks by command. They are processes, which nobody can start while the keeper is with another node: until
/// it is back, each instance is as it was when it was checked last.
pub(crate) struct SteadyChecks {
    reins: Arc<Reins>,
    checks: Arc<Checks>,
    last: Mutex<HashMap<InstanceId, Result<(), String>>>,
}

/// Verdicts kept at most; instances that are gone are forgotten when there are more.
const MAX_VERDICTS: usize = 4096;

impl SteadyChecks {
    pub(crate) fn new(reins: Arc<Reins>, checks: Arc<Checks>) -> Self {
        Self { reins, checks, last: Mutex::default() }
    }

    async fn check(&self, id: &InstanceId, command: &[String], timeout: Duration) -> Result<(), String> {
        if !self.reins.is_let_go() {
            let verdict = tokio::select! {
                verdict = self.checks.run(id, command, timeout) => Some(verdict),
                () = self.reins.loosened() => None,
            };
            // One that ended badly just as the keeper was let go of has ended because of that.
            if let Some(verdict) = verdict
                && (verdict.is_ok() || !self.reins.is_let_go())
            {
                let mut last = locked(&self.last);
                if last.len() >= MAX_VERDICTS {
                    last.clear();
                }
                last.insert(id.clone(), verdict.clone());
                return verdict;
            }
        }
        let last = locked(&self.last).get(id).cloned();
        last.unwrap_or_else(|| Err("it was not checked before the upgrade began".to_owned()))
    }
}

impl ExecProbe for SteadyChecks {
    fn run<'a>(
        &'a self,
        id: &'a InstanceId,
        command: &'a [String],
        timeout: Duration,
    ) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(self.check(id, command, timeout))
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(name: &str, exit: Option<Exit>) -> Found {
        let launch = Launch {
            id: name.parse().unwrap(),
            revision: String::new(),
            command: vec!["true".into()],
            working_dir: "/".into(),
            environment: BTreeMap::new(),
            user: None,
            ulimits: BTreeMap::new(),
            limits: manifest::spec::Limits::default(),
            port: None,
            stop_signal: "SIGTERM".into(),
            stop_grace: Duration::ZERO,
            logging: manifest::spec::Logging { max_size: kit::units::Bytes(1), max_files: 1 },
        };
        let started = Started { pid: 1, at: SystemClock::new().now() };
        Found { launch, started, exit, asked: false }
    }

    #[test]
    fn what_ended_while_another_node_was_there_is_told_whether_or_not_anybody_saw_how() {
        let living = ["a-1#1", "b-1#1", "c-1#1"].map(|name| name.parse().unwrap()).into();
        let found = [found("a-1#1", None), found("b-1#1", Some(Exit::Code(3)))];
        let ended = ended(&living, &found);
        assert_eq!(
            ended,
            [("b-1#1".parse().unwrap(), Exit::Code(3)), ("c-1#1".parse().unwrap(), Exit::Unknown)]
        );
    }
}
