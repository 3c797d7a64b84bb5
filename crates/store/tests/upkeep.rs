//! What is around a store: its lock and format, backups taken while it runs, restores, and looking at all of it.

#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::Path;
use std::time::Duration;

use common::{BODY, HEAD, META, Place, SPACES, all, commit, keys, put};
use kit::Explain;
use store::{BACKUP_FILE, EngineKind, Op, OpenError, Options, Store, Txn, TxnId, Version};

fn error(options: &Options) -> OpenError {
    match store::open(options.clone()) {
        Ok(_) => panic!("it opens"),
        Err(error) => error,
    }
}

#[tokio::test]
async fn a_directory_is_open_once_and_says_by_whom() {
    let place = Place::new(EngineKind::Fjall);
    let store = place.open();
    let OpenError::Locked { pid, .. } = error(&place.options) else { panic!() };
    assert_eq!(pid, Some(std::process::id()));
    let Err(OpenError::Locked { .. }) = store::verify(place.path()) else { panic!() };
    drop(store);
    place.open();
}

#[tokio::test]
async fn a_directory_belongs_to_its_engine_and_format() {
    let mut place = Place::new(EngineKind::Redb);
    drop(place.open());
    place.options.engine = EngineKind::Fjall;
    let OpenError::Engine { is, asked, .. } = error(&place.options) else { panic!() };
    assert_eq!((&*is, asked), ("redb", "fjall"));
    place.options.engine = EngineKind::Redb;
    for format in ["atoll-store 2 redb", "atoll-store 1 rocksdb", "", "something else"] {
        fs::write(place.path().join("format"), format).unwrap();
        let error = error(&place.options);
        assert!(matches!(&error, OpenError::Format { found, .. } if found == format), "{error}");
        assert_eq!(error.help().code.as_str(), "A0903");
    }
    fs::write(place.path().join("format"), "atoll-store 1 redb\n").unwrap();
    place.open();
}

#[tokio::test]
async fn a_directory_that_nobody_finished_making_is_made_anew() {
    for engine in [EngineKind::Fjall, EngineKind::Redb] {
        let place = Place::new(engine);
        let remains = place.path().join(engine.to_string());
        match engine {
            EngineKind::Fjall => {
                fs::create_dir_all(remains.join("keyspaces")).unwrap();
                fs::write(remains.join("lock"), "").unwrap();
            }
            _ => {
                fs::create_dir_all(place.path()).unwrap();
                fs::write(&remains, "redb?").unwrap();
            }
        }
        put(&*place.open(), META, "a", "").await;
        assert_eq!(keys(&*place.open(), META).await, ["a"]);
        // What an engine cannot make anything of is put aside, not removed.
        assert_eq!(place.path().join("unfinished").exists(), engine == EngineKind::Redb);
    }
}

/// Puts three keys that agree in each commit, until told to stop.
async fn go_on_committing(store: &dyn Store, stop: &std::sync::atomic::AtomicBool) -> u64 {
    let mut turn = 0;
    while !stop.load(std::sync::atomic::Ordering::Relaxed) {
        turn += 1;
        let text = format!("{turn}");
        let mut txn =
            Txn::new().put(BODY, format!("{turn:08}"), vec![1; 2000]).put(META, "turn", text.clone());
        txn.ops.push(Op::Add(HEAD, b"count".to_vec(), 1));
        commit(store, txn.put(HEAD, "turn", text)).await.unwrap();
        tokio::task::yield_now().await;
    }
    turn
}

