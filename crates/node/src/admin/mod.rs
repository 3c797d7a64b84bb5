//! The admin API's server: decode, call, encode. What it means is in `api`.

mod breakers;
mod console;
mod keys;
mod logs;
mod metrics;
mod problem;
mod queues;
mod slos;
mod store;
mod telemetry;
mod topics;
mod view;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::rejection::JsonRejection;
use axum::extract::{Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use control::{Controller, Target};
use futures_util::Stream;
use registry::Registry;
use runtime::Driver;
use serde::{Deserialize, Serialize};
use tokio::net::UnixListener;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::app::Applier;
use crate::events::Events;
use crate::spans::Spans;
pub(crate) use metrics::counted;
use problem::Refusal;

/// A request body larger than this is refused, in bytes.
const MAX_BODY: usize = 16 << 20;

/// How often a watched status is sent at most. A hundred instances that turn ready within a moment are one
/// change to look at.
const STATUS_PACE: Duration = Duration::from_millis(40);

/// What the API speaks for.
pub(crate) struct Admin {
    pub(crate) node: api::Node,
    pub(crate) applier: Arc<Applier>,
    pub(crate) controller: Controller,
    pub(crate) registry: Registry,
    pub(crate) driver: Arc<dyn Driver>,
    pub(crate) proxy: proxy::Handle,
    pub(crate) spans: Spans,
    pub(crate) events: Arc<Events>,
    /// Cancelled when the node ends: streams end with it.
    pub(crate) ending: CancellationToken,
    /// Taken by the stop that ends the node.
    pub(crate) stop: Mutex<Option<oneshot::Sender<()>>>,
}

type Shared = State<Arc<Admin>>;
type Answer<T> = Result<Json<T>, Refusal>;

/// Serves until told to stop, then finishes the answers under way.
pub(crate) async fn serve(
    admin: Arc<Admin>,
    listener: UnixListener,
    stop: CancellationToken,
) -> io::Result<()> {
    let router = Router::new()
        .route("/v1/node", get(node))
        .route("/v1/status", get(status))
        .route("/v1/plan", post(plan))
        .route("/v1/app", put(apply).get(app))
        .route("/v1/restart", post(restart))
        .route("/v1/scale", post(scale))
        .route("/v1/stop", post(stop_all))
        .route("/v1/events", get(events))
        .route("/v1/logs", get(logs::logs))
        .route("/v1/usage", get(usage))
        .route("/v1/routes", get(routes))
        .route("/v1/breakers", get(breakers::list).post(breakers::order))
        .route("/v1/queues", get(queues::list))
        .route("/v1/queues/{name}", get(queues::show))
        .route("/v1/queues/{name}/messages", get(queues::peek).post(queues::send))
        .route("/v1/queues/{name}/receive", post(queues::receive))
        .route("/v1/queues/{name}/purge", post(queues::purge))
        .route("/v1/queues/{name}/move", post(queues::begin_move))
        .route("/v1/topics", get(topics::list))
        .route("/v1/topics/{name}", get(topics::show))
        .route("/v1/topics/{name}/messages", post(topics::publish))
        .route("/v1/keys", get(keys::list).post(keys::create))
        .route("/v1/keys/revoke", post(keys::revoke))
        .route("/v1/console", post(console::open))
        .route("/v1/store/backup", post(store::backup))
        .route("/v1/traces", post(telemetry::traces))
        .route("/v1/traces/{id}", get(telemetry::trace))
        .route("/v1/records", post(telemetry::records))
        .route("/v1/metrics", get(telemetry::metrics).post(telemetry::series))
        .route("/v1/latency", post(telemetry::latency))
        .route("/v1/graph", post(telemetry::graph))
        .route("/v1/errors", post(telemetry::errors))
        .route("/v1/errors/{id}", get(telemetry::error).post(telemetry::decide))
        .route("/v1/telemetry", get(telemetry::stats))
        .route("/v1/slos", get(slos::list))
        .route("/v1/alerts", get(slos::alerts))
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics::metrics))
        .fallback(problem::not_found)
        .layer(axum::extract::DefaultBodyLimit::max(MAX_BODY))
        .with_state(admin);
    axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await
}

