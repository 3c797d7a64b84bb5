use http::HeaderMap;

use super::*;

fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in lines {
        map.append(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    map
}

fn head(uri: &'static str, lines: &[(&'static str, &'static str)]) -> Head {
    Head {
        method: Method::GET,
        uri: Uri::from_static(uri),
        version: Version::HTTP_11,
        headers: headers(lines),
        lines: Lines::Fine,
        host: None,
        authority: None,
    }
}

fn refusal(mut head: Head) -> Option<String> {
    check(&mut head, &Limits::default()).err().map(|failure| failure.detail)
}

#[test]
fn a_host_is_needed_once_and_must_be_one() {
    assert_eq!(refusal(head("/", &[])).unwrap(), "Host is missing");
    assert!(refusal(head("/", &[("host", "a"), ("host", "b")])).is_some());
    for text in ["a b", "a@b", "a/b", "[::1", ":80"] {
        let mut bad = head("/", &[("host", "x")]);
        bad.headers.insert(HOST, HeaderValue::from_static(text));
        assert!(refusal(bad).is_some());
    }
    let mut fine = head("/", &[("host", "Shop.Example.:8080")]);
    check(&mut fine, &Limits::default()).unwrap();
    assert_eq!(fine.host.as_deref(), Some("shop.example"));
    let mut six = head("/", &[("host", "[::1]:80")]);
    check(&mut six, &Limits::default()).unwrap();
    assert_eq!(six.host.as_deref(), Some("[::1]"));
}

#[test]
fn the_target_wins_over_host_when_it_is_absolute() {
    let mut absolute = head("http://real.example/x", &[("host", "fake.example")]);
    check(&mut absolute, &Limits::default()).unwrap();
    assert_eq!(absolute.host.as_deref(), Some("real.example"));
    assert_eq!(absolute.authority.unwrap(), "real.example");
}

#[test]
fn a_coding_that_is_not_undone_is_refused() {
    assert!(refusal(head("/", &[("host", "a"), ("transfer-encoding", "Chunked")])).is_none());
    for coding in ["gzip, chunked", "chunked, chunked", "identity"] {
        let coded = head("/", &[("host", "a"), ("transfer-encoding", coding)]);
        assert_eq!(refusal(coded).unwrap(), "Transfer-Encoding is not just `chunked`");
    }
    let twice = [("host", "a"), ("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")];
    assert!(refusal(head("/", &twice)).is_some());
}

#[test]
fn a_target_is_a_path_or_a_url_of_ours() {
    for target in ["*", "a:80", "ftp://a/x", "/\u{9b}31m"] {
        assert!(refusal(head(target, &[("host", "a")])).is_some(), "{target:?}");
    }
    for target in ["/", "/ü", "http://a", "HTTPS://a/x?y"] {
        assert!(refusal(head(target, &[("host", "a")])).is_none(), "{target:?}");
    }
    assert!(refusal(Head { method: Method::OPTIONS, ..head("*", &[("host", "a")]) }).is_none());
}

#[test]
fn lines_are_counted_whatever_the_version_but_crumbs_of_a_cookie_are_one() {
    let many = |name: &'static str| {
        let mut many = Head { version: Version::HTTP_2, ..head("http://a/", &[]) };
        for _ in 0..101 {
            many.headers.append(name, HeaderValue::from_static("x"));
        }
        refusal(many)
    };
    assert!(many("x").unwrap().ends_with("more than 100 lines"));
    assert_eq!(many("cookie"), None);
}

#[test]
fn a_name_does_not_pass_in_disguise() {
    let lines =
        [("x_atoll_caller", "root"), ("x_real-ip", "1.1.1.1"), ("content_length", "7"), ("x_id", "1")];
    let mut edge = headers(&lines);
    distrust(&mut edge, &Entrance::Gateway);
    assert_eq!(edge, headers(&[("x_id", "1")]));
}

