//! What guards calls, for people: its state in the words of the admin API, and news when it changes.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use api::BreakerState;
use control::{Happening, Level};
use kit::{Clock, SystemClock};
use manifest::spec::{Balance, InstanceId, ServiceName};
use proxy::GuardState;
use proxy::policy::breaker::{Seen, State};
use proxy::policy::eligible::after_ejections;
use registry::{Directory, Endpoint, Moment};
use tokio_util::sync::CancellationToken;

use crate::app::Applier;
use crate::edge::Tell;

/// How often breakers and ejections are looked at. They count their changes, so none between two looks is lost.
const PERIOD: Duration = Duration::from_millis(250);

/// What is told after one look at most: when everything breaks at once, the first say what happens.
const MOST_NEWS: usize = 20;

/// Every guarded call, in the words of the admin API.
pub(crate) fn shown(guards: &proxy::Guards) -> Vec<api::Guard> {
    let now = SystemClock::new().now();
    guards.states().into_iter().map(|state| show(state, now)).collect()
}

fn show(state: GuardState, now: kit::Timestamp) -> api::Guard {
    let GuardState { route, service, breaker, load, adaptive, requests, retries } = state;
    let breaker = breaker.map(|Seen { state, age, window, opened, half_opened, closed }| {
        let window = api::Calls { total: window.total, errors: window.first, slow: window.second };
        api::Breaker { state: word(state), since: now - age, window, opened, half_opened, closed }
    });
    api::Guard {
        route,
        service: service.to_string(),
        breaker,
        in_use: load.in_use,
        concurrency: adaptive.map_or(load.concurrency, |limit| limit.min(load.concurrency)),
        waiting: load.waiting,
        requests,
        retries,
    }
}

const fn word(state: State) -> BreakerState {
    match state {
        State::Closed => BreakerState::Closed,
        State::Open => BreakerState::Open,
        State::HalfOpen => BreakerState::HalfOpen,
        State::HeldOpen => BreakerState::HeldOpen,
        State::HeldClosed => BreakerState::HeldClosed,
    }
}

/// The instances that the data path passes over for what they answered, each with the end of that. An instance
/// without others beside it is used whatever it answers, and is not among them: the rule is the data path's own.
pub(crate) fn passed_over(
    directory: &Directory,
    balances: &BTreeMap<ServiceName, Balance>,
    now: Moment,
) -> BTreeMap<InstanceId, Moment> {
    let mut found = BTreeMap::new();
    for (service, balance) in balances {
        let Some(rule) = &balance.outlier else { continue };
        let endpoints = directory.upstream(service);
        let endpoints = endpoints.load();
        let until = |endpoint: &Endpoint| {
            let until = endpoint.strikes().ejected_until();
            if until > now { until } else { Moment::NEVER }
        };
        let ejected = endpoints.ready.iter().map(|endpoint| until(endpoint));
        let eligible = after_ejections(ejected, endpoints.known, rule.share, balance.panic);
        for (index, endpoint) in endpoints.ready.iter().enumerate() {
            if !eligible.has(index) {
                found.insert(endpoint.id().clone(), until(endpoint));
            }
        }
    }
    found
}

/// Looks until told to stop, and tells what has changed.
pub(crate) async fn watch(
    applier: Arc<Applier>,
    tell: Tell,
    stop: CancellationToken,
) -> Result<(), Infallible> {
    let mut every = tokio::time::interval(PERIOD);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut memory, mut looked) = (Memory::default(), None);
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            _ = every.tick() => {}
        }
        let version = applier.guards.version();
        let mut news = match looked.replace(version) {
            Some(before) if before == version => Vec::new(), // a thousand routes are not looked through for nothing
            _ => memory.breakers(&applier.guards.states()),
        };
        news.extend(memory.ejections(applier.passed_over(), Moment::now()));
        let more = news.len().saturating_sub(MOST_NEWS);
        news.into_iter().take(MOST_NEWS).for_each(|news| tell(news));
        if more > 0 {
            let message = format!("{more} more breakers or instances changed at the same moment");
            tell(happening(Level::Warning, "guards.more", message));
        }
    }
}

