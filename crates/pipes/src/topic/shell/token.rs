//! Tokens of confirmation: only whoever was asked knows them, and nothing has to be kept to know them again.

use std::time::Duration;

use kit::Timestamp;
use ring::hmac;

use crate::topic::id::SubscriptionId;

/// For how long a token is good, and an unconfirmed subscription kept.
pub(super) const GOOD_FOR: Duration = Duration::from_secs(2 * 24 * 3600);

/// What tokens are made with.
pub(super) struct Secret(hmac::Key);

/// What a token says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Of(SubscriptionId),
    Expired,
}

impl Secret {
    pub(super) fn new(bytes: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, bytes))
    }

    /// `time 8, subscription 16, code 32`, in hexadecimal digits.
    pub(super) fn token(&self, of: SubscriptionId, at: Timestamp) -> String {
        let mut bytes = at.as_micros().to_be_bytes().to_vec();
        bytes.extend_from_slice(&of.0.to_be_bytes());
        let code = hmac::sign(&self.0, &bytes);
        bytes.extend_from_slice(code.as_ref());
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// `None`: it was not made here.
    pub(super) fn read(&self, token: &str, now: Timestamp) -> Option<Token> {
        let digits = token.as_bytes();
        if digits.len() != 112 || !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        let bytes: Vec<u8> = digits
            .chunks(2)
            .map(|pair| {
                pair.iter().fold(0, |byte, digit| {
                    byte << 4
                        | u8::try_from(char::from(*digit).to_digit(16).unwrap_or_default())
                            .unwrap_or_default()
                })
            })
            .collect();
        let (said, code) = bytes.split_at(24);
        hmac::verify(&self.0, said, code).ok()?;
        let made_at = Timestamp::from_micros(u64::from_be_bytes(said[..8].try_into().ok()?));
        if now.since(made_at) > GOOD_FOR {
            return Some(Token::Expired);
        }
        Some(Token::Of(SubscriptionId(u128::from_be_bytes(said[8..].try_into().ok()?))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_made_here_is_read_and_only_for_two_days() {
        let secret = Secret::new(b"one");
        let id = SubscriptionId(7);
        let now = Timestamp::from_micros(1_000_000);
        let token = secret.token(id, now);
        assert_eq!(secret.read(&token, now), Some(Token::Of(id)));
        assert_eq!(secret.read(&token, now + GOOD_FOR), Some(Token::Of(id)));
        assert_eq!(secret.read(&token, now + GOOD_FOR + Duration::from_secs(1)), Some(Token::Expired));
        assert_eq!(Secret::new(b"two").read(&token, now), None);
        for at in 0..token.len() {
            let mut other = token.clone().into_bytes();
            other[at] = if other[at] == b'0' { b'1' } else { b'0' };
            assert_eq!(secret.read(std::str::from_utf8(&other).unwrap(), now), None);
        }
        assert_eq!(secret.read("é", now), None);
    }
}
