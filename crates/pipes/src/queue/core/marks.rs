//! When messages were sent, without keeping it for each: sequences and times grow together.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use kit::Timestamp;

/// Steps that are kept. Beyond that they become twice as long, each with its latest time: nothing is forgotten early.
const MOST_STEPS: usize = 4096;

/// When messages were sent, in steps of a second, or coarser where there are many.
#[derive(Debug, Default)]
pub(super) struct Marks {
    /// From which sequence on, sent until which second. Both grow.
    steps: VecDeque<(u64, u32)>,
    /// How long a step is, in seconds, as a power of two.
    length_log2: u32,
    /// Messages that came from another queue and kept the time they were sent at: their seconds.
    kept: BTreeMap<u64, u32>,
    kept_in_order: BTreeSet<(u32, u64)>,
}

/// The second that a moment is in.
pub(super) fn second(moment: Timestamp) -> u32 {
    u32::try_from(moment.as_micros() / 1_000_000).unwrap_or(u32::MAX)
}

/// When a message that was sent in a second is to be forgotten: not before `retention` is over.
fn due_at(second: u32, retention: u32) -> Timestamp {
    Timestamp::from_micros((u64::from(second) + u64::from(retention) + 1) * 1_000_000)
}

impl Marks {
    /// Notes a message, the last in order, as sent now.
    pub(super) fn note(&mut self, seq: u64, second: u32) {
        if self.steps.len() < 2 {
            self.length_log2 = 0;
        }
        match self.steps.back_mut() {
            Some((_, last)) if *last >= second => return,
            Some((_, last)) if *last >> self.length_log2 == second >> self.length_log2 => {
                *last = second;
                return;
            }
            _ => self.steps.push_back((seq, second)),
        }
        if self.steps.len() > MOST_STEPS {
            self.length_log2 += 1;
            let steps = std::mem::take(&mut self.steps);
            for (first, second) in steps {
                match self.steps.back_mut() {
                    Some((_, last)) if *last >> self.length_log2 == second >> self.length_log2 => {
                        *last = second;
                    }
                    _ => self.steps.push_back((first, second)),
                }
            }
        }
    }

    /// Notes a message, the last in order, that keeps an earlier time.
    pub(super) fn note_kept(&mut self, seq: u64, second: u32) {
        self.kept.insert(seq, second);
        self.kept_in_order.insert((second, seq));
    }

    /// The time of the last step.
    pub(super) fn last(&self) -> Option<u32> {
        self.steps.back().map(|(_, second)| *second)
    }

    pub(super) fn second_of(&self, seq: u64) -> Option<u32> {
        if let Some(second) = self.kept.get(&seq) {
            return Some(*second);
        }
        let behind = self.steps.partition_point(|(first, _)| *first <= seq);
        self.steps.get(behind.checked_sub(1)?).map(|(_, second)| *second)
    }

    pub(super) fn oldest_kept(&self) -> Option<u32> {
        self.kept_in_order.first().map(|(second, _)| *second)
    }

    /// A message is gone.
    pub(super) fn forget(&mut self, seq: u64) {
        if self.kept.is_empty() {
            return;
        }
        if let Some(second) = self.kept.remove(&seq) {
            self.kept_in_order.remove(&(second, seq));
        }
    }

    /// The same for all below.
    pub(super) fn forget_kept_below(&mut self, below: u64) {
        let behind = self.kept.split_off(&below);
        for (seq, second) in std::mem::replace(&mut self.kept, behind) {
            self.kept_in_order.remove(&(second, seq));
        }
    }

    /// No message below is there any more.
    pub(super) fn trim(&mut self, low: u64) {
        while self.steps.get(1).is_some_and(|(first, _)| *first <= low) {
            self.steps.pop_front();
        }
    }

    /// When the next message is to be forgotten.
    pub(super) fn next_due(&self, retention: u32) -> Option<Timestamp> {
        let step = self.steps.front().map(|(_, second)| *second);
        step.into_iter().chain(self.oldest_kept()).min().map(|second| due_at(second, retention))
    }

    /// Takes out the steps that are over: every message below the result is to be forgotten. `end` is behind the last
    /// one.
    pub(super) fn due_below(&mut self, now: Timestamp, retention: u32, end: u64) -> Option<u64> {
        let mut below = None;
        while self.steps.front().is_some_and(|(_, second)| due_at(*second, retention) <= now) {
            self.steps.pop_front();
            below = Some(self.steps.front().map_or(end, |(first, _)| *first));
        }
        below
    }

    /// The next message of those that kept their time that is to be forgotten.
    pub(super) fn kept_due(&self, now: Timestamp, retention: u32) -> Option<u64> {
        let (second, seq) = self.kept_in_order.first()?;
        (due_at(*second, retention) <= now).then_some(*seq)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_steps_become_coarser_and_never_earlier() {
        let mut marks = Marks::default();
        for step in 0..20_000u32 {
            marks.note(u64::from(step) * 10, step);
        }
        assert!(marks.steps.len() <= MOST_STEPS);
        for step in 0..20_000u32 {
            let told = marks.second_of(u64::from(step) * 10 + 3).unwrap();
            assert!(told >= step && told < step + 16, "{step} {told}");
        }
    }
}
