//! The narrow waist between those who decide what runs and those who can run it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use kit::{BoxFuture, Explain, Help, Timestamp};
use manifest::spec::{InstanceId, Limits, Logging, Ulimit};
use tokio::sync::mpsc;

/// Runs instances. One driver per kind: host processes, a mock for tests and plans, later more.
///
/// All verbs are idempotent per [`InstanceId`]. A driver never has two living instances that differ only
/// in `run`: `start` of the second fails with [`StartError::SlotTaken`] until the first is gone whole,
/// descendants included.
pub trait Driver: Send + Sync + 'static {
    /// Starts an instance. Returns once its program runs (after a successful `exec`) or cannot.
    fn start(&self, launch: Launch) -> BoxFuture<'_, Result<Started, StartError>>;

    /// What lives (or ended unreported) from before this node: called once, before the first `start`.
    fn recover(&self) -> BoxFuture<'_, Result<Vec<Found>, RecoverError>>;

    /// Ends an instance: sends the signal to its main process, waits up to the grace, then kills whatever
    /// is left of its tree. Returns when nothing of it lives. Unknown instances are already stopped: `Ok`.
    /// A second call with a shorter grace hastens the first. The end is also told as [`Event::Exited`].
    fn stop(&self, id: &InstanceId, stop: Stop) -> BoxFuture<'_, Result<(), StopError>>;

    /// What happens, in order. May be taken once; later calls get a closed receiver.
    fn events(&self) -> mpsc::Receiver<Event>;

    /// What each living instance uses now.
    fn usage(&self) -> BoxFuture<'_, Vec<Usage>>;
}

/// Everything a driver needs to start an instance.
#[derive(Clone, Debug, PartialEq)]
pub struct Launch {
    /// Who it is.
    pub id: InstanceId,
    /// A digest of all that would make a new instance differ; opaque here, handed back by `recover`.
    pub revision: String,
    /// Program and arguments; never empty. A program without `/` is looked up in `PATH` of `environment`;
    /// a relative one with `/` starts at `working_dir`.
    pub command: Vec<String>,
    /// Where it runs. Absolute.
    pub working_dir: PathBuf,
    /// The whole environment: nothing is inherited.
    pub environment: BTreeMap<String, String>,
    /// `name|uid[:group|gid]`.
    pub user: Option<String>,
    /// Per-process limits.
    pub ulimits: BTreeMap<String, Ulimit>,
    /// Limits of the whole instance.
    pub limits: Limits,
    /// The port it was told to listen on; opaque here, handed back by `recover`.
    pub port: Option<u16>,
    /// The signal that asks it to end, for when its node goes away (`SIGTERM`).
    pub stop_signal: String,
    /// And how long it may then take.
    pub stop_grace: Duration,
    /// How output is kept.
    pub logging: Logging,
}

/// Whether instances end with the node that started them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// They end when the node ends, however it ends: `atoll up` in the foreground.
    WithNode,
    /// They outlive the node and are found again by `recover`: `atoll up -d`.
    Detached,
}

/// An instance that has started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Started {
    /// Its main process.
    pub pid: u32,
    /// When.
    pub at: Timestamp,
}

/// An instance from before.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// What it was started with.
    pub launch: Launch,
    /// Its main process and when it started.
    pub started: Started,
    /// How it ended, if it did while no node was there.
    pub exit: Option<Exit>,
    /// An earlier node has asked it to end: its end is no word about how it was doing.
    pub asked: bool,
}

/// How to end an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stop {
    /// A Linux signal name such as `SIGTERM`.
    pub signal: String,
    /// How long it may take; zero kills at once.
    pub grace: Duration,
}

/// How an instance ended.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Exit {
    /// With this status.
    Code(i32),
    /// By this signal, a Linux name such as `SIGKILL`.
    Signal(String),
    /// By the kernel, for going past its memory limit.
    OutOfMemory,
    /// Nobody saw how: what watched it died.
    Unknown,
}

impl Exit {
    /// Status 0.
    pub fn is_success(&self) -> bool {
        *self == Self::Code(0)
    }
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit status {code}"),
            Self::Signal(name) => write!(f, "killed by {name}"),
            Self::OutOfMemory => f.write_str("killed: out of memory"),
            Self::Unknown => f.write_str("ended unseen"),
        }
    }
}

/// What a driver tells by itself.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// An instance ended; nothing of its tree lives any more.
    Exited {
        /// Who.
        id: InstanceId,
        /// How.
        exit: Exit,
        /// When.
        at: Timestamp,
        /// The last lines it wrote (at most 20), for the message that explains the end.
        last_lines: Vec<String>,
    },
    /// Something a person should know; said once per cause.
    Notice {
        /// Its kind: `atoll explain` has the page.
        code: &'static str,
        /// What, where, why: one line.
        message: String,
        /// What to do.
        hint: Option<String>,
    },
    /// The driver can no longer do its work; the text says why.
    Failed(String),
}

/// What an instance uses.
#[derive(Clone, Debug, PartialEq)]
pub struct Usage {
    /// Who.
    pub id: InstanceId,
    /// CPU time used since it started.
    pub cpu: Duration,
    /// Memory in bytes.
    pub memory: u64,
    /// Processes.
    pub processes: u32,
}

/// Why an instance could not be started.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StartError {
    /// An earlier run still lives.
    #[error("`{id}` cannot start: `{holder}` still lives")]
    SlotTaken {
        /// Who wanted to start.
        id: InstanceId,
        /// Who is there.
        holder: InstanceId,
    },
    /// The program is not there.
    #[error("`{id}`: program `{program}` not found {searched}")]
    NoProgram {
        /// Who.
        id: InstanceId,
        /// Which.
        program: String,
        /// Where it was looked for.
        searched: String,
    },
    /// Anything else between fork and exec.
    #[error("`{id}`: cannot {step}: {why}")]
    Setup {
        /// Who.
        id: InstanceId,
        /// What was being done (`enter /srv/x`, `become user app`).
        step: String,
        /// Why it failed, from the system.
        why: String,
    },
    /// The driver itself is out of order.
    #[error("`{id}`: the driver does not answer: {why}")]
    DriverGone {
        /// Who.
        id: InstanceId,
        /// Why.
        why: String,
    },
}

impl Explain for StartError {
    fn help(&self) -> Help {
        match self {
            Self::SlotTaken { .. } => Help::code("A0501").hint("wait for it to end, or `atoll restart` it"),
            Self::NoProgram { .. } => {
                Help::code("A0502").hint("check `command`, build it with `prepare`, or set `working_dir`")
            }
            Self::Setup { .. } => Help::code("A0503").hint("check `working_dir`, `user` and `ulimits`"),
            Self::DriverGone { .. } => Help::code("A0504").hint("run `atoll up` again"),
        }
    }
}

/// Why what lives from before could not be found.
#[derive(Debug, thiserror::Error)]
#[error("cannot find the instances that run from before: {why}")]
pub struct RecoverError {
    /// Why.
    pub why: String,
}

/// Why an instance could not be ended.
#[derive(Debug, thiserror::Error)]
#[error("cannot end `{id}`: {why}")]
pub struct StopError {
    /// Who.
    pub id: InstanceId,
    /// Why.
    pub why: String,
}
