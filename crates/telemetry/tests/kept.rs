//! What came in is there after a restart, a crash and damage, within its limits; blocks answer as memory does.

#![allow(missing_docs, clippy::unwrap_used)] // helpers of tests may fail loudly

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kit::{Clock, SteppedClock, Timestamp};
use proptest::prelude::*;
use telemetry::model::{
    Buckets, ErrorEvent, ErrorState, Histogram, Link, LogRecord, MetricPoint, MetricValue, Severity, Span,
    SpanEvent, SpanId, SpanKind, Status, Text, TraceId, Value,
};
use telemetry::{
    ErrorFilter, LatencyFilter, Limits, LogFilter, MetricFilter, Offered, OpenError, Options, Reason,
    Sampling, Slow, Telemetry, TimeRange, TraceFilter,
};

const NOW_NS: u64 = 1_700_000_000_000_000_000;
const SECOND: u64 = 1_000_000_000;

fn clock() -> Arc<SteppedClock> {
    Arc::new(SteppedClock::new(Timestamp::from_micros(NOW_NS / 1_000)))
}

fn open(directory: &Path) -> Telemetry {
    Telemetry::open(directory, Options::default(), clock()).unwrap()
}

fn id16(n: u64) -> TraceId {
    TraceId(
        [(n + 1).to_be_bytes(), (n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()]
            .concat()
            .try_into()
            .unwrap(),
    )
}

fn id8(n: u64) -> SpanId {
    SpanId((n + 1).wrapping_mul(0xbf58_476d_1ce4_e5b9).to_be_bytes())
}

/// Spans that differ in everything, five to a trace.
fn span(n: u64) -> Span {
    let trace = n / 5;
    Span {
        trace: id16(trace),
        span: id8(n),
        parent: match n % 5 {
            0 => None,
            4 => Some(id8(n - 1)),
            _ if n.is_multiple_of(7) => Some(id8(n + 1_000_000)),
            _ => Some(id8(trace * 5)),
        },
        service: format!("service-{}", n % 3).into(),
        name: format!("operation-{}", n % 11).into(),
        kind: [
            SpanKind::Server,
            SpanKind::Client,
            SpanKind::Internal,
            SpanKind::Producer,
            SpanKind::Consumer,
        ][(n % 5) as usize],
        start_ns: NOW_NS - 3_600 * SECOND + n * 1_003_337 % (3_000 * SECOND),
        duration_ns: n * 7_919 % 1_000_000_000,
        status: match n % 13 {
            0 => Status::Error { message: format!("broken {n}").into() },
            1 => Status::Ok,
            2 => Status::Error { message: Text::default() },
            _ => Status::Unset,
        },
        attributes: vec![
            ("http.response.status_code".into(), Value::Int(if n.is_multiple_of(17) { 500 } else { 200 })),
            ("share".into(), Value::Float(0.5)),
            ("user.id".into(), format!("user-{}", n % 997).as_str().into()),
        ],
        events: if n.is_multiple_of(19) {
            vec![SpanEvent {
                time_ns: NOW_NS,
                name: "retry".into(),
                attributes: vec![("n".into(), Value::Int(1))],
            }]
        } else {
            Vec::new()
        },
        links: if n.is_multiple_of(23) {
            vec![Link {
                trace: id16(n + 5),
                span: id8(n + 9),
                attributes: vec![("a".into(), Value::Bool(true))],
            }]
        } else {
            Vec::new()
        },
    }
}

fn log(n: u64) -> LogRecord {
    LogRecord {
        time_ns: NOW_NS - 1_800 * SECOND + n * 700_001 % (1_700 * SECOND),
        service: format!("service-{}", n % 3).into(),
        instance: if n.is_multiple_of(4) {
            Text::default()
        } else {
            format!("service-{}-{}", n % 3, n % 2).into()
        },
        severity: Severity::ALL[(n % 6) as usize],
        body: format!(
            "Request {n} of user-{} {} after {} ms",
            n % 97,
            if n.is_multiple_of(5) { "failed: Deadline exceeded" } else { "done" },
            n % 1_000
        )
        .into(),
        attributes: if n.is_multiple_of(2) {
            vec![("n".into(), Value::Int((n % 10) as i64))]
        } else {
            Vec::new()
        },
        trace: n.is_multiple_of(3).then(|| id16(n / 3)),
        span: n.is_multiple_of(6).then(|| id8(n)),
    }
}

fn offer_all<R>(telemetry: &Telemetry, all: Vec<R>, offer: impl Fn(Vec<R>) -> Offered) {
    let mut all = all.into_iter();
    loop {
        let some: Vec<R> = all.by_ref().take(777).collect();
        let count = some.len();
        if count == 0 {
            break;
        }
        assert_eq!(offer(some).taken, count);
    }
    telemetry.flush();
}

fn fill(telemetry: &Telemetry, spans: u64, logs: u64) {
    let intake = telemetry.intake();
    offer_all(telemetry, (0..spans).map(span).collect(), |some| intake.offer_spans(some));
    offer_all(telemetry, (0..logs).map(log).collect(), |some| intake.offer_logs(some));
}

fn segments(directory: &Path, start: &str, end: &str) -> Vec<PathBuf> {
    let all = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let named = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        name.starts_with(start) && name.ends_with(end)
    };
    let mut found: Vec<_> = all.filter(named).collect();
    found.sort();
    found
}

