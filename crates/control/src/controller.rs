//! The doing: one task owns the desired state and the fleet, folds in what it is told, and after each
//! turn plans and carries the plan out. Steps run as tasks of their own and report back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kit::{Clock, OnError, Tasks, Timestamp};
use manifest::spec::{InstanceId, ServiceName};
use registry::Registry;
use runtime::{Driver, Event, Found};
use tokio::sync::{mpsc, oneshot, watch};

use crate::checks::Checks;
use crate::desired::{Change, Desired};
use crate::fleet::Place;
use crate::launch::Surroundings;
use crate::memory::Memory;
use crate::ports::Ports;
use crate::reconciler::Reconciler;
use crate::status::View;

/// Wishes that may wait at once.
const MAX_WISHES: usize = 64;

/// Results of steps that may wait at once; a step whose result finds no room waits.
const MAX_RESULTS: usize = 1024;

/// What a controller works with.
pub struct Options {
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
    /// Who owns its tasks.
    pub tasks: Tasks,
    /// Who runs instances.
    pub driver: Arc<dyn Driver>,
    /// Who watches them and tells the data path.
    pub registry: Registry,
    /// Checks by command, the same that the registry got.
    pub checks: Arc<Checks>,
    /// Ports for instances.
    pub ports: Arc<Ports>,
    /// What every instance gets.
    pub surroundings: Surroundings,
    /// What should be at the start: the app of a node that was killed, or nothing.
    pub desired: Desired,
    /// What lives from before.
    pub found: Vec<Found>,
    /// Who hears what happens. Must not block.
    pub tell: Arc<dyn Fn(Happening) + Send + Sync>,
    /// What the controller remembered that this one takes over from. It only watches what was found until
    /// [`Controller::release`]: the other may have to go on.
    pub after: Option<Memory>,
}

/// Something that happened, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happening {
    /// How much it matters.
    pub level: Level,
    /// What kind: `instance.started`.
    pub kind: &'static str,
    /// The service.
    pub service: Option<ServiceName>,
    /// The instance, by name.
    pub instance: Option<String>,
    /// One line.
    pub message: String,
    /// The kind of failure.
    pub code: Option<&'static str>,
    /// What to do next.
    pub hint: Option<String>,
}

/// How much something matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// As it should be.
    Info,
    /// Worth a look.
    Warning,
    /// Something does not work.
    Error,
}

/// A wish, with where to send the answer.
pub(crate) enum Wish {
    /// Be this from now on.
    Apply(Desired, oneshot::Sender<(Vec<Change>, u32)>),
    /// So many replicas.
    Scale(BTreeMap<ServiceName, u32>, oneshot::Sender<(Vec<Change>, u32)>),
    /// Restart these one after the other; empty: all. Answered when they are ready again.
    Restart(Vec<Target>, oneshot::Sender<Result<Vec<Place>, RestartError>>),
    /// Go down. Answered when nothing lives.
    Down(Option<Duration>, oneshot::Sender<()>),
    /// Begin nothing any more. Answered when nothing is under way.
    Hold(oneshot::Sender<()>),
    /// Tell what you remember, after all news that have come so far.
    Recall(oneshot::Sender<Memory>),
    /// Go on.
    Release,
}

/// What a restart is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// All replicas of a service.
    Service(ServiceName),
    /// One replica.
    Place(Place),
}

/// Why a restart did not come to its end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestartError {
    /// There is no such service or instance.
    #[error("nothing is called `{0}`")]
    Unknown(String),
    /// It does not get ready again.
    #[error("`{place}` does not come back: {why}")]
    Failed {
        /// Which.
        place: Place,
        /// Why.
        why: String,
    },
    /// The app goes down.
    #[error("the app goes down")]
    GoingDown,
}

/// The controller has ended; only while its node ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the node is stopping")]
pub struct Gone;

