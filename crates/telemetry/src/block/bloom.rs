//! Whether a key can be in a block: a Bloom filter whose bits of one key lie in one line of 64 bytes.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::model::TraceId;

/// Bits for each key: about one block in a hundred is read in vain.
const BITS_OF_A_KEY: usize = 10;
/// Bits that a key sets.
const PROBES: u32 = 6;
const LINE: usize = 64;
const MOST_LINES: usize = 1_024;

/// The key of a trace.
pub(crate) fn of_trace(trace: TraceId) -> u64 {
    xxh3_64_with_seed(&trace.0, 1)
}

/// The key of an attribute, as a start for [`of_attribute`].
pub(crate) fn of_name(name: &str) -> u64 {
    xxh3_64_with_seed(name.as_bytes(), 2)
}

/// The key of an attribute with a value as text.
pub(crate) fn of_attribute(name: u64, value: &str) -> u64 {
    xxh3_64_with_seed(value.as_bytes(), name)
}

/// The key of a group of errors.
pub(crate) fn of_group(group: u64) -> u64 {
    xxh3_64(&group.to_le_bytes())
}

/// A hash that is one already.
#[derive(Default)]
pub(crate) struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxh3_64(bytes);
    }
    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}

/// The keys of a block in the making.
#[derive(Default)]
pub(crate) struct Keys {
    wanted: bool,
    keys: HashSet<u64, BuildHasherDefault<AsItIs>>,
}

impl Keys {
    pub(crate) fn start(&mut self, wanted: bool) {
        self.wanted = wanted;
        self.keys.clear();
    }

    /// Whether anybody wants them: what is written down for the next second only has none.
    pub(crate) const fn wanted(&self) -> bool {
        self.wanted
    }

    pub(crate) fn add(&mut self, key: u64) {
        if self.wanted {
            self.keys.insert(key);
        }
    }

    pub(crate) fn finish(&mut self) -> Arc<[u8]> {
        if self.keys.is_empty() {
            return Arc::new([]);
        }
        let lines = (self.keys.len() * BITS_OF_A_KEY).div_ceil(LINE * 8).clamp(1, MOST_LINES);
        let mut bits = vec![0u8; lines * LINE];
        for key in &self.keys {
            for at in places(*key, lines) {
                bits[at / 8] |= 1 << (at % 8);
            }
        }
        bits.into()
    }
}

/// The bits of a key.
fn places(key: u64, lines: usize) -> impl Iterator<Item = usize> {
    let key = key.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    #[expect(clippy::cast_possible_truncation, reason = "less than the number of lines")]
    let line = ((u128::from(key) * lines as u128) >> 64) as usize;
    let mut rest = key.rotate_left(32) ^ (key >> 7);
    (0..PROBES).map(move |_| {
        let bit = (rest & 511) as usize;
        rest >>= 9;
        line * LINE * 8 + bit
    })
}

/// Whether all of these keys can be in a block with this filter. A block without one has no keys.
pub(crate) fn may_have(bloom: &[u8], keys: &[u64]) -> bool {
    let lines = bloom.len() / LINE;
    keys.iter().all(|key| lines > 0 && places(*key, lines).all(|at| bloom[at / 8] & 1 << (at % 8) != 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_is_found_and_little_else() {
        let mut keys = Keys::default();
        keys.start(true);
        let key = |n: u64| xxh3_64(&n.to_le_bytes());
        (0..5_000).for_each(|n| keys.add(key(n)));
        let bloom = keys.finish();
        assert!((0..5_000).all(|n| may_have(&bloom, &[key(n)])));
        let wrong = (5_000..105_000).filter(|n| may_have(&bloom, &[key(*n)])).count();
        assert!(wrong < 3_000, "{wrong} of 100,000");
        assert!(!may_have(&[], &[1]) && may_have(&[], &[]));
    }
}
