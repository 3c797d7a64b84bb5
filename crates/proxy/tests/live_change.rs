//! A thousand tables, and another proxy in this one's place, under load without a pause: no request is lost.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers outside test functions

mod common;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use common::*;
use http::Request;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use proxy::{Entrance, Handle, Listener, Options, Proxy, RouteTable};
use tokio::io::AsyncWriteExt;

/// Pieces of an answer that streams.
const PIECES: usize = 8;

/// Echoes what it is sent; `/stream` answers piece by piece.
async fn server() -> Server {
    Server::http(|request| async move {
        if request.uri().path() == "/stream" {
            let pieces = futures_util::stream::unfold(0, |piece| async move {
                tokio::time::sleep(Duration::from_millis(2)).await;
                (piece < PIECES).then(|| (Ok(Frame::data(Bytes::from_static(b"piece\n"))), piece + 1))
            });
            return http::Response::new(BodyExt::boxed(StreamBody::new(pieces)));
        }
        match request.into_body().collect().await {
            Ok(body) => text(body.to_bytes()),
            Err(_) => text("cut short"),
        }
    })
    .await
}

/// How a client sends its requests.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// One connection for as long as it may.
    Kept,
    /// A connection for each.
    OneShot,
    /// Reads an answer that takes its time.
    Streaming,
    /// Sends a body that takes its time.
    Uploading,
    /// HTTP/2.
    Http2,
}

const WAYS: [Way; 5] = [Way::Kept, Way::OneShot, Way::Streaming, Way::Uploading, Way::Http2];

/// Requests without pause, in every way, until told to stop.
struct Load {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicUsize>,
    failed: Arc<AtomicUsize>,
    running: Arc<AtomicUsize>,
}

impl Load {
    fn start(gateway: SocketAddr, of_each: usize) -> Self {
        let load = Self {
            stop: Arc::default(),
            sent: Arc::default(),
            failed: Arc::default(),
            running: Arc::new((WAYS.len() * of_each).into()),
        };
        for way in WAYS.into_iter().cycle().take(WAYS.len() * of_each) {
            let (stop, running) = (Arc::clone(&load.stop), Arc::clone(&load.running));
            let (sent, failed) = (Arc::clone(&load.sent), Arc::clone(&load.failed));
            go(async move {
                let mut sender = Sender { gateway, kept: None, http2: None };
                while !stop.load(Ordering::Relaxed) {
                    if let Err(why) = sender.send(way).await {
                        eprintln!("{way:?}: {why}");
                        failed.fetch_add(1, Ordering::Relaxed);
                    }
                    sent.fetch_add(1, Ordering::Relaxed);
                }
                running.fetch_sub(1, Ordering::Relaxed);
            });
        }
        load
    }

    /// Waits for so many more requests.
    async fn more(&self, requests: usize) {
        let goal = self.sent.load(Ordering::Relaxed) + requests;
        until("requests go through", || self.sent.load(Ordering::Relaxed) >= goal).await;
    }

    async fn lost(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        until("the load ends", || self.running.load(Ordering::Relaxed) == 0).await;
        self.failed.load(Ordering::Relaxed)
    }
}

/// A client that repeats nothing that may have been sent.
struct Sender {
    gateway: SocketAddr,
    kept: Option<Client>,
    http2: Option<SendRequest<Full<Bytes>>>,
}

impl Sender {
    async fn send(&mut self, way: Way) -> Result<(), String> {
        let mut client = match (way, self.kept.take()) {
            (Way::Http2, _) => return self.send_http2().await,
            (Way::Kept | Way::Uploading, Some(client)) => client,
            _ => Client::connect(self.gateway).await,
        };
        let (reply, expected) = match way {
            Way::Kept | Way::OneShot => (client.get("/").await, String::new()),
            Way::Streaming => (client.get("/stream").await, "piece\n".repeat(PIECES)),
            Way::Uploading | Way::Http2 => {
                let head = "POST /up HTTP/1.1\r\nHost: test\r\nContent-Length: 6\r\n\r\n";
                let mut wrote = client.stream.write_all(head.as_bytes()).await;
                for half in ["abc", "def"] {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                    wrote = wrote.and(client.stream.write_all(half.as_bytes()).await);
                }
                wrote.map_err(|error| error.to_string())?;
                (client.reply().await, "abcdef".to_owned())
            }
        };
        if reply.status != 200 || !reply.whole || reply.body != expected.as_bytes() {
            return Err(format!("{reply:?}"));
        }
        if reply.header("connection") != Some("close") {
            self.kept = Some(client);
        }
        Ok(())
    }

    async fn send_http2(&mut self) -> Result<(), String> {
        let body = Full::new(Bytes::from_static(b"over two"));
        let mut request = Request::post("http://test/two").body(body).unwrap();
        loop {
            let mut sender = match self.http2.take() {
                Some(sender) => sender,
                None => {
                    let io = TokioIo::new(Client::connect(self.gateway).await.stream);
                    let (sender, connection) = handshake(TokioExecutor::new(), io).await.unwrap();
                    go(async move {
                        let _ = connection.await;
                    });
                    sender
                }
            };
            if sender.ready().await.is_err() {
                continue; // it was told to open no more streams
            }
            match sender.try_send_request(request).await {
                Ok(response) => {
                    self.http2 = Some(sender);
                    let status = response.status();
                    let body = response.into_body().collect().await.map_err(|error| error.to_string())?;
                    let body = body.to_bytes();
                    if status != 200 || body != "over two" {
                        return Err(format!("{status} {body:?}"));
                    }
                    return Ok(());
                }
                Err(mut refused) => match refused.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(refused.into_error().to_string()),
                },
            }
        }
    }
}

