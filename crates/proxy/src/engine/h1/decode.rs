//! A body of either framing, off the bytes of a connection.

use bytes::{Buf as _, Bytes, BytesMut};

pub(crate) use super::chunked::Decoded;
use super::framing::Framing;
use super::wire::COPY_MAX;
use super::{Fault, chunked};

/// Takes a body off the bytes of a connection, and knows where it ends.
#[derive(Debug)]
pub(crate) enum Decoder {
    /// So many bytes are left.
    Length(u64),
    /// Chunks.
    Chunked(Box<chunked::Decoder>),
    /// Until the connection ends.
    UntilClose,
}

impl Decoder {
    pub(crate) fn new(framing: Framing) -> Self {
        match framing {
            Framing::Length(length) => Self::Length(length),
            Framing::Chunked => Self::Chunked(Box::new(chunked::Decoder::new())),
            Framing::UntilClose => Self::UntilClose,
        }
    }

    /// Nothing more belongs to the body.
    pub(crate) fn is_end(&self) -> bool {
        match self {
            Self::Length(left) => *left == 0,
            Self::Chunked(chunks) => chunks.is_end(),
            Self::UntilClose => false,
        }
    }

    /// What is left of it, where that is known.
    pub(crate) fn left(&self) -> Option<u64> {
        match self {
            Self::Length(left) => Some(*left),
            Self::Chunked(chunks) => chunks.is_end().then_some(0),
            Self::UntilClose => None,
        }
    }

    /// Takes the next part of the body off `input`. What comes after the body is left there.
    pub(crate) fn decode(&mut self, input: &mut BytesMut) -> Result<Decoded, Fault> {
        match self {
            Self::Chunked(chunks) => chunks.decode(input),
            Self::Length(0) => Ok(Decoded::End),
            _ if input.is_empty() => Ok(Decoded::More),
            Self::Length(left) => {
                let take = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                *left -= take as u64;
                Ok(Decoded::Data(take_off(input, take)))
            }
            Self::UntilClose => Ok(Decoded::Data(take_off(input, input.len()))),
        }
    }

    /// The connection has ended. Whether the body has, too.
    pub(crate) fn closed(&mut self) -> bool {
        if matches!(self, Self::UntilClose) {
            *self = Self::Length(0);
        }
        self.is_end()
    }
}

/// Takes bytes off a buffer. A few are copied: as a part of the buffer they would keep all of it from being used
/// again as soon as it has been read.
pub(super) fn take_off(input: &mut BytesMut, count: usize) -> Bytes {
    if count > COPY_MAX {
        return input.split_to(count).freeze();
    }
    let data = Bytes::copy_from_slice(&input[..count]);
    input.advance(count);
    data
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_of_a_known_length_leaves_what_follows_it() {
        let mut decoder = Decoder::new(Framing::Length(5));
        let mut input = BytesMut::from(&b"abc"[..]);
        assert!(matches!(decoder.decode(&mut input), Ok(Decoded::Data(data)) if data == "abc"));
        assert!(matches!(decoder.decode(&mut input), Ok(Decoded::More)));
        assert!(!decoder.is_end() && !decoder.closed());
        input.extend_from_slice(b"deGET");
        assert!(matches!(decoder.decode(&mut input), Ok(Decoded::Data(data)) if data == "de"));
        assert!(decoder.is_end() && matches!(decoder.decode(&mut input), Ok(Decoded::End)));
        assert_eq!(input, "GET");
    }

    #[test]
    fn a_body_without_a_length_ends_with_its_connection() {
        let mut decoder = Decoder::new(Framing::UntilClose);
        let mut input = BytesMut::from(&b"abc"[..]);
        assert!(matches!(decoder.decode(&mut input), Ok(Decoded::Data(data)) if data == "abc"));
        assert!(matches!(decoder.decode(&mut input), Ok(Decoded::More)));
        assert!(!decoder.is_end() && decoder.closed() && decoder.is_end());
        let mut cut = Decoder::new(Framing::Chunked);
        assert!(!cut.closed());
    }
}
