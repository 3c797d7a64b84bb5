//! Patterns for texts: wildcards, and blocks of addresses.

use std::net::IpAddr;

/// A text with `*` for any characters, or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wildcard {
    /// What stands between the stars; one piece means that there is no star.
    pieces: Box<[Box<str>]>,
}

impl Wildcard {
    /// Reads a pattern: `\*` is a star and `\\` a backslash.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut piece = String::new();
        let mut star_before = false;
        let mut characters = text.char_indices();
        while let Some((at, character)) = characters.next() {
            match character {
                '*' if star_before => {
                    return Err(format!("Consecutive wildcard characters at pos {}", at - 1));
                }
                '*' => pieces.push(std::mem::take(&mut piece).into_boxed_str()),
                '\\' => match characters.next() {
                    Some((_, escaped @ ('*' | '\\'))) => piece.push(escaped),
                    _ => return Err(format!("Invalid escape character at pos {at}")),
                },
                other => piece.push(other),
            }
            star_before = character == '*';
        }
        pieces.push(piece.into_boxed_str());
        Ok(Self { pieces: pieces.into_boxed_slice() })
    }

    /// Whether a text has this form. Each piece is taken where it is found first: with nothing but stars between them
    /// no other place can be better.
    pub(crate) fn matches(&self, text: &str) -> bool {
        let [first, middle @ .., last] = &*self.pieces else {
            return self.pieces.first().is_some_and(|whole| **whole == *text);
        };
        let Some(mut rest) = text.strip_prefix(&**first) else { return false };
        for piece in middle {
            match rest.find(&**piece) {
                Some(at) => rest = &rest[at + piece.len()..],
                None => return false,
            }
        }
        rest.ends_with(&**last)
    }
}

/// A block of addresses: `10.0.0.0/24`, `2001:db8::/32`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cidr {
    network: u128,
    mask: u128,
    four: bool,
}

impl Cidr {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut parts = text.split('/');
        let (Some(address), Some(bits), None) = (parts.next(), parts.next(), parts.next()) else {
            return Err("Malformed CIDR, one '/' required".to_owned());
        };
        let bits: u32 =
            bits.parse().map_err(|_| "Malformed CIDR, mask bits must be an integer".to_owned())?;
        let (value, four) = number(address).ok_or_else(|| format!("Nonstandard IP address: {address}"))?;
        let width = if four { 32 } else { 128 };
        if bits > width {
            return Err(format!("Malformed CIDR, mask bits must be at most {width}"));
        }
        // Shifted by its whole width, a number would stay as it is.
        let mask = u128::MAX.checked_shl(width - bits).unwrap_or(0);
        Ok(Self { network: value & mask, mask, four })
    }

    pub(crate) fn contains(&self, text: &str) -> bool {
        number(text).is_some_and(|(value, four)| four == self.four && value & self.mask == self.network)
    }
}

fn number(address: &str) -> Option<(u128, bool)> {
    match address.parse().ok()? {
        IpAddr::V4(four) => Some((u128::from(u32::from(four)), true)),
        IpAddr::V6(six) => Some((u128::from(six), false)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars() {
        for (pattern, good, bad) in [
            ("abc", "abc", "abcd"),
            ("*", "", "-"),
            ("a*", "a", "ba"),
            ("*a", "ba", "ab"),
            ("a*b*c", "aXbYbZc", "aXcYb"),
            ("ab*ba", "abba", "aba"),
            ("\\*a\\\\*", "*a\\b", "aa\\b"),
        ] {
            let wildcard = Wildcard::parse(pattern).unwrap();
            assert!(wildcard.matches(good), "{pattern} {good}");
            assert!(bad == "-" || !wildcard.matches(bad), "{pattern} {bad}");
        }
        assert_eq!(Wildcard::parse("a**").unwrap_err(), "Consecutive wildcard characters at pos 1");
        assert!(Wildcard::parse("a\\b").is_err() && Wildcard::parse("\\").is_err());
        assert!(Wildcard::parse("*\\**").is_ok());
    }

    #[test]
    fn blocks() {
        let block = Cidr::parse("10.0.1.0/24").unwrap();
        assert!(block.contains("10.0.1.255") && !block.contains("10.0.2.0") && !block.contains("::a00:100"));
        assert!(Cidr::parse("0.0.0.0/0").unwrap().contains("255.1.2.3"));
        assert!(Cidr::parse("::/0").unwrap().contains("ff::1"));
        let six = Cidr::parse("2001:db8::/32").unwrap();
        assert!(six.contains("2001:db8:1::1") && !six.contains("2001:db9::1") && !six.contains("x"));
        for bad in ["10.0.0.0", "10.0.0.0/33", "10.0.0/8", "x/1", "1.2.3.4/a", "1.2.3.4/8/1"] {
            assert!(Cidr::parse(bad).is_err(), "{bad}");
        }
    }
}
