//! Instances that speak HTTP/2, by prior knowledge, behind clients of either version.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers outside test functions

mod common;
mod h2_raw;
mod h2_service;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::*;
use h2::{Reason, RecvStream};
use h2_service::*;
use http::{Request, Response};
use proxy::Limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

async fn read(mut body: RecvStream) -> Option<(Vec<u8>, Option<http::HeaderMap>)> {
    let mut all = Vec::new();
    while let Some(data) = body.data().await {
        let data = data.ok()?;
        body.flow_control().release_capacity(data.len()).unwrap();
        all.extend(data);
    }
    Some((all, body.trailers().await.ok()?))
}

/// Tells what it was sent, as [`Server::mirror`] does.
async fn mirror((request, mut respond): Stream) {
    let mut lines = format!("{} {}\n", request.method(), request.uri());
    for (name, value) in request.headers() {
        lines.push_str(&format!("{name}: {}\n", value.to_str().unwrap()));
    }
    let Some((body, trailers)) = read(request.into_body()).await else { return };
    lines.push_str(&format!("{} bytes, {trailers:?}\n", body.len()));
    let mut stream = respond.send_response(Response::new(()), false).unwrap();
    stream.send_data(lines.into(), true).unwrap();
}

/// Sends each piece back as it comes, with trailers at the end.
async fn echo((request, mut respond): Stream) {
    let mut body = request.into_body();
    let mut stream = respond.send_response(Response::new(()), false).unwrap();
    while let Some(Ok(data)) = body.data().await {
        let mut left = data;
        while !left.is_empty() {
            stream.reserve_capacity(left.len());
            let Some(Ok(room)) = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await else { return };
            let piece = left.split_to(room.min(left.len()));
            body.flow_control().release_capacity(piece.len()).unwrap();
            stream.send_data(piece, false).unwrap();
        }
    }
    let mut trailers = body.trailers().await.ok().flatten().unwrap_or_default();
    trailers.insert("x-end", "yes".parse().unwrap());
    let _ = stream.send_trailers(trailers);
}

#[tokio::test]
async fn a_request_of_http_1_arrives_as_one_of_http_2() {
    let server = streams(mirror).await;
    let harness = harness(&server).await;
    let reply = harness.get("/a?b=c").await;
    assert!(reply.text().starts_with("GET http://test/a?b=c\n"), "{reply:?}");
    assert_eq!(reply.seen("via"), ["1.1 atoll"]);
    for gone in ["host", "connection", "transfer-encoding", "te"] {
        assert!(reply.seen(gone).is_empty(), "{gone}: {reply:?}");
    }
    let mut client = harness.client().await;
    client
        .send("POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\nTE: trailers\r\nConnection: te\r\nTrailer: x-sum\r\nCookie: a=1\r\n\r\n\
               5\r\n12345\r\n3\r\n678\r\n0\r\nx-sum: 9\r\n\r\n")
        .await;
    let reply = client.reply().await;
    assert_eq!(
        (reply.seen("te"), reply.seen("cookie")),
        (vec!["trailers".to_owned()], vec!["a=1".to_owned()])
    );
    assert!(reply.text().ends_with("8 bytes, Some({\"x-sum\": \"9\"})\n"), "{reply:?}");
}

#[tokio::test]
async fn requests_share_one_connection_per_thread() {
    let server = streams(mirror).await;
    let harness = harness(&server).await;
    let asks = (0..40).map(|_| harness.get("/"));
    for reply in futures_util::future::join_all(asks).await {
        assert_eq!(reply.status, 200);
    }
    assert!(server.connections() <= 2, "{}", server.connections());
}

