//! What guards calls, and what the data path thinks of instances.

use std::collections::{BTreeMap, BTreeSet};

use manifest::spec::{InstanceId, Slot};
use proxy::GuardState;
use proxy::policy::breaker::State;
use proxy::signals::{Label, RouteStats};
use registry::{Moment, Observed};

use super::text::{Text, Type};

const STATES: [(State, &str); 5] = [
    (State::Closed, "closed"),
    (State::Open, "open"),
    (State::HalfOpen, "half_open"),
    (State::HeldOpen, "held_open"),
    (State::HeldClosed, "held_closed"),
];

/// Guards of routes that have carried something, and those that say no.
pub(super) fn write(text: &mut Text, guards: &[GuardState], routes: &[(Label, RouteStats)]) {
    let carried: BTreeSet<&str> = routes.iter().map(|(label, _)| label.route.as_str()).collect();
    let is_shown = |guard: &&GuardState| {
        // A mirror or fallback has guards of its own, named after its route.
        let route = guard.route.rsplit_once(" (").map_or(guard.route.as_str(), |(route, _)| route);
        let broke =
            |breaker: proxy::policy::breaker::Seen| breaker.state != State::Closed || breaker.opened > 0;
        carried.contains(guard.route.as_str()) || carried.contains(route) || guard.breaker.is_some_and(broke)
    };
    let guards: Vec<&GuardState> = guards.iter().filter(is_shown).collect();

    let help = "Whether a breaker is in this state: 1 for the state that it is in.";
    let mut family = text.family("atoll_breaker_state", Type::Gauge, help);
    for guard in &guards {
        let Some(breaker) = guard.breaker else { continue };
        for (state, name) in STATES {
            let is_in = f64::from(u8::from(breaker.state == state));
            let [route, service] = labels(guard);
            family.sample(&[route, service, ("state", name)], is_in);
        }
    }
    let help = "How often a breaker changed into this state by itself or by order.";
    let mut family = text.family("atoll_breaker_transitions", Type::Counter, help);
    for guard in &guards {
        let Some(breaker) = guard.breaker else { continue };
        let to = [("open", breaker.opened), ("half_open", breaker.half_opened), ("closed", breaker.closed)];
        for (state, times) in to {
            let [route, service] = labels(guard);
            family.sample(&[route, service, ("to", state)], times as f64);
        }
    }
    let mut gauge = |name, help, of: &dyn Fn(&GuardState) -> Option<f64>| {
        let mut family = text.family(name, Type::Gauge, help);
        for guard in &guards {
            if let Some(value) = of(guard) {
                family.sample(&labels(guard), value);
            }
        }
    };
    gauge("atoll_bulkhead_in_use", "Requests that have a place.", &|g| Some(f64::from(g.load.in_use)));
    gauge("atoll_bulkhead_waiting", "Requests that wait for a place.", &|g| Some(f64::from(g.load.waiting)));
    gauge("atoll_bulkhead_limit", "Places.", &|g| Some(f64::from(g.load.concurrency)));
    gauge(
        "atoll_adaptive_limit",
        "Requests at once that the limit that finds itself allows those of normal priority.",
        &|g| g.adaptive.map(f64::from),
    );
    gauge(
        "atoll_retry_budget_requests",
        "Requests of the last seconds, of which a share may be tried again.",
        &|g| Some(g.requests as f64),
    );
    gauge("atoll_retry_budget_spent", "Further tries of the last seconds.", &|g| Some(g.retries as f64));
}

