//! The breaker of a route, in a proxy of two threads.
#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers outside test functions

mod common;
mod h2_raw;
mod h2_service;
mod policies;

use std::time::{Duration, Instant};

use common::*;
use kit::units::Share;
use manifest::spec;
use policies::*;
use proxy::policy::breaker::{Order, State};
use proxy::{Entrance, Kind};
use tokio::io::AsyncWriteExt;

const LONG: Duration = Duration::from_secs(60);

/// Opens at half of four calls.
fn of_four(open: Duration) -> spec::Breaker {
    spec::Breaker { of: 4, open, probes: 2, ..spec::Breaker::default() }
}

fn breaker(breaker: spec::Breaker) -> spec::Guard {
    rule(|guard| guard.breaker = Some(breaker))
}

/// Lets the service fail until the breaker is open.
async fn open(world: &World, service: &Service) {
    service.is(Mood::Says(500));
    for _ in 0..4 {
        world.get("/").await;
    }
    assert_eq!(world.breaker(), State::Open);
}

#[tokio::test]
async fn it_opens_when_enough_calls_fail_and_refuses_at_once_what_follows() {
    let service = Service::start(Mood::Says(500)).await;
    let world = World::web(breaker(of_four(LONG)), &[&service]).await;
    for _ in 0..3 {
        assert_eq!(world.get("/").await.status, 500);
    }
    assert_eq!(world.breaker(), State::Closed, "three calls are too few to judge by");
    assert_eq!(world.get("/").await.status, 500);
    let reply = world.get("/").await;
    reply.is_problem(503, "A0725", "destination_unavailable");
    let retry_after: u64 = reply.header("retry-after").unwrap().parse().unwrap();
    assert!((55..=60).contains(&retry_after), "{retry_after}");
    assert_eq!((service.count(), world.breaker()), (4, State::Open));
    let record = world.harness.records.nth(5).await;
    assert_eq!((record.error, record.attempts), (Some(Kind::BreakerOpen), 0));
    world.is_idle(&[]).await;
}

#[tokio::test]
async fn failures_of_grpc_open_it() {
    let service = Service::start(Mood::unavailable()).await;
    let world = World::web(breaker(of_four(LONG)), &[&service]).await;
    for _ in 0..4 {
        assert_eq!(world.get("/").await.header("grpc-status"), Some("14"));
    }
    assert_eq!((service.count(), world.breaker()), (4, State::Open));
}

#[tokio::test]
async fn an_instance_that_refuses_every_stream_opens_it() {
    let server = h2_service::streams(|(_, mut respond)| async move {
        respond.send_reset(h2::Reason::REFUSED_STREAM);
    })
    .await;
    let mut app = web_under(breaker(of_four(LONG)));
    app.services.get_mut(&name("web")).unwrap().wire = spec::Wire::Http2;
    let world = World::start(&app).await;
    world.harness.ready("web", &[server.address]);
    for _ in 0..4 {
        let status = world.get("/").await.status;
        assert!([502, 503].contains(&status), "{status}");
    }
    assert_eq!(world.breaker(), State::Open);
}

#[tokio::test]
async fn a_smaller_share_of_failures_does_not_open_it() {
    let service = Service::start(Mood::Says(200)).await;
    let world = World::web(breaker(of_four(LONG)), &[&service]).await;
    for n in 0..40 {
        service.is(Mood::Says(if n % 3 == 2 { 500 } else { 200 }));
        world.get("/").await;
    }
    assert_eq!((world.breaker(), service.count()), (State::Closed, 40));
    // Nor does what the client did wrong.
    service.is(Mood::Says(404));
    for _ in 0..40 {
        assert_eq!(world.get("/").await.status, 404);
    }
    assert_eq!(world.breaker(), State::Closed);
}

#[tokio::test]
async fn after_a_while_probes_go_through_and_close_it() {
    let service = Service::start(Mood::Says(500)).await;
    let world = World::web(breaker(of_four(ms(100))), &[&service]).await;
    open(&world, &service).await;
    service.is(Mood::Says(200));
    let start = Instant::now();
    while world.get("/").await.status != 200 {
        assert!(start.elapsed() < PATIENCE);
    }
    while world.breaker() != State::Closed {
        world.get("/").await;
        assert!(start.elapsed() < PATIENCE);
    }
    let seen = world.state(ALL, "web").breaker.unwrap();
    assert_eq!((seen.opened, seen.half_opened, seen.closed), (1, 1, 1));
    for _ in 0..20 {
        assert_eq!(world.get("/").await.status, 200);
    }
}

