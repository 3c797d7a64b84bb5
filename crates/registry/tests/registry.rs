//! The registry against real sockets on the loopback interface.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests, which the lint does not know as such

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use kit::{BoxFuture, OnError, SystemClock, Tasks};
use manifest::spec::{HealthCheck, InstanceId, Probe, ServiceName};
use registry::{Directory, Endpoint, ExecProbe, Health, Observed, ObservedMap, Options, Registry};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// Nothing here takes longer than this.
const LIMIT: Duration = Duration::from_secs(20);

struct World {
    registry: Registry,
    directory: Directory,
    tasks: Tasks,
}

impl World {
    fn start(exec: impl ExecProbe) -> Self {
        let (tasks, directory) = (Tasks::new(), Directory::default());
        let registry = Registry::start(Options {
            clock: Arc::new(SystemClock::new()),
            tasks: tasks.clone(),
            directory: directory.clone(),
            exec: Arc::new(exec),
        });
        Self { registry, directory, tasks }
    }

    async fn until(&self, name: &str, what: impl Fn(&Observed) -> bool) -> Observed {
        let id = id(name);
        let mut seen = self.registry.observe();
        let found = seen.wait_for(|all| all.get(&id).is_some_and(&what));
        tokio::time::timeout(LIMIT, found).await.expect("in time").unwrap()[&id].clone()
    }

    async fn until_health(&self, name: &str, health: Health) -> Observed {
        self.until(name, |seen| seen.health == health).await
    }

    fn ready(&self, service: &str) -> Vec<Arc<Endpoint>> {
        self.directory.upstream(&service.parse().unwrap()).load().ready.clone()
    }

    fn in_balancer(&self, service: &str) -> Vec<String> {
        self.ready(service).iter().map(|endpoint| endpoint.id().to_string()).collect()
    }

    async fn end(self) {
        self.tasks.shutdown(LIMIT).await.unwrap();
    }

    /// Answers every request with the status that is set at the time.
    async fn serve_http(&self, status: &Arc<AtomicU16>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        self.serve_http_on(listener, status);
        address
    }

    fn serve_http_on(&self, listener: TcpListener, status: &Arc<AtomicU16>) {
        let (status, tasks) = (Arc::clone(status), self.tasks.clone());
        self.tasks.spawn("test.http", OnError::Log, |stop| async move {
            loop {
                let (mut stream, _) = tokio::select! {
                    () = stop.cancelled() => return Ok::<_, String>(()),
                    accepted = listener.accept() => accepted.unwrap(),
                };
                let status = status.load(Ordering::SeqCst);
                tasks.spawn("test.exchange", OnError::Log, |stop| async move {
                    let mut head = [0; 1024];
                    let _ = stream.read(&mut head).await;
                    if status == SILENT {
                        stop.cancelled().await;
                    }
                    let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n");
                    let _ = stream.write_all(answer.as_bytes()).await;
                    Ok::<_, String>(())
                });
            }
        });
    }
}

/// A status that stands for no answer at all.
const SILENT: u16 = 0;

fn id(name: &str) -> InstanceId {
    name.parse().unwrap()
}

fn service(name: &str) -> ServiceName {
    name.parse().unwrap()
}

fn check(probe: Probe) -> HealthCheck {
    HealthCheck {
        probe,
        interval: Duration::from_millis(40),
        timeout: Duration::from_secs(2),
        retries: 2,
        start_period: Duration::from_secs(60),
        start_interval: None,
    }
}

fn http() -> HealthCheck {
    check(Probe::Http { path: "/healthz".to_owned(), port: None })
}

fn exec() -> HealthCheck {
    check(Probe::Exec(vec!["check".to_owned()]))
}

struct NoExec;

impl ExecProbe for NoExec {
    fn run<'a>(
        &'a self,
        _: &'a InstanceId,
        _: &'a [String],
        _: Duration,
    ) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async { Err("not here".to_owned()) })
    }
}

