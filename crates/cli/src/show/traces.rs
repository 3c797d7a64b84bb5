//! What `atoll trace` shows: a list of traces, and one as a waterfall.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use api::{LogRecord, Occurrence, Span, Trace, TraceSummary};
use kit::Timestamp;

use super::table::{Cell, Side, Table};
use super::{Paint, clean, paint, time};

/// Columns of the bars in a waterfall.
const BAR: usize = 40;
/// What a span is indented by below its parent, at most so deep.
const DEEPEST: usize = 12;

/// `trace ls`: a line per trace.
pub(crate) fn list(traces: &[TraceSummary], columns: Option<usize>, paint: Paint) -> String {
    if traces.is_empty() {
        return "there is no such trace\n".into();
    }
    let mut table = Table::new(&[
        ("AT", Side::Left),
        ("TRACE", Side::Left),
        ("TOOK", Side::Right),
        ("SPANS", Side::Right),
        ("FAILED", Side::Right),
        ("SERVICE", Side::Left),
        ("WHAT", Side::Left),
    ]);
    for trace in traces {
        let failed = match trace.errors {
            0 => Cell::none(),
            errors => Cell::styled(paint::bad(), errors.to_string()),
        };
        table.row(vec![
            Cell::styled(paint::dim(), time::of_day(trace.at)),
            Cell::new(&trace.trace),
            Cell::new(took(trace.duration_us)),
            Cell::new(trace.spans.to_string()),
            failed,
            Cell::styled(paint::name_style(&trace.service), &trace.service),
            Cell::new(&trace.operation),
        ]);
    }
    table.text(columns, paint)
}

/// Microseconds as people read them.
pub(crate) fn took(micros: u64) -> String {
    match micros {
        0..=9_999 => format!("{}.{:02} ms", micros / 1000, micros % 1000 / 10),
        _ => time::span(Duration::from_micros(micros)),
    }
}

/// `trace show`: spans below the spans that caused them, each with a bar that shows when it was at work; what was logged
/// and thrown on the way stands below the span it belongs to.
pub(crate) fn waterfall(trace: &Trace, paint: Paint) -> String {
    let begin = trace.spans.iter().map(|span| span.at.as_micros()).min().unwrap_or(0);
    let end = trace.spans.iter().map(|span| span.at.as_micros() + span.duration_us).max().unwrap_or(0);
    let whole = (end - begin).max(1);
    let mut text =
        format!("{} {}, {} spans\n", paint.bold(clean::text(&trace.trace)), took(whole), trace.spans.len());
    let rows = in_order(&trace.spans);
    let label = |span: &Span, depth: usize| {
        format!(
            "{}{}  {}",
            "  ".repeat(depth.min(DEEPEST)),
            clean::text(&span.service),
            clean::text(&span.name)
        )
    };
    let width =
        rows.iter().map(|(span, depth)| clean::width(&label(span, *depth))).max().unwrap_or(0).min(56);
    for (span, depth) in rows {
        let label = clean::cut(&label(span, depth), width);
        let padding = " ".repeat(width - clean::width(&label));
        let bar = bar(span.at.as_micros() - begin, span.duration_us, whole);
        let bar = if span.failed { paint.bad(bar) } else { paint.named(&span.service, bar) };
        let _ =
            write!(text, "{}{padding} {bar} {}", paint.named(&span.service, &label), took(span.duration_us));
        if span.failed {
            let why = span.message.as_deref().map(clean::text).filter(|why| !why.is_empty());
            let _ = write!(text, " {}", paint.bad(why.unwrap_or_else(|| "failed".into())));
        }
        text.push('\n');
        let of_span = |id: &Option<String>| id.as_deref() == Some(span.span.as_str());
        for log in trace.logs.iter().filter(|log| of_span(&log.span)) {
            text.push_str(&log_line(log, begin, depth, paint));
        }
        for thrown in trace.errors.iter().filter(|thrown| of_span(&thrown.span)) {
            text.push_str(&error_line(thrown, depth, paint));
        }
    }
    let known: BTreeSet<&str> = trace.spans.iter().map(|span| span.span.as_str()).collect();
    let loose = |id: &Option<String>| id.as_deref().is_none_or(|id| !known.contains(id));
    for log in trace.logs.iter().filter(|log| loose(&log.span)) {
        text.push_str(&log_line(log, begin, 0, paint));
    }
    for thrown in trace.errors.iter().filter(|thrown| loose(&thrown.span)) {
        text.push_str(&error_line(thrown, 0, paint));
    }
    text
}

fn log_line(log: &LogRecord, begin: u64, depth: usize, paint: Paint) -> String {
    let after = took(log.at.as_micros().saturating_sub(begin));
    let who = log.instance.as_deref().unwrap_or(&log.service);
    let said = format!(
        "{}· {} {}: {}",
        "  ".repeat(depth.min(DEEPEST) + 1),
        after,
        clean::text(who),
        clean::text(&log.text)
    );
    format!("{}\n", severe(log.severity, said, paint))
}

fn error_line(thrown: &Occurrence, depth: usize, paint: Paint) -> String {
    let what = format!("{}: {}", clean::text(&thrown.kind), clean::text(&thrown.message));
    format!(
        "{}{}\n",
        "  ".repeat(depth.min(DEEPEST) + 1),
        paint.bad(format!("✗ {what} ({})", clean::text(&thrown.group)))
    )
}

