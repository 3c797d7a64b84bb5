//! Reading on: what is in the logs, then every new line as it comes.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::time::Duration;

use kit::Timestamp;
use rustix::fs::inotify;
use tokio::io::unix::AsyncFd;

use super::read::{Lines, Query, Reader};
use super::record::{LogLine, MAX_RECORD, read_record};
use super::segments;

/// How long a change may go unseen where the kernel gives no notice of changes (or loses one).
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// Bytes taken from one log before the others have their turn.
const TURN: u64 = 64 * 1024;

/// The lines of logs, those to come included; survives rotation and takes in instances that appear. Take
/// lines with [`Follow::next`]; nothing is read ahead further than one turn, so a slow taker costs no memory
/// (but loses lines that are rotated out of existence meanwhile).
#[derive(Debug)]
pub struct Follow {
    reader: Reader,
    query: Query,
    history: Option<Lines>,
    tails: BTreeMap<String, Tail>,
    ready: VecDeque<LogLine>,
    changes: Option<AsyncFd<OwnedFd>>,
}

/// Where we are in one log.
#[derive(Debug)]
struct Tail {
    file: File,
    inode: u64,
    offset: u64,
    last: Timestamp,
}

impl Reader {
    /// The lines asked for, and from then on every new one. Call within a tokio runtime.
    pub fn follow(&self, query: Query) -> io::Result<Follow> {
        let changes = watch(self); // before the first look, so that nothing falls in between
        let history = self.lines(&query)?;
        let mut tails = BTreeMap::new();
        for cursor in &history.cursors {
            let Some((inode, offset)) = cursor.end else { continue };
            let Some((_, file)) = segments::open_inode(&self.dir, &cursor.name, inode) else { continue };
            let last = Timestamp::from_micros(0);
            tails.insert(cursor.name.clone(), Tail { file, inode, offset, last });
        }
        Ok(Follow {
            reader: self.clone(),
            query,
            history: Some(history),
            tails,
            ready: VecDeque::new(),
            changes,
        })
    }
}

impl Follow {
    /// The next line. Waits for it; may be dropped while it waits without losing any.
    pub async fn next(&mut self) -> io::Result<LogLine> {
        loop {
            if let Some(line) = self.take()? {
                return Ok(line);
            }
            self.changed().await;
        }
    }

    /// The next line if it is there.
    pub fn take(&mut self) -> io::Result<Option<LogLine>> {
        if let Some(history) = &mut self.history {
            if let Some(line) = history.next() {
                return Ok(Some(line));
            }
            self.history = None;
        }
        if self.ready.is_empty() {
            self.look()?;
        }
        Ok(self.ready.pop_front())
    }

    /// One turn: what is new in each log, sorted by time.
    fn look(&mut self) -> io::Result<()> {
        let mut found = Vec::new();
        for name in segments::names(&self.reader.dir)? {
            if !self.query.which.takes(&name) {
                continue;
            }
            if !self.tails.contains_key(&name) {
                let Some(tail) = Tail::of_oldest(&self.reader, &name) else { continue };
                self.tails.insert(name.clone(), tail);
            }
            let Some(tail) = self.tails.get_mut(&name) else { continue };
            tail.read_on(&self.reader, &name, &mut found)?;
        }
        if let Some(since) = self.query.since {
            found.retain(|line| line.at >= since);
        }
        found.sort_by_key(|line| line.at); // stable: lines of one instance keep their order
        self.ready.extend(found);
        Ok(())
    }

    async fn changed(&self) {
        let Some(changes) = &self.changes else {
            return tokio::time::sleep(LOOK_AGAIN).await;
        };
        // Notices may be lost when many come at once: look again after a while in any case.
        let Ok(Ok(mut guard)) = tokio::time::timeout(LOOK_AGAIN * 4, changes.readable()).await else {
            return;
        };
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut notices = inotify::Reader::new(changes.get_ref(), &mut buffer);
        while notices.next().is_ok() {}
        guard.clear_ready();
    }
}

impl Tail {
    fn of_oldest(reader: &Reader, name: &str) -> Option<Self> {
        let index = segments::indexes(&reader.dir, name).pop()?;
        Self::open(reader, name, index)
    }

    fn open(reader: &Reader, name: &str, index: u32) -> Option<Self> {
        let file = File::open(segments::path(&reader.dir, name, index)).ok()?;
        let inode = std::os::unix::fs::MetadataExt::ino(&file.metadata().ok()?);
        Some(Self { file, inode, offset: 0, last: Timestamp::from_micros(0) })
    }

