//! W3C Trace Context: a trace is continued or begun, and every hop is a span of its own.

use std::cell::RefCell;
use std::fmt;

use rand::Rng as _;
use rand::rngs::SmallRng;

/// Names a trace: 16 bytes, not all zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceId(pub [u8; 16]);

/// Names a span within a trace: 8 bytes, not all zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpanId(pub [u8; 8]);

/// Where an exchange stands in its trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace {
    /// The trace.
    pub id: TraceId,
    /// The span of whoever sent the request, if it sent a valid `traceparent`.
    pub parent: Option<SpanId>,
    /// The span of this hop: what the upstream sees as its parent.
    pub span: SpanId,
    /// The trace flags (bit 0: sampled).
    pub flags: u8,
}

impl Trace {
    /// Continues the trace of a `traceparent` that is there exactly once and valid; begins one otherwise.
    pub(crate) fn of<'a>(mut values: impl Iterator<Item = &'a [u8]>) -> Self {
        let only = values.next().filter(|_| values.next().is_none());
        match only.and_then(parse) {
            Some((id, parent, flags)) => Self { id, parent: Some(parent), span: SpanId::random(), flags },
            None => Self { id: TraceId::random(), parent: None, span: SpanId::random(), flags: 1 },
        }
    }

    /// The `traceparent` for the next hop, in version 00.
    pub(crate) fn text(&self) -> [u8; 55] {
        let mut text = [0u8; 55];
        text[..3].copy_from_slice(b"00-");
        hex_into(&self.id.0, &mut text[3..35]);
        text[35] = b'-';
        hex_into(&self.span.0, &mut text[36..52]);
        text[52] = b'-';
        hex_into(&[self.flags], &mut text[53..55]);
        text
    }
}

/// Reads `version-traceid-parentid-flags` (Trace Context §3.2). A version above 00 may have more fields
/// behind the flags; its known part is used as if it were 00. Of the flags only the two known bits stay.
fn parse(text: &[u8]) -> Option<(TraceId, SpanId, u8)> {
    let dashes = text.len() >= 55 && text[2] == b'-' && text[35] == b'-' && text[52] == b'-';
    if !dashes {
        return None;
    }
    let mut version = [0u8; 1];
    let mut trace = [0u8; 16];
    let mut span = [0u8; 8];
    let mut flags = [0u8; 1];
    unhex_into(&text[..2], &mut version)?;
    unhex_into(&text[3..35], &mut trace)?;
    unhex_into(&text[36..52], &mut span)?;
    unhex_into(&text[53..55], &mut flags)?;
    let ends_well = match version[0] {
        0 => text.len() == 55,
        0xff => false,
        _ => text.len() == 55 || text[55] == b'-',
    };
    let named = trace != [0; 16] && span != [0; 8];
    (ends_well && named).then_some((TraceId(trace), SpanId(span), flags[0] & 0b11))
}

thread_local! {
    static IDS: RefCell<SmallRng> = RefCell::new(rand::make_rng());
}

/// Bytes of an id, from a generator of the thread's own that the system has seeded. Nobody else has them, and that
/// is all that an id needs (Trace Context §7.2): it is no secret, and knowing one gives no right to anything.
pub(crate) fn draw<const BYTES: usize>() -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    IDS.with_borrow_mut(|ids| ids.fill_bytes(&mut bytes));
    bytes
}

pub(crate) fn hex_into(bytes: &[u8], text: &mut [u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (byte, pair) in bytes.iter().zip(text.chunks_exact_mut(2)) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
}

/// Lower-case digits only, as the standard asks.
fn unhex_into(text: &[u8], bytes: &mut [u8]) -> Option<()> {
    let digit = |c: u8| match c {
        b'0'..=b'9' => Some(c - b'0'),
        b'a'..=b'f' => Some(c - b'a' + 10),
        _ => None,
    };
    for (pair, byte) in text.chunks_exact(2).zip(bytes) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(())
}

macro_rules! shown_in_hex {
    ($name:ident, $digits:literal) => {
        impl $name {
            fn random() -> Self {
                loop {
                    let id = Self(draw());
                    if id.0.iter().any(|byte| *byte != 0) {
                        return id;
                    }
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut text = [0; $digits];
                hex_into(&self.0, &mut text);
                f.write_str(std::str::from_utf8(&text).unwrap_or_default())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

shown_in_hex!(TraceId, 32);
shown_in_hex!(SpanId, 16);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_valid_traceparent_is_continued_with_a_span_of_our_own() {
        let trace = Trace::of([GOOD.as_bytes()].into_iter());
        assert_eq!(trace.id.to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(trace.parent.unwrap().to_string(), "00f067aa0ba902b7");
        let next = trace.text();
        let next = std::str::from_utf8(&next).unwrap();
        assert!(next.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-") && next.ends_with("-01"));
        assert!(!next.contains("00f067aa0ba902b7"));
    }

    #[test]
    fn what_is_not_a_valid_traceparent_begins_a_trace() {
        let bad = [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01more",
        ];
        for text in bad {
            assert_eq!(Trace::of([text.as_bytes()].into_iter()).parent, None, "{text}");
        }
        assert_eq!(Trace::of([GOOD.as_bytes(), GOOD.as_bytes()].into_iter()).parent, None);
        let later = "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what";
        assert!(Trace::of([later.as_bytes()].into_iter()).parent.is_some());
    }

    proptest! {
        #[test]
        fn no_bytes_break_the_reader(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn what_one_hop_writes_the_next_one_reads(id in any::<[u8; 16]>(), span in any::<[u8; 8]>(), flags in 0u8..4) {
            prop_assume!(id != [0; 16] && span != [0; 8]);
            let trace = Trace { id: TraceId(id), parent: None, span: SpanId(span), flags };
            prop_assert_eq!(parse(&trace.text()), Some((TraceId(id), SpanId(span), flags)));
        }
    }
}
