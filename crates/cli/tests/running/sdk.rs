//! SDKs that others wrote send to where the environment of a service says: OpenTelemetry's for Rust over gRPC, Sentry's for Rust.

use opentelemetry::trace::{Span, SpanKind, Status, TraceContextExt, Tracer, TracerProvider};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use serde_json::{Value, json};

use crate::telemetry::{connect, until, variable};
use crate::world::{World, echo};

#[test]
fn opentelemetry_for_rust_sends_over_grpc() {
    let world = World::new(
        "telemetry: { grpc: \"127.0.0.1:0\", http: \"127.0.0.1:0\" }\nservices: { front: { command: [ECHO] } }\n",
    );
    world.ok(&["up", "-d", "--wait"]);
    let endpoint = variable(&world, "front-1", "OTEL_EXPORTER_OTLP_ENDPOINT");
    drop(connect(endpoint.trim_start_matches("http://"))); // it listens
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let trace = runtime.block_on(async {
        let exporter = SpanExporter::builder().with_tonic().with_endpoint(&endpoint).build().unwrap();
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(Resource::builder().with_service_name("front").build())
            .build();
        let tracer = provider.tracer("sender");
        let outer = tracer.span_builder("take the order").with_kind(SpanKind::Server).start(&tracer);
        let trace = outer.span_context().trace_id().to_string();
        let context = Context::current_with_span(outer);
        let mut inner = tracer
            .span_builder("charge the card")
            .with_kind(SpanKind::Client)
            .with_attributes([KeyValue::new("card", "<b>")])
            .start_with_context(&tracer, &context);
        inner.set_status(Status::error("declined"));
        inner.end();
        context.span().end();
        tokio::task::spawn_blocking(move || provider.shutdown().unwrap()).await.unwrap();
        trace
    });
    let found = until(&world, &["trace", "ls", "front", "--failed"], |found| found[0]["spans"] == json!(2));
    assert_eq!((&found[0]["trace"], &found[0]["operation"]), (&json!(trace), &json!("take the order")));
    world.ok(&["down"]);
}

#[test]
fn sentry_for_rust_tells_who_threw_and_why() {
    let thrower = echo().with_file_name("thrower");
    assert!(thrower.exists(), "{} is built by `cargo test -p cli`", thrower.display());
    let world = World::new(&format!(
        "telemetry: {{ grpc: \"127.0.0.1:0\", http: \"127.0.0.1:0\" }}\n\
         services:\n  sender:\n    command: [{}]\n    restart: \"no\"\n    environment: {{ SENTRY_RELEASE: shop@1.2.3 }}\n",
        thrower.display()
    ));
    world.ok(&["up", "-d"]);
    // What it panics with stands on its output, too, where it is read as of every service: what it has sent names its release.
    let titled = |groups: &Value, title: &str| {
        let mut sent =
            groups.as_array().into_iter().flatten().filter(|group| group["last_release"] == "shop@1.2.3");
        sent.find(|group| group["title"].as_str().is_some_and(|it| it.starts_with(title))).cloned()
    };
    let groups = until(&world, &["errors", "ls"], |groups| {
        ["NoSuchCard", "panic", "message"].iter().all(|title| titled(groups, title).is_some())
    });
    let thrown = titled(&groups, "NoSuchCard").unwrap();
    assert_eq!(
        (&thrown["title"], &thrown["count"], &thrown["service"]),
        (&json!("NoSuchCard: no card 2"), &json!(2), &json!("sender"))
    );
    assert!(thrown["culprit"].as_str().unwrap().contains("charge_the_card"), "{thrown:#}");
    let panicked = titled(&groups, "panic").unwrap();
    assert_eq!(panicked["title"], "panic: the till 7 is stuck");
    assert!(panicked["culprit"].as_str().unwrap().contains("open_the_till"), "{panicked:#}");
    let shown = world.ok(&["errors", "show", thrown["id"].as_str().unwrap()]);
    assert!(shown.contains("shop@1.2.3") && shown.contains("thrower.rs"), "{shown}");
    // The transaction is a trace, and the errors are of it.
    let found = until(&world, &["trace", "ls", "sender"], |found| found[0]["spans"] == json!(3));
    assert_eq!(found[0]["operation"], "settle");
    let trace = world.ok(&["trace", "show", found[0]["trace"].as_str().unwrap(), "--format", "json"]);
    let trace: Value = serde_json::from_str(&trace).unwrap();
    let spans = trace["spans"].as_array().unwrap();
    let outer = spans.iter().find(|span| span["name"] == "settle").unwrap();
    let inner: Vec<_> = spans.iter().filter(|span| span["name"] == "charge the card").collect();
    assert!(inner.len() == 2 && inner.iter().all(|span| span["parent"] == outer["span"]), "{trace:#}");
    assert!(inner.iter().all(|span| span["kind"] == "client" && span["failed"] == true), "{trace:#}");
    let of_trace: Vec<_> = trace["errors"].as_array().unwrap().iter().map(|error| &error["group"]).collect();
    assert!(of_trace.contains(&&thrown["id"]) && of_trace.contains(&&panicked["id"]), "{trace:#}");
    world.ok(&["down"]);
}
