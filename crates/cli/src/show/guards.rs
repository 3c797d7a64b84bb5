//! Breakers, queues and ejections: the table of `breaker`, and what `ps` says when something is not well.

use anstyle::Style;
use api::{BreakerState, Guard, Status};
use kit::Timestamp;

use super::table::{Cell, Side, Table};
use super::{Paint, clean, paint, time};

/// `breaker`: a line per guarded call.
pub(crate) fn breakers(guards: &[Guard], now: Timestamp, columns: Option<usize>, paint: Paint) -> String {
    let mut table = Table::new(&[
        ("ROUTE", Side::Left),
        ("SERVICE", Side::Left),
        ("STATE", Side::Left),
        ("SINCE", Side::Right),
        ("ERRORS/SLOW/CALLS", Side::Right),
        ("QUEUE", Side::Right),
        ("IN USE", Side::Right),
        ("RETRIES", Side::Right),
    ]);
    for guard in guards {
        let breaker = guard.breaker.as_ref();
        let window = breaker.map(|breaker| breaker.window);
        table.row(vec![
            Cell::new(&guard.route),
            Cell::styled(paint::name_style(&guard.service), &guard.service),
            match breaker {
                Some(breaker) => Cell::styled(state_style(breaker.state), breaker.state.as_str()),
                None => Cell::styled(paint::dim(), "off"),
            },
            Cell::maybe(breaker.map(|breaker| time::span(now.since(breaker.since)))),
            Cell::maybe(window.map(|seen| format!("{}/{}/{}", seen.errors, seen.slow, seen.total))),
            Cell::new(guard.waiting.to_string()),
            Cell::new(format!("{}/{}", guard.in_use, guard.concurrency)),
            Cell::new(format!("{}/{}", guard.retries, guard.requests)),
        ]);
    }
    table.text(columns, paint)
}

/// What is not well, a line each; empty when all is.
pub(crate) fn troubles(status: &Status, now: Timestamp, columns: Option<usize>, paint: Paint) -> String {
    let mut lines = Vec::new();
    for guard in &status.guards {
        let name = named(guard);
        if let Some(breaker) = guard.breaker.as_ref().filter(|breaker| breaker.state != BreakerState::Closed)
        {
            let style = state_style(breaker.state);
            let state = paint.style(style, breaker.state.as_str());
            let since = time::span(now.since(breaker.since));
            let next = match breaker.state {
                BreakerState::HeldOpen | BreakerState::HeldClosed => {
                    format!(": `atoll breaker auto {:?}` lets it judge again", clean::text(&guard.route))
                }
                BreakerState::HalfOpen => ": a few requests pass, as probes".to_owned(),
                // After a probe has failed there is nothing in the window.
                _ if breaker.window.total == 0 => ": a probe failed".to_owned(),
                _ => {
                    let seen = breaker.window;
                    let slow = if seen.slow == 0 { String::new() } else { format!(", {} slow", seen.slow) };
                    format!(": {} of {} failed{slow}", seen.errors, seen.total)
                }
            };
            let sign = paint.style(style, "!");
            lines.push(format!("{sign} breaker {name} is {state} for {since}{next}"));
        }
        if guard.waiting > 0 {
            let Guard { waiting, in_use, concurrency, .. } = guard;
            let sign = paint.warn("!");
            let state = paint.warn(format!("{waiting} waiting"));
            lines.push(format!("{sign} queue {name}: {state}, {in_use} of {concurrency} under way"));
        }
    }
    for instance in status.services.iter().flat_map(|service| &service.instances) {
        if let Some(left) = instance.ejected_ms {
            let (sign, name) = (paint.warn("!"), clean::text(&instance.name));
            let state = paint.warn("passed over");
            lines.push(format!("{sign} {name} is {state} for its failures, {} more", time::millis(left)));
        }
    }
    let cut = |line: &String| columns.map_or_else(|| line.clone(), |columns| clean::cut(line, columns));
    lines.iter().map(|line| cut(line) + "\n").collect()
}

/// A route with its service, where it does not name it itself.
fn named(guard: &Guard) -> String {
    let (route, service) = (clean::text(&guard.route), clean::text(&guard.service));
    if route.ends_with(&format!(" -> {service}")) { route } else { format!("{route} ({service})") }
}

fn state_style(state: BreakerState) -> Style {
    match state {
        BreakerState::Closed => paint::good(),
        BreakerState::Open | BreakerState::HeldOpen => paint::bad(),
        BreakerState::HalfOpen | BreakerState::HeldClosed => paint::warn(),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::board::tests::{instance, service, status};
    use super::*;
    use api::{Breaker, Calls, InstanceState, Phase, ServiceState};

    const NOW: Timestamp = Timestamp::from_micros(64_000_000);

    pub(crate) fn guard(route: &str, service: &str, state: Option<BreakerState>) -> Guard {
        let breaker = state.map(|state| Breaker {
            state,
            since: Timestamp::from_micros(61_000_000),
            window: Calls { total: 20, errors: 12, slow: 0 },
            opened: 1,
            half_opened: 0,
            closed: 0,
        });
        Guard {
            route: route.into(),
            service: service.into(),
            breaker,
            in_use: 3,
            concurrency: 1024,
            waiting: 0,
            requests: 40,
            retries: 2,
        }
    }

    #[test]
    fn every_guarded_call_has_a_line() {
        let all = [
            guard("GET /books", "catalog", Some(BreakerState::Closed)),
            guard("GET /feed", "feed", None),
            guard("orders -> payments", "payments", Some(BreakerState::Open)),
        ];
        insta::assert_snapshot!(breakers(&all, NOW, None, Paint::new(false)), @r"
        ROUTE               SERVICE   STATE    SINCE  ERRORS/SLOW/CALLS  QUEUE  IN USE  RETRIES
        GET /books          catalog   closed  3.00 s            12/0/20      0  3/1024     2/40
        GET /feed           feed      off          –                  –      0  3/1024     2/40
        orders -> payments  payments  open    3.00 s            12/0/20      0  3/1024     2/40
        ");
    }

    #[test]
    fn ps_is_silent_when_all_is_well_and_has_a_line_for_each_thing_that_is_not() {
        let mut shop = status(
            Phase::Ready,
            vec![service(
                "catalog",
                ServiceState::Ready,
                "",
                vec![instance("catalog", 1, InstanceState::Ready)],
            )],
        );
        shop.guards =
            vec![guard("GET /books", "catalog", Some(BreakerState::Closed)), guard("/", "catalog", None)];
        assert_eq!(troubles(&shop, NOW, None, Paint::new(false)), "");
        shop.guards = vec![
            guard("orders -> payments", "payments", Some(BreakerState::Open)),
            Guard { waiting: 7, ..guard("GET /books", "catalog", Some(BreakerState::HalfOpen)) },
            guard("POST /orders", "orders", Some(BreakerState::HeldOpen)),
        ];
        shop.services[0].instances[0].ejected_ms = Some(4_200);
        insta::assert_snapshot!(troubles(&shop, NOW, None, Paint::new(false)), @r#"
        ! breaker orders -> payments is open for 3.00 s: 12 of 20 failed
        ! breaker GET /books (catalog) is half-open for 3.00 s: a few requests pass, as probes
        ! queue GET /books (catalog): 7 waiting, 3 of 1024 under way
        ! breaker POST /orders (orders) is held open for 3.00 s: `atoll breaker auto "POST /orders"` lets it judge again
        ! catalog-1 is passed over for its failures, 4.20 s more
        "#);
    }
}
