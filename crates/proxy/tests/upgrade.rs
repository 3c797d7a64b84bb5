//! WebSocket and other protocols after `101`.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers outside test functions

mod common;

use std::time::Duration;

use common::*;
use futures_util::{SinkExt, StreamExt};
use proxy::{Kind, Limits};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{accept_async, client_async};

async fn echo() -> Server {
    Server::raw(|stream| async move {
        let Ok(mut socket) = accept_async(stream).await else { return };
        while let Some(Ok(message)) = socket.next().await {
            if message.is_close() {
                return;
            }
            socket.send(message).await.unwrap();
        }
    })
    .await
}

#[tokio::test]
async fn a_web_socket_talks_through_the_gateway() {
    let server = echo().await;
    let harness = Harness::web(server.address).await;
    let stream = harness.client().await.stream;
    let (mut socket, response) = within(client_async("ws://test/chat", stream)).await.unwrap();
    assert_eq!(response.status(), 101);
    let big = "x".repeat(200_000);
    for text in ["hello", "again", &big] {
        within(socket.send(Message::text(text))).await.unwrap();
        assert_eq!(within(socket.next()).await.unwrap().unwrap().into_text().unwrap(), text);
    }
    let endpoint = harness.directory.upstream(&name("web")).load().ready[0].clone();
    assert_eq!(endpoint.in_flight(), 1);
    assert_eq!(harness.proxy.stats().connections, 1);
    within(socket.close(None)).await.unwrap();
    while let Some(Ok(_)) = within(socket.next()).await {}
    drop(socket);
    let record = harness.records.nth(1).await;
    assert_eq!((record.status, record.upgraded), (101, true));
    assert!(record.bytes_in > 200_000 && record.bytes_out > 200_000);
    assert_eq!(endpoint.in_flight(), 0);
    until("nothing is open", || harness.proxy.stats().connections == 0).await;
}

#[tokio::test]
async fn a_silent_tunnel_is_closed_after_its_time() {
    let server = echo().await;
    let limits = Limits { tunnel_idle: Duration::from_millis(150), ..Limits::default() };
    let harness = Harness::with(&web(&["/"], PATIENCE), limits).await;
    harness.ready("web", &[server.address]);
    let stream = harness.client().await.stream;
    let (mut socket, _) = within(client_async("ws://test/", stream)).await.unwrap();
    assert!(!matches!(within(socket.next()).await, Some(Ok(_))));
    assert_eq!(harness.records.nth(1).await.error, Some(Kind::AnswerStalled));
}

#[tokio::test]
async fn each_side_of_a_tunnel_may_end_first() {
    let server = Server::raw(|mut stream| async move {
        read_head(&mut stream).await;
        let answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nfirst";
        stream.write_all(answer.as_bytes()).await.unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).await.unwrap(); // until the client's side ends
        stream.write_all(format!(" you said {said}").as_bytes()).await.unwrap();
    })
    .await;
    let harness = Harness::web(server.address).await;
    let mut client = harness.client().await;
    client.send("GET / HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nearly").await;
    let head = within(read_head(&mut client.stream)).await;
    assert!(head.starts_with("HTTP/1.1 101") && head.contains("upgrade: echo"), "{head}");
    client.send(" words").await;
    client.stream.shutdown().await.unwrap();
    let mut said = String::new();
    within(client.stream.read_to_string(&mut said)).await.unwrap();
    assert_eq!(said, "first you said early words");
}

#[tokio::test]
async fn a_service_that_does_not_switch_just_answers() {
    let server = Server::mirror().await;
    let harness = Harness::web(server.address).await;
    let mut client = harness.client().await;
    client.send("GET / HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n").await;
    let reply = client.reply().await;
    assert_eq!((reply.status, reply.seen("upgrade")), (200, vec!["websocket".to_owned()]));
    assert_eq!(client.get("/").await.status, 200);
}

#[tokio::test]
async fn a_switch_that_nobody_asked_for_is_a_502() {
    let server = Server::raw(|mut stream| async move {
        read_head(&mut stream).await;
        let answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: odd\r\n\r\n";
        stream.write_all(answer.as_bytes()).await.unwrap();
        std::future::pending::<()>().await;
    })
    .await;
    let harness = Harness::web(server.address).await;
    let reply = harness.get("/").await;
    reply.is_problem(502, "A0719", "http_upgrade_failed");
    let mut client = harness.client().await;
    // An upgrade that is not passed on is not asked for either.
    client.send("GET / HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n").await;
    client.reply().await.is_problem(502, "A0719", "http_upgrade_failed");
}

#[tokio::test]
async fn a_tunnel_ends_with_the_proxy() {
    let server = echo().await;
    let harness = Harness::web(server.address).await;
    let stream = harness.client().await.stream;
    let (mut socket, _) = within(client_async("ws://test/", stream)).await.unwrap();
    within(harness.proxy.shutdown(Duration::from_millis(100))).await;
    assert!(!matches!(within(socket.next()).await, Some(Ok(_))));
    assert_eq!(harness.records.nth(1).await.status, 101);
}
