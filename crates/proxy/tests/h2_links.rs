//! What the connections of HTTP/2 to an instance do for those who share them.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers outside test functions

mod common;
mod h2_raw;
mod h2_service;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use common::*;
use h2_service::*;
use http::{Request, Response};
use proxy::Limits;
use proxy::limits::Http2;
use tokio::net::TcpStream;

#[tokio::test]
async fn a_second_connection_is_opened_when_the_first_is_full_and_others_wait() {
    let server = at_most(1, |stream| async {
        tokio::time::sleep(Duration::from_millis(30)).await;
        say(stream, "done").await;
    })
    .await;
    let harness = harness(&server).await;
    harness.get("/").await; // its settings are known now, on one thread
    let mut new = client(harness.gateway).await;
    let mut answers = Vec::new();
    for _ in 0..10 {
        new = new.ready().await.unwrap();
        answers.push(new.send_request(Request::get("http://test/").body(()).unwrap(), true).unwrap().0);
    }
    for answer in answers {
        assert_eq!(within(answer).await.unwrap().status(), 200);
    }
    assert!((2..=4).contains(&server.connections()), "{}", server.connections());
}

#[tokio::test]
async fn an_instance_that_says_goodbye_to_calls_that_last_is_asked_on_new_connections() {
    // Each connection says goodbye after its first stream, which goes on for long.
    let held = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&held);
    let server = Server::raw(move |stream| {
        let count = Arc::clone(&count);
        async move {
            let mut connection = h2::server::handshake(stream).await.unwrap();
            while let Some(Ok((_, mut respond))) = connection.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                let stream = respond.send_response(Response::new(()), false).unwrap();
                go(async move {
                    std::future::pending::<()>().await;
                    drop(stream);
                });
                connection.graceful_shutdown();
            }
        }
    })
    .await;
    let harness = harness(&server).await;
    let mut clients = Vec::new();
    for n in 1..=8 {
        let mut client = harness.client().await;
        client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n").await;
        assert!(within(read_head(&mut client.stream)).await.starts_with("HTTP/1.1 200"));
        assert_eq!(held.load(Ordering::SeqCst), n);
        clients.push(client);
    }
}

#[tokio::test]
async fn short_pieces_that_a_client_does_not_read_end_nobody_elses_call() {
    let given = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&given);
    let server = streams(move |(request, mut respond): Stream| {
        let count = Arc::clone(&count);
        async move {
            if request.uri().path() != "/much" {
                respond.send_response(Response::new(()), true).unwrap();
                return;
            }
            let mut stream = respond.send_response(Response::new(()), false).unwrap();
            for _ in 0..10_000 {
                stream.reserve_capacity(1);
                let Some(Ok(_)) = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await else { return };
                stream.send_data(Bytes::from_static(b"x"), false).unwrap();
                count.fetch_add(1, Ordering::SeqCst);
            }
            std::future::pending::<()>().await;
        }
    })
    .await;
    let bounds = Http2 { upstream_streams: 4, upstream_window: 16 * 1024, ..Http2::default() };
    let limits = Limits { http2: bounds, ..Limits::default() };
    let harness = Harness::with(&http2(&["/{*rest}"], PATIENCE), limits).await;
    harness.ready("web", &[server.address]);
    // A client that reads nothing of any body.
    let stream = TcpStream::connect(harness.gateway).await.unwrap();
    let mut builder = h2::client::Builder::new();
    let (mut new, connection) = builder.initial_window_size(0).handshake::<_, Bytes>(stream).await.unwrap();
    go(async move { drop(connection.await) });
    let ask = |path: &str| Request::get(format!("http://test{path}")).body(()).unwrap();
    let (unread, _) = new.send_request(ask("/much"), true).unwrap();
    let unread = within(unread).await.unwrap();
    until("much was given", || given.load(Ordering::SeqCst) == 10_000).await;
    for _ in 0..20 {
        let (answer, _) = new.send_request(ask("/"), true).unwrap();
        assert_eq!(within(answer).await.unwrap().status(), 200);
    }
    assert_eq!(server.connections(), 1);
    assert_eq!(harness.proxy.stats().in_flight, 1);
    drop(unread);
}

