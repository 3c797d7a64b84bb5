//! A node from start to end.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use control::ports::Ports;
use control::{Checks, Controller, Desired};
use kit::{Clock, Explain, Help, OnError, SystemClock, Tasks};
use registry::{Directory, Registry};
use runtime::{Driver, Lifetime};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::access::AccessLog;
use crate::admin::{self, Admin};
use crate::app::{self, Applier, Keeping};
use crate::apply_error::ApplyError;
use crate::broker::Broker;
use crate::certificates::Certificates;
use crate::console::WebConsole;
use crate::edge::Edges;
use crate::events::Events;
use crate::guards;
use crate::objectives::{Objectives, Ways};
use crate::observe::{self, Observer, Seen};
use crate::spans::SpanReader;
use crate::state_dir::{self, StateDir};
use crate::takeover::{
    self, Given, Giver, Inheritance, Keeper, Predecessor, Reins, SteadyChecks, TakeOverError, Taker,
};

/// How long the parts may take to end once everything is stopped.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);

/// How long connections at the gateway may take to finish when the node ends.
const PROXY_GRACE: Duration = Duration::from_secs(2);

/// How to start a node.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where its state lives; made if it is not there.
    pub state_dir: PathBuf,
    /// The app's name.
    pub app: String,
    /// Program and first arguments that start a keeper: the binary itself and its hidden command.
    pub keeper_command: Vec<OsString>,
    /// Its instances outlive it.
    pub detached: bool,
    /// Take over from the node that runs the app, and give its connections so long to end ([`DRAIN`]).
    ///
    /// [`DRAIN`]: crate::DRAIN
    pub take_over: Option<Duration>,
}

/// A running node: threads of its own, so that the caller stays free.
pub struct Node {
    thread: JoinHandle<Result<(), NodeError>>,
}

/// Why a node could not start or had to end.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// Somebody else is there.
    #[error("another Atoll{} already runs this app", .pid.map_or_else(String::new, |pid| format!(" (process {pid})")))]
    Taken {
        /// Who, if it can be told.
        pid: Option<u32>,
    },
    /// The state directory cannot be used.
    #[error("cannot use the state directory `{}`", .path.display())]
    StateDir {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A part of the node could not start.
    #[error("cannot start the {part}")]
    Part {
        /// Which.
        part: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The keeper of processes could not be started or joined.
    #[error("cannot start the keeper of processes: {0}")]
    Keeper(String),
    /// What ran before cannot run again.
    #[error("the app that ran here cannot be resumed: {0}")]
    Resume(String),
    /// The node could not take over from another.
    #[error(transparent)]
    TakeOver(#[from] TakeOverError),
    /// A part that the node cannot do without has failed.
    #[error("the node had to stop: {0}")]
    Failed(String),
}

impl Explain for NodeError {
    fn help(&self) -> Help {
        match self {
            Self::Taken { .. } => Help::code("A0601")
                .hint("see it with `atoll ps`, stop it with `atoll down`, or use `--isolated`"),
            Self::StateDir { .. } => {
                Help::code("A0602").hint("make it writable, or say another place with `--state-dir`")
            }
            Self::Part { .. } => Help::code("A0603").hint("`atoll doctor` checks what this machine allows"),
            Self::Keeper(_) => Help::code("A0604").hint("`atoll doctor` checks what this machine allows"),
            Self::Resume(_) => {
                Help::code("A0605").hint("use the version that started it, or see `atoll explain A0605`")
            }
            Self::TakeOver(error) => error.help(),
            Self::Failed(_) => {
                Help::code("A0606").hint("`atoll up` starts it again and finds what still runs")
            }
        }
    }
}

impl Node {
    /// Starts a node; returns once its admin API answers. It runs nothing yet, or, when `state_dir` holds
    /// an app of a detached node that was killed, that app again.
    pub fn start(options: Options) -> Result<Self, NodeError> {
        let (ready, started) = std::sync::mpsc::sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("atoll-control".into())
            .spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                let runtime = match runtime {
                    Ok(runtime) => runtime,
                    Err(source) => {
                        let _ = ready.send(Err(NodeError::Part { part: "control runtime", source }));
                        return Ok(());
                    }
                };
                runtime.block_on(async move {
                    match Parts::start(options).await {
                        Ok(parts) => {
                            let _ = ready.send(Ok(())); // the starter waits for this
                            parts.run().await
                        }
                        Err(error) => {
                            let _ = ready.send(Err(error));
                            Ok(())
                        }
                    }
                })
            })
            .map_err(|source| NodeError::Part { part: "control thread", source })?;
        match started.recv() {
            Ok(Ok(())) => Ok(Self { thread }),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(NodeError::Failed("it ended while it started".into())),
        }
    }

    /// Blocks until the node has ended, asked to by `POST /v1/stop` or by a failure.
    pub fn wait(self) -> Result<(), NodeError> {
        match self.thread.join() {
            Ok(result) => result,
            Err(_) => Err(NodeError::Failed("its control thread panicked".into())),
        }
    }
}

