//! The web console, on a thread of its own: where it listens, and how it comes and goes with the file. It speaks with this
//! very node over the admin socket, as from another process. A port that is taken is told, and nothing fails for it.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use api::{ConsoleLogin, ConsoleRole, OpenConsole};
use arc_swap::ArcSwapOption;
use console::{Console, Granted, Role};
use control::{Happening, Level};
use kit::{SystemClock, Tasks};
use manifest::spec;
use tokio::sync::Mutex;

use crate::edge::Tell;
use crate::listener;
use crate::port_holder::{self, Holder};

/// Ports that are tried where the file names none: the usual one and those behind it.
const PORTS: u16 = 16;
/// How long pages under way may take when it ends.
const GRACE: Duration = Duration::from_secs(2);
/// How long to wait for the node before this one to let go of the port.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two looks whether it has.
const LOOK: Duration = Duration::from_millis(20);

/// The console of an app.
pub(crate) struct WebConsole {
    state_dir: PathBuf,
    clock: SystemClock,
    tell: Tell,
    running: Mutex<Option<Running>>,
    /// For those who only look.
    seen: ArcSwapOption<Console>,
}

struct Running {
    wanted: spec::Console,
    tasks: Tasks,
    thread: JoinHandle<()>,
}

/// Why there is none although the file wants one.
#[derive(Debug)]
enum Failed {
    Taken { address: SocketAddr, holder: Option<Holder>, source: std::io::Error },
    Start(std::io::Error),
}

impl WebConsole {
    pub(crate) fn new(state_dir: &Path, clock: SystemClock, tell: Tell) -> Self {
        let state_dir = state_dir.to_owned();
        Self { state_dir, clock, tell, running: Mutex::default(), seen: ArcSwapOption::empty() }
    }

    /// Where it is, as a URL.
    pub(crate) fn url(&self) -> Option<String> {
        self.seen.load().as_ref().map(|console| url(console.address()))
    }

    /// Lets somebody in; nothing if there is no console.
    pub(crate) fn login(&self, wish: OpenConsole) -> Option<ConsoleLogin> {
        let console = self.seen.load_full()?;
        let role = match wish.role {
            ConsoleRole::Viewer => Role::Viewer,
            ConsoleRole::Operator => Role::Operator,
        };
        let Granted { token, expires_at } = console.grant(role);
        let url = format!("{}/login#{token}", url(console.address()));
        Some(ConsoleLogin { url, role: wish.role, expires_at })
    }

    /// Opens, moves or closes it as the file wants. `before` is the process of the node that this one took over from:
    /// what it still holds is about to be free.
    pub(crate) async fn put(&self, wanted: spec::Console, before: Option<u32>) {
        let mut running = self.running.lock().await;
        if running.as_ref().is_some_and(|running| running.wanted == wanted) {
            return;
        }
        if let Some(running) = running.take() {
            self.seen.store(None);
            running.close().await;
        }
        if wanted == spec::Console::Off {
            return;
        }
        match self.open(wanted, before).await {
            Ok((console, opened)) => {
                self.seen.store(Some(Arc::new(console)));
                *running = Some(opened);
            }
            Err(failed) => (self.tell)(failed.told()),
        }
    }

    /// Ends it.
    pub(crate) async fn close(&self) {
        self.seen.store(None);
        if let Some(running) = self.running.lock().await.take() {
            running.close().await;
        }
    }

    async fn open(&self, wanted: spec::Console, before: Option<u32>) -> Result<(Console, Running), Failed> {
        let listener = self.listen(wanted, before).await?;
        let tasks = Tasks::new();
        let options = console::Options {
            client: api::Client::new(&self.state_dir),
            listener,
            clock: Arc::new(self.clock.clone()),
            tasks: tasks.clone(),
        };
        let (ready, started) = tokio::sync::oneshot::channel();
        let owned = tasks.clone();
        let run = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = match runtime {
                Ok(runtime) => runtime,
                Err(error) => {
                    let _ = ready.send(Err(error)); // whoever started it waits
                    return;
                }
            };
            runtime.block_on(async move {
                let _ = ready.send(Console::start(options)); // whoever started it waits
                owned.stopping().cancelled().await;
                if let Err(late) = owned.shutdown(GRACE).await {
                    tracing::warn!("{late}");
                }
            });
        };
        let thread =
            std::thread::Builder::new().name("atoll-console".into()).spawn(run).map_err(Failed::Start)?;
        let gone = || std::io::Error::other("its thread has ended");
        let console = started.await.map_err(|_| Failed::Start(gone()))?.map_err(Failed::Start)?;
        Ok((console, Running { wanted, tasks, thread }))
    }

    async fn listen(&self, wanted: spec::Console, before: Option<u32>) -> Result<TcpListener, Failed> {
        let usual = spec::Console::LISTEN;
        if let spec::Console::At(address) = wanted {
            return bind(address, before).await;
        }
        let mut first = None;
        for port in usual.port()..usual.port() + PORTS {
            match bind(SocketAddr::new(usual.ip(), port), before).await {
                Ok(listener) => {
                    if let Some(first) = first {
                        (self.tell)(moved(&first, port));
                    }
                    return Ok(listener);
                }
                Err(failed) => first = first.or(Some(failed)),
            }
        }
        bind(SocketAddr::new(usual.ip(), 0), None).await
    }
}