#[tokio::test]
async fn a_backup_is_consistent_while_commits_go_on_and_goes_to_any_engine() {
    for (from, to) in [
        (EngineKind::Fjall, EngineKind::Redb),
        (EngineKind::Redb, EngineKind::Fjall),
        (EngineKind::Fjall, EngineKind::Fjall),
        (EngineKind::Memory, EngineKind::Redb),
    ] {
        let place = Place::new(from);
        let store = place.open();
        commit(&*store, Txn { id: Some(TxnId(7)), ..Txn::new().put(META, "known", "") }).await.unwrap();
        for turn in 0..500 {
            put(&*store, META, &format!("filler {turn}"), &"x".repeat(1000)).await;
        }
        let epoch = store.lease("shard", Duration::from_secs(1)).await.unwrap().epoch;
        let stop = std::sync::atomic::AtomicBool::new(false);
        let target = place.directory.path().join("backup");
        let backup = async {
            while store.stats().version < Version(520) {
                tokio::task::yield_now().await;
            }
            let report = store.backup(&target).await.unwrap();
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
            report
        };
        let (turns, report) = tokio::join!(go_on_committing(&*store, &stop), backup);
        assert!(report.version >= Version(520) && report.version <= Version(turns + 501));
        assert_eq!(report.bytes, fs::metadata(target.join(BACKUP_FILE)).unwrap().len());

        let restored = place.directory.path().join("restored");
        assert_eq!(store::restore(&target, &restored, to).unwrap(), report);
        let found = store::verify(&restored).unwrap();
        assert_eq!((found.problems, found.version, found.engine), (vec![], report.version, to));
        assert_eq!(found.spaces.iter().map(|space| space.keys).sum::<u64>(), report.keys);
        let again = store::open(Options::new(&restored, SPACES).engine(to)).unwrap();
        let snapshot = again.snapshot().unwrap();
        assert_eq!(snapshot.version(), report.version);
        let turn: u64 = common::get(&*again, META, "turn").await.unwrap().parse().unwrap();
        assert_eq!(turn, report.version.0 - 501, "the commits of the version, all of them and no other");
        assert_eq!(common::get(&*again, HEAD, "turn").await, Some(turn.to_string()));
        assert_eq!(common::number(&*again, HEAD, "count").await, i64::try_from(turn).unwrap());
        assert_eq!(all(&*snapshot, BODY).await.unwrap().len() as u64, turn);
        // It goes on where the other was.
        let txn = Txn { id: Some(TxnId(7)), ..Txn::new().put(META, "known", "again") };
        assert_eq!(commit(&*again, txn).await, Ok(Version(1)), "an identity is remembered");
        assert!(put(&*again, META, "next", "").await > report.version);
        assert!(again.lease("shard", Duration::from_secs(1)).await.unwrap().epoch > epoch);
        assert!(store.backup(&target).await.is_err(), "into a directory that is empty");
    }
}

async fn a_backup(place: &Place) -> std::path::PathBuf {
    let store = place.open();
    for turn in 0..100 {
        put(&*store, META, &format!("{turn}"), &"x".repeat(30_000)).await;
    }
    let target = place.directory.path().join("backup");
    store.backup(&target).await.unwrap();
    target.join(BACKUP_FILE)
}

fn restore(backup: &Path, place: &Place) -> Result<store::BackupReport, OpenError> {
    let to = place.directory.path().join("restored");
    if to.exists() {
        fs::remove_dir_all(&to).unwrap();
    }
    store::restore(backup, &to, EngineKind::Redb)
}

#[tokio::test]
async fn a_backup_that_was_changed_or_cut_off_is_not_restored() {
    let place = Place::new(EngineKind::Memory);
    let backup = a_backup(&place).await;
    let whole = fs::read(&backup).unwrap();
    restore(&backup, &place).unwrap();
    let step = whole.len() / 20;
    let flipped = (0..whole.len()).step_by(step).map(|at| {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        bytes
    });
    let cut = (0..whole.len()).step_by(step).map(|at| whole[..at].to_vec());
    for bytes in flipped.chain(cut).chain([whole[..whole.len() - 1].to_vec()]) {
        fs::write(&backup, bytes).unwrap();
        let error = restore(&backup, &place).unwrap_err();
        assert!(matches!(error, OpenError::Backup { .. }), "{error}");
        let half = Options::new(place.directory.path().join("restored"), SPACES).engine(EngineKind::Redb);
        if half.directory.exists() {
            assert!(
                matches!(self::error(&half), OpenError::Unfinished { .. }),
                "what is half there is not used"
            );
        }
    }
}

#[tokio::test]
async fn a_restore_goes_into_an_empty_place() {
    let place = Place::new(EngineKind::Fjall);
    let backup = a_backup(&place).await;
    let Err(OpenError::NotEmpty { .. }) = store::restore(&backup, place.path(), EngineKind::Fjall) else {
        panic!()
    };
    assert_eq!(keys(&*place.open(), META).await.len(), 100, "nothing was touched");
}

#[tokio::test]
async fn what_is_verified_is_counted() {
    for engine in [EngineKind::Fjall, EngineKind::Redb] {
        let place = Place::new(engine);
        assert!(matches!(store::verify(place.path()), Err(OpenError::Format { .. })));
        let store = place.open();
        commit(&*store, Txn::new().put(META, "ab", "cde").put(META, "b", "").put(BODY, "x", "y"))
            .await
            .unwrap();
        drop(store);
        let report = store::verify(place.path()).unwrap();
        let counts: Vec<_> =
            report.spaces.iter().map(|space| (&*space.name, space.keys, space.bytes)).collect();
        assert_eq!(counts[1..], [("body", 1, 2), ("meta", 2, 6), ("head", 0, 0)]);
        assert_eq!((report.version, report.opened, report.problems), (Version(1), 1, vec![]));
        // Looking changes nothing.
        assert_eq!(store::verify(place.path()).unwrap().opened, 1);
        place.open();
    }
}
