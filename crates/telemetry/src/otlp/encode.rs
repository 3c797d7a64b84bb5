//! Records as OTLP requests, in protobuf: what [`super::traces`] and its like read, written.

use std::collections::{BTreeMap, HashMap};

use crate::bytes::{put_bytes, put_varint, zigzag};
use crate::catalog::series_of;
use crate::model::{
    Attributes, Buckets, Histogram, LogRecord, MetricPoint, MetricValue, Severity, Span, SpanKind, Status,
    Text, Value,
};

const DELTA: u64 = 1;
const CUMULATIVE: u64 = 2;

/// An `ExportTraceServiceRequest`.
pub fn traces(spans: &[Span]) -> Vec<u8> {
    by_service(spans, |span| &span.service, |_| None, span)
}

/// An `ExportLogsServiceRequest`.
pub fn logs(records: &[LogRecord]) -> Vec<u8> {
    by_service(records, |record| &record.service, |record| Some(&record.instance), record)
}

/// An `ExportMetricsServiceRequest`.
pub fn metrics(points: &[Started]) -> Vec<u8> {
    let no_service = Text::default();
    by_service(
        points,
        |started| label(&started.point, "service").unwrap_or(&no_service),
        |started| label(&started.point, "instance"),
        metric,
    )
}

/// A point, and since when what it counts was counted.
#[derive(Clone, Debug, PartialEq)]
pub struct Started {
    /// The point.
    pub point: MetricPoint,
    /// In nanoseconds since the Unix epoch; 0 for what counts nothing.
    pub since_ns: u64,
}

/// Series of which it is known how far they were counted; beyond it all begin anew.
const MOST_SERIES: usize = 100_000;

/// Since when things are counted: for who adds growths up, from the growth before to this; for a total, since it was first seen or
/// fell.
#[derive(Debug)]
pub struct Starts {
    begun_ns: u64,
    /// By series.
    last: HashMap<u64, Last>,
}

#[derive(Debug)]
struct Last {
    at_ns: u64,
    total: f64,
    since_ns: u64,
}

impl Starts {
    /// What is seen for the first time was counted since then.
    pub fn new(begun_ns: u64) -> Self {
        Self { begun_ns, last: HashMap::new() }
    }

    /// The next point in order.
    #[expect(clippy::cast_precision_loss, reason = "compared only")]
    pub fn of(&mut self, point: MetricPoint) -> Started {
        let (total, cumulative) = match &point.value {
            MetricValue::Gauge(_) => return Started { point, since_ns: 0 },
            MetricValue::Counter(total) => (*total, true),
            MetricValue::Increase(_) => (0.0, false),
            MetricValue::Histogram(histogram) => (histogram.count as f64, histogram.cumulative),
        };
        let series = series_of(&point);
        if self.last.len() >= MOST_SERIES && !self.last.contains_key(&series) {
            self.last.clear();
            self.begun_ns = point.time_ns;
        }
        let begun_ns = self.begun_ns.min(point.time_ns);
        let last = self.last.entry(series).or_insert(Last { at_ns: begun_ns, total, since_ns: begun_ns });
        if !cumulative || total < last.total {
            last.since_ns = last.at_ns;
        }
        (last.at_ns, last.total) = (last.at_ns.max(point.time_ns), total);
        Started { since_ns: last.since_ns.min(point.time_ns), point }
    }
}

fn label<'p>(point: &'p MetricPoint, name: &str) -> Option<&'p Text> {
    point.labels.iter().find(|(label, _)| *label == name).map(|(_, value)| value)
}

