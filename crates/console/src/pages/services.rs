//! Services, and one of them with its instances.

use std::collections::{BTreeMap, HashMap};

use api::{Instance, InstanceUsage, LatencyQuery, Service, Usage};
use maud::{Markup, html};

use super::{CHART_SPANS, Missing, chart_range, has, lines, metrics, objectives, routes};
use crate::bits::{self, Act, Tone};
use crate::desk::{Desk, all};
use crate::feed::Rates;
use crate::view::{At, View};
use crate::words;

/// Instances that can be asked for with the buttons.
const MOST_REPLICAS: u32 = 1_000;
/// Lines of output that a page begins with.
const TAIL: usize = 100;
/// Events of a service that are shown.
const FEW: usize = 10;

/// The states that a list can be narrowed to.
const STATES: [(&str, &str); 4] =
    [("", "any state"), ("trouble", "not well"), ("busy", "changing"), ("ready", "ready")];

pub(crate) async fn list(desk: &Desk, at: &At) -> Result<View, Missing> {
    let (status, usage) = tokio::join!(desk.feed.status(), desk.client.usage());
    let status = status?;
    let usage = usage.unwrap_or_default();
    let rates = desk.feed.look(&usage);
    let of_service = sums(&usage, &rates);
    let (search, state) = (at.query.text("q"), at.query.text("state"));
    let fits = |service: &&Service| {
        let tone = bits::of_service(service.state);
        has(search, &[&service.name, &service.detail, service.state.as_str()])
            && match state {
                "trouble" => tone >= Tone::Warn,
                "busy" => tone == Tone::Busy,
                "ready" => tone == Tone::Good,
                _ => true,
            }
    };
    let services: Vec<&Service> = status.services.iter().filter(fits).collect();
    let (shown, pager) = bits::page(&services, &at.query, "/services");
    let table = html! {
        @if services.is_empty() { (bits::empty("No service fits.")) } @else {
            div.scroll { table.rows {
                caption.hidden { "Services" }
                thead { tr {
                    th scope="col" { "Service" } th scope="col" { "State" } th.num scope="col" { "Ready" }
                    th.num scope="col" { "Requests/s" } th.num scope="col" { "CPU" } th.num scope="col" { "Memory" }
                    th.num scope="col" { "Restarts" } th scope="col" { "Detail" }
                } }
                tbody { @for service in shown {
                    @let sum = of_service.get(service.name.as_str()).copied().unwrap_or_default();
                    @let restarts: u32 = service.instances.iter().map(|instance| instance.restarts).sum();
                    tr id={ "s-" (service.name) } {
                        th scope="row" { (bits::service(&service.name)) }
                        td { (bits::badge(bits::of_service(service.state), service.state.as_str())) }
                        td.num { (service.ready) "/" (service.desired) }
                        td.num { (words::number(sum.requests)) }
                        td.num { (words::number(sum.cores)) }
                        td.num { (words::bytes(sum.memory)) }
                        td.num { (restarts) }
                        td.wide { (words::clip(&service.detail, 90)) }
                    }
                } }
            } }
            (pager)
        }
    };
    let filters = html! {
        (bits::field(&at.query, "q", "Search", "name, state, detail"))
        (bits::choice(&at.query, "state", "State", &STATES))
    };
    let said = format!("{} shown", words::several(services.len() as u64, "service"));
    Ok(View::new("Services")
        .still("filters", bits::filters("/services", &filters))
        .live("services", table)
        .say(said))
}

#[derive(Clone, Copy, Default)]
struct Sum {
    requests: f64,
    cores: f64,
    memory: u64,
}

fn sums<'a>(usage: &'a Usage, rates: &Rates) -> BTreeMap<&'a str, Sum> {
    let mut sums: BTreeMap<&str, Sum> = BTreeMap::new();
    for instance in &usage.instances {
        let (requests, cores) = rates.instances.get(&instance.name).copied().unwrap_or_default();
        let sum = sums.entry(&instance.service).or_default();
        sum.requests += requests;
        sum.cores += cores;
        sum.memory += instance.memory;
    }
    sums
}

