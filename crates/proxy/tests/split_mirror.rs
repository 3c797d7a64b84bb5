//! Parts of the requests for other services, and copies of them.
#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers outside test functions

mod common;
mod policies;

use std::time::Instant;

use common::*;
use kit::units::Share;
use manifest::spec;
use policies::*;
use proxy::Limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn part(to: &str, percent: u32) -> spec::Split {
    spec::Split { to: name(to), share: Share::percent(percent), headers: Vec::new(), cookies: Vec::new() }
}

fn split(parts: Vec<spec::Split>) -> spec::App {
    app([routed("web", [(ALL, rule(|guard| guard.split = parts))]), service("next"), service("beta")])
}

/// `web`, `next` and `beta`, each answering.
async fn three(world: &World) -> [Service; 3] {
    let mut services = Vec::new();
    for service in ["web", "next", "beta"] {
        let started = Service::start(Mood::Says(200)).await;
        world.ready(service, &[&started]);
        services.push(started);
    }
    services.try_into().ok().unwrap()
}

#[tokio::test]
async fn each_part_gets_its_share() {
    const REQUESTS: usize = 2000;
    let world = World::start(&split(vec![part("next", 10), part("beta", 30)])).await;
    let services = three(&world).await;
    let clients = (0..4).map(|_| async {
        let mut client = world.harness.client().await;
        for _ in 0..REQUESTS / 4 {
            assert_eq!(client.get("/").await.status, 200);
        }
    });
    futures_util::future::join_all(clients).await;
    let counts = services.map(|service| service.count());
    // Five standard deviations.
    assert!((200 - 67..=200 + 67).contains(&counts[1]), "{counts:?}");
    assert!((600 - 103..=600 + 103).contains(&counts[2]), "{counts:?}");
    assert_eq!(counts.iter().sum::<usize>(), REQUESTS);
    world.is_idle(&[]).await;
}

#[tokio::test]
async fn a_header_or_a_cookie_says_who_gets_it() {
    let header = |value: Option<&str>| spec::HeaderMatch {
        name: "x-try".parse().unwrap(),
        value: value.map(str::to_owned),
    };
    let by_header = spec::Split { headers: vec![header(Some("next"))], ..part("next", 100) };
    let by_cookie =
        spec::Split { cookies: vec![("beta".to_owned(), Some("yes".to_owned()))], ..part("beta", 100) };
    let world = World::start(&split(vec![by_header, by_cookie])).await;
    let [web, next, beta] = three(&world).await;
    for (headers, seen) in [
        ("", [1, 0, 0]),
        ("X-Try: next\r\n", [1, 1, 0]),
        ("X-Try: other\r\n", [2, 1, 0]),
        ("Cookie: a=1; beta=yes\r\n", [2, 1, 1]),
        ("Cookie: beta=no\r\n", [3, 1, 1]),
        ("Cookie: xbeta=yes\r\n", [4, 1, 1]),
        ("Cookie: beta=yes\r\nX-Try: next\r\n", [4, 2, 1]),
    ] {
        assert_eq!(world.ask("GET", "/", headers, "").await.status, 200);
        assert_eq!([web.count(), next.count(), beta.count()], seen, "{headers}");
    }
}

#[tokio::test]
async fn each_part_has_a_breaker_of_its_own() {
    let breaker = spec::Breaker { of: 2, open: PATIENCE, ..spec::Breaker::default() };
    let parts = vec![spec::Split { cookies: vec![("next".to_owned(), None)], ..part("next", 100) }];
    let guard = rule(|guard| (guard.split, guard.breaker) = (parts, Some(breaker)));
    let world = World::start(&app([routed("web", [(ALL, guard)]), service("next"), service("beta")])).await;
    let [web, next, _] = three(&world).await;
    next.is(Mood::Says(500));
    for _ in 0..2 {
        assert_eq!(world.ask("GET", "/", "Cookie: next=1\r\n", "").await.status, 500);
    }
    let reply = world.ask("GET", "/", "Cookie: next=1\r\n", "").await;
    reply.is_problem(503, "A0725", "destination_unavailable");
    assert_eq!((world.get("/").await.status, web.count()), (200, 1));
}

// ---- mirrors ----

fn mirrored(percent: u32) -> spec::App {
    let mirror = spec::Mirror { to: name("next"), share: Share::percent(percent) };
    app([routed("web", [(ALL, rule(|guard| guard.mirror = Some(mirror)))]), service("next"), service("beta")])
}

