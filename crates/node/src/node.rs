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
use runtime::process::ProcessDriver;
use runtime::{Driver, Lifetime};
use tokio::sync::oneshot;

use crate::access::AccessLog;
use crate::admin::{self, Admin};
use crate::app::Applier;
use crate::events::Events;
use crate::state_dir::{self, StateDir};

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
    driver: Arc<ProcessDriver>,
    proxy: proxy::Handle,
    applier: Arc<Applier>,
    /// Fires once everything is stopped on request.
    stopped: oneshot::Receiver<()>,
}

impl Parts {
    async fn start(options: Options) -> Result<Self, NodeError> {
        let state = StateDir::open(&options.state_dir).map_err(|error| match error {
            state_dir::OpenError::Taken { pid } => NodeError::Taken { pid },
            state_dir::OpenError::Unusable { path, source } => NodeError::StateDir { path, source },
        })?;
        let unusable = |source| NodeError::StateDir { path: options.state_dir.clone(), source };
        let kept = state.kept_wish().map_err(|error| NodeError::Resume(error.to_string()))?;
        let tasks = Tasks::new();
        let clock = SystemClock::new();
        let events = Arc::new(Events::new(clock.clone()));

        let lifetime = if options.detached { Lifetime::Detached } else { Lifetime::WithNode };
        let driver = ProcessDriver::open(runtime::process::Options {
            state_dir: options.state_dir.clone(),
            keeper_command: options.keeper_command.clone(),
            lifetime,
            tasks: tasks.clone(),
        })
        .await
        .map_err(|error| NodeError::Keeper(kit::report::chain(&error)))?;
        let driver = Arc::new(driver);
        raise_open_files();
        let found = driver.recover().await.map_err(|error| NodeError::Keeper(error.to_string()))?;

        let directory = Directory::default();
        let checks = Arc::new(Checks::new(driver.clone(), tasks.clone()));
        let registry = Registry::start(registry::Options {
            clock: Arc::new(clock.clone()),
            tasks: tasks.clone(),
            directory: directory.clone(),
            exec: checks.clone(),
        });

        let access = Arc::new(AccessLog::start(&state.logs(), &tasks));
        let proxy =
            proxy::Proxy::start(proxy::Options { access: access.clone(), ..proxy::Options::default() })
                .map_err(|source| NodeError::Part { part: "data path", source })?;

        let seed = seed_of(&options.state_dir);
        let ports = Arc::new(Ports::new(seed));
        let applier =
            Arc::new(Applier::new(state, options.detached, directory, ports.clone(), proxy.clone()));
        let (desired, unmet) = match kept {
            Some(kept) => applier
                .resume(&options.app, kept.apply)
                .await
                .map_err(|error| NodeError::Resume(kit::report::chain(&error)))?,
            None => (Desired::default(), Vec::new()),
        };
        for error in unmet {
            let help = error.help();
            events.add(control::Happening {
                level: control::Level::Error,
                kind: "node.resumed_without",
                service: None,
                instance: None,
                message: kit::report::chain(&error),
                code: Some(help.code.as_str()),
                hint: help.hint,
            });
        }
        let tell = {
            let events = Arc::clone(&events);
            Arc::new(move |happening| events.add(happening))
        };
        let controller = Controller::start(control::Options {
            clock: Arc::new(clock.clone()),
            tasks: tasks.clone(),
            driver: driver.clone(),
            registry: registry.clone(),
            checks,
            ports,
            surroundings: control::launch::Surroundings {
                app: options.app.clone(),
                environment: inherited_environment(),
            },
            desired,
            found,
            tell,
            after: None,
        });

        let listener = applier.state.bind_admin().map_err(unusable)?;
        let (stop, stopped) = oneshot::channel();
        let admin = Admin {
            node: api::Node {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                pid: std::process::id(),
                started_at: clock.now(),
                app: options.app.clone(),
                state_dir: options.state_dir.clone(),
                detached: options.detached,
            },
            applier: applier.clone(),
            controller,
            registry,
            driver: driver.clone(),
            proxy: proxy.clone(),
            access,
            events,
            ending: tasks.stopping(),
            stop: std::sync::Mutex::new(Some(stop)),
        };
        tasks.spawn("node.admin", OnError::StopNode, |stop| admin::serve(admin, listener, stop));
        Ok(Self { tasks, driver, proxy, applier, stopped })
    }

    async fn run(self) -> Result<(), NodeError> {
        let asked = tokio::select! {
            asked = self.stopped => asked.is_ok(),
            () = async { self.tasks.stopping().cancelled().await } => false,
        };
        self.proxy.shutdown(PROXY_GRACE).await;
        let overstayed = self.tasks.shutdown(SHUTDOWN_GRACE).await;
        if asked {
            self.applier.state.forget_wish();
        }
        self.applier.state.remove_admin();
        self.driver.close();
        if let Some(failure) = self.tasks.failure() {
            return Err(NodeError::Failed(failure));
        }
        if let Err(late) = overstayed {
            tracing::warn!("{late}");
        }
        Ok(())
    }
}

/// Raises this process's limit of open files to what it may be: each proxied connection takes two. After the
/// keeper has started, so that services keep the limit of the shell (programs that use `select` break with
/// more than 1024).
fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }); // refused: as before
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