/// Everything that runs, and how it hangs together.
struct Parts {
    tasks: Tasks,
    reins: Arc<Reins>,
    proxy: proxy::Handle,
    applier: Arc<Applier>,
    /// Ends the admin API.
    admin: CancellationToken,
    /// Fires once everything is stopped on request.
    stopped: oneshot::Receiver<()>,
    /// Fires once another node has the app.
    given: oneshot::Receiver<Given>,
    /// The node that this one has taken over from.
    predecessor: Option<Predecessor>,
}

/// What the node goes on without.
fn unmet(error: &ApplyError) -> control::Happening {
    let help = error.help();
    control::Happening {
        level: control::Level::Error,
        kind: "node.resumed_without",
        service: None,
        instance: None,
        message: kit::report::chain(error),
        code: Some(help.code.as_str()),
        hint: help.hint,
    }
}

/// How a node ends.
enum End {
    /// Everything was stopped on request.
    Stopped,
    /// Another node has the app.
    Given(Given),
    /// A part has failed.
    Failed,
}

impl Parts {
    async fn start(options: Options) -> Result<Self, NodeError> {
        let unusable = |source| NodeError::StateDir { path: options.state_dir.clone(), source };
        let (state, taking) = take_place(&options).await?;
        let kept = state.kept_wish().map_err(|error| NodeError::Resume(error.to_string()))?;
        let tasks = Tasks::new();
        let clock = SystemClock::new();
        let events = Arc::new(Events::new(clock.clone()));

        let lifetime = if options.detached { Lifetime::Detached } else { Lifetime::WithNode };
        let keeper = Keeper {
            state_dir: options.state_dir.clone(),
            command: options.keeper_command.clone(),
            lifetime,
        };
        let reins =
            Reins::open(keeper).await.map_err(|error| NodeError::Keeper(kit::report::chain(&error)))?;
        let reins = Arc::new(reins);
        raise_open_files();
        let found = reins.recover().await.map_err(|error| NodeError::Keeper(error.to_string()))?;

        let directory = Directory::default();
        let checks = Arc::new(Checks::new(reins.clone(), tasks.clone()));
        let registry = Registry::start(registry::Options {
            clock: Arc::new(clock.clone()),
            tasks: tasks.clone(),
            directory: directory.clone(),
            exec: Arc::new(SteadyChecks::new(reins.clone(), checks.clone())),
        });

        let tell: crate::edge::Tell = {
            let events = Arc::clone(&events);
            Arc::new(move |happening| events.add(happening))
        };
        let observer = Observer::new(&options.state_dir, state.logs(), clock.clone(), tell.clone());
        let looked_after = observer.clone();
        tasks.spawn("node.telemetry", OnError::Log, |stop| async move {
            looked_after.look_after(stop).await;
            Ok::<_, NodeError>(())
        });
        let objectives = Objectives::new(&state, clock.clone());
        let readers: Vec<Box<dyn SpanReader>> =
            vec![Box::new(Seen::new(observer.clone())), Box::new(objectives.counting())];
        let (spans, sink) = AccessLog::new(&state.logs()).start(&tasks, readers);
        let access = Arc::new(sink);
        let proxy = proxy::Proxy::start(proxy::Options { access, ..proxy::Options::default() })
            .map_err(|source| NodeError::Part { part: "data path", source })?;
        let mut after = None;
        let mut taking = taking.map(|(taker, inheritance)| {
            let Inheritance { version, pid, environment, memory, admin, upgrades, sockets, .. } = inheritance;
            after = Some(memory);
            (taker, sockets, Before { version, pid, environment, listeners: [admin, upgrades] })
        });
        if let Some((_, sockets, _)) = &mut taking {
            proxy.inherit(std::mem::take(sockets)).await;
        }

        let seed = seed_of(&options.state_dir);
        let ports = Arc::new(Ports::new(seed));
        let certificates =
            Certificates::new(proxy.certificates().clone(), authority_directory(&options), tell.clone());
        let edges = Edges::new(tell.clone());
        let followed = edges.clone();
        tasks.spawn("node.edge", OnError::Log, |stop| followed.watch(stop));
        let watched = certificates.clone();
        tasks.spawn("node.certificates", OnError::Log, |stop| watched.watch(stop));
        let broker =
            Broker::new(&options.app, &options.state_dir, clock.clone(), tell.clone(), spans.clone());
        let console = WebConsole::new(&options.state_dir, clock.clone(), tell.clone());
        let parts = app::Parts {
            directory,
            ports: ports.clone(),
            proxy: proxy.clone(),
            certificates,
            edges,
            broker: Arc::new(broker),
            observer: observer.clone(),
            objectives: objectives.clone(),
            console: Arc::new(console),
            tell: tell.clone(),
        };
        let applier = Arc::new(Applier::new(state, options.detached, parts));
        let (seen, told, alerts) = (observer.clone(), tell.clone(), tasks.clone());
        let ways = Ways { broker: Arc::clone(&applier.broker), console: Arc::clone(&applier.console) };
        tasks.spawn("node.objectives", OnError::Log, |stop| async move {
            objectives.watch(seen, ways, told, alerts, stop).await;
            Ok::<_, NodeError>(())
        });
        let (guarded, told) = (applier.clone(), tell.clone());
        tasks.spawn("node.guards", OnError::Log, |stop| guards::watch(guarded, told, stop));
        let keeping = if taking.is_some() { Keeping::Later } else { Keeping::Now };
        let (desired, failed) = match kept {
            Some(kept) => applier
                .resume(&options.app, kept.apply, keeping)
                .await
                .map_err(|error| NodeError::Resume(kit::report::chain(&error)))?,
            None => (Desired::default(), Vec::new()),
        };
        for error in failed {
            events.add(unmet(&error));
        }
        let environment = match &taking {
            Some((_, _, before)) => before.environment.clone(),
            None => inherited_environment(),
        };
        let were_ready: Vec<_> = after.iter().flat_map(control::Memory::ready).collect();
        let controller = Controller::start(control::Options {
            clock: Arc::new(clock.clone()),
            tasks: tasks.clone(),
            driver: reins.clone(),
            registry: registry.clone(),
            checks,
            ports,
            surroundings: control::launch::Surroundings {
                app: options.app.clone(),
                environment: environment.clone(),
            },
            desired,
            found,
            tell,
            after,
        });

        let mut predecessor = None;
        let listeners = match taking {
            Some((taker, _, before)) => {
                let carrier = Carrier { taker, proxy: &proxy, controller: &controller, applier: &applier };
                predecessor = Some(carrier.carry(&were_ready, &before, &events).await?);
                let (applier, events) = (applier.clone(), events.clone());
                let pid = before.pid;
                // It waits for the other node to close the store, which is nothing that anybody has to wait for.
                tasks.spawn("node.broker", OnError::Log, |_| async move {
                    if let Err(error) = applier.open_broker().await {
                        events.add(unmet(&error));
                    }
                    applier.open_console(pid).await;
                    Ok::<_, NodeError>(())
                });
                before.listeners
            }
            None => {
                let (applier, events) = (applier.clone(), events.clone());
                let bind = |name| applier.state.bind(name).map_err(unusable);
                let listeners = [bind(api::SOCKET)?, bind(takeover::SOCKET)?];
                // Of what ran here before. Nothing that goes without queues waits for them.
                tasks.spawn("node.broker", OnError::Log, |_| async move {
                    if let Err(error) = applier.open_broker().await {
                        events.add(unmet(&error));
                    }
                    Ok::<_, NodeError>(())
                });
                listeners
            }
        };

        let node = api::Node {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            started_at: clock.now(),
            app: options.app.clone(),
            state_dir: options.state_dir.clone(),
            detached: options.detached,
        };
        let [admin_listener, upgrades] = [0, 1].map(|at: usize| {
            listeners[at].try_clone().and_then(tokio::net::UnixListener::from_std).map_err(unusable)
        });
        let (admin_listener, upgrades) = (admin_listener?, upgrades?);
        let (give, given) = oneshot::channel();
        let giver = Arc::new(Giver {
            node: node.clone(),
            environment,
            applier: applier.clone(),
            controller: controller.clone(),
            reins: reins.clone(),
            proxy: proxy.clone(),
            events: events.clone(),
            listeners,
            tasks: tasks.clone(),
            given: std::sync::Mutex::new(Some(give)),
        });
        tasks.spawn("node.upgrades", OnError::StopNode, |stop| giver.serve(upgrades, stop));
        let (stop, stopped) = oneshot::channel();
        let ending = tasks.stopping().child_token();
        let admin = Admin {
            node,
            applier: applier.clone(),
            controller,
            registry,
            driver: reins.clone(),
            proxy: proxy.clone(),
            spans,
            events,
            ending: ending.clone(),
            stop: std::sync::Mutex::new(Some(stop)),
        };
        let admin = Arc::new(admin);
        let (sampled, sampler_clock) = (Arc::clone(&admin), clock.clone());
        tasks.spawn("node.sampler", OnError::Log, |stop| async move {
            observe::sample(sampled, observer, sampler_clock, stop).await;
            Ok::<_, NodeError>(())
        });
        let end = ending.clone();
        tasks.spawn("node.admin", OnError::StopNode, |_| admin::serve(admin, admin_listener, end));
        Ok(Self { tasks, reins, proxy, applier, admin: ending, stopped, given, predecessor })
    }

