//! OTLP as JSON: the names of fields in `lowerCamelCase`, ids as hexadecimal digits, 64-bit numbers as text or numbers, enums
//! as numbers (or, as some senders do, by name).

use serde_json::Value as Json;

use super::proto::kind;
use super::resource::{Metric, Resource, sum};
use super::{BadRequest, Decoded, NO_IDS, NO_NAME, NO_NUMBER, NO_QUANTILES};
use crate::model::{
    Attributes, Buckets, ExponentialBuckets, Histogram, Link, LogRecord, MetricPoint, MetricValue, Severity,
    Span, SpanEvent, SpanId, SpanKind, Status, Text, TraceId, Value,
};

fn parse(body: &[u8]) -> Result<Json, BadRequest> {
    let json: Json = serde_json::from_slice(body).map_err(|error| BadRequest::new(error.to_string()))?;
    if json.is_object() { Ok(json) } else { Err(BadRequest::new("it is JSON, but no object")) }
}

fn list<'j>(json: &'j Json, name: &str) -> &'j [Json] {
    json.get(name).and_then(Json::as_array).map_or(&[], Vec::as_slice)
}

fn text(json: &Json, name: &str) -> Text {
    json.get(name).and_then(Json::as_str).map(Text::from).unwrap_or_default()
}

/// A whole number, as a number or as text.
fn whole(json: Option<&Json>) -> Option<i128> {
    match json? {
        Json::Number(number) => number.as_i128(),
        Json::String(text) => text.parse().ok(),
        _ => None,
    }
}

fn unsigned(json: Option<&Json>) -> u64 {
    whole(json).and_then(|number| u64::try_from(number).ok()).unwrap_or(0)
}

fn signed(json: Option<&Json>) -> i32 {
    whole(json).and_then(|number| i32::try_from(number).ok()).unwrap_or(0)
}

/// A number, as a number or as text such as `NaN`.
fn float(json: Option<&Json>) -> Option<f64> {
    match json? {
        Json::Number(number) => number.as_f64(),
        Json::String(text) => text.parse().ok(),
        _ => None,
    }
}

fn yes(json: Option<&Json>) -> bool {
    json.and_then(Json::as_bool).unwrap_or(false)
}

/// Gives each record to `each`, with who sent it and the name of its scope.
fn records(
    request: &Json,
    [groups, scopes, records]: [&str; 3],
    mut each: impl FnMut(&Resource, &Text, &Json),
) {
    for group in list(request, groups) {
        let resource = Resource::new(group.get("resource").map(attributes).unwrap_or_default());
        for scope in list(group, scopes) {
            let name = scope.get("scope").map(|scope| text(scope, "name")).unwrap_or_default();
            for record in list(scope, records) {
                each(&resource, &name, record);
            }
        }
    }
}

fn attributes(of: &Json) -> Attributes {
    key_values(list(of, "attributes"))
}

fn key_values(pairs: &[Json]) -> Attributes {
    pairs.iter().filter_map(|pair| Some((text(pair, "key"), value(pair.get("value")?)?))).collect()
}

fn value(json: &Json) -> Option<Value> {
    let (name, said) = json.as_object()?.iter().next()?;
    Some(match name.as_str() {
        "stringValue" => Value::Text(said.as_str()?.into()),
        "boolValue" => Value::Bool(said.as_bool()?),
        "intValue" => Value::Int(whole(Some(said)).and_then(|number| i64::try_from(number).ok())?),
        "doubleValue" => Value::Float(float(Some(said))?),
        "bytesValue" => Value::Bytes(unbase64(said.as_str()?)?),
        "arrayValue" => Value::List(list(said, "values").iter().filter_map(value).collect()),
        "kvlistValue" => Value::Map(key_values(list(said, "values"))),
        _ => return None,
    })
}

