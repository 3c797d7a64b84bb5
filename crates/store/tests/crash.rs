//! A process that commits is killed at a random moment. What it was told is on disk is there, whole, and nothing that it was
//! told is deleted comes back.

#![allow(clippy::unwrap_used)]

mod common;

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use bytes::Bytes;
use common::{BODY, HEAD, META, SPACES, all, number};
use store::{EngineKind, Op, Options, Store, Txn};

const ROUNDS: u64 = 6;
/// Bodies that wait at a time.
const WAITING: u64 = 64;
const IN_FLIGHT: usize = 32;
const DIRECTORY: &str = "ATOLL_TEST_STORE_DIRECTORY";
const ENGINE: &str = "ATOLL_TEST_STORE_ENGINE";

fn options(directory: &Path, engine: EngineKind) -> Options {
    let mut options = Options::new(directory, SPACES).engine(engine);
    // Little, so that memtables are flushed and journals are rotated in between.
    options.memory_limit = Some(64 * 1024 * 1024);
    options
}

fn key(turn: u64) -> Vec<u8> {
    turn.to_be_bytes().to_vec()
}

/// What turn `turn` does: a body comes, the one that has waited longest goes, and both are counted.
fn txn(turn: u64) -> Txn {
    let body = Bytes::from(vec![u8::try_from(turn % 251).unwrap(); 4096]);
    let mut txn = Txn::new().put(META, key(turn), key(turn)).put(BODY, key(turn), body);
    if let Some(old) = turn.checked_sub(WAITING) {
        txn = txn.delete(BODY, key(old));
    }
    txn.ops.push(Op::Add(HEAD, b"count".to_vec(), 1));
    txn
}

async fn count(store: &dyn Store) -> u64 {
    match store.snapshot().unwrap().get(HEAD, b"count").await.unwrap() {
        Some(_) => number(store, HEAD, "count").await.try_into().unwrap(),
        None => 0,
    }
}

/// What the killed process runs: it says each turn that was acknowledged.
#[tokio::test]
async fn child() {
    let (Some(directory), Ok(engine)) = (std::env::var_os(DIRECTORY), std::env::var(ENGINE)) else { return };
    let engine = if engine == "redb" { EngineKind::Redb } else { EngineKind::Fjall };
    let store = store::open(options(&PathBuf::from(directory), engine)).unwrap();
    let mut turn = count(&*store).await;
    let mut under_way = std::collections::VecDeque::new();
    let mut out = std::io::stdout().lock();
    loop {
        let txn = txn(turn);
        under_way.push_back((turn, store.commit(store.admit(txn.bytes()).unwrap(), txn)));
        turn += 1;
        if under_way.len() > IN_FLIGHT {
            let (done, committing) = under_way.pop_front().unwrap();
            committing.await.unwrap();
            writeln!(out, "\nacknowledged {done}").unwrap();
            out.flush().unwrap();
        }
    }
}

fn kill_at_random(directory: &Path, engine: EngineKind, after: u64) -> Option<u64> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture"])
        .env(DIRECTORY, directory)
        .env(ENGINE, engine.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut last = None;
    let mut seen = 0;
    while let Some(Ok(line)) = lines.next() {
        let Some(turn) = line.strip_prefix("acknowledged ") else { continue };
        last = Some(turn.parse().unwrap());
        seen += 1;
        if seen == after {
            child.kill().unwrap();
            // What was said before the end still counts: the loop goes on to the end of the pipe.
        }
    }
    child.wait().unwrap();
    assert!(seen >= after, "the child ended by itself");
    last
}

async fn check(store: &Arc<dyn Store>, acknowledged: Option<u64>) {
    let count = count(&**store).await;
    assert!(
        count >= acknowledged.map_or(0, |last| last + 1),
        "{count} are there, {acknowledged:?} was acknowledged"
    );
    let snapshot = store.snapshot().unwrap();
    let keys = |found: Vec<(Bytes, Bytes)>| -> Vec<Vec<u8>> {
        found.into_iter().map(|(key, _)| key.to_vec()).collect()
    };
    let metas = keys(all(&*snapshot, META).await.unwrap());
    assert_eq!(metas, (0..count).map(key).collect::<Vec<_>>(), "a transaction is half there");
    let bodies = all(&*snapshot, BODY).await.unwrap();
    for (key, body) in &bodies {
        let turn = u64::from_be_bytes(key[..].try_into().unwrap());
        assert!(body.iter().all(|byte| u64::from(*byte) == turn % 251), "body {turn} is another one");
    }
    let expected: Vec<_> = (count.saturating_sub(WAITING)..count).map(key).collect();
    assert_eq!(keys(bodies), expected, "a body is missing, or one that was deleted is there");
}

async fn rounds(engine: EngineKind) {
    let place = common::directory();
    let directory = place.path().join("store");
    // Another row of moments with each run; it is said, for a failure to be run again.
    let mut seed =
        u64::from(std::process::id()) ^ std::time::UNIX_EPOCH.elapsed().unwrap().as_micros() as u64;
    println!("seed {seed}");
    let mut random = move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        seed >> 33
    };
    for round in 0..ROUNDS {
        let after = random() % 700 + 1;
        println!("round {round}: killed after {after}");
        let acknowledged = kill_at_random(&directory, engine, after);
        let store = store::open(options(&directory, engine)).unwrap();
        check(&store, acknowledged).await;
        drop(store);
    }
    let report = store::verify(&directory).unwrap();
    assert_eq!(report.problems, [""; 0]);
    assert_eq!(report.opened, 2 * ROUNDS);
}

#[tokio::test]
async fn fjall_keeps_what_it_acknowledged_before_it_was_killed() {
    rounds(EngineKind::Fjall).await;
}

#[tokio::test]
async fn redb_keeps_what_it_acknowledged_before_it_was_killed() {
    rounds(EngineKind::Redb).await;
}
