"""Sends a trace, a metric and log records with OpenTelemetry's own SDK, which finds its way by the environment alone.

    telemetry_otel.py http|grpc
"""

import logging
import sys

from opentelemetry import metrics, trace
from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind

if sys.argv[1] == "grpc":
    from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter
    from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
else:
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

traces = TracerProvider()
traces.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
trace.set_tracer_provider(traces)
meters = MeterProvider(metric_readers=[PeriodicExportingMetricReader(OTLPMetricExporter())])
metrics.set_meter_provider(meters)
loggers = LoggerProvider()
loggers.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter()))
log = logging.getLogger("sender")
log.addHandler(LoggingHandler(logger_provider=loggers))

tracer, meter = trace.get_tracer("sender"), metrics.get_meter("sender")
with tracer.start_as_current_span("take the order", kind=SpanKind.SERVER) as span:
    span.set_attribute("order.items", [1, 2, 3])
    with tracer.start_as_current_span("charge the card", kind=SpanKind.CLIENT) as inner:
        inner.add_event("declined", {"card": "<b>"})
        inner.set_status(trace.Status(trace.StatusCode.ERROR, "declined"))
        log.error("the card was declined by %s", "bank <b>")
meter.create_counter("orders.taken", unit="{order}").add(3, {"kind": "book"})
meter.create_histogram("order.time", unit="s").record(0.25, {"kind": "book"})

for provider in (traces, meters, loggers):
    provider.force_flush()
    provider.shutdown()
print("all well", flush=True)
