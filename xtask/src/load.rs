//! An open-loop load generator: requests leave when a Poisson process says so, whether earlier ones were
//! answered or not, and latency counts from the moment a request was due. A server that stalls cannot slow
//! the clients down and so look better than it is.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// How long one exchange may take, from the moment it was due.
const PATIENCE: Duration = Duration::from_secs(15);

/// Exchanges under way at once; one more is counted as a failure and not sent.
const MAX_IN_FLIGHT: usize = 4096;

/// Requests that are due and not yet picked up. The pace does not suffer when it is full: what is late
/// is measured as late.
const MAX_DUE: usize = 1024;

/// The seed of every run: the same schedule and the same mix each time.
const SEED: u64 = 0x61_74_6f_6c_6c;

/// A request to send.
pub(crate) struct Shot {
    /// `GET` or `POST`.
    pub(crate) method: &'static str,
    /// Path and query.
    pub(crate) path: String,
    /// JSON.
    pub(crate) body: Option<String>,
}

/// What to do.
pub(crate) struct Load {
    /// Where.
    pub(crate) address: SocketAddr,
    /// Requests a second, on average.
    pub(crate) rate: f64,
    /// What to ask for next, from a number drawn evenly from 0 to 1 and the count of requests so far.
    pub(crate) next: fn(f64, u64) -> Shot,
    /// Ends the run; what is under way is finished.
    pub(crate) stop: Arc<AtomicBool>,
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Requests that were due.
    pub(crate) requests: u64,
    /// Failures (anything but a whole answer with status 2xx), by kind.
    pub(crate) failures: BTreeMap<String, u64>,
    /// Of every whole answer, from the moment its request was due. Sorted.
    pub(crate) latencies: Vec<Duration>,
    /// Connections that were opened.
    pub(crate) connections: u64,
}

impl Outcome {
    /// All failures.
    pub(crate) fn failed(&self) -> u64 {
        self.failures.values().sum()
    }

    /// The latency that `share` (0 to 1) of the answers kept within.
    pub(crate) fn quantile(&self, share: f64) -> Duration {
        quantile(&self.latencies, share)
    }
}

/// The smallest value that `share` (0 to 1) of `sorted` is within; zero of none.
pub(crate) fn quantile(sorted: &[Duration], share: f64) -> Duration {
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(rank.clamp(1, sorted.len().max(1)) - 1).copied().unwrap_or_default()
}

/// Runs until told to stop, on a runtime of its own on this thread.
pub(crate) fn run(load: &Load) -> anyhow::Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (due, waiting) = mpsc::channel(MAX_DUE);
    std::thread::scope(|threads| {
        let pacer = threads.spawn(|| pace(load.rate, &load.stop, &due));
        let outcome = runtime.block_on(fire(load, waiting));
        drop(pacer.join());
        Ok(outcome)
    })
}

/// Tells when requests are due. A thread of its own sleeps more finely than the timers of the runtime.
fn pace(rate: f64, stop: &AtomicBool, due: &mpsc::Sender<Option<Instant>>) {
    let mut rng = StdRng::seed_from_u64(SEED);
    let mut at = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        let share: f64 = rng.random(); // in [0, 1)
        at += Duration::from_secs_f64(-(1.0 - share).ln() / rate);
        std::thread::sleep(at.saturating_duration_since(Instant::now()));
        if due.blocking_send(Some(at)).is_err() {
            return;
        }
    }
    let _ = due.blocking_send(None); // nobody listens any more: so much the better
}

async fn fire(load: &Load, mut waiting: mpsc::Receiver<Option<Instant>>) -> Outcome {
    let pool = Arc::new(Pool { address: load.address, inner: Mutex::default() });
    let mut rng = StdRng::seed_from_u64(SEED + 1);
    let mut outcome = Outcome::default();
    let mut under_way: JoinSet<Result<Duration, String>> = JoinSet::new();
    loop {
        tokio::select! {
            due = waiting.recv() => {
                let Some(Some(due)) = due else { break };
                outcome.requests += 1;
                if under_way.len() >= MAX_IN_FLIGHT {
                    outcome.count(Err("not sent: too many under way".into()));
                    continue;
                }
                let shot = (load.next)(rng.random(), outcome.requests);
                let pool = Arc::clone(&pool);
                under_way.spawn(async move { pool.exchange(&shot, due).await });
            }
            Some(done) = under_way.join_next(), if !under_way.is_empty() => {
                outcome.count(done.unwrap_or_else(|error| Err(error.to_string())));
            }
        }
    }
    while let Some(done) = under_way.join_next().await {
        outcome.count(done.unwrap_or_else(|error| Err(error.to_string())));
    }
    outcome.latencies.sort_unstable();
    outcome.connections = pool.locked().opened;
    outcome
}

impl Outcome {
    fn count(&mut self, result: Result<Duration, String>) {
        match result {
            Ok(latency) => self.latencies.push(latency),
            Err(kind) => *self.failures.entry(kind).or_default() += 1,
        }
    }
}

/// Keep-alive connections to one address.
struct Pool {
    address: SocketAddr,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    idle: Vec<SendRequest<Full<Bytes>>>,
    /// What moves the bytes of each connection; ends with it.
    drivers: JoinSet<()>,
    opened: u64,
}

