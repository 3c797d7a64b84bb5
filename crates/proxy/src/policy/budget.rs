//! How many requests may be tried again, so that retries do not finish off what is struggling: a share of the
//! requests of the last seconds, and a few for routes where little happens. As in Finagle and Linkerd.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use kit::units::Share;
use registry::Moment;

use super::window::{Sum, Window};

/// How far back requests count.
pub const WINDOW: Duration = Duration::from_secs(10);

/// Retries per [`WINDOW`] that need no requests to earn them: one a second.
pub const RESERVE: u64 = 10;

/// The retries and hedges of one route, shared by all threads. Depositing is one addition.
#[derive(Debug)]
pub struct RetryBudget {
    share: AtomicU32,
    /// `first`: retries.
    window: Window,
}

impl RetryBudget {
    /// An unused budget. With a share of nothing there is no reserve either.
    pub fn new(share: Share) -> Self {
        Self { share: AtomicU32::new(share.millionths()), window: Window::new(WINDOW) }
    }

    /// Another share from now on; what was counted stays.
    pub fn reconfigure(&self, share: Share) {
        self.share.store(share.millionths(), Relaxed);
    }

    /// A request came (not a retry): once per request, before its first try.
    #[inline]
    pub fn deposit(&self, now: Moment) {
        self.window.add(Sum { total: 1, first: 0, second: 0 }, now);
    }

    /// Takes one retry out of the budget, if there is one. Threads that ask at the same moment may get one too
    /// many each.
    pub fn withdraw(&self, now: Moment) -> bool {
        let share = u64::from(self.share.load(Relaxed));
        let Some(sum) = self.window.sum(now) else { return false };
        let earned = RESERVE * 1_000_000 + sum.total * share;
        if share == 0 || (sum.first + 1) * 1_000_000 > earned {
            return false;
        }
        self.window.add(Sum { total: 0, first: 1, second: 0 }, now);
        true
    }

    /// Requests and retries (`first`) of the last seconds.
    pub fn spent(&self, now: Moment) -> Sum {
        self.window.sum(now).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(ms: u64) -> Moment {
        Moment::from_nanos(1 << 40) + Duration::from_millis(ms)
    }

    #[test]
    fn rare_requests_may_be_tried_again_and_many_only_in_part() {
        let budget = RetryBudget::new(Share::percent(20));
        budget.deposit(at(0));
        assert!(budget.withdraw(at(0)));
        let rare = 1 + (0..100).filter(|_| budget.withdraw(at(0))).count();
        assert_eq!(rare, RESERVE as usize);
        let budget = RetryBudget::new(Share::percent(20));
        let many = (0..10_000u64).filter(|n| {
            budget.deposit(at(n / 10));
            budget.withdraw(at(n / 10))
        });
        assert!((2_000..=2_010).contains(&many.count()));
    }

    #[test]
    fn what_was_spent_comes_back_with_time() {
        let budget = RetryBudget::new(Share::percent(20));
        while budget.withdraw(at(0)) {}
        assert!(!budget.withdraw(at(5_000)));
        assert!(budget.withdraw(at(10_000)));
    }

    #[test]
    fn a_budget_of_nothing_is_nothing() {
        let budget = RetryBudget::new(Share::NONE);
        budget.deposit(at(0));
        assert!(!budget.withdraw(at(0)));
        budget.reconfigure(Share::percent(1));
        assert!(budget.withdraw(at(0)));
    }

    proptest! {
        #[test]
        fn retries_never_exceed_the_share_and_the_reserve(
            percent in 1u32..100,
            events in prop::collection::vec((0u8..4, 0u64..800), 1..500),
        ) {
            let budget = RetryBudget::new(Share::percent(percent));
            let (mut now, mut requests, mut retries) = (0, Vec::new(), Vec::new());
            for (what, later) in events {
                now += if what == 0 { later } else { 0 };
                if what == 1 {
                    budget.deposit(at(now));
                    requests.push(now);
                }
                if what < 2 || !budget.withdraw(at(now)) {
                    continue;
                }
                retries.push(now);
                // Retries of nine tenths of the window are surely counted, requests of all of it perhaps.
                let retries = retries.iter().filter(|then| *then + 9_000 > now).count() as f64;
                let requests = requests.iter().filter(|then| *then + 10_000 >= now).count() as f64;
                prop_assert!(retries <= RESERVE as f64 + requests * f64::from(percent) / 100.0 + 1e-9);
            }
        }
    }
}
