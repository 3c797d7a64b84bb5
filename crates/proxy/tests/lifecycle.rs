//! Listening, tables that change, instances that are replaced, and the end: no request is lost.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers outside test functions

mod common;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use common::*;
use proxy::{Entrance, Listener, Options, Proxy, RouteTable};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Requests without pause from several connections, until told to stop.
struct Load {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicUsize>,
    failed: Arc<AtomicUsize>,
    running: Arc<AtomicUsize>,
}

impl Load {
    fn start(gateway: SocketAddr, clients: usize) -> Self {
        let load = Self {
            stop: Arc::default(),
            sent: Arc::default(),
            failed: Arc::default(),
            running: Arc::new(clients.into()),
        };
        for number in 0..clients {
            let (stop, running) = (Arc::clone(&load.stop), Arc::clone(&load.running));
            let (sent, failed) = (Arc::clone(&load.sent), Arc::clone(&load.failed));
            go(async move {
                let mut client = Client::connect(gateway).await;
                while !stop.load(Ordering::Relaxed) {
                    let reply = if number % 2 == 0 {
                        client.get("/").await
                    } else {
                        client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 3\r\n\r\nabc").await;
                        client.reply().await
                    };
                    if reply.status != 200 || !reply.whole {
                        eprintln!("{reply:?}");
                        failed.fetch_add(1, Ordering::Relaxed);
                        client = Client::connect(gateway).await;
                    }
                    sent.fetch_add(1, Ordering::Relaxed);
                }
                running.fetch_sub(1, Ordering::Relaxed);
            });
        }
        load
    }

    /// Waits for so many more requests.
    async fn more(&self, requests: usize) {
        let goal = self.sent.load(Ordering::Relaxed) + requests;
        until("requests go through", || self.sent.load(Ordering::Relaxed) >= goal).await;
    }

    async fn lost(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        until("the load ends", || self.running.load(Ordering::Relaxed) == 0).await;
        self.failed.load(Ordering::Relaxed)
    }
}

/// A server that can be stopped as a process can: all its sockets close.
async fn mortal() -> (SocketAddr, tokio::runtime::Runtime) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let started = runtime.spawn(async {
        Server::http(|request| async move {
            let body = http_body_util::BodyExt::collect(request.into_body()).await.unwrap();
            text(body.to_bytes())
        })
        .await
        .address
    });
    (started.await.unwrap(), runtime)
}

#[tokio::test]
async fn a_single_instance_is_replaced_under_load_and_no_request_is_lost() {
    let harness = Harness::start(&web(&["/"], PATIENCE)).await;
    let (address, mut process) = mortal().await;
    let mut endpoint = harness.ready("web", &[address]).remove(0);
    let load = Load::start(harness.gateway, 8);
    for _ in 0..15 {
        load.more(40).await;
        harness.publish("web", Vec::new(), true);
        assert_eq!(endpoint.drain(PATIENCE).await, 0);
        process.shutdown_background();
        let (address, next) = mortal().await;
        process = next;
        endpoint = harness.ready("web", &[address]).remove(0);
    }
    load.more(40).await;
    assert_eq!(load.lost().await, 0);
    process.shutdown_background();
}

#[tokio::test]
async fn one_of_two_instances_dies_without_notice_and_what_is_safe_to_repeat_is() {
    let harness = Harness::start(&web(&["/"], PATIENCE)).await;
    let ((one, dying), (two, living)) = (mortal().await, mortal().await);
    harness.ready("web", &[one, two]);
    let load = Load::start(harness.gateway, 1); // `GET` only
    load.more(100).await;
    dying.shutdown_background();
    load.more(300).await;
    assert!(load.lost().await <= 1, "only what was being answered can be lost");
    living.shutdown_background();
}

#[tokio::test]
async fn the_table_is_swapped_under_load_and_no_request_is_lost() {
    let server = Server::http(|request| async move {
        let _ = http_body_util::BodyExt::collect(request.into_body()).await;
        text("ok")
    })
    .await;
    let harness = Harness::start(&web(&["/"], PATIENCE)).await;
    harness.ready("web", &[server.address]);
    let load = Load::start(harness.gateway, 6);
    for round in 0..200 {
        let routes: &[&str] = if round % 2 == 0 { &["GET /", "POST /", "/{*rest}"] } else { &["/"] };
        harness.proxy.publish(RouteTable::compile(&web(routes, PATIENCE), &harness.directory));
        load.more(2).await;
    }
    assert_eq!(load.lost().await, 0);
}

#[tokio::test]
async fn a_request_in_flight_keeps_the_table_it_began_with() {
    let server = Server::http(|_| async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        text("old")
    })
    .await;
    let harness = Harness::web(server.address).await;
    let mut client = harness.client().await;
    client.send("GET /a HTTP/1.1\r\nHost: test\r\n\r\n").await;
    until("it is under way", || harness.proxy.stats().in_flight == 1).await;
    harness.proxy.publish(RouteTable::compile(&web(&["/b"], PATIENCE), &harness.directory));
    assert_eq!(client.reply().await.text(), "old");
    assert_eq!(client.get("/a").await.status, 404);
}