pub(crate) async fn one(desk: &Desk, at: &At, name: &str) -> Result<View, Missing> {
    let (asked, shown) = chart_range(&at.query, desk.now());
    let question = LatencyQuery { service: Some(name.to_owned()), range: asked, step_min: None };
    let targets = [name.to_owned()];
    let (status, usage, latency, events, output, promised) = tokio::join!(
        desk.feed.status(),
        desk.client.usage(),
        desk.client.latency(&question),
        all(desk.client.events(0, false).await, 2_000),
        lines::output(desk, &targets, TAIL),
        objectives::of_service(desk, name),
    );
    let status = status?;
    let Some(service) = status.services.iter().find(|service| service.name == name) else {
        return Err(Missing::Nothing(format!("There is no service {}", words::clip(name, 80))));
    };
    let usage = usage.unwrap_or_default();
    let rates = desk.feed.look(&usage);
    let used: HashMap<&str, &InstanceUsage> = usage
        .instances
        .iter()
        .filter(|used| used.service == name)
        .map(|used| (used.name.as_str(), used))
        .collect();
    let mut events = events.unwrap_or_default();
    events.retain(|event| event.service.as_deref() == Some(name));
    let guards: Vec<_> = status.guards.iter().filter(|guard| concerns(guard, name)).collect();
    let output = output.unwrap_or_default();
    let (page, pager) = bits::page(&service.instances, &at.query, &at.place.path());
    let restarts = format!(
        "Restart {}, one instance after the other? Requests wait meanwhile.",
        words::several(service.desired.into(), "instance")
    );
    let said =
        format!("{name} is {}, {} of {} ready", service.state.as_str(), service.ready, service.desired);
    let mut view = View::new(name)
        .aside(html! {
            a.button href={ "/traces?service=" (words::encode(name)) } { "Traces" }
            a.button href={ "/logs?service=" (words::encode(name)) } { "Logs" }
            (bits::copy("atoll", &format!("atoll logs -f {}", words::shell(name))))
        })
        .live("state", html! {
            section.panel aria-label="State" {
                div.row.between {
                    div.row {
                        (bits::badge(bits::of_service(service.state), service.state.as_str()))
                        span { (service.ready) " of " (service.desired) " ready" }
                        @if !service.detail.is_empty() { span.muted { (words::clip(&service.detail, 300)) } }
                    }
                    div.row {
                        (scale(at, service))
                        (bits::act(&Act { at, action: "restart", fields: &[("target", name)], label: "Restart", sure: &restarts, danger: false }))
                    }
                }
                dl.facts {
                    div { dt { "Routes" } dd { @for route in service.routes.iter().take(20) { code { (words::clip(route, 80)) } " " } @if service.routes.is_empty() { "none" } } }
                    div { dt { "Calls" } dd { @for callee in &service.calls { (bits::service(callee)) " " } @if service.calls.is_empty() { "nobody" } } }
                    @if let Some(ms) = service.ready_after_ms { div { dt { "Ready after" } dd { (words::micros(ms * 1_000)) } } }
                }
            }
        })
        .live("instances", html! {
            section.panel aria-label="Instances" {
                h2 { "Instances" }
                @if service.instances.is_empty() { (bits::empty("None: scaled to zero, or not started yet.")) } @else {
                    (instances(at, page, &used, &rates, desk))
                    (pager)
                }
            }
        })
        .still("time", bits::chooser(&at.place.path(), &bits::choice(&at.query, "last", "Time", &CHART_SPANS)));
    if let Ok(latency) = latency {
        view = view.live("charts", metrics::of_service(&latency, &metrics::marks(&events), shown));
    }
    if let Some(promised) = promised {
        view = view.live("objectives", promised);
    }
    if !guards.is_empty() {
        view = view.live("guards", html! {
            section.panel aria-label="Calls" { h2 { "Calls from and to it" } (routes::guards(at, &guards, desk.now())) }
        });
    }
    view = view.still("output", html! {
        section.panel aria-label="Output" { h2 { "Output" } (lines::tail(&output, &format!("of=output&service={}", words::encode(name)), desk.now())) }
    });
    if !events.is_empty() {
        view = view.live("changes", html! {
            section.panel aria-label="What changed" { h2 { "What changed" } (super::events::table(&events.iter().rev().take(FEW).collect::<Vec<_>>())) }
        });
    }
    Ok(view.say(said))
}

