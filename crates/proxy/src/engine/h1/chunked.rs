//! The chunked transfer coding (RFC 9112 §7.1), strictly: sizes are hexadecimal digits alone, every line ends
//! in CRLF, extensions are read over within a bound, trailers keep the rules of heads.

use bytes::{Buf, Bytes, BytesMut};
use http::HeaderMap;

use super::decode::take_off;
use super::{Fault, parse, write};

/// Digits of the longest size: 64 bits.
const SIZE_DIGITS: u8 = 16;
/// Bytes of extensions in all of a body: nobody has a use for them, and a small chunk with a large extension
/// costs its reader many times its size.
const EXTENSIONS_MAX: usize = 16 * 1024;
/// Bytes of trailers.
const TRAILERS_MAX: usize = 16 * 1024;
/// Lines of trailers.
const TRAILER_LINES: usize = 100;

/// Takes a body apart.
#[derive(Debug)]
pub(crate) struct Decoder {
    state: State,
    /// Of the chunk under way: its size as far as it was read, then what is left of it.
    left: u64,
    extensions: usize,
    /// Whole lines of trailers, then the line under way.
    trailers: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// So many digits of a size have come.
    Size(u8),
    Extension,
    SizeLineFeed,
    Data,
    DataReturn,
    DataLineFeed,
    Trailers,
    End,
}

/// What was found.
#[derive(Debug)]
pub(crate) enum Decoded {
    /// Some of the body.
    Data(Bytes),
    /// What came after it: the body has ended.
    Trailers(HeaderMap),
    /// The body has ended.
    End,
    /// All bytes are used up and it goes on.
    More,
}

impl Decoder {
    pub(crate) fn new() -> Self {
        Self { state: State::Size(0), left: 0, extensions: 0, trailers: Vec::new() }
    }

    /// The last byte has been read.
    pub(crate) fn is_end(&self) -> bool {
        self.state == State::End
    }

    /// Takes the next part of the body off `input`. What comes after the body is left there.
    pub(crate) fn decode(&mut self, input: &mut BytesMut) -> Result<Decoded, Fault> {
        loop {
            match self.state {
                State::End => return Ok(Decoded::End),
                State::Data => {
                    if input.is_empty() {
                        return Ok(Decoded::More);
                    }
                    let take = usize::try_from(self.left).unwrap_or(usize::MAX).min(input.len());
                    self.left -= take as u64;
                    if self.left == 0 {
                        self.state = State::DataReturn;
                    }
                    return Ok(Decoded::Data(take_off(input, take)));
                }
                State::Trailers => {
                    if let Some(decoded) = self.trailers(input)? {
                        return Ok(decoded);
                    }
                }
                _ => {
                    let Some(byte) = input.first().copied() else { return Ok(Decoded::More) };
                    input.advance(1);
                    self.state = self.step(byte)?;
                }
            }
        }
    }

    /// One byte between the data of two chunks.
    fn step(&mut self, byte: u8) -> Result<State, Fault> {
        match (self.state, byte) {
            (State::Size(digits), _) => self.size(digits, byte),
            (State::Extension, b'\r') => Ok(State::SizeLineFeed),
            (State::Extension, 0..=8 | 10..=31 | 127) => Err(Fault::ChunkExtension),
            (State::Extension, _) => {
                self.extensions += 1;
                if self.extensions > EXTENSIONS_MAX {
                    return Err(Fault::ChunkExtensionsTooLong);
                }
                Ok(State::Extension)
            }
            (State::SizeLineFeed, b'\n') => Ok(if self.left == 0 { State::Trailers } else { State::Data }),
            (State::SizeLineFeed, _) => Err(Fault::ChunkSize),
            (State::DataReturn, b'\r') => Ok(State::DataLineFeed),
            (State::DataLineFeed, b'\n') => Ok(State::Size(0)),
            _ => Err(Fault::ChunkEnd),
        }
    }

    fn size(&mut self, digits: u8, byte: u8) -> Result<State, Fault> {
        let Some(digit) = char::from(byte).to_digit(16) else {
            return match byte {
                b'\r' if digits > 0 => Ok(State::SizeLineFeed),
                b';' if digits > 0 => Ok(State::Extension),
                _ => Err(Fault::ChunkSize),
            };
        };
        if digits == 0 {
            self.left = 0;
        }
        if digits == SIZE_DIGITS {
            return Err(Fault::ChunkSizeTooLong);
        }
        self.left = self.left << 4 | u64::from(digit); // sixteen digits fill it and no more
        Ok(State::Size(digits + 1))
    }

