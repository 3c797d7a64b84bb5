//! What telemetry holds, as the admin API says it.

use std::collections::{BTreeMap, BTreeSet};

use kit::Timestamp;
use telemetry::model::{self, Attributes, Text};

use crate::broker::SNS;

/// Nanoseconds as microseconds.
pub(crate) fn at(ns: u64) -> Timestamp {
    Timestamp::from_micros(ns / 1000)
}

fn maybe(text: &Text) -> Option<String> {
    (!text.is_empty()).then(|| text.to_string())
}

pub(crate) fn attributes(attributes: &Attributes) -> BTreeMap<String, serde_json::Value> {
    attributes.iter().map(|(key, value)| (key.to_string(), value.to_json())).collect()
}

pub(crate) fn span(span: &model::Span) -> api::Span {
    let message = match &span.status {
        model::Status::Error { message } => maybe(message),
        model::Status::Unset | model::Status::Ok => None,
    };
    let event = |event: &model::SpanEvent| api::SpanEvent {
        at: at(event.time_ns),
        name: event.name.to_string(),
        attributes: attributes(&event.attributes),
    };
    api::Span {
        span: span.span.to_string(),
        parent: span.parent.map(|parent| parent.to_string()),
        service: span.service.to_string(),
        name: span.name.to_string(),
        kind: span.kind.as_str().into(),
        at: at(span.start_ns),
        duration_us: span.duration_ns / 1000,
        failed: span.status.failed(),
        message,
        attributes: attributes(&span.attributes),
        events: span.events.iter().map(event).collect(),
        links: span.links.iter().map(|link| (link.trace.to_string(), link.span.to_string())).collect(),
    }
}

pub(crate) fn severity(severity: model::Severity) -> api::Severity {
    match severity {
        model::Severity::Trace => api::Severity::Trace,
        model::Severity::Debug => api::Severity::Debug,
        model::Severity::Info => api::Severity::Info,
        model::Severity::Warn => api::Severity::Warn,
        model::Severity::Error => api::Severity::Error,
        model::Severity::Fatal => api::Severity::Fatal,
    }
}

pub(crate) fn at_least(severity: api::Severity) -> model::Severity {
    match severity {
        api::Severity::Trace => model::Severity::Trace,
        api::Severity::Debug => model::Severity::Debug,
        api::Severity::Info => model::Severity::Info,
        api::Severity::Warn => model::Severity::Warn,
        api::Severity::Error => model::Severity::Error,
        api::Severity::Fatal => model::Severity::Fatal,
    }
}

pub(crate) fn record(hit: &model::LogHit) -> api::LogRecord {
    log(&hit.record, hit.cursor.to_string())
}

pub(crate) fn log(record: &model::LogRecord, cursor: String) -> api::LogRecord {
    api::LogRecord {
        cursor,
        at: at(record.time_ns),
        service: record.service.to_string(),
        instance: maybe(&record.instance),
        severity: severity(record.severity),
        text: record.body.to_string(),
        attributes: attributes(&record.attributes),
        trace: record.trace.map(|trace| trace.to_string()),
        span: record.span.map(|span| span.to_string()),
    }
}

pub(crate) fn state(state: model::ErrorState) -> api::ErrorState {
    match state {
        model::ErrorState::Open => api::ErrorState::Open,
        model::ErrorState::Resolved => api::ErrorState::Resolved,
        model::ErrorState::Regressed => api::ErrorState::Regressed,
        model::ErrorState::Ignored => api::ErrorState::Ignored,
    }
}

pub(crate) fn wanted_state(state: api::ErrorState) -> model::ErrorState {
    match state {
        api::ErrorState::Open => model::ErrorState::Open,
        api::ErrorState::Resolved => model::ErrorState::Resolved,
        api::ErrorState::Regressed => model::ErrorState::Regressed,
        api::ErrorState::Ignored => model::ErrorState::Ignored,
    }
}

