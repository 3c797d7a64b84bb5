//! Rate limits: the generic cell rate algorithm (ITU-T I.371) over a table of fixed size, for all limits of all
//! routes and all threads.
//!
//! For each key one number is kept: the theoretical arrival time, up to which its requests so far are paid for. A
//! request may come if that is no further ahead than the burst allows, and moves it on by one even interval. A key
//! whose time has passed is as good as one that never was, so old entries need no sweep: they are overwritten.
//!
//! A key is 64 bits of a hash with a secret of this process. Two keys that share them would share a count: with a
//! million keys that happens once in 37 million processes, and nobody outside can bring it about. A check is
//! one exchange, and a second one for a key that is new.

use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use manifest::spec::RateLimit;
use registry::Moment;
use registry::moment::nanos;

/// Keys that the table of a proxy holds at once: 1 MiB.
pub const KEYS: usize = 65_536;

/// Keys that share a place in the table. When all of them are in use, the one that is closest to being paid for is
/// forgotten: its next request comes as if it were its first.
const WAYS: usize = 8;

/// The counts of all keys. See the module.
#[derive(Debug)]
pub struct RateTable {
    sets: Box<[Set]>,
    secret: RandomState,
}

/// Two cache lines: one is looked through, of the other one word is touched.
#[derive(Debug)]
#[repr(align(128))]
struct Set {
    /// Zero: free.
    keys: [AtomicU64; WAYS],
    /// Theoretical arrival times, in nanoseconds.
    times: [AtomicU64; WAYS],
}

/// Who shares a count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key(u64);

/// A limit, ready to be checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Between two requests of the even flow, in nanoseconds: rounded down, so that the even flow always passes.
    interval: u64,
    /// How far ahead the theoretical arrival time may be, in nanoseconds.
    tolerance: u64,
}

/// A request may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowed {
    left: u64,
    rate: Rate,
}

/// A request may not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limited {
    /// When the next one may; never zero.
    pub retry_after: Duration,
}

impl Rate {
    /// The limit of a route.
    pub fn new(limit: &RateLimit) -> Self {
        let interval = (nanos(limit.period) / u64::from(limit.rate.max(1))).max(1);
        Self { interval, tolerance: interval.saturating_mul(u64::from(limit.burst.max(1) - 1)) }
    }
}

impl Allowed {
    /// How many more may come at once now.
    pub fn remaining(&self) -> u64 {
        self.left / self.rate.interval
    }
}

impl RateTable {
    /// An empty table for so many keys at once; rounded up to a power of two.
    pub fn new(keys: usize) -> Self {
        let sets = keys.div_ceil(WAYS).next_power_of_two();
        let set = || Set { keys: Default::default(), times: Default::default() };
        Self { sets: (0..sets).map(|_| set()).collect(), secret: RandomState::new() }
    }

    /// The key of somebody under a limit. `scope` names the limit (route and number): hash it once, with
    /// [`Self::scope`], and a new route table finds the counts of the old one.
    #[inline]
    pub fn key(&self, scope: u64, who: &[u8]) -> Key {
        Key(self.secret.hash_one((scope, who)).max(1))
    }

    /// What names a limit, as a number. The same for the same name as long as this table lives.
    pub fn scope(&self, name: impl Hash) -> u64 {
        self.secret.hash_one(name)
    }

    /// Counts a request, if it may come.
    #[inline]
    pub fn check(&self, key: Key, rate: &Rate, now: Moment) -> Result<Allowed, Limited> {
        let Some(time) = self.find(key, now) else {
            return Ok(Allowed { left: rate.tolerance, rate: *rate }); // never: a table has a set
        };
        let now = now.nanos();
        let mut before = time.load(Relaxed);
        // Ends: an exchange fails only if another thread's request was counted.
        loop {
            let from = before.max(now);
            let ahead = from - now;
            if ahead > rate.tolerance {
                return Err(Limited { retry_after: Duration::from_nanos(ahead - rate.tolerance) });
            }
            let after = from.saturating_add(rate.interval);
            match time.compare_exchange_weak(before, after, Relaxed, Relaxed) {
                Ok(_) => return Ok(Allowed { left: rate.tolerance - ahead, rate: *rate }),
                Err(other) => before = other,
            }
        }
    }

    /// The time of a key, which takes a place if it has none.
    ///
    /// Two threads that meet a new key at the same moment look in the same order, so they most likely want the same
    /// place: the second finds the key there. If a place became free in between, the key may have two for a
    /// while, of which only the first is found again: a burst may then be larger by what the other counted.
    fn find(&self, key: Key, now: Moment) -> Option<&AtomicU64> {
        // The low bits choose the set; the whole key is compared.
        let set = self.sets.get(key.0 as usize & (self.sets.len() - 1))?;
        loop {
            for (known, time) in set.keys.iter().zip(&set.times) {
                if known.load(Relaxed) == key.0 {
                    return Some(time);
                }
            }
            // Not there. The place of the key that is paid for, or will be first.
            let mut best = (u64::MAX, 0);
            for (way, time) in set.times.iter().enumerate() {
                let time = time.load(Relaxed);
                if time < best.0 {
                    best = (time, way);
                }
                if time <= now.nanos() {
                    break;
                }
            }
            let (known, time) = (set.keys.get(best.1)?, set.times.get(best.1)?);
            let before = known.load(Relaxed);
            if before == key.0 {
                return Some(time);
            }
            if known.compare_exchange(before, key.0, Relaxed, Relaxed).is_ok() {
                // What is left of the one before; what is past already means nothing.
                if best.0 > now.nanos() {
                    let _ = time.compare_exchange(best.0, 0, Relaxed, Relaxed);
                }
                return Some(time);
            }
        }
    }

