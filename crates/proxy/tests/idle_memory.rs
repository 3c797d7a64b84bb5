//! What an idle connection of HTTP/1.1 keeps. A process of its own: it is the resident memory that is measured.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers outside test functions

mod common;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use common::*;
use proxy::{Entrance, Options, Proxy, RouteTable};
use registry::{Directory, Endpoint, Endpoints};

const COUNT: usize = 2000;

/// The most that an idle connection may keep, in bytes.
const MOST: u64 = 4 * 1024;

/// Resident memory of this process, in bytes.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

/// Opens connections, each of which carries a request and is idle then. Their own side is a bare socket.
fn open(address: std::net::SocketAddr, count: usize) -> Vec<TcpStream> {
    let one = |_| {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        let mut buffer = [0; 1024];
        while !answer.ends_with(b"hello") {
            let read = stream.read(&mut buffer).unwrap();
            assert_ne!(read, 0);
            answer.extend_from_slice(&buffer[..read]);
        }
        stream
    };
    (0..count).map(one).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_connection_keeps_less_than_four_kilobytes() {
    let server = Server::saying("hello").await;
    let proxy = Proxy::start(Options::default()).unwrap(); // which keeps no records
    let directory = Directory::default();
    proxy.publish(RouteTable::compile(&web(&["/{*rest}"], PATIENCE), &directory));
    let endpoint = Arc::new(Endpoint::new("web-1#1".parse().unwrap(), server.address));
    directory.upstream(&name("web")).publish(Endpoints { ready: vec![endpoint], ..Endpoints::default() });
    let gateway = listen(&proxy, Entrance::Gateway).await;
    let open = |count| tokio::task::spawn_blocking(move || open(gateway, count));
    let warm = open(200).await.unwrap();
    let before = resident();
    let held = open(COUNT).await.unwrap();
    let mut each = u64::MAX;
    for _ in 0..40 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        each = each.min(resident().saturating_sub(before) / COUNT as u64);
    }
    println!("idle: {each} bytes each");
    assert!(each < MOST, "{each} bytes each");
    assert_eq!(proxy.stats().connections, (COUNT + 200) as u64);
    drop((warm, held));
}
