//! Numbers, times and names as people read them, and text that stands in addresses. Pure.

use std::time::Duration;

use kit::Timestamp;

/// A duration in microseconds: `840 µs`, `12.3 ms`, `1.24 s`, `3m 12s`.
pub(crate) fn micros(us: u64) -> String {
    match us {
        0..=999 => format!("{us} µs"),
        1_000..=9_999 => format!("{:.2} ms", us as f64 / 1e3),
        10_000..=99_999 => format!("{:.1} ms", us as f64 / 1e3),
        100_000..=999_999 => format!("{} ms", us / 1_000),
        1_000_000..=59_999_999 => format!("{:.2} s", us as f64 / 1e6),
        _ => span(Duration::from_micros(us)),
    }
}

/// A longer one, in two parts at most: `7 s`, `3m 12s`, `2d 4h`.
pub(crate) fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..=59 => format!("{seconds} s"),
        60..=3_599 => format!("{}m {}s", seconds / 60, seconds % 60),
        3_600..=86_399 => format!("{}h {}m", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{}d {}h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

/// How long ago, whole seconds.
pub(crate) fn ago(at: Timestamp, now: Timestamp) -> String {
    span(now.since(at))
}

/// `512 B`, `3.4 KB`, `12 MB`.
pub(crate) fn bytes(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut unit = "B";
    for next in ["KB", "MB", "GB", "TB"] {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    if unit == "B" {
        format!("{bytes} B")
    } else if value < 10.0 {
        format!("{value:.1} {unit}")
    } else {
        format!("{value:.0} {unit}")
    }
}

/// A count with its thousands apart: `12,345`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number with about three digits: `0.25`, `12.3`, `1,234`, `12.3k`, `4.5M`.
pub(crate) fn number(value: f64) -> String {
    let size = value.abs();
    if !value.is_finite() {
        return "–".to_owned();
    }
    let (scaled, unit) = if size >= 1e9 {
        (value / 1e9, "G")
    } else if size >= 1e6 {
        (value / 1e6, "M")
    } else if size >= 1e4 {
        (value / 1e3, "k")
    } else {
        (value, "")
    };
    let text = match scaled.abs() {
        s if s >= 100.0 => format!("{scaled:.0}"),
        s if s >= 10.0 => trim(format!("{scaled:.1}")),
        s if s == 0.0 || s >= 0.01 => trim(format!("{scaled:.2}")),
        _ => trim(format!("{scaled:.4}")),
    };
    format!("{text}{unit}")
}

fn trim(text: String) -> String {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// A part of a whole: `12.5 %`; of nothing: `–`.
pub(crate) fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "–".to_owned();
    }
    let share = part as f64 * 100.0 / whole as f64;
    if part > 0 && share < 0.1 { "< 0.1 %".to_owned() } else { format!("{} %", number(share)) }
}

/// `1 service`, `3 services`.
pub(crate) fn several(count: u64, one: &str) -> String {
    let many = match one.strip_suffix('y') {
        _ if count == 1 => return format!("1 {one}"),
        Some(stem) => format!("{stem}ies"),
        None => format!("{one}s"),
    };
    format!("{} {many}", self::count(count))
}

/// A moment as machines write it, in UTC with milliseconds.
pub(crate) fn iso(at: Timestamp) -> String {
    moment(at, "%Y-%m-%dT%H:%M:%S%.3fZ")
}

/// The time of day in UTC; the script of the page turns it into local time.
pub(crate) fn of_day(at: Timestamp) -> String {
    moment(at, "%H:%M:%S")
}

/// Date and time of day in UTC.
pub(crate) fn of_date(at: Timestamp) -> String {
    moment(at, "%Y-%m-%d %H:%M:%S")
}

/// Hours and minutes in UTC, for axes.
pub(crate) fn of_minute(at: Timestamp) -> String {
    moment(at, "%H:%M")
}

/// Day and month in UTC, for axes that show days.
pub(crate) fn of_month(at: Timestamp) -> String {
    moment(at, "%-d %b")
}

fn moment(at: Timestamp, format: &str) -> String {
    let micros = i64::try_from(at.as_micros()).unwrap_or(i64::MAX);
    match jiff::Timestamp::from_microsecond(micros) {
        Ok(moment) => moment.strftime(format).to_string(),
        Err(_) => at.as_micros().to_string(),
    }
}

/// At most so many characters; what is longer ends with `…`. What no reader can see, and what turns around how the rest reads,
/// has a sign in its place.
pub(crate) fn clip(text: &str, most: usize) -> String {
    let seen = |c: char| if is_unseen(c) { '\u{fffd}' } else { c };
    match text.char_indices().nth(most) {
        None => text.chars().map(seen).collect(),
        Some(_) => text.chars().take(most.saturating_sub(1)).map(seen).chain(['…']).collect(),
    }
}

/// Control characters, and those that change the direction of text.
fn is_unseen(c: char) -> bool {
    (c.is_control() && c != '\n' && c != '\t')
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A command to be pasted: a terminal acts upon control characters before any shell has seen the quotes around them.
pub(crate) fn pasted(text: &str) -> String {
    text.chars().filter(|c| !is_unseen(*c) && *c != '\n').collect()
}

/// Bytes of a text that stand in an address at most: what is longer names nothing that there is.
const MOST_ENCODED: usize = 2_048;

/// Text as it may stand in a path or a query.
pub(crate) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len().min(MOST_ENCODED));
    for byte in text.bytes().take(MOST_ENCODED) {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push('%');
            for half in [byte >> 4, byte & 15] {
                encoded.push(char::from(b"0123456789ABCDEF"[usize::from(half)]));
            }
        }
    }
    encoded
}

