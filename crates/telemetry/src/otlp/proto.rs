//! OTLP as protobuf.

use std::borrow::Cow;

use super::resource::{Metric, Resource, sum};
use super::{BadRequest, Decoded, NO_IDS, NO_NAME, NO_NUMBER, NO_QUANTILES};
use crate::bytes::{Reader, unzigzag};
use crate::model::{
    Attributes, Buckets, ExponentialBuckets, Histogram, Link, LogRecord, MetricPoint, MetricValue, Severity,
    Span, SpanEvent, SpanId, SpanKind, Status, Text, TraceId, Value,
};

/// Lists within lists in an attribute, at most.
const MOST_DEPTH: usize = 16;

/// A field of a message.
pub(super) enum Field<'b> {
    Number(u64),
    Fixed(u64),
    Bytes(&'b [u8]),
}

impl<'b> Field<'b> {
    pub(super) fn bytes(&self) -> Result<&'b [u8], BadRequest> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            Self::Number(_) | Self::Fixed(_) => {
                Err(BadRequest::new("a number where a message or text belongs"))
            }
        }
    }

    pub(super) fn text(&self) -> Result<Text, BadRequest> {
        Ok(match String::from_utf8_lossy(self.bytes()?) {
            Cow::Borrowed(text) => text.into(),
            Cow::Owned(text) => text.into(),
        })
    }

    pub(super) fn number(&self) -> Result<u64, BadRequest> {
        match self {
            Self::Number(number) | Self::Fixed(number) => Ok(*number),
            Self::Bytes(_) => Err(BadRequest::new("a message or text where a number belongs")),
        }
    }

    fn float(&self) -> Result<f64, BadRequest> {
        self.number().map(f64::from_bits)
    }
}

/// Gives each field of a message to `each`.
pub(super) fn fields<'b>(
    message: &'b [u8],
    mut each: impl FnMut(u64, Field<'b>) -> Result<(), BadRequest>,
) -> Result<(), BadRequest> {
    let torn = || BadRequest::new("it ends within a field");
    let mut reader = Reader::new(message);
    while !reader.is_empty() {
        let tag = reader.varint().ok_or_else(torn)?;
        let field = match tag & 7 {
            0 => Field::Number(reader.varint().ok_or_else(torn)?),
            1 => Field::Fixed(reader.u64().ok_or_else(torn)?),
            2 => Field::Bytes(reader.bytes().ok_or_else(torn)?),
            5 => Field::Fixed(u64::from(reader.u32().ok_or_else(torn)?)),
            kind => {
                return Err(BadRequest::new(format!("a field of the wire type {kind}, which is not in use")));
            }
        };
        each(tag >> 3, field)?;
    }
    Ok(())
}

/// Gives each record of a request to `each`, with who sent it and the name of its scope. The resource may come behind what
/// it stands for.
fn records<'b>(
    request: &'b [u8],
    mut each: impl FnMut(&Resource, &Text, &'b [u8]) -> Result<(), BadRequest>,
) -> Result<(), BadRequest> {
    fields(request, |number, group| {
        if number != 1 {
            return Ok(());
        }
        let (mut resource, mut scopes) = (Resource::default(), Vec::new());
        fields(group.bytes()?, |number, field| {
            match number {
                1 => resource = Resource::new(attributes_in(field.bytes()?, 1)?),
                2 => scopes.push(field.bytes()?),
                _ => {}
            }
            Ok(())
        })?;
        for scope in scopes {
            let (mut name, mut found) = (Text::default(), Vec::new());
            fields(scope, |number, field| {
                match number {
                    1 => fields(field.bytes()?, |number, field| {
                        if number == 1 {
                            name = field.text()?;
                        }
                        Ok(())
                    })?,
                    2 => found.push(field.bytes()?),
                    _ => {}
                }
                Ok(())
            })?;
            for record in found {
                each(&resource, &name, record)?;
            }
        }
        Ok(())
    })
}

pub(super) fn traces(body: &[u8]) -> Result<Decoded<Span>, BadRequest> {
    let mut decoded = Decoded::default();
    records(body, |resource, scope, record| {
        match span(record, resource, scope)? {
            Some(span) => decoded.records.push(span),
            None => decoded.reject(NO_IDS),
        }
        Ok(())
    })?;
    Ok(decoded)
}

