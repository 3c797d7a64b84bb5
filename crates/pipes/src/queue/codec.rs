//! How records are written and read, byte by byte.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use kit::Timestamp;

use crate::name::QueueName;

/// The version of all records. One that changes gets a version of its own.
pub(super) const VERSION: u8 = 1;

/// A record that is damaged, or of a later version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a record is damaged, or of a later version")]
pub struct BadRecord;

/// Writes a record.
pub(super) struct Writer(BytesMut);

impl Writer {
    pub(super) fn new(about: usize) -> Self {
        Self(BytesMut::with_capacity(about))
    }
    pub(super) fn byte(&mut self, byte: u8) {
        self.0.extend_from_slice(&[byte]);
    }
    pub(super) fn raw(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }
    pub(super) fn word(&mut self, word: u64) {
        self.raw(&word.to_be_bytes());
    }
    /// Seven bits a byte, the lowest first.
    pub(super) fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.byte(number as u8 | 0x80);
            number >>= 7;
        }
        self.byte(number as u8);
    }
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.raw(bytes);
    }
    pub(super) fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }
    pub(super) fn option<T>(&mut self, part: Option<T>, write: impl FnOnce(&mut Self, T)) {
        self.byte(u8::from(part.is_some()));
        if let Some(part) = part {
            write(self, part);
        }
    }
    pub(super) fn map(&mut self, map: &BTreeMap<String, String>) {
        self.number(map.len() as u64);
        for (key, value) in map {
            self.text(key);
            self.text(value);
        }
    }
    pub(super) fn done(self) -> Bytes {
        self.0.freeze()
    }
}

/// Reads a record. Nothing in it is believed before it was looked at.
pub(super) struct Reader<'a> {
    pub(super) rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(record: &'a [u8]) -> Result<Self, BadRecord> {
        let mut from = Self { rest: record };
        if from.byte()? == VERSION { Ok(from) } else { Err(BadRecord) }
    }
    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], BadRecord> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(BadRecord)?;
        self.rest = rest;
        Ok(taken)
    }
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], BadRecord> {
        self.take(N)?.try_into().map_err(|_| BadRecord)
    }
    pub(super) fn byte(&mut self) -> Result<u8, BadRecord> {
        Ok(self.array::<1>()?[0])
    }
    pub(super) fn flag(&mut self) -> Result<bool, BadRecord> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(BadRecord),
        }
    }
    pub(super) fn word(&mut self) -> Result<u64, BadRecord> {
        Ok(u64::from_be_bytes(self.array()?))
    }
    pub(super) fn time(&mut self) -> Result<Timestamp, BadRecord> {
        self.word().map(Timestamp::from_micros)
    }
    pub(super) fn number(&mut self) -> Result<u64, BadRecord> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f).checked_shl(shift).ok_or(BadRecord)?;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(BadRecord)
    }
    pub(super) fn small(&mut self) -> Result<u32, BadRecord> {
        u32::try_from(self.number()?).map_err(|_| BadRecord)
    }
    pub(super) fn bytes(&mut self) -> Result<&'a [u8], BadRecord> {
        let len = usize::try_from(self.number()?).map_err(|_| BadRecord)?;
        self.take(len)
    }
    pub(super) fn text(&mut self) -> Result<String, BadRecord> {
        Ok(std::str::from_utf8(self.bytes()?).map_err(|_| BadRecord)?.to_owned())
    }
    pub(super) fn name(&mut self) -> Result<QueueName, BadRecord> {
        QueueName::stored(&self.text()?).map_err(|_| BadRecord)
    }
    pub(super) fn option<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, BadRecord>,
    ) -> Result<Option<T>, BadRecord> {
        if self.flag()? { read(self).map(Some) } else { Ok(None) }
    }
    pub(super) fn map(&mut self) -> Result<BTreeMap<String, String>, BadRecord> {
        let len = self.number()?;
        (0..len).map(|_| Ok((self.text()?, self.text()?))).collect()
    }
    pub(super) fn end(&self) -> Result<(), BadRecord> {
        if self.rest.is_empty() { Ok(()) } else { Err(BadRecord) }
    }
}