fn labels(guard: &GuardState) -> [(&'static str, &str); 2] {
    [("route", &guard.route), ("service", guard.service.as_str())]
}

/// Instances that take requests, or did. One place in a service is one instance, however often it was started:
/// its counters begin anew with each run.
pub(super) fn instances(text: &mut Text, observed: &BTreeMap<InstanceId, Observed>, now: Moment) {
    let mut newest: BTreeMap<(&str, Slot), (String, &Observed)> = BTreeMap::new();
    for (id, instance) in observed.iter().filter(|(_, instance)| instance.address().is_some()) {
        newest.insert((id.service.as_str(), id.slot), (id.name(), instance)); // in order of their runs
    }
    type Of<'a> = &'a dyn Fn(&Observed) -> Option<f64>;
    let mut family = |name, kind, help, unit: Option<&'static str>, of: Of<'_>| {
        let mut family = text.family(name, kind, help);
        if let Some(unit) = unit {
            family = family.unit(unit);
        }
        for ((service, _), (name, instance)) in &newest {
            if let Some(value) = of(instance) {
                family.sample(&[("service", service), ("instance", name)], value);
            }
        }
    };
    family(
        "atoll_instance_requests",
        Type::Counter,
        "Exchanges begun.",
        None,
        &|i| Some(i.requests() as f64),
    );
    let help = "Exchanges that failed in a way that may be the instance's fault.";
    family("atoll_instance_failures", Type::Counter, help, None, &|i| Some(i.failures() as f64));
    family("atoll_instance_in_flight", Type::Gauge, "Exchanges under way.", None, &|i| {
        Some(f64::from(i.in_flight()))
    });
    let help = "Time that the head of the next answer is expected to take: a peak-sensitive moving average.";
    family("atoll_instance_latency_seconds", Type::Gauge, help, Some("seconds"), &|i| {
        i.latency(now).map(|latency| latency.as_secs_f64())
    });
    let help = "Whether the data path passes it over for what it answered.";
    family("atoll_instance_ejected", Type::Gauge, help, None, &|i| {
        Some(f64::from(u8::from(i.ejected_until() > now)))
    });
    let help = "How often the data path began to pass it over.";
    family("atoll_instance_ejections", Type::Counter, help, None, &|i| Some(i.ejections() as f64));
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::super::check::check;
    use super::super::text::Format;
    use super::*;
    use proxy::policy::breaker::Seen;
    use proxy::policy::bulkhead::Load;
    use registry::{Endpoint, Health};

    fn guard(route: &str, state: State) -> GuardState {
        let opened = u64::from(state != State::Closed);
        let (age, window) = (Duration::ZERO, Default::default());
        GuardState {
            route: route.to_owned(),
            service: "web".parse().unwrap(),
            breaker: Some(Seen { state, age, window, opened, half_opened: 0, closed: 0 }),
            load: Load { in_use: 2, waiting: 1, concurrency: 64 },
            adaptive: (route == "GET /a").then_some(12),
            requests: 9,
            retries: 1,
        }
    }

    #[test]
    fn guards_are_shown_of_routes_in_use_and_of_breakers_that_say_no() {
        let guards = [
            guard("GET /a", State::Closed),
            guard("GET /a (mirror)", State::Closed),
            guard("GET /quiet", State::Closed),
            guard("GET /down", State::HeldOpen),
        ];
        let label = Label { route: "GET /a".to_owned(), service: None, caller: None };
        let routes = [(label, RouteStats::default())];
        for format in [Format::Classic, Format::OpenMetrics] {
            let mut text = Text::new(format);
            write(&mut text, &guards, &routes);
            let samples = check(format, &text.finish());
            let state = |route: &str, state: &str| {
                let name =
                    format!("atoll_breaker_state{{route=\"{route}\",service=\"web\",state=\"{state}\"}}");
                samples.get(&name).copied()
            };
            assert_eq!((state("GET /a", "closed"), state("GET /a", "open")), (Some(1.0), Some(0.0)));
            assert_eq!(state("GET /down", "held_open"), Some(1.0));
            assert_eq!(state("GET /a (mirror)", "closed"), Some(1.0));
            assert_eq!(state("GET /quiet", "closed"), None);
            assert_eq!(samples[r#"atoll_bulkhead_limit{route="GET /a",service="web"}"#], 64.0);
            assert_eq!(samples[r#"atoll_bulkhead_waiting{route="GET /a",service="web"}"#], 1.0);
            assert_eq!(samples[r#"atoll_adaptive_limit{route="GET /a",service="web"}"#], 12.0);
            assert!(!samples.contains_key(r#"atoll_adaptive_limit{route="GET /down",service="web"}"#));
            let opened = r#"atoll_breaker_transitions_total{route="GET /down",service="web",to="open"}"#;
            assert_eq!(samples[opened], 1.0);
        }
    }

    #[test]
    fn an_instance_is_shown_as_its_newest_run_counts() {
        let now = Moment::now();
        let since = kit::Timestamp::from_micros(0);
        let observed = ["web-1#1", "web-1#2", "web-2#1"].map(|id| {
            let id: InstanceId = id.parse().unwrap();
            let endpoint = Arc::new(Endpoint::new(id.clone(), ([127, 0, 0, 1], 1).into()));
            if id.run == 2 {
                let rule = manifest::spec::Outlier { failures: 2, ..Default::default() };
                for _ in 0..2 {
                    drop(endpoint.acquire());
                    endpoint.failed(Duration::from_millis(10), Some(&rule), now);
                }
            }
            let instance = Observed::new(Health::Ready, since, "").at(endpoint);
            (id, instance)
        });
        let mut observed = BTreeMap::from(observed);
        observed.insert("job-1#1".parse().unwrap(), Observed::new(Health::Ready, since, ""));
        let mut text = Text::new(Format::OpenMetrics);
        instances(&mut text, &observed, now);
        let samples = check(Format::OpenMetrics, &text.finish());
        let of = |name: &str, instance: &str| {
            samples.get(&format!("atoll_instance_{name}{{service=\"web\",instance=\"{instance}\"}}")).copied()
        };
        assert_eq!((of("requests_total", "web-1"), of("failures_total", "web-1")), (Some(2.0), Some(2.0)));
        assert_eq!((of("ejected", "web-1"), of("ejections_total", "web-1")), (Some(1.0), Some(1.0)));
        assert_eq!((of("ejected", "web-2"), of("in_flight", "web-2")), (Some(0.0), Some(0.0)));
        assert!(of("latency_seconds", "web-1").unwrap() >= 0.01);
        assert_eq!(of("latency_seconds", "web-2"), None, "nothing is known yet");
        assert!(!samples.keys().any(|name| name.contains("job")));
    }
}
