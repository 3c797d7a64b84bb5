//! What is written out reads back as the same app.

use std::path::Path;

use proptest::prelude::*;

use super::{loaded, one_service, request};
use crate::{Loaded, load, parse_resolved, render_json, render_yaml, report};

fn again(loaded: &Loaded) -> Loaded {
    parse_resolved(&render_yaml(&loaded.file), Path::new("/elsewhere/state/app.yaml"))
}

/// A file with a bit of everything.
pub(crate) const WHOLE: &str = r#"
name: shop
x-team: { a: [1, 2.5, "3", true, null] }
gateway:
  listen: [8080, "0.0.0.0:81", { address: 8443, tls: true }]
  tls: [{ cert: tls/shop.pem, key: ../shop.key }, development, { development: [shop.localhost, 10.0.0.5] }]
  auth:
    customer: { jwt: { jwks: keys.json, issuer: "https://id.example", audience: bookshop, leeway: 5s } }
    partner: { jwt: { key: ./partner.pem, audience: [a, b] } }
    tool: { jwt: { secret: /run/secret } }
  limits: { connections: 500, header_bytes: 8k, headers: 50, body_bytes: -1, streams: 10, header_read: 3s, idle: 1m }
  timeout: 4s
  limit: 100/s
  retry: 2
  breaker: { errors: 25%, slow: { over: 2s, share: 12.5% } }
  bulkhead: 64
  access_log: off
  server_timing: no
pipes: { listen: "0.0.0.0:4567", access: enforce, engine: redb, credentials: short }
telemetry: { grpc: 14317, http: ":14318", query: { listen: 19464, token: 0123456789abcdef }, export: { endpoint: "http://127.0.0.1:1", protocol: grpc, compression: none, headers: { a: "$$b" }, signals: [logs] }, alerts: { webhook: "http://127.0.0.1:1/x", topic: ledger, mail: { server: "127.0.0.1:2525", tls: off, user: u, password: "$$p", from: "Atoll <a@b.example>", to: [c@d.example] }, rules: { few: { ask: "up{service=\"a\"} < 1", hold: 5m } } }, keep: 2d, size: 1gb, sample: 12.5%, slow: 250ms }
console: { listen: ":4001" }
services:
  catalog:
    slo: { availability: 99.95%, latency: "99% < 100ms", window: 7d }
    measures: { revenue: { field: amount, text: order placed } }
    topics: [book-added, ledger]
    queues:
      restock:
      prices: { from: book-added, deliver: /prices, dead_letter: 3 }
      audit:
        from:
          - catalog/book-added
          - { topic: ledger, filter: { kind: paid, "$or": [{ total: [{ numeric: [">=", 1.5, "<", 100] }] }, { note: ["$$x", null, true, 3] }] } }
          - { topic: recommendations/seen, filter: { book: { price: [{ numeric: ["=", 0] }] } }, filter_scope: body, raw: true }
        visibility: 1m30s
        delay: 5s
        retention: 14d
        max_message: 64k
        wait: 20s
        dead_letter: { after: 3, to: recommendations/failed }
        deliver: { to: PUT /audit?a=b, concurrency: 2, batch: 10, timeout: 1500ms }
        allow: { recommendations: [send, receive], db: manage }
    prepare: cargo build -p "catalog" && echo $$HOME
    command: target/catalog --name 'a b' "$$x"
    environment: { A: "$${B}", MULTI: "one\ntwo\t\u2028 x", EMPTY: "", COLON: "a: b # c", NO: "no", NUM: "0x10" }
    healthcheck: { http: /healthz, interval: 1s500ms }
    metrics: /metrics?all=1
    routes:
      - GET /books: { cache: 5s }
      - GET|POST /books/{id}: { host: "*.example.com", headers: { x-a: , x-b: "1" }, timeout: 2s }
      - /files/{*path}: { strip_prefix: /files, auth: customer, limit: off, priority: low, adaptive: false }
      - GET /a: { limit: [20/s per user, { rate: 1/10s, burst: 5, per: header X-Key }], fallback: { stale: 10m } }
      - GET /b: { retry: { attempts: 2, per_try: 1s, backoff: 10ms, budget: 10%, statuses: [503], any_method: true } }
      - GET /c: { fallback: { status: 503, headers: { content-type: text/plain, a: "1" }, body: "${HOME:-}$$ sorry\n" } }
      - GET /d: { hedge: 50ms, breaker: off, bulkhead: { concurrency: 8, queue: 0 }, adaptive: { max: 20 } }
      - GET /e: { fault: [{ share: 10%, headers: { x-a: }, delay: 1s, abort: 503 }, { truncate: 1k }] }
      - GET /f: { split: { to: recommendations, share: 0.5%, headers: { x-b: "1" }, cookies: { c: , d: e } } }
      - GET /g: { mirror: recommendations, hedge: { after: 1s }, fallback: { path: "/a?b=c" }, idempotent: yes }
    calls:
      recommendations:
        timeout: 150ms
        retry: off
        fallback: { from: catalog, path: /popular }
        limit: 5/m
        split: [{ to: catalog, share: 1% }, { to: catalog, share: 99% }]
        mirror: { to: catalog, share: 1% }
        breaker: { slow: 1s, of: 5, window: 5s, open: 1s, probes: 1 }
        priority: critical
        adaptive: on
    protocol: h2
    balance: { hash: { cookie: session }, slow_start: 10s, panic: 20%, outlier: { failures: 2, eject: 1s } }
    scale: { min: 1, max: 6, target: { concurrency: 32 }, predict: true }
    ulimits: { nofile: { soft: 5, hard: -1 }, core: 0 }
    labels: [a=b, c]
    stop_grace_period: 1m
    mem_limit: 64m
    depends_on: { recommendations: { condition: service_healthy, restart: true } }
  recommendations:
    topics: { seen: { allow: [catalog] }, ordered: { fifo: { dedup: content, scope: group }, allow: { catalog: [subscribe, manage], off: } } }
    queues:
      failed: { allow: [catalog] }
      ordered: { from: ordered, fifo: true, dead_letter: off }
      each: { from: ordered, fifo: { dedup: content, scope: group } }
    protocol: grpc
    balance: least-request
    entrypoint: [python3]
    command: ["-c", "print('$$')"]
    healthcheck: { test: "exit 0" }
    restart: on-failure:3
    logging: { driver: json-file, options: { max-size: 1m, max-file: 2 } }
    user: 1000:1000
    cpus: "0.5"
    scale: 2
  db: { image: "postgres:16", ports: ["5432:5432"], volumes: [data:/data], networks: [net] }
  off: { command: [x], profiles: [never] }