#[tokio::test]
async fn bodies_stream_both_ways_with_trailers_between_versions() {
    let server = streams(echo).await;
    let harness = harness(&server).await;
    // From HTTP/1.1.
    let mut old = harness.client().await;
    old.send("POST / HTTP/1.1\r\nHost: test\r\nTE: trailers\r\nConnection: te\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n").await;
    let head = within(read_head(&mut old.stream)).await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert_eq!(within(old.chunk()).await.unwrap(), b"one");
    old.send("3\r\ntwo\r\n").await;
    assert_eq!(within(old.chunk()).await.unwrap(), b"two");
    old.send("0\r\n\r\n").await;
    assert_eq!(within(old.chunk()).await.unwrap(), b"");
    // From HTTP/2.
    let mut new = client(harness.gateway).await;
    let (answer, mut sending) = new
        .send_request(Request::post("http://test/").header("te", "trailers").body(()).unwrap(), false)
        .unwrap();
    sending.send_data("one".into(), false).unwrap();
    let mut body = within(answer).await.unwrap().into_body();
    assert_eq!(within(body.data()).await.unwrap().unwrap(), "one");
    sending.send_data("two".into(), false).unwrap();
    assert_eq!(within(body.data()).await.unwrap().unwrap(), "two");
    sending.send_trailers([("x-sum".parse().unwrap(), "9".parse().unwrap())].into_iter().collect()).unwrap();
    assert!(within(body.data()).await.is_none());
    let trailers = within(body.trailers()).await.unwrap().unwrap();
    assert_eq!((&trailers["x-sum"], &trailers["x-end"]), (&"9".parse().unwrap(), &"yes".parse().unwrap()));
    assert_eq!(harness.records.nth(2).await.error, None);
}

#[tokio::test]
async fn megabytes_pass_whole_in_both_directions() {
    let server = streams(echo).await;
    let harness = harness(&server).await;
    let asks = (0..4).map(|n: u8| async move { (n, vec![n; 3_000_000]) });
    let sent = futures_util::future::join_all(asks.map(|made| async {
        let (n, body) = made.await;
        let mut new = client(harness.gateway).await;
        let request = Request::post("http://test/").body(()).unwrap();
        let (answer, mut sending) = new.send_request(request, false).unwrap();
        sending.send_data(body.into(), true).unwrap();
        let mut body = answer.await.unwrap().into_body();
        let mut got = 0;
        while let Some(data) = body.data().await {
            let data = data.unwrap();
            assert!(data.iter().all(|byte| *byte == n));
            body.flow_control().release_capacity(data.len()).unwrap();
            got += data.len();
        }
        got
    }));
    assert_eq!(within(sent).await, [3_000_000; 4]);
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_its_service_back_and_nobody_else() {
    let written = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&written);
    let server = streams(move |(request, mut respond): Stream| {
        let count = Arc::clone(&count);
        async move {
            let mut stream = respond.send_response(Response::new(()), false).unwrap();
            if request.uri().path() != "/much" {
                stream.send_data("small".into(), true).unwrap();
                return;
            }
            loop {
                stream.reserve_capacity(10_000);
                let Some(Ok(room)) = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await else {
                    return;
                };
                stream.send_data(vec![b'x'; room].into(), false).unwrap();
                count.fetch_add(room, Ordering::SeqCst);
            }
        }
    })
    .await;
    let harness = harness(&server).await;
    let mut new = client(harness.gateway).await;
    let ask = |path: &str| Request::get(format!("http://test{path}")).body(()).unwrap();
    let mut unread = Vec::new();
    for _ in 0..20 {
        let (answer, _) = new.send_request(ask("/much"), true).unwrap();
        unread.push(within(answer).await.unwrap());
    }
    let mut last = 0;
    until("the service is held back", || {
        std::thread::sleep(Duration::from_millis(50));
        let now = written.load(Ordering::SeqCst);
        std::mem::replace(&mut last, now) == now && now > 0
    })
    .await;
    assert!(last < 20 * 1_000_000, "{last}");
    // On another connection, and on the one to the instance, which they share.
    assert_eq!(harness.get("/").await.text(), "small");
    drop(unread);
}

