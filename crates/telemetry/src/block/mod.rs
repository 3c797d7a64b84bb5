//! Up to some thousand records as a block of columns: one value after the other of the same thing packs well, and a question
//! reads only what it asks about.
//!
//! [`header`] tells what a block has without reading it, [`bloom`] whether a key can be in it, [`column`] are its values,
//! [`Writer`] and [`Body`] put them together and take them apart; [`spans`], [`logs`], [`points`] and [`errors`] say which
//! columns a kind has.

pub(crate) mod attributes;
pub(crate) mod bloom;
mod body;
pub(crate) mod column;
mod errors;
pub(crate) mod header;
pub(crate) mod logs;
pub(crate) mod points;
pub(crate) mod spans;

use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

pub(crate) use body::{Body, Unpacker};
pub(crate) use header::Header;

use crate::block::attributes::AttributesWriter;
use crate::block::bloom::Keys;
use crate::block::body::PREFIX;
use crate::bytes::{put_text, put_varint};
use crate::lane::Record;

/// The cheapest: columns are small already when they are packed, and this runs beside the services.
const LEVEL: i32 = 1;
/// What is shorter is not packed.
const WORTH_PACKING: usize = 48;

/// A kind of record that is kept in blocks.
pub(crate) trait Kept: Record {
    /// The name of its files.
    const NAME: &'static str;

    /// Writes records as columns, and notes what can be looked for.
    fn write(rows: &mut dyn Iterator<Item = &Self>, writer: &mut Writer);

    /// Reads records at these places, or all; none if it is damaged.
    fn read(body: &Body<'_>, places: Option<&[usize]>) -> Option<Vec<Self>>;
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
    /// So many bytes of the body tell what columns there are.
    pub(crate) directory: usize,
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
        let mut body = Vec::with_capacity(self.directory.len() + self.packed.len() + 16);
        body.extend_from_slice(&[0; PREFIX]);
        put_varint(&mut body, self.columns as u64);
        body.append(&mut self.directory);
        let directory = body.len();
        // No more than 256 columns, whose names are cut when they come in.
        let length = u32::try_from(directory - PREFIX).unwrap_or(u32::MAX);
        body[..PREFIX].copy_from_slice(&length.to_le_bytes());
        body.append(&mut self.packed);
        self.columns = 0;
        Made { header: self.header.clone(), bloom: self.keys.finish(), body, directory }
    }

    /// Adds a column.
    pub(crate) fn column(&mut self, name: &str, bytes: &[u8]) {
        put_text(&mut self.directory, name);
        put_varint(&mut self.directory, bytes.len() as u64);
        let packed =
            (bytes.len() >= WORTH_PACKING).then(|| self.packer.as_mut()?.compress(bytes).ok()).flatten();
        // Unpacking takes longer than reading: what is hardly smaller is kept as it is.
        let packed = packed.filter(|packed| packed.len() < bytes.len() / 4 * 3);
        let kept = packed.as_deref().unwrap_or(bytes);
        put_varint(&mut self.directory, kept.len() as u64);
        self.directory.extend_from_slice(&xxh3_64(kept).to_le_bytes());
        self.packed.extend_from_slice(kept);
        self.columns += 1;
    }
}
