//! Tools of others ask: what speaks Prometheus or Jaeger, Grafana above all.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::onward::SERVICES;
use crate::telemetry::{connect, post, variable};
use crate::world::{LIMIT, World, text};

fn app(more: &str) -> (String, String) {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let telemetry = format!(
        "telemetry: {{ grpc: \"127.0.0.1:0\", http: \"127.0.0.1:0\", query: {{ listen: {port}{more} }} }}\n"
    );
    (telemetry + SERVICES, format!("127.0.0.1:{port}"))
}

/// The status, and the body as JSON where it is.
fn ask(address: &str, path: &str, headers: &str) -> (u16, Value) {
    let mut stream = connect(address);
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let host = if headers.contains("host:") { String::new() } else { format!("host: {address}\r\n") };
    let head = format!("GET {path} HTTP/1.1\r\n{host}{headers}connection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let answer = text(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap_or(Value::Null))
}

/// Asks until the answer is as wanted.
fn until(address: &str, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + LIMIT;
    loop {
        let (status, answer) = ask(address, path, "");
        if status == 200 && wanted(&answer) {
            return answer;
        }
        assert!(Instant::now() < deadline, "{path}: {status} {answer:#}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn what_speaks_prometheus_can_ask() {
    let (app, address) = app("");
    let world = World::new(&app);
    world.ok(&["up", "-d", "--wait"]);
    let endpoint = variable(&world, "front-1", "OTEL_EXPORTER_OTLP_ENDPOINT");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let point = |ago: u64, value: u64| {
        json!({
            "timeUnixNano": ((now - ago) * 1_000_000_000).to_string(), "asInt": value.to_string(),
            "attributes": [{ "key": "queue.name", "value": { "stringValue": "<b>" } }],
        })
    };
    let resource = json!({ "attributes": [{ "key": "service.name", "value": { "stringValue": "front" } }] });
    let metrics = json!({ "resourceMetrics": [{ "resource": resource, "scopeMetrics": [{ "metrics": [{
        "name": "jobs.done", "unit": "{job}",
        "sum": { "aggregationTemporality": 2, "isMonotonic": true,
                 "dataPoints": [point(40, 0), point(30, 20), point(20, 40), point(10, 60)] },
    }] }] }] });
    let sent = post(&format!("{endpoint}/v1/metrics"), "application/json", metrics.to_string().as_bytes());
    assert!(sent.starts_with("HTTP/1.1 200"), "{sent}");
    let found = until(&address, "/api/v1/query?query=jobs_done_total", |answer| {
        answer["data"]["result"].as_array().is_some_and(|all| !all.is_empty())
    });
    assert_eq!((&found["status"], &found["data"]["resultType"]), (&json!("success"), &json!("vector")));
    let series = &found["data"]["result"][0];
    assert_eq!(series["metric"]["queue_name"], "<b>");
    assert_eq!(series["value"][1], "60");
    // As Grafana asks: a form.
    let form = format!(
        "query=sum+by+%28service%29+%28rate%28jobs_done_total%5B30s%5D%29%29&start={}&end={}&step=5",
        now - 15,
        now - 10
    );
    let kind = "application/x-www-form-urlencoded";
    let answer = post(&format!("http://{address}/api/v1/query_range"), kind, form.as_bytes());
    let answer: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!(answer["data"]["result"][0]["metric"], json!({ "service": "front" }), "{answer}");
    assert_eq!(answer["data"]["result"][0]["values"][1], json!([now - 10, "2"]), "{answer}");
    let data = |path: &str| ask(&address, path, "").1["data"].clone();
    assert_eq!(data("/api/v1/label/queue_name/values"), json!(["<b>"]));
    assert!(data("/api/v1/labels").as_array().unwrap().contains(&json!("__name__")));
    let series = data("/api/v1/series?match[]=jobs_done_total");
    assert_eq!(series[0]["__name__"], "jobs_done_total", "{series}");
    assert_eq!(data("/api/v1/metadata?metric=jobs_done_total")["jobs_done_total"][0]["type"], "counter");
    assert!(data("/api/v1/status/buildinfo")["version"].is_string());
    let (status, refused) = ask(&address, "/api/v1/query?query=sum(", "");
    assert_eq!((status, &refused["errorType"]), (400, &json!("bad_data")), "{refused}");
    let (status, refused) = ask(&address, "/api/v1/query_range?query=up&start=0&end=20000&step=1", "");
    assert_eq!((status, &refused["errorType"]), (400, &json!("bad_data")), "{refused}");
    assert_eq!(ask(&address, "/api/v1/nothing", "").0, 404);
    // A page of a browser that was led here by its name.
    assert_eq!(ask(&address, "/api/v1/labels", "host: evil.example\r\n").0, 403);
    world.ok(&["down"]);
}

#[test]
fn what_speaks_jaeger_can_ask() {
    let (app, address) = app("");
    let world = World::new(&app);
    world.ok(&["up", "-d", "--wait"]);
    assert_eq!(world.get("/call/back").status, 200);
    let tags = "%7B%22http.response.status_code%22%3A%22200%22%7D";
    let found = until(&address, &format!("/api/traces?service=back&limit=5&tags={tags}"), |answer| {
        answer["data"][0]["spans"].as_array().is_some_and(|spans| spans.len() == 2)
    });
    let trace = &found["data"][0];
    let spans = trace["spans"].as_array().unwrap();
    let front = &spans[0];
    assert_eq!(front["operationName"], "GET /call/{name}", "{trace:#}");
    assert_eq!(trace["processes"][front["processID"].as_str().unwrap()]["serviceName"], "front");
    assert_eq!(spans[1]["references"][0]["spanID"], front["spanID"]);
    let kind = json!({ "key": "span.kind", "type": "string", "value": "server" });
    assert!(front["tags"].as_array().unwrap().contains(&kind));
    let id = trace["traceID"].as_str().unwrap();
    assert_eq!(ask(&address, &format!("/api/traces/{id}"), "").1["data"][0]["traceID"], id);
    let data = |path: &str| ask(&address, path, "").1["data"].clone();
    assert!(data("/api/services").as_array().unwrap().contains(&json!("back")));
    assert_eq!(data("/api/services/front/operations"), json!(["GET /call/{name}"]));
    assert_eq!(data("/api/operations?service=front")[0]["name"], "GET /call/{name}");
    let calls = data("/api/dependencies");
    assert!(
        calls.as_array().unwrap().contains(&json!({ "parent": "front", "child": "back", "callCount": 1 })),
        "{calls}"
    );
    let (status, none) = ask(&address, &format!("/api/traces/{}", "ab".repeat(16)), "");
    assert_eq!((status, &none["errors"][0]["code"]), (404, &json!(404)));
    assert_eq!(ask(&address, "/api/traces?limit=5", "").0, 400);
    world.ok(&["down"]);
}

#[test]
fn who_has_no_token_is_told_nothing() {
    let (app, address) = app(", token: 0123456789abcdef");
    let world = World::new(&app);
    world.ok(&["up", "-d", "--wait"]);
    assert_eq!(ask(&address, "/api/v1/labels", "").0, 401);
    assert_eq!(ask(&address, "/api/v1/labels", "authorization: Bearer 0123456789abcdee\r\n").0, 401);
    assert_eq!(ask(&address, "/api/v1/labels", "authorization: Bearer 0123456789abcdef\r\n").0, 200);
    let basic = "authorization: Basic Z3JhZmFuYTowMTIzNDU2Nzg5YWJjZGVm\r\nhost: atoll.example\r\n";
    assert_eq!(ask(&address, "/api/v1/labels", basic).0, 200);
    world.ok(&["down"]);
}
