//! The client: one connection per call over the Unix socket.

use std::fs::File;
use std::io;
use std::marker::PhantomData;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use kit::{Explain, Help};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use crate::console::{ConsoleLogin, OpenConsole};
use crate::guard::{BreakerOrder, Guard};
use crate::key::{CreateKey, CreatedKey, Key, RevokeKey};
use crate::queue::{
    BackupStore, Message, MoveMessages, Queue, QueueDetail, ReceiveMessages, SendMessage, SentMessage,
    StoreBackup,
};
use crate::telemetry::{
    DecideError, ErrorDetail, ErrorGroup, ErrorQuery, Graph, Latency, LatencyQuery, LogQuery, LogRecord,
    Metric, MetricQuery, Range, Series, TelemetryStats, Trace, TraceQuery, TraceSummary,
};
use crate::topic::{PublishMessage, PublishedMessage, Topic, TopicDetail};
use crate::types::{
    AppFile, Apply, Done, Event, LogLine, Node, Plan, Problem, Restart, Route, Scale, Status, Stop, Usage,
};

/// The socket's name within a state directory.
pub const SOCKET: &str = "admin.sock";

/// An answer larger than this is refused, in bytes.
const MAX_ANSWER: usize = 64 << 20;

/// A line of a stream longer than this is refused, in bytes.
const MAX_LINE: usize = 4 << 20;

/// How long the node may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a node that goes away may take until its socket is closed: as long as its lock is waited for.
const GOING_AWAY: Duration = Duration::from_secs(5);

/// Time between two looks at a node that goes away.
const LOOK: Duration = Duration::from_millis(5);

/// Talks to the node of one app.
#[derive(Clone, Debug)]
pub struct Client {
    state_dir: PathBuf,
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody serves this state directory.
    #[error("nothing runs for `{}`", .state_dir.display())]
    NotRunning {
        /// The state directory.
        state_dir: PathBuf,
    },
    /// Somebody may, but the socket cannot be reached.
    #[error("cannot reach the node of `{}`", .state_dir.display())]
    Unreachable {
        /// The state directory.
        state_dir: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The node is there and said no.
    #[error("{}", .0.title)]
    Refused(Problem),
    /// The connection broke: the node ended while it answered.
    #[error("the node went away while it answered")]
    Broken(#[source] io::Error),
    /// The node answered what this version does not understand.
    #[error("the node's answer to {call} cannot be read")]
    Unreadable {
        /// Method and path.
        call: String,
        /// Why.
        source: serde_json::Error,
    },
}

impl Explain for ClientError {
    fn help(&self) -> Help {
        match self {
            Self::NotRunning { .. } => Help::code("A0801").hint("start it with `atoll up -d`"),
            Self::Unreachable { .. } => Help::code("A0815").hint("run this as the user who started the app"),
            Self::Refused(problem) => {
                let code = kit::Code::new(known_code(&problem.code));
                Help { code, hint: problem.hint.clone(), exit: kit::report::Exit::Failed }
            }
            Self::Broken(_) => {
                Help::code("A0802").hint("see how it ended with `atoll ps` and `atoll events`")
            }
            Self::Unreadable { .. } => {
                Help::code("A0803").hint("CLI and node differ in version: `atoll version` shows both")
            }
        }
    }
}

fn topic_path(name: &str, rest: &str) -> String {
    named("/v1/topics/", name) + rest
}

fn queue_path(name: &str, rest: &str) -> String {
    named("/v1/queues/", name) + rest
}

/// Names and ids have no character that means anything in a path; what somebody typed may.
fn named(path: &str, name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let name = name.chars().map(|c| if plain(c) { c } else { '_' });
    path.chars().chain(name).collect()
}

/// Codes are static text; one that came over the wire is leaked once per failed command.
fn known_code(code: &str) -> &'static str {
    Box::leak(code.to_owned().into_boxed_str())
}

impl Client {
    /// A client for the app whose state is in `state_dir`. Connects at each call.
    pub fn new(state_dir: impl Into<PathBuf>) -> Self {
        Self { state_dir: state_dir.into() }
    }

    /// The state directory it was made for.
    pub fn state_dir(&self) -> &Path {
        &self.state_dir
    }

    /// Which node answers.
    pub async fn node(&self) -> Result<Node, ClientError> {
        self.get("/v1/node").await
    }

    /// Whether a node serves. One that goes away at this very moment (its connections break, its socket is
    /// still there) is given 5 s to be gone.
    pub async fn is_running(&self) -> Result<bool, ClientError> {
        let give_up = Instant::now() + GOING_AWAY;
        loop {
            match self.node().await {
                Ok(_) => return Ok(true),
                Err(ClientError::NotRunning { .. }) => return Ok(false),
                Err(ClientError::Broken(_)) if Instant::now() < give_up => tokio::time::sleep(LOOK).await,
                Err(other) => return Err(other),
            }
        }
    }

