//! Bodies stream both ways, are paced by whoever is slower, and never end silently before their end.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers outside test functions

mod common;
mod h2_raw;
mod h2_service;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use common::*;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use proxy::{Kind, Limits};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

#[tokio::test]
async fn a_chunk_of_an_answer_arrives_before_the_next_one_is_made() {
    let (chunks, made) = mpsc::channel::<Bytes>(1);
    let made = Arc::new(tokio::sync::Mutex::new(Some(made)));
    let server = Server::http(move |_| {
        let made = Arc::clone(&made);
        async move {
            let made = made.lock().await.take().unwrap();
            let stream = futures_util::stream::unfold(made, |mut made| async {
                let chunk = made.recv().await?;
                Some((Ok::<_, std::io::Error>(Frame::data(chunk)), made))
            });
            http::Response::new(BodyExt::boxed(StreamBody::new(stream)))
        }
    })
    .await;
    let harness = Harness::web(server.address).await;
    let mut client = harness.client().await;
    client.send("GET /events HTTP/1.1\r\nHost: test\r\n\r\n").await;
    let head = within(read_head(&mut client.stream)).await;
    assert!(head.contains("transfer-encoding: chunked"), "{head}");
    for text in ["one", "two", "three"] {
        chunks.send(Bytes::from(text)).await.unwrap();
        assert_eq!(within(client.chunk()).await.unwrap(), text.as_bytes());
    }
    drop(chunks);
    assert_eq!(within(client.chunk()).await.unwrap(), b"");
    assert_eq!(harness.records.nth(1).await.bytes_out, 11);
}

