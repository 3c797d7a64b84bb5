//! A file of entries that is only appended to, each with its length and checksum.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use xxhash_rust::xxh3::xxh3_64;

use crate::bytes::Reader;
use crate::files::{cut_off, set_aside};

/// A log that is written.
pub(crate) struct Log {
    file: File,
    length: u64,
}

impl Log {
    /// Opens it behind its last whole entry.
    pub(crate) fn open(path: &Path, notes: &mut Vec<String>) -> io::Result<(Self, Vec<Vec<u8>>)> {
        let entries = read(path, Some(notes));
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
        let length = file.metadata()?.len();
        Ok((Self { file, length }, entries))
    }

    pub(crate) fn append(&mut self, entry: &[u8]) -> io::Result<()> {
        let bytes = framed(entry);
        self.file.write_all_at(&bytes, self.length)?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    pub(crate) const fn length(&self) -> u64 {
        self.length
    }
}

fn framed(entry: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(entry.len() + 12);
    bytes.extend_from_slice(&u32::try_from(entry.len()).unwrap_or(u32::MAX).to_le_bytes());
    bytes.extend_from_slice(&xxh3_64(entry).to_le_bytes());
    bytes.extend_from_slice(entry);
    bytes
}

/// The entries of a log. With `notes`, what is damaged is cut off; without, it is passed over.
pub(crate) fn read(path: &Path, notes: Option<&mut Vec<String>>) -> Vec<Vec<u8>> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) => {
            if error.kind() != io::ErrorKind::NotFound
                && let Some(notes) = notes
            {
                set_aside(path, &format!("cannot be read ({error})"), notes);
            }
            return Vec::new();
        }
    };
    let mut reader = Reader::new(&bytes);
    let (mut entries, mut sound, mut torn) = (Vec::new(), 0, true);
    while !reader.is_empty() {
        let entry = reader.u32().zip(reader.u64()).and_then(|(length, checksum)| {
            let entry = reader.take(length as usize)?;
            torn = xxh3_64(entry) == checksum;
            torn.then(|| entry.to_vec())
        });
        let Some(entry) = entry else { break };
        entries.push(entry);
        sound = bytes.len() - reader.rest().len();
    }
    if sound < bytes.len()
        && let Some(notes) = notes
    {
        cut_off(path, sound as u64, torn, notes);
    }
    entries
}

/// Puts a log with these entries in the place of another one.
pub(crate) fn replace(path: &Path, entries: &[Vec<u8>]) -> io::Result<()> {
    let beside = path.with_extension("new");
    let bytes: Vec<u8> = entries.iter().flat_map(|entry| framed(entry)).collect();
    fs::write(&beside, bytes)?;
    fs::rename(&beside, path)
}
