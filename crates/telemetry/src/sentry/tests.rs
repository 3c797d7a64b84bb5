//! What SDKs send, and what nobody should.

use proptest::prelude::*;

use super::*;
use crate::model::{SpanKind, Status};

fn sender() -> Sender {
    Sender { service: "orders".into(), instance: Text::default() }
}

const EVENT: &str = r#"{"event_id":"9EC79C33EC9942AB8353589FCB2E04DC","timestamp":"2023-11-14T22:13:20.5Z","level":"error",
"release":"shop@1.2","environment":"production","server_name":"orders-1","tags":{"region":"eu"},
"exception":{"values":[{"type":"OSError","value":"cause"},{"type":"ValueError","value":"no book 17","stacktrace":{"frames":[
{"function":"serve","module":"http.server","filename":"server.py","lineno":10,"in_app":false},
{"function":"place","module":"orders","filename":"orders.py","lineno":42,"in_app":true}]}}]},
"contexts":{"trace":{"trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","span_id":"00f067aa0ba902b7"}}}"#;

fn framed(items: &[(&str, &str, bool)]) -> Vec<u8> {
    let mut envelope =
        r#"{"event_id":"9ec79c33ec9942ab8353589fcb2e04dc","dsn":"http://x@localhost/1"}"#.to_owned();
    for (kind, payload, with_length) in items {
        let length = if *with_length { format!(r#","length":{}"#, payload.len()) } else { String::new() };
        envelope += &format!("\n{{\"type\":\"{kind}\"{length}}}\n{payload}");
    }
    envelope.into_bytes()
}

#[test]
fn an_event_is_an_error_with_all_that_is_known_of_it() {
    let envelope = envelope(&framed(&[("event", EVENT, true)]), &sender()).unwrap();
    assert_eq!(envelope.event_id.as_deref(), Some("9ec79c33ec9942ab8353589fcb2e04dc"));
    let event = &envelope.errors[0];
    assert_eq!((&*event.kind, &*event.value), ("ValueError", "no book 17"));
    assert_eq!(event.time_ns, 1_700_000_000_500_000_000);
    assert_eq!((&*event.service, &*event.instance), ("orders", "orders-1"));
    assert_eq!((&*event.release, &*event.environment), ("shop@1.2", "production"));
    assert_eq!(
        event.frames.iter().map(|f| (&*f.function, f.line, f.in_app)).collect::<Vec<_>>(),
        [("serve", 10, false), ("place", 42, true)]
    );
    assert_eq!(event.trace.unwrap().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
    assert!(event.attributes.contains(&("region".into(), Value::from("eu"))));
}

#[test]
fn what_is_compiled_for_a_service_is_not_its_own() {
    let event = r#"{"threads":{"values":[{"current":true,"stacktrace":{"frames":[
{"function":"shop::pay","filename":"pay.rs","abs_path":"/build/src/pay.rs","in_app":true},
{"function":"with_active","filename":"hub.rs","abs_path":"/home/me/.cargo/registry/src/index-1949cf8c6b5b557f/sentry-core-0.49.5/src/hub.rs","in_app":true},
{"function":"call","filename":"/rustc/5980/library/alloc/src/boxed.rs","in_app":true}]}}]}}"#;
    let envelope = envelope(&framed(&[("event", event, true)]), &sender()).unwrap();
    let own: Vec<_> = envelope.errors[0].frames.iter().map(|frame| frame.in_app).collect();
    assert_eq!(own, [true, false, false]);
}

