//! Tables of `ps`, `top` and `routes`.

use std::time::Duration;

use api::{InstanceState, InstanceUsage, Route, Status, Usage};
use kit::Timestamp;
use kit::units::Bytes;

use super::table::{Cell, Side, Table};
use super::{Paint, board, paint, time};

/// `ps`: a line per instance, and one per service that has none.
pub(crate) fn ps(status: &Status, now: Timestamp, columns: Option<usize>, paint: Paint) -> String {
    let mut table = Table::new(&[
        ("NAME", Side::Left),
        ("SERVICE", Side::Left),
        ("STATE", Side::Left),
        ("PID", Side::Right),
        ("ADDRESS", Side::Left),
        ("READY-AFTER", Side::Right),
        ("RESTARTS", Side::Right),
        ("UPTIME", Side::Right),
        ("DETAIL", Side::Left),
    ]);
    for service in &status.services {
        for instance in &service.instances {
            let runs = instance.pid.is_some();
            let uptime = instance.started_at.filter(|_| runs).map(|at| time::span(now.since(at)));
            let detail = if instance.detail.is_empty() {
                instance.last_exit.as_deref().filter(|_| !runs).unwrap_or_default()
            } else {
                &instance.detail
            };
            table.row(vec![
                Cell::styled(paint::name_style(&service.name), &instance.name),
                Cell::new(&service.name),
                Cell::styled(instance_style(instance.state), instance.state.as_str()),
                Cell::maybe(instance.pid.map(|pid| pid.to_string())),
                Cell::maybe(instance.address.as_deref()),
                Cell::maybe(instance.ready_after_ms.map(time::millis)),
                Cell::new(instance.restarts.to_string()),
                Cell::maybe(uptime),
                Cell::new(detail),
            ]);
        }
        if service.instances.is_empty() {
            table.row(vec![
                Cell::none(),
                Cell::new(&service.name),
                Cell::styled(board::state_style(service.state), service.state.as_str()),
                Cell::none(),
                Cell::none(),
                Cell::none(),
                Cell::none(),
                Cell::none(),
                Cell::new(&service.detail),
            ]);
        }
    }
    table.text(columns, paint)
}

fn instance_style(state: InstanceState) -> anstyle::Style {
    match state {
        InstanceState::Ready => paint::good(),
        InstanceState::Starting | InstanceState::Draining | InstanceState::Stopping => paint::warn(),
        InstanceState::Unready | InstanceState::Backoff => paint::bad(),
        InstanceState::Waiting | InstanceState::Exited => paint::dim(),
    }
}

/// `top`: what is used, computed from two samples that were taken `apart`.
pub(crate) fn top(
    before: &Usage,
    now: &Usage,
    apart: Duration,
    columns: Option<usize>,
    paint: Paint,
) -> Vec<String> {
    let mut table = Table::new(&[
        ("NAME", Side::Left),
        ("CPU %", Side::Right),
        ("MEMORY", Side::Right),
        ("LIMIT", Side::Right),
        ("PROCS", Side::Right),
        ("IN FLIGHT", Side::Right),
        ("REQ/S", Side::Right),
    ]);
    for instance in &now.instances {
        let earlier = before.instances.iter().find(|i| i.name == instance.name && continues(i, instance));
        let cpu = earlier.map(|earlier| share(instance.cpu_us - earlier.cpu_us, apart));
        let rate = earlier.map(|earlier| per_second(instance.requests - earlier.requests, apart));
        table.row(vec![
            Cell::styled(paint::name_style(&instance.service), &instance.name),
            Cell::maybe(cpu),
            Cell::new(Bytes(instance.memory).to_string()),
            Cell::maybe(instance.memory_limit.map(|limit| Bytes(limit).to_string())),
            Cell::new(instance.processes.to_string()),
            Cell::new(instance.in_flight.to_string()),
            Cell::maybe(rate),
        ]);
    }
    let cpu = now.node.cpu_us.saturating_sub(before.node.cpu_us);
    let requests = now.node.requests.saturating_sub(before.node.requests);
    table.row(vec![
        Cell::styled(paint::dim(), "(atoll)"),
        Cell::new(share(cpu, apart)),
        Cell::new(Bytes(now.node.memory).to_string()),
        Cell::none(),
        Cell::new("1"),
        Cell::none(),
        Cell::new(per_second(requests, apart)),
    ]);
    table.lines(columns, paint)
}

/// Counters start again at zero when an instance starts again: nothing can be said for that stretch.
fn continues(earlier: &InstanceUsage, later: &InstanceUsage) -> bool {
    later.cpu_us >= earlier.cpu_us && later.requests >= earlier.requests
}

