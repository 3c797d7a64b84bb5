//! Ceilings on the rate of requests, shared by the two threads of the proxy.
#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers outside test functions

mod common;
mod policies;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use common::*;
use manifest::spec;
use policies::*;
use proxy::filter::Verdict;
use proxy::table::Additions;
use proxy::{Exchange, Filter};
use tokio::net::TcpSocket;

/// So many at once, and practically none after.
fn at_once(burst: u32, per: spec::LimitKey) -> spec::RateLimit {
    spec::RateLimit { rate: 1, period: Duration::from_secs(3600), burst, per }
}

fn limited(limits: Vec<spec::RateLimit>) -> spec::Guard {
    rule(|guard| guard.limits = limits)
}

/// How many of so many requests pass, each on a connection of its own: some on either thread.
async fn passed(world: &World, count: usize, headers: &str) -> usize {
    let asks = (0..count).map(|_| world.ask("GET", "/", headers, ""));
    let replies = futures_util::future::join_all(asks).await;
    for reply in replies.iter().filter(|reply| reply.status != 200) {
        reply.is_problem(429, "A0728", "http_request_denied");
        let seconds: u64 = reply.header("retry-after").unwrap().parse().unwrap();
        // Of two threads one may have looked at its clock a moment before the other, and what is left is rounded up.
        assert!((3500..=3601).contains(&seconds), "{seconds}");
    }
    replies.iter().filter(|reply| reply.status == 200).count()
}

#[tokio::test]
async fn beyond_the_limit_requests_are_refused_whichever_thread_they_reach() {
    let service = Service::start(Mood::Says(200)).await;
    let world = World::web(limited(vec![at_once(10, spec::LimitKey::Route)]), &[&service]).await;
    assert_eq!(passed(&world, 60, "").await, 10);
    assert_eq!(service.count(), 10);
    // A change of the file does not begin the count anew.
    world.change(&web_under(limited(vec![at_once(10, spec::LimitKey::Route)])));
    assert_eq!(passed(&world, 10, "").await, 0);
    world.change(&web_under(limited(Vec::new())));
    assert_eq!(passed(&world, 10, "").await, 10);
}

#[tokio::test]
async fn each_value_of_a_header_has_its_own_count_and_of_several_limits_each_holds() {
    let service = Service::start(Mood::Says(200)).await;
    let key = spec::LimitKey::Header("x-key".parse().unwrap());
    let limits = vec![at_once(3, key), at_once(8, spec::LimitKey::Route)];
    let world = World::web(limited(limits), &[&service]).await;
    assert_eq!(passed(&world, 6, "X-Key: a\r\n").await, 3);
    assert_eq!(passed(&world, 6, "X-Key: b\r\n").await, 3);
    assert_eq!(passed(&world, 6, "").await, 2, "all are one route");
}

#[tokio::test]
async fn each_client_has_its_own_count() {
    let service = Service::start(Mood::Says(200)).await;
    let world = World::web(limited(vec![at_once(2, spec::LimitKey::Client)]), &[&service]).await;
    for from in [[127, 0, 0, 1], [127, 0, 0, 2]] {
        for n in 0..4 {
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind(SocketAddr::from((from, 0))).unwrap();
            let stream = socket.connect(world.harness.gateway).await.unwrap();
            let status = Client { stream }.get("/").await.status;
            assert_eq!(status, if n < 2 { 200 } else { 429 });
        }
    }
    // What it says of itself does not count.
    assert_eq!(passed(&world, 3, "X-Forwarded-For: 10.0.0.9\r\n").await, 0);
}

/// Stands for a check of tokens.
struct Subject;

impl Filter for Subject {
    fn request(&self, exchange: &mut Exchange) -> Verdict {
        let name = exchange.header(&"x-token".parse().unwrap());
        if let Some(subject) = name.map(String::from_utf8_lossy).map(|name| Arc::from(&*name)) {
            exchange.set_subject(subject);
        }
        Verdict::Continue
    }
}

#[tokio::test]
async fn each_subject_of_a_token_has_its_own_count() {
    let service = Service::start(Mood::Says(200)).await;
    let world = World::start(&app([])).await;
    let limits = limited(vec![at_once(2, spec::LimitKey::User)]);
    world.change_with(
        &web_under(limits),
        Additions { filters: Some(Box::new(|_, _| vec![Box::new(Subject)])), ..Additions::default() },
    );
    world.ready("web", &[&service]);
    assert_eq!(passed(&world, 5, "X-Token: alice\r\n").await, 2);
    assert_eq!(passed(&world, 5, "X-Token: bob\r\n").await, 2);
    assert_eq!(passed(&world, 5, "").await, 2, "without one it is the client's address");
}

#[tokio::test]
async fn what_was_refused_may_come_after_the_time_it_was_told() {
    let service = Service::start(Mood::Says(200)).await;
    let limit = spec::RateLimit { rate: 1, period: ms(600), burst: 1, per: spec::LimitKey::Route };
    let world = World::web(limited(vec![limit]), &[&service]).await;
    assert_eq!(world.get("/").await.status, 200);
    let reply = world.get("/").await;
    assert_eq!((reply.status, reply.header("retry-after")), (429, Some("1")));
    tokio::time::sleep(Duration::from_secs(1)).await; // as it was told
    assert_eq!(world.get("/").await.status, 200);
}
