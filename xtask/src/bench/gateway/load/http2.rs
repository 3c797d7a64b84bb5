//! HTTP/2 by prior knowledge: several lines share a connection.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;

use anyhow::Context;
use bytes::{BufMut, Bytes, BytesMut};
use h2::client::SendRequest;
use http::Request;
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use super::{Job, MESSAGE, Protocol, Target, connect};

/// Bytes that a stream, and a connection, may be sent before they are taken.
const WINDOW: u32 = 1 << 20;

/// One connection and what drives it.
pub(super) struct Connection {
    target: Target,
    sender: RefCell<SendRequest<Bytes>>,
    /// Moves the bytes; ends with its value.
    driver: RefCell<JoinSet<()>>,
    /// Counts openings, so that of several lines that fail together one opens it again.
    opening: Cell<u64>,
    turn: Mutex<()>,
}

impl Connection {
    /// Opens it.
    pub(super) async fn open(target: &Target) -> Result<Self, String> {
        let (sender, driver) = open(target).await?;
        Ok(Self {
            target: target.clone(),
            sender: RefCell::new(sender),
            driver: RefCell::new(driver),
            opening: Cell::new(0),
            turn: Mutex::default(),
        })
    }

    /// Opens it again unless somebody has since `opening`.
    async fn reopen(&self, opening: u64) -> Result<(), String> {
        let _turn = self.turn.lock().await;
        if self.opening.get() == opening {
            let (sender, driver) = open(&self.target).await?;
            self.sender.replace(sender);
            self.driver.replace(driver);
            self.opening.set(opening + 1);
        }
        Ok(())
    }
}

async fn open(target: &Target) -> Result<(SendRequest<Bytes>, JoinSet<()>), String> {
    let stream = connect(target).await?;
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(WINDOW).initial_connection_window_size(WINDOW).enable_push(false);
    let (sender, connection) =
        builder.handshake(stream).await.map_err(|error| format!("connect: {error}"))?;
    let mut driver = JoinSet::new();
    driver.spawn_local(async move { drop(connection.await) }); // its end shows at the sender
    let sender = sender.ready().await.map_err(|error| format!("connect: {error}"))?;
    Ok((sender, driver))
}

/// A share in a connection: one stream after the other.
pub(super) struct Line {
    connection: Rc<Connection>,
    sender: SendRequest<Bytes>,
    opening: u64,
    requests: Vec<Request<()>>,
    next: usize,
    /// The message of a unary call.
    message: Option<Bytes>,
    /// Bytes that the body of an answer must have.
    body: usize,
}

impl Line {
    /// On an open connection.
    pub(super) fn new(job: &Job, number: usize, connection: Rc<Connection>) -> anyhow::Result<Self> {
        let grpc = job.target.protocol == Protocol::Grpc;
        let token = job.ask.token(number);
        let paths = job.ask.paths_of(number);
        let requests = paths.into_iter().map(|path| request(path, token, grpc)).collect::<Result<_, _>>();
        let sender = connection.sender.borrow().clone();
        Ok(Self {
            sender,
            opening: connection.opening.get(),
            connection,
            requests: requests.context("make requests")?,
            next: 0,
            message: grpc.then(message),
            body: job.ask.body,
        })
    }

    /// One request and its whole answer.
    pub(super) async fn exchange(&mut self) -> Result<(), String> {
        let failure = |step: &str, error: &h2::Error| format!("{step}: {error}");
        let request = self.requests[self.next].clone();
        self.next = (self.next + 1) % self.requests.len();
        poll_fn(|context| self.sender.poll_ready(context)).await.map_err(|error| failure("ready", &error))?;
        let (answer, mut stream) = self
            .sender
            .send_request(request, self.message.is_none())
            .map_err(|error| failure("send", &error))?;
        if let Some(message) = &self.message {
            stream.send_data(message.clone(), true).map_err(|error| failure("send", &error))?;
        }
        let answer = answer.await.map_err(|error| failure("answer", &error))?;
        let status = answer.status().as_u16();
        let mut early = answer.headers().get("grpc-status").cloned();
        let mut body = answer.into_body();
        let mut length = 0;
        while let Some(part) = body.data().await {
            let part = part.map_err(|error| failure("body", &error))?;
            length += part.len();
            let _ = body.flow_control().release_capacity(part.len()); // the stream has ended: nothing to give
        }
        if status != 200 {
            return Err(format!("status {status}"));
        }
        if self.message.is_some() {
            let trailers = body.trailers().await.map_err(|error| failure("trailers", &error))?;
            early = trailers.and_then(|mut trailers| trailers.remove("grpc-status")).or(early);
            if early.as_ref().is_none_or(|status| status != "0") {
                return Err(format!("grpc-status {early:?}"));
            }
        }
        if length != self.body {
            return Err(format!("a body of {length} bytes"));
        }
        Ok(())
    }

    /// Makes the line usable after a failure: of a stream, or of the whole connection.
    pub(super) async fn reopen(&mut self) -> Result<(), String> {
        if poll_fn(|context| self.sender.poll_ready(context)).await.is_err() {
            self.connection.reopen(self.opening).await?;
        }
        self.opening = self.connection.opening.get();
        self.sender = self.connection.sender.borrow().clone();
        Ok(())
    }
}

fn request(path: &str, token: Option<&str>, grpc: bool) -> http::Result<Request<()>> {
    let mut request = Request::builder().uri(format!("http://bench.test{path}"));
    request = request.header("user-agent", "atoll-bench/1");
    request = if grpc {
        request.method("POST").header("content-type", "application/grpc").header("te", "trailers")
    } else {
        request.header("accept", "application/json")
    };
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    request.body(())
}

/// A message of gRPC: not compressed, its length, its bytes.
fn message() -> Bytes {
    let mut bytes = BytesMut::with_capacity(MESSAGE + 5);
    bytes.put_u8(0);
    bytes.put_u32(MESSAGE as u32);
    bytes.put_bytes(b'x', MESSAGE);
    bytes.freeze()
}
