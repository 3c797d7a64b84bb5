//! The old node's side: it hands everything over, or goes on as if nothing had happened.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener as StdUnixListener;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use control::{Controller, Happening, Level};
use kit::{Explain, OnError, Tasks};
use rustix::process::{Pid, PidfdFlags, Signal, geteuid, pidfd_open, pidfd_send_signal};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::channel::Channel;
use super::messages::{FIXED_DESCRIPTORS, Granted, PROTOCOL, ToNew, ToOld, WireListener};
use super::{Reins, Turn};
use crate::app::Applier;
use crate::events::Events;

/// How long the new node may take to say hello.
const HELLO: Duration = Duration::from_secs(5);

/// How long steps that are under way may take to end.
pub(super) const QUIET: Duration = Duration::from_secs(30);

/// How long the new node may take until it is ready.
const READY: Duration = Duration::from_secs(60);

/// How long it may take to say that it has taken over.
const TAKEN: Duration = Duration::from_secs(10);

/// How long a new node that is not to take over any more may take to end by itself.
const GONE: Duration = Duration::from_secs(2);

/// How long to wait for descriptors when there are none left.
const PAUSE: Duration = Duration::from_millis(50);

/// Hands the app over.
pub(crate) struct Giver {
    pub(crate) node: api::Node,
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) applier: Arc<Applier>,
    pub(crate) controller: Controller,
    pub(crate) reins: Arc<Reins>,
    pub(crate) proxy: proxy::Handle,
    pub(crate) events: Arc<Events>,
    /// The listeners of the admin API and of upgrades.
    pub(crate) listeners: [StdUnixListener; 2],
    pub(crate) tasks: Tasks,
    /// Whom to tell that the app is another node's.
    pub(crate) given: Mutex<Option<oneshot::Sender<Given>>>,
}

/// The app has been handed over.
pub(crate) struct Given {
    /// To the node that has it.
    pub(crate) successor: Successor,
    /// How long connections under way may take.
    pub(crate) drain: Duration,
}

/// The node that has taken over.
pub(crate) struct Successor(Channel);

impl Successor {
    /// Returns when it says that everything stops. It may be gone: then there is nothing to wait for.
    pub(crate) async fn stops(&mut self) {
        loop {
            match self.0.receive::<ToOld>().await {
                Ok(Some(ToOld::Stop)) => return,
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => std::future::pending().await,
            }
        }
    }
}

/// Why the app is not handed over.
struct Refusal {
    code: &'static str,
    title: String,
    hint: Option<String>,
}

impl Refusal {
    fn new(code: &'static str, title: impl Into<String>, hint: &str) -> Self {
        Self { code, title: title.into(), hint: Some(hint.to_owned()) }
    }

    fn broken(title: impl Into<String>) -> Self {
        Self::new("A0634", title, "the old node goes on; see `node.log`, then try again")
    }

    async fn tell(&self, channel: &mut Channel) {
        let Self { code, title, hint } = self;
        let refused = ToNew::Refused { code: (*code).to_owned(), title: title.clone(), hint: hint.clone() };
        let _ = timeout(GONE, channel.send(&refused, &[])).await; // it may be gone
    }
}

