//! Which instance answers, and which is passed over.
#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers outside test functions

mod common;
mod policies;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::*;
use kit::units::Share;
use manifest::spec;
use policies::*;
use registry::{Endpoint, Endpoints, Moment};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpSocket;

fn balanced(balance: spec::Balance) -> spec::App {
    let mut web = routed(
        "web",
        [(
            ALL,
            rule(|guard| {
                guard.breaker = None;
                guard.retry.attempts = 0;
            }),
        )],
    );
    web.balance = balance;
    app([web])
}

fn by(by: spec::BalanceBy) -> spec::Balance {
    spec::Balance { by, ..spec::Balance::default() }
}

async fn services(count: usize) -> Vec<Service> {
    let mut services = Vec::new();
    for _ in 0..count {
        services.push(Service::start(Mood::Says(200)).await);
    }
    services
}

fn counts(services: &[Service]) -> Vec<usize> {
    services.iter().map(Service::count).collect()
}

async fn world(balance: spec::Balance, services: &[Service]) -> (World, Vec<Arc<Endpoint>>) {
    let world = World::start(&balanced(balance)).await;
    let endpoints = world.ready("web", &services.iter().collect::<Vec<_>>());
    (world, endpoints)
}

#[tokio::test]
async fn in_turn_is_in_turn() {
    let services = services(4).await;
    let (world, endpoints) = world(by(spec::BalanceBy::RoundRobin), &services).await;
    let (mut one, mut other) = (world.harness.client().await, world.harness.client().await);
    for _ in 0..20 {
        assert_eq!((one.get("/").await.status, other.get("/").await.status), (200, 200));
    }
    assert_eq!(counts(&services), [10; 4]);
    drop((one, other));
    world.is_idle(&endpoints).await;
}

#[tokio::test]
async fn who_has_fewer_requests_under_way_is_asked() {
    let services = services(2).await;
    let (world, endpoints) = world(by(spec::BalanceBy::LeastRequest), &services).await;
    services.iter().for_each(|service| service.is(Mood::Hangs));
    let mut hung = Vec::new();
    for n in 1..=6 {
        hung.push(world.begin("/").await);
        until("it has arrived", || services.iter().map(Service::under_way).sum::<usize>() == n).await;
        let difference = services[0].under_way().abs_diff(services[1].under_way());
        assert_eq!(difference, n % 2);
    }
    services[0].is(Mood::Says(200));
    services[0].until_under_way(0).await;
    until("it is free", || endpoints[0].in_flight() == 0).await;
    let before = services[1].count();
    for _ in 0..20 {
        assert_eq!(world.get("/").await.status, 200);
    }
    assert_eq!(services[1].count(), before);
    drop(hung);
    world.is_idle(&endpoints).await;
}

#[tokio::test]
async fn who_is_slow_is_asked_less() {
    let services = services(2).await;
    services[0].is(Mood::After(ms(60), 200));
    let (world, endpoints) = world(by(spec::BalanceBy::PeakEwma), &services).await;
    let mut client = world.harness.client().await;
    for _ in 0..60 {
        assert_eq!(client.get("/").await.status, 200);
    }
    assert!((1..=15).contains(&services[0].count()), "{:?}", counts(&services));
    drop(client);
    world.is_idle(&endpoints).await;
}

/// Which instance answers for each key.
async fn map(
    world: &World,
    services: &[Service],
    ask: impl AsyncFn(&mut Client, usize),
) -> BTreeMap<usize, usize> {
    let mut client = world.harness.client().await;
    let mut map = BTreeMap::new();
    for key in 0..60 {
        let before = counts(services);
        ask(&mut client, key).await;
        let after = counts(services);
        let who = (0..services.len()).find(|n| after[*n] > before[*n]).unwrap();
        map.insert(key, who);
    }
    map
}

