//! How a service starts, and how it stops without dropping a request.

use std::fmt::Display;
use std::future::{Future, ready};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::get;
use axum::serve::ListenerExt;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::Problem;

/// How long requests in flight may take to finish after the order to stop. Shorter than the
/// `stop_grace_period` in `atoll.yaml`, after which the platform kills.
const DRAIN_LIMIT: Duration = Duration::from_secs(8);

/// The largest request body a service takes, in bytes: an order is a few hundred.
const MAX_BODY: usize = 16 * 1024;

/// Why a service cannot start: one sentence for a person.
pub type StartError = String;

/// The order to stop, for work that nobody waits for at the other end of a connection.
#[derive(Clone, Debug)]
pub struct Stop(watch::Receiver<bool>);

impl Stop {
    /// Returns once the service is to stop.
    pub async fn wanted(&mut self) {
        // Who would give the order is there for as long as the service runs; if not, that is an order as well.
        let _ = self.0.wait_for(|stopping| *stopping).await;
    }

    /// Whether it is to stop.
    pub fn is_wanted(&self) -> bool {
        *self.0.borrow()
    }
}

/// Runs a service until SIGTERM or SIGINT: `build` makes its routes, `/healthz` comes with it.
///
/// One thread is plenty for a service of this size and keeps its memory small.
pub fn run(name: &str, build: impl FnOnce() -> Result<Router, StartError>) -> ExitCode {
    start(name, |_| Ok((build()?, ready(()))))
}

/// Runs a worker until SIGTERM or SIGINT: `build` makes its work, which ends soon after the order to stop. It answers
/// `/healthz` and nothing else.
pub fn work<W: Future<Output = ()>>(
    name: &str,
    build: impl FnOnce(Stop) -> Result<W, StartError>,
) -> ExitCode {
    start(name, |stop| Ok((Router::new(), build(stop)?)))
}

fn start<W: Future<Output = ()>>(
    name: &str,
    build: impl FnOnce(Stop) -> Result<(Router, W), StartError>,
) -> ExitCode {
    let (stopping, stopped) = watch::channel(false);
    let served = build(Stop(stopped)).and_then(|(routes, work)| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| format!("cannot start the runtime: {error}"))?;
        runtime.block_on(serve(name, routes, work, stopping))
    });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{name} cannot start: {why}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(
    name: &str,
    routes: Router,
    work: impl Future<Output = ()>,
    stopping: watch::Sender<bool>,
) -> Result<(), StartError> {
    // Listening for signals begins before listening for requests, so that there is no moment in which
    // SIGTERM would cut a request short.
    let mut terminate = signal(SignalKind::terminate()).map_err(|e| format!("cannot take SIGTERM: {e}"))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|e| format!("cannot take SIGINT: {e}"))?;

    let address = listen_address()?;
    let listener =
        TcpListener::bind(address).await.map_err(|e| format!("cannot listen on {address}: {e}"))?;
    let address = listener.local_addr().map_err(|e| format!("cannot tell its own address: {e}"))?;
    let routes = routes
        .route("/healthz", get(|| async { "ok" }))
        .fallback(|| async { Problem::not_found("no such page") })
        .method_not_allowed_fallback(|| async { Problem::method_not_allowed() })
        .layer(DefaultBodyLimit::max(MAX_BODY));

    let mut stopped = stopping.subscribe();
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        log("stopping: finishing the requests in flight");
        stopping.send_replace(true);
    };
    log(format_args!("{name} listening on {address}"));

    // Small answers leave at once instead of waiting for more to send. A socket that refuses the option is
    // only slower.
    let listener = listener.tap_io(|socket| {
        let _ = socket.set_nodelay(true);
    });
    // After `stop`: no new connections, idle ones are closed, busy ones after their answer.
    let server = axum::serve(listener, routes).with_graceful_shutdown(stop);
    let too_late = async {
        let _ = stopped.wait_for(|stopping| *stopping).await;
        tokio::time::sleep(DRAIN_LIMIT).await;
    };
    let served = async { tokio::join!(server, work).0 };
    tokio::select! {
        ended = served => ended.map_err(|e| format!("cannot serve: {e}"))?,
        () = too_late => log(format_args!("gave up on requests still in flight after {DRAIN_LIMIT:?}")),
    }
    log("stopped");
    Ok(())
}

/// `HOST` and `PORT`, as the platform sets them. `PORT=0` takes any free port.
fn listen_address() -> Result<SocketAddr, StartError> {
    let host = setting("HOST", "127.0.0.1".to_owned())?;
    let Ok(port) = std::env::var("PORT") else {
        return Err("PORT is not set: say which port to listen on, for example PORT=8000".to_owned());
    };
    let text = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    text.parse().map_err(|_| format!("HOST={host} and PORT={port} are not an address and a port"))
}

/// Reads an environment variable as a `T`; `default` when it is not set or empty.
pub fn setting<T: FromStr + Display>(name: &str, default: T) -> Result<T, StartError> {
    match std::env::var(name) {
        Ok(text) if !text.is_empty() => text
            .parse()
            .map_err(|_| format!("{name}={text} makes no sense: expected something like {default}")),
        _ => Ok(default),
    }
}

/// One line of log on standard output, where the platform picks it up.
pub fn log(event: impl Display) {
    // Nobody may be reading; a service goes on all the same.
    let _ = writeln!(io::stdout(), "{event}");
}
