//! `/metrics`: what the node counts, in the Prometheus text format 0.0.4.

use std::fmt::Write;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use super::{Admin, Shared, view};

pub(crate) async fn metrics(State(admin): Shared) -> Response {
    let status = view::status(&admin).await;
    let usage = node_usage(&admin);
    let mut text = String::new();
    let mut family = |name: &str, kind: &str, help: &str, samples: Vec<(String, f64)>| {
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}"); // writing to a String cannot fail
        for (labels, value) in samples {
            let _ = writeln!(text, "{name}{labels} {value}");
        }
    };
    let by_service = |of: &dyn Fn(&api::Service) -> f64| {
        status.services.iter().map(|s| (format!("{{service=\"{}\"}}", s.name), of(s))).collect()
    };
    family(
        "atoll_service_instances_desired",
        "gauge",
        "Instances wanted.",
        by_service(&|s| f64::from(s.desired)),
    );
    family("atoll_service_instances_ready", "gauge", "Instances ready.", by_service(&|s| f64::from(s.ready)));
    family(
        "atoll_service_restarts_total",
        "counter",
        "Restarts after failures.",
        by_service(&|s| s.instances.iter().map(|i| f64::from(i.restarts)).sum()),
    );
    family(
        "atoll_service_requests_in_flight",
        "gauge",
        "Exchanges under way.",
        by_service(&|s| s.instances.iter().map(|i| f64::from(i.in_flight)).sum()),
    );
    let one = |value: f64| vec![(String::new(), value)];
    let proxy = admin.proxy.stats();
    let classes = proxy.classes.iter().enumerate();
    family(
        "atoll_requests_total",
        "counter",
        "Exchanges carried, by class of the answer's status.",
        classes.map(|(at, count)| (format!("{{class=\"{}xx\"}}", at + 1), *count as f64)).collect(),
    );
    let errors = proxy.errors.iter();
    family(
        "atoll_proxy_errors_total",
        "counter",
        "Exchanges that failed in Atoll or on the way to an instance, by RFC 9209 error type.",
        errors
            .map(|((code, token), count)| (format!("{{code=\"{code}\",error=\"{token}\"}}"), *count as f64))
            .collect(),
    );
    family("atoll_proxy_retries_total", "counter", "Attempts beyond the first.", one(proxy.retries as f64));
    family("atoll_proxy_requests_in_flight", "gauge", "Exchanges under way.", one(proxy.in_flight as f64));
    family("atoll_client_connections", "gauge", "Client connections open.", one(proxy.connections as f64));
    family(
        "atoll_client_connections_total",
        "counter",
        "Client connections accepted.",
        one(proxy.accepted as f64),
    );
    family(
        "atoll_unreadable_requests_total",
        "counter",
        "Requests that were no HTTP.",
        one(proxy.unreadable as f64),
    );
    family(
        "atoll_tls_handshakes_total",
        "counter",
        "TLS handshakes completed, by whether an earlier session was resumed.",
        [
            ("true", proxy.handshakes_resumed),
            ("false", proxy.handshakes.saturating_sub(proxy.handshakes_resumed)),
        ]
        .map(|(resumed, count)| (format!("{{resumed=\"{resumed}\"}}"), count as f64))
        .to_vec(),
    );
    family(
        "atoll_tls_handshakes_failed_total",
        "counter",
        "TLS handshakes not completed.",
        one(proxy.handshakes_failed as f64),
    );
    family(
        "atoll_access_records_dropped_total",
        "counter",
        "Access records dropped because the disk was slower than the data path.",
        one((admin.access.dropped().full + admin.access.dropped().text) as f64),
    );
    family(
        "process_resident_memory_bytes",
        "gauge",
        "Resident memory of the node.",
        one(usage.memory as f64),
    );
    family("process_cpu_seconds_total", "counter", "CPU time of the node.", one(usage.cpu_us as f64 / 1e6));
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
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
