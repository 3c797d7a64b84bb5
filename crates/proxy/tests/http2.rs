//! HTTP/2 by prior knowledge in front, HTTP/1.1 behind.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers outside test functions

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use common::*;
use http::{Request, Version};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};

type Body = http_body_util::combinators::BoxBody<Bytes, std::io::Error>;

async fn connect(harness: &Harness) -> SendRequest<Body> {
    let io = TokioIo::new(harness.client().await.stream);
    let (sender, connection) = handshake(TokioExecutor::new(), io).await.unwrap();
    go(async move {
        let _ = connection.await;
    });
    sender
}

fn request(method: &str, path: &str, body: &'static str) -> Request<Body> {
    let body = Full::new(Bytes::from(body)).map_err(|never| match never {}).boxed();
    Request::builder().method(method).uri(format!("http://test{path}")).body(body).unwrap()
}

#[tokio::test]
async fn many_streams_share_one_connection() {
    let server = Server::http(|request| async move {
        assert_eq!(request.version(), Version::HTTP_11);
        assert_eq!(request.headers()["host"], "test");
        let path = request.uri().path().to_owned();
        let body = request.into_body().collect().await.unwrap().to_bytes();
        text(format!("{path} {}", String::from_utf8_lossy(&body)))
    })
    .await;
    let harness = Harness::web(server.address).await;
    let sender = connect(&harness).await;
    let asks = (0..50).map(|n| {
        let mut sender = sender.clone();
        async move {
            let response = sender.send_request(request("POST", &format!("/{n}"), "body")).await.unwrap();
            assert_eq!((response.status(), response.version()), (http::StatusCode::OK, Version::HTTP_2));
            let answer = response.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(answer, format!("/{n} body"));
        }
    });
    within(futures_util::future::join_all(asks)).await;
    assert_eq!(harness.proxy.stats().accepted, 1);
    assert_eq!(harness.records.nth(50).await.version, Version::HTTP_2);
}

#[tokio::test]
async fn problems_and_heads_look_the_same() {
    let server = Server::saying("0123456789").await;
    let harness = Harness::start(&web(&["GET /a"], PATIENCE)).await;
    harness.ready("web", &[server.address]);
    let mut sender = connect(&harness).await;
    let missing = within(sender.send_request(request("GET", "/b", ""))).await.unwrap();
    assert_eq!(
        (missing.status().as_u16(), &missing.headers()["content-type"]),
        (404, &"application/problem+json".parse().unwrap())
    );
    let head = within(sender.send_request(request("HEAD", "/a", ""))).await.unwrap();
    assert_eq!((head.status().as_u16(), &head.headers()["content-length"]), (200, &"10".parse().unwrap()));
    assert!(head.into_body().collect().await.unwrap().to_bytes().is_empty());
}

#[tokio::test]
async fn bodies_stream_both_ways_with_trailers() {
    let server = Server::http(|request| async move {
        assert_eq!(request.headers()["te"], "trailers");
        let frames = futures_util::StreamExt::map(request.into_body().into_data_stream(), |data| {
            data.map(Frame::data).map_err(std::io::Error::other)
        });
        let mut trailers = http::HeaderMap::new();
        trailers.insert("grpc-status", "0".parse().unwrap());
        let end = futures_util::stream::once(async { Ok(Frame::trailers(trailers)) });
        let mut answer =
            http::Response::new(BodyExt::boxed(StreamBody::new(futures_util::StreamExt::chain(frames, end))));
        answer.headers_mut().insert("trailer", "grpc-status".parse().unwrap());
        answer
    })
    .await;
    let harness = Harness::web(server.address).await;
    let mut sender = connect(&harness).await;
    let (chunks, made) = tokio::sync::mpsc::channel::<Bytes>(1);
    let body = StreamBody::new(futures_util::stream::unfold(made, |mut made| async {
        let chunk = made.recv().await?;
        Some((Ok::<_, std::io::Error>(Frame::data(chunk)), made))
    }));
    let request = Request::post("http://test/").header("te", "trailers").body(BodyExt::boxed(body)).unwrap();
    chunks.send(Bytes::from("one")).await.unwrap();
    let mut answer = within(sender.send_request(request)).await.unwrap().into_body();
    assert_eq!(within(answer.frame()).await.unwrap().unwrap().into_data().unwrap(), "one");
    chunks.send(Bytes::from("two")).await.unwrap();
    assert_eq!(within(answer.frame()).await.unwrap().unwrap().into_data().unwrap(), "two");
    drop(chunks);
    let trailers = within(answer.frame()).await.unwrap().unwrap().into_trailers().unwrap();
    assert_eq!(trailers["grpc-status"], "0");
}