fn severe(severity: api::Severity, text: String, paint: Paint) -> String {
    match severity {
        api::Severity::Trace | api::Severity::Debug => paint.dim(text),
        api::Severity::Info => text,
        api::Severity::Warn => paint.warn(text),
        api::Severity::Error | api::Severity::Fatal => paint.bad(text),
    }
}

/// `atoll logs` with a question: a record per line, its end included.
pub(crate) fn record(log: &LogRecord, paint: Paint) -> String {
    let who = clean::text(log.instance.as_deref().unwrap_or(&log.service));
    let trace = log.trace.as_deref().map(|trace| paint.dim(format!("  trace={}", clean::text(trace))));
    format!(
        "{} {} {}{}\n",
        paint.dim(time::of_day(log.at)),
        paint.named(&log.service, format!("{who} |")),
        severe(log.severity, clean::text(&log.text), paint),
        trace.unwrap_or_default()
    )
}

/// Spans with how deep they are, each behind its parent. Spans whose parent is not there are at the top; a ring of
/// parents, which only a broken client sends, is cut where it is met.
fn in_order(spans: &[Span]) -> Vec<(&Span, usize)> {
    let ids: BTreeMap<&str, usize> =
        spans.iter().enumerate().map(|(at, span)| (span.span.as_str(), at)).collect();
    let mut children: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    let mut tops = Vec::new();
    for (at, span) in spans.iter().enumerate() {
        match span.parent.as_deref().and_then(|parent| ids.get(parent)).filter(|parent| **parent != at) {
            Some(parent) => children.entry(*parent).or_default().push(at),
            None => tops.push(at),
        }
    }
    let begins = |at: &usize| spans[*at].at;
    tops.sort_by_key(begins);
    children.values_mut().for_each(|below| below.sort_by_key(begins));
    let mut seen = vec![false; spans.len()];
    let mut rows = Vec::with_capacity(spans.len());
    let mut walk = |top: usize, rows: &mut Vec<_>| {
        let mut stack = vec![(top, 0)];
        while let Some((at, depth)) = stack.pop() {
            if std::mem::replace(&mut seen[at], true) {
                continue;
            }
            rows.push((&spans[at], depth));
            let below = children.get(&at).map_or(&[][..], Vec::as_slice);
            stack.extend(below.iter().rev().map(|child| (*child, depth + 1)));
        }
    };
    for top in tops.into_iter().chain(0..spans.len()) {
        walk(top, &mut rows);
    }
    rows
}

/// When a span was at work within the whole, as `BAR` columns.
fn bar(from: u64, took: u64, whole: u64) -> String {
    let column = |micros: u64| (u128::from(micros) * BAR as u128 / u128::from(whole)) as usize;
    let first = column(from).min(BAR - 1);
    let last = column(from.saturating_add(took)).clamp(first + 1, BAR);
    format!("{}{}{}", " ".repeat(first), "█".repeat(last - first), " ".repeat(BAR - last))
}

/// When something was, seen from now.
pub(crate) fn ago(at: Timestamp, now: Timestamp) -> String {
    format!("{} ago", time::span(now.since(at)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(id: &str, parent: Option<&str>, service: &str, at: u64, took: u64) -> Span {
        Span {
            span: id.into(),
            parent: parent.map(str::to_owned),
            service: service.into(),
            name: "GET /".into(),
            kind: "server".into(),
            at: Timestamp::from_micros(at),
            duration_us: took,
            failed: false,
            message: None,
            attributes: BTreeMap::new(),
            events: Vec::new(),
            links: Vec::new(),
        }
    }

    #[test]
    fn children_stand_below_their_parents_and_bars_say_when_they_worked() {
        let mut failed = span("c", Some("b"), "payments", 600, 400);
        failed.failed = true;
        failed.message = Some("declined\u{1b}[2J".into());
        let log = LogRecord {
            cursor: String::new(),
            at: Timestamp::from_micros(700),
            service: "payments".into(),
            instance: Some("payments-1".into()),
            severity: api::Severity::Error,
            text: "card declined".into(),
            attributes: BTreeMap::new(),
            trace: None,
            span: Some("c".into()),
        };
        let spans =
            vec![span("a", None, "gateway", 0, 1000), failed, span("b", Some("a"), "orders", 100, 900)];
        let trace = Trace { trace: "ab".repeat(16), spans, logs: vec![log], errors: Vec::new() };
        insta::assert_snapshot!(waterfall(&trace, Paint::new(false)), @r"
        abababababababababababababababab 1.00 ms, 3 spans
        gateway  GET /      ████████████████████████████████████████ 1.00 ms
          orders  GET /         ████████████████████████████████████ 0.90 ms
            payments  GET /                         ████████████████ 0.40 ms declined
              · 0.70 ms payments-1: card declined
        ");
    }

    #[test]
    fn a_ring_of_parents_is_shown_once() {
        let spans = [
            span("a", Some("b"), "x", 0, 1),
            span("b", Some("a"), "x", 0, 1),
            span("c", Some("c"), "x", 0, 1),
        ];
        assert_eq!(in_order(&spans).len(), 3);
    }
}
