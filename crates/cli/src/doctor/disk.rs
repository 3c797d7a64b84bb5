//! How fast the disk under the state is when it must be sure, and how full it is.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use kit::units::Bytes;

use super::Check;
use crate::show::time;

/// Writes that are timed.
const SYNCS: usize = 20;

/// The timing stops early after this long.
const PATIENCE: Duration = Duration::from_secs(3);

/// A write as large as a small message, in bytes.
const WRITE: usize = 512;

/// A slower median is told: each acknowledged message waits for one sync.
const SLOW: Duration = Duration::from_millis(20);

/// Less room than this is told, in bytes.
const LITTLE_ROOM: u64 = 1 << 30;

/// Less room than this is not enough to keep logs and state, in bytes.
const NO_ROOM: u64 = 32 << 20;

/// The checks.
pub(super) fn check(directory: &Path) -> Vec<Check> {
    vec![sync(directory), room(directory)]
}

fn sync(directory: &Path) -> Check {
    match timings(directory) {
        Ok(timings) => judge_sync(timings),
        Err(error) => Check::broken(
            "disk sync",
            format!("cannot write in `{}`: {error}", directory.display()),
            "make the directory writable, or say another place with `--state-dir`",
        ),
    }
}

/// How long each of [`SYNCS`] appends with `fdatasync` took. The file is removed again.
fn timings(directory: &Path) -> io::Result<Vec<Duration>> {
    let path = directory.join(format!(".atoll-doctor-{}", std::process::id()));
    let mut file = File::create_new(&path)?;
    let timed = (|| {
        let began = Instant::now();
        let mut timings = Vec::with_capacity(SYNCS);
        while timings.len() < SYNCS && began.elapsed() < PATIENCE {
            let start = Instant::now();
            file.write_all(&[b'x'; WRITE])?;
            file.sync_data()?;
            timings.push(start.elapsed());
        }
        Ok(timings)
    })();
    std::fs::remove_file(&path)?;
    timed
}

fn judge_sync(mut timings: Vec<Duration>) -> Check {
    timings.sort();
    let median = timings.get(timings.len() / 2).copied().unwrap_or_default();
    let longest = timings.last().copied().unwrap_or_default();
    let found = format!("p50 {}, max {} ({} writes)", fine(median), fine(longest), timings.len());
    if median > SLOW {
        return Check::worse(
            "disk sync",
            found,
            "each acknowledged message waits for one sync: put the state on a faster disk",
        );
    }
    Check::good("disk sync", found)
}

fn fine(duration: Duration) -> String {
    if duration < Duration::from_millis(10) {
        format!("{:.2} ms", duration.as_secs_f64() * 1e3)
    } else {
        time::span(duration)
    }
}

fn room(directory: &Path) -> Check {
    match rustix::fs::statvfs(directory) {
        Ok(stat) => judge_room(stat.f_bavail.saturating_mul(stat.f_frsize), stat.f_favail),
        Err(error) => Check::worse("disk room", format!("cannot be told: {error}"), "see `df`"),
    }
}

fn judge_room(bytes: u64, files: u64) -> Check {
    let found = format!("{} free", Bytes(bytes));
    let hint = "make room: logs and state are written here";
    if bytes < NO_ROOM {
        return Check::broken("disk room", found, hint);
    }
    // Some file systems (btrfs) count no inodes and say 0 of both.
    if bytes < LITTLE_ROOM || (1..1_000).contains(&files) {
        return Check::worse("disk room", found, hint);
    }
    Check::good("disk room", found)
}

#[cfg(test)]
mod tests {
    use super::super::Outcome;
    use super::*;

    #[test]
    fn a_slow_disk_is_told_with_its_median() {
        let millis = |list: &[u64]| list.iter().copied().map(Duration::from_millis).collect();
        let slow = judge_sync(millis(&[30, 50, 40]));
        assert_eq!((slow.outcome, slow.found.as_str()), (Outcome::Worse, "p50 40 ms, max 50 ms (3 writes)"));
        assert_eq!(judge_sync(millis(&[1, 900, 2])).outcome, Outcome::Good);
    }

    #[test]
    fn a_full_disk_is_told() {
        assert_eq!(judge_room(1 << 20, 5_000).outcome, Outcome::Broken);
        assert_eq!(judge_room(1 << 40, 3).outcome, Outcome::Worse);
        assert_eq!(judge_room(1 << 40, 0).outcome, Outcome::Good);
    }

    #[test]
    fn the_check_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!timings(dir.path()).unwrap().is_empty());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        assert!(timings(&dir.path().join("nowhere")).is_err());
    }
}