    async fn run(mut self) -> Result<(), NodeError> {
        let end = tokio::select! {
            asked = &mut self.stopped => if asked.is_ok() { End::Stopped } else { End::Failed },
            given = &mut self.given => given.map_or(End::Failed, End::Given),
            () = async { self.tasks.stopping().cancelled().await } => End::Failed,
        };
        if let Some(predecessor) = &mut self.predecessor {
            predecessor.stop().await;
        }
        let ours = !matches!(end, End::Given(_));
        let asked = matches!(end, End::Stopped);
        match end {
            End::Given(given) => self.finish(given).await,
            End::Stopped | End::Failed => self.proxy.shutdown(PROXY_GRACE).await,
        }
        self.applier.console.close().await;
        self.applier.broker.close().await;
        self.applier.observer.close().await;
        let overstayed = self.tasks.shutdown(SHUTDOWN_GRACE).await;
        if asked {
            self.applier.state.forget_wish();
        }
        if ours {
            self.applier.state.remove_sockets();
            self.reins.let_go().await;
        }
        if let Some(failure) = self.tasks.failure() {
            return Err(NodeError::Failed(failure));
        }
        if let Err(late) = overstayed {
            tracing::warn!("{late}");
        }
        Ok(())
    }

    /// Another node has the app: finishes the connections that are still here, unless everything stops.
    async fn finish(&self, given: Given) {
        let Given { mut successor, drain } = given;
        self.admin.cancel();
        self.applier.console.close().await;
        self.applier.broker.close().await; // it waits for the store
        self.applier.observer.close().await; // and for telemetry
        let leaving = self.proxy.leave(takeover::IDLE_GRACE, drain);
        tokio::pin!(leaving);
        tokio::select! {
            () = &mut leaving => return,
            () = successor.stops() => {}
        }
        let _ = tokio::time::timeout(PROXY_GRACE, leaving).await;
    }
}

