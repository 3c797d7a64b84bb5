//! When the data path passes an endpoint over for what it answers: failures in a row eject it for a time, each
//! further time for longer. How many may be ejected at once is decided by who chooses among endpoints.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use manifest::spec::Outlier;

use crate::Moment;
use crate::moment::nanos;

/// What one endpoint has done lately. Of two threads that see the last failure at once, one ejects.
#[derive(Debug, Default)]
pub struct Strikes {
    /// Failures in a row.
    row: AtomicU32,
    /// Ejections that are not forgiven yet.
    times: AtomicU32,
    /// In nanoseconds; zero: never was.
    ejected_until: AtomicU64,
}

impl Strikes {
    /// An exchange went well. A store only where there was a failure before.
    pub fn success(&self) {
        if self.row.load(Relaxed) != 0 {
            self.row.store(0, Relaxed);
        }
    }

    /// An exchange failed. True: this was one too many, and the endpoint is ejected from now on.
    ///
    /// The nth ejection lasts n times as long as the first; a time of `eject` without one makes n smaller by one.
    pub fn failure(&self, rule: &Outlier, now: Moment) -> bool {
        let until = self.ejected_until.load(Relaxed);
        if until > now.nanos() {
            return false; // from before; it is paid for already
        }
        let row = self.row.fetch_add(1, Relaxed).saturating_add(1);
        if row < rule.failures.max(1) {
            return false;
        }
        let eject = nanos(rule.eject).max(1);
        let most = nanos(rule.max_eject).max(eject);
        let forgiven = u32::try_from((now.nanos() - until) / eject).unwrap_or(u32::MAX);
        // No more is remembered than what makes the longest ejection, so that it can be forgiven in time.
        let remembered = u64::from(self.times.load(Relaxed).saturating_sub(forgiven)) + 1;
        let times = remembered.min(most.div_ceil(eject));
        let end = now.nanos().saturating_add(eject.saturating_mul(times).min(most));
        if self.ejected_until.compare_exchange(until, end, Relaxed, Relaxed).is_err() {
            return false; // another thread saw the last failure, too
        }
        self.row.store(0, Relaxed);
        self.times.store(u32::try_from(times).unwrap_or(u32::MAX), Relaxed);
        true
    }

    /// Whether it is ejected now.
    pub fn is_ejected(&self, now: Moment) -> bool {
        self.ejected_until.load(Relaxed) > now.nanos()
    }

    /// When its last ejection ends or ended; [`Moment::NEVER`]: there was none.
    pub fn ejected_until(&self) -> Moment {
        Moment::from_nanos(self.ejected_until.load(Relaxed))
    }

    /// Failures in a row now.
    pub fn in_a_row(&self) -> u32 {
        self.row.load(Relaxed)
    }

    /// Ends an ejection and forgets the failures, not how often it was ejected.
    pub fn forgive(&self, now: Moment) {
        self.row.store(0, Relaxed);
        self.ejected_until.fetch_min(now.nanos(), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use proptest::prelude::*;

    const RULE: Outlier = Outlier {
        failures: 3,
        eject: Duration::from_secs(5),
        max_eject: Duration::from_secs(12),
        share: kit::units::Share::ALL,
    };

    fn at(ms: u64) -> Moment {
        Moment::from_nanos(1 << 40) + Duration::from_millis(ms)
    }

    /// Fails until it is ejected; returns for how long.
    fn eject(strikes: &Strikes, now: u64) -> Duration {
        while !strikes.failure(&RULE, at(now)) {}
        strikes.ejected_until().since(at(now))
    }

    #[test]
    fn three_failures_in_a_row_eject_and_a_success_between_them_does_not() {
        let strikes = Strikes::default();
        assert!(!strikes.failure(&RULE, at(0)) && !strikes.failure(&RULE, at(0)));
        strikes.success();
        assert!(!strikes.failure(&RULE, at(0)) && !strikes.failure(&RULE, at(0)));
        assert!(!strikes.is_ejected(at(0)));
        assert!(strikes.failure(&RULE, at(0)));
        assert!(strikes.is_ejected(at(4_999)) && !strikes.is_ejected(at(5_000)));
    }

    #[test]
    fn ejections_grow_up_to_the_longest_and_shrink_with_good_behaviour() {
        let strikes = Strikes::default();
        let secs = Duration::from_secs;
        assert_eq!(eject(&strikes, 0), secs(5));
        assert_eq!(eject(&strikes, 5_000), secs(10));
        assert_eq!(eject(&strikes, 15_000), secs(12));
        assert_eq!(eject(&strikes, 27_000), secs(12));
        assert_eq!(eject(&strikes, 39_000 + 15_000), secs(5));
    }

    #[test]
    fn failures_of_exchanges_from_before_the_ejection_do_not_prolong_it() {
        let strikes = Strikes::default();
        eject(&strikes, 0);
        let until = strikes.ejected_until();
        for _ in 0..100 {
            assert!(!strikes.failure(&RULE, at(10)));
        }
        assert_eq!(strikes.ejected_until(), until);
    }

    #[test]
    fn the_last_failure_seen_by_many_threads_ejects_once() {
        for _ in 0..50 {
            let strikes = Strikes::default();
            let ejections: usize = std::thread::scope(|threads| {
                let threads: Vec<_> = (0..4)
                    .map(|_| threads.spawn(|| (0..100).filter(|_| strikes.failure(&RULE, at(0))).count()))
                    .collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).sum()
            });
            assert_eq!(ejections, 1);
        }
    }

    proptest! {
        #[test]
        fn an_endpoint_is_ejected_exactly_when_the_row_is_long_enough_and_never_for_too_long(
            events in prop::collection::vec((any::<bool>(), 0u64..4_000), 1..300),
        ) {
            let strikes = Strikes::default();
            let (mut now, mut row) = (0, 0);
            for (good, later) in events {
                now += later;
                let was_out = strikes.is_ejected(at(now));
                if good {
                    strikes.success();
                    row = 0;
                    continue;
                }
                row += u32::from(!was_out);
                let ejected = strikes.failure(&RULE, at(now));
                prop_assert_eq!(ejected, row == RULE.failures);
                if ejected {
                    row = 0;
                    let time = strikes.ejected_until().since(at(now));
                    prop_assert!(time >= RULE.eject && time <= RULE.max_eject);
                }
            }
        }
    }
}
