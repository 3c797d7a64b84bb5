//! What one instance writes, on its way to the log.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;

use kit::Timestamp;

use crate::logs::{LineSplitter, Stream, write_record};

/// Lines kept for the message that explains an end, and bytes kept of each.
const LAST_LINES: usize = 20;
const LAST_LINE_BYTES: usize = 1024;

/// One of an instance's two streams.
#[derive(Debug)]
pub(super) struct Output {
    pub(super) pipe: OwnedFd,
    stream: Stream,
    lines: LineSplitter,
}

impl Output {
    pub(super) fn new(pipe: OwnedFd, stream: Stream) -> Self {
        Self { pipe, stream, lines: LineSplitter::default() }
    }

    /// Takes what was read; appends complete lines as records.
    pub(super) fn take(&mut self, bytes: &[u8], at: Timestamp, last: &mut LastLines, records: &mut Vec<u8>) {
        let stream = self.stream;
        self.lines.feed(bytes, |line, continues| {
            last.push(line);
            write_record(records, at, stream, continues, line);
        });
    }

    /// Nothing will come any more: appends a last line without a line feed.
    pub(super) fn finish(&mut self, at: Timestamp, last: &mut LastLines, records: &mut Vec<u8>) {
        let stream = self.stream;
        self.lines.finish(|line, continues| {
            last.push(line);
            write_record(records, at, stream, continues, line);
        });
    }
}

/// The last lines an instance wrote.
#[derive(Debug, Default)]
pub(super) struct LastLines(VecDeque<Vec<u8>>);

impl LastLines {
    fn push(&mut self, line: &[u8]) {
        // The oldest buffer is used again.
        let mut kept = if self.0.len() >= LAST_LINES { self.0.pop_front() } else { None }.unwrap_or_default();
        kept.clear();
        kept.extend_from_slice(&line[..line.len().min(LAST_LINE_BYTES)]);
        self.0.push_back(kept);
    }

    pub(super) fn texts(&self) -> Vec<String> {
        self.0.iter().map(|line| String::from_utf8_lossy(line).into_owned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_twenty_lines_are_kept_each_cut_short() {
        let mut last = LastLines::default();
        for n in 0..50 {
            last.push(format!("{n} {}", "x".repeat(5000)).as_bytes());
        }
        let texts = last.texts();
        assert_eq!((texts.len(), texts[0].len()), (20, LAST_LINE_BYTES));
        assert!(texts[19].starts_with("49 "));
    }
}
