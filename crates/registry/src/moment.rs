//! Time as the data path counts it: one reading per request, shared by every policy.

use std::ops::Add;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// The first moment that is ever told. Not zero, so that an atomic of zero can mean "never".
const FIRST: u64 = 3_600_000_000_000;

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// A moment of this process, in nanoseconds: monotonic, fits an atomic, costs no system call to compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(u64);

impl Moment {
    /// Earlier than any moment of a clock.
    pub const NEVER: Self = Self(0);

    /// Reads the clock: once per request, not once per policy.
    pub fn now() -> Self {
        Self::of(Instant::now())
    }

    /// The same moment as `instant`. What lies before the first call is taken for that call.
    pub fn of(instant: Instant) -> Self {
        Self(FIRST + nanos(instant.saturating_duration_since(*START)))
    }

    /// A moment out of an atomic, or made up by a test.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds, for an atomic. Only differences mean something.
    pub const fn nanos(self) -> u64 {
        self.0
    }

    /// The time from `earlier` to this moment; zero when `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Moment {
    type Output = Self;
    fn add(self, by: Duration) -> Self {
        Self(self.0.saturating_add(nanos(by)))
    }
}

/// A time in nanoseconds; more than 584 years count as that.
pub fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_keep_the_distance_of_instants() {
        let instant = Instant::now();
        let (early, late) = (Moment::of(instant), Moment::of(instant + Duration::from_millis(7)));
        assert!(late > early && early > Moment::NEVER);
        assert!(late.since(early) <= Duration::from_millis(7));
        assert_eq!(early.since(late), Duration::ZERO);
        let later = Moment::now();
        assert_eq!(Moment::of(Instant::now() + Duration::from_secs(1)).since(later).as_secs(), 1);
    }
}
