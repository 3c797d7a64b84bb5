//! Traces: found by what happened in them; and one of them over time, with what was logged and thrown in place.

use std::collections::{BTreeMap, HashMap};

use api::{Span, Trace, TraceQuery, TraceSummary};
use maud::{Markup, html};

use super::{Missing, SPANS, errors, lines, range};
use crate::bits::{self, Tone};
use crate::desk::Desk;
use crate::draw::tree::{Piece, rows};
use crate::draw::{flame, waterfall};
use crate::place::{Place, Query};
use crate::view::{At, View};
use crate::words::{self, clip};

/// Rows of a waterfall at most.
const MOST_SPANS: usize = 400;
/// Lines beside a trace at most.
const MOST_LOGS: usize = 200;
/// Colours of services.
const COLOURS: usize = 8;
/// Attributes that a search can name.
const MOST_FIELDS: usize = 8;

const RESULTS: [(&str, &str); 3] = [("", "any result"), ("yes", "failed"), ("no", "not failed")];
const LIMITS: [(&str, &str); 3] = [("", "100 at most"), ("20", "20 at most"), ("500", "500 at most")];

fn question(query: &Query) -> TraceQuery {
    let micros = |name: &str| query.number::<f64>(name).filter(|ms| *ms >= 0.0).map(|ms| (ms * 1e3) as u64);
    let attributes =
        query.text("q").split_whitespace().filter_map(|field| field.split_once('=')).take(MOST_FIELDS);
    TraceQuery {
        service: query.get("service").map(str::to_owned),
        operation: query.get("operation").map(str::to_owned),
        failed: query.get("failed").map(|failed| failed == "yes"),
        min_us: micros("min"),
        max_us: micros("max"),
        attributes: attributes.map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
        limit: Some(query.number::<u32>("limit").unwrap_or(100).clamp(1, 500)),
        ..TraceQuery::default()
    }
}

pub(crate) async fn list(desk: &Desk, at: &At) -> Result<View, Missing> {
    let (asked, _) = range(&at.query, desk.now());
    let found = desk.client.traces(&TraceQuery { range: asked, ..question(&at.query) }).await;
    let filters = html! {
        (bits::field(&at.query, "service", "Service", "any"))
        (bits::field(&at.query, "operation", "Operation", "any"))
        (bits::field(&at.query, "q", "Attributes", "http.route=/books"))
        label.field { span { "Longer than (ms)" } input type="number" step="any" min="0" name="min" value=(at.query.text("min")); }
        label.field { span { "Shorter than (ms)" } input type="number" step="any" min="0" name="max" value=(at.query.text("max")); }
        (bits::choice(&at.query, "failed", "Result", &RESULTS))
        (bits::choice(&at.query, "last", "Time", &SPANS))
        (bits::choice(&at.query, "limit", "Count", &LIMITS))
    };
    let view = View::new("Traces").still("filters", bits::filters("/traces", &filters));
    Ok(match found {
        Ok(found) => view.live("traces", listed(&found, at)).say(words::several(found.len() as u64, "trace")),
        Err(error) => view.live("traces", bits::note(&error.into())),
    })
}

fn listed(found: &[TraceSummary], at: &At) -> Markup {
    let longest = found.iter().map(|trace| trace.duration_us).max().unwrap_or(1).max(1);
    let (shown, pager) = bits::page(found, &at.query, "/traces");
    html! {
        @if found.is_empty() { (bits::empty("No trace fits in this time.")) } @else {
            div.scroll { table.rows {
                caption.hidden { "Traces" }
                thead { tr { th scope="col" { "Time" } th scope="col" { "What" } th.num scope="col" { "Took" } th scope="col" { span.hidden { "As a bar" } } th.num scope="col" { "Spans" } th scope="col" { "Result" } th scope="col" { "Services" } } }
                tbody { @for trace in shown { tr {
                    td { (bits::time(trace.at)) }
                    th scope="row" { a href=(Place::Trace(trace.trace.clone()).path()) { (clip(&trace.service, 40)) " " (clip(&trace.operation, 80)) } }
                    td.num { (words::micros(trace.duration_us)) }
                    td.barcell { svg.bar viewBox="0 0 1000 16" preserveAspectRatio="none" aria-hidden="true" { rect.c0 x="0" y="4" width=((trace.duration_us * 1_000 / longest).max(4)) height="8" rx="2" {} } }
                    td.num { (trace.spans) }
                    td { @if trace.errors > 0 { (bits::badge(Tone::Bad, &words::several(trace.errors.into(), "error"))) } @else { (bits::badge(Tone::Good, "fine")) } }
                    td { (clip(&trace.services.join(", "), 80)) }
                } } }
            } }
            (pager)
        }
    }
}

