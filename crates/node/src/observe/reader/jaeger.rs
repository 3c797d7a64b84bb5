//! The HTTP API of Jaeger's query service, as Grafana's data source of that name uses it. Paths, parameters and JSON are theirs.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use axum::http::StatusCode;
use serde_json::{Value as Json, json};
use telemetry::model::{
    Attributes, LogRecord, Severity, Span, SpanEvent, SpanId, Status, Text, TraceId, Value,
};
use telemetry::{Query, TimeRange, TraceFilter};

use super::parameters::Parameters;
use super::{Answer, Waits};

/// Traces of an answer where nobody says how many, and at most.
const USUAL: usize = 20;
const MOST: usize = 1_500;
/// Traces that are asked for by their ids.
const MOST_IDS: usize = 20;
/// Spans of an answer, about: further traces are left out.
const MOST_SPANS: usize = 20_000;
/// How long a question may take.
const TIME: Duration = Duration::from_secs(20);
/// How far back is looked where nobody says.
const LOOK_BACK: Duration = Duration::from_secs(3600);

/// What is asked, by the path behind `/api/`.
pub(super) enum Asked {
    Services,
    /// The names of what a service does.
    NamesOf(String),
    Operations,
    Traces,
    Trace(String),
    Dependencies,
}

impl Asked {
    pub(super) fn of(path: &str) -> Option<Self> {
        Some(match path {
            "services" => Self::Services,
            "operations" => Self::Operations,
            "traces" => Self::Traces,
            "dependencies" => Self::Dependencies,
            _ => match path.split_once('/')? {
                ("traces", id) if !id.contains('/') => Self::Trace(id.to_owned()),
                ("services", rest) => Self::NamesOf(decoded(rest.strip_suffix("/operations")?)),
                _ => return None,
            },
        })
    }
}

/// A part of a path as it was meant.
fn decoded(text: &str) -> String {
    let form = format!("x={}", text.replace('+', "%2B").replace('&', "%26"));
    let mut read = form_urlencoded::parse(form.as_bytes());
    read.next().map(|(_, value)| value.into_owned()).unwrap_or_default()
}

pub(super) fn answer(
    asked: &Asked,
    parameters: &Parameters,
    query: &Query,
    now_ms: i64,
    waits: &Waits,
) -> Answer {
    let now_us = u64::try_from(now_ms).unwrap_or(0).saturating_mul(1000);
    let query = &query.as_long_as(waits.within(TIME));
    let answer = found_out(asked, parameters, query, now_us);
    if query.has_given_up() {
        return failed(StatusCode::SERVICE_UNAVAILABLE, "the question took too long: ask about less time");
    }
    answer
}

fn found_out(asked: &Asked, parameters: &Parameters, query: &Query, now_us: u64) -> Answer {
    let names = |names: Vec<Text>| list(names.iter().map(|name| Json::from(name.as_str())).collect());
    match asked {
        Asked::Services => names(query.services()),
        Asked::NamesOf(service) => names(query.operations(service)),
        Asked::Operations => {
            let operations = query.operations(parameters.get("service").unwrap_or_default());
            let shown = |name: &Text| json!({ "name": name.as_str(), "spanKind": "" });
            list(operations.iter().map(shown).collect())
        }
        Asked::Trace(id) => one(id, query),
        Asked::Traces => match found(parameters, query, now_us) {
            Ok(traces) => list(traces),
            Err(why) => failed(StatusCode::BAD_REQUEST, &why),
        },
        Asked::Dependencies => {
            let ms = |name: &str| parameters.get(name).and_then(|text| text.parse::<u64>().ok());
            let end = ms("endTs").unwrap_or(now_us / 1000);
            let start = end.saturating_sub(ms("lookback").unwrap_or(24 * 3_600_000));
            let range = TimeRange {
                from_ns: start.saturating_mul(1_000_000),
                until_ns: end.saturating_mul(1_000_000),
            };
            let edge = |edge: &telemetry::Edge| json!({ "parent": edge.from.name.as_str(), "child": edge.to.name.as_str(), "callCount": edge.sketch.count() });
            list(query.graph(range).iter().map(edge).collect())
        }
    }
}

fn list(data: Vec<Json>) -> Answer {
    let mut json = json!({ "data": [], "total": data.len(), "limit": 0, "offset": 0, "errors": null });
    json["data"] = Json::Array(data);
    Answer(StatusCode::OK, json.to_string().into())
}

fn failed(status: StatusCode, why: &str) -> Answer {
    let errors = json!([{ "code": status.as_u16(), "msg": why }]);
    let json = json!({ "data": null, "total": 0, "limit": 0, "offset": 0, "errors": errors });
    Answer(status, json.to_string().into())
}

/// The id of a trace; Jaeger leaves out zeros in front.
fn id_of(text: &str) -> Option<TraceId> {
    if text.is_empty() || text.len() > 32 {
        return None;
    }
    format!("{text:0>32}").parse().ok()
}

