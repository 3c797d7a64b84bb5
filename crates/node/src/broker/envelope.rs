//! A message as a CloudEvent (specification 1.0): in headers beside its body ("binary"), or several as JSON ("batch").

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use pipes::Delivery;
use serde_json::{Map, Value};

/// What kind of event a message of a queue is.
const TYPE: &str = "atoll.queue.message";

/// Puts what is known of a message into headers.
pub(crate) fn binary(queue: &str, message: &Delivery, headers: &mut HeaderMap) {
    let mut put = |name: &'static str, value: String| {
        // A group may have characters that a header cannot: it is then left out.
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    };
    put("ce-specversion", "1.0".into());
    put("ce-id", message.id.clone());
    put("ce-source", source(queue));
    put("ce-type", TYPE.into());
    put("ce-time", message.sent_at.to_string());
    put("ce-atollreceives", message.receives.to_string());
    if let Some(group) = &message.message.group {
        put("ce-partitionkey", group.clone());
    }
    if let Some(trace) = traceparent(message) {
        put("ce-traceparent", trace);
    }
}

/// Several messages as one body.
pub(crate) fn batch(queue: &str, messages: &[Delivery]) -> Bytes {
    let events: Vec<Value> = messages.iter().map(|message| event(queue, message)).collect();
    serde_json::to_vec(&events).unwrap_or_default().into() // values always encode
}

fn event(queue: &str, message: &Delivery) -> Value {
    let mut event = Map::new();
    let mut put = |name: &str, value: Value| {
        event.insert(name.to_owned(), value);
    };
    put("specversion", "1.0".into());
    put("id", message.id.clone().into());
    put("source", source(queue).into());
    put("type", TYPE.into());
    put("time", message.sent_at.to_string().into());
    put("atollreceives", message.receives.into());
    if let Some(group) = &message.message.group {
        put("partitionkey", group.clone().into());
    }
    if let Some(trace) = traceparent(message) {
        put("traceparent", trace.into());
    }
    let body = &message.message.body;
    match (serde_json::from_slice::<Value>(body), std::str::from_utf8(body)) {
        (Ok(json), _) => {
            put("datacontenttype", "application/json".into());
            put("data", json);
        }
        (Err(_), Ok(text)) => {
            put("datacontenttype", "text/plain".into());
            put("data", text.into());
        }
        (Err(_), Err(_)) => put("data_base64", STANDARD.encode(body).into()),
    }
    event.into()
}

fn source(queue: &str) -> String {
    format!("/queues/{queue}")
}

/// Where it stands in a trace by whoever sent it (the extension for distributed tracing). The request that brings it is
/// a span of its own, and says so in a header of its own.
fn traceparent(message: &Delivery) -> Option<String> {
    message.message.context()?.to_w3c()
}

#[cfg(test)]
mod tests {
    use super::*;
    use kit::Timestamp;
    use pipes::{Outgoing, Receipt};

    fn message(body: &'static [u8]) -> Delivery {
        let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        Delivery {
            id: "7b".into(),
            receipt: Receipt { shard: 1, sequence: 2, receives: 3 },
            message: Outgoing {
                body: Bytes::from_static(body),
                trace: Some(trace.into()),
                group: Some("a\nb".into()),
                ..Outgoing::default()
            },
            sequence: None,
            sent_at: Timestamp::from_micros(0),
            first_received_at: Timestamp::from_micros(1),
            received_at: Timestamp::from_micros(2),
            receives: 3,
        }
    }

    #[test]
    fn one_message_keeps_its_body_and_has_its_facts_beside_it() {
        let mut headers = HeaderMap::new();
        binary("jobs", &message(b"hello"), &mut headers);
        for (name, value) in [
            ("ce-specversion", "1.0"),
            ("ce-id", "7b"),
            ("ce-source", "/queues/jobs"),
            ("ce-time", "1970-01-01T00:00:00.000000Z"),
            ("ce-atollreceives", "3"),
            ("ce-traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ] {
            assert_eq!(headers[name], value, "{name}");
        }
        assert!(!headers.contains_key("ce-partitionkey"), "it would end the line");
    }

    #[test]
    fn a_batch_has_json_text_and_bytes_each_as_what_it_is() {
        let messages = [message(br#"{"a":1}"#), message(b"hello"), message(b"\xff\x00")];
        let events: Vec<Value> = serde_json::from_slice(&batch("jobs", &messages)).unwrap();
        assert_eq!(events[0]["data"]["a"], 1);
        assert_eq!(events[1]["data"], "hello");
        assert_eq!(events[2]["data_base64"], "/wA=");
        assert_eq!(events[2]["partitionkey"], "a\nb");
    }
}