/// A step has come to its end.
pub(crate) enum Outcome {
    Started { id: InstanceId, pid: u32, at: Timestamp },
    NotStarted { id: InstanceId, why: String, code: &'static str, hint: Option<String> },
    Stopped { id: InstanceId },
    NotStopped { id: InstanceId, why: String },
}

/// Handle to the controller. Cheap to clone.
#[derive(Clone)]
pub struct Controller {
    wishes: mpsc::Sender<Wish>,
    view: watch::Receiver<Arc<View>>,
}

impl Controller {
    /// Starts the controller's task; it adopts what was found and reconciles at once.
    pub fn start(options: Options) -> Self {
        let (wishes, wished) = mpsc::channel(MAX_WISHES);
        let (publish, view) = watch::channel(Arc::new(View::default()));
        let tasks = options.tasks.clone();
        tasks.spawn("control.reconcile", OnError::StopNode, |stop| async move {
            let (results, resulted) = mpsc::channel(MAX_RESULTS);
            let inputs = Inputs {
                wished,
                happened: options.driver.events(),
                resulted,
                observed: options.registry.observe(),
                clock: Arc::clone(&options.clock),
            };
            let reconciler = Reconciler::new(options, results, publish);
            tokio::select! {
                biased; // when all stop, the driver may stop first: that is no failure
                () = stop.cancelled() => Ok(()),
                ended = run(reconciler, inputs) => ended,
            }
        });
        Self { wishes, view }
    }

    /// How things stand, published whole at each change.
    pub fn view(&self) -> watch::Receiver<Arc<View>> {
        self.view.clone()
    }

    /// Makes `desired` the goal. Answers with what that changes, as soon as it is planned.
    pub async fn apply(&self, desired: Desired) -> Result<(Vec<Change>, u32), Gone> {
        self.wish(|answer| Wish::Apply(desired, answer)).await
    }

    /// Sets replica counts.
    pub async fn scale(&self, replicas: BTreeMap<ServiceName, u32>) -> Result<(Vec<Change>, u32), Gone> {
        self.wish(|answer| Wish::Scale(replicas, answer)).await
    }

    /// Restarts targets one after the other; answers when they are ready again or cannot be.
    pub async fn restart(&self, targets: Vec<Target>) -> Result<Result<Vec<Place>, RestartError>, Gone> {
        self.wish(|answer| Wish::Restart(targets, answer)).await
    }

    /// Stops everything; answers when nothing lives. A second call with a shorter grace hastens the first.
    pub async fn down(&self, grace: Option<Duration>) -> Result<(), Gone> {
        self.wish(|answer| Wish::Down(grace, answer)).await
    }

    /// Begins no further step, except what a restart that somebody waits for still needs. Answers when no step
    /// is under way; goes on watching. Until [`Self::release`], also when nobody waits for the answer any more.
    pub async fn hold(&self) -> Result<(), Gone> {
        self.wish(Wish::Hold).await
    }

    /// What there is to remember, for the one that takes over.
    pub async fn recall(&self) -> Result<Memory, Gone> {
        self.wish(Wish::Recall).await
    }

    /// Ends a [`Self::hold`], or that of [`Options::after`].
    pub async fn release(&self) -> Result<(), Gone> {
        self.wishes.send(Wish::Release).await.map_err(|_| Gone)
    }

    async fn wish<T>(&self, wish: impl FnOnce(oneshot::Sender<T>) -> Wish) -> Result<T, Gone> {
        let (answer, answered) = oneshot::channel();
        self.wishes.send(wish(answer)).await.map_err(|_| Gone)?;
        answered.await.map_err(|_| Gone)
    }
}

/// Where news come from.
struct Inputs {
    wished: mpsc::Receiver<Wish>,
    happened: mpsc::Receiver<Event>,
    resulted: mpsc::Receiver<Outcome>,
    observed: watch::Receiver<Arc<BTreeMap<InstanceId, registry::Observed>>>,
    clock: Arc<dyn Clock>,
}

/// Folds news in and reconciles, for ever. Whatever is ready at once is folded in before the next look,
/// so that a hundred instances turning ready cost a few looks, not a hundred.
async fn run(mut reconciler: Reconciler, mut inputs: Inputs) -> Result<(), String> {
    reconciler.adopt().await;
    loop {
        let look_again = reconciler.reconcile().await;
        let sleep = async {
            match look_again {
                Some(at) => inputs.clock.sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some(wish) = inputs.wished.recv() => reconciler.wished(wish),
            event = inputs.happened.recv() => match event {
                Some(event) => reconciler.happened(event).await?,
                None => return Err("the driver has stopped".into()),
            },
            Some(outcome) = inputs.resulted.recv() => reconciler.resulted(outcome).await,
            Ok(()) = inputs.observed.changed() => {}
            () = sleep => {}
        }
        while let Ok(outcome) = inputs.resulted.try_recv() {
            reconciler.resulted(outcome).await;
        }
        while let Ok(event) = inputs.happened.try_recv() {
            reconciler.happened(event).await?;
        }
        // Looked at after every piece of news: an instance may be ready before its start has been told.
        let observed = inputs.observed.borrow_and_update().clone();
        reconciler.observed(&observed);
    }
}