networks: { net: }
volumes: { data: { driver: local } }
"#;

#[test]
fn a_rendered_file_is_the_same_app() {
    let first = loaded(WHOLE);
    let second = again(&first);
    assert!(first.app.is_some(), "{}", report(&first.faults, &first.sources, false));
    assert!(
        second.app.is_some(),
        "{}\n{}",
        render_yaml(&first.file),
        report(&second.faults, &second.sources, false)
    );
    assert_eq!(first.app, second.app);
    assert_eq!(render_json(&first.file), render_json(&second.file));
    assert_eq!(second.project_dir, Path::new("/nowhere/shop"));
    let json = render_json(&first.file).to_string();
    assert_eq!(parse_resolved(&json, Path::new("<application>")).app, first.app);
}

#[test]
fn the_rendered_file_of_a_small_app_reads_well() {
    let text = "
services:
  web:
    command: ./web --port 80
    profiles: [a]
    environment: [A=$$1, B]
    routes: [/, { GET /x: { timeout: 90s } }]
  db: { command: [db], profiles: [b] }
";
    let mut request = request(text, Path::new("/nowhere/shop"));
    request.profiles = vec!["a".into()];
    insta::assert_snapshot!(render_yaml(&load(&request).file), @r#"
    name: shop
    project_directory: /nowhere/shop
    services:
      web:
        command:
          - ./web
          - "--port"
          - "80"
        environment:
          A: $$1
        routes:
          - /
          - GET /x:
              timeout: "1m30s"
    "#);
}

#[test]
fn the_rendered_yaml_is_read_alike_by_another_reader() {
    let file = loaded(WHOLE).file;
    let json: serde_json::Value = serde_saphyr::from_str(&render_yaml(&file)).unwrap();
    assert_eq!(json, render_json(&file));
}

proptest! {
    #[test]
    fn any_text_survives_the_way_out_and_back(
        value in "\\PC{0,20}|[ -~]{0,20}|[:#\\-?&*!|>%@`\"'{}\\[\\],~$\\\\\n\t ]{0,8}|(yes|no|null|~|0x1f|1e3|\\.5|-|\\.\\.\\.|---)",
        key in "[A-Z_]{1,8}|yes|null|y",
    ) {
        let json = serde_json::to_string(&value.replace('$', "$$")).unwrap();
        let first = loaded(&one_service(&format!("environment: {{ {key:?}: {json} }}")));
        prop_assume!(first.app.is_some()); // text that YAML cannot have
        let app = first.app.clone().unwrap();
        prop_assert_eq!(&app.services.values().next().unwrap().environment[&key], &value);
        prop_assert_eq!(again(&first).app, Some(app));
    }
}

#[test]
fn a_fault_in_a_kept_file_names_that_file() {
    let loaded = parse_resolved("services: { web: { zzz: 1 } }", Path::new("/state/app.yaml"));
    let report = report(&loaded.faults, &loaded.sources, false);
    assert!(report.contains("--> /state/app.yaml:1:"), "{report}");
}