/// One trace in so many is looked at: each costs a few blocks.
const EVERY: usize = 37;

/// Spans of some of the first traces, in an order of their own.
fn some_spans(telemetry: &Telemetry, traces: u64) -> Vec<Span> {
    let query = telemetry.query();
    let looked_at = (0..traces).step_by(EVERY);
    let mut spans: Vec<Span> =
        looked_at.filter_map(|n| query.trace(id16(n))).flat_map(|trace| trace.spans).collect();
    spans.sort_by_key(|span| span.span);
    spans
}

fn expected_spans(traces: u64) -> Vec<Span> {
    let looked_at = (0..traces).step_by(EVERY);
    let mut spans: Vec<Span> = looked_at.flat_map(|trace| (trace * 5..trace * 5 + 5).map(span)).collect();
    spans.sort_by_key(|span| span.span);
    spans
}

#[test]
fn what_was_taken_is_there_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let telemetry = open(directory.path());
    fill(&telemetry, 10_000, 10_000);
    let point = MetricPoint {
        name: "requests".into(),
        unit: "1".into(),
        labels: vec![("service".into(), "shop".into())],
        time_ns: NOW_NS - SECOND,
        value: MetricValue::Histogram(Box::new(Histogram {
            cumulative: false,
            count: 3,
            sum: 1.5,
            buckets: Buckets::Explicit { bounds: vec![1.0], counts: vec![1, 2] },
        })),
    };
    telemetry.intake().offer_points(vec![point; 5_000]);
    let error = ErrorEvent {
        kind: "KeyError".into(),
        trace: Some(id16(1)),
        time_ns: NOW_NS,
        ..ErrorEvent::default()
    };
    telemetry.intake().offer_errors(vec![error]);
    telemetry.flush();
    let group = telemetry.query().error_groups(&ErrorFilter::default())[0].clone();
    telemetry.query().decide(group.id, ErrorState::Ignored);
    let logs = telemetry.query().logs(&LogFilter { limit: 20_000, ..LogFilter::default() });
    let latency = telemetry.query().latency(&LatencyFilter::default());
    let graph = telemetry.query().graph(TimeRange::ALL);
    assert!(!latency.is_empty() && !graph.is_empty());
    telemetry.close();

    let telemetry = open(directory.path());
    let query = telemetry.query();
    assert_eq!(some_spans(&telemetry, 2_000), expected_spans(2_000));
    assert_eq!(query.logs(&LogFilter { limit: 20_000, ..LogFilter::default() }), logs);
    // Hundreds of traces at once are looked for in another way than one.
    let many = query.find_traces(&TraceFilter { limit: 5_000, ..TraceFilter::default() });
    assert!(many.len() > 500, "{}", many.len());
    for one in many.iter().step_by(97) {
        let whole = query.trace(one.id).unwrap().spans;
        let errors = whole.iter().filter(|span| span.status.failed()).count();
        assert_eq!((one.spans, one.errors, one.start_ns), (whole.len(), errors, whole[0].start_ns));
    }
    assert_eq!(logs.len(), 10_000);
    assert_eq!(query.latency(&LatencyFilter::default()), latency);
    assert_eq!(query.graph(TimeRange::ALL), graph);
    assert_eq!(query.services(), ["service-0", "service-1", "service-2", "unknown"]);
    assert_eq!(query.operations("service-1").len(), 11);
    let step = Duration::from_secs(1);
    let series = query.series(&MetricFilter { name: "requests".into(), step, ..MetricFilter::default() });
    assert_eq!(series[0].points.iter().map(|(_, value)| *value).collect::<Vec<_>>(), [15_000.0]);
    assert_eq!(query.metrics()[0].name, "requests");
    let ignored = ErrorFilter { state: Some(ErrorState::Ignored), ..ErrorFilter::default() };
    assert_eq!(query.error_groups(&ignored)[0].count, 1);
    assert_eq!(query.trace(id16(1)).unwrap().errors[0].group, group.id);
    let stats = query.stats();
    assert_eq!((stats.spans, stats.logs, stats.points, stats.errors), (10_000, 10_000, 5_000, 1));
    assert!(stats.disk_bytes > 0 && stats.notes.is_empty() && stats.dropped.is_empty());
}

