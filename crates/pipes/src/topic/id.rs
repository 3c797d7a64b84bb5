//! Identities that are given out: random, and written as UUIDs.

use std::fmt;
use std::str::FromStr;

use rand::RngExt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub(crate) u128);

        impl $name {
            /// A new one.
            pub(crate) fn random() -> Self {
                let bits: u128 = rand::rng().random();
                // Version 4, variant 1: what UUIDs drawn at random say of themselves.
                Self(bits & !(0xf000 << 64) & !(0xc000 << 48) | (0x4000 << 64) | (0x8000 << 48))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let hex = format!("{:032x}", self.0);
                write!(f, "{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
            }
        }

        impl FromStr for $name {
            type Err = BadId;

            fn from_str(text: &str) -> Result<Self, BadId> {
                let dashes = [8, 13, 18, 23];
                let good = text.len() == 36
                    && text.bytes().enumerate().all(|(at, byte)| match byte {
                        b'-' => dashes.contains(&at),
                        byte => byte.is_ascii_hexdigit() && !dashes.contains(&at),
                    });
                let number = u128::from_str_radix(&text.replace('-', ""), 16);
                number.ok().filter(|_| good).map(Self).ok_or(BadId($what))
            }
        }
    };
}

id!(
    /// A subscription.
    SubscriptionId, "subscription"
);
id!(
    /// A message that was published.
    MessageId, "message"
);

/// A text that is no such identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no identity of a {0}")]
pub struct BadId(&'static str);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_a_uuid_of_version_4() {
        for _ in 0..100 {
            let id = SubscriptionId::random();
            let text = id.to_string();
            assert_eq!(text.parse(), Ok(id));
            assert_eq!(text.as_bytes()[14], b'4', "{text}");
            assert!(b"89ab".contains(&text.as_bytes()[19]), "{text}");
        }
        for bad in ["", "x", "0123456789abcdef0123456789abcdef0123", "01234567-89ab-cdef-0123-456789abcde-"] {
            assert!(bad.parse::<SubscriptionId>().is_err(), "{bad}");
        }
        assert!("é1234567-89ab-cdef-0123-456789abcde".parse::<MessageId>().is_err());
    }
}
