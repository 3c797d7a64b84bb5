//! A block as it is read: what columns there are, then those that a question needs and no others.

use std::borrow::Cow;
use std::cell::RefCell;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;
use zstd::bulk::Decompressor;

use crate::bytes::Reader;

/// A column that says that it unpacks to more is damaged.
const MOST_UNPACKED: usize = 64 << 20;
/// Bytes that are read at first: nearly always all that tells what columns there are, and of a small block everything.
const FIRST_READ: usize = 2_048;
/// The length of the number before it.
pub(crate) const PREFIX: usize = 4;

/// What unpacks columns, made when the first one is packed. One serves a whole question: to make one takes longer than to
/// unpack a column.
#[derive(Default)]
pub(crate) struct Unpacker(RefCell<Option<Decompressor<'static>>>);

impl Unpacker {
    fn unpack(&self, packed: &[u8], length: usize) -> Option<Vec<u8>> {
        let mut own = self.0.borrow_mut();
        let decompressor = own.get_or_insert_with(Decompressor::default);
        let mut unpacked = Vec::with_capacity(length);
        decompressor.decompress_to_buffer(packed, &mut unpacked).ok()?;
        (unpacked.len() == length).then_some(unpacked)
    }
}

/// The columns of a block.
pub(crate) struct Body<'b> {
    source: Source,
    columns: Vec<Place>,
    pub(crate) rows: usize,
    unpacker: &'b Unpacker,
}

enum Source {
    /// All of it, checked as a whole: blocks of the first format.
    Whole(Vec<u8>),
    /// Read and checked column by column.
    File {
        file: Arc<File>,
        start: u64,
        /// What was read when it was opened.
        first: Vec<u8>,
    },
}

/// Where a column is.
struct Place {
    name: String,
    unpacked: usize,
    start: usize,
    end: usize,
    checksum: Option<u64>,
}

impl<'b> Body<'b> {
    /// All of a block of the first format, whose checksum was right.
    pub(crate) fn whole(bytes: Vec<u8>, rows: usize, unpacker: &'b Unpacker) -> Option<Self> {
        let mut reader = Reader::new(&bytes);
        let columns = places(&mut reader, bytes.len(), false)?;
        let columns = behind(columns, bytes.len() - reader.rest().len(), bytes.len())?;
        Some(Self { source: Source::Whole(bytes), columns, rows, unpacker })
    }

    /// A block that begins at `start` and has `length` bytes; `checksum` is that of what tells what columns there are.
    pub(crate) fn in_file(
        file: Arc<File>,
        (start, length): (u64, usize),
        checksum: u64,
        rows: usize,
        unpacker: &'b Unpacker,
    ) -> Option<Self> {
        let mut first = vec![0; FIRST_READ.min(length)];
        file.read_exact_at(&mut first, start).ok()?;
        let told = PREFIX.checked_add(Reader::new(&first).u32()? as usize).filter(|told| *told <= length)?;
        let read = first.len();
        if read < told {
            first.resize(told, 0);
            file.read_exact_at(first.get_mut(read..)?, start + read as u64).ok()?;
        }
        let directory = first.get(..told)?;
        if xxh3_64(directory) != checksum {
            return None;
        }
        let mut reader = Reader::new(directory.get(PREFIX..)?);
        let columns = places(&mut reader, length, true).filter(|_| reader.is_empty())?;
        let columns = behind(columns, told, length)?;
        Some(Self { source: Source::File { file, start, first }, columns, rows, unpacker })
    }

    /// The names of its columns.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|column| &*column.name)
    }

    /// Whether there is a column of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.names().any(|other| other == name)
    }

    /// A column, unpacked; empty if there is none of this name. None if it is not what was written.
    pub(crate) fn column(&self, name: &str) -> Option<Vec<u8>> {
        let Some(place) = self.columns.iter().find(|column| column.name == name) else {
            return Some(Vec::new());
        };
        let kept = self.kept(place)?;
        if kept.len() == place.unpacked {
            return Some(kept.into_owned());
        }
        self.unpacker.unpack(&kept, place.unpacked)
    }

    /// Whether all columns are as they were written.
    pub(crate) fn is_sound(&self) -> bool {
        self.columns.iter().all(|place| self.kept(place).is_some())
    }

    fn kept(&self, place: &Place) -> Option<Cow<'_, [u8]>> {
        let kept = match &self.source {
            Source::Whole(bytes) => Cow::Borrowed(bytes.get(place.start..place.end)?),
            Source::File { file, start, first } => match first.get(place.start..place.end) {
                Some(kept) => Cow::Borrowed(kept),
                None => {
                    let mut kept = vec![0; place.end - place.start];
                    file.read_exact_at(&mut kept, start + place.start as u64).ok()?;
                    Cow::Owned(kept)
                }
            },
        };
        place.checksum.is_none_or(|checksum| xxh3_64(&kept) == checksum).then_some(kept)
    }
}

/// Which columns follow, each behind the other, the first at 0.
fn places(reader: &mut Reader<'_>, most: usize, with_checksums: bool) -> Option<Vec<Place>> {
    let mut columns = Vec::new();
    let mut start = 0usize;
    for _ in 0..reader.count()? {
        let name = reader.text()?.to_owned();
        let unpacked = usize::try_from(reader.varint()?).ok().filter(|length| *length <= MOST_UNPACKED)?;
        let end = start.checked_add(usize::try_from(reader.varint()?).ok()?).filter(|end| *end <= most)?;
        let checksum = if with_checksums { Some(reader.u64()?) } else { None };
        columns.push(Place { name, unpacked, start, end, checksum });
        start = end;
    }
    Some(columns)
}

/// The same, where they are in a block of `length`: behind so many bytes that tell of them. They fill it, or it is damaged.
fn behind(mut columns: Vec<Place>, told: usize, length: usize) -> Option<Vec<Place>> {
    for column in &mut columns {
        column.start += told;
        column.end += told;
    }
    (columns.last().map_or(told, |last| last.end) == length).then_some(columns)
}
