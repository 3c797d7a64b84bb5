// Sends a trace, a metric and a log record with OpenTelemetry's SDK for Node, which finds its way by the environment alone.

const { NodeSDK } = require("@opentelemetry/sdk-node");
const { metrics, trace, SpanKind, SpanStatusCode } = require("@opentelemetry/api");
const { logs, SeverityNumber } = require("@opentelemetry/api-logs");

const sdk = new NodeSDK();
sdk.start();

const tracer = trace.getTracer("sender");
tracer.startActiveSpan("take the order", { kind: SpanKind.SERVER }, (span) => {
  tracer.startActiveSpan("charge the card", { kind: SpanKind.CLIENT }, (inner) => {
    inner.addEvent("declined", { card: "<b>" });
    inner.setStatus({ code: SpanStatusCode.ERROR, message: "declined" });
    logs.getLogger("sender").emit({
      severityNumber: SeverityNumber.ERROR,
      body: "the card was declined by bank <b>",
    });
    inner.end();
  });
  span.end();
});
metrics.getMeter("sender").createCounter("orders.taken", { unit: "{order}" }).add(3, { kind: "book" });

sdk.shutdown().then(
  () => console.log("all well"),
  (error) => {
    console.log("FAILED", error);
    process.exit(1);
  },
);
