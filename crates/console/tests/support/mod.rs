//! An admin API that plays a script, a console before it, and a browser as bare as HTTP.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use api::{
    Event, Instance, InstanceState, InstanceUsage, Level, LogLine, NodeUsage, Phase, Service, ServiceState,
    Status, Usage,
};
use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use console::{Console, Options, Role};
use kit::{SystemClock, Tasks, Timestamp};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpStream, UnixListener};
use tokio::sync::watch;

/// How long anything may take before a test fails.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);
pub(crate) const AT: Timestamp = Timestamp::from_micros(1_790_000_000_000_000);

/// A console before a scripted node.
pub(crate) struct World {
    dir: tempfile::TempDir,
    tasks: Tasks,
    pub(crate) console: Console,
    pub(crate) node: Arc<Node>,
}

/// What the node says, and what it was asked.
pub(crate) struct Node {
    pub(crate) status: watch::Sender<Status>,
    pub(crate) asked: Mutex<Vec<(String, Value)>>,
    /// What stands wherever text may stand.
    text: String,
}

impl World {
    pub(crate) async fn start(status: Status, text: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join(api::SOCKET)).unwrap();
        let status = watch::Sender::new(status);
        let node = Arc::new(Node { status, asked: Mutex::default(), text: text.to_owned() });
        let tasks = Tasks::new();
        let router = router(node.clone());
        tasks.spawn("node", kit::OnError::Log, |_| async move { axum::serve(listener, router).await });
        let options = Options {
            client: api::Client::new(dir.path()),
            listener: std::net::TcpListener::bind("127.0.0.1:0").unwrap(),
            clock: Arc::new(SystemClock::new()),
            tasks: tasks.clone(),
        };
        let console = Console::start(options).unwrap();
        Self { dir, tasks, console, node }
    }

    /// Logs in; what the cookie is.
    pub(crate) async fn log_in(&self, role: Role) -> String {
        let token = self.console.grant(role).token;
        let answer = self.send("POST", "/login", &[], &format!("token={token}")).await;
        assert_eq!(answer.status, 303, "{}", answer.body);
        answer.header("set-cookie").unwrap().split(';').next().unwrap().to_owned()
    }

    pub(crate) async fn get(&self, path: &str, cookie: &str) -> Answer {
        self.send("GET", path, &[("cookie", cookie)], "").await
    }

    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let mut stream = self.open(method, path, headers, body).await;
        let mut text = Vec::new();
        tokio::time::timeout(LIMIT, stream.read_to_end(&mut text)).await.unwrap().unwrap();
        Answer::parse(&String::from_utf8(text).unwrap())
    }

    async fn open(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> TcpStream {
        let address = self.console.address();
        let mut stream = TcpStream::connect(address).await.unwrap();
        let mut head = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\n");
        if !headers.iter().any(|(name, _)| *name == "host") {
            head.push_str(&format!("host: {address}\r\n"));
        }
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if method == "POST" {
            let length = body.len();
            head.push_str(&format!(
                "content-type: application/x-www-form-urlencoded\r\ncontent-length: {length}\r\n"
            ));
        }
        stream.write_all(format!("{head}\r\n{body}").as_bytes()).await.unwrap();
        stream
    }

    /// Lines of a stream of events.
    pub(crate) async fn stream(&self, path: &str, cookie: &str) -> Events {
        Events(BufReader::new(self.open("GET", path, &[("cookie", cookie)], "").await))
    }

    /// The token that forms of a session carry.
    pub(crate) async fn csrf(&self, cookie: &str) -> String {
        let page = self.get("/", cookie).await.body;
        let rest = page.split("name=\"csrf\" value=\"").nth(1).unwrap();
        rest.split('"').next().unwrap().to_owned()
    }

    /// Nobody answers the admin API any more.
    pub(crate) fn node_goes(&self) {
        std::fs::remove_file(self.dir.path().join(api::SOCKET)).unwrap();
    }

    pub(crate) async fn end(self) {
        self.tasks.stopping().cancel();
    }
}

pub(crate) struct Events(BufReader<TcpStream>);

