//! OTLP is read as its own schema says, as protobuf and as JSON; wild bytes are no trouble.

#![allow(missing_docs, clippy::unwrap_used)] // helpers of tests may fail loudly

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList, any_value,
};
use opentelemetry_proto::tonic::logs::v1 as logs;
use opentelemetry_proto::tonic::metrics::v1 as metrics;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1 as trace;
use proptest::prelude::*;
use prost::Message;
use telemetry::model::{Buckets, MetricValue, Severity, SpanKind, Status, Value};
use telemetry::otlp::{self, Encoding, Signal};

const TIME: u64 = 1_700_000_000_000_000_000;

fn say(value: any_value::Value) -> AnyValue {
    AnyValue { value: Some(value) }
}

fn text(key: &str, value: &str) -> KeyValue {
    pair(key, any_value::Value::StringValue(value.to_owned()))
}

fn pair(key: &str, value: any_value::Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(say(value)), ..KeyValue::default() }
}

fn resource() -> Option<Resource> {
    let attributes =
        vec![text("service.name", "shop"), text("service.instance.id", "shop-1"), text("process.pid", "7")];
    Some(Resource { attributes, ..Resource::default() })
}

fn scope() -> Option<InstrumentationScope> {
    Some(InstrumentationScope { name: "lib".to_owned(), ..InstrumentationScope::default() })
}

fn traces() -> ExportTraceServiceRequest {
    let attributes = vec![
        text("http.request.method", "GET"),
        pair("n", any_value::Value::IntValue(-5)),
        pair("f", any_value::Value::DoubleValue(0.5)),
        pair("yes", any_value::Value::BoolValue(true)),
        pair("raw", any_value::Value::BytesValue(vec![1, 2, 3, 255])),
        pair(
            "list",
            any_value::Value::ArrayValue(ArrayValue { values: vec![say(any_value::Value::IntValue(1))] }),
        ),
        pair("map", any_value::Value::KvlistValue(KeyValueList { values: vec![text("a", "b")] })),
    ];
    let span = trace::Span {
        trace_id: vec![1; 16],
        span_id: vec![2; 8],
        parent_span_id: vec![3; 8],
        name: "GET /books".to_owned(),
        kind: 2,
        start_time_unix_nano: TIME,
        end_time_unix_nano: TIME + 1_500,
        attributes,
        events: vec![trace::span::Event {
            time_unix_nano: TIME + 1,
            name: "retry".to_owned(),
            attributes: vec![text("why", "x")],
            ..Default::default()
        }],
        links: vec![trace::span::Link { trace_id: vec![4; 16], span_id: vec![5; 8], ..Default::default() }],
        status: Some(trace::Status { message: "broken".to_owned(), code: 2 }),
        ..Default::default()
    };
    let bad = trace::Span { trace_id: vec![0; 16], ..span.clone() };
    let scope_spans =
        vec![trace::ScopeSpans { scope: scope(), spans: vec![span, bad], ..Default::default() }];
    let resource_spans =
        vec![trace::ResourceSpans { resource: resource(), scope_spans, ..Default::default() }];
    ExportTraceServiceRequest { resource_spans }
}

#[test]
fn spans_are_read_as_the_schema_says_in_both_encodings() {
    let request = traces();
    let binary = otlp::traces(Encoding::Protobuf, &request.encode_to_vec()).unwrap();
    assert_eq!((binary.records.len(), binary.rejected), (1, 1));
    let span = &binary.records[0];
    assert_eq!((span.trace.0, span.span.0, span.parent.unwrap().0), ([1; 16], [2; 8], [3; 8]));
    assert_eq!((&*span.service, &*span.name, span.kind), ("shop", "GET /books", SpanKind::Server));
    assert_eq!((span.start_ns, span.duration_ns), (TIME, 1_500));
    assert_eq!(span.status, Status::Error { message: "broken".into() });
    let of =
        |key: &str| span.attributes.iter().find(|(other, _)| *other == key).map(|(_, value)| value.clone());
    assert_eq!(of("n"), Some(Value::Int(-5)));
    assert_eq!(of("list"), Some(Value::List(vec![Value::Int(1)])));
    assert_eq!(of("map"), Some(Value::Map(vec![("a".into(), Value::from("b"))])));
    assert_eq!(of("otel.scope.name"), Some(Value::from("lib")));
    assert_eq!(of("service.instance.id"), Some(Value::from("shop-1")));
    assert_eq!(of("process.pid"), None);
    assert_eq!((&*span.events[0].name, span.links[0].span.0), ("retry", [5; 8]));
    let json = otlp::traces(Encoding::Json, &serde_json::to_vec(&request).unwrap()).unwrap();
    assert_eq!(json.rejected, 1);
    let with_bytes = |span: &telemetry::model::Span| span.attributes.len();
    assert_eq!(
        (json.records[0].start_ns, json.records[0].duration_ns, json.records[0].kind),
        (TIME, 1_500, SpanKind::Server)
    );
    assert_eq!(json.records[0].trace, span.trace);
    assert_eq!(with_bytes(&json.records[0]), with_bytes(span));
    assert_eq!(json.records[0].events, span.events);
}

