//! What is seen of an app without a line of code in its services, and what services send of their own.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::world::{LIMIT, World, kill, text};

const APP: &str = r#"
telemetry: { grpc: "127.0.0.1:0", http: "127.0.0.1:0" }
services:
  front:
    command: [ECHO]
    healthcheck: { http: /healthz, interval: 1s }
    routes:
      - GET /call/{name}: { timeout: 5s }
      - GET /die/{status}: { timeout: 5s, retry: 0 }
    calls: { back: {} }
  back:
    command: [ECHO]
    healthcheck: { http: /healthz, interval: 1s }
"#;

/// Runs `atoll` with `--format json` until what it prints is as wanted.
pub(crate) fn until(world: &World, arguments: &[&str], wanted: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + LIMIT;
    let arguments: Vec<&str> = arguments.iter().chain(&["--format", "json"]).copied().collect();
    loop {
        let output = world.run(&arguments);
        let printed: Value = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
        if wanted(&printed) {
            return printed;
        }
        assert!(Instant::now() < deadline, "{arguments:?}: {printed:#}\n{}", text(&output.stderr));
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// What the environment of an instance says.
pub(crate) fn variable(world: &World, instance: &str, name: &str) -> String {
    let pids = world.pids();
    let (_, pid) = pids.iter().find(|(other, _)| other == instance).unwrap();
    let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap();
    let environment = text(&environment);
    let found = environment.split('\0').find_map(|pair| pair.strip_prefix(&format!("{name}=")));
    found.unwrap_or_else(|| panic!("no {name} in {environment}")).to_owned()
}

/// Services need not wait for telemetry to be open, and so it may come a moment after them.
pub(crate) fn connect(address: &str) -> TcpStream {
    let deadline = Instant::now() + LIMIT;
    loop {
        match TcpStream::connect(address) {
            Ok(stream) => return stream,
            Err(error) => assert!(Instant::now() < deadline, "{address}: {error}"),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Posts to a URL; the answer, head and all.
pub(crate) fn post(url: &str, kind: &str, body: &[u8]) -> String {
    let (address, path) = url.trim_start_matches("http://").split_once('/').unwrap();
    let mut stream = connect(address);
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let head = format!(
        "POST /{path} HTTP/1.1\r\nhost: {address}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    text(&answer)
}

#[test]
fn a_request_is_a_trace_and_says_who_called_whom_without_code_in_any_service() {
    let world = World::new(APP);
    world.ok(&["up", "-d", "--wait"]);
    assert_eq!(world.get("/call/back").status, 200);
    let found =
        until(&world, &["trace", "ls", "back"], |found| found.as_array().is_some_and(|all| !all.is_empty()));
    let summary = &found[0];
    assert_eq!((&summary["service"], &summary["operation"]), (&json!("front"), &json!("GET /call/{name}")));
    assert_eq!((&summary["spans"], &summary["services"]), (&json!(2), &json!(["front", "back"])));
    let id = summary["trace"].as_str().unwrap();
    let waterfall = world.ok(&["trace", "show", id]);
    assert!(waterfall.contains("front  GET /call/{name}") && waterfall.contains("  back  "), "{waterfall}");
    until(&world, &["graph"], |graph| {
        let edges = graph["edges"].as_array().cloned().unwrap_or_default();
        let has = |from: &str, to: &str| {
            edges.iter().any(|edge| edge["from"] == from && edge["to"] == to && edge["count"] == 1)
        };
        has("gateway", "front") && has("front", "back")
    });
    let unknown = world.fails(1, &["trace", "show", &"ab".repeat(16)]);
    assert!(unknown.contains("A0646"), "{unknown}");
    let no_id = world.fails(1, &["trace", "show", "x"]);
    assert!(no_id.contains("A0648"), "{no_id}");
    world.ok(&["down"]);
}

#[test]
fn a_failed_request_is_found_by_that() {
    let world = World::new(APP);
    world.ok(&["up", "-d", "--wait"]);
    assert_eq!(world.get("/die/3").status, 502);
    let found = until(&world, &["trace", "ls", "--failed"], |found| {
        found.as_array().is_some_and(|all| !all.is_empty())
    });
    assert_eq!((&found[0]["operation"], &found[0]["errors"]), (&json!("GET /die/{status}"), &json!(1)));
    world.ok(&["down"]);
}

#[test]
fn what_services_send_stands_beside_what_atoll_saw_and_outlives_the_node() {
    let world = World::new(APP);
    world.ok(&["up", "-d", "--wait"]);
    let endpoint = variable(&world, "front-1", "OTEL_EXPORTER_OTLP_ENDPOINT");
    let (trace, span) = ("5759e988bd862e3fe1be46a994272793", "53995c3f42cd8ad8");
    let resource = json!({ "attributes": [{ "key": "service.name", "value": { "stringValue": "front" } }] });
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
    let spans = json!({ "resourceSpans": [{ "resource": resource, "scopeSpans": [{ "spans": [{
        "traceId": trace, "spanId": span, "name": "charge the card", "kind": 1,
        "startTimeUnixNano": now.to_string(), "endTimeUnixNano": (now + 5_000_000).to_string(),
        "attributes": [{ "key": "card", "value": { "stringValue": "<b>4242</b>" } }],
        "status": { "code": 2, "message": "declined" },
    }] }] }] });
    let answer = post(&format!("{endpoint}/v1/traces"), "application/json", spans.to_string().as_bytes());
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let logs = json!({ "resourceLogs": [{ "resource": resource, "scopeLogs": [{ "logRecords": [{
        "timeUnixNano": now.to_string(), "severityNumber": 17, "body": { "stringValue": "the card was declined" },
        "traceId": trace, "spanId": span,
    }] }] }] });
    let answer = post(&format!("{endpoint}/v1/logs"), "application/json", logs.to_string().as_bytes());
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let bad = post(&format!("{endpoint}/v1/traces"), "application/x-protobuf", b"\xff\xff\xff");
    assert!(bad.starts_with("HTTP/1.1 400"), "{bad}");

    let by_attribute = ["trace", "ls", "--where", "card=<b>4242</b>"];
    until(&world, &by_attribute, |found| found[0]["trace"] == trace);
    let found = until(&world, &["trace", "show", trace], |found| {
        found["logs"].as_array().is_some_and(|logs| logs.len() == 1)
    });
    assert_eq!(found["spans"][0]["message"], "declined");
    let waterfall = world.ok(&["trace", "show", trace]);
    assert!(waterfall.contains("the card was declined"), "{waterfall}");
    let hits = world.ok(&["logs", "--grep", "card declined", "--level", "error"]);
    assert!(hits.contains("the card was declined") && hits.contains(trace), "{hits}");

    // What was taken a second ago is on disk: spans are written in their order, so once another one is, these are.
    let journal = world.state_dir().join("telemetry/spans.journal");
    let written = || std::fs::metadata(&journal).map_or(0, |file| file.len());
    let before = written();
    let another = spans.to_string().replace(trace, &"cd".repeat(16)).replace("4242", "5555");
    post(&format!("{endpoint}/v1/traces"), "application/json", another.as_bytes());
    let deadline = Instant::now() + LIMIT;
    while written() <= before {
        assert!(Instant::now() < deadline, "nothing is written within {LIMIT:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
    kill(world.node_pid(), "KILL");
    world.ok(&["up", "-d", "--wait"]);
    until(&world, &by_attribute, |found| found[0]["trace"] == trace);
    world.ok(&["down"]);
}

#[test]
fn an_exception_is_a_group_of_errors_until_somebody_decides() {
    let world = World::new(APP);
    world.ok(&["up", "-d", "--wait"]);
    let dsn = variable(&world, "back-1", "SENTRY_DSN");
    let (_, host_and_project) = dsn.split_once('@').unwrap();
    let (host, project) = host_and_project.split_once('/').unwrap();
    let event = json!({
        "event_id": "fc6d8c0c43fc4630ad850ee518f1b9d0", "platform": "python", "level": "error",
        "exception": { "values": [{ "type": "ValueError", "value": "no such book", "stacktrace": { "frames": [
            { "function": "main", "filename": "app.py", "lineno": 3, "in_app": true },
            { "function": "find", "filename": "books.py", "lineno": 42, "in_app": true },
        ] } }] },
    });
    let url = format!("http://{host}/api/{project}/store/");
    for _ in 0..2 {
        let answer = post(&url, "application/json", event.to_string().as_bytes());
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    let found = until(&world, &["errors", "ls"], |found| found[0]["count"] == 2);
    assert_eq!(
        (&found[0]["title"], &found[0]["service"]),
        (&json!("ValueError: no such book"), &json!("back"))
    );
    let id = found[0]["id"].as_str().unwrap();
    let shown = world.ok(&["errors", "show", id]);
    assert!(shown.contains("find (books.py:42)"), "{shown}");
    world.ok(&["errors", "resolve", id]);
    assert_eq!(world.ok(&["errors", "ls", "--format", "json"]).trim(), "[]");
    post(&url, "application/json", event.to_string().as_bytes());
    until(&world, &["errors", "ls"], |found| found[0]["state"] == "regressed");
    world.ok(&["down"]);
}

#[test]
fn telemetry_can_be_off() {
    let world = World::new(&APP.replace("{ grpc: \"127.0.0.1:0\", http: \"127.0.0.1:0\" }", "off"));
    world.ok(&["up", "-d", "--wait"]);
    assert_eq!(world.get("/call/back").status, 200);
    let off = world.fails(1, &["trace", "ls"]);
    assert!(off.contains("A0647"), "{off}");
    assert!(!world.state_dir().join("telemetry").exists());
    world.ok(&["down"]);
}
