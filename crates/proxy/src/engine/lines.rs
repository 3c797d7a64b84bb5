//! Reads along while the head of a request comes in over HTTP/1, for what the parser does not tell: that a
//! length was there which a transfer coding has overruled, and lines that end in a bare line feed. Both are
//! read in another way by other servers, so whoever sends them may be smuggling.
//!
//! What is not seen is not refused: of requests that a client sends ahead of the answers (pipelining) only
//! the first is read along. No server that shares a connection among its clients does that.

/// The longest name that matters, with its colon.
const NAME_MAX: usize = "transfer-encoding:".len();

/// What is wrong with the lines of a head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Lines {
    /// Nothing, or nothing that was seen.
    #[default]
    Fine,
    /// A line ends without a carriage return.
    BareLineFeed,
    /// Both `Content-Length` and `Transfer-Encoding` are there.
    TwoFramings,
}

impl Lines {
    pub(super) fn as_u8(self) -> u8 {
        self as u8
    }

    pub(super) fn from_u8(number: u8) -> Self {
        match number {
            1 => Self::BareLineFeed,
            2 => Self::TwoFramings,
            _ => Self::Fine,
        }
    }
}

/// One head on its way.
#[derive(Debug, Default)]
pub(super) struct Reader {
    /// The first bytes of the line under way, in lower case.
    start: [u8; NAME_MAX],
    /// Bytes of the line under way.
    length: usize,
    last: u8,
    begun: bool,
    ended: bool,
    bare: bool,
    sized: bool,
    coded: bool,
}

impl Reader {
    /// Takes the next bytes. Says what is wrong once the head has ended.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) -> Option<Lines> {
        while !self.ended && !bytes.is_empty() {
            match bytes.iter().position(|byte| *byte == b'\n') {
                None => {
                    self.keep(bytes);
                    return None;
                }
                Some(at) => {
                    self.keep(&bytes[..at]);
                    self.end_line();
                    bytes = &bytes[at + 1..];
                }
            }
        }
        match self {
            Self { ended: false, .. } => None,
            Self { bare: true, .. } => Some(Lines::BareLineFeed),
            Self { sized: true, coded: true, .. } => Some(Lines::TwoFramings),
            _ => Some(Lines::Fine),
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        if let Some(room) = self.start.get_mut(self.length..) {
            for (kept, byte) in room.iter_mut().zip(bytes) {
                *kept = byte.to_ascii_lowercase();
            }
        }
        self.length = self.length.saturating_add(bytes.len());
        self.last = bytes.last().copied().unwrap_or(self.last);
    }

    fn end_line(&mut self) {
        let returned = self.length > 0 && self.last == b'\r';
        self.bare |= !returned;
        if self.length == usize::from(returned) {
            self.ended = self.begun; // empty lines before a request are skipped (RFC 9112 §2.2)
        } else {
            self.begun = true;
            let start = &self.start[..self.length.min(NAME_MAX)];
            self.sized |= start.starts_with(b"content-length:");
            self.coded |= start.starts_with(b"transfer-encoding:");
        }
        self.length = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEADS: [(&str, Lines); 8] = [
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", Lines::Fine),
        ("\r\nPOST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", Lines::Fine),
        ("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nContent-Length: 3\n", Lines::Fine),
        (
            "POST / HTTP/1.1\r\ncontent-lengthy: 3\r\nX-Transfer-Encoding: x\r\nContent-Length: 3\r\n\r\n",
            Lines::Fine,
        ),
        ("POST / HTTP/1.1\r\ntransfer-ENCODING: chunked\r\nContent-Length:3\r\n\r\n", Lines::TwoFramings),
        ("POST / HTTP/1.1\r\nContent-Length: 3\r\nX: 1\r\nTransfer-Encoding:\tx\r\n\r\n", Lines::TwoFramings),
        ("GET / HTTP/1.1\r\nX: 1\nY: 2\r\n\r\n", Lines::BareLineFeed),
        ("GET / HTTP/1.1\r\nX: 1\r\n\n", Lines::BareLineFeed),
    ];

    #[test]
    fn what_is_wrong_is_told_when_the_head_has_ended_wherever_it_was_cut() {
        for (head, wrong) in HEADS {
            assert_eq!(Reader::default().feed(head.as_bytes()), Some(wrong), "{head:?}");
            for at in 0..head.len() {
                let (before, after) = head.as_bytes().split_at(at);
                let mut reader = Reader::default();
                let told = reader.feed(before).or_else(|| reader.feed(after));
                assert_eq!(told, Some(wrong), "{head:?} cut at {at}");
            }
        }
        assert_eq!(Reader::default().feed(b"GET / HTTP/1.1\r\nHost: a\r\n"), None);
    }

    proptest! {
        #[test]
        fn bytes_one_by_one_say_the_same_as_all_at_once(text in "[\r\nCc:a-]{0,60}") {
            let at_once = Reader::default().feed(text.as_bytes());
            let mut reader = Reader::default();
            let mut told = None;
            for byte in text.as_bytes() {
                told = told.or(reader.feed(&[*byte]));
            }
            prop_assert_eq!(told, at_once);
        }
    }
}
