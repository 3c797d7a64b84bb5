//! Files that are not what was written: a damaged end that nobody was told of is mended, all other damage is an error that says
//! so, and nothing is lost in silence.

#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{META, SPACES, commit, get, keys};
use store::{EngineKind, OpenError, Options, Txn, Version};

const COMMITS: u64 = 20;

fn name(turn: u64) -> String {
    format!("{turn:02}")
}

fn value(turn: u64) -> String {
    format!("value {turn} ").repeat(10)
}

/// A store with some commits, one batch each.
struct Written {
    place: tempfile::TempDir,
    engine: EngineKind,
    /// Where the journal ended before the first, and after each commit.
    ends: Vec<u64>,
}

impl Written {
    async fn new(engine: EngineKind) -> Self {
        let place = common::directory();
        let mut written = Self { place, engine, ends: Vec::new() };
        // The first journal is made with room in front; opening it again cuts that off.
        drop(store::open(written.options(&written.original())).unwrap());
        let store = store::open(written.options(&written.original())).unwrap();
        written.ends.push(written.journal(&written.original()).metadata().unwrap().len());
        for turn in 1..=COMMITS {
            commit(&*store, Txn::new().put(META, name(turn), value(turn))).await.unwrap();
            written.ends.push(written.journal(&written.original()).metadata().unwrap().len());
        }
        drop(store);
        written
    }

    fn original(&self) -> PathBuf {
        self.place.path().join("original")
    }

    fn options(&self, directory: &Path) -> Options {
        Options::new(directory, SPACES).engine(self.engine)
    }

    fn journal(&self, directory: &Path) -> PathBuf {
        directory.join(if self.engine == EngineKind::Fjall { "fjall/0.jnl" } else { "redb" })
    }

    /// A copy whose journal, or file, was changed.
    fn changed(&self, change: impl FnOnce(&mut Vec<u8>)) -> Copy {
        let directory = self.place.path().join("copy");
        if directory.exists() {
            fs::remove_dir_all(&directory).unwrap();
        }
        copy(&self.original(), &directory);
        let journal = self.journal(&directory);
        let mut bytes = fs::read(&journal).unwrap();
        change(&mut bytes);
        fs::write(&journal, bytes).unwrap();
        Copy { options: self.options(&directory) }
    }
}

struct Copy {
    options: Options,
}

impl Copy {
    /// As if the last commits had not been acknowledged.
    fn unacknowledged(self) -> Self {
        fs::remove_file(self.options.directory.join("mark")).unwrap();
        self
    }

    fn salvage(mut self) -> Self {
        self.options.salvage = true;
        self
    }

    fn error(&self) -> OpenError {
        match store::open(self.options.clone()) {
            Ok(_) => panic!("it opens"),
            Err(error) => error,
        }
    }

