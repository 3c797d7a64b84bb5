//! What clients may not do: heads too long or too slow, connections too many or too idle, and requests
//! that two servers would read differently.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers outside test functions

mod common;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::*;
use proxy::Limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

async fn limited(limits: Limits) -> (Harness, Server) {
    let server = Server::saying("ok").await;
    let harness = Harness::with(&web(&["/{*rest}"], PATIENCE), limits).await;
    harness.ready("web", &[server.address]);
    (harness, server)
}

#[tokio::test]
async fn a_head_that_is_too_long_is_a_431() {
    let (harness, server) = limited(Limits::default()).await;
    let mut client = harness.client().await;
    client.send(&format!("GET / HTTP/1.1\r\nHost: test\r\nX: {}\r\n\r\n", "x".repeat(16_000))).await;
    assert_eq!(client.reply().await.status, 200);
    client.send(&format!("GET / HTTP/1.1\r\nHost: test\r\nX: {}\r\n\r\n", "x".repeat(17_000))).await;
    client.reply().await.is_problem(431, "A0704", "http_request_error");
    // Far too long: it is not read to its end. The answer arrives nevertheless.
    let mut client = harness.client().await;
    let _ = client.stream.write_all(format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(100_000)).as_bytes()).await;
    client.reply().await.is_problem(431, "A0704", "http_request_error");
    assert!(client.is_closed().await);
    let mut client = harness.client().await;
    let _ = client.stream.write_all(format!("GET /{} HTTP/1.1\r\n", "x".repeat(100_000)).as_bytes()).await;
    client.reply().await.is_problem(414, "A0704", "http_request_error");
    let many: String = (0..150).map(|n| format!("x-{n}: 1\r\n")).collect();
    let mut client = harness.client().await;
    client.send(&format!("GET / HTTP/1.1\r\nHost: test\r\n{many}\r\n")).await;
    assert_eq!(client.reply().await.status, 431);
    assert_eq!(server.connections(), 1);
    until("they are counted", || harness.proxy.stats().unreadable == 4).await;
}