    /// Lines up to an empty one. `None`: look again.
    fn trailers(&mut self, input: &mut BytesMut) -> Result<Option<Decoded>, Fault> {
        let Some(at) = input.iter().position(|byte| *byte == b'\n') else {
            self.keep(input.len(), input)?;
            return Ok(Some(Decoded::More));
        };
        self.keep(at + 1, input)?;
        let kept = &self.trailers[..];
        if !kept.ends_with(b"\r\n") {
            return Err(Fault::BareLineFeed);
        }
        if kept.len() > 2 && !kept.ends_with(b"\r\n\r\n") {
            return Ok(None); // a line, and not the empty one
        }
        self.state = State::End;
        let kept = std::mem::take(&mut self.trailers);
        if kept.len() == 2 {
            return Ok(Some(Decoded::End));
        }
        parse::trailers(&kept, TRAILER_LINES).map(|trailers| Some(Decoded::Trailers(trailers)))
    }

    fn keep(&mut self, count: usize, input: &mut BytesMut) -> Result<(), Fault> {
        if self.trailers.len() + count > TRAILERS_MAX {
            return Err(Fault::TooLong);
        }
        self.trailers.extend_from_slice(&input[..count]);
        input.advance(count);
        Ok(())
    }
}

/// What stands before the data of a chunk.
pub(crate) fn open(out: &mut Vec<u8>, size: usize) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [0; 16];
    let mut at = text.len();
    let mut left = size;
    loop {
        at -= 1;
        text[at] = DIGITS[left & 15];
        left >>= 4;
        if left == 0 {
            break;
        }
    }
    out.extend_from_slice(&text[at..]);
    out.extend_from_slice(b"\r\n");
}

/// What stands after the data of a chunk.
pub(crate) const CLOSE: &[u8] = b"\r\n";
/// The same with the end of the body.
pub(crate) const CLOSE_AND_END: &[u8] = b"\r\n0\r\n\r\n";
/// The end of a body.
pub(crate) const END: &[u8] = b"0\r\n\r\n";

