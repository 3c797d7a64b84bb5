//! Numbers over time: what the node counts, what instances use, and what services say of themselves under the path that the
//! file names. Looked at every [`EVERY`], one after the other, each within limits.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kit::{Clock, SystemClock};
use manifest::spec::{InstanceId, ServiceName};
use telemetry::model::{MetricPoint, MetricValue, Text};
use tokio_util::sync::CancellationToken;

use super::Observer;
use super::exposition;
use crate::admin::Admin;

/// Between two looks.
const EVERY: Duration = Duration::from_secs(10);
/// How long a service may take to say what it counts.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes that it may say.
const MOST: usize = 4 << 20;
/// Instances that are asked in one look.
const MOST_ASKED: usize = 200;

/// Looks until told to stop.
pub(crate) async fn sample(
    admin: Arc<Admin>,
    observer: Observer,
    clock: SystemClock,
    stop: CancellationToken,
) {
    let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build_http();
    loop {
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = stop.cancelled() => return,
        }
        let Some(telemetry) = observer.telemetry() else { continue };
        let intake = telemetry.intake();
        let now = clock.now().as_micros().saturating_mul(1000);
        let node = [(Text::from_static("service"), super::seen::ATOLL)];
        let own = crate::admin::counted(&admin).await;
        let mut points = exposition::read(&own, now, &node).points;
        // How requests are spread over time is known better from spans.
        points.retain(|point| !point.name.ends_with("_bucket"));
        used(&admin, now, &mut points).await;
        intake.offer_points(points);
        let asking = asked(&admin).await.into_iter().take(MOST_ASKED);
        for (instance, address, path) in asking {
            let said = tokio::select! {
                said = ask(&client, address, &path) => said,
                () = stop.cancelled() => return,
            };
            let labels = [
                (Text::from_static("service"), Text::from(instance.service.as_str())),
                (Text::from_static("instance"), Text::from(instance.name())),
            ];
            let mut points =
                said.as_deref().map(|text| exposition::read(text, now, &labels).points).unwrap_or_default();
            let up = MetricValue::Gauge(f64::from(u8::from(said.is_some())));
            points.push(point("up", "", now, &labels, up));
            intake.offer_points(points);
        }
    }
}

/// What instances use: time on a core and memory.
async fn used(admin: &Admin, now: u64, points: &mut Vec<MetricPoint>) {
    for usage in admin.driver.usage().await {
        let labels = [
            (Text::from_static("service"), Text::from(usage.id.service.as_str())),
            (Text::from_static("instance"), Text::from(usage.id.name())),
        ];
        let cpu = MetricValue::Counter(usage.cpu.as_secs_f64());
        points.push(point("atoll_instance_cpu_seconds_total", "s", now, &labels, cpu));
        let memory = MetricValue::Gauge(usage.memory as f64);
        points.push(point("atoll_instance_memory_bytes", "By", now, &labels, memory));
        let processes = MetricValue::Gauge(f64::from(usage.processes));
        points.push(point("atoll_instance_processes", "", now, &labels, processes));
    }
}

fn point(
    name: &'static str,
    unit: &'static str,
    time_ns: u64,
    labels: &[(Text, Text)],
    value: MetricValue,
) -> MetricPoint {
    let (name, unit) = (Text::from_static(name), Text::from_static(unit));
    MetricPoint { name, unit, labels: labels.to_vec(), time_ns, value }
}

/// Which instances are to be asked, where and for what.
async fn asked(admin: &Admin) -> Vec<(InstanceId, SocketAddr, String)> {
    let paths: BTreeMap<ServiceName, String> = admin.applier.metrics_paths().await;
    let observed = admin.registry.observed();
    let ask = |(id, seen): (&InstanceId, &registry::Observed)| {
        Some((id.clone(), seen.address()?, paths.get(&id.service)?.clone()))
    };
    observed.iter().filter_map(ask).collect()
}

async fn ask(
    client: &Client<HttpConnector, Empty<Bytes>>,
    address: SocketAddr,
    path: &str,
) -> Option<String> {
    let request = Request::get(format!("http://{address}{path}"))
        .header("accept", "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4")
        .body(Empty::new())
        .ok()?;
    let answered = async {
        let answer = client.request(request).await.ok()?;
        if !answer.status().is_success() {
            return None;
        }
        let body = Limited::new(answer.into_body(), MOST).collect().await.ok()?;
        Some(String::from_utf8_lossy(&body.to_bytes()).into_owned())
    };
    tokio::time::timeout(PATIENCE, answered).await.ok().flatten()
}
