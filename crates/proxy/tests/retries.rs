//! What is tried again and what never, and the second try beside a slow one.
#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers outside test functions

mod common;
mod policies;

use std::time::{Duration, Instant};

use bytes::Bytes;
use common::*;
use kit::units::Share;
use manifest::spec;
use policies::*;
use proxy::Kind;

/// Further tries without a pause to speak of, and no breaker in the way.
fn retry(change: impl FnOnce(&mut spec::Retry)) -> spec::Guard {
    rule(|guard| {
        guard.breaker = None;
        guard.retry.attempts = 1;
        guard.retry.backoff = ms(1);
        guard.retry.max_backoff = ms(2);
        change(&mut guard.retry);
    })
}

#[tokio::test]
async fn a_read_that_a_service_could_not_answer_is_tried_again_on_another_instance() {
    let (bad, good) = (Service::start(Mood::Says(503)).await, Service::start(Mood::Says(200)).await);
    let world = World::web(retry(|retry| retry.attempts = 1), &[&bad, &good]).await;
    let endpoints = world.ready("web", &[&bad, &good]);
    let mut client = world.harness.client().await;
    for _ in 0..40 {
        assert_eq!(client.get("/").await.status, 200);
    }
    assert!(bad.count() > 0);
    assert_eq!(good.count(), 40);
    let tried = world.harness.records.nth(40).await;
    assert!((1..=2).contains(&tried.attempts) && tried.error.is_none());
    assert_eq!(world.harness.proxy.stats().retries, bad.count() as u64);
    drop(client);
    world.is_idle(&endpoints).await;
}

#[tokio::test]
async fn only_statuses_that_were_listed_are_tried_again_and_only_so_often() {
    let service = Service::start(Mood::Says(503)).await;
    let world = World::web(retry(|retry| retry.attempts = 2), &[&service]).await;
    assert_eq!((world.get("/").await.status, service.count()), (503, 3));
    service.is(Mood::Says(500));
    assert_eq!((world.get("/").await.status, service.count()), (500, 4));
    world.change(&web_under(retry(|retry| retry.statuses = vec![500])));
    assert_eq!((world.get("/").await.status, service.count()), (500, 6));
    world.change(&web_under(retry(|retry| retry.attempts = 0)));
    service.is(Mood::Says(503));
    assert_eq!((world.get("/").await.status, service.count()), (503, 7));
}

#[tokio::test]
async fn a_call_that_fails_as_grpc_does_is_tried_again_where_the_file_says_so() {
    let service = Service::start(Mood::unavailable()).await;
    let world = World::web(retry(|retry| retry.any_method = true), &[&service]).await;
    let reply = world.ask("POST", "/", "", "").await;
    assert_eq!((reply.header("grpc-status"), service.count()), (Some("14"), 2));
    world.change(&web_under(retry(|retry| retry.any_method = false)));
    world.ask("POST", "/", "", "").await;
    assert_eq!(service.count(), 3);
}

#[tokio::test]
async fn a_post_is_not_repeated_unless_it_never_left_or_the_file_says_so() {
    let service = Service::start(Mood::Says(503)).await;
    let world = World::web(retry(|retry| retry.attempts = 3), &[&service]).await;
    assert_eq!(world.ask("POST", "/", "", "").await.status, 503);
    assert_eq!(service.count(), 1);
    world.change(&web_under(retry(|retry| (retry.attempts, retry.any_method) = (3, true))));
    assert_eq!(world.ask("POST", "/", "", "").await.status, 503);
    assert_eq!(service.count(), 5);
    // It never left: nobody listens at one of the two addresses.
    world.change(&web_under(retry(|_| {})));
    service.is(Mood::Says(200));
    world.harness.ready("web", &[nowhere().await, service.address]);
    for _ in 0..10 {
        assert_eq!(world.ask("POST", "/", "", "pay").await.status, 200);
    }
    assert_eq!(service.count(), 15);
}

#[tokio::test]
async fn a_body_that_was_begun_is_never_sent_again_and_one_that_was_not_is() {
    let service = Service::start(Mood::Says(503)).await;
    let world = World::web(retry(|retry| (retry.attempts, retry.any_method) = (3, true)), &[&service]).await;
    for method in ["PUT", "POST"] {
        assert_eq!(world.ask(method, "/", "", "all of it").await.status, 503);
    }
    assert_eq!(service.count(), 2);
    // One that refuses by the head alone, and one that takes it.
    let (refuses, takes) =
        (Service::that_reads_no_body(Mood::Says(503)).await, Service::start(Mood::Says(200)).await);
    world.ready("web", &[&refuses, &takes]);
    let mut clients = Vec::new();
    while refuses.count() == 0 {
        let mut client = world.harness.client().await;
        client
            .send("PUT / HTTP/1.1\r\nHost: test\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n")
            .await;
        clients.push(client);
        assert!(clients.len() < 100, "nobody asks the one that refuses");
        // Refused or not, in the end it is the other one that waits for the body.
        takes.until_under_way(clients.len()).await;
    }
    let mut client = clients.pop().unwrap();
    client.send("all of it").await;
    let mut reply = client.reply().await;
    if reply.status == 100 {
        reply = client.reply().await;
    }
    assert_eq!(reply.status, 200);
    assert_eq!(takes.asked().last().unwrap().body, "all of it");
}

