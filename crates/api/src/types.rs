//! The wire types.

use std::collections::BTreeMap;
use std::path::PathBuf;

use kit::Timestamp;
use serde::{Deserialize, Serialize};

use crate::guard::Guard;

/// Which node answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// Version of its binary.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// When it started.
    pub started_at: Timestamp,
    /// The app's name.
    pub app: String,
    /// Where its state lives.
    pub state_dir: PathBuf,
    /// It goes on without a terminal.
    pub detached: bool,
}

/// Everything there is to see at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Counts up with every change.
    pub generation: u64,
    /// The app's name.
    pub app: String,
    /// The project directory.
    pub root: PathBuf,
    /// The app as a whole.
    pub phase: Phase,
    /// Where the gateway listens, as URLs.
    pub gateway: Vec<String>,
    /// Where clients of queues and topics find them; none if the app has none.
    #[serde(default)]
    pub pipes: Option<String>,
    /// The console's URL, once there is one.
    pub console: Option<String>,
    /// Services by name.
    pub services: Vec<Service>,
    /// Every guarded call: routes of the gateway and entries of `calls`.
    #[serde(default)]
    pub guards: Vec<Guard>,
}

/// The app as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Something has not been ready yet.
    Starting,
    /// Every service is where it should be.
    Ready,
    /// A service that was ready is not, or one has failed.
    Degraded,
    /// On its way down.
    Stopping,
}

/// One service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub state: ServiceState,
    /// Why, where the state alone does not say: what it waits for, how it failed.
    pub detail: String,
    /// Instances wanted.
    pub desired: u32,
    /// Instances ready.
    pub ready: u32,
    /// Its routes as written: `GET /books/{id}`.
    pub routes: Vec<String>,
    /// Whom it may call.
    pub calls: Vec<String>,
    /// Once all wanted instances are ready: the longest time one of them took from its start, in milliseconds.
    pub ready_after_ms: Option<u64>,
    /// Its instances.
    pub instances: Vec<Instance>,
}

/// Where a service stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServiceState {
    /// Its dependencies are not there yet.
    Waiting,
    /// Its `prepare` command runs.
    Preparing,
    /// Instances are starting.
    Starting,
    /// All wanted instances are ready.
    Ready,
    /// Some wanted instances are not ready although they were.
    Degraded,
    /// It will not get ready by itself: `detail` says why.
    Failed,
    /// Its instances ran to their end with status 0.
    Completed,
    /// Scaled to zero, or stopped.
    Stopped,
    /// On its way down.
    Stopping,
    /// This version cannot run it.
    Unsupported,
}

impl ServiceState {
    /// The word for it, as in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Preparing => "preparing",
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Degraded => "degraded",
            Self::Failed => "failed",
            Self::Completed => "completed",
            Self::Stopped => "stopped",
            Self::Stopping => "stopping",
            Self::Unsupported => "unsupported",
        }
    }
}

/// One replica of a service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Instance {
    /// `catalog-2`.
    pub name: String,
    /// Its service.
    pub service: String,
    /// Its number, from 1.
    pub replica: u32,
    /// How often it has been started.
    pub run: u32,
    /// Where it stands.
    pub state: InstanceState,
    /// Why, where the state alone does not say: the last failed check, how it ended.
    pub detail: String,
    /// Its main process.
    pub pid: Option<u32>,
    /// Where it listens.
    pub address: Option<String>,
    /// Digest of what it was started with.
    pub revision: String,
    /// When its current run started.
    pub started_at: Option<Timestamp>,
    /// From its start to its first passed check, in milliseconds.
    pub ready_after_ms: Option<u64>,
    /// Restarts after failures.
    pub restarts: u32,
    /// How its last run ended: `exit status 1`.
    pub last_exit: Option<String>,
    /// Exchanges under way.
    pub in_flight: u32,
    /// The data path passes it over for what it has answered, for so many milliseconds more.
    #[serde(default)]
    pub ejected_ms: Option<u64>,
}

/// Where an instance stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InstanceState {
    /// Not started yet.
    Waiting,
    /// It runs and has not passed a check yet.
    Starting,
    /// It passes its checks.
    Ready,
    /// It did and does not now.
    Unready,
    /// It takes no new requests and finishes those under way.
    Draining,
    /// It was asked to end.
    Stopping,
    /// It failed and starts again after a while.
    Backoff,
    /// It ended and stays so.
    Exited,
}

impl InstanceState {
    /// The word for it, as in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Unready => "unready",
            Self::Draining => "draining",
            Self::Stopping => "stopping",
            Self::Backoff => "backoff",
            Self::Exited => "exited",
        }
    }
}

