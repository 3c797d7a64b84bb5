//! What the policies cost: nanoseconds of each when all goes well, on one thread and with all cores at the same
//! machine, and of all together in the order of a request.
//!
//! `cargo run --release -p proxy --example policies`
#![allow(clippy::unwrap_used)] // a measurement, not the platform

use std::cell::Cell;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use manifest::spec::{self, Balance, BalanceBy, Guard, LimitKey, Priority, RateLimit};
use proxy::policy::adaptive::Adaptive;
use proxy::policy::backoff;
use proxy::policy::choose::{Chooser, Wish};
use proxy::policy::draw::{self, Dice};
use proxy::policy::hash;
use proxy::policy::histogram::{Example, Recorder};
use proxy::policy::{Book, Guards, Moment};
use registry::Endpoint;

const ROUNDS: u64 = 2_000_000;
/// Between two requests of a busy thread, in nanoseconds.
const SPACING: u64 = 10_000;
/// The best of so many runs: the others were disturbed.
const RUNS: usize = 5;
const TOOK: Duration = Duration::from_micros(800);

struct Machines {
    book: Book,
    guards: Guards,
    adaptive: Adaptive,
    ready: Vec<Arc<Endpoint>>,
    ewma: Chooser,
    least: Chooser,
    turns: Chooser,
    hashed: Chooser,
}

fn main() {
    let machines = machines();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    println!("{:34} {:>9} {:>12}", "ns", "1 thread", format!("{cores} threads"));
    let row = |what: &str, one: f64, all: f64| println!("{what:34} {one:9.1} {all:12.1}");
    let mut start = Moment::now().nanos();
    let mut next = || {
        start += RUNS as u64 * ROUNDS * SPACING;
        start
    };
    for (what, run) in rows() {
        row(what, alone(&machines, run, next()), together(&machines, run, next(), cores));
    }
}

type Run = fn(&Machines, &Local, u64);

/// What belongs to one thread.
struct Local {
    dice: Dice,
    recorder: Recorder,
    /// Of this run, in nanoseconds.
    start: Cell<u64>,
}

fn rows() -> Vec<(&'static str, Run)> {
    vec![
        ("clock reading", |_, _, _| {
            black_box(Moment::now());
        }),
        ("rate limit: key and check", |m, l, n| rate(m, l.at(n), n)),
        ("breaker: admit and record", |m, l, n| {
            let breaker = m.guards.breaker.as_ref().unwrap();
            breaker.record(breaker.admit(l.at(n)).unwrap(), false, TOOK, l.at(n));
        }),
        ("adaptive: admit and observe", |m, l, n| adaptive(m, 3, l.at(n))),
        ("bulkhead: take and give back", |m, _, _| drop(m.guards.bulkhead.try_acquire())),
        ("retry budget: deposit", |m, l, n| m.guards.budget.deposit(l.at(n))),
        ("backoff", |m, l, _| {
            black_box(backoff::pause(&spec::Retry::default(), 2, None, Duration::MAX, l.dice.roll()));
            black_box(&m.guards);
        }),
        ("choose: peak EWMA of 4", |m, l, n| choose(&m.ewma, m, l, n)),
        ("choose: least request of 4", |m, l, n| choose(&m.least, m, l, n)),
        ("choose: in turn of 4", |m, l, n| choose(&m.turns, m, l, n)),
        ("choose: hash of 4, with key", |m, l, n| choose(&m.hashed, m, l, n)),
        ("lease: take and give back", |m, _, _| drop(m.ready.first().and_then(Endpoint::acquire))),
        ("endpoint: succeeded", |m, l, n| m.ready[(n % 4) as usize].succeeded(TOOK, l.at(n))),
        ("split draw", |_, l, _| {
            black_box(draw::split([(0, kit::units::Share::percent(10))], l.dice.roll()));
        }),
        ("histogram: record", |_, l, n| l.recorder.record(Duration::from_nanos(50_000 + n % 4_000_000))),
        ("histogram: with example", |_, l, n| {
            let took = Duration::from_nanos(50_000 + n % 4_000_000);
            l.recorder.record_example(Example { trace: u128::from(n), took, unix_ms: n / 50 });
        }),
        ("a request: all of them", |m, l, n| request(m, l, n)),
    ]
}

