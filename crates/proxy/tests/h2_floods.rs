//! Clients of HTTP/2 that ask too much of the proxy's patience, and busy ones that do not.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers outside test functions

mod common;
mod h2_raw;

use std::time::Duration;

use common::*;
use h2_raw::*;
use proxy::Limits;
use proxy::limits::Http2;

const CALM: Verdict = Verdict::GoAway(ENHANCE_YOUR_CALM);

async fn harness(limits: Limits) -> (Server, Harness) {
    let server = Server::saying("fine").await;
    let harness = Harness::with(&web(&["/{*rest}"], PATIENCE), limits).await;
    harness.ready("web", &[server.address]);
    (server, harness)
}

/// A service that never answers.
async fn silent(limits: Limits) -> Harness {
    let server = Server::http(|_| std::future::pending()).await;
    let harness = Harness::with(&web(&["/{*rest}"], PATIENCE), limits).await;
    harness.ready("web", &[server.address]);
    harness
}

/// Others are served while, and after, somebody was sent away.
async fn still_serves(harness: &Harness) {
    let mut raw = Raw::connect(harness.gateway).await;
    raw.headers(1, END_STREAM, &GET).await;
    assert_eq!(raw.verdict(1).await, Verdict::Answer(200, "fine".to_owned()));
}

/// Sends the same bytes until the proxy has had enough. How many times.
async fn flood(raw: Raw, bytes: &[u8], most: usize) -> (usize, Verdict) {
    let (mut reading, mut writing) = tokio::io::split(raw.stream);
    let writer = async {
        let mut sent = 0;
        while sent < most && tokio::io::AsyncWriteExt::write_all(&mut writing, bytes).await.is_ok() {
            sent += 1;
        }
        sent
    };
    let reader = async {
        let mut all = Vec::new();
        let _ = tokio::io::AsyncReadExt::read_to_end(&mut reading, &mut all).await;
        last_words(&all)
    };
    within(async { tokio::join!(writer, reader) }).await
}

/// The code of the GOAWAY among frames.
fn last_words(mut bytes: &[u8]) -> Verdict {
    let mut verdict = Verdict::Closed;
    while bytes.len() >= 9 {
        let size = u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]]) as usize;
        if bytes[3] == GOAWAY && bytes.len() >= 17 {
            verdict = Verdict::GoAway(u32::from_be_bytes(bytes[13..17].try_into().unwrap()));
        }
        bytes = bytes.get(9 + size..).unwrap_or_default();
    }
    verdict
}

#[tokio::test]
async fn streams_that_are_reset_before_they_are_looked_at_end_the_connection() {
    let (_server, harness) = harness(Limits::default()).await;
    let raw = Raw::connect(harness.gateway).await;
    let mut burst = Vec::new();
    for n in 0..2000u32 {
        burst.extend(frame(HEADERS, END_HEADERS | END_STREAM, 2 * n + 1, &block(&GET)));
        burst.extend(frame(RST_STREAM, 0, 2 * n + 1, &CANCEL.to_be_bytes()));
    }
    let (_, verdict) = flood(raw, &burst, 1).await;
    assert!(matches!(verdict, CALM | Verdict::Closed), "{verdict:?}");
    until("nothing is left of it", || harness.proxy.stats().in_flight == 0).await;
    still_serves(&harness).await;
}

#[tokio::test]
async fn streams_that_are_begun_and_reset_one_after_another_end_the_connection() {
    let http2 = Http2 { resets: 20, ..Http2::default() };
    let harness = silent(Limits { http2, ..Limits::default() }).await;
    let mut raw = Raw::connect(harness.gateway).await;
    for n in 0..21u32 {
        raw.headers(2 * n + 1, END_STREAM, &GET).await;
        let under_way = || harness.proxy.stats().in_flight;
        until("it has begun", || under_way() == 1).await;
        raw.frame(RST_STREAM, 0, 2 * n + 1, &CANCEL.to_be_bytes()).await;
        until("it has ended", || under_way() == 0).await;
    }
    assert_eq!(raw.end().await, CALM);
}

#[tokio::test]
async fn somebody_who_cancels_a_few_of_many_is_left_in_peace() {
    let http2 = Http2 { resets: 5, ..Http2::default() };
    let (_server, harness) = harness(Limits { http2, ..Limits::default() }).await;
    let mut raw = Raw::connect(harness.gateway).await;
    for n in 0..40u32 {
        raw.headers(2 * n + 1, END_STREAM, &GET).await;
        if n % 4 == 0 {
            raw.frame(RST_STREAM, 0, 2 * n + 1, &CANCEL.to_be_bytes()).await;
        } else {
            assert_eq!(raw.verdict(2 * n + 1).await, Verdict::Answer(200, "fine".to_owned()));
        }
    }
}

