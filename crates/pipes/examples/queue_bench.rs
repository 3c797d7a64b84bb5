//! How many messages a second queues take and give over the default engine, every answer after its sync.
//!
//! ```text
//! cargo run --release -p pipes --example queue_bench [-- [--json] DIRECTORY [SECONDS]]
//! ```
//!
//! With `--json` each figure is an object on a line of its own: for `cargo xtask bench queues`.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // a measurement that cannot go on ends

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use kit::{SystemClock, Tasks};
use pipes::{Declared, Limits, Options, Outgoing, Pipes, Queue, Receive, Settings};
use store::Store;

const BODY: usize = 1024;
const IN_FLIGHT: [usize; 3] = [1, 16, 256];
const QUEUES: usize = 100_000;
const FILLERS: usize = 64;

/// As in the binary: freed memtables must not hold up whoever allocates.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Whether figures are for programs.
static JSON: AtomicBool = AtomicBool::new(false);

fn main() {
    let mut arguments = std::env::args().skip(1).peekable();
    if arguments.next_if(|argument| argument == "--json").is_some() {
        JSON.store(true, Ordering::Relaxed);
    }
    let scratch = tempfile::tempdir().unwrap();
    let directory = arguments.next().map_or_else(|| scratch.path().join("store"), PathBuf::from);
    let what = arguments.next();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    match what.as_deref() {
        Some("fill") => runtime.block_on(fill(&directory, arguments.next().unwrap().parse().unwrap())),
        Some("open") => runtime.block_on(first_message(&directory)),
        seconds => {
            let seconds = seconds.map_or(5, |seconds| seconds.parse().unwrap());
            runtime.block_on(measure(directory, Duration::from_secs(seconds)));
        }
    }
}

/// Sends so many messages in tens, and ends in the middle of everything.
async fn fill(directory: &Path, messages: usize) {
    let store = open_store(directory);
    let pipes = open(&store, &Tasks::new()).await;
    let name: pipes::QueueName = "bench".parse().unwrap();
    pipes
        .create_queue(name.clone(), Settings::default(), BTreeMap::new(), Declared::AtRunTime)
        .await
        .unwrap();
    let queue = pipes.queue(&name).unwrap();
    let body = bytes::Bytes::from((0..BODY).map(|at| ((at * 167) >> 3) as u8).collect::<Vec<_>>());
    let (begin, cpu) = (Instant::now(), cpu_time());
    let tasks: Vec<_> = (0..FILLERS)
        .map(|_| {
            let (queue, body) = (queue.clone(), body.clone());
            tokio::spawn(async move {
                let mut slowest = Duration::ZERO;
                for _ in 0..messages / FILLERS / 10 {
                    let message =
                        || Outgoing { body: body.clone(), sender: "bench".to_owned(), ..Outgoing::default() };
                    let asked = Instant::now();
                    for sent in queue.send((0..10).map(|_| message()).collect()).await.unwrap() {
                        sent.unwrap();
                    }
                    slowest = slowest.max(asked.elapsed());
                }
                slowest
            })
        })
        .collect();
    let mut slowest = Duration::ZERO;
    for task in tasks {
        slowest = slowest.max(task.await.unwrap());
    }
    let sent = queue.counts().visible;
    println!(
        "{sent} messages in {:.1?}, slowest {slowest:.1?}, {:.1} µs of CPU each, {} MB on disk, {} MB resident",
        begin.elapsed(),
        (cpu_time().saturating_sub(cpu)).as_secs_f64() * 1e6 / sent as f64,
        store.stats().disk_bytes >> 20,
        resident().0 >> 20
    );
    std::process::exit(0);
}