#[tokio::test]
async fn a_copy_has_the_same_head_and_body_and_its_answer_is_thrown_away() {
    let world = World::start(&mirrored(100)).await;
    let [web, next, _] = three(&world).await;
    next.is(Mood::With(200, vec![("x-from", "the mirror".to_owned())], "never seen".into()));
    let reply = world.ask("POST", "/a?b=c", "X-Mine: 1\r\n", "an order").await;
    assert_eq!((reply.status, reply.text(), reply.header("x-from")), (200, "200", None));
    next.until_asked(1).await;
    let (real, copy) = (web.asked().remove(0), next.asked().remove(0));
    assert_eq!((copy.method, copy.target, copy.body), (real.method, real.target, real.body));
    assert_eq!(copy.headers.get("x-mine"), real.headers.get("x-mine"));
    assert_eq!(copy.headers.get("x-request-id"), real.headers.get("x-request-id"));
    let mut client = world.harness.client().await;
    for _ in 0..20 {
        client.get("/").await;
    }
    client
        .send("POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
        .await;
    assert_eq!(client.reply().await.status, 200);
    next.until_asked(22).await;
    assert!(next.asked().iter().any(|copy| copy.body == "abc"));
    until("they are counted", || world.harness.proxy.stats().mirrored == [22, 0]).await;
}

#[tokio::test]
async fn a_share_of_the_requests_is_copied() {
    let world = World::start(&mirrored(30)).await;
    let [web, next, _] = three(&world).await;
    let mut client = world.harness.client().await;
    for _ in 0..600 {
        assert_eq!(client.get("/").await.status, 200);
    }
    until("all copies have ended", || world.harness.proxy.stats().mirrored[0] as usize == next.count()).await;
    assert_eq!(web.count(), 600);
    assert!((180 - 56..=180 + 56).contains(&next.count()), "{}", next.count());
}

#[tokio::test]
async fn a_mirror_that_fails_hangs_or_is_gone_is_nobodys_business() {
    let world = World::start(&mirrored(100)).await;
    let [_, next, _] = three(&world).await;
    next.is(Mood::Says(500));
    assert_eq!(world.get("/").await.status, 200);
    until("the failure is counted", || world.harness.proxy.stats().mirrored == [0, 1]).await;
    next.is(Mood::Hangs);
    let start = Instant::now();
    for _ in 0..10 {
        assert_eq!(world.ask("POST", "/", "", "an order").await.status, 200);
    }
    assert!(start.elapsed() < ms(5000));
    next.until_under_way(10).await;
    world.ready("next", &[]);
    assert_eq!(world.get("/").await.status, 200);
    let records = world.harness.records.all();
    assert!(records.iter().all(|record| record.error.is_none() && record.attempts == 1));
}

#[tokio::test]
async fn only_so_many_copies_are_under_way() {
    let limits = Limits { mirrors: 2, ..Limits::default() };
    let world = World::with(&mirrored(100), limits).await;
    let [web, next, _] = three(&world).await;
    let endpoints = world.ready("next", &[&next]);
    next.is(Mood::Hangs);
    let mut client = world.harness.client().await; // of one thread
    for _ in 0..10 {
        assert_eq!(client.get("/").await.status, 200);
    }
    next.until_under_way(2).await;
    assert_eq!((web.count(), next.count()), (10, 2));
    assert_eq!(world.harness.proxy.stats().mirrored, [0, 8]);
    // Their places come back.
    next.is(Mood::Says(200));
    until("they have ended", || world.harness.proxy.stats().mirrored == [2, 8]).await;
    client.get("/").await;
    until("another is copied", || world.harness.proxy.stats().mirrored == [3, 8]).await;
    world.is_idle(&endpoints).await;
}

#[tokio::test]
async fn a_body_that_comes_slowly_is_passed_on_as_it_comes_and_one_that_is_long_is_not_copied() {
    let streams = Server::raw(|mut stream| async move {
        read_head(&mut stream).await;
        let mut half = [0; 4];
        stream.read_exact(&mut half).await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n").await.unwrap();
        stream.write_all(&half).await.unwrap();
        stream.read_exact(&mut half).await.unwrap();
        stream.write_all(&half).await.unwrap();
        std::future::pending::<()>().await;
    })
    .await;
    let world = World::start(&mirrored(100)).await;
    let next = Service::start(Mood::Says(200)).await;
    world.ready("next", &[&next]);
    world.harness.ready("web", &[streams.address]);
    let mut client = world.harness.client().await;
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 8\r\n\r\nhalf").await;
    // The service has the first half, and answers, while the second is not written yet.
    assert!(within(read_head(&mut client.stream)).await.starts_with("HTTP/1.1 200"));
    assert_eq!(next.count(), 0);
    client.send("rest").await;
    next.until_asked(1).await;
    assert_eq!(next.asked()[0].body, "halfrest");

    let web = Service::start(Mood::Says(200)).await;
    world.ready("web", &[&web]);
    let long = "x".repeat(64 * 1024 + 1);
    let chunked = format!("{:x}\r\n{long}\r\n0\r\n\r\n", long.len());
    assert_eq!(world.ask("POST", "/", "", &long).await.status, 200);
    let mut client = world.harness.client().await;
    client
        .send(&format!("POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n{chunked}"))
        .await;
    assert_eq!(client.reply().await.status, 200);
    assert_eq!(world.ask("POST", "/", "", &long[1..]).await.status, 200);
    next.until_asked(2).await;
    assert!(web.asked().iter().map(|asked| asked.body.len()).eq([65_537, 65_537, 65_536]));
    assert_eq!(next.asked()[1].body.len(), 65_536);
    assert_eq!(next.count(), 2);
}

#[tokio::test]
async fn a_request_that_breaks_off_is_not_copied() {
    let world = World::start(&mirrored(100)).await;
    let [web, next, _] = three(&world).await;
    let endpoints = world.ready("next", &[&next]);
    let mut client = world.harness.client().await;
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 8\r\n\r\nhalf").await;
    web.until_under_way(1).await;
    drop(client);
    web.until_under_way(0).await;
    world.is_idle(&endpoints).await;
    assert_eq!(next.count(), 0);
}