pub(crate) async fn one(desk: &Desk, at: &At, id: &str) -> Result<View, Missing> {
    let trace = desk.client.trace(id).await?;
    let pieces: Vec<Piece<'_>> = trace.spans.iter().map(piece).collect();
    let bounds = waterfall::bounds(&pieces);
    let colours = colours(&trace);
    let failed = trace.spans.iter().filter(|span| span.failed).count();
    let as_flame = at.query.text("as") == "flame";
    let title =
        trace.spans.first().map_or_else(|| clip(id, 33), |span| format!("{} {}", span.service, span.name));
    let facts = html! {
        div.row {
            @if failed > 0 { (bits::badge(Tone::Bad, &words::several(failed as u64, "error"))) } @else { (bits::badge(Tone::Good, "fine")) }
            span { (words::micros(bounds.1 - bounds.0)) } span { (words::several(trace.spans.len() as u64, "span")) }
            @if let Some(first) = trace.spans.first() { (bits::date(first.at)) }
            span.mono.muted { (clip(&trace.trace, 33)) }
        }
        nav.tabs aria-label="How it is shown" {
            a href=(at.place.path()) aria-current=[(!as_flame).then_some("true")] { "Over time" }
            a href=(at.query.link(&at.place.path(), "as", "flame")) aria-current=[as_flame.then_some("true")] { "By time taken" }
        }
        ul.legend { @for (service, colour) in &colours { li { (dot(*colour)) (clip(service, 63)) } } }
    };
    let order = rows(&pieces);
    let picture = if as_flame {
        let cells = flame::cells(&pieces, &order);
        html! {
            section.panel aria-label="Flame graph" {
                (flame::draw(&cells, |name| class(colours.get(name.split(' ').next().unwrap_or_default()).copied())))
            }
        }
    } else {
        over_time(&trace, &pieces, &order, bounds, &colours)
    };
    let view = View::new(clip(&title, 120)).aside(html! { (bits::copy("id", &trace.trace)) a.button href={ "/logs?trace=" (words::encode(&trace.trace)) } { "Logs" } });
    let view = view.still("facts", facts).still("picture", picture);
    let view = if trace.errors.is_empty() {
        view
    } else {
        view.still("errors", html! { h2 { "Errors" } @for one in trace.errors.iter().take(20) { (errors::occurrence(one, false)) } })
    };
    Ok(if trace.logs.is_empty() {
        view
    } else {
        view.still("logs", html! {
            section.panel aria-label="Logs" { h2 { "Logs" } ol.lines { @for record in trace.logs.iter().take(MOST_LOGS) { (lines::record(record)) } } }
        })
    })
}

fn piece(span: &Span) -> Piece<'_> {
    Piece {
        id: &span.span,
        parent: span.parent.as_deref(),
        begin: span.at.as_micros(),
        took: span.duration_us,
        name: format!("{} {}", span.service, span.name),
    }
}

/// A colour for each service, in the order they appear.
fn colours(trace: &Trace) -> BTreeMap<String, usize> {
    let mut colours = BTreeMap::new();
    for span in &trace.spans {
        let next = colours.len() % COLOURS;
        colours.entry(span.service.clone()).or_insert(next);
    }
    colours
}