pub(crate) fn group(group: &model::ErrorGroup) -> api::ErrorGroup {
    let title = match (group.kind.is_empty(), group.value.is_empty()) {
        (_, true) => group.kind.to_string(),
        (true, false) => group.value.to_string(),
        (false, false) => format!("{}: {}", group.kind, group.value),
    };
    api::ErrorGroup {
        id: group.id.to_string(),
        title,
        culprit: maybe(&group.culprit),
        service: group.service.to_string(),
        state: state(group.state),
        count: group.count,
        first_seen: at(group.first_seen_ns),
        last_seen: at(group.last_seen_ns),
        first_release: maybe(&group.first_release),
        last_release: maybe(&group.last_release),
    }
}

pub(crate) fn occurrence(error: &model::TakenError) -> api::Occurrence {
    let event = &error.event;
    let frame = |frame: &model::Frame| api::Frame {
        function: maybe(&frame.function),
        file: maybe(&frame.file).or_else(|| maybe(&frame.module)),
        line: (frame.line > 0).then_some(frame.line),
        in_app: frame.in_app,
    };
    api::Occurrence {
        group: error.group.to_string(),
        at: at(event.time_ns),
        service: event.service.to_string(),
        instance: maybe(&event.instance),
        kind: event.kind.to_string(),
        message: event.value.to_string(),
        frames: event.frames.iter().map(frame).collect(),
        trace: event.trace.map(|trace| trace.to_string()),
        span: event.span.map(|span| span.to_string()),
        release: maybe(&event.release),
        attributes: attributes(&event.attributes),
    }
}

pub(crate) fn latency(latency: &telemetry::Latency) -> api::Latency {
    let sketch = &latency.sketch;
    let within = |share: f64| sketch.quantile(share) / 1000;
    api::Latency {
        service: latency.service.to_string(),
        at: at(latency.start_ns),
        count: sketch.count(),
        errors: latency.errors,
        p50_us: within(0.5),
        p90_us: within(0.9),
        p99_us: within(0.99),
        buckets: sketch.buckets().map(|(upper, count)| (upper / 1000, count)).collect(),
    }
}

/// What takes part in an app, as pairs of kind and name: a queue may be called as its service is.
#[derive(Default)]
pub(crate) struct Parties(pub(crate) BTreeSet<(&'static str, String)>);

impl Parties {
    /// What somebody is who was seen.
    fn kind_of(&self, party: &telemetry::Party) -> &'static str {
        match party.system.as_deref() {
            Some(SNS) => "topic",
            Some(_) => "queue",
            // The app's own first; what was kept before names were told apart is found, too.
            None => {
                let kinds = ["gateway", "service", "queue", "topic"];
                let is = |kind: &&str| self.0.iter().any(|(of, name)| of == kind && *name == *party.name);
                kinds.into_iter().find(is).unwrap_or("outside")
            }
        }
    }
}

/// Who takes part, and who calls whom.
pub(crate) fn graph(edges: &[telemetry::Edge], known: &Parties, seconds: f64) -> api::Graph {
    let mut nodes = known.0.clone();
    let seen = edges.iter().flat_map(|edge| [&edge.from, &edge.to]);
    nodes.extend(seen.map(|party| (known.kind_of(party), party.name.to_string())));
    let node = |(kind, name): (&str, String)| api::GraphNode { name, kind: kind.to_owned() };
    api::Graph {
        nodes: nodes.into_iter().map(node).collect(),
        edges: edges.iter().map(|one| edge(one, known, seconds)).collect(),
    }
}

fn edge(edge: &telemetry::Edge, known: &Parties, seconds: f64) -> api::GraphEdge {
    let within = |share: f64| edge.sketch.quantile(share) / 1000;
    let count = edge.sketch.count();
    api::GraphEdge {
        from: edge.from.name.to_string(),
        from_kind: known.kind_of(&edge.from).to_owned(),
        to: edge.to.name.to_string(),
        to_kind: known.kind_of(&edge.to).to_owned(),
        count,
        errors: edge.errors,
        rate: count as f64 / seconds,
        p50_us: within(0.5),
        p99_us: within(0.99),
    }
}