    fn read_on(&mut self, reader: &Reader, name: &str, found: &mut Vec<LogLine>) -> io::Result<()> {
        let turn_end = |tail: &Self| tail.offset + TURN;
        let mut end = turn_end(self);
        loop {
            // Asked before reading: once the file has been rotated away nothing is added to it any more.
            let current = segments::inode(&segments::path(&reader.dir, name, 0));
            if self.read_to(end, name, found)? {
                return Ok(()); // the rest in the next turn
            }
            if current == Some(self.inode) || current.is_none() {
                return Ok(());
            }
            let newer = match segments::open_inode(&reader.dir, name, self.inode) {
                Some((0, _)) => return Ok(()),
                Some((index, _)) => Self::open(reader, name, index - 1),
                None => Self::of_oldest(reader, name), // ours is gone, and maybe more
            };
            let Some(newer) = newer else { return Ok(()) };
            let last = self.last;
            *self = Self { last, ..newer };
            end = turn_end(self);
        }
    }

    /// Reads whole records up to about `end`. `true` when there is more.
    fn read_to(&mut self, end: u64, name: &str, found: &mut Vec<LogLine>) -> io::Result<bool> {
        if self.file.metadata()?.len() <= self.offset {
            return Ok(false);
        }
        self.file.seek(SeekFrom::Start(self.offset))?;
        let mut from = BufReader::with_capacity(16 * 1024, &self.file);
        let mut line = Vec::new();
        loop {
            let read = read_complete(&mut from, &mut line)?;
            if read == 0 {
                return Ok(false);
            }
            self.offset += read;
            let line = read_record(&line, name, self.last);
            self.last = line.at;
            found.push(line);
            if self.offset >= end {
                return Ok(true);
            }
        }
    }
}

/// Reads one record that is complete: its line feed is there (and left out), or it can grow no more.
/// Returns how many bytes were read; 0 when none is complete.
fn read_complete(from: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<u64> {
    line.clear();
    let read = from.take(MAX_RECORD as u64).read_until(b'\n', line)?;
    let complete = line.pop_if(|last| *last == b'\n').is_some() || read == MAX_RECORD;
    Ok(if complete { read as u64 } else { 0 })
}

fn watch(reader: &Reader) -> Option<AsyncFd<OwnedFd>> {
    let notify = inotify::init(inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC).ok()?;
    let what = inotify::WatchFlags::MODIFY | inotify::WatchFlags::CREATE | inotify::WatchFlags::MOVED_TO;
    inotify::add_watch(&notify, &reader.dir, what).ok()?;
    crate::sandbox::sys::readiness_of(notify).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::{RotatingFile, Stream};
    use kit::units::Bytes;
    use manifest::spec::Logging;

    const LIMIT: Duration = Duration::from_secs(5);

    fn file(dir: &std::path::Path, name: &str, max_size: u64) -> RotatingFile {
        RotatingFile::new(dir, name, Logging { max_size: Bytes(max_size), max_files: 50 })
    }

    fn line(file: &mut RotatingFile, n: u64) {
        file.line(Timestamp::from_micros(1_700_000_000_000_000 + n), Stream::Out, n.to_string().as_bytes())
            .unwrap();
    }

    async fn next(follow: &mut Follow) -> String {
        tokio::time::timeout(LIMIT, follow.next()).await.unwrap().unwrap().text
    }

    #[tokio::test]
    async fn history_comes_first_then_what_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let mut a = file(dir.path(), "a-1", 10_000);
        (0..10).for_each(|n| line(&mut a, n));
        let mut follow = Reader::new(dir.path()).follow(Query { tail: Some(2), ..Query::all() }).unwrap();
        assert_eq!([next(&mut follow).await, next(&mut follow).await], ["8", "9"]);
        line(&mut a, 10);
        assert_eq!(next(&mut follow).await, "10");
    }

    #[tokio::test]
    async fn no_line_is_lost_or_repeated_when_files_rotate_and_instances_appear() {
        let dir = tempfile::tempdir().unwrap();
        let mut a = file(dir.path(), "a-1", 300);
        line(&mut a, 0);
        let mut follow = Reader::new(dir.path()).follow(Query::all()).unwrap();
        assert_eq!(next(&mut follow).await, "0");
        let mut expected = 1;
        for round in 0..10 {
            (0..(round * 7 + 1)).for_each(|n| line(&mut a, expected + n));
            for _ in 0..(round * 7 + 1) {
                assert_eq!(next(&mut follow).await, expected.to_string());
                expected += 1;
            }
        }
        line(&mut file(dir.path(), "b-1", 300), 7777);
        assert_eq!(next(&mut follow).await, "7777");
    }

    #[tokio::test]
    async fn a_line_is_told_once_it_is_whole() {
        use std::io::Write;
        let dir = tempfile::tempdir().unwrap();
        let mut raw = File::create(dir.path().join("a-1.log")).unwrap();
        let mut follow = Reader::new(dir.path()).follow(Query::all()).unwrap();
        raw.write_all(b"2026-01-02T03:04:05.678901Z o ha").unwrap();
        assert_eq!(follow.take().unwrap(), None);
        raw.write_all(b"lf\n").unwrap();
        assert_eq!(next(&mut follow).await, "half");
    }
}