#[tokio::test]
async fn a_key_keeps_its_instance_and_only_those_of_one_that_leaves_move() {
    let services = services(4).await;
    for (hash, header) in [
        (spec::HashKey::Header("x-key".parse().unwrap()), "X-Key: "),
        (spec::HashKey::Cookie("id".to_owned()), "Cookie: a=b; id="),
    ] {
        let (world, endpoints) = world(by(spec::BalanceBy::Hash(hash)), &services).await;
        let ask = async |client: &mut Client, key: usize| {
            assert_eq!(client.ask("GET", "/", &format!("{header}{key}\r\n"), "").await.status, 200);
        };
        let at_first = map(&world, &services, ask).await;
        assert_eq!(map(&world, &services, ask).await, at_first);
        let used: std::collections::BTreeSet<_> = at_first.values().collect();
        assert_eq!(used.len(), 4, "{at_first:?}");
        world.harness.publish("web", endpoints[1..].to_vec(), false);
        let without = map(&world, &services, ask).await;
        for (key, who) in &without {
            assert!(*who != 0 && (*who == at_first[key] || at_first[key] == 0), "{key}");
        }
        // A new run of the same replica takes its keys back.
        let again = world.replica("web", 1, &services[0]);
        world.harness.publish("web", [vec![again], endpoints[1..].to_vec()].concat(), false);
        assert_eq!(map(&world, &services, ask).await, at_first);
    }
}

#[tokio::test]
async fn a_client_keeps_its_instance() {
    let services = services(4).await;
    let (world, _) = world(by(spec::BalanceBy::Hash(spec::HashKey::Client)), &services).await;
    let mut used = 0;
    for host in 1..=16u8 {
        let before = counts(&services);
        for _ in 0..5 {
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind(([127, 0, 1, host], 0).into()).unwrap();
            let stream = socket.connect(world.harness.gateway).await.unwrap();
            assert_eq!(Client { stream }.get("/").await.status, 200);
        }
        let who: Vec<_> = (0..4).filter(|n| services[*n].count() > before[*n]).collect();
        assert_eq!(who.len(), 1);
        used |= 1 << who[0];
    }
    assert!(u32::count_ones(used) > 1);
}

#[tokio::test]
async fn a_new_instance_takes_its_share_little_by_little() {
    let slow_start = Duration::from_secs(600);
    let services = services(2).await;
    let (world, _) = world(spec::Balance { slow_start, ..by(spec::BalanceBy::RoundRobin) }, &services).await;
    let [old, new] = [0, 1].map(|n| world.replica("web", n + 1, &services[n]));
    // One has been ready for long.
    old.warmth(slow_start, Moment::from_nanos(Moment::now().nanos() - 700_000_000_000));
    world.harness.publish("web", vec![Arc::clone(&old), new], false);
    let mut client = world.harness.client().await;
    for _ in 0..400 {
        assert_eq!(client.get("/").await.status, 200);
    }
    // A tenth of a half.
    assert!((3..=45).contains(&services[1].count()), "{:?}", counts(&services));
    let warm = world.replica("web", 2, &services[1]);
    warm.warmth(slow_start, Moment::from_nanos(Moment::now().nanos() - 700_000_000_000));
    world.harness.publish("web", vec![old, warm], false);
    let before = services[1].count();
    for _ in 0..400 {
        assert_eq!(client.get("/").await.status, 200);
    }
    assert_eq!(services[1].count() - before, 200);
}

// ---- who is passed over ----

fn outlier(eject: Duration, share: u32, panic: u32) -> spec::Balance {
    let outlier =
        spec::Outlier { failures: 3, eject, share: Share::percent(share), ..spec::Outlier::default() };
    spec::Balance { outlier: Some(outlier), panic: Share::percent(panic), ..by(spec::BalanceBy::RoundRobin) }
}