#[tokio::test]
async fn under_total_failure_retries_are_a_fifth_of_the_requests() {
    const REQUESTS: usize = 600;
    let service = Service::start(Mood::Says(503)).await;
    let world = World::web(retry(|retry| retry.attempts = 5), &[&service]).await;
    let clients = (0..6).map(|_| async {
        let mut client = world.harness.client().await;
        for _ in 0..REQUESTS / 6 {
            assert_eq!(client.get("/").await.status, 503);
        }
    });
    futures_util::future::join_all(clients).await;
    let retries = service.count() - REQUESTS;
    // A fifth, one a second that needs no requests to earn it, and one too many for each thread.
    assert!((REQUESTS / 5..=REQUESTS / 5 + 10 + 2).contains(&retries), "{retries} retries");
    let state = world.state(ALL, "web");
    assert_eq!((state.requests, state.retries), (REQUESTS as u64, retries as u64));
    world.is_idle(&[]).await;
}

#[tokio::test]
async fn without_a_budget_nothing_is_tried_again() {
    let service = Service::start(Mood::Says(503)).await;
    let world = World::web(retry(|retry| retry.budget = Share::NONE), &[&service]).await;
    assert_eq!((world.get("/").await.status, service.count()), (503, 1));
}

#[tokio::test]
async fn a_try_that_takes_too_long_makes_room_for_another() {
    let (hangs, good) = (Service::start(Mood::Hangs).await, Service::start(Mood::Says(200)).await);
    let guard = retry(|retry| (retry.attempts, retry.per_try) = (1, Some(ms(100))));
    let world = World::web(guard, &[&hangs, &good]).await;
    let endpoints = world.ready("web", &[&hangs, &good]);
    let start = Instant::now();
    while hangs.count() == 0 {
        assert_eq!(world.get("/").await.status, 200);
        assert!(start.elapsed() < PATIENCE);
    }
    let left: u64 = hangs.asked()[0].header("x-request-timeout-ms").unwrap().parse().unwrap();
    assert!(left <= 100, "it is told how long the try is waited for");
    hangs.until_under_way(0).await; // and given up
    good.is(Mood::Hangs);
    world.get("/").await.is_problem(504, "A0715", "http_response_timeout");
    world.is_idle(&endpoints).await;
}

#[tokio::test]
async fn a_pause_that_a_service_asks_for_is_made_if_there_is_time_for_it() {
    let pause = |seconds: &str| Mood::With(503, vec![("retry-after", seconds.to_owned())], Bytes::new());
    let service = Service::start(pause("1")).await;
    let world = World::web(retry(|retry| retry.attempts = 1), &[&service]).await;
    let start = Instant::now();
    let mut client = world.begin("/").await;
    service.until_asked(1).await;
    service.is(Mood::Says(200));
    assert_eq!(client.reply().await.status, 200);
    assert!(start.elapsed() >= Duration::from_secs(1));
    // Longer than the deadline: the answer itself says when to come again.
    service.is(pause("3600"));
    let start = Instant::now();
    let reply = world.get("/").await;
    assert_eq!((reply.status, reply.header("retry-after"), service.count()), (503, Some("3600"), 3));
    assert!(start.elapsed() < Duration::from_secs(5));
    assert_eq!(world.state(ALL, "web").retries, 1, "what is not tried is not paid for");
}

#[tokio::test]
async fn a_client_that_leaves_during_a_pause_leaves_nothing_behind() {
    let service = Service::start(Mood::With(503, vec![("retry-after", "5".to_owned())], Bytes::new())).await;
    let world = World::web(retry(|retry| retry.attempts = 1), &[&service]).await;
    let endpoints = world.ready("web", &[&service]);
    let client = world.begin("/").await;
    service.until_asked(1).await;
    until("it pauses, and has let go of the instance", || endpoints[0].in_flight() == 0).await;
    drop(client);
    world.is_idle(&endpoints).await;
    assert_eq!(world.harness.records.nth(1).await.error, Some(Kind::ClientGone));
    assert_eq!(service.count(), 1);
}

// ---- hedges ----

