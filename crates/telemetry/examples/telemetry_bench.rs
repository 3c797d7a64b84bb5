//! What telemetry costs: `cargo run --release -p telemetry --example telemetry_bench -- [spans] [lines]`, against its goals.
//!
//! Spans of three hours, 20 services, 200 operations, random ids, five attributes of which one has 100,000 values; lines of about
//! 65 bytes. Rates are per second of processor time of the whole process without making the records; times of questions are
//! processor time of the thread that asks, the median of five, and the first.

#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout)] // a tool for people who work on this

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kit::{Clock, SteppedClock, Timestamp};
use rustix::time::{ClockId, clock_gettime};
use telemetry::model::{LogRecord, Severity, Span, SpanId, SpanKind, Status, Text, TraceId, Value};
use telemetry::{LatencyFilter, LogFilter, Options, Telemetry, TimeRange, TraceFilter};

const START_NS: u64 = 1_700_000_000_000_000_000 / HOUR_NS * HOUR_NS;
const HOUR_NS: u64 = 3_600 * 1_000_000_000;
const HOURS: u64 = 3;
const BATCH: usize = 512;

fn main() {
    let mut counts = std::env::args().skip(1).map(|count| count.parse::<u64>().unwrap());
    let spans = counts.next().unwrap_or(5_000_000);
    let lines = counts.next().unwrap_or(2_000_000);
    let directory = tempfile::tempdir().unwrap();
    let clock = Arc::new(SteppedClock::new(Timestamp::from_micros(START_NS / 1_000)));
    let options =
        Options { keep: Duration::from_secs(24 * 3_600), disk_bytes: 64 << 30, ..Options::default() };
    let telemetry = Telemetry::open(directory.path(), options, Arc::clone(&clock) as Arc<dyn Clock>).unwrap();
    row("resident when idle", resident_mb(), "MB", Goal::AtMost(10.0), "");

    let mut made = Maker::default();
    let (cost, wall) = fill(
        &telemetry,
        &clock,
        spans,
        |n| made.span(n, spans),
        |telemetry, batch| telemetry.intake().offer_spans(batch).taken,
    );
    report("spans", spans, cost, wall, bytes_of(directory.path(), "spans-"), 35.0);
    let clock_now = clock.now();
    let (cost, wall) = fill(
        &telemetry,
        &clock,
        lines,
        |n| made.line(n, lines),
        |telemetry, batch| telemetry.intake().offer_logs(batch).taken,
    );
    report("lines", lines, cost, wall, bytes_of(directory.path(), "logs-"), 60.0);
    row("resident after that", resident_mb(), "MB", Goal::AtMost(200.0), "");
    let stats = telemetry.query().stats();
    row("memory by its own account", stats.memory_bytes as f64 / 1e6, "MB", Goal::None, "");
    assert_eq!((stats.spans, stats.logs), (spans, lines), "dropped: {:?}", stats.dropped);

    let query = telemetry.query();
    let last_hour = TimeRange { from_ns: START_NS + (HOURS - 1) * HOUR_NS, until_ns: u64::MAX };
    let ids: Vec<TraceId> = (0..5).map(|n| made.trace_of(spans / 7 * (n + 1))).collect();
    ask("trace by id", 2.0, |turn| query.trace(ids[turn]).unwrap().spans.len());
    ask("service, 500, longer than 900 ms, last hour", 60.0, |_| {
        let attributes = vec![("http.response.status_code".to_owned(), "500".to_owned())];
        let service = Some("service-10".to_owned());
        query
            .find_traces(&TraceFilter {
                service,
                attributes,
                min_ns: Some(900_000_000),
                range: last_hour,
                limit: 1_000,
                ..TraceFilter::default()
            })
            .len()
    });
    ask("the same, newest 20", 60.0, |_| {
        let attributes = vec![("http.response.status_code".to_owned(), "500".to_owned())];
        let service = Some("service-10".to_owned());
        query
            .find_traces(&TraceFilter {
                service,
                attributes,
                min_ns: Some(900_000_000),
                range: last_hour,
                ..TraceFilter::default()
            })
            .len()
    });
    let words = |limit| LogFilter {
        words: vec!["deadline".to_owned(), "exceeded".to_owned()],
        service: Some("service-7".to_owned()),
        severity: Some(Severity::Error),
        range: last_hour,
        limit,
        ..LogFilter::default()
    };
    ask("logs: two words, service, level, last hour", 80.0, |_| query.logs(&words(1_000_000)).len());
    ask("logs: the same, first hit", 10.0, |_| {
        let mut first = 0;
        query.each_log(&words(100), |_| {
            first += 1;
            ControlFlow::Break(())
        });
        first
    });
    ask("logs: the same, newest 100", 10.0, |_| query.logs(&words(100)).len());
    let frequent = |words: &[&str], limit| LogFilter {
        words: words.iter().map(|word| (*word).to_owned()).collect(),
        range: last_hour,
        limit,
        ..LogFilter::default()
    };
    // In every line, and in every eighth: no filter of a block leaves anything out.
    ask("logs: a word of every line, first hit", 10.0, |_| {
        let mut first = 0;
        query.each_log(&frequent(&["request"], 100), |_| {
            first += 1;
            ControlFlow::Break(())
        });
        first
    });
    ask("logs: a word of every line, newest 1,000", 10.0, |_| {
        query.logs(&frequent(&["request"], 1_000)).len()
    });
    ask("logs: a word of every eighth line, all of them", 80.0, |_| {
        query.logs(&frequent(&["deadline"], usize::MAX)).len()
    });
    ask("logs: two such words that never meet", 80.0, |_| {
        query.logs(&frequent(&["request", "sent queued"], 100)).len()
    });
    ask("logs: a word that is nowhere", 10.0, |_| query.logs(&frequent(&["request", "nowhere"], 100)).len());
    ask("p99 by service and minute, last hour", 5.0, |_| {
        let latency = query.latency(&LatencyFilter { range: last_hour, ..LatencyFilter::default() });
        latency.iter().map(|one| one.sketch.quantile(0.99)).filter(|ns| *ns > 0).count()
    });
    ask("who calls whom, last hour", 5.0, |_| query.graph(last_hour).len());

    let since = Instant::now();
    let one = Span {
        start_ns: clock_now.as_micros() * 1_000,
        trace: TraceId([9; 16]),
        ..made.span(spans - 1, spans)
    };
    telemetry.intake().offer_spans(vec![one]);
    while query.trace(TraceId([9; 16])).is_none() && since.elapsed() < Duration::from_secs(10) {
        std::thread::yield_now();
    }
    timed("a new span is found after", since.elapsed());
    let since = Instant::now();
    let one = LogRecord { body: "neverbefore".into(), ..made.line(lines - 1, lines) };
    telemetry.intake().offer_logs(vec![one]);
    while query.logs(&frequent(&["neverbefore"], 1)).is_empty() && since.elapsed() < Duration::from_secs(10) {
        std::thread::yield_now();
    }
    timed("a new log record is found after", since.elapsed());
    telemetry.close();
    let (cpu, since) = (cpu_s(ClockId::ProcessCPUTime), Instant::now());
    let again =
        Telemetry::open(directory.path(), Options { disk_bytes: 64 << 30, ..Options::default() }, clock)
            .unwrap();
    println!(
        "opened again: {:.0} ms of processor time, {:.0} ms",
        (cpu_s(ClockId::ProcessCPUTime) - cpu) * 1e3,
        since.elapsed().as_secs_f64() * 1e3
    );
    assert_eq!(again.query().stats().logs, lines + 1);
}

