//! One trace over time, with what was logged and thrown in place; or by what took the time.

use std::collections::{BTreeMap, HashMap};

use api::{LogRecord, Occurrence, Severity, Span, Trace};
use kit::Timestamp;
use maud::{Markup, html};

use super::topology::GATEWAY;
use super::{Missing, errors, lines};
use crate::bits::{self, Tone};
use crate::desk::Desk;
use crate::draw::tree::{Piece, Row, rows};
use crate::draw::{flame, waterfall};
use crate::place::Place;
use crate::view::{At, View};
use crate::words::{self, clip};

/// Rows of a waterfall at most.
const MOST_SPANS: usize = 400;
/// Lines below one span at most, below all of them, and below none.
const MOST_HERE: usize = 8;
const MOST_NOTES: usize = 400;
const MOST_LOGS: usize = 200;
/// Colours of services.
const COLOURS: usize = 8;
/// A line is read from the output of a service, so it may come a little after the span that it belongs to.
const LATE_US: u64 = 20_000;
/// What comes later than this after all of the service's spans is not of any of them: something went on in the background.
const MUCH_LATER_US: u64 = 1_000_000;

pub(crate) async fn one(desk: &Desk, at: &At, id: &str) -> Result<View, Missing> {
    let trace = desk.client.trace(id).await?;
    let picture = Picture::of(&trace);
    let as_flame = at.query.text("as") == "flame";
    let title = trace
        .spans
        .first()
        .map_or_else(|| clip(id, 33), |span| format!("{} {}", span.service, operation(span)));
    let facts = html! {
        div.row {
            (picture.verdict())
            b { (words::micros(picture.took())) } span { (words::several(trace.spans.len() as u64, "span")) }
            @if let Some(first) = trace.spans.first() { (bits::date(first.at)) }
            span.mono.muted { (clip(&trace.trace, 33)) }
        }
        nav.tabs aria-label="How it is shown" {
            a href=(at.place.path()) aria-current=[(!as_flame).then_some("true")] { "Waterfall" }
            a href=(at.query.link(&at.place.path(), "as", "flame")) aria-current=[as_flame.then_some("true")] { "Flame graph" }
        }
        (picture.legend())
    };
    let drawn = if as_flame { picture.flame() } else { picture.over_time() };
    let command = format!("atoll trace show {}", words::shell(&trace.trace));
    let aside = html! { (bits::copy("atoll", &command)) (bits::copy("id", &trace.trace)) a.button href={ "/logs?trace=" (words::encode(&trace.trace)) } { "Logs" } };
    let view = View::new(clip(&title, 120)).aside(aside).still("facts", facts).still("picture", drawn);
    let mut thrown: Vec<(&Occurrence, usize)> = Vec::new();
    for error in &trace.errors {
        match thrown.iter_mut().find(|(known, _)| known.group == error.group) {
            Some((_, times)) => *times += 1,
            None => thrown.push((error, 1)),
        }
    }
    let view = if thrown.is_empty() {
        view
    } else {
        view.still("errors", html! { h2 { "Errors" } @for (number, (one, times)) in thrown.iter().take(20).enumerate() { (errors::occurrence(one, number == 0, Some(*times))) } })
    };
    let stray: Vec<&LogRecord> = picture.stray().take(MOST_LOGS).collect();
    Ok(if stray.is_empty() {
        view
    } else {
        view.still("logs", html! {
            section.panel aria-label="Logs" { h2 { "Logs of no span" } ol.lines { @for record in stray { (lines::record(record)) } } }
        })
    })
}

/// What a span did, as people say it: a call between services has the name of the pair that it is.
fn operation(span: &Span) -> String {
    let text = |key: &str| span.attributes.get(key).and_then(|value| value.as_str());
    match (text("http.request.method"), text("url.path")) {
        (Some(method), Some(path)) if span.name.contains(" -> ") || span.name == method => {
            format!("{method} {path}")
        }
        _ => span.name.clone(),
    }
}

/// A trace with everything where it belongs.
pub(crate) struct Picture<'a> {
    trace: &'a Trace,
    pieces: Vec<Piece<'a>>,
    order: Vec<Row>,
    bounds: (u64, u64),
    colours: BTreeMap<&'a str, usize>,
    /// By span: what was said and thrown in it.
    notes: HashMap<usize, Vec<Told<'a>>>,
    /// Records that are in `notes`.
    placed: Vec<bool>,
}