/// Blocks as they were written before each column had a checksum of its own.
#[test]
fn blocks_of_the_first_format_are_read() {
    let directory = tempfile::tempdir().unwrap();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/first-format");
    for file in fs::read_dir(fixture).unwrap().map(Result::unwrap) {
        fs::copy(file.path(), directory.path().join(file.file_name())).unwrap();
    }
    let telemetry = open(directory.path());
    let query = telemetry.query();
    let stats = query.stats();
    assert_eq!((stats.spans, stats.logs, stats.notes.len()), (4_096, 4_100, 0), "{:?}", stats.notes);
    let trace = query.trace(TraceId([2; 16])).unwrap();
    assert_eq!((trace.spans.len(), trace.logs.len()), (1_024, 0));
    let (first, second) = (&trace.spans[0], &trace.spans[1]);
    assert_eq!((first.parent, second.parent), (None, Some(first.span)));
    assert_eq!((first.duration_ns, second.duration_ns), (1_000 + 1_024, 1_000 + 1_025));
    assert_eq!(first.status, Status::Error { message: "no".into() });
    assert_eq!(second.attributes, [("code".into(), Value::Int(200))]);
    let failed = TraceFilter {
        attributes: vec![("code".to_owned(), "500".to_owned())],
        min_ns: Some(3_500),
        ..TraceFilter::default()
    };
    let found: Vec<_> = query.find_traces(&failed).iter().map(|trace| (trace.id, trace.spans)).collect();
    assert_eq!(found, [(TraceId([4; 16]), 1_024), (TraceId([3; 16]), 1_024)]);
    let needle = LogFilter { words: vec!["needle".to_owned()], ..LogFilter::default() };
    assert_eq!(query.logs(&needle).len(), 5);
    assert_eq!(query.trace(TraceId([1; 16])).unwrap().logs[0].body, "a Needle in it");
    assert_eq!(query.graph(TimeRange::ALL)[0].sketch.count(), 2_048);
    let damaged = stats.dropped.get(&Reason::Damaged);
    assert_eq!(damaged, None);
    telemetry.close();
}

#[test]
fn a_question_ends_with_the_patience_of_who_asks() {
    let directory = tempfile::tempdir().unwrap();
    let telemetry = open(directory.path());
    fill(&telemetry, 30_000, 30_000);
    let query = telemetry.query();
    let asked = Arc::new(AtomicUsize::new(0));
    let after = |most: usize| {
        asked.store(0, Ordering::Relaxed);
        let asked = Arc::clone(&asked);
        query.as_long_as(move || asked.fetch_add(1, Ordering::Relaxed) < most)
    };
    let all = LogFilter { limit: usize::MAX, ..LogFilter::default() };
    let whole = query.logs(&all).len();
    assert_eq!((whole, query.has_given_up()), (30_000, false));
    let patient = after(usize::MAX);
    assert_eq!((patient.logs(&all).len(), patient.has_given_up()), (whole, false));
    let hasty = after(3);
    let some = hasty.logs(&all).len();
    assert!(some > 0 && some < whole && hasty.has_given_up(), "{some}");
    assert_eq!(asked.load(Ordering::Relaxed), 4, "nobody is asked again who has said no");
    let hasty = after(0);
    let traces = hasty.find_traces(&TraceFilter { limit: 10_000, ..TraceFilter::default() });
    assert!(traces.len() < 4_096 && hasty.has_given_up(), "what is in memory alone: {}", traces.len());
    telemetry.close();
}