#[tokio::test]
async fn a_head_without_end_is_cut_off() {
    let (server, harness) = harness(Limits::default()).await;
    let mut raw = Raw::connect(harness.gateway).await;
    raw.frame(HEADERS, END_STREAM, 1, &block(&GET)).await;
    // Small ones, empty ones and big ones.
    let value = [b'v'; 4000];
    let small = frame(CONTINUATION, 0, 1, &block(&[(b"x", b"y")]));
    let big = frame(CONTINUATION, 0, 1, &block(&[(b"x", &value)]));
    let empty = frame(CONTINUATION, 0, 1, &[]);
    for (what, most) in [(small, 40_000), (empty, 40_000), (big, 1000)] {
        let mut raw = Raw::connect(harness.gateway).await;
        raw.frame(HEADERS, END_STREAM, 1, &block(&GET)).await;
        let (sent, verdict) = flood(raw, &what, most).await;
        assert!(verdict != Verdict::GoAway(0), "{verdict:?}");
        assert!(sent < most, "{sent}");
    }
    assert_eq!(server.connections(), 0);
    still_serves(&harness).await;
}

#[tokio::test]
async fn a_head_that_is_too_long_is_answered_431() {
    let (_server, harness) = harness(Limits::default()).await;
    let long = vec![b'v'; 17 * 1024]; // more than a head may have, within one frame's reach with its second half
    let mut raw = Raw::connect(harness.gateway).await;
    let whole = block(&[GET.as_slice(), &[(b"x", &long)]].concat());
    raw.frame(HEADERS, END_STREAM, 1, &whole[..16_000]).await;
    raw.frame(CONTINUATION, END_HEADERS, 1, &whole[16_000..]).await;
    assert!(matches!(raw.verdict(1).await, Verdict::Answer(431, problem) if problem.contains("A0704")));
    // Far too long: in short.
    let longer = vec![b'v'; 40 * 1024];
    let whole = block(&[GET.as_slice(), &[(b"x", &longer)]].concat());
    let mut raw = Raw::connect(harness.gateway).await;
    raw.frame(HEADERS, END_STREAM, 1, &whole[..16_000]).await;
    raw.frame(CONTINUATION, 0, 1, &whole[16_000..32_000]).await;
    raw.frame(CONTINUATION, END_HEADERS, 1, &whole[32_000..]).await;
    assert!(matches!(raw.verdict(1).await, Verdict::Answer(431, _)));
}

#[tokio::test]
async fn more_lines_than_a_head_may_have_are_answered_431() {
    let (_server, harness) = harness(Limits::default()).await;
    let mut raw = Raw::connect(harness.gateway).await;
    let names: Vec<String> = (0..101).map(|n| format!("x-{n}")).collect();
    let mut fields = GET.to_vec();
    fields.extend(names.iter().map(|name| (name.as_bytes(), &b"v"[..])));
    raw.headers(1, END_STREAM, &fields).await;
    assert!(matches!(raw.verdict(1).await, Verdict::Answer(431, _)));
}

#[tokio::test]
async fn frames_that_carry_nothing_end_the_connection() {
    let (_server, harness) = harness(Limits::default()).await;
    let nothing = [
        ("pings", frame(PING, 0, 0, &[0; 8])),
        ("settings", frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100])),
        ("priorities", frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 1])),
        ("unknown frames", frame(0x42, 0, 0, &[0; 100])),
    ];
    for (what, bytes) in nothing {
        let many = bytes.repeat(1000);
        let raw = Raw::connect(harness.gateway).await;
        let most = 3 * 1024 * 1024 / many.len();
        let (_, verdict) = flood(raw, &many, most).await;
        assert!(matches!(verdict, CALM | Verdict::Closed), "{what}: {verdict:?}");
    }
    still_serves(&harness).await;
}

#[tokio::test]
async fn empty_pieces_of_a_body_end_the_connection() {
    let harness = silent(Limits::default()).await;
    let mut raw = Raw::connect(harness.gateway).await;
    raw.headers(1, 0, &POST).await;
    let many = frame(DATA, 0, 1, &[]).repeat(1000);
    let (sent, verdict) = flood(raw, &many, 1000).await;
    assert!(matches!(verdict, CALM | Verdict::Closed), "{verdict:?} after {sent}");
    until("nothing is left of it", || harness.proxy.stats().in_flight == 0).await;
}