#[tokio::test]
async fn an_instance_is_ready_and_balanced_once_its_check_passes_and_flaps_with_it() {
    let world = World::start(NoExec);
    let status = Arc::new(AtomicU16::new(500));
    let address = world.serve_http(&status).await;
    world.registry.register(id("web-1#1"), Some(address), Some(http())).await;
    let seen = world.until("web-1#1", |seen| !seen.detail.is_empty()).await;
    assert_eq!((seen.health, seen.detail.as_str()), (Health::Starting, "GET /healthz answered 500"));
    assert!(world.in_balancer("web").is_empty());
    for _ in 0..3 {
        status.store(200, Ordering::SeqCst);
        let seen = world.until_health("web-1#1", Health::Ready).await;
        assert_eq!((seen.detail.as_str(), seen.address()), ("", Some(address)));
        assert_eq!(world.in_balancer("web"), ["web-1#1"]);
        status.store(503, Ordering::SeqCst);
        let seen = world.until_health("web-1#1", Health::Unready).await;
        assert_eq!(seen.detail, "GET /healthz answered 503");
        assert!(world.in_balancer("web").is_empty());
    }
    world.end().await;
}

#[tokio::test]
async fn a_check_without_an_answer_fails_at_its_timeout() {
    let world = World::start(NoExec);
    let status = Arc::new(AtomicU16::new(SILENT));
    let address = world.serve_http(&status).await;
    let patient = HealthCheck { timeout: Duration::from_millis(30), ..http() };
    world.registry.register(id("web-1#1"), Some(address), Some(patient)).await;
    let seen = world.until("web-1#1", |seen| !seen.detail.is_empty()).await;
    assert_eq!(seen.detail, "GET /healthz: no answer within 30ms");
    status.store(200, Ordering::SeqCst);
    world.until_health("web-1#1", Health::Ready).await;
    world.end().await;
}

#[tokio::test]
async fn an_instance_without_a_check_is_ready_when_something_listens_at_its_address() {
    let world = World::start(NoExec);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    world.registry.register(id("web-1#1"), Some(address), None).await;
    let seen = world.until("web-1#1", |seen| !seen.detail.is_empty()).await;
    let refused = format!("connection refused: nothing listens on {address}");
    assert_eq!((seen.health, seen.detail), (Health::Starting, refused));
    let _listener = TcpListener::bind(address).await.unwrap();
    let seen = world.until_health("web-1#1", Health::Ready).await;
    assert_eq!(world.in_balancer("web"), ["web-1#1"]);
    let checks = seen.checks();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(seen.checks(), checks, "it is left alone from then on");
    world.end().await;
}

#[tokio::test]
async fn an_instance_without_address_and_check_is_ready_once_it_has_stayed_up_for_a_while() {
    let world = World::start(NoExec);
    world.registry.register(id("worker-1#1"), None, None).await;
    assert_eq!(world.registry.observed()[&id("worker-1#1")].health, Health::Starting);
    world.until_health("worker-1#1", Health::Ready).await;
    assert!(world.in_balancer("worker").is_empty());
    world.registry.deregister(&id("worker-1#1")).await;
    assert!(world.registry.observed().is_empty());
    world.end().await;
}

#[tokio::test]
async fn a_check_by_network_of_an_instance_without_a_port_says_what_is_missing() {
    let world = World::start(NoExec);
    world.registry.register(id("worker-1#1"), None, Some(http())).await;
    world.until("worker-1#1", |seen| seen.detail == "there is no port to check").await;
    world.end().await;
}

#[tokio::test]
async fn grpc_and_tcp_checks_make_ready_too() {
    let world = World::start(NoExec);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    world.tasks.spawn("test.grpc", OnError::Log, |stop| async move {
        loop {
            let stream = tokio::select! {
                () = stop.cancelled() => return Ok::<_, String>(()),
                accepted = listener.accept() => accepted.unwrap().0,
            };
            let Ok(mut connection) = h2::server::handshake(stream).await else { continue };
            while let Some(Ok((_, mut respond))) = connection.accept().await {
                let mut body = respond.send_response(http::Response::new(()), false).unwrap();
                body.send_data(Bytes::from_static(b"\0\0\0\0\x02\x08\x01"), false).unwrap();
                let mut trailers = http::HeaderMap::new();
                trailers.insert("grpc-status", "0".parse().unwrap());
                body.send_trailers(trailers).unwrap();
            }
        }
    });
    let grpc = check(Probe::Grpc { service: String::new(), port: None });
    world.registry.register(id("rpc-1#1"), Some(address), Some(grpc)).await;
    world.until_health("rpc-1#1", Health::Ready).await;
    let tcp = check(Probe::Tcp { port: Some(address.port()) });
    world.registry.register(id("raw-1#1"), None, Some(tcp)).await;
    world.until_health("raw-1#1", Health::Ready).await;
    world.end().await;
}

