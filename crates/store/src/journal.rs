//! The check of fjall's journals before it opens them. Left to itself it refuses to open at one wrong byte in the last batch,
//! which a crash may leave and which nobody was told of, and silently drops all that follows one wrong byte further in front.
//! Here the first is cut off and the second is an error.
//!
//! The format, of the very version that is pinned: a journal is a row of batches, then zeros. A batch is `1`, the number of
//! its items (u32), its sequence (u64); the items; `3`, the XXH3 of the items' bytes (u64), `FJL` and `3`. An item is `2`,
//! kind, compression, keyspace (u64), lengths of key (u16), value and stored value (u32 each), key and stored value; or `4` and
//! a keyspace that is emptied. Integers are little-endian.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use xxhash_rust::xxh3::Xxh3;

use crate::directory::sync_directory;
use crate::open_error::OpenError;

const START: u8 = 1;
const ITEM: u8 = 2;
const END: u8 = 3;
const CLEAR: u8 = 4;
const TRAILER: &[u8] = b"FJL\x03";
const HEAD_BYTES: usize = 13;
/// What a sequence may skip.
const MOST_GAP: u64 = 1 << 24;
const READ_BYTES: usize = 1024 * 1024;

/// Looks at the journals of a database. A damaged end that nothing whole follows is cut off, and kept in `aside`. Damage that
/// something follows is an error, unless `salvage` asks to leave out what is damaged and to go on with the rest.
pub(crate) fn check(database: &Path, aside: &Path, salvage: bool) -> Result<(), OpenError> {
    let journals = read_all(&journal_files(database).map_err(OpenError::io("list", database))?)?;
    let Some(first) = journals.iter().position(|journal| journal.damaged) else { return Ok(()) };
    let later: u64 =
        journals[first + 1..].iter().map(|journal| journal.batches + journal.behind.len() as u64).sum();
    let behind = later + journals[first].behind.len() as u64;
    if behind == 0 {
        let journal = &journals[first];
        tracing::warn!(
            journal = %journal.path.display(),
            "the last batch was not finished when the store ended: cut off at byte {}", journal.end
        );
        return journal.cut(aside).map_err(OpenError::io("cut off the end of", &journal.path));
    }
    let journal = &journals[first];
    if !salvage {
        return Err(OpenError::Damaged { path: journal.path.clone(), at: journal.end, behind });
    }
    for journal in journals.iter().filter(|journal| journal.damaged) {
        tracing::warn!(journal = %journal.path.display(), "what is damaged from byte {} on is left out", journal.end);
        journal.leave_out(aside).map_err(OpenError::io("write", &journal.path))?;
    }
    Ok(())
}