    /// Opens it, and expects all commits but some.
    async fn holds_all_but(&self, missing: &[u64]) {
        let store = store::open(self.options.clone()).unwrap();
        let expected: Vec<_> = (1..=COMMITS).filter(|turn| !missing.contains(turn)).collect();
        assert_eq!(keys(&*store, META).await, expected.iter().map(|turn| name(*turn)).collect::<Vec<_>>());
        for turn in expected {
            assert_eq!(get(&*store, META, &name(turn)).await, Some(value(turn)));
        }
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

fn at(place: u64) -> usize {
    usize::try_from(place).unwrap()
}

#[tokio::test]
async fn fjall_what_follows_the_last_batch_is_cut_off() {
    let written = Written::new(EngineKind::Fjall).await;
    let rubbish: [&[u8]; 5] =
        [b"x", b"\x01", &[1, 2, 0, 0, 0, 9, 9, 9, 9, 9, 9, 9, 9, 2, 0], &[255; 5000], b"\0\0\0\0FJL\x03"];
    for rubbish in rubbish {
        let copy = written.changed(|bytes| bytes.extend(rubbish));
        copy.holds_all_but(&[]).await;
        assert_eq!(fs::read(copy.options.directory.join("damaged/cut-off")).unwrap(), rubbish);
        copy.holds_all_but(&[]).await;
        assert_eq!(store::verify(&copy.options.directory).unwrap().problems, [""; 0]);
    }
    let copy = written.changed(|bytes| bytes.extend([0; 100_000]));
    copy.holds_all_but(&[]).await;
    assert!(!copy.options.directory.join("damaged").exists(), "room in front is no damage");
}

#[tokio::test]
async fn fjall_a_last_batch_that_is_not_whole_is_cut_off_if_nobody_was_told_of_it() {
    let written = Written::new(EngineKind::Fjall).await;
    let [.., before, end] = written.ends[..] else { unreachable!() };
    for length in (before + 1..end).step_by(7) {
        written.changed(|bytes| bytes.truncate(at(length))).unacknowledged().holds_all_but(&[COMMITS]).await;
    }
    for place in (before..end).step_by(5) {
        // A number that orders batches, and is in no checksum. What it orders is there.
        let (is_low_byte, all_but) = (place == before + 5, written.changed(|bytes| bytes[at(place)] ^= 0x55));
        all_but.unacknowledged().holds_all_but(if is_low_byte { &[] } else { &[COMMITS] }).await;
    }
    // A page in its middle never reached the disk.
    written
        .changed(|bytes| bytes[at(before + 20)..at(end - 20)].fill(0))
        .unacknowledged()
        .holds_all_but(&[COMMITS])
        .await;
}

#[tokio::test]
async fn fjall_an_acknowledged_batch_that_is_gone_is_missed() {
    let written = Written::new(EngineKind::Fjall).await;
    let [.., before, end] = written.ends[..] else { unreachable!() };
    for damaged in [before, before + 30, end - 1] {
        let copy = written.changed(|bytes| bytes[at(damaged)] ^= 1);
        for _ in 0..2 {
            let error = copy.error();
            let OpenError::Lost { found, acknowledged, .. } = error else { panic!("{error}") };
            assert_eq!((found, acknowledged), (Version(COMMITS - 1), Version(COMMITS)));
        }
        let report = store::verify(&copy.options.directory).unwrap();
        assert_eq!(report.problems.len(), 1, "{report:?}");
        let copy = copy.salvage();
        copy.holds_all_but(&[COMMITS]).await;
        let store = store::open(Options { salvage: false, ..copy.options.clone() }).unwrap();
        let next = commit(&*store, Txn::new().put(META, "next", "")).await.unwrap();
        assert!(next > Version(COMMITS), "no version is given out twice");
    }
    let copy = written.changed(Vec::clear);
    assert!(matches!(copy.error(), OpenError::Lost { found: Version(0), .. }), "also if all is gone");
}

#[tokio::test]
async fn fjall_damage_in_the_middle_is_an_error_and_can_be_left_out() {
    let written = Written::new(EngineKind::Fjall).await;
    for damaged in [1, 10, COMMITS - 1] {
        let (begin, end) = (written.ends[at(damaged) - 1], written.ends[at(damaged)]);
        // Its head byte for byte, the rest here and there.
        for place in (begin..begin + 14).chain((begin + 14..end).step_by(37)) {
            let copy = written.changed(|bytes| bytes[at(place)] ^= 0x55);
            let error = copy.error();
            let OpenError::Damaged { behind, .. } = error else { panic!("{error}") };
            assert_eq!(behind, COMMITS - damaged);
            assert!(matches!(store::verify(&copy.options.directory), Err(OpenError::Damaged { .. })));
            let copy = copy.salvage();
            copy.holds_all_but(&[damaged]).await;
            let again = Copy { options: Options { salvage: false, ..copy.options } };
            again.holds_all_but(&[damaged]).await;
            assert!(again.options.directory.join("damaged/0.jnl").exists(), "the old journal is kept");
        }
    }
}

#[tokio::test]
async fn redb_damage_is_never_passed_over_in_silence() {
    let written = Written::new(EngineKind::Redb).await;
    let length = fs::metadata(written.journal(&written.original())).unwrap().len();
    let changes = (0..length).step_by(at(length / 60 + 1)).map(|place| (place, false));
    let cuts = (1..10).map(|tenth| (length * tenth / 10, true));
    for (place, cut) in changes.chain(cuts) {
        let copy = written.changed(|bytes| match cut {
            true => bytes.truncate(at(place)),
            false => bytes[at(place)] ^= 0x55,
        });
        // It is found, or it was of no account.
        if let Ok(report) = store::verify(&copy.options.directory)
            && report.problems.is_empty()
        {
            copy.holds_all_but(&[]).await;
        }
    }
}

#[tokio::test]
async fn redb_a_file_from_before_is_missed() {
    let written = Written::new(EngineKind::Redb).await;
    let old = fs::read(written.journal(&written.original())).unwrap();
    let store = store::open(written.options(&written.original())).unwrap();
    commit(&*store, Txn::new().put(META, "later", "")).await.unwrap();
    drop(store);
    let copy = written.changed(|bytes| *bytes = old);
    let OpenError::Lost { found, acknowledged, .. } = copy.error() else { panic!() };
    assert_eq!((found, acknowledged), (Version(COMMITS), Version(COMMITS + 1)));
    copy.salvage().holds_all_but(&[]).await;
}
