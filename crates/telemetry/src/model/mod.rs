//! What telemetry is about: [`Span`], [`LogRecord`], [`MetricPoint`], [`ErrorEvent`], made of [`Text`] and [`Value`].
//!
//! Times are nanoseconds since the Unix epoch, ids are bytes. Nothing here knows how a thing arrived or is kept.

mod error;
mod log;
mod metric;
mod span;
mod text;
mod value;

pub use error::{ErrorEvent, ErrorGroup, ErrorState, Frame, GroupId, TakenError};
pub use log::{BadCursor, Cursor, LogHit, LogRecord, Severity};
pub use metric::{Buckets, ExponentialBuckets, Histogram, MetricKind, MetricPoint, MetricValue};
pub use span::{Link, Span, SpanEvent, SpanKind, Status};
pub use text::Text;
pub use value::{Attributes, Value};

use std::fmt;
use std::str::FromStr;

/// Names a trace: 16 bytes, written as 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct TraceId(pub [u8; 16]);

/// Names a span within its trace: 8 bytes, written as 16 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct SpanId(pub [u8; 8]);

/// What was given for an id is none: hexadecimal digits, twice as many as it has bytes, not all of them zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an id of a trace has 32 hexadecimal digits, one of a span 16, and not all of them are 0")]
pub struct BadId;

impl TraceId {
    /// The id in these bytes; none if there are not 16 or all are zero.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        <[u8; 16]>::try_from(bytes).ok().filter(|id| *id != [0; 16]).map(Self)
    }
}

impl SpanId {
    /// The id in these bytes; none if there are not 8 or all are zero.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        <[u8; 8]>::try_from(bytes).ok().filter(|id| *id != [0; 8]).map(Self)
    }
}

impl FromStr for TraceId {
    type Err = BadId;
    fn from_str(text: &str) -> Result<Self, BadId> {
        unhex(text).and_then(|bytes| Self::from_bytes(&bytes)).ok_or(BadId)
    }
}

impl FromStr for SpanId {
    type Err = BadId;
    fn from_str(text: &str) -> Result<Self, BadId> {
        unhex(text).and_then(|bytes| Self::from_bytes(&bytes)).ok_or(BadId)
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The bytes of hexadecimal digits; none if anything else is among them or their count is odd.
pub(crate) fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || text.len() > 64 {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    text.as_bytes().chunks_exact(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_it_is_written() {
        let text = "4bf92f3577b34da6a3ce929d0e0e4736";
        assert_eq!(text.parse::<TraceId>().unwrap().to_string(), text);
        assert_eq!("00f067aa0ba902b7".parse::<SpanId>().unwrap().to_string(), "00f067aa0ba902b7");
    }

    #[test]
    fn what_is_no_id_is_refused() {
        for bad in ["", "0", "00000000000000000000000000000000", "4bf92f3577b34da6a3ce929d0e0e473", "zz"] {
            assert_eq!(bad.parse::<TraceId>(), Err(BadId), "{bad}");
        }
        assert_eq!("0000000000000000".parse::<SpanId>(), Err(BadId));
    }
}