/// A word of a shell, in quotes where it needs any.
pub(crate) fn shell(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@,+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_seen_is_not_hidden_and_never_pasted() {
        assert_eq!(clip("a\x1b[31mb\u{202e}\u{61c}c\td", 20), "a\u{fffd}[31mb\u{fffd}\u{fffd}c\td");
        assert_eq!(clip(&"x".repeat(30), 5), "xxxx…");
        assert_eq!(pasted("curl 'a\x1b[201~\x03\nrm b'"), "curl 'a[201~rm b'");
    }

    #[test]
    fn numbers_are_short_and_say_their_unit() {
        for (us, text) in [(7, "7 µs"), (1_234, "1.23 ms"), (45_678, "45.7 ms"), (2_500_000, "2.50 s")] {
            assert_eq!(micros(us), text);
        }
        for (size, text) in [(12, "12 B"), (3_500, "3.4 KB"), (12 << 20, "12 MB")] {
            assert_eq!(bytes(size), text);
        }
        for (value, text) in [(0.0, "0"), (0.25, "0.25"), (12.0, "12"), (12_345.0, "12.3k"), (f64::NAN, "–")]
        {
            assert_eq!(number(value), text);
        }
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(
            [several(1, "query"), several(2, "query"), several(0, "service")],
            ["1 query", "2 queries", "0 services"]
        );
        assert_eq!(percent(1, 100_000), "< 0.1 %");
    }

    #[test]
    fn a_moment_is_written_in_utc() {
        let at = Timestamp::from_micros(1_700_000_000_123_000);
        assert_eq!(iso(at), "2023-11-14T22:13:20.123Z");
        assert_eq!(of_day(at), "22:13:20");
    }

    #[test]
    fn text_is_cut_between_characters_and_quoted_where_it_goes() {
        assert_eq!(clip("grüße", 4), "grü…");
        assert_eq!(clip("kurz", 4), "kurz");
        assert_eq!(encode("a b/ü?&"), "a%20b%2F%C3%BC%3F%26");
        assert_eq!(shell("it's $HOME"), r"'it'\''s $HOME'");
        assert_eq!(shell("GET"), "GET");
    }
}