fn one(id: &str, query: &Query) -> Answer {
    let Some(id) = id_of(id) else {
        return failed(StatusCode::BAD_REQUEST, "this is no id of a trace");
    };
    match query.trace(id) {
        Some(trace) if !trace.spans.is_empty() => list(vec![shown(id, &trace.spans, &trace.logs)]),
        _ => failed(StatusCode::NOT_FOUND, "trace not found"),
    }
}

fn found(parameters: &Parameters, query: &Query, now_us: u64) -> Result<Vec<Json>, String> {
    let ids: BTreeSet<TraceId> = parameters.all("traceID").filter_map(id_of).collect();
    if ids.len() > MOST_IDS {
        return Err(format!("parameter 'traceID' is there more than {MOST_IDS} times"));
    }
    if !ids.is_empty() || parameters.all("traceID").next().is_some() {
        let (mut traces, mut spans) = (Vec::new(), 0);
        for id in ids {
            if query.has_given_up() || spans > MOST_SPANS {
                break;
            }
            let Some(trace) = query.trace(id) else { continue };
            spans += trace.spans.len() + trace.logs.len();
            traces.push(shown(trace.id, &trace.spans, &trace.logs));
        }
        return Ok(traces);
    }
    let filter = filter(parameters, now_us)?;
    let traces = query.traces(&filter, MOST_SPANS);
    Ok(traces.iter().map(|(id, spans)| shown(*id, spans, &[])).collect())
}

fn filter(parameters: &Parameters, now_us: u64) -> Result<TraceFilter, String> {
    let service = parameters.get("service").ok_or("parameter 'service' is required")?;
    let number = |name: &str| match parameters.get(name) {
        None => Ok(None),
        Some(text) => match text.parse::<u64>() {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(format!("unable to parse param '{name}': {text:?} is no number")),
        },
    };
    let span = |name: &str| match parameters.get(name) {
        None => Ok(None),
        Some(text) => match nanoseconds(text) {
            Some(ns) => Ok(Some(ns)),
            None => Err(format!("unable to parse param '{name}': {text:?} is no duration")),
        },
    };
    let end = number("end")?.unwrap_or(now_us);
    let usual = end.saturating_sub(u64::try_from(LOOK_BACK.as_micros()).unwrap_or(0));
    let start = number("start")?.unwrap_or(usual);
    let mut attributes: Vec<(String, String)> = Vec::new();
    if let Some(tags) = parameters.get("tags") {
        let tags: BTreeMap<String, String> = serde_json::from_str(tags)
            .map_err(|_| "malformed 'tags' parameter, cannot unmarshal JSON: texts by name are wanted")?;
        attributes.extend(tags);
    }
    let pairs = parameters.all("tag").take(100).map(|tag| {
        let (name, value) = tag.split_once(':').ok_or("malformed 'tag' parameter, expecting key:value")?;
        Ok::<_, &str>((name.to_owned(), value.to_owned()))
    });
    for pair in pairs {
        attributes.push(pair?);
    }
    let mut failed = None;
    // What Jaeger calls an attribute is the status of a span here.
    attributes.retain(|(name, value)| match (name.as_str(), value.as_str()) {
        ("error", "true") | ("otel.status_code", "ERROR") => {
            failed = Some(true);
            false
        }
        ("error", "false") => {
            failed = Some(false);
            false
        }
        _ => true,
    });
    let operation = parameters.get("operation").filter(|name| *name != "all").map(str::to_owned);
    let ns = |us: u64| us.saturating_mul(1000);
    Ok(TraceFilter {
        service: Some(service.to_owned()),
        operation,
        failed,
        min_ns: span("minDuration")?,
        max_ns: span("maxDuration")?,
        attributes,
        range: TimeRange { from_ns: ns(start), until_ns: ns(end).saturating_add(999) },
        limit: number("limit")?.map_or(USUAL, |limit| usize::try_from(limit).unwrap_or(MOST)).clamp(1, MOST),
    })
}

/// `1.2s`, `100ms`, `500us`, `1m30s`, as Go writes it.
fn nanoseconds(text: &str) -> Option<u64> {
    const UNITS: [(&str, f64); 7] =
        [("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 60e9), ("h", 3600e9)];
    let (mut rest, mut total) = (text, 0.0);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let end = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        total += number * UNITS.iter().find(|(unit, _)| *unit == &rest[..end])?.1;
        rest = &rest[end..];
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "bounded, and no sign is read"
    )]
    (total > 0.0 && total < 1e18).then_some(total as u64)
}

/// A trace; what was logged on the way stands in the span that logged it.
fn shown(id: TraceId, spans: &[Span], logs: &[LogRecord]) -> Json {
    let mut logged: HashMap<SpanId, Vec<Json>> = HashMap::new();
    for record in logs {
        if let Some(span) = record.span {
            logged.entry(span).or_default().push(of_record(record));
        }
    }
    let mut processes: BTreeMap<&str, String> = BTreeMap::new();
    let mut process = |service| {
        let next = format!("p{}", processes.len() + 1);
        processes.entry(service).or_insert(next).clone()
    };
    let shown: Vec<Json> = spans
        .iter()
        .map(|span| {
            of_span(span, &process(span.service.as_str()), logged.remove(&span.span).unwrap_or_default())
        })
        .collect();
    let processes: serde_json::Map<String, Json> = processes
        .into_iter()
        .map(|(service, process)| (process, json!({ "serviceName": service, "tags": [] })))
        .collect();
    json!({ "traceID": id.to_string(), "spans": shown, "processes": processes, "warnings": null })
}

