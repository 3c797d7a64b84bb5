//! One record: a line of a log file.

use kit::Timestamp;

/// Bytes of text in one record at most; a longer line goes on in the next record.
pub const MAX_LINE: usize = 16 * 1024;

/// Bytes of a whole record at most, its line feed included.
pub(crate) const MAX_RECORD: usize = STAMP + 3 + MAX_LINE + 1;

/// Bytes of `2026-01-02T03:04:05.678901Z`.
const STAMP: usize = 27;

/// Where a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
    /// A remark of Atoll's own.
    Atoll,
}

impl Stream {
    /// The letter of the stream in a record.
    pub const fn letter(self) -> u8 {
        match self {
            Self::Out => b'o',
            Self::Err => b'e',
            Self::Atoll => b'a',
        }
    }

    fn of_letter(letter: u8) -> Option<Self> {
        match letter {
            b'o' => Some(Self::Out),
            b'e' => Some(Self::Err),
            b'a' => Some(Self::Atoll),
            _ => None,
        }
    }
}

/// One line that an instance wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// When Atoll read it.
    pub at: Timestamp,
    /// Which instance: [`manifest::spec::InstanceId::name`].
    pub instance: String,
    /// Where it came from.
    pub stream: Stream,
    /// The text without its line feed; bytes that are not UTF-8 are replaced.
    pub text: String,
    /// Whether the line was longer than [`MAX_LINE`] and goes on in the next record of this stream.
    pub continues: bool,
}

/// Appends one record. `text` has no line feed and at most [`MAX_LINE`] bytes.
pub(crate) fn write_record(out: &mut Vec<u8>, at: Timestamp, stream: Stream, continues: bool, text: &[u8]) {
    write_stamp(out, at);
    let letter = stream.letter();
    out.extend_from_slice(&[b' ', if continues { letter.to_ascii_uppercase() } else { letter }, b' ']);
    out.extend_from_slice(text);
    out.push(b'\n');
}

/// Reads one record, given without its line feed. Text that is no record (somebody else wrote into the
/// file) is kept whole, as output at `before`.
pub(crate) fn read_record(line: &[u8], instance: &str, before: Timestamp) -> LogLine {
    if let Some((at, letter, text)) = parts(line)
        && let Some(stream) = Stream::of_letter(letter.to_ascii_lowercase())
    {
        let text = String::from_utf8_lossy(text).into_owned();
        return LogLine {
            at,
            instance: instance.to_owned(),
            stream,
            text,
            continues: letter.is_ascii_uppercase(),
        };
    }
    LogLine {
        at: before,
        instance: instance.to_owned(),
        stream: Stream::Out,
        text: String::from_utf8_lossy(line).into_owned(),
        continues: false,
    }
}

/// When a record was written, if it is one.
pub(crate) fn stamp_of(line: &[u8]) -> Option<Timestamp> {
    parts(line).map(|(at, ..)| at)
}

fn parts(line: &[u8]) -> Option<(Timestamp, u8, &[u8])> {
    let at = read_stamp(line.get(..STAMP)?)?;
    match line.get(STAMP..STAMP + 3)? {
        [b' ', letter, b' '] => Some((at, *letter, &line[STAMP + 3..])),
        _ => None,
    }
}

/// Writes RFC 3339 in UTC with microseconds. The calendar is H. Hinnant's `civil_from_days`, good for every
/// year that four digits can write.
fn write_stamp(out: &mut Vec<u8>, at: Timestamp) {
    let micros = at.as_micros();
    let seconds = micros / 1_000_000;
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    let z = days + 719_468;
    let (era, day_of_era) = (z / 146_097, z % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    digits(out, year, 4);
    for (sign, value) in
        [(b'-', month), (b'-', day), (b'T', of_day / 3600), (b':', of_day / 60 % 60), (b':', of_day % 60)]
    {
        out.push(sign);
        digits(out, value, 2);
    }
    out.push(b'.');
    digits(out, micros % 1_000_000, 6);
    out.push(b'Z');
}

/// The last `width` digits (six at most), with zeros before a shorter number.
fn digits(out: &mut Vec<u8>, value: u64, width: usize) {
    let mut text = [b'0'; 6];
    let mut rest = value as u32; // no more than six digits are asked for
    for digit in text.iter_mut().rev().take(width) {
        *digit += (rest % 10) as u8;
        rest /= 10;
    }
    out.extend_from_slice(&text[text.len() - width.min(text.len())..]);
}

fn read_stamp(text: &[u8]) -> Option<Timestamp> {
    let signs = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':'), (19, b'.'), (26, b'Z')];
    if signs.iter().any(|&(place, sign)| text.get(place) != Some(&sign)) {
        return None;
    }
    let number = |from: usize, to: usize| {
        text[from..to]
            .iter()
            .try_fold(0u64, |sum, b| b.is_ascii_digit().then(|| sum * 10 + u64::from(b - b'0')))
    };
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || year < 1970 {
        return None;
    }
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year / 400, year % 400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = (era * 146_097 + day_of_era).checked_sub(719_468)?;
    let seconds = days * 86_400 + hour * 3600 + minute * 60 + second;
    Some(Timestamp::from_micros(seconds * 1_000_000 + number(20, 26)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_stamp_is_what_the_calendar_says_and_reads_back(micros in 0u64..253_402_300_800_000_000) {
            let at = Timestamp::from_micros(micros);
            let mut text = Vec::new();
            write_stamp(&mut text, at);
            prop_assert_eq!(String::from_utf8(text.clone()).unwrap(), at.to_string());
            prop_assert_eq!(read_stamp(&text), Some(at));
        }

        #[test]
        fn any_text_reads_back_as_written(
            text in "[^\n]{0,200}", continues: bool, letter in 0usize..3, micros in 0u64..1_000_000_000_000_000,
        ) {
            let stream = [Stream::Out, Stream::Err, Stream::Atoll][letter];
            let at = Timestamp::from_micros(micros);
            let mut record = Vec::new();
            write_record(&mut record, at, stream, continues, text.as_bytes());
            let line = read_record(&record[..record.len() - 1], "a-1", Timestamp::from_micros(0));
            prop_assert_eq!(line, LogLine { at, instance: "a-1".into(), stream, text, continues });
        }

        #[test]
        fn no_bytes_make_reading_fail(bytes: Vec<u8>) {
            read_record(&bytes, "a-1", Timestamp::from_micros(0));
        }
    }

    #[test]
    fn a_line_that_somebody_else_wrote_is_kept_whole() {
        let before = Timestamp::from_micros(7);
        let line = read_record(b"hello \xff", "a-1", before);
        assert_eq!((line.at, line.text.as_str()), (before, "hello \u{fffd}"));
    }
}