/// Something that was said or thrown within a span.
enum Told<'a> {
    Said(&'a LogRecord),
    Thrown(&'a Occurrence),
}

impl Told<'_> {
    fn at(&self) -> Timestamp {
        match self {
            Self::Said(record) => record.at,
            Self::Thrown(error) => error.at,
        }
    }
}

impl<'a> Picture<'a> {
    pub(crate) fn of(trace: &'a Trace) -> Self {
        let pieces: Vec<Piece<'_>> = trace.spans.iter().map(piece).collect();
        let order = rows(&pieces);
        let bounds = waterfall::bounds(&pieces);
        let mut colours = BTreeMap::new();
        for span in &trace.spans {
            let next = colours.len() % COLOURS;
            colours.entry(span.service.as_str()).or_insert(next);
        }
        let mut notes: HashMap<usize, Vec<Told<'a>>> = HashMap::new();
        let mut placed = vec![false; trace.logs.len()];
        for (number, record) in trace.logs.iter().enumerate() {
            if let Some(at) = place(&trace.spans, &record.service, record.span.as_deref(), record.at) {
                notes.entry(at).or_default().push(Told::Said(record));
                placed[number] = true;
            }
        }
        for error in &trace.errors {
            if let Some(at) = place(&trace.spans, &error.service, error.span.as_deref(), error.at) {
                notes.entry(at).or_default().push(Told::Thrown(error));
            }
        }
        notes.values_mut().for_each(|told| told.sort_by_key(Told::at));
        Self { trace, pieces, order, bounds, colours, notes, placed }
    }

    fn took(&self) -> u64 {
        self.bounds.1 - self.bounds.0
    }

    /// Whether it went well.
    fn verdict(&self) -> Markup {
        let failed = self.trace.spans.iter().filter(|span| span.failed).count() as u64;
        let thrown = self.trace.errors.len() as u64;
        html! {
            @if failed > 0 { (bits::badge(Tone::Bad, &format!("{} failed", words::several(failed, "span")))) }
            @if thrown > 0 { (bits::badge(Tone::Bad, &format!("{} thrown", words::several(thrown, "error")))) }
            @if failed == 0 && thrown == 0 { (bits::badge(Tone::Good, "fine")) }
        }
    }

    fn colour(&self, service: &str) -> String {
        format!("c{}", self.colours.get(service).copied().unwrap_or(0))
    }

    fn legend(&self) -> Markup {
        html! { ul.legend { @for service in self.colours.keys() { li { (dot(&self.colour(service))) (bits::service(service)) } } } }
    }

    fn flame(&self) -> Markup {
        let cells = flame::cells(&self.pieces, &self.order);
        html! {
            section.panel aria-label="Flame graph" {
                (flame::draw(&cells, |name| self.colour(name.split(' ').next().unwrap_or_default())))
                p.muted { "Work of one name below one parent is one cell, as wide as it took altogether." }
            }
        }
    }

