//! The moment that a request was signed at, as it is written and as it is signed.

use jiff::civil::DateTime;
use jiff::fmt::rfc2822::DateTimeParser;
use jiff::tz::Offset;
use kit::Timestamp;

/// Letters of a moment in the basic format of ISO 8601: `20150830T123600Z`.
pub(super) const LENGTH: usize = 16;

static HTTP_DATE: DateTimeParser = DateTimeParser::new().relaxed_weekday(true);

/// A moment in whole seconds, with its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SignedAt {
    /// The moment.
    pub moment: Timestamp,
    text: [u8; LENGTH],
}

impl SignedAt {
    /// Reads `20150830T123600Z`.
    pub(super) fn parse_basic(text: &[u8]) -> Option<Self> {
        let text: [u8; LENGTH] = text.try_into().ok()?;
        if text[8] != b'T' || text[15] != b'Z' {
            return None;
        }
        let number = |from: usize, to: usize| {
            text[from..to].iter().try_fold(0_i16, |value, byte| {
                byte.is_ascii_digit().then(|| value * 10 + i16::from(byte - b'0'))
            })
        };
        let small = |from: usize| i8::try_from(number(from, from + 2)?).ok();
        let civil =
            DateTime::new(number(0, 4)?, small(4)?, small(6)?, small(9)?, small(11)?, small(13)?, 0).ok()?;
        let seconds = Offset::UTC.to_timestamp(civil).ok()?.as_second();
        let micros = u64::try_from(seconds).ok()?.checked_mul(1_000_000)?;
        Some(Self { moment: Timestamp::from_micros(micros), text })
    }

    /// Reads a `Date` header: as HTTP has it (`Sun, 30 Aug 2015 12:36:00 GMT`), or in the basic format. What day
    /// of the week it says it was does not matter.
    pub(super) fn parse_date_header(text: &[u8]) -> Option<Self> {
        if let Some(moment) = Self::parse_basic(text) {
            return Some(moment);
        }
        let text = std::str::from_utf8(text).ok()?;
        let seconds = HTTP_DATE.parse_timestamp(text).ok()?.as_second();
        Self::parse_basic(&basic(seconds)?)
    }

    /// The moment in the basic format.
    pub(super) fn as_bytes(&self) -> &[u8; LENGTH] {
        &self.text
    }

    /// The day: `20150830`.
    pub(super) fn day(&self) -> [u8; 8] {
        let mut day = [0; 8];
        day.copy_from_slice(&self.text[..8]);
        day
    }
}

/// A moment in the basic format, for messages.
pub(super) fn show(moment: Timestamp) -> String {
    let seconds = i64::try_from(moment.as_micros() / 1_000_000).unwrap_or(i64::MAX);
    basic(seconds).map_or_else(String::new, |text| String::from_utf8_lossy(&text).into_owned())
}

fn basic(seconds: i64) -> Option<[u8; LENGTH]> {
    let civil = Offset::UTC.to_datetime(jiff::Timestamp::from_second(seconds).ok()?);
    let text = format!(
        "{:04}{:02}{:02}T{:02}{:02}{:02}Z",
        civil.year(),
        civil.month(),
        civil.day(),
        civil.hour(),
        civil.minute(),
        civil.second()
    );
    text.into_bytes().try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_as_they_are_written() {
        let basic = SignedAt::parse_basic(b"20150830T123600Z").unwrap();
        assert_eq!(basic.moment, Timestamp::from_micros(1_440_938_160_000_000));
        assert_eq!(basic.day(), *b"20150830");
        assert_eq!(show(basic.moment), "20150830T123600Z");
        assert_eq!(SignedAt::parse_date_header(b"Sun, 30 Aug 2015 12:36:00 GMT"), Some(basic));
        assert_eq!(SignedAt::parse_date_header(b"20150830T123600Z"), Some(basic));
        for bad in [
            "",
            "20150830T123600",
            "20151330T123600Z",
            "20150230T123600Z",
            "2015083xT123600Z",
            "19691231T235959Z",
        ] {
            assert_eq!(SignedAt::parse_basic(bad.as_bytes()), None, "{bad}");
        }
    }
}
