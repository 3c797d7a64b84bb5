//! Senders of telemetry that others wrote: the SDKs of OpenTelemetry for Python and Node, Sentry's for Python. Nothing is
//! configured: what they need is in the environment of a service.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::app::{files, has, python_with};
use crate::world::{LIMIT, World, text};

/// An app of one service that sends what it has to tell and ends.
fn app(command: &[&str], environment: &str) -> World {
    let command = json!(command);
    World::new(&format!(
        "telemetry: {{ grpc: \"127.0.0.1:0\", http: \"127.0.0.1:0\" }}\n\
         services:\n  sender:\n    command: {command}\n    restart: \"no\"\n    environment: {{ {environment} }}\n"
    ))
}

/// Runs `atoll` with `--format json` until what it prints is as wanted.
fn until(world: &World, arguments: &[&str], wanted: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + LIMIT * 2;
    let arguments: Vec<&str> = arguments.iter().chain(&["--format", "json"]).copied().collect();
    loop {
        let output = world.run(&arguments);
        let printed: Value = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
        if wanted(&printed) {
            return printed;
        }
        if Instant::now() >= deadline {
            let said = text(&world.run(&["logs", "sender"]).stdout);
            panic!("{arguments:?}: {printed:#}\n{}\n{said}", text(&output.stderr));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// What every one of OpenTelemetry's senders has sent is there.
fn all_arrived(world: &World) {
    world.ok(&["up", "-d"]);
    let found = until(world, &["trace", "ls", "sender", "--failed"], |found| found[0]["spans"] == json!(2));
    assert_eq!(found[0]["operation"], "take the order");
    let id = found[0]["trace"].as_str().unwrap();
    let trace = until(world, &["trace", "show", id], |trace| trace["logs"][0].is_object());
    let spans = trace["spans"].as_array().unwrap();
    let inner = spans.iter().find(|span| span["name"] == "charge the card").unwrap();
    let outer = spans.iter().find(|span| span["name"] == "take the order").unwrap();
    assert_eq!(inner["parent"], outer["span"], "{trace:#}");
    assert_eq!(trace["logs"][0]["text"], "the card was declined by bank <b>");
    // It may be a single point, which has no rate.
    until(world, &["metrics"], |metrics| {
        let of_orders = |metric: &Value| metric["name"] == "orders.taken" && metric["kind"] == "counter";
        metrics.as_array().is_some_and(|metrics| metrics.iter().any(of_orders))
    });
    world.ok(&["down"]);
}

fn from_python(protocol: &str) {
    let Some(python) =
        python_with("opentelemetry.exporter.otlp.proto.grpc, opentelemetry.exporter.otlp.proto.http")
    else {
        has(&["opentelemetry for python"]);
        return;
    };
    let script = files().join("telemetry_otel.py");
    let command = [&python, &script].map(|path| path.to_str().unwrap());
    all_arrived(&app(&[command[0], command[1], protocol], ""));
}

#[test]
fn opentelemetry_for_python_sends_over_http() {
    from_python("http");
}

#[test]
fn opentelemetry_for_python_sends_over_grpc() {
    from_python("grpc");
}

/// The packages of `.ci/run tools` for Node, beside the build, if this one is among them.
pub(crate) fn node_modules(package: &str) -> Option<PathBuf> {
    let target = Path::new(env!("CARGO_BIN_EXE_atoll")).ancestors().nth(2).unwrap();
    let modules = target.join("clients-node/node_modules");
    modules.join(package).exists().then_some(modules)
}

#[test]
fn opentelemetry_for_node_sends() {
    let Some(modules) = node_modules("@opentelemetry/sdk-node").filter(|_| has(&["node"])) else {
        has(&["opentelemetry for node"]);
        return;
    };
    let script = files().join("telemetry_otel.cjs");
    let environment = format!(
        "NODE_PATH: {modules:?}, OTEL_METRICS_EXPORTER: otlp, OTEL_LOGS_EXPORTER: otlp, OTEL_TRACES_EXPORTER: otlp"
    );
    all_arrived(&app(&["node", script.to_str().unwrap()], &environment));
}

#[test]
fn sentry_for_python_tells_who_threw_and_why() {
    let Some(python) = python_with("sentry_sdk") else {
        has(&["sentry for python"]);
        return;
    };
    let script = files().join("telemetry_sentry.py");
    let command = [&python, &script].map(|path| path.to_str().unwrap());
    let world = app(&command, "");
    world.ok(&["up", "-d"]);
    let groups = until(&world, &["errors", "ls"], |groups| {
        groups.as_array().is_some_and(|groups| groups.iter().any(|group| group["count"] == 2))
    });
    let thrown = groups.as_array().unwrap().iter().find(|group| group["count"] == 2).unwrap();
    assert_eq!(thrown["service"], "sender");
    assert!(thrown["title"].as_str().unwrap().starts_with("ValueError"), "{groups:#}");
    let shown = world.ok(&["errors", "show", thrown["id"].as_str().unwrap()]);
    assert!(shown.contains("charge") && shown.contains("shop@1.2.3"), "{shown}");
    until(&world, &["trace", "ls", "sender"], |found| {
        found.as_array().is_some_and(|found| found.iter().any(|trace| trace["operation"] == "settle"))
    });
    world.ok(&["down"]);
}