/// Opens what is there and receives one message.
async fn first_message(directory: &Path) {
    let (begin, cpu) = (Instant::now(), cpu_time());
    let store = open_store(directory);
    println!("opened the store in {:.1?}, {:.1?} of CPU", begin.elapsed(), cpu_time().saturating_sub(cpu));
    let pipes = open(&store, &Tasks::new()).await;
    println!(
        "opened the queues after {:.1?}, {:.1?} of CPU",
        begin.elapsed(),
        cpu_time().saturating_sub(cpu)
    );
    let queue = pipes.queue(&"bench".parse().unwrap()).unwrap();
    let want = Receive { max: 1, visibility_seconds: Some(0), wait: Duration::ZERO, attempt: None };
    let got = queue.receive(want).await.unwrap().len();
    println!(
        "received {got} of {} after {:.1?}; {} MB resident",
        queue.counts().visible,
        begin.elapsed(),
        resident().0 >> 20
    );
    std::process::exit(0);
}

async fn measure(directory: PathBuf, time: Duration) {
    let store = open_store(&directory);
    let tasks = Tasks::new();
    let opening = Instant::now();
    let pipes = open(&store, &tasks).await;
    println!("opened in {:.1?} with {} queues", opening.elapsed(), pipes.queues("", None, usize::MAX).len());
    let settings = Settings { visibility_seconds: 600, ..Settings::default() };
    let name: pipes::QueueName = "bench".parse().unwrap();
    pipes.create_queue(name.clone(), settings, BTreeMap::new(), Declared::AtRunTime).await.unwrap();
    let queue = pipes.queue(&name).unwrap();
    let body = bytes::Bytes::from(vec![b'x'; BODY]);
    println!(
        "{:<22}{:>10}{:>10}{:>10}{:>10}{:>12}",
        "", "a second", "p50 ms", "p99 ms", "max ms", "CPU µs each"
    );
    for in_flight in IN_FLIGHT {
        let body = body.clone();
        run("send", in_flight, time, &queue, move |queue| {
            let message = Outgoing { body: body.clone(), sender: "bench".to_owned(), ..Outgoing::default() };
            async move {
                queue.send(vec![message]).await.unwrap().remove(0).unwrap();
                true
            }
        })
        .await;
        run("receive + delete", in_flight, time, &queue, |queue| async move {
            let want = Receive { max: 1, visibility_seconds: None, wait: Duration::ZERO, attempt: None };
            let got = queue.receive(want).await.unwrap();
            let Some(one) = got.first() else { return false };
            queue.delete(vec![one.receipt]).await.unwrap().remove(0).unwrap();
            true
        })
        .await;
        let body = bytes::Bytes::from(vec![b'x'; BODY]);
        run("send+receive+delete", in_flight, time, &queue, move |queue| {
            let message = Outgoing { body: body.clone(), sender: "bench".to_owned(), ..Outgoing::default() };
            async move {
                queue.send(vec![message]).await.unwrap().remove(0).unwrap();
                let want = Receive { max: 1, visibility_seconds: None, wait: Duration::ZERO, attempt: None };
                let got = queue.receive(want).await.unwrap();
                let Some(one) = got.first() else { return false };
                queue.delete(vec![one.receipt]).await.unwrap().remove(0).unwrap();
                true
            }
        })
        .await;
        println!("{:<22}{:?}", "", queue.counts());
    }
    let stats = store.stats();
    println!("{} commits, {} syncs, {} MB on disk", stats.commits, stats.syncs, stats.disk_bytes >> 20);
    many_queues(&pipes).await;
    drop((queue, pipes));
    tasks.shutdown(Duration::from_secs(10)).await.unwrap();
    store.close().await;
    drop(store);
    let before = resident();
    let store = open_store(&directory);
    println!("opened the store in {:.1?}", before.1.elapsed());
    let (before, tasks) = (resident(), Tasks::new());
    let pipes = open(&store, &tasks).await;
    let bytes = resident().0.saturating_sub(before.0) / QUEUES;
    let opening = before.1.elapsed();
    println!("opened {QUEUES} queues in {opening:.1?}, {bytes} bytes each");
    if JSON.load(Ordering::Relaxed) {
        let ms = opening.as_secs_f64() * 1000.0;
        println!(r#"{{"what":"open queues","queues":{QUEUES},"open_ms":{ms:.1},"bytes_each":{bytes}}}"#);
    }
    drop(pipes);
}

/// Makes many queues; every tenth has a message.
async fn many_queues(pipes: &Pipes) {
    let begin = Instant::now();
    for hundred in 0..QUEUES / 100 {
        let made = (0..100).map(|at| async move {
            let name: pipes::QueueName = format!("many-{hundred}-{at}").parse().unwrap();
            let (settings, tags) = (Settings::default(), BTreeMap::new());
            pipes.create_queue(name.clone(), settings, tags, Declared::AtRunTime).await.unwrap();
            if at % 10 == 0 {
                let message = Outgoing { body: "a message".into(), ..Outgoing::default() };
                pipes.queue(&name).unwrap().send(vec![message]).await.unwrap().remove(0).unwrap();
            }
        });
        futures_util::future::join_all(made).await;
    }
    println!("made {QUEUES} queues in {:.1?}", begin.elapsed());
}

fn open_store(directory: &Path) -> Arc<dyn Store> {
    store::open(store::Options::new(directory, pipes::SPACES)).unwrap()
}

async fn open(store: &Arc<dyn Store>, tasks: &Tasks) -> Pipes {
    let options = Options {
        store: Arc::clone(store),
        clock: Arc::new(SystemClock::new()),
        tasks: tasks.clone(),
        limits: Limits::default(),
        watch: None,
    };
    Pipes::open(options).await.unwrap()
}

/// Bytes that the process has in memory, now.
fn resident() -> (usize, Instant) {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: usize = pages.split_whitespace().nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    (pages * 4096, Instant::now())
}

/// Runs an operation over and over, so many at once, until the time is over or it says that there is nothing left.
async fn run<F>(
    what: &str,
    in_flight: usize,
    time: Duration,
    queue: &Queue,
    operation: impl Fn(Queue) -> F + Send + Clone + 'static,
) where
    F: Future<Output = bool> + Send,
{
    let (cpu, begin) = (cpu_time(), Instant::now());
    let tasks: Vec<_> = (0..in_flight)
        .map(|_| {
            let (queue, operation) = (queue.clone(), operation.clone());
            tokio::spawn(async move {
                let mut micros = Vec::new();
                while begin.elapsed() < time {
                    let asked = Instant::now();
                    if !operation(queue.clone()).await {
                        break;
                    }
                    micros.push(u32::try_from(asked.elapsed().as_micros()).unwrap_or(u32::MAX));
                }
                micros
            })
        })
        .collect();
    let mut micros = Vec::new();
    for task in tasks {
        micros.extend(task.await.unwrap());
    }
    let elapsed = begin.elapsed();
    let cpu = cpu_time().saturating_sub(cpu);
    micros.sort_unstable();
    let of = |share: f64| {
        let at = ((micros.len() as f64 * share) as usize).min(micros.len().saturating_sub(1));
        micros.get(at).map_or(0.0, |micros| f64::from(*micros) / 1000.0)
    };
    let rate = micros.len() as f64 / elapsed.as_secs_f64();
    let each = cpu.as_secs_f64() * 1e6 / micros.len().max(1) as f64;
    let (p50, p99, max) = (of(0.5), of(0.99), of(1.0));
    if JSON.load(Ordering::Relaxed) {
        println!(
            r#"{{"what":"{what}","in_flight":{in_flight},"per_s":{rate:.1},"p50_ms":{p50},"p99_ms":{p99},"max_ms":{max},"cpu_us":{each:.2}}}"#
        );
        return;
    }
    let name = format!("{what}, {in_flight}");
    println!("{name:<22}{rate:>10.0}{p50:>10.2}{p99:>10.2}{max:>10.2}{each:>12.1}");
}

/// The time of the processor that this process has used.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let behind_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks: u64 =
        behind_name.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}