    fn stray(&self) -> impl Iterator<Item = &'a LogRecord> {
        self.trace.logs.iter().zip(&self.placed).filter(|(_, placed)| !**placed).map(|(record, _)| record)
    }

    pub(crate) fn over_time(&self) -> Markup {
        let quarter = self.took() / 4;
        let mut left = MOST_NOTES;
        let rows: Vec<Markup> =
            self.order.iter().take(MOST_SPANS).map(|row| self.row(row, &mut left)).collect();
        html! {
            section.panel aria-label="Waterfall" {
                div.scroll { table.rows.waterfall {
                    caption.hidden { "Spans, and what was said and thrown in them" }
                    thead { tr { th scope="col" { "Who did what" } th.barcell scope="col" { div.axis { @for number in 0..4_u64 { span { (if number == 0 { "0".to_owned() } else { words::micros(quarter * number) }) } } } } th.num scope="col" { "Took" } } }
                    tbody { @for row in &rows { (row) } }
                } }
                @if self.order.len() > MOST_SPANS { p.muted { "and " (self.order.len() - MOST_SPANS) " more" } }
            }
        }
    }

    /// A span and what was told in it; of the latter no more than there is room left.
    fn row(&self, row: &Row, left: &mut usize) -> Markup {
        let span = &self.trace.spans[row.piece];
        let told = self.notes.get(&row.piece).map_or(&[][..], Vec::as_slice);
        let shown = told.len().min(MOST_HERE).min(*left);
        *left -= shown;
        let depth = format!("span d{}", row.depth.min(12));
        let colour = self.colour(&span.service);
        let status = span.attributes.get("http.response.status_code").and_then(serde_json::Value::as_u64);
        let from = span.attributes.get("atoll.from").and_then(serde_json::Value::as_str);
        html! {
            tr.is-bad[span.failed] {
                th scope="row" {
                    details class=(depth) {
                        summary {
                            (dot(&colour))
                            @if from == Some(GATEWAY) && span.service != GATEWAY { span.via { "gateway → " } }
                            b { (clip(&span.service, 40)) } " " span.what { (clip(&operation(span), 80)) }
                            @if let Some(status) = status { " " (lines::status(u16::try_from(status).unwrap_or(0))) }
                            @if span.failed && status.is_none_or(|status| status < 500) { " " (bits::badge(Tone::Bad, "failed")) }
                        }
                        (detail(span))
                    }
                }
                td.barcell { (waterfall::draw(&self.pieces[row.piece], self.bounds, &colour)) }
                td.num { (words::micros(span.duration_us)) }
            }
            @for one in &told[..shown] { (self.note(one, row.depth)) }
            @if told.len() > shown { tr.told { th scope="row" { div class=(format!("d{}", (row.depth + 1).min(12))) { "and " (told.len() - shown) " more" } } td.barcell {} td {} } }
        }
    }

    fn note(&self, told: &Told<'_>, depth: usize) -> Markup {
        let depth = format!("d{}", (depth + 1).min(12));
        let after = told.at().as_micros().saturating_sub(self.bounds.0);
        let full = match told {
            Told::Said(record) => lines::plain_text(&record.text).into_owned(),
            Told::Thrown(error) => format!("{}: {}", error.kind, error.message),
        };
        let (tone, what) = match told {
            Told::Said(record) => (
                if record.severity >= Severity::Error {
                    Tone::Bad
                } else if record.severity == Severity::Warn {
                    Tone::Warn
                } else {
                    Tone::Quiet
                },
                html! { (clip(&without(&lines::plain_text(&record.text), &self.trace.trace), 300)) },
            ),
            Told::Thrown(error) => (
                Tone::Bad,
                html! { a href=(Place::Error(error.group.clone()).path()) { b { (clip(&error.kind, 80)) } ": " (clip(&error.message, 200)) } },
            ),
        };
        html! {
            tr.told.(tone.class()) {
                th scope="row" { div class=(depth) title=(words::clip(&full, 600)) { i.dot {} span.text { (what) } } }
                td.barcell { (waterfall::moment(told.at().as_micros(), self.bounds, tone.class())) }
                td.num { "+" (words::micros(after)) }
            }
        }
    }
}

fn piece(span: &Span) -> Piece<'_> {
    Piece {
        id: &span.span,
        parent: span.parent.as_deref(),
        begin: span.at.as_micros(),
        took: span.duration_us,
        name: format!("{} {}", span.service, operation(span)),
    }
}

/// The span in which something was said or thrown: the one that was named, else the last one of the service that had begun
/// and was not over.
fn place(spans: &[Span], service: &str, named: Option<&str>, at: Timestamp) -> Option<usize> {
    if let Some(named) = named
        && let Some(found) = spans.iter().position(|span| span.span == named)
    {
        return Some(found);
    }
    let at = at.as_micros();
    let own =
        spans.iter().enumerate().filter(|(_, span)| span.service == service && span.at.as_micros() <= at);
    // What is read some time after it was printed belongs to what ended last.
    let end = |span: &Span| span.at.as_micros().saturating_add(span.duration_us);
    let rank = |span: &Span| {
        if at <= end(span).saturating_add(LATE_US) { (true, span.at.as_micros()) } else { (false, end(span)) }
    };
    let near = own.filter(|(_, span)| at <= end(span).saturating_add(MUCH_LATER_US));
    near.max_by_key(|(_, span)| rank(span)).map(|(number, _)| number)
}

