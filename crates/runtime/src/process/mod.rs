//! The driver of host processes: the node's side of its keeper.
//!
//! [`ProcessDriver::open`] joins the keeper of the state directory or starts one. What the driver asks goes
//! over one connection; when that breaks, the driver has failed ([`Event::Failed`]) and every call says so.

mod connect;
mod link;

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use kit::{BoxFuture, Explain, Help, Tasks};
use manifest::spec::InstanceId;
use tokio::sync::mpsc;

use crate::driver::{
    Driver, Event, Found, Launch, Lifetime, RecoverError, StartError, Started, Stop, StopError, Usage,
};
use crate::signals;
use crate::wire::{self, ToKeeper, WireLaunch};
use link::{Answer, AskError, Link};

/// What a driver needs.
#[derive(Clone)]
pub struct Options {
    /// The node's state directory: the keeper's socket, lock and the logs are in it. Made if missing.
    pub state_dir: PathBuf,
    /// The program that becomes the keeper and the arguments that make it do so: `atoll __keep`.
    pub keeper_command: Vec<OsString>,
    /// Whether instances end with this node.
    pub lifetime: Lifetime,
    /// Owns the tasks that read from and write to the keeper. When it shuts down, the connection closes.
    pub tasks: Tasks,
}

/// Why the driver cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The state directory cannot be made or read.
    #[error("cannot use the state directory `{}`", .path.display())]
    StateDir {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Another node uses the keeper of this directory.
    #[error("another node (process {pid}) holds the instances of `{}`", .path.display())]
    Busy {
        /// Of which state directory.
        path: PathBuf,
        /// Its process.
        pid: i32,
    },
    /// The keeper was started by another version of Atoll.
    #[error("the keeper that runs (process {pid}) speaks protocol {theirs}, this version {ours}")]
    OtherVersion {
        /// Its process.
        pid: i32,
        /// Its protocol.
        theirs: u32,
        /// Ours.
        ours: u32,
    },
    /// No keeper can be started or talked to.
    #[error("cannot start the keeper of `{}`: {why}", .path.display())]
    Keeper {
        /// Of which state directory.
        path: PathBuf,
        /// Why.
        why: String,
    },
}

impl Explain for OpenError {
    fn help(&self) -> Help {
        match self {
            Self::StateDir { .. } => Help::code("A0508").hint("choose a directory that you may write to"),
            Self::Busy { .. } => {
                Help::code("A0506").hint("stop that node with `atoll down`, or work with it")
            }
            Self::OtherVersion { .. } => {
                Help::code("A0510").hint("run `atoll down` with the version that started it, then `atoll up`")
            }
            Self::Keeper { .. } => Help::code("A0509").hint("see `keeper.err` in the state directory"),
        }
    }
}

/// Runs instances as host processes.
#[derive(Debug)]
pub struct ProcessDriver {
    link: Link,
    events: Mutex<Option<mpsc::Receiver<Event>>>,
    keeper: i32,
}

impl ProcessDriver {
    /// Joins the keeper of the state directory, or starts one.
    pub async fn open(options: Options) -> Result<Self, OpenError> {
        let (stream, keeper) = connect::join_or_start(&options).await?;
        let (link, events) = Link::start(stream, &options.state_dir, &options.tasks);
        Ok(Self { link, events: Mutex::new(Some(events)), keeper })
    }

    /// The process id of the keeper, for `doctor` and for people.
    pub fn keeper_pid(&self) -> u32 {
        u32::try_from(self.keeper).unwrap_or_default()
    }

    /// Hangs up. Instances of a [`Lifetime::WithNode`] driver are ended by the keeper then.
    pub fn close(&self) {
        self.link.close();
    }
}

/// Whether a keeper (or a warden of one) lives for this state directory: instances may run there although no
/// node does. Nothing is disturbed by asking.
pub fn keeper_lives(state_dir: &std::path::Path) -> bool {
    use rustix::fs::{FlockOperation, flock};
    let Ok(lock) = std::fs::File::open(state_dir.join(wire::LOCK)) else { return false };
    flock(&lock, FlockOperation::NonBlockingLockShared) == Err(rustix::io::Errno::WOULDBLOCK)
}

/// Longer grace than this is no different from none (and would not fit the wire).
const MAX_GRACE: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

impl Driver for ProcessDriver {
    fn start(&self, launch: Launch) -> BoxFuture<'_, Result<Started, StartError>> {
        Box::pin(async move {
            let id = launch.id.clone();
            if launch.working_dir.to_str().is_none() {
                let step = format!("enter {}", launch.working_dir.display());
                return Err(StartError::Setup { id, step, why: "the path is not UTF-8".to_owned() });
            }
            let launch = Box::new(WireLaunch::from_domain(launch));
            match self.link.ask(|seq| ToKeeper::Start { seq, launch }).await {
                Ok(Answer::Started(started)) => Ok(started),
                Ok(Answer::NotStarted(error)) => Err(error.into_domain(id)),
                Ok(_) => Err(StartError::DriverGone { id, why: link::MISTAKEN.to_owned() }),
                Err(AskError::Refused(why)) => {
                    Err(StartError::Setup { id, step: "ask for it".to_owned(), why })
                }
                Err(AskError::Gone(why)) => Err(StartError::DriverGone { id, why }),
            }
        })
    }

    fn recover(&self) -> BoxFuture<'_, Result<Vec<Found>, RecoverError>> {
        Box::pin(async move {
            match self.link.ask(|seq| ToKeeper::Recover { seq }).await {
                Ok(Answer::Recovered(found)) => {
                    for ended in found.iter().filter(|found| found.exit.is_some()) {
                        self.link.acknowledge(&ended.launch.id).await;
                    }
                    Ok(found)
                }
                Ok(_) => Err(RecoverError { why: link::MISTAKEN.to_owned() }),
                Err(error) => Err(RecoverError { why: error.why() }),
            }
        })
    }

    fn stop(&self, id: &InstanceId, stop: Stop) -> BoxFuture<'_, Result<(), StopError>> {
        let id = id.clone();
        Box::pin(async move {
            let Some(signal) = signals::number(&stop.signal) else {
                return Err(StopError { id, why: format!("`{}` is not a signal of Linux", stop.signal) });
            };
            let text = id.to_string();
            let grace_us = u64::try_from(stop.grace.min(MAX_GRACE).as_micros()).unwrap_or(u64::MAX);
            match self.link.ask(|seq| ToKeeper::Stop { seq, id: text, signal, grace_us }).await {
                Ok(Answer::Stopped) => Ok(()),
                Ok(_) => Err(StopError { id, why: link::MISTAKEN.to_owned() }),
                Err(error) => Err(StopError { id, why: error.why() }),
            }
        })
    }

    fn events(&self) -> mpsc::Receiver<Event> {
        let taken = self.events.lock().unwrap_or_else(PoisonError::into_inner).take();
        taken.unwrap_or_else(|| mpsc::channel(1).1)
    }

    fn usage(&self) -> BoxFuture<'_, Vec<Usage>> {
        Box::pin(async move {
            match self.link.ask(|seq| ToKeeper::Usage { seq }).await {
                Ok(Answer::Usage(list)) => {
                    list.into_iter().filter_map(wire::WireUsage::into_domain).collect()
                }
                _ => Vec::new(),
            }
        })
    }
}
