//! Requests that two servers on a path would read in different ways (RFC 9112 §11.2, RFC 9110 §17.15), and
//! answers that would be given to somebody else (§11.1). Each form by its name: it is refused whole, as a
//! problem, its connection ends, and nothing of what follows it reaches a service.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers outside test functions

mod common;

use std::sync::{Arc, Mutex};

use common::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// What a service was asked, and with which body.
type Seen = Arc<Mutex<Vec<(String, Vec<u8>)>>>;

/// A service that reads as hyper does.
async fn service() -> (Server, Seen) {
    let seen = Seen::default();
    let told = Arc::clone(&seen);
    let server = Server::http(move |request| {
        let told = Arc::clone(&told);
        async move {
            let (parts, body) = request.into_parts();
            let what = format!("{} {} host={:?}", parts.method, parts.uri, parts.headers.get("host"));
            if let Ok(body) = http_body_util::BodyExt::collect(body).await {
                told.lock().unwrap().push((what, body.to_bytes().to_vec()));
            }
            text("ok")
        }
    })
    .await;
    (server, seen)
}

/// Sends bytes and an ordinary request after them, and says what came back until the connection ended, and
/// what the service saw.
async fn try_it(bytes: &[u8]) -> (String, Vec<(String, Vec<u8>)>) {
    let (server, seen) = service().await;
    let harness = Harness::web(server.address).await;
    let mut client = harness.client().await;
    let _ = client.stream.write_all(bytes).await;
    let _ = client.stream.write_all(b"GET /smuggled HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    let mut answers = Vec::new();
    let _ = within(client.stream.read_to_end(&mut answers)).await;
    let seen = seen.lock().unwrap().clone();
    (String::from_utf8_lossy(&answers).into_owned(), seen)
}

/// Nothing but one refusal comes back, and a service hears nothing.
async fn is_refused(name: &str, bytes: &[u8]) {
    let (answers, seen) = try_it(bytes).await;
    let shown = bytes.escape_ascii();
    assert!(answers.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{name}: {shown}: {answers}");
    assert!(answers.contains("connection: close\r\n"), "{name}: {shown}: {answers}");
    assert!(answers.contains(r#""code":"A0703""#), "{name}: {shown}: {answers}");
    assert_eq!(answers.matches("HTTP/1.1 ").count(), 1, "{name}: {shown}: {answers}");
    assert!(seen.is_empty(), "{name}: {shown}: {seen:?}");
}

/// A request with these lines and a body that is one as chunks and one by length.
fn post(lines: &str) -> Vec<u8> {
    format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\n5\r\nhello\r\n0\r\n\r\n").into_bytes()
}

#[tokio::test]
async fn a_length_and_a_transfer_coding_together_are_refused() {
    is_refused("CL.TE", &post("Content-Length: 6\r\nTransfer-Encoding: chunked")).await;
    is_refused("TE.CL", &post("Transfer-Encoding: chunked\r\nContent-Length: 4")).await;
    is_refused("CL.TE in other cases", &post("content-LENGTH: 6\r\ntransfer-ENCODING: CHUNKED")).await;
    is_refused("CL.TE, empty length", &post("Content-Length:\r\nTransfer-Encoding: chunked")).await;
    is_refused("CL.TE with a coding nobody knows", &post("Content-Length: 5\r\nTransfer-Encoding: x")).await;
}

#[tokio::test]
async fn a_transfer_coding_in_disguise_is_refused() {
    for (name, line) in [
        ("space before the colon", "Transfer-Encoding : chunked"),
        ("tab before the colon", "Transfer-Encoding\t: chunked"),
        ("vertical tab", "Transfer-Encoding: \x0bchunked"),
        ("form feed", "Transfer-Encoding: \x0cchunked"),
        ("NUL", "Transfer-Encoding: chunked\0"),
        ("a list", "Transfer-Encoding: chunked, identity"),
        ("a list that ends well", "Transfer-Encoding: identity, chunked"),
        ("gzip first", "Transfer-Encoding: gzip, chunked"),
        ("chunked twice", "Transfer-Encoding: chunked, chunked"),
        ("an empty member", "Transfer-Encoding: ,chunked"),
        ("another name", "Transfer-Encoding: xchunked"),
        ("an end", "Transfer-Encoding: chunkedx"),
        ("quoted", "Transfer-Encoding: \"chunked\""),
        ("a parameter", "Transfer-Encoding: chunked;a=b"),
        ("identity", "Transfer-Encoding: identity"),
        ("empty", "Transfer-Encoding:"),
        ("two lines", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
        ("two lines that differ", "Transfer-Encoding: chunked\r\nTransfer-encoding: x"),
        ("folded name", "Transfer-\r\n Encoding: chunked"),
        ("folded value", "Transfer-Encoding:\r\n chunked"),
        ("folded with a tab", "X: 1\r\n\tTransfer-Encoding: chunked"),
        ("after a bare line feed", "X: 1\nTransfer-Encoding: chunked"),
        ("after a bare carriage return", "X: 1\rTransfer-Encoding: chunked"),
        ("no name", ": chunked"),
        ("space in the name", "Transfer Encoding: chunked\r\nTransfer-Encoding: chunked"),
        ("space at the start", " Transfer-Encoding: chunked"),
    ] {
        is_refused(name, &post(line)).await;
    }
    is_refused("HTTP/1.0", b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
        .await;
}

#[tokio::test]
async fn a_length_that_can_be_read_in_two_ways_is_refused() {
    for (name, line) in [
        ("two that differ", "Content-Length: 5\r\nContent-Length: 6"),
        ("two that are the same", "Content-Length: 5\r\nContent-Length: 5"),
        ("a list that differs", "Content-Length: 5, 6"),
        ("a list of the same", "Content-Length: 5, 5"),
        ("a list without spaces", "Content-Length: 5,5"),
        ("plus", "Content-Length: +5"),
        ("minus", "Content-Length: -5"),
        ("two numbers", "Content-Length: 5 5"),
        ("hexadecimal", "Content-Length: 0x5"),
        ("a letter", "Content-Length: 5a"),
        ("a fraction", "Content-Length: 5.0"),
        ("an exponent", "Content-Length: 5e0"),
        ("an underscore", "Content-Length: 1_0"),
        ("empty", "Content-Length: "),
        ("other digits", "Content-Length: \u{665}"),
        ("vertical tab", "Content-Length: \x0b5"),
        ("space before the colon", "Content-Length : 5"),
        ("beyond 64 bits", "Content-Length: 18446744073709551621"),
        ("beyond 63 bits", "Content-Length: 9223372036854775808"),
        ("many zeros", "Content-Length: 0000000000000000000000005"),
        ("folded", "Content-Length: 5\r\n 0"),
    ] {
        is_refused(name, &post(line)).await;
    }
}

#[tokio::test]
async fn lines_that_end_or_begin_oddly_are_refused() {
    for (name, text) in [
        ("bare line feed after the first line", "GET / HTTP/1.1\nHost: a\r\n\r\n"),
        ("bare line feeds alone", "GET / HTTP/1.1\nHost: a\n\n"),
        ("bare line feed at the end", "GET / HTTP/1.1\r\nHost: a\r\n\n"),
        ("bare line feed before", "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("bare carriage return in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: 1\r2\r\n\r\n"),
        ("bare carriage return in a name", "GET / HTTP/1.1\r\nHost: a\r\nX\rY: 1\r\n\r\n"),
        ("carriage return twice", "GET / HTTP/1.1\r\r\nHost: a\r\n\r\n"),
        ("NUL in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n"),
        ("NUL in a name", "GET / HTTP/1.1\r\nHost: a\r\nX\0: 1\r\n\r\n"),
        ("NUL in the target", "GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("a control character", "GET / HTTP/1.1\r\nHost: a\r\nX: \x01\r\n\r\n"),
        ("a folded line", "GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n 2\r\n\r\n"),
        ("a folded first line", "GET / HTTP/1.1\r\n Host: a\r\nHost: a\r\n\r\n"),
        ("space in a name", "GET / HTTP/1.1\r\nHost: a\r\nX Y: 1\r\n\r\n"),
        ("no colon", "GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n"),
        ("empty lines before", "\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("space before the method", " GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("two spaces", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("a tab", "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("a second target", "GET / /b HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("space at the end", "GET / HTTP/1.1 \r\nHost: a\r\n\r\n"),
    ] {
        is_refused(name, text.as_bytes()).await;
    }
}

#[tokio::test]
async fn versions_that_are_not_spoken_are_refused() {
    for (name, text) in [
        ("0.9", "GET /\r\n\r\n"),
        ("0.9 by name", "GET / HTTP/0.9\r\nHost: a\r\n\r\n"),
        ("1.2", "GET / HTTP/1.2\r\nHost: a\r\n\r\n"),
        ("2.0", "GET / HTTP/2.0\r\nHost: a\r\n\r\n"),
        ("2", "GET / HTTP/2\r\nHost: a\r\n\r\n"),
        ("3.0", "GET / HTTP/3.0\r\nHost: a\r\n\r\n"),
        ("1.10", "GET / HTTP/1.10\r\nHost: a\r\n\r\n"),
        ("lower case", "GET / http/1.1\r\nHost: a\r\n\r\n"),
        ("none", "GET / HTTP/\r\nHost: a\r\n\r\n"),
        ("half a preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSN\r\n\r\n"),
    ] {
        is_refused(name, text.as_bytes()).await;
    }
}

#[tokio::test]
async fn a_host_that_is_not_one_is_refused_and_of_two_claims_the_target_counts() {
    for (name, lines) in [
        ("none", "X: 1"),
        ("two", "Host: a\r\nHost: b"),
        ("two of the same", "Host: a\r\nHost: a"),
        ("a space", "Host: a b"),
        ("a user", "Host: x@a"),
        ("a list", "Host: a, b"),
        ("a path", "Host: a/b"),
        ("a port that is none", "Host: a:x"),
    ] {
        is_refused(name, format!("GET / HTTP/1.1\r\n{lines}\r\n\r\n").as_bytes()).await;
    }
    let (answers, seen) =
        try_it(b"GET http://real/x HTTP/1.1\r\nHost: other\r\nConnection: close\r\n\r\n").await;
    assert!(answers.starts_with("HTTP/1.1 200"), "{answers}");
    assert_eq!(seen, [(r#"GET /x host=Some("real")"#.to_owned(), Vec::new())]);
}

#[tokio::test]
async fn connection_hides_nothing_from_the_service_that_frames_addresses_or_vouches_for_a_message() {
    for name in [
        "Content-Length",
        "Host",
        "Transfer-Encoding",
        "Trailer",
        "Cookie",
        "Authorization",
        "X-Atoll-Subject",
        "X-Forwarded-For",
        "x-forwarded-prefix",
        "X-Request-Id",
        "traceparent",
        "X_Forwarded_For",
    ] {
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\nConnection: close, {name}\r\n");
        is_refused(name, format!("{head}Content-Length: 5\r\n\r\nhello").as_bytes()).await;
        is_refused(name, format!("{head}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n").as_bytes()).await;
    }
    let own = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close, X-Mine\r\nX-Mine: 1\r\n\r\n";
    let (answers, seen) = try_it(own).await;
    assert!(answers.starts_with("HTTP/1.1 200"), "{answers}");
    assert_eq!(seen.len(), 1);
}

#[tokio::test]
async fn what_follows_the_last_request_is_not_one() {
    let (answers, seen) = try_it(b"GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert_eq!((answers.matches("HTTP/1.1 ").count(), seen.len()), (1, 1), "{answers}");
    let (answers, seen) = try_it(b"GET /last HTTP/1.0\r\nHost: a\r\n\r\n").await;
    assert_eq!((answers.matches("HTTP/1.").count(), seen.len()), (1, 1), "{answers}");
}

#[tokio::test]
async fn what_follows_a_body_by_its_length_is_the_next_request_and_nothing_else_is() {
    let body = "GET /inner HTTP/1.1\r\nHost: a\r\n\r\n";
    let one = format!("POST /one HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let (answers, seen) = try_it(one.as_bytes()).await;
    assert_eq!(answers.matches("HTTP/1.1 200").count(), 2, "{answers}");
    let paths: Vec<&str> = seen.iter().map(|(what, _)| what.as_str()).collect();
    assert_eq!(paths, [r#"POST /one host=Some("a")"#, r#"GET /smuggled host=Some("a")"#]);
    assert_eq!(seen[0].1, body.as_bytes());
}

#[tokio::test]
async fn a_pipelined_request_that_is_refused_ends_the_connection_after_the_answers_before_it() {
    let first = "GET /first HTTP/1.1\r\nHost: a\r\n\r\n";
    for bad in [
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET / HTTP/1.1\nHost: a\n\n",
        "\0",
    ] {
        let (answers, seen) = try_it(format!("{first}{bad}").as_bytes()).await;
        assert!(answers.starts_with("HTTP/1.1 200"), "{answers}");
        assert_eq!(answers.matches("HTTP/1.1 400").count(), 1, "{answers}");
        assert_eq!(seen.len(), 1, "{bad:?}: {seen:?}");
    }
}

#[tokio::test]
async fn bad_chunks_end_the_connection_and_no_service_takes_their_body_for_whole() {
    for (name, chunks) in [
        ("0x", "0x5\r\nhello\r\n0\r\n\r\n"),
        ("plus", "+5\r\nhello\r\n0\r\n\r\n"),
        ("minus", "-5\r\nhello\r\n0\r\n\r\n"),
        ("space after", "5 \r\nhello\r\n0\r\n\r\n"),
        ("space before", " 5\r\nhello\r\n0\r\n\r\n"),
        ("tab", "5\t\r\nhello\r\n0\r\n\r\n"),
        ("empty", "\r\nhello\r\n0\r\n\r\n"),
        ("seventeen digits", "00000000000000005\r\nhello\r\n0\r\n\r\n"),
        ("overflow", "10000000000000005\r\nhello\r\n0\r\n\r\n"),
        ("no digit", "g\r\nhello\r\n0\r\n\r\n"),
        ("bare line feeds", "5\nhello\n0\n\n"),
        ("bare line feed after the size", "5\nhello\r\n0\r\n\r\n"),
        ("bare carriage return after the size", "5\rhello\r\n0\r\n\r\n"),
        ("no end of the chunk", "5\r\nhello0\r\n\r\n"),
        ("a longer chunk", "5\r\nhello!\r\n0\r\n\r\n"),
        ("bare line feed after the data", "5\r\nhello\n0\r\n\r\n"),
        ("line feed in an extension", "5;a\nb\r\nhello\r\n0\r\n\r\n"),
        ("NUL in an extension", "5;a\0\r\nhello\r\n0\r\n\r\n"),
        ("carriage return in an extension", "5;a\rb\r\nhello\r\n0\r\n\r\n"),
        ("folded trailer", "0\r\nX: 1\r\n 2\r\n\r\n"),
        ("trailer without a colon", "0\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("trailer with a bare line feed", "0\r\nX: 1\n\r\n"),
        ("bare line feed at the end", "5\r\nhello\r\n0\r\n\n"),
    ] {
        let request = format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}");
        let (answers, seen) = try_it(request.as_bytes()).await;
        assert!(answers.starts_with("HTTP/1.1 400"), "{name}: {answers}");
        assert_eq!(answers.matches("HTTP/1.1 ").count(), 1, "{name}: {answers}");
        assert!(seen.is_empty(), "{name}: {seen:?}");
    }
    let long = format!("1;{}\r\nx\r\n", "e".repeat(4000)).repeat(5);
    let request = format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{long}0\r\n\r\n");
    let (answers, seen) = try_it(request.as_bytes()).await;
    assert!(answers.starts_with("HTTP/1.1 400") && seen.is_empty(), "{answers}");
}

#[tokio::test]
async fn a_chunked_body_is_passed_on_as_what_it_holds() {
    let chunks = "5;name=\"value\"\r\nhello\r\n00001\r\n!\r\n0;x\r\nX-Sum: 1\r\nContent-Length: 99\r\n\r\n";
    let request = format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}");
    let (answers, seen) = try_it(request.as_bytes()).await;
    assert_eq!(answers.matches("HTTP/1.1 200").count(), 2, "{answers}");
    assert_eq!(seen[0].1, b"hello!");
    assert_eq!(seen.len(), 2);
}

/// A service that says these bytes to whatever it is asked, once per connection.
async fn liar(answer: &'static str) -> Server {
    Server::raw(move |mut stream| async move {
        read_head(&mut stream).await;
        let _ = stream.write_all(answer.as_bytes()).await;
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
    })
    .await
}

#[tokio::test]
async fn an_answer_that_contradicts_itself_is_not_passed_on() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok!",
        "HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nok",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding : chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: 1\n\r\nok",
        "HTTP/1.1 200 OK\r\nX: 1\r\n folded\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nX: a\rb\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\nok",
        "HTTP/1.2 200 OK\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\nok",
        "\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        "\x15\x03\x03\x00\x02\x02",
    ] {
        let server = liar(answer).await;
        let harness = Harness::web(server.address).await;
        let reply = harness.get("/").await;
        assert_eq!(reply.status, 502, "{answer:?}: {reply:?}");
        reply.is_problem(502, "A0716", "http_protocol_error");
    }
}

#[tokio::test]
async fn an_answer_in_bad_chunks_is_cut_and_never_taken_for_whole() {
    for chunks in [
        "2 \r\nok\r\n0\r\n\r\n",
        "0x2\r\nok\r\n0\r\n\r\n",
        "2\r\nokk\r\n0\r\n\r\n",
        "2\r\nok\r\n0\r\nX : 1\r\n\r\n",
        "2\nok\n0\n\n",
    ] {
        let answer = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}");
        let server = liar(Box::leak(answer.into_boxed_str())).await;
        let harness = Harness::web(server.address).await;
        let reply = harness.get("/").await;
        assert!(reply.status != 200 || !reply.whole, "{chunks:?}: {reply:?}");
    }
}

#[tokio::test]
async fn bytes_behind_an_answer_are_nobodys_answer() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison",
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 6\r\n\r\npoison",
        "HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison",
    ] {
        let server = liar(answer).await;
        let harness = Harness::web(server.address).await;
        for _ in 0..3 {
            let reply = harness.get("/").await;
            assert!(!reply.text().contains("poison"), "{answer:?}: {reply:?}");
            assert!([200, 204, 304].contains(&reply.status), "{reply:?}");
        }
        assert_eq!(server.connections(), 3, "{answer:?}");
    }
}

#[tokio::test]
async fn an_answer_to_head_has_no_body_whatever_it_says() {
    let server = liar("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison").await;
    let harness = Harness::web(server.address).await;
    let mut client = harness.client().await;
    for _ in 0..2 {
        client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let reply = client.reply_to_head().await;
        assert_eq!((reply.status, reply.header("content-length")), (200, Some("6")));
    }
}
