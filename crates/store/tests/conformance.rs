//! What every store must do, whichever engine is below it.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::{BODY, HEAD, META, Place, SPACES, UNKNOWN, all, commit, get, keys, number, put};
use kit::{SteppedClock, Timestamp};
use store::{
    Change, CommitError, EngineKind, Op, Pre, Refused, Scan, Space, SpaceKind, StoreError, Txn, TxnId,
    Version,
};

macro_rules! conformance {
    ($($name:ident),* $(,)?) => {
        mod memory { $(#[tokio::test] async fn $name() { super::$name(super::Place::new(super::EngineKind::Memory)).await; })* }
        mod fjall { $(#[tokio::test] async fn $name() { super::$name(super::Place::new(super::EngineKind::Fjall)).await; })* }
        mod redb { $(#[tokio::test] async fn $name() { super::$name(super::Place::new(super::EngineKind::Redb)).await; })* }
    };
}

conformance! {
    what_was_committed_is_read_back_after_reopening,
    all_of_a_transaction_happens_or_nothing,
    preconditions_see_what_came_before_in_the_same_batch,
    a_range_is_empty_only_without_keys,
    numbers_are_added,
    what_cannot_be_added_changes_nothing,
    keys_carry_the_version_of_their_commit,
    the_last_operation_on_a_key_counts,
    versions_rise_and_are_never_given_twice,
    a_transaction_with_an_identity_is_applied_once,
    identities_are_remembered_for_ten_minutes,
    pages_go_forwards_and_backwards,
    a_page_is_bounded_in_bytes,
    a_snapshot_stays_as_it_was,
    a_bucket_is_dropped_and_no_more,
    a_watch_tells_of_every_change_in_order,
    a_watch_may_begin_at_a_snapshot,
    a_watch_that_falls_behind_ends,
    a_lease_has_one_holder_and_rising_epochs,
    a_fence_holds_in_its_epoch_alone,
    room_that_is_taken_is_refused_and_given_back,
    what_no_store_can_take_is_invalid,
    a_dropped_commit_is_committed_all_the_same,
    commits_that_come_together_share_a_sync,
    closing_waits_for_what_was_given,
    spaces_keep_their_names_and_kinds,
    spaces_can_be_added_and_left_out,
}

async fn what_was_committed_is_read_back_after_reopening(place: Place) {
    let store = place.open();
    assert_eq!(get(&*store, BODY, "a").await, None);
    let version = put(&*store, BODY, "a", "1").await;
    put(&*store, META, "a", "2").await;
    put(&*store, META, "a", "3").await;
    commit(&*store, Txn::new().put(BODY, "b", "x").put(BODY, "c", "")).await.unwrap();
    let last = commit(&*store, Txn::new().delete(BODY, "b").delete(BODY, "never there")).await.unwrap();
    assert!(last > version);
    assert_eq!(store.stats().version, last);
    drop(store);
    let store = place.open();
    assert_eq!(get(&*store, BODY, "a").await.as_deref(), Some("1"));
    assert_eq!(get(&*store, META, "a").await.as_deref(), Some("3"));
    assert_eq!(get(&*store, BODY, "b").await, None);
    assert_eq!(get(&*store, BODY, "c").await.as_deref(), Some(""));
    assert_eq!(store.snapshot().unwrap().version(), last);
    assert!(put(&*store, BODY, "d", "").await > last);
}

async fn all_of_a_transaction_happens_or_nothing(place: Place) {
    let store = place.open();
    put(&*store, META, "there", "1").await;
    let txn = Txn::new()
        .when(Pre::Value(META, b"there".to_vec(), Bytes::from("1")))
        .when(Pre::Absent(META, b"there".to_vec()))
        .put(META, "new", "x")
        .delete(META, "there");
    assert_eq!(commit(&*store, txn).await, Err(CommitError::Conflict(1)));
    assert_eq!(keys(&*store, META).await, ["there"]);
    let txn = Txn::new()
        .when(Pre::Value(META, b"there".to_vec(), Bytes::from("1")))
        .when(Pre::Absent(META, b"new".to_vec()))
        .put(META, "new", "x")
        .delete(META, "there");
    commit(&*store, txn.clone()).await.unwrap();
    assert_eq!(keys(&*store, META).await, ["new"]);
    assert_eq!(commit(&*store, txn).await, Err(CommitError::Conflict(0)));
}

async fn preconditions_see_what_came_before_in_the_same_batch(place: Place) {
    let store = place.open();
    // Given without waiting: they come together in few batches, and one of each pair loses all the same.
    let mut under_way = Vec::new();
    for turn in 0..50 {
        for side in ["left", "right"] {
            let key = format!("{turn:03}");
            let txn = Txn::new().when(Pre::Absent(META, key.clone().into_bytes())).put(META, key, side);
            under_way.push(store.commit(store.admit(txn.bytes()).unwrap(), txn));
        }
    }
    for (turn, committing) in under_way.into_iter().enumerate() {
        let expected = if turn % 2 == 0 { Ok(()) } else { Err(CommitError::Conflict(0)) };
        assert_eq!(committing.await.map(drop), expected, "turn {turn}");
    }
    assert_eq!(get(&*store, META, "049").await.as_deref(), Some("left"));
}

async fn a_range_is_empty_only_without_keys(place: Place) {
    let store = place.open();
    put(&*store, META, "b", "1").await;
    let empty = |from: &str, to: &str| Pre::RangeEmpty(META, from.into(), to.into());
    let tried =
        async |from, to| commit(&*store, Txn::new().when(empty(from, to)).put(HEAD, "x", "")).await.is_ok();
    assert!(tried("", "b").await, "the end is excluded");
    assert!(tried("b\0", "z").await);
    assert!(!tried("b", "c").await, "the beginning is included");
    assert!(!tried("", "z").await);
    assert!(tried("z", "a").await, "a range without keys is empty");
    // In one batch: what the first removes is gone for the second, what the second puts is there for the third.
    let txns = [
        Txn::new().delete(META, "b"),
        Txn::new().when(empty("a", "c")).put(META, "bb", "2"),
        Txn::new().when(empty("a", "c")).put(META, "bbb", "3"),
    ];
    let under_way = txns.map(|txn| store.commit(store.admit(txn.bytes()).unwrap(), txn));
    let [first, second, third] = under_way;
    assert!(first.await.is_ok());
    assert!(second.await.is_ok());
    assert_eq!(third.await, Err(CommitError::Conflict(0)));
}

fn add(key: &str, by: i64) -> Op {
    Op::Add(META, key.into(), by)
}

async fn numbers_are_added(place: Place) {
    let store = place.open();
    let txn = |ops: Vec<Op>| Txn { ops, ..Txn::default() };
    let under_way: Vec<_> = (0..100)
        .map(|_| store.commit(store.admit(100).unwrap(), txn(vec![add("n", 3), add("n", -1), add("m", -1)])))
        .collect();
    for committing in under_way {
        committing.await.unwrap();
    }
    assert_eq!(number(&*store, META, "n").await, 200);
    assert_eq!(number(&*store, META, "m").await, -100);
    drop(store);
    let store = place.open();
    commit(&*store, txn(vec![Op::Delete(META, "m".into()), add("m", 7), add("n", 1)])).await.unwrap();
    assert_eq!(number(&*store, META, "n").await, 201);
    assert_eq!(number(&*store, META, "m").await, 7);
}

async fn what_cannot_be_added_changes_nothing(place: Place) {
    let store = place.open();
    put(&*store, META, "text", "hello").await;
    commit(&*store, Txn { ops: vec![add("most", i64::MAX)], ..Txn::default() }).await.unwrap();
    let before = store.stats().version;
    for (key, by) in [("text", 1), ("most", 1)] {
        let mut txn = Txn::new().put(META, "new", "x").delete(META, "text").put(META, "text", "world");
        txn.ops.extend([add("n", 1), add("n", 1), add(key, by)]);
        // One before and one behind it in the same batch.
        let others = ["before", "after"].map(|name| Txn::new().put(HEAD, name, key));
        let [before, after] = others;
        let first = store.commit(store.admit(10).unwrap(), before);
        let second = store.commit(store.admit(10).unwrap(), txn);
        let third = store.commit(store.admit(10).unwrap(), after);
        assert!(first.await.is_ok());
        assert!(matches!(second.await, Err(CommitError::Invalid(_))));
        assert!(third.await.is_ok());
    }
    assert_eq!(keys(&*store, META).await, ["most", "text"]);
    assert_eq!(get(&*store, META, "text").await.as_deref(), Some("hello"));
    assert_eq!(number(&*store, META, "most").await, i64::MAX);
    assert_eq!(get(&*store, HEAD, "after").await.as_deref(), Some("most"));
    assert_eq!(store.stats().version, Version(before.0 + 4), "what is invalid takes no version");
}

async fn keys_carry_the_version_of_their_commit(place: Place) {
    let store = place.open();
    let txn = |value: &str| Txn {
        ops: vec![Op::PutAtVersion(
            HEAD,
            b"log/".to_vec(),
            b"/x".to_vec(),
            Bytes::copy_from_slice(value.as_bytes()),
        )],
        ..Txn::default()
    };
    let under_way: Vec<_> =
        (0..20).map(|turn| store.commit(store.admit(100).unwrap(), txn(&turn.to_string()))).collect();
    let mut expected = Vec::new();
    for (turn, committing) in under_way.into_iter().enumerate() {
        let version = committing.await.unwrap();
        let key = [b"log/", &version.0.to_be_bytes()[..], b"/x"].concat();
        expected.push((Bytes::from(key), Bytes::from(turn.to_string())));
    }
    assert_eq!(all(&*store.snapshot().unwrap(), HEAD).await.unwrap(), expected, "the order of commits");
}

async fn the_last_operation_on_a_key_counts(place: Place) {
    let store = place.open();
    commit(&*store, Txn::new().put(META, "a", "1").put(META, "a", "2").put(META, "b", "1").delete(META, "b"))
        .await
        .unwrap();
    commit(&*store, Txn::new().delete(META, "c").put(META, "c", "3").put(BODY, "x", "1").delete(BODY, "x"))
        .await
        .unwrap();
    drop(store);
    let store = place.open();
    assert_eq!(keys(&*store, META).await, ["a", "c"]);
    assert_eq!(get(&*store, META, "a").await.as_deref(), Some("2"));
    assert_eq!(keys(&*store, BODY).await, [""; 0]);
}

async fn versions_rise_and_are_never_given_twice(place: Place) {
    let mut last = Version(0);
    for _ in 0..3 {
        let store = place.open();
        let under_way: Vec<_> =
            (0..30).map(|_| store.commit(store.admit(10).unwrap(), Txn::new().put(META, "k", "v"))).collect();
        for committing in under_way {
            let version = committing.await.unwrap();
            assert!(version > last);
            last = version;
        }
    }
}

async fn a_transaction_with_an_identity_is_applied_once(place: Place) {
    let store = place.open();
    let txn = || Txn { ops: vec![add("n", 1)], id: Some(TxnId(7)), ..Txn::default() };
    let under_way: Vec<_> = (0..5).map(|_| store.commit(store.admit(10).unwrap(), txn())).collect();
    let mut versions = Vec::new();
    for committing in under_way {
        versions.push(committing.await.unwrap());
    }
    assert_eq!(versions, [versions[0]; 5]);
    drop(store);
    let store = place.open();
    assert_eq!(commit(&*store, txn()).await, Ok(versions[0]), "over a restart too");
    assert_eq!(number(&*store, META, "n").await, 1);
    // What did not happen is not remembered.
    let fails = Txn { id: Some(TxnId(8)), ..Txn::new().when(Pre::Absent(META, "n".into())) };
    assert_eq!(commit(&*store, fails).await, Err(CommitError::Conflict(0)));
    assert!(commit(&*store, Txn { id: Some(TxnId(8)), ..Txn::new().put(META, "m", "") }).await.is_ok());
}

async fn identities_are_remembered_for_ten_minutes(mut place: Place) {
    let clock = Arc::new(SteppedClock::new(Timestamp::from_micros(1_000_000_000_000_000)));
    place.options.clock = clock.clone();
    let store = place.open();
    let txn = |id| Txn { ops: vec![add("n", 1)], id: Some(TxnId(id)), ..Txn::default() };
    for id in 0..200 {
        commit(&*store, txn(id)).await.unwrap();
    }
    clock.advance(Txn::REMEMBERED - Duration::from_secs(1));
    commit(&*store, txn(0)).await.unwrap();
    assert_eq!(number(&*store, META, "n").await, 200, "still known");
    clock.advance(3 * Txn::REMEMBERED);
    commit(&*store, txn(0)).await.unwrap();
    assert_eq!(number(&*store, META, "n").await, 201, "forgotten");
    // Each batch forgets some.
    for _ in 0..10 {
        put(&*store, HEAD, "x", "").await;
    }
    drop(store);
    if place.options.engine != EngineKind::Memory {
        let report = store::verify(place.path()).unwrap();
        // Version, opened, three spaces, one transaction.
        assert_eq!((report.spaces[0].keys, report.problems), (6, vec![]));
    }
}

async fn pages_go_forwards_and_backwards(place: Place) {
    let store = place.open();
    let names: Vec<String> = (0..25).map(|at| format!("k{at:02}")).collect();
    for name in &names {
        put(&*store, META, name, name).await;
    }
    put(&*store, META, "j", "").await;
    put(&*store, META, "l", "").await;
    let snapshot = store.snapshot().unwrap();
    for reverse in [false, true] {
        let mut found = Vec::new();
        let mut scan = Scan { reverse, ..Scan::prefix("k", 10) };
        loop {
            let page = snapshot.scan(META, scan.clone()).await.unwrap();
            assert!(page.len() <= 10);
            let Some((last, _)) = page.last() else { break };
            scan = scan.behind(last);
            found.extend(page.into_iter().map(|(key, _)| String::from_utf8(key.to_vec()).unwrap()));
        }
        if reverse {
            found.reverse();
        }
        assert_eq!(found, names, "reverse: {reverse}");
    }
    let scan = |from: &str, to: Option<&str>| Scan {
        from: from.into(),
        to: to.map(Into::into),
        limit: 99,
        reverse: false,
    };
    let count = async |scan| snapshot.scan(META, scan).await.unwrap().len();
    assert_eq!(count(scan("k05", Some("k10"))).await, 5);
    assert_eq!(count(scan("k24", None)).await, 2);
    assert_eq!(count(scan("k10", Some("k05"))).await, 0, "an end before the beginning");
    assert_eq!(count(Scan { limit: 0, ..scan("", None) }).await, 0);
}

async fn a_page_is_bounded_in_bytes(place: Place) {
    let store = place.open();
    for at in 0..5 {
        commit(&*store, Txn::new().put(BODY, format!("k{at}"), vec![7; 900_000])).await.unwrap();
    }
    let snapshot = store.snapshot().unwrap();
    let page = snapshot.scan(BODY, Scan::prefix("k", 1000)).await.unwrap();
    assert_eq!(page.len(), 2);
    assert_eq!(all(&*snapshot, BODY).await.unwrap().len(), 5);
}

async fn a_snapshot_stays_as_it_was(place: Place) {
    let store = place.open();
    put(&*store, META, "a", "old").await;
    let last = put(&*store, BODY, "gone", "x").await;
    let snapshot = store.snapshot().unwrap();
    commit(&*store, Txn::new().put(META, "a", "new").put(META, "b", "new").delete(BODY, "gone"))
        .await
        .unwrap();
    for turn in 0..300 {
        put(&*store, META, "a", &turn.to_string()).await;
    }
    assert_eq!(snapshot.version(), last);
    assert_eq!(snapshot.get(META, b"a").await.unwrap().as_deref(), Some(&b"old"[..]));
    assert_eq!(all(&*snapshot, META).await.unwrap().len(), 1);
    assert_eq!(all(&*snapshot, BODY).await.unwrap().len(), 1);
    drop(snapshot);
    assert_eq!(get(&*store, META, "a").await.as_deref(), Some("299"));
    put(&*store, META, "c", "").await;
    assert_eq!(keys(&*store, META).await, ["a", "b", "c"]);
    assert_eq!(keys(&*store, BODY).await, [""; 0]);
}

async fn a_bucket_is_dropped_and_no_more(place: Place) {
    let store = place.open();
    for bucket in ["a", "b", "c"] {
        let mut txn = Txn::new();
        for at in 0..1500 {
            txn = txn.put(BODY, format!("{bucket}/{at:05}"), "x");
        }
        commit(&*store, txn).await.unwrap();
    }
    store.drop_bucket(BODY, b"b/").await.unwrap();
    store.drop_bucket(BODY, b"nothing").await.unwrap();
    let left = keys(&*store, BODY).await;
    assert_eq!(left.len(), 3000);
    assert!(left.iter().all(|key| !key.starts_with('b')));
    drop(store);
    let store = place.open();
    assert_eq!(keys(&*store, BODY).await.len(), 3000);
    store.drop_bucket(BODY, b"").await.unwrap();
    assert_eq!(keys(&*store, BODY).await.len(), 0);
}

fn change(version: Version, key: &str, value: Option<&str>) -> Change {
    Change { version, key: key.into(), value: value.map(|value| Bytes::copy_from_slice(value.as_bytes())) }
}

async fn a_watch_tells_of_every_change_in_order(place: Place) {
    let store = place.open();
    let before = put(&*store, META, "w/0", "unseen").await;
    let mut watch = store.watch(META, b"w/", before);
    let txns = [
        Txn::new().put(META, "w/1", "a").put(META, "other", "-").put(HEAD, "w/1", "-"),
        Txn::new().put(META, "w/1", "b").put(META, "w/2", "c"),
        Txn::new().delete(META, "w/1"),
    ];
    let mut versions = Vec::new();
    for committing in txns.map(|txn| store.commit(store.admit(10).unwrap(), txn)) {
        versions.push(committing.await.unwrap());
    }
    let expected = [
        change(versions[0], "w/1", Some("a")),
        change(versions[1], "w/1", Some("b")),
        change(versions[1], "w/2", Some("c")),
        change(versions[2], "w/1", None),
    ];
    for expected in expected {
        assert_eq!(watch.next().await, Some(expected), "also where one batch covers it");
    }
    drop(store);
    assert_eq!(watch.next().await, None, "a store that is closed tells nothing more");
}

async fn a_watch_may_begin_at_a_snapshot(place: Place) {
    let store = place.open();
    put(&*store, META, "a", "0").await;
    let snapshot = store.snapshot().unwrap();
    let mut expected = Vec::new();
    for turn in 1..=20 {
        let version = put(&*store, META, "a", &turn.to_string()).await;
        expected.push(change(version, "a", Some(&turn.to_string())));
    }
    let mut watch = store.watch(META, b"", snapshot.version());
    for expected in expected {
        assert_eq!(watch.next().await, Some(expected));
    }
    // Longer ago than is kept.
    for _ in 0..5 {
        commit(&*store, Txn::new().put(HEAD, "large", vec![1; 1024 * 1024])).await.unwrap();
    }
    assert_eq!(store.watch(META, b"", snapshot.version()).next().await, None);
}

async fn a_watch_that_falls_behind_ends(place: Place) {
    let store = place.open();
    let mut watch = store.watch(META, b"", store.stats().version);
    let mut txn = Txn::new();
    for at in 0..store::Watch::HELD + 1 {
        txn = txn.put(META, format!("{at}"), "");
    }
    commit(&*store, txn).await.unwrap();
    // Told of one batch before the next is begun.
    put(&*store, HEAD, "x", "").await;
    let mut told = 0;
    while watch.next().await.is_some() {
        told += 1;
    }
    assert_eq!(told, store::Watch::HELD);
}

async fn a_lease_has_one_holder_and_rising_epochs(mut place: Place) {
    let clock = Arc::new(SteppedClock::new(Timestamp::from_micros(1_000_000_000_000_000)));
    place.options.clock = clock.clone();
    let ttl = Duration::from_secs(5);
    let store = place.open();
    let first = store.lease("shard", ttl).await.unwrap();
    assert!(matches!(store.lease("shard", ttl).await, Err(StoreError::Held(name)) if name == "shard"));
    let other = store.lease("other", ttl).await.unwrap();
    clock.advance(Duration::from_secs(4));
    store.renew(&first, ttl).await.unwrap();
    clock.advance(Duration::from_secs(4));
    assert!(store.lease("shard", ttl).await.is_err(), "it was renewed");
    assert!(store.renew(&other, ttl).await.is_err(), "it was not");
    clock.advance(Duration::from_secs(1));
    let second = store.lease("shard", ttl).await.unwrap();
    assert!(second.epoch > first.epoch);
    assert!(store.renew(&first, ttl).await.is_err(), "somebody else has it");
    store.release(first).await.unwrap();
    assert!(store.lease("shard", ttl).await.is_err(), "only its holder can let go of it");
    let last = second.epoch;
    store.release(second).await.unwrap();
    drop(store);
    let store = place.open();
    assert!(store.lease("shard", ttl).await.unwrap().epoch > last, "over a restart too");
}

async fn a_fence_holds_in_its_epoch_alone(mut place: Place) {
    let clock = Arc::new(SteppedClock::new(Timestamp::from_micros(1_000_000_000_000_000)));
    place.options.clock = clock.clone();
    let ttl = Duration::from_secs(5);
    let store = place.open();
    let lease = store.lease("shard", ttl).await.unwrap();
    let fenced = |epoch| Txn::new().when(Pre::Fence("shard".to_owned(), epoch)).put(META, "a", "");
    assert!(commit(&*store, fenced(lease.epoch)).await.is_ok());
    clock.advance(ttl);
    assert_eq!(commit(&*store, fenced(lease.epoch)).await, Err(CommitError::Conflict(0)), "it has run out");
    let next = store.lease("shard", ttl).await.unwrap();
    assert_eq!(
        commit(&*store, fenced(lease.epoch)).await,
        Err(CommitError::Conflict(0)),
        "somebody else has it"
    );
    assert!(commit(&*store, fenced(next.epoch)).await.is_ok());
}

async fn room_that_is_taken_is_refused_and_given_back(mut place: Place) {
    place.options.under_way_bytes = 1000;
    let store = place.open();
    let first = store.admit(600).unwrap();
    assert_eq!(store.admit(600).unwrap_err(), Refused::Busy);
    assert_eq!(store.stats().under_way, (600, 1000));
    store.commit(first, Txn::new().put(META, "a", "")).await.unwrap();
    let mut left = 1000; // the answer comes a moment before the room
    while store.admit(600).is_err() {
        left -= 1;
        assert!(left > 0, "the room was not given back");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    drop(store.admit(5000).expect("what is larger than the room has it alone"));
}

async fn what_no_store_can_take_is_invalid(place: Place) {
    let store = place.open();
    let tried = async |txn: Txn| commit(&*store, txn).await;
    let many = Txn { ops: vec![Op::Delete(META, b"x".to_vec()); Txn::MOST_PARTS + 1], ..Txn::default() };
    let large = Txn::new().put(META, "x", vec![0; Txn::MOST_BYTES]);
    for txn in [
        many,
        large,
        Txn::new().put(UNKNOWN, "x", ""),
        Txn::new().when(Pre::Absent(UNKNOWN, "x".into())),
        Txn::new().put(META, "", "x"),
        Txn::new().put(META, vec![1; Txn::MOST_KEY_BYTES + 1], ""),
    ] {
        assert!(matches!(tried(txn).await, Err(CommitError::Invalid(_))));
    }
    assert_eq!(store.stats().version, Version(0));
    assert!(tried(Txn::new().put(META, vec![255; Txn::MOST_KEY_BYTES], "")).await.is_ok());
    let most = Txn { ops: vec![Op::Delete(META, b"x".to_vec()); Txn::MOST_PARTS], ..Txn::default() };
    assert!(tried(most).await.is_ok());
    assert!(tried(Txn::new().put(META, "x", vec![0; Txn::MOST_BYTES - 1])).await.is_ok());
}

async fn a_dropped_commit_is_committed_all_the_same(place: Place) {
    let store = place.open();
    drop(store.commit(store.admit(10).unwrap(), Txn::new().put(META, "a", "1")));
    put(&*store, META, "b", "2").await;
    assert_eq!(keys(&*store, META).await, ["a", "b"]);
}

async fn commits_that_come_together_share_a_sync(place: Place) {
    let store = place.open();
    let under_way: Vec<_> = (0..2000)
        .map(|at| store.commit(store.admit(10).unwrap(), Txn::new().put(META, format!("{at}"), "")))
        .collect();
    for committing in under_way {
        committing.await.unwrap();
    }
    // Counted a moment after the answers.
    put(&*store, META, "last", "").await;
    let stats = store.stats();
    assert!(stats.commits >= 2000, "{stats:?}");
    assert!(stats.syncs < 1000, "{stats:?}");
    assert_eq!(stats.engine, place.options.engine.to_string());
}

async fn closing_waits_for_what_was_given(place: Place) {
    let store = place.open();
    let under_way: Vec<_> = (0..100)
        .map(|at| store.commit(store.admit(10).unwrap(), Txn::new().put(META, format!("{at}"), "")))
        .collect();
    store.close().await;
    for committing in under_way {
        committing.await.unwrap();
    }
    assert!(matches!(store.admit(1), Err(Refused::Stopped(_))));
    assert!(matches!(store.snapshot(), Err(Refused::Stopped(_))));
    store.close().await;
    drop(store);
    assert_eq!(keys(&*place.open(), META).await.len(), 100);
}

async fn spaces_keep_their_names_and_kinds(mut place: Place) {
    drop(place.open());
    const OTHER_NAME: &[Space] = &[Space::new(1, "bodies", SpaceKind::WriteOnce)];
    const OTHER_KIND: &[Space] = &[Space::new(1, "body", SpaceKind::Quiet)];
    for spaces in [OTHER_NAME, OTHER_KIND] {
        place.options.spaces = spaces;
        let Err(error) = store::open(place.options.clone()) else { panic!("opened with {spaces:?}") };
        assert!(matches!(error, store::OpenError::Space { id: 1, .. }), "{error}");
    }
    place.options.spaces = SPACES;
    place.open();
}

async fn spaces_can_be_added_and_left_out(mut place: Place) {
    const FEWER: &[Space] = &[META];
    const MORE: &[Space] = &[META, UNKNOWN];
    let store = place.open();
    put(&*store, BODY, "a", "1").await;
    drop(store);
    place.options.spaces = FEWER;
    let store = place.open();
    assert!(matches!(commit(&*store, Txn::new().put(BODY, "b", "")).await, Err(CommitError::Invalid(_))));
    drop(store);
    place.options.spaces = MORE;
    let store = place.open();
    put(&*store, UNKNOWN, "a", "2").await;
    drop(store);
    place.options.spaces = SPACES;
    assert_eq!(get(&*place.open(), BODY, "a").await.as_deref(), Some("1"), "nothing was lost");
}