#[tokio::test]
async fn a_probe_that_fails_opens_it_again() {
    let service = Service::start(Mood::Says(500)).await;
    let world = World::web(breaker(of_four(ms(50))), &[&service]).await;
    open(&world, &service).await;
    until_probing(&world, ms(50)).await;
    assert_eq!(world.get("/").await.status, 500);
    let seen = world.state(ALL, "web").breaker.unwrap();
    assert_eq!((seen.state, seen.opened, seen.half_opened, service.count()), (State::Open, 2, 1, 5));
    world.get("/").await.is_problem(503, "A0725", "destination_unavailable");
}

/// Waits until the breaker would let a probe through.
async fn until_probing(world: &World, open: Duration) {
    until("its time is over", || world.state(ALL, "web").breaker.unwrap().age > open).await;
}

#[tokio::test]
async fn only_so_many_probes_go_at_once_and_who_leaves_gives_its_place_to_another() {
    let service = Service::start(Mood::Says(500)).await;
    let world = World::web(breaker(of_four(ms(50))), &[&service]).await;
    let endpoints = world.ready("web", &[&service]);
    open(&world, &service).await;
    service.is(Mood::Hangs);
    until_probing(&world, ms(50)).await;
    let first = world.begin("/").await;
    let mut second = world.begin("/").await;
    service.until_under_way(2).await;
    assert_eq!(world.breaker(), State::HalfOpen);
    for _ in 0..5 {
        world.get("/").await.is_problem(503, "A0725", "destination_unavailable");
    }
    drop(first);
    service.until_under_way(1).await;
    // Its place is free again, not lost.
    let mut third = world.begin("/").await;
    service.until_under_way(2).await;
    service.is(Mood::Says(200));
    assert_eq!((second.reply().await.status, third.reply().await.status), (200, 200));
    until("it is closed", || world.breaker() == State::Closed).await;
    drop((second, third));
    world.is_idle(&endpoints).await;
}

#[tokio::test]
async fn slow_calls_open_it_though_they_succeed() {
    let service = Service::start(Mood::After(ms(60), 200)).await;
    let slow = Some(spec::Slow { over: ms(50), share: Share::percent(50) });
    let world = World::web(breaker(spec::Breaker { slow, ..of_four(LONG) }), &[&service]).await;
    for _ in 0..4 {
        assert_eq!(world.get("/").await.status, 200);
    }
    world.get("/").await.is_problem(503, "A0725", "destination_unavailable");
    assert_eq!(service.count(), 4);
}

#[tokio::test]
async fn a_service_that_does_not_answer_or_is_not_there_opens_it() {
    let service = Service::start(Mood::Hangs).await;
    let impatient = rule(|guard| {
        guard.timeout = ms(30);
        guard.breaker = Some(of_four(LONG));
    });
    let world = World::web(impatient, &[&service]).await;
    for _ in 0..4 {
        world.get("/").await.is_problem(504, "A0715", "http_response_timeout");
    }
    world.get("/").await.is_problem(503, "A0725", "destination_unavailable");

    let world = World::start(&web_under(breaker(of_four(LONG)))).await;
    world.harness.ready("web", &[nowhere().await]);
    for _ in 0..2 {
        world.get("/").await.is_problem(502, "A0712", "connection_refused"); // after up to three tries
    }
    world.get("/").await.is_problem(503, "A0725", "destination_unavailable");
}

#[tokio::test]
async fn people_hold_it_open_or_closed_until_they_let_it_judge_again() {
    let service = Service::start(Mood::Says(200)).await;
    let world = World::web(breaker(of_four(LONG)), &[&service]).await;
    assert_eq!(world.guards.order(ALL, Order::Open), 1);
    world.get("/").await.is_problem(503, "A0725", "destination_unavailable");
    assert_eq!((service.count(), world.breaker()), (0, State::HeldOpen));
    world.guards.order(ALL, Order::Closed);
    service.is(Mood::Says(500));
    for _ in 0..10 {
        assert_eq!(world.get("/").await.status, 500);
    }
    assert_eq!(world.breaker(), State::HeldClosed);
    world.guards.order(ALL, Order::Auto);
    for _ in 0..4 {
        assert_eq!(world.get("/").await.status, 500);
    }
    world.get("/").await.is_problem(503, "A0725", "destination_unavailable");
}