/// Opens the state directory, or takes it over from the node that has it.
async fn take_place(options: &Options) -> Result<(StateDir, Option<(Taker, Inheritance)>), NodeError> {
    let path = &options.state_dir;
    let Some(drain) = options.take_over else {
        let state = StateDir::open(path).map_err(|error| match error {
            state_dir::OpenError::Taken { pid } => NodeError::Taken { pid },
            state_dir::OpenError::Unusable { path, source } => NodeError::StateDir { path, source },
        })?;
        return Ok((state, None));
    };
    // Each listening socket is a descriptor. A keeper that this node starts gets the limit of the shell.
    let before = raise_open_files();
    let asked = Taker::ask(path, drain).await;
    let _ = rustix::process::setrlimit(rustix::process::Resource::Nofile, before); // as it was: allowed
    let (taker, inheritance) = asked?;
    let lock = inheritance.lock.try_clone();
    let state = lock.and_then(|lock| StateDir::inherit(path, lock));
    let state = state.map_err(|source| NodeError::StateDir { path: path.clone(), source })?;
    Ok((state, Some((taker, inheritance))))
}

/// What is known of the node before this one.
struct Before {
    version: String,
    pid: u32,
    environment: std::collections::BTreeMap<String, String>,
    /// Of the admin API and of upgrades.
    listeners: [std::os::unix::net::UnixListener; 2],
}

