//! Traces, log records, metrics and errors over the API. Questions are answered on threads that may wait: the runtime of
//! the node has others to serve.

use std::convert::Infallible;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, StreamExt, stream};
use kit::Timestamp;
use telemetry::model::{LogHit, TraceId};
use telemetry::{
    ErrorFilter, LatencyFilter, LogFilter, MetricFilter, Query, TailItem, TimeRange, TraceFilter,
};
use tokio::sync::mpsc;

use super::problem::{self, Refusal};
use super::{Admin, Answer, Shared, body};
use crate::observe::shown;

/// Answers of a list at most.
const MOST_TRACES: u32 = 1_000;
const MOST_RECORDS: u32 = 10_000;
const MOST_GROUPS: u32 = 1_000;
/// Records on their way to a client that reads slowly.
const WAITING: usize = 256;
/// What is shown of the past where nobody says since when.
const USUAL: Duration = Duration::from_secs(3600);
/// Points of a chart.
const POINTS: u64 = 200;

type Wish<T> = Result<Json<T>, JsonRejection>;

pub(crate) async fn traces(
    State(admin): Shared,
    wish: Wish<api::TraceQuery>,
) -> Answer<Vec<api::TraceSummary>> {
    let api::TraceQuery { service, operation, failed, min_us, max_us, attributes, range, limit } =
        body(wish)?;
    let ns = |us: u64| us.saturating_mul(1000);
    let filter = TraceFilter {
        service,
        operation,
        failed,
        min_ns: min_us.map(ns),
        max_ns: max_us.map(|us| ns(us).saturating_add(999)),
        attributes: attributes.into_iter().collect(),
        range: TimeRange::new(range.since, range.until),
        limit: limit.unwrap_or(20).min(MOST_TRACES) as usize,
    };
    ask(&admin, move |query| {
        let summary = |found: telemetry::TraceSummary| api::TraceSummary {
            trace: found.id.to_string(),
            service: found.service.to_string(),
            operation: found.operation.to_string(),
            at: shown::at(found.start_ns),
            duration_us: found.duration_ns / 1000,
            spans: u32::try_from(found.spans).unwrap_or(u32::MAX),
            errors: u32::try_from(found.errors).unwrap_or(u32::MAX),
            services: found.services.iter().map(ToString::to_string).collect(),
        };
        query.find_traces(&filter).into_iter().map(summary).collect()
    })
    .await
}

pub(crate) async fn trace(State(admin): Shared, Path(id): Path<String>) -> Answer<api::Trace> {
    let id: TraceId = id.parse().map_err(|error| problem::bad_question(&error))?;
    let found = ask(&admin, move |query| query.trace(id)).await?.0;
    let found = found.ok_or_else(|| problem::not_kept("trace", &id.to_string()))?;
    let logs = found.logs.iter().map(|record| shown::log(record, String::new())).collect();
    Ok(Json(api::Trace {
        trace: found.id.to_string(),
        spans: found.spans.iter().map(shown::span).collect(),
        logs,
        errors: found.errors.iter().map(shown::occurrence).collect(),
    }))
}

pub(crate) async fn records(State(admin): Shared, wish: Wish<api::LogQuery>) -> Result<Response, Refusal> {
    let api::LogQuery { words, service, instance, severity, attributes, trace, range, limit, before, follow } =
        body(wish)?;
    let filter = LogFilter {
        words,
        service,
        instance,
        severity: severity.map(shown::at_least),
        attributes: attributes.into_iter().collect(),
        trace: trace.map(|id| id.parse().map_err(|error| problem::bad_question(&error))).transpose()?,
        range: TimeRange::new(range.since, range.until),
        before: before
            .map(|before| before.parse().map_err(|error| problem::bad_question(&error)))
            .transpose()?,
        limit: limit.unwrap_or(100).min(MOST_RECORDS) as usize,
    };
    let query = query(&admin)?;
    if follow {
        return follow_on(query, filter, admin).await;
    }
    let (found, answer) = mpsc::channel(WAITING);
    tokio::task::spawn_blocking(move || {
        query.each_log(&filter, |hit| match found.blocking_send(line(&hit)) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()), // nobody reads on
        });
    });
    let found = stream::unfold(answer, |mut answer| async move { Some((answer.recv().await?, answer)) });
    Ok(lines(found))
}

