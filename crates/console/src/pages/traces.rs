//! Traces, found by what happened in them.

use api::{TraceQuery, TraceSummary};
use maud::{Markup, html};

use super::{Missing, SPANS, range, service_names};
use crate::bits::{self, Tone};
use crate::desk::Desk;
use crate::place::{Place, Query};
use crate::view::{At, View};
use crate::words::{self, clip};

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
        (bits::service_field(&at.query, &service_names(desk).await, "any"))
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
        @if found.is_empty() { (bits::empty("No trace fits in this time. Each request through the gateway, and each call between services, is one.")) } @else {
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