    /// Everything there is to see now.
    pub async fn status(&self) -> Result<Status, ClientError> {
        self.get("/v1/status").await
    }

    /// The status now and at each change.
    pub async fn watch_status(&self) -> Result<Lines<Status>, ClientError> {
        self.lines("/v1/status?watch=true").await
    }

    /// What [`Self::apply`] would do.
    pub async fn plan(&self, apply: &Apply) -> Result<Plan, ClientError> {
        self.send(Method::POST, "/v1/plan", apply).await
    }

    /// Runs this app; answers as soon as the plan stands.
    pub async fn apply(&self, apply: &Apply) -> Result<Plan, ClientError> {
        self.send(Method::PUT, "/v1/app", apply).await
    }

    /// The resolved application file in force.
    pub async fn app(&self) -> Result<AppFile, ClientError> {
        self.get("/v1/app").await
    }

    /// Restarts instances one after the other; answers when they are ready again.
    pub async fn restart(&self, restart: &Restart) -> Result<Done, ClientError> {
        self.send(Method::POST, "/v1/restart", restart).await
    }

    /// Sets counts.
    pub async fn scale(&self, scale: &Scale) -> Result<Plan, ClientError> {
        self.send(Method::POST, "/v1/scale", scale).await
    }

    /// Stops everything; answers when it is stopped. The node ends right after.
    pub async fn stop(&self, stop: &Stop) -> Result<Done, ClientError> {
        self.send(Method::POST, "/v1/stop", stop).await
    }

    /// Events after `since` (0: all that are kept), and on from there with `follow`.
    pub async fn events(&self, since: u64, follow: bool) -> Result<Lines<Event>, ClientError> {
        self.lines(&format!("/v1/events?since={since}&follow={follow}")).await
    }

    /// Lines of output: the last `tail` of all, then on from there with `follow`. `targets` are services or
    /// instances; empty: all.
    pub async fn logs(
        &self,
        targets: &[String],
        tail: Option<usize>,
        since: Option<kit::Timestamp>,
        follow: bool,
    ) -> Result<Lines<LogLine>, ClientError> {
        let mut path = format!("/v1/logs?follow={follow}");
        if let Some(tail) = tail {
            path.push_str(&format!("&tail={tail}"));
        }
        if let Some(since) = since {
            path.push_str(&format!("&since={}", since.as_micros()));
        }
        if !targets.is_empty() {
            path.push_str(&format!("&service={}", targets.join(",")));
        }
        self.lines(&path).await
    }

    /// What is used now.
    pub async fn usage(&self) -> Result<Usage, ClientError> {
        self.get("/v1/usage").await
    }

    /// Every way in.
    pub async fn routes(&self) -> Result<Vec<Route>, ClientError> {
        self.get("/v1/routes").await
    }

    /// Every guarded call.
    pub async fn breakers(&self) -> Result<Vec<Guard>, ClientError> {
        self.get("/v1/breakers").await
    }

    /// Holds the breakers of a route open or closed, or lets them judge again. Answers with its guarded calls.
    pub async fn order_breaker(&self, order: &BreakerOrder) -> Result<Vec<Guard>, ClientError> {
        self.send(Method::POST, "/v1/breakers", order).await
    }

    /// Every queue.
    pub async fn queues(&self) -> Result<Vec<Queue>, ClientError> {
        self.get("/v1/queues").await
    }

    /// One queue.
    pub async fn queue(&self, name: &str) -> Result<QueueDetail, ClientError> {
        self.get(&queue_path(name, "")).await
    }

    /// The next messages of a queue, which stay as they are.
    pub async fn peek(&self, name: &str, limit: u32) -> Result<Vec<Message>, ClientError> {
        self.get(&queue_path(name, &format!("/messages?limit={limit}"))).await
    }

    /// Sends a message.
    pub async fn send_message(&self, name: &str, message: &SendMessage) -> Result<SentMessage, ClientError> {
        self.send(Method::POST, &queue_path(name, "/messages"), message).await
    }

    /// Receives messages, and deletes them unless they are to be kept.
    pub async fn receive_messages(
        &self,
        name: &str,
        want: &ReceiveMessages,
    ) -> Result<Vec<Message>, ClientError> {
        self.send(Method::POST, &queue_path(name, "/receive"), want).await
    }

    /// Deletes every message of a queue.
    pub async fn purge(&self, name: &str) -> Result<QueueDetail, ClientError> {
        self.send(Method::POST, &queue_path(name, "/purge"), &()).await
    }

    /// Every topic.
    pub async fn topics(&self) -> Result<Vec<Topic>, ClientError> {
        self.get("/v1/topics").await
    }