#[tokio::test]
async fn a_chunk_of_a_request_arrives_before_the_next_one_is_sent() {
    let (seen, mut arrived) = mpsc::channel::<Bytes>(8);
    let server = Server::http(move |request| {
        let seen = seen.clone();
        async move {
            let mut body = request.into_body();
            while let Some(frame) = body.frame().await {
                seen.send(frame.unwrap().into_data().unwrap()).await.unwrap();
            }
            text("all of it")
        }
    })
    .await;
    let harness = Harness::web(server.address).await;
    let mut client = harness.client().await;
    client.send("POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    for chunk in ["1\r\na\r\n", "2\r\nbc\r\n"] {
        client.send(chunk).await;
        let sent = chunk.split("\r\n").nth(1).unwrap();
        assert_eq!(within(arrived.recv()).await.unwrap(), sent);
    }
    client.send("0\r\n\r\n").await;
    assert_eq!(client.reply().await.text(), "all of it");
    assert_eq!(harness.records.nth(1).await.bytes_in, 3);
    // The connection is fit for more.
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n").await;
    assert_eq!(client.reply().await.status, 200);
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn answer_and_request_stream_at_the_same_time() {
    let server = Server::http(|request| async move {
        let stream = request.into_body().into_data_stream();
        let frames =
            futures_util::StreamExt::map(stream, |data| data.map(Frame::data).map_err(std::io::Error::other));
        http::Response::new(BodyExt::boxed(StreamBody::new(frames)))
    })
    .await;
    let harness = Harness::web(server.address).await;
    let mut client = harness.client().await;
    client.send("POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    client.send("3\r\nabc\r\n").await;
    within(read_head(&mut client.stream)).await;
    assert_eq!(within(client.chunk()).await.unwrap(), b"abc");
    client.send("3\r\ndef\r\n").await;
    assert_eq!(within(client.chunk()).await.unwrap(), b"def");
    client.send("0\r\n\r\n").await;
    assert_eq!(within(client.chunk()).await.unwrap(), b"");
}

#[tokio::test]
async fn a_get_with_a_chunked_body_keeps_it() {
    let server =
        Server::http(|request| async move { text(request.into_body().collect().await.unwrap().to_bytes()) })
            .await;
    let harness = Harness::web(server.address).await;
    let mut client = harness.client().await;
    client
        .send("GET / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n")
        .await;
    assert_eq!(client.reply().await.text(), "hi");
}

#[tokio::test]
async fn a_large_body_goes_through_both_ways_unchanged() {
    let server =
        Server::http(|request| async move { text(request.into_body().collect().await.unwrap().to_bytes()) })
            .await;
    let harness = Harness::web(server.address).await;
    let body: Vec<u8> = (0..4_000_000u32).map(|n| (n % 251) as u8).collect();
    let stream = harness.client().await.stream;
    let (mut read, mut write) = stream.into_split();
    let sent = body.clone();
    go(async move {
        let head = format!(
            "POST / HTTP/1.1\r\nHost: test\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
            sent.len()
        );
        write.write_all(head.as_bytes()).await.unwrap();
        write.write_all(&sent).await.unwrap();
        std::future::pending::<()>().await;
    });
    let mut answer = Vec::new();
    within(read.read_to_end(&mut answer)).await.unwrap();
    let start = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    assert!(answer[start..] == body[..]);
}

#[tokio::test]
async fn a_service_that_makes_more_than_the_client_reads_is_held_back() {
    let made = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&made);
    let server = Server::raw(move |mut stream| {
        let counter = Arc::clone(&counter);
        async move {
            read_head(&mut stream).await;
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n").await.unwrap();
            while let Ok(bytes) = stream.write(&[0; 65536]).await {
                counter.fetch_add(bytes as u64, Ordering::Relaxed);
            }
        }
    })
    .await;
    let harness = Harness::web(server.address).await;
    let mut client = harness.client().await;
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n").await;
    within(read_head(&mut client.stream)).await;
    // Only what fits into socket buffers is made: it stops growing far below the whole.
    let mut before = u64::MAX;
    within(async {
        while before != made.load(Ordering::Relaxed) {
            before = made.load(Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
    assert!(before < 50_000_000, "{before}");
    drop(client);
    let record = harness.records.nth(1).await;
    assert_eq!((record.status, record.error), (200, Some(Kind::ClientGone)));
}

#[tokio::test]
async fn a_client_that_leaves_cancels_its_request() {
    let (asked, mut was_asked) = mpsc::channel(1);
    let gone = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&gone);
    let server = Server::raw(move |mut stream| {
        let (asked, seen) = (asked.clone(), Arc::clone(&seen));
        async move {
            read_head(&mut stream).await;
            asked.send(()).await.unwrap();
            let mut byte = [0];
            seen.store(matches!(stream.read(&mut byte).await, Ok(0) | Err(_)), Ordering::SeqCst);
        }
    })
    .await;
    let harness = Harness::web(server.address).await;
    let endpoint = harness.directory.upstream(&name("web")).load().ready[0].clone();
    let mut client = harness.client().await;
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n").await;
    within(was_asked.recv()).await.unwrap();
    assert_eq!(endpoint.in_flight(), 1);
    drop(client);
    until("the service sees it", || gone.load(Ordering::SeqCst)).await;
    let record = harness.records.nth(1).await;
    assert_eq!((record.status, record.error), (499, Some(Kind::ClientGone)));
    assert_eq!(endpoint.in_flight(), 0);
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_never_taken_for_whole() {
    for framing in ["Content-Length: 10", "Transfer-Encoding: chunked"] {
        for at_once in [true, false] {
            let (seen, was_seen) = tokio::sync::oneshot::channel();
            let was_seen = Arc::new(tokio::sync::Mutex::new(Some(was_seen)));
            let server = Server::raw(move |mut stream| {
                let was_seen = Arc::clone(&was_seen);
                async move {
                    read_head(&mut stream).await;
                    let part = if framing.starts_with('C') { "12345" } else { "5\r\n12345\r\n" };
                    let answer = format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n{part}");
                    stream.write_all(answer.as_bytes()).await.unwrap();
                    let _ = was_seen.lock().await.take().unwrap().await;
                }
            })
            .await;
            let harness = Harness::web(server.address).await;
            let mut client = harness.client().await;
            client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n").await;
            if at_once {
                drop(seen); // the service dies with the part: the client may not even get the head
                assert!(!client.reply().await.whole, "{framing}");
            } else {
                assert!(within(read_head(&mut client.stream)).await.starts_with("HTTP/1.1 200"));
                let mut start = [0; 5];
                within(client.stream.read_exact(&mut start)).await.unwrap();
                seen.send(()).unwrap();
                let mut rest = String::new();
                let _ = within(client.stream.read_to_string(&mut rest)).await;
                assert!(!rest.ends_with("0\r\n\r\n"), "{rest}");
            }
            let record = harness.records.nth(1).await;
            assert_eq!(record.error, Some(Kind::AnswerIncomplete));
        }
    }
}

#[tokio::test]
async fn an_answer_that_stalls_is_given_up() {
    let server = Server::raw(|mut stream| async move {
        read_head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345").await.unwrap();
        std::future::pending::<()>().await;
    })
    .await;
    let limits = Limits { answer_idle: Duration::from_millis(100), ..Limits::default() };
    let harness = Harness::with(&web(&["/"], PATIENCE), limits).await;
    harness.ready("web", &[server.address]);
    assert!(!harness.get("/").await.whole);
    assert_eq!(harness.records.nth(1).await.error, Some(Kind::AnswerStalled));
}

#[tokio::test]
async fn a_client_that_no_longer_reads_is_cut_off() {
    let server = Server::http(|_| async { text(vec![0; 50_000_000]) }).await;
    let limits = Limits { answer_idle: Duration::from_millis(300), ..Limits::default() };
    let harness = Harness::with(&web(&["/"], PATIENCE), limits).await;
    harness.ready("web", &[server.address]);
    let mut client = harness.client().await;
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n").await;
    assert_eq!(harness.records.nth(1).await.error, Some(Kind::ClientGone));
}

#[tokio::test]
async fn a_request_whose_body_stalls_is_a_408() {
    let server = Server::http(|request| async move {
        let _ = request.into_body().collect().await;
        text("")
    })
    .await;
    let limits = Limits { body_idle: Duration::from_millis(100), ..Limits::default() };
    let harness = Harness::with(&web(&["/"], PATIENCE), limits).await;
    harness.ready("web", &[server.address]);
    let mut client = harness.client().await;
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\n12345").await;
    client.reply().await.is_problem(408, "A0705", "http_request_error");
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn a_body_waits_for_the_services_word_when_the_client_expects_it() {
    // The service refuses by the head alone: the body is never asked for.
    let server = Server::raw(|mut stream| async move {
        let head = read_head(&mut stream).await;
        assert!(head.contains("Expect: 100-continue"), "{head}");
        stream.write_all(b"HTTP/1.1 413 Too Much\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    })
    .await;
    let harness = Harness::web(server.address).await;
    let expect = "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n";
    let mut client = harness.client().await;
    client.send(expect).await;
    assert_eq!(client.reply().await.status, 413);

    // The service wants it.
    let server =
        Server::http(|request| async move { text(request.into_body().collect().await.unwrap().to_bytes()) })
            .await;
    harness.ready("web", &[server.address]);
    let mut client = harness.client().await;
    client.send(expect).await;
    assert_eq!(client.reply().await.status, 100);
    client.send("abc").await;
    assert_eq!(client.reply().await.text(), "abc");

    // The service has never heard of it.
    let server = Server::raw(|mut stream| async move {
        read_head(&mut stream).await;
        let mut body = [0; 3];
        stream.read_exact(&mut body).await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n").await.unwrap();
        stream.write_all(&body).await.unwrap();
    })
    .await;
    harness.ready("web", &[server.address]);
    let mut client = harness.client().await;
    client.send(expect).await;
    assert_eq!(client.reply().await.status, 100);
    client.send("xyz").await;
    assert_eq!(client.reply().await.text(), "xyz");
}

#[tokio::test]
async fn early_hints_arrive_early_and_do_not_end_an_exchange() {
    let (go, answer) = tokio::sync::mpsc::channel::<()>(1);
    let answer = Arc::new(tokio::sync::Mutex::new(answer));
    let server = Server::raw(move |mut stream| {
        let answer = Arc::clone(&answer);
        async move {
            read_head(&mut stream).await;
            let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\nConnection: x-own\r\nX-Own: 1\r\n\r\n";
            stream.write_all(hints.as_bytes()).await.unwrap();
            answer.lock().await.recv().await.unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
        }
    })
    .await;
    let harness = Harness::web(server.address).await;
    let mut client = harness.client().await;
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n").await;
    let hints = client.reply().await;
    assert_eq!((hints.status, hints.header("link")), (103, Some("</a.css>")));
    assert_eq!((hints.header("x-own"), hints.header("connection")), (None, None));
    go.send(()).await.unwrap();
    assert_eq!(client.reply().await.text(), "ok");
    // HTTP/1.0 has no interim answers.
    go.send(()).await.unwrap();
    let mut old = harness.client().await;
    old.send("GET / HTTP/1.0\r\nHost: test\r\n\r\n").await;
    assert_eq!(old.reply().await.text(), "ok");
}

#[tokio::test]
async fn trailers_arrive_where_they_are_wanted() {
    let server = Server::raw(|mut stream| async move {
        let head = read_head(&mut stream).await;
        assert!(head.contains("te: trailers"), "{head}");
        let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n2\r\nok\r\n0\r\nx-sum: 7\r\n\r\n";
        stream.write_all(answer.as_bytes()).await.unwrap();
    })
    .await;
    let harness = Harness::web(server.address).await;
    let mut client = harness.client().await;
    client.send("GET / HTTP/1.1\r\nHost: test\r\nTE: trailers\r\nConnection: te, close\r\n\r\n").await;
    let mut answer = String::new();
    within(client.stream.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.ends_with("0\r\nx-sum: 7\r\n\r\n"), "{answer}");
}

#[tokio::test]
async fn a_long_upload_takes_its_time_and_the_services_time_begins_when_it_is_whole() {
    let server = Server::http(|request| async move {
        let path = request.uri().path().to_owned();
        let body = request.into_body().collect().await.unwrap().to_bytes();
        if path == "/never" {
            std::future::pending::<()>().await;
        }
        text(body)
    })
    .await;
    let timeout = Duration::from_millis(200);
    let harness = Harness::start(&web(&["/{*rest}"], timeout)).await;
    harness.ready("web", &[server.address]);
    for path in ["/", "/never"] {
        let mut client = harness.client().await;
        client.send(&format!("POST {path} HTTP/1.1\r\nHost: test\r\nContent-Length: 6\r\n\r\n")).await;
        for byte in ["u", "p", "l", "o", "a", "d"] {
            tokio::time::sleep(timeout / 2).await;
            client.send(byte).await;
        }
        let whole = std::time::Instant::now();
        let reply = client.reply().await;
        if path == "/" {
            assert_eq!((reply.status, reply.text()), (200, "upload"));
        } else {
            reply.is_problem(504, "A0715", "http_response_timeout");
            assert!(whole.elapsed() >= timeout / 2);
        }
    }
}

#[tokio::test]
async fn a_service_that_does_not_read_has_no_more_time_than_one_that_does_not_answer() {
    let server = Server::raw(|mut stream| async move {
        read_head(&mut stream).await;
        std::future::pending::<()>().await;
    })
    .await;
    let harness = Harness::start(&web(&["/{*rest}"], Duration::from_millis(200))).await;
    harness.ready("web", &[server.address]);
    let (mut read, mut write) = harness.client().await.stream.into_split();
    go(async move {
        let _ = write.write_all(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 100000000\r\n\r\n").await;
        while write.write_all(&[b'x'; 65536]).await.is_ok() {}
    });
    let mut answer = vec![0; 12];
    within(read.read_exact(&mut answer)).await.unwrap();
    assert_eq!(answer, b"HTTP/1.1 504");
}

#[tokio::test]
async fn a_client_that_is_still_sending_gets_its_answer_and_is_told_to_close() {
    let harness = Harness::start(&web(&["/here"], PATIENCE)).await;
    let mut client = harness.client().await;
    client.send("POST /nowhere HTTP/1.1\r\nHost: test\r\nContent-Length: 20000000\r\n\r\n").await;
    // The connection lingers: a reset would make these fail, and destroy the answer.
    for _ in 0..200 {
        within(client.stream.write_all(&[b'x'; 100_000])).await.unwrap();
    }
    let reply = client.reply().await;
    reply.is_problem(404, "A0701", "http_request_error");
    assert_eq!(reply.header("connection"), Some("close"));
    assert!(client.is_closed().await);
    drop(client);
    until("nothing is open", || harness.proxy.stats().connections == 0).await;
}

#[tokio::test]
async fn a_small_body_that_nobody_wants_costs_no_connection() {
    let harness = Harness::start(&web(&["/here"], PATIENCE)).await;
    let mut client = harness.client().await;
    for path in ["/nowhere", "/here"] {
        client.send(&format!("POST {path} HTTP/1.1\r\nHost: test\r\nContent-Length: 3\r\n\r\n")).await;
        client.send("abc").await;
        let reply = client.reply().await;
        assert_eq!(reply.status, if path == "/here" { 503 } else { 404 });
        assert_eq!(reply.header("connection"), None);
    }
    // One that waits for the word to send is not asked to.
    client.send("POST / HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n").await;
    let reply = client.reply().await;
    assert_eq!((reply.status, reply.header("connection")), (404, Some("close")));
}

#[tokio::test]
async fn trailers_of_a_request_carry_no_claims() {
    let (told, mut heard) = tokio::sync::mpsc::channel(1);
    let server = Server::raw(move |mut stream| {
        let told = told.clone();
        async move {
            read_head(&mut stream).await;
            let body = read_head(&mut stream).await; // the last chunk, then trailers up to an empty line
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
            told.send(body).await.unwrap();
        }
    })
    .await;
    let harness = Harness::web(server.address).await;
    let mut client = harness.client().await;
    client
        .send(
            "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum, x-atoll-caller\r\n\r\n\
             2\r\nok\r\n0\r\nX-Atoll-Caller: admin\r\nX-Sum: 7\r\n\r\n",
        )
        .await;
    assert_eq!(client.reply().await.status, 200);
    assert_eq!(within(heard.recv()).await.unwrap(), "2\r\nok\r\n0\r\nx-sum: 7\r\n\r\n");
}

#[tokio::test]
async fn an_answer_that_comes_before_the_request_is_whole_is_passed_on() {
    let server = Server::raw(|mut stream| async move {
        read_head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno").await.unwrap();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
    })
    .await;
    let harness = Harness::web(server.address).await;
    let mut client = harness.client().await;
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 1000000\r\n\r\n123").await;
    let reply = client.reply().await;
    assert_eq!((reply.status, reply.text()), (401, "no"));
}

/// The request's body goes on to the service while its client reads nothing of an answer that never ends. `seen`
/// counts what the service has of it, `given` what it has answered.
async fn an_upload_goes_on(harness: &Harness, seen: &AtomicU64, given: &AtomicU64) {
    let mut client = harness.client().await;
    client.send("POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n").await;
    let mut last = 0;
    until("the answer stands still", || {
        std::thread::sleep(Duration::from_millis(50));
        let now = given.load(Ordering::SeqCst);
        std::mem::replace(&mut last, now) == now && now > 0
    })
    .await;
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    for n in 1..=40 {
        client.send(&chunk).await;
        until("it arrives", || seen.load(Ordering::SeqCst) == 3 + n * 0x10000).await;
    }
}

#[tokio::test]
async fn an_upload_goes_on_while_its_client_reads_nothing_of_the_answer() {
    let (seen, given) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (count, sent) = (Arc::clone(&seen), Arc::clone(&given));
    let server = Server::http(move |request| {
        let (count, sent) = (Arc::clone(&count), Arc::clone(&sent));
        go(async move {
            let mut body = request.into_body();
            while let Some(Ok(frame)) = body.frame().await {
                count.fetch_add(frame.data_ref().map_or(0, Bytes::len) as u64, Ordering::SeqCst);
            }
        });
        async move {
            let pieces = futures_util::stream::repeat_with(move || {
                sent.fetch_add(10_000, Ordering::SeqCst);
                Ok::<_, std::io::Error>(Frame::data(Bytes::from(vec![b'x'; 10_000])))
            });
            http::Response::new(BodyExt::boxed(StreamBody::new(pieces)))
        }
    })
    .await;
    let harness = Harness::web(server.address).await;
    an_upload_goes_on(&harness, &seen, &given).await;
}

#[tokio::test]
async fn an_upload_over_http_2_goes_on_while_its_client_reads_nothing_of_the_answer() {
    let (seen, given) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (count, sent) = (Arc::clone(&seen), Arc::clone(&given));
    let server = h2_service::streams(move |(request, mut respond)| {
        let (count, sent) = (Arc::clone(&count), Arc::clone(&sent));
        async move {
            go(async move {
                let mut body = request.into_body();
                while let Some(Ok(data)) = body.data().await {
                    body.flow_control().release_capacity(data.len()).unwrap();
                    count.fetch_add(data.len() as u64, Ordering::SeqCst);
                }
            });
            let mut stream = respond.send_response(http::Response::new(()), false).unwrap();
            loop {
                stream.reserve_capacity(10_000);
                let Some(Ok(room)) = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await else {
                    return;
                };
                stream.send_data(vec![b'x'; room].into(), false).unwrap();
                sent.fetch_add(room as u64, Ordering::SeqCst);
            }
        }
    })
    .await;
    let harness = h2_service::harness(&server).await;
    an_upload_goes_on(&harness, &seen, &given).await;
}