#[derive(Clone, Copy)]
enum Goal {
    AtMost(f64),
    AtLeast(f64),
    None,
}

fn row(what: &str, measured: f64, unit: &str, goal: Goal, more: &str) {
    let digits = if measured < 1_000.0 { 2 } else { 0 };
    let (goal, met) = match goal {
        Goal::AtMost(most) => (format!("≤ {most}"), measured <= most),
        Goal::AtLeast(least) => (format!("≥ {least}"), measured >= least),
        Goal::None => (String::new(), true),
    };
    let met = match (goal.is_empty(), met) {
        (true, _) => "",
        (false, true) => "met",
        (false, false) => "MISSED",
    };
    println!(
        "{}",
        format!("{what:<48} {measured:>10.digits$} {unit:<3} {goal:<9} {met:<7} {more}").trim_end()
    );
}

fn timed(what: &str, took: Duration) {
    row(what, took.as_secs_f64() * 1e3, "ms", Goal::AtMost(1_000.0), "");
}

/// Offers records at the speed at which they are taken. Gives processor seconds without those of making them.
fn fill<R>(
    telemetry: &Telemetry,
    clock: &SteppedClock,
    count: u64,
    mut make: impl FnMut(u64) -> R,
    offer: impl Fn(&Telemetry, Vec<R>) -> usize,
) -> (f64, f64) {
    let (mut cost, since) = (0.0, Instant::now());
    let mut before = cpu_s(ClockId::ProcessCPUTime);
    for start in (0..count).step_by(BATCH) {
        let making = cpu_s(ClockId::ThreadCPUTime);
        let batch: Vec<R> = (start..(start + BATCH as u64).min(count)).map(&mut make).collect();
        cost -= cpu_s(ClockId::ThreadCPUTime) - making;
        let target =
            START_NS + (u128::from(HOURS * HOUR_NS - 1) * u128::from(start) / u128::from(count)) as u64;
        clock.advance(Duration::from_nanos(target.saturating_sub(clock.now().as_micros() * 1_000)));
        assert!(offer(telemetry, batch) > 0, "it does not fit");
        if start / BATCH as u64 % 16 == 15 {
            telemetry.flush();
        }
    }
    telemetry.flush();
    before = cpu_s(ClockId::ProcessCPUTime) - before;
    (cost + before, since.elapsed().as_secs_f64())
}

fn report(what: &str, count: u64, cost: f64, wall: f64, bytes: u64, goal: f64) {
    let rate = count as f64 / cost;
    let all = format!("{wall:.1} s in all");
    row(&format!("{what} per second of one core"), rate, "", Goal::AtLeast(500_000.0), &all);
    let each = bytes as f64 / count as f64;
    row(&format!("bytes on disk for each of {what}"), each, "B", Goal::AtMost(goal), "");
}

