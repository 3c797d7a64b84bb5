//! A file of blocks, and a block in it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use xxhash_rust::xxh3::xxh3_64;

use crate::block::header::{HEADER_LENGTH, Lengths};
use crate::block::{Body, Header, Made, Unpacker};

/// A file of blocks.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) path: PathBuf,
    /// The hour in which its records came, since the Unix epoch.
    pub(crate) hour: u64,
    file: Mutex<Option<Arc<File>>>,
}

impl Segment {
    pub(crate) fn new(path: PathBuf, hour: u64) -> Self {
        Self { path, hour, file: Mutex::new(None) }
    }

    fn file(&self) -> io::Result<Arc<File>> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = &*file {
            return Ok(Arc::clone(file));
        }
        let opened = Arc::new(File::open(&self.path)?);
        *file = Some(Arc::clone(&opened));
        Ok(opened)
    }

    /// Gives the descriptor back: questions about old hours are rare, and each of their files would hold one.
    pub(crate) fn rest(&self) {
        *self.file.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// A block on disk.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) header: Header,
    pub(crate) segment: Arc<Segment>,
    lengths: Lengths,
    /// Where its header begins.
    offset: u64,
    bloom: Mutex<Option<Arc<[u8]>>>,
    told_damaged: AtomicBool,
}

impl Block {
    /// How long it is in its file.
    pub(crate) fn length(&self) -> u64 {
        HEADER_LENGTH as u64 + u64::from(self.lengths.bloom) + u64::from(self.lengths.body)
    }

    /// Its filter, read if it is not in memory; none if it cannot be read.
    pub(crate) fn bloom(&self) -> Option<Arc<[u8]>> {
        let mut bloom = self.bloom.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bloom) = &*bloom {
            return Some(Arc::clone(bloom));
        }
        let mut bytes = vec![0; self.lengths.bloom as usize];
        self.segment.file().ok()?.read_exact_at(&mut bytes, self.offset + HEADER_LENGTH as u64).ok()?;
        let read: Arc<[u8]> = (xxh3_64(&bytes) == self.lengths.bloom_checksum).then(|| bytes.into())?;
        *bloom = Some(Arc::clone(&read));
        Some(read)
    }

    /// Bytes of its filter that are in memory.
    pub(crate) fn bloom_memory(&self) -> usize {
        self.bloom.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map_or(0, |bloom| bloom.len())
    }

    pub(crate) fn forget_bloom(&self) {
        *self.bloom.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Whether nobody has told yet that it is damaged. One whose hour was dropped meanwhile is not.
    pub(crate) fn newly_damaged(&self) -> bool {
        self.segment.path.exists() && !self.told_damaged.swap(true, Ordering::Relaxed)
    }

    /// Its columns; none if they cannot be read or are not what was written.
    pub(crate) fn body<'b>(&self, unpacker: &'b Unpacker) -> Option<Body<'b>> {
        let start = self.offset + HEADER_LENGTH as u64 + u64::from(self.lengths.bloom);
        let (file, rows) = (self.segment.file().ok()?, self.header.rows as usize);
        let Lengths { body: length, checksum, as_a_whole, .. } = self.lengths;
        if !as_a_whole {
            return Body::in_file(file, (start, length as usize), checksum, rows, unpacker);
        }
        let mut bytes = vec![0; length as usize];
        file.read_exact_at(&mut bytes, start).ok()?;
        if xxh3_64(&bytes) != checksum {
            return None;
        }
        Body::whole(bytes, rows, unpacker)
    }

    /// Whether all of it is as it was written.
    fn is_sound(&self) -> bool {
        self.body(&Unpacker::default()).is_some_and(|body| body.is_sound()) && self.bloom().is_some()
    }
}

/// A block as bytes, with how long its parts are.
pub(crate) fn bytes_of(made: &Made) -> Option<(Vec<u8>, Lengths)> {
    let lengths = Lengths {
        bloom: u32::try_from(made.bloom.len()).ok()?,
        body: u32::try_from(made.body.len()).ok()?,
        checksum: xxh3_64(made.body.get(..made.directory)?),
        bloom_checksum: xxh3_64(&made.bloom),
        as_a_whole: false,
    };
    let mut bytes = made.header.write(lengths);
    bytes.extend_from_slice(&made.bloom);
    bytes.extend_from_slice(&made.body);
    Some((bytes, lengths))
}

impl Block {
    /// A block that was just written.
    pub(crate) fn written(made: Made, lengths: Lengths, offset: u64, segment: &Arc<Segment>) -> Self {
        let bloom = Mutex::new(Some(made.bloom));
        Self {
            header: made.header,
            segment: Arc::clone(segment),
            lengths,
            offset,
            bloom,
            told_damaged: AtomicBool::new(false),
        }
    }
}

/// What stands in a file.
pub(crate) struct Found {
    pub(crate) blocks: Vec<Block>,
    /// Up to here it is sound.
    pub(crate) sound: u64,
    /// Whether what follows is a torn end: less than a whole block.
    pub(crate) torn: bool,
}

/// Reads the headers of a file, and the last block whole: whoever was killed while writing left that one torn.
pub(crate) fn scan(path: &Path, segment: &Arc<Segment>) -> io::Result<Found> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut found = Found { blocks: Vec::new(), sound: 0, torn: true };
    let mut header = [0; HEADER_LENGTH];
    while found.sound < length {
        if length - found.sound < HEADER_LENGTH as u64 {
            return Ok(found);
        }
        file.read_exact_at(&mut header, found.sound)?;
        let Some((header, lengths)) = Header::read(&header) else {
            found.torn = false;
            return Ok(found);
        };
        let block = Block {
            header,
            segment: Arc::clone(segment),
            lengths,
            offset: found.sound,
            bloom: Mutex::new(None),
            told_damaged: AtomicBool::new(false),
        };
        let end = found.sound.saturating_add(block.length());
        if end > length {
            return Ok(found);
        }
        if end == length && !block.is_sound() {
            return Ok(found);
        }
        found.sound = end;
        found.blocks.push(block);
    }
    Ok(found)
}