#[tokio::test]
async fn an_instance_that_cannot_is_passed_over_for_a_while_and_comes_back() {
    let services = services(3).await;
    services[0].is(Mood::Says(503));
    let (world, endpoints) = world(outlier(ms(1500), 50, 50), &services).await;
    let mut client = world.harness.client().await;
    while !endpoints[0].strikes().is_ejected(Moment::now()) {
        client.get("/").await;
    }
    assert_eq!(services[0].count(), 3);
    let mut asked = 0;
    while endpoints[0].strikes().is_ejected(Moment::now() + ms(1000)) {
        assert_eq!(client.get("/").await.status, 200);
        asked += 1;
    }
    assert!(asked > 0 && services[0].count() == 3);
    services[0].is(Mood::Says(200));
    until("its time is over", || !endpoints[0].strikes().is_ejected(Moment::now())).await;
    for _ in 0..9 {
        assert_eq!(client.get("/").await.status, 200);
    }
    assert_eq!(services[0].count(), 6);
    // Failures that are its own answer to its own question do not count.
    services[0].is(Mood::Says(500));
    for _ in 0..30 {
        client.get("/").await;
    }
    assert!(!endpoints[0].strikes().is_ejected(Moment::now()));
}

#[tokio::test]
async fn instances_that_hang_up_or_do_not_answer_are_passed_over_too() {
    let good = Service::start(Mood::Says(200)).await;
    let hangs = Service::start(Mood::Hangs).await;
    let hangs_up = Server::raw(|mut stream| async move {
        read_head(&mut stream).await;
    })
    .await;
    let mut app = balanced(outlier(PATIENCE * 6, 70, 0));
    app.services.get_mut(&name("web")).unwrap().routes[0].guard.timeout = ms(60);
    let world = World::start(&app).await;
    let endpoint = |n, address| Arc::new(Endpoint::new(format!("web-{n}#1").parse().unwrap(), address));
    let endpoints =
        vec![endpoint(1, good.address), endpoint(2, hangs.address), endpoint(3, hangs_up.address)];
    world.harness.publish("web", endpoints.clone(), false);
    let is_ejected = |n: usize| endpoints[n].strikes().is_ejected(Moment::now());
    let mut client = world.harness.client().await;
    for _ in 0..60 {
        if is_ejected(1) && is_ejected(2) {
            break;
        }
        assert!([200, 502, 504].contains(&client.get("/").await.status));
    }
    assert!(is_ejected(1) && is_ejected(2) && !is_ejected(0));
    for _ in 0..20 {
        assert_eq!(client.get("/").await.status, 200);
    }
    drop(client);
    world.is_idle(&endpoints).await;
}

#[tokio::test]
async fn an_instance_that_fails_as_grpc_does_is_passed_over() {
    let services = services(2).await;
    services[0].is(Mood::unavailable());
    let (world, endpoints) = world(outlier(PATIENCE * 6, 50, 0), &services).await;
    let mut client = world.harness.client().await;
    for _ in 0..6 {
        assert_eq!(client.get("/").await.status, 200);
    }
    assert!(endpoints[0].strikes().is_ejected(Moment::now()));
    for _ in 0..10 {
        assert_eq!(client.get("/").await.header("grpc-status"), None);
    }
    assert_eq!(services[0].count(), 3);
}

#[tokio::test]
async fn never_more_than_the_ceiling_are_passed_over() {
    let services = services(4).await;
    services[..3].iter().for_each(|service| service.is(Mood::Says(503)));
    let (world, endpoints) = world(outlier(PATIENCE * 6, 50, 0), &services).await;
    let mut client = world.harness.client().await;
    while !endpoints[..3].iter().all(|endpoint| endpoint.strikes().is_ejected(Moment::now())) {
        client.get("/").await;
    }
    let before = counts(&services);
    for _ in 0..40 {
        client.get("/").await;
    }
    let after = counts(&services);
    let used: Vec<_> = (0..4).filter(|n| after[*n] > before[*n]).collect();
    assert_eq!(used.len(), 2, "half of four: {before:?} {after:?}");
    assert!(used.contains(&3));
}

#[tokio::test]
async fn with_too_few_left_nobody_is_passed_over() {
    let services = services(4).await;
    services[0].is(Mood::Says(503));
    let (world, endpoints) = world(outlier(PATIENCE * 6, 100, 80), &services).await;
    let mut client = world.harness.client().await;
    while !endpoints[0].strikes().is_ejected(Moment::now()) {
        client.get("/").await;
    }
    let before = services[0].count();
    for _ in 0..40 {
        client.get("/").await;
    }
    assert_eq!(services[0].count() - before, 10, "three of four are less than 80 %");
}

