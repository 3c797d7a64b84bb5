//! What a request costs with every policy on and requests spread over a thousand routes: CPU time of one proxy
//! thread, and something to count instructions in.
//!
//! `cargo run --release -p gateway --example request [requests]`
//!
//! Time says little on a machine that others use. Instructions are the same every time; the difference of two
//! lengths is what the requests cost. There is a file for each thread; the proxy's has `carry` in it.
//!
//! ```sh
//! cargo build --profile profiling -p gateway --example request
//! for n in 6400 32000; do
//!     valgrind --tool=callgrind --separate-threads=yes --callgrind-out-file=out.$n \
//!         target/profiling/examples/request $n
//! done
//! ```
#![allow(clippy::unwrap_used)] // a measurement, not the platform

#[path = "../tests/signer/mod.rs"]
mod signer;

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use gateway::Edge;
use manifest::spec;
use proxy::signals::channel;
use proxy::table::Additions;
use proxy::{Entrance, Listener, Options, Proxy, RouteTable};
use registry::{Directory, Endpoint, Endpoints};
use serde_json::json;
use signer::{Signer, jwks};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

const CONNECTIONS: usize = 64;
const ROUTES: usize = 1000;
const INSTANCES: u16 = 4;
const BODY: usize = 100;
/// Between two looks of the reader of spans.
const DRAIN: Duration = Duration::from_millis(50);

fn main() {
    let requests = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(200_000);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(measure(requests));
}

async fn measure(requests: usize) {
    let folder = tempfile::tempdir().unwrap();
    let (signer, file) = (Signer::ed25519(), folder.path().join("jwks.json"));
    std::fs::write(&file, jwks(&[signer.jwk("k")])).unwrap();
    let app = app(&file);
    // The standard library's clock: valgrind cannot run the one that reads it without a system call.
    let now = || kit::Timestamp::from_micros(SystemTime::UNIX_EPOCH.elapsed().unwrap().as_micros() as u64);
    let edge = Edge::with_clock(Arc::new(now)).next(&app.gateway).unwrap();

    let mut tasks = JoinSet::new();
    let mut ready = Vec::new();
    for n in 1..=INSTANCES {
        let address = upstream(&mut tasks).await;
        ready.push(Arc::new(Endpoint::new(format!("web-{n}#1").parse().unwrap(), address)));
    }
    let directory = Directory::default();
    let endpoints = Endpoints { known: ready.len(), ready, ..Endpoints::default() };
    directory.upstream(&"web".parse().unwrap()).publish(endpoints);
    let (hops, mut reader) = channel::channel();
    tasks.spawn(async move {
        loop {
            reader.drain(|_| {});
            tokio::time::sleep(DRAIN).await;
        }
    });
    let options = Options { threads: 1, access: Arc::new(hops), ..Options::default() };
    let proxy = Proxy::start(options).unwrap();
    let filters = Box::new(move |_: &spec::ServiceName, route: &spec::Route| edge.filters(route));
    let additions = Additions { filters: Some(filters), ..Additions::default() };
    proxy.publish(RouteTable::compile_with(&app, &directory, additions));
    let listener = Listener { address: ([127, 0, 0, 1], 0).into(), entrance: Entrance::Gateway, tls: false };
    assert!(proxy.listen(vec![listener]).await.is_empty());
    let gateway = proxy.addresses()[0].1;

    let heads = heads(&signer);
    let (cpu, start) = (cpu_of_proxy(), Instant::now());
    tokio::task::spawn_blocking(move || load(gateway, &heads, requests)).await.unwrap();
    let (cpu, took) = (cpu_of_proxy() - cpu, start.elapsed().as_secs_f64());
    let each = cpu.as_secs_f64() * 1e6 / requests as f64;
    println!("{:9.0} requests/s  {each:6.2} CPU-us of the proxy per request", requests as f64 / took);
    assert_eq!(proxy.stats().errors.values().sum::<u64>(), 0);
    proxy.shutdown(Duration::from_secs(1)).await;
}

/// An app as `cargo xtask bench gateway` makes one.
fn app(keys: &Path) -> spec::App {
    let mut text =
        "name: cost\nservices:\n  web:\n    command: serve\n    balance: peak-ewma\n    routes:\n".to_owned();
    for n in 0..ROUTES {
        let limit = "limit: 1000000/s per client";
        let breaker = "breaker: { errors: 50%, of: 20, window: 10s }";
        writeln!(text, "      - GET /r{n}/{{id}}: {{ timeout: 5s, auth: customer, {limit}, {breaker} }}")
            .unwrap();
    }
    writeln!(
        text,
        "gateway:\n  auth: {{ customer: {{ jwt: {{ jwks: {keys:?}, issuer: 'https://id.example', audience: shop }} }} }}"
    )
    .unwrap();
    let parsed = manifest::parse_resolved(&text, Path::new("/atoll.yaml"));
    parsed.app.unwrap()
}

/// One token per connection, paths over all routes.
fn heads(signer: &Signer) -> Vec<Vec<String>> {
    let token = |n: usize| {
        signer.token(&json!({
            "iss": "https://id.example", "aud": "shop", "sub": format!("user-{n}"), "exp": 4_000_000_000_u64,
        }))
    };
    let tokens: Vec<String> = (0..CONNECTIONS).map(token).collect();
    let head = |token: &String, n: usize| {
        format!(
            "GET /r{}/{} HTTP/1.1\r\nhost: bench.test\r\nuser-agent: atoll-bench/1\r\naccept: application/json\r\n\
             authorization: Bearer {token}\r\n\r\n",
            n * 7 % ROUTES,
            100_000 + n
        )
    };
    (0..ROUTES).map(|n| tokens.iter().map(|token| head(token, n)).collect()).collect()
}

/// Answers every head with the same bytes.
async fn upstream(tasks: &mut JoinSet<()>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tasks.spawn(async move {
        let mut served = JoinSet::new();
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
        let answer = format!("{head}content-length: {BODY}\r\n\r\n{}", "x".repeat(BODY));
        let answer: Arc<[u8]> = answer.into_bytes().into();
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

/// Asks on all connections, then waits on all of them, and again.
fn load(address: SocketAddr, heads: &[Vec<String>], requests: usize) {
    let mut streams: Vec<_> = (0..CONNECTIONS).map(|_| TcpStream::connect(address).unwrap()).collect();
    let mut buffer = [0; 4096];
    let mut next = heads.iter().cycle();
    for _ in 0..requests / CONNECTIONS {
        for (n, stream) in streams.iter_mut().enumerate() {
            stream.write_all(next.next().unwrap()[n].as_bytes()).unwrap();
        }
        for stream in &mut streams {
            let mut have = 0;
            while !buffer[..have].ends_with(&[b'x'; BODY]) {
                let more = stream.read(&mut buffer[have..]).unwrap();
                assert!(
                    more > 0,
                    "the proxy has closed a connection: on a machine this busy its limits are reached"
                );
                have += more;
            }
            assert!(buffer.starts_with(b"HTTP/1.1 200 OK\r\n"));
        }
    }
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