async fn node(State(admin): Shared) -> Json<api::Node> {
    Json(admin.node.clone())
}

#[derive(Deserialize)]
struct Watch {
    #[serde(default)]
    watch: bool,
}

async fn status(State(admin): Shared, Query(query): Query<Watch>) -> Response {
    if !query.watch {
        return Json(view::status(&admin).await).into_response();
    }
    let changes = admin.controller.view();
    lines(futures_util::stream::unfold((admin, changes, false), |(admin, mut changes, sent)| async move {
        if sent {
            tokio::time::sleep(STATUS_PACE).await;
            tokio::select! {
                changed = changes.changed() => changed.ok()?,
                () = admin.ending.cancelled() => return None,
            }
        }
        changes.mark_unchanged();
        let status = view::status(&admin).await;
        Some((status, (admin, changes, true)))
    }))
}

/// A stream of values as one JSON line each.
fn lines<T: Serialize + 'static>(values: impl Stream<Item = T> + Send + 'static) -> Response {
    use futures_util::StreamExt;
    let lines = values.map(|value| {
        let mut line = serde_json::to_vec(&value).unwrap_or_default(); // our own types always encode
        line.push(b'\n');
        Ok::<_, Infallible>(Bytes::from(line))
    });
    ([(CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response()
}

fn body<T>(body: Result<Json<T>, JsonRejection>) -> Result<T, Refusal> {
    body.map(|Json(value)| value).map_err(|rejection| problem::bad_request(rejection.body_text()))
}

async fn plan(State(admin): Shared, wish: Result<Json<api::Apply>, JsonRejection>) -> Answer<api::Plan> {
    let prepared = admin.applier.prepare(&admin.node.app, body(wish)?).await?;
    Ok(Json(admin.applier.difference(&prepared).await))
}

/// Runs to its end in a task of its own: a client that goes away does not leave a wish half in force.
async fn apply(State(admin): Shared, wish: Result<Json<api::Apply>, JsonRejection>) -> Answer<api::Plan> {
    let wish = body(wish)?;
    detached(async move {
        let plan = admin.applier.apply(&admin.node.app, wish, &admin.controller).await?;
        Ok(Json(plan))
    })
    .await
}

async fn app(State(admin): Shared) -> Json<api::AppFile> {
    Json(api::AppFile { file: admin.applier.wish().await.file })
}

async fn scale(State(admin): Shared, wish: Result<Json<api::Scale>, JsonRejection>) -> Answer<api::Plan> {
    let wish = body(wish)?;
    detached(async move { Ok(Json(admin.applier.scale(wish.replicas, &admin.controller).await?)) }).await
}

async fn restart(State(admin): Shared, wish: Result<Json<api::Restart>, JsonRejection>) -> Answer<api::Done> {
    admin.applier.check_turn()?;
    let targets = body(wish)?.targets;
    let view = admin.controller.view().borrow().clone();
    let mut resolved = Vec::new();
    for target in targets {
        let service = view.services.iter().find(|service| service.name.as_str() == target);
        let instance = view
            .services
            .iter()
            .flat_map(|s| &s.instances)
            .find(|instance| instance.place.to_string() == target);
        match (service, instance) {
            (Some(service), _) => resolved.push(Target::Service(service.name.clone())),
            (None, Some(instance)) => resolved.push(Target::Place(instance.place.clone())),
            (None, None) => return Err(problem::unknown_target(&target)),
        }
    }
    let places = admin.controller.restart(resolved).await.map_err(|_| problem::stopping())?;
    let places = places.map_err(|error| problem::restart(&error))?;
    Ok(Json(api::Done { instances: places.iter().map(ToString::to_string).collect() }))
}

async fn stop_all(State(admin): Shared, wish: Result<Json<api::Stop>, JsonRejection>) -> Answer<api::Done> {
    let grace = body(wish)?.timeout_s.map(Duration::from_secs);
    detached(async move {
        let running = running_instances(&admin);
        admin.applier.go_down().await?;
        admin.controller.down(grace).await.map_err(|_| problem::stopping())?;
        let stop = admin.stop.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(stop) = stop {
            let _ = stop.send(()); // it ends already
        }
        Ok(Json(api::Done { instances: running }))
    })
    .await
}

fn running_instances(admin: &Admin) -> Vec<String> {
    let view = admin.controller.view().borrow().clone();
    let instances = view.services.iter().flat_map(|service| &service.instances);
    instances.filter(|instance| instance.pid.is_some()).map(|instance| instance.place.to_string()).collect()
}

#[derive(Deserialize)]
struct Since {
    #[serde(default)]
    since: u64,
    #[serde(default)]
    follow: bool,
}

async fn events(State(admin): Shared, Query(query): Query<Since>) -> Response {
    use futures_util::StreamExt;
    let (kept, live) = admin.events.since(query.since);
    let kept = futures_util::stream::iter(kept);
    if !query.follow {
        return lines(kept);
    }
    let live = futures_util::stream::unfold((admin, live), |(admin, mut live)| async move {
        let next = tokio::select! {
            biased; // what has happened is told before the end is
            next = live.recv() => next,
            () = admin.ending.cancelled() => return None,
        };
        match next {
            Ok(event) => Some((event, (admin, live))),
            Err(tokio::sync::broadcast::error::RecvError::Lagged(missed)) => {
                Some((admin.events.missed(missed), (admin, live)))
            }
            Err(tokio::sync::broadcast::error::RecvError::Closed) => None,
        }
    });
    lines(kept.chain(live))
}

async fn usage(State(admin): Shared) -> Json<api::Usage> {
    let mut used: BTreeMap<_, _> =
        admin.driver.usage().await.into_iter().map(|usage| (usage.id.clone(), usage)).collect();
    let observed = admin.registry.observe().borrow().clone();
    let view = admin.controller.view().borrow().clone();
    let limits = admin.applier.memory_limits().await;
    let mut instances = Vec::new();
    for instance in view.services.iter().flat_map(|service| &service.instances) {
        let id = instance.place.instance(instance.run);
        let Some(usage) = used.remove(&id) else { continue };
        let seen = observed.get(&id);
        instances.push(api::InstanceUsage {
            name: instance.place.to_string(),
            service: instance.place.service.to_string(),
            cpu_us: usage.cpu.as_micros() as u64,
            memory: usage.memory,
            memory_limit: limits.get(&instance.place.service).copied(),
            processes: usage.processes,
            in_flight: seen.map_or(0, registry::Observed::in_flight),
            requests: seen.map_or(0, registry::Observed::requests),
        });
    }
    Json(api::Usage { node: metrics::node_usage(&admin), instances })
}

async fn routes(State(admin): Shared) -> Json<Vec<api::Route>> {
    Json(admin.applier.outline().await.routes)
}

async fn readyz(State(admin): Shared) -> Response {
    let status = view::status(&admin).await;
    if status.phase == api::Phase::Ready {
        return "ok\n".into_response();
    }
    let waiting: Vec<_> = status
        .services
        .iter()
        .filter(|service| !view::is_settled(service.state))
        .map(|service| format!("{}: {}", service.name, service.state.as_str()))
        .collect();
    (axum::http::StatusCode::SERVICE_UNAVAILABLE, waiting.join("\n") + "\n").into_response()
}

/// Runs work that must come to its end whether or not the client waits for it.
async fn detached<T: Send + 'static>(
    work: impl Future<Output = Result<T, Refusal>> + Send + 'static,
) -> Result<T, Refusal> {
    #[allow(clippy::disallowed_methods)] // ends by itself: every step of it has a bound
    let task = tokio::spawn(work);
    task.await.unwrap_or_else(|_| Err(problem::stopping()))
}