/// What is there, the oldest first, then what comes.
async fn follow_on(query: Query, filter: LogFilter, admin: Arc<Admin>) -> Result<Response, Refusal> {
    // Begun before the look at what is there, so that nothing falls between the two.
    let tail = query.tail(LogFilter { before: None, ..filter.clone() });
    let there = tokio::task::spawn_blocking(move || query.logs(&filter)).await;
    let mut there = there.map_err(|_| problem::stopping())?;
    there.reverse();
    let last = there.last().map(|hit| hit.cursor);
    let past = stream::iter(there).map(|hit| line(&hit));
    let coming = stream::unfold((tail, admin), move |(mut tail, admin)| async move {
        loop {
            let item = tokio::select! {
                item = tail.next() => item?,
                () = admin.ending.cancelled() => return None,
            };
            let next = match item {
                TailItem::Record(hit) if last.is_some_and(|last| hit.cursor <= last) => continue,
                TailItem::Record(hit) => line(&hit),
                TailItem::Lost(count) => lost(count, admin.applier.broker.now()),
            };
            return Some((next, (tail, admin)));
        }
    });
    Ok(lines(past.chain(coming)))
}

fn lines(lines: impl Stream<Item = Bytes> + Send + 'static) -> Response {
    let body = Body::from_stream(lines.map(Ok::<_, Infallible>));
    ([(CONTENT_TYPE, "application/x-ndjson")], body).into_response()
}

fn line(hit: &LogHit) -> Bytes {
    encoded(&shown::record(hit))
}

fn lost(count: u64, at: Timestamp) -> Bytes {
    encoded(&api::LogRecord {
        cursor: String::new(),
        at,
        service: "atoll".into(),
        instance: None,
        severity: api::Severity::Warn,
        text: format!("{count} records came faster than they were read, and are left out here"),
        attributes: std::collections::BTreeMap::new(),
        trace: None,
        span: None,
    })
}

fn encoded(record: &api::LogRecord) -> Bytes {
    let mut line = serde_json::to_vec(record).unwrap_or_default(); // our own types always encode
    line.push(b'\n');
    line.into()
}

pub(crate) async fn metrics(State(admin): Shared) -> Answer<Vec<api::Metric>> {
    ask(&admin, |query| {
        let metric = |info: telemetry::MetricInfo| api::Metric {
            name: info.name.to_string(),
            kind: info.kind.as_str().into(),
            unit: (!info.unit.is_empty()).then(|| info.unit.to_string()),
            series: info.series as u64,
        };
        query.metrics().into_iter().map(metric).collect()
    })
    .await
}

pub(crate) async fn series(State(admin): Shared, wish: Wish<api::MetricQuery>) -> Answer<Vec<api::Series>> {
    let api::MetricQuery { name, labels, range, step_s } = body(wish)?;
    let (since, until) = bounded(range, &admin);
    let step = step_s.map_or_else(|| (until.since(since).as_secs() / POINTS).max(10), u64::from).max(1);
    let filter = MetricFilter {
        name,
        labels: labels.into_iter().collect(),
        range: TimeRange::new(Some(since), Some(until)),
        step: Duration::from_secs(step),
    };
    ask(&admin, move |query| {
        let series = |found: telemetry::Series| api::Series {
            labels: found.labels.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect(),
            points: found.points.iter().map(|(at, value)| (shown::at(*at), *value)).collect(),
            total: found.total.filter(|total| total.is_finite()),
        };
        query.series(&filter).into_iter().map(series).collect()
    })
    .await
}

