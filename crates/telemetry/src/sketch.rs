//! How long things took, in a few hundred bytes: counts of durations by size, 32 sizes to each doubling, so that a
//! quantile is at most 1.6 % off.

use crate::bytes::{Reader, put_varint};

/// Sizes to each doubling, as a power of two.
const FINE: u32 = 5;

/// How long things took. Sketches of parts add up to the sketch of the whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sketch {
    /// Size and count, by size.
    counts: Vec<(u16, u64)>,
}

/// The size that a duration counts as.
fn size(ns: u64) -> u16 {
    let ns = ns.max(1 << FINE);
    let doublings = ns.ilog2() - FINE;
    #[expect(clippy::cast_possible_truncation, reason = "at most 59 doublings of 32 sizes, and 5 bits")]
    let size = (doublings << FINE) as u16 + ((ns >> doublings) as u16 & ((1 << FINE) - 1));
    size
}

/// The longest duration that counts as this size.
fn longest(size: u16) -> u64 {
    let doublings = u32::from(size >> FINE).min(63 - FINE);
    let within = u64::from(size & ((1 << FINE) - 1));
    let next = u128::from((1 << FINE) + within + 1) << doublings;
    u64::try_from(next - 1).unwrap_or(u64::MAX)
}

impl Sketch {
    /// Counts a duration.
    pub fn add(&mut self, ns: u64) {
        self.add_size(size(ns), 1);
    }

    fn add_size(&mut self, size: u16, count: u64) {
        match self.counts.binary_search_by_key(&size, |(size, _)| *size) {
            Ok(at) => self.counts[at].1 = self.counts[at].1.saturating_add(count),
            Err(at) => self.counts.insert(at, (size, count)),
        }
    }

    /// Adds what another has counted.
    pub fn merge(&mut self, other: &Self) {
        if self.counts.is_empty() {
            self.counts.clone_from(&other.counts);
            return;
        }
        if other.counts.len() < 4 {
            other.counts.iter().for_each(|(size, count)| self.add_size(*size, *count));
            return;
        }
        let mine = std::mem::take(&mut self.counts);
        let (mut mine, mut others) = (mine.into_iter().peekable(), other.counts.iter().copied().peekable());
        while let (Some((one, _)), Some((two, _))) = (mine.peek(), others.peek()) {
            let (one, two) = (*one, *two);
            let from_mine = if one <= two { mine.next() } else { None };
            let from_others = if two <= one { others.next() } else { None };
            let count = from_mine
                .map_or(0, |(_, count)| count)
                .saturating_add(from_others.map_or(0, |(_, count)| count));
            self.counts.push((one.min(two), count));
        }
        self.counts.extend(mine);
        self.counts.extend(others);
    }

    /// How many durations it has counted.
    pub fn count(&self) -> u64 {
        self.counts.iter().fold(0, |sum, (_, count)| sum.saturating_add(*count))
    }

    /// How long the share `q` (0 to 1) took at most, in nanoseconds; 0 if nothing was counted.
    pub fn quantile(&self, q: f64) -> u64 {
        let count = self.count();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a rank"
        )]
        let rank = ((q.clamp(0.0, 1.0) * count as f64).ceil() as u64).max(1);
        let mut seen = 0u64;
        for (size, count) in &self.counts {
            seen = seen.saturating_add(*count);
            if seen >= rank {
                return longest(*size);
            }
        }
        0
    }

    /// For a heat map: the upper bound of each size that occurred, in nanoseconds, and how often.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64)> {
        self.counts.iter().map(|(size, count)| (longest(*size), *count))
    }

    pub(crate) fn memory(&self) -> usize {
        size_of::<Self>() + self.counts.capacity() * size_of::<(u16, u64)>()
    }

    pub(crate) fn write(&self, to: &mut Vec<u8>) {
        put_varint(to, self.counts.len() as u64);
        let mut last = 0;
        for (size, count) in &self.counts {
            put_varint(to, u64::from(size - last));
            put_varint(to, *count);
            last = *size;
        }
    }

    pub(crate) fn read(from: &mut Reader<'_>) -> Option<Self> {
        let mut sketch = Self::default();
        let mut last = 0u16;
        for _ in 0..from.count()? {
            last = last.checked_add(u16::try_from(from.varint()?).ok()?)?;
            sketch.add_size(last, from.varint()?);
        }
        Some(sketch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_size_holds_what_counts_as_it(ns in any::<u64>()) {
            let size = super::size(ns);
            prop_assert!(longest(size) >= ns);
            prop_assert!(size == 0 || longest(size - 1) < ns);
            prop_assert!(longest(size) - ns <= ns.max(32) / 32 + 1);
        }

        #[test]
        fn a_quantile_is_near_the_exact_one(mut all in prop::collection::vec(1_000u64..1 << 40, 1..300), q in 0.0f64..1.0) {
            let mut sketch = Sketch::default();
            all.iter().for_each(|ns| sketch.add(*ns));
            all.sort_unstable();
            let rank = ((q * all.len() as f64).ceil() as usize).max(1) - 1;
            let exact = all[rank];
            let told = sketch.quantile(q);
            prop_assert!(told >= exact && told - exact <= exact / 32 + 1, "{told} for {exact}");
        }

        #[test]
        fn sketches_of_parts_add_up(one in prop::collection::vec(any::<u64>(), 0..60), two in prop::collection::vec(any::<u64>(), 0..60)) {
            let of = |all: &[u64]| {
                let mut sketch = Sketch::default();
                all.iter().for_each(|ns| sketch.add(*ns));
                sketch
            };
            let mut sum = of(&one);
            sum.merge(&of(&two));
            prop_assert_eq!(sum, of(&[one, two].concat()));
        }

        #[test]
        fn a_sketch_is_read_as_it_was_written(all in prop::collection::vec(any::<u64>(), 0..100)) {
            let mut sketch = Sketch::default();
            all.iter().for_each(|ns| sketch.add(*ns));
            let mut bytes = Vec::new();
            sketch.write(&mut bytes);
            prop_assert_eq!(Sketch::read(&mut Reader::new(&bytes)), Some(sketch));
        }
    }
}