/// Answers by instance: replica 1 passes, 2 fails, 3 panics, others never answer.
#[derive(Default)]
struct Scripted {
    hanging: Arc<AtomicU32>,
}

impl ExecProbe for Scripted {
    fn run<'a>(
        &'a self,
        id: &'a InstanceId,
        command: &'a [String],
        timeout: Duration,
    ) -> BoxFuture<'a, Result<(), String>> {
        assert_eq!((command, timeout), (&["check".to_owned()][..], Duration::from_secs(2)));
        Box::pin(async move {
            match id.name().as_str() {
                "job-1" => Ok(()),
                "job-2" => Err("exit status 3: database is\ngone".to_owned()),
                "job-3" => panic!("a bug in the driver"),
                _ => {
                    let _hanging = Hanging::new(&self.hanging);
                    std::future::pending().await
                }
            }
        })
    }
}

struct Hanging(Arc<AtomicU32>);

impl Hanging {
    fn new(count: &Arc<AtomicU32>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(count))
    }
}

impl Drop for Hanging {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Waits until `done`, with a limit.
async fn until(done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < LIMIT, "in time");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn a_check_by_command_is_run_by_whoever_was_plugged_in() {
    let world = World::start(Scripted::default());
    for n in 1..=3 {
        world.registry.register(id(&format!("job-{n}#1")), None, Some(exec())).await;
    }
    world.until_health("job-1#1", Health::Ready).await;
    world.until("job-2#1", |seen| seen.detail == "exit status 3: database is gone").await;
    let broken = world.until("job-3#1", |seen| seen.detail == "the check itself broke off").await;
    until(|| broken.checks() > 3).await; // and is tried again
    world.end().await;
}

#[tokio::test]
async fn an_instance_that_leaves_while_it_is_checked_takes_the_check_with_it() {
    let scripted = Scripted::default();
    let hanging = Arc::clone(&scripted.hanging);
    let world = World::start(scripted);
    world.registry.register(id("job-9#1"), None, Some(exec())).await;
    until(|| hanging.load(Ordering::SeqCst) == 1).await;
    world.registry.deregister(&id("job-9#1")).await;
    until(|| hanging.load(Ordering::SeqCst) == 0).await;
    assert!(world.registry.observed().is_empty());
    world.end().await;
}

#[tokio::test]
async fn a_check_that_hangs_delays_neither_other_checks_nor_the_end() {
    let scripted = Scripted::default();
    let hanging = Arc::clone(&scripted.hanging);
    let world = World::start(scripted);
    let status = Arc::new(AtomicU16::new(200));
    let address = world.serve_http(&status).await;
    for n in 10..60 {
        world.registry.register(id(&format!("job-{n}#1")), None, Some(exec())).await;
    }
    world.registry.register(id("web-1#1"), Some(address), Some(http())).await;
    world.until_health("web-1#1", Health::Ready).await;
    let registry = world.registry.clone();
    world.end().await;
    assert_eq!(hanging.load(Ordering::SeqCst), 0);
    registry.register(id("late-1#1"), None, None).await; // without effect, and without waiting
    assert_eq!(registry.drain(&id("web-1#1"), LIMIT).await, 0);
}

#[tokio::test]
async fn a_drain_leaves_the_balancer_first_and_waits_for_what_is_under_way() {
    let world = World::start(NoExec);
    let status = Arc::new(AtomicU16::new(200));
    let address = world.serve_http(&status).await;
    world.registry.register(id("web-1#1"), Some(address), Some(http())).await;
    world.until_health("web-1#1", Health::Ready).await;
    let endpoint = world.ready("web").remove(0);
    let lease = endpoint.acquire().unwrap();
    assert_eq!(world.registry.drain(&id("web-1#1"), Duration::from_millis(20)).await, 1);
    let seen = world.until_health("web-1#1", Health::Draining).await;
    assert_eq!((seen.in_flight(), seen.requests()), (1, 1));
    let finish = async {
        assert!(world.in_balancer("web").is_empty());
        assert!(endpoint.acquire().is_none());
        tokio::task::yield_now().await;
        drop(lease);
    };
    let second = id("web-1#1");
    let (left, ()) = tokio::join!(world.registry.drain(&second, LIMIT), finish);
    assert_eq!(left, 0);
    assert_eq!(world.registry.drain(&id("web-7#1"), LIMIT).await, 0);
    world.end().await;
}

#[tokio::test]
async fn an_endpoint_that_cannot_be_reached_leaves_at_once_and_returns_when_its_check_passes() {
    let world = World::start(NoExec);
    let status = Arc::new(AtomicU16::new(200));
    let address = world.serve_http(&status).await;
    let rare = HealthCheck { interval: Duration::from_secs(3600), ..http() };
    world.registry.register(id("web-1#1"), Some(address), Some(rare)).await;
    world.until_health("web-1#1", Health::Ready).await;
    let endpoint = world.ready("web").remove(0);
    status.store(500, Ordering::SeqCst);
    for _ in 0..3 {
        endpoint.record_failure();
    }
    let seen = world.until_health("web-1#1", Health::Unready).await;
    assert!(world.in_balancer("web").is_empty());
    assert_eq!(seen.detail, "3 requests in a row could not be delivered");
    world.until("web-1#1", |seen| seen.detail == "GET /healthz answered 500").await;
    status.store(200, Ordering::SeqCst);
    world.until_health("web-1#1", Health::Ready).await;
    assert_eq!(world.in_balancer("web"), ["web-1#1"]);
    assert!(Arc::ptr_eq(&endpoint, &world.ready("web")[0]), "its counters go on");
    // Its record is clean again: it takes three failures, not one, to leave once more.
    endpoint.record_failure();
    endpoint.record_failure();
    let calm =
        tokio::time::timeout(Duration::from_millis(50), world.until_health("web-1#1", Health::Unready));
    assert!(calm.await.is_err());
    endpoint.record_failure();
    world.until_health("web-1#1", Health::Unready).await;
    world.until_health("web-1#1", Health::Ready).await;
    world.end().await;
}

#[tokio::test]
async fn requests_can_be_told_to_wait_for_what_is_on_its_way() {
    let world = World::start(NoExec);
    let upstream = world.directory.upstream(&service("web"));
    world.registry.expect(&service("web"), true).await;
    assert!(upstream.load().expected);
    world.registry.expect(&service("web"), false).await;
    assert!(!upstream.load().expected);
    world.end().await;
}

#[tokio::test]
async fn two_hundred_instances_are_ready_within_moments() {
    let world = World::start(NoExec);
    let status = Arc::new(AtomicU16::new(200));
    let mut addresses = Vec::new();
    for _ in 0..200 {
        addresses.push(world.serve_http(&status).await);
    }
    let start = Instant::now();
    for (n, address) in addresses.iter().enumerate() {
        let id = id(&format!("web-{}#1", n + 1));
        let every_second = HealthCheck { interval: Duration::from_secs(1), ..http() };
        world.registry.register(id, Some(*address), Some(every_second)).await;
    }
    let all_ready =
        |all: &ObservedMap| all.values().filter(|seen| seen.health == Health::Ready).count() == 200;
    let mut seen = world.registry.observe();
    tokio::time::timeout(LIMIT, seen.wait_for(all_ready)).await.map(drop).expect("in time");
    assert_eq!(world.ready("web").len(), 200);
    let took = start.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
    world.end().await;
}
