//! Time as a parameter.

use std::fmt;
use std::ops::{Add, Sub};
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime};

use crate::BoxFuture;

/// A moment, in microseconds since the Unix epoch. Made by a [`Clock`], it never runs backwards within
/// one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The moment `micros` after the Unix epoch.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds since the Unix epoch.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// The time from `earlier` to this moment; zero when `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;
    fn add(self, by: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(by.as_micros()).unwrap_or(u64::MAX)))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Self;
    fn sub(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(by.as_micros()).unwrap_or(u64::MAX)))
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC with microseconds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = i64::try_from(self.0).unwrap_or(i64::MAX);
        match jiff::Timestamp::from_microsecond(micros) {
            Ok(moment) => write!(f, "{moment:.6}"),
            Err(_) => write!(f, "{micros}us"),
        }
    }
}

/// Where the time comes from.
pub trait Clock: Send + Sync + 'static {
    /// The time now.
    fn now(&self) -> Timestamp;
    /// Returns once `now()` is at or past `moment`.
    fn sleep_until(&self, moment: Timestamp) -> BoxFuture<'_, ()>;
}

/// The machine's clock: wall time read once, then advanced by the monotonic clock, so that setting the
/// wall clock neither fires nor stalls a timer.
#[derive(Clone, Debug)]
pub struct SystemClock {
    wall_at_start: Timestamp,
    start: Instant,
}

impl SystemClock {
    /// A clock that starts from the wall time now.
    pub fn new() -> Self {
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self { wall_at_start: Timestamp(0) + wall, start: Instant::now() }
    }

    /// What this clock says at `moment`, without reading it.
    pub fn at(&self, moment: Instant) -> Timestamp {
        self.wall_at_start + moment.saturating_duration_since(self.start)
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        self.wall_at_start + self.start.elapsed()
    }

    fn sleep_until(&self, moment: Timestamp) -> BoxFuture<'_, ()> {
        Box::pin(tokio::time::sleep(moment.since(self.now())))
    }
}

/// A clock that moves only when told to; for tests and simulations.
#[derive(Debug)]
pub struct SteppedClock {
    now: Mutex<Timestamp>,
    moved: tokio::sync::Notify,
}

impl SteppedClock {
    /// A clock that stands at `start`.
    pub fn new(start: Timestamp) -> Self {
        Self { now: Mutex::new(start), moved: tokio::sync::Notify::new() }
    }

    /// Moves the clock forward and wakes whoever sleeps.
    pub fn advance(&self, by: Duration) {
        let mut now = self.now.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *now = *now + by;
        drop(now);
        self.moved.notify_waiters();
    }
}

impl Clock for SteppedClock {
    fn now(&self) -> Timestamp {
        *self.now.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn sleep_until(&self, moment: Timestamp) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            loop {
                let moved = self.moved.notified();
                tokio::pin!(moved);
                moved.as_mut().enable(); // registered before the look, so that no step is missed
                if self.now() >= moment {
                    return;
                }
                moved.await;
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn a_timestamp_is_printed_as_rfc_3339() {
        assert_eq!(Timestamp::from_micros(1_000_000_000_500_000).to_string(), "2001-09-09T01:46:40.500000Z");
    }

    #[tokio::test]
    async fn a_sleeper_wakes_when_the_stepped_clock_reaches_its_moment() {
        let clock = Arc::new(SteppedClock::new(Timestamp::from_micros(0)));
        let until = clock.now() + Duration::from_secs(30);
        let sleeper = clock.sleep_until(until);
        let stepper = async {
            clock.advance(Duration::from_secs(29));
            tokio::task::yield_now().await;
            clock.advance(Duration::from_secs(1));
        };
        tokio::join!(sleeper, stepper);
        assert_eq!(clock.now(), until);
    }
}