#[tokio::test]
async fn it_stays_open_over_a_new_table_and_is_forgotten_with_its_route() {
    let service = Service::start(Mood::Says(500)).await;
    let world = World::web(breaker(of_four(LONG)), &[&service]).await;
    open(&world, &service).await;
    let mut changed = web_under(breaker(of_four(LONG)));
    changed.services.get_mut(&name("web")).unwrap().routes.push(route("/more", PATIENCE));
    world.change(&changed);
    assert_eq!(world.breaker(), State::Open);
    world.get("/").await.is_problem(503, "A0725", "destination_unavailable");
    assert_eq!(world.get("/more").await.status, 500, "each route has its own");
    world.change(&web(&["/more"], PATIENCE));
    assert_eq!(world.guards.states().len(), 1);
    world.change(&changed);
    assert_eq!(world.breaker(), State::Closed);
    assert_eq!(world.get("/").await.status, 500);
}

#[tokio::test]
async fn without_one_everything_goes_through() {
    let service = Service::start(Mood::Says(500)).await;
    let world = World::web(rule(|guard| guard.breaker = None), &[&service]).await;
    for _ in 0..40 {
        assert_eq!(world.get("/").await.status, 500);
    }
    assert!(world.state(ALL, "web").breaker.is_none());
}

#[tokio::test]
async fn while_it_is_open_nobody_waits_for_a_place_first() {
    let service = Service::start(Mood::Hangs).await;
    let guard = rule(|guard| {
        guard.breaker = Some(of_four(LONG));
        guard.bulkhead = spec::Bulkhead { concurrency: 1, queue: 8 };
    });
    let world = World::web(guard, &[&service]).await;
    let hung = world.begin("/").await;
    service.until_under_way(1).await;
    world.guards.order(ALL, Order::Open);
    let start = Instant::now();
    world.get("/").await.is_problem(503, "A0725", "destination_unavailable");
    assert!(start.elapsed() < Duration::from_secs(5));
    drop(hung);
    world.is_idle(&[]).await;
}

#[tokio::test]
async fn the_answer_that_opens_it_is_the_one_that_is_told() {
    let service = Service::start(Mood::Says(503)).await;
    let guard = rule(|guard| {
        guard.retry.attempts = 4;
        guard.breaker = Some(spec::Breaker { of: 2, open: LONG, ..spec::Breaker::default() });
    });
    let world = World::web(guard, &[&service]).await;
    let reply = world.get("/").await;
    assert_eq!((reply.status, reply.text(), service.count()), (503, "503", 2));
    assert_eq!(world.breaker(), State::Open);
}

#[tokio::test]
async fn a_strangers_impatience_does_not_open_it_but_a_services_does() {
    let service = Service::start(Mood::Hangs).await;
    let mut front = routed("web", [(ALL, breaker(of_four(LONG)))]);
    front.calls.insert(name("web"), spec::Call { guard: breaker(of_four(LONG)) });
    let world = World::start(&app([front])).await;
    world.ready("web", &[&service]);
    let hurry = "X-Request-Timeout-Ms: 20\r\n";
    for _ in 0..8 {
        let reply = world.ask("GET", "/", hurry, "").await;
        reply.is_problem(504, "A0715", "http_response_timeout");
    }
    assert_eq!(world.breaker(), State::Closed);
    let entrance = Entrance::Mesh { caller: name("web"), callee: name("web") };
    let mesh = listen(&world.harness.proxy, entrance).await;
    for _ in 0..4 {
        let reply = Client::connect(mesh).await.ask("GET", "/", hurry, "").await;
        reply.is_problem(504, "A0715", "http_response_timeout");
    }
    assert_eq!(world.state("web -> web", "web").breaker.unwrap().state, State::Open);
}

#[tokio::test]
async fn idle_connections_that_a_service_closes_do_not_open_it() {
    // Each connection takes one request, and is closed when the next one comes.
    let server = Server::raw(|mut stream| async move {
        read_head(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        read_head(&mut stream).await;
    })
    .await;
    let world = World::start(&web_under(breaker(of_four(LONG)))).await;
    let endpoints = world.harness.ready("web", &[server.address]);
    let mut client = world.harness.client().await;
    for _ in 0..40 {
        assert_eq!(client.get("/").await.text(), "ok");
    }
    let window = world.state(ALL, "web").breaker.unwrap().window;
    assert_eq!((window.total, window.first), (40, 0));
    assert_eq!(endpoints[0].strikes().in_a_row(), 0);
}