/// Bytes out of base64, with or without padding, of either alphabet.
fn unbase64(text: &str) -> Option<Vec<u8>> {
    let (mut bytes, mut bits, mut held) = (Vec::with_capacity(text.len() * 3 / 4), 0u32, 0);
    for byte in text.trim_end_matches('=').bytes() {
        let six = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(six);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push(u8::try_from(bits >> held & 0xff).ok()?);
        }
    }
    Some(bytes)
}

pub(super) fn traces(body: &[u8]) -> Result<Decoded<Span>, BadRequest> {
    let mut decoded = Decoded::default();
    records(&parse(body)?, ["resourceSpans", "scopeSpans", "spans"], |resource, scope, record| {
        match span(record, resource, scope) {
            Some(span) => decoded.records.push(span),
            None => decoded.reject(NO_IDS),
        }
    });
    Ok(decoded)
}

fn trace_id(json: &Json) -> Option<TraceId> {
    json.get("traceId")?.as_str()?.parse().ok()
}

fn span_id(json: &Json, name: &str) -> Option<SpanId> {
    json.get(name)?.as_str()?.parse().ok()
}

fn span(json: &Json, resource: &Resource, scope: &Text) -> Option<Span> {
    let start_ns = unsigned(json.get("startTimeUnixNano"));
    let mut attributes = attributes(json);
    resource.extend(&mut attributes, scope);
    Some(Span {
        trace: trace_id(json)?,
        span: span_id(json, "spanId")?,
        parent: span_id(json, "parentSpanId"),
        service: resource.service.clone(),
        name: text(json, "name"),
        kind: json.get("kind").map(kind_of).unwrap_or_default(),
        start_ns,
        duration_ns: unsigned(json.get("endTimeUnixNano")).saturating_sub(start_ns),
        status: json.get("status").map(status).unwrap_or_default(),
        attributes,
        events: list(json, "events").iter().map(event).collect(),
        links: list(json, "links").iter().filter_map(link).collect(),
    })
}

fn kind_of(json: &Json) -> SpanKind {
    match json.as_str() {
        Some("SPAN_KIND_SERVER") => SpanKind::Server,
        Some("SPAN_KIND_CLIENT") => SpanKind::Client,
        Some("SPAN_KIND_PRODUCER") => SpanKind::Producer,
        Some("SPAN_KIND_CONSUMER") => SpanKind::Consumer,
        _ => kind(unsigned(Some(json))),
    }
}

fn status(json: &Json) -> Status {
    let code = json.get("code");
    match (code.and_then(Json::as_str), unsigned(code)) {
        (Some("STATUS_CODE_OK"), _) | (_, 1) => Status::Ok,
        (Some("STATUS_CODE_ERROR"), _) | (_, 2) => Status::Error { message: text(json, "message") },
        _ => Status::Unset,
    }
}

fn event(json: &Json) -> SpanEvent {
    SpanEvent {
        time_ns: unsigned(json.get("timeUnixNano")),
        name: text(json, "name"),
        attributes: attributes(json),
    }
}

fn link(json: &Json) -> Option<Link> {
    Some(Link { trace: trace_id(json)?, span: span_id(json, "spanId")?, attributes: attributes(json) })
}

pub(super) fn logs(body: &[u8]) -> Result<Decoded<LogRecord>, BadRequest> {
    let mut decoded = Decoded::default();
    records(&parse(body)?, ["resourceLogs", "scopeLogs", "logRecords"], |resource, scope, record| {
        decoded.records.push(log(record, resource, scope));
    });
    Ok(decoded)
}

fn log(json: &Json, resource: &Resource, scope: &Text) -> LogRecord {
    let said = unsigned(json.get("timeUnixNano"));
    let mut attributes = attributes(json);
    resource.extend(&mut attributes, scope);
    let severity = match whole(json.get("severityNumber")) {
        Some(number) if number != 0 => Severity::from_number(i64::try_from(number).unwrap_or(0)),
        _ => Severity::from_word(&text(json, "severityText")).unwrap_or_default(),
    };
    LogRecord {
        time_ns: if said == 0 { unsigned(json.get("observedTimeUnixNano")) } else { said },
        service: resource.service.clone(),
        instance: resource.instance.clone(),
        severity,
        body: match json.get("body").and_then(value) {
            Some(Value::Text(text)) => text,
            Some(other) => other.as_text().as_ref().into(),
            None => Text::default(),
        },
        attributes,
        trace: trace_id(json),
        span: span_id(json, "spanId"),
    }
}