    /// One topic.
    pub async fn topic(&self, name: &str) -> Result<TopicDetail, ClientError> {
        self.get(&topic_path(name, "")).await
    }

    /// Publishes a message.
    pub async fn publish(
        &self,
        name: &str,
        message: &PublishMessage,
    ) -> Result<PublishedMessage, ClientError> {
        self.send(Method::POST, &topic_path(name, "/messages"), message).await
    }

    /// Every access key for the outside.
    pub async fn keys(&self) -> Result<Vec<Key>, ClientError> {
        self.get("/v1/keys").await
    }

    /// Makes an access key.
    pub async fn create_key(&self, wish: &CreateKey) -> Result<CreatedKey, ClientError> {
        self.send(Method::POST, "/v1/keys", wish).await
    }

    /// Lets a key in no longer.
    pub async fn revoke_key(&self, wish: &RevokeKey) -> Result<Key, ClientError> {
        self.send(Method::POST, "/v1/keys/revoke", wish).await
    }

    /// Makes a way into the console.
    pub async fn open_console(&self, wish: &OpenConsole) -> Result<ConsoleLogin, ClientError> {
        self.send(Method::POST, "/v1/console", wish).await
    }

    /// Copies the store into an empty directory.
    pub async fn backup_store(&self, wish: &BackupStore) -> Result<StoreBackup, ClientError> {
        self.send(Method::POST, "/v1/store/backup", wish).await
    }

    /// Begins to move the messages of a queue.
    pub async fn move_messages(&self, name: &str, wish: &MoveMessages) -> Result<QueueDetail, ClientError> {
        self.send(Method::POST, &queue_path(name, "/move"), wish).await
    }

    /// Traces, the newest first.
    pub async fn traces(&self, query: &TraceQuery) -> Result<Vec<TraceSummary>, ClientError> {
        self.send(Method::POST, "/v1/traces", query).await
    }

    /// One trace, whole.
    pub async fn trace(&self, id: &str) -> Result<Trace, ClientError> {
        self.get(&named("/v1/traces/", id)).await
    }

    /// Log records as they are found, and with `follow` as they come.
    pub async fn records(&self, query: &LogQuery) -> Result<Lines<LogRecord>, ClientError> {
        self.lines_of(Method::POST, "/v1/records", query).await
    }

    /// Every metric.
    pub async fn metrics(&self) -> Result<Vec<Metric>, ClientError> {
        self.get("/v1/metrics").await
    }

    /// The series of a metric.
    pub async fn series(&self, query: &MetricQuery) -> Result<Vec<Series>, ClientError> {
        self.send(Method::POST, "/v1/metrics", query).await
    }

    /// How long requests took, by service and minute.
    pub async fn latency(&self, query: &LatencyQuery) -> Result<Vec<Latency>, ClientError> {
        self.send(Method::POST, "/v1/latency", query).await
    }

    /// Who calls whom.
    pub async fn graph(&self, range: &Range) -> Result<Graph, ClientError> {
        self.send(Method::POST, "/v1/graph", range).await
    }

    /// How what is promised stands.
    pub async fn slos(&self) -> Result<Vec<crate::Slo>, ClientError> {
        self.get("/v1/slos").await
    }

    /// The alerts that fire.
    pub async fn alerts(&self) -> Result<Vec<crate::Alert>, ClientError> {
        self.get("/v1/alerts").await
    }

    /// Groups of errors, the last seen first.
    pub async fn errors(&self, query: &ErrorQuery) -> Result<Vec<ErrorGroup>, ClientError> {
        self.send(Method::POST, "/v1/errors", query).await
    }

    /// One group of errors.
    pub async fn error(&self, id: &str) -> Result<ErrorDetail, ClientError> {
        self.get(&named("/v1/errors/", id)).await
    }

    /// Decides about a group of errors.
    pub async fn decide_error(&self, id: &str, decision: &DecideError) -> Result<ErrorDetail, ClientError> {
        self.send(Method::POST, &named("/v1/errors/", id), decision).await
    }

    /// What telemetry holds and costs.
    pub async fn telemetry(&self) -> Result<TelemetryStats, ClientError> {
        self.get("/v1/telemetry").await
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.call(Method::GET, path, Bytes::new()).await
    }

    async fn send<B: Serialize, T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &B,
    ) -> Result<T, ClientError> {
        let body = serde_json::to_vec(body).map_err(|source| unreadable(&method, path, source))?;
        self.call(method, path, body.into()).await
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<T, ClientError> {
        let (status, answer) = self.open(method.clone(), path, body).await?;
        let answer = whole(answer).await?;
        if !status.is_success() {
            return Err(refused(status, &answer));
        }
        serde_json::from_slice(&answer).map_err(|source| unreadable(&method, path, source))
    }

    async fn lines<T: DeserializeOwned>(&self, path: &str) -> Result<Lines<T>, ClientError> {
        self.stream(Method::GET, path, Bytes::new()).await
    }

    async fn lines_of<B: Serialize, T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &B,
    ) -> Result<Lines<T>, ClientError> {
        let body = serde_json::to_vec(body).map_err(|source| unreadable(&method, path, source))?;
        self.stream(method, path, body.into()).await
    }

