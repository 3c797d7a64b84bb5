//! Whether the disk can be believed: how long it takes to be sure, and what it is.
//!
//! A killed process loses nothing that its kernel has. Whether the disk keeps what it has called durable when power fails no
//! program can try; but a disk that is sure within no time at all keeps nothing.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

/// Writes that are timed at most.
const MOST: usize = 500;
/// For how long.
const LIMIT: Duration = Duration::from_secs(2);
/// The size of a write, in bytes.
const WRITE: usize = 4096;
/// Nothing that keeps data without power is sure so soon.
const IMPLAUSIBLE: Duration = Duration::from_micros(15);
/// `f_type` of what is only in memory: tmpfs, ramfs.
const MEMORY: [u64; 2] = [0x0102_1994, 0x8584_58f6];

/// What a directory is on, as far as can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disk {
    /// Something that takes its time.
    Plausible,
    /// Something that is sure sooner than anything can be.
    TooFast,
    /// Memory.
    Memory,
}

/// How long the disk takes to be sure of 4 KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fsync {
    /// Half of the writes were as fast.
    pub p50: Duration,
    /// All but one in a hundred.
    pub p99: Duration,
    /// How many were timed.
    pub writes: usize,
    /// What follows from it.
    pub disk: Disk,
}

/// Times writes in a directory. The file is removed again.
pub(super) fn measure(directory: &Path) -> io::Result<Fsync> {
    let path = directory.join("fsync");
    let mut file = File::create_new(&path)?;
    let mut times = Vec::with_capacity(MOST);
    let end = Instant::now() + LIMIT;
    while times.len() < MOST && (times.is_empty() || Instant::now() < end) {
        let began = Instant::now();
        file.write_all(&[b'x'; WRITE])?;
        file.sync_data()?;
        times.push(began.elapsed());
    }
    let kind = rustix::fs::fstatfs(&file)?.f_type;
    std::fs::remove_file(&path)?;
    let memory = u64::try_from(kind).is_ok_and(|kind| MEMORY.contains(&kind));
    Ok(judge(times, memory))
}

fn judge(mut times: Vec<Duration>, memory: bool) -> Fsync {
    times.sort_unstable();
    let at = |share: usize| times.get((times.len() * share / 100).min(times.len().saturating_sub(1)));
    let (p50, p99) = (at(50).copied().unwrap_or_default(), at(99).copied().unwrap_or_default());
    let disk = match memory {
        true => Disk::Memory,
        false if p50 < IMPLAUSIBLE => Disk::TooFast,
        false => Disk::Plausible,
    };
    Fsync { p50, p99, writes: times.len(), disk }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sure_too_soon_is_not_believed() {
        let times = |micros: u64| (0..200).map(|n| Duration::from_micros(micros + n / 190 * 1000)).collect();
        let slow = judge(times(300), false);
        assert_eq!((slow.p50.as_micros(), slow.p99.as_micros(), slow.disk), (300, 1300, Disk::Plausible));
        assert_eq!(judge(times(3), false).disk, Disk::TooFast);
        assert_eq!(judge(times(300), true).disk, Disk::Memory);
    }
}