/// What was seen at the last look.
#[derive(Default)]
struct Memory {
    breakers: BTreeMap<(String, String), Before>,
    ejected: BTreeMap<InstanceId, Moment>,
}

/// A breaker at the last look.
#[derive(Clone, Copy)]
struct Before {
    seen: Seen,
    /// How often probes have failed since it left the closed state. A service that stays away would fill the
    /// events with its probes: those after the first are told at each doubling.
    reopened: u64,
}

impl Memory {
    /// What breakers did since the last look.
    fn breakers(&mut self, states: &[GuardState]) -> Vec<Happening> {
        let mut news = Vec::new();
        let mut next = BTreeMap::new();
        for state in states {
            let Some(seen) = state.breaker else { continue };
            let key = (state.route.clone(), state.service.to_string());
            let before = self.breakers.get(&key).copied();
            let mut reopened = before.map_or(0, |before| before.reopened);
            let told = changes(before.map(|before| before.seen), &seen, &mut reopened);
            news.extend(told.into_iter().map(|change| change.tell(state)));
            next.insert(key, Before { seen, reopened });
        }
        self.breakers = next; // what is gone is forgotten
        news
    }

    /// Which instances the data path has begun or ended to pass over.
    fn ejections(&mut self, passed_over: BTreeMap<InstanceId, Moment>, now: Moment) -> Vec<Happening> {
        let mut news = Vec::new();
        for (id, until) in &passed_over {
            if self.ejected.get(id) != Some(until) {
                let time = kit::units::format_duration(round(until.since(now)));
                let message = format!("{} answers with failures and is passed over for {time}", id.name());
                news.push(about(id, Level::Warning, "instance.ejected", message));
            }
        }
        for id in self.ejected.keys().filter(|id| !passed_over.contains_key(id)) {
            let message = format!("{} is taken into account again", id.name());
            news.push(about(id, Level::Info, "instance.returned", message));
        }
        self.ejected = passed_over;
        news
    }
}

/// To what people think in: whole seconds, below one hundreds of milliseconds.
fn round(time: Duration) -> Duration {
    let step = if time < Duration::from_secs(1) { 100 } else { 1000 };
    Duration::from_millis((time.as_millis() as u64).div_ceil(step) * step)
}

/// What a breaker did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Opened,
    /// A probe failed, and so many before.
    Reopened(u64),
    HalfOpened,
    Closed,
    HeldOpen,
    HeldClosed,
    Released,
}

/// What a breaker did between two looks, in the order in which it can have done so. `reopened` counts probes
/// that failed since it was closed.
fn changes(before: Option<Seen>, now: &Seen, reopened: &mut u64) -> Vec<Change> {
    let (was, had) = match before {
        Some(before) => (before.state, [before.opened, before.half_opened, before.closed]),
        None => (State::Closed, [0; 3]),
    };
    let opened = now.opened.saturating_sub(had[0]);
    let half_opened = now.half_opened.saturating_sub(had[1]);
    let closed = now.closed.saturating_sub(had[2]);
    let held = |state| matches!(state, State::HeldOpen | State::HeldClosed);
    if now.state != was && (held(now.state) || held(was)) {
        *reopened = 0;
        return vec![match now.state {
            State::HeldOpen => Change::HeldOpen,
            State::HeldClosed => Change::HeldClosed,
            _ => Change::Released,
        }];
    }
    let mut told = Vec::new();
    let was_closed = matches!(was, State::Closed | State::HeldClosed);
    if opened > 0 && (was_closed || closed > 0) {
        *reopened = 0;
        told.push(Change::Opened);
    } else if opened > 0 {
        *reopened += opened;
        if reopened.is_power_of_two() {
            told.push(Change::Reopened(*reopened));
        }
    }
    if half_opened > 0 && *reopened == 0 {
        told.push(Change::HalfOpened);
    }
    if closed > 0 && now.state == State::Closed {
        *reopened = 0;
        told.push(Change::Closed);
    }
    told
}

