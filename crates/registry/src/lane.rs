//! Checks that wait for their moment, and how many may be under way at once.

use std::collections::BTreeSet;

use kit::Timestamp;

/// Names one registration; never used twice, so that what belongs to an earlier one is told apart.
pub(crate) type Serial = u64;

/// A queue by time with a bounded number of places.
#[derive(Debug)]
pub(crate) struct Lane {
    waiting: BTreeSet<(Timestamp, Serial)>,
    free: usize,
}

impl Lane {
    /// A lane in which `places` checks may be under way.
    pub(crate) fn new(places: usize) -> Self {
        Self { waiting: BTreeSet::new(), free: places }
    }

    /// Adds a check that is due at `at`.
    pub(crate) fn put(&mut self, at: Timestamp, serial: Serial) {
        self.waiting.insert((at, serial));
    }

    /// Takes one out again.
    pub(crate) fn remove(&mut self, at: Timestamp, serial: Serial) {
        self.waiting.remove(&(at, serial));
    }

    /// When the next check can start; `None`: not before one is added or a place is given back.
    pub(crate) fn next(&self) -> Option<Timestamp> {
        if self.free == 0 {
            return None;
        }
        self.waiting.first().map(|(at, _)| *at)
    }

    /// Takes out the check that has been due the longest, with a place for it.
    pub(crate) fn take_due(&mut self, now: Timestamp) -> Option<Serial> {
        if self.next()? > now {
            return None;
        }
        self.free -= 1;
        self.waiting.pop_first().map(|(_, serial)| serial)
    }

    /// A check is over.
    pub(crate) fn give_back(&mut self) {
        self.free += 1;
    }

    /// How many wait, and how many places are free.
    #[cfg(test)]
    pub(crate) fn places(&self) -> (usize, usize) {
        (self.waiting.len(), self.free)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_leave_in_the_order_they_are_due_and_only_while_there_are_places() {
        let at = Timestamp::from_micros;
        let mut lane = Lane::new(2);
        for (moment, serial) in [(30, 3), (10, 1), (20, 2), (25, 9)] {
            lane.put(at(moment), serial);
        }
        lane.remove(at(25), 9);
        assert_eq!(lane.take_due(at(5)), None);
        assert_eq!(lane.next(), Some(at(10)));
        assert_eq!(
            (lane.take_due(at(99)), lane.take_due(at(99)), lane.take_due(at(99))),
            (Some(1), Some(2), None)
        );
        assert_eq!(lane.next(), None);
        lane.give_back();
        assert_eq!(lane.take_due(at(99)), Some(3));
    }
}