/// The end of a body that has trailers.
pub(crate) fn end_with(out: &mut Vec<u8>, trailers: &HeaderMap) {
    out.extend_from_slice(b"0\r\n");
    for (name, value) in trailers {
        write::field(out, name.as_str().as_bytes(), value.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// All of a body, read in pieces; what is left, and trailers.
    fn read(text: &[u8], piece: usize) -> Result<(Vec<u8>, Vec<u8>, HeaderMap), Option<Fault>> {
        let (mut decoder, mut input) = (Decoder::new(), BytesMut::new());
        let (mut body, mut trailers) = (Vec::new(), HeaderMap::new());
        let mut pieces = text.chunks(piece.max(1));
        loop {
            match decoder.decode(&mut input).map_err(Some)? {
                Decoded::Data(data) => body.extend_from_slice(&data),
                Decoded::Trailers(found) => trailers = found,
                Decoded::End => {
                    let left = input.iter().copied().chain(pieces.flatten().copied()).collect();
                    return Ok((body, left, trailers));
                }
                Decoded::More => input.extend_from_slice(pieces.next().ok_or(None)?),
            }
        }
    }

    #[test]
    fn a_body_is_what_its_chunks_hold_and_the_rest_is_left() {
        for (text, body, left) in [
            ("0\r\n\r\n", "", ""),
            ("3\r\nabc\r\n0\r\n\r\nGET", "abc", "GET"),
            ("A\r\n0123456789\r\n00001\r\nx\r\n0\r\n\r\n", "0123456789x", ""),
            ("3;a=b;c=\"d\"\r\nabc\r\n0;e\r\n\r\n", "abc", ""),
            ("00000000000000a\r\n0123456789\r\n000\r\n\r\n\r\n", "0123456789", "\r\n"),
        ] {
            for piece in 1..=text.len() {
                let read = read(text.as_bytes(), piece).unwrap();
                assert_eq!(
                    (&read.0[..], &read.1[..]),
                    (body.as_bytes(), left.as_bytes()),
                    "{text:?} by {piece}"
                );
            }
        }
    }

    #[test]
    fn sizes_and_ends_that_others_may_read_in_another_way_are_refused() {
        for (text, fault) in [
            ("\r\n", Fault::ChunkSize),
            ("0x5\r\nabcde\r\n", Fault::ChunkSize),
            ("+5\r\nabcde\r\n", Fault::ChunkSize),
            ("-5\r\nabcde\r\n", Fault::ChunkSize),
            ("5 \r\nabcde\r\n", Fault::ChunkSize),
            (" 5\r\nabcde\r\n", Fault::ChunkSize),
            ("5\t;a\r\nabcde\r\n", Fault::ChunkSize),
            ("5\nabcde\r\n", Fault::ChunkSize),
            ("5\r\r\nabcde\r\n", Fault::ChunkSize),
            ("5\rabcde\r\n", Fault::ChunkSize),
            ("g\r\n", Fault::ChunkSize),
            (";a\r\n", Fault::ChunkSize),
            ("5_0\r\n", Fault::ChunkSize),
            ("00000000000000005\r\nabcde\r\n", Fault::ChunkSizeTooLong),
            ("10000000000000000\r\n", Fault::ChunkSizeTooLong),
            ("5;a\nabcde\r\n", Fault::ChunkExtension),
            ("5;a\0\r\nabcde\r\n", Fault::ChunkExtension),
            ("5;a\rb\r\nabcde\r\n", Fault::ChunkSize),
            ("3\r\nabcd\r\n", Fault::ChunkEnd),
            ("3\r\nabc\n0\r\n\r\n", Fault::ChunkEnd),
            ("3\r\nabc\r0\r\n\r\n", Fault::ChunkEnd),
            ("3\r\nabc0\r\n\r\n", Fault::ChunkEnd),
            ("0\r\n\n", Fault::BareLineFeed),
            ("0\r\nA: b\n\r\n", Fault::BareLineFeed),
            ("0\r\nA : b\r\n\r\n", Fault::Name),
            ("0\r\nA: b\r\n c\r\n\r\n", Fault::Name),
            ("0\r\n: b\r\n\r\n", Fault::Name),
            ("0\r\nA: b\0\r\n\r\n", Fault::Value),
            ("0\r\nA: b\rc\r\n\r\n", Fault::Value),
            ("0\r\nGET / HTTP/1.1\r\n\r\n", Fault::Name),
        ] {
            for piece in [1, 2, 7, text.len()] {
                assert_eq!(read(text.as_bytes(), piece).unwrap_err(), Some(fault), "{text:?} by {piece}");
            }
        }
        assert_eq!(read(b"ffffffffffffffff\r\nabc", 99).unwrap_err(), None); // as long as it says
    }

    #[test]
    fn extensions_and_trailers_have_a_bound_over_all_of_the_body() {
        let long = format!("1;{}\r\nx\r\n", "e".repeat(1000)).repeat(17);
        assert_eq!(read(long.as_bytes(), 512).unwrap_err(), Some(Fault::ChunkExtensionsTooLong));
        let long = format!("0\r\n{}", "a: b\r\n".repeat(3000));
        assert_eq!(read(long.as_bytes(), 512).unwrap_err(), Some(Fault::TooLong));
        let line = format!("0\r\na: {}", "b".repeat(20_000));
        assert_eq!(read(line.as_bytes(), 512).unwrap_err(), Some(Fault::TooLong));
        let many = format!("0\r\n{}\r\n", "a:b\r\n".repeat(101));
        assert_eq!(read(many.as_bytes(), 512).unwrap_err(), Some(Fault::TooManyLines));
    }

    #[test]
    fn trailers_come_after_the_body() {
        let (body, left, trailers) = read(b"1\r\nx\r\n0\r\nX-Sum: 7\r\nx-sum:8 \r\n\r\nrest", 3).unwrap();
        assert_eq!((&body[..], &left[..]), (&b"x"[..], &b"rest"[..]));
        assert_eq!(trailers.get_all("x-sum").into_iter().collect::<Vec<_>>(), ["7", "8"]);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(
            chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..300), 0..5),
            piece in 1usize..50,
            with_trailers: bool,
        ) {
            let mut text = Vec::new();
            for chunk in &chunks {
                open(&mut text, chunk.len());
                text.extend_from_slice(chunk);
                text.extend_from_slice(CLOSE);
            }
            let mut trailers = HeaderMap::new();
            if with_trailers {
                trailers.append("x-sum", HeaderValue::from_static("7"));
                end_with(&mut text, &trailers);
            } else {
                text.extend_from_slice(END);
            }
            let (body, left, found) = read(&text, piece).unwrap();
            prop_assert_eq!(body, chunks.concat());
            prop_assert!(left.is_empty());
            prop_assert_eq!(found, trailers);
        }

        #[test]
        fn nothing_breaks_it(text in "[0-9a-fA-F;\r\n :x]{0,40}", piece in 1usize..9) {
            prop_assert_eq!(read(text.as_bytes(), piece), read(text.as_bytes(), usize::MAX));
        }
    }

    use http::HeaderValue;
}
