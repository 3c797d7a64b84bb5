use super::check::check;
use super::forward::{from_upstream, via};
use super::trust::{clean_trailers, distrust};
use super::*;
use crate::exchange::Entrance;
use crate::failure::Kind;
use crate::limits::Limits;

fn fields(lines: &[(&str, &str)]) -> Fields {
    let mut fields = Fields::new();
    for (name, value) in lines {
        fields.push(name.as_bytes(), value.as_bytes());
    }
    fields
}

fn names(fields: &Fields) -> Vec<String> {
    fields.iter().map(|field| String::from_utf8_lossy(field.name).into_owned()).collect()
}

fn head(target: &str, lines: &[(&str, &str)]) -> Head {
    let mut head = Head { fields: fields(lines), ..Head::default() };
    head.set_target(target);
    head
}

fn refusal(mut head: Head) -> Option<String> {
    check(&mut head, &Limits::default()).err().map(|failure| failure.detail)
}

fn checked(mut head: Head) -> Head {
    check(&mut head, &Limits::default()).unwrap();
    head
}

#[test]
fn a_host_is_needed_once_and_must_be_one() {
    assert_eq!(refusal(head("/", &[])).unwrap(), "Host is missing");
    assert!(refusal(head("/", &[("host", "a"), ("host", "b")])).is_some());
    for text in ["a b", "a@b", "a/b", "[::1", ":80", "\u{fc}"] {
        assert!(refusal(head("/", &[("host", text)])).is_some(), "{text}");
    }
    assert_eq!(checked(head("/", &[("host", "Shop.Example.:8080")])).host, "shop.example");
    assert_eq!(checked(head("/", &[("host", "[::1]:80")])).host, "[::1]");
}

#[test]
fn the_target_wins_over_host_when_it_is_absolute() {
    let absolute = checked(head("http://Real.example/x?y", &[("host", "fake.example")]));
    assert_eq!(absolute.host, "real.example");
    assert_eq!(absolute.authority, "Real.example");
    assert_eq!((absolute.target(), absolute.path(), absolute.query()), ("/x?y", "/x", Some("y")));
    assert_eq!(checked(head("http://a?b", &[("host", "a")])).target(), "/?b");
    assert!(refusal(head("http://a/", &[("host", "b c")])).is_some());
}

#[test]
fn the_authority_of_http2_and_host_are_the_same() {
    let two = |authority: &str, lines: &[(&str, &str)]| Head {
        version: Version::HTTP_2,
        authority: authority.to_owned(),
        ..head("/", lines)
    };
    assert_eq!(checked(two("a:1", &[])).host, "a");
    assert_eq!(checked(two("A:1", &[("host", "a:1")])).host, "a");
    assert_eq!(refusal(two("a:1", &[("host", "b")])).unwrap(), "Host and :authority differ");
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
    for target in
        ["*", "a:80", "ftp://a/x", "/\u{9b}31m", "/a b", "/a#b", "/a\\b", "http://a@b/", "//a<b", ""]
    {
        assert!(refusal(head(target, &[("host", "a")])).is_some(), "{target:?}");
    }
    for target in ["/", "/ü", "http://a", "HTTPS://a/x?y", "/a\"?b={[|]}^`"] {
        assert!(refusal(head(target, &[("host", "a")])).is_none(), "{target:?}");
    }
    assert!(refusal(Head { method: Method::OPTIONS, ..head("*", &[("host", "a")]) }).is_none());
}

