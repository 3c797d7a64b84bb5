//! What is kept goes on to another backend: here to another Atoll, which is not there yet when the first things happen.

use std::net::TcpListener;

use serde_json::json;

use crate::telemetry::until;
use crate::world::World;

/// One service that calls another.
pub(crate) const SERVICES: &str = r#"
services:
  front:
    command: [ECHO]
    healthcheck: { http: /healthz, interval: 1s }
    routes:
      - GET /call/{name}: { timeout: 5s }
    calls: { back: {} }
  back:
    command: [ECHO]
    healthcheck: { http: /healthz, interval: 1s }
"#;

fn goes_on(protocol: &str) {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let from = World::new(&format!(
        "telemetry:\n  grpc: \"127.0.0.1:0\"\n  http: \"127.0.0.1:0\"\n  export:\n    \
         endpoint: http://127.0.0.1:{port}\n    protocol: {protocol}\n    headers: {{ x-key: abc }}\n{SERVICES}"
    ));
    from.ok(&["up", "-d", "--wait"]);
    assert_eq!(from.get("/call/back").status, 200);
    let seen = until(&from, &["trace", "ls"], |found| found[0]["spans"] == json!(2));
    // Whoever is to take it comes only now.
    let to = World::new(&format!(
        "telemetry: {{ grpc: \"127.0.0.1:{port}\", http: \"127.0.0.1:0\" }}\nservices: {{ idle: {{ command: [ECHO] }} }}\n"
    ));
    to.ok(&["up", "-d", "--wait"]);
    let trace = seen[0]["trace"].as_str().unwrap();
    let arrived = until(&to, &["trace", "ls", "back"], |found| found[0]["spans"] == json!(2));
    assert_eq!(arrived[0]["trace"], trace);
    let spans = |world: &World| {
        let shown = until(world, &["trace", "show", trace], |shown| shown["spans"].is_array());
        shown["spans"].clone()
    };
    assert_eq!(spans(&to), spans(&from));
    until(&to, &["metrics", "atoll_instance_memory_bytes", "--where", "service=front"], |series| {
        series.as_array().is_some_and(|series| !series.is_empty())
    });
    from.ok(&["down"]);
    to.ok(&["down"]);
}

#[test]
fn what_is_kept_goes_on_over_http() {
    goes_on("http/protobuf");
}

#[test]
fn what_is_kept_goes_on_over_grpc() {
    goes_on("grpc");
}
