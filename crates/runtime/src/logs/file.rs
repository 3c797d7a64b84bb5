//! Writing: a file that never grows past its bound, and never stops what writes into it.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;

use kit::Timestamp;
use manifest::spec::Logging;

use super::record::{MAX_LINE, Stream, write_record};
use super::segments;

/// Bytes of memory for added lines that are kept from one batch to the next.
const ADDED_KEPT: usize = 256 * 1024;

/// The log of one instance. Opened when the first record comes. When a write fails, its records are
/// dropped and counted; the first write that works again says how many in a record of Atoll's own.
#[derive(Debug)]
pub struct RotatingFile {
    dir: PathBuf,
    name: String,
    logging: Logging,
    open: Option<Open>,
    lost: Option<Lost>,
    /// Records that are still to be written, and when the last of them was.
    added: Vec<u8>,
    added_at: Timestamp,
}

#[derive(Debug)]
struct Open {
    file: File,
    /// Bytes of whole records: where a write that failed half-way is cut off again.
    size: u64,
}

#[derive(Debug)]
struct Lost {
    lines: u64,
    why: String,
}

/// Records could not be written; they are dropped and counted.
#[derive(Debug)]
pub struct Trouble {
    /// Whether this is the first failure since the last write that worked: worth telling once.
    pub first: bool,
    /// Why, from the system.
    pub why: String,
}

impl RotatingFile {
    /// The log of `name` in the directory `dir`, which exists.
    pub fn new(dir: impl Into<PathBuf>, name: impl Into<String>, logging: Logging) -> Self {
        let (dir, name, added_at) = (dir.into(), name.into(), Timestamp::from_micros(0));
        Self { dir, name, logging, open: None, lost: None, added: Vec::new(), added_at }
    }

    /// Changes how much is kept.
    pub(crate) fn keep_by(&mut self, logging: Logging) {
        self.logging = logging;
    }

    /// Whether nothing is missing that is still to be told. Closes the file: it is opened when needed.
    pub(crate) fn is_whole(&mut self) -> bool {
        self.open = None;
        self.lost.is_none()
    }

    /// Writes one line. Text past [`MAX_LINE`] bytes goes into further records; a line feed within `text`
    /// becomes a blank.
    pub fn line(&mut self, at: Timestamp, stream: Stream, text: &[u8]) -> Result<(), Trouble> {
        self.add(at, stream, text);
        self.flush()
    }

    /// Adds a line to those that the next [`Self::flush`] writes. As [`Self::line`] otherwise. How many there
    /// may be is up to the caller.
    pub fn add(&mut self, at: Timestamp, stream: Stream, text: &[u8]) {
        let mut rest = text;
        loop {
            let now = &rest[..rest.len().min(MAX_LINE)];
            rest = &rest[now.len()..];
            write_record(&mut self.added, at, stream, !rest.is_empty(), now);
            let end = self.added.len() - 1;
            for byte in &mut self.added[end - now.len()..end] {
                if *byte == b'\n' {
                    *byte = b' ';
                }
            }
            if rest.is_empty() {
                break;
            }
        }
        self.added_at = at;
    }

    /// Writes the lines that were added, with one write as long as they fit into one file.
    pub fn flush(&mut self) -> Result<(), Trouble> {
        if self.added.is_empty() {
            return Ok(());
        }
        let mut records = std::mem::take(&mut self.added);
        let outcome = self.append(&records, self.added_at);
        records.clear();
        records.shrink_to(ADDED_KEPT);
        self.added = records;
        outcome
    }

    /// Writes whole records, each with its line feed.
    pub(crate) fn append(&mut self, records: &[u8], now: Timestamp) -> Result<(), Trouble> {
        let mut rest = records;
        let mut remark = Vec::new();
        if let Some(lost) = &self.lost {
            let text = format!("[atoll] {} lines dropped: {}", lost.lines, lost.why);
            write_record(&mut remark, now, Stream::Atoll, false, text.as_bytes());
        }
        while !rest.is_empty() {
            match self.append_some(&remark, rest) {
                Ok(written) => {
                    rest = &rest[written..];
                    remark.clear();
                    self.lost = None;
                }
                Err(error) => {
                    self.open = None; // opened anew next time: whatever was wrong may be gone
                    let lines = rest.iter().filter(|&&b| b == b'\n').count() as u64;
                    let why = why(&error);
                    let first = self.lost.is_none();
                    let lost = self.lost.get_or_insert(Lost { lines: 0, why: String::new() });
                    lost.lines += lines;
                    lost.why.clone_from(&why);
                    return Err(Trouble { first, why });
                }
            }
        }
        Ok(())
    }

    /// Writes `remark` and as many of `records` as the current file takes (at least one); returns how many
    /// bytes of `records`.
    fn append_some(&mut self, remark: &[u8], records: &[u8]) -> io::Result<usize> {
        let max = self.logging.max_size.0;
        let first = records.iter().position(|&b| b == b'\n').map_or(records.len(), |at| at + 1);
        let size = self.open()?.size;
        if size > 0 && size + (remark.len() + first) as u64 > max {
            self.open = None;
            segments::rotate(&self.dir, &self.name, self.logging.max_files.max(1))?;
        }
        let open = self.open()?;
        let room = usize::try_from(max.saturating_sub(open.size)).unwrap_or(usize::MAX);
        let room = room.saturating_sub(remark.len()).clamp(first.min(records.len()), records.len());
        let end = records[..room].iter().rposition(|&b| b == b'\n').map_or(first, |at| at + 1);
        let written = open.file.write_all(remark).and_then(|()| open.file.write_all(&records[..end]));
        if let Err(error) = written {
            // Half a record would run into the next one.
            let _ = open.file.set_len(open.size);
            return Err(error);
        }
        open.size += (remark.len() + end) as u64;
        Ok(end)
    }

