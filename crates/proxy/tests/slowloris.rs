//! Clients that are slow on purpose: a head that never ends, a body that drips, an answer that nobody reads.
//! Each is cut off by its own limit, and the others notice nothing.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers outside test functions

mod common;

use std::time::{Duration, Instant};

use common::*;
use proxy::{Kind, Limits};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const SHORT: Duration = Duration::from_millis(400);

async fn limited(server: &Server, limits: Limits) -> Harness {
    let harness = Harness::with(&web(&["/{*rest}"], PATIENCE), limits).await;
    harness.ready("web", &[server.address]);
    harness
}

#[tokio::test]
async fn two_hundred_heads_that_never_end_are_all_cut_off_while_others_are_served() {
    let server = Server::saying("ok").await;
    let harness = limited(&server, Limits { header_read: SHORT, ..Limits::default() }).await;
    let mut slow = Vec::new();
    for _ in 0..200 {
        let mut client = harness.client().await;
        client.send("GET / HTTP/1.1\r\nHost: test\r\nX: ").await;
        slow.push(client);
    }
    let cut = async {
        for _ in 0..100 {
            for client in &mut slow {
                let _ = client.stream.write_all(b"x").await;
            }
            if harness.proxy.stats().connections == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{} are still open", harness.proxy.stats().connections);
    };
    let served = async {
        for _ in 0..20 {
            assert_eq!(harness.get("/").await.text(), "ok");
        }
    };
    served.await;
    within(cut).await;
    assert!(server.connections() > 0);
}

#[tokio::test]
async fn a_head_that_was_begun_behind_a_whole_request_must_end_in_time_as_well() {
    let server = Server::saying("ok").await;
    let harness = limited(&server, Limits { header_read: SHORT, ..Limits::default() }).await;
    let mut client = harness.client().await;
    // It comes with the request before it, so that nothing more is read.
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\nGET / HTTP/1.1\r\nHo").await;
    assert_eq!(client.reply().await.text(), "ok");
    let since = Instant::now();
    assert!(client.is_closed().await);
    assert!(since.elapsed() < SHORT * 5, "{:?}", since.elapsed());
}

#[tokio::test]
async fn a_body_that_drips_is_given_its_pauses_and_no_more() {
    let server = Server::http(|request| async move {
        let body = http_body_util::BodyExt::collect(request.into_body()).await;
        text(body.map(http_body_util::Collected::to_bytes).unwrap_or_default())
    })
    .await;
    let harness = limited(&server, Limits { body_idle: SHORT, ..Limits::default() }).await;
    let mut client = harness.client().await;
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\n").await;
    for byte in ["h", "e", "l", "l", "o"] {
        tokio::time::sleep(SHORT / 4).await;
        client.send(byte).await;
    }
    assert_eq!(client.reply().await.text(), "hello");
    client.send("POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel").await;
    client.reply().await.is_problem(408, "A0705", "http_request_error");
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn an_answer_that_nobody_reads_is_given_up() {
    let server = Server::http(|_| async { text(vec![b'x'; 20_000_000]) }).await;
    let harness = limited(&server, Limits { answer_idle: SHORT, ..Limits::default() }).await;
    let mut client = harness.client().await;
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n").await;
    let record = harness.records.nth(1).await;
    assert_eq!(record.error, Some(Kind::ClientGone));
    until("nothing is open", || harness.proxy.stats().connections == 0).await;
    drop(client);
}

#[tokio::test]
async fn a_body_longer_than_the_limit_is_refused_or_cut_off_there() {
    let server = Server::http(|request| async move {
        let body = http_body_util::BodyExt::collect(request.into_body()).await;
        text(body.map(http_body_util::Collected::to_bytes).unwrap_or_default())
    })
    .await;
    let harness = limited(&server, Limits { body_bytes: 10, ..Limits::default() }).await;
    let mut client = harness.client().await;
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\n0123456789").await;
    assert_eq!(client.reply().await.text(), "0123456789");
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 11\r\n\r\n0123456789").await;
    client.reply().await.is_problem(413, "A0723", "http_request_error");
    let mut client = harness.client().await;
    client.send("POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    client.send("5\r\n01234\r\n6\r\n012345\r\n0\r\n\r\n").await;
    client.reply().await.is_problem(413, "A0723", "http_request_error");
    assert!(client.is_closed().await);
    // The word to send it is not given to a body that will be refused.
    let mut client = harness.client().await;
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 11\r\nExpect: 100-continue\r\n\r\n").await;
    client.reply().await.is_problem(413, "A0723", "http_request_error");
}

#[tokio::test]
async fn a_client_that_leaves_while_its_request_waits_cancels_it() {
    let server = Server::raw(|mut stream| async move {
        read_head(&mut stream).await;
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await; // until the proxy hangs up
    })
    .await;
    let harness = Harness::web(server.address).await;
    let endpoint = harness.directory.upstream(&name("web")).load().ready[0].clone();
    let mut client = harness.client().await;
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n").await;
    until("it is under way", || endpoint.in_flight() == 1).await;
    // What it sends ahead does not hide that it leaves.
    client.send("GET /ahead HTTP/1.1\r\nHost: test\r\n\r\n").await;
    drop(client);
    until("it is given up", || endpoint.in_flight() == 0).await;
    let record = harness.records.nth(1).await;
    assert_eq!((record.status, record.error), (499, Some(Kind::ClientGone)));
}
