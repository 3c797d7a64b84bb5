//! The load that meets every proxy alike, on one thread: closed loops, where each connection sends its next
//! request when the answer is there, and open loops, where requests are due when a Poisson process says so
//! and latency counts from then.

pub(crate) mod handshakes;
mod http1;
mod http2;
pub(crate) mod idle;
mod pace;
mod recorder;

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

use super::machine::{Cores, Tree, Used, on_core as on_thread};
use crate::go_on;
use pace::Due;
use recorder::Recorder;
pub(crate) use recorder::Sample;

/// How long opening all connections may take.
const OPEN_PATIENCE: Duration = Duration::from_secs(20);

/// How long one exchange may take where nothing else bounds it.
const EXCHANGE_PATIENCE: Duration = Duration::from_secs(10);

/// How long requests that were due within the measured time may take beyond it.
const TAIL_PATIENCE: Duration = Duration::from_secs(5);

/// Pause before a connection that broke is opened again.
const REOPEN_PAUSE: Duration = Duration::from_millis(20);

/// Requests each worker cycles through: enough to meet many routes, few enough to stay in the cache.
const VARIANTS: usize = 16;

/// Bytes in the message of a unary call.
const MESSAGE: usize = 100;

/// Whom to ask, and in which protocol.
#[derive(Clone)]
pub(crate) struct Target {
    /// Where.
    pub(crate) address: SocketAddr,
    /// What is spoken.
    pub(crate) protocol: Protocol,
    /// Over TLS, with these settings.
    pub(crate) tls: Option<Arc<rustls::ClientConfig>>,
}

/// What is spoken to the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    /// By prior knowledge.
    Http2,
    /// Unary calls over HTTP/2.
    Grpc,
}

/// What to ask for.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    /// Paths; each worker cycles through some of them.
    pub(crate) paths: Vec<String>,
    /// Bearer tokens, one for each worker in turn; empty: none is sent.
    pub(crate) tokens: Vec<String>,
    /// Bytes that the body of an answer must have.
    pub(crate) body: usize,
}

impl Ask {
    /// Unary calls that come back as they went.
    pub(crate) fn grpc(path: &str, tokens: Vec<String>) -> Self {
        Self { paths: vec![path.to_owned()], tokens, body: MESSAGE + 5 }
    }

    fn token(&self, worker: usize) -> Option<&str> {
        self.tokens.get(worker % self.tokens.len().max(1)).map(String::as_str)
    }

    fn paths_of(&self, worker: usize) -> Vec<&str> {
        (0..VARIANTS).map(|n| self.paths[(worker * VARIANTS + n) % self.paths.len()].as_str()).collect()
    }
}

/// One stream of requests among those of a run.
#[derive(Clone)]
pub(crate) struct Job {
    pub(crate) target: Target,
    pub(crate) ask: Ask,
    pub(crate) connections: usize,
    /// Requests at once on each connection; 1 for HTTP/1.1.
    pub(crate) streams: usize,
    /// Requests a second on average, in an open loop; `None`: a closed loop.
    pub(crate) rate: Option<f64>,
}

/// How long to load.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    /// Before anything is counted.
    pub(crate) warm: Duration,
    /// What is counted.
    pub(crate) span: Duration,
}

/// What came of a run.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    /// One for each job.
    pub(crate) samples: Vec<Sample>,
    /// What the proxy's processes used of their core meanwhile.
    pub(crate) cpu: Duration,
    /// What the proxy's core was busy, with whatever; `None`: it is the load's core, too.
    pub(crate) core: Option<Duration>,
    /// How long it took.
    pub(crate) wall: Duration,
}