pub(crate) async fn latency(
    State(admin): Shared,
    wish: Wish<api::LatencyQuery>,
) -> Answer<Vec<api::Latency>> {
    let api::LatencyQuery { service, range, step_min } = body(wish)?;
    let (since, until) = bounded(range, &admin);
    let range = TimeRange::new(Some(since), Some(until));
    let filter = LatencyFilter { service, range, step_minutes: step_min.unwrap_or(1) };
    ask(&admin, move |query| query.latency(&filter).iter().map(shown::latency).collect()).await
}

pub(crate) async fn graph(State(admin): Shared, wish: Wish<api::Range>) -> Answer<api::Graph> {
    let (since, until) = bounded(body(wish)?, &admin);
    let seconds = until.since(since).as_secs_f64().max(1.0);
    let parties = admin.applier.parties().await;
    ask(&admin, move |query| {
        shown::graph(&query.graph(TimeRange::new(Some(since), Some(until))), &parties, seconds)
    })
    .await
}

pub(crate) async fn errors(
    State(admin): Shared,
    wish: Wish<api::ErrorQuery>,
) -> Answer<Vec<api::ErrorGroup>> {
    let api::ErrorQuery { service, state, range, limit } = body(wish)?;
    let filter = ErrorFilter {
        service,
        state: state.map(shown::wanted_state),
        range: TimeRange::new(range.since, range.until),
        limit: limit.unwrap_or(100).min(MOST_GROUPS) as usize,
    };
    ask(&admin, move |query| query.error_groups(&filter).iter().map(shown::group).collect()).await
}

pub(crate) async fn error(State(admin): Shared, Path(id): Path<String>) -> Answer<api::ErrorDetail> {
    detail(&admin, &id).await
}

pub(crate) async fn decide(
    State(admin): Shared,
    Path(id): Path<String>,
    wish: Wish<api::DecideError>,
) -> Answer<api::ErrorDetail> {
    let state = body(wish)?.state;
    if state == api::ErrorState::Regressed {
        return Err(problem::bad_question(
            &"only what happens makes a group `regressed`: say `open`, `resolved` or `ignored`",
        ));
    }
    if let Ok(group) = id.parse() {
        let _ = ask(&admin, move |query| query.decide(group, shown::wanted_state(state))).await?;
    }
    detail(&admin, &id).await
}

async fn detail(admin: &Admin, id: &str) -> Answer<api::ErrorDetail> {
    let found = match id.parse() {
        Ok(group) => ask(admin, move |query| query.error_group(group)).await?.0,
        Err(_) => None,
    };
    let found = found.ok_or_else(|| problem::not_kept("group of errors", id))?;
    let last = found.last.iter().map(shown::occurrence).collect();
    Ok(Json(api::ErrorDetail { group: shown::group(&found.group), last }))
}

pub(crate) async fn stats(State(admin): Shared) -> Answer<api::TelemetryStats> {
    ask(&admin, |query| {
        let stats = query.stats();
        api::TelemetryStats {
            spans: stats.spans,
            logs: stats.logs,
            series: stats.series as u64,
            error_groups: stats.error_groups as u64,
            disk: stats.disk_bytes,
            memory: stats.memory_bytes as u64,
            oldest: stats.oldest_ns.map(shown::at),
            dropped: stats.dropped.iter().map(|(reason, count)| (reason.as_str().into(), *count)).collect(),
        }
    })
    .await
}

/// A range with both ends.
fn bounded(range: api::Range, admin: &Admin) -> (Timestamp, Timestamp) {
    let until = range.until.unwrap_or_else(|| admin.applier.broker.now());
    (range.since.unwrap_or_else(|| until - USUAL), until)
}

async fn ask<T: Send + 'static>(
    admin: &Admin,
    question: impl FnOnce(Query) -> T + Send + 'static,
) -> Answer<T> {
    let query = query(admin)?;
    let asked = tokio::task::spawn_blocking(move || question(query));
    asked.await.map(Json).map_err(|_| problem::stopping())
}

/// Whoever closes telemetry does not wait for answers: what is asked later is still answered.
fn query(admin: &Admin) -> Result<Query, Refusal> {
    let observer = &admin.applier.observer;
    observer.telemetry().map(|telemetry| telemetry.query()).ok_or_else(|| problem::no_telemetry(observer))
}
