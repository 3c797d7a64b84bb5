//! `telemetry`.

use std::time::Duration;

use kit::units::{Bytes, Share};

use super::{app, one_service, titles};
use crate::spec::{Compression, ExportProtocol, Telemetry};

fn with(section: &str) -> String {
    format!("{}{section}\n", one_service(""))
}

#[test]
fn it_is_on_with_defaults_where_the_file_says_nothing() {
    assert_eq!(app(&with("")).telemetry, Some(Telemetry::default()));
    assert_eq!(app(&with("telemetry: on")).telemetry, Some(Telemetry::default()));
    assert_eq!(app(&with("telemetry: off")).telemetry, None);
}

#[test]
fn what_it_says_holds() {
    let telemetry = app(&with(
        "telemetry: { grpc: 5317, http: 0.0.0.0:5318, keep: 2d, size: 1gb, sample: 10%, slow: 250ms }",
    ));
    let telemetry = telemetry.telemetry.unwrap();
    assert_eq!(telemetry.grpc.unwrap().to_string(), "127.0.0.1:5317");
    assert_eq!(telemetry.http.unwrap().to_string(), "0.0.0.0:5318");
    assert_eq!(telemetry.keep, Duration::from_secs(2 * 24 * 3600));
    assert_eq!(telemetry.size, Bytes(1 << 30));
    assert_eq!(telemetry.sample, Share::percent(10));
    assert_eq!(telemetry.slow, Duration::from_millis(250));
}

#[test]
fn others_may_ask_on_this_machine_or_with_a_token() {
    let query = |text: &str| app(&with(&format!("telemetry: {{ query: {text} }}"))).telemetry.unwrap().query;
    let here = query("9464").unwrap();
    assert_eq!((here.listen.to_string().as_str(), here.token), ("127.0.0.1:9464", None));
    let far = query("{ listen: \":9464\", token: 0123456789abcdef }").unwrap();
    assert_eq!(
        (far.listen.to_string().as_str(), far.token.as_deref()),
        ("[::]:9464", Some("0123456789abcdef"))
    );
    assert_eq!(app(&with("telemetry: {}")).telemetry.unwrap().query, None);
}

#[test]
fn what_is_kept_may_go_on() {
    let export =
        |text: &str| app(&with(&format!("telemetry: {{ export: {text} }}"))).telemetry.unwrap().export;
    let short = export("\"https://otlp.example\"").unwrap();
    assert_eq!(
        (short.protocol, short.traces, short.logs, short.metrics),
        (ExportProtocol::Http, true, true, true)
    );
    let packed = |more: &str| export(&format!("{{ endpoint: \"http://a\"{more} }}")).unwrap().compression;
    assert_eq!((packed(""), packed(", compression: none")), (Compression::Gzip, Compression::None));
    let long = export(
        "{ endpoint: \"http://a:4317\", protocol: grpc, headers: { key: \"x y\" }, signals: [traces] }",
    )
    .unwrap();
    assert_eq!((long.endpoint.as_str(), long.headers["key"].as_str()), ("http://a:4317", "x y"));
    assert_eq!(
        (long.protocol, long.traces, long.logs, long.metrics),
        (ExportProtocol::Grpc, true, false, false)
    );
}

#[test]
fn a_service_may_say_what_it_counts() {
    let metrics = |keys: &str| super::service(keys).metrics;
    assert_eq!(metrics(""), None);
    assert_eq!(metrics("metrics: /metrics").as_deref(), Some("/metrics"));
    assert!(!titles(&one_service("metrics: metrics")).is_empty());
}

#[test]
fn what_cannot_hold_is_a_fault() {
    for bad in [
        "keep: 10m",
        "size: 1mb",
        "size: -1",
        "sample: 200%",
        "slow: 0s",
        "grpc: nowhere",
        "grpc: 5000, http: 5000",
        "kept: 1h",
        "query: 0",
        "query: nowhere",
        "query: 0.0.0.0:9464",
        "query: { listen: 9464, token: short }",
        "query: { token: 0123456789abcdef }",
        "query: 9464, http: 9464",
        "export: nowhere",
        "export: { protocol: grpc }",
        "export: { endpoint: \"http://a\", protocol: http/json }",
        "export: { endpoint: \"http://a\", compression: zstd }",
        "export: { endpoint: \"http://a\", signals: [spans] }",
        "export: \"http://localhost:5000\", http: 5000",
        "export: { endpoint: \"http://[::1]:5000\", protocol: grpc }, grpc: 5000",
        "export: { endpoint: \"http://a\", headers: { \"a b\": c } }",
    ] {
        assert!(!titles(&with(&format!("telemetry: {{ {bad} }}"))).is_empty(), "{bad}");
    }
}