/// Carries the app from the node before to this one.
struct Carrier<'a> {
    taker: Taker,
    proxy: &'a proxy::Handle,
    controller: &'a Controller,
    applier: &'a Applier,
}

impl Carrier<'_> {
    /// Everything up to the moment at which this is the node.
    async fn carry(
        mut self,
        were_ready: &[control::Place],
        before: &Before,
        events: &Events,
    ) -> Result<Predecessor, NodeError> {
        self.taker.until_ready(self.controller, were_ready).await?;
        let earlier = self.taker.ready().await?;
        self.proxy.accept().await;
        let predecessor = self.taker.taken().await;
        let signed = self.applier.state.sign();
        signed.map_err(|source| NodeError::Part { part: "lock of the state directory", source })?;
        if let Err(error) = self.applier.keep().await {
            tracing::error!("{}", kit::report::chain(&error)); // the old form is still there
        }
        events.continue_after(earlier);
        let (from, to) = (&before.version, env!("CARGO_PKG_VERSION"));
        events.add(control::Happening {
            level: control::Level::Info,
            kind: "node.upgraded",
            service: None,
            instance: None,
            message: format!(
                "upgraded from {from} (process {}) to {to} (process {})",
                before.pid,
                std::process::id()
            ),
            code: None,
            hint: None,
        });
        self.controller.release().await.map_err(|gone| NodeError::Failed(gone.to_string()))?;
        Ok(predecessor)
    }
}

/// Raises this process's limit of open files to what it may be: each proxied connection takes two. After the
/// keeper has started, so that services keep the limit of the shell (programs that use `select` break with
/// more than 1024).
/// Returns the limit as it was.
fn raise_open_files() -> rustix::process::Rlimit {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let before = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: before.maximum, ..before }); // refused: as before
    before
}

/// Where this user's development authority is. One without a home has one per app.
fn authority_directory(options: &Options) -> PathBuf {
    let usual = identity::development::usual_directory(|name| std::env::var_os(name));
    usual.unwrap_or_else(|| options.state_dir.join("ca"))
}

/// Spreads the ports of different nodes.
fn seed_of(state_dir: &std::path::Path) -> u64 {
    use sha2::Digest;
    let digest = sha2::Sha256::digest(state_dir.as_os_str().as_encoded_bytes());
    digest.iter().take(8).fold(0, |seed, byte| (seed << 8) | u64::from(*byte))
}

/// What instances inherit: the environment of the node, as from a shell, without what speaks of Atoll
/// itself or of the `cargo run` that may have started it.
fn inherited_environment() -> std::collections::BTreeMap<String, String> {
    const CARGO_RUN: [&str; 5] = ["CARGO", "CARGO_MANIFEST_", "CARGO_PKG_", "CARGO_BIN_", "CARGO_CRATE_"];
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| {
            let of_cargo = name == CARGO_RUN[0] || CARGO_RUN[1..].iter().any(|start| name.starts_with(start));
            let of_compose = name.starts_with("COMPOSE_");
            !of_cargo && !of_compose && !name.starts_with("ATOLL_")
        })
        .collect()
}
