//! Trace context, in the forms in which it travels: the header `traceparent` (W3C Trace Context) and X-Ray's trace header.
//! A trace is continued or begun, and whoever takes part in it has a span of its own.

use std::cell::RefCell;
use std::fmt;
use std::str::FromStr;

use rand::Rng as _;
use rand::rngs::SmallRng;

/// Names a trace: 16 bytes, not all zero.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TraceId(pub [u8; 16]);

/// Names a span within a trace: 8 bytes, not all zero.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpanId(pub [u8; 8]);

/// What was given for an id is none: hexadecimal digits, twice as many as it has bytes, not all of them zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an id of a trace has 32 hexadecimal digits, one of a span 16, and not all of them are 0")]
pub struct BadId;

/// Where something stands in its trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace {
    /// The trace.
    pub id: TraceId,
    /// The span of whoever caused this, if that is known.
    pub parent: Option<SpanId>,
    /// The span of this: what comes next sees it as its parent.
    pub span: SpanId,
    /// The trace flags (bit 0: sampled).
    pub flags: u8,
}

impl Trace {
    /// Begins a trace.
    pub fn begin() -> Self {
        Self { id: TraceId::random(), parent: None, span: SpanId::random(), flags: 1 }
    }

    /// Continues the trace of what came, if it said any; begins one otherwise.
    pub fn after(came: Option<&Context>) -> Self {
        match came {
            Some(Context { id, span, flags }) => {
                Self { id: *id, parent: *span, span: SpanId::random(), flags: *flags }
            }
            None => Self::begin(),
        }
    }

    /// Continues the trace of a `traceparent` that is there exactly once and valid; begins one otherwise.
    #[inline]
    pub fn of<'a>(mut values: impl Iterator<Item = &'a [u8]>) -> Self {
        let only = values.next().filter(|_| values.next().is_none());
        Self::after(only.and_then(Context::w3c).as_ref())
    }

    /// What whoever comes next is told.
    pub fn context(&self) -> Context {
        Context { id: self.id, span: Some(self.span), flags: self.flags }
    }

    /// The `traceparent` for whoever comes next, in version 00.
    #[inline]
    pub fn text(&self) -> [u8; 55] {
        traceparent(self.id, self.span, self.flags)
    }
}

/// What one who takes part in a trace tells the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    /// The trace.
    pub id: TraceId,
    /// The span that comes before. X-Ray's header need not name one.
    pub span: Option<SpanId>,
    /// The trace flags (bit 0: sampled).
    pub flags: u8,
}

impl Context {
    /// Reads either form.
    pub fn parse(text: &str) -> Option<Self> {
        Self::w3c(text.as_bytes()).or_else(|| Self::xray(text))
    }

    /// Reads `version-traceid-parentid-flags` (Trace Context §3.2). A version above 00 may have more fields
    /// behind the flags; its known part is used as if it were 00. Of the flags only the two known bits stay.
    pub fn w3c(text: &[u8]) -> Option<Self> {
        let dashes = text.len() >= 55 && text[2] == b'-' && text[35] == b'-' && text[52] == b'-';
        if !dashes {
            return None;
        }
        let [version] = unhex(&text[..2])?;
        let (trace, span) = (unhex(&text[3..35])?, unhex(&text[36..52])?);
        let [flags] = unhex(&text[53..55])?;
        let ends_well = match version {
            0 => text.len() == 55,
            0xff => false,
            _ => text.len() == 55 || text[55] == b'-',
        };
        let named = trace != [0; 16] && span != [0; 8];
        (ends_well && named).then_some(Self {
            id: TraceId(trace),
            span: Some(SpanId(span)),
            flags: flags & 0b11,
        })
    }

    /// Reads `Root=1-SECONDS-REST;Parent=SPAN;Sampled=1`: fields in any order, those that are not known passed over.
    /// Without `Sampled`, or with `?`, nobody has decided: it is taken as sampled.
    pub fn xray(text: &str) -> Option<Self> {
        let (mut id, mut span, mut flags) = (None, None, 1);
        for field in text.split(';') {
            match field.trim().split_once('=')? {
                ("Root", root) => {
                    let (seconds, rest) = root.strip_prefix("1-")?.split_once('-')?;
                    let (seconds, rest) = (unhex::<4>(seconds.as_bytes())?, unhex::<12>(rest.as_bytes())?);
                    let mut bytes = [0; 16];
                    bytes[..4].copy_from_slice(&seconds);
                    bytes[4..].copy_from_slice(&rest);
                    id = Some(bytes).filter(|bytes| *bytes != [0; 16]);
                }
                ("Parent", parent) => span = Some(unhex(parent.as_bytes()).filter(|span| *span != [0; 8])?),
                ("Sampled", "0") => flags = 0,
                _ => {}
            }
        }
        Some(Self { id: TraceId(id?), span: span.map(SpanId), flags })
    }

    /// As `traceparent`, if it names a span.
    pub fn to_w3c(&self) -> Option<String> {
        let text = traceparent(self.id, self.span?, self.flags);
        Some(text.iter().map(|byte| char::from(*byte)).collect())
    }

    /// As X-Ray's header.
    pub fn to_xray(&self) -> String {
        let mut id = [0; 32];
        hex_into(&self.id.0, &mut id);
        let id = std::str::from_utf8(&id).unwrap_or_default();
        let (seconds, rest) = id.split_at(8.min(id.len()));
        let parent = self.span.map(|span| format!(";Parent={span}")).unwrap_or_default();
        format!("Root=1-{seconds}-{rest}{parent};Sampled={}", self.flags & 1)
    }
}