#[tokio::test]
async fn a_port_that_somebody_holds_is_refused_even_if_they_would_share_it() {
    let proxy = Proxy::start(Options { threads: 2, ..Options::default() }).unwrap();
    let plain = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let sharing = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    sharing.set_reuse_port(true).unwrap();
    sharing.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    sharing.listen(1).unwrap();
    let taken = [plain.local_addr().unwrap(), sharing.local_addr().unwrap().as_socket().unwrap()];
    let free: SocketAddr = ([127, 0, 0, 1], 0).into();
    let listeners = taken.into_iter().chain([free]);
    let listeners =
        listeners.map(|address| Listener { address, entrance: Entrance::Gateway, tls: false }).collect();
    let failed = proxy.listen(listeners).await;
    let failed: Vec<_> =
        failed.into_iter().map(|(listener, error)| (listener.address, error.kind())).collect();
    let in_use = std::io::ErrorKind::AddrInUse;
    assert_eq!(failed, [(taken[0], in_use), (taken[1], in_use)]);
    assert_eq!(proxy.addresses().len(), 1);
    // Once it is free the same call opens it.
    drop(plain);
    let again = Listener { address: taken[0], entrance: Entrance::Gateway, tls: false };
    assert!(proxy.listen(vec![again]).await.is_empty());
    // Nobody has published any routes: that is not to say that there is none.
    let mut client = Client::connect(taken[0]).await;
    client.get("/").await.is_problem(503, "A0731", "destination_unavailable");
}

#[tokio::test]
async fn everywhere_is_both_families_and_a_client_of_the_older_one_is_named_as_such() {
    let server = Server::mirror().await;
    let harness = Harness::web(server.address).await;
    let everywhere = Listener { address: "[::]:0".parse().unwrap(), entrance: Entrance::Gateway, tls: false };
    assert!(harness.proxy.listen(vec![everywhere]).await.is_empty());
    let port = harness.proxy.addresses()[0].1.port();
    let mut older = Client::connect(([127, 0, 0, 1], port).into()).await;
    assert_eq!(older.get("/").await.seen("x-forwarded-for"), ["127.0.0.1"]);
    assert!(harness.records.nth(1).await.peer.is_ipv4());
    if let Ok(stream) = tokio::net::TcpStream::connect(("::1", port)).await {
        assert_eq!(Client { stream }.get("/").await.seen("x-forwarded-for"), ["::1"]);
    }
}

#[tokio::test]
async fn a_listener_that_goes_keeps_its_connections() {
    let server = Server::saying("ok").await;
    let harness = Harness::web(server.address).await;
    let mut client = harness.client().await;
    assert_eq!(client.get("/").await.status, 200);
    assert!(harness.proxy.listen(Vec::new()).await.is_empty());
    assert_eq!(client.get("/").await.status, 200);
    until("nobody listens", || std::net::TcpStream::connect(harness.gateway).is_err()).await;
    // The same address can be had for something else in one call.
    let one = Listener { address: harness.gateway, entrance: Entrance::Gateway, tls: false };
    assert!(harness.proxy.listen(vec![one.clone()]).await.is_empty());
    let entrance = Entrance::Mesh { caller: name("a"), callee: name("b") };
    assert!(harness.proxy.listen(vec![Listener { entrance, ..one }]).await.is_empty());
    harness.get("/").await.is_problem(403, "A0707", "http_request_denied");
}

#[tokio::test]
async fn a_listener_that_stays_is_not_touched() {
    let server = Server::saying("ok").await;
    let harness = Harness::web(server.address).await;
    let load = Load::start(harness.gateway, 4);
    for _ in 0..20 {
        let other = listen(&harness.proxy, Entrance::Mesh { caller: name("a"), callee: name("b") }).await;
        assert_ne!(other, harness.gateway);
        let keep = Listener { address: ([127, 0, 0, 1], 0).into(), entrance: Entrance::Gateway, tls: false };
        assert!(harness.proxy.listen(vec![keep]).await.is_empty());
        load.more(4).await;
    }
    assert_eq!(load.lost().await, 0);
}

