//! What it costs to tell of a request: nanoseconds on the thread that carried it. Hops are read on another core
//! in between, as they are in a node, so that their memory comes back cold.
//!
//! `cargo run --release -p proxy --example signals`
#![allow(clippy::unwrap_used)] // a measurement, not the platform

use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use http::{Method, Version};
use kit::{Clock, SystemClock};
use proxy::signals::channel::channel;
use proxy::signals::route::Book;
use proxy::signals::{Hop, HopReader, Label, Lane, Local};
use proxy::trace::{SpanId, Trace, TraceId};
use proxy::{AccessSink, Entrance};
use registry::Endpoint;

/// Requests that are told of before the reader has its turn: 25 ms of 80,000 a second.
const BATCH: u64 = 2_000;
const BATCHES: usize = 500;
/// The best of so many runs: the others were disturbed.
const RUNS: usize = 5;

struct World {
    clock: SystemClock,
    entrance: Arc<Entrance>,
    endpoints: Vec<Arc<Endpoint>>,
    locals: Vec<Local>,
    lane: Box<dyn Lane>,
}

/// Reads when told to, and says when it is done.
struct Reader {
    go: SyncSender<()>,
    done: Receiver<usize>,
}

fn main() {
    let (hops, reader) = channel();
    let reader = start(reader);
    let book = Book::default();
    let names =
        (0..4).map(|n| Label { route: format!("GET /{n}"), service: "web".parse().ok(), caller: None });
    let world = World {
        clock: SystemClock::new(),
        entrance: Arc::new(Entrance::Gateway),
        endpoints: (1..=4)
            .map(|n: u16| {
                let id = format!("web-{n}#1").parse().unwrap();
                Arc::new(Endpoint::new(id, ([127, 0, 0, 1], n).into()))
            })
            .collect(),
        locals: names.map(|label| Local::new(&book.of(label))).collect(),
        lane: hops.lane(),
    };
    type Run = fn(&World, &Hop<'_>, &Local);
    let rows: [(&str, Run); 5] = [
        ("clock reading", |world, _, _| {
            black_box(world.clock.now());
        }),
        ("route: counts, histogram, example", |_, hop, local| local.count(hop, 0)),
        ("span without host and target", |world, hop, _| {
            world.lane.record(&Hop { host: "", target: "", ..*hop });
        }),
        ("span and access record", |world, hop, _| world.lane.record(hop)),
        ("all of it", |world, hop, local| {
            local.count(hop, 0);
            world.lane.record(hop);
        }),
    ];
    for (what, run) in rows {
        println!("{what:36} {:6.1} ns", best(&world, &reader, run));
    }
    let dropped = hops.dropped();
    assert_eq!(dropped.full + dropped.text, 0, "everything was read");
}

fn best(world: &World, reader: &Reader, run: fn(&World, &Hop<'_>, &Local)) -> f64 {
    let mut best = f64::INFINITY;
    for _ in 0..RUNS {
        let mut spent = Duration::ZERO;
        for _ in 0..BATCHES {
            let start = Instant::now();
            for n in 0..BATCH {
                let local = &world.locals[(n % 4) as usize];
                run(world, &hop(world, local, black_box(n)), local);
            }
            spent += start.elapsed();
            reader.go.send(()).unwrap();
            black_box(reader.done.recv().unwrap());
        }
        best = best.min(spent.as_nanos() as f64 / (BATCH * BATCHES as u64) as f64);
    }
    best
}

fn hop<'a>(world: &'a World, local: &'a Local, n: u64) -> Hop<'a> {
    Hop {
        began: kit::Timestamp::from_micros(1_700_000_000_000_000 + n * 12),
        took: Duration::from_nanos(500_000 + n * 100),
        first_byte: Some(Duration::from_micros(400)),
        waited: Duration::from_micros(350),
        entrance: &world.entrance,
        tls: None,
        peer: SocketAddr::from(([127, 0, 0, 1], 4000)),
        version: Version::HTTP_11,
        method: &Method::GET,
        host: "shop.example",
        target: "/books/7?page=3",
        status: 200,
        route: Some(local.label()),
        endpoint: world.endpoints.get((n * 7 % 4) as usize),
        attempts: 1,
        hedges: 0,
        fallback: false,
        bytes_in: 0,
        bytes_out: 100,
        upgraded: false,
        request_id: "0123456789abcdef0123456789abcdef",
        trace: Trace { id: TraceId([7; 16]), parent: None, span: SpanId([8; 8]), flags: 1 },
        error: None,
    }
}

fn start(mut reader: HopReader) -> Reader {
    let (go, turns) = sync_channel(1);
    let (finished, done) = sync_channel(1);
    std::thread::spawn(move || {
        while turns.recv().is_ok() {
            let mut bytes = 0;
            reader.drain(|hop| bytes += hop.target.len());
            finished.send(bytes).unwrap();
        }
    });
    Reader { go, done }
}