pub(super) fn metrics(body: &[u8]) -> Result<Decoded<MetricPoint>, BadRequest> {
    let mut decoded = Decoded::default();
    records(&parse(body)?, ["resourceMetrics", "scopeMetrics", "metrics"], |resource, _, record| {
        metric(record, resource, &mut decoded);
    });
    Ok(decoded)
}

fn metric(json: &Json, resource: &Resource, decoded: &mut Decoded<MetricPoint>) {
    let metric = Metric { name: text(json, "name"), unit: text(json, "unit") };
    for name in ["gauge", "sum", "histogram", "exponentialHistogram", "summary"] {
        let Some(data) = json.get(name) else { continue };
        let temporality = data.get("aggregationTemporality");
        let by_name = temporality.and_then(Json::as_str) == Some("AGGREGATION_TEMPORALITY_CUMULATIVE");
        let cumulative = by_name || unsigned(temporality) == 2;
        for point in list(data, "dataPoints") {
            let number = whole(point.get("asInt"))
                .map(|number| number as f64)
                .or_else(|| float(point.get("asDouble")));
            let value = match name {
                "gauge" => number.filter(|number| number.is_finite()).map(MetricValue::Gauge),
                "sum" => number
                    .filter(|number| number.is_finite())
                    .map(|number| sum(number, yes(data.get("isMonotonic")), cumulative)),
                "histogram" => histogram(point, cumulative),
                "exponentialHistogram" => Some(exponential(point, cumulative)),
                _ => {
                    decoded.reject(NO_QUANTILES);
                    continue;
                }
            };
            let time_ns = unsigned(point.get("timeUnixNano"));
            match value {
                _ if metric.name.is_empty() => decoded.reject(NO_NAME),
                Some(value) => {
                    decoded.records.push(metric.point(resource, attributes(point), time_ns, value));
                }
                None => decoded.reject(NO_NUMBER),
            }
        }
    }
}

fn histogram(point: &Json, cumulative: bool) -> Option<MetricValue> {
    let counts: Vec<u64> = list(point, "bucketCounts").iter().map(|count| unsigned(Some(count))).collect();
    let bounds: Vec<f64> =
        list(point, "explicitBounds").iter().filter_map(|bound| float(Some(bound))).collect();
    let sound = counts.is_empty() || counts.len() == bounds.len() + 1;
    let histogram = Histogram {
        cumulative,
        count: unsigned(point.get("count")),
        sum: float(point.get("sum")).unwrap_or(0.0),
        buckets: Buckets::Explicit { bounds, counts },
    };
    sound.then(|| MetricValue::Histogram(Box::new(histogram)))
}

fn exponential(point: &Json, cumulative: bool) -> MetricValue {
    let buckets = |name: &str| match point.get(name) {
        Some(buckets) => ExponentialBuckets {
            offset: signed(buckets.get("offset")),
            counts: list(buckets, "bucketCounts").iter().map(|count| unsigned(Some(count))).collect(),
        },
        None => ExponentialBuckets::default(),
    };
    let buckets = Buckets::Exponential {
        scale: signed(point.get("scale")),
        zero: unsigned(point.get("zeroCount")),
        positive: buckets("positive"),
        negative: buckets("negative"),
    };
    MetricValue::Histogram(Box::new(Histogram {
        cumulative,
        count: unsigned(point.get("count")),
        sum: float(point.get("sum")).unwrap_or(0.0),
        buckets,
    }))
}