fn request(machines: &Machines, local: &Local, n: u64) {
    let guards = &machines.guards;
    let now = local.at(n);
    rate(machines, now, n);
    black_box(draw::split([(0, kit::units::Share::NONE)], local.dice.roll()));
    let breaker = guards.breaker.as_ref().unwrap();
    let pass = breaker.admit(now).unwrap();
    let under_way = guards.bulkhead.load().in_use;
    machines.adaptive.admit(under_way, Priority::Critical).unwrap();
    let permit = guards.bulkhead.try_acquire();
    guards.budget.deposit(now);
    let wish = Wish { key: None, avoid: &[], random: local.dice.roll(), now };
    let lease = machines.ewma.lease(&machines.ready, 4, &wish).unwrap();
    lease.endpoint().succeeded(TOOK, now);
    breaker.record(pass, false, TOOK, now);
    machines.adaptive.observe(TOOK, under_way, false, now);
    local.recorder.record(TOOK);
    guards.bulkhead.observe(TOOK);
    drop((permit, lease));
}

fn rate(machines: &Machines, now: Moment, n: u64) {
    let rates = machines.book.rates();
    let (rate, scope) = machines.guards.rates.first().unwrap();
    let who = [10, 0, (n >> 4) as u8, n as u8];
    let _ = black_box(rates.check(rates.key(*scope, &who), rate, now));
}

fn adaptive(machines: &Machines, under_way: u32, now: Moment) {
    let adaptive = &machines.adaptive;
    let _ = black_box(adaptive.admit(under_way, Priority::Critical));
    adaptive.observe(TOOK, under_way, false, now);
}

fn choose(chooser: &Chooser, machines: &Machines, local: &Local, n: u64) {
    let random = local.dice.roll();
    let key = Some(hash::key(&random.to_le_bytes()));
    black_box(chooser.choose(&machines.ready, 4, &Wish { key, avoid: &[], random, now: local.at(n) }));
}

impl Local {
    fn at(&self, n: u64) -> Moment {
        Moment::from_nanos(self.start.get() + n * SPACING)
    }
}

/// Nanoseconds per operation; no run begins before the earlier one ended.
fn alone(machines: &Machines, run: Run, start: u64) -> f64 {
    let (recorder, _histogram) = Recorder::new();
    let local = Local { dice: Dice::new(start), recorder, start: Cell::new(start) };
    let mut best = f64::INFINITY;
    for _ in 0..RUNS {
        let start = Instant::now();
        for n in 0..ROUNDS {
            run(machines, &local, black_box(n));
        }
        best = best.min(start.elapsed().as_nanos() as f64 / ROUNDS as f64);
        local.start.set(local.start.get() + ROUNDS * SPACING);
    }
    best
}

fn together(machines: &Machines, run: Run, start: u64, threads: usize) -> f64 {
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(|| alone(machines, run, start))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).fold(0.0, f64::max)
    })
}

fn machines() -> Machines {
    let book = Book::default();
    let limit = RateLimit {
        rate: 100_000_000,
        period: Duration::from_secs(1),
        burst: u32::MAX,
        per: LimitKey::Client,
    };
    let guard = Guard { limits: vec![limit], ..Guard::default() };
    let adaptive = Adaptive::new(&spec::Adaptive { min: 100, max: 1000 }, Moment::now());
    let guards = book.guards("GET /", &guard, Moment::now());
    let endpoint = |n| Endpoint::new(format!("web-{n}#1").parse().unwrap(), ([127, 0, 0, 1], n).into());
    let ready: Vec<_> = (1..=4).map(|n| Arc::new(endpoint(n))).collect();
    ready.iter().for_each(|endpoint| endpoint.succeeded(TOOK, Moment::now()));
    let chooser = |by| Chooser::new(&Balance { by, ..Balance::default() });
    Machines {
        book,
        guards,
        adaptive,
        ready,
        ewma: chooser(BalanceBy::PeakEwma),
        least: chooser(BalanceBy::LeastRequest),
        turns: chooser(BalanceBy::RoundRobin),
        hashed: chooser(BalanceBy::Hash(spec::HashKey::Client)),
    }
}