impl Change {
    fn tell(self, state: &GuardState) -> Happening {
        let GuardState { route, service, breaker, .. } = state;
        // Routes of the gateway do not name whom they call; entries of `calls` do.
        let towards = if route.contains(" -> ") { String::new() } else { format!(" towards {service}") };
        let breaker_of = format!("the breaker of `{route}`{towards}");
        let window = breaker.map(|seen| seen.window).unwrap_or_default();
        let (level, kind, message) = match self {
            Self::Opened => {
                let slow = match window.second {
                    0 => String::new(),
                    slow => format!(", {slow} were slow"),
                };
                let counted = format!("{} of {} calls failed{slow}", window.first, window.total);
                let counted = if window.total == 0 { String::new() } else { format!(": {counted}") };
                (Level::Warning, "breaker.opened", format!("{breaker_of} opened{counted}"))
            }
            Self::Reopened(1) => {
                (Level::Warning, "breaker.opened", format!("{breaker_of} opened again: a probe failed"))
            }
            Self::Reopened(times) => {
                let message = format!("{breaker_of} is still open: probes failed {times} times");
                (Level::Warning, "breaker.opened", message)
            }
            Self::HalfOpened => {
                (Level::Info, "breaker.half_opened", format!("{breaker_of} lets probes through"))
            }
            Self::Closed => (Level::Info, "breaker.closed", format!("{breaker_of} closed")),
            Self::HeldOpen => (Level::Warning, "breaker.held", format!("{breaker_of} is held open")),
            Self::HeldClosed => (Level::Warning, "breaker.held", format!("{breaker_of} is held closed")),
            Self::Released => (Level::Info, "breaker.released", format!("{breaker_of} judges again")),
        };
        let refuses = matches!(self, Self::Opened | Self::Reopened(1));
        Happening {
            service: Some(service.clone()),
            code: refuses.then_some("A0725"),
            hint: refuses
                .then(|| "`atoll breaker` shows every one; `atoll ps` how the service is".to_owned()),
            ..happening(level, kind, message)
        }
    }
}

fn about(id: &InstanceId, level: Level, kind: &'static str, message: String) -> Happening {
    let service = Some(id.service.clone());
    Happening { service, instance: Some(id.name()), ..happening(level, kind, message) }
}

fn happening(level: Level, kind: &'static str, message: String) -> Happening {
    Happening { level, kind, service: None, instance: None, message, code: None, hint: None }
}

#[cfg(test)]
mod tests {
    use proxy::policy::bulkhead::Load;
    use proxy::policy::window::Sum;

    use super::*;

    fn seen(state: State, opened: u64, half_opened: u64, closed: u64) -> Seen {
        let window = Sum { total: 20, first: 12, second: 0 };
        Seen { state, age: Duration::ZERO, window, opened, half_opened, closed }
    }

    fn call(breaker: Seen) -> GuardState {
        GuardState {
            route: "orders -> payments".into(),
            service: "payments".parse().unwrap(),
            breaker: Some(breaker),
            load: Load { in_use: 0, waiting: 0, concurrency: 1024 },
            adaptive: None,
            requests: 0,
            retries: 0,
        }
    }

    /// What is told when a breaker is seen like this, look by look.
    fn told(looks: &[Seen]) -> Vec<String> {
        let mut memory = Memory::default();
        let news = looks.iter().flat_map(|seen| memory.breakers(&[call(*seen)]));
        news.map(|news| news.message.replace("the breaker of `orders -> payments` ", "")).collect()
    }

    #[test]
    fn a_breaker_is_told_from_opening_to_closing() {
        let story = [
            seen(State::Closed, 0, 0, 0),
            seen(State::Open, 1, 0, 0),
            seen(State::Open, 1, 0, 0),
            seen(State::HalfOpen, 1, 1, 0),
            seen(State::Closed, 1, 1, 1),
        ];
        assert_eq!(told(&story), ["opened: 12 of 20 calls failed", "lets probes through", "closed"]);
    }

