//! What is answered in a service's stead, and what is left as it is.
#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers outside test functions

mod common;
mod policies;

use bytes::Bytes;
use common::*;
use manifest::spec;
use policies::*;
use proxy::policy::breaker::Order;
use proxy::{AccessRecord, Kind};
use tokio::io::AsyncWriteExt;

fn falls_back(fallback: spec::Fallback) -> spec::Guard {
    rule(|guard| guard.fallback = Some(fallback))
}

fn a_static_one() -> spec::Fallback {
    spec::Fallback::Static {
        status: 203,
        headers: vec![("content-type".parse().unwrap(), "text/x".to_owned())],
        body: "nothing to recommend".to_owned(),
    }
}

fn from(service: Option<&str>, path: Option<&str>) -> spec::Fallback {
    spec::Fallback::From { service: service.map(name), path: path.map(str::to_owned) }
}

async fn last(world: &World) -> AccessRecord {
    until("everything is recorded", || world.harness.proxy.stats().in_flight == 0).await;
    world.harness.records.all().pop().unwrap()
}

#[tokio::test]
async fn a_static_answer_stands_in_for_failures_of_the_service_and_says_so() {
    let service = Service::start(Mood::Says(200)).await;
    let world = World::web(falls_back(a_static_one()), &[&service]).await;
    let reply = world.get("/").await;
    assert_eq!((reply.status, reply.header("x-atoll-fallback")), (200, None));
    assert!(!last(&world).await.fallback);
    for status in [500, 503] {
        service.is(Mood::Says(status));
        let reply = world.get("/").await;
        assert_eq!((reply.status, reply.text()), (203, "nothing to recommend"));
        assert_eq!(
            (reply.header("x-atoll-fallback"), reply.header("content-type")),
            (Some("static"), Some("text/x"))
        );
        assert!(last(&world).await.fallback);
    }
    // What is a failure of gRPC is one, too.
    service.is(Mood::unavailable());
    assert_eq!(world.get("/").await.header("x-atoll-fallback"), Some("static"));
    // Cut off, and gone.
    world.guards.order(ALL, Order::Open);
    assert_eq!(world.get("/").await.header("x-atoll-fallback"), Some("static"));
    assert_eq!(last(&world).await.error, Some(Kind::BreakerOpen));
    world.guards.order(ALL, Order::Auto);
    world.ready("web", &[]);
    assert_eq!(world.get("/").await.status, 203);
    let record = last(&world).await;
    assert_eq!((record.error, record.status, record.fallback), (Some(Kind::NoInstance), 203, true));
}

#[tokio::test]
async fn what_the_client_did_wrong_is_not_mended() {
    let service = Service::start(Mood::Says(404)).await;
    let guard = rule(|guard| {
        guard.fallback = Some(a_static_one());
        let rate = spec::RateLimit {
            rate: 1,
            period: std::time::Duration::from_secs(60),
            burst: 1,
            per: spec::LimitKey::Header("x-key".parse().unwrap()),
        };
        guard.limits = vec![rate];
    });
    let world = World::web(guard, &[&service]).await;
    let reply = world.ask("GET", "/", "X-Key: a\r\n", "").await;
    assert_eq!((reply.status, reply.header("x-atoll-fallback")), (404, None));
    world.ask("GET", "/", "X-Key: a\r\n", "").await.is_problem(429, "A0728", "http_request_denied");
    // A body that breaks off.
    let mut client = world.harness.client().await;
    client.send("POST / HTTP/1.1\r\nHost: test\r\nX-Key: b\r\nContent-Length: 10\r\n\r\nabc").await;
    until("it is on its way", || service.under_way() == 1).await;
    client.stream.shutdown().await.unwrap();
    until("it is recorded", || world.harness.records.all().len() == 3).await;
    let record = last(&world).await;
    assert!(!record.fallback, "{record:?}");
    // A caller that waits no longer.
    let reply = world.ask("GET", "/", "X-Key: c\r\nX-Request-Timeout-Ms: 0\r\n", "").await;
    reply.is_problem(504, "A0724", "http_response_timeout");
}

#[tokio::test]
async fn another_path_or_another_service_answers() {
    let (web, other) = (Service::start(Mood::Says(500)).await, Service::start(Mood::Says(200)).await);
    let routes = [
        ("/path", falls_back(from(Some("other"), Some("/popular?n=3")))),
        ("/service", falls_back(from(Some("other"), None))),
    ];
    let world = World::start(&app([routed("web", routes), service("other")])).await;
    let endpoints = [world.ready("web", &[&web]), world.ready("other", &[&other])].concat();
    let reply = world.ask("GET", "/path?q=1", "X-Mine: yes\r\n", "").await;
    assert_eq!(
        (reply.status, reply.header("x-atoll-fallback")),
        (200, Some("from=other; path=\"/popular?n=3\""))
    );
    let asked = other.asked().pop().unwrap();
    assert_eq!((asked.target.as_str(), asked.header("x-mine")), ("/popular?n=3", Some("yes")));
    assert_eq!(last(&world).await.attempts, 2);
    let reply = world.get("/service?q=1").await;
    assert_eq!((reply.status, reply.header("x-atoll-fallback")), (200, Some("from=other")));
    assert_eq!(other.asked().pop().unwrap().target, "/service?q=1");
    // What is to be read instead is read, whatever was asked.
    assert_eq!(world.ask("DELETE", "/path", "", "").await.status, 200);
    assert_eq!(other.asked().pop().unwrap().method, http::Method::GET);
    world.is_idle(&endpoints).await;
}

