//! Reading logs back, merged by time.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, VecDeque};
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kit::Timestamp;

use super::record::{LogLine, MAX_RECORD, read_record, stamp_of};
use super::segments;

/// Lines that [`Reader::read`] returns at most: the newest ones.
const MAX_LINES: usize = 100_000;

/// Bytes read at once.
const BLOCK: usize = 64 * 1024;

/// Which instances, by [`manifest::spec::InstanceId::name`].
#[derive(Clone)]
pub enum Which {
    /// Every log in the directory.
    All,
    /// These.
    Names(BTreeSet<String>),
    /// Those for which the function says yes, ones that appear later included.
    Matching(Arc<dyn Fn(&str) -> bool + Send + Sync>),
}

impl Which {
    /// Whether this instance is one of them.
    pub fn takes(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Names(names) => names.contains(name),
            Self::Matching(matches) => matches(name),
        }
    }
}

impl fmt::Debug for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("All"),
            Self::Names(names) => f.debug_tuple("Names").field(names).finish(),
            Self::Matching(_) => f.write_str("Matching(..)"),
        }
    }
}

/// What to read.
#[derive(Clone, Debug)]
pub struct Query {
    /// Of which instances.
    pub which: Which,
    /// Only the last so many lines of each instance, as Compose counts them.
    pub tail: Option<usize>,
    /// Only lines from this moment on.
    pub since: Option<Timestamp>,
}

impl Query {
    /// Everything.
    pub fn all() -> Self {
        Self { which: Which::All, tail: None, since: None }
    }

    /// Everything of one instance.
    pub fn of(name: impl Into<String>) -> Self {
        Self { which: Which::Names(BTreeSet::from([name.into()])), tail: None, since: None }
    }
}

/// Reads the logs in one directory. Does blocking file input.
#[derive(Clone, Debug)]
pub struct Reader {
    pub(super) dir: PathBuf,
}

impl Reader {
    /// Reads the logs in `dir`, which need not exist yet.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// The lines asked for, oldest first; at most the newest 100,000.
    pub fn read(&self, query: &Query) -> io::Result<Vec<LogLine>> {
        let mut newest = VecDeque::new();
        for line in self.lines(query)? {
            if newest.len() == MAX_LINES {
                newest.pop_front();
            }
            newest.push_back(line);
        }
        Ok(newest.into())
    }

    /// The lines asked for, oldest first, read as they are taken: memory stays bounded by the number of
    /// instances, whatever the size of their logs. What is written after this call is not in it.
    pub fn lines(&self, query: &Query) -> io::Result<Lines> {
        let mut lines = Lines { cursors: Vec::new(), heads: BinaryHeap::new() };
        for name in segments::names(&self.dir)? {
            if query.which.takes(&name) {
                lines.add(Cursor::at_start(&self.dir, name, query)?)?;
            }
        }
        Ok(lines)
    }
}

/// Lines merged by time; see [`Reader::lines`].
#[derive(Debug)]
pub struct Lines {
    pub(super) cursors: Vec<Cursor>,
    /// The next line of each cursor that has one.
    heads: BinaryHeap<Reverse<Head>>,
}

#[derive(Debug, PartialEq, Eq)]
struct Head {
    cursor: usize,
    line: LogLine,
}

impl Ord for Head {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.line.at, self.cursor).cmp(&(other.line.at, other.cursor))
    }
}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Lines {
    fn add(&mut self, mut cursor: Cursor) -> io::Result<()> {
        if let Some(line) = cursor.next()? {
            self.heads.push(Reverse(Head { cursor: self.cursors.len(), line }));
        }
        self.cursors.push(cursor);
        Ok(())
    }
}

impl Iterator for Lines {
    type Item = LogLine;

    /// A file that cannot be read any further counts as read to its end.
    fn next(&mut self) -> Option<LogLine> {
        let Reverse(Head { cursor, line }) = self.heads.pop()?;
        if let Ok(Some(line)) = self.cursors[cursor].next() {
            self.heads.push(Reverse(Head { cursor, line }));
        }
        Some(line)
    }
}

/// Reads one log forward, up to where it ended when the cursor was made.
#[derive(Debug)]
pub(super) struct Cursor {
    dir: PathBuf,
    pub(super) name: String,
    /// What is still to be read, oldest first. Not held open: a hundred logs have many files.
    segments: VecDeque<Segment>,
    open: Option<BufReader<io::Take<File>>>,
    /// Where the log ended: the inode of its newest file, and that file's length.
    pub(super) end: Option<(u64, u64)>,
    last: Timestamp,
}

#[derive(Clone, Copy, Debug)]
struct Segment {
    inode: u64,
    from: u64,
    to: u64,
}

impl Cursor {
    fn at_start(dir: &Path, name: String, query: &Query) -> io::Result<Self> {
        let mut segments = VecDeque::new();
        let mut end: Option<(u64, u64)> = None;
        let mut wanted = query.tail.unwrap_or(usize::MAX);
        let mut seen = BTreeSet::new();
        // From the newest backwards. Rotation meanwhile moves files away from us: one may come by twice,
        // none is missed.
        for index in segments::indexes(dir, &name) {
            let path = segments::path(dir, &name, index);
            let (Some(inode), Ok(file)) = (segments::inode(&path), File::open(&path)) else { continue };
            let to = file.metadata()?.len();
            if !seen.insert(inode) {
                continue;
            }
            end.get_or_insert((inode, to));
            let from = if query.tail.is_none() && query.since.is_none() {
                Some(0)
            } else {
                start(&file, to, &mut wanted, query.since)?
            };
            let whole = from.is_none();
            segments.push_front(Segment { inode, from: from.unwrap_or(0), to });
            if !whole && (query.tail.is_some() || query.since.is_some()) {
                break;
            }
        }
        Ok(Self { dir: dir.to_owned(), name, segments, open: None, end, last: Timestamp::from_micros(0) })
    }

