//! How long things took, in a few hundred bytes: counts of durations by size, 32 sizes to each doubling, so that a
//! quantile is at most 1.6 % off.

use std::cmp::Ordering;

use crate::bytes::{Reader, put_varint};

/// Sizes to each doubling, as a power of two.
const FINE: u32 = 5;

/// Sizes there are: the doublings of a 64-bit number from the first that is told finely.
const SIZES: usize = ((64 - FINE as usize - 1) << FINE) + (1 << FINE);

/// How long things took. Sketches of parts add up to the sketch of the whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sketch {
    /// By size.
    counts: Vec<Counted>,
}

/// A size in the upper 16 bits, and how often it was counted in the others: there are hundreds of thousands of these, in every minute
/// of every pair of services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Counted(u64);

impl Counted {
    const COUNT: u64 = (1 << 48) - 1;

    fn new(size: u16, count: u64) -> Self {
        Self(u64::from(size) << 48 | count.min(Self::COUNT))
    }

    const fn size(self) -> u16 {
        (self.0 >> 48) as u16
    }

    const fn count(self) -> u64 {
        self.0 & Self::COUNT
    }

    fn and(self, count: u64) -> Self {
        Self::new(self.size(), self.count().saturating_add(count))
    }
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
        match self.counts.binary_search_by_key(&size, |one| one.size()) {
            Ok(at) => self.counts[at] = self.counts[at].and(count),
            Err(at) => self.counts.insert(at, Counted::new(size, count)),
        }
    }

    /// Adds what another has counted.
    pub fn merge(&mut self, other: &Self) {
        if self.counts.is_empty() {
            self.counts.clone_from(&other.counts);
            return;
        }
        if other.counts.len() < 4 {
            other.counts.iter().for_each(|one| self.add_size(one.size(), one.count()));
            return;
        }
        let mine = std::mem::take(&mut self.counts);
        let (mut mine, mut others) = (mine.into_iter().peekable(), other.counts.iter().copied().peekable());
        while let (Some(one), Some(two)) = (mine.peek().copied(), others.peek().copied()) {
            self.counts.push(match one.size().cmp(&two.size()) {
                Ordering::Less => one,
                Ordering::Greater => two,
                Ordering::Equal => one.and(two.count()),
            });
            mine.next_if(|one| one.size() <= two.size());
            others.next_if(|two| two.size() <= one.size());
        }
        self.counts.extend(mine);
        self.counts.extend(others);
    }

    /// How many durations it has counted.
    pub fn count(&self) -> u64 {
        self.counts.iter().fold(0, |sum, one| sum.saturating_add(one.count()))
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
        for one in &self.counts {
            seen = seen.saturating_add(one.count());
            if seen >= rank {
                return longest(one.size());
            }
        }
        0
    }

    /// For a heat map: the upper bound of each size that occurred, in nanoseconds, and how often.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64)> {
        self.counts.iter().map(|one| (longest(one.size()), one.count()))
    }

    pub(crate) fn memory(&self) -> usize {
        size_of::<Self>() + self.counts.capacity() * size_of::<Counted>()
    }

    pub(crate) fn write(&self, to: &mut Vec<u8>) {
        put_varint(to, self.counts.len() as u64);
        let mut last = 0;
        for one in &self.counts {
            put_varint(to, u64::from(one.size() - last));
            put_varint(to, one.count());
            last = one.size();
        }
    }

    pub(crate) fn read(from: &mut Reader<'_>) -> Option<Self> {
        let mut sketch = Self::default();
        let mut last = 0u16;
        for _ in 0..from.count()? {
            last = last.checked_add(u16::try_from(from.varint()?).ok()?)?;
            if usize::from(last) >= SIZES {
                return None;
            }
            sketch.add_size(last, from.varint()?);
        }
        Some(sketch)
    }
}

/// Adds up many sketches, in time that depends on what they have and not on how many there are.
pub(crate) struct Tally {
    /// By size.
    counts: Vec<u64>,
    /// The least size, and behind the largest.
    from: usize,
    until: usize,
}

impl Default for Tally {
    fn default() -> Self {
        Self { counts: vec![0; SIZES], from: SIZES, until: 0 }
    }
}

impl Tally {
    pub(crate) fn add(&mut self, sketch: &Sketch) {
        let (Some(first), Some(last)) = (sketch.counts.first(), sketch.counts.last()) else { return };
        self.from = self.from.min(usize::from(first.size()));
        self.until = self.until.max(usize::from(last.size()) + 1);
        for one in &sketch.counts {
            let count = &mut self.counts[usize::from(one.size())]; // no sketch has a size beyond `SIZES`
            *count = count.saturating_add(one.count());
        }
    }

    /// The sum of what was added since this was last asked.
    pub(crate) fn take(&mut self) -> Sketch {
        let mut sketch = Sketch::default();
        for size in self.from..self.until {
            let count = std::mem::take(&mut self.counts[size]);
            if let (1.., Ok(size)) = (count, u16::try_from(size)) {
                sketch.counts.push(Counted::new(size, count));
            }
        }
        (self.from, self.until) = (SIZES, 0);
        sketch
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
            let whole = of(&[one.clone(), two.clone()].concat());
            let mut sum = of(&one);
            sum.merge(&of(&two));
            prop_assert_eq!(&sum, &whole);
            let mut tally = Tally::default();
            for _ in 0..2 {
                tally.add(&of(&one));
                tally.add(&of(&two));
                prop_assert_eq!(&tally.take(), &whole);
            }
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