#[test]
fn only_one_process_has_it_open() {
    let directory = tempfile::tempdir().unwrap();
    let telemetry = open(directory.path());
    let second = Telemetry::open(directory.path(), Options::default(), clock());
    assert!(matches!(second, Err(OpenError::InUse { .. })));
    telemetry.close();
    open(directory.path());
}

/// Copies the files as they are, as a kill would leave them.
fn snapshot(from: &Path) -> tempfile::TempDir {
    let to = tempfile::tempdir().unwrap();
    for path in segments(from, "", "") {
        fs::copy(&path, to.path().join(path.file_name().unwrap())).unwrap();
    }
    to
}

#[test]
fn a_crash_loses_nothing_that_was_written_down_and_a_torn_end_only_itself() {
    let directory = tempfile::tempdir().unwrap();
    let telemetry = open(directory.path());
    fill(&telemetry, 5_000, 100);
    let killed = snapshot(directory.path());
    assert_eq!(some_spans(&open(killed.path()), 1_000), expected_spans(1_000));

    for kind in ["spans.journal", "logs.journal", "groups.log"] {
        let killed = snapshot(directory.path());
        let path = killed.path().join(kind);
        let mut bytes = fs::read(&path).unwrap();
        bytes.extend_from_slice(&bytes.clone()[..bytes.len().min(60)]);
        bytes.extend_from_slice(&[7; 5]);
        fs::write(&path, bytes).unwrap();
        let torn = open(killed.path());
        assert_eq!(torn.query().stats().spans, 5_000, "{kind}");
        assert_eq!(torn.query().stats().logs, 100, "{kind}");
        assert_eq!(torn.query().stats().notes.len(), 1, "{kind}: {:?}", torn.query().stats().notes);
    }

    let killed = snapshot(directory.path());
    let path = segments(killed.path(), "spans-", ".seg").remove(0);
    let length = fs::metadata(&path).unwrap().len();
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(length - 10).unwrap();
    let torn = open(killed.path());
    let left = torn.query().stats();
    assert!(left.spans < 1_000 && left.notes.len() == 1, "{left:?}");
    torn.intake().offer_spans((5_000..5_005).map(span).collect());
    torn.flush();
    assert_eq!(torn.query().trace(id16(1_000)).unwrap().spans.len(), 5);
}

#[test]
fn a_journal_of_what_is_sealed_already_counts_nothing_twice() {
    let directory = tempfile::tempdir().unwrap();
    let telemetry = open(directory.path());
    fill(&telemetry, 4_000, 0);
    let journal = fs::read(directory.path().join("spans.journal")).unwrap();
    let intake = telemetry.intake();
    offer_all(&telemetry, (4_000..4_500).map(span).collect(), |some| intake.offer_spans(some));
    telemetry.close();
    fs::write(directory.path().join("spans.journal"), journal).unwrap();
    assert_eq!(open(directory.path()).query().stats().spans, 4_500);
}

