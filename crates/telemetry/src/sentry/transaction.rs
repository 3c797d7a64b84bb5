//! A transaction: a span with the spans in it.

use serde_json::Value as Json;

use super::Sender;
use super::event::{list, owned, text, time_ns};
use crate::model::{Span, SpanKind, Status, Text, Value};

/// The spans of a transaction, its own first; none if it has no ids.
pub(super) fn transaction(json: &Json, sender: &Sender) -> Option<Vec<Span>> {
    let trace = json.get("contexts")?.get("trace")?;
    let name = owned(text(json, "transaction"));
    let mut own = span(trace, json, name, sender)?;
    for tag in ["release", "environment"] {
        if let Some(said) = text(json, tag) {
            own.attributes.push((Text::from_static(tag), Value::from(said)));
        }
    }
    let inner = list(json, "spans").iter().filter_map(|json| {
        let name = text(json, "description").or_else(|| text(json, "op"));
        span(json, json, owned(name), sender)
    });
    Some(std::iter::once(own.clone()).chain(inner).collect())
}

/// A span out of an object that says what it is and one that says when it was.
fn span(what: &Json, when: &Json, name: Text, sender: &Sender) -> Option<Span> {
    let start_ns = when.get("start_timestamp").and_then(time_ns)?;
    let end_ns = when.get("timestamp").and_then(time_ns).unwrap_or(start_ns);
    let operation = text(what, "op").unwrap_or_default();
    let mut attributes = Vec::new();
    if !operation.is_empty() {
        attributes.push((Text::from_static("sentry.op"), Value::from(operation)));
    }
    for name in ["data", "tags"] {
        for (key, value) in what.get(name).and_then(Json::as_object).into_iter().flatten() {
            attributes.extend(Some(key.as_str().into()).zip(Value::from_json(value.clone())));
        }
    }
    Some(Span {
        trace: text(what, "trace_id")?.parse().ok()?,
        span: text(what, "span_id")?.parse().ok()?,
        parent: text(what, "parent_span_id").and_then(|id| id.parse().ok()),
        service: sender.service.clone(),
        name,
        kind: kind(operation),
        start_ns,
        duration_ns: end_ns.saturating_sub(start_ns),
        status: match text(what, "status") {
            None | Some("unset" | "unknown") => Status::Unset,
            Some("ok") => Status::Ok,
            Some(how) => Status::Error { message: how.into() },
        },
        attributes,
        events: Vec::new(),
        links: Vec::new(),
    })
}

fn kind(operation: &str) -> SpanKind {
    match operation {
        "queue.publish" => SpanKind::Producer,
        "queue.process" | "queue.task" => SpanKind::Consumer,
        _ if operation.ends_with(".server") => SpanKind::Server,
        _ if operation.ends_with(".client") => SpanKind::Client,
        _ => SpanKind::Internal,
    }
}