/// Reads journals, two at a time: it is half the time of an opening after a crash.
fn read_all(paths: &[PathBuf]) -> Result<Vec<Journal>, OpenError> {
    let next = AtomicUsize::new(0);
    let read = || {
        let mut read = Vec::new();
        while let Some((at, path)) = paths.iter().enumerate().nth(next.fetch_add(1, Ordering::Relaxed)) {
            read.push((at, Journal::read(path).map_err(OpenError::io("read", path))));
        }
        read
    };
    let mut journals = thread::scope(|scope| {
        let beside = scope.spawn(read);
        let mut journals = read();
        journals.extend(beside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        journals
    });
    journals.sort_by_key(|(at, _)| *at);
    journals.into_iter().map(|(_, journal)| journal).collect()
}

/// The journals of a database, the oldest first.
fn journal_files(database: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let entries = match fs::read_dir(database) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let path = entry?.path();
        let number =
            path.file_name().and_then(|name| name.to_str()?.strip_suffix(".jnl")?.parse::<u64>().ok());
        found.extend(number.map(|number| (number, path)));
    }
    found.sort();
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

/// What one journal holds.
struct Journal {
    path: PathBuf,
    /// Whole batches from its beginning on.
    batches: u64,
    /// Where they end.
    end: u64,
    /// Something but zeros follows them.
    damaged: bool,
    /// Whole batches behind the damage.
    behind: Vec<Range<u64>>,
}

impl Journal {
    fn read(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        let mut input = BufReader::with_capacity(READ_BYTES, file);
        let (mut batches, mut end, mut sequence) = (0, 0, None);
        let mut buffer = Vec::new();
        // Where the last batch begins, and the sequence of the one before it.
        let mut last = None;
        while let Some(batch) = batch(&mut input, length - end, &mut buffer)? {
            if !follows(sequence, batch.sequence) {
                // No checksum covers a sequence. Is it this one that is wrong, or the one before?
                if let Some((begin, before)) = last.filter(|(_, before)| follows(*before, batch.sequence)) {
                    (batches, end, sequence) = (batches - 1, begin, before);
                }
                break;
            }
            last = Some((end, sequence));
            batches += 1;
            end += batch.length;
            sequence = Some(batch.sequence);
        }
        let rest = rest(input, end)?;
        let mut journal =
            Self { path: path.to_owned(), batches, end, damaged: !rest.is_empty(), behind: Vec::new() };
        journal.search(&rest, sequence)?;
        Ok(journal)
    }

    /// Finds whole batches in what follows the damage.
    fn search(&mut self, rest: &[u8], mut sequence: Option<u64>) -> io::Result<()> {
        let mut buffer = Vec::new();
        // What begins at once is damaged, whatever it looks like.
        let mut at = 1;
        while at + HEAD_BYTES < rest.len() {
            let here = &rest[at..];
            // A body may hold what looks like a batch, but hardly a later one than the last.
            let found = match (here[0], here[HEAD_BYTES]) {
                (START, ITEM | CLEAR) => batch(&mut &*here, here.len() as u64, &mut buffer)?,
                _ => None,
            };
            match found.filter(|batch| follows(sequence, batch.sequence)) {
                Some(batch) => {
                    let from = self.end + at as u64;
                    self.behind.push(from..from + batch.length);
                    sequence = Some(batch.sequence);
                    at += usize::try_from(batch.length).unwrap_or(usize::MAX);
                }
                None => at += 1,
            }
        }
        Ok(())
    }

    fn cut(&self, aside: &Path) -> io::Result<()> {
        let mut file = File::options().read(true).write(true).open(&self.path)?;
        file.seek(SeekFrom::Start(self.end))?;
        fs::create_dir_all(aside)?;
        // Only the last one is kept: each crash may leave one.
        let mut kept = File::create(aside.join("cut-off"))?;
        io::copy(&mut file, &mut kept)?;
        kept.sync_all()?;
        file.set_len(self.end)?;
        file.sync_all()
    }

    fn leave_out(&self, aside: &Path) -> io::Result<()> {
        fs::create_dir_all(aside)?;
        let name = self.path.file_name().unwrap_or_default();
        fs::copy(&self.path, aside.join(name))?;
        File::open(aside.join(name))?.sync_all()?;
        let rewritten = aside.join("rewritten");
        let (mut from, mut to) = (File::open(&self.path)?, File::create(&rewritten)?);
        for range in std::iter::once(0..self.end).chain(self.behind.iter().cloned()) {
            from.seek(SeekFrom::Start(range.start))?;
            io::copy(&mut (&mut from).take(range.end - range.start), &mut to)?;
        }
        to.sync_all()?;
        fs::rename(&rewritten, &self.path)?;
        sync_directory(self.path.parent().unwrap_or(aside))
    }
}

/// What follows a place, without the zeros at the end.
fn rest(mut input: BufReader<File>, from: u64) -> io::Result<Vec<u8>> {
    input.seek(SeekFrom::Start(from))?;
    let mut rest = Vec::new();
    let mut zeros = 0;
    let (mut buffer, nothing) = (vec![0; READ_BYTES], vec![0; READ_BYTES]);
    loop {
        let count = match input.read(&mut buffer) {
            Ok(0) => return Ok(rest),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        // A journal that was begun has room for many megabytes that nothing was written to yet.
        if buffer[..count] == nothing[..count] {
            zeros += count;
            continue;
        }
        match buffer[..count].iter().rposition(|byte| *byte != 0) {
            None => zeros += count,
            Some(last) => {
                rest.resize(rest.len() + zeros, 0);
                rest.extend(&buffer[..=last]);
                zeros = count - last - 1;
            }
        }
    }
}

/// Sequences rise, with small gaps: flushes take some too.
fn follows(last: Option<u64>, sequence: u64) -> bool {
    match last {
        Some(last) => sequence > last && sequence - last < MOST_GAP,
        None => sequence < u64::MAX / 4,
    }
}

struct Batch {
    length: u64,
    sequence: u64,
}

/// Reads a batch; `None`: there is no whole one in the next `left` bytes.
fn batch(input: &mut impl Read, left: u64, buffer: &mut Vec<u8>) -> io::Result<Option<Batch>> {
    match whole_batch(&mut input.take(left), left, buffer) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        read => read,
    }
}

fn whole_batch(input: &mut impl Read, left: u64, buffer: &mut Vec<u8>) -> io::Result<Option<Batch>> {
    let mut head = [0; HEAD_BYTES];
    input.read_exact(&mut head)?;
    let (Some((count, sequence)), START) = (head[1..].split_first_chunk::<4>(), head[0]) else {
        return Ok(None);
    };
    let count = u32::from_le_bytes(*count);
    let sequence = u64::from_le_bytes(sequence.try_into().unwrap_or_default());
    let mut length = HEAD_BYTES as u64;
    let mut sum = Xxh3::new();
    for _ in 0..count {
        let mut tag = [0];
        input.read_exact(&mut tag)?;
        buffer.clear();
        buffer.push(tag[0]);
        match tag[0] {
            CLEAR => more(input, buffer, 8)?,
            ITEM => {
                // Kind, compression, keyspace, then the lengths.
                more(input, buffer, 20)?;
                let (kind, compression) = (buffer[1], buffer[2]);
                let key = usize::from(u16::from_le_bytes([buffer[11], buffer[12]]));
                let stored = u32::from_le_bytes([buffer[17], buffer[18], buffer[19], buffer[20]]);
                if kind > 4 || compression > 1 || u64::from(stored) > left {
                    return Ok(None);
                }
                more(input, buffer, key + stored as usize)?;
            }
            _ => return Ok(None),
        }
        sum.update(buffer);
        length += buffer.len() as u64;
    }
    let mut end = [0; 13];
    input.read_exact(&mut end)?;
    let is_whole = end[0] == END && end[1..9] == sum.digest().to_le_bytes() && &end[9..] == TRAILER;
    Ok(is_whole.then_some(Batch { length: length + 13, sequence }))
}

fn more(input: &mut impl Read, buffer: &mut Vec<u8>, count: usize) -> io::Result<()> {
    let from = buffer.len();
    buffer.resize(from + count, 0);
    input.read_exact(&mut buffer[from..])
}