#[test]
fn damage_in_the_middle_loses_a_block_and_is_counted() {
    let directory = tempfile::tempdir().unwrap();
    let telemetry = open(directory.path());
    fill(&telemetry, 20_000, 0);
    telemetry.close();
    let path = segments(directory.path(), "spans-", ".seg").remove(0);
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.len() / 3;
    bytes[at] ^= 0x55;
    fs::write(&path, bytes).unwrap();
    let telemetry = open(directory.path());
    let spans = some_spans(&telemetry, 4_000);
    let all = expected_spans(4_000).len();
    assert!(spans.len() >= all / 2 && spans.len() < all, "{} of {all}", spans.len());
    let stats = telemetry.query().stats();
    assert!(
        stats.dropped.get(&Reason::Damaged).copied().unwrap_or(0) > 0 || !stats.notes.is_empty(),
        "{stats:?}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn damaged_files_never_keep_it_from_opening(which in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()) {
        let directory = tempfile::tempdir().unwrap();
        let telemetry = open(directory.path());
        fill(&telemetry, 5_000, 300);
        telemetry.intake().offer_errors(vec![ErrorEvent { kind: "E".into(), ..ErrorEvent::default() }]);
        telemetry.close();
        let files: Vec<_> = segments(directory.path(), "", "").into_iter().filter(|path| fs::metadata(path).unwrap().len() > 0).collect();
        let path = &files[which.index(files.len())];
        let mut bytes = fs::read(path).unwrap();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if cut {
            bytes.truncate(at);
        }
        fs::write(path, bytes).unwrap();
        let telemetry = open(directory.path());
        telemetry.query().find_traces(&TraceFilter::default());
        telemetry.query().logs(&LogFilter::default());
        telemetry.query().latency(&LatencyFilter::default());
        telemetry.intake().offer_spans(vec![span(1_000_000)]);
        telemetry.flush();
        prop_assert!(telemetry.query().trace(id16(200_000)).is_some());
    }
}

/// What a filter means, by looking at every record.
fn naive_traces(spans: &[Span], filter: &TraceFilter) -> Vec<TraceId> {
    let mut matching: Vec<_> = spans.iter().enumerate().filter(|(_, span)| filter.matches(span)).collect();
    matching.sort_by_key(|(number, span)| std::cmp::Reverse((span.start_ns, *number)));
    let mut ids = Vec::new();
    for (_, span) in matching {
        if !ids.contains(&span.trace) && ids.len() < filter.limit {
            ids.push(span.trace);
        }
    }
    ids
}

#[test]
fn blocks_answer_as_a_look_at_every_record_does() {
    let directory = tempfile::tempdir().unwrap();
    let telemetry = open(directory.path());
    fill(&telemetry, 21_000, 21_000);
    let spans: Vec<Span> = (0..21_000).map(span).collect();
    let logs: Vec<LogRecord> = (0..21_000).map(log).collect();
    let query = telemetry.query();
    let mut runner =
        proptest::test_runner::TestRunner::new(ProptestConfig { cases: 60, ..ProptestConfig::default() });
    let attribute = prop_oneof![
        Just(("http.response.status_code".to_owned(), "500".to_owned())),
        Just(("share".to_owned(), "0.5".to_owned())),
        (0u32..1_100).prop_map(|n| ("user.id".to_owned(), format!("user-{n}"))),
        Just(("none".to_owned(), "x".to_owned())),
    ];
    let range =
        (prop::option::of(0u64..3_600), prop::option::of(0u64..3_600)).prop_map(|(from, until)| TimeRange {
            from_ns: from.map_or(0, |s| NOW_NS - 3_600 * SECOND + s * SECOND),
            until_ns: until.map_or(u64::MAX, |s| NOW_NS - 3_600 * SECOND + s * SECOND),
        });
    let traces = (
        prop::option::of(0u32..4),
        prop::option::of(0u32..12),
        prop::option::of(any::<bool>()),
        prop::option::of(0u64..1_000_000_000),
        prop::option::of(0u64..1_000_000_000),
        prop::collection::vec(attribute, 0..2),
        range.clone(),
        1usize..40,
    );
    runner
        .run(&traces, |(service, operation, failed, min_ns, max_ns, attributes, range, limit)| {
            let filter = TraceFilter {
                service: service.map(|n| format!("service-{n}")),
                operation: operation.map(|n| format!("operation-{n}")),
                failed,
                min_ns,
                max_ns,
                attributes,
                range,
                limit,
            };
            let found: Vec<_> = query.find_traces(&filter).into_iter().map(|trace| trace.id).collect();
            prop_assert_eq!(found, naive_traces(&spans, &filter));
            Ok(())
        })
        .unwrap();
    let word = prop_oneof![
        Just("deadline".to_owned()),
        Just("DEADLINE exceeded".to_owned()),
        Just("exceed".to_owned()),
        (0u32..100).prop_map(|n| format!("user-{n}")),
        (0u32..25_000).prop_map(|n| n.to_string()),
    ];
    let filters = (
        prop::collection::vec(word, 0..3),
        prop::option::of(0u32..4),
        prop::option::of(0u32..3),
        prop::option::of(prop::sample::select(Severity::ALL.to_vec())),
        prop::option::of(0i64..11),
        prop::option::of(0u64..8_000),
        range,
        1usize..60,
    );
    runner
        .run(&filters, |(words, service, instance, severity, attribute, trace, range, limit)| {
            let mut filter = LogFilter {
                words,
                service: service.map(|n| format!("service-{n}")),
                instance: instance.map(|n| if n == 2 { String::new() } else { format!("service-1-{n}") }),
                severity,
                attributes: attribute.map(|n| ("n".to_owned(), n.to_string())).into_iter().collect(),
                trace: trace.map(id16),
                range,
                before: None,
                limit,
            };
            let mut naive: Vec<_> =
                logs.iter().enumerate().filter(|(_, record)| filter.matches(record)).collect();
            naive.sort_by_key(|(number, record)| std::cmp::Reverse((record.time_ns, *number)));
            let naive: Vec<LogRecord> =
                naive.into_iter().map(|(_, record)| record.clone()).take(2 * limit).collect();
            let mut found = query.logs(&filter);
            prop_assert_eq!(found.len(), naive.len().min(limit));
            if let Some(last) = found.last() {
                filter.before = Some(last.cursor);
                found.extend(query.logs(&filter));
            }
            let found: Vec<LogRecord> = found.into_iter().map(|hit| hit.record).collect();
            prop_assert_eq!(found, naive);
            Ok(())
        })
        .unwrap();
}