    async fn stream<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Lines<T>, ClientError> {
        let (status, answer) = self.open(method, path, body).await?;
        if !status.is_success() {
            return Err(refused(status, &whole(answer).await?));
        }
        Ok(Lines { call: path.to_owned(), answer, held: BytesMut::new(), of: PhantomData })
    }

    async fn open(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<(StatusCode, Answer), ClientError> {
        let stream = self.connect().await.map_err(|source| {
            let state_dir = self.state_dir.clone();
            match source.kind() {
                // No directory, no socket, or one that a killed node has left.
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                    ClientError::NotRunning { state_dir }
                }
                // Closed by a node that ended while the connection waited to be accepted.
                io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted => {
                    ClientError::Broken(source)
                }
                _ => ClientError::Unreachable { state_dir, source },
            }
        })?;
        let (mut sender, connection) =
            http1::handshake::<_, Full<Bytes>>(TokioIo::new(stream)).await.map_err(broken)?;
        #[allow(clippy::disallowed_methods)] // owned: aborted when the answer is dropped
        let driver = tokio::spawn(async move {
            let _ = connection.await;
        });
        let driver = AbortOnDrop(driver);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "atoll")
            .header("content-type", "application/json")
            .body(Full::new(body))
            .map_err(|error| ClientError::Broken(io::Error::other(error)))?;
        let response = sender.send_request(request).await.map_err(broken)?;
        let status = response.status();
        Ok((status, Answer { body: response.into_body(), _driver: driver }))
    }

    /// Connects through `/proc/self/fd`, because the path of a socket may have only 107 bytes.
    async fn connect(&self) -> io::Result<UnixStream> {
        let directory = File::open(&self.state_dir)?;
        let short = format!("/proc/self/fd/{}/{SOCKET}", directory.as_raw_fd());
        tokio::time::timeout(CONNECT_TIMEOUT, UnixStream::connect(short))
            .await
            .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "no answer within 5 s"))?
    }
}

struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Answer {
    body: Incoming,
    _driver: AbortOnDrop,
}

/// A stream of JSON values, one a line.
pub struct Lines<T> {
    call: String,
    answer: Answer,
    held: BytesMut,
    of: PhantomData<T>,
}

impl<T: DeserializeOwned> Lines<T> {
    /// The next value; `None` when the node has ended the stream. Cancel safe.
    pub async fn next(&mut self) -> Option<Result<T, ClientError>> {
        loop {
            if let Some(end) = self.held.iter().position(|byte| *byte == b'\n') {
                let line = self.held.split_to(end);
                self.held.advance(1);
                let value = serde_json::from_slice(&line);
                return Some(value.map_err(|source| unreadable(&Method::GET, &self.call, source)));
            }
            if self.held.len() > MAX_LINE {
                let error = io::Error::new(io::ErrorKind::InvalidData, "a line longer than 4 MiB");
                return Some(Err(ClientError::Broken(error)));
            }
            match self.answer.body.frame().await? {
                Ok(frame) => {
                    if let Ok(data) = frame.into_data() {
                        self.held.extend_from_slice(&data);
                    }
                }
                Err(error) => return Some(Err(broken(error))),
            }
        }
    }
}

async fn whole(mut answer: Answer) -> Result<Bytes, ClientError> {
    let mut held = BytesMut::new();
    while let Some(frame) = answer.body.frame().await {
        if let Ok(data) = frame.map_err(broken)?.into_data() {
            held.extend_from_slice(&data);
        }
        if held.len() > MAX_ANSWER {
            let error = io::Error::new(io::ErrorKind::InvalidData, "an answer longer than 64 MiB");
            return Err(ClientError::Broken(error));
        }
    }
    Ok(held.freeze())
}

fn refused(status: StatusCode, answer: &[u8]) -> ClientError {
    let problem = serde_json::from_slice(answer).unwrap_or_else(|_| Problem {
        status: status.as_u16(),
        title: format!("the node answered {status}"),
        code: "A0803".to_owned(),
        detail: String::from_utf8_lossy(answer).into_owned(),
        hint: None,
    });
    ClientError::Refused(problem)
}

fn broken(error: hyper::Error) -> ClientError {
    ClientError::Broken(io::Error::other(error))
}

fn unreadable(method: &Method, path: &str, source: serde_json::Error) -> ClientError {
    ClientError::Unreadable { call: format!("{method} {path}"), source }
}
