//! Logs: searched where records are kept, else the last lines that services printed; and on from there.

use api::{LogQuery, LogRecord, Severity};
use maud::{Markup, html};

use super::{Missing, SPANS, has, lines, range, service_names};
use crate::bits;
use crate::desk::{Desk, all};
use crate::place::Query;
use crate::view::{At, View};
use crate::words;

/// Records on a page.
const SHOWN: usize = 200;
/// Lines that are looked through where no records are kept.
const LOOKED: usize = 2_000;
/// Fields that a search can name.
const MOST_FIELDS: usize = 8;

const SEVERITIES: [(&str, &str); 6] = [
    ("", "any severity"),
    ("debug", "debug and above"),
    ("info", "info and above"),
    ("warn", "warn and above"),
    ("error", "error and above"),
    ("fatal", "fatal"),
];

/// What a search asks: words, and `field=value`.
pub(crate) fn question(query: &Query) -> LogQuery {
    let (fields, words): (Vec<&str>, Vec<&str>) = query.text("q").split_whitespace().partition(|word| {
        word.split_once('=').is_some_and(|(key, value)| !key.is_empty() && !value.is_empty())
    });
    let attributes = fields.into_iter().take(MOST_FIELDS).filter_map(|field| field.split_once('='));
    LogQuery {
        words: words.into_iter().map(str::to_owned).collect(),
        service: query.get("service").map(str::to_owned),
        instance: query.get("instance").map(str::to_owned),
        severity: match query.text("severity") {
            "debug" => Some(Severity::Debug),
            "info" => Some(Severity::Info),
            "warn" => Some(Severity::Warn),
            "error" => Some(Severity::Error),
            "fatal" => Some(Severity::Fatal),
            _ => None,
        },
        attributes: attributes.map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
        trace: query.get("trace").map(str::to_owned),
        ..LogQuery::default()
    }
}

pub(crate) async fn page(desk: &Desk, at: &At) -> Result<View, Missing> {
    let (asked, _) = range(&at.query, desk.now());
    let before = at.query.get("before").map(str::to_owned);
    let question = LogQuery { range: asked, limit: Some(SHOWN as u32), before, ..question(&at.query) };
    let records = all(desk.client.records(&question).await, SHOWN).await;
    let filters = html! {
        (bits::field(&at.query, "q", "Search", "words, field=value"))
        (bits::service_field(&at.query, &service_names(desk).await, "any"))
        (bits::choice(&at.query, "severity", "Severity", &SEVERITIES))
        (bits::choice(&at.query, "last", "Time", &SPANS))
    };
    let view = View::new("Logs").aside(bits::copy("atoll", &command(&at.query)));
    let view = view.still("filters", bits::filters("/logs", &filters));
    Ok(match records {
        Ok(records) => view.still("records", found(desk, at, &records)),
        Err(_) => view.still("records", printed(desk, at).await?),
    })
}

fn command(query: &Query) -> String {
    let service =
        query.get("service").map_or_else(String::new, |service| format!(" {}", words::shell(service)));
    format!("atoll logs -f{service}")
}

/// Records that were found, the newest first.
fn found(desk: &Desk, at: &At, records: &[LogRecord]) -> Markup {
    let since = records.first().map_or_else(|| desk.now(), |record| record.at);
    let follow = at.query.get("before").is_none().then(|| lines::address("records", &at.query, since));
    let older = records
        .last()
        .filter(|_| records.len() == SHOWN)
        .map(|record| at.query.link("/logs", "before", &record.cursor));
    html! {
        @if follow.is_some() { div.row { (lines::pause()) span.muted { "The newest first, as they come." } } }
        ol.lines data-tail=[follow] data-first data-most=(lines::MOST_LINES) tabindex="0" aria-label="Log records, the newest first" {
            @for record in records { (lines::record(record)) }
        }
        @if records.is_empty() { (bits::empty("Nothing fits in this time. What services print appears here by itself; `OTEL_EXPORTER_OTLP_ENDPOINT` takes log records too.")) }
        @if let Some(older) = older { nav.pager aria-label="Pages" { a rel="next" href=(older) { "Older →" } } }
    }
}

/// What services printed last.
async fn printed(desk: &Desk, at: &At) -> Result<Markup, Missing> {
    let plain = |name: &&str| name.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c));
    let target: Vec<String> = at.query.get("service").filter(plain).map(str::to_owned).into_iter().collect();
    let printed = all(desk.client.logs(&target, Some(LOOKED), None, false).await, LOOKED).await?;
    let search = at.query.text("q");
    let fits: Vec<_> = printed.iter().filter(|line| has(search, &[&line.text, &line.instance])).collect();
    let since = printed.last().map_or_else(|| desk.now(), |line| line.at);
    let follow = lines::address("output", &at.query, since);
    Ok(html! {
        p.note { "No log records are kept, so this looks through the last " (words::count(LOOKED as u64)) " lines that services printed." }
        div.row { (lines::pause()) span.muted { "The newest first, as they come." } }
        ol.lines data-tail=(follow) data-first data-most=(lines::MOST_LINES) tabindex="0" aria-label="Lines, the newest first" {
            @for line in fits.iter().rev().take(SHOWN) { (lines::line_of(line)) }
        }
        @if fits.is_empty() { (bits::empty("No line fits.")) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_is_words_and_fields() {
        let query = Query::parse(
            &"/logs?q=card%20declined%20user%3D7%20%3Dx&severity=warn&service=orders".parse().unwrap(),
        );
        let question = question(&query);
        assert_eq!(question.words, ["card", "declined", "=x"]);
        assert_eq!(question.attributes.get("user").map(String::as_str), Some("7"));
        assert_eq!((question.severity, question.service.as_deref()), (Some(Severity::Warn), Some("orders")));
        assert_eq!(command(&query), "atoll logs -f orders");
    }
}
