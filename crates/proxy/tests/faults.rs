//! Faults made on purpose.
#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers outside test functions

mod common;
mod policies;

use std::time::Instant;

use bytes::Bytes;
use common::*;
use kit::units::Share;
use manifest::spec;
use policies::*;
use proxy::Kind;

fn fault(change: impl FnOnce(&mut spec::Fault)) -> spec::Fault {
    let mut fault =
        spec::Fault { share: Share::ALL, headers: Vec::new(), delay: None, abort: None, truncate: None };
    change(&mut fault);
    fault
}

async fn world(service: &Service, faults: Vec<spec::Fault>) -> World {
    World::web(rule(|guard| guard.faults = faults), &[service]).await
}

#[tokio::test]
async fn a_delay_holds_a_request_up_and_an_abort_answers_in_the_services_stead() {
    let service = Service::start(Mood::Says(200)).await;
    let delays = world(&service, vec![fault(|fault| fault.delay = Some(ms(120)))]).await;
    let start = Instant::now();
    let reply = delays.get("/").await;
    assert_eq!((reply.status, reply.header("x-atoll-fault"), service.count()), (200, None, 1));
    assert!(start.elapsed() >= ms(120));

    let aborts =
        world(&service, vec![fault(|fault| (fault.delay, fault.abort) = (Some(ms(80)), Some(418)))]).await;
    let start = Instant::now();
    let reply = aborts.get("/").await;
    assert_eq!((reply.status, reply.header("x-atoll-fault"), service.count()), (418, Some("abort"), 1));
    assert!(start.elapsed() >= ms(80));
    assert_eq!(aborts.harness.records.nth(1).await.error, Some(Kind::Injected));
}

#[tokio::test]
async fn a_delay_ends_with_the_deadline() {
    let service = Service::start(Mood::Says(200)).await;
    let hour = fault(|fault| fault.delay = Some(ms(3_600_000)));
    let guard = rule(|guard| (guard.timeout, guard.faults) = (ms(5000), vec![hour.clone()]));
    let world = World::web(guard, &[&service]).await;
    let reply = world.ask("GET", "/", "X-Request-Timeout-Ms: 50\r\n", "").await;
    reply.is_problem(504, "A0724", "http_response_timeout");
    world.change(&web_under(rule(|guard| (guard.timeout, guard.faults) = (ms(50), vec![hour]))));
    world.get("/").await.is_problem(504, "A0724", "http_response_timeout");
    assert_eq!(service.count(), 0);
}

#[tokio::test]
async fn a_truncated_answer_is_seen_to_be_one() {
    let service = Service::start(Mood::With(200, Vec::new(), Bytes::from(vec![b'x'; 100_000]))).await;
    let world = world(&service, vec![fault(|fault| fault.truncate = Some(kit::units::Bytes(70_000)))]).await;
    let endpoints = world.ready("web", &[&service]);
    let reply = world.get("/").await;
    assert_eq!((reply.status, reply.header("x-atoll-fault"), reply.whole), (200, Some("truncate"), false));
    assert_eq!(reply.header("content-length"), Some("100000"));
    let record = world.harness.records.nth(1).await;
    assert_eq!((record.error, record.bytes_out), (Some(Kind::Injected), 70_000));
    world.is_idle(&endpoints).await;
    // In chunks, and before the first byte.
    let chunks = Server::raw(|mut stream| async move {
        use tokio::io::AsyncWriteExt;
        read_head(&mut stream).await;
        let head =
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n5\r\nworld\r\n0\r\n\r\n";
        let _ = stream.write_all(head).await;
        std::future::pending::<()>().await;
    })
    .await;
    for bytes in [7, 0] {
        world.change(&web_under(rule(|guard| {
            guard.faults = vec![fault(|fault| fault.truncate = Some(kit::units::Bytes(bytes)))];
        })));
        let endpoints = world.harness.ready("web", &[chunks.address]);
        let reply = world.get("/").await;
        assert_eq!((reply.status, reply.whole), (200, false));
        assert_eq!(reply.body, b"helloworld"[..bytes as usize]);
        world.is_idle(&endpoints).await;
    }
}

#[tokio::test]
async fn only_requests_that_match_are_struck_and_by_the_first_fault_alone() {
    let service = Service::start(Mood::Says(200)).await;
    let of = |value: Option<&str>| {
        let value = value.map(str::to_owned);
        vec![spec::HeaderMatch { name: "x-chaos".parse().unwrap(), value }]
    };
    let faults = vec![
        fault(|fault| (fault.headers, fault.abort) = (of(Some("hard")), Some(500))),
        fault(|fault| (fault.headers, fault.abort) = (of(None), Some(429))),
    ];
    let world = world(&service, faults).await;
    for (headers, status) in [
        ("", 200),
        ("X-Chaos: hard\r\n", 500),
        ("X-Chaos: soft\r\n", 429),
        ("X-Chaos: soft\r\nX-Chaos: hard\r\n", 500),
    ] {
        assert_eq!(world.ask("GET", "/", headers, "").await.status, status, "{headers}");
    }
    assert_eq!(service.count(), 1);
}

#[tokio::test]
async fn a_share_of_the_requests_is_struck() {
    const REQUESTS: usize = 1000;
    let service = Service::start(Mood::Says(200)).await;
    let faults = vec![fault(|fault| (fault.share, fault.abort) = (Share::percent(20), Some(503)))];
    let world = world(&service, faults).await;
    let mut client = world.harness.client().await;
    for _ in 0..REQUESTS {
        assert!([200, 503].contains(&client.get("/").await.status));
    }
    let struck = REQUESTS - service.count();
    assert!((200 - 64..=200 + 64).contains(&struck), "{struck}"); // five standard deviations
}

#[tokio::test]
async fn a_client_that_leaves_during_a_delay_leaves_nothing_behind() {
    let service = Service::start(Mood::Says(200)).await;
    let world = world(&service, vec![fault(|fault| fault.delay = Some(PATIENCE * 6))]).await;
    let endpoints = world.ready("web", &[&service]);
    let client = world.begin("/").await;
    until("it is held up", || world.harness.proxy.stats().in_flight == 1).await;
    drop(client);
    world.is_idle(&endpoints).await;
    assert_eq!(service.count(), 0);
}

#[tokio::test]
async fn a_fault_does_not_open_the_breaker_of_the_service_it_spares() {
    let service = Service::start(Mood::Says(200)).await;
    let guard = rule(|guard| {
        guard.faults = vec![fault(|fault| fault.abort = Some(500))];
        guard.breaker = Some(spec::Breaker { of: 2, ..spec::Breaker::default() });
    });
    let world = World::web(guard, &[&service]).await;
    for _ in 0..5 {
        assert_eq!(world.get("/").await.header("x-atoll-fault"), Some("abort"));
    }
    assert_eq!(world.breaker(), proxy::policy::breaker::State::Closed);
}