#[test]
fn trailers_say_nothing_that_is_for_the_head() {
    let mut trailers = headers(&[
        ("x-atoll-caller", "root"),
        ("x-forwarded-for", "1.1.1.1"),
        ("traceparent", "00"),
        ("content-length", "7"),
        ("grpc-status", "0"),
    ]);
    clean_trailers(&mut trailers, &Entrance::Gateway);
    assert_eq!(trailers, headers(&[("grpc-status", "0")]));
}

#[test]
fn claims_are_dropped_at_the_gateway_and_kept_in_the_mesh_but_never_ours() {
    let lines =
        [("x-forwarded-for", "1.1.1.1"), ("x-real-ip", "1.1.1.1"), ("x-atoll-caller", "root"), ("a", "b")];
    let mut edge = headers(&lines);
    distrust(&mut edge, &Entrance::Gateway);
    assert_eq!(edge, headers(&[("a", "b")]));
    let mut inner = headers(&lines);
    let (caller, callee) = ("a".parse().unwrap(), "b".parse().unwrap());
    distrust(&mut inner, &Entrance::Mesh { caller, callee });
    assert_eq!(inner.len(), 3);
    assert!(!inner.contains_key("x-atoll-caller"));
}

#[test]
fn an_upgrade_needs_both_headers_and_is_never_h2c() {
    let asks = |lines: &[(&'static str, &'static str)]| wants_upgrade(&head("/", lines)).is_some();
    assert!(asks(&[("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")]));
    assert!(!asks(&[("upgrade", "websocket")]));
    assert!(!asks(&[("connection", "upgrade"), ("upgrade", "h2c")]));
    assert!(!asks(&[("connection", "upgrade, http2-settings"), ("upgrade", "foo, H2C")]));
}

#[test]
fn an_id_is_kept_only_when_it_is_short_and_plain() {
    assert_eq!(request_id(&headers(&[("x-request-id", "abc-1")])), "abc-1");
    for bad in ["", "a b", "<x>", "\"", "a;b"] {
        let made = request_id(&headers(&[("x-request-id", bad)]));
        assert!(made.len() == 32 && made.as_bytes().iter().all(u8::is_ascii_hexdigit), "{bad}");
    }
    let mut long = HeaderMap::new();
    long.insert(REQUEST_ID, HeaderValue::from_str(&"a".repeat(129)).unwrap());
    assert_eq!(request_id(&long).len(), 32);
}

#[test]
fn an_answer_loses_what_belongs_to_its_connection() {
    let mut answer = headers(&[
        ("connection", "close, X-Hop"),
        ("x-hop", "1"),
        ("keep-alive", "timeout=5"),
        ("transfer-encoding", "chunked"),
        ("content-length", "7"),
        ("upgrade", "h2"),
        ("x-end", "2"),
    ]);
    from_upstream(&mut answer, false);
    assert_eq!(answer, headers(&[("x-end", "2")]));
}

#[test]
fn connection_cannot_hide_what_is_for_the_service() {
    assert!(!is_listed(&HOST, &["host"]));
    assert!(!is_listed(&http::header::AUTHORIZATION, &["Authorization"]));
    assert!(is_listed(&HeaderName::from_static("x-hop"), &["X-Hop"]));
}

#[test]
fn split_cookies_are_joined() {
    let mut map = headers(&[("cookie", "a=1"), ("cookie", "b=2"), ("x", "y")]);
    join_cookies(&mut map);
    assert_eq!(map.get_all(COOKIE).into_iter().collect::<Vec<_>>(), ["a=1; b=2"]);
}

#[test]
fn a_request_in_circles_is_stopped() {
    let limits = Limits { hops: 2, ..Limits::default() };
    let mut map = headers(&[("via", "1.0 other, 1.1 atoll")]);
    assert!(via(&mut map, &limits).is_ok());
    assert_eq!(via(&mut map, &limits).unwrap_err().kind, Kind::Loop);
}
