//! A disk that fails: nothing is acknowledged that is not kept, and nothing is taken any more.

#![allow(clippy::unwrap_used)]

mod common;

use common::{HEAD, META, Place, commit, get, keys, number, put};
use store::{CommitError, EngineKind, Fault, Op, Refused, Scan, StoreError, Txn, TxnId, Version};

const FAULTS: [Fault; 6] = [
    Fault::Write,
    Fault::Full,
    Fault::Short,
    Fault::Torn,
    Fault::Sync { kept: false },
    Fault::Sync { kept: true },
];

#[tokio::test]
async fn after_a_fault_nothing_is_acknowledged_and_everything_is_refused() {
    for fault in FAULTS {
        let place = Place::new(EngineKind::Memory);
        let store = place.open();
        for turn in 0..3 {
            put(&*store, META, "good", &turn.to_string()).await;
        }
        let version = store.stats().version;
        let mut watch = store.watch(META, b"", version);
        let seen = store.snapshot().unwrap();
        let lease = store.lease("shard", std::time::Duration::from_secs(60)).await.unwrap();
        place.options.disk.fail_after(0, fault);
        let admissions: Vec<_> = (0..10).map(|_| store.admit(100).unwrap()).collect();
        let give = |(at, admission)| {
            let txn = Txn { id: Some(TxnId(at)), ..Txn::new().put(META, "bad", "x") };
            store.commit(admission, txn)
        };
        let under_way: Vec<_> = (0..10).zip(admissions).map(give).collect();
        // One that was refused because of what was never written is not told so: nobody knows.
        let refused = Txn::new().when(store::Pre::Absent(META, "bad".into()));
        let refused = store.admit(1).map(|admission| store.commit(admission, refused));
        for committing in under_way {
            assert_eq!(committing.await, Err(CommitError::Failed), "{fault:?}");
        }
        if let Ok(refused) = refused {
            assert_eq!(refused.await, Err(CommitError::Failed), "{fault:?}");
        }
        let Err(Refused::Stopped(why)) = store.admit(1) else { panic!("{fault:?}: something is taken") };
        assert!(!why.is_empty());
        assert_eq!(store.stats().failed, Some(why));
        assert_eq!(store.stats().version, version);
        assert!(matches!(store.snapshot(), Err(Refused::Stopped(_))), "{fault:?}");
        assert!(matches!(store.drop_bucket(META, b"").await, Err(StoreError::Refused(Refused::Stopped(_)))));
        assert!(store.lease("other", std::time::Duration::from_secs(1)).await.is_err());
        assert!(store.renew(&lease, std::time::Duration::from_secs(1)).await.is_err());
        assert_eq!(watch.next().await, None, "{fault:?}");
        assert_eq!(
            seen.scan(META, Scan::prefix("", 10)).await.unwrap().len(),
            1,
            "what was on disk can be read"
        );
        assert!(place.options.disk.has_failed());
        drop(store);

        let store = place.open();
        assert_eq!(get(&*store, META, "good").await.as_deref(), Some("2"), "{fault:?}");
        let kept = get(&*store, META, "bad").await.is_some();
        assert_eq!(kept, fault == Fault::Sync { kept: true }, "{fault:?}");
        // Asking again with the same identity is safe either way.
        for at in 0..10 {
            commit(&*store, Txn { id: Some(TxnId(at)), ..Txn::new().put(META, "bad", "x") }).await.unwrap();
        }
        assert!(store.stats().version > version);
    }
}

#[tokio::test]
async fn what_was_acknowledged_before_a_fault_is_kept_and_no_batch_is_half_there() {
    for fault in FAULTS {
        for after in [0, 1, 2, 5, 9] {
            let place = Place::new(EngineKind::Memory);
            let store = place.open();
            place.options.disk.fail_after(after, fault);
            let mut acknowledged = 0;
            loop {
                // Three keys that have to agree.
                let turn = (acknowledged + 1).to_string();
                let mut txn = Txn::new().put(META, "left", turn.clone()).put(HEAD, "right", turn);
                txn.ops.push(Op::Add(META, "count".into(), 1));
                let Ok(admission) = store.admit(txn.bytes()) else { break };
                if store.commit(admission, txn).await.is_err() {
                    break;
                }
                acknowledged += 1;
            }
            assert_eq!(acknowledged, after, "{fault:?}");
            drop(store);
            let store = place.open();
            let there =
                if keys(&*store, META).await.is_empty() { 0 } else { number(&*store, META, "count").await };
            let most = if fault == (Fault::Sync { kept: true }) { after + 1 } else { after };
            assert_eq!(there, i64::try_from(most).unwrap(), "{fault:?} after {after}");
            let expected = (there > 0).then(|| there.to_string());
            assert_eq!(get(&*store, META, "left").await, expected);
            assert_eq!(get(&*store, HEAD, "right").await, expected);
        }
    }
}

#[tokio::test]
async fn a_disk_is_open_once() {
    let place = Place::new(EngineKind::Memory);
    let store = place.open();
    assert!(matches!(store::open(place.options.clone()), Err(store::OpenError::Locked { .. })));
    drop(store);
    assert_eq!(place.open().stats().version, Version(0));
}
