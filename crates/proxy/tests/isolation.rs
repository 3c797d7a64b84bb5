//! One broken or slow service takes no other down, and who leaves takes nothing along.
#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers outside test functions

mod common;
mod policies;

use std::cell::Cell;
use std::sync::Arc;
use std::time::Instant;

use common::*;
use manifest::spec;
use policies::*;
use proxy::{Kind, Limits};
use registry::Endpoint;
use tokio::io::AsyncWriteExt;

/// `a`, `b` and `c` answer, `hangs` does not, `fails` fails every other time. Requests to the first three all succeed
/// while load goes to all five.
#[tokio::test]
async fn a_service_that_hangs_and_one_that_fails_leave_the_others_alone() {
    const GOOD: [&str; 3] = ["a", "b", "c"];
    const REQUESTS: usize = 400;
    let paths = [("a", "/a"), ("b", "/b"), ("c", "/c"), ("hangs", "/hangs"), ("fails", "/fails")];
    let guard = || rule(|guard| guard.bulkhead = spec::Bulkhead { concurrency: 16, queue: 16 });
    let world = World::start(&app(paths.map(|(name, path)| routed(name, [(path, guard())])))).await;
    let mut endpoints = Vec::new();
    for good in GOOD {
        endpoints.extend(world.ready(good, &[&Service::start(Mood::Says(200)).await]));
    }
    let hangs = Service::start(Mood::Hangs).await;
    let fails = Service::start(Mood::Says(200)).await;
    endpoints.extend(world.ready("hangs", &[&hangs]));
    endpoints.extend(world.ready("fails", &[&fails]));

    let done = Cell::new(false);
    let good = async {
        let clients = GOOD.iter().flat_map(|good| [*good; 2]).map(|good| {
            let world = &world;
            async move {
                let mut client = world.harness.client().await;
                for n in 0..REQUESTS {
                    let start = Instant::now();
                    let reply = client.get(&format!("/{good}")).await;
                    assert_eq!(reply.status, 200, "{good}, request {n}: {reply:?}");
                    assert!(start.elapsed() < PATIENCE / 2);
                }
            }
        });
        futures_util::future::join_all(clients).await;
        done.set(true);
    };
    let refused = Cell::new(0);
    let at_the_one_that_hangs = futures_util::future::join_all((0..40).map(|_| async {
        while !done.get() {
            // Most hold a place or wait for one until they give up; the rest is refused at once.
            let mut client = world.begin("/hangs").await;
            if let Ok(reply) = tokio::time::timeout(ms(100), client.reply()).await {
                assert_eq!(reply.status, 503);
                refused.set(refused.get() + 1);
                tokio::time::sleep(ms(5)).await;
            }
        }
    }));
    let at_the_one_that_fails = futures_util::future::join_all((0..2).map(|_| async {
        let mut client = world.harness.client().await;
        let mut failed = false;
        while !done.get() {
            fails.is(Mood::Says(if failed { 200 } else { 500 }));
            failed = !failed;
            assert!([200, 500, 503].contains(&client.get("/fails").await.status));
            tokio::time::sleep(ms(1)).await;
        }
    }));
    tokio::join!(good, at_the_one_that_hangs, at_the_one_that_fails);
    assert!(hangs.count() > 0 && refused.get() > 0 && fails.count() >= 20);
    assert!(world.state("/fails", "fails").breaker.unwrap().opened > 0);
    world.is_idle(&endpoints).await;
}

/// Waits until a service was asked once more than it was before.
async fn asked_again(service: &Service, before: &Cell<usize>) {
    until("it was asked", || service.count() > before.get()).await;
    before.set(service.count());
}

/// Leaves again and again where `reached` says, and looks whether anything stays taken.
async fn leaves(
    world: &World,
    endpoints: &[Arc<Endpoint>],
    request: &str,
    reached: impl AsyncFn(&mut Client),
) {
    for _ in 0..10 {
        let mut client = world.harness.client().await;
        client.send(request).await;
        reached(&mut client).await;
        drop(client);
        world.is_idle(endpoints).await;
    }
    let records = world.harness.records.all();
    assert!(records.iter().all(|record| record.error == Some(Kind::ClientGone)), "{records:?}");
}

const GET: &str = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";

/// One place each, so that one that is not given back is missed at once.
fn narrow() -> spec::Guard {
    rule(|guard| guard.bulkhead = spec::Bulkhead { concurrency: 1, queue: 0 })
}

#[tokio::test]
async fn clients_that_leave_while_they_wait_for_an_instance() {
    let world = World::with(&web_under(narrow()), Limits { waiting: 1, ..Limits::default() }).await;
    world.harness.publish("web", Vec::new(), true);
    let waits = async |_: &mut Client| {
        until("it waits", || world.state(ALL, "web").load.in_use == 1).await;
    };
    leaves(&world, &[], GET, waits).await;
    let service = Service::start(Mood::Says(200)).await;
    let mut client = world.begin("/").await;
    until("it waits", || world.state(ALL, "web").load.in_use == 1).await;
    let endpoints = world.ready("web", &[&service]);
    assert_eq!(client.reply().await.status, 200);
    world.is_idle(&endpoints).await;
}

