//! What a record must be to come in: cut to the limits, with a time that can be. Pure.

use crate::counters::{Counters, Reason};
use crate::model::{
    Attributes, Buckets, ErrorEvent, LogRecord, MetricPoint, MetricValue, Span, SpanId, Status, Text,
    TraceId, Value,
};
use crate::options::Limits;

/// What stands at the end of text that was cut.
pub const CUT_MARK: &str = "…";
/// The attribute that says how many others were left out.
pub const LEFT_OUT: &str = "atoll.left_out";
/// The attribute of a record whose time was too far ahead: what it said, in nanoseconds since the Unix epoch.
pub const SAID_TIME: &str = "atoll.said_time";
/// The service of records that name none.
pub const NO_SERVICE: Text = Text::from_static("unknown");
/// The name of a span that has none.
pub const NO_NAME: Text = Text::from_static("unnamed");

/// The time now and the limits that hold.
pub(crate) struct Admission<'a> {
    pub(crate) now_ns: u64,
    pub(crate) limits: &'a Limits,
    pub(crate) counters: &'a Counters,
}

impl Admission<'_> {
    /// Brings a span within the limits, and tells about how many bytes it takes in memory.
    pub(crate) fn span(&self, span: &mut Span) -> Result<usize, Reason> {
        if span.trace == TraceId::default() || span.span == SpanId::default() {
            return Err(Reason::NoId);
        }
        let mut cut = self.service(&mut span.service) | cut_text(&mut span.name, self.limits.name_bytes);
        if span.name.is_empty() {
            span.name = NO_NAME;
        }
        if let Status::Error { message } = &mut span.status {
            cut |= cut_text(message, self.limits.value_bytes);
        }
        let said = self.time(&mut span.start_ns);
        span.duration_ns = span.duration_ns.min(u64::MAX - span.start_ns);
        let more = span.events.len() + span.links.len();
        if more > 0 {
            cut |= self.parts(span);
        }
        cut |= self.attributes(&mut span.attributes, said, span.name.len());
        Ok(self.done(cut, span.size(), |_| {
            span.attributes = vec![left_out(span.attributes.len() + more)];
            (span.events, span.links) = (Vec::new(), Vec::new());
            span.size()
        }))
    }

    fn parts(&self, span: &mut Span) -> bool {
        let over = span.events.len().max(span.links.len()) > self.limits.parts;
        span.events.truncate(self.limits.parts);
        span.links.truncate(self.limits.parts);
        let mut cut = over;
        for event in &mut span.events {
            cut |= cut_text(&mut event.name, self.limits.name_bytes);
            cut |= self.attributes(&mut event.attributes, None, 0);
        }
        for link in &mut span.links {
            cut |= self.attributes(&mut link.attributes, None, 0);
        }
        cut
    }

    pub(crate) fn log(&self, record: &mut LogRecord) -> usize {
        let mut cut =
            self.service(&mut record.service) | cut_text(&mut record.instance, self.limits.name_bytes);
        cut |= cut_text(&mut record.body, self.limits.body_bytes);
        let said = self.time(&mut record.time_ns);
        cut |= self.attributes(&mut record.attributes, said, record.body.len());
        self.done(cut, record.size(), |_| {
            record.attributes = vec![left_out(record.attributes.len())];
            record.size()
        })
    }

    pub(crate) fn point(&self, point: &mut MetricPoint) -> Result<usize, Reason> {
        let sound = match &point.value {
            MetricValue::Counter(value) | MetricValue::Increase(value) | MetricValue::Gauge(value) => {
                value.is_finite()
            }
            MetricValue::Histogram(histogram) => match &histogram.buckets {
                Buckets::Explicit { bounds, counts } => {
                    counts.len() <= self.limits.buckets
                        && (counts.is_empty() || counts.len() == bounds.len() + 1)
                }
                Buckets::Exponential { positive, negative, .. } => {
                    positive.counts.len().max(negative.counts.len()) <= self.limits.buckets
                }
            },
        };
        if point.name.is_empty() || !sound {
            return Err(Reason::NoValue);
        }
        let mut cut = cut_text(&mut point.name, self.limits.name_bytes)
            | cut_text(&mut point.unit, self.limits.name_bytes);
        if point.labels.len() > self.limits.labels {
            point.labels.truncate(self.limits.labels);
            cut = true;
        }
        for (key, value) in &mut point.labels {
            cut |= cut_text(key, self.limits.name_bytes) | cut_text(value, self.limits.name_bytes);
        }
        point.labels.sort_unstable();
        point.labels.dedup_by(|one, other| one.0 == other.0);
        self.time(&mut point.time_ns);
        Ok(self.done(cut, point.size(), |size| size))
    }

    pub(crate) fn error(&self, event: &mut ErrorEvent) -> usize {
        let mut cut = self.service(&mut event.service);
        for name in
            [&mut event.id, &mut event.instance, &mut event.kind, &mut event.release, &mut event.environment]
        {
            cut |= cut_text(name, self.limits.name_bytes);
        }
        cut |= cut_text(&mut event.value, self.limits.body_bytes);
        if event.frames.len() > self.limits.parts {
            event.frames.drain(..event.frames.len() - self.limits.parts); // the innermost are last: those tell most
            cut = true;
        }
        for frame in &mut event.frames {
            for name in [&mut frame.function, &mut frame.module, &mut frame.file] {
                cut |= cut_text(name, self.limits.name_bytes);
            }
        }
        event.fingerprint.truncate(self.limits.labels);
        for part in &mut event.fingerprint {
            cut |= cut_text(part, self.limits.name_bytes);
        }
        let said = self.time(&mut event.time_ns);
        cut |= self.attributes(&mut event.attributes, said, 0);
        self.done(cut, event.size(), |_| {
            event.attributes = vec![left_out(event.attributes.len())];
            event.size()
        })
    }

    /// Counts what was cut, and has a record made small that is still too large.
    fn done(&self, cut: bool, size: usize, shrink: impl FnOnce(usize) -> usize) -> usize {
        let too_large = size > self.limits.record_bytes;
        if cut || too_large {
            self.counters.cut();
        }
        if too_large { shrink(size) } else { size }
    }

    fn service(&self, service: &mut Text) -> bool {
        if service.is_empty() {
            *service = NO_SERVICE;
        }
        cut_text(service, self.limits.name_bytes)
    }

    /// Puts in the time of arrival where none was said or one that is too far ahead; then tells what was said.
    fn time(&self, time_ns: &mut u64) -> Option<u64> {
        let latest =
            self.now_ns.saturating_add(u64::try_from(self.limits.future.as_nanos()).unwrap_or(u64::MAX));
        if *time_ns == 0 {
            *time_ns = self.now_ns;
            return None;
        }
        if *time_ns <= latest {
            return None;
        }
        self.counters.moved();
        Some(std::mem::replace(time_ns, self.now_ns))
    }

    /// Cuts attributes, leaves out those without a key and all but the first of a key. `others` are the bytes of the record
    /// that are no attributes.
    fn attributes(&self, attributes: &mut Attributes, said: Option<u64>, others: usize) -> bool {
        let before = attributes.len();
        let mut cut = false;
        if before > 1 || attributes.first().is_some_and(|(key, _)| key.is_empty()) {
            drop_repeated(attributes);
        }
        let kept = attributes.len().min(self.limits.attributes);
        let over = attributes.len() - kept;
        attributes.truncate(kept);
        let mut room = self.limits.record_bytes.saturating_sub(others);
        for (key, value) in &mut *attributes {
            cut |= cut_text(key, self.limits.name_bytes);
            cut |= cut_value(value, self.limits.value_bytes.min(room));
            room = room.saturating_sub(value.size());
        }
        if over > 0 {
            attributes.push(left_out(over));
        }
        if let Some(said) = said {
            let said =
                i64::try_from(said).map_or_else(|_| Value::from(said.to_string().as_str()), Value::Int);
            attributes.push((Text::from_static(SAID_TIME), said));
        }
        cut || over > 0
    }
}

