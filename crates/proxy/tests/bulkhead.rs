//! How many requests at once, who waits, and who is shed first.
#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers outside test functions

mod common;
mod policies;

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::*;
use manifest::spec;
use policies::*;
use proxy::Kind;
use proxy::policy::bulkhead::Load;
use tokio::io::AsyncWriteExt;
use tokio::sync::Semaphore;

fn places(concurrency: u32, queue: u32) -> spec::Guard {
    rule(|guard| guard.bulkhead = spec::Bulkhead { concurrency, queue })
}

fn load(world: &World) -> (u32, u32) {
    let Load { in_use, waiting, .. } = world.state(ALL, "web").load;
    (in_use, waiting)
}

#[tokio::test]
async fn beyond_the_places_requests_wait_in_turn_and_beyond_the_queue_they_are_refused() {
    let service = Service::start(Mood::Hangs).await;
    let world = World::web(places(2, 3), &[&service]).await;
    let endpoints = world.ready("web", &[&service]);
    let mut clients = Vec::new();
    for n in 0..5u32 {
        clients.push(world.begin(&format!("/{n}")).await);
        until("it has a place, or waits", || load(&world) == ((n + 1).min(2), (n + 1).saturating_sub(2)))
            .await;
    }
    for _ in 0..3 {
        let reply = world.get("/more").await;
        reply.is_problem(503, "A0726", "connection_limit_reached");
        assert!(reply.header("retry-after").unwrap().parse::<u32>().unwrap() >= 1);
    }
    service.until_under_way(2).await;
    assert_eq!(service.count(), 2);
    service.is(Mood::Says(200));
    for client in &mut clients {
        assert_eq!(client.reply().await.status, 200);
    }
    assert_eq!(service.count(), 5);
    drop(clients);
    world.is_idle(&endpoints).await;
}

#[tokio::test]
async fn a_place_is_held_to_the_last_byte_of_the_answer() {
    let go_on = Arc::new(Semaphore::new(0));
    let of_service = Arc::clone(&go_on);
    let slow = Server::raw(move |mut stream| {
        let go_on = Arc::clone(&of_service);
        async move {
            while !read_head(&mut stream).await.is_empty() {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf").await;
                go_on.acquire().await.unwrap().forget();
                let _ = stream.write_all(b"rest").await;
            }
        }
    })
    .await;
    let world = World::start(&web_under(places(1, 0))).await;
    let endpoints = world.harness.ready("web", &[slow.address]);
    let mut first = world.begin("/").await;
    assert!(within(read_head(&mut first.stream)).await.starts_with("HTTP/1.1 200"));
    for _ in 0..3 {
        world.get("/").await.is_problem(503, "A0726", "connection_limit_reached");
    }
    go_on.add_permits(2);
    until("its place is free", || load(&world) == (0, 0)).await;
    assert_eq!(world.get("/").await.text(), "halfrest");
    world.is_idle(&endpoints).await;
}

#[tokio::test]
async fn who_waits_is_told_at_its_deadline_or_at_once_if_its_turn_would_come_later() {
    let service = Service::start(Mood::Hangs).await;
    let world = World::web(places(1, 9), &[&service]).await;
    let endpoints = world.ready("web", &[&service]);
    let first = world.begin("/").await;
    service.until_under_way(1).await;
    let start = Instant::now();
    let reply = world.ask("GET", "/", "X-Request-Timeout-Ms: 100\r\n", "").await;
    reply.is_problem(503, "A0726", "connection_limit_reached");
    assert!(start.elapsed() >= ms(100));
    assert_eq!(load(&world), (1, 0));
    drop(first);
    world.is_idle(&endpoints).await;
    // Where requests have been seen to take long, one that cannot wait for that is told so at once.
    let service = Service::start(Mood::After(ms(2000), 200)).await;
    let world = World::web(places(1, 9), &[&service]).await;
    assert_eq!(world.get("/").await.status, 200);
    let hangs = world.begin("/").await;
    service.until_under_way(1).await;
    let start = Instant::now();
    let reply = world.ask("GET", "/", "X-Request-Timeout-Ms: 1500\r\n", "").await;
    reply.is_problem(503, "A0726", "connection_limit_reached");
    assert!(start.elapsed() < ms(1000), "{:?}", start.elapsed());
    assert!(reply.header("retry-after").unwrap().parse::<u32>().unwrap() >= 2);
    drop(hangs);
    world.is_idle(&[]).await;
}