fn ask(what: &str, goal_ms: f64, mut question: impl FnMut(usize) -> usize) {
    let mut times = Vec::new();
    let mut answers = 0;
    for turn in 0..5 {
        let before = cpu_s(ClockId::ThreadCPUTime);
        answers = question(turn);
        times.push((cpu_s(ClockId::ThreadCPUTime) - before) * 1e3);
    }
    let first = times[0];
    times.sort_by(f64::total_cmp);
    let more = format!("first {first:.2}, {answers} answers");
    row(what, times[2], "ms", Goal::AtMost(goal_ms), &more);
}

/// Processor seconds so far, to the nanosecond: what `/proc` tells of them is as old as the last tick.
fn cpu_s(of: ClockId) -> f64 {
    let spent = clock_gettime(of);
    spent.tv_sec as f64 + spent.tv_nsec as f64 / 1e9
}

fn resident_mb() -> f64 {
    let text = fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_ascii_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1e3
}

fn bytes_of(directory: &Path, start: &str) -> u64 {
    let files = fs::read_dir(directory).unwrap().map(|file| file.unwrap());
    let named = files.filter(|file| file.file_name().to_string_lossy().starts_with(start));
    named.map(|file| file.metadata().unwrap().len()).sum()
}

/// Makes records.
struct Maker {
    services: Vec<Text>,
    operations: Vec<Text>,
    keys: [Text; 5],
}

impl Default for Maker {
    fn default() -> Self {
        Self {
            services: (0..20).map(|n| format!("service-{n}").into()).collect(),
            operations: (0..200).map(|n| format!("GET /things/{n}/{{id}}").into()).collect(),
            keys: ["http.request.method", "http.response.status_code", "http.route", "user.id", "region"]
                .map(Text::from),
        }
    }
}

/// Spreads a number over 64 bits.
fn mixed(n: u64) -> u64 {
    let n = (n ^ n >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ n >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ n >> 31
}

impl Maker {
    fn trace_of(&self, n: u64) -> TraceId {
        let trace = n / 6;
        TraceId(
            [mixed(trace + 1).to_le_bytes(), mixed(trace + (1 << 40)).to_le_bytes()]
                .concat()
                .try_into()
                .unwrap(),
        )
    }

    fn span(&mut self, n: u64, of: u64) -> Span {
        let random = mixed(n + (1 << 50));
        let id = |n: u64| SpanId(mixed(n + (1 << 45)).to_le_bytes());
        let at = START_NS + (u128::from(HOURS * HOUR_NS) * u128::from(n) / u128::from(of)) as u64;
        let failed = random.is_multiple_of(50);
        Span {
            trace: self.trace_of(n),
            span: id(n),
            parent: (!n.is_multiple_of(6)).then(|| id(n - 1)),
            service: self.services[(random % 20) as usize].clone(),
            name: self.operations[(random >> 8) as usize % 200].clone(),
            kind: if n.is_multiple_of(2) { SpanKind::Server } else { SpanKind::Client },
            start_ns: at + random % 1_000_000,
            duration_ns: 100_000 + (random >> 20) % 1_000_000_000,
            status: if failed { Status::Error { message: Text::default() } } else { Status::Unset },
            attributes: vec![
                (
                    self.keys[0].clone(),
                    Value::Text(Text::from_static(["GET", "POST"][(random >> 3) as usize % 2])),
                ),
                (self.keys[1].clone(), Value::Int(if failed { 500 } else { 200 })),
                (self.keys[2].clone(), Value::Text(self.operations[(random >> 8) as usize % 200].clone())),
                (self.keys[3].clone(), Value::Text(format!("user-{}", (random >> 30) % 100_000).into())),
                (
                    self.keys[4].clone(),
                    Value::Text(Text::from_static(["eu", "us", "ap"][(random >> 5) as usize % 3])),
                ),
            ],
            events: Vec::new(),
            links: Vec::new(),
        }
    }

    fn line(&mut self, n: u64, of: u64) -> LogRecord {
        const WHAT: [&str; 8] = [
            "accepted",
            "stored",
            "looked up",
            "sent",
            "confirmed",
            "queued",
            "charged",
            "deadline exceeded",
        ];
        let random = mixed(n + (1 << 51));
        let what = (random >> 8) as usize % 8;
        LogRecord {
            time_ns: START_NS + (u128::from(HOURS * HOUR_NS) * u128::from(n) / u128::from(of)) as u64,
            service: self.services[(random % 20) as usize].clone(),
            instance: self.services[(random % 20) as usize].clone(),
            severity: if what == 7 { Severity::Error } else { Severity::Info },
            body: format!(
                "request {:08x} of user-{} {} in {} ms",
                random as u32,
                (random >> 32) % 100_000,
                WHAT[what],
                (random >> 40) % 1_000
            )
            .into(),
            attributes: Vec::new(),
            trace: None,
            span: None,
        }
    }
}