    fn next(&mut self) -> io::Result<Option<LogLine>> {
        let mut line = Vec::new();
        loop {
            if self.open.is_none() {
                let Some(segment) = self.segments.pop_front() else { return Ok(None) };
                let Some((_, mut file)) = segments::open_inode(&self.dir, &self.name, segment.inode) else {
                    continue; // rotated out of existence since
                };
                file.seek(SeekFrom::Start(segment.from))?;
                let length = segment.to.saturating_sub(segment.from);
                self.open = Some(BufReader::with_capacity(16 * 1024, file.take(length)));
            }
            let Some(open) = &mut self.open else { continue };
            if read_bounded(open, &mut line)? {
                let line = read_record(&line, &self.name, self.last);
                self.last = line.at;
                return Ok(Some(line));
            }
            self.open = None;
        }
    }
}

/// Reads up to a line feed, which is left out, or up to [`MAX_RECORD`] bytes. `false` at the end.
pub(super) fn read_bounded(from: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    let read = from.take(MAX_RECORD as u64).read_until(b'\n', line)?;
    if line.last() == Some(&b'\n') {
        line.pop();
    }
    Ok(read > 0)
}

/// Where the last `wanted` lines (or those since a moment) begin in a file of `length` bytes, read
/// backwards. `None`: the whole file is wanted, and older files may be too; `wanted` is then what is left.
fn start(file: &File, length: u64, wanted: &mut usize, since: Option<Timestamp>) -> io::Result<Option<u64>> {
    if *wanted == 0 {
        return Ok(Some(length));
    }
    let mut block = vec![0; BLOCK];
    let mut upper = length; // everything from here on is wanted
    let mut line_end = length; // one past the line feed of the line that is being looked for
    while upper > 0 {
        let from = upper.saturating_sub(BLOCK as u64);
        let part = &mut block[..usize::try_from(upper - from).unwrap_or(BLOCK)];
        file.read_exact_at(part, from)?;
        for place in (0..part.len()).rev() {
            let line_start = from + place as u64 + 1;
            if part[place] != b'\n' || line_start == length {
                continue;
            }
            // A whole line lies between `line_start` and `line_end`.
            if since.is_some_and(|since| older(file, line_start, since)) {
                return Ok(Some(line_end));
            }
            line_end = line_start;
            *wanted -= 1;
            if *wanted == 0 {
                return Ok(Some(line_start));
            }
        }
        upper = from;
    }
    if since.is_some_and(|since| older(file, 0, since)) {
        return Ok(Some(line_end));
    }
    *wanted -= usize::from(length > 0);
    Ok(if *wanted == 0 { Some(0) } else { None })
}

fn older(file: &File, line_start: u64, since: Timestamp) -> bool {
    let mut head = [0; 30];
    let read = file.read_at(&mut head, line_start).unwrap_or(0);
    stamp_of(&head[..read]).is_some_and(|at| at < since)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::{RotatingFile, Stream};
    use kit::units::Bytes;
    use manifest::spec::Logging;
    use proptest::prelude::*;

    fn write(dir: &Path, name: &str, stamps: impl IntoIterator<Item = u64>) {
        let logging = Logging { max_size: Bytes(4096), max_files: 1000 };
        let mut file = RotatingFile::new(dir, name, logging);
        for at in stamps {
            file.line(Timestamp::from_micros(at), Stream::Out, format!("{name} {at}").as_bytes()).unwrap();
        }
    }

    #[test]
    fn several_logs_are_merged_by_time() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "a-1", [1, 4, 5]);
        write(dir.path(), "b-1", [2, 3, 6]);
        let lines = Reader::new(dir.path()).read(&Query::all()).unwrap();
        assert_eq!(lines.iter().map(|l| l.at.as_micros()).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
        let lines = Reader::new(dir.path()).read(&Query::of("b-1")).unwrap();
        assert_eq!(lines.len(), 3);
    }

    #[test]
    fn a_directory_that_is_not_there_has_no_lines() {
        assert!(Reader::new("/nonexistent").read(&Query::all()).unwrap().is_empty());
    }

    #[test]
    fn the_tail_of_a_huge_log_is_read_backwards() {
        let dir = tempfile::tempdir().unwrap();
        let text = "2026-01-02T03:04:05.678901Z o 0123456789\n".repeat(1_000_000);
        std::fs::write(dir.path().join("a-1.log"), text).unwrap();
        let began = std::time::Instant::now();
        let lines = Reader::new(dir.path()).read(&Query { tail: Some(5), ..Query::all() }).unwrap();
        assert_eq!(lines.len(), 5);
        assert!(began.elapsed().as_millis() < 200, "{:?}", began.elapsed());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn tail_and_since_give_what_a_filter_over_everything_would(
            count in 0u64..1500, tail in proptest::option::of(0usize..1600),
            since in proptest::option::of(0u64..1600),
        ) {
            let dir = tempfile::tempdir().unwrap();
            write(dir.path(), "a-1", 0..count);
            let query = Query { which: Which::All, tail, since: since.map(Timestamp::from_micros) };
            let got: Vec<u64> =
                Reader::new(dir.path()).read(&query).unwrap().iter().map(|l| l.at.as_micros()).collect();
            let kept: Vec<u64> = (0..count).filter(|&n| n >= since.unwrap_or(0)).collect();
            let skip = kept.len().saturating_sub(tail.unwrap_or(usize::MAX));
            prop_assert_eq!(got, kept[skip..].to_vec());
        }
    }
}