/// A wish: run this app.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Apply {
    /// The resolved application file, as `atoll config` prints it (YAML or JSON).
    pub file: String,
    /// Replicas per service that differ from the file (`--scale`).
    #[serde(default)]
    pub scale: BTreeMap<String, u32>,
    /// Start only these and what they depend on; empty: all.
    #[serde(default)]
    pub services: Vec<String>,
    /// With `services`: without what they depend on.
    #[serde(default)]
    pub no_deps: bool,
}

/// The resolved application file that is in force.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AppFile {
    /// Its text.
    pub file: String,
}

/// What would be done, or is being done.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// In the order of services; empty: nothing changes.
    pub changes: Vec<Change>,
    /// Instances that stay as they are.
    pub unchanged: u32,
}

/// One change to one service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// What happens.
    pub action: Action,
    /// The service.
    pub service: String,
    /// The instances, by name.
    pub instances: Vec<String>,
    /// What differs (`command`, `environment.LOG`), or why.
    pub why: Vec<String>,
}

/// What happens to a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// New instances start.
    Start,
    /// Instances stop and start again with what changed.
    Replace,
    /// Instances stop.
    Stop,
    /// Nothing restarts: routes, calls, checks or counts change in place.
    Update,
}

/// A wish: restart these services, one instance after the other.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Restart {
    /// Services (`catalog`) or instances (`catalog-2`); empty: all services.
    pub targets: Vec<String>,
}

/// A wish: so many instances.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Scale {
    /// Replicas by service.
    pub replicas: BTreeMap<String, u32>,
}

/// A wish: stop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// Seconds instances may take, instead of their own `stop_grace_period`; 0 kills at once.
    pub timeout_s: Option<u64>,
}

/// Done, and what there is to say about it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Done {
    /// The instances it was about, by name.
    pub instances: Vec<String>,
}

/// Something happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Counts up from 1 for each node process.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// How much it matters.
    pub level: Level,
    /// What kind: `instance.started`, `instance.ready`, `app.applied`, `notice`, …
    pub kind: String,
    /// The service it is about.
    pub service: Option<String>,
    /// The instance it is about.
    pub instance: Option<String>,
    /// One line for people.
    pub message: String,
    /// The kind of failure: `atoll explain` has the page.
    pub code: Option<String>,
    /// What to do next.
    pub hint: Option<String>,
}

/// How much an event matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// As it should be.
    Info,
    /// Worth a look.
    Warning,
    /// Something does not work.
    Error,
}

/// One line of output.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogLine {
    /// When it was read.
    pub at: Timestamp,
    /// Whose: `catalog-2`, `catalog.prepare`, `gateway`.
    pub instance: String,
    /// `stdout`, `stderr`, or `atoll` for remarks of the platform.
    pub stream: String,
    /// The line without its end.
    pub text: String,
}

/// What is used now.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// The node itself.
    pub node: NodeUsage,
    /// Instances by name.
    pub instances: Vec<InstanceUsage>,
}

/// What the node itself uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NodeUsage {
    /// CPU time since its start, in microseconds.
    pub cpu_us: u64,
    /// Resident memory in bytes.
    pub memory: u64,
    /// Exchanges it has carried since its start.
    pub requests: u64,
}

/// What one instance uses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InstanceUsage {
    /// `catalog-2`.
    pub name: String,
    /// Its service.
    pub service: String,
    /// CPU time since its start, in microseconds.
    pub cpu_us: u64,
    /// Memory in bytes.
    pub memory: u64,
    /// Its memory limit in bytes.
    pub memory_limit: Option<u64>,
    /// Processes.
    pub processes: u32,
    /// Exchanges under way.
    pub in_flight: u32,
    /// Exchanges since its start.
    pub requests: u64,
}

/// One way in, as the proxy has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Route {
    /// `gateway`, or the caller of a mesh address.
    pub entrance: String,
    /// Where it listens.
    pub address: String,
    /// The route's name: `GET /books/{id}`; `orders -> payments` for an entry of `calls`.
    pub route: String,
    /// The service behind it.
    pub service: String,
    /// Milliseconds to the head of the answer.
    pub timeout_ms: u64,
    /// What else applies, in the words of the file: `retry 2`, `limit 5/s per client`. Nothing that is so without a word.
    #[serde(default)]
    pub policies: Vec<String>,
}

/// An error on this API: RFC 9457, with Atoll's code and hint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Problem {
    /// The HTTP status.
    pub status: u16,
    /// What is wrong, one line.
    pub title: String,
    /// Its kind: `atoll explain` has the page.
    pub code: String,
    /// More of it: several lines for a file with faults.
    #[serde(default)]
    pub detail: String,
    /// What to do next.
    pub hint: Option<String>,
}