/// Runs jobs at the same time, on the load's core, and reads what the proxy used meanwhile.
pub(crate) fn run(jobs: &[Job], tree: &Tree, times: Times, cores: Cores) -> anyhow::Result<Outcome> {
    on_core(cores.load, || async move {
        let pids = tree.pids()?;
        let mut work = JoinSet::new();
        let mut recorders = Vec::new();
        for job in jobs {
            let recorder = Rc::new(Recorder::new(job.rate.is_some()));
            let opened = tokio::time::timeout(OPEN_PATIENCE, start(job, &recorder, &mut work)).await;
            opened.context("opening connections takes too long")??;
            recorders.push(recorder);
        }
        pause(times.warm).await?;
        let (start, before) = (Instant::now(), Used::until_now(&pids, cores)?);
        recorders.iter().for_each(|recorder| recorder.begin(start));
        pause(times.span).await?;
        let (end, after) = (Instant::now(), Used::until_now(&pids, cores)?);
        recorders.iter().for_each(|recorder| recorder.end(end));
        let give_up = end + TAIL_PATIENCE;
        while recorders.iter().any(|recorder| recorder.outstanding() > 0) && Instant::now() < give_up {
            pause(Duration::from_millis(10)).await?;
        }
        drop(work);
        let samples: Vec<_> = recorders.iter().map(|recorder| recorder.sample()).collect();
        let (cpu, core) = after.since(before);
        Ok(Outcome { samples, cpu, core, wall: end - start })
    })
}

/// Runs a future on a local runtime of a thread that is pinned to a core.
pub(crate) fn on_core<T: Send, F: Future<Output = anyhow::Result<T>>>(
    core: usize,
    make: impl FnOnce() -> F + Send,
) -> anyhow::Result<T> {
    on_thread(core, || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_all().build_local(Default::default())?;
        runtime.block_on(make())
    })
}

/// Sleeps, unless somebody interrupts.
pub(crate) async fn pause(time: Duration) -> anyhow::Result<()> {
    let end = Instant::now() + time;
    loop {
        go_on()?;
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        tokio::time::sleep(left.min(Duration::from_millis(100))).await;
    }
}

/// Opens a job's connections and starts its workers.
async fn start(job: &Job, recorder: &Rc<Recorder>, work: &mut JoinSet<()>) -> anyhow::Result<()> {
    let due = job.rate.map(|_| Rc::new(Due::default()));
    for connection in 0..job.connections {
        match job.target.protocol {
            Protocol::Http1 => {
                let mut line = http1::Line::new(job, connection);
                line.open().await.map_err(anyhow::Error::msg)?;
                work.spawn_local(worker(Line::Http1(line), Rc::clone(recorder), due.clone()));
            }
            Protocol::Http2 | Protocol::Grpc => {
                let shared = Rc::new(http2::Connection::open(&job.target).await.map_err(anyhow::Error::msg)?);
                for stream in 0..job.streams {
                    let number = connection * job.streams + stream;
                    let line = http2::Line::new(job, number, Rc::clone(&shared))?;
                    work.spawn_local(worker(Line::Http2(line), Rc::clone(recorder), due.clone()));
                }
            }
        }
    }
    if let (Some(rate), Some(due)) = (job.rate, due) {
        work.spawn_local(pace::pace(rate, due, Rc::clone(recorder)));
    }
    Ok(())
}

/// One place for a request: a connection of HTTP/1.1, or a share in one of HTTP/2.
enum Line {
    Http1(http1::Line),
    Http2(http2::Line),
}

impl Line {
    /// One request and its whole answer.
    async fn exchange(&mut self) -> Result<(), String> {
        match self {
            Self::Http1(line) => line.exchange().await,
            Self::Http2(line) => line.exchange().await,
        }
    }

    /// Makes the line usable after a failure.
    async fn reopen(&mut self) -> Result<(), String> {
        match self {
            Self::Http1(line) => line.open().await,
            Self::Http2(line) => line.reopen().await,
        }
    }
}

async fn worker(mut line: Line, recorder: Rc<Recorder>, due: Option<Rc<Due>>) {
    loop {
        let from = match &due {
            Some(due) => due.next().await,
            None => Instant::now(),
        };
        let result = line.exchange().await;
        let failed = result.is_err();
        recorder.record(from, result);
        if failed {
            while line.reopen().await.is_err() {
                tokio::time::sleep(REOPEN_PAUSE).await;
            }
        }
    }
}

