//! How fast an endpoint answers, with the memory of a pessimist: a slow answer counts at once, a fast one
//! only over time. Peak EWMA as Finagle's load balancer has it.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::Moment;

/// How fast the past is forgotten: after this time without news a value counts about a third.
pub const DECAY: Duration = Duration::from_secs(10);

/// A failed exchange counts as this many times what was expected, for a failure may be very fast.
const FAILURE_FACTOR: f32 = 4.0;
/// The least and the most, in nanoseconds, that failures alone make of the expectation.
const FAILURE_BOUNDS: (f32, f32) = (1e6, 10e9);

/// Moments are kept in 32 bits of about a millisecond each (they come around after 52 days: an endpoint that
/// is asked again after just so long is thought a little slower than it should be).
const TICK_BITS: u32 = 20;

/// An expected latency and when it was last learned, in one atomic: `f32` nanoseconds below, ticks above.
/// Updates are a load and a store: of two at the same moment one may be lost, which an average does not mind.
#[derive(Debug, Default)]
pub struct Latency(AtomicU64);

impl Latency {
    /// The expectation now, in nanoseconds; `None`: nothing is known yet. It falls with time, so that what was
    /// slow once is asked again.
    pub fn expected(&self, now: Moment) -> Option<f32> {
        let word = self.0.load(Relaxed);
        (word != 0).then(|| value(word) * kept(word, now))
    }

    /// An exchange took so long.
    pub fn observe(&self, took: Duration, now: Moment) {
        let word = self.0.load(Relaxed);
        let took = (took.as_nanos() as f32).max(1.0);
        let expected = if word == 0 || took > value(word) {
            took
        } else {
            let kept = kept(word, now);
            if kept == 1.0 {
                return; // within the same tick: what is below the peak says nothing
            }
            value(word) * kept + took * (1.0 - kept)
        };
        self.0.store(pack(expected, now), Relaxed);
    }

    /// An exchange failed after so long.
    pub fn observe_failure(&self, took: Duration, now: Moment) {
        let (least, most) = FAILURE_BOUNDS;
        let worse = (self.expected(now).unwrap_or(0.0) * FAILURE_FACTOR).clamp(least, most);
        let took = Duration::from_nanos((took.as_nanos() as f32).max(worse) as u64);
        self.observe(took, now);
    }

    /// Forgets everything.
    pub fn forget(&self) {
        self.0.store(0, Relaxed);
    }
}

fn pack(expected: f32, now: Moment) -> u64 {
    u64::from(tick(now)) << 32 | u64::from(expected.to_bits())
}

fn value(word: u64) -> f32 {
    f32::from_bits(word as u32)
}

fn tick(moment: Moment) -> u32 {
    (moment.nanos() >> TICK_BITS) as u32
}

/// What is left of a value by now, from 1 down to 0: e^-x, or a little more, without calling `exp`.
fn kept(word: u64, now: Moment) -> f32 {
    let ticks = tick(now).wrapping_sub((word >> 32) as u32);
    if ticks as i32 <= 0 {
        return 1.0; // another thread's reading of the clock may be a little ahead
    }
    let x = ticks as f32 * ((1u64 << TICK_BITS) as f32 / DECAY.as_nanos() as f32);
    1.0 / (1.0 + x + x * x * 0.5)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(ms: u64) -> Moment {
        Moment::from_nanos(1 << 40) + Duration::from_millis(ms)
    }

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn one_slow_answer_counts_at_once_and_fast_ones_only_over_time() {
        let latency = Latency::default();
        assert_eq!(latency.expected(at(0)), None);
        latency.observe(MS, at(0));
        latency.observe(MS * 100, at(1));
        assert_eq!(latency.expected(at(1)), Some(100e6));
        latency.observe(MS, at(10));
        assert!(latency.expected(at(10)).unwrap() > 98e6);
        for ms in 11..40_000 {
            latency.observe(MS, at(ms));
        }
        assert!(latency.expected(at(40_000)).unwrap() < 8e6);
    }

    #[test]
    fn what_is_not_asked_is_slowly_forgiven() {
        let latency = Latency::default();
        latency.observe(MS * 1000, at(0));
        let after = |ms| latency.expected(at(ms)).unwrap() / 1e9;
        assert!((0.36..0.45).contains(&after(10_000)), "{}", after(10_000));
        assert!(after(100_000) < 0.02);
    }

    #[test]
    fn a_fast_failure_makes_an_endpoint_less_wanted_not_more() {
        let latency = Latency::default();
        latency.observe(MS * 10, at(0));
        latency.observe_failure(Duration::ZERO, at(1));
        assert_eq!(latency.expected(at(1)), Some(40e6));
        for _ in 0..100 {
            latency.observe_failure(Duration::ZERO, at(1));
        }
        assert_eq!(latency.expected(at(1)), Some(10e9));
        let fresh = Latency::default();
        fresh.observe_failure(Duration::ZERO, at(0));
        assert_eq!(fresh.expected(at(0)), Some(1e6));
    }

    proptest! {
        #[test]
        fn the_expectation_stays_between_nothing_and_the_slowest_seen(
            seen in prop::collection::vec((1u64..10_000_000_000, 0u64..5_000), 1..100),
        ) {
            let latency = Latency::default();
            let (mut now, mut slowest) = (0, 0);
            for (took, later) in seen {
                now += later;
                slowest = slowest.max(took);
                latency.observe(Duration::from_nanos(took), at(now));
                let expected = latency.expected(at(now)).unwrap();
                prop_assert!(expected > 0.0 && f64::from(expected) <= slowest as f64 * 1.000_001);
                prop_assert!(f64::from(expected) >= took as f64 * 0.999_999 || took < slowest);
            }
        }
    }
}
