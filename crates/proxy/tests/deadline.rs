//! How long whoever called waits, at one hop and over several.
#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers outside test functions

mod common;
mod policies;

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use common::*;
use kit::units::Share;
use manifest::spec;
use policies::*;
use proxy::{Entrance, Limits};

/// What a service was told is left, in milliseconds.
fn told(asked: &Asked) -> u64 {
    asked.header("x-request-timeout-ms").unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_service_is_told_what_is_left_and_a_caller_may_lower_it_but_not_raise_it() {
    let service = Service::start(Mood::Says(200)).await;
    let world = World::web(rule(|guard| guard.timeout = ms(9000)), &[&service]).await;
    for (headers, most) in [
        ("", 9000),
        ("X-Request-Timeout-Ms: 7000\r\n", 7000),
        ("X-Request-Timeout-Ms: 90000\r\n", 9000),
        ("X-Request-Timeout-Ms: soon\r\n", 9000),
        ("grpc-timeout: 5000m\r\n", 5000),
        ("grpc-timeout: 5000m\r\nX-Request-Timeout-Ms: 3000\r\n", 3000),
    ] {
        assert_eq!(world.ask("GET", "/", headers, "").await.status, 200);
        let asked = service.asked().pop().unwrap();
        assert!(told(&asked) <= most && told(&asked) + 2000 > most, "{headers}: {}", told(&asked));
        let grpc = asked.header("grpc-timeout").map(str::to_owned);
        assert_eq!(grpc, headers.contains("grpc").then(|| format!("{}m", told(&asked))));
    }
}

#[tokio::test]
async fn an_answer_is_not_awaited_for_longer_than_the_caller_waits() {
    let service = Service::start(Mood::Hangs).await;
    let world = World::web(rule(|_| {}), &[&service]).await;
    let endpoints = world.ready("web", &[&service]);
    for header in ["X-Request-Timeout-Ms: 100\r\n", "grpc-timeout: 100000u\r\n"] {
        let start = Instant::now();
        let reply = world.ask("GET", "/", header, "").await;
        reply.is_problem(504, "A0715", "http_response_timeout");
        assert!((ms(100)..Duration::from_secs(5)).contains(&start.elapsed()));
    }
    service.until_under_way(0).await; // cancelled with it
    world.is_idle(&endpoints).await;
}

#[tokio::test]
async fn work_that_is_over_is_refused_before_it_begins() {
    let service = Service::start(Mood::Says(200)).await;
    let delay = spec::Fault {
        share: Share::ALL,
        headers: vec![spec::HeaderMatch { name: "x-slow".parse().unwrap(), value: None }],
        delay: Some(ms(80)),
        abort: None,
        truncate: None,
    };
    let world = World::web(rule(|guard| guard.faults = vec![delay]), &[&service]).await;
    for headers in
        ["X-Request-Timeout-Ms: 0\r\n", "grpc-timeout: 0S\r\n", "X-Slow: 1\r\nX-Request-Timeout-Ms: 40\r\n"]
    {
        let reply = world.ask("GET", "/", headers, "").await;
        reply.is_problem(504, "A0724", "http_response_timeout");
    }
    assert_eq!(service.count(), 0);
}

/// `gateway → orders → mesh → payments`, where `orders` passes on what it was told.
async fn two_hops(gateway: Duration, mesh: Duration, payments: &Service) -> (World, Service) {
    let address = Arc::new(OnceLock::<std::net::SocketAddr>::new());
    let mesh_address = Arc::clone(&address);
    let orders = Service::that_calls(move |asked| {
        let address = *mesh_address.get().unwrap();
        async move {
            let timeout = asked.header("x-request-timeout-ms").unwrap();
            let headers = format!("X-Request-Timeout-Ms: {timeout}\r\n");
            Client::connect(address).await.ask("GET", "/pay", &headers, "").await
        }
    })
    .await;
    let mut caller = routed("orders", [(ALL, rule(|guard| guard.timeout = gateway))]);
    caller.calls.insert(name("payments"), spec::Call { guard: rule(|guard| guard.timeout = mesh) });
    let world = World::start(&app([caller, service("payments")])).await;
    let entrance = Entrance::Mesh { caller: name("orders"), callee: name("payments") };
    address.set(listen(&world.harness.proxy, entrance).await).unwrap();
    world.ready("orders", &[&orders]);
    world.ready("payments", &[payments]);
    (world, orders)
}

#[tokio::test]
async fn a_deadline_travels_and_is_lowered_at_each_hop() {
    let payments = Service::start(Mood::Says(200)).await;
    let (world, orders) = two_hops(ms(8000), ms(600), &payments).await;
    assert_eq!(world.get("/").await.status, 200);
    let (first, second) = (told(&orders.asked()[0]), told(&payments.asked()[0]));
    assert!(first <= 8000 && second <= 600, "the mesh allows less: {first} {second}");
    // The client allows less than either.
    assert_eq!(world.ask("GET", "/", "X-Request-Timeout-Ms: 550\r\n", "").await.status, 200);
    let (first, second) = (told(&orders.asked()[1]), told(&payments.asked()[1]));
    assert!(first <= 550 && second <= first, "{first} {second}");
    // Nobody waits anywhere once the client does not.
    payments.is(Mood::Hangs);
    let start = Instant::now();
    let reply = world.ask("GET", "/", "X-Request-Timeout-Ms: 150\r\n", "").await;
    assert_eq!(reply.status, 504);
    assert!(start.elapsed() < Duration::from_secs(5));
    payments.until_under_way(0).await;
    orders.until_under_way(0).await;
    world.is_idle(&[]).await;
}

#[tokio::test]
async fn time_that_a_queue_or_a_first_try_took_is_gone() {
    let (bad, good) =
        (Service::start(Mood::After(ms(150), 503)).await, Service::start(Mood::Says(200)).await);
    let guard = rule(|guard| {
        guard.timeout = ms(4000);
        guard.retry.attempts = 1;
    });
    let world = World::web(guard, &[&bad, &good]).await;
    while bad.count() == 0 {
        assert_eq!(world.get("/").await.status, 200);
    }
    assert!(told(good.asked().last().unwrap()) <= 4000 - 150);
}

#[tokio::test]
async fn a_body_that_comes_slowly_is_not_counted_against_the_service_but_against_the_caller() {
    let service = Service::start(Mood::Says(200)).await;
    let world = World::web(rule(|guard| guard.timeout = ms(300)), &[&service]).await;
    let slowly = async |headers: &str| {
        let mut client = world.harness.client().await;
        client.send(&format!("POST / HTTP/1.1\r\nHost: test\r\n{headers}Content-Length: 8\r\n\r\n")).await;
        for _ in 0..8 {
            tokio::time::sleep(ms(60)).await;
            if client.stream.try_write(b"x").is_err() {
                break;
            }
        }
        client.reply().await.status
    };
    assert_eq!(slowly("").await, 200);
    assert_eq!(slowly("X-Request-Timeout-Ms: 200\r\n").await, 504);
}

#[tokio::test]
async fn a_body_that_drips_for_ever_holds_no_place_for_ever_and_is_not_held_against_the_service() {
    let service = Service::start(Mood::Says(200)).await;
    let guard = rule(|guard| {
        guard.timeout = ms(100);
        guard.breaker = Some(spec::Breaker { of: 1, ..spec::Breaker::default() });
    });
    let limits = Limits { body_slack: ms(200), ..Limits::default() };
    let world = World::with(&web_under(guard), limits).await;
    let endpoints = world.ready("web", &[&service]);
    let mut client = world.harness.client().await;
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 1000000\r\n\r\n").await;
    let (mut reading, mut writing) = client.stream.into_split();
    let drip = async {
        let mut every = tokio::time::interval(ms(20));
        while tokio::io::AsyncWriteExt::write_all(&mut writing, b"x").await.is_ok() {
            every.tick().await;
        }
        std::future::pending::<()>().await;
    };
    let mut told = [0; 12];
    tokio::select! {
        read = within(tokio::io::AsyncReadExt::read_exact(&mut reading, &mut told)) => drop(read.unwrap()),
        () = drip => {}
    }
    assert_eq!(told, *b"HTTP/1.1 408");
    world.is_idle(&endpoints).await;
    assert_eq!(world.breaker(), proxy::policy::breaker::State::Closed);
}
