//! A short name for a token, by which the cache knows it again without keeping it.
//!
//! Two tokens of one name would be one permission, so the hash must be safe against whoever chooses tokens; it
//! must also cost less than reading the token's JSON. NH does both (Black et al., UMAC, CRYPTO '99): with a
//! key nobody knows, two different texts of one length collide with probability 2^-64 per pass, whatever they
//! are; two passes with the key shifted (the Toeplitz construction of the same paper) make it 2^-128. The
//! names are never shown, so nobody learns anything about the key.

use std::sync::LazyLock;

use rand::RngExt;

use super::token::MAX_TOKEN;

/// Two words of the key are eaten by 16 bytes, and the second pass is two words ahead.
const WORDS: usize = MAX_TOKEN.div_ceil(16) * 2 + 2;

/// Random in each process.
static KEY: LazyLock<Box<[u64; WORDS]>> = LazyLock::new(|| {
    let mut key = Box::new([0; WORDS]);
    rand::rng().fill(key.as_mut_slice());
    key
});

/// The name of one token in this process. Equal only for equal tokens, but for a chance of 2^-128.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint {
    sums: [u64; 4],
    length: u32,
}

impl Fingerprint {
    /// Names a token. Only the first [`MAX_TOKEN`] bytes count: longer ones are refused before.
    pub(crate) fn of(token: &[u8]) -> Self {
        Self::with(&KEY, token)
    }

    fn with(key: &[u64; WORDS], token: &[u8]) -> Self {
        let (mut first, mut second) = (0_u128, 0_u128);
        let (blocks, rest) = token.as_chunks::<16>();
        let keys = key.windows(4).step_by(2);
        for (block, key) in blocks.iter().zip(keys.clone()) {
            let (low, high) = halves(block);
            first = first.wrapping_add(product(low, high, key[0], key[1]));
            second = second.wrapping_add(product(low, high, key[2], key[3]));
        }
        if let (false, Some(key)) = (rest.is_empty(), keys.clone().nth(blocks.len())) {
            let mut block = [0; 16]; // the length tells zeros from nothing
            block[..rest.len()].copy_from_slice(rest);
            let (low, high) = halves(&block);
            first = first.wrapping_add(product(low, high, key[0], key[1]));
            second = second.wrapping_add(product(low, high, key[2], key[3]));
        }
        let sums = [first as u64, (first >> 64) as u64, second as u64, (second >> 64) as u64];
        Self { sums, length: token.len() as u32 }
    }

    /// A well-mixed word, for finding a place.
    pub(crate) fn mixed(&self) -> u64 {
        let [a, b, c, d] = self.sums;
        let word = (a ^ b.rotate_left(32)).wrapping_add(c ^ d.rotate_left(17));
        let product = u128::from(word) * 0x9e37_79b9_7f4a_7c15_u128;
        (product >> 64) as u64 ^ product as u64
    }
}

fn halves(block: &[u8; 16]) -> (u64, u64) {
    let word = u128::from_le_bytes(*block);
    (word as u64, (word >> 64) as u64)
}

fn product(low: u64, high: u64, key_low: u64, key_high: u64) -> u128 {
    u128::from(low.wrapping_add(key_low)) * u128::from(high.wrapping_add(key_high))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    #[test]
    fn every_change_of_a_byte_changes_the_name() {
        for length in [1, 15, 16, 17, 300, MAX_TOKEN] {
            let token = vec![b'a'; length];
            let name = Fingerprint::of(&token);
            for at in [0, length / 2, length - 1] {
                let mut other = token.clone();
                other[at] ^= 1;
                assert_ne!(Fingerprint::of(&other), name, "{length} {at}");
            }
        }
    }

    #[test]
    fn zeros_at_the_end_are_not_nothing() {
        let names = [&b"ab"[..], b"ab\0", b"ab\0\0", b"", b"\0"].map(Fingerprint::of);
        assert!(names.iter().enumerate().all(|(at, name)| !names[..at].contains(name)));
    }

    #[test]
    fn the_sum_is_the_one_of_the_paper() {
        let mut key = [0; WORDS];
        key[..6].copy_from_slice(&[1, 2, 3, u64::MAX, 5, 6]);
        let token: Vec<u8> = [10_u64, 20, 30, 40].iter().flat_map(|word| word.to_le_bytes()).collect();
        let first: u128 = 11 * 22 + 33 * 39; // 40 + (2^64 - 1) wraps to 39
        let second: u128 = 13 * 19 + 35 * 46;
        assert_eq!(
            Fingerprint::with(&key, &token),
            Fingerprint { sums: [first as u64, 0, second as u64, 0], length: 32 }
        );
    }

    #[test]
    fn places_are_spread() {
        let places: HashSet<u64> =
            (0..512).map(|n| Fingerprint::of(format!("token {n}").as_bytes()).mixed() % 512).collect();
        assert!(places.len() > 250, "{} of 512", places.len()); // 324 are expected
    }

    proptest! {
        #[test]
        fn equal_tokens_have_equal_names_and_others_do_not(a: Vec<u8>, b: Vec<u8>) {
            prop_assert_eq!(Fingerprint::of(&a) == Fingerprint::of(&b), a == b);
        }
    }
}