    #[test]
    fn what_happened_between_two_looks_is_told_in_its_order() {
        let story = [seen(State::Closed, 0, 0, 0), seen(State::Closed, 1, 1, 1)];
        assert_eq!(told(&story), ["opened: 12 of 20 calls failed", "lets probes through", "closed"]);
    }

    #[test]
    fn a_service_that_stays_away_is_told_of_less_and_less_often() {
        let mut story = vec![seen(State::Closed, 0, 0, 0), seen(State::Open, 1, 0, 0)];
        for probes in 1..=1000 {
            story.push(seen(State::HalfOpen, probes, probes, 0));
            story.push(seen(State::Open, probes + 1, probes, 0));
        }
        let told = told(&story);
        assert_eq!(told.len(), 12, "{told:?}");
        assert_eq!(told[2], "opened again: a probe failed");
        assert_eq!(told[11], "is still open: probes failed 512 times");
    }

    #[test]
    fn orders_of_people_are_told_as_such() {
        let story = [
            seen(State::Closed, 0, 0, 0),
            seen(State::HeldOpen, 1, 0, 0),
            seen(State::HeldClosed, 1, 0, 1),
            seen(State::Closed, 1, 0, 1),
        ];
        assert_eq!(told(&story), ["is held open", "is held closed", "judges again"]);
    }

    #[test]
    fn routes_that_differ_in_host_or_headers_alone_have_breakers_of_their_own() {
        let text = "name: x
services:
  web:
    command: [web]
    routes:
      - GET /: { host: a.example }
      - GET /: { host: b.example, headers: { x-beta: '1', x-all: } }
      - /: {}
";
        let app = manifest::parse_resolved(text, std::path::Path::new("x")).app.unwrap();
        let guards = Arc::new(proxy::Guards::default());
        let additions =
            proxy::table::Additions { guards: guards.clone(), ..proxy::table::Additions::default() };
        let _table = proxy::RouteTable::compile_with(&app, &Directory::default(), additions);
        let routes: Vec<String> = shown(&guards).into_iter().map(|guard| guard.route).collect();
        assert_eq!(routes, ["/", "GET a.example/", "GET b.example/ with x-beta: 1, x-all"]);
    }

    #[test]
    fn an_instance_is_told_of_when_it_is_passed_over_and_when_not_any_more() {
        let rule = manifest::spec::Outlier::default();
        let (directory, now) = (Directory::default(), Moment::now());
        let web: ServiceName = "web".parse().unwrap();
        let endpoint = |n: u16| {
            Arc::new(Endpoint::new(format!("web-{n}#1").parse().unwrap(), ([127, 0, 0, 1], n).into()))
        };
        let (one, two) = (endpoint(1), endpoint(2));
        while !one.failed(Duration::ZERO, Some(&rule), now) {}
        let balances = BTreeMap::from([(web.clone(), Balance::default())]);
        let publish = |ready| {
            let endpoints = registry::Endpoints { ready, ..registry::Endpoints::default() };
            directory.upstream(&web).publish(endpoints);
        };
        let mut memory = Memory::default();
        let mut look = |now| {
            let news = memory.ejections(passed_over(&directory, &balances, now), now);
            news.into_iter().map(|news| news.message).collect::<Vec<_>>()
        };
        publish(vec![one.clone()]);
        assert!(look(now).is_empty(), "there is no other");
        publish(vec![one, two]);
        assert_eq!(look(now), ["web-1 answers with failures and is passed over for 5s"]);
        assert!(look(now).is_empty());
        assert_eq!(look(now + Duration::from_secs(6)), ["web-1 is taken into account again"]);
    }

    #[test]
    fn a_breaker_of_a_route_of_the_gateway_says_towards_whom() {
        let mut state = call(seen(State::Open, 1, 0, 0));
        state.route = "POST /pay".into();
        let news = Memory::default().breakers(&[state]);
        assert_eq!(
            news[0].message,
            "the breaker of `POST /pay` towards payments opened: 12 of 20 calls failed"
        );
        assert_eq!((news[0].kind, news[0].code), ("breaker.opened", Some("A0725")));
    }
}