fn of_span(span: &Span, process: &str, mut logs: Vec<Json>) -> Json {
    let trace = span.trace.to_string();
    let mut references: Vec<Json> = Vec::new();
    if let Some(parent) = span.parent {
        references.push(json!({ "refType": "CHILD_OF", "traceID": trace, "spanID": parent.to_string() }));
    }
    references.extend(span.links.iter().map(|link| {
        json!({ "refType": "FOLLOWS_FROM", "traceID": link.trace.to_string(), "spanID": link.span.to_string() })
    }));
    let mut tags = tags(&span.attributes);
    tags.push(tag("span.kind", &Value::Text(Text::from_static(span.kind.as_str()))));
    if let Status::Error { message } = &span.status {
        tags.push(tag("error", &Value::Bool(true)));
        tags.push(tag("otel.status_code", &Value::Text(Text::from_static("ERROR"))));
        if !message.is_empty() {
            tags.push(tag("otel.status_description", &Value::Text(message.clone())));
        }
    }
    logs.extend(span.events.iter().map(of_event));
    json!({
        "traceID": trace,
        "spanID": span.span.to_string(),
        "flags": 1,
        "operationName": span.name.as_str(),
        "references": references,
        "startTime": span.start_ns / 1000,
        "duration": span.duration_ns / 1000,
        "tags": tags,
        "logs": logs,
        "processID": process,
        "warnings": null,
    })
}

fn of_event(event: &SpanEvent) -> Json {
    let mut fields = vec![tag("event", &Value::Text(event.name.clone()))];
    fields.extend(tags(&event.attributes));
    json!({ "timestamp": event.time_ns / 1000, "fields": fields })
}

fn of_record(record: &LogRecord) -> Json {
    let level = match record.severity {
        Severity::Trace => "trace",
        Severity::Debug => "debug",
        Severity::Info => "info",
        Severity::Warn => "warn",
        Severity::Error => "error",
        Severity::Fatal => "fatal",
    };
    let level = Value::Text(Text::from_static(level));
    let mut fields = vec![tag("event", &Value::Text(record.body.clone())), tag("level", &level)];
    fields.extend(tags(&record.attributes));
    json!({ "timestamp": record.time_ns / 1000, "fields": fields })
}

fn tags(attributes: &Attributes) -> Vec<Json> {
    attributes.iter().map(|(name, value)| tag(name, value)).collect()
}

fn tag(name: &str, value: &Value) -> Json {
    let (kind, value) = match value {
        Value::Bool(value) => ("bool", json!(value)),
        Value::Int(value) => ("int64", json!(value)),
        Value::Float(value) if value.is_finite() => ("float64", json!(value)),
        other => ("string", json!(other.as_text())),
    };
    json!({ "key": name, "type": kind, "value": value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_writes_them() {
        assert_eq!(nanoseconds("1.5s"), Some(1_500_000_000));
        assert_eq!(nanoseconds("1m30s"), Some(90_000_000_000));
        assert_eq!(nanoseconds("100ms"), Some(100_000_000));
        assert_eq!(nanoseconds("2µs"), Some(2_000));
        for bad in ["", "5", "s", "1x", "-1s", "1..2s", "0s"] {
            assert_eq!(nanoseconds(bad), None, "{bad}");
        }
    }

    #[test]
    fn paths_are_those_of_jaeger() {
        assert!(
            matches!(Asked::of("services/a%2Fb%20c/operations"), Some(Asked::NamesOf(name)) if name == "a/b c")
        );
        assert!(matches!(Asked::of("traces/abc"), Some(Asked::Trace(id)) if id == "abc"));
        for other in ["", "services/", "services/a", "traces/a/b", "archive/1"] {
            assert!(Asked::of(other).is_none(), "{other}");
        }
        assert_eq!(id_of("1f").map(|id| id.to_string()), Some(format!("{:0>32}", "1f")));
        assert_eq!(id_of("zz"), None);
    }

    #[test]
    fn a_question_says_what_of_it_cannot_be_read() {
        let filter = |text: &str| filter(&Parameters::read(text.as_bytes(), b""), 10_000_000_000);
        let asked = filter(
            "service=a&operation=all&tags={\"error\":\"true\",\"http.route\":\"/x\"}&tag=k:v&limit=5000",
        )
        .unwrap();
        assert_eq!((asked.failed, asked.operation, asked.limit), (Some(true), None, MOST));
        let pairs: Vec<_> = asked.attributes.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!(pairs, [("http.route", "/x"), ("k", "v")]);
        assert_eq!((asked.range.from_ns, asked.range.until_ns), (6_400_000_000_000, 10_000_000_000_999));
        for bad in ["", "service=a&limit=x", "service=a&tags=x", "service=a&tag=x", "service=a&minDuration=5"]
        {
            assert!(filter(bad).is_err(), "{bad}");
        }
    }
}