fn left_out(count: usize) -> (Text, Value) {
    (Text::from_static(LEFT_OUT), Value::Int(i64::try_from(count).unwrap_or(i64::MAX)))
}

/// Few attributes are compared with each other; many are sorted on the way, so that a hostile thousand costs no million.
fn drop_repeated(attributes: &mut Attributes) {
    const FEW: usize = 32;
    if attributes.len() <= FEW {
        let mut at = 0;
        while at < attributes.len() {
            let (before, rest) = attributes.split_at(at);
            let key = &rest[0].0;
            if key.is_empty() || before.iter().any(|(other, _)| other.len() == key.len() && other == key) {
                attributes.remove(at);
            } else {
                at += 1;
            }
        }
    } else {
        let mut seen = std::collections::HashSet::new();
        attributes.retain(|(key, _)| !key.is_empty() && seen.insert(key.clone()));
    }
}

/// Cuts text that is longer than so many bytes, between two characters, and marks it.
pub(crate) fn cut_text(text: &mut Text, most: usize) -> bool {
    if text.len() <= most {
        return false;
    }
    let end =
        (0..=most.saturating_sub(CUT_MARK.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    *text = format!("{}{CUT_MARK}", &text[..end]).into();
    true
}

fn cut_value(value: &mut Value, most: usize) -> bool {
    match value {
        Value::Text(text) => cut_text(text, most),
        Value::Bytes(bytes) if bytes.len() > most => {
            bytes.truncate(most);
            true
        }
        Value::List(_) | Value::Map(_)
            if value.size() > most.saturating_mul(4) || depth(value) > MOST_DEPTH =>
        {
            let mut text = if depth(value) > MOST_DEPTH {
                CUT_MARK.into()
            } else {
                Text::from(value.as_text().as_ref())
            };
            cut_text(&mut text, most);
            *value = Value::Text(text);
            true
        }
        _ => false,
    }
}

/// Lists within lists: deeper than any sender means it.
const MOST_DEPTH: usize = 8;

fn depth(value: &Value) -> usize {
    let mut deepest = 0;
    let mut waiting = vec![(value, 1)];
    while let Some((value, depth)) = waiting.pop() {
        deepest = deepest.max(depth);
        if depth > MOST_DEPTH {
            break;
        }
        match value {
            Value::List(values) => waiting.extend(values.iter().map(|value| (value, depth + 1))),
            Value::Map(values) => waiting.extend(values.iter().map(|(_, value)| (value, depth + 1))),
            _ => {}
        }
    }
    deepest
}