fn span(message: &[u8], resource: &Resource, scope: &Text) -> Result<Option<Span>, BadRequest> {
    let (mut trace, mut id, mut end_ns) = (None, None, 0);
    let mut span = Span {
        trace: TraceId::default(),
        span: SpanId::default(),
        parent: None,
        service: resource.service.clone(),
        name: Text::default(),
        kind: SpanKind::Internal,
        start_ns: 0,
        duration_ns: 0,
        status: Status::Unset,
        attributes: Vec::new(),
        events: Vec::new(),
        links: Vec::new(),
    };
    fields(message, |number, field| {
        match number {
            1 => trace = TraceId::from_bytes(field.bytes()?),
            2 => id = SpanId::from_bytes(field.bytes()?),
            4 => span.parent = SpanId::from_bytes(field.bytes()?),
            5 => span.name = field.text()?,
            6 => span.kind = kind(field.number()?),
            7 => span.start_ns = field.number()?,
            8 => end_ns = field.number()?,
            9 => span.attributes.extend(key_value(field.bytes()?, 0)?),
            11 => span.events.push(event(field.bytes()?)?),
            13 => span.links.extend(link(field.bytes()?)?),
            15 => span.status = status(field.bytes()?)?,
            _ => {}
        }
        Ok(())
    })?;
    let (Some(trace), Some(id)) = (trace, id) else { return Ok(None) };
    (span.trace, span.span) = (trace, id);
    span.duration_ns = end_ns.saturating_sub(span.start_ns);
    resource.extend(&mut span.attributes, scope);
    Ok(Some(span))
}

pub(super) const fn kind(number: u64) -> SpanKind {
    match number {
        2 => SpanKind::Server,
        3 => SpanKind::Client,
        4 => SpanKind::Producer,
        5 => SpanKind::Consumer,
        _ => SpanKind::Internal,
    }
}