#[tokio::test]
async fn a_fallback_that_fails_leaves_the_failure_as_it_was() {
    let (web, other) = (Service::start(Mood::Says(500)).await, Service::start(Mood::Says(503)).await);
    let world =
        World::start(&app([routed("web", [(ALL, falls_back(from(Some("other"), None)))]), service("other")]))
            .await;
    let endpoints = [world.ready("web", &[&web]), world.ready("other", &[&other])].concat();
    let reply = world.get("/").await;
    assert_eq!((reply.status, reply.text(), reply.header("x-atoll-fallback")), (500, "500", None));
    assert!(!last(&world).await.fallback);
    assert!(other.count() > 0);
    world.ready("other", &[]);
    assert_eq!(world.get("/").await.text(), "500");
    world.ready("web", &[]);
    world.get("/").await.is_problem(503, "A0710", "destination_unavailable");
    world.is_idle(&endpoints).await;
}

#[tokio::test]
async fn a_body_that_was_sent_once_is_not_sent_to_another_service() {
    let (web, other) = (Service::start(Mood::Says(500)).await, Service::start(Mood::Says(200)).await);
    let world =
        World::start(&app([routed("web", [(ALL, falls_back(from(Some("other"), None)))]), service("other")]))
            .await;
    world.ready("web", &[&web]);
    world.ready("other", &[&other]);
    assert_eq!(world.ask("POST", "/", "", "an order").await.status, 500);
    assert_eq!(other.count(), 0);
    // Nobody has read it: it goes there whole.
    world.guards.order(ALL, Order::Open);
    assert_eq!(world.ask("POST", "/", "", "an order").await.status, 200);
    assert_eq!(other.asked().pop().unwrap().body, "an order");
}

fn good(headers: &[(&'static str, &str)]) -> Mood {
    let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    Mood::With(200, headers, Bytes::from_static(b"the books"))
}

#[tokio::test]
async fn the_last_good_answer_is_given_while_it_is_young_enough() {
    let service = Service::start(good(&[("etag", "\"1\""), ("x-request-id", "the-first")])).await;
    let stale = |max_age| falls_back(spec::Fallback::Stale { max_age });
    let world = World::web(stale(PATIENCE), &[&service]).await;
    let endpoints = world.ready("web", &[&service]);
    assert_eq!(world.get("/books").await.text(), "the books");
    service.is(Mood::Says(503));
    let reply = world.get("/books").await;
    assert_eq!((reply.status, reply.text()), (200, "the books"));
    assert_eq!((reply.header("x-atoll-fallback"), reply.header("etag")), (Some("stale"), Some("\"1\"")));
    assert_eq!(reply.header("age"), Some("0"));
    assert_ne!(reply.header("x-request-id"), Some("the-first"));
    assert!(last(&world).await.fallback);
    let mut client = world.harness.client().await;
    client.send("HEAD /books HTTP/1.1\r\nHost: test\r\n\r\n").await;
    assert_eq!(client.reply_to_head().await.status, 200);
    // Only to the same question.
    assert_eq!(world.get("/books?page=2").await.status, 503);
    assert_eq!(world.ask("POST", "/books", "", "").await.status, 503);
    assert_eq!(world.ask("GET", "/books", "Accept-Language: de\r\n", "").await.status, 503);
    // It outlives the table, and grows old.
    world.change(&web_under(stale(ms(1))));
    assert_eq!(world.get("/books").await.status, 503);
    world.change(&web_under(stale(PATIENCE)));
    assert_eq!(world.get("/books").await.status, 200);
    drop(client);
    world.is_idle(&endpoints).await;
}

#[tokio::test]
async fn what_was_one_persons_is_never_given_to_another() {
    let service = Service::start(good(&[])).await;
    let world = World::web(falls_back(spec::Fallback::Stale { max_age: PATIENCE }), &[&service]).await;
    for (path, headers) in [("/a", "Authorization: Bearer x\r\n"), ("/b", "Cookie: id=1\r\n")] {
        assert_eq!(world.ask("GET", path, headers, "").await.status, 200);
    }
    let kinds = [
        ("/c", ("set-cookie", "id=1")),
        ("/d", ("cache-control", "private, max-age=9")),
        ("/e", ("cache-control", "No-Store")),
        ("/f", ("vary", "Accept, Cookie")),
        ("/g", ("vary", "*")),
    ];
    for (path, header) in kinds {
        service.is(good(&[header]));
        assert_eq!(world.get(path).await.status, 200);
    }
    service.is(good(&[]));
    assert_eq!(world.get("/plain").await.status, 200);
    service.is(Mood::Says(500));
    for path in ["/a", "/b", "/c", "/d", "/e", "/f", "/g"] {
        assert_eq!(world.get(path).await.status, 500, "{path}");
    }
    assert_eq!(world.ask("GET", "/plain", "Cookie: id=1\r\n", "").await.status, 500);
    assert_eq!(world.get("/plain").await.text(), "the books");
}

#[tokio::test]
async fn an_answer_that_broke_off_is_not_kept() {
    let server = Server::raw(|mut stream| async move {
        read_head(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nthe b").await;
    })
    .await;
    let world = World::start(&web_under(falls_back(spec::Fallback::Stale { max_age: PATIENCE }))).await;
    world.harness.ready("web", &[server.address]);
    assert!(!world.get("/").await.whole);
    world.ready("web", &[]);
    assert_eq!(world.get("/").await.status, 503);
}
