//! What a block has, in so few bytes that those of all blocks are in memory.

use xxhash_rust::xxh3::xxh3_64;

use crate::bytes::Reader;

/// The first bytes of every block: what it is, and the version of its format.
const MAGIC: &[u8; 8] = b"ATLBLK02";
/// The format before: the body has one checksum, so that it has to be read whole. It is read, and no longer written.
const MAGIC_1: &[u8; 8] = b"ATLBLK01";
/// The length of a header in a file.
pub(crate) const HEADER_LENGTH: usize = 8 + 4 * 4 + 8 * 7 + 8;
/// Records of a block, at most: places have 16 bits.
pub(crate) const MOST_ROWS: usize = 16_384;

/// What a block has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Header {
    /// The number of its first record.
    pub(crate) first: u64,
    pub(crate) rows: u32,
    pub(crate) min_ns: u64,
    pub(crate) max_ns: u64,
    /// The longest span in it.
    pub(crate) longest_ns: u64,
    /// A bit for each service, by the hash of its name.
    pub(crate) services: u64,
    /// Something in it failed.
    pub(crate) failed: bool,
    /// The most severe log record in it.
    pub(crate) severest: u8,
}

/// How long what follows a header is, and its checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lengths {
    pub(crate) bloom: u32,
    pub(crate) body: u32,
    /// Of the part of the body that tells what columns there are; each of them has its own there.
    pub(crate) checksum: u64,
    pub(crate) bloom_checksum: u64,
    /// The checksum is that of the whole body, and columns have none.
    pub(crate) as_a_whole: bool,
}

impl Header {
    /// The bit of a service.
    pub(crate) fn bit_of(service: &str) -> u64 {
        1 << (xxh3_64(service.as_bytes()) & 63)
    }

    /// Notes a record of a time.
    pub(crate) fn saw(&mut self, time_ns: u64) {
        self.min_ns = self.min_ns.min(time_ns);
        self.max_ns = self.max_ns.max(time_ns);
        self.rows += 1;
    }

    pub(crate) fn write(&self, lengths: Lengths) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_LENGTH);
        bytes.extend_from_slice(if lengths.as_a_whole { MAGIC_1 } else { MAGIC });
        bytes.extend_from_slice(&self.rows.to_le_bytes());
        bytes.extend_from_slice(&lengths.bloom.to_le_bytes());
        bytes.extend_from_slice(&lengths.body.to_le_bytes());
        bytes.extend_from_slice(&[u8::from(self.failed), self.severest, 0, 0]);
        for number in [
            self.first,
            self.min_ns,
            self.max_ns,
            self.longest_ns,
            self.services,
            lengths.checksum,
            lengths.bloom_checksum,
        ] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        let checksum = xxh3_64(&bytes);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// None if these bytes are no header.
    pub(crate) fn read(bytes: &[u8; HEADER_LENGTH]) -> Option<(Self, Lengths)> {
        let (content, checksum) = bytes.split_last_chunk::<8>()?;
        let as_a_whole = match content.first_chunk()? {
            MAGIC => false,
            MAGIC_1 => true,
            _ => return None,
        };
        if xxh3_64(content) != u64::from_le_bytes(*checksum) {
            return None;
        }
        let mut reader = Reader::new(content.get(MAGIC.len()..)?);
        let (rows, bloom, body) = (reader.u32()?, reader.u32()?, reader.u32()?);
        let [failed, severest, _, _] = reader.array::<4>()?;
        let (first, min_ns, max_ns) = (reader.u64()?, reader.u64()?, reader.u64()?);
        let (longest_ns, services, checksum) = (reader.u64()?, reader.u64()?, reader.u64()?);
        let bloom_checksum = reader.u64()?;
        let header =
            Self { first, rows, min_ns, max_ns, longest_ns, services, failed: failed != 0, severest };
        let sound = usize::try_from(rows).is_ok_and(|rows| rows <= MOST_ROWS);
        sound.then_some((header, Lengths { bloom, body, checksum, bloom_checksum, as_a_whole }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_as_it_was_written_and_not_with_a_bit_changed() {
        let header = Header {
            first: 1,
            rows: 2,
            min_ns: 3,
            max_ns: 4,
            longest_ns: 5,
            services: 6,
            failed: true,
            severest: 7,
        };
        let lengths = Lengths { bloom: 8, body: 9, checksum: 10, bloom_checksum: 11, as_a_whole: false };
        for lengths in [lengths, Lengths { as_a_whole: true, ..lengths }] {
            let bytes: [u8; HEADER_LENGTH] = header.write(lengths).try_into().unwrap();
            assert_eq!(Header::read(&bytes), Some((header.clone(), lengths)));
        }
        let bytes: [u8; HEADER_LENGTH] = header.write(lengths).try_into().unwrap();
        for at in 0..HEADER_LENGTH * 8 {
            let mut damaged = bytes;
            damaged[at / 8] ^= 1 << (at % 8);
            assert_eq!(Header::read(&damaged), None, "bit {at}");
        }
    }
}
