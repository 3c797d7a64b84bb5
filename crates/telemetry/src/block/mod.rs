//! Up to some thousand records as a block of columns: one value after the other of the same thing packs well, and a question
//! reads only what it asks about.
//!
//! [`header`] tells what a block has without reading it, [`bloom`] whether a key can be in it, [`column`] are its values,
//! [`Writer`] and [`Body`] put them together; [`spans`], [`logs`], [`points`] and [`errors`] say which columns a kind has.

pub(crate) mod attributes;
pub(crate) mod bloom;
pub(crate) mod column;
mod errors;
pub(crate) mod header;
pub(crate) mod logs;
pub(crate) mod points;
pub(crate) mod spans;

use std::sync::Arc;

pub(crate) use header::Header;

use crate::block::attributes::AttributesWriter;
use crate::block::bloom::Keys;
use crate::bytes::{Reader, put_text, put_varint};
use crate::lane::Record;

/// The cheapest: columns are small already when they are packed, and this runs beside the services.
const LEVEL: i32 = 1;
/// What is shorter is not packed.
const WORTH_PACKING: usize = 48;
/// A column that says that it unpacks to more is damaged.
const MOST_UNPACKED: usize = 64 << 20;

/// A kind of record that is kept in blocks.
pub(crate) trait Kept: Record {
    /// The name of its files.
    const NAME: &'static str;

    /// Writes records as columns, and notes what can be looked for.
    fn write(rows: &mut dyn Iterator<Item = &Self>, writer: &mut Writer);

    /// Reads records at these places, or all; none if it is damaged.
    fn read(body: &Body, places: Option<&[usize]>) -> Option<Vec<Self>>;
}

/// A block in the making.
pub(crate) struct Writer {
    pub(crate) header: Header,
    pub(crate) keys: Keys,
    pub(crate) attributes: AttributesWriter,
    packer: Option<zstd::bulk::Compressor<'static>>,
    directory: Vec<u8>,
    columns: usize,
    packed: Vec<u8>,
}

/// A block, made.
pub(crate) struct Made {
    pub(crate) header: Header,
    pub(crate) bloom: Arc<[u8]>,
    pub(crate) body: Vec<u8>,
}

impl Writer {
    pub(crate) fn new() -> Self {
        Self {
            header: Header::default(),
            keys: Keys::default(),
            attributes: AttributesWriter::default(),
            packer: zstd::bulk::Compressor::new(LEVEL).ok(), // without one, columns are kept as they are
            directory: Vec::new(),
            columns: 0,
            packed: Vec::new(),
        }
    }

    /// Makes a block of records, which are numbered from `first` on.
    pub(crate) fn make<R: Kept>(
        &mut self,
        first: u64,
        rows: &mut dyn Iterator<Item = &R>,
        with_keys: bool,
    ) -> Made {
        self.header = Header { first, min_ns: u64::MAX, ..Header::default() };
        self.keys.start(with_keys);
        R::write(rows, self);
        let mut attributes = std::mem::take(&mut self.attributes);
        attributes.finish(self);
        self.attributes = attributes;
        let mut body = Vec::with_capacity(self.directory.len() + self.packed.len() + 8);
        put_varint(&mut body, self.columns as u64);
        body.append(&mut self.directory);
        body.append(&mut self.packed);
        self.columns = 0;
        Made { header: self.header.clone(), bloom: self.keys.finish(), body }
    }

    /// Adds a column.
    pub(crate) fn column(&mut self, name: &str, bytes: &[u8]) {
        put_text(&mut self.directory, name);
        put_varint(&mut self.directory, bytes.len() as u64);
        let packed =
            (bytes.len() >= WORTH_PACKING).then(|| self.packer.as_mut()?.compress(bytes).ok()).flatten();
        let packed = packed.filter(|packed| packed.len() + packed.len() / 16 < bytes.len());
        let kept = packed.as_deref().unwrap_or(bytes);
        put_varint(&mut self.directory, kept.len() as u64);
        self.packed.extend_from_slice(kept);
        self.columns += 1;
    }
}

/// The columns of a block.
pub(crate) struct Body {
    bytes: Vec<u8>,
    columns: Vec<Place>,
    pub(crate) rows: usize,
}

/// Where a column is.
struct Place {
    name: String,
    unpacked: usize,
    start: usize,
    end: usize,
}

impl Body {
    pub(crate) fn new(bytes: Vec<u8>, rows: usize) -> Option<Self> {
        let mut reader = Reader::new(&bytes);
        let mut columns = Vec::new();
        let mut start = 0;
        for _ in 0..reader.count()? {
            let name = reader.text()?.to_owned();
            let unpacked =
                usize::try_from(reader.varint()?).ok().filter(|length| *length <= MOST_UNPACKED)?;
            let length = usize::try_from(reader.varint()?).ok()?;
            let end = start + length.min(bytes.len());
            columns.push(Place { name, unpacked, start, end });
            start = end;
        }
        let skipped = bytes.len() - reader.rest().len();
        if start != reader.rest().len() {
            return None;
        }
        for column in &mut columns {
            column.start += skipped;
            column.end += skipped;
        }
        Some(Self { bytes, columns, rows })
    }

    /// The names of its columns.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|column| &*column.name)
    }

    /// A column, unpacked; empty if there is none of this name.
    pub(crate) fn column(&self, name: &str) -> Option<Vec<u8>> {
        let Some(place) = self.columns.iter().find(|column| column.name == name) else {
            return Some(Vec::new());
        };
        let kept = self.bytes.get(place.start..place.end)?;
        if kept.len() == place.unpacked {
            return Some(kept.to_vec());
        }
        let unpacked = zstd::bulk::decompress(kept, place.unpacked).ok()?;
        (unpacked.len() == place.unpacked).then_some(unpacked)
    }
}
