//! An event: an error, or a message.

use serde_json::Value as Json;

use super::Sender;
use crate::model::{ErrorEvent, Frame, Text, Value, is_of_cargo};

/// What an event is that has no exception.
const MESSAGE: Text = Text::from_static("message");

/// An event; none if it is no object.
pub(super) fn event(json: &Json, sender: &Sender) -> Option<ErrorEvent> {
    json.as_object()?;
    let exception = thrown(json);
    let frames = exception.and_then(|e| e.get("stacktrace")).or_else(|| stack_of_thread(json)).map(frames);
    let message = || {
        let entry = json.get("logentry").or_else(|| json.get("message"))?;
        entry.as_str().or_else(|| text(entry, "formatted")).or_else(|| text(entry, "message"))
    };
    let trace = json.get("contexts").and_then(|contexts| contexts.get("trace"));
    let id = |name: &str| trace.and_then(|trace| text(trace, name));
    Some(ErrorEvent {
        id: text(json, "event_id").and_then(plain_id).unwrap_or_default().into(),
        time_ns: json.get("timestamp").and_then(time_ns).unwrap_or(0),
        service: sender.service.clone(),
        instance: if sender.instance.is_empty() {
            owned(text(json, "server_name"))
        } else {
            sender.instance.clone()
        },
        kind: exception.map_or(MESSAGE, |exception| owned(text(exception, "type"))),
        value: owned(exception.and_then(|exception| text(exception, "value")).or_else(message)),
        frames: frames.unwrap_or_default(),
        release: owned(text(json, "release")),
        environment: owned(text(json, "environment")),
        fingerprint: list(json, "fingerprint").iter().filter_map(Json::as_str).map(Text::from).collect(),
        trace: id("trace_id").and_then(|id| id.parse().ok()),
        span: id("span_id").and_then(|id| id.parse().ok()),
        attributes: attributes(json),
    })
}

/// The exception that was thrown last: the causes stand before it. Old SDKs send a list, or a lone one.
fn thrown(json: &Json) -> Option<&Json> {
    let exception = json.get("exception")?;
    let values = exception.get("values").unwrap_or(exception);
    match values {
        Json::Array(all) => all.iter().rev().find(|one| one.is_object()),
        Json::Object(_) => Some(values),
        _ => None,
    }
}

/// The stack of the thread that the event is about.
fn stack_of_thread(json: &Json) -> Option<&Json> {
    let threads = json.get("threads")?;
    let threads = threads.get("values").unwrap_or(threads).as_array()?;
    let about =
        |flag: &str| threads.iter().find(|thread| thread.get(flag).and_then(Json::as_bool) == Some(true));
    about("crashed").or_else(|| about("current")).or(threads.first())?.get("stacktrace")
}

fn frames(stacktrace: &Json) -> Vec<Frame> {
    let frame = |json: &Json| Frame {
        function: owned(text(json, "function")),
        module: owned(text(json, "module")),
        file: owned(text(json, "filename").or_else(|| text(json, "abs_path"))),
        line: json
            .get("lineno")
            .and_then(Json::as_u64)
            .and_then(|line| u32::try_from(line).ok())
            .unwrap_or(0),
        in_app: json.get("in_app").and_then(Json::as_bool).unwrap_or(false) && !is_of_a_dependency(json),
    };
    list(stacktrace, "frames").iter().filter(|json| json.is_object()).map(frame).collect()
}

/// The SDK of Rust takes whatever is compiled for the service's own, itself included: crates from a registry or from a repository,
/// and the standard library.
fn is_of_a_dependency(frame: &Json) -> bool {
    let path = text(frame, "abs_path").or_else(|| text(frame, "filename")).unwrap_or_default();
    is_of_cargo(path) || path.contains("/rustc/")
}

/// What else came with it: level, logger, transaction, tags, who the user is, what was added by hand.
fn attributes(json: &Json) -> Vec<(Text, Value)> {
    let mut attributes = Vec::new();
    for name in ["level", "logger", "transaction", "platform"] {
        if let Some(said) = text(json, name) {
            attributes.push((Text::from_static(name), Value::from(said)));
        }
    }
    match json.get("tags") {
        Some(Json::Object(tags)) => {
            for (key, value) in tags {
                attributes.extend(Some(key.as_str().into()).zip(Value::from_json(value.clone())));
            }
        }
        Some(Json::Array(tags)) => {
            for tag in tags {
                if let (Some(key), Some(value)) = (tag.get(0).and_then(Json::as_str), tag.get(1)) {
                    attributes.extend(Some(key.into()).zip(Value::from_json(value.clone())));
                }
            }
        }
        _ => {}
    }
    for (prefix, name) in [("user.", "user"), ("extra.", "extra")] {
        for (key, value) in json.get(name).and_then(Json::as_object).into_iter().flatten() {
            attributes.extend(Some(format!("{prefix}{key}").into()).zip(Value::from_json(value.clone())));
        }
    }
    attributes
}

/// A time as RFC 3339 or as seconds since the Unix epoch.
pub(super) fn time_ns(json: &Json) -> Option<u64> {
    match json {
        Json::String(text) => {
            let moment = text.parse::<jiff::Timestamp>().ok().or_else(|| {
                // Old SDKs leave out that it is UTC.
                let moment: jiff::civil::DateTime = text.parse().ok()?;
                moment.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
            })?;
            u64::try_from(moment.as_nanosecond()).ok()
        }
        Json::Number(seconds) => {
            let seconds = seconds.as_f64().filter(|seconds| *seconds > 0.0)?;
            // Whole microseconds: a floating point number of today's seconds knows no finer ones.
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "above zero; too large is the largest"
            )]
            Some(((seconds * 1e6).round() as u64).saturating_mul(1_000))
        }
        _ => None,
    }
}

/// An id of an event as 32 hexadecimal digits, which some SDKs write with dashes.
pub(super) fn plain_id(text: &str) -> Option<String> {
    let id = text.replace('-', "").to_ascii_lowercase();
    (id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(id)
}

pub(super) fn text<'j>(json: &'j Json, name: &str) -> Option<&'j str> {
    json.get(name)?.as_str()
}

pub(super) fn list<'j>(json: &'j Json, name: &str) -> &'j [Json] {
    json.get(name).and_then(Json::as_array).map_or(&[], Vec::as_slice)
}

pub(super) fn owned(text: Option<&str>) -> Text {
    text.map(Text::from).unwrap_or_default()
}
