//! Bytes as text and back: hexadecimal, base 32 and base 64, as far as keys and signatures need them.

const HEX: &[u8; 16] = b"0123456789abcdef";
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const BASE64_URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// 32 bytes as 64 lower-case hexadecimal digits.
pub(crate) fn hex32(bytes: &[u8]) -> [u8; 64] {
    let mut text = [b'0'; 64];
    for (pair, byte) in text.chunks_exact_mut(2).zip(bytes) {
        pair[0] = HEX[usize::from(byte >> 4)];
        pair[1] = HEX[usize::from(byte & 15)];
    }
    text
}

/// The 32 bytes of 64 lower-case hexadecimal digits. Signers write no others.
pub(crate) fn from_hex32(text: &[u8]) -> Option<[u8; 32]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    if text.len() != 64 {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

/// The digit's value of a hexadecimal digit in either case.
pub(crate) fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// Appends a byte as `%XX`.
pub(crate) fn push_percent(out: &mut Vec<u8>, byte: u8) {
    const UPPER: &[u8; 16] = b"0123456789ABCDEF";
    out.extend_from_slice(&[b'%', UPPER[usize::from(byte >> 4)], UPPER[usize::from(byte & 15)]]);
}

/// Base 32 without padding: capital letters and the digits 2 to 7.
pub(crate) fn base32(bytes: &[u8]) -> String {
    digits(bytes, 5, BASE32)
}

/// Base 64 without padding.
pub(crate) fn base64(bytes: &[u8]) -> String {
    digits(bytes, 6, BASE64)
}

/// Base 64 without padding, of characters that need no escape in a URL.
pub(crate) fn base64_url(bytes: &[u8]) -> String {
    digits(bytes, 6, BASE64_URL)
}

/// The bytes that [`base64_url`] has made this text of; `None` for every other text.
pub(crate) fn from_base64_url(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    let (mut held, mut bits) = (0_u32, 0);
    for byte in text.bytes() {
        let digit = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'-' => 62,
            b'_' => 63,
            _ => return None,
        };
        held = held << 6 | u32::from(digit);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((held >> bits & 0xff) as u8);
            held &= (1 << bits) - 1;
        }
    }
    // Only one text per bytes: no digit too many, no bits that say nothing.
    (bits < 6 && held == 0).then_some(bytes)
}

fn digits(bytes: &[u8], width: u32, alphabet: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 8 / width as usize + 1);
    let (mut held, mut bits) = (0_u32, 0);
    let mask = (1 << width) - 1;
    let mut push = |value: u32| text.push(char::from(alphabet[(value & mask) as usize]));
    for byte in bytes {
        held = held << 8 | u32::from(*byte);
        bits += 8;
        while bits >= width {
            bits -= width;
            push(held >> bits);
        }
    }
    if bits > 0 {
        push(held << (width - bits));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_rfc_4648_and_others_say() {
        assert_eq!(base64(b"fooba"), "Zm9vYmE");
        assert_eq!(base32(b"foob"), "MZXW6YQ");
        assert_eq!(base64_url(&[0xfb, 0xff]), "-_8");
        assert_eq!(&hex32(&[0xab; 32])[..4], b"abab");
        assert_eq!(from_hex32(&[b'A'; 64]), None);
        for bad in ["A", "AB", "Zm9vYmF", "a b", "Zm8="] {
            assert_eq!(from_base64_url(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn text_is_read_back(bytes in proptest::collection::vec(any::<u8>(), 0..80), whole in any::<[u8; 32]>()) {
            prop_assert_eq!(from_base64_url(&base64_url(&bytes)), Some(bytes));
            prop_assert_eq!(from_hex32(&hex32(&whole)), Some(whole));
        }

        #[test]
        fn one_text_per_bytes(text in "[A-Za-z0-9_-]{0,20}") {
            if let Some(bytes) = from_base64_url(&text) {
                prop_assert_eq!(base64_url(&bytes), text);
            }
        }
    }
}