fn class(colour: Option<usize>) -> String {
    format!("c{}", colour.unwrap_or(0))
}

fn dot(colour: usize) -> Markup {
    let class = class(Some(colour));
    html! { svg.swatch viewBox="0 0 10 10" aria-hidden="true" { rect class=(class) width="10" height="10" rx="2" {} } }
}

fn over_time(
    trace: &Trace,
    pieces: &[Piece<'_>],
    order: &[crate::draw::tree::Row],
    bounds: (u64, u64),
    colours: &BTreeMap<String, usize>,
) -> Markup {
    let mut marks: HashMap<&str, Vec<(u64, String)>> = HashMap::new();
    for record in &trace.logs {
        if let Some(span) = &record.span {
            marks
                .entry(span)
                .or_default()
                .push((record.at.as_micros(), format!("log: {}", clip(&record.text, 160))));
        }
    }
    for error in &trace.errors {
        if let Some(span) = &error.span {
            let told = format!("{}: {}", clip(&error.kind, 60), clip(&error.message, 160));
            marks.entry(span).or_default().push((error.at.as_micros(), told));
        }
    }
    html! {
        section.panel aria-label="Waterfall" {
            div.scroll { table.rows.waterfall {
                caption.hidden { "Spans" }
                thead { tr { th scope="col" { "Span" } th.barcell scope="col" { "0 – " (words::micros(bounds.1 - bounds.0)) } th.num scope="col" { "Took" } } }
                tbody { @for row in order.iter().take(MOST_SPANS) {
                    @let span = &trace.spans[row.piece];
                    @let none = Vec::new();
                    @let marks = marks.get(span.span.as_str()).unwrap_or(&none);
                    @let colour = class(colours.get(&span.service).copied());
                    @let depth = format!("span d{}", row.depth.min(12));
                    tr {
                        th scope="row" {
                            details class=(depth) {
                                summary { b { (clip(&span.service, 40)) } " " (clip(&span.name, 80)) @if span.failed { " " (bits::badge(Tone::Bad, "failed")) } @if !marks.is_empty() { " " span.tag { (marks.len()) " in place" } } }
                                (detail(span, marks))
                            }
                        }
                        td.barcell { (waterfall::draw(&pieces[row.piece], bounds, &colour, marks)) }
                        td.num { (words::micros(span.duration_us)) }
                    }
                } }
            } }
            @if order.len() > MOST_SPANS { p.muted { "and " (order.len() - MOST_SPANS) " more" } }
        }
    }
}

fn detail(span: &Span, marks: &[(u64, String)]) -> Markup {
    html! {
        dl.facts {
            div { dt { "Kind" } dd { (clip(&span.kind, 20)) } }
            @if let Some(message) = &span.message { div { dt { "Message" } dd { (clip(message, 500)) } } }
            @for (key, value) in span.attributes.iter().take(60) { div { dt { (clip(key, 80)) } dd { (clip(&lines::plain(value), 300)) } } }
            @for event in span.events.iter().take(20) { div { dt { (bits::time(event.at)) } dd { (clip(&event.name, 120)) @for (key, value) in event.attributes.iter().take(8) { " " i { (clip(key, 60)) "=" } (clip(&lines::plain(value), 120)) } } } }
            @for (_, told) in marks.iter().take(20) { div { dt { "Then" } dd { (told) } } }
            @for (trace, _) in span.links.iter().take(10) { div { dt { "Linked" } dd { (bits::trace(trace)) } } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_becomes_a_question() {
        let query = Query::parse(
            &"/traces?service=orders&min=1.5&failed=yes&q=http.route%3D%2Fbooks%20x&limit=9999"
                .parse()
                .unwrap(),
        );
        let question = question(&query);
        assert_eq!((question.min_us, question.failed, question.limit), (Some(1_500), Some(true), Some(500)));
        assert_eq!(question.attributes["http.route"], "/books");
        assert_eq!(super::question(&Query::default()).failed, None);
    }
}
