//! What one server takes upon itself.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use wire::{AllowAll, Limits};

use crate::world::{LIMIT, World, body, until};

async fn world(limits: Limits) -> World {
    World::with(limits, Arc::new(AllowAll::new("tester"))).await
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused() {
    let short = Duration::from_millis(200);
    let world = world(Limits { body_bytes: 1000, discard_wait: short, ..Limits::default() }).await;
    let answer = world.json("ListQueues", &" ".repeat(1001)).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert!(body(&answer).contains("#RequestEntityTooLargeException"), "{answer}");
    let large = world.json("ListQueues", &" ".repeat(5_000_000)).await;
    assert!(large.starts_with("HTTP/1.1 413"), "what is still underway does not break the answer: {large}");
    let chunked = "POST / HTTP/1.1\r\nhost: h\r\nconnection: close\r\nx-amz-target: AmazonSQS.ListQueues\r\n\
                   transfer-encoding: chunked\r\n\r\n";
    let answer = world.raw(format!("{chunked}400\r\n{}\r\n", " ".repeat(1024)).into_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    let fits = world.raw(format!("{chunked}2\r\n{{}}\r\n0\r\n\r\n").into_bytes()).await;
    assert!(fits.starts_with("HTTP/1.1 200"), "{fits}");
    assert_eq!(world.server.counts().too_large, 3);
    until("nothing is held", || world.server.counts().held_bytes == 0).await;
    world.end().await;
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let world = world(Limits { head_bytes: 16 * 1024, ..Limits::default() }).await;
    let answer = world
        .raw(format!("GET / HTTP/1.1\r\nhost: h\r\nx: {}\r\n\r\n", "x".repeat(17 * 1024)).into_bytes())
        .await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    world.end().await;
}

#[tokio::test]
async fn who_sends_too_slowly_is_cut_off() {
    let short = Duration::from_millis(200);
    let world =
        world(Limits { head_wait: Duration::from_secs(5), body_wait: short, ..Limits::default() }).await;
    let head = world.raw(b"POST / HTTP/1.1\r\nhost:".to_vec()).await;
    assert!(head.is_empty() || head.starts_with("HTTP/1.1 408"), "{head}");
    let begun =
        b"POST / HTTP/1.1\r\nhost: h\r\nx-amz-target: AmazonSQS.ListQueues\r\ncontent-length: 10\r\n\r\n{"
            .to_vec();
    let answer = world.raw(begun).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert_eq!(world.server.counts().incomplete, 1);
    world.end().await;
}

#[tokio::test]
async fn too_much_at_once_is_told_to_come_again() {
    let world = world(Limits { held_bytes: 100, connections: 2, ..Limits::default() }).await;
    let busy = world.json("ListQueues", &" ".repeat(101)).await;
    assert!(busy.starts_with("HTTP/1.1 403") && busy.contains("RequestThrottled;Sender"), "{busy}");
    assert_eq!(world.server.counts().busy, 1);
    until("the connection has ended", || world.server.counts().connections == 0).await;

    let silent = [TcpStream::connect(world.address).unwrap(), TcpStream::connect(world.address).unwrap()];
    until("both are there", || world.server.counts().connections == 2).await;
    let one_more = world.json("ListQueues", "{}").await;
    assert!(one_more.is_empty() || one_more.starts_with("HTTP/1.1 503"), "{one_more}");
    assert_eq!(world.server.counts().connections_refused, 1);
    drop(silent);
    until("they have left", || world.server.counts().connections == 0).await;
    assert!(world.json("ListQueues", "{}").await.starts_with("HTTP/1.1 200"));
    world.end().await;
}

#[tokio::test]
async fn a_poll_ends_when_its_client_leaves() {
    let world = world(Limits::default()).await;
    world.json("CreateQueue", r#"{"QueueName":"jobs"}"#).await;
    let input = r#"{"QueueUrl":"jobs","WaitTimeSeconds":20}"#;
    let mut leaver = TcpStream::connect(world.address).unwrap();
    write!(leaver, "POST / HTTP/1.1\r\nhost: h\r\nx-amz-target: AmazonSQS.ReceiveMessage\r\ncontent-length: {}\r\n\r\n{input}", input.len()).unwrap();
    until("the poll is under way", || world.server.counts().in_flight == 1).await;
    drop(leaver);
    until("the poll has ended", || world.server.counts().in_flight == 0).await;
    world.json("SendMessage", r#"{"QueueUrl":"jobs","MessageBody":"x"}"#).await;
    let got = world.json("ReceiveMessage", r#"{"QueueUrl":"jobs"}"#).await;
    assert!(got.contains(r#""Body":"x""#), "whoever has left took nothing along: {got}");
    world.end().await;
}

#[tokio::test]
async fn requests_on_one_connection_are_answered_in_order() {
    let world = world(Limits::default()).await;
    let request = |name: &str| {
        let input = format!(r#"{{"QueueName":"{name}"}}"#);
        format!(
            "POST / HTTP/1.1\r\nhost: h\r\nx-amz-target: AmazonSQS.CreateQueue\r\ncontent-length: {}\r\n\r\n{input}",
            input.len()
        )
    };
    let address = world.address;
    let all = request("a") + &request("b") + &request("c");
    let answers = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream.write_all(all.as_bytes()).unwrap();
        let mut text = String::new();
        let mut piece = [0; 4096];
        while text.matches("QueueUrl").count() < 3 {
            let read = stream.read(&mut piece).unwrap();
            assert!(read > 0, "{text}");
            text.push_str(std::str::from_utf8(&piece[..read]).unwrap());
        }
        text
    });
    let answers = answers.await.unwrap();
    let places: Vec<_> = ["/a\"", "/b\"", "/c\""].map(|name| answers.find(name)).to_vec();
    assert!(places.is_sorted() && places[0].is_some(), "{answers}");
    world.end().await;
}
