//! base64url without padding (RFC 4648 §5, RFC 7515 §2), one way only to write the same bytes: a token that
//! can be respelled is a second name for the same permission.

/// 6-bit value of each byte; 64 for those outside the alphabet.
const VALUES: [u8; 256] = {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut values = [64; 256];
    let mut index = 0;
    while index < alphabet.len() {
        values[alphabet[index] as usize] = index as u8;
        index += 1;
    }
    values
};

/// The bytes that `text` stands for. `None` for padding, white space, other alphabets, impossible lengths, and
/// bits set where nothing follows.
pub(crate) fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 2);
    for group in text.chunks(4) {
        let mut bits = 0_u32;
        for byte in group {
            let value = VALUES[usize::from(*byte)];
            if value == 64 {
                return None;
            }
            bits = bits << 6 | u32::from(value);
        }
        match group.len() {
            4 => bytes.extend([(bits >> 16) as u8, (bits >> 8) as u8, bits as u8]),
            3 if bits & 0b11 == 0 => bytes.extend([(bits >> 10) as u8, (bits >> 2) as u8]),
            2 if bits & 0b1111 == 0 => bytes.push((bits >> 4) as u8),
            _ => return None,
        }
    }
    Some(bytes)
}

#[cfg(test)]
pub(crate) fn encode(bytes: &[u8]) -> String {
    let mut text = String::new();
    let letter = |value: u32| {
        let at = VALUES.iter().position(|have| u32::from(*have) == value & 63).unwrap();
        char::from(at as u8)
    };
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        text.extend((0..=group.len()).map(|at| letter(bits >> (18 - 6 * at))));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_example_of_rfc_7515_appendix_c_is_read() {
        assert_eq!(decode(b"A-z_4ME"), Some(vec![3, 236, 255, 224, 193]));
        assert_eq!(decode(b""), Some(Vec::new()));
    }

    #[test]
    fn there_is_one_way_only_to_write_a_byte() {
        assert_eq!(decode(b"AA"), Some(vec![0]));
        for other in ["AB", "AA=", "AA==", " AA", "AA\n", "A", "AAB", "A+", "A/", "AAAAA", "A\u{e4}"] {
            assert_eq!(decode(other.as_bytes()), None, "{other:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(bytes: Vec<u8>) {
            prop_assert_eq!(decode(encode(&bytes).as_bytes()), Some(bytes));
        }

        #[test]
        fn whatever_is_read_would_be_written_the_same_way(text in "[A-Za-z0-9_=+/-]{0,12}") {
            if let Some(bytes) = decode(text.as_bytes()) {
                prop_assert_eq!(encode(&bytes), text);
            }
        }
    }
}
