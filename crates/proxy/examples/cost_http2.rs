//! What a request over HTTP/2 costs: CPU time of one proxy thread per request, with 4 connections of 16
//! streams, small answers, and upstream and load in the same process on other threads.
//!
//! `cargo run --release -p proxy --example cost_http2 [seconds] [h1|h2|grpc]`: what the instance speaks.
#![allow(clippy::unwrap_used)] // a measurement, not the platform

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use manifest::spec::{self, ServiceName};
use proxy::{Entrance, Limits, Listener, Options, Proxy, RouteTable};
use registry::{Directory, Endpoint, Endpoints};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

const CONNECTIONS: usize = 4;
const STREAMS: usize = 16;
const BODY: usize = 100;

fn main() {
    let mut words = std::env::args().skip(1);
    let seconds = words.next().and_then(|text| text.parse().ok()).unwrap_or(5);
    let kinds: Vec<String> = words.collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    for kind in ["h1", "h2", "grpc"] {
        if kinds.is_empty() || kinds.iter().any(|wanted| wanted == kind) {
            runtime.block_on(measure(kind, Duration::from_secs(seconds)));
        }
    }
}

async fn measure(kind: &str, time: Duration) {
    let mut tasks = JoinSet::new();
    let (old, grpc) = (kind == "h1", kind == "grpc");
    let upstream = if old { http1(&mut tasks).await } else { http2(&mut tasks).await };
    let proxy =
        Proxy::start(Options { threads: 1, limits: Limits::default(), ..Options::default() }).unwrap();
    let directory = Directory::default();
    let web: ServiceName = "web".parse().unwrap();
    let endpoint = Arc::new(Endpoint::new("web-1#1".parse().unwrap(), upstream));
    directory.upstream(&web).publish(Endpoints { ready: vec![endpoint], ..Endpoints::default() });
    proxy.publish(RouteTable::compile(&app(&web, old), &directory));
    let listener = Listener { address: ([127, 0, 0, 1], 0).into(), entrance: Entrance::Gateway, tls: false };
    assert!(proxy.listen(vec![listener]).await.is_empty());
    let gateway = proxy.addresses()[0].1;
    let (cpu, start) = (cpu_of_proxy(), Instant::now());
    let requests = load(gateway, time, grpc).await;
    let (cpu, took) = (cpu_of_proxy() - cpu, start.elapsed().as_secs_f64());
    let each = cpu.as_secs_f64() * 1e6 / requests as f64;
    println!(
        "{kind:5} {requests:8} requests {:9.0}/s  {each:6.2} CPU-us of the proxy per request",
        requests as f64 / took
    );
    proxy.shutdown(Duration::from_secs(1)).await;
    let ended = Instant::now();
    // The threads of the next proxy have the same name.
    while cpu_of_proxy() > Duration::ZERO && ended.elapsed() < Duration::from_secs(5) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Answers every head of HTTP/1.1 with the same bytes.
async fn http1(tasks: &mut JoinSet<()>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {BODY}\r\n\r\n{}", "x".repeat(BODY));
    tasks.spawn(async move {
        let mut served = JoinSet::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let answer = answer.clone();
            let _ = stream.set_nodelay(true);
            served.spawn(async move {
                let mut buffer = vec![0; 4096];
                while matches!(stream.read(&mut buffer).await, Ok(1..)) {
                    if stream.write_all(answer.as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

/// Answers every stream with the same bytes and trailers.
async fn http2(tasks: &mut JoinSet<()>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tasks.spawn(async move {
        let mut served = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let _ = stream.set_nodelay(true);
            served.spawn(async move {
                let Ok(mut connection) = h2::server::handshake(stream).await else { return };
                let mut streams = JoinSet::new();
                while let Some(Ok((request, mut respond))) = connection.accept().await {
                    while streams.try_join_next().is_some() {}
                    streams.spawn(async move {
                        let mut body = request.into_body();
                        while let Some(Ok(data)) = body.data().await {
                            let _ = body.flow_control().release_capacity(data.len());
                        }
                        let mut head = Response::new(());
                        head.headers_mut()
                            .insert("content-type", HeaderValue::from_static("application/grpc"));
                        let Ok(mut sending) = respond.send_response(head, false) else { return };
                        let _ = sending.send_data(Bytes::from_static(&[b'x'; BODY]), false);
                        let status = (HeaderName::from_static("grpc-status"), HeaderValue::from_static("0"));
                        let _ = sending.send_trailers(HeaderMap::from_iter([status]));
                    });
                }
            });
        }
    });
    address
}

/// Asks as fast as answers come, and returns how many did.
async fn load(address: SocketAddr, time: Duration, grpc: bool) -> u64 {
    let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut clients = JoinSet::new();
    let mut connections = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (sender, connection) = h2::client::handshake(stream).await.unwrap();
        connections.spawn(async move { drop(connection.await) });
        for _ in 0..STREAMS {
            let (stop, count, sender) = (Arc::clone(&stop), Arc::clone(&count), sender.clone());
            clients.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    ask(sender.clone(), grpc).await;
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    }
    tokio::time::sleep(time).await;
    stop.store(true, Ordering::Relaxed);
    while clients.join_next().await.is_some() {}
    count.load(Ordering::Relaxed)
}

async fn ask(sender: h2::client::SendRequest<Bytes>, grpc: bool) {
    let mut sender = sender.ready().await.unwrap();
    let request = Request::builder().uri("http://test/books/7").header("user-agent", "cost");
    let request = match grpc {
        true => request.method("POST").header("content-type", "application/grpc").header("te", "trailers"),
        false => request.header("accept", "*/*"),
    };
    let (answer, mut sending) = sender.send_request(request.body(()).unwrap(), !grpc).unwrap();
    if grpc {
        sending.send_data(Bytes::from_static(&[b'x'; BODY]), true).unwrap();
    }
    let mut body = answer.await.unwrap().into_body();
    let mut size = 0;
    while let Some(data) = body.data().await {
        let data = data.unwrap();
        let _ = body.flow_control().release_capacity(data.len());
        size += data.len();
    }
    assert_eq!(size, BODY);
    let _ = body.trailers().await.unwrap();
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

fn app(web: &ServiceName, old: bool) -> spec::App {
    let route = spec::Route {
        name: "/books/{id}".to_owned(),
        methods: Vec::new(),
        path: "/books/{id}".to_owned(),
        host: None,
        headers: Vec::new(),
        auth: None,
        guard: spec::Guard::default(),
        strip_prefix: None,
        slo: None,
    };
    let mut service = example_service(web);
    service.routes.push(route);
    service.wire = if old { spec::Wire::Http1 } else { spec::Wire::Http2 };
    spec::App {
        name: "cost".parse().unwrap(),
        root: "/".into(),
        services: [(web.clone(), service)].into(),
        gateway: spec::Gateway::default(),
        pipes: spec::Pipes::default(),
        telemetry: None,
        console: Default::default(),
    }
}

fn example_service(name: &ServiceName) -> manifest::spec::Service {
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
