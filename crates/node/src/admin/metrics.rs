//! `/metrics`: what the node counts, in the text format of Prometheus or, with examples, of OpenMetrics. Every
//! name is told in `docs/metrics.md`.

mod guards;
mod queues;
mod routes;
mod text;

#[cfg(test)]
mod check;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use registry::Moment;

use super::{Admin, Shared, view};
use text::{Format, Text, Type};

pub(crate) async fn metrics(State(admin): Shared, headers: HeaderMap) -> Response {
    let format = Format::wanted(headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()));
    ([(CONTENT_TYPE, format.content_type())], written(&admin, format).await).into_response()
}

/// What the node counts, in the text format of Prometheus.
pub(crate) async fn counted(admin: &Admin) -> String {
    written(admin, Format::Classic).await
}

async fn written(admin: &Admin, format: Format) -> String {
    let mut text = Text::new(format);
    services(&mut text, &view::status(admin).await);
    data_path(&mut text, &admin.proxy.stats());
    let routes = admin.applier.guards.routes();
    routes::write(&mut text, &routes);
    guards::write(&mut text, &admin.applier.guards.states(), &routes);
    guards::instances(&mut text, &admin.registry.observed(), Moment::now());
    if let Some(pipes) = admin.applier.broker.pipes() {
        queues::write(&mut text, &pipes, admin.applier.broker.now());
        let (lent, refused) = admin.applier.broker.told().lending();
        queues::credentials(&mut text, &lent, refused);
    }
    if let Some(store) = admin.applier.broker.store() {
        queues::store(&mut text, &store.stats());
    }
    node(&mut text, admin);
    text.finish()
}

fn services(text: &mut Text, status: &api::Status) {
    let mut gauge = |name, kind, help, of: &dyn Fn(&api::Service) -> f64| {
        let mut family = text.family(name, kind, help);
        for service in &status.services {
            family.sample(&[("service", &service.name)], of(service));
        }
    };
    gauge("atoll_service_instances_desired", Type::Gauge, "Instances wanted.", &|s| f64::from(s.desired));
    gauge("atoll_service_instances_ready", Type::Gauge, "Instances ready.", &|s| f64::from(s.ready));
    gauge("atoll_service_restarts", Type::Counter, "Restarts after failures.", &|s| {
        s.instances.iter().map(|i| f64::from(i.restarts)).sum()
    });
    gauge("atoll_service_requests_in_flight", Type::Gauge, "Exchanges under way.", &|s| {
        s.instances.iter().map(|i| f64::from(i.in_flight)).sum()
    });
}

/// Totals over all routes, and what belongs to none.
fn data_path(text: &mut Text, stats: &proxy::Stats) {
    let help = "Exchanges carried, by class of the answer's status.";
    let mut family = text.family("atoll_requests", Type::Counter, help);
    for (class, count) in routes::CLASSES.into_iter().zip(stats.classes) {
        family.sample(&[("class", class)], count as f64);
    }
    let help = "Exchanges that failed in Atoll or on the way to an instance, by RFC 9209 error type.";
    let mut family = text.family("atoll_proxy_errors", Type::Counter, help);
    for ((code, error), count) in &stats.errors {
        family.sample(&[("code", code), ("error", error)], *count as f64);
    }
    let help = "Copies of requests, by whether they were answered well.";
    let mut family = text.family("atoll_mirrored_requests", Type::Counter, help);
    for (well, count) in ["true", "false"].into_iter().zip(stats.mirrored) {
        family.sample(&[("ok", well)], count as f64);
    }
    let help = "TLS handshakes completed, by whether an earlier session was resumed.";
    let mut family = text.family("atoll_tls_handshakes", Type::Counter, help);
    let new = stats.handshakes.saturating_sub(stats.handshakes_resumed);
    for (resumed, count) in [("true", stats.handshakes_resumed), ("false", new)] {
        family.sample(&[("resumed", resumed)], count as f64);
    }
    for (name, kind, help, value) in [
        ("atoll_proxy_retries", Type::Counter, "Attempts beyond the first.", stats.retries),
        ("atoll_proxy_requests_in_flight", Type::Gauge, "Exchanges under way.", stats.in_flight),
        ("atoll_client_connections_open", Type::Gauge, "Client connections open.", stats.connections),
        ("atoll_client_connections", Type::Counter, "Client connections accepted.", stats.accepted),
        ("atoll_unreadable_requests", Type::Counter, "Requests that were no HTTP.", stats.unreadable),
        (
            "atoll_tls_handshakes_failed",
            Type::Counter,
            "TLS handshakes not completed.",
            stats.handshakes_failed,
        ),
        (
            "atoll_upstream_connections",
            Type::Counter,
            "Connections to instances opened.",
            stats.upstream_opened,
        ),
        (
            "atoll_upstream_connections_idle",
            Type::Gauge,
            "Connections to instances that are idle.",
            stats.upstream_idle,
        ),
    ] {
        text.family(name, kind, help).sample(&[], value as f64);
    }
}