#[tokio::test]
async fn those_that_only_the_data_path_suspects_are_used_when_too_few_others_are_left() {
    let services = services(3).await;
    let (world, endpoints) = world(outlier(PATIENCE * 6, 50, 50), &services).await;
    let publish = |ready: usize, suspected: usize, known, expected| {
        let endpoints = Endpoints {
            ready: endpoints[..ready].to_vec(),
            suspected: endpoints[ready..ready + suspected].to_vec(),
            known,
            expected,
        };
        world.harness.directory.upstream(&name("web")).publish(endpoints);
    };
    let mut client = world.harness.client().await;
    publish(2, 1, 3, false);
    for _ in 0..12 {
        assert_eq!(client.get("/").await.status, 200);
    }
    assert_eq!(counts(&services), [6, 6, 0]);
    publish(1, 2, 3, false);
    for _ in 0..12 {
        assert_eq!(client.get("/").await.status, 200);
    }
    assert_eq!(counts(&services), [10, 10, 4]);
    publish(0, 1, 1, false);
    assert_eq!(client.get("/").await.status, 200);
    // One is on its way: it is waited for instead.
    publish(0, 1, 1, true);
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n").await;
    until("it waits", || world.harness.proxy.stats().in_flight == 1).await;
    publish(1, 0, 1, false);
    assert_eq!(client.reply().await.status, 200);
    publish(0, 0, 3, false);
    client.get("/").await.is_problem(503, "A0710", "destination_unavailable");
}

/// Passes while it may, then never comes back with an answer.
struct Hanging(Arc<AtomicBool>);

impl registry::ExecProbe for Hanging {
    fn run<'a>(
        &'a self,
        _: &'a spec::InstanceId,
        _: &'a [String],
        _: Duration,
    ) -> kit::BoxFuture<'a, Result<(), String>> {
        Box::pin(async {
            if !self.0.load(Ordering::SeqCst) {
                std::future::pending::<()>().await;
            }
            Ok(())
        })
    }
}

/// With the registry itself: the only instance hangs up on a few requests, and its check hangs as well. It is all
/// there is, so it is asked all the same.
#[tokio::test]
async fn the_only_instance_is_asked_though_it_is_suspected() {
    let (passes, hangs_up) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicBool::new(false)));
    let of_server = Arc::clone(&hangs_up);
    let server = Server::raw(move |mut stream| {
        let hangs_up = Arc::clone(&of_server);
        async move {
            read_head(&mut stream).await;
            if !hangs_up.load(Ordering::SeqCst) {
                let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
                let _ = stream.write_all(answer).await;
            }
        }
    })
    .await;
    let world = World::start(&balanced(spec::Balance::default())).await;
    let tasks = kit::Tasks::new();
    let instances = registry::Registry::start(registry::Options {
        clock: Arc::new(kit::SystemClock::new()),
        tasks: tasks.clone(),
        directory: world.harness.directory.clone(),
        exec: Arc::new(Hanging(Arc::clone(&passes))),
    });
    let check = spec::HealthCheck {
        probe: spec::Probe::Exec(vec!["check".to_owned()]),
        interval: PATIENCE * 6,
        timeout: PATIENCE * 6,
        retries: 1,
        start_period: Duration::ZERO,
        start_interval: None,
    };
    instances.register("web-1#1".parse().unwrap(), Some(server.address), Some(check)).await;
    let upstream = world.harness.directory.upstream(&name("web"));
    until("it is ready", || upstream.load().ready.len() == 1).await;
    assert_eq!(world.get("/").await.status, 200);
    passes.store(false, Ordering::SeqCst);
    hangs_up.store(true, Ordering::SeqCst);
    for _ in 0..3 {
        world.get("/").await.is_problem(502, "A0714", "connection_terminated");
    }
    until("it is suspected", || upstream.load().suspected.len() == 1).await;
    assert!(upstream.load().ready.is_empty() && upstream.load().known == 1);
    hangs_up.store(false, Ordering::SeqCst);
    assert_eq!(world.get("/").await.status, 200);
    tasks.shutdown(PATIENCE).await.unwrap();
}
