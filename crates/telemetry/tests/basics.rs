//! What comes in can be found.

#![allow(missing_docs, clippy::unwrap_used)] // helpers of tests may fail loudly

use std::sync::Arc;
use std::time::Duration;

use kit::{SteppedClock, Timestamp};
use telemetry::model::{
    ErrorEvent, ErrorState, LogRecord, MetricPoint, MetricValue, Severity, Span, SpanId, SpanKind, Status,
    Text, TraceId, Value,
};
use telemetry::{
    ErrorFilter, LatencyFilter, LogFilter, MetricFilter, Offered, Options, TailItem, Telemetry, TimeRange,
    TraceFilter,
};

const NOW_NS: u64 = 1_700_000_000_000_000_000;

fn open(directory: &std::path::Path) -> Telemetry {
    let clock = Arc::new(SteppedClock::new(Timestamp::from_micros(NOW_NS / 1_000)));
    Telemetry::open(directory, Options::default(), clock).unwrap()
}

fn span(trace: u8, id: u8, parent: Option<u8>, service: &str) -> Span {
    Span {
        trace: TraceId([trace; 16]),
        span: SpanId([id; 8]),
        parent: parent.map(|id| SpanId([id; 8])),
        service: service.into(),
        name: "GET /books".into(),
        kind: SpanKind::Server,
        start_ns: NOW_NS - 1_000_000_000 + u64::from(id) * 1_000,
        duration_ns: u64::from(id) * 1_000_000,
        status: Status::Unset,
        attributes: vec![(Text::from_static("http.response.status_code"), Value::Int(200))],
        events: Vec::new(),
        links: Vec::new(),
    }
}

fn log(body: &str, severity: Severity) -> LogRecord {
    LogRecord {
        time_ns: NOW_NS,
        service: "catalog".into(),
        instance: "catalog-1".into(),
        severity,
        body: body.into(),
        attributes: Vec::new(),
        trace: None,
        span: None,
    }
}

#[test]
fn a_trace_is_found_by_its_id_and_by_what_happened_in_it() {
    let directory = tempfile::tempdir().unwrap();
    let telemetry = open(directory.path());
    let failed = Span { status: Status::Error { message: "no".into() }, ..span(2, 3, Some(1), "orders") };
    let offered =
        telemetry.intake().offer_spans(vec![span(1, 1, None, "shop"), span(2, 1, None, "shop"), failed]);
    assert_eq!(offered, Offered { taken: 3, refused: 0, full: 0 });
    telemetry.flush();
    let query = telemetry.query();
    assert_eq!(query.trace(TraceId([2; 16])).unwrap().spans.len(), 2);
    assert_eq!(query.trace(TraceId([9; 16])), None);
    let found = query.find_traces(&TraceFilter { failed: Some(true), ..TraceFilter::default() });
    assert_eq!(found.len(), 1);
    assert_eq!(
        (found[0].id, &*found[0].service, found[0].spans, found[0].errors),
        (TraceId([2; 16]), "shop", 2, 1)
    );
    let slow =
        TraceFilter { min_ns: Some(2_000_000), service: Some("shop".into()), ..TraceFilter::default() };
    assert_eq!(query.find_traces(&slow), []);
    let status = ("http.response.status_code".to_owned(), "200".to_owned());
    let by_attribute = TraceFilter { attributes: vec![status], limit: 1, ..TraceFilter::default() };
    assert_eq!(query.find_traces(&by_attribute).len(), 1);
    assert_eq!(query.services(), ["orders", "shop"]);
    assert_eq!(query.operations("shop"), ["GET /books"]);
    let latency = query.latency(&LatencyFilter::default());
    assert_eq!(
        latency.iter().map(|l| (&*l.service, l.errors, l.sketch.count())).collect::<Vec<_>>(),
        [("orders", 1, 1), ("shop", 0, 2)]
    );
}

#[test]
fn logs_are_found_by_words_and_read_page_by_page() {
    let directory = tempfile::tempdir().unwrap();
    let telemetry = open(directory.path());
    let records = (0..10).map(|n| log(&format!("Deadline exceeded {n}"), Severity::Warn)).collect();
    telemetry.intake().offer_logs(records);
    telemetry.intake().offer_logs(vec![log("all is well", Severity::Info)]);
    telemetry.flush();
    let query = telemetry.query();
    let mut filter = LogFilter { words: vec!["deadline".into()], limit: 4, ..LogFilter::default() };
    let mut read = Vec::new();
    loop {
        let page = query.logs(&filter);
        let Some(last) = page.last() else { break };
        filter.before = Some(last.cursor.to_string().parse().unwrap());
        read.extend(page.into_iter().map(|hit| hit.record.body.to_string()));
    }
    assert_eq!(read, (0..10).rev().map(|n| format!("Deadline exceeded {n}")).collect::<Vec<_>>());
    assert_eq!(query.logs(&LogFilter { severity: Some(Severity::Error), ..LogFilter::default() }), []);
}

