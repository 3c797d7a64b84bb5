//! What can go wrong between the proxy and a service, what is tried again, and what the client is told.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers outside test functions

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::*;
use proxy::{Entrance, Kind, Limits};
use tokio::io::AsyncWriteExt;

const SHORT: Duration = Duration::from_millis(150);

#[tokio::test]
async fn nobody_there_and_nobody_coming_is_a_503_at_once() {
    let harness = Harness::start(&web(&["/"], PATIENCE)).await;
    let start = Instant::now();
    let reply = harness.get("/").await;
    reply.is_problem(503, "A0710", "destination_unavailable");
    assert_eq!(reply.header("retry-after"), Some("1"));
    assert!(start.elapsed() < Duration::from_secs(1));
}

#[tokio::test]
async fn a_request_is_held_while_an_instance_is_expected_and_then_served() {
    let server = Server::saying("here").await;
    let harness = Harness::start(&web(&["/"], PATIENCE)).await;
    harness.publish("web", Vec::new(), true);
    let mut client = harness.client().await;
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n").await;
    until("the request waits", || harness.proxy.stats().in_flight == 1).await;
    harness.ready("web", &[server.address]);
    assert_eq!(client.reply().await.text(), "here");
}

#[tokio::test]
async fn a_held_request_fails_when_its_time_is_over_or_hope_is_lost() {
    let harness = Harness::start(&web(&["/"], SHORT)).await;
    harness.publish("web", Vec::new(), true);
    harness.get("/").await.is_problem(503, "A0710", "destination_unavailable");

    let harness = Harness::start(&web(&["/"], PATIENCE)).await;
    harness.publish("web", Vec::new(), true);
    let mut client = harness.client().await;
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n").await;
    until("the request waits", || harness.proxy.stats().in_flight == 1).await;
    harness.publish("web", Vec::new(), false);
    client.reply().await.is_problem(503, "A0710", "destination_unavailable");
}

#[tokio::test]
async fn only_so_many_requests_are_held() {
    let limits = Limits { waiting: 1, ..Limits::default() };
    let harness = Harness::with(&web(&["/"], PATIENCE), limits).await;
    harness.publish("web", Vec::new(), true);
    // One per thread: of three, at least one is turned away at once.
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = harness.client().await;
        client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n").await;
        clients.push(client);
    }
    let record = harness.records.nth(1).await;
    assert_eq!((record.status, record.error), (503, Some(Kind::WaitingFull)));
    assert!(harness.proxy.stats().errors[&("A0711", "connection_limit_reached")] >= 1);
}

#[tokio::test]
async fn a_refused_connection_is_tried_three_times_and_then_a_502() {
    let harness = Harness::start(&web(&["/"], PATIENCE)).await;
    let endpoint = harness.ready("web", &[nowhere().await]).remove(0);
    harness.get("/").await.is_problem(502, "A0712", "connection_refused");
    let record = harness.records.nth(1).await;
    assert_eq!(record.attempts, 3);
    within(endpoint.suspected()).await;
    assert_eq!(endpoint.in_flight(), 0);
}

#[tokio::test]
async fn a_refused_connection_is_made_to_another_instance_whatever_the_method() {
    let server = Server::mirror().await;
    let harness = Harness::start(&web(&["/"], PATIENCE)).await;
    harness.ready("web", &[nowhere().await, server.address]);
    let mut client = harness.client().await;
    for _ in 0..20 {
        client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 3\r\n\r\nabc").await;
        assert_eq!(client.reply().await.status, 200);
    }
}

#[tokio::test]
async fn an_instance_that_comes_back_during_the_attempts_serves_the_request() {
    let server = Server::saying("back").await;
    let harness = Harness::start(&web(&["/"], PATIENCE)).await;
    harness.ready("web", &[nowhere().await]);
    let mut client = harness.client().await;
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n").await;
    until("an attempt has failed", || harness.proxy.stats().retries > 0).await;
    harness.publish("web", Vec::new(), true);
    harness.ready("web", &[server.address]);
    assert_eq!(client.reply().await.text(), "back");
}

#[tokio::test]
async fn no_answer_in_time_is_a_504() {
    let server = Server::raw(|mut stream| async move {
        read_head(&mut stream).await;
        std::future::pending::<()>().await;
    })
    .await;
    let harness = Harness::start(&web(&["/"], SHORT)).await;
    harness.ready("web", &[server.address]);
    let start = Instant::now();
    harness.get("/").await.is_problem(504, "A0715", "http_response_timeout");
    assert!(start.elapsed() >= SHORT);
    // Time is counted to the head of the answer only.
    let server = Server::raw(|mut stream| async move {
        read_head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nsl").await.unwrap();
        tokio::time::sleep(SHORT * 2).await;
        stream.write_all(b"ow").await.unwrap();
    })
    .await;
    harness.ready("web", &[server.address]);
    assert_eq!(harness.get("/").await.text(), "slow");
}