/// A message in the making.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn key(&mut self, field: u64, wire: u64) {
        put_varint(&mut self.0, field << 3 | wire);
    }

    fn number(&mut self, field: u64, number: u64) {
        if number != 0 {
            self.key(field, 0);
            put_varint(&mut self.0, number);
        }
    }

    fn fixed(&mut self, field: u64, number: u64) {
        if number != 0 {
            self.key(field, 1);
            self.0.extend_from_slice(&number.to_le_bytes());
        }
    }

    /// Also where it is 0: a number that is there.
    fn double(&mut self, field: u64, number: f64) {
        self.key(field, 1);
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    fn bytes(&mut self, field: u64, bytes: &[u8]) {
        self.key(field, 2);
        put_bytes(&mut self.0, bytes);
    }

    fn text(&mut self, field: u64, text: &str) {
        if !text.is_empty() {
            self.bytes(field, text.as_bytes());
        }
    }

    fn message(&mut self, field: u64, fill: impl FnOnce(&mut Self)) {
        let mut inner = Self::default();
        fill(&mut inner);
        self.bytes(field, &inner.0);
    }

    fn attributes(&mut self, field: u64, attributes: &Attributes) {
        for (key, value) in attributes {
            self.message(field, |pair| {
                pair.text(1, key);
                pair.message(2, |any| any.value(value));
            });
        }
    }

    fn value(&mut self, value: &Value) {
        match value {
            Value::Text(text) => self.bytes(1, text.as_bytes()),
            Value::Bool(yes) => {
                self.key(2, 0);
                put_varint(&mut self.0, u64::from(*yes));
            }
            Value::Int(number) => {
                self.key(3, 0);
                put_varint(&mut self.0, number.cast_unsigned());
            }
            Value::Float(number) => self.double(4, *number),
            Value::List(values) => self.message(5, |list| {
                values.iter().for_each(|value| list.message(1, |any| any.value(value)));
            }),
            Value::Map(values) => self.message(6, |map| map.attributes(1, values)),
            Value::Bytes(bytes) => self.bytes(7, bytes),
        }
    }
}