#[tokio::test]
async fn clients_that_leave_while_a_connection_is_opened() {
    // A queue of connections that is full and that nobody empties: further ones are not answered.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let mut filling = Vec::new();
    while let Ok(Ok(stream)) = tokio::time::timeout(ms(300), tokio::net::TcpStream::connect(address)).await {
        filling.push(stream);
    }
    let world =
        World::with(&web_under(narrow()), Limits { connect: PATIENCE * 6, ..Limits::default() }).await;
    let endpoints = world.harness.ready("web", &[address]);
    let opens = async |_: &mut Client| {
        until("it is on its way", || endpoints[0].in_flight() == 1).await;
    };
    leaves(&world, &endpoints, GET, opens).await;
}

#[tokio::test]
async fn clients_that_leave_while_the_service_thinks() {
    let service = Service::start(Mood::Hangs).await;
    let world = World::web(narrow(), &[&service]).await;
    let endpoints = world.ready("web", &[&service]);
    let before = Cell::new(0);
    leaves(&world, &endpoints, GET, async |_| asked_again(&service, &before).await).await;
    service.until_under_way(0).await;
    assert_eq!(endpoints[0].requests(), 10);
}

#[tokio::test]
async fn clients_that_leave_in_the_middle_of_their_own_body() {
    let service = Service::start(Mood::Hangs).await;
    let world = World::web(narrow(), &[&service]).await;
    let endpoints = world.ready("web", &[&service]);
    for _ in 0..10 {
        let mut client = world.harness.client().await;
        client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 100\r\n\r\nsome").await;
        service.until_under_way(1).await;
        drop(client);
        world.is_idle(&endpoints).await;
        service.until_under_way(0).await;
    }
}

#[tokio::test]
async fn clients_that_leave_in_the_middle_of_the_answer() {
    let server = Server::raw(|mut stream| async move {
        read_head(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nsome").await;
        std::future::pending::<()>().await;
    })
    .await;
    let world = World::start(&web_under(narrow())).await;
    let endpoints = world.harness.ready("web", &[server.address]);
    let reads = async |client: &mut Client| {
        assert!(within(read_head(&mut client.stream)).await.starts_with("HTTP/1.1 200"));
        assert_eq!(world.state(ALL, "web").load.in_use, 1);
    };
    leaves(&world, &endpoints, GET, reads).await;
}

#[tokio::test]
async fn clients_that_leave_while_a_fallback_is_asked() {
    let (bad, hangs) = (Service::start(Mood::Says(500)).await, Service::start(Mood::Hangs).await);
    let guard = rule(|guard| {
        guard.bulkhead = spec::Bulkhead { concurrency: 1, queue: 0 };
        guard.breaker = None;
        guard.fallback = Some(spec::Fallback::From { service: Some(name("other")), path: None });
    });
    let world = World::start(&app([routed("web", [(ALL, guard)]), service("other")])).await;
    let endpoints = [world.ready("web", &[&bad]), world.ready("other", &[&hangs])].concat();
    let before = Cell::new(0);
    leaves(&world, &endpoints, GET, async |_| asked_again(&hangs, &before).await).await;
}

#[tokio::test]
async fn many_clients_that_leave_at_any_moment() {
    let (one, other) = (Service::start(Mood::After(ms(3), 200)).await, Service::start(Mood::Says(503)).await);
    let guard = rule(|guard| {
        guard.bulkhead = spec::Bulkhead { concurrency: 4, queue: 4 };
        guard.adaptive = Some(spec::Adaptive { min: 2, max: 8 });
        guard.retry.attempts = 2;
        guard.retry.backoff = ms(2);
        guard.hedge = Some(spec::Hedge { after: ms(2) });
        guard.breaker = Some(spec::Breaker { of: 4, open: ms(5), probes: 1, ..spec::Breaker::default() });
        guard.mirror = Some(spec::Mirror { to: name("web"), share: kit::units::Share::percent(20) });
    });
    let world = World::web(guard, &[&one, &other]).await;
    let endpoints = world.ready("web", &[&one, &other]);
    let clients = (0..16u64).map(|client| {
        let world = &world;
        async move {
            for n in 0..40 {
                let mut asks = world.begin("/").await;
                // From at once to long after the answer, in steps.
                let patience = std::time::Duration::from_micros((client * 40 + n) * 7 % 9000);
                let _ = tokio::time::timeout(patience, asks.reply()).await;
            }
        }
    });
    futures_util::future::join_all(clients).await;
    world.is_idle(&endpoints).await;
    // No probe is lost either: a service that is well again is asked again.
    other.is(Mood::Says(200));
    one.is(Mood::Says(200));
    let start = Instant::now();
    while world.get("/").await.status != 200 {
        assert!(start.elapsed() < PATIENCE);
    }
    world.is_idle(&endpoints).await;
}
