//! A line of an instance's output as a log record: JSON is read, else a level at the start of the line and a trace id anywhere
//! are recognised. Nothing is ever left out: what is not understood is the text.

use serde_json::Value as Json;

use crate::model::{LogRecord, Severity, SpanId, Text, TraceId, Value};

const MESSAGE: [&str; 5] = ["msg", "message", "body", "event", "fields.message"];
const LEVEL: [&str; 6] = ["level", "severity", "lvl", "log.level", "levelname", "severity_text"];
const TIME: [&str; 6] = ["time", "ts", "timestamp", "@timestamp", "t", "asctime"];
const TRACE: [&str; 5] = ["trace_id", "traceId", "traceid", "trace.id", "otelTraceID"];
/// Where a gateway gives a request the id of its trace, whoever prints the id of the request names its trace.
const REQUEST: [&str; 5] = ["request_id", "requestId", "request-id", "x-request-id", "reqId"];
const SPAN: [&str; 5] = ["span_id", "spanId", "spanid", "span.id", "otelSpanID"];

/// A line as a record, with the time it was read. `error` says that it came on the standard error output: that is no level
/// (many log everything there), so it is only kept as an attribute.
pub fn parse(service: &Text, instance: &Text, line: &str, read_ns: u64, error: bool) -> LogRecord {
    let line = kit::ansi::stripped(line.trim_end_matches(['\r', '\n']));
    let mut record = LogRecord {
        time_ns: read_ns,
        service: service.clone(),
        instance: instance.clone(),
        severity: Severity::Info,
        body: Text::default(),
        attributes: Vec::new(),
        trace: None,
        span: None,
    };
    if error {
        record.attributes.push((Text::from_static("log.iostream"), Value::Text(Text::from_static("stderr"))));
    }
    let trimmed = line.trim();
    if trimmed.starts_with('{')
        && let Ok(Json::Object(fields)) = serde_json::from_str::<Json>(trimmed)
    {
        structured(fields, &mut record);
        if record.body.is_empty() {
            record.body = trimmed.into();
        }
        return record;
    }
    record.severity = level_at_start(&line).unwrap_or_default();
    (record.trace, record.span) = ids_in(&line);
    record.body = line.as_ref().into();
    record
}

fn structured(fields: serde_json::Map<String, Json>, record: &mut LogRecord) {
    let mut best_message = MESSAGE.len();
    for (key, value) in fields {
        let one_of = |names: &[&str]| names.iter().position(|name| *name == key);
        if let Some(rank) = one_of(&MESSAGE)
            && let Json::String(text) = &value
        {
            // The best of several names is the text; the others stay fields.
            if rank < best_message {
                if best_message < MESSAGE.len() {
                    let before = std::mem::take(&mut record.body);
                    record.attributes.push((Text::from_static(MESSAGE[best_message]), Value::Text(before)));
                }
                (best_message, record.body) = (rank, text.as_str().into());
                continue;
            }
        } else if one_of(&LEVEL).is_some()
            && let Some(severity) = level(&value)
        {
            record.severity = severity;
            continue;
        } else if one_of(&TIME).is_some()
            && let Some(ns) = time(&value)
        {
            record.time_ns = ns;
            continue;
        } else if one_of(&TRACE).is_some()
            && let Some(trace) = value.as_str().and_then(|text| text.parse().ok())
        {
            record.trace = Some(trace);
            continue;
        } else if one_of(&SPAN).is_some()
            && let Some(span) = value.as_str().and_then(|text| text.parse().ok())
        {
            record.span = Some(span);
            continue;
        } else if key == "traceparent"
            && let Some((trace, span)) = value.as_str().and_then(traceparent)
        {
            (record.trace, record.span) = (Some(trace), Some(span));
            continue;
        } else if one_of(&REQUEST).is_some() && record.trace.is_none() {
            record.trace = value.as_str().and_then(|text| text.parse().ok());
        } else if key == "fields"
            && let Json::Object(more) = value
        {
            // As `tracing` writes it: what was said and its fields stand one level deeper.
            structured(more, record);
            continue;
        }
        if let Some(value) = Value::from_json(value) {
            record.attributes.push((key.into(), value));
        }
    }
}

