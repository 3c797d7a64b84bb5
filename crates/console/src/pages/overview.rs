//! The app at one look.

use std::collections::BTreeMap;
use std::time::Duration;

use api::{
    BreakerState, ErrorGroup, Event, Latency, LatencyQuery, Level, MetricQuery, Range, Series, Slo, Status,
};
use kit::Timestamp;
use maud::{Markup, html};

use super::topology::{self, GATEWAY, Pipes};
use super::{Missing, queues};
use crate::bits::{self, Tone};
use crate::desk::{Desk, all};
use crate::draw::{graph, series};
use crate::feed::Rates;
use crate::place::Place;
use crate::view::{At, View};
use crate::words;

/// Events that are shown.
const FEW: usize = 8;
/// Groups of errors that are shown.
const FEW_ERRORS: usize = 4;
/// Groups of errors that are counted.
const MOST_GROUPS: u32 = 100;
/// Things that need somebody, shown at most.
const MOST_TROUBLES: usize = 12;
/// Events that are looked through.
const EVENTS: usize = 2_000;
/// The time that small charts show, and how much of it lies between two of their points.
const LATELY: Duration = Duration::from_secs(15 * 60);
const POINT_S: u32 = 15;
/// From this share of failures on it is told in red.
const MANY_FAILED: f64 = 0.01;
const MINUTE: u64 = 60_000_000;

pub(crate) async fn page(desk: &Desk, _: &At) -> Result<View, Missing> {
    let now = desk.now();
    // Whole minutes, because what was seen is kept by the minute: this one and the one before.
    let minute = Timestamp::from_micros((now.as_micros() / MINUTE).saturating_sub(1) * MINUTE);
    let this_minute = Range { since: Some(minute), until: Some(now) };
    let lately = Range { since: Some(now - LATELY), until: Some(now) };
    let flow = MetricQuery {
        name: "atoll_requests_total".to_owned(),
        range: lately,
        step_s: Some(POINT_S),
        ..MetricQuery::default()
    };
    let long = LatencyQuery { range: lately, ..LatencyQuery::default() };
    let all_errors = api::ErrorQuery { limit: Some(MOST_GROUPS), ..api::ErrorQuery::default() };
    let (status, usage, pipes, seen, events, failing, flow, long, promised) = tokio::join!(
        desk.feed.status(),
        desk.client.usage(),
        queues::pipes(desk),
        desk.client.graph(&this_minute),
        all(desk.client.events(0, false).await, EVENTS),
        desk.client.errors(&all_errors),
        desk.client.series(&flow),
        desk.client.latency(&long),
        desk.client.slos(),
    );
    let status = status?;
    let rates = usage.as_ref().map(|usage| desk.feed.look(usage)).unwrap_or_default();
    let events = events.unwrap_or_default();
    let seen = seen.ok();
    let (nodes, edges) = topology::of(&status, &pipes, seen.as_ref());
    let ready = status.services.iter().filter(|s| s.ready >= s.desired && s.desired > 0).count();
    let wanted = status.services.iter().filter(|s| s.desired > 0).count();
    let said = format!("{ready} of {} ready", words::several(wanted as u64, "service"));
    let failing = failing.ok();
    let entered = seen.as_ref().map(|seen| {
        let entered = seen.edges.iter().filter(|edge| edge.from == GATEWAY && edge.to != GATEWAY);
        entered.fold((0, 0), |(count, errors), edge| (count + edge.count, errors + edge.errors))
    });
    let cards = html! {
        div.cards {
            (throughput(&rates, &summed(&flow.unwrap_or_default())))
            @if let Some((count, errors)) = entered { (failures(count, errors)) }
            @if let Ok(long) = &long { (slowest(long, now)) }
            (instances(&status))
            @if !pipes.queues.is_empty() { (waiting(&pipes)) }
            @if let Some(failing) = &failing { (errors(failing)) }
            (node(&rates, usage.as_ref().ok()))
        }
    };
    let recent: Vec<&Event> = events.iter().rev().filter(|event| is_news(event)).take(FEW).collect();
    let view = View::new("Overview")
        .aside(html! { @for url in &status.gateway { a.mono.out href=(url) rel="noreferrer" { (url) } } })
        .live("cards", cards)
        .live("troubles", troubles(&status, &events, failing.as_deref().unwrap_or_default(), &promised.unwrap_or_default()))
        .live("graph", html! {
            section.panel aria-label="The app" {
                div.row.between {
                    h2 { "The app" }
                    ul.legend { li { span.key.good {} "calls" } li { span.key.warn {} "some fail" } li { span.key.bad {} "many fail" } li { span.key.quiet {} "declared" } }
                }
                @if nodes.is_empty() { (bits::empty("Nothing runs yet. Write a service into `atoll.yaml`, then `atoll up`.")) } @else { (graph::draw(&nodes, &edges)) }
            }
        })
        .live("changes", html! {
            section.panel aria-label="What changed" {
                div.row.between { h2 { "What changed" } a href=(Place::Events.path()) { "All events" } }
                (super::events::table(&recent))
            }
        });
    Ok(view.say(said))
}

/// Whether an event is worth a line here: that a process began is told again when it is ready.
fn is_news(event: &Event) -> bool {
    event.level > Level::Info || event.kind != "instance.started"
}

/// Series as one.
fn summed(series: &[Series]) -> Vec<(Timestamp, f64)> {
    let mut sums: BTreeMap<Timestamp, f64> = BTreeMap::new();
    for (at, value) in series.iter().flat_map(|one| &one.points).filter(|(_, value)| value.is_finite()) {
        *sums.entry(*at).or_default() += value;
    }
    sums.into_iter().collect()
}