/// Either end of a connection, plain or encrypted.
pub(crate) trait Wire: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Wire for T {}

/// Opens a connection.
async fn connect(target: &Target) -> Result<Box<dyn Wire>, String> {
    let stream = TcpStream::connect(target.address).await.map_err(|error| format!("connect: {error}"))?;
    stream.set_nodelay(true).map_err(|error| format!("connect: {error}"))?;
    let Some(tls) = &target.tls else { return Ok(Box::new(stream)) };
    let name = super::certificate::server_name();
    let stream = TlsConnector::from(Arc::clone(tls)).connect(name, stream).await;
    Ok(Box::new(stream.map_err(|error| format!("TLS: {error}"))?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::gateway::upstream;

    /// Runs the upstream on a thread of its own; it ends with the test's process.
    fn upstream() -> SocketAddr {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let mut builder = tokio::runtime::Builder::new_current_thread();
            let runtime = builder.enable_all().build_local(Default::default()).unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                upstream::serve(&listener).await.unwrap();
            });
        });
        address
    }

    fn job(protocol: Protocol, path: &str, body: usize, rate: Option<f64>) -> Job {
        let target = Target { address: upstream(), protocol, tls: None };
        let ask = Ask { paths: vec![path.to_owned()], tokens: vec!["t".into()], body };
        let streams = if protocol == Protocol::Http1 { 1 } else { 4 };
        Job { target, ask, connections: 4, streams, rate }
    }

    fn load(jobs: &[Job]) -> Outcome {
        let times = Times { warm: Duration::from_millis(20), span: Duration::from_millis(200) };
        run(jobs, &Tree::Nothing, times, Cores::of_this_machine().unwrap()).unwrap()
    }

    #[test]
    fn closed_loops_get_whole_answers_in_every_protocol() {
        for (protocol, path, body) in [
            (Protocol::Http1, "/r1/1", upstream::SMALL),
            (Protocol::Http1, "/r1/l1", upstream::LARGE),
            (Protocol::Http2, "/r1/1", upstream::SMALL),
            (Protocol::Grpc, "/bench.Echo/Unary", MESSAGE + 5),
        ] {
            let outcome = load(&[job(protocol, path, body, None)]);
            let sample = &outcome.samples[0];
            assert!(sample.latencies.len() > 10, "{protocol:?} {sample:?}");
            assert!(sample.failures.is_empty(), "{protocol:?} {:?}", sample.failures);
        }
    }

    #[test]
    fn an_open_loop_keeps_its_rate_and_a_failing_neighbour_is_counted_apart() {
        let good = job(Protocol::Http1, "/r1/1", upstream::SMALL, Some(500.0));
        let bad = job(Protocol::Http1, "/r1/f", upstream::SMALL, Some(200.0));
        let outcome = load(&[good, bad]);
        let [good, bad] = outcome.samples.as_slice() else { panic!("{outcome:?}") };
        assert!((50..=160).contains(&good.requests), "{}", good.requests);
        assert_eq!((good.failed(), good.latencies.len() as u64), (0, good.requests));
        assert!(bad.failed() > 0 && bad.failed() < bad.requests, "{:?}", bad.failures);
        assert!(bad.failures.keys().all(|kind| kind.contains("500")), "{:?}", bad.failures);
    }

    #[test]
    fn workers_share_the_paths_out_among_them() {
        let ask = Ask {
            paths: (0..40).map(|n| format!("/r{n}")).collect(),
            tokens: vec!["a".into(), "b".into()],
            body: 0,
        };
        assert_eq!((ask.paths_of(0)[0], ask.paths_of(1)[0], ask.paths_of(2)[8]), ("/r0", "/r16", "/r0"));
        assert_eq!((ask.token(0), ask.token(3)), (Some("a"), Some("b")));
    }
}