impl Pool {
    /// One exchange; the latency from `due`, or what kind of failure it was.
    async fn exchange(&self, shot: &Shot, due: Instant) -> Result<Duration, String> {
        let whole = async {
            let mut connection = self.connection().await?;
            let answer =
                connection.send_request(self.request(shot)?).await.map_err(|e| failure(shot, "send", &e))?;
            let status = answer.status();
            let source = proxy_status(&answer);
            answer.into_body().collect().await.map_err(|error| failure(shot, "body", &error))?;
            if !connection.is_closed() {
                self.locked().idle.push(connection);
            }
            if !status.is_success() {
                return Err(format!("{} {}: {status}{source}", shot.method, shot.path));
            }
            Ok(())
        };
        match tokio::time::timeout_at((due + PATIENCE).into(), whole).await {
            Ok(done) => done.map(|()| due.elapsed()),
            Err(_) => Err(format!("{} {}: no answer within {PATIENCE:?}", shot.method, shot.path)),
        }
    }

    fn request(&self, shot: &Shot) -> Result<Request<Full<Bytes>>, String> {
        let mut request = Request::builder()
            .method(shot.method)
            .uri(&shot.path)
            .header("host", self.address.to_string())
            .header("user-agent", "atoll-xtask");
        if shot.body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let body = shot.body.clone().unwrap_or_default();
        request.body(Full::new(body.into())).map_err(|error| error.to_string())
    }

    /// A connection that is free and open, or a new one.
    async fn connection(&self) -> Result<SendRequest<Full<Bytes>>, String> {
        while let Some(mut connection) = self.take_idle() {
            if connection.ready().await.is_ok() {
                return Ok(connection);
            }
        }
        let stream = TcpStream::connect(self.address).await.map_err(|error| format!("connect: {error}"))?;
        stream.set_nodelay(true).map_err(|error| format!("connect: {error}"))?;
        let (sender, connection) =
            handshake(TokioIo::new(stream)).await.map_err(|error| format!("connect: {error}"))?;
        let mut inner = self.locked();
        inner.opened += 1;
        while inner.drivers.try_join_next().is_some() {}
        inner.drivers.spawn(async move { drop(connection.await) }); // its end shows at the sender
        Ok(sender)
    }

    fn take_idle(&self) -> Option<SendRequest<Full<Bytes>>> {
        self.locked().idle.pop()
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who says that something went wrong, and what: RFC 9209.
fn proxy_status<B>(answer: &Response<B>) -> String {
    let status = answer.headers().get("proxy-status").and_then(|value| value.to_str().ok());
    status.map_or_else(String::new, |status| format!(" ({status})"))
}

fn failure(shot: &Shot, step: &str, error: &dyn std::error::Error) -> String {
    let mut text = format!("{} {}: {step}: {error}", shot.method, shot.path);
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(&format!(": {inner}"));
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    /// A server that answers with `status` at once on every connection, each once.
    fn server(status: &'static str) -> SocketAddr {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                let mut connection = connection.unwrap();
                let mut head = [0; 1024];
                let _ = connection.read(&mut head);
                let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                let _ = connection.write_all(answer.as_bytes());
            }
        });
        address
    }

    fn run_against(address: SocketAddr) -> Outcome {
        let stop = Arc::new(AtomicBool::new(false));
        let next = |_, _| Shot { method: "GET", path: "/".into(), body: None };
        let load = Load { address, rate: 400.0, next, stop: Arc::clone(&stop) };
        let stopper = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(500)); // how long the load goes on, nothing is awaited
            stop.store(true, Ordering::Relaxed);
        });
        let outcome = run(&load).unwrap();
        stopper.join().unwrap();
        outcome
    }

    #[test]
    fn every_request_is_an_answer_or_a_failure() {
        let good = run_against(server("204 No Content"));
        assert_eq!((good.requests, good.failed()), (good.latencies.len() as u64, 0));
        assert!((100..=320).contains(&good.requests), "{} in half a second", good.requests);

        let bad = run_against(server("503 Service Unavailable"));
        assert_eq!((bad.requests, bad.latencies.len()), (bad.failed(), 0));
        assert_eq!(bad.failures.keys().collect::<Vec<_>>(), ["GET /: 503 Service Unavailable"]);
    }

    #[test]
    fn connections_are_kept_and_latency_is_that_of_the_server() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || crate::serve::serve(&listener));
        let outcome = run_against(address);
        assert_eq!(outcome.failed(), 0, "{:?}", outcome.failures);
        assert!(outcome.connections < outcome.requests / 2, "{} connections", outcome.connections);
        assert!(outcome.quantile(0.5) < Duration::from_millis(100), "{:?}", outcome.quantile(0.5));
    }

    #[test]
    fn quantiles_are_of_the_sorted_values() {
        let sorted: Vec<_> = (1..=100).map(Duration::from_millis).collect();
        assert_eq!(quantile(&sorted, 0.5), Duration::from_millis(50));
        assert_eq!(quantile(&sorted, 0.99), Duration::from_millis(99));
        assert_eq!(quantile(&sorted, 1.0), Duration::from_millis(100));
        assert_eq!(quantile(&[], 0.5), Duration::ZERO);
    }
}
