//! What a request costs: CPU time of one proxy thread per request, with 64 keep-alive connections, a small
//! answer, and upstream and load in the same process on other threads.
//!
//! `cargo run --release -p proxy --example cost [seconds]`
#![allow(clippy::unwrap_used)] // a measurement, not the platform

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use manifest::spec::{Route, ServiceName};
use proxy::{Entrance, Limits, Listener, Options, Proxy, RouteTable};
use registry::{Directory, Endpoint, Endpoints};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

const CONNECTIONS: usize = 64;
const BODY: usize = 100;

fn main() {
    let seconds = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(5);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(measure(Duration::from_secs(seconds)));
}

async fn measure(time: Duration) {
    let mut tasks = JoinSet::new();
    let upstream = upstream(&mut tasks).await;
    let options = Options { threads: 1, limits: Limits::default(), ..Options::default() };
    let proxy = Proxy::start(options).unwrap();
    let directory = Directory::default();
    let web: ServiceName = "web".parse().unwrap();
    let endpoint = Arc::new(Endpoint::new("web-1#1".parse().unwrap(), upstream));
    directory.upstream(&web).publish(Endpoints { ready: vec![endpoint], ..Endpoints::default() });
    proxy.publish(RouteTable::compile(&app(&web), &directory));
    let listener = Listener { address: ([127, 0, 0, 1], 0).into(), entrance: Entrance::Gateway, tls: false };
    assert!(proxy.listen(vec![listener]).await.is_empty());
    let gateway = proxy.addresses()[0].1;

    for (what, address) in [("direct", upstream), ("proxied", gateway)] {
        let (cpu, start) = (cpu_of_proxy(), Instant::now());
        let requests = load(address, time).await;
        let (cpu, took) = (cpu_of_proxy() - cpu, start.elapsed().as_secs_f64());
        let each = cpu.as_secs_f64() * 1e6 / requests as f64;
        println!(
            "{what:8} {:9.0} requests/s  {each:6.2} CPU-us of the proxy per request",
            requests as f64 / took
        );
    }
    println!("resident: {}", resident());
    proxy.shutdown(Duration::from_secs(1)).await;
}

/// Answers every head with the same bytes.
async fn upstream(tasks: &mut JoinSet<()>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tasks.spawn(async move {
        let mut served = JoinSet::new();
        let answer: Arc<[u8]> =
            format!("HTTP/1.1 200 OK\r\nContent-Length: {BODY}\r\n\r\n{}", "x".repeat(BODY))
                .into_bytes()
                .into();
        while let Ok((mut stream, _)) = listener.accept().await {
            let answer = Arc::clone(&answer);
            let _ = stream.set_nodelay(true);
            served.spawn(async move {
                let mut buffer = vec![0; 4096];
                while matches!(stream.read(&mut buffer).await, Ok(1..)) {
                    if stream.write_all(&answer).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

/// Asks as fast as answers come, and returns how many did.
async fn load(address: SocketAddr, time: Duration) -> u64 {
    let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut clients = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let (stop, count) = (Arc::clone(&stop), Arc::clone(&count));
        clients.spawn(async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.set_nodelay(true).unwrap();
            let mut buffer = vec![0; 4096];
            while !stop.load(Ordering::Relaxed) {
                stream
                    .write_all(
                        b"GET /books/7 HTTP/1.1\r\nHost: test\r\nUser-Agent: cost\r\nAccept: */*\r\n\r\n",
                    )
                    .await
                    .unwrap();
                let mut have = 0;
                // The answer is whole when its body is: the head differs, its end does not.
                while have < BODY || !buffer[..have].ends_with(&[b'x'; BODY]) {
                    have += stream.read(&mut buffer[have..]).await.unwrap();
                }
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    tokio::time::sleep(time).await;
    stop.store(true, Ordering::Relaxed);
    while clients.join_next().await.is_some() {}
    count.load(Ordering::Relaxed)
}

/// CPU time of the proxy's threads so far (`/proc/self/task/*/schedstat`, nanoseconds on the CPU first).
fn cpu_of_proxy() -> Duration {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let of_proxy = tasks.filter(|task| {
        std::fs::read_to_string(task.path().join("comm")).is_ok_and(|name| name.starts_with("atoll-proxy"))
    });
    let nanos = of_proxy.filter_map(|task| {
        let stat = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        stat.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanos.sum())
}

fn resident() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("?").trim().to_owned()
}

fn app(web: &ServiceName) -> manifest::spec::App {
    let route = Route {
        name: "GET /books/{id}".to_owned(),
        methods: vec![http::Method::GET],
        path: "/books/{id}".to_owned(),
        host: None,
        headers: Vec::new(),
        auth: None,
        guard: manifest::spec::Guard::default(),
        strip_prefix: None,
        slo: None,
    };
    let mut service = example_service(web);
    service.routes.push(route);
    manifest::spec::App {
        name: "cost".parse().unwrap(),
        root: "/".into(),
        services: [(web.clone(), service)].into(),
        gateway: manifest::spec::Gateway::default(),
        pipes: manifest::spec::Pipes::default(),
        telemetry: None,
        console: Default::default(),
    }
}

fn example_service(name: &ServiceName) -> manifest::spec::Service {
    use manifest::spec;
    spec::Service {
        name: name.clone(),
        work: spec::Work::Process(vec!["true".to_owned()]),
        prepare: None,
        environment: [].into(),
        working_dir: "/".into(),
        port: None,
        user: None,
        ulimits: [].into(),
        limits: spec::Limits::default(),
        restart: spec::Restart {
            when: spec::RestartWhen::Never,
            max_attempts: None,
            delay: Duration::ZERO,
            window: Duration::ZERO,
        },
        stop_signal: "SIGTERM".to_owned(),
        stop_grace: Duration::ZERO,
        depends_on: [].into(),
        healthcheck: None,
        metrics: None,
        scale: spec::Scale { replicas: 1, min: 1, max: 1, target: [].into(), predict: false },
        wire: spec::Wire::default(),
        balance: spec::Balance::default(),
        routes: Vec::new(),
        calls: [].into(),
        logging: spec::Logging { max_size: kit::units::Bytes(1 << 20), max_files: 1 },
        labels: [].into(),
        slo: None,
        measures: [].into(),
    }
}