impl Running {
    async fn close(self) {
        let Self { tasks, thread, .. } = self;
        tasks.stopping().cancel();
        // It ends within `GRACE`.
        let _ = tokio::task::spawn_blocking(move || thread.join()).await;
    }
}

/// Listens there, once the node before has let go of it.
async fn bind(address: SocketAddr, before: Option<u32>) -> Result<TcpListener, Failed> {
    let give_up = tokio::time::Instant::now() + PATIENCE;
    loop {
        let source = match listener::bind(address) {
            Ok(listener) => return Ok(listener),
            Err(source) => source,
        };
        let holder = port_holder::of_tcp_port(address.port());
        let leaves = before.is_some() && holder.as_ref().map(|holder| holder.pid) == before;
        if !leaves || tokio::time::Instant::now() >= give_up {
            return Err(Failed::Taken { address, holder, source });
        }
        tokio::time::sleep(LOOK).await;
    }
}

impl Failed {
    fn told(&self) -> Happening {
        let (message, hint) = match self {
            Self::Taken { address, holder, source } => (
                format!(
                    "there is no console: cannot listen on {address}: {}",
                    held_by(holder.as_ref(), source)
                ),
                "stop what holds the port, or write another one: `console: 4001`",
            ),
            Self::Start(error) => {
                (format!("there is no console: {error}"), "`atoll doctor` checks what this machine allows")
            }
        };
        Happening {
            level: Level::Error,
            kind: "console.failed",
            service: None,
            instance: None,
            message,
            code: Some("A0690"),
            hint: Some(hint.to_owned()),
        }
    }
}

fn held_by(holder: Option<&Holder>, source: &std::io::Error) -> String {
    match holder {
        Some(holder) => format!("`{}` (process {}) holds it", holder.command, holder.pid),
        None => source.to_string(),
    }
}

/// It is elsewhere than people expect.
fn moved(first: &Failed, port: u16) -> Happening {
    let why = match first {
        Failed::Taken { address, holder, source } => {
            format!("port {}: {}", address.port(), held_by(holder.as_ref(), source))
        }
        Failed::Start(error) => error.to_string(),
    };
    Happening {
        level: Level::Info,
        kind: "console.moved",
        service: None,
        instance: None,
        message: format!("the console is on port {port} ({why})"),
        code: None,
        hint: None,
    }
}

/// Where somebody on this machine reaches it.
fn url(address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        return format!("http://localhost:{}", address.port());
    }
    format!("http://{address}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn web(dir: &Path, told: &Arc<std::sync::Mutex<Vec<Happening>>>) -> WebConsole {
        let told = told.clone();
        let tell: Tell = Arc::new(move |happening| told.lock().unwrap().push(happening));
        WebConsole::new(dir, SystemClock::new(), tell)
    }

    #[tokio::test]
    async fn it_comes_and_goes_with_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let told = Arc::default();
        let web = web(dir.path(), &told);
        assert_eq!(web.login(OpenConsole::default()), None);
        let free = spec::Console::At(([127, 0, 0, 1], 0).into());
        web.put(free, None).await;
        let url = web.url().unwrap();
        let login = web.login(OpenConsole { role: ConsoleRole::Viewer }).unwrap();
        assert!(login.url.starts_with(&format!("{url}/login#")), "{}", login.url);
        web.put(free, None).await;
        assert_eq!(web.url().unwrap(), url, "the same file moves nothing");
        web.put(spec::Console::Off, None).await;
        assert_eq!(web.url(), None);
        let address: SocketAddr = url.trim_start_matches("http://").parse().unwrap();
        drop(listener::bind(address).unwrap());
        assert!(told.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_port_that_is_taken_is_told_and_nothing_fails() {
        let dir = tempfile::tempdir().unwrap();
        let told = Arc::default();
        let web = web(dir.path(), &told);
        let somebody = TcpListener::bind("127.0.0.1:0").unwrap();
        web.put(spec::Console::At(somebody.local_addr().unwrap()), None).await;
        assert_eq!(web.url(), None);
        let told = told.lock().unwrap();
        assert_eq!((told.len(), told[0].code), (1, Some("A0690")));
        assert!(told[0].message.contains(&format!("process {}", std::process::id())), "{}", told[0].message);
    }

    #[tokio::test]
    async fn what_the_node_before_holds_is_waited_for() {
        let somebody = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = somebody.local_addr().unwrap();
        let waiting = bind(address, Some(std::process::id()));
        let (taken, ()) = tokio::join!(waiting, async {
            tokio::task::yield_now().await;
            drop(somebody);
        });
        assert_eq!(taken.unwrap().local_addr().unwrap(), address);
    }
}