fn failures(count: u64, errors: u64) -> Markup {
    let value = if count == 0 { "–".to_owned() } else { words::percent(errors, count) };
    let tone = match errors as f64 / count.max(1) as f64 {
        share if share >= MANY_FAILED => Some(Tone::Bad),
        _ if errors > 0 => Some(Tone::Warn),
        _ => None,
    };
    let more = html! {
        @if errors > 0 { a href="/traces?failed=yes&last=5m" { (words::count(errors)) " of " (words::several(count, "request")) } }
        @else if count > 0 { "of " (words::several(count, "request")) }
        @else { "no request in the last minute" }
    };
    bits::card_in(tone, "Failed", &value, &more)
}

/// Within which time 99 of 100 calls were answered in the last two minutes, and over the time before.
fn slowest(long: &[Latency], now: Timestamp) -> Markup {
    let mut minutes: BTreeMap<Timestamp, BTreeMap<u64, u64>> = BTreeMap::new();
    for step in long {
        let buckets = minutes.entry(step.at).or_default();
        step.buckets.iter().for_each(|(bound, count)| *buckets.entry(*bound).or_default() += count);
    }
    let points: Vec<(Timestamp, f64)> =
        minutes.iter().filter_map(|(at, buckets)| Some((*at, within(buckets)? as f64))).collect();
    let recent = points.last().filter(|(at, _)| now.since(*at) < Duration::from_secs(120));
    let value = recent.map_or_else(|| "–".to_owned(), |(_, us)| words::micros(*us as u64));
    let more =
        html! { (series::spark("99 % of calls answered within", &points, |us| words::micros(us as u64))) };
    bits::card("99 % within", &value, &more)
}

/// The bound below which 99 of 100 are.
fn within(buckets: &BTreeMap<u64, u64>) -> Option<u64> {
    let all: u64 = buckets.values().sum();
    let mut passed = 0;
    buckets.iter().find_map(|(bound, count)| {
        passed += count;
        (all > 0 && passed * 100 >= all * 99).then_some(*bound)
    })
}

fn waiting(pipes: &Pipes) -> Markup {
    let dead: std::collections::BTreeSet<&String> =
        pipes.queues.iter().filter_map(|queue| Some(&queue.dead_letter.as_ref()?.0)).collect();
    let (gone, live): (Vec<_>, Vec<_>) = pipes.queues.iter().partition(|queue| dead.contains(&queue.name));
    let waiting: u64 = live.iter().map(|queue| queue.visible).sum();
    let given_up: u64 = gone.iter().map(|queue| queue.visible + queue.in_flight).sum();
    let tone = (given_up > 0).then_some(Tone::Warn);
    let more = html! {
        "waiting in " a href=(Place::Queues.path()) { (words::several(live.len() as u64, "queue")) }
        @if given_up > 0 { ", " (words::several(given_up, "dead letter")) }
    };
    bits::card_in(tone, "Messages", &words::count(waiting), &more)
}

fn errors(failing: &[ErrorGroup]) -> Markup {
    let tone = (!failing.is_empty()).then_some(Tone::Bad);
    let more = html! { a href=(Place::Errors.path()) { (if failing.is_empty() { "nothing is thrown" } else { "groups to look at" }) } };
    let mut count = words::count(failing.len() as u64);
    if failing.len() >= MOST_GROUPS as usize {
        count.push('+'); // so many were asked for: there may be more
    }
    bits::card_in(tone, "Errors", &count, &more)
}

fn instances(status: &Status) -> Markup {
    let ready: u32 = status.services.iter().map(|service| service.ready).sum();
    let wanted: u32 = status.services.iter().map(|service| service.desired).sum();
    let restarts: u32 =
        status.services.iter().flat_map(|s| &s.instances).map(|instance| instance.restarts).sum();
    let more = html! { (words::several(restarts.into(), "restart")) };
    bits::card("Instances", &format!("{ready} / {wanted}"), &more)
}

fn throughput(rates: &Rates, lately: &[(Timestamp, f64)]) -> Markup {
    let now = rates.requests.last().or(lately.last()).map_or(0.0, |(_, rate)| *rate);
    let points = if lately.len() > 1 { lately } else { &rates.requests };
    let spark = series::spark("Requests a second", points, words::number);
    bits::card("Requests / s", &words::number(now), &spark)
}

fn node(rates: &Rates, usage: Option<&api::Usage>) -> Markup {
    let memory = usage.map_or(0, |usage| usage.node.memory);
    let cores = rates.cpu.last().map_or(0.0, |(_, cores)| *cores);
    let write = |cores: f64| format!("{} cores", words::number(cores));
    let more = html! { (series::spark("CPU of the node", &rates.cpu, write)) span { (words::number(cores)) " cores" } };
    bits::card("Node", &words::bytes(memory), &more)
}

/// What needs somebody: nothing else is listed.
fn troubles(status: &Status, events: &[Event], failing: &[ErrorGroup], promised: &[Slo]) -> Markup {
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
    for slo in promised.iter().filter(|slo| slo.firing.is_some() || slo.budget_left <= 0.0) {
        let text = html! {
            a href=(Place::Objectives.path()) { (words::clip(&slo.name, 100)) }
            @if slo.budget_left <= 0.0 { ": the budget is used up" } @else { ": burns its budget too fast, " (words::number(slo.budget_left * 100.0)) " % is left" }
        };
        troubles.push((Tone::Bad, text));
    }
    for group in failing.iter().take(FEW_ERRORS) {
        let text = html! {
            (bits::service(&group.service)) " throws " a href=(Place::Error(group.id.clone()).path()) { (words::clip(&group.title, 120)) }
            span.muted { " " (words::count(group.count)) "×" }
        };
        troubles.push((Tone::Bad, text));
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