#[tokio::test]
async fn a_thousand_tables_under_load_lose_no_request() {
    let server = server().await;
    let harness = Harness::start(&web(&["/{*rest}"], PATIENCE)).await;
    harness.ready("web", &[server.address]);
    let load = Load::start(harness.gateway, 2);
    for round in 0..1000 {
        let own = [format!("GET /round/{round}"), format!("/round/{round}/{{*rest}}")];
        let mut routes: Vec<&str> = own.iter().map(String::as_str).collect();
        // What the clients ask for is there in every table, each time by another route.
        routes.extend(match round % 4 {
            0 => ["/{*rest}"].as_slice(),
            1 => &["/", "/{any}"],
            2 => &["GET /", "/stream", "POST /up", "POST /two", "/other/{*rest}"],
            _ => &["test/{*rest}", "/nothing"],
        });
        harness.proxy.publish(RouteTable::compile(&web(&routes, PATIENCE), &harness.directory));
        load.more(1).await;
    }
    load.more(20).await;
    assert_eq!(load.lost().await, 0);
    until("nothing is left over", || harness.proxy.stats().in_flight == 0).await;
}

/// Lets `old` hand its listeners to a proxy with so many threads, and leave.
async fn succeed(old: &Handle, threads: usize, app: &manifest::spec::App, harness: &Harness) -> Handle {
    let new = Proxy::start(Options { threads, ..Options::default() }).unwrap();
    new.publish(RouteTable::compile(app, &harness.directory));
    let wanted: Vec<Listener> = old.addresses().into_iter().map(|(listener, _)| listener).collect();
    new.inherit(old.lend().await.unwrap()).await;
    assert!(new.listen(wanted).await.is_empty());
    assert_eq!(new.addresses(), old.addresses());
    new.accept().await;
    let leaving = old.clone();
    go(async move { leaving.leave(PATIENCE, PATIENCE).await });
    new
}

#[tokio::test]
async fn another_proxy_takes_the_listeners_over_under_load_and_no_request_is_lost() {
    let server = server().await;
    let app = web(&["/{*rest}"], PATIENCE);
    let harness = Harness::start(&app).await;
    harness.ready("web", &[server.address]);
    let load = Load::start(harness.gateway, 2);
    let mut proxies = vec![harness.proxy.clone()];
    // More threads than sockets, and fewer.
    for threads in [2, 4, 1, 3, 3] {
        load.more(100).await;
        let new = succeed(proxies.last().unwrap(), threads, &app, &harness).await;
        proxies.push(new);
    }
    load.more(100).await;
    for old in &proxies[..5] {
        until("it has nothing left", || old.stats().connections == 0).await;
    }
    assert_eq!(load.lost().await, 0);
    assert!(proxies.iter().all(|proxy| proxy.stats().accepted > 0));
}

#[tokio::test]
async fn who_leaves_answers_an_idle_connection_once_more_and_says_that_it_is_the_last_time() {
    let server = server().await;
    let app = web(&["/{*rest}"], PATIENCE);
    let harness = Harness::start(&app).await;
    harness.ready("web", &[server.address]);
    let mut idle = harness.client().await;
    assert_eq!(idle.get("/").await.header("connection"), None);
    let new = succeed(&harness.proxy, 2, &app, &harness).await;
    until("it listens no more", || harness.proxy.addresses().is_empty()).await;
    assert!(new.stats().accepted == 0);
    // It has been told to leave once its listeners are gone; every thread acts on it in its own time.
    let last = loop {
        let reply = idle.get("/").await;
        assert_eq!(reply.status, 200);
        if reply.header("connection") == Some("close") {
            break reply;
        }
    };
    assert!(last.whole);
    assert!(idle.is_closed().await);
    assert_eq!(harness.get("/").await.status, 200);
    assert_eq!(new.stats().accepted, 1);
}

#[tokio::test]
async fn a_proxy_that_inherits_and_goes_away_leaves_the_other_as_it_was() {
    let server = server().await;
    let app = web(&["/{*rest}"], PATIENCE);
    let harness = Harness::start(&app).await;
    harness.ready("web", &[server.address]);
    let load = Load::start(harness.gateway, 1);
    for _ in 0..5 {
        let new = Proxy::start(Options { threads: 3, ..Options::default() }).unwrap();
        new.inherit(harness.proxy.lend().await.unwrap()).await;
        let wanted = harness.proxy.addresses().into_iter().map(|(listener, _)| listener);
        // One that the other does not have is opened, and waits as well.
        let more = Listener { address: ([127, 0, 0, 1], 0).into(), entrance: mesh(), tls: false };
        assert!(new.listen(wanted.chain([more]).collect()).await.is_empty());
        load.more(20).await;
        assert_eq!(new.stats().accepted, 0);
        new.shutdown(Duration::ZERO).await;
    }
    load.more(20).await;
    assert_eq!(load.lost().await, 0);
}

fn mesh() -> Entrance {
    Entrance::Mesh { caller: name("a"), callee: name("b") }
}