/// A line without the word that names the trace: it stands in it.
fn without(text: &str, trace: &str) -> String {
    let words = text.split(' ').filter(|word| trace.is_empty() || !word.ends_with(trace));
    words.collect::<Vec<_>>().join(" ")
}

fn dot(class: &str) -> Markup {
    html! { svg.swatch.square viewBox="0 0 10 10" aria-hidden="true" { rect class=(class) width="10" height="10" rx="3" {} } }
}

fn detail(span: &Span) -> Markup {
    html! {
        dl.facts {
            div { dt { "Kind" } dd { (clip(&span.kind, 20)) } }
            @if let Some(message) = &span.message { div { dt { "Message" } dd { (clip(message, 500)) } } }
            @for (key, value) in span.attributes.iter().take(60) { div { dt { (clip(key, 80)) } dd { (clip(&lines::plain(value), 300)) } } }
            @for event in span.events.iter().take(20) { div { dt { (bits::time(event.at)) } dd { (clip(&event.name, 120)) @for (key, value) in event.attributes.iter().take(8) { " " i { (clip(key, 60)) "=" } (clip(&lines::plain(value), 120)) } } } }
            @for (trace, _) in span.links.iter().take(10) { div { dt { "Linked" } dd { (bits::trace(trace)) } } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(id: &str, service: &str, begin: u64, took: u64) -> Span {
        Span {
            span: id.into(),
            parent: None,
            service: service.into(),
            name: "orders -> payments".into(),
            kind: "server".into(),
            at: Timestamp::from_micros(begin),
            duration_us: took,
            failed: false,
            message: None,
            attributes: BTreeMap::new(),
            events: Vec::new(),
            links: Vec::new(),
        }
    }

    #[test]
    fn what_is_said_stands_in_the_span_it_names_or_in_which_it_was_said() {
        let spans = [
            span("a", "orders", 1_000, 90_000),
            span("b", "payments", 5_000, 9_000),
            span("c", "orders", 50_000, 100),
        ];
        let at = |us| Timestamp::from_micros(us);
        assert_eq!(place(&spans, "orders", Some("b"), at(0)), Some(1));
        assert_eq!(place(&spans, "payments", None, at(6_000)), Some(1));
        assert_eq!(place(&spans, "payments", Some("gone"), at(15_000)), Some(1), "a little late");
        assert_eq!(place(&spans, "orders", None, at(50_050)), Some(2), "the inner one");
        assert_eq!(place(&spans, "orders", None, at(900_000)), Some(0), "read some time after");
        assert_eq!(place(&spans, "orders", None, at(1_091_001)), None, "no part of the request any more");
        assert_eq!(place(&spans, "payments", None, at(4_000)), None);
        assert_eq!(place(&spans, "catalog", None, at(6_000)), None);
    }

    #[test]
    fn what_was_said_in_a_trace_is_shown_in_part() {
        let spans: Vec<Span> = (0..300).map(|n| span(&n.to_string(), "orders", n, 1)).collect();
        let line = |n: usize| LogRecord {
            cursor: String::new(),
            at: Timestamp::from_micros(0),
            service: "orders".into(),
            instance: None,
            severity: Severity::Info,
            text: format!("line {n} is said"),
            attributes: BTreeMap::new(),
            trace: None,
            span: Some((n / 10).to_string()),
        };
        let logs = (0..3_000).map(line).collect();
        let trace = Trace { trace: String::new(), spans, logs, errors: Vec::new() };
        let shown = Picture::of(&trace).over_time().into_string();
        // Each in its row and, whole, in the title of it.
        assert_eq!(shown.matches(" is said").count(), 2 * MOST_NOTES);
        assert!(shown.contains("and 2 more") && shown.contains("and 10 more"), "what is left out is told");
    }

    #[test]
    fn a_line_does_not_say_which_trace_it_stands_in() {
        assert_eq!(without("order placed request_id=abcd n=2", "abcd"), "order placed n=2");
        assert_eq!(without("as it is", ""), "as it is");
    }

    #[test]
    fn a_call_is_named_by_what_was_asked() {
        let mut call = span("a", "payments", 0, 1);
        assert_eq!(operation(&call), "orders -> payments");
        call.attributes.insert("http.request.method".into(), "POST".into());
        call.attributes.insert("url.path".into(), "/payments".into());
        assert_eq!(operation(&call), "POST /payments");
    }
}