    /// Keys whose requests are not paid for yet. Looks at the whole table: for people, not for the path.
    pub fn in_use(&self, now: Moment) -> usize {
        let times = self.sets.iter().flat_map(|set| &set.times);
        times.filter(|time| time.load(Relaxed) > now.nanos()).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use manifest::spec::LimitKey;
    use proptest::prelude::*;

    fn at(nanos: u64) -> Moment {
        Moment::from_nanos((1 << 40) + nanos)
    }

    fn rate(rate: u32, period: Duration, burst: u32) -> Rate {
        Rate::new(&RateLimit { rate, period, burst, per: LimitKey::Client })
    }

    const SEC: u64 = 1_000_000_000;

    #[test]
    fn a_burst_passes_then_the_even_flow_and_whoever_is_told_to_wait_may_come_after_that() {
        let table = RateTable::new(64);
        let rate = rate(10, Duration::from_secs(1), 5);
        let key = table.key(0, b"10.0.0.1");
        let left: Vec<_> = (0..5).map(|_| table.check(key, &rate, at(0)).unwrap().remaining()).collect();
        assert_eq!(left, [4, 3, 2, 1, 0]);
        let wait = table.check(key, &rate, at(0)).unwrap_err().retry_after;
        assert_eq!(wait, Duration::from_millis(100));
        assert!(table.check(key, &rate, at(nanos(wait) - 1)).is_err());
        assert!(table.check(key, &rate, at(nanos(wait))).is_ok());
        assert!(table.check(key, &rate, at(nanos(wait))).is_err());
        assert!(table.check(table.key(0, b"10.0.0.2"), &rate, at(0)).is_ok());
        assert!(table.check(table.key(1, b"10.0.0.1"), &rate, at(0)).is_ok());
    }

    #[test]
    fn what_is_paid_for_makes_place_and_a_full_table_forgets_the_one_that_owes_least() {
        let table = RateTable::new(WAYS);
        let rate = rate(1, Duration::from_secs(1), 10);
        let keys: Vec<_> = (0..WAYS as u64).map(|n| table.key(n, b"")).collect();
        for (n, key) in keys.iter().enumerate() {
            for _ in 0..=n {
                table.check(*key, &rate, at(0)).unwrap();
            }
        }
        assert_eq!(table.in_use(at(0)), WAYS);
        let new = table.check(table.key(99, b""), &rate, at(0)).unwrap();
        assert_eq!(new.remaining(), 9, "it begins afresh");
        assert_eq!(
            table.check(keys[7], &rate, at(0)).unwrap().remaining(),
            1,
            "who owes most is still known"
        );
        assert_eq!(table.in_use(at(20 * SEC)), 0);
        table.check(keys[0], &rate, at(20 * SEC)).unwrap();
        assert_eq!(table.in_use(at(20 * SEC)), 1);
    }

    #[test]
    fn threads_together_get_no_more_than_one_alone() {
        let table = RateTable::new(KEYS);
        let rate = rate(1, Duration::from_secs(3600), 1000);
        let key = table.key(0, b"everybody");
        let passed: usize = std::thread::scope(|threads| {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    threads.spawn(|| (0..1000).filter(|_| table.check(key, &rate, at(0)).is_ok()).count())
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(passed, 1000);
    }

    #[test]
    fn a_flood_of_keys_keeps_to_its_memory() {
        let table = RateTable::new(1024);
        let rate = rate(1, Duration::from_secs(60), 1);
        for n in 0..100_000u64 {
            assert!(table.check(table.key(n, b"flood"), &rate, at(n)).is_ok());
        }
        assert!(table.in_use(at(100_000)) <= 1024);
    }

    proptest! {
        #[test]
        fn no_window_ever_sees_more_than_the_burst_and_the_rate(
            (per_second, burst) in (1u32..1000, 1u32..50),
            pauses in prop::collection::vec(0u64..20_000_000, 1..400),
        ) {
            let table = RateTable::new(64);
            let rate = rate(per_second, Duration::from_secs(1), burst);
            let key = table.key(0, b"");
            let (mut now, mut passed) = (0, Vec::new());
            for pause in pauses {
                now += pause;
                match table.check(key, &rate, at(now)) {
                    Ok(_) => passed.push(now),
                    Err(limited) => prop_assert!(table.check(key, &rate, at(now + nanos(limited.retry_after) - 1)).is_err()),
                }
            }
            for (first, from) in passed.iter().enumerate() {
                for (last, to) in passed.iter().enumerate().skip(first) {
                    let most = u64::from(burst) + (to - from) / rate.interval;
                    prop_assert!((last - first + 1) as u64 <= most);
                }
            }
        }

        #[test]
        fn the_even_flow_always_passes(per_second in 1u32..2_000_000, start: u32, requests in 1u64..500) {
            let table = RateTable::new(64);
            let rate = rate(per_second, Duration::from_secs(1), 1);
            let key = table.key(0, b"");
            for n in 0..requests {
                let now = u64::from(start) + (n * SEC).div_ceil(u64::from(per_second));
                prop_assert!(table.check(key, &rate, at(now)).is_ok(), "request {}", n);
            }
        }
    }
}