#[tokio::test]
async fn a_connection_that_closes_without_an_answer_is_a_502_and_is_not_repeated() {
    let server = Server::raw(|mut stream| async move {
        read_head(&mut stream).await;
    })
    .await;
    let harness = Harness::web(server.address).await;
    harness.get("/").await.is_problem(502, "A0714", "connection_terminated");
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn what_is_not_http_is_a_502() {
    for nonsense in [
        "SSH-2.0-OpenSSH_9.2\r\n\r\n",
        "HTTP/1.1 20",
        "HTTP/1.1 200 OK\r\nbad header\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    ] {
        let server = Server::raw(move |mut stream| async move {
            read_head(&mut stream).await;
            stream.write_all(nonsense.as_bytes()).await.unwrap();
        })
        .await;
        let harness = Harness::web(server.address).await;
        harness.get("/").await.is_problem(502, "A0716", "http_protocol_error");
    }
}

#[tokio::test]
async fn connections_are_used_again() {
    let server = Server::saying("again").await;
    let harness = Harness::web(server.address).await;
    let mut client = harness.client().await;
    for _ in 0..50 {
        assert_eq!(client.get("/").await.text(), "again");
    }
    assert_eq!(server.connections(), 1);
    until("the idle one is seen", || harness.proxy.stats().upstream_idle == 1).await;
    let stats = harness.proxy.stats();
    assert_eq!((stats.requests, stats.connections, stats.upstream_opened), (50, 1, 1));
    assert_eq!(stats.classes, [0, 50, 0, 0, 0]);
}

/// Answers one request per connection, promises more, and closes when the next one arrives or before.
async fn forgetful(close_at_once: bool) -> Server {
    Server::raw(move |mut stream| async move {
        read_head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
        if !close_at_once {
            read_head(&mut stream).await;
        }
    })
    .await
}

#[tokio::test]
async fn an_idle_connection_that_is_dead_costs_no_request() {
    for close_at_once in [true, false] {
        let server = forgetful(close_at_once).await;
        let harness = Harness::web(server.address).await;
        let mut client = harness.client().await;
        for _ in 0..20 {
            assert_eq!(client.get("/").await.text(), "ok");
        }
        assert_eq!(server.connections(), 20);
    }
}

#[tokio::test]
async fn a_post_that_may_have_been_processed_is_not_sent_twice() {
    let server = forgetful(false).await;
    let harness = Harness::web(server.address).await;
    let mut client = harness.client().await;
    assert_eq!(client.get("/").await.text(), "ok");
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 1\r\n\r\nx").await;
    client.reply().await.is_problem(502, "A0714", "connection_terminated");
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_call_is_repeated_as_often_as_declared_where_that_is_harmless() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let server = Server::http(move |_| {
        let nth = count.fetch_add(1, Ordering::SeqCst);
        async move {
            let mut answer = text("");
            if nth % 3 != 2 {
                *answer.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE;
            }
            answer
        }
    })
    .await;
    let mut orders = service("orders");
    orders.calls.insert(name("web"), call(PATIENCE, 2));
    let harness = Harness::start(&app([orders, service("web")])).await;
    harness.ready("web", &[server.address]);
    let mesh = listen(&harness.proxy, Entrance::Mesh { caller: name("orders"), callee: name("web") }).await;
    let mut client = Client::connect(mesh).await;
    assert_eq!(client.get("/").await.status, 200);
    assert_eq!(asked.load(Ordering::SeqCst), 3);
    client.send("POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(client.reply().await.status, 503);
    assert_eq!(asked.load(Ordering::SeqCst), 4);
    assert_eq!(harness.proxy.stats().retries, 2);
}

#[tokio::test]
async fn a_connection_the_instance_does_not_take_in_time_is_a_504() {
    // A listener whose queue is full drops further connections' first packets.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket.listen(1).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let mut held = Vec::new();
    for _ in 0..4 {
        let connecting = std::net::TcpStream::connect_timeout(&address, SHORT);
        held.push(connecting);
    }
    let limits = Limits { connect: Duration::from_millis(50), ..Limits::default() };
    let harness = Harness::with(&web(&["/"], PATIENCE), limits).await;
    harness.ready("web", &[address]);
    harness.get("/").await.is_problem(504, "A0713", "connection_timeout");
    assert_eq!(harness.records.nth(1).await.attempts, 3);
}

#[tokio::test]
async fn each_declared_try_has_its_own_time_within_the_deadline() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let server = Server::raw(move |mut stream| {
        let nth = count.fetch_add(1, Ordering::SeqCst);
        async move {
            read_head(&mut stream).await;
            if nth < 2 {
                std::future::pending::<()>().await;
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nthird").await.unwrap();
        }
    })
    .await;
    let mut orders = service("orders");
    let mut declared = call(PATIENCE, 2);
    declared.guard.retry.per_try = Some(SHORT);
    orders.calls.insert(name("web"), declared);
    let harness = Harness::start(&app([orders, service("web")])).await;
    harness.ready("web", &[server.address]);
    let mesh = listen(&harness.proxy, Entrance::Mesh { caller: name("orders"), callee: name("web") }).await;
    let start = Instant::now();
    assert_eq!(Client::connect(mesh).await.get("/").await.text(), "third");
    assert!(start.elapsed() >= SHORT * 2);
    assert_eq!(harness.records.nth(1).await.attempts, 3);
}
