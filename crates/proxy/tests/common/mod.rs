//! A proxy with one app, services made of a few lines, and a client that sees every byte.
#![allow(dead_code, missing_docs, unreachable_pub)] // each test uses its part of this

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use manifest::spec;
use manifest::spec::ServiceName;
use proxy::signals::{Hop, Lane};
use proxy::{AccessRecord, AccessSink, Entrance, Handle, Limits, Listener, Options, Proxy, RouteTable};
use registry::{Directory, Endpoint, Endpoints};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// No wait in a test is longer.
pub const PATIENCE: Duration = Duration::from_secs(10);

pub fn go(work: impl Future<Output = ()> + Send + 'static) {
    kit::Tasks::new().spawn("test", kit::OnError::Log, |_| async {
        work.await;
        Ok::<_, String>(())
    });
}

pub async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("it happens in time")
}

/// Waits for a state, with a limit.
pub async fn until(what: &str, mut state: impl FnMut() -> bool) {
    let start = Instant::now();
    while !state() {
        assert!(start.elapsed() < PATIENCE, "never: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

// ---- the app ----

pub fn name(text: &str) -> ServiceName {
    text.parse().unwrap()
}

/// `GET,POST host/path`, with `name:value` words for headers.
pub fn route(text: &str, timeout: Duration) -> spec::Route {
    let mut route = spec::Route {
        name: text.to_owned(),
        methods: Vec::new(),
        path: String::new(),
        host: None,
        headers: Vec::new(),
        auth: None,
        guard: guard(timeout, 0),
        strip_prefix: None,
        slo: None,
    };
    for word in text.split(' ') {
        if let Some(at) = word.find('/') {
            route.host = Some(word[..at].to_owned()).filter(|host| !host.is_empty());
            route.path = word[at..].to_owned();
        } else if let Some((name, value)) = word.split_once(':') {
            let value = Some(value.to_owned()).filter(|value| !value.is_empty());
            route.headers.push(spec::HeaderMatch { name: name.parse().unwrap(), value });
        } else {
            route.methods.extend(word.split(',').map(|m| m.parse::<http::Method>().unwrap()));
        }
    }
    route
}

pub fn call(timeout: Duration, retries: u32) -> spec::Call {
    spec::Call { guard: guard(timeout, retries) }
}

/// A guard with this deadline and this many declared retries.
pub fn guard(timeout: Duration, attempts: u32) -> spec::Guard {
    let retry = spec::Retry { attempts, ..spec::Retry::default() };
    spec::Guard { timeout, timeout_written: true, retry, ..spec::Guard::default() }
}

pub fn service(name: &str) -> spec::Service {
    spec::Service {
        name: name.parse().unwrap(),
        work: spec::Work::Process(vec!["true".to_owned()]),
        prepare: None,
        environment: BTreeMap::new(),
        working_dir: "/".into(),
        port: None,
        user: None,
        ulimits: BTreeMap::new(),
        limits: spec::Limits::default(),
        restart: spec::Restart {
            when: spec::RestartWhen::Never,
            max_attempts: None,
            delay: Duration::ZERO,
            window: Duration::ZERO,
        },
        stop_signal: "SIGTERM".to_owned(),
        stop_grace: Duration::from_secs(10),
        depends_on: BTreeMap::new(),
        healthcheck: None,
        metrics: None,
        scale: spec::Scale { replicas: 1, min: 1, max: 1, target: BTreeMap::new(), predict: false },
        wire: spec::Wire::default(),
        balance: spec::Balance::default(),
        routes: Vec::new(),
        calls: BTreeMap::new(),
        logging: spec::Logging { max_size: kit::units::Bytes(1 << 20), max_files: 1 },
        labels: BTreeMap::new(),
        slo: None,
        measures: BTreeMap::new(),
    }
}

pub fn app(services: impl IntoIterator<Item = spec::Service>) -> spec::App {
    spec::App {
        name: "test".parse().unwrap(),
        root: "/".into(),
        services: services.into_iter().map(|service| (service.name.clone(), service)).collect(),
        gateway: spec::Gateway::default(),
        pipes: spec::Pipes::default(),
        telemetry: None,
        console: Default::default(),
    }
}

/// One service `web` with these routes.
pub fn web(routes: &[&str], timeout: Duration) -> spec::App {
    let mut web = service("web");
    web.routes = routes.iter().map(|text| route(text, timeout)).collect();
    app([web])
}

// ---- the proxy ----

#[derive(Clone, Default)]
pub struct Records(Arc<Mutex<Vec<AccessRecord>>>);

impl AccessSink for Records {
    fn lane(&self) -> Box<dyn Lane> {
        Box::new(self.clone())
    }
}

impl Lane for Records {
    fn record(&self, hop: &Hop<'_>) {
        self.0.lock().unwrap().push(hop.into());
    }
}

impl Records {
    pub fn all(&self) -> Vec<AccessRecord> {
        self.0.lock().unwrap().clone()
    }

    /// Waits for so many records and gives the last.
    pub async fn nth(&self, count: usize) -> AccessRecord {
        until("a record", || self.all().len() >= count).await;
        self.all()[count - 1].clone()
    }
}

pub struct Harness {
    pub proxy: Handle,
    pub directory: Directory,
    pub records: Records,
    pub gateway: SocketAddr,
    runs: AtomicUsize,
}

impl Harness {
    pub async fn start(app: &spec::App) -> Self {
        Self::with(app, Limits::default()).await
    }

    pub async fn with(app: &spec::App, limits: Limits) -> Self {
        let records = Records::default();
        let options = Options { threads: 2, access: Arc::new(records.clone()), limits };
        let proxy = Proxy::start(options).unwrap();
        let directory = Directory::default();
        proxy.publish(RouteTable::compile(app, &directory));
        let gateway = listen(&proxy, Entrance::Gateway).await;
        Self { proxy, directory, records, gateway, runs: AtomicUsize::new(0) }
    }

    /// A proxy in front of one `web`, which has everything.
    pub async fn web(upstream: SocketAddr) -> Self {
        let harness = Self::start(&web(&["/{*rest}"], PATIENCE)).await;
        harness.ready("web", &[upstream]);
        harness
    }

    pub fn endpoint(&self, service: &str, address: SocketAddr) -> Arc<Endpoint> {
        let run = self.runs.fetch_add(1, Ordering::Relaxed) + 1;
        Arc::new(Endpoint::new(format!("{service}-1#{run}").parse().unwrap(), address))
    }

    /// Publishes instances of a service as ready.
    pub fn ready(&self, service: &str, addresses: &[SocketAddr]) -> Vec<Arc<Endpoint>> {
        let ready: Vec<_> = addresses.iter().map(|address| self.endpoint(service, *address)).collect();
        self.publish(service, ready.clone(), false);
        ready
    }

    pub fn publish(&self, service: &str, ready: Vec<Arc<Endpoint>>, expected: bool) {
        self.directory.upstream(&name(service)).publish(Endpoints {
            ready,
            expected,
            ..Endpoints::default()
        });
    }

    pub async fn client(&self) -> Client {
        Client::connect(self.gateway).await
    }

    /// `GET path` on a connection of its own.
    pub async fn get(&self, path: &str) -> Reply {
        self.client().await.get(path).await
    }
}

pub async fn listen(proxy: &Handle, entrance: Entrance) -> SocketAddr {
    let mut wanted: Vec<Listener> = proxy.addresses().into_iter().map(|(listener, _)| listener).collect();
    let new = Listener { address: ([127, 0, 0, 1], 0).into(), entrance, tls: false };
    wanted.push(new.clone());
    let failed = proxy.listen(wanted).await;
    assert!(failed.is_empty(), "{failed:?}");
    proxy.addresses().into_iter().find(|(listener, _)| *listener == new).unwrap().1
}

// ---- services ----

pub type Answered = Response<BoxBody<Bytes, io::Error>>;

pub fn text(body: impl Into<Bytes>) -> Answered {
    Response::new(Full::new(body.into()).map_err(|never: Infallible| match never {}).boxed())
}

/// A server of HTTP/1.1 that answers with `handler`.
pub struct Server {
    pub address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Server {
    pub async fn http<F>(handler: impl Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Answered> + Send + 'static,
    {
        Self::raw(move |stream| {
            let handler = handler.clone();
            async move {
                let service = hyper::service::service_fn(move |request| {
                    let answer = handler(request);
                    async move { Ok::<_, Infallible>(answer.await) }
                });
                let server = hyper::server::conn::http1::Builder::new();
                let _ = server.serve_connection(TokioIo::new(stream), service).with_upgrades().await;
            }
        })
        .await
    }

    /// Answers every request with a text.
    pub async fn saying(body: &'static str) -> Self {
        Self::http(move |_| async move { text(body) }).await
    }

    /// A server that tells what it was sent: the request line and each header, one per line.
    pub async fn mirror() -> Self {
        Self::http(|request| async move {
            let mut lines = format!("{} {}\n", request.method(), request.uri());
            for (name, value) in request.headers() {
                lines.push_str(&format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes())));
            }
            text(lines)
        })
        .await
    }

    /// Whatever a closure does with each connection.
    pub async fn raw<F>(work: impl Fn(TcpStream) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&connections);
        go(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counter.fetch_add(1, Ordering::SeqCst);
                let _ = stream.set_nodelay(true);
                go(work(stream));
            }
        });
        Self { address, connections }
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// An address where nothing listens.
pub async fn nowhere() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

/// Reads up to and with the empty line after a head.
pub async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(head).unwrap()
}

// ---- the client ----

pub struct Client {
    pub stream: TcpStream,
}

#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
    /// The body ended as its framing said, not with the connection.
    pub whole: bool,
}