fn share(cpu_us: u64, apart: Duration) -> String {
    format!("{:.1}", cpu_us as f64 * 100.0 / (apart.as_micros().max(1) as f64))
}

fn per_second(count: u64, apart: Duration) -> String {
    let rate = count as f64 / apart.as_secs_f64().max(1e-6);
    if rate >= 100.0 { format!("{rate:.0}") } else { format!("{rate:.1}") }
}

/// `routes`: every way in.
pub(crate) fn routes(routes: &[Route], columns: Option<usize>, paint: Paint) -> String {
    let mut table = Table::new(&[
        ("ENTRANCE", Side::Left),
        ("ADDRESS", Side::Left),
        ("ROUTE", Side::Left),
        ("SERVICE", Side::Left),
        ("TIMEOUT", Side::Right),
    ]);
    for route in routes {
        table.row(vec![
            Cell::styled(paint::name_style(&route.entrance), &route.entrance),
            Cell::new(&route.address),
            Cell::new(&route.route),
            Cell::styled(paint::name_style(&route.service), &route.service),
            Cell::new(kit::units::format_duration(Duration::from_millis(route.timeout_ms))),
        ]);
    }
    table.text(columns, paint)
}

#[cfg(test)]
mod tests {
    use super::super::board::tests::{instance, service, starting, status};
    use super::*;
    use api::{NodeUsage, Phase, ServiceState};

    #[test]
    fn ps_lists_instances_and_services_without_any() {
        let now = Timestamp::from_micros(64_000_000);
        insta::assert_snapshot!(ps(&starting(), now, None, Paint::new(false)), @r"
        NAME       SERVICE     STATE      PID  ADDRESS          READY-AFTER  RESTARTS  UPTIME  DETAIL
        catalog-1  catalog     ready      101  127.0.0.1:30001        41 ms         0   1m 3s
        catalog-2  catalog     ready      102  127.0.0.1:30002        41 ms         0   1m 3s
        –          orders      preparing    –  –                          –         –       –
        –          payments    failed       –  –                          –         –       –  exit status 1 three times in a row
        –          storefront  waiting      –  –                          –         –       –  waits for orders
        ");
    }

    #[test]
    fn an_instance_that_ended_tells_how() {
        let mut gone = instance("job", 1, InstanceState::Exited);
        gone.pid = None;
        gone.last_exit = Some("exit status 3".into());
        let status = status(Phase::Degraded, vec![service("job", ServiceState::Failed, "", vec![gone])]);
        let text = ps(&status, Timestamp::from_micros(9_000_000), None, Paint::new(false));
        assert!(text.lines().nth(1).unwrap().ends_with("–  exit status 3"), "{text}");
    }

    #[test]
    fn top_computes_rates_from_two_samples() {
        let sample = |cpu_us, requests| Usage {
            node: NodeUsage { cpu_us, memory: 20 << 20, requests },
            instances: vec![InstanceUsage {
                name: "catalog-1".into(),
                service: "catalog".into(),
                cpu_us,
                memory: 3 << 20,
                memory_limit: Some(64 << 20),
                processes: 2,
                in_flight: 5,
                requests,
            }],
        };
        let lines =
            top(&sample(100, 10), &sample(500_100, 210), Duration::from_secs(2), None, Paint::new(false));
        insta::assert_snapshot!(lines.join("\n"), @r"
        NAME       CPU %    MEMORY     LIMIT  PROCS  IN FLIGHT  REQ/S
        catalog-1   25.0   3.0 MiB  64.0 MiB      2          5    100
        (atoll)     25.0  20.0 MiB         –      1          –    100
        ");
        let again = top(&sample(900, 90), &sample(5, 0), Duration::from_secs(1), None, Paint::new(false));
        assert!(again[1].contains('–'), "{}", again[1]);
    }

    #[test]
    fn routes_name_the_way_in_and_the_service_behind_it() {
        let all = [
            Route {
                entrance: "gateway".into(),
                address: "127.0.0.1:8080".into(),
                route: "GET /books/{id}".into(),
                service: "catalog".into(),
                timeout_ms: 30_000,
                policies: Vec::new(),
            },
            Route {
                entrance: "orders".into(),
                address: "127.0.0.1:41001".into(),
                route: "orders -> payments".into(),
                service: "payments".into(),
                timeout_ms: 800,
                policies: Vec::new(),
            },
        ];
        insta::assert_snapshot!(routes(&all, None, Paint::new(false)), @r"
        ENTRANCE  ADDRESS          ROUTE               SERVICE   TIMEOUT
        gateway   127.0.0.1:8080   GET /books/{id}     catalog       30s
        orders    127.0.0.1:41001  orders -> payments  payments    800ms
        ");
    }
}