impl Giver {
    /// Serves whoever wants to take over, one at a time, until one has or the node ends.
    pub(crate) async fn serve(
        self: Arc<Self>,
        listener: UnixListener,
        stop: CancellationToken,
    ) -> Result<(), io::Error> {
        let done = CancellationToken::new();
        let one = Arc::new(tokio::sync::Semaphore::new(1));
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = stop.cancelled() => return Ok(()),
                () = done.cancelled() => return Ok(()),
            };
            let Ok((stream, _)) = accepted else {
                tokio::time::sleep(PAUSE).await; // no descriptors left: that passes
                continue;
            };
            let (giver, done, place) =
                (Arc::clone(&self), done.clone(), Arc::clone(&one).try_acquire_owned());
            self.tasks.spawn("node.hand_over", OnError::StopNode, |stop| async move {
                let peer = peer(&stream);
                let mut channel = Channel::new(stream);
                let Ok(peer) = peer else {
                    let why = "only the user whose node this is may upgrade it";
                    Refusal::new("A0638", why, "run `atoll upgrade` as that user").tell(&mut channel).await;
                    return Ok(());
                };
                let Ok(_place) = place else {
                    let _ = timeout(HELLO, channel.receive::<ToOld>()).await; // whatever it is
                    let why = "another upgrade of this node is under way";
                    Refusal::new("A0632", why, "wait for it to end").tell(&mut channel).await;
                    return Ok(());
                };
                tokio::select! {
                    outcome = giver.hand_over(channel, peer, done) => outcome,
                    () = stop.cancelled() => Ok(()),
                }
            });
        }
    }

    /// An error is one of this node: it could not go on.
    async fn hand_over(
        &self,
        mut channel: Channel,
        peer: Option<OwnedFd>,
        done: CancellationToken,
    ) -> Result<(), String> {
        let (version, drain) = match self.greet(&mut channel).await {
            Ok(hello) => hello,
            Err(refusal) => {
                refusal.tell(&mut channel).await;
                return Ok(());
            }
        };
        if let Err(error) = self.applier.open_turn().await {
            let help = error.help();
            let refusal = Refusal { code: help.code.as_str(), title: error.to_string(), hint: help.hint };
            refusal.tell(&mut channel).await;
            return Ok(());
        }
        self.say(Level::Info, "node.upgrading", format!("a node of version {version} takes over"), None);
        match self.give(&mut channel).await {
            Ok(()) => {
                self.applier.set_turn(Turn::Theirs);
                done.cancel();
                let given = self.given.lock().unwrap_or_else(PoisonError::into_inner).take();
                if let Some(given) = given {
                    let _ = given.send(Given { successor: Successor(channel), drain }); // the node ends anyway
                }
                Ok(())
            }
            Err(refusal) => self.go_on(&mut channel, peer, refusal).await,
        }
    }

    async fn greet(&self, channel: &mut Channel) -> Result<(String, Duration), Refusal> {
        let Ok(Ok(Some(ToOld::Hello { protocol, version, drain_ms }))) =
            timeout(HELLO, channel.receive()).await
        else {
            return Err(Refusal::broken("the new node does not say hello"));
        };
        if protocol != PROTOCOL {
            let title = format!(
                "node {version} hands over by protocol {protocol}, {} by {PROTOCOL}",
                self.node.version
            );
            let hint = "`atoll down`, then `atoll up -d` with the new version";
            return Err(Refusal::new("A0633", title, hint));
        }
        if !self.node.detached {
            let title = "this node runs in the foreground and ends with its terminal";
            return Err(Refusal::new("A0630", title, "end it with Ctrl-C, then start the new version"));
        }
        Ok((version, Duration::from_millis(drain_ms)))
    }

    async fn give(&self, channel: &mut Channel) -> Result<(), Refusal> {
        tokio::select! {
            held = timeout(QUIET, self.controller.hold()) => match held {
                Ok(Ok(())) => {}
                Ok(Err(gone)) => return Err(Refusal::broken(gone.to_string())),
                Err(_) => {
                    let title = format!("instances still start or stop after {} s", QUIET.as_secs());
                    return Err(Refusal::new("A0637", title, "`atoll ps` shows which; try again when they are done"));
                }
            },
            said = channel.receive::<ToOld>() => return Err(out_of_turn(said)),
        }
        self.reins.let_go().await;
        let memory = self.controller.recall().await.map_err(|gone| Refusal::broken(gone.to_string()))?;
        let broken = |error: io::Error| Refusal::broken(format!("it cannot be handed over: {error}"));
        let lent = self.proxy.lend().await.map_err(broken)?;
        let granted = Granted {
            version: self.node.version.clone(),
            pid: self.node.pid,
            environment: self.environment.clone(),
            memory,
            listeners: lent.iter().map(WireListener::of).collect(),
        };
        let [admin, upgrades] = &self.listeners;
        let fixed: [BorrowedFd<'_>; FIXED_DESCRIPTORS] =
            [self.applier.state.lock().as_fd(), admin.as_fd(), upgrades.as_fd()];
        let sockets = lent.iter().flat_map(|lent| &lent.sockets).map(AsFd::as_fd);
        let descriptors: Vec<BorrowedFd<'_>> = fixed.into_iter().chain(sockets).collect();
        timeout(HELLO, channel.send(&ToNew::Granted(Box::new(granted)), &descriptors))
            .await
            .map_err(|_| Refusal::broken("the new node does not take what is handed over"))?
            .map_err(broken)?;
        match timeout(READY, channel.receive()).await {
            Ok(Ok(Some(ToOld::Ready))) => {}
            Ok(said) => return Err(out_of_turn(said)),
            Err(_) => {
                return Err(Refusal::broken(format!(
                    "the new node is not ready within {} s",
                    READY.as_secs()
                )));
            }
        }
        let yours = ToNew::Yours { events: self.events.since(0).0 };
        timeout(HELLO, channel.send(&yours, &[]))
            .await
            .map_err(|_| Refusal::broken("the new node does not listen any more"))?
            .map_err(broken)?;
        match timeout(TAKEN, channel.receive()).await {
            Ok(Ok(Some(ToOld::Taken))) => Ok(()),
            Ok(said) => Err(out_of_turn(said)),
            Err(_) => Err(Refusal::broken("the new node does not say that it has taken over")),
        }
    }

    /// Takes back what was let go of. The new node must be gone first: two would act on the same instances.
    async fn go_on(&self, channel: &mut Channel, peer: Option<OwnedFd>, why: Refusal) -> Result<(), String> {
        why.tell(channel).await;
        let gone = async { while let Ok(Some(_)) = channel.receive::<ToOld>().await {} };
        if timeout(GONE, gone).await.is_err()
            && let Some(peer) = peer
        {
            tracing::warn!("the node that was to take over does not end: killing it");
            let _ = pidfd_send_signal(&peer, Signal::KILL); // it has just ended
        }
        self.reins.take_back().await.map_err(|error| format!("cannot go on after an upgrade: {error}"))?;
        self.controller.release().await.map_err(|gone| gone.to_string())?;
        self.applier.set_turn(Turn::Ours);
        let Refusal { code, title, hint } = why;
        self.say(
            Level::Error,
            "node.upgrade_failed",
            format!("the upgrade did not happen: {title}"),
            Some((code, hint)),
        );
        Ok(())
    }

    fn say(
        &self,
        level: Level,
        kind: &'static str,
        message: String,
        help: Option<(&'static str, Option<String>)>,
    ) {
        let (code, hint) = help.map_or((None, None), |(code, hint)| (Some(code), hint));
        self.events.add(Happening { level, kind, service: None, instance: None, message, code, hint });
    }
}

/// What is wrong with a message, or an end, that comes where it should not.
fn out_of_turn(said: io::Result<Option<ToOld>>) -> Refusal {
    match said {
        Ok(None) => Refusal::broken("the new node has ended"),
        Ok(Some(message)) => Refusal::broken(format!("the new node says {message:?} out of turn")),
        Err(error) => Refusal::broken(format!("the new node cannot be understood: {error}")),
    }
}

/// The process of whoever connects, where the kernel gives a handle to it. An error if they may not: the
/// directory should have kept them out, or they are root, whose node would run everything as root.
fn peer(stream: &UnixStream) -> Result<Option<OwnedFd>, io::Error> {
    let credentials = stream.peer_cred()?;
    if credentials.uid() != geteuid().as_raw() {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    let pid = credentials.pid().and_then(Pid::from_raw);
    Ok(pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()))
}