#[test]
fn json_as_the_specification_prints_it_is_read() {
    let body = br#"{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"my.service"}}]},
      "scopeSpans":[{"scope":{"name":"my.library"},"spans":[{"traceId":"5B8EFFF798038103D269B633813FC60C","spanId":"EEE19B7EC3C1B174",
      "parentSpanId":"EEE19B7EC3C1B173","name":"I'm a server span","startTimeUnixNano":"1544712660000000000",
      "endTimeUnixNano":"1544712661000000000","kind":2,"attributes":[{"key":"my.span.attr","value":{"stringValue":"some value"}},
      {"key":"raw","value":{"bytesValue":"AQID/w=="}}]}]}]}]}"#;
    let decoded = otlp::traces(Encoding::Json, body).unwrap();
    let span = &decoded.records[0];
    assert_eq!(span.trace.to_string(), "5b8efff798038103d269b633813fc60c");
    assert_eq!((&*span.service, span.duration_ns), ("my.service", 1_000_000_000));
    assert!(span.attributes.contains(&("raw".into(), Value::Bytes(vec![1, 2, 3, 255]))));
}

#[test]
fn log_records_are_read_in_both_encodings() {
    let record = logs::LogRecord {
        observed_time_unix_nano: TIME,
        severity_number: 17,
        body: Some(say(any_value::Value::StringValue("no book".to_owned()))),
        attributes: vec![text("user", "x")],
        trace_id: vec![1; 16],
        span_id: vec![2; 8],
        ..Default::default()
    };
    let scope_logs = vec![logs::ScopeLogs { scope: None, log_records: vec![record], ..Default::default() }];
    let resource_logs = vec![logs::ResourceLogs { resource: resource(), scope_logs, ..Default::default() }];
    let request = ExportLogsServiceRequest { resource_logs };
    let binary = otlp::logs(Encoding::Protobuf, &request.encode_to_vec()).unwrap();
    let json = otlp::logs(Encoding::Json, &serde_json::to_vec(&request).unwrap()).unwrap();
    assert_eq!(binary, json);
    let record = &binary.records[0];
    assert_eq!((record.time_ns, record.severity, &*record.body), (TIME, Severity::Error, "no book"));
    assert_eq!((&*record.service, &*record.instance), ("shop", "shop-1"));
    assert_eq!(record.trace.unwrap().0, [1; 16]);
}

