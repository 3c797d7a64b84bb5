//! The app at one look.

use api::{BreakerState, Event, Level, Status};
use maud::{Markup, html};

use super::{Missing, range, topology};
use crate::bits::{self, Tone};
use crate::desk::{Desk, all};
use crate::draw::{graph, series};
use crate::feed::Rates;
use crate::place::{Place, Query};
use crate::view::{At, View};
use crate::words;

/// Events that are shown.
const FEW: usize = 8;
/// Things that need somebody, shown at most.
const MOST_TROUBLES: usize = 12;
/// Events that are looked through.
const EVENTS: usize = 2_000;

pub(crate) async fn page(desk: &Desk, _: &At) -> Result<View, Missing> {
    let now = desk.now();
    let (five_minutes, _) = range(&Query::parse(&axum::http::Uri::from_static("/?last=5m")), now);
    let all_errors = api::ErrorQuery::default();
    let (status, usage, queues, seen, events, failing) = tokio::join!(
        desk.feed.status(),
        desk.client.usage(),
        desk.client.queues(),
        desk.client.graph(&five_minutes),
        all(desk.client.events(0, false).await, EVENTS),
        desk.client.errors(&all_errors),
    );
    let status = status?;
    let rates = usage.as_ref().map(|usage| desk.feed.look(usage)).unwrap_or_default();
    let (queues, events) = (queues.unwrap_or_default(), events.unwrap_or_default());
    let (nodes, edges) = topology::of(&status, &queues, seen.ok().as_ref());
    let ready = status.services.iter().filter(|s| s.ready >= s.desired && s.desired > 0).count();
    let wanted = status.services.iter().filter(|s| s.desired > 0).count();
    let said = format!("{ready} of {} ready", words::several(wanted as u64, "service"));
    let waiting: u64 = queues.iter().map(|queue| queue.visible).sum();
    let failing = failing.ok().map(|groups| groups.len() as u64);
    let cards = html! {
        div.cards {
            (bits::card("Services", &format!("{ready} / {wanted}"), &html! { "ready" }))
            (instances(&status))
            (throughput(&rates))
            (node(&rates, usage.as_ref().ok()))
            @if !queues.is_empty() {
                (bits::card("Queues", &words::count(waiting), &html! { "waiting in " a href=(Place::Queues.path()) { (words::several(queues.len() as u64, "queue")) } }))
            }
            @if let Some(failing) = failing {
                (bits::card("Errors", &words::count(failing), &html! { a href=(Place::Errors.path()) { "groups that are open" } }))
            }
        }
    };
    let view = View::new("Overview")
        .aside(html! { @for url in &status.gateway { a.mono.out href=(url) rel="noreferrer" { (url) } } })
        .live("cards", cards)
        .live("troubles", troubles(&status, &events))
        .live("graph", html! {
            section.panel aria-label="The app" {
                h2 { "The app" }
                @if nodes.is_empty() { (bits::empty("Nothing runs yet: `atoll up`.")) } @else { (graph::draw(&nodes, &edges)) }
            }
        })
        .live("changes", html! {
            section.panel aria-label="What changed" {
                h2 { "What changed" }
                (super::events::table(&events.iter().rev().take(FEW).collect::<Vec<_>>()))
                p { a href=(Place::Events.path()) { "All events" } }
            }
        });
    Ok(view.say(said))
}

fn instances(status: &Status) -> Markup {
    let ready: u32 = status.services.iter().map(|service| service.ready).sum();
    let wanted: u32 = status.services.iter().map(|service| service.desired).sum();
    let restarts: u32 =
        status.services.iter().flat_map(|s| &s.instances).map(|instance| instance.restarts).sum();
    let more = html! { (words::several(restarts.into(), "restart")) " after failures" };
    bits::card("Instances", &format!("{ready} / {wanted}"), &more)
}

fn throughput(rates: &Rates) -> Markup {
    let now = rates.requests.last().map_or(0.0, |(_, rate)| *rate);
    bits::card(
        "Requests",
        &format!("{} / s", words::number(now)),
        &series::spark("Requests a second", &rates.requests, words::number),
    )
}

fn node(rates: &Rates, usage: Option<&api::Usage>) -> Markup {
    let memory = usage.map_or(0, |usage| usage.node.memory);
    let cores = rates.cpu.last().map_or(0.0, |(_, cores)| *cores);
    let write = |cores: f64| format!("{} cores", words::number(cores));
    let more = html! { (series::spark("CPU of the node", &rates.cpu, write)) span { (words::number(cores)) " cores" } };
    bits::card("Node", &words::bytes(memory), &more)
}

/// What needs somebody: nothing else is listed.
fn troubles(status: &Status, events: &[Event]) -> Markup {
    let mut troubles: Vec<(Tone, Markup)> = Vec::new();
    for service in &status.services {
        let tone = bits::of_service(service.state);
        if tone >= Tone::Warn {
            troubles.push((tone, html! { (bits::service(&service.name)) " is " (service.state.as_str()) ": " (words::clip(&service.detail, 200)) }));
        }
        for instance in &service.instances {
            if let Some(left) = instance.ejected_ms {
                let text = html! { (bits::service(&service.name)) ": " (instance.name) " is passed over for " (words::micros(left * 1_000)) };
                troubles.push((Tone::Warn, text));
            }
        }
    }
    for guard in &status.guards {
        let Some(breaker) = guard.breaker.as_ref().filter(|breaker| breaker.state != BreakerState::Closed)
        else {
            continue;
        };
        let tone = bits::of_breaker(breaker.state);
        let text = html! { a href=(Place::Routes.path()) { "Breaker of " (words::clip(&guard.route, 80)) } " is " (breaker.state.as_str()) };
        troubles.push((tone, text));
    }
    troubles.sort_by_key(|(tone, _)| std::cmp::Reverse(*tone));
    let errors = events.iter().rev().take(200).filter(|event| event.level == Level::Error).count();
    html! {
        @if !troubles.is_empty() {
            section.panel.troubles aria-label="Needs attention" {
                h2 { "Needs attention" }
                ul.plain {
                    @for (tone, text) in troubles.iter().take(MOST_TROUBLES) { li { (bits::badge(*tone, word(*tone))) " " (text) } }
                    @if troubles.len() > MOST_TROUBLES { li { "and " (troubles.len() - MOST_TROUBLES) " more" } }
                }
                @if errors > 0 { p.muted { (words::several(errors as u64, "error")) " among the last events" } }
            }
        }
    }
}

const fn word(tone: Tone) -> &'static str {
    match tone {
        Tone::Bad => "failing",
        Tone::Warn => "warning",
        _ => "changing",
    }
}