#[tokio::test]
async fn clients_that_leave_the_queue_or_their_place_make_room() {
    let service = Service::start(Mood::Hangs).await;
    let world = World::web(places(1, 2), &[&service]).await;
    let endpoints = world.ready("web", &[&service]);
    for _ in 0..20 {
        let holds = world.begin("/").await;
        service.until_under_way(1).await;
        let (first, second) = (world.begin("/").await, world.begin("/").await);
        until("two wait", || load(&world) == (1, 2)).await;
        drop(first);
        until("one waits", || load(&world) == (1, 1)).await;
        drop(holds);
        until("it has the place", || load(&world) == (1, 0)).await;
        drop(second);
        service.until_under_way(0).await;
    }
    world.is_idle(&endpoints).await;
    let records = world.harness.records.nth(60).await;
    assert_eq!(records.error, Some(Kind::ClientGone));
}

#[tokio::test]
async fn each_route_has_places_of_its_own_and_a_new_table_may_give_more() {
    let service = Service::start(Mood::Hangs).await;
    let two = |count| app([routed("web", [("/a", places(count, 1)), ("/b", places(1, 0))])]);
    let world = World::start(&two(1)).await;
    let endpoints = world.ready("web", &[&service]);
    let mut clients = vec![world.begin("/a").await, world.begin("/b").await];
    service.until_under_way(2).await;
    clients.push(world.begin("/a").await);
    until("it waits", || world.state("/a", "web").load.waiting == 1).await;
    world.get("/a").await.is_problem(503, "A0726", "connection_limit_reached");
    world.change(&two(2));
    service.until_under_way(3).await;
    service.is(Mood::Says(200));
    for client in &mut clients {
        assert_eq!(client.reply().await.status, 200);
    }
    drop(clients);
    world.is_idle(&endpoints).await;
}

// ---- the limit that finds itself ----

fn adaptive(min: u32, max: u32, priority: spec::Priority) -> spec::Guard {
    rule(|guard| {
        guard.adaptive = Some(spec::Adaptive { min, max });
        guard.priority = priority;
        guard.breaker = None;
        guard.timeout = Duration::from_secs(60);
    })
}

#[tokio::test]
async fn the_less_important_is_shed_first_over_all_routes_to_a_service() {
    use spec::Priority::{Critical, High, Low, Normal};
    let service = Service::start(Mood::Hangs).await;
    let routes = [("/low", Low), ("/normal", Normal), ("/high", High), ("/critical", Critical)];
    let routes = routes.map(|(path, priority)| (path, adaptive(20, 20, priority)));
    let world = World::start(&app([routed("web", routes)])).await;
    let endpoints = world.ready("web", &[&service]);
    let mut clients = Vec::new();
    for (path, until_shed) in [("/low", 10), ("/normal", 16), ("/high", 19), ("/critical", 20)] {
        while clients.len() < until_shed {
            clients.push(world.begin(path).await);
            service.until_under_way(clients.len()).await;
        }
        let reply = world.get(path).await;
        reply.is_problem(503, "A0727", "connection_limit_reached");
        assert_eq!(reply.header("retry-after"), Some("1"));
    }
    service.is(Mood::Says(200));
    for client in &mut clients {
        assert_eq!(client.reply().await.status, 200);
    }
    assert_eq!(world.get("/low").await.status, 200);
    drop(clients);
    world.is_idle(&endpoints).await;
}

#[tokio::test]
async fn it_shrinks_when_a_service_refuses_for_load() {
    let service = Service::start(Mood::Says(429)).await;
    let world = World::web(adaptive(4, 1000, spec::Priority::Critical), &[&service]).await;
    let limit = || world.state(ALL, "web").adaptive.unwrap();
    let at_first = limit();
    let mut client = world.harness.client().await;
    let start = Instant::now();
    while limit() * 2 > at_first {
        assert_eq!(client.get("/").await.status, 429);
        assert!(start.elapsed() < PATIENCE * 2);
    }
}