fn node(text: &mut Text, admin: &Admin) {
    let dropped = admin.spans.hops_dropped();
    let help = "Exchanges that came faster than they could be written down, by what was full.";
    let mut family = text.family("atoll_access_records_dropped", Type::Counter, help);
    for (reason, count) in [("records", dropped.full), ("text", dropped.text)] {
        family.sample(&[("full", reason)], count as f64);
    }
    let dropped = admin.spans.operations_dropped();
    let help = "Operations on queues and topics that came faster than they could be written down.";
    text.family("atoll_operation_records_dropped", Type::Counter, help).sample(&[], dropped as f64);
    if let Some(telemetry) = admin.applier.observer.telemetry() {
        let help = "Records of telemetry that were not kept, by why.";
        let mut family = text.family("atoll_telemetry_records_dropped", Type::Counter, help);
        for (reason, count) in telemetry.query().dropped() {
            family.sample(&[("why", reason.as_str())], count as f64);
        }
    }
    let usage = node_usage(admin);
    let memory = text.family("process_resident_memory_bytes", Type::Gauge, "Resident memory of the node.");
    memory.unit("bytes").sample(&[], usage.memory as f64);
    let cpu = text.family("process_cpu_seconds", Type::Counter, "CPU time of the node.");
    cpu.unit("seconds").sample(&[], usage.cpu_us as f64 / 1e6);
}

/// What this process uses, from proc(5). Zero where it cannot be read.
pub(crate) fn node_usage(admin: &Admin) -> api::NodeUsage {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = statm.split_whitespace().nth(1).and_then(|text| text.parse().ok()).unwrap_or_default();
    let memory = pages * rustix::param::page_size() as u64;
    let cpu = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let cpu_us = cpu.tv_sec as u64 * 1_000_000 + cpu.tv_nsec as u64 / 1000;
    api::NodeUsage { cpu_us, memory, requests: admin.proxy.stats().requests }
}

#[cfg(test)]
mod tests {
    use super::*;
    use check::check;

    #[test]
    fn totals_are_right_in_both_formats() {
        let mut stats = proxy::Stats { requests: 3, classes: [0, 2, 0, 0, 1], ..Default::default() };
        stats.errors.insert(("A0712", "connection_refused"), 1);
        for format in [Format::Classic, Format::OpenMetrics] {
            let mut text = Text::new(format);
            data_path(&mut text, &stats);
            let samples = check(format, &text.finish());
            assert_eq!(samples["atoll_requests_total{class=\"2xx\"}"], 2.0);
            assert_eq!(samples["atoll_proxy_errors_total{code=\"A0712\",error=\"connection_refused\"}"], 1.0);
            assert_eq!(samples["atoll_client_connections_total"], 0.0);
        }
    }
}
