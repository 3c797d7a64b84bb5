//! OpenTelemetry's own SDK for Rust sends, over gRPC, to where the environment of a service says.

use opentelemetry::trace::{Span, SpanKind, Status, TraceContextExt, Tracer, TracerProvider};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use serde_json::json;

use crate::telemetry::{connect, until, variable};
use crate::world::World;

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
