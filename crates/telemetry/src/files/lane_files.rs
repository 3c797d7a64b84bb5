//! The files of one kind of record.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::marker::PhantomData;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::block::{Kept, Made, Unpacker};
use crate::files::segment::{Block, Segment, bytes_of, scan};
use crate::files::{cut_off, named, set_aside};

/// The files of one kind of record, as the indexing thread writes them.
pub(crate) struct LaneFiles<R> {
    directory: PathBuf,
    current: Option<Current>,
    journal: File,
    journal_length: u64,
    /// Open records below this number are in the journal.
    journaled: u64,
    kind: PhantomData<R>,
}

/// The segment that is written.
struct Current {
    segment: Arc<Segment>,
    file: File,
    length: u64,
}

/// What was found when opening.
pub(crate) struct Restored<R> {
    pub(crate) blocks: Vec<Arc<Block>>,
    /// Open records, and the number of the first.
    pub(crate) open: Vec<(u64, Vec<R>)>,
    /// The number of the next record.
    pub(crate) next: u64,
}

impl<R: Kept> LaneFiles<R> {
    pub(crate) fn open(directory: &Path, notes: &mut Vec<String>) -> io::Result<(Self, Restored<R>)> {
        let mut restored = Restored { blocks: Vec::new(), open: Vec::new(), next: 0 };
        for (middle, path) in named(directory, &format!("{}-", R::NAME), ".seg")? {
            let Some(hour) = middle.split('-').next().and_then(|hour| hour.parse().ok()) else {
                set_aside(&path, "has a name that says no hour", notes);
                continue;
            };
            let segment = Arc::new(Segment::new(path.clone(), hour));
            match scan(&path, &segment) {
                Err(error) => set_aside(&path, &format!("cannot be read ({error})"), notes),
                Ok(found) => {
                    segment.rest();
                    if found.sound < fs::metadata(&path).map_or(0, |data| data.len()) {
                        cut_off(&path, found.sound, found.torn, notes);
                    }
                    restored.blocks.extend(found.blocks.into_iter().map(Arc::new));
                }
            }
        }
        restored.blocks.sort_by_key(|block| block.header.first);
        let ends = restored.blocks.iter().map(|block| block.header.first + u64::from(block.header.rows));
        restored.next = ends.max().unwrap_or(0);
        let journal_path = directory.join(format!("{}.journal", R::NAME));
        if journal_path.exists() {
            Self::read_journal(&journal_path, &mut restored, notes);
        }
        let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).clone();
        let journal = options.open(&journal_path)?;
        let journal_length = journal.metadata()?.len();
        let files = Self {
            directory: directory.to_owned(),
            current: None,
            journal,
            journal_length,
            journaled: restored.next,
            kind: PhantomData,
        };
        Ok((files, restored))
    }

    fn read_journal(path: &Path, restored: &mut Restored<R>, notes: &mut Vec<String>) {
        let segment = Arc::new(Segment::new(path.to_owned(), 0));
        let found = match scan(path, &segment) {
            Ok(found) => found,
            Err(error) => return set_aside(path, &format!("cannot be read ({error})"), notes),
        };
        if found.sound < fs::metadata(path).map_or(0, |data| data.len()) {
            cut_off(path, found.sound, found.torn, notes);
        }
        let unpacker = Unpacker::default();
        for block in found.blocks {
            // What was sealed before it could be taken out of the journal is in a segment already.
            if block.header.first < restored.next {
                continue;
            }
            match block.body(&unpacker).and_then(|body| R::read(&body, None)) {
                Some(rows) => {
                    restored.next = block.header.first + rows.len() as u64;
                    restored.open.push((block.header.first, rows));
                }
                None => {
                    notes.push(format!("telemetry: `{}` has a block that cannot be read", path.display()));
                }
            }
        }
    }

    /// Writes a block into the segment of this hour; a segment longer than `most` is followed by another one.
    pub(crate) fn append(&mut self, hour: u64, most: u64, made: Made) -> io::Result<Arc<Block>> {
        let too_large = || io::Error::new(io::ErrorKind::InvalidData, "a block of more than 4 GB");
        let (bytes, lengths) = bytes_of(&made).ok_or_else(too_large)?;
        let fits = self.current.as_ref().is_some_and(|now| now.segment.hour == hour && now.length < most);
        if !fits {
            self.current = Some(self.begin(hour)?);
        }
        let current = self.current.as_mut().ok_or_else(too_large)?;
        // At the place where the last good one ends: what a failed write left behind is written over.
        current.file.write_all_at(&bytes, current.length)?;
        let block = Block::written(made, lengths, current.length, &current.segment);
        current.length += bytes.len() as u64;
        // If it cannot be cut, its records are known by their numbers: they are in the segment now.
        self.forget_journal().unwrap_or_default();
        Ok(Arc::new(block))
    }

    fn begin(&self, hour: u64) -> io::Result<Current> {
        let mut part = 0u32;
        loop {
            let path = self.directory.join(format!("{}-{hour:010}-{part:05}.seg", R::NAME));
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(file) => {
                    let segment = Arc::new(Segment::new(path, hour));
                    return Ok(Current { segment, file, length: 0 });
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && part < 99_999 => part += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// Open records below this number are written down.
    pub(crate) const fn journaled(&self) -> u64 {
        self.journaled
    }

    /// Writes open records down.
    pub(crate) fn write_down(&mut self, made: &Made) -> io::Result<()> {
        let too_large = || io::Error::new(io::ErrorKind::InvalidData, "a block of more than 4 GB");
        let (bytes, _) = bytes_of(made).ok_or_else(too_large)?;
        self.journal.write_all_at(&bytes, self.journal_length)?;
        self.journal_length += bytes.len() as u64;
        self.journaled = made.header.first + u64::from(made.header.rows);
        Ok(())
    }

    /// Everything that was open is sealed, or given up.
    pub(crate) fn forget_journal(&mut self) -> io::Result<()> {
        if self.journal_length > 0 {
            self.journal.set_len(0)?;
            self.journal_length = 0;
        }
        Ok(())
    }

    /// Whether blocks are written to this segment now.
    pub(crate) fn writes_to(&self, segment: &Arc<Segment>) -> bool {
        self.current.as_ref().is_some_and(|current| Arc::ptr_eq(&current.segment, segment))
    }

    /// The next block begins a new segment.
    pub(crate) fn end_segment(&mut self) {
        self.current = None;
    }

    pub(crate) const fn journal_length(&self) -> u64 {
        self.journal_length
    }
}