impl Reply {
    /// The values of a header.
    pub fn headers(&self, name: &str) -> Vec<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(have, _)| have.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers(name).first().copied()
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// A line of what [`Server::mirror`] tells: the value of a header that the service saw.
    pub fn seen(&self, name: &str) -> Vec<String> {
        let lines = self.text().lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(have, _)| *have == name).map(|(_, value)| value.to_owned()).collect()
    }

    /// It is a problem of ours: status, code and error type are as told, everywhere.
    #[track_caller]
    pub fn is_problem(&self, status: u16, code: &str, token: &str) {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        let problem: serde_json::Value = serde_json::from_slice(&self.body).unwrap();
        assert_eq!(problem["status"], status);
        assert_eq!(problem["code"], code);
        assert_eq!(problem["type"], format!("urn:atoll:error:{code}"));
        assert_eq!(Some(problem["instance"].as_str().unwrap()), self.header("x-request-id"));
        let proxy_status = self.header("proxy-status").unwrap();
        assert!(proxy_status.starts_with(&format!("atoll; error={token}; details=")), "{proxy_status}");
    }
}

impl Client {
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream }
    }

    pub async fn send(&mut self, text: &str) {
        within(self.stream.write_all(text.as_bytes())).await.unwrap();
    }

    pub async fn get(&mut self, path: &str) -> Reply {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n")).await;
        self.reply().await
    }

    pub async fn reply(&mut self) -> Reply {
        within(self.read(true)).await
    }

    /// The answer to `HEAD`.
    pub async fn reply_to_head(&mut self) -> Reply {
        within(self.read(false)).await
    }

    async fn read(&mut self, with_body: bool) -> Reply {
        let head = read_head(&mut self.stream).await;
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        let mut reply = Reply { status, head, body: Vec::new(), whole: status != 0 };
        if !with_body || matches!(status, 0 | 100..200 | 204 | 304) {
            return reply;
        }
        if let Some(length) = reply.header("content-length") {
            reply.body = vec![0; length.parse().unwrap()];
            reply.whole = self.stream.read_exact(&mut reply.body).await.is_ok();
        } else if reply.header("transfer-encoding") == Some("chunked") {
            loop {
                let Some(chunk) = self.chunk().await else {
                    reply.whole = false;
                    break;
                };
                if chunk.is_empty() {
                    break;
                }
                reply.body.extend(chunk);
            }
        } else {
            reply.whole = self.stream.read_to_end(&mut reply.body).await.is_ok();
        }
        reply
    }

    async fn line(&mut self) -> Option<String> {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            line.push(self.stream.read_u8().await.ok()?);
        }
        Some(String::from_utf8(line).unwrap().trim_end().to_owned())
    }

    /// One chunk; empty for the last (whose trailers are skipped); `None` when the connection ends.
    pub async fn chunk(&mut self) -> Option<Vec<u8>> {
        let size = usize::from_str_radix(&self.line().await?, 16).unwrap();
        if size == 0 {
            while !self.line().await?.is_empty() {}
            return Some(Vec::new());
        }
        let mut chunk = vec![0; size];
        self.stream.read_exact(&mut chunk).await.ok()?;
        self.line().await?;
        Some(chunk)
    }

    /// Whether the proxy has closed the connection, with nothing more sent.
    pub async fn is_closed(&mut self) -> bool {
        let mut byte = [0];
        matches!(within(self.stream.read(&mut byte)).await, Ok(0) | Err(_))
    }
}
