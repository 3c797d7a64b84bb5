//! What HTTP/2 can say and HTTP/1.1 would read in another way: refused, or made harmless, one by one. Behind
//! the proxy is always a server of HTTP/1.1.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers outside test functions

mod common;
mod h2_raw;

use common::*;
use h2_raw::*;

/// A request that must not arrive, whole with its body.
async fn refused(head: &[Field<'_>]) -> Verdict {
    let server = Server::mirror().await;
    let harness = Harness::web(server.address).await;
    let mut raw = Raw::connect(harness.gateway).await;
    raw.headers(1, END_STREAM, head).await;
    let verdict = raw.verdict(1).await;
    assert!(verdict.is_refusal(), "{head:?}: {verdict:?}");
    assert_eq!(server.connections(), 0, "{head:?}");
    verdict
}

fn with<'a>(head: &[Field<'a>], more: &[Field<'a>]) -> Vec<Field<'a>> {
    [head, more].concat()
}

/// What the service saw of a request that is taken.
async fn seen(head: &[Field<'_>]) -> String {
    let server = Server::mirror().await;
    let harness = Harness::web(server.address).await;
    let mut raw = Raw::connect(harness.gateway).await;
    raw.headers(1, END_STREAM, head).await;
    match raw.verdict(1).await {
        Verdict::Answer(200, text) => text,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_plain_request_is_taken() {
    assert!(seen(&GET).await.starts_with("GET /\nhost: test\n"), "or else the rest proves nothing");
}

#[tokio::test]
async fn values_with_line_breaks_or_nul_are_refused() {
    for value in [&b"a\r\nx: y"[..], b"a\nx: y", b"a\rb", b"a\0b", b"\r\n\r\nGET /admin HTTP/1.1"] {
        refused(&with(&GET, &[(b"x-a", value)])).await;
    }
}

#[tokio::test]
async fn names_that_are_not_lower_case_tokens_are_refused() {
    for name in [
        &b"X-Upper"[..],
        b"a:b",
        b"a b",
        b"a\r\nb",
        b"a\tb",
        b"",
        b" a",
        b"a ",
        b"transfer-encoding:x",
        b"\xff",
    ] {
        refused(&with(&GET, &[(name, b"v")])).await;
    }
}

#[tokio::test]
async fn transfer_encoding_is_refused() {
    for value in [&b"chunked"[..], b"identity", b"", b"xchunked"] {
        refused(&with(&POST, &[(b"transfer-encoding", value)])).await;
    }
}

#[tokio::test]
async fn fields_that_belong_to_a_connection_are_refused() {
    for name in [&b"connection"[..], b"keep-alive", b"proxy-connection", b"upgrade"] {
        refused(&with(&GET, &[(name, b"x")])).await;
    }
    refused(&with(&GET, &[(b"connection", b"upgrade"), (b"upgrade", b"websocket")])).await;
    refused(&with(&GET, &[(b"te", b"gzip")])).await;
}

#[tokio::test]
async fn te_may_say_trailers() {
    assert!(seen(&with(&GET, &[(b"te", b"trailers")])).await.contains("te: trailers"));
}

#[tokio::test]
async fn a_host_that_is_not_the_authority_is_refused() {
    let verdict = refused(&with(&GET, &[(b"host", b"other")])).await;
    assert!(matches!(verdict, Verdict::Answer(400, _)), "{verdict:?}");
    refused(&with(&GET, &[(b"host", b"test"), (b"host", b"test")])).await;
    assert!(!seen(&with(&GET, &[(b"host", b"TEST")])).await.contains("TEST"));
}

#[tokio::test]
async fn an_authority_is_a_host_and_nothing_else() {
    for authority in
        [&b"user@test"[..], b"te st", b"test/x", b"test\\x", b"a,b", b"[::1", b"test:99999", b"test?x"]
    {
        let mut head = GET;
        head[3].1 = authority;
        if authority != b"a,b" {
            refused(&head).await; // a comma may stand in a host (RFC 3986 §3.2.2)
        }
    }
}

#[tokio::test]
async fn a_path_that_is_not_a_path_is_refused() {
    let paths = [
        &b"/a b"[..],
        b"",
        b"a",
        b"?x",
        b"*",
        b"http://other/x",
        b"//other\r\nx",
        b"/\0",
        b"/\\x",
        b"/ HTTP/1.1\r\nHost: x",
        b"/a/../b",
        b"/%2e%2e/b",
    ];
    for path in paths {
        let mut head = GET;
        head[2].1 = path;
        refused(&head).await;
    }
}

#[tokio::test]
async fn a_fragment_does_not_reach_the_service() {
    for (path, line) in [(&b"/a#b"[..], "GET /a\n"), (b"/a?b#c", "GET /a?b\n"), (b"#/admin", "GET /\n")] {
        let mut head = GET;
        head[2].1 = path;
        assert!(seen(&head).await.starts_with(line));
    }
}

#[tokio::test]
async fn an_asterisk_is_for_options_alone() {
    let mut head = GET;
    (head[0].1, head[2].1) = (b"OPTIONS", b"*");
    let server = Server::mirror().await;
    let harness = Harness::web(server.address).await;
    let mut raw = Raw::connect(harness.gateway).await;
    raw.headers(1, END_STREAM, &head).await;
    // Whether a route takes it is another matter: it is not malformed.
    assert!(!matches!(raw.verdict(1).await, Verdict::Answer(400, _) | Verdict::Reset(_)));
}

#[tokio::test]
async fn a_method_is_a_token() {
    for method in [&b"GET /x"[..], b"G\r\nT", b"", b"GET\0", b"G(T", b"GET ", b"\xff"] {
        let mut head = GET;
        head[0].1 = method;
        refused(&head).await;
    }
}

#[tokio::test]
async fn connect_opens_no_tunnel() {
    let plain: [Field<'_>; 2] = [(b":method", b"CONNECT"), (b":authority", b"test:80")];
    assert!(matches!(refused(&plain).await, Verdict::Answer(501, _)));
    let mut extended = with(&GET, &[(b":protocol", b"websocket")]);
    extended[0].1 = b"CONNECT";
    refused(&extended).await;
}

#[tokio::test]
async fn pseudo_fields_are_there_once_known_and_first() {
    refused(&with(&GET, &[(b":path", b"/other")])).await;
    refused(&with(&GET, &[(b":authority", b"other")])).await;
    refused(&with(&GET, &[(b":method", b"POST")])).await;
    refused(&with(&GET, &[(b":unknown", b"x")])).await;
    refused(&with(&GET, &[(b":status", b"200")])).await;
    refused(&with(&GET, &[(b":protocol", b"websocket")])).await;
    refused(&[GET[0], GET[1], (b"x", b"y"), GET[2], GET[3]]).await;
    for missing in 0..3 {
        let mut head = GET.to_vec();
        head.remove(missing);
        refused(&head).await;
    }
}

#[tokio::test]
async fn lengths_are_one_and_a_number() {
    for values in [
        &[&b"5"[..], b"6"][..],
        &[b"5", b"5"],
        &[b"0", b"0"],
        &[b"+5"],
        &[b"5, 5"],
        &[b"0x5"],
        &[b"-1"],
        &[b""],
        &[b"99999999999999999999"],
    ] {
        let server = Server::mirror().await;
        let harness = Harness::web(server.address).await;
        let mut raw = Raw::connect(harness.gateway).await;
        let lengths: Vec<Field<'_>> = values.iter().map(|value| (&b"content-length"[..], *value)).collect();
        raw.headers(1, 0, &with(&POST, &lengths)).await;
        raw.frame(DATA, END_STREAM, 1, b"12345").await;
        let verdict = raw.verdict(1).await;
        assert!(verdict.is_refusal(), "{values:?}: {verdict:?}");
        assert_eq!(server.connections(), 0, "{values:?}");
    }
}

#[tokio::test]
async fn a_length_that_lies_ends_the_request_unfinished() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    for body in [&b"123"[..], b"1234567"] {
        let whole = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&whole);
        let server = Server::http(move |request| {
            let count = Arc::clone(&count);
            async move {
                if http_body_util::BodyExt::collect(request.into_body()).await.is_ok() {
                    count.fetch_add(1, Ordering::SeqCst);
                }
                text("ok")
            }
        })
        .await;
        let harness = Harness::web(server.address).await;
        let mut raw = Raw::connect(harness.gateway).await;
        raw.headers(1, 0, &with(&POST, &[(b"content-length", b"5")])).await;
        raw.frame(DATA, END_STREAM, 1, body).await;
        let verdict = raw.verdict(1).await;
        assert!(verdict.is_refusal(), "{verdict:?}");
        harness.records.nth(1).await;
        assert_eq!(whole.load(Ordering::SeqCst), 0);
    }
    refused(&with(&POST, &[(b"content-length", b"5")])).await; // and no DATA at all
}

#[tokio::test]
async fn crumbs_of_a_cookie_are_joined() {
    let text =
        seen(&with(&GET, &[(b"cookie", b"a=1"), (b"x", b"y"), (b"cookie", b"b=2"), (b"cookie", b"c=3")]))
            .await;
    assert!(text.contains("cookie: a=1; b=2; c=3\n"), "{text}");
}

#[tokio::test]
async fn what_only_looks_like_a_framing_field_is_dropped() {
    let text = seen(&with(
        &GET,
        &[(b"content_length", b"5"), (b"transfer_encoding", b"chunked"), (b"x-atoll-caller", b"me")],
    ))
    .await;
    assert!(!text.contains("_length") && !text.contains("_encoding") && !text.contains("caller"), "{text}");
}

#[tokio::test]
async fn trailers_smuggle_nothing() {
    let hostile: [&[Field<'_>]; 6] = [
        &[(b":path", b"/admin")],
        &[(b":method", b"GET"), (b"x", b"y")],
        &[(b"transfer-encoding", b"chunked")],
        &[(b"connection", b"x")],
        &[(b"X-Upper", b"x")],
        &[(b"x", b"a\r\nb: c")],
    ];
    for trailers in hostile {
        let server = Server::http(|request| async move {
            let body = http_body_util::BodyExt::collect(request.into_body()).await;
            text(body.map_or_else(|_| "broken".to_owned(), |body| format!("{:?}", body.trailers())))
        })
        .await;
        let harness = Harness::web(server.address).await;
        let mut raw = Raw::connect(harness.gateway).await;
        raw.headers(1, 0, &POST).await;
        raw.frame(DATA, 0, 1, b"12345").await;
        raw.headers(1, END_STREAM, trailers).await;
        let verdict = raw.verdict(1).await;
        // What h2 does not refuse it leaves out.
        let harmless =
            matches!(&verdict, Verdict::Answer(200, seen) if seen == "None" || seen == r#"Some({"x": "y"})"#);
        assert!(verdict.is_refusal() || harmless, "{trailers:?}: {verdict:?}");
    }
}

#[tokio::test]
async fn trailers_that_belong_into_a_head_do_not_reach_the_service() {
    let server = Server::http(|request| async move {
        let body = http_body_util::BodyExt::collect(request.into_body()).await.unwrap();
        let mut names: Vec<_> =
            body.trailers().unwrap().keys().map(|name| name.as_str().to_owned()).collect();
        names.sort();
        text(names.join(" "))
    })
    .await;
    let harness = Harness::web(server.address).await;
    let mut raw = Raw::connect(harness.gateway).await;
    raw.headers(1, 0, &with(&POST, &[(b"te", b"trailers"), (b"trailer", b"x-sum")])).await;
    raw.frame(DATA, 0, 1, b"12345").await;
    let trailers: [Field<'_>; 5] = [
        (b"x-sum", b"1"),
        (b"host", b"other"),
        (b"content-length", b"99"),
        (b"authorization", b"Bearer x"),
        (b"x-forwarded-for", b"9.9.9.9"),
    ];
    raw.headers(1, END_STREAM, &trailers).await;
    assert_eq!(raw.verdict(1).await, Verdict::Answer(200, "x-sum".to_owned()));
}
