//! The engine between a client and hyper's server, with messages of every framing cut at every kind of place:
//! what one side says is what the other side hears, in order. (What is no message at all is compared with
//! hyper byte by byte in the crate itself: `engine::h1::differential`.)
//!
//! `ATOLL_FUZZ_CASES` says how many connections are tried; a failure prints the seed of its connection.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers outside test functions

mod common;

use std::io;
use std::time::Duration;

use bytes::Bytes;
use common::*;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::io::AsyncWriteExt;

const CASES: u64 = 60;
/// Longest body: several of the engine's buffers.
const BODY_MAX: usize = 60_000;

/// Echoes a body, in a framing that the path tells, in pieces of a size that the path tells.
async fn echo() -> Server {
    Server::http(|request| async move {
        let path = request.uri().path().to_owned();
        let mut words = path.split('/').skip(1);
        let (framing, piece) = (words.next().unwrap().to_owned(), words.next().unwrap().parse().unwrap());
        let body = request.into_body().collect().await.unwrap().to_bytes();
        match &framing[..] {
            "sized" => text(body),
            "chunked" => {
                let frames: Vec<_> = body
                    .chunks(piece)
                    .map(Bytes::copy_from_slice)
                    .map(Frame::data)
                    .map(Ok::<_, io::Error>)
                    .collect();
                http::Response::new(StreamBody::new(futures_util::stream::iter(frames)).boxed())
            }
            "closed" => {
                let mut answer = text(body);
                answer.headers_mut().insert("connection", http::HeaderValue::from_static("close"));
                answer
            }
            other => panic!("{other}"),
        }
    })
    .await
}

struct Said {
    head: bool,
    bytes: Vec<u8>,
    body: Vec<u8>,
}

fn request(rng: &mut StdRng) -> Said {
    let size = match rng.random_range(0..6) {
        0 => 0,
        1 | 2 => rng.random_range(1..50),
        3 | 4 => rng.random_range(50..9000),
        _ => rng.random_range(9000..BODY_MAX),
    };
    let mut body = vec![0; size];
    rng.fill(&mut body[..]);
    let framing = ["sized", "chunked", "closed"][rng.random_range(0..3)];
    let path = format!("/{framing}/{}", rng.random_range(1..=size.max(1)));
    let padding = "x".repeat(rng.random_range(0..300));
    let (mut bytes, head) = (Vec::new(), rng.random_range(0..8) == 0);
    if head {
        bytes.extend(format!("HEAD {path} HTTP/1.1\r\nHost: a\r\nX: {padding}\r\n\r\n").bytes());
        return Said { head, bytes, body: Vec::new() };
    }
    if size == 0 && rng.random() {
        bytes.extend(format!("GET {path} HTTP/1.1\r\nHost: a\r\nX: {padding}\r\n\r\n").bytes());
    } else if rng.random() {
        bytes.extend(
            format!("POST {path} HTTP/1.1\r\nX: {padding}\r\nHost: a\r\nContent-Length: {size}\r\n\r\n")
                .bytes(),
        );
        bytes.extend(&body);
    } else {
        bytes.extend(format!("PUT {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").bytes());
        let mut rest = &body[..];
        while !rest.is_empty() {
            let (chunk, after) = rest.split_at(rng.random_range(1..=rest.len()));
            let extension = ["", ";a", ";a=\"b c\""][rng.random_range(0..3)];
            bytes.extend(
                format!("{:0width$X}{extension}\r\n", chunk.len(), width = rng.random_range(1..6)).bytes(),
            );
            bytes.extend(chunk);
            bytes.extend(b"\r\n");
            rest = after;
        }
        bytes.extend(if rng.random() { &b"0\r\n\r\n"[..] } else { b"0\r\nX-Sum: 1\r\n\r\n" });
    }
    Said { head, bytes, body }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_client_says_is_what_comes_back_whatever_the_framing_and_wherever_it_is_cut() {
    let cases = std::env::var("ATOLL_FUZZ_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(CASES);
    let server = echo().await;
    let harness = Harness::web(server.address).await;
    let first: u64 = std::env::var("ATOLL_FUZZ_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    for seed in first..first + cases {
        let mut rng = StdRng::seed_from_u64(seed);
        let requests: Vec<Said> = (0..rng.random_range(1..6)).map(|_| request(&mut rng)).collect();
        let all = requests.iter().flat_map(|said| said.bytes.iter().copied()).collect::<Vec<u8>>();
        let client = harness.client().await;
        let (read, mut write) = client.stream.into_split();
        let piece_max = [3, 50, 1500, 20_000, 1 << 20][rng.random_range(0..5)].max(all.len() / 300);
        let told = async move {
            let mut rest = &all[..];
            while !rest.is_empty() {
                let (piece, after) = rest.split_at(rng.random_range(1..=rest.len().min(piece_max)));
                write.write_all(piece).await.unwrap();
                rest = after;
                if rng.random_range(0..4) == 0 {
                    tokio::time::sleep(Duration::from_micros(300)).await;
                }
            }
            write
        };
        let heard = async move {
            let mut reader = Reader(tokio::io::BufReader::new(read));
            for (nth, said) in requests.iter().enumerate() {
                let (status, body) = reader.answer(said.head).await;
                assert_eq!(status, 200, "seed {seed}, request {nth}");
                assert!(
                    body == said.body,
                    "seed {seed}, request {nth}: {} of {} bytes",
                    body.len(),
                    said.body.len()
                );
            }
        };
        let both = async { tokio::join!(told, heard) };
        tokio::time::timeout(PATIENCE, both).await.unwrap_or_else(|_| panic!("seed {seed} got stuck"));
    }
    until("nothing is under way", || harness.proxy.stats().in_flight == 0).await;
}

/// Reads answers one after the other.
struct Reader(tokio::io::BufReader<tokio::net::tcp::OwnedReadHalf>);

impl Reader {
    async fn line(&mut self) -> String {
        let mut line = String::new();
        tokio::io::AsyncBufReadExt::read_line(&mut self.0, &mut line).await.unwrap();
        assert!(line.ends_with("\r\n"), "{line:?}");
        line.trim_end().to_owned()
    }

    async fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        tokio::io::AsyncReadExt::read_exact(&mut self.0, &mut bytes).await.unwrap();
        bytes
    }

    async fn answer(&mut self, to_head: bool) -> (u16, Vec<u8>) {
        let status = self.line().await[9..12].parse().unwrap();
        let (mut length, mut chunked) = (None, false);
        loop {
            let line = self.line().await.to_ascii_lowercase();
            match line.split_once(": ") {
                None => break,
                Some(("content-length", value)) => length = Some(value.parse().unwrap()),
                Some(("transfer-encoding", "chunked")) => chunked = true,
                Some(_) => {}
            }
        }
        if to_head {
            return (status, Vec::new());
        }
        if !chunked {
            return (status, self.bytes(length.unwrap()).await);
        }
        let mut body = Vec::new();
        loop {
            let size = usize::from_str_radix(&self.line().await, 16).unwrap();
            body.extend(self.bytes(size).await);
            assert_eq!(self.line().await, "");
            if size == 0 {
                return (status, body);
            }
        }
    }
}