impl Events {
    /// The first line of the answer.
    pub(crate) async fn first_line(&mut self) -> String {
        let mut line = String::new();
        tokio::time::timeout(LIMIT, self.0.read_line(&mut line)).await.unwrap().unwrap();
        line
    }

    /// Reads until a line has all of this in it.
    pub(crate) async fn until(&mut self, parts: &[&str]) -> String {
        let found = async {
            loop {
                let mut line = String::new();
                assert!(self.0.read_line(&mut line).await.unwrap() > 0, "the stream has ended");
                if parts.iter().all(|part| line.contains(part)) {
                    return line;
                }
            }
        };
        tokio::time::timeout(LIMIT, found).await.unwrap_or_else(|_| panic!("{parts:?} does not come"))
    }
}

impl Events {
    /// Reads until nothing more comes.
    pub(crate) async fn end(&mut self) {
        let ended = async {
            let mut line = String::new();
            while self.0.read_line(&mut line).await.unwrap_or(0) > 0 {
                line.clear();
            }
        };
        tokio::time::timeout(LIMIT / 2, ended).await.unwrap_or_else(|_| panic!("it goes on"));
    }
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

impl Answer {
    fn parse(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Self { status, head: head.to_owned(), body: body.to_owned() }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

/// An app of so many services with so many instances each; each calls the one before it.
pub(crate) fn app(services: usize, instances: u32, text: &str) -> Status {
    let service = |number: usize| {
        let name = format!("service-{number}");
        Service {
            state: if number % 50 == 49 { ServiceState::Degraded } else { ServiceState::Ready },
            detail: text.to_owned(),
            desired: instances,
            ready: instances,
            routes: if number < 5 { vec![format!("GET /{number}{text}")] } else { Vec::new() },
            calls: if number > 0 { vec![format!("service-{}", number / 3)] } else { Vec::new() },
            ready_after_ms: Some(12),
            instances: (1..=instances).map(|replica| instance(&name, replica, text)).collect(),
            name,
        }
    };
    Status {
        generation: 1,
        app: "shop".into(),
        root: "/shop".into(),
        phase: Phase::Ready,
        gateway: vec!["http://127.0.0.1:8080".into()],
        pipes: None,
        console: None,
        services: (0..services).map(service).collect(),
        guards: Vec::new(),
    }
}

fn instance(service: &str, replica: u32, text: &str) -> Instance {
    Instance {
        name: format!("{service}-{replica}"),
        service: service.to_owned(),
        replica,
        run: 1,
        state: InstanceState::Ready,
        detail: text.to_owned(),
        pid: Some(1_000 + replica),
        address: Some("127.0.0.1:21000".into()),
        revision: "0123456789abcdef".into(),
        started_at: Some(AT),
        ready_after_ms: Some(12),
        restarts: 0,
        last_exit: Some(text.to_owned()),
        in_flight: 0,
        ejected_ms: None,
    }
}

type Shared = State<Arc<Node>>;

fn router(node: Arc<Node>) -> Router {
    Router::new()
        .route("/v1/status", get(status))
        .route("/v1/usage", get(usage))
        .route("/v1/restart", post(restart))
        .route("/v1/logs", get(logs))
        .fallback(rest)
        .with_state(node)
}

async fn status(State(node): Shared, Query(query): Query<BTreeMap<String, String>>) -> Response {
    if !query.contains_key("watch") {
        return Json(node.status.borrow().clone()).into_response();
    }
    lines(node.status.subscribe(), |status| serde_json::to_vec(status).unwrap())
}

fn lines<T: Send + Sync + 'static>(receiver: watch::Receiver<T>, write: fn(&T) -> Vec<u8>) -> Response {
    let stream = futures_util::stream::unfold((receiver, true), move |(mut receiver, first)| async move {
        if !first {
            receiver.changed().await.ok()?;
        }
        let mut line = write(&receiver.borrow_and_update());
        line.push(b'\n');
        Some((Ok::<_, std::convert::Infallible>(Bytes::from(line)), (receiver, false)))
    });
    Body::from_stream(stream).into_response()
}

async fn usage(State(node): Shared) -> Json<Usage> {
    let status = node.status.borrow().clone();
    let instances = status.services.iter().flat_map(|service| &service.instances);
    let used = instances.map(|instance| InstanceUsage {
        name: instance.name.clone(),
        service: instance.service.clone(),
        cpu_us: 5_000_000,
        memory: 50 << 20,
        memory_limit: Some(100 << 20),
        processes: 1,
        in_flight: 0,
        requests: 100,
    });
    Json(Usage {
        node: NodeUsage { cpu_us: 1, memory: 20 << 20, requests: 1_000 },
        instances: used.collect(),
    })
}

/// What a restart does: the instance runs anew.
async fn restart(State(node): Shared, Json(wish): Json<api::Restart>) -> Json<api::Done> {
    node.asked.lock().unwrap().push(("restart".into(), json!(wish.targets)));
    node.status.send_modify(|status| {
        status.generation += 1;
        for instance in status.services.iter_mut().flat_map(|service| &mut service.instances) {
            if wish.targets.contains(&instance.name) {
                instance.run += 1;
                instance.state = InstanceState::Starting;
            }
        }
    });
    Json(api::Done { instances: wish.targets })
}

/// One line that was there, and with `follow` another that comes.
async fn logs(State(node): Shared, Query(query): Query<BTreeMap<String, String>>) -> Response {
    let word = node.text.replace([' ', '"'], "_");
    let (name, text) = match query.get("service").map(String::as_str) {
        Some("gateway" | "mesh") => (
            "gateway",
            format!("404 GET /books/{word} 12.3ms service-0-1 route=\"GET /{word}\" trace={word}"),
        ),
        _ => ("service-0-1", node.text.clone()),
    };
    let line = |at| LogLine { at, instance: name.into(), stream: "stderr".into(), text: text.clone() };
    let mut said = Vec::new();
    if query.get("follow").map(String::as_str) == Some("true") {
        said.push(LogLine { text: format!("{text} came later"), ..line(AT + Duration::from_secs(1)) });
    } else {
        said.push(line(AT));
    }
    let body: String = said.iter().map(|line| serde_json::to_string(line).unwrap() + "\n").collect();
    body.into_response()
}

/// Everything else: `text` wherever text may stand.
async fn rest(State(node): Shared, method: Method, uri: Uri) -> Response {
    let t = node.text.as_str();
    let event = Event {
        seq: 1,
        at: AT,
        level: Level::Error,
        kind: t.to_owned(),
        service: Some("service-0".into()),
        instance: None,
        message: t.to_owned(),
        code: Some("A0501".into()),
        hint: Some(t.to_owned()),
    };
    let queue = json!({ "name": "jobs", "url": format!("http://127.0.0.1:4566/000000000000/{t}"), "owner": t, "fifo": true,
        "visible": 3, "in_flight": 1, "delayed": 0, "oldest_sent_at": AT, "sent": 9, "received": 5, "deleted": 4,
        "dead_letter": [t, 3] });
    let topic = json!({ "name": "news", "arn": t, "owner": t, "fifo": true, "confirmed": 1, "pending": 0, "waiting": 2 });
    let delivery = json!({ "of": t, "retries": 3, "immediate": 0, "pre_backoff": 0, "post_backoff": 0, "least_s": 20, "most_s": 20,
        "curve": t, "per_second": null, "content_type": null });
    let group = json!({ "id": "e1", "title": t, "culprit": t, "service": t, "state": "open", "count": 3,
        "first_seen": AT, "last_seen": AT, "first_release": t, "last_release": t });
    let occurrence = json!({ "group": "e1", "at": AT, "service": t, "instance": t, "kind": t, "message": t,
        "frames": [{ "function": t, "file": t, "line": 3, "in_app": true }], "trace": "ab", "span": "s1", "release": t,
        "attributes": { t: t } });
    let span = |id: &str, parent: Option<&str>, name: &str| {
        json!({ "span": id, "parent": parent, "service": t, "name": name,
        "kind": "server", "at": AT, "duration_us": 1500, "failed": true, "message": t, "attributes": { t: t },
        "events": [{ "at": AT, "name": t, "attributes": { t: t } }], "links": [["cd", "s9"]] })
    };
    let record = json!({ "cursor": "c", "at": AT, "service": t, "instance": t, "severity": "error", "text": t,
        "attributes": { t: t }, "trace": "ab", "span": "s1" });
    let value = match uri.path() {
        "/v1/events" => json!(event),
        "/v1/node" => {
            json!({ "version": "0.1.0", "pid": 7, "started_at": AT, "app": "shop", "state_dir": "/s", "detached": true })
        }
        "/v1/app" => json!({ "file": format!("name: shop\n# {t}\n") }),
        "/v1/routes" => {
            json!([{ "entrance": "gateway", "address": t, "route": format!("GET /{t}"), "service": t, "timeout_ms": 1000 }])
        }
        "/v1/queues" => json!([queue]),
        "/v1/queues/jobs" => {
            json!({ "queue": queue, "visibility_s": 30, "delay_s": 0, "retention_s": 9, "message_bytes": 9,
            "wait_s": 0, "dead_letters_of": [t], "tags": { t: t }, "created_at": AT,
            "moves": [{ "id": t, "to": t, "state": t, "moved": 2 }] })
        }
        "/v1/queues/jobs/messages" => {
            json!([{ "id": t, "body": t, "attributes": { t: t }, "group": t, "sent_at": AT, "sender": t, "receives": 1 }])
        }
        "/v1/topics" => json!([topic]),
        "/v1/topics/news" => {
            json!({ "topic": topic, "display_name": t, "order": null, "tags": { t: t }, "created_at": AT,
                "delivery": delivery, "subscriptions": [{ "id": t, "arn": t, "protocol": "https", "endpoint": t, "gone": false, "owner": t,
                "pending": false, "raw": true, "filter": t, "filter_scope": t, "dead_letter": t, "delivery": null, "waiting": 1, "oldest_at": AT, "created_at": AT }] })
        }
        "/v1/metrics" if method == Method::POST => json!([{ "labels": { t: t }, "points": [[AT, 1.5]] }]),
        "/v1/traces" => {
            json!([{ "trace": "ab", "service": t, "operation": t, "at": AT, "duration_us": 1500, "spans": 2, "errors": 1, "services": [t] }])
        }
        "/v1/traces/ab" => {
            json!({ "trace": "ab", "spans": [span("s1", None, t), span("s2", Some("s1"), "inner")], "logs": [record], "errors": [occurrence] })
        }
        "/v1/records" => record,
        "/v1/metrics" => json!([{ "name": t, "kind": "counter", "unit": t, "series": 1 }]),
        "/v1/latency" => {
            json!([{ "service": t, "at": AT, "count": 60, "errors": 1, "p50_us": 900, "p90_us": 2000, "p99_us": 9000, "buckets": [[1024, 50], [16384, 10]] }])
        }
        "/v1/graph" => {
            json!({ "nodes": [{ "name": t, "kind": "outside" }], "edges": [{ "from": "service-0", "to": t, "count": 9, "errors": 1, "rate": 0.5, "p50_us": 1, "p99_us": 2 }] })
        }
        "/v1/slos" => {
            json!([{ "name": t, "service": "service-0", "route": t, "within_us": 100_000, "promised": 0.999, "window_s": 2_592_000, "total": 9,
                "bad": 1, "good": 0.9, "budget_left": -1.5, "firing": { "urgency": "page", "since": AT }, "burn_down": [[AT, 1.0], [AT, -1.5]],
                "burns": [{ "long_s": 3600, "short_s": 300, "long": 20.0, "short": 30.0, "limit": 14.4, "urgency": "page", "holds": true }] }])
        }
        "/v1/errors" => json!([group]),
        "/v1/errors/e1" => json!({ "group": group, "last": [occurrence] }),
        "/v1/telemetry" => {
            json!({ "spans": 1, "logs": 2, "series": 3, "error_groups": 1, "disk": 9, "memory": 9, "oldest": AT, "dropped": { t: 1 } })
        }
        _ => {
            let problem = json!({ "status": 404, "title": t, "code": "A0621", "hint": t });
            return (StatusCode::NOT_FOUND, Json(problem)).into_response();
        }
    };
    (value.to_string() + "\n").into_response()
}
