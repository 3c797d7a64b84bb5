//! What changed.

use api::{Event, Level};
use maud::{Markup, html};

use super::{Missing, has};
use crate::bits;
use crate::desk::{Desk, all};
use crate::view::{At, View};
use crate::words::clip;

/// Events that are looked through.
const LOOKED: usize = 5_000;

const LEVELS: [(&str, &str); 3] = [("", "all"), ("warning", "warnings and errors"), ("error", "errors")];

pub(crate) async fn page(desk: &Desk, at: &At) -> Result<View, Missing> {
    let mut events = all(desk.client.events(0, false).await, LOOKED).await?;
    let least = match at.query.text("level") {
        "warning" => Level::Warning,
        "error" => Level::Error,
        _ => Level::Info,
    };
    let search = at.query.text("q");
    events.retain(|event| {
        let service = event.service.as_deref().unwrap_or_default();
        event.level >= least && has(search, &[&event.message, &event.kind, service])
    });
    events.reverse();
    let events: Vec<&Event> = events.iter().collect();
    let (shown, pager) = bits::page(&events, &at.query, "/events");
    let filters = html! {
        (bits::field(&at.query, "q", "Search", "message, kind, service"))
        (bits::choice(&at.query, "level", "Level", &LEVELS))
    };
    Ok(View::new("Events")
        .aside(bits::copy("atoll", "atoll events -f"))
        .still("filters", bits::filters("/events", &filters))
        .live("events", html! { (table(shown)) (pager) }))
}

/// Events as a table, in the order they are given.
pub(crate) fn table(events: &[&Event]) -> Markup {
    html! {
        @if events.is_empty() { (bits::empty("Nothing has happened.")) } @else {
            div.scroll { table.rows {
                caption.hidden { "Events" }
                thead { tr { th scope="col" { "Time" } th scope="col" { "Level" } th scope="col" { "What" } th scope="col" { "Service" } th scope="col" { "Kind" } } }
                tbody { @for event in events {
                    @let (tone, word) = bits::of_level(event.level);
                    tr {
                        td { (bits::time(event.at)) }
                        td { (bits::badge(tone, word)) }
                        th.said scope="row" { (clip(&event.message, 300)) @if let Some(code) = &event.code { " " code { (clip(code, 8)) } } @if let Some(hint) = &event.hint { span.muted { " " (clip(hint, 200)) } } }
                        td { @if let Some(service) = &event.service { (bits::service(service)) } }
                        td.mono.muted { (clip(&event.kind, 40)) }
                    }
                } }
            } }
        }
    }
}