#[tokio::test]
async fn what_an_instance_refuses_is_asked_again_whatever_the_method() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let server = streams(move |stream: Stream| {
        let nth = count.fetch_add(1, Ordering::SeqCst);
        async move {
            let (_, mut respond) = stream;
            match nth {
                0 => respond.send_reset(Reason::REFUSED_STREAM),
                _ => {
                    respond.send_response(Response::new(()), true).unwrap();
                }
            }
        }
    })
    .await;
    let harness = harness(&server).await;
    let mut client = harness.client().await;
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(client.reply().await.status, 200);
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn what_an_instance_may_have_begun_is_not_asked_again() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let server = streams(move |(_, mut respond): Stream| {
        count.fetch_add(1, Ordering::SeqCst);
        async move { respond.send_reset(Reason::INTERNAL_ERROR) }
    })
    .await;
    let harness = harness(&server).await;
    harness.get("/").await.is_problem(502, "A0714", "connection_terminated");
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn streams_beyond_the_last_of_a_goodbye_are_asked_again_on_another_connection() {
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    let server = Server::raw(move |mut stream| {
        let nth = count.fetch_add(1, Ordering::SeqCst);
        async move {
            if nth > 0 {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                while let Some(Ok(stream)) = connection.accept().await {
                    go(say(stream, "the second"));
                }
                return;
            }
            stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
            let mut some = [0; 4096];
            let mut have = 0;
            while have < 100 {
                have += stream.read(&mut some).await.unwrap(); // preface, settings and a head
            }
            // GOAWAY, last stream 0, NO_ERROR.
            stream.write_all(&[0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]).await.unwrap();
            while stream.read(&mut some).await.is_ok_and(|read| read > 0) {}
        }
    })
    .await;
    let harness = harness(&server).await;
    let mut client = harness.client().await;
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(client.reply().await.text(), "the second");
}

