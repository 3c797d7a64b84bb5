//! What Sentry's SDKs send: envelopes, and the lone events of old ones. Events become errors, transactions become spans, logs
//! become log records; sessions, check-ins, attachments and reports of clients are counted.
//!
//! Read leniently: a field that is not what it should be is passed over, an item that cannot be read is counted.

mod event;
mod transaction;

use std::collections::BTreeMap;

use serde_json::Value as Json;

use crate::model::{ErrorEvent, LogRecord, Severity, Span, Text, Value};

/// Items of an envelope, at most; SDKs send a handful.
const MOST_ITEMS: usize = 1_000;

/// Who sends, as far as the listener knows: by the key or the project of its `SENTRY_DSN`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sender {
    /// The service.
    pub service: Text,
    /// The instance; empty where that is not known.
    pub instance: Text,
}

/// What an envelope brought.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Envelope {
    /// Its id, which the answer repeats: 32 hexadecimal digits.
    pub event_id: Option<String>,
    /// Errors and messages.
    pub errors: Vec<ErrorEvent>,
    /// Spans of transactions.
    pub spans: Vec<Span>,
    /// Log records.
    pub logs: Vec<LogRecord>,
    /// Other items by what they are: `session`, `check_in`, `attachment`, `client_report`, `other`.
    pub counted: BTreeMap<&'static str, u64>,
    /// Items that could not be read.
    pub rejected: u64,
    /// Events that the client says it has dropped itself.
    pub dropped_by_client: u64,
}

/// What was sent cannot be read, and never will be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadEnvelope {
    /// The first line is no header.
    #[error("this is no envelope: its first line is not a JSON object")]
    Header,
    /// The header of an item is none.
    #[error("this is no envelope: the header of item {0} is not a JSON object with a `type`")]
    Item(usize),
    /// An item is longer than what is left.
    #[error("this envelope is torn: item {0} says that it is longer than what is left")]
    Torn(usize),
    /// A lone event is none.
    #[error("this is no event: {0}")]
    Event(String),
}

/// Reads an envelope, unpacked. What came before it broke off is not kept: clients send it again whole, or never.
pub fn envelope(body: &[u8], sender: &Sender) -> Result<Envelope, BadEnvelope> {
    let (header, mut rest) = line(body);
    let header = object(header).ok_or(BadEnvelope::Header)?;
    let event_id = header.get("event_id").and_then(Json::as_str).and_then(event::plain_id);
    let mut envelope = Envelope { event_id, ..Envelope::default() };
    for number in 1..=MOST_ITEMS {
        rest = rest.trim_ascii_start();
        if rest.is_empty() {
            break;
        }
        let (header, after) = line(rest);
        let header = object(header).ok_or(BadEnvelope::Item(number))?;
        let kind = header.get("type").and_then(Json::as_str).ok_or(BadEnvelope::Item(number))?;
        let length = header.get("length").and_then(Json::as_u64).map(usize::try_from);
        let (payload, after) = match length {
            Some(length) => {
                let length = length.map_err(|_| BadEnvelope::Torn(number))?;
                after.split_at_checked(length).ok_or(BadEnvelope::Torn(number))?
            }
            None => line(after),
        };
        rest = after;
        item(kind, payload, sender, &mut envelope);
    }
    Ok(envelope)
}

/// Reads a lone event (`/store/`), unpacked.
pub fn store(body: &[u8], sender: &Sender) -> Result<Envelope, BadEnvelope> {
    let json: Json = serde_json::from_slice(body).map_err(|error| BadEnvelope::Event(error.to_string()))?;
    let event = event::event(&json, sender)
        .ok_or_else(|| BadEnvelope::Event("it is JSON, but no object".to_owned()))?;
    let event_id = (!event.id.is_empty()).then(|| event.id.to_string());
    Ok(Envelope { event_id, errors: vec![event], ..Envelope::default() })
}

fn item(kind: &str, payload: &[u8], sender: &Sender, envelope: &mut Envelope) {
    let json = || serde_json::from_slice::<Json>(payload).ok();
    let read = match kind {
        "event" => {
            json().and_then(|json| event::event(&json, sender)).map(|event| envelope.errors.push(event))
        }
        "transaction" => json()
            .and_then(|json| transaction::transaction(&json, sender))
            .map(|spans| envelope.spans.extend(spans)),
        "log" => json().map(|json| {
            let items = json.get("items").and_then(Json::as_array).map_or(&[][..], Vec::as_slice);
            envelope.logs.extend(items.iter().map(|item| log(item, sender)));
        }),
        "client_report" => json().map(|json| {
            let dropped = json.get("discarded_events").and_then(Json::as_array);
            let counts = dropped.into_iter().flatten().filter_map(|one| one.get("quantity")?.as_u64());
            envelope.dropped_by_client = counts.fold(envelope.dropped_by_client, u64::saturating_add);
            count(envelope, "client_report");
        }),
        "session" | "sessions" => {
            count(envelope, "session");
            Some(())
        }
        "check_in" => {
            count(envelope, "check_in");
            Some(())
        }
        "attachment" => {
            count(envelope, "attachment");
            Some(())
        }
        _ => {
            count(envelope, "other");
            Some(())
        }
    };
    if read.is_none() {
        envelope.rejected += 1;
    }
}

fn count(envelope: &mut Envelope, what: &'static str) {
    *envelope.counted.entry(what).or_default() += 1;
}

fn log(item: &Json, sender: &Sender) -> LogRecord {
    let text = |name: &str| item.get(name).and_then(Json::as_str);
    let attributes = item.get("attributes").and_then(Json::as_object).into_iter().flatten();
    LogRecord {
        time_ns: item.get("timestamp").and_then(event::time_ns).unwrap_or(0),
        service: sender.service.clone(),
        instance: sender.instance.clone(),
        severity: text("level").and_then(Severity::from_word).unwrap_or_default(),
        body: text("body").unwrap_or_default().into(),
        attributes: attributes
            .filter_map(|(key, value)| {
                Some((key.as_str().into(), Value::from_json(value.get("value")?.clone())?))
            })
            .collect(),
        trace: text("trace_id").and_then(|id| id.parse().ok()),
        span: text("span_id").and_then(|id| id.parse().ok()),
    }
}

/// The first line, and what follows it.
fn line(bytes: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memchr(b'\n', bytes) {
        Some(at) => (&bytes[..at], &bytes[at + 1..]),
        None => (bytes, &[]),
    }
}

fn object(bytes: &[u8]) -> Option<serde_json::Map<String, Json>> {
    serde_json::from_slice(bytes).ok()
}

#[cfg(test)]
mod tests;
