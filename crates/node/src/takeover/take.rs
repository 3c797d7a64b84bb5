//! The new node's side: it asks for everything, gets ready, and says so.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::Duration;

use control::status::{InstanceState, View};
use control::{Controller, Memory, Place};
use proxy::Sockets;
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::channel::Channel;
use super::give::QUIET;
use super::messages::{FIXED_DESCRIPTORS, Granted, PROTOCOL, ToNew, ToOld};
use super::{SOCKET, TakeOverError};

/// How long the old node may take to hand everything over: what is under way ends first.
const GRANTED: Duration = QUIET.saturating_add(Duration::from_secs(15));

/// How long services that were ready may take to be ready here.
const READY: Duration = Duration::from_secs(30);

/// A node that is about to take over.
pub(crate) struct Taker {
    channel: Channel,
}

/// What the old node hands over.
pub(crate) struct Inheritance {
    pub(crate) version: String,
    pub(crate) pid: u32,
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) memory: Memory,
    pub(crate) lock: File,
    pub(crate) admin: UnixListener,
    pub(crate) upgrades: UnixListener,
    pub(crate) sockets: Vec<Sockets>,
}

/// The node that was here before, while it finishes its connections.
pub(crate) struct Predecessor(Channel);

impl Predecessor {
    /// Everything stops: so should it.
    pub(crate) async fn stop(&mut self) {
        let _ = self.0.send(&ToOld::Stop, &[]).await; // it has ended already
    }
}

impl Taker {
    /// Asks the node of `state_dir` for everything it has. `drain` is how long its connections may take.
    pub(crate) async fn ask(state_dir: &Path, drain: Duration) -> Result<(Self, Inheritance), TakeOverError> {
        let stream = connect(state_dir).await.map_err(TakeOverError::Unreachable)?;
        let mut channel = Channel::new(stream);
        let hello = ToOld::Hello {
            protocol: PROTOCOL,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            drain_ms: u64::try_from(drain.as_millis()).unwrap_or(u64::MAX),
        };
        // One that refuses may have closed already: what it said can still be read.
        let sent = channel.send(&hello, &[]).await;
        let granted = match timeout(GRANTED, channel.receive()).await {
            Ok(Ok(Some(ToNew::Granted(granted)))) => *granted,
            Ok(said @ Ok(Some(_))) => return Err(not_expected(said)),
            Ok(said) => return Err(sent.map_or_else(|error| broken(&error), |()| not_expected(said))),
            Err(_) => {
                return Err(TakeOverError::Broken("the old node does not answer in time".to_owned()));
            }
        };
        let descriptors = channel.take_descriptors();
        let inheritance = Inheritance::of(granted, descriptors.into_iter()).ok_or_else(|| {
            TakeOverError::Broken("the old node does not hand over what it says".to_owned())
        })?;
        Ok((Self { channel }, inheritance))
    }

    /// Waits until this node can do what the old one could.
    pub(crate) async fn until_ready(
        &self,
        controller: &Controller,
        were_ready: &[Place],
    ) -> Result<(), TakeOverError> {
        let mut view = controller.view();
        let settled = view.wait_for(|view| were_ready.iter().all(|place| is_settled(view, place)));
        let late = timeout(READY, settled).await.is_err();
        let view = controller.view().borrow().clone();
        let missing = missing(&view, were_ready);
        if missing.is_empty() {
            return Ok(());
        }
        let late = if late { format!(" within {} s", READY.as_secs()) } else { String::new() };
        Err(TakeOverError::NotReady(format!("{}{late}", missing.join(", "))))
    }

    /// Says that this node is ready. Returns what has happened so far once the app is this node's: accept
    /// then, and call [`Self::taken`]. An old node that is gone has left it to this one.
    pub(crate) async fn ready(&mut self) -> Result<Vec<api::Event>, TakeOverError> {
        if self.channel.send(&ToOld::Ready, &[]).await.is_err() {
            return Ok(Vec::new());
        }
        match self.channel.receive().await {
            Ok(Some(ToNew::Yours { events })) => Ok(events),
            Ok(None) => Ok(Vec::new()),
            said => Err(not_expected(said)),
        }
    }

    /// Tells the old node that it can go.
    pub(crate) async fn taken(mut self) -> Predecessor {
        let _ = self.channel.send(&ToOld::Taken, &[]).await; // it is gone: as well
        Predecessor(self.channel)
    }
}

impl Inheritance {
    fn of(granted: Granted, mut descriptors: impl ExactSizeIterator<Item = OwnedFd>) -> Option<Self> {
        let Granted { version, pid, environment, memory, listeners } = granted;
        let count: usize = listeners.iter().map(|listener| listener.sockets).sum();
        if descriptors.len() != FIXED_DESCRIPTORS + count {
            return None;
        }
        let lock = File::from(descriptors.next()?);
        let admin = UnixListener::from(descriptors.next()?);
        let upgrades = UnixListener::from(descriptors.next()?);
        let mut sockets = Vec::new();
        for listener in listeners {
            let own = descriptors.by_ref().take(listener.sockets).map(Into::into).collect();
            sockets.push(listener.into_sockets(own)?);
        }
        Some(Self { version, pid, environment, memory, lock, admin, upgrades, sockets })
    }
}

/// Through `/proc/self/fd`, because the path of a socket may have only 107 bytes.
async fn connect(state_dir: &Path) -> io::Result<UnixStream> {
    let directory = File::open(state_dir)?;
    UnixStream::connect(format!("/proc/self/fd/{}/{SOCKET}", directory.as_raw_fd())).await
}

/// Whether it is known how an instance is: it is ready, or it is not and something is wrong with it.
fn is_settled(view: &View, place: &Place) -> bool {
    if view.generation == 0 {
        return false; // nobody has looked yet
    }
    let Some(instance) =
        view.services.iter().flat_map(|service| &service.instances).find(|i| i.place == *place)
    else {
        return true;
    };
    !matches!(instance.state, InstanceState::Starting | InstanceState::Waiting)
}

/// The services that had a ready instance and have none.
fn missing(view: &View, were_ready: &[Place]) -> Vec<String> {
    let mut missing = Vec::new();
    for place in were_ready {
        let service = view.services.iter().find(|service| service.name == place.service);
        let ready = service.is_some_and(|service| service.ready > 0);
        let name = place.service.to_string();
        if !ready && !missing.contains(&name) {
            missing.push(name);
        }
    }
    missing
}

fn not_expected(said: io::Result<Option<ToNew>>) -> TakeOverError {
    match said {
        Ok(Some(ToNew::Refused { code, title, hint })) => TakeOverError::Refused { code, title, hint },
        Ok(Some(_)) => TakeOverError::Broken("the old node speaks out of turn".to_owned()),
        Ok(None) => TakeOverError::Broken("the old node went away".to_owned()),
        Err(error) => broken(&error),
    }
}

fn broken(error: &io::Error) -> TakeOverError {
    TakeOverError::Broken(error.to_string())
}
