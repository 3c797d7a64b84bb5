//! Counts of the last seconds, in buckets that fall away one by one. Shared by all threads: counting is one
//! addition, and nothing on the path waits.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use registry::Moment;
use registry::moment::nanos;

/// Into so many parts is a window divided; it forgets one at a time.
pub const BUCKETS: usize = 10;

/// Calls after which a bucket is halved: its shares stay true, its sums become too small. So a window never
/// holds more than [`BUCKETS`] times this.
pub const BUCKET_FULL: u64 = 1 << 20;

const FIELD: u32 = 21;
const MASK: u64 = (1 << FIELD) - 1;

/// What a window holds, or one call adds. `first` and `second` are kinds of calls; a call may be both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// All calls.
    pub total: u64,
    /// Those of the first kind.
    pub first: u64,
    /// Those of the second kind.
    pub second: u64,
}

impl Sum {
    fn pack(self) -> u64 {
        self.total << (2 * FIELD) | self.first << FIELD | self.second
    }

    fn unpack(word: u64) -> Self {
        Self { total: word >> (2 * FIELD), first: word >> FIELD & MASK, second: word & MASK }
    }
}

/// See the module.
#[derive(Debug)]
#[repr(align(128))]
pub struct Window {
    /// When the current bucket is over, in nanoseconds.
    ends: AtomicU64,
    current: AtomicUsize,
    buckets: [AtomicU64; BUCKETS],
    /// Of one bucket.
    length: AtomicU64,
    /// Held by whoever moves on to the next bucket; nobody waits for it.
    turning: Mutex<()>,
}

impl Window {
    /// An empty window of this length.
    pub fn new(length: Duration) -> Self {
        Self {
            ends: AtomicU64::new(0),
            current: AtomicUsize::new(0),
            buckets: [const { AtomicU64::new(0) }; BUCKETS],
            length: AtomicU64::new(bucket_length(length)),
            turning: Mutex::new(()),
        }
    }

    /// Changes the length; with another one the window is empty.
    pub fn resize(&self, length: Duration) {
        if self.length.swap(bucket_length(length), Relaxed) != bucket_length(length) {
            self.clear();
        }
    }

    /// Counts a call.
    pub fn add(&self, call: Sum, now: Moment) {
        self.turn(now);
        let Some(bucket) = self.buckets.get(self.current.load(Relaxed)) else { return };
        let before = bucket.fetch_add(call.pack(), Relaxed);
        if Sum::unpack(before).total >= BUCKET_FULL {
            // Most likely one thread of many gets here; if another was faster, the next call tries again.
            let full = bucket.load(Relaxed);
            let Sum { total, first, second } = Sum::unpack(full);
            let half = Sum { total: total / 2, first: first / 2, second: second / 2 };
            let _ = bucket.compare_exchange(full, half.pack(), Relaxed, Relaxed);
        }
    }

    /// What was counted lately; `None` while another thread moves on, for then some of it is too old.
    pub fn sum(&self, now: Moment) -> Option<Sum> {
        if !self.turn(now) {
            return None;
        }
        let mut sum = Sum::default();
        for bucket in &self.buckets {
            let bucket = Sum::unpack(bucket.load(Relaxed));
            sum.total += bucket.total;
            sum.first += bucket.first;
            sum.second += bucket.second;
        }
        Some(sum)
    }

    /// Forgets all calls.
    pub fn clear(&self) {
        for bucket in &self.buckets {
            bucket.store(0, Relaxed);
        }
    }

    /// Moves on if the current bucket is over. False: another thread is doing that.
    fn turn(&self, now: Moment) -> bool {
        if now.nanos() < self.ends.load(Relaxed) {
            return true;
        }
        let Ok(_turning) = self.turning.try_lock() else { return false };
        let ends = self.ends.load(Relaxed);
        if now.nanos() < ends {
            return true;
        }
        let length = self.length.load(Relaxed);
        let over = (now.nanos() - ends) / length + 1;
        let mut current = self.current.load(Relaxed);
        for _ in 0..over.min(BUCKETS as u64) {
            current = (current + 1) % BUCKETS;
            if let Some(bucket) = self.buckets.get(current) {
                bucket.store(0, Relaxed);
            }
        }
        self.current.store(current, Relaxed);
        self.ends.store(ends.saturating_add(over.saturating_mul(length)), Relaxed);
        true
    }
}

fn bucket_length(window: Duration) -> u64 {
    (nanos(window) / BUCKETS as u64).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(ms: u64) -> Moment {
        Moment::from_nanos(1 << 40) + Duration::from_millis(ms)
    }

    const GOOD: Sum = Sum { total: 1, first: 0, second: 0 };
    const BOTH: Sum = Sum { total: 1, first: 1, second: 1 };

    #[test]
    fn a_bucket_that_is_full_keeps_its_shares() {
        let window = Window::new(Duration::from_secs(10));
        for n in 0..BUCKET_FULL * 5 {
            window.add(if n % 4 == 0 { BOTH } else { GOOD }, at(0));
        }
        let sum = window.sum(at(0)).unwrap();
        assert!(sum.total <= BUCKET_FULL + 1 && sum.total >= BUCKET_FULL / 2);
        let share = sum.first as f64 / sum.total as f64;
        assert!((0.249..0.251).contains(&share), "{share}");
        assert_eq!(sum.first, sum.second);
    }

    #[test]
    fn threads_lose_no_call() {
        let window = Window::new(Duration::from_secs(1000));
        std::thread::scope(|threads| {
            for _ in 0..4 {
                threads.spawn(|| (0..10_000).for_each(|_| window.add(BOTH, at(0))));
            }
        });
        assert_eq!(window.sum(at(0)).unwrap().total, 40_000);
    }

    proptest! {
        /// Everything of the last nine tenths of the window is there, and nothing older than the window.
        #[test]
        fn a_window_holds_the_last_seconds(calls in prop::collection::vec((any::<bool>(), 0u64..3_000), 1..200)) {
            let window = Window::new(Duration::from_secs(10));
            let mut seen: Vec<(u64, bool)> = Vec::new();
            let mut now = 0;
            for (bad, later) in calls {
                now += later;
                seen.push((now, bad));
                window.add(if bad { BOTH } else { GOOD }, at(now));
                let sum = window.sum(at(now)).unwrap();
                let since = |age: u64| seen.iter().filter(move |(at, _)| at + age > now);
                prop_assert!(sum.total as usize >= since(9_000).count());
                prop_assert!(sum.total as usize <= since(10_001).count());
                prop_assert!(sum.first as usize >= since(9_000).filter(|(_, bad)| *bad).count());
                prop_assert!(sum.first as usize <= since(10_001).filter(|(_, bad)| *bad).count());
            }
            prop_assert_eq!(window.sum(at(now + 10_000)).unwrap(), Sum::default());
        }
    }
}