#[test]
fn old_hours_are_dropped_whole() {
    let directory = tempfile::tempdir().unwrap();
    let clock = clock();
    let options = Options { keep: Duration::from_secs(2 * 3_600), ..Options::default() };
    let telemetry = Telemetry::open(directory.path(), options, Arc::clone(&clock) as Arc<dyn Clock>).unwrap();
    for hour in 0..6u64 {
        let at = |n: u64| Span { start_ns: NOW_NS + hour * 3_600 * SECOND, ..span(hour * 5_000 + n) };
        telemetry.intake().offer_spans((0..5_000).map(at).collect());
        telemetry.flush();
        clock.advance(Duration::from_secs(3_600));
    }
    telemetry.flush();
    let query = telemetry.query();
    assert_eq!(query.trace(id16(0)), None);
    assert!(query.trace(id16(4_100)).is_some());
    let left = segments(directory.path(), "spans-", ".seg").len();
    assert!((2..=3).contains(&left), "{left}");
    assert_eq!(
        query.latency(&LatencyFilter::default()).iter().map(|l| l.sketch.count()).sum::<u64>(),
        6 * 2_000,
        "roll-ups stay"
    );
}

#[test]
fn disk_is_bounded_even_within_an_hour() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options { disk_bytes: 1 << 20, ..Options::default() };
    let telemetry = Telemetry::open(directory.path(), options, clock()).unwrap();
    fill(&telemetry, 100_000, 0);
    let segments = segments(directory.path(), "spans-", ".seg");
    let bytes: u64 = segments.iter().map(|path| fs::metadata(path).unwrap().len()).sum();
    assert!(bytes <= 1 << 20, "{bytes}");
    assert!(telemetry.query().trace(id16(19_999)).is_some());
    assert!(telemetry.query().stats().spans < 100_000);
}