#[tokio::test]
async fn what_another_stream_did_to_a_connection_is_no_answer_to_this_request() {
    let server = frames(100, |nth, mut raw| async move {
        let mut heads = 0;
        while let Some(frame) = raw.next().await {
            if frame.kind != h2_raw::HEADERS {
                continue;
            }
            heads += 1;
            if nth > 0 || heads == 1 {
                let flags = h2_raw::END_HEADERS | h2_raw::END_STREAM;
                raw.frame(h2_raw::HEADERS, flags, frame.stream, OK).await;
            } else {
                raw.frame(h2_raw::DATA, 0, 0, b"of no stream").await;
            }
        }
    })
    .await;
    let harness = harness(&server).await;
    let mut client = harness.client().await;
    assert_eq!(client.get("/").await.status, 200);
    assert_eq!(client.get("/").await.status, 200);
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn what_comes_late_for_calls_that_were_cancelled_ends_no_connection() {
    let late = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&late);
    let server = frames(100, move |_, mut raw| {
        let count = Arc::clone(&count);
        async move {
            while let Some(frame) = raw.next().await {
                match frame.kind {
                    h2_raw::HEADERS => {
                        raw.frame(h2_raw::HEADERS, h2_raw::END_HEADERS, frame.stream, OK).await;
                    }
                    h2_raw::RST_STREAM if frame.payload == h2_raw::CANCEL.to_be_bytes() => {
                        raw.frame(h2_raw::DATA, 0, frame.stream, b"late").await;
                        count.fetch_add(1, Ordering::SeqCst);
                    }
                    _ => {}
                }
            }
        }
    })
    .await;
    let patient = Http2 { resets: u32::MAX, ..Http2::default() };
    let limits = Limits { http2: patient, ..Limits::default() };
    let harness = Harness::with(&http2(&["/{*rest}"], PATIENCE), limits).await;
    harness.ready("web", &[server.address]);
    let mut new = client(harness.gateway).await;
    let mut ask = || new.send_request(Request::get("http://test/").body(()).unwrap(), true).unwrap().0;
    for round in 1..=20 {
        let answers = within(futures_util::future::join_all((0..100).map(|_| ask()))).await;
        assert!(answers.iter().all(Result::is_ok));
        drop(answers); // none of their bodies is waited for
        until("they are cancelled", || late.load(Ordering::SeqCst) == 100 * round).await;
    }
    assert!(within(ask()).await.is_ok());
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn an_instance_is_not_given_more_streams_than_it_says_it_takes_even_at_first() {
    let server = Server::raw(|stream| async move {
        tokio::time::sleep(Duration::from_millis(100)).await; // it is slow to say anything
        let mut builder = h2::server::Builder::new();
        let mut connection = builder.max_concurrent_streams(2).handshake::<_, Bytes>(stream).await.unwrap();
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            go(async move {
                let mut body = request.into_body();
                while let Some(Ok(data)) = body.data().await {
                    body.flow_control().release_capacity(data.len()).unwrap();
                }
                respond.send_response(Response::new(()), true).unwrap();
            });
        }
    })
    .await;
    let harness = harness(&server).await;
    let mut new = client(harness.gateway).await;
    let mut answers = Vec::new();
    for _ in 0..50 {
        let request = Request::post("http://test/").body(()).unwrap();
        let (answer, mut body) = new.send_request(request, false).unwrap();
        body.send_data("a body".into(), false).unwrap();
        answers.push((answer, body));
    }
    for (answer, mut body) in answers {
        body.send_data("its end".into(), true).unwrap();
        assert_eq!(within(answer).await.unwrap().status(), 200);
    }
}

#[tokio::test]
async fn whoever_waits_is_served_once_an_instance_takes_more_streams() {
    let heads = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&heads);
    let server = frames(1, move |_, mut raw| {
        let count = Arc::clone(&count);
        async move {
            while let Some(frame) = raw.next().await {
                if frame.kind != h2_raw::HEADERS {
                    continue;
                }
                if count.fetch_add(1, Ordering::SeqCst) == 0 {
                    let flags = h2_raw::END_HEADERS | h2_raw::END_STREAM;
                    raw.frame(h2_raw::HEADERS, flags, frame.stream, OK).await;
                } else {
                    raw.frame(h2_raw::SETTINGS, 0, 0, &setting_of_streams(10)).await;
                }
            }
        }
    })
    .await;
    let one = Http2 { upstream_connections: 1, ..Http2::default() };
    let limits = Limits { http2: one, ..Limits::default() };
    let harness = Harness::with(&http2(&["/{*rest}"], PATIENCE), limits).await;
    harness.ready("web", &[server.address]);
    let mut new = client(harness.gateway).await;
    let mut ask = || new.send_request(Request::get("http://test/").body(()).unwrap(), true).unwrap();
    assert!(within(ask().0).await.is_ok()); // that it takes one is known now
    let asked: Vec<_> = (0..10).map(|_| ask()).collect();
    until("all are under way", || heads.load(Ordering::SeqCst) == 11).await;
    drop(asked);
}