#[tokio::test]
async fn a_shutdown_finishes_what_is_under_way_and_takes_nothing_more() {
    let server = Server::http(|request| async move {
        if request.uri().path() == "/slow" {
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        text("finished")
    })
    .await;
    let harness = Harness::web(server.address).await;
    let mut idle = harness.client().await;
    assert_eq!(idle.get("/").await.status, 200);
    let mut slow = harness.client().await;
    slow.send("GET /slow HTTP/1.1\r\nHost: test\r\n\r\n").await;
    until("it is under way", || harness.proxy.stats().in_flight == 1).await;
    let proxy = harness.proxy.clone();
    let (ended, has_ended) = tokio::sync::oneshot::channel();
    go(async move {
        proxy.shutdown(PATIENCE).await;
        let _ = ended.send(());
    });
    assert!(idle.is_closed().await);
    until("nobody listens", || std::net::TcpStream::connect(harness.gateway).is_err()).await;
    let reply = slow.reply().await;
    assert_eq!((reply.text(), reply.header("connection")), ("finished", Some("close")));
    assert!(slow.is_closed().await);
    within(has_ended).await.unwrap();
    let refused = harness
        .proxy
        .listen(vec![Listener { address: harness.gateway, entrance: Entrance::Gateway, tls: false }])
        .await;
    assert_eq!(refused.len(), 1);
}

/// Bytes that were written to a client and that it has not read: at its socket and at the one on the other side.
fn unread(client: SocketAddr) -> usize {
    let port = format!(":{:04X}", client.port());
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let size = |text: &str| usize::from_str_radix(text, 16).unwrap();
    let mut sum = 0;
    for line in table.lines().skip(1) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (sent, got) = words[4].split_once(':').unwrap();
        if words[1].ends_with(&port) {
            sum += size(got);
        } else if words[2].ends_with(&port) {
            sum += size(sent);
        }
    }
    sum
}

#[tokio::test]
async fn a_shutdown_waits_for_the_last_bytes_of_an_answer_without_a_length() {
    let (say, said) = tokio::sync::mpsc::channel::<Vec<u8>>(1);
    let said = Arc::new(tokio::sync::Mutex::new(said));
    let server = Server::raw(move |mut stream| {
        let said = Arc::clone(&said);
        async move {
            read_head(&mut stream).await;
            while let Some(text) = said.lock().await.recv().await {
                stream.write_all(&text).await.unwrap();
            }
        }
    })
    .await;
    let harness = Harness::start(&web(&["/"], PATIENCE)).await;
    let endpoints = harness.ready("web", &[server.address]);
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap(); // there is not much room
    let mut client = Client { stream: socket.connect(harness.gateway).await.unwrap() };
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n").await;
    say.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec()).await.unwrap();
    let address = client.stream.local_addr().unwrap();
    let head = within(read_head(&mut client.stream)).await;
    // Some chunks at a time, until there is no room for them at the client: then the proxy has them.
    let (chunks, mut count) = ([b"1000\r\n", &[b'x'; 0x1000][..], b"\r\n"].concat().repeat(2), 0);
    loop {
        say.send(chunks.clone()).await.unwrap();
        count += 1;
        let taken = until("they are taken", || unread(address) >= count * chunks.len());
        if tokio::time::timeout(Duration::from_millis(200), taken).await.is_err() {
            break;
        }
    }
    say.send(b"0\r\n\r\n".to_vec()).await.unwrap();
    until("the service is done", || endpoints[0].in_flight() == 0).await;
    let proxy = harness.proxy.clone();
    let mut rest = Vec::new();
    let (read, ()) = tokio::join!(client.stream.read_to_end(&mut rest), within(proxy.shutdown(PATIENCE)));
    assert!(read.is_ok() && rest.ends_with(b"x\r\n0\r\n\r\n"), "{read:?} {head}");
}

#[tokio::test]
async fn a_shutdown_cuts_off_what_outlasts_its_grace() {
    let server = Server::raw(|mut stream| async move {
        read_head(&mut stream).await;
        std::future::pending::<()>().await;
    })
    .await;
    let harness = Harness::web(server.address).await;
    let mut client = harness.client().await;
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n").await;
    until("it is under way", || harness.proxy.stats().in_flight == 1).await;
    within(harness.proxy.shutdown(Duration::from_millis(100))).await;
    assert!(client.is_closed().await);
    assert_eq!(harness.records.nth(1).await.status, 499);
}

#[tokio::test]
async fn a_request_on_its_way_when_the_shutdown_begins_is_served() {
    let server = Server::saying("in time").await;
    let harness = Harness::web(server.address).await;
    let mut fresh = harness.client().await;
    until("it is accepted", || harness.proxy.stats().connections == 1).await;
    let proxy = harness.proxy.clone();
    go(async move { proxy.shutdown(PATIENCE).await });
    until("nobody listens", || std::net::TcpStream::connect(harness.gateway).is_err()).await;
    assert_eq!(fresh.get("/").await.text(), "in time");
    assert!(fresh.is_closed().await);
}

#[tokio::test]
async fn load_is_spread_over_all_instances() {
    let (one, two) = (Server::saying("1").await, Server::saying("2").await);
    let mut app = web(&["/"], PATIENCE);
    // By fewest requests alone: a pause of this machine makes no instance slow.
    app.services.get_mut(&name("web")).unwrap().balance.by = manifest::spec::BalanceBy::LeastRequest;
    let harness = Harness::start(&app).await;
    let endpoints = harness.ready("web", &[one.address, two.address]);
    let mut client = harness.client().await;
    for _ in 0..200 {
        assert_eq!(client.get("/").await.status, 200);
    }
    for endpoint in endpoints {
        assert!(endpoint.requests() > 50, "{}", endpoint.requests());
    }
    let _ = client.stream.shutdown().await;
}
