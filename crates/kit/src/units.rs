//! Durations, sizes and shares as people write them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Why a text is not a quantity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {expected}")]
pub struct BadUnit {
    /// What was written.
    pub text: String,
    /// What would be right, with an example.
    pub expected: &'static str,
}

/// Parses a duration as Compose and Go write it: `1h30m`, `1.5s`, `250ms`, `10us`; also weeks-free days
/// `1d`, and a bare `0`.
pub fn parse_duration(text: &str) -> Result<Duration, BadUnit> {
    let bad = || BadUnit { text: text.to_owned(), expected: "a duration such as `1m30s` or `250ms`" };
    let trimmed = text.trim();
    if trimmed == "0" {
        return Ok(Duration::ZERO);
    }
    let mut rest = trimmed;
    let mut seconds = 0f64;
    if rest.is_empty() {
        return Err(bad());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(bad)?;
        let amount: f64 = rest[..digits].parse().map_err(|_| bad())?;
        rest = &rest[digits..];
        let unit_len = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let scale = match &rest[..unit_len] {
            "d" => 86_400.0,
            "h" => 3_600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return Err(bad()),
        };
        seconds += amount * scale;
        rest = &rest[unit_len..];
    }
    // Rounded to a nanosecond so that `0.1s` and `100ms` are equal.
    let nanos = (seconds * 1e9).round();
    if !nanos.is_finite() || nanos > u64::MAX as f64 {
        return Err(bad());
    }
    Ok(Duration::from_nanos(nanos as u64))
}

/// Writes a duration so that [`parse_duration`] reads the same one back: `1m30s`, `250ms`.
pub fn format_duration(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    if nanos == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    let mut rest = nanos;
    for (unit, size) in [
        ("h", 3_600_000_000_000),
        ("m", 60_000_000_000),
        ("s", 1_000_000_000),
        ("ms", 1_000_000),
        ("us", 1_000),
        ("ns", 1),
    ] {
        if rest >= size {
            text.push_str(&format!("{}{unit}", rest / size));
            rest %= size;
        }
    }
    text
}

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes(pub u64);

impl FromStr for Bytes {
    type Err = BadUnit;

    /// Parses `64`, `512k`, `256m`, `1g`, `1.5gb`, `300KiB`: powers of 1024, as Compose has them.
    fn from_str(text: &str) -> Result<Self, BadUnit> {
        let bad = || BadUnit { text: text.to_owned(), expected: "a size such as `64m`, `1.5g` or `4096`" };
        let trimmed = text.trim();
        let digits = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(trimmed.len());
        let amount: f64 = trimmed[..digits].parse().map_err(|_| bad())?;
        let scale: u64 = match trimmed[digits..].trim().to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "k" | "kb" | "kib" => 1 << 10,
            "m" | "mb" | "mib" => 1 << 20,
            "g" | "gb" | "gib" => 1 << 30,
            "t" | "tb" | "tib" => 1 << 40,
            _ => return Err(bad()),
        };
        let bytes = amount * scale as f64;
        if !bytes.is_finite() || bytes > u64::MAX as f64 {
            return Err(bad());
        }
        Ok(Self(bytes as u64))
    }
}

impl fmt::Display for Bytes {
    /// At most three digits and a unit: `12.5 MiB`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut value = self.0 as f64;
        for unit in ["B", "KiB", "MiB", "GiB"] {
            if value < 1024.0 {
                return if unit == "B" || value >= 100.0 {
                    write!(f, "{value:.0} {unit}")
                } else {
                    write!(f, "{value:.1} {unit}")
                };
            }
            value /= 1024.0;
        }
        write!(f, "{value:.1} TiB")
    }
}

/// A share of a whole, from nothing to all of it, in millionths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Share(u32);

impl Share {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// All.
    pub const ALL: Self = Self(1_000_000);

    /// So many hundredths, at most all.
    pub const fn percent(hundredths: u32) -> Self {
        if hundredths >= 100 { Self::ALL } else { Self(hundredths * 10_000) }
    }

    /// In millionths.
    pub const fn millionths(self) -> u32 {
        self.0
    }

    /// As a number from 0 to 1.
    pub fn fraction(self) -> f64 {
        f64::from(self.0) / 1e6
    }

    /// Whether `part` of `whole` is at least this share; never for an empty whole.
    pub fn is_reached(self, part: u64, whole: u64) -> bool {
        whole > 0 && u128::from(part) * 1_000_000 >= u128::from(whole) * u128::from(self.0)
    }
}

impl FromStr for Share {
    type Err = BadUnit;

    /// Parses `25%`, `0.5%`, and a bare number from 0 to 1.
    fn from_str(text: &str) -> Result<Self, BadUnit> {
        let bad = || BadUnit { text: text.to_owned(), expected: "a share such as `25%` or `0.25`" };
        let trimmed = text.trim();
        let (number, whole) = match trimmed.strip_suffix('%') {
            Some(number) => (number.trim_end(), 100.0),
            None => (trimmed, 1.0),
        };
        let plain = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        let amount: f64 = number.parse().ok().filter(|_| plain).ok_or_else(bad)?;
        let millionths = (amount / whole * 1e6).round();
        if !(0.0..=1e6).contains(&millionths) {
            return Err(bad());
        }
        Ok(Self(millionths as u32))
    }
}

impl fmt::Display for Share {
    /// In hundredths, as few digits as are needed: `25%`, `0.5%`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", f64::from(self.0) / 10_000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_are_read_as_compose_writes_them() {
        for (text, millis) in [("1m30s", 90_000), ("250ms", 250), ("1.5s", 1500), ("1h", 3_600_000), ("0", 0)]
        {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "10", "s", "1x", "1s2", "-1s", "1e9h", "999999999999h"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_powers_of_1024() {
        assert_eq!("1.5g".parse(), Ok(Bytes(1_610_612_736)));
        assert_eq!("64kb".parse(), Ok(Bytes(65_536)));
        assert!("64q".parse::<Bytes>().is_err());
        assert_eq!(Bytes(12 * 1024 * 1024 + 512 * 1024).to_string(), "12.5 MiB");
    }

    #[test]
    fn shares_are_hundredths_or_a_fraction() {
        for (text, millionths) in
            [("25%", 250_000), ("0.5%", 5_000), ("0.25", 250_000), ("1", 1_000_000), ("0", 0)]
        {
            assert_eq!(text.parse::<Share>().map(Share::millionths), Ok(millionths), "{text}");
        }
        for text in ["", "%", "101%", "1.5", "-1%", "ten", "nan", "inf", "1e1%"] {
            assert!(text.parse::<Share>().is_err(), "{text}");
        }
        assert_eq!(Share::percent(50).to_string(), "50%");
        assert_eq!("0.5%".parse::<Share>().unwrap().to_string(), "0.5%");
        assert!(Share::percent(50).is_reached(10, 20) && !Share::percent(50).is_reached(9, 20));
        assert!(!Share::NONE.is_reached(0, 0));
    }

    proptest! {
        #[test]
        fn a_written_duration_reads_back_equal(micros in 0u64..1_000_000_000_000) {
            let duration = Duration::from_micros(micros);
            prop_assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
        }

        #[test]
        fn a_written_share_reads_back_equal(millionths in 0u32..=1_000_000) {
            let share = Share(millionths);
            prop_assert_eq!(share.to_string().parse(), Ok(share));
        }
    }
}
