//! What a running app does for those who use it.

use crate::world::{World, get};

const SHOP: &str = r#"
services:
  front:
    command: [ECHO]
    environment: { GREETING: hello }
    healthcheck: { http: /healthz, interval: 1s }
    routes: [GET /front, "/front/{*rest}"]
    calls: { back: { timeout: 1s } }
  back:
    command: [ECHO]
    scale: 2
    healthcheck: { http: /healthz, interval: 1s }
    routes:
      - GET /back: {}
      - GET /late/{ms}: { timeout: 100ms }
  worker:
    command: [sh, -c, "echo working; exec sleep 1000"]
"#;

#[test]
fn an_app_of_several_services_answers_through_its_gateway() {
    let world = World::new(SHOP);
    world.ok(&["up", "-d", "--wait"]);
    let status = world.until_ready();
    assert_eq!(
        status.services.iter().map(|s| (s.name.as_str(), s.ready)).collect::<Vec<_>>(),
        [("back", 2), ("front", 1), ("worker", 1)]
    );
    let answer = world.get("/front");
    assert_eq!(answer.status, 200);
    assert!(answer.body.contains("GREETING=hello"), "{}", answer.body);
    assert!(answer.body.contains("OTEL_SERVICE_NAME=front"), "{}", answer.body);

    // Both instances of `back` take their share.
    let pids: std::collections::BTreeSet<String> =
        (0..40).map(|_| world.get("/back").body.lines().next().unwrap().to_owned()).collect();
    assert_eq!(pids.len(), 2);

    world.ok(&["down"]);
    world.until_nothing_lives();
}

#[test]
fn what_is_declared_under_calls_can_be_reached_and_nothing_else() {
    let world = World::new(SHOP);
    world.ok(&["up", "-d", "--wait"]);
    let through = world.get("/front/call");
    assert!(through.body.contains("BACK_URL=http://127.0.0.1:"), "{}", through.body);
    let status = world.status().unwrap();
    let front = status.services.iter().find(|s| s.name == "front").unwrap();
    let address = front.instances[0].address.clone().unwrap();
    let called = get(&address, "/call/back/headers");
    assert!(called.body.starts_with("HTTP/1.1 200"), "{}", called.body);
    assert!(called.body.contains("x-atoll-caller: front"), "the proxy knows who calls: {}", called.body);
    assert!(called.body.contains("traceparent: 00-"), "{}", called.body);
    let undeclared = get(&address, "/call/worker/");
    assert_eq!(undeclared.body, "no WORKER_URL\n");
}

#[test]
fn failures_of_the_gateway_are_problems_that_name_themselves() {
    let world = World::new(SHOP);
    world.ok(&["up", "-d", "--wait"]);
    for (path, status, error) in
        [("/nowhere", 404, "destination_not_found"), ("/late/3000", 504, "http_response_timeout")]
    {
        let answer = world.get(path);
        assert_eq!(answer.status, status, "{path}: {}", answer.head);
        if path == "/nowhere" {
            assert!(answer.head.to_lowercase().contains("proxy-status: atoll"), "{}", answer.head);
        } else {
            assert!(answer.head.contains(error), "{}", answer.head);
        }
        assert!(answer.head.contains("application/problem+json"), "{}", answer.head);
        assert!(answer.body.contains("A07"), "{}", answer.body);
    }
}

#[test]
fn output_is_kept_line_by_line_and_shown() {
    let world = World::new(SHOP);
    world.ok(&["up", "-d", "--wait"]);
    let logs = world.ok(&["logs", "worker"]);
    assert!(logs.contains("working"), "{logs}");
    assert!(!logs.contains("listening"), "{logs}");
    let all = world.ok(&["logs"]);
    assert!(all.contains("back-1") && all.contains("back-2") && all.contains("listening on"), "{all}");
    let json = world.ok(&["logs", "worker", "--format", "json"]);
    let line: api::LogLine = serde_json::from_str(json.lines().next().unwrap()).unwrap();
    assert_eq!(
        (line.instance.as_str(), line.stream.as_str(), line.text.as_str()),
        ("worker-1", "stdout", "working")
    );
    world.get("/back");
    world.until("the access log", |_| {
        let log = world.ok(&["logs", "gateway"]);
        log.contains("200 GET /back") && log.contains("route=\"GET /back\"")
    });
}

#[test]
fn metrics_tell_of_routes_instances_and_guards_and_examples_to_those_who_ask() {
    let world = World::new(SHOP);
    world.ok(&["up", "-d", "--wait"]);
    for _ in 0..3 {
        let answer = world.get("/back");
        assert_eq!(answer.status, 200);
        assert!(answer.head.to_ascii_lowercase().contains("server-timing: atoll;dur="), "{}", answer.head);
    }
    world.until("the last one is counted", |_| world.metrics("*/*").contains("class=\"2xx\"} 3"));
    let classic = world.metrics("*/*");
    assert!(classic.contains("content-type: text/plain; version=0.0.4"), "{classic}");
    for line in [
        r#"atoll_route_requests_total{route="GET /back",service="back",caller="",class="2xx"} 3"#,
        r#"atoll_route_duration_seconds_count{route="GET /back",service="back",caller=""} 3"#,
        r#"atoll_breaker_state{route="GET /back",service="back",state="closed"} 1"#,
        r#"atoll_bulkhead_in_use{route="GET /back",service="back"} 0"#,
        r#"atoll_instance_ejected{service="back",instance="back-1"} 0"#,
    ] {
        assert!(classic.lines().any(|have| have == line), "{line} in {classic}");
    }
    let open = world.metrics("application/openmetrics-text; version=1.0.0");
    assert!(open.contains("content-type: application/openmetrics-text; version=1.0.0"), "{open}");
    assert!(open.contains(" # {trace_id=\"") && open.contains("# EOF\n"), "{open}");
}