#[test]
fn numbers_are_read_in_both_encodings() {
    use metrics::metric::Data;
    let number = |value| metrics::NumberDataPoint {
        attributes: vec![text("route", "/")],
        time_unix_nano: TIME,
        value: Some(value),
        ..Default::default()
    };
    let int = metrics::number_data_point::Value::AsInt;
    let double = metrics::number_data_point::Value::AsDouble;
    let histogram = metrics::HistogramDataPoint {
        time_unix_nano: TIME,
        count: 3,
        sum: Some(6.5),
        bucket_counts: vec![1, 2],
        explicit_bounds: vec![2.0],
        ..Default::default()
    };
    let exponential = metrics::ExponentialHistogramDataPoint {
        time_unix_nano: TIME,
        count: 3,
        scale: -2,
        zero_count: 1,
        positive: Some(metrics::exponential_histogram_data_point::Buckets {
            offset: -3,
            bucket_counts: vec![1, 1],
        }),
        ..Default::default()
    };
    let all = vec![
        Data::Gauge(metrics::Gauge { data_points: vec![number(double(0.5)), number(double(f64::NAN))] }),
        Data::Sum(metrics::Sum {
            data_points: vec![number(int(-7))],
            aggregation_temporality: 2,
            is_monotonic: true,
        }),
        Data::Histogram(metrics::Histogram { data_points: vec![histogram], aggregation_temporality: 1 }),
        Data::ExponentialHistogram(metrics::ExponentialHistogram {
            data_points: vec![exponential],
            aggregation_temporality: 2,
        }),
        Data::Summary(metrics::Summary { data_points: vec![metrics::SummaryDataPoint::default()] }),
    ];
    let metric = |data| metrics::Metric {
        name: "m".to_owned(),
        unit: "s".to_owned(),
        data: Some(data),
        ..Default::default()
    };
    let scope_metrics = vec![metrics::ScopeMetrics {
        scope: None,
        metrics: all.into_iter().map(metric).collect(),
        ..Default::default()
    }];
    let resource_metrics =
        vec![metrics::ResourceMetrics { resource: resource(), scope_metrics, ..Default::default() }];
    let request = ExportMetricsServiceRequest { resource_metrics };
    let binary = otlp::metrics(Encoding::Protobuf, &request.encode_to_vec()).unwrap();
    assert_eq!(binary.rejected, 2);
    let values: Vec<_> = binary.records.iter().map(|point| &point.value).collect();
    assert_eq!((values[0], values[1]), (&MetricValue::Gauge(0.5), &MetricValue::Counter(-7.0)));
    let MetricValue::Histogram(explicit) = values[2] else { panic!("a histogram") };
    assert_eq!(explicit.buckets, Buckets::Explicit { bounds: vec![2.0], counts: vec![1, 2] });
    assert!(!explicit.cumulative);
    let MetricValue::Histogram(exponential) = values[3] else { panic!("a histogram") };
    let Buckets::Exponential { scale, zero, positive, .. } = &exponential.buckets else {
        panic!("exponential")
    };
    assert_eq!((*scale, *zero, positive.offset, &*positive.counts), (-2, 1, -3, &[1, 1][..]));
    let labels: Vec<_> = binary.records[0].labels.iter().map(|(key, value)| (&**key, &**value)).collect();
    assert_eq!(labels, [("service", "shop"), ("instance", "shop-1"), ("route", "/")]);
    let json = otlp::metrics(Encoding::Json, &serde_json::to_vec(&request).unwrap()).unwrap();
    assert_eq!(json.records, binary.records);
}

#[test]
fn an_answer_says_what_was_not_taken() {
    let body = otlp::answer(Encoding::Protobuf, Signal::Traces, 3, "no ids");
    let partial = ExportTraceServiceResponse::decode(&*body).unwrap().partial_success.unwrap();
    assert_eq!((partial.rejected_spans, &*partial.error_message), (3, "no ids"));
    let body = otlp::answer(Encoding::Json, Signal::Traces, 3, "no ids");
    let partial = serde_json::from_slice::<serde_json::Value>(&body).unwrap();
    assert_eq!(partial["partialSuccess"]["rejectedSpans"], "3");
    assert_eq!(otlp::answer(Encoding::Protobuf, Signal::Logs, 0, ""), b"");
}

#[test]
fn what_is_no_request_is_refused() {
    assert!(otlp::traces(Encoding::Json, b"[]").is_err());
    assert!(otlp::traces(Encoding::Protobuf, b"\x0a\xff").is_err());
    let mut deep = vec![];
    for _ in 0..40 {
        let mut list = vec![0x0a];
        prost::encode_length_delimiter(deep.len(), &mut list).unwrap();
        list.extend(&deep);
        deep = vec![0x2a];
        prost::encode_length_delimiter(list.len(), &mut deep).unwrap();
        deep.extend(list);
    }
    let mut wrapped = deep;
    for tag in [0x12, 0x32, 0x12, 0x12, 0x0a] {
        let mut outer = vec![tag];
        prost::encode_length_delimiter(wrapped.len(), &mut outer).unwrap();
        outer.extend(wrapped);
        wrapped = outer;
    }
    assert!(otlp::logs(Encoding::Protobuf, &wrapped).is_err(), "lists forty deep");
}

fn fuzz(bytes: &[u8]) {
    for encoding in [Encoding::Protobuf, Encoding::Json] {
        let _ = otlp::traces(encoding, bytes);
        let _ = otlp::logs(encoding, bytes);
        let _ = otlp::metrics(encoding, bytes);
    }
}

proptest! {
    #[test]
    fn wild_bytes_are_no_trouble(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        fuzz(&bytes);
    }

    #[test]
    fn damaged_requests_are_no_trouble(at in 0usize..10_000, byte in any::<u8>(), cut in 0usize..300, json in any::<bool>()) {
        let mut bytes = if json { serde_json::to_vec(&traces()).unwrap() } else { traces().encode_to_vec() };
        let at = at % bytes.len();
        bytes[at] = byte;
        bytes.truncate(bytes.len().saturating_sub(cut));
        fuzz(&bytes);
    }
}
