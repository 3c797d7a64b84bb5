//! How fast a store takes messages: `cargo run --release -p store --example store_bench [-- [--json] [DIRECTORY [fjall|redb|memory
//! [SECONDS]]]]`.
//!
//! A send is one transaction with a body of 1 KB and a meta record of 32 bytes, as a queue makes it; each client waits for the
//! answer, which comes after the sync. Then pairs: a receive rewrites the meta record, a delete removes both.
//! With `--json` each figure is an object on a line of its own: for `cargo xtask bench queues`.

use std::collections::VecDeque;
use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use store::{CommitError, EngineKind, Options, Space, SpaceKind, Store, Txn};

const BODY: Space = Space::new(1, "body", SpaceKind::WriteOnce);
const META: Space = Space::new(2, "meta", SpaceKind::Rewritten);
const SPACES: &[Space] = &[BODY, META];
const BODY_BYTES: usize = 1024;
const META_BYTES: usize = 32;

type Failure = Box<dyn Error + Send + Sync>;

/// As in the binary: freed memtables must not hold up whoever allocates.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1).peekable();
    let json = arguments.next_if(|argument| argument == "--json").is_some();
    let directory = arguments.next().map_or_else(|| std::env::temp_dir().join("store-bench"), PathBuf::from);
    let engine = match arguments.next().as_deref() {
        None | Some("fjall") => EngineKind::Fjall,
        Some("redb") => EngineKind::Redb,
        Some("memory") => EngineKind::Memory,
        Some(other) => return Err(format!("there is no engine `{other}`").into()),
    };
    let seconds: u64 = arguments.next().map_or(Ok(5), |text| text.parse())?;
    let time = Duration::from_secs(seconds);
    if directory.exists() {
        std::fs::remove_dir_all(&directory)?;
    }
    let store = store::open(Options::new(&directory, SPACES).engine(engine))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    println!(
        "{:<10} {:>9} {:>9} {:>9} {:>9} {:>9} {:>11} {:>9}",
        "", "ops/s", "p50 ms", "p99 ms", "p99.9 ms", "max ms", "ops a sync", "CPU µs"
    );
    let work = Arc::new(Work { store: Arc::clone(&store), next: AtomicU64::new(0) });
    for clients in [1, 16, 256] {
        let sends = runtime.block_on(run(&work, clients, time, Kind::Send))?;
        sends.print("send", clients, json);
        let pairs = runtime.block_on(run(&work, clients, time, Kind::Pair))?;
        pairs.print("pair", clients, json);
    }
    let stats = store.stats();
    println!("{} bytes on disk, {} commits, {} syncs", stats.disk_bytes, stats.commits, stats.syncs);
    drop((work, store));
    std::fs::remove_dir_all(&directory)?;
    Ok(())
}

#[derive(Clone, Copy)]
enum Kind {
    Send,
    /// A message is sent without being counted; receive and delete are.
    Pair,
}

struct Work {
    store: Arc<dyn Store>,
    next: AtomicU64,
}

struct Outcome {
    seconds: f64,
    syncs: u64,
    cpu: Duration,
    /// In microseconds.
    latencies: Vec<u32>,
}

async fn run(work: &Arc<Work>, clients: usize, time: Duration, kind: Kind) -> Result<Outcome, Failure> {
    let (began, syncs, cpu) = (Instant::now(), work.store.stats().syncs, cpu());
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..clients {
        let work = Arc::clone(work);
        tasks.spawn(async move { client(&work, began + time, kind).await });
    }
    let mut latencies = Vec::new();
    while let Some(done) = tasks.join_next().await {
        latencies.extend(done??);
    }
    latencies.sort_unstable();
    Ok(Outcome {
        seconds: began.elapsed().as_secs_f64(),
        syncs: work.store.stats().syncs - syncs,
        cpu: self::cpu() - cpu,
        latencies,
    })
}

async fn client(work: &Work, until: Instant, kind: Kind) -> Result<Vec<u32>, Failure> {
    let mut latencies = Vec::new();
    let mut waiting = VecDeque::new();
    while Instant::now() < until {
        let turn = work.next.fetch_add(1, Ordering::Relaxed);
        let key = [&1u32.to_be_bytes()[..], &turn.to_be_bytes()].concat();
        let began = Instant::now();
        let send = Txn::new().put(BODY, key.clone(), vec![b'x'; BODY_BYTES]).put(
            META,
            key.clone(),
            vec![0; META_BYTES],
        );
        commit(work, send).await?;
        if let Kind::Send = kind {
            latencies.push(micros(began));
            continue;
        }
        // Oldest first, a few behind, as from a short queue.
        waiting.push_back(key);
        if waiting.len() < 4 {
            continue;
        }
        let Some(key) = waiting.pop_front() else { continue };
        let began = Instant::now();
        let meta = Bytes::from(vec![1; META_BYTES]);
        commit(work, Txn::new().put(META, key.clone(), meta)).await?;
        commit(work, Txn::new().delete(BODY, key.clone()).delete(META, key)).await?;
        latencies.push(micros(began));
    }
    Ok(latencies)
}

async fn commit(work: &Work, txn: Txn) -> Result<(), CommitError> {
    let admission = work.store.admit(txn.bytes()).map_err(|_| CommitError::Failed)?;
    work.store.commit(admission, txn).await.map(drop)
}

fn micros(began: Instant) -> u32 {
    u32::try_from(began.elapsed().as_micros()).unwrap_or(u32::MAX)
}

/// CPU time of this process so far.
fn cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = text.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

impl Outcome {
    fn print(&self, what: &str, clients: usize, json: bool) {
        let count = self.latencies.len().max(1);
        let at = |part: f64| {
            let place = ((count as f64 * part) as usize).min(count - 1);
            f64::from(self.latencies.get(place).copied().unwrap_or_default()) / 1000.0
        };
        let rate = count as f64 / self.seconds;
        let cpu = self.cpu.as_micros() as f64 / count as f64;
        let (p50, p99, max) = (at(0.5), at(0.99), at(1.0));
        if json {
            println!(
                r#"{{"what":"{what}","in_flight":{clients},"per_s":{rate:.1},"p50_ms":{p50},"p99_ms":{p99},"max_ms":{max},"cpu_us":{cpu:.2}}}"#
            );
            return;
        }
        println!(
            "{:<10} {rate:>9.0} {p50:>9.3} {p99:>9.3} {:>9.3} {max:>9.3} {:>11.1} {cpu:>9.1}",
            format!("{what} {clients}"),
            at(0.999),
            count as f64 / self.syncs.max(1) as f64,
        );
    }
}