/// Instances in turn, so that the first of two tries goes to each of them.
fn hedged(guard: impl FnOnce(&mut spec::Guard)) -> spec::App {
    let mut web = routed("web", [(ALL, rule(guard))]);
    web.balance.by = spec::BalanceBy::RoundRobin;
    app([web])
}

#[tokio::test]
async fn a_second_try_beside_a_slow_one_answers_and_the_loser_is_cancelled() {
    let (hangs, good) = (Service::start(Mood::Hangs).await, Service::start(Mood::Says(200)).await);
    let world = World::start(&hedged(|guard| guard.hedge = Some(spec::Hedge { after: ms(30) }))).await;
    let endpoints = world.ready("web", &[&hangs, &good]);
    let start = Instant::now();
    while hangs.count() == 0 {
        assert_eq!(world.get("/").await.status, 200);
        assert!(start.elapsed() < PATIENCE);
    }
    hangs.until_under_way(0).await;
    world.is_idle(&endpoints).await;
    let records = world.harness.records.all();
    let hedge = records.iter().find(|record| record.hedges == 1).expect("one was hedged");
    assert_eq!((hedge.attempts, hedge.status, hedge.error), (2, 200, None));
    assert!(hedge.endpoint.as_ref().is_some_and(|endpoint| endpoint.address() == good.address));
    assert_eq!(world.state(ALL, "web").retries, 1, "it is paid for like a retry");
    // It never answered, and yet it is known for slow.
    let latency = endpoints[0].latency(registry::Moment::now()).unwrap();
    assert!(latency >= ms(20), "{latency:?}");
}

#[tokio::test]
async fn what_is_quick_or_no_read_has_no_second_try() {
    let (one, other) = (Service::start(Mood::Says(200)).await, Service::start(Mood::Says(200)).await);
    let world = World::start(&hedged(|guard| guard.hedge = Some(spec::Hedge { after: ms(150) }))).await;
    world.ready("web", &[&one, &other]);
    let mut client = world.harness.client().await;
    for _ in 0..20 {
        client.get("/").await;
    }
    for service in [&one, &other] {
        service.is(Mood::After(ms(300), 200));
    }
    assert_eq!(world.ask("POST", "/", "", "").await.status, 200);
    assert_eq!(world.ask("GET", "/", "", "a body").await.status, 200);
    assert_eq!(one.count() + other.count(), 22);
    assert!(world.harness.records.all().iter().all(|record| record.hedges == 0));
}

#[tokio::test]
async fn second_tries_beside_the_first_are_bounded_by_the_budget_too() {
    const REQUESTS: usize = 200;
    let (one, other) =
        (Service::start(Mood::After(ms(20), 200)).await, Service::start(Mood::After(ms(20), 200)).await);
    let world = World::start(&hedged(|guard| guard.hedge = Some(spec::Hedge { after: ms(1) }))).await;
    let endpoints = world.ready("web", &[&one, &other]);
    let clients = (0..10).map(|_| async {
        let mut client = world.harness.client().await;
        for _ in 0..REQUESTS / 10 {
            assert_eq!(client.get("/").await.status, 200);
        }
    });
    futures_util::future::join_all(clients).await;
    let hedges = one.count() + other.count() - REQUESTS;
    assert!((REQUESTS / 5..=REQUESTS / 5 + 12).contains(&hedges), "{hedges} hedges");
    world.is_idle(&endpoints).await;
}

#[tokio::test]
async fn a_second_try_that_fails_does_not_end_the_first() {
    let (slow, bad) =
        (Service::start(Mood::After(ms(200), 200)).await, Service::start(Mood::Says(503)).await);
    let guard = |guard: &mut spec::Guard| {
        guard.hedge = Some(spec::Hedge { after: ms(20) });
        guard.retry.attempts = 0;
        guard.breaker = None;
    };
    let world = World::start(&hedged(guard)).await;
    let endpoints = world.ready("web", &[&slow, &bad]);
    for _ in 0..4 {
        let before = slow.count();
        let reply = world.get("/").await;
        // Asked first, the bad one is no slow one: there is no second try.
        assert_eq!(reply.status, if slow.count() > before { 200 } else { 503 });
    }
    assert!(slow.count() > 0 && bad.count() >= slow.count());
    world.is_idle(&endpoints).await;
}

#[tokio::test]
async fn a_client_that_leaves_while_two_tries_are_under_way_cancels_both() {
    let (one, other) = (Service::start(Mood::Hangs).await, Service::start(Mood::Hangs).await);
    let world = World::start(&hedged(|guard| guard.hedge = Some(spec::Hedge { after: ms(10) }))).await;
    let endpoints = world.ready("web", &[&one, &other]);
    let client = world.begin("/").await;
    one.until_under_way(1).await;
    other.until_under_way(1).await;
    drop(client);
    one.until_under_way(0).await;
    other.until_under_way(0).await;
    world.is_idle(&endpoints).await;
}