#[tokio::test]
async fn short_messages_may_fill_the_window_of_a_stream_and_single_bytes_may_not() {
    let server = Server::http(|request| async move {
        match request.method().as_str() {
            "GET" => text("fine"),
            _ => std::future::pending().await,
        }
    })
    .await;
    // The service is waited for before anything of a body is read.
    let limits = Limits { expect: Duration::from_secs(60), ..Limits::default() };
    let harness = Harness::with(&web(&["/{*rest}"], PATIENCE), limits).await;
    harness.ready("web", &[server.address]);
    let post = [POST.as_slice(), &[(b"expect", b"100-continue")]].concat();
    let window = Http2::default().stream_window as usize;
    let begin = async || {
        let mut raw = Raw::connect(harness.gateway).await;
        raw.headers(1, END_STREAM, &GET).await; // after which both know of the windows
        assert_eq!(raw.verdict(1).await, Verdict::Answer(200, "fine".to_owned()));
        raw.headers(3, 0, &post).await;
        raw
    };
    let mut raw = begin().await;
    assert!(raw.send(&frame(DATA, 0, 3, &[0; 16]).repeat(window / 16)).await);
    raw.headers(5, END_STREAM, &GET).await;
    assert_eq!(raw.verdict(5).await, Verdict::Answer(200, "fine".to_owned()));
    let (_, verdict) = flood(begin().await, &frame(DATA, 0, 3, &[0]).repeat(1000), window / 1000).await;
    assert!(matches!(verdict, CALM | Verdict::Closed), "{verdict:?}");
}

#[tokio::test]
async fn one_stream_more_than_allowed_is_refused_alone() {
    let harness = silent(Limits { streams: 3, ..Limits::default() }).await;
    let mut raw = Raw::connect(harness.gateway).await;
    for n in 0..4 {
        raw.headers(2 * n + 1, END_STREAM, &GET).await;
    }
    assert_eq!(raw.verdict(7).await, Verdict::Reset(REFUSED_STREAM));
    until("the others are under way", || harness.proxy.stats().in_flight == 3).await;
}

#[tokio::test]
async fn a_client_that_says_nothing_or_half_of_it_is_closed() {
    let limits = Limits { header_read: Duration::from_millis(200), ..Limits::default() };
    let (_server, harness) = harness(limits).await;
    for begun in [&b""[..], b"P", b"PRI * HTTP/2.0\r\n\r\nSM", PREFACE] {
        let mut client = harness.client().await;
        tokio::io::AsyncWriteExt::write_all(&mut client.stream, begun).await.unwrap();
        let mut all = Vec::new();
        let _ = within(tokio::io::AsyncReadExt::read_to_end(&mut client.stream, &mut all)).await;
    }
}

#[tokio::test]
async fn a_connection_that_answers_no_ping_is_closed_and_one_that_does_is_kept() {
    let http2 = Http2 { ping: Duration::from_millis(100), ..Http2::default() };
    let limits = Limits { http2, header_read: Duration::from_millis(300), ..Limits::default() };
    let harness = silent(limits).await;
    let mut rude = Raw::connect(harness.gateway).await;
    rude.polite = false;
    rude.headers(1, END_STREAM, &GET).await;
    let mut polite = Raw::connect(harness.gateway).await;
    polite.headers(1, END_STREAM, &GET).await;
    until("both are under way", || harness.proxy.stats().in_flight == 2).await;
    let end = async {
        tokio::select! {
            end = rude.end() => assert_eq!(end, Verdict::Closed),
            end = polite.end() => panic!("{end:?}"),
        }
    };
    end.await;
    until("its request is given up", || harness.proxy.stats().in_flight == 1).await;
}

#[tokio::test]
async fn a_client_that_reads_an_answer_slowly_is_there_whether_it_answers_pings_or_not() {
    const SIZE: usize = 32 << 20;
    let server = Server::http(|_| async { text(vec![b'x'; SIZE]) }).await;
    let http2 = Http2 { ping: Duration::from_millis(50), ..Http2::default() };
    let limits = Limits { http2, header_read: Duration::from_millis(500), ..Limits::default() };
    let harness = Harness::with(&web(&["/{*rest}"], PATIENCE), limits).await;
    harness.ready("web", &[server.address]);
    // All the room that it will ever give, at once. From then on it does not say a word.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(64 * 1024).unwrap(); // little is under way
    let mut raw = Raw { stream: socket.connect(harness.gateway).await.unwrap(), polite: false };
    raw.send(PREFACE).await;
    raw.frame(SETTINGS, 0, 0, &[[0, 1, 0, 0, 0, 0], [0, 4, 127, 255, 255, 255]].concat()).await;
    raw.frame(WINDOW_UPDATE, 0, 0, &(1u32 << 30).to_be_bytes()).await;
    raw.headers(1, END_STREAM, &GET).await;
    let mut read = 0;
    let mut pace = tokio::time::interval(Duration::from_millis(1));
    while let Some(frame) = raw.next().await {
        if frame.kind == DATA {
            read += frame.payload.len();
            if frame.flags & END_STREAM != 0 {
                break;
            }
        }
        pace.tick().await; // about 16 MB a second
    }
    assert_eq!(read, SIZE);
}

