//! Waiting longer after each failure.

use std::time::Duration;

use rand::RngExt;

/// Exponential backoff with full jitter (the variant of Brooker, "Exponential Backoff And Jitter", 2015,
/// with half of the delay kept as a floor so that a crash loop never spins).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The delay after the first failure, before jitter.
    pub first: Duration,
    /// No delay is longer than this.
    pub max: Duration,
}

impl Backoff {
    /// The delay after failure number `failures` (from 1), before jitter.
    pub fn base(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        self.first.saturating_mul(1 << doublings).min(self.max)
    }

    /// The delay with jitter: between half of [`Self::base`] and all of it. `spread` is a share in 0..=1.
    pub fn jittered(&self, failures: u32, spread: f64) -> Duration {
        let half = self.base(failures) / 2;
        half + half.mul_f64(spread.clamp(0.0, 1.0))
    }

    /// The delay with jitter drawn at random.
    pub fn draw(&self, failures: u32) -> Duration {
        self.jittered(failures, rand::rng().random_range(0.0..=1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn delays_double_up_to_the_ceiling() {
        let backoff = Backoff { first: Duration::from_millis(100), max: Duration::from_secs(1) };
        let delays: Vec<_> = (1..=6).map(|n| backoff.base(n).as_millis()).collect();
        assert_eq!(delays, [100, 200, 400, 800, 1000, 1000]);
    }

    proptest! {
        #[test]
        fn jitter_stays_between_half_and_all(failures in 0u32..=u32::MAX, spread in 0.0f64..=1.0) {
            let backoff = Backoff { first: Duration::from_millis(10), max: Duration::from_secs(60) };
            let delay = backoff.jittered(failures, spread);
            prop_assert!(delay >= backoff.base(failures) / 2 && delay <= backoff.base(failures));
        }
    }
}