#[test]
fn lines_are_counted_whatever_the_version_but_crumbs_of_a_cookie_are_one() {
    let many = |name: &'static str| {
        let mut many = Head { version: Version::HTTP_2, authority: "a".to_owned(), ..head("/", &[]) };
        for _ in 0..101 {
            many.fields.push(name.as_bytes(), b"x");
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
    let mut edge = fields(&lines);
    distrust(&mut edge, &Entrance::Gateway);
    assert_eq!(names(&edge), ["x_id"]);
}

#[test]
fn trailers_say_nothing_that_is_for_the_head() {
    let mut trailers = http::HeaderMap::new();
    for name in ["x-atoll-caller", "x-forwarded-for", "traceparent", "content-length", "te", "grpc-status"] {
        trailers.insert(HeaderName::from_static(name), http::HeaderValue::from_static("1"));
    }
    clean_trailers(&mut trailers);
    assert_eq!(trailers.keys().collect::<Vec<_>>(), ["grpc-status"]);
}

#[test]
fn claims_are_dropped_at_the_gateway_and_kept_in_the_mesh_but_never_ours() {
    let lines =
        [("X-Forwarded-For", "1.1.1.1"), ("x-real-ip", "1.1.1.1"), ("x-atoll-caller", "root"), ("a", "b")];
    let mut edge = fields(&lines);
    distrust(&mut edge, &Entrance::Gateway);
    assert_eq!(names(&edge), ["a"]);
    let mut inner = fields(&lines);
    let (caller, callee) = ("a".parse().unwrap(), "b".parse().unwrap());
    distrust(&mut inner, &Entrance::Mesh { caller, callee });
    assert_eq!(names(&inner), ["X-Forwarded-For", "x-real-ip", "a"]);
}

#[test]
fn an_upgrade_needs_both_headers_and_is_never_h2c() {
    let asks = |lines: &[(&str, &str)]| wants_upgrade(&head("/", lines)).is_some();
    assert!(asks(&[("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")]));
    assert!(!asks(&[("upgrade", "websocket")]));
    assert!(!asks(&[("connection", "upgrade"), ("upgrade", "h2c")]));
    assert!(!asks(&[("connection", "upgrade, http2-settings"), ("upgrade", "foo, H2C")]));
}

#[test]
fn an_id_is_kept_only_when_it_is_short_and_plain() {
    assert_eq!(RequestId::of(&fields(&[("x-request-id", "abc-1")])).as_str(), "abc-1");
    let long = "a".repeat(129);
    for bad in ["", "a b", "<x>", "\"", "a;b", &long] {
        let made = RequestId::of(&fields(&[("x-request-id", bad)]));
        let made = made.as_str();
        assert!(made.len() == 32 && made.bytes().all(|b| b.is_ascii_hexdigit()), "{bad}");
    }
}

#[test]
fn a_request_that_begins_a_trace_has_the_id_of_it() {
    let begun = crate::trace::Trace::begin();
    let of = |trace: &crate::trace::Trace, came: &[(&str, &str)]| {
        let mut trace = *trace;
        let id = RequestId::in_trace(&fields(came), &mut trace).as_str().to_owned();
        (id, trace.id.to_string())
    };
    let own = begun.id.to_string();
    assert_eq!(of(&begun, &[]), (own.clone(), own.clone()));
    // What came along and is no id of a trace stays what it is; what could be one is that of this trace.
    let came = "4BF92F3577B34DA6A3CE929D0E0E4736";
    assert_eq!(of(&begun, &[("x-request-id", "abc-1")]), ("abc-1".to_owned(), own.clone()));
    assert_eq!(of(&begun, &[("x-request-id", came)]), (came.to_owned(), came.to_lowercase()));
    let zero = "0".repeat(32);
    assert_eq!(of(&begun, &[("x-request-id", &zero)]), (zero, own.clone()));
    // Several requests may continue one trace, and each has an id of its own.
    let continued = crate::trace::Trace { parent: Some(begun.span), ..begun };
    assert_ne!(of(&continued, &[]).0, own);
    assert_eq!(of(&continued, &[("x-request-id", came)]), (came.to_owned(), own));
}

#[test]
fn an_answer_loses_what_belongs_to_its_connection() {
    let mut answer = fields(&[
        ("connection", "close, X-Hop, content-type"),
        ("x-hop", "1"),
        ("keep-alive", "timeout=5"),
        ("transfer-encoding", "chunked"),
        ("content-length", "7"),
        ("upgrade", "h2"),
        ("x-end", "2"),
    ]);
    from_upstream(&mut answer, false);
    assert_eq!(names(&answer), ["x-end"]);
    let mut switching = fields(&[("connection", "upgrade"), ("upgrade", "websocket")]);
    from_upstream(&mut switching, true);
    assert_eq!(names(&switching), ["upgrade", "connection"]);
}

#[test]
fn a_call_of_grpc_is_told_by_its_content_type() {
    for (value, is) in [
        ("application/grpc", true),
        ("Application/GRPC+proto", true),
        ("application/grpc;x", true),
        ("application/grpc-web", false),
        ("application/json", false),
    ] {
        assert_eq!(is_grpc(&fields(&[("content-type", value)])), is, "{value}");
    }
}

#[test]
fn a_request_in_circles_is_stopped() {
    let limits = Limits { hops: 2, ..Limits::default() };
    assert!(via(&fields(&[("via", "1.0 other, 1.1 atoll")]), &limits).is_ok());
    let twice = fields(&[("via", "1.0 other, 1.1 atoll"), ("via", "1.1 atoll")]);
    assert_eq!(via(&twice, &limits).unwrap_err().kind, Kind::Loop);
}