#[tokio::test]
async fn an_idle_connection_is_told_to_go_and_goes() {
    let limits = Limits { keep_alive: Duration::from_millis(200), ..Limits::default() };
    let (_server, harness) = harness(limits).await;
    let mut raw = Raw::connect(harness.gateway).await;
    raw.headers(1, END_STREAM, &GET).await;
    assert_eq!(raw.verdict(1).await, Verdict::Answer(200, "fine".to_owned()));
    assert_eq!(raw.end().await, Verdict::GoAway(0));
}

#[tokio::test]
async fn an_idle_connection_that_does_not_go_is_cut_off() {
    let limits = Limits {
        keep_alive: Duration::from_millis(100),
        header_read: Duration::from_millis(300),
        ..Limits::default()
    };
    let (_server, harness) = harness(limits).await;
    // No window: what is answered waits in the proxy, and counts for nothing.
    let mut raw = Raw::with(harness.gateway, &[(1, 0), (4, 0)]).await;
    raw.polite = false;
    raw.headers(1, END_STREAM, &GET).await;
    until("it is answered", || harness.records.all().len() == 1).await;
    raw.end().await;
    until("the connection is gone", || harness.proxy.stats().connections == 0).await;
}

#[tokio::test]
async fn a_client_that_gives_one_stream_no_room_loses_that_stream_alone() {
    let server = Server::http(|_| async { text(vec![b'x'; 1 << 20]) }).await;
    let limits = Limits { answer_idle: Duration::from_millis(400), ..Limits::default() };
    let harness = Harness::with(&web(&["/{*rest}"], PATIENCE), limits).await;
    let endpoints = harness.ready("web", &[server.address]);
    let mut raw = Raw::connect(harness.gateway).await;
    raw.headers(1, END_STREAM, &GET).await;
    // Other streams keep the connection itself moving.
    let reset = loop {
        let Some(frame) = raw.next().await else { break None };
        match frame.kind {
            RST_STREAM if frame.stream == 1 => break Some(frame.payload),
            DATA if frame.flags & END_STREAM == 0 && frame.stream == 1 => {
                raw.frame(WINDOW_UPDATE, 0, 0, &(frame.payload.len() as u32).max(1).to_be_bytes()).await;
            }
            _ => {}
        }
    };
    // Either way it does not hold its place on the instance.
    assert!(reset.is_none_or(|code| code == CANCEL.to_be_bytes()));
    until("the place is free", || endpoints[0].in_flight() == 0).await;
}

#[tokio::test]
async fn a_busy_client_is_not_taken_for_a_flood() {
    use http_body_util::{BodyExt, Full};
    use hyper_util::rt::{TokioExecutor, TokioIo};
    let server = Server::http(|request| async {
        let body = request.into_body().collect().await.unwrap().to_bytes();
        text(body)
    })
    .await;
    // Hardly any chatter is allowed beyond what is explained.
    let http2 = Http2 { chatter: 100, ..Http2::default() };
    let harness = Harness::with(&web(&["/{*rest}"], PATIENCE), Limits { http2, ..Limits::default() }).await;
    harness.ready("web", &[server.address]);
    let io = TokioIo::new(harness.client().await.stream);
    let (sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
    go(async move { drop(connection.await) });
    for size in [0, 1, 1000, 3 << 20] {
        let asks = (0..100.min(10_000_000 / (size + 1))).map(|_| {
            let mut sender = sender.clone();
            let body = Full::new(bytes::Bytes::from(vec![b'x'; size]));
            async move {
                let request = http::Request::post("http://test/").body(body).unwrap();
                let answer = sender.send_request(request).await.unwrap().into_body();
                assert_eq!(answer.collect().await.unwrap().to_bytes().len(), size);
            }
        });
        within(futures_util::future::join_all(asks)).await;
    }
}