fn traceparent(id: TraceId, span: SpanId, flags: u8) -> [u8; 55] {
    let mut text = [0u8; 55];
    text[..3].copy_from_slice(b"00-");
    hex_into(&id.0, &mut text[3..35]);
    text[35] = b'-';
    hex_into(&span.0, &mut text[36..52]);
    text[52] = b'-';
    hex_into(&[flags], &mut text[53..55]);
    text
}

thread_local! {
    static IDS: RefCell<SmallRng> = RefCell::new(rand::make_rng());
}

/// Bytes of an id, from a generator of the thread's own that the system has seeded. Nobody else has them, and that
/// is all that an id needs (Trace Context §7.2): it is no secret, and knowing one gives no right to anything.
pub fn draw<const BYTES: usize>() -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    IDS.with_borrow_mut(|ids| ids.fill_bytes(&mut bytes));
    bytes
}

/// Writes bytes as digits, as far as there is room for both of each.
#[inline]
pub fn hex_into(bytes: &[u8], text: &mut [u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (byte, pair) in bytes.iter().zip(text.chunks_exact_mut(2)) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
}

/// Lower-case digits only, as the standard asks, and as many as there are.
fn unhex<const BYTES: usize>(text: &[u8]) -> Option<[u8; BYTES]> {
    if text.len() != 2 * BYTES {
        return None;
    }
    let digit = |c: u8| match c {
        b'0'..=b'9' => Some(c - b'0'),
        b'a'..=b'f' => Some(c - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; BYTES];
    for (pair, byte) in text.chunks_exact(2).zip(&mut bytes) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

macro_rules! shown_in_hex {
    ($name:ident, $digits:literal) => {
        impl $name {
            /// The id in these bytes; none if they are too many or too few, or all zero.
            pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
                <[u8; $digits / 2]>::try_from(bytes)
                    .ok()
                    .filter(|id| id.iter().any(|byte| *byte != 0))
                    .map(Self)
            }

            /// One that nobody else has.
            pub fn random() -> Self {
                loop {
                    let id = Self(draw());
                    if id.0.iter().any(|byte| *byte != 0) {
                        return id;
                    }
                }
            }
        }

        impl FromStr for $name {
            type Err = BadId;

            /// In digits of any case: not everybody writes them as headers want them.
            fn from_str(text: &str) -> Result<Self, BadId> {
                let bytes = unhex::<{ $digits / 2 }>(text.to_ascii_lowercase().as_bytes());
                bytes.and_then(|bytes| Self::from_bytes(&bytes)).ok_or(BadId)
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
    fn an_id_is_read_as_it_is_written() {
        let text = "4bf92f3577b34da6a3ce929d0e0e4736";
        assert_eq!(text.parse::<TraceId>().unwrap().to_string(), text);
        assert_eq!(text.to_uppercase().parse::<TraceId>().unwrap().to_string(), text);
        assert_eq!("00f067aa0ba902b7".parse::<SpanId>().unwrap().to_string(), "00f067aa0ba902b7");
        for bad in ["", "0", "00000000000000000000000000000000", "4bf92f3577b34da6a3ce929d0e0e473", "zz"] {
            assert_eq!(bad.parse::<TraceId>(), Err(BadId), "{bad}");
        }
        assert_eq!("0000000000000000".parse::<SpanId>(), Err(BadId));
    }

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

    #[test]
    fn an_xray_header_says_the_same() {
        let said = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";
        let context = Context::xray(said).unwrap();
        assert_eq!(
            context.to_w3c().as_deref(),
            Some("00-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8-01")
        );
        assert_eq!(context.to_xray(), said);
        let other = "Sampled=0; Lineage=a:0; Root=1-5759e988-bd862e3fe1be46a994272793";
        let context = Context::xray(other).unwrap();
        assert_eq!((context.span, context.flags), (None, 0));
        assert_eq!(Trace::after(Some(&context)).id, context.id);
        for bad in [
            "",
            "Root=",
            "Parent=53995c3f42cd8ad8",
            "Root=1-5759e988-bd862e3fe1be46a99427279",
            "Root=2-5759e988-bd862e3fe1be46a994272793",
            "Root=1-00000000-000000000000000000000000",
            "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=1",
            "Root=1-5759e988-bd862e3fe1be46a994272793;?",
        ] {
            assert_eq!(Context::xray(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_break_the_reader(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = Context::w3c(&bytes);
            let _ = Context::xray(&String::from_utf8_lossy(&bytes));
        }

        #[test]
        fn what_one_hop_writes_the_next_one_reads(id in any::<[u8; 16]>(), span in any::<[u8; 8]>(), flags in 0u8..4) {
            prop_assume!(id != [0; 16] && span != [0; 8]);
            let trace = Trace { id: TraceId(id), parent: None, span: SpanId(span), flags };
            prop_assert_eq!(Context::w3c(&trace.text()), Some(trace.context()));
            let (w3c, xray) = (trace.context().to_w3c().unwrap(), trace.context().to_xray());
            prop_assert_eq!(Context::parse(&w3c), Some(trace.context()));
            prop_assert_eq!(Context::parse(&xray), Some(Context { flags: flags & 1, ..trace.context() }));
        }
    }
}