#[test]
fn a_transaction_is_spans() {
    let transaction = r#"{"type":"transaction","transaction":"POST /orders","start_timestamp":1700000000.25,"timestamp":1700000000.75,
      "contexts":{"trace":{"trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","span_id":"00f067aa0ba902b7","op":"http.server","status":"internal_error"}},
      "spans":[{"trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","span_id":"00f067aa0ba902b8","parent_span_id":"00f067aa0ba902b7",
      "op":"db","description":"SELECT 1","start_timestamp":1700000000.3,"timestamp":1700000000.4,"status":"ok"}]}"#;
    let spans = envelope(&framed(&[("transaction", transaction, true)]), &sender()).unwrap().spans;
    assert_eq!(
        spans.iter().map(|s| (&*s.name, s.kind, s.duration_ns)).collect::<Vec<_>>(),
        [("POST /orders", SpanKind::Server, 500_000_000), ("SELECT 1", SpanKind::Internal, 100_000_000)]
    );
    assert_eq!(spans[0].status, Status::Error { message: "internal_error".into() });
    assert_eq!(spans[1].parent, Some(spans[0].span));
}

#[test]
fn items_with_and_without_length_follow_each_other_and_the_rest_is_counted() {
    let report = r#"{"discarded_events":[{"reason":"queue_overflow","category":"error","quantity":3}]}"#;
    let logs = r#"{"items":[{"timestamp":1700000000,"level":"warn","body":"slow","attributes":{"n":{"value":1,"type":"integer"}}}]}"#;
    let message = r#"{"message":"hello","level":"info"}"#;
    let envelope = envelope(
        &framed(&[
            ("attachment", "two\nlines", true),
            ("session", "{}", false),
            ("client_report", report, true),
            ("event", message, false),
            ("log", logs, false),
            ("check_in", "{}", false),
            ("event", "not json", false),
            ("replay_video", "x", true),
        ]),
        &sender(),
    )
    .unwrap();
    let counted: Vec<_> = envelope.counted.into_iter().collect();
    assert_eq!(
        counted,
        [("attachment", 1), ("check_in", 1), ("client_report", 1), ("other", 1), ("session", 1)]
    );
    assert_eq!((envelope.dropped_by_client, envelope.rejected), (3, 1));
    assert_eq!((&*envelope.errors[0].kind, &*envelope.errors[0].value), ("message", "hello"));
    assert_eq!((&*envelope.logs[0].body, envelope.logs[0].severity), ("slow", Severity::Warn));
}

#[test]
fn what_is_no_envelope_is_refused_and_says_why() {
    assert_eq!(envelope(b"", &sender()), Err(BadEnvelope::Header));
    assert_eq!(envelope(b"{}\nx", &sender()), Err(BadEnvelope::Item(1)));
    assert_eq!(envelope(b"{}\n{\"type\":\"event\",\"length\":9}\n{}", &sender()), Err(BadEnvelope::Torn(1)));
    assert_eq!(
        envelope(b"{}\n{\"type\":\"event\",\"length\":18446744073709551615}\n{}", &sender()),
        Err(BadEnvelope::Torn(1))
    );
    assert!(matches!(store(b"[]", &sender()), Err(BadEnvelope::Event(_))));
    assert_eq!(envelope(b"{}\n", &sender()).unwrap(), Envelope::default());
}

#[test]
fn a_lone_event_is_read_and_lenient_forms_too() {
    let envelope = store(
        br#"{"exception":[{"type":"E"}],"timestamp":"2023-11-14T22:13:20","tags":[["a","b"]]}"#,
        &sender(),
    )
    .unwrap();
    let event = &envelope.errors[0];
    assert_eq!((&*event.kind, event.time_ns), ("E", 1_700_000_000_000_000_000));
    assert_eq!(event.attributes, [("a".into(), Value::from("b"))]);
}

proptest! {
    #[test]
    fn wild_bytes_are_no_trouble(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = envelope(&bytes, &sender());
        let _ = store(&bytes, &sender());
    }

    #[test]
    fn a_damaged_envelope_is_no_trouble(at in 0usize..1_000, byte in any::<u8>(), cut in 0usize..1_200) {
        let mut bytes = framed(&[("event", EVENT, true), ("transaction", EVENT, false), ("log", EVENT, true)]);
        let at = at % bytes.len();
        bytes[at] = byte;
        bytes.truncate(bytes.len().saturating_sub(cut));
        let _ = envelope(&bytes, &sender());
    }
}