#[test]
fn what_is_too_long_is_cut_and_what_is_no_record_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let limits = Limits { services: 3, series: 2, ..Limits::default() };
    let telemetry =
        Telemetry::open(directory.path(), Options { limits, ..Options::default() }, clock()).unwrap();
    let intake = telemetry.intake();
    let no_id = Span { trace: TraceId::default(), ..span(1) };
    let huge = Span {
        service: Text::default(),
        name: "n".repeat(100_000).into(),
        start_ns: u64::MAX,
        duration_ns: u64::MAX,
        attributes: std::iter::once(("big".into(), "é".repeat(500_000).as_str().into()))
            .chain((0..1_000).map(|n| (format!("key-{n}").into(), Value::Int(n))))
            .collect(),
        ..span(0)
    };
    assert_eq!(intake.offer_spans(vec![no_id, huge]), Offered { taken: 1, refused: 1, full: 0 });
    let services = (0..10).map(|n| Span { service: format!("s{n}").into(), ..span(100 + n) });
    intake.offer_spans(services.collect());
    let point = |n: u32| MetricPoint {
        name: "m".into(),
        unit: Text::default(),
        labels: vec![("n".into(), n.to_string().into())],
        time_ns: 0,
        value: MetricValue::Gauge(1.0),
    };
    intake.offer_points((0..100).map(point).collect());
    intake.offer_points(vec![MetricPoint { value: MetricValue::Gauge(f64::NAN), ..point(1) }]);
    telemetry.flush();
    let query = telemetry.query();
    let kept = query.trace(id16(0)).unwrap().spans.remove(0);
    assert_eq!((&*kept.service, kept.start_ns), ("unknown", NOW_NS));
    assert!(kept.name.len() <= 256 && kept.name.ends_with('…'));
    let of =
        |key: &str| kept.attributes.iter().find(|(other, _)| *other == key).map(|(_, value)| value.clone());
    let Some(Value::Text(big)) = of("big") else { panic!("{kept:?}") };
    assert!(big.len() <= 8 << 10 && big.ends_with('…'));
    assert_eq!(of(telemetry::LEFT_OUT), Some(Value::Int(1_001 - 128)));
    assert_eq!(of(telemetry::SAID_TIME), Some(Value::Text(u64::MAX.to_string().into())));
    assert_eq!(query.services().len(), 3);
    let stats = query.stats();
    assert_eq!((stats.cut, stats.moved, stats.merged_services), (1, 1, 8));
    assert_eq!(
        stats.dropped.into_iter().collect::<Vec<_>>(),
        [(Reason::NoId, 1), (Reason::NoValue, 1), (Reason::TooManySeries, 98)]
    );
}

#[test]
fn a_full_queue_drops_and_counts() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options { waiting_bytes: 100_000, ..Options::default() };
    let telemetry = Telemetry::open(directory.path(), options, clock()).unwrap();
    let offered = telemetry.intake().offer_spans((0..1_000).map(span).collect());
    assert_eq!(offered, Offered { taken: 0, refused: 0, full: 1_000 });
    assert_eq!(telemetry.query().stats().dropped[&Reason::Full], 1_000);
    assert_eq!(telemetry.intake().offer_spans((0..10).map(span).collect()).taken, 10);
}

#[test]
fn sampling_keeps_what_failed_and_counts_everything() {
    let directory = tempfile::tempdir().unwrap();
    let clock = clock();
    let sampling = Sampling { share: 0.0, slow: Slow::Over(Duration::MAX), ..Sampling::default() };
    let options = Options { sampling, ..Options::default() };
    let telemetry = Telemetry::open(directory.path(), options, Arc::clone(&clock) as Arc<dyn Clock>).unwrap();
    telemetry.intake().offer_spans((0..100).map(span).collect());
    telemetry.flush();
    assert_eq!(telemetry.query().stats().spans, 0, "they wait");
    clock.advance(Duration::from_secs(6));
    telemetry.flush();
    let expected: std::collections::BTreeSet<_> =
        (0..100).map(span).filter(|span| span.status.failed()).map(|span| span.trace).collect();
    let found = telemetry.query().find_traces(&TraceFilter { limit: 100, ..TraceFilter::default() });
    assert_eq!(found.iter().map(|trace| trace.id).collect::<std::collections::BTreeSet<_>>(), expected);
    assert!(found.iter().all(|trace| trace.spans == 5), "whole");
    assert_eq!(telemetry.query().stats().dropped[&Reason::Sampled], 100 - 5 * expected.len() as u64);
    assert_eq!(
        telemetry.query().latency(&LatencyFilter::default()).iter().map(|l| l.sketch.count()).sum::<u64>(),
        40
    );
}