#[tokio::test]
async fn a_head_must_be_whole_in_time() {
    let (harness, _server) =
        limited(Limits { header_read: Duration::from_millis(300), ..Limits::default() }).await;
    let mut silent = harness.client().await;
    assert!(silent.is_closed().await);
    let mut slow = harness.client().await;
    let trickle = async {
        for byte in "GET / HTTP/1.1\r\nHost: test\r\nX: a-very-long-value-that-never-seems-to-end".bytes() {
            if slow.stream.write_all(&[byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the trickle was never cut");
    };
    within(trickle).await;
    // Between requests as well.
    let mut client = harness.client().await;
    assert_eq!(client.get("/").await.status, 200);
    client.send("GET / HT").await;
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn an_idle_connection_is_closed_after_its_time_and_not_before() {
    let limits = Limits {
        keep_alive: Duration::from_millis(1500),
        header_read: Duration::from_millis(200),
        ..Limits::default()
    };
    let (harness, _server) = limited(limits).await;
    let mut client = harness.client().await;
    assert_eq!(client.get("/").await.status, 200);
    tokio::time::sleep(Duration::from_millis(500)).await; // past `header_read`, which is not meant
    assert_eq!(client.get("/").await.status, 200);
    assert!(client.is_closed().await);
    until("nothing is open", || harness.proxy.stats().connections == 0).await;
}

#[tokio::test]
async fn one_connection_too_many_is_told_so() {
    let (harness, _server) = limited(Limits { connections: 2, ..Limits::default() }).await;
    let mut one = harness.client().await;
    assert_eq!(one.get("/").await.status, 200);
    let mut two = harness.client().await;
    assert_eq!(two.get("/").await.status, 200);
    let mut three = harness.client().await;
    let reply = three.reply().await;
    assert_eq!(reply.status, 503);
    assert!(reply.text().contains("A0722"));
    drop(one);
    until("a place is free", || harness.proxy.stats().connections == 1).await;
    assert_eq!(harness.get("/").await.status, 200);
}

#[tokio::test]
async fn an_idle_upstream_connection_is_closed_after_its_time_or_when_its_instance_leaves() {
    let (harness, _server) =
        limited(Limits { pool_idle: Duration::from_millis(300), ..Limits::default() }).await;
    assert_eq!(harness.get("/").await.status, 200);
    until("it is idle", || harness.proxy.stats().upstream_idle == 1).await;
    until("it is closed", || harness.proxy.stats().upstream_idle == 0).await;

    let (harness, _server) = limited(Limits::default()).await;
    assert_eq!(harness.get("/").await.status, 200);
    until("it is idle", || harness.proxy.stats().upstream_idle == 1).await;
    let endpoint = harness.directory.upstream(&name("web")).load().ready[0].clone();
    endpoint.drain(PATIENCE).await;
    until("it is closed", || harness.proxy.stats().upstream_idle == 0).await;
}

/// Sends bytes and returns all answers until the connection closes, and every head a service saw.
async fn smuggle(bytes: &str) -> (String, Vec<String>) {
    let heads = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&heads);
    let server = Server::http(move |request| {
        let head = format!("{} {} {:?}", request.method(), request.uri(), request.headers());
        seen.lock().unwrap().push(head);
        async { text("ok") }
    })
    .await;
    let harness = Harness::web(server.address).await;
    let mut client = harness.client().await;
    let _ = client.stream.write_all(bytes.as_bytes()).await;
    let mut answers = Vec::new();
    let _ = within(client.stream.read_to_end(&mut answers)).await;
    let heads = heads.lock().unwrap().clone();
    (String::from_utf8_lossy(&answers).into_owned(), heads)
}

#[tokio::test]
async fn ambiguous_requests_are_refused() {
    for bad in [
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 4\r\n\r\nabcd",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\nabc",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\nabc",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n folded\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: 1\rY: 2\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: 1\0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: user@a\r\n\r\n",
        "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /public/../admin HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /public/%2e%2E/admin HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /public/..%2Fadmin HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /public/..;/admin HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET * HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /\u{9b}31m HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\nHost: a\n\n",
        "POST / HTTP/1.1\r\nHost: a\r\nX: 1\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
        "GET / HTTP/3.7\r\nHost: a\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n",
    ] {
        let (answers, heads) = smuggle(bad).await;
        assert!(answers.starts_with("HTTP/1.1 400"), "{bad:?}: {answers}");
        assert_eq!(heads, [""; 0], "{bad:?}");
    }
    let (answers, heads) = smuggle("CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(answers.starts_with("HTTP/1.1 501") && heads.is_empty(), "{answers}");
}

#[tokio::test]
async fn two_framings_are_refused_in_a_later_request_as_well_and_smuggle_nothing_in_a_pipelined_one() {
    let server = Server::saying("ok").await;
    let harness = Harness::web(server.address).await;
    let two = "POST /two HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n";
    let mut client = harness.client().await;
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\na\nb").await;
    assert_eq!(client.reply().await.status, 200);
    assert_eq!(client.get("/").await.status, 200);
    client.send(two).await;
    client.reply().await.is_problem(400, "A0703", "http_request_error");
    assert!(client.is_closed().await);
    // Sent ahead it is refused as well, and what follows it is not looked at.
    let ahead = format!(
        "GET /one HTTP/1.1\r\nHost: a\r\n\r\n{two}0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
    );
    let (answers, heads) = smuggle(&ahead).await;
    assert_eq!(answers.matches("HTTP/1.1 ").count(), 2, "{answers}");
    assert!(answers.contains("HTTP/1.1 400"), "{answers}");
    assert_eq!(heads.len(), 1, "{heads:?}");
}

#[tokio::test]
async fn bad_chunks_never_reach_the_service_as_a_whole_body() {
    for chunks in
        ["zz\r\nabc\r\n0\r\n\r\n", "3\r\nabcX\r\n0\r\n\r\n", "ffffffffffffffffff\r\nabc", "3\r\nabc\r\n"]
    {
        let request = format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}");
        let whole = Arc::new(Mutex::new(0));
        let counter = Arc::clone(&whole);
        let server = Server::http(move |request| {
            let counter = Arc::clone(&counter);
            async move {
                if http_body_util::BodyExt::collect(request.into_body()).await.is_ok() {
                    *counter.lock().unwrap() += 1;
                }
                text("ok")
            }
        })
        .await;
        let harness = Harness::web(server.address).await;
        let mut client = harness.client().await;
        client.send(&request).await;
        let _ = client.stream.shutdown().await;
        let mut answer = Vec::new();
        let _ = within(client.stream.read_to_end(&mut answer)).await;
        assert!(!answer.starts_with(b"HTTP/1.1 200"), "{chunks:?}");
        assert_eq!(*whole.lock().unwrap(), 0, "{chunks:?}");
    }
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let server = Server::http(|request| async move {
        if request.uri().path() == "/slow" {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        text(request.uri().path().to_owned())
    })
    .await;
    let harness = Harness::web(server.address).await;
    let mut client = harness.client().await;
    let requests =
        ["/slow", "/b", "/c"].map(|path| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")).concat();
    client.send(&requests).await;
    for path in ["/slow", "/b", "/c"] {
        assert_eq!(client.reply().await.text(), path);
    }
}

#[tokio::test]
async fn an_old_client_is_served() {
    let (harness, _server) = limited(Limits::default()).await;
    let mut client = harness.client().await;
    client.send("GET / HTTP/1.0\r\n\r\n").await;
    let reply = client.reply().await;
    assert_eq!((reply.status, reply.text()), (200, "ok"));
    assert!(client.is_closed().await);
}
