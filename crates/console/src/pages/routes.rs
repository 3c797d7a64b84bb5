//! What applies where: ways in, what guards each call, and breakers to hold by hand.

use std::collections::BTreeMap;

use api::{Guard, Route};
use kit::Timestamp;
use maud::{Markup, html};

use super::{Missing, has};
use crate::bits::{self, Act, Tone};
use crate::desk::Desk;
use crate::view::{At, View};
use crate::words;

pub(crate) async fn page(desk: &Desk, at: &At) -> Result<View, Missing> {
    let (status, routes) = tokio::join!(desk.feed.status(), desk.client.routes());
    let (status, routes) = (status?, routes?);
    let search = at.query.text("q");
    let routes: Vec<&Route> = routes
        .iter()
        .filter(|route| {
            has(search, &[&route.route, &route.service, &route.entrance, &route.policies.join(" ")])
        })
        .collect();
    let guards: Vec<&Guard> =
        status.guards.iter().filter(|guard| has(search, &[&guard.route, &guard.service])).collect();
    let gateway = status.gateway.first().map(String::as_str);
    let (shown, pager) = bits::page(&routes, &at.query, "/routes");
    let names: BTreeMap<&str, ()> = shown.iter().map(|route| (route.route.as_str(), ())).collect();
    // A call that a fallback or a mirror makes has the name of its route with something behind it.
    let beside = |guard: &&&Guard| names.keys().any(|name| guard.route.starts_with(name));
    let guards_shown: Vec<&Guard> = guards.iter().filter(beside).copied().take(bits::ROWS * 2).collect();
    let table = html! {
        section.panel aria-label="Ways in" {
            h2 { "Ways in" }
            @if routes.is_empty() { (bits::empty("No route fits.")) } @else {
                div.scroll { table.rows {
                    caption.hidden { "Routes of the gateway and calls between services" }
                    thead { tr {
                        th scope="col" { "Route" } th scope="col" { "Enters at" } th scope="col" { "Service" } th scope="col" { "Address" }
                        th.num scope="col" { "Timeout" } th scope="col" { "Policies" } th scope="col" { span.hidden { "Actions" } }
                    } }
                    tbody { @for route in shown { tr {
                        th.mono scope="row" { (words::clip(&route.route, 80)) }
                        td { (words::clip(&route.entrance, 63)) }
                        td { (bits::service(&route.service)) }
                        td.mono { (words::clip(&route.address, 60)) }
                        td.num { (words::micros(route.timeout_ms * 1_000)) }
                        td.wide { @for policy in route.policies.iter().take(20) { span.tag { (words::clip(policy, 120)) } " " } @if route.policies.is_empty() { span.muted { "defaults" } } }
                        td { @if let Some(curl) = curl(route, gateway) { (bits::copy("curl", &curl)) } }
                    } } }
                } }
                (pager)
            }
        }
    };
    let guarded = html! {
        section.panel aria-label="Guards" {
            h2 { "Guards" }
            @if guards_shown.is_empty() { (bits::empty("Nothing is guarded here.")) } @else { (self::guards(at, &guards_shown, desk.now())) }
        }
    };
    Ok(View::new("Routes and policies")
        .still(
            "filters",
            bits::filters("/routes", &bits::field(&at.query, "q", "Search", "path, service, caller")),
        )
        .live("routes", table)
        .live("guards", guarded))
}

/// How to ask for a route from a shell.
fn curl(route: &Route, gateway: Option<&str>) -> Option<String> {
    if route.entrance != "gateway" {
        return None;
    }
    let mut words_of = route.route.split_whitespace();
    let (first, second) = (words_of.next()?, words_of.next());
    let (method, path) = match second {
        Some(path) => (first, path),
        None => ("GET", first),
    };
    let path = &path[path.find('/')?..];
    let method = if method == "*" { "GET" } else { method };
    let address = format!("{}{path}", gateway?);
    let verb = if method == "GET" { String::new() } else { format!(" -X {}", words::shell(method)) };
    Some(format!("curl -i{verb} {}", words::shell(&address)))
}

/// A table of guarded calls.
pub(crate) fn guards(at: &At, guards: &[&Guard], now: Timestamp) -> Markup {
    html! {
        div.scroll { table.rows {
            caption.hidden { "Guarded calls" }
            thead { tr {
                th scope="col" { "Call" } th scope="col" { "Towards" } th scope="col" { "Breaker" } th.num scope="col" { "Failed" }
                th.num scope="col" { "In use" } th.num scope="col" { "Waiting" } th.num scope="col" { "Retries" }
                @if at.operates() { th scope="col" { span.hidden { "Actions" } } }
            } }
            tbody { @for guard in guards { tr {
                th.mono scope="row" { (words::clip(&guard.route, 80)) }
                td { (bits::service(&guard.service)) }
                td { @match &guard.breaker {
                    None => span.muted { "off" },
                    Some(breaker) => { (bits::badge(bits::of_breaker(breaker.state), breaker.state.as_str())) span.muted { " " (words::ago(breaker.since, now)) @if breaker.opened > 0 { ", opened " (breaker.opened) "×" } } },
                } }
                td.num { @if let Some(breaker) = &guard.breaker { (breaker.window.errors) " of " (breaker.window.total) } @else { "–" } }
                td.num { (guard.in_use) "/" (guard.concurrency) }
                td.num { @if guard.waiting > 0 { (bits::badge(Tone::Warn, &guard.waiting.to_string())) } @else { "0" } }
                td.num { (guard.retries) " of " (guard.requests) }
                @if at.operates() { td { div.row { @if let Some(breaker) = &guard.breaker { (orders(at, guard, breaker)) } } } }
            } } }
        } }
    }
}

fn orders(at: &At, guard: &Guard, breaker: &api::Breaker) -> Markup {
    use api::BreakerState::{HeldClosed, HeldOpen};
    let held = matches!(breaker.state, HeldOpen | HeldClosed);
    let order = |order: &str, label: &str, sure: &str, danger: bool| {
        let fields = [("route", guard.route.as_str()), ("order", order)];
        bits::act(&Act { at, action: "breaker", fields: &fields, label, sure, danger })
    };
    let open = format!("Refuse every request of {} until further notice?", guard.route);
    let close =
        format!("Let every request of {} pass, whatever comes back, until further notice?", guard.route);
    let auto = format!("Let the breaker of {} judge again?", guard.route);
    html! {
        @if held { (order("auto", "Auto", &auto, false)) } @else {
            (order("open", "Open", &open, true))
            (order("close", "Close", &close, false))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_can_be_asked_for_from_a_shell() {
        let route = |route: &str, entrance: &str| Route {
            entrance: entrance.into(),
            address: String::new(),
            route: route.into(),
            service: "a".into(),
            timeout_ms: 1,
            policies: Vec::new(),
        };
        let curl = |text: &str| super::curl(&route(text, "gateway"), Some("http://127.0.0.1:8080"));
        assert_eq!(curl("GET /books").unwrap(), "curl -i http://127.0.0.1:8080/books");
        assert_eq!(curl("POST /orders").unwrap(), "curl -i -X POST http://127.0.0.1:8080/orders");
        assert_eq!(curl("GET /books/{id}").unwrap(), "curl -i 'http://127.0.0.1:8080/books/{id}'");
        assert_eq!(curl("GET shop.example/x").unwrap(), "curl -i http://127.0.0.1:8080/x");
        assert_eq!(super::curl(&route("a -> b", "a"), None), None);
    }
}