fn level(value: &Json) -> Option<Severity> {
    match value {
        Json::String(word) => Severity::from_word(word.trim()),
        // pino and bunyan: 10 trace, 20 debug, 30 info, 40 warn, 50 error, 60 fatal.
        Json::Number(number) => match number.as_i64()? {
            10..20 => Some(Severity::Trace),
            20..30 => Some(Severity::Debug),
            30..40 => Some(Severity::Info),
            40..50 => Some(Severity::Warn),
            50..60 => Some(Severity::Error),
            60..100 => Some(Severity::Fatal),
            _ => None,
        },
        _ => None,
    }
}

/// A time as RFC 3339, or as seconds, milliseconds, microseconds or nanoseconds since the Unix epoch: which one, its size
/// tells.
fn time(value: &Json) -> Option<u64> {
    match value {
        Json::String(text) => {
            let moment: jiff::Timestamp = text.trim().parse().ok()?;
            u64::try_from(moment.as_nanosecond()).ok().filter(|ns| *ns > 0)
        }
        Json::Number(number) => {
            if let Some(whole) = number.as_u64() {
                let factor: u64 = match whole.checked_ilog10()? {
                    0..8 => return None,
                    8..11 => 1_000_000_000,
                    11..14 => 1_000_000,
                    14..17 => 1_000,
                    _ => 1,
                };
                return whole.checked_mul(factor);
            }
            let seconds = number.as_f64().filter(|seconds| (1e8..1e11).contains(seconds))?;
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "above zero and below 2^63"
            )]
            Some((seconds * 1e6).round() as u64 * 1_000)
        }
        _ => None,
    }
}