/// A request: a resource for each service and instance, the records of it in the order they came.
fn by_service<'r, R>(
    records: &'r [R],
    service: impl Fn(&'r R) -> &'r Text,
    instance: impl Fn(&'r R) -> Option<&'r Text>,
    put: impl Fn(&mut Message, &R),
) -> Vec<u8> {
    let none = Text::default();
    let mut groups: BTreeMap<(&Text, Text), Vec<&R>> = BTreeMap::new();
    for record in records {
        let instance = instance(record).unwrap_or(&none).clone();
        groups.entry((service(record), instance)).or_default().push(record);
    }
    let mut request = Message::default();
    for ((service, instance), records) in groups {
        request.message(1, |of_resource| {
            of_resource.message(1, |resource| {
                let mut attributes: Attributes = Vec::new();
                for (key, value) in [("service.name", service), ("service.instance.id", &instance)] {
                    if !value.is_empty() {
                        attributes.push((Text::from_static(key), Value::Text(value.clone())));
                    }
                }
                resource.attributes(1, &attributes);
            });
            of_resource.message(2, |of_scope| records.iter().for_each(|record| put(of_scope, record)));
        });
    }
    request.0
}

fn span(scope: &mut Message, span: &Span) {
    scope.message(2, |message| {
        message.bytes(1, &span.trace.0);
        message.bytes(2, &span.span.0);
        if let Some(parent) = span.parent {
            message.bytes(4, &parent.0);
        }
        message.text(5, &span.name);
        let kind = match span.kind {
            SpanKind::Internal => 1,
            SpanKind::Server => 2,
            SpanKind::Client => 3,
            SpanKind::Producer => 4,
            SpanKind::Consumer => 5,
        };
        message.number(6, kind);
        message.fixed(7, span.start_ns);
        message.fixed(8, span.end_ns());
        message.attributes(9, &span.attributes);
        for event in &span.events {
            message.message(11, |inner| {
                inner.fixed(1, event.time_ns);
                inner.text(2, &event.name);
                inner.attributes(3, &event.attributes);
            });
        }
        for link in &span.links {
            message.message(13, |inner| {
                inner.bytes(1, &link.trace.0);
                inner.bytes(2, &link.span.0);
                inner.attributes(4, &link.attributes);
            });
        }
        match &span.status {
            Status::Unset => {}
            Status::Ok => message.message(15, |status| status.number(3, 1)),
            Status::Error { message: why } => message.message(15, |status| {
                status.text(2, why);
                status.number(3, 2);
            }),
        }
    });
}

fn record(scope: &mut Message, record: &LogRecord) {
    let (number, word) = match record.severity {
        Severity::Trace => (1, "TRACE"),
        Severity::Debug => (5, "DEBUG"),
        Severity::Info => (9, "INFO"),
        Severity::Warn => (13, "WARN"),
        Severity::Error => (17, "ERROR"),
        Severity::Fatal => (21, "FATAL"),
    };
    scope.message(2, |message| {
        message.fixed(1, record.time_ns);
        message.number(2, number);
        message.text(3, word);
        message.message(5, |any| any.value(&Value::Text(record.body.clone())));
        message.attributes(6, &record.attributes);
        if let Some(trace) = record.trace {
            message.bytes(9, &trace.0);
        }
        if let Some(span) = record.span {
            message.bytes(10, &span.0);
        }
        message.fixed(11, record.time_ns);
    });
}

fn metric(scope: &mut Message, Started { point, since_ns }: &Started) {
    let labels: Attributes = point
        .labels
        .iter()
        .filter(|(label, _)| label != "service" && label != "instance")
        .map(|(label, value)| (label.clone(), Value::Text(value.clone())))
        .collect();
    let number = |of: &mut Message, value: f64| {
        of.message(1, |number| {
            number.fixed(2, *since_ns);
            number.fixed(3, point.time_ns);
            number.double(4, value);
            number.attributes(7, &labels);
        });
    };
    scope.message(2, |message| {
        message.text(1, &point.name);
        message.text(3, &point.unit);
        match &point.value {
            MetricValue::Gauge(value) => message.message(5, |gauge| number(gauge, *value)),
            MetricValue::Counter(value) | MetricValue::Increase(value) => message.message(7, |sum| {
                number(sum, *value);
                sum.number(
                    2,
                    if matches!(point.value, MetricValue::Counter(_)) { CUMULATIVE } else { DELTA },
                );
                sum.number(3, 1);
            }),
            MetricValue::Histogram(histogram) => {
                self::histogram(message, histogram, (*since_ns, point.time_ns), &labels);
            }
        }
    });
}

fn histogram(
    metric: &mut Message,
    histogram: &Histogram,
    (since_ns, time_ns): (u64, u64),
    labels: &Attributes,
) {
    let temporality = if histogram.cumulative { CUMULATIVE } else { DELTA };
    let packed = |bytes: &mut Vec<u8>, number: u64| bytes.extend_from_slice(&number.to_le_bytes());
    match &histogram.buckets {
        Buckets::Explicit { bounds, counts } => metric.message(9, |of| {
            of.message(1, |message| {
                message.fixed(2, since_ns);
                message.fixed(3, time_ns);
                message.fixed(4, histogram.count);
                message.double(5, histogram.sum);
                let (mut told, mut limits) = (Vec::new(), Vec::new());
                counts.iter().for_each(|count| packed(&mut told, *count));
                bounds.iter().for_each(|bound| packed(&mut limits, bound.to_bits()));
                message.bytes(6, &told);
                message.bytes(7, &limits);
                message.attributes(9, labels);
            });
            of.number(2, temporality);
        }),
        Buckets::Exponential { scale, zero, positive, negative } => metric.message(10, |of| {
            of.message(1, |message| {
                message.attributes(1, labels);
                message.fixed(2, since_ns);
                message.fixed(3, time_ns);
                message.fixed(4, histogram.count);
                message.double(5, histogram.sum);
                message.number(6, zigzag(i64::from(*scale)));
                message.fixed(7, *zero);
                for (field, buckets) in [(8, positive), (9, negative)] {
                    message.message(field, |inner| {
                        inner.number(1, zigzag(i64::from(buckets.offset)));
                        let mut counts = Vec::new();
                        buckets.counts.iter().for_each(|count| put_varint(&mut counts, *count));
                        inner.bytes(2, &counts);
                    });
                }
            });
            of.number(2, temporality);
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Encoding, logs as read_logs, metrics as read_metrics, traces as read_traces};
    use super::*;
    use crate::model::{ExponentialBuckets, Link, SpanEvent, SpanId, TraceId};

    fn attributes() -> Attributes {
        vec![
            ("text".into(), Value::Text("é".into())),
            ("empty".into(), Value::Text(Text::default())),
            ("no".into(), Value::Bool(false)),
            ("number".into(), Value::Int(-5)),
            ("float".into(), Value::Float(0.0)),
            ("bytes".into(), Value::Bytes(vec![0, 255])),
            ("list".into(), Value::List(vec![Value::Int(1), Value::Text("x".into())])),
            ("map".into(), Value::Map(vec![("a".into(), Value::Bool(true))])),
        ]
    }

    #[test]
    fn what_is_written_is_read_as_it_was() {
        let (trace, other) = (TraceId([7; 16]), SpanId([9; 8]));
        let span = |service: &str, status| Span {
            trace,
            span: SpanId([1; 8]),
            parent: Some(other),
            service: service.into(),
            name: "GET /a".into(),
            kind: SpanKind::Client,
            start_ns: 1_000,
            duration_ns: 77,
            status,
            attributes: attributes(),
            events: vec![SpanEvent { time_ns: 5, name: "e".into(), attributes: attributes() }],
            links: vec![Link { trace, span: other, attributes: attributes() }],
        };
        let failed = Status::Error { message: "no".into() };
        let spans = vec![span("a", failed), span("a", Status::Ok), span("b", Status::Unset)];
        assert_eq!(read_traces(Encoding::Protobuf, &traces(&spans)).unwrap().records, spans);

        let record = |severity| LogRecord {
            time_ns: 5,
            service: "a".into(),
            instance: Text::default(),
            severity,
            body: "said".into(),
            attributes: attributes(),
            trace: Some(trace),
            span: Some(other),
        };
        let records: Vec<LogRecord> = Severity::ALL.map(record).into();
        assert_eq!(read_logs(Encoding::Protobuf, &logs(&records)).unwrap().records, records);

        let point = |value| MetricPoint {
            name: "m".into(),
            unit: "s".into(),
            labels: vec![
                ("service".into(), "a".into()),
                ("instance".into(), "a-1".into()),
                ("route".into(), "/".into()),
            ],
            time_ns: 5,
            value,
        };
        let explicit = Buckets::Explicit { bounds: vec![0.5, 1.0], counts: vec![1, 0, 3] };
        let exponential = Buckets::Exponential {
            scale: -2,
            zero: 3,
            positive: ExponentialBuckets { offset: -4, counts: vec![300, 0, 1] },
            negative: ExponentialBuckets::default(),
        };
        let histogram = |cumulative, buckets| {
            MetricValue::Histogram(Box::new(Histogram { cumulative, count: 4, sum: 2.5, buckets }))
        };
        let values = [
            MetricValue::Gauge(0.0),
            MetricValue::Counter(3.0),
            MetricValue::Increase(2.0),
            histogram(true, explicit),
            histogram(false, exponential),
        ];
        let points: Vec<MetricPoint> = values.map(point).into();
        let started: Vec<Started> =
            points.iter().map(|point| Started { point: point.clone(), since_ns: 3 }).collect();
        assert_eq!(read_metrics(Encoding::Protobuf, &metrics(&started)).unwrap().records, points);
    }

    #[test]
    fn what_is_counted_says_since_when() {
        let mut starts = Starts::new(100);
        let mut since = |time_ns, value| {
            let point = MetricPoint { name: "m".into(), unit: "".into(), labels: Vec::new(), time_ns, value };
            starts.of(point).since_ns
        };
        let totals = [(110, 5.0, 100), (120, 7.0, 100), (130, 1.0, 120), (140, 2.0, 120)];
        for (at, total, expected) in totals {
            assert_eq!(since(at, MetricValue::Counter(total)), expected, "{at}");
        }
        let mut starts = Starts::new(100);
        let mut since = |time_ns, value| {
            let point = MetricPoint { name: "m".into(), unit: "".into(), labels: Vec::new(), time_ns, value };
            starts.of(point).since_ns
        };
        for (at, expected) in [(110, 100), (120, 110), (115, 115), (130, 120)] {
            assert_eq!(since(at, MetricValue::Increase(1.0)), expected, "{at}");
        }
        assert_eq!(since(150, MetricValue::Gauge(1.0)), 0);
        assert_eq!(
            Starts::new(100)
                .of(MetricPoint {
                    name: "m".into(),
                    unit: "".into(),
                    labels: Vec::new(),
                    time_ns: 50,
                    value: MetricValue::Increase(1.0)
                })
                .since_ns,
            50,
            "never after itself"
        );
    }
}