    fn open(&mut self) -> io::Result<&mut Open> {
        let open = match self.open.take() {
            Some(open) => open,
            None => {
                let path = segments::path(&self.dir, &self.name, 0);
                let mut file = OpenOptions::new().create(true).append(true).read(true).open(path)?;
                let mut size = file.metadata()?.len();
                if size > 0 && !ends_with_line_feed(&mut file)? {
                    file.write_all(b"\n")?; // what wrote before was killed in the middle of a record
                    size += 1;
                }
                Open { file, size }
            }
        };
        Ok(self.open.insert(open))
    }
}

fn ends_with_line_feed(file: &mut File) -> io::Result<bool> {
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

/// The system's words without the number behind them, in lower case.
fn why(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    text.to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::{Query, Reader};
    use kit::units::Bytes;
    use std::fs;

    fn logging(max_size: u64, max_files: u32) -> Logging {
        Logging { max_size: Bytes(max_size), max_files }
    }

    fn at(n: u64) -> Timestamp {
        Timestamp::from_micros(1_700_000_000_000_000 + n)
    }

    #[test]
    fn files_stay_within_their_bounds_and_the_newest_lines_stay() {
        for max_files in [1, 3] {
            let dir = tempfile::tempdir().unwrap();
            let mut file = RotatingFile::new(dir.path(), "a-1", logging(1000, max_files));
            for n in 0..500 {
                file.line(at(n), Stream::Out, format!("line {n}").as_bytes()).unwrap();
            }
            let sizes: Vec<u64> =
                fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().metadata().unwrap().len()).collect();
            assert_eq!(sizes.len(), max_files as usize);
            assert!(sizes.iter().all(|&size| size <= 1000), "{sizes:?}");
            let lines = Reader::new(dir.path()).read(&Query::all()).unwrap();
            let kept: Vec<_> = lines.iter().map(|l| l.text.clone()).collect();
            let expected: Vec<_> = (500 - kept.len()..500).map(|n| format!("line {n}")).collect();
            assert_eq!(kept, expected);
            assert!(kept.len() >= 20 * (max_files as usize - 1), "{}", kept.len());
        }
    }

    #[test]
    fn lines_that_were_added_are_written_together() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = RotatingFile::new(dir.path(), "a-1", logging(10_000, 1));
        file.flush().unwrap();
        file.add(at(1), Stream::Out, b"one\ntwo");
        file.add(at(2), Stream::Err, b"");
        assert!(!dir.path().join("a-1.log").exists());
        file.flush().unwrap();
        file.line(at(3), Stream::Out, b"three").unwrap();
        let lines = Reader::new(dir.path()).read(&Query::all()).unwrap();
        let texts: Vec<_> = lines.iter().map(|line| (line.at, line.text.as_str())).collect();
        assert_eq!(texts, [(at(1), "one two"), (at(2), ""), (at(3), "three")]);
    }

    #[test]
    fn a_batch_larger_than_a_file_is_cut_between_records() {
        let dir = tempfile::tempdir().unwrap();
        let mut batch = Vec::new();
        for n in 0..100 {
            write_record(&mut batch, at(n), Stream::Err, false, b"0123456789");
        }
        RotatingFile::new(dir.path(), "a-1", logging(500, 100)).append(&batch, at(100)).unwrap();
        assert_eq!(Reader::new(dir.path()).read(&Query::all()).unwrap().len(), 100);
    }

    #[test]
    fn lines_for_a_full_disk_are_counted_and_told_when_it_works_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a-1.log");
        std::os::unix::fs::symlink("/dev/full", &path).unwrap();
        let mut file = RotatingFile::new(dir.path(), "a-1", logging(10_000, 2));
        let first = file.line(at(1), Stream::Out, b"one").unwrap_err();
        assert_eq!((first.first, first.why.as_str()), (true, "no space left on device"));
        assert!(!file.line(at(2), Stream::Out, b"two").unwrap_err().first);
        fs::remove_file(&path).unwrap();
        file.line(at(3), Stream::Out, b"three").unwrap();
        let lines = Reader::new(dir.path()).read(&Query::all()).unwrap();
        let texts: Vec<_> = lines.iter().map(|l| l.text.as_str()).collect();
        assert_eq!(texts, ["[atoll] 2 lines dropped: no space left on device", "three"]);
    }

    #[test]
    fn a_record_that_was_cut_off_by_a_kill_does_not_swallow_the_next() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a-1.log"), "2026-01-02T03:04:05.678901Z o half").unwrap();
        let mut file = RotatingFile::new(dir.path(), "a-1", logging(10_000, 2));
        file.line(Timestamp::from_micros(1_800_000_000_000_000), Stream::Out, b"whole").unwrap();
        let lines = Reader::new(dir.path()).read(&Query::all()).unwrap();
        assert_eq!(lines.iter().map(|l| l.text.as_str()).collect::<Vec<_>>(), ["half", "whole"]);
    }
}
