//! The newest bodies of a queue, so that a receive that follows its send closely does not ask the store.

use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasherDefault;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use kit::Timestamp;

use crate::queue::core::SequenceHasher;

/// For how long bodies are kept of a queue that nothing is sent to.
pub(super) const KEPT: Duration = Duration::from_secs(30);

/// What a body costs besides its bytes, about.
const OVERHEAD: usize = 64;

/// Records by sequence.
#[derive(Default)]
pub(super) struct Fresh {
    records: HashMap<u64, Bytes, BuildHasherDefault<SequenceHasher>>,
    /// Oldest first; some may have been taken.
    order: VecDeque<u64>,
    bytes: usize,
    last_at: Option<Timestamp>,
}

/// The bytes of all queues together.
pub(super) struct Budget {
    used: AtomicUsize,
    most: usize,
    most_of_queue: usize,
}

impl Budget {
    pub(super) fn new(most: usize, most_of_queue: usize) -> Self {
        Self { used: AtomicUsize::new(0), most, most_of_queue: most_of_queue.min(most) }
    }

    #[cfg(test)]
    pub(super) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }
}

impl Fresh {
    /// Keeps a record, instead of older ones if there is no room.
    pub(super) fn put(&mut self, seq: u64, record: Bytes, now: Timestamp, budget: &Budget) {
        let cost = record.len() + OVERHEAD;
        let full = |fresh: &Self| {
            fresh.bytes + cost > budget.most_of_queue
                || budget.used.load(Ordering::Relaxed) + cost > budget.most
        };
        while full(self) {
            let Some(oldest) = self.order.pop_front() else { return };
            self.take(oldest, budget);
        }
        budget.used.fetch_add(cost, Ordering::Relaxed);
        self.bytes += cost;
        self.records.insert(seq, record);
        self.order.push_back(seq);
        self.last_at = Some(now);
    }

    /// Takes a record out.
    pub(super) fn take(&mut self, seq: u64, budget: &Budget) -> Option<Bytes> {
        let record = self.records.remove(&seq)?;
        let cost = record.len() + OVERHEAD;
        self.bytes -= cost;
        budget.used.fetch_sub(cost, Ordering::Relaxed);
        while self.order.front().is_some_and(|oldest| !self.records.contains_key(oldest)) {
            self.order.pop_front();
        }
        Some(record)
    }

    /// Lets go of everything.
    pub(super) fn clear(&mut self, budget: &Budget) {
        budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
        *self = Self::default();
    }

    /// When it is to be cleared, if nothing comes.
    pub(super) fn until(&self) -> Option<Timestamp> {
        self.last_at.map(|at| at + KEPT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_in_memory_are_bounded_over_all_queues_and_given_back() {
        let budget = Budget::new(10_000, 6_000);
        let (mut one, mut other) = (Fresh::default(), Fresh::default());
        let now = Timestamp::from_micros(0);
        let record = Bytes::from(vec![0; 1000]);
        for seq in 0..100 {
            one.put(seq, record.clone(), now, &budget);
            other.put(seq, record.clone(), now, &budget);
            assert!(budget.used() <= 10_000 && one.bytes <= 6_000 && other.bytes <= 6_000);
        }
        assert!(
            one.take(99, &budget).is_some()
                && one.take(99, &budget).is_none()
                && one.take(0, &budget).is_none()
        );
        one.clear(&budget);
        other.clear(&budget);
        assert_eq!(budget.used(), 0);
    }
}
