//! One thing that somebody wrote down.

use std::fmt;
use std::str::FromStr;

use super::value::size_of_attributes;
use super::{Attributes, SpanId, Text, TraceId};

/// One thing that somebody wrote down.
#[derive(Clone, Debug, PartialEq)]
pub struct LogRecord {
    /// When, in nanoseconds since the Unix epoch; 0 where nobody said: then the time of its arrival is put in.
    pub time_ns: u64,
    /// Whose it is.
    pub service: Text,
    /// Whose exactly: `catalog-2`; empty where that is not known.
    pub instance: Text,
    /// How much it matters.
    pub severity: Severity,
    /// What it says.
    pub body: Text,
    /// Its fields.
    pub attributes: Attributes,
    /// The trace it belongs to.
    pub trace: Option<TraceId>,
    /// The span it belongs to.
    pub span: Option<SpanId>,
}

/// How much a log record matters, as OpenTelemetry groups it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// 1 to 4.
    Trace,
    /// 5 to 8.
    Debug,
    /// 9 to 12, and where nothing was said.
    #[default]
    Info,
    /// 13 to 16.
    Warn,
    /// 17 to 20.
    Error,
    /// 21 to 24.
    Fatal,
}

impl Severity {
    /// All of them, the least first.
    pub const ALL: [Self; 6] = [Self::Trace, Self::Debug, Self::Info, Self::Warn, Self::Error, Self::Fatal];

    /// From OpenTelemetry's number.
    pub const fn from_number(number: i64) -> Self {
        match number {
            1..=4 => Self::Trace,
            5..=8 => Self::Debug,
            13..=16 => Self::Warn,
            17..=20 => Self::Error,
            21.. => Self::Fatal,
            _ => Self::Info,
        }
    }

    /// From the words that logging libraries use for it, in any case.
    pub fn from_word(word: &str) -> Option<Self> {
        const WORDS: [(&str, Severity); 19] = [
            ("trace", Severity::Trace),
            ("trc", Severity::Trace),
            ("verbose", Severity::Trace),
            ("debug", Severity::Debug),
            ("dbg", Severity::Debug),
            ("info", Severity::Info),
            ("inf", Severity::Info),
            ("information", Severity::Info),
            ("notice", Severity::Info),
            ("warn", Severity::Warn),
            ("wrn", Severity::Warn),
            ("warning", Severity::Warn),
            ("error", Severity::Error),
            ("err", Severity::Error),
            ("severe", Severity::Error),
            ("fatal", Severity::Fatal),
            ("critical", Severity::Fatal),
            ("panic", Severity::Fatal),
            ("emergency", Severity::Fatal),
        ];
        WORDS.iter().find(|(known, _)| known.eq_ignore_ascii_case(word)).map(|(_, severity)| *severity)
    }

    /// Its name: `trace` to `fatal`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
            Self::Fatal => "fatal",
        }
    }
}

impl LogRecord {
    /// About how many bytes it takes in memory.
    pub fn size(&self) -> usize {
        size_of::<Self>() + self.body.len() + size_of_attributes(&self.attributes)
    }
}

/// The place of a record among all records, by time: what comes before it is older.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cursor {
    /// The time of the record.
    pub(crate) time_ns: u64,
    /// Its number among records of the same time.
    pub(crate) number: u64,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{:x}", self.time_ns, self.number)
    }
}

/// What was given as the place of a record is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the place of a record is two hexadecimal numbers with a dash between them, as an earlier answer gave it"
)]
pub struct BadCursor;

impl FromStr for Cursor {
    type Err = BadCursor;
    fn from_str(text: &str) -> Result<Self, BadCursor> {
        let (time, number) = text.split_once('-').ok_or(BadCursor)?;
        let hex = |digits: &str| u64::from_str_radix(digits, 16).map_err(|_| BadCursor);
        Ok(Self { time_ns: hex(time)?, number: hex(number)? })
    }
}

/// A record that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct LogHit {
    /// Its place among all records.
    pub cursor: Cursor,
    /// The record.
    pub record: LogRecord,
}
