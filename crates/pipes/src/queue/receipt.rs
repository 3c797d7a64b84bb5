//! Receipt handles: what a receiver deletes a message with.

use ring::hmac;

/// One delivery of one message. As text it carries a code that only this store can make, so that nobody can make one
/// up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Receipt {
    /// The number of the queue.
    pub shard: u32,
    /// Which message.
    pub sequence: u64,
    /// Which of its deliveries, the first is 1.
    pub receives: u32,
}

/// What the code of receipts is made with; kept in the store.
pub(crate) struct ReceiptKey(hmac::Key);

/// Bytes of the secret.
pub(crate) const SECRET_BYTES: usize = 32;
const PLAIN_BYTES: usize = 16;
const TEXT_BYTES: usize = PLAIN_BYTES + 32;

impl ReceiptKey {
    pub(crate) fn new(secret: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// As text: the receipt and its code, in base64url.
    pub(crate) fn seal(&self, receipt: &Receipt) -> String {
        let mut bytes = Vec::with_capacity(TEXT_BYTES);
        bytes.extend_from_slice(&receipt.shard.to_be_bytes());
        bytes.extend_from_slice(&receipt.sequence.to_be_bytes());
        bytes.extend_from_slice(&receipt.receives.to_be_bytes());
        let code = hmac::sign(&self.0, &bytes);
        bytes.extend_from_slice(code.as_ref());
        base64url(&bytes)
    }

    /// From text, if this key has made it.
    pub(crate) fn open(&self, text: &str) -> Option<Receipt> {
        let bytes = from_base64url(text).filter(|bytes| bytes.len() == TEXT_BYTES)?;
        let (plain, code) = bytes.split_at(PLAIN_BYTES);
        hmac::verify(&self.0, plain, code).ok()?;
        Some(Receipt {
            shard: u32::from_be_bytes(plain[..4].try_into().ok()?),
            sequence: u64::from_be_bytes(plain[4..12].try_into().ok()?),
            receives: u32::from_be_bytes(plain[12..].try_into().ok()?),
        })
    }
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Three bytes are four characters. Only for lengths that three divides: there is nothing to pad.
fn base64url(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() / 3 * 4);
    for three in bytes.chunks_exact(3) {
        let word = u32::from(three[0]) << 16 | u32::from(three[1]) << 8 | u32::from(three[2]);
        for shift in [18, 12, 6, 0] {
            text.push(char::from(ALPHABET[(word >> shift & 63) as usize]));
        }
    }
    text
}

fn from_base64url(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(4) || text.len() > 2 * TEXT_BYTES {
        return None;
    }
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    for four in text.as_bytes().chunks_exact(4) {
        let mut word = 0;
        for character in four {
            let digit = match character {
                b'A'..=b'Z' => character - b'A',
                b'a'..=b'z' => character - b'a' + 26,
                b'0'..=b'9' => character - b'0' + 52,
                b'-' => 62,
                b'_' => 63,
                _ => return None,
            };
            word = word << 6 | u32::from(digit);
        }
        bytes.extend_from_slice(&word.to_be_bytes()[1..]);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_receipt_is_read_as_it_was_told_and_nobody_can_make_one_up(
            shard in any::<u32>(), sequence in any::<u64>(), receives in any::<u32>(), at in 0usize..64, by in 1u8..64,
        ) {
            let key = ReceiptKey::new(b"a secret");
            let receipt = Receipt { shard, sequence, receives };
            let text = key.seal(&receipt);
            prop_assert_eq!(text.len(), 64);
            prop_assert_eq!(key.open(&text), Some(receipt));
            prop_assert_eq!(ReceiptKey::new(b"another").open(&text), None);
            let mut forged = text.into_bytes();
            let digit = ALPHABET.iter().position(|letter| *letter == forged[at]).unwrap();
            forged[at] = ALPHABET[(digit + usize::from(by)) % 64];
            prop_assert_eq!(key.open(std::str::from_utf8(&forged).unwrap()), None);
        }

        #[test]
        fn what_is_no_receipt_is_refused(text in ".{0,130}") {
            prop_assert_eq!(ReceiptKey::new(b"a secret").open(&text), None);
        }
    }
}