#[tokio::test]
async fn a_tail_tells_what_comes_and_what_it_lost() {
    let directory = tempfile::tempdir().unwrap();
    let telemetry = open(directory.path());
    let mut tail =
        telemetry.query().tail(LogFilter { severity: Some(Severity::Error), ..LogFilter::default() });
    telemetry.intake().offer_logs(vec![log("well", Severity::Info), log("broken", Severity::Error)]);
    let Some(TailItem::Record(hit)) = tail.next().await else { panic!("a record") };
    assert_eq!(hit.record.body, "broken");
    telemetry.intake().offer_logs((0..1_500).map(|_| log("broken", Severity::Error)).collect());
    telemetry.flush();
    let (mut records, mut lost) = (0, 0);
    while records + lost < 1_500 {
        match tail.next().await.unwrap() {
            TailItem::Record(_) => records += 1,
            TailItem::Lost(count) => lost += count,
        }
    }
    assert_eq!((records, lost), (1_024, 476));
    telemetry.close();
    assert_eq!(tail.next().await, None);
}

#[test]
fn a_counter_is_told_as_a_rate() {
    let directory = tempfile::tempdir().unwrap();
    let telemetry = open(directory.path());
    let point = |second: u64, total: f64| MetricPoint {
        name: "requests".into(),
        unit: "1".into(),
        labels: vec![("service".into(), "shop".into())],
        time_ns: NOW_NS - (100 - second) * 1_000_000_000,
        value: MetricValue::Counter(total),
    };
    telemetry.intake().offer_points(vec![point(0, 5.0), point(10, 25.0), point(20, 25.0), point(30, 10.0)]);
    telemetry.flush();
    let step = Duration::from_secs(10);
    let filter = MetricFilter { name: "requests".into(), step, ..MetricFilter::default() };
    let series = telemetry.query().series(&filter);
    assert_eq!(series.len(), 1);
    assert_eq!(series[0].points.iter().map(|(_, rate)| *rate).collect::<Vec<_>>(), [2.0, 0.0, 1.0]);
    assert_eq!(series[0].total, Some(10.0));
    let none = MetricFilter { labels: vec![("service".into(), "bank".into())], ..filter.clone() };
    assert_eq!(telemetry.query().series(&none), []);
    // One point tells no rate, but that it is there, and what it stands at.
    let once = |ns| MetricFilter { range: TimeRange { from_ns: ns, until_ns: ns }, ..filter.clone() };
    let first = telemetry.query().series(&once(NOW_NS - 100_000_000_000));
    assert_eq!((first[0].points.len(), first[0].total), (0, Some(5.0)));
    assert_eq!(telemetry.query().series(&once(NOW_NS - 99_000_000_000)), [], "only what is within counts");
    assert_eq!(telemetry.query().metrics()[0].series, 1);
}

#[test]
fn errors_are_grouped_and_decided_about() {
    let directory = tempfile::tempdir().unwrap();
    let telemetry = open(directory.path());
    let event =
        |time_ns| ErrorEvent { time_ns, kind: "KeyError".into(), value: "x".into(), ..ErrorEvent::default() };
    telemetry.intake().offer_errors(vec![event(NOW_NS - 10), event(NOW_NS - 5)]);
    telemetry.flush();
    let query = telemetry.query();
    let groups = query.error_groups(&ErrorFilter::default());
    assert_eq!(groups.iter().map(|group| group.count).collect::<Vec<_>>(), [2]);
    let detail = query.error_group(groups[0].id).unwrap();
    assert_eq!(detail.last.iter().map(|e| e.event.time_ns).collect::<Vec<_>>(), [NOW_NS - 5, NOW_NS - 10]);
    query.decide(groups[0].id, ErrorState::Resolved).unwrap();
    assert_eq!(query.error_groups(&ErrorFilter::default()), []);
    telemetry.intake().offer_errors(vec![event(NOW_NS + 5)]);
    telemetry.flush();
    assert_eq!(query.error_groups(&ErrorFilter::default())[0].state, ErrorState::Regressed);
}

#[test]
fn a_range_holds_both_of_its_ends() {
    let range = TimeRange::new(Some(Timestamp::from_micros(5)), Some(Timestamp::from_micros(6)));
    assert_eq!([4_999, 5_000, 6_999, 7_000].map(|ns| range.has(ns)), [false, true, true, false]);
}