#[tokio::test]
async fn an_instance_that_speaks_http_1_does_not_answer_in_http() {
    let server = Server::raw(|mut stream| async move {
        let _ = read_head(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await;
        // To close with bytes unread would reset the connection, and take the answer back.
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
    })
    .await;
    let harness = harness(&server).await;
    harness.get("/").await.is_problem(502, "A0716", "http_protocol_error");
}

#[tokio::test]
async fn where_nobody_listens_the_connection_is_refused_for_all_who_wait() {
    let harness = Harness::start(&http2(&["/{*rest}"], PATIENCE)).await;
    harness.ready("web", &[nowhere().await]);
    for reply in futures_util::future::join_all((0..5).map(|_| harness.get("/"))).await {
        reply.is_problem(502, "A0712", "connection_refused");
    }
}

#[tokio::test]
async fn a_client_that_leaves_resets_its_stream_alone() {
    let (gone, other) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (count, begun) = (Arc::clone(&gone), Arc::clone(&other));
    let server = streams(move |(request, mut respond): Stream| {
        let (count, begun) = (Arc::clone(&count), Arc::clone(&begun));
        async move {
            if request.uri().path() == "/quick" {
                return say((request, respond), "quick").await;
            }
            begun.fetch_add(1, Ordering::SeqCst);
            let reason = std::future::poll_fn(|cx| respond.poll_reset(cx)).await;
            assert_eq!(reason.unwrap(), Reason::CANCEL);
            count.fetch_add(1, Ordering::SeqCst);
        }
    })
    .await;
    let harness = harness(&server).await;
    let mut leaving = harness.client().await;
    leaving.send("GET /slow HTTP/1.1\r\nHost: test\r\n\r\n").await;
    until("it has begun", || other.load(Ordering::SeqCst) == 1).await;
    drop(leaving);
    until("the service hears of it", || gone.load(Ordering::SeqCst) == 1).await;
    let mut new = client(harness.gateway).await;
    let (answer, _) = new.send_request(Request::get("http://test/slow").body(()).unwrap(), true).unwrap();
    until("it has begun", || other.load(Ordering::SeqCst) == 2).await;
    drop(answer);
    until("the service hears of it", || gone.load(Ordering::SeqCst) == 2).await;
    assert_eq!(harness.get("/quick").await.text(), "quick");
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_not_taken_for_whole() {
    let server = streams(|(_, mut respond): Stream| async move {
        let mut stream = respond.send_response(Response::new(()), false).unwrap();
        stream.send_data("half".into(), false).unwrap();
        tokio::time::sleep(Duration::from_millis(30)).await;
        stream.send_reset(Reason::INTERNAL_ERROR);
    })
    .await;
    let harness = harness(&server).await;
    let reply = harness.get("/").await;
    assert!(!reply.whole, "{reply:?}");
    let mut new = client(harness.gateway).await;
    let (answer, _) = new.send_request(Request::get("http://test/").body(()).unwrap(), true).unwrap();
    let mut body = within(answer).await.unwrap().into_body();
    let error = loop {
        match within(body.data()).await.unwrap() {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert_eq!(error.reason(), Some(Reason::INTERNAL_ERROR));
    assert_eq!(harness.records.nth(2).await.error, Some(proxy::Kind::AnswerIncomplete));
}

#[tokio::test]
async fn an_answer_that_does_not_come_in_time_is_given_up() {
    let server = streams(|stream: Stream| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    let harness = Harness::start(&http2(&["/{*rest}"], Duration::from_millis(200))).await;
    let endpoints = harness.ready("web", &[server.address]);
    harness.get("/").await.is_problem(504, "A0715", "http_response_timeout");
    assert_eq!(endpoints[0].in_flight(), 0);
}

#[tokio::test]
async fn a_body_is_held_back_until_the_service_says_continue() {
    let server = streams(|(request, mut respond): Stream| async move {
        let early = Response::builder().status(100).body(()).unwrap();
        respond.send_informational(early).unwrap();
        let (body, _) = read(request.into_body()).await.unwrap();
        let mut stream = respond.send_response(Response::new(()), false).unwrap();
        stream.send_data(body.into(), true).unwrap();
    })
    .await;
    let limits = Limits { expect: Duration::from_secs(60), ..Limits::default() };
    let harness = Harness::with(&http2(&["/{*rest}"], PATIENCE), limits).await;
    harness.ready("web", &[server.address]);
    let mut client = harness.client().await;
    client.send("POST / HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n").await;
    let head = within(read_head(&mut client.stream)).await;
    assert!(head.starts_with("HTTP/1.1 100"), "{head}");
    client.send("12345").await;
    assert_eq!(client.reply().await.text(), "12345");
}

#[tokio::test]
async fn a_websocket_is_told_that_the_service_cannot_switch_protocols() {
    let server = streams(|stream| say(stream, "not what was asked for")).await;
    let harness = harness(&server).await;
    let mut client = harness.client().await;
    client
        .send("GET / HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
        .await;
    let reply = client.reply().await;
    reply.is_problem(502, "A0719", "http_upgrade_failed");
    assert!(reply.text().contains("speaks HTTP/2"), "{reply:?}");
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn interim_answers_come_before_the_answer_and_come_to_an_end() {
    let server = streams(|(request, mut respond): Stream| async move {
        let count: usize = request.uri().path()[1..].parse().unwrap();
        // The last of those that come at once is the one that is waited for.
        for n in 1..=count {
            let status = if n == count { 100 } else { 103 };
            let early = Response::builder().status(status).body(()).unwrap();
            respond.send_informational(early).unwrap();
        }
        let (body, _) = read(request.into_body()).await.unwrap();
        let mut stream = respond.send_response(Response::new(()), false).unwrap();
        stream.send_data(body.into(), true).unwrap();
    })
    .await;
    let limits = Limits { expect: Duration::from_secs(60), ..Limits::default() };
    let harness = Harness::with(&http2(&["/{*rest}"], PATIENCE), limits).await;
    harness.ready("web", &[server.address]);
    let ask = async |count: usize| {
        let mut client = harness.client().await;
        let head = format!(
            "POST /{count} HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
        );
        client.send(&head).await;
        client
    };
    let mut client = ask(16).await;
    let head = within(read_head(&mut client.stream)).await;
    assert!(head.starts_with("HTTP/1.1 100"), "{head}");
    client.send("12345").await;
    assert_eq!(client.reply().await.text(), "12345");
    ask(17).await.reply().await.is_problem(502, "A0716", "http_protocol_error");
}

#[tokio::test]
async fn heads_without_bodies_have_none() {
    let server = streams(|(request, mut respond): Stream| async move {
        let status = request.uri().path()[1..].parse::<u16>().unwrap();
        let response = Response::builder().status(status).header("etag", "x").body(()).unwrap();
        respond.send_response(response, true).unwrap();
    })
    .await;
    let harness = harness(&server).await;
    for status in [200, 204, 304, 404] {
        let reply = harness.get(&format!("/{status}")).await;
        assert_eq!((reply.status, reply.body.len(), reply.whole), (status, 0, true));
        let mut client = harness.client().await;
        client.send(&format!("HEAD /{status} HTTP/1.1\r\nHost: test\r\n\r\n")).await;
        assert_eq!(client.reply_to_head().await.status, status);
    }
}

#[tokio::test]
async fn connections_close_when_they_are_idle_and_when_their_instance_leaves() {
    let open = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&open);
    let server = Server::raw(move |stream| {
        let count = Arc::clone(&count);
        async move {
            count.fetch_add(1, Ordering::SeqCst);
            let mut connection = h2::server::handshake(stream).await.unwrap();
            while let Some(Ok(stream)) = connection.accept().await {
                go(say(stream, "fine"));
            }
            count.fetch_sub(1, Ordering::SeqCst);
        }
    })
    .await;
    let limits = Limits { pool_idle: Duration::from_millis(300), ..Limits::default() };
    let harness = Harness::with(&http2(&["/{*rest}"], PATIENCE), limits).await;
    let endpoints = harness.ready("web", &[server.address]);
    assert_eq!(harness.get("/").await.text(), "fine");
    assert_eq!(open.load(Ordering::SeqCst), 1);
    until("it was idle for too long", || open.load(Ordering::SeqCst) == 0).await;
    assert_eq!(harness.get("/").await.text(), "fine");
    endpoints[0].close();
    until("its instance leaves", || open.load(Ordering::SeqCst) == 0).await;
}

#[tokio::test]
async fn a_shutdown_finishes_what_is_under_way_and_closes_what_is_not() {
    let server = streams(|stream| async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        say(stream, "finished").await;
    })
    .await;
    let harness = harness(&server).await;
    let mut client = harness.client().await;
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n").await;
    until("it is under way", || harness.proxy.stats().in_flight == 1).await;
    let proxy = harness.proxy.clone();
    let (reply, ()) = tokio::join!(client.reply(), within(proxy.shutdown(PATIENCE)));
    assert_eq!(reply.text(), "finished");
}

#[tokio::test]
async fn a_client_of_http_2_is_told_to_go_on_once_its_body_is_wanted() {
    let server = Server::http(|request| async move {
        let body = http_body_util::BodyExt::collect(request.into_body()).await.unwrap();
        text(body.to_bytes())
    })
    .await;
    let harness = Harness::web(server.address).await;
    let mut new = client(harness.gateway).await;
    let request = Request::post("http://test/").header("expect", "100-continue").body(()).unwrap();
    let (mut answer, mut sending) = new.send_request(request, false).unwrap();
    let early = std::future::poll_fn(|cx| answer.poll_informational(cx));
    assert_eq!(within(early).await.unwrap().unwrap().status(), 100);
    sending.send_data("12345".into(), true).unwrap();
    let mut body = within(answer).await.unwrap().into_body();
    assert_eq!(within(body.data()).await.unwrap().unwrap(), "12345");
}
