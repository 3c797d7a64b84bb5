//! A server with queues in memory, and ways to talk to it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aws_credential_types::Credentials;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::{BehaviorVersion, Region};
use kit::trace::{Context, Trace};
use kit::{OnError, SystemClock, Tasks};
use pipes::Pipes;
use tokio_util::sync::CancellationToken;
use wire::{AllowAll, Exchange, Gatekeeper, Limits, Options, Server, Sqs, Witness};

/// Nothing here takes longer.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

pub(crate) struct World {
    pub(crate) address: SocketAddr,
    pub(crate) server: Server,
    pub(crate) seen: Arc<Seen>,
    pub(crate) stop: CancellationToken,
    tasks: Tasks,
}

/// What the witness was told: face, action, queue, status, error, messages; and the spans of it.
#[derive(Default)]
pub(crate) struct Seen {
    lines: Mutex<Vec<String>>,
    spans: Mutex<Vec<(Trace, Vec<Context>)>>,
}

impl Witness for Seen {
    fn saw(&self, exchange: &Exchange<'_>) {
        let Exchange { face, action, resource, caller, status, error, messages, .. } = exchange;
        let line =
            format!("{caller} {face}:{action} {resource} {status} {} {messages}", error.unwrap_or("-"));
        self.lines.lock().unwrap().push(line);
        self.spans.lock().unwrap().push((exchange.trace, exchange.links.to_vec()));
    }
}

impl Seen {
    pub(crate) fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// Each span, and what it is linked with.
    pub(crate) fn spans(&self) -> Vec<(Trace, Vec<Context>)> {
        self.spans.lock().unwrap().clone()
    }
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::with(Limits::default(), Arc::new(AllowAll::new("tester"))).await
    }

    pub(crate) async fn with(limits: Limits, gate: Arc<dyn Gatekeeper>) -> Self {
        let tasks = Tasks::new();
        let store = store::open(store::Options::memory(pipes::SPACES)).unwrap();
        let clock = Arc::new(SystemClock::new());
        let limits_of_pipes = pipes::Limits::default();
        let pipes =
            pipes::Options { store, clock, tasks: tasks.clone(), limits: limits_of_pipes, watch: None };
        let pipes = Pipes::open(pipes).await.unwrap();
        let seen = Arc::new(Seen::default());
        let witness: Arc<dyn Witness> = seen.clone();
        let server = Server::new(Options { faces: vec![Arc::new(Sqs::new(pipes))], gate, witness, limits });
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let (serving, ends) = (server.clone(), stop.clone());
        tasks.spawn("wire", OnError::Log, |_| async move { serving.serve(listener, ends).await });
        Self { address, server, seen, stop, tasks }
    }

    /// Stops it; everything must end in time.
    pub(crate) async fn end(self) {
        self.stop.cancel();
        self.tasks.shutdown(LIMIT).await.unwrap();
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The client of AWS.
    pub(crate) fn client(&self) -> Client {
        let http = aws_smithy_http_client::Builder::new().build_http();
        let config = aws_sdk_sqs::Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("AKIAIOSFODNN7EXAMPLE", "secret", None, None, "test"))
            .endpoint_url(self.url())
            .http_client(http)
            .build();
        Client::from_conf(config)
    }

    /// Sends bytes on a connection of its own and reads until the other side closes it.
    pub(crate) async fn raw(&self, bytes: Vec<u8>) -> String {
        let address = self.address;
        tokio::task::spawn_blocking(move || {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.set_read_timeout(Some(LIMIT)).unwrap();
            stream.write_all(&bytes).unwrap();
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer); // a reset after the answer is an end, too
            String::from_utf8_lossy(&answer).into_owned()
        })
        .await
        .unwrap()
    }

    /// One request by hand: its answer with head and body.
    pub(crate) async fn post(&self, path: &str, headers: &[(&str, &str)], body: &str) -> String {
        let mut head = format!("POST {path} HTTP/1.1\r\nhost: queues.test:4566\r\nconnection: close\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        self.raw(format!("{head}content-length: {}\r\n\r\n{body}", body.len()).into_bytes()).await
    }

    /// One call in the JSON protocol.
    pub(crate) async fn json(&self, action: &str, body: &str) -> String {
        let target = format!("AmazonSQS.{action}");
        self.post("/", &[("x-amz-target", &target), ("content-type", "application/x-amz-json-1.0")], body)
            .await
    }

    /// One call in the query protocol.
    pub(crate) async fn form(&self, path: &str, body: &str) -> String {
        self.post(path, &[("content-type", "application/x-www-form-urlencoded")], body).await
    }
}

/// The body of an answer.
pub(crate) fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").unwrap().1
}

/// Waits until something holds.
pub(crate) async fn until(what: &str, holds: impl Fn() -> bool) {
    let end = Instant::now() + LIMIT;
    while !holds() {
        assert!(Instant::now() < end, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