/// `00-<trace>-<span>-01`.
fn traceparent(text: &str) -> Option<(TraceId, SpanId)> {
    let mut parts = text.trim().split('-');
    let _version = parts.next().filter(|version| version.len() == 2)?;
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// The level among the first words of a line, as loggers write it: `INFO …`, `[warn] …`, `2026-01-01T00:00:00Z ERROR …`,
/// `level=debug …`. A word in small letters counts only in brackets or as `level=`: `error while …` is a sentence.
fn level_at_start(line: &str) -> Option<Severity> {
    const WORDS: usize = 4;
    for word in line.split_ascii_whitespace().take(WORDS) {
        if let Some(named) = LEVEL.iter().find_map(|name| word.strip_prefix(name)?.strip_prefix('=')) {
            return Severity::from_word(named.trim_matches('"'));
        }
        let bare = word.trim_matches(|c: char| !c.is_ascii_alphabetic());
        let marked = bare.len() < word.len() && word.starts_with(['[', '(', '<']);
        let shouted = !bare.is_empty() && bare.bytes().all(|byte| byte.is_ascii_uppercase());
        let python = word
            .split_once(':')
            .filter(|(first, _)| first.len() > 1 && first.bytes().all(|b| b.is_ascii_uppercase()));
        let candidate = python.map_or(bare, |(first, _)| first);
        if (marked || shouted || python.is_some())
            && let Some(severity) = Severity::from_word(candidate)
        {
            return Some(severity);
        }
    }
    None
}

/// A trace id that stands behind one of its names, or a `traceparent`.
pub(crate) fn ids_in(line: &str) -> (Option<TraceId>, Option<SpanId>) {
    if let Some(found) = behind(line, "traceparent").and_then(traceparent) {
        return (Some(found.0), Some(found.1));
    }
    let named = |names: &[&str]| names.iter().find_map(|name| behind(line, name));
    let hex = |text: &str| text.split(|c: char| !c.is_ascii_hexdigit()).next().unwrap_or_default().to_owned();
    let trace = named(&TRACE).and_then(|text| hex(text).parse().ok());
    let trace = trace.or_else(|| named(&REQUEST)?.parse().ok());
    let span = named(&SPAN).and_then(|text| hex(text).parse().ok());
    (trace, span)
}

/// What follows `name=` or `name: `, without quotes.
fn behind<'l>(line: &'l str, name: &str) -> Option<&'l str> {
    let at = line.find(name)?;
    let rest = line[at + name.len()..].trim_start_matches('"');
    let rest = rest.strip_prefix('=').or_else(|| rest.strip_prefix(':'))?;
    rest.trim_start_matches([' ', '"']).split([' ', '"', ',', ']', '}']).next()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TRACE_ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const SPAN_ID: &str = "00f067aa0ba902b7";

    fn read(line: &str) -> LogRecord {
        parse(&"catalog".into(), &"catalog-1".into(), line, 42, false)
    }

    #[test]
    fn json_of_many_loggers_is_understood() {
        let line = format!(
            r#"{{"level":"WARN","msg":"slow","time":"2023-11-14T22:13:20Z","trace_id":"{TRACE_ID}","span_id":"{SPAN_ID}","n":3}}"#
        );
        let record = read(&line);
        assert_eq!((record.severity, &*record.body), (Severity::Warn, "slow"));
        assert_eq!(record.time_ns, 1_700_000_000_000_000_000);
        assert_eq!(record.trace.unwrap().to_string(), TRACE_ID);
        assert_eq!(record.span.unwrap().to_string(), SPAN_ID);
        assert_eq!(record.attributes, [("n".into(), Value::Int(3))]);
        let pino = read(r#"{"level":50,"time":1700000000123,"message":"no"}"#);
        assert_eq!((pino.severity, pino.time_ns), (Severity::Error, 1_700_000_000_123_000_000));
        let tracing = read(
            r#"{"timestamp":"2023-11-14T22:13:20Z","level":"DEBUG","fields":{"message":"hello","n":1},"target":"shop"}"#,
        );
        assert_eq!((tracing.severity, &*tracing.body), (Severity::Debug, "hello"));
        let parent = read(&format!(r#"{{"msg":"x","traceparent":"00-{TRACE_ID}-{SPAN_ID}-01"}}"#));
        assert_eq!(parent.trace.unwrap().to_string(), TRACE_ID);
    }

    #[test]
    fn json_without_a_message_is_the_text() {
        let record = read(r#"{"a":1}"#);
        assert_eq!(&*record.body, r#"{"a":1}"#);
    }

    #[test]
    fn a_level_at_the_start_is_recognised_and_a_sentence_is_none() {
        for (line, severity) in [
            ("INFO started", Severity::Info),
            ("2026-01-01T00:00:00Z  WARN shop: slow", Severity::Warn),
            ("[error] no", Severity::Error),
            ("level=debug msg=x", Severity::Debug),
            ("ERROR:root:no", Severity::Error),
            ("\x1b[31mERROR\x1b[0m no", Severity::Error),
            ("thread 'main' FATAL: no", Severity::Fatal),
            ("error while nothing happened", Severity::Info),
            ("all is well, no ERROR at all in here now", Severity::Info),
        ] {
            assert_eq!(read(line).severity, severity, "{line}");
        }
        assert_eq!(&*read("\x1b[31mERROR\x1b[0m no").body, "ERROR no");
    }

    #[test]
    fn ids_are_found_in_text() {
        for line in [
            format!("call trace_id={TRACE_ID} span_id={SPAN_ID} done"),
            format!("call [traceId: {TRACE_ID}, spanId: {SPAN_ID}]"),
            format!("traceparent: 00-{TRACE_ID}-{SPAN_ID}-01"),
        ] {
            let record = read(&line);
            assert_eq!(record.trace.map(|id| id.to_string()).as_deref(), Some(TRACE_ID), "{line}");
            assert_eq!(record.span.map(|id| id.to_string()).as_deref(), Some(SPAN_ID), "{line}");
        }
        assert_eq!(read("trace_id=none").trace, None);
        let request = read(&format!("order placed quantity=2 request_id={TRACE_ID}"));
        assert_eq!(request.trace.map(|id| id.to_string()).as_deref(), Some(TRACE_ID));
        let request = read(&format!(r#"{{"msg":"x","request_id":"{TRACE_ID}"}}"#));
        assert_eq!((request.trace.is_some(), request.attributes.len()), (true, 1), "it stays a field");
        assert_eq!(read("request_id=abc-1").trace, None);
    }

    proptest! {
        #[test]
        fn any_line_is_a_record(line in any::<String>()) {
            read(&line);
        }

        #[test]
        fn any_json_is_a_record(key in "msg|level|time|traceparent|fields|x", value in "null|1|1e300|-5|\"x\"|\\[1\\]|\\{\"msg\":2\\}|\"00-zz-\"") {
            let record = read(&format!(r#"{{"{key}":{value}}}"#));
            prop_assert!(!record.body.is_empty());
        }
    }
}
