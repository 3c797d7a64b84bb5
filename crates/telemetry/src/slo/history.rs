//! What was counted, by time: of the last hours by the minute, before that coarser.

use std::collections::BTreeMap;

/// What is older is kept by five minutes, and by the hour.
const BY_MINUTE: u64 = 3 * 60;
const BY_FIVE: u64 = 4 * 24 * 60;

/// Events, and those among them that were bad.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// All.
    pub total: u64,
    /// Those that were not as promised.
    pub bad: u64,
}

impl Counts {
    /// Adds others.
    pub fn add(&mut self, other: Self) {
        self.total = self.total.saturating_add(other.total);
        self.bad = self.bad.saturating_add(other.bad);
    }

    /// The share that was bad; 0 of nothing.
    #[expect(clippy::cast_precision_loss, reason = "a share")]
    pub fn bad_share(self) -> f64 {
        if self.total == 0 { 0.0 } else { self.bad as f64 / self.total as f64 }
    }
}

/// Counts by minutes since the Unix epoch. At most some three thousand entries, whatever the window: see [`Self::compact`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History(BTreeMap<u64, Counts>);

impl History {
    /// Nothing was counted.
    pub const NONE: Self = Self(BTreeMap::new());

    /// Adds what was counted in a minute.
    pub fn add(&mut self, minute: u64, counts: Counts) {
        self.0.entry(minute).or_default().add(counts);
    }

    /// What was counted in the last so many minutes, the one that runs included. What is kept coarser counts by its beginning.
    pub fn sum(&self, now_min: u64, length_min: u64) -> Counts {
        self.between((now_min + 1).saturating_sub(length_min), now_min + 1)
    }

    /// What was counted from one minute to before another.
    pub fn between(&self, from_min: u64, until_min: u64) -> Counts {
        let mut sum = Counts::default();
        if from_min < until_min {
            self.0.range(from_min..until_min).for_each(|(_, counts)| sum.add(*counts));
        }
        sum
    }

    /// Takes old entries together and leaves out what is older than the window.
    pub fn compact(&mut self, now_min: u64, window_min: u64) {
        let oldest = now_min.saturating_sub(window_min);
        let mut compacted = Self::default();
        for (minute, counts) in std::mem::take(&mut self.0) {
            let width = match now_min.saturating_sub(minute) {
                age if age <= BY_MINUTE => 1,
                age if age <= BY_FIVE => 5,
                _ => 60,
            };
            if minute >= oldest {
                compacted.add((minute - minute % width).max(oldest), counts);
            }
        }
        *self = compacted;
    }

    /// All entries: a minute, and what was counted from there on.
    pub fn entries(&self) -> impl Iterator<Item = (u64, Counts)> {
        self.0.iter().map(|(minute, counts)| (*minute, *counts))
    }
}
