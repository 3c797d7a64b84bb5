//! The high-water mark: beside the engine's files, the version that was last acknowledged. It is written after each sync and
//! not synced itself, so it may be behind what is there, never ahead: a store that comes back with less has lost something.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use xxhash_rust::xxh3::xxh3_64;

use crate::txn::Version;

const FILE_BYTES: usize = 4096;
/// Two slots, in sectors of their own, are written in turn: one that is torn leaves the other.
const SLOTS: [u64; 2] = [0, 2048];
const SLOT_BYTES: usize = 24;
const MAGIC: &[u8; 8] = b"atollHWM";

pub(crate) struct Mark {
    file: File,
    writes: AtomicU64,
}

impl Mark {
    /// Opens the file, making it if it is not there, and says what stands in it.
    pub(crate) fn open(path: &Path) -> io::Result<(Self, Option<Version>)> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let mut bytes = vec![0; FILE_BYTES];
        let length = file.metadata()?.len();
        if length < FILE_BYTES as u64 {
            // Written in full once: what is written later needs no room on the disk.
            file.write_all_at(&bytes, 0)?;
            file.sync_all()?;
        } else {
            file.read_exact_at(&mut bytes, 0)?;
        }
        let slots = SLOTS.map(|at| slot(&bytes[usize::try_from(at).unwrap_or(0)..]));
        let newest = usize::from(slots[1] > slots[0]);
        // The next write goes to the other one.
        let mark = Self { file, writes: AtomicU64::new(newest as u64 + 1) };
        Ok((mark, slots[newest]))
    }

    /// Says that everything up to this version is on disk.
    pub(crate) fn raise(&self, version: Version) -> io::Result<()> {
        let turn = self.writes.fetch_add(1, Ordering::Relaxed);
        let mut bytes = [0; SLOT_BYTES];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..16].copy_from_slice(&version.0.to_be_bytes());
        let sum = xxh3_64(&bytes[..16]);
        bytes[16..].copy_from_slice(&sum.to_be_bytes());
        self.file.write_all_at(&bytes, SLOTS[usize::from(!turn.is_multiple_of(2))])
    }

    /// Begins anew, after what was lost has been accepted.
    pub(crate) fn reset(&self, version: Version) -> io::Result<()> {
        self.raise(version)?;
        self.raise(version)?;
        self.file.sync_all()
    }
}

fn slot(bytes: &[u8]) -> Option<Version> {
    let (head, sum) = bytes.get(..SLOT_BYTES)?.split_at(16);
    let (magic, version) = head.split_at(8);
    let whole = magic == MAGIC && xxh3_64(head).to_be_bytes() == sum;
    whole.then(|| version.try_into().ok().map(|bytes| Version(u64::from_be_bytes(bytes))))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_version_is_found_and_a_torn_slot_leaves_the_one_before() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("mark");
        let (mark, found) = Mark::open(&path).unwrap();
        assert_eq!(found, None);
        for version in 1..=7 {
            mark.raise(Version(version)).unwrap();
        }
        let (mark, found) = Mark::open(&path).unwrap();
        assert_eq!(found, Some(Version(7)));
        mark.raise(Version(8)).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let newest = SLOTS.map(|at| slot(&bytes[at as usize..]));
        let at = SLOTS[usize::from(newest[1] == Some(Version(8)))];
        mark.file.write_all_at(b"x", at + 10).unwrap();
        assert_eq!(Mark::open(&path).unwrap().1, Some(Version(7)));
    }
}
