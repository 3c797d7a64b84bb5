//! What tests of the policies share: services whose mood a test changes while they run, an app whose guards it
//! sees, and the promise that nothing stays taken.
#![allow(dead_code, missing_docs, unreachable_pub)] // each test uses its part of this

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use manifest::spec;
use proxy::policy::breaker::State;
use proxy::table::Additions;
use proxy::{GuardState, Guards, Limits, RouteTable};
use registry::Endpoint;
use tokio::sync::watch;

use super::common::*;

// ---- services ----

/// How a service takes what it is asked.
#[derive(Clone, Debug)]
pub enum Mood {
    /// Answers with this status.
    Says(u16),
    /// And with these headers and this body.
    With(u16, Vec<(&'static str, String)>, Bytes),
    /// Answers with this status after a while.
    After(Duration, u16),
    /// Answers only when it is in another mood.
    Hangs,
}

impl Mood {
    /// Fails as gRPC does: with status 200, and in place of trailers a head that says UNAVAILABLE.
    pub fn unavailable() -> Self {
        let head = [("content-type", "application/grpc"), ("grpc-status", "14")];
        Self::With(200, head.map(|(name, value)| (name, value.to_owned())).to_vec(), Bytes::new())
    }
}

/// What it was asked.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: Method,
    pub target: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// A service of HTTP/1.1 whose mood changes.
#[derive(Clone)]
pub struct Service {
    pub address: SocketAddr,
    mood: watch::Sender<Mood>,
    state: Arc<ServiceState>,
}

#[derive(Default)]
struct ServiceState {
    /// Leaves bodies alone.
    is_idle: bool,
    asked: Mutex<Vec<Asked>>,
    count: AtomicUsize,
    under_way: AtomicUsize,
}

/// A request that is being looked at; dropped with its connection, too.
struct UnderWay(Arc<ServiceState>);

impl UnderWay {
    /// Reads a request and notes it. `None`: it broke off.
    async fn new(request: Request<Incoming>, state: &Arc<ServiceState>) -> Option<(Self, Asked)> {
        state.count.fetch_add(1, Ordering::SeqCst);
        state.under_way.fetch_add(1, Ordering::SeqCst);
        let under_way = Self(Arc::clone(state));
        let (head, body) = request.into_parts();
        let body = if state.is_idle { Bytes::new() } else { body.collect().await.ok()?.to_bytes() };
        let asked = Asked { method: head.method, target: head.uri.to_string(), headers: head.headers, body };
        state.asked.lock().unwrap().push(asked.clone());
        Some((under_way, asked))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Service {
    pub async fn start(mood: Mood) -> Self {
        Self::with(mood, ServiceState::default()).await
    }

    /// One that never reads a body.
    pub async fn that_reads_no_body(mood: Mood) -> Self {
        Self::with(mood, ServiceState { is_idle: true, ..ServiceState::default() }).await
    }

    /// One that asks another and answers with what that says.
    pub async fn that_calls<F>(call: impl Fn(Asked) -> F + Clone + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Reply> + Send + 'static,
    {
        let (mood, state) = (watch::Sender::new(Mood::Hangs), Arc::new(ServiceState::default()));
        let of_server = Arc::clone(&state);
        let server = Server::http(move |request| {
            let (state, call) = (Arc::clone(&of_server), call.clone());
            async move {
                let Some((_under_way, asked)) = UnderWay::new(request, &state).await else {
                    return text("it broke off");
                };
                let reply = call(asked).await;
                let mut answer = text(reply.body);
                *answer.status_mut() = reply.status.try_into().unwrap();
                answer
            }
        });
        Self { address: server.await.address, mood, state }
    }

    async fn with(mood: Mood, state: ServiceState) -> Self {
        let (mood, state) = (watch::Sender::new(mood), Arc::new(state));
        let (moods, of_server) = (mood.clone(), Arc::clone(&state));
        let server = Server::http(move |request| answer(request, moods.subscribe(), Arc::clone(&of_server)));
        Self { address: server.await.address, mood, state }
    }

    pub fn is(&self, mood: Mood) {
        self.mood.send_replace(mood);
    }

    /// Requests so far.
    pub fn count(&self) -> usize {
        self.state.count.load(Ordering::SeqCst)
    }

    /// Requests that wait for an answer.
    pub fn under_way(&self) -> usize {
        self.state.under_way.load(Ordering::SeqCst)
    }

    /// All requests whose bodies it has read.
    pub fn asked(&self) -> Vec<Asked> {
        self.state.asked.lock().unwrap().clone()
    }

    /// Waits until so many requests wait for an answer.
    pub async fn until_under_way(&self, count: usize) {
        until(&format!("{count} requests under way"), || self.under_way() == count).await;
    }

    /// Waits until it was asked so often.
    pub async fn until_asked(&self, count: usize) {
        until(&format!("{count} requests"), || self.asked().len() >= count).await;
    }
}

async fn answer(
    request: Request<Incoming>,
    mut mood: watch::Receiver<Mood>,
    state: Arc<ServiceState>,
) -> Answered {
    let Some(_under_way) = UnderWay::new(request, &state).await else { return text("it broke off") };
    loop {
        let now = mood.borrow_and_update().clone();
        let (status, headers, body) = match now {
            Mood::Says(status) => (status, Vec::new(), Bytes::from(format!("{status}"))),
            Mood::With(status, headers, body) => (status, headers, body),
            Mood::After(pause, status) => {
                tokio::time::sleep(pause).await;
                (status, Vec::new(), Bytes::from(format!("{status}")))
            }
            Mood::Hangs => match mood.changed().await {
                Ok(()) => continue,
                Err(_) => std::future::pending().await,
            },
        };
        let mut answer = text(body);
        *answer.status_mut() = status.try_into().unwrap();
        for (name, value) in headers {
            answer.headers_mut().append(name, value.parse().unwrap());
        }
        return answer;
    }
}

// ---- the app ----

/// A guard with these changes.
pub fn rule(change: impl FnOnce(&mut spec::Guard)) -> spec::Guard {
    let mut guard = guard(PATIENCE, 0);
    change(&mut guard);
    guard
}

/// A service with routes `path → guard`.
pub fn routed(name: &str, routes: impl IntoIterator<Item = (&'static str, spec::Guard)>) -> spec::Service {
    let mut service = service(name);
    for (text, guard) in routes {
        service.routes.push(spec::Route { guard, ..route(text, PATIENCE) });
    }
    service
}

/// `web` alone, every path under this guard.
pub fn web_under(guard: spec::Guard) -> spec::App {
    app([routed("web", [(ALL, guard)])])
}

/// The route of [`web_under`].
pub const ALL: &str = "/{*rest}";

/// A proxy of two threads, with its guards.
pub struct World {
    pub harness: Harness,
    pub guards: Arc<Guards>,
    runs: AtomicUsize,
}

impl World {
    pub async fn start(app: &spec::App) -> Self {
        Self::with(app, Limits::default()).await
    }

    pub async fn with(app: &spec::App, limits: Limits) -> Self {
        let harness = Harness::with(app, limits).await;
        let world = Self { harness, guards: Arc::default(), runs: AtomicUsize::new(0) };
        world.change(app);
        world
    }

    /// A world of one `web` behind one guard.
    pub async fn web(guard: spec::Guard, services: &[&Service]) -> Self {
        let world = Self::start(&web_under(guard)).await;
        world.ready("web", services);
        world
    }

    /// Publishes another table, as a change of the file does.
    pub fn change(&self, app: &spec::App) {
        self.change_with(app, Additions::default());
    }

    pub fn change_with(&self, app: &spec::App, additions: Additions) {
        let additions = Additions { guards: Arc::clone(&self.guards), ..additions };
        self.harness.proxy.publish(RouteTable::compile_with(app, &self.harness.directory, additions));
    }

    /// Publishes replicas of a service as ready: 1, 2, …
    pub fn ready(&self, service: &str, replicas: &[&Service]) -> Vec<Arc<Endpoint>> {
        let endpoints: Vec<_> =
            replicas.iter().zip(1..).map(|(one, n)| self.replica(service, n, one)).collect();
        self.harness.publish(service, endpoints.clone(), false);
        endpoints
    }

    pub fn replica(&self, service: &str, number: usize, at: &Service) -> Arc<Endpoint> {
        let run = self.runs.fetch_add(1, Ordering::Relaxed) + 1;
        Arc::new(Endpoint::new(format!("{service}-{number}#{run}").parse().unwrap(), at.address))
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.harness.get(path).await
    }

    /// Sends `GET path` and does not wait for the answer.
    pub async fn begin(&self, path: &str) -> Client {
        let mut client = self.harness.client().await;
        client.send(&format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n")).await;
        client
    }

    /// A request with a method, headers (each with its line end) and a body.
    pub async fn ask(&self, method: &str, path: &str, headers: &str, body: &str) -> Reply {
        let mut client = self.harness.client().await;
        client.ask(method, path, headers, body).await
    }

    /// The guards of `route` towards `service`.
    pub fn state(&self, route: &str, service: &str) -> GuardState {
        let mut states = self.guards.states().into_iter();
        states.find(|state| state.route == route && state.service.as_str() == service).unwrap()
    }

    /// The breaker of [`web_under`].
    pub fn breaker(&self) -> State {
        self.state(ALL, "web").breaker.unwrap().state
    }

    /// Waits until nothing is taken any more: no place, nobody waiting, no exchange, nothing on an instance.
    pub async fn is_idle(&self, endpoints: &[Arc<Endpoint>]) {
        let is_free = |state: &GuardState| state.load.in_use == 0 && state.load.waiting == 0;
        until("every place is free", || self.guards.states().iter().all(is_free)).await;
        until("no instance is busy", || endpoints.iter().all(|endpoint| endpoint.in_flight() == 0)).await;
        until("no exchange is under way", || self.harness.proxy.stats().in_flight == 0).await;
    }
}

/// More that a client does.
#[allow(async_fn_in_trait)] // for tests of this crate alone
pub trait Asks {
    async fn ask(&mut self, method: &str, path: &str, headers: &str, body: &str) -> Reply;
}

impl Asks for Client {
    async fn ask(&mut self, method: &str, path: &str, headers: &str, body: &str) -> Reply {
        let length = match body.len() {
            0 => String::new(),
            length => format!("Content-Length: {length}\r\n"),
        };
        self.send(&format!("{method} {path} HTTP/1.1\r\nHost: test\r\n{headers}{length}\r\n{body}")).await;
        self.reply().await
    }
}

pub const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}
