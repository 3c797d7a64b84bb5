//! What an exchange leaves behind is nobody else's: connections that are used again carry nothing of the one
//! before, and what frames a message is said by the proxy alone.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers outside test functions

mod common;

use std::time::Duration;

use bytes::Bytes;
use common::*;
use http::Response;
use proxy::Limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// How long a silence takes in these tests.
const SHORT: Duration = Duration::from_millis(150);

/// A service that answers each request with a head and what it announces in pieces, a moment apart.
async fn in_pieces(pieces: &'static [&'static str]) -> Server {
    Server::raw(move |mut stream| async move {
        while !read_head(&mut stream).await.is_empty() {
            for piece in pieces {
                if stream.write_all(piece.as_bytes()).await.is_err() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    })
    .await
}

#[tokio::test]
async fn an_answer_without_a_body_that_announces_one_is_the_last_on_its_connection() {
    for head in [
        "HTTP/1.1 204 No Content\r\nContent-Length: 44\r\n\r\n",
        "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n",
    ] {
        let server = in_pieces(vec![head, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"].leak()).await;
        let harness = Harness::web(server.address).await;
        let mut client = harness.client().await;
        for asked in 1..=3 {
            let reply = client.get("/").await;
            assert!([204, 304].contains(&reply.status), "{head:?}: {reply:?}");
            until("a connection of its own", || server.connections() == asked).await;
        }
    }
}

#[tokio::test]
async fn no_length_stands_where_none_may_be() {
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\nContent-Length: 7\r\n\r\n";
    let server = in_pieces(vec![hints, "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n"].leak()).await;
    let harness = Harness::web(server.address).await;
    let mut client = harness.client().await;
    let hints = client.get("/").await;
    assert_eq!(
        (hints.status, hints.header("link"), hints.header("content-length")),
        (103, Some("</a.css>"), None)
    );
    let answer = client.reply().await;
    assert_eq!((answer.status, answer.header("content-length")), (204, None));
    let stream = tokio::net::TcpStream::connect(harness.gateway).await.unwrap();
    let (mut http2, connection) = h2::client::handshake(stream).await.unwrap();
    go(async move { drop(connection.await) });
    let request = http::Request::get("http://test/").body(()).unwrap();
    let (answer, _) = http2.send_request(request, true).unwrap();
    let answer = within(answer).await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.headers().get("content-length")), (204, None));
}

#[tokio::test]
async fn trailers_of_an_answer_frame_nothing() {
    let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx-sum: 7\r\n\
                  Content-Length: 9\r\nTransfer-Encoding: chunked\r\nConnection: x-sum\r\nHost: b\r\n\r\n";
    let server = in_pieces(vec![answer].leak()).await;
    let harness = Harness::web(server.address).await;
    let mut client = harness.client().await;
    client.send("GET / HTTP/1.1\r\nHost: test\r\nTE: trailers\r\nConnection: te, close\r\n\r\n").await;
    let mut answer = String::new();
    within(client.stream.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.ends_with("2\r\nok\r\n0\r\nx-sum: 7\r\n\r\n"), "{answer}");
}

#[tokio::test]
async fn a_switch_before_the_request_is_whole_is_a_502_and_its_rest_is_no_tunnels() {
    let server = Server::raw(|mut stream| async move {
        read_head(&mut stream).await;
        let answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: odd\r\n\r\n";
        stream.write_all(answer.as_bytes()).await.unwrap();
        let _ = stream.read_to_end(&mut Vec::new()).await;
    })
    .await;
    let harness = Harness::web(server.address).await;
    for framing in ["Content-Length: 10\r\n\r\nabc", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"] {
        let mut client = harness.client().await;
        let head = "POST / HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: odd\r\n";
        client.send(&format!("{head}{framing}")).await;
        client.reply().await.is_problem(502, "A0719", "http_upgrade_failed");
    }
}

#[tokio::test]
async fn an_answer_of_http_2_that_says_its_length_in_two_ways_is_not_passed_on() {
    let server = Server::raw(|stream| async move {
        let Ok(mut connection) = h2::server::handshake(stream).await else { return };
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            let mut answer = Response::new(());
            if request.uri().path() == "/two" {
                answer.headers_mut().append("content-length", "2".parse().unwrap());
                answer.headers_mut().append("content-length", "3".parse().unwrap());
            } else {
                answer.headers_mut().append("content-length", "+2".parse().unwrap());
            }
            let _ = respond.send_response(answer, true);
        }
    })
    .await;
    let mut app = web(&["/{*rest}"], PATIENCE);
    for service in app.services.values_mut() {
        service.wire = manifest::spec::Wire::Http2;
    }
    let harness = Harness::start(&app).await;
    harness.ready("web", &[server.address]);
    for path in ["/two", "/signed"] {
        let mut client = harness.client().await;
        client.send(&format!("HEAD {path} HTTP/1.1\r\nHost: test\r\n\r\n")).await;
        let reply = client.reply_to_head().await;
        assert_eq!((reply.status, reply.headers("content-length").len()), (502, 1), "{reply:?}");
    }
}

/// A client that has said all it has to say for now, and listens: an answer that goes on is not cut off.
#[tokio::test]
async fn a_client_may_be_silent_for_as_long_as_it_is_answered() {
    let limits = || Limits { body_idle: SHORT, ..Limits::default() };
    let server = Server::raw(|mut stream| async move {
        read_head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await.unwrap();
        for _ in 0..10 {
            tokio::time::sleep(SHORT / 3).await;
            stream.write_all(b"4\r\nnews\r\n").await.unwrap();
        }
        stream.write_all(b"0\r\n\r\n").await.unwrap();
    })
    .await;
    let harness = Harness::with(&web(&["/{*rest}"], PATIENCE), limits()).await;
    harness.ready("web", &[server.address]);
    let mut client = harness.client().await;
    client.send("POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n").await;
    let reply = client.reply().await;
    assert!(reply.whole && reply.body.len() == 40, "{reply:?}");

    let server = Server::raw(|stream| async move {
        let Ok(mut connection) = h2::server::handshake(stream).await else { return };
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            go(async move {
                let mut answer = respond.send_response(Response::new(()), false).unwrap();
                for _ in 0..10 {
                    tokio::time::sleep(SHORT / 3).await;
                    let _ = answer.send_data(Bytes::from_static(b"news"), false);
                }
                let _ = answer.send_data(Bytes::new(), true);
                drop(request);
            });
        }
    })
    .await;
    let mut app = web(&["/{*rest}"], PATIENCE);
    for service in app.services.values_mut() {
        service.wire = manifest::spec::Wire::Http2;
    }
    let harness = Harness::with(&app, limits()).await;
    harness.ready("web", &[server.address]);
    let stream = tokio::net::TcpStream::connect(harness.gateway).await.unwrap();
    let (mut http2, connection) = h2::client::handshake(stream).await.unwrap();
    go(async move { drop(connection.await) });
    let request = http::Request::post("http://test/").body(()).unwrap();
    let (answer, mut asking) = http2.send_request(request, false).unwrap();
    asking.send_data(Bytes::from_static(b"watch"), false).unwrap();
    let mut news = within(answer).await.unwrap().into_body();
    let mut bytes = 0;
    while let Some(data) = within(news.data()).await {
        let data = data.expect("the answer goes on");
        let _ = news.flow_control().release_capacity(data.len());
        bytes += data.len();
    }
    assert_eq!(bytes, 40);
}
