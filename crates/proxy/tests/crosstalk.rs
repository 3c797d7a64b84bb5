//! Nobody gets what was meant for somebody else, however badly clients and services behave beside them.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers outside test functions

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::*;
use proxy::Limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Numbers that are the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

/// A service that names what it was asked for in every answer, and keeps few rules beside that.
async fn unruly() -> Server {
    let seed = AtomicUsize::new(1);
    Server::raw(move |mut stream| {
        let mut dice = Dice(seed.fetch_add(1, Ordering::Relaxed) as u64 * 0x9E37_79B9);
        async move {
            loop {
                let head = read_head(&mut stream).await;
                let Some(path) = head.split(' ').nth(1).map(str::to_owned) else { return };
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                let early = dice.roll(8) == 0;
                if !early && let Some(length) = length {
                    let mut body = vec![0; length.parse().unwrap()];
                    if stream.read_exact(&mut body).await.is_err() {
                        return;
                    }
                }
                let size = path.len();
                let kind = dice.roll(12);
                let answer = match kind {
                    0 => format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{size:x}\r\n{path}\r\n0\r\nx-a: b\r\n\r\n"),
                    1 => format!("HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n{path}"),
                    2 => format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\nConnection: close\r\n\r\n{path}"),
                    3 => format!("HTTP/1.1 200 OK\r\n\r\n{path}"),
                    4 => format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{path}", size + 5),
                    5 => format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n{path}HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"),
                    6 => "HTTP/1.1 204 No Content\r\nContent-Length: 6\r\n\r\npoison".to_owned(),
                    7 => format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{size:x}\r\n{path}\r\n"),
                    _ => format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n{path}"),
                };
                // What comes behind an answer comes with it: bytes that arrive once the next request has left are
                // its answer to whoever speaks HTTP/1.1.
                let cut = if [5, 6].contains(&kind) { 0 } else { dice.roll(answer.len() as u64) as usize };
                let (first, second) = answer.as_bytes().split_at(cut);
                if stream.write_all(first).await.is_err() {
                    return;
                }
                if dice.roll(3) == 0 {
                    tokio::time::sleep(Duration::from_micros(dice.roll(500))).await;
                }
                if stream.write_all(second).await.is_err() {
                    return;
                }
                if [2, 3, 4, 7].contains(&kind) {
                    return;
                }
            }
        }
    })
    .await
}

/// One connection's life: requests, some of them broken off or sent ahead of the answers before them.
async fn live(gateway: std::net::SocketAddr, number: u64, wrong: Arc<AtomicUsize>, right: Arc<AtomicUsize>) {
    let mut dice = Dice((number + 1) * 0x2545_F491);
    for life in 0..25 {
        let Ok(mut stream) = TcpStream::connect(gateway).await else { return };
        let count = 1 + dice.roll(4);
        let mut text = Vec::new();
        let mut paths = Vec::new();
        for nth in 0..count {
            let path = format!("/{number}-{life}-{nth}-{}", "x".repeat(dice.roll(40) as usize));
            let size = dice.roll(3000) as usize;
            let head = match dice.roll(4) {
                0 => format!(
                    "POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n{}",
                    "b".repeat(size)
                ),
                1 => format!(
                    "POST {path} HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: {size}\r\n\r\n{}",
                    "b".repeat(size)
                ),
                _ => format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"),
            };
            text.extend_from_slice(head.as_bytes());
            paths.push(path);
        }
        match dice.roll(5) {
            0 => {
                let cut = dice.roll(text.len() as u64) as usize;
                let _ = stream.write_all(&text[..cut]).await;
                tokio::time::sleep(Duration::from_micros(dice.roll(2000))).await;
                continue; // gone in the middle
            }
            1 => {
                let _ = stream.write_all(&text).await;
                tokio::time::sleep(Duration::from_micros(dice.roll(1000))).await;
                continue; // gone before the answers
            }
            _ => {}
        }
        let (first, second) = text.split_at(dice.roll(text.len() as u64) as usize);
        let _ = stream.write_all(first).await;
        tokio::task::yield_now().await;
        let _ = stream.write_all(second).await;
        let _ = stream.write_all(b"GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
        let mut answers = Vec::new();
        let _ = within(stream.read_to_end(&mut answers)).await;
        let answers = String::from_utf8_lossy(&answers);
        // Each path that a service was asked for is named in order, once, and is one of ours.
        let mut at = 0;
        for named in
            answers.split("/").skip(1).filter(|named| named.starts_with(|c: char| c.is_ascii_digit()))
        {
            if !named.contains('-') || named.starts_with("1.1") {
                continue;
            }
            let named: String =
                named.chars().take_while(|c| c.is_ascii_digit() || *c == '-' || *c == 'x').collect();
            match paths[at..].iter().position(|path| path[1..].starts_with(named.trim_end_matches('x'))) {
                Some(found) => {
                    at += found + 1;
                    right.fetch_add(1, Ordering::Relaxed);
                }
                None => {
                    eprintln!("{named} is not of {paths:?}: {answers}");
                    wrong.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        if answers.contains("poison") {
            eprintln!("poisoned {paths:?}: {answers}");
            wrong.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_reach_whoever_asked_however_unruly_both_sides_are() {
    let server = unruly().await;
    let limits = Limits { expect: Duration::from_millis(5), ..Limits::default() };
    let harness = Harness::with(&web(&["/{*rest}"], Duration::from_secs(5)), limits).await;
    harness.ready("web", &[server.address]);
    let (wrong, right) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let lives = (0..32).map(|number| live(harness.gateway, number, Arc::clone(&wrong), Arc::clone(&right)));
    tokio::time::timeout(Duration::from_secs(60), futures_util::future::join_all(lives)).await.unwrap();
    assert_eq!(wrong.load(Ordering::Relaxed), 0);
    assert!(right.load(Ordering::Relaxed) > 300, "{right:?}");
    until("nothing is under way", || harness.proxy.stats().in_flight == 0).await;
}