fn status(message: &[u8]) -> Result<Status, BadRequest> {
    let (mut text, mut code) = (Text::default(), 0);
    fields(message, |number, field| {
        match number {
            2 => text = field.text()?,
            3 => code = field.number()?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(match code {
        1 => Status::Ok,
        2 => Status::Error { message: text },
        _ => Status::Unset,
    })
}

fn event(message: &[u8]) -> Result<SpanEvent, BadRequest> {
    let mut event = SpanEvent { time_ns: 0, name: Text::default(), attributes: Vec::new() };
    fields(message, |number, field| {
        match number {
            1 => event.time_ns = field.number()?,
            2 => event.name = field.text()?,
            3 => event.attributes.extend(key_value(field.bytes()?, 0)?),
            _ => {}
        }
        Ok(())
    })?;
    Ok(event)
}

fn link(message: &[u8]) -> Result<Option<Link>, BadRequest> {
    let (mut trace, mut span, mut attributes) = (None, None, Vec::new());
    fields(message, |number, field| {
        match number {
            1 => trace = TraceId::from_bytes(field.bytes()?),
            2 => span = SpanId::from_bytes(field.bytes()?),
            4 => attributes.extend(key_value(field.bytes()?, 0)?),
            _ => {}
        }
        Ok(())
    })?;
    Ok(trace.zip(span).map(|(trace, span)| Link { trace, span, attributes }))
}

/// The repeated attributes of a message that stand in its field `at`.
fn attributes_in(message: &[u8], at: u64) -> Result<Attributes, BadRequest> {
    let mut attributes = Vec::new();
    fields(message, |number, field| {
        if number == at {
            attributes.extend(key_value(field.bytes()?, 0)?);
        }
        Ok(())
    })?;
    Ok(attributes)
}

/// A key with its value; none without a value.
fn key_value(message: &[u8], depth: usize) -> Result<Option<(Text, Value)>, BadRequest> {
    let (mut key, mut said) = (Text::default(), None);
    fields(message, |number, field| {
        match number {
            1 => key = field.text()?,
            2 => said = value(field.bytes()?, depth)?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(said.map(|said| (key, said)))
}

fn value(message: &[u8], depth: usize) -> Result<Option<Value>, BadRequest> {
    if depth > MOST_DEPTH {
        return Err(BadRequest::new(format!("an attribute of lists within lists, deeper than {MOST_DEPTH}")));
    }
    let mut said = None;
    fields(message, |number, field| {
        said = Some(match number {
            1 => Value::Text(field.text()?),
            2 => Value::Bool(field.number()? != 0),
            3 => Value::Int(field.number()?.cast_signed()),
            4 => Value::Float(field.float()?),
            5 => {
                let mut values = Vec::new();
                fields(field.bytes()?, |number, field| {
                    if number == 1 {
                        values.extend(value(field.bytes()?, depth + 1)?);
                    }
                    Ok(())
                })?;
                Value::List(values)
            }
            6 => {
                let mut values = Vec::new();
                fields(field.bytes()?, |number, field| {
                    if number == 1 {
                        values.extend(key_value(field.bytes()?, depth + 1)?);
                    }
                    Ok(())
                })?;
                Value::Map(values)
            }
            7 => Value::Bytes(field.bytes()?.to_vec()),
            _ => return Ok(()),
        });
        Ok(())
    })?;
    Ok(said)
}

pub(super) fn logs(body: &[u8]) -> Result<Decoded<LogRecord>, BadRequest> {
    let mut decoded = Decoded::default();
    records(body, |resource, scope, record| {
        decoded.records.push(log(record, resource, scope)?);
        Ok(())
    })?;
    Ok(decoded)
}

fn log(message: &[u8], resource: &Resource, scope: &Text) -> Result<LogRecord, BadRequest> {
    let (mut observed_ns, mut severity, mut word) = (0, 0, Text::default());
    let mut record = LogRecord {
        time_ns: 0,
        service: resource.service.clone(),
        instance: resource.instance.clone(),
        severity: Severity::Info,
        body: Text::default(),
        attributes: Vec::new(),
        trace: None,
        span: None,
    };
    fields(message, |number, field| {
        match number {
            1 => record.time_ns = field.number()?,
            2 => severity = field.number()?.cast_signed(),
            3 => word = field.text()?,
            5 => match value(field.bytes()?, 0)? {
                Some(Value::Text(text)) => record.body = text,
                Some(other) => record.body = other.as_text().as_ref().into(),
                None => {}
            },
            6 => record.attributes.extend(key_value(field.bytes()?, 0)?),
            9 => record.trace = TraceId::from_bytes(field.bytes()?),
            10 => record.span = SpanId::from_bytes(field.bytes()?),
            11 => observed_ns = field.number()?,
            _ => {}
        }
        Ok(())
    })?;
    if record.time_ns == 0 {
        record.time_ns = observed_ns;
    }
    record.severity = match severity {
        0 => Severity::from_word(&word).unwrap_or_default(),
        number => Severity::from_number(number),
    };
    resource.extend(&mut record.attributes, scope);
    Ok(record)
}

pub(super) fn metrics(body: &[u8]) -> Result<Decoded<MetricPoint>, BadRequest> {
    let mut decoded = Decoded::default();
    records(body, |resource, _, record| metric(record, resource, &mut decoded))?;
    Ok(decoded)
}

fn metric(message: &[u8], resource: &Resource, decoded: &mut Decoded<MetricPoint>) -> Result<(), BadRequest> {
    let (mut metric, mut data) = (Metric::default(), None);
    fields(message, |number, field| {
        match number {
            1 => metric.name = field.text()?,
            3 => metric.unit = field.text()?,
            5 | 7 | 9 | 10 | 11 => data = Some((number, field.bytes()?)),
            _ => {}
        }
        Ok(())
    })?;
    let Some((what, data)) = data else { return Ok(()) };
    let (mut points, mut cumulative, mut monotonic) = (Vec::new(), false, false);
    fields(data, |number, field| {
        match number {
            1 => points.push(field.bytes()?),
            2 => cumulative = field.number()? == 2,
            3 => monotonic = field.number()? != 0,
            _ => {}
        }
        Ok(())
    })?;
    for message in points {
        let (attributes, time_ns, value) = match what {
            5 | 7 => number_point(message, |value| match what {
                5 => MetricValue::Gauge(value),
                _ => sum(value, monotonic, cumulative),
            })?,
            9 => histogram_point(message, cumulative)?,
            10 => exponential_point(message, cumulative)?,
            _ => {
                decoded.reject(NO_QUANTILES);
                continue;
            }
        };
        match value {
            _ if metric.name.is_empty() => decoded.reject(NO_NAME),
            Some(value) => decoded.records.push(metric.point(resource, attributes, time_ns, value)),
            None => decoded.reject(NO_NUMBER),
        }
    }
    Ok(())
}

type Point = (Attributes, u64, Option<MetricValue>);

fn number_point(message: &[u8], value: impl Fn(f64) -> MetricValue) -> Result<Point, BadRequest> {
    let (mut attributes, mut time_ns, mut number) = (Vec::new(), 0, None);
    fields(message, |at, field| {
        match at {
            3 => time_ns = field.number()?,
            4 => number = Some(field.float()?),
            #[expect(clippy::cast_precision_loss, reason = "numbers are kept as floating point")]
            6 => number = Some(field.number()?.cast_signed() as f64),
            7 => attributes.extend(key_value(field.bytes()?, 0)?),
            _ => {}
        }
        Ok(())
    })?;
    Ok((attributes, time_ns, number.filter(|number| number.is_finite()).map(value)))
}

fn histogram_point(message: &[u8], cumulative: bool) -> Result<Point, BadRequest> {
    let (mut attributes, mut time_ns) = (Vec::new(), 0);
    let (mut count, mut sum, mut counts, mut bounds) = (0, 0.0, Vec::new(), Vec::new());
    fields(message, |at, field| {
        match at {
            3 => time_ns = field.number()?,
            4 => count = field.number()?,
            5 => sum = field.float()?,
            6 => each_fixed(&field, |bits| counts.push(bits))?,
            7 => each_fixed(&field, |bits| bounds.push(f64::from_bits(bits)))?,
            9 => attributes.extend(key_value(field.bytes()?, 0)?),
            _ => {}
        }
        Ok(())
    })?;
    let sound = counts.is_empty() || counts.len() == bounds.len() + 1;
    let histogram = Histogram { cumulative, count, sum, buckets: Buckets::Explicit { bounds, counts } };
    Ok((attributes, time_ns, sound.then(|| MetricValue::Histogram(Box::new(histogram)))))
}

fn exponential_point(message: &[u8], cumulative: bool) -> Result<Point, BadRequest> {
    let (mut attributes, mut time_ns) = (Vec::new(), 0);
    let (mut count, mut sum, mut scale, mut zero) = (0, 0.0, 0, 0);
    let (mut positive, mut negative) = (ExponentialBuckets::default(), ExponentialBuckets::default());
    fields(message, |at, field| {
        match at {
            1 => attributes.extend(key_value(field.bytes()?, 0)?),
            3 => time_ns = field.number()?,
            4 => count = field.number()?,
            5 => sum = field.float()?,
            6 => scale = signed(field.number()?)?,
            7 => zero = field.number()?,
            8 => positive = buckets(field.bytes()?)?,
            9 => negative = buckets(field.bytes()?)?,
            _ => {}
        }
        Ok(())
    })?;
    let buckets = Buckets::Exponential { scale, zero, positive, negative };
    let histogram = Histogram { cumulative, count, sum, buckets };
    Ok((attributes, time_ns, Some(MetricValue::Histogram(Box::new(histogram)))))
}

fn buckets(message: &[u8]) -> Result<ExponentialBuckets, BadRequest> {
    let mut buckets = ExponentialBuckets::default();
    fields(message, |at, field| {
        match (at, field) {
            (1, field) => buckets.offset = signed(field.number()?)?,
            (2, Field::Bytes(packed)) => {
                let mut reader = Reader::new(packed);
                while !reader.is_empty() {
                    let count = reader.varint().ok_or_else(|| BadRequest::new("it ends within a count"))?;
                    buckets.counts.push(count);
                }
            }
            (2, field) => buckets.counts.push(field.number()?),
            _ => {}
        }
        Ok(())
    })?;
    Ok(buckets)
}

fn signed(number: u64) -> Result<i32, BadRequest> {
    i32::try_from(unzigzag(number)).map_err(|_| BadRequest::new("a number of more than 32 bits"))
}

/// Numbers of eight bytes each, one after the other or alone.
fn each_fixed(field: &Field<'_>, mut each: impl FnMut(u64)) -> Result<(), BadRequest> {
    let Field::Bytes(packed) = field else {
        each(field.number()?);
        return Ok(());
    };
    let mut reader = Reader::new(packed);
    while !reader.is_empty() {
        each(reader.u64().ok_or_else(|| BadRequest::new("it ends within a number"))?);
    }
    Ok(())
}
