//! How much is under way, and what was refused: read for metrics, and to hold the limits.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// What a server has to tell of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections now.
    pub connections: usize,
    /// Requests under way now.
    pub in_flight: usize,
    /// Bytes of bodies held now.
    pub held_bytes: usize,
    /// Requests so far.
    pub requests: u64,
    /// Connections refused because there were too many.
    pub connections_refused: u64,
    /// Requests refused because too much was under way.
    pub busy: u64,
    /// Requests refused because of their size.
    pub too_large: u64,
    /// Requests whose body did not come in time, or not whole.
    pub incomplete: u64,
    /// Requests that were not let in.
    pub denied: u64,
}

/// The same, counting.
#[derive(Debug, Default)]
pub(super) struct Counters {
    connections: AtomicUsize,
    in_flight: AtomicUsize,
    held_bytes: AtomicUsize,
    pub(super) requests: AtomicU64,
    pub(super) connections_refused: AtomicU64,
    pub(super) busy: AtomicU64,
    pub(super) too_large: AtomicU64,
    pub(super) incomplete: AtomicU64,
    pub(super) denied: AtomicU64,
}

/// Something taken from a limit, given back when dropped.
pub(super) struct Held<'c> {
    of: &'c AtomicUsize,
    amount: usize,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.of.fetch_sub(self.amount, Ordering::Relaxed);
    }
}

impl Counters {
    pub(super) fn connection(&self, limit: usize) -> Option<Held<'_>> {
        hold(&self.connections, 1, limit)
    }

    pub(super) fn request(&self, limit: usize) -> Option<Held<'_>> {
        hold(&self.in_flight, 1, limit)
    }

    pub(super) fn bytes(&self, amount: usize, limit: usize) -> Option<Held<'_>> {
        hold(&self.held_bytes, amount, limit)
    }

    pub(super) fn read(&self) -> Counts {
        Counts {
            connections: self.connections.load(Ordering::Relaxed),
            in_flight: self.in_flight.load(Ordering::Relaxed),
            held_bytes: self.held_bytes.load(Ordering::Relaxed),
            requests: self.requests.load(Ordering::Relaxed),
            connections_refused: self.connections_refused.load(Ordering::Relaxed),
            busy: self.busy.load(Ordering::Relaxed),
            too_large: self.too_large.load(Ordering::Relaxed),
            incomplete: self.incomplete.load(Ordering::Relaxed),
            denied: self.denied.load(Ordering::Relaxed),
        }
    }
}

fn hold(of: &AtomicUsize, amount: usize, limit: usize) -> Option<Held<'_>> {
    // Taken first and looked at then: two that come together never both pass a limit that has room for one.
    let before = of.fetch_add(amount, Ordering::Relaxed);
    let held = Held { of, amount };
    (before.saturating_add(amount) <= limit).then_some(held)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_over_the_limit_is_given_back_at_once() {
        let counters = Counters::default();
        let first = counters.bytes(6, 10);
        assert!(first.is_some() && counters.bytes(5, 10).is_none());
        assert_eq!(counters.read().held_bytes, 6);
        drop(first);
        assert_eq!(counters.read().held_bytes, 0);
        assert!(counters.bytes(10, 10).is_some());
    }
}