#[tokio::test]
async fn a_stream_that_is_reset_cancels_its_request_alone() {
    let under_way = Arc::new(AtomicUsize::new(0));
    struct Guard(Arc<AtomicUsize>);
    impl Drop for Guard {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }
    let count = Arc::clone(&under_way);
    let server = Server::http(move |request| {
        count.fetch_add(1, Ordering::SeqCst);
        let guard = Guard(Arc::clone(&count));
        async move {
            if request.uri().path() == "/never" {
                std::future::pending::<()>().await;
            }
            drop(guard);
            text("ok")
        }
    })
    .await;
    let harness = Harness::web(server.address).await;
    let mut sender = connect(&harness).await;
    let never = sender.send_request(request("GET", "/never", ""));
    let reset = tokio::time::timeout(Duration::from_millis(200), never).await;
    assert!(reset.is_err());
    until("the service sees it", || under_way.load(Ordering::SeqCst) == 0).await;
    let fine = within(sender.send_request(request("GET", "/", ""))).await.unwrap();
    assert_eq!(fine.status(), 200);
    assert_eq!(harness.records.nth(1).await.status, 499);
}

#[tokio::test]
async fn an_answer_that_breaks_off_resets_its_stream() {
    use tokio::io::AsyncWriteExt;
    let server = Server::raw(|mut stream| async move {
        read_head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345").await.unwrap();
    })
    .await;
    let harness = Harness::web(server.address).await;
    let mut sender = connect(&harness).await;
    // The reset may overtake the head.
    if let Ok(answer) = within(sender.send_request(request("GET", "/", ""))).await {
        assert!(within(answer.into_body().collect()).await.is_err());
    }
}

#[tokio::test]
async fn chunks_that_come_together_leave_together() {
    use tokio::io::AsyncWriteExt;
    let server = Server::raw(|mut stream| async move {
        read_head(&mut stream).await;
        let chunks = "1\r\nx\r\n".repeat(2000);
        let answer = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n");
        stream.write_all(answer.as_bytes()).await.unwrap();
    })
    .await;
    let harness = Harness::web(server.address).await;
    let mut sender = connect(&harness).await;
    let mut body = within(sender.send_request(request("GET", "/", ""))).await.unwrap().into_body();
    let (mut frames, mut bytes) = (0, 0);
    while let Some(frame) = within(body.frame()).await {
        frames += 1;
        bytes += frame.unwrap().data_ref().map_or(0, Bytes::len);
    }
    assert_eq!(bytes, 2000);
    assert!(frames < 50, "a client may take {frames} frames for a flood");
}

#[tokio::test]
async fn a_client_that_answers_pings_but_does_not_read_is_cut_off() {
    let server = Server::http(|_| async move { text(vec![b'x'; 4 << 20]) }).await;
    let limits = proxy::Limits { answer_idle: Duration::from_millis(300), ..proxy::Limits::default() };
    let harness = Harness::with(&web(&["/{*rest}"], PATIENCE), limits).await;
    let endpoints = harness.ready("web", &[server.address]);
    let stream = tokio::net::TcpStream::connect(harness.gateway).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
        .timer(hyper_util::rt::TokioTimer::new())
        .keep_alive_interval(Duration::from_millis(50)) // bytes move all the time
        .keep_alive_while_idle(true)
        .handshake::<_, Body>(TokioIo::new(stream))
        .await
        .unwrap();
    go(async move { drop(connection.await) });
    let _unread = within(sender.send_request(request("GET", "/", ""))).await.unwrap();
    assert_eq!(endpoints[0].in_flight(), 1);
    until("the place is free again", || endpoints[0].in_flight() == 0).await;
    assert!(harness.records.nth(1).await.error.is_some());
}

#[tokio::test]
async fn a_shutdown_lets_streams_finish() {
    let server = Server::http(|_| async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        text("finished")
    })
    .await;
    let harness = Harness::web(server.address).await;
    let mut sender = connect(&harness).await;
    let asked = sender.send_request(request("GET", "/", ""));
    let proxy = harness.proxy.clone();
    let stats = harness.proxy.clone();
    go(async move {
        until("it is under way", || stats.stats().in_flight == 1).await;
        proxy.shutdown(PATIENCE).await;
    });
    let answer = within(asked).await.unwrap().into_body().collect().await.unwrap().to_bytes();
    assert_eq!(answer, "finished");
    until("the connection has ended", || sender.is_closed()).await;
}