fn concerns(guard: &api::Guard, name: &str) -> bool {
    guard.service == name || guard.route.split_once(" -> ").is_some_and(|(caller, _)| caller == name)
}

fn scale(at: &At, service: &Service) -> Markup {
    if !at.operates() {
        return html! {};
    }
    let count = service.desired;
    html! {
        form.inline method="post" action="/do/scale" data-act data-sure={ "Change how many instances of " (service.name) " run?" } {
            (bits::csrf(at))
            input type="hidden" name="back" value=(at.address());
            input type="hidden" name="service" value=(service.name);
            label { span { "Instances" } input.count type="number" name="replicas" min="0" max=(MOST_REPLICAS) value=(count) required; }
            button type="submit" { "Scale" }
        }
    }
}

fn instances(
    at: &At,
    page: &[Instance],
    used: &HashMap<&str, &InstanceUsage>,
    rates: &Rates,
    desk: &Desk,
) -> Markup {
    let now = desk.now();
    html! {
        div.scroll { table.rows {
            caption.hidden { "Instances" }
            thead { tr {
                th scope="col" { "Instance" } th scope="col" { "State" } th.num scope="col" { "PID" } th scope="col" { "Address" }
                th.num scope="col" { "Up" } th.num scope="col" { "Requests/s" } th.num scope="col" { "In flight" } th.num scope="col" { "CPU" }
                th.num scope="col" { "Memory" } th.num scope="col" { "Restarts" } @if at.operates() { th scope="col" { span.hidden { "Actions" } } }
                th scope="col" { "Revision" } th scope="col" { "Detail" }
            } }
            tbody { @for instance in page {
                @let usage = used.get(instance.name.as_str());
                @let (requests, cores) = rates.instances.get(&instance.name).copied().unwrap_or_default();
                tr id={ "i-" (instance.name) } data-run=(instance.run) {
                    th scope="row" { (words::clip(&instance.name, 70)) }
                    td { (bits::badge(bits::of_instance(instance.state), instance.state.as_str())) @if let Some(left) = instance.ejected_ms { " " (bits::badge(Tone::Warn, "passed over")) span.muted { " " (words::micros(left * 1_000)) } } }
                    td.num { (instance.pid.map_or_else(|| "–".to_owned(), |pid| pid.to_string())) }
                    td.mono { (instance.address.as_deref().unwrap_or("–")) }
                    td.num { (instance.started_at.filter(|_| instance.pid.is_some()).map_or_else(|| "–".to_owned(), |at| words::ago(at, now))) }
                    td.num { (words::number(requests)) }
                    td.num { (instance.in_flight) }
                    td.num { (words::number(cores)) }
                    td.num { (usage.map_or_else(|| "–".to_owned(), |usage| words::bytes(usage.memory)))
                        @if let Some(limit) = usage.and_then(|usage| usage.memory_limit) { span.muted { " of " (words::bytes(limit)) } } }
                    td.num { (instance.restarts) }
                    @if at.operates() { td { (bits::act(&Act { at, action: "restart", fields: &[("target", &instance.name)], label: "Restart", sure: &format!("Restart {}?", instance.name), danger: false })) } }
                    td.mono title=(words::clip(&instance.revision, 80)) { (words::clip(&instance.revision, 9)) }
                    td.wide { (words::clip(&instance.detail, 120)) @if let Some(exit) = &instance.last_exit { span.muted { " last: " (words::clip(exit, 60)) } } }
                }
            } }
        } }
    }
}
