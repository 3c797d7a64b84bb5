//! When a delivery that failed is tried again: four phases, as SNS has them.
//!
//! ```text
//! immediate (no delay) → pre-backoff (least delay) → backoff (least to most) → post-backoff (most delay) → given up
//! ```

use std::time::Duration;

/// How deliveries to an address are tried again, and how many a second there may be.
#[derive(Clone, Debug, PartialEq)]
pub struct Retry {
    /// Tries after the first one, over all phases.
    pub retries: u32,
    /// How many of them follow without a delay.
    pub immediate: u32,
    /// How many follow then with the least delay.
    pub pre_backoff: u32,
    /// How many come at the end with the most delay.
    pub post_backoff: u32,
    /// The least delay, in seconds.
    pub least_seconds: u32,
    /// The most, in seconds.
    pub most_seconds: u32,
    /// How delays grow from one to the other.
    pub curve: Curve,
    /// Deliveries a second; `None`: as many as there are.
    pub per_second: Option<u32>,
    /// The `Content-Type` of what is delivered; `None`: as the protocol has it.
    pub content_type: Option<String>,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            retries: 3,
            immediate: 0,
            pre_backoff: 0,
            post_backoff: 0,
            least_seconds: 20,
            most_seconds: 20,
            curve: Curve::Linear,
            per_second: None,
            content_type: None,
        }
    }
}

/// How delays grow during backoff. SNS names these four and draws their shapes; the formulas are ours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Curve {
    /// By the same amount each time.
    #[default]
    Linear,
    /// By an amount that grows by the same amount each time.
    Arithmetic,
    /// By the same factor each time.
    Geometric,
    /// By an amount that doubles each time.
    Exponential,
}

/// A policy that cannot be followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRetry {
    /// A number is out of its bounds.
    #[error("{what} must be between {from} and {to}")]
    OutOfRange {
        /// The field.
        what: &'static str,
        /// The least it can be.
        from: u32,
        /// The most.
        to: u32,
    },
    /// The least delay is more than the most.
    #[error("the least delay must not be more than the most")]
    LeastOverMost,
    /// The phases have more tries than there are.
    #[error("the phases together have more tries than there are")]
    Phases,
    /// It would go on for too long.
    #[error("all delays together must not be more than {} seconds", Retry::MOST_TOTAL_SECONDS)]
    TooLong,
}

impl Retry {
    /// Most retries.
    pub const MOST_RETRIES: u32 = 100;
    /// Longest delay.
    pub const MOST_SECONDS: u32 = 3600;
    /// Longest time over all delays.
    pub const MOST_TOTAL_SECONDS: u32 = 3600;

    /// Whether it can be followed.
    pub fn check(&self) -> Result<(), BadRetry> {
        let within = |what, value: u32, from, to| {
            if (from..=to).contains(&value) { Ok(()) } else { Err(BadRetry::OutOfRange { what, from, to }) }
        };
        within("numRetries", self.retries, 0, Self::MOST_RETRIES)?;
        within("minDelayTarget", self.least_seconds, 1, Self::MOST_SECONDS)?;
        within("maxDelayTarget", self.most_seconds, 1, Self::MOST_SECONDS)?;
        if let Some(per_second) = self.per_second {
            within("maxReceivesPerSecond", per_second, 1, u32::MAX)?;
        }
        if self.least_seconds > self.most_seconds {
            return Err(BadRetry::LeastOverMost);
        }
        let phases = [self.immediate, self.pre_backoff, self.post_backoff];
        if phases.iter().fold(0u32, |sum, count| sum.saturating_add(*count)) > self.retries {
            return Err(BadRetry::Phases);
        }
        let total: Duration = (1..=self.retries).filter_map(|failures| self.delay(failures)).sum();
        if total > Duration::from_secs(u64::from(Self::MOST_TOTAL_SECONDS)) {
            return Err(BadRetry::TooLong);
        }
        Ok(())
    }

    /// How long to wait after so many failures, the first is 1; `None`: no more.
    pub fn delay(&self, failures: u32) -> Option<Duration> {
        let retry = failures.max(1) - 1;
        if retry >= self.retries {
            return None;
        }
        if retry < self.immediate {
            return Some(Duration::ZERO);
        }
        let least = Duration::from_secs(u64::from(self.least_seconds));
        let most = Duration::from_secs(u64::from(self.most_seconds));
        if retry < self.immediate.saturating_add(self.pre_backoff) {
            return Some(least);
        }
        if retry >= self.retries.saturating_sub(self.post_backoff) {
            return Some(most);
        }
        let steps = self.retries.saturating_sub(self.immediate + self.pre_backoff + self.post_backoff);
        let step = retry - self.immediate - self.pre_backoff;
        let seconds = self.curve.at(step, steps, f64::from(self.least_seconds), f64::from(self.most_seconds));
        Some(Duration::from_secs_f64(seconds).clamp(least, most))
    }
}

impl Curve {
    /// The delay of one step of so many, between two delays; both ends are met.
    fn at(self, step: u32, steps: u32, least: f64, most: f64) -> f64 {
        let last = steps.saturating_sub(1);
        if last == 0 {
            return least;
        }
        let (step, last) = (f64::from(step), f64::from(last));
        let share = match self {
            Self::Linear => step / last,
            Self::Arithmetic => step * (step + 1.0) / (last * (last + 1.0)),
            Self::Geometric => return least * (most / least).powf(step / last),
            Self::Exponential => (step.exp2() - 1.0) / (last.exp2() - 1.0),
        };
        least + (most - least) * share
    }
}

/// What becomes of a delivery that was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is done.
    Done,
    /// Later.
    Again(Duration),
    /// Never.
    GiveUp,
}

/// After the `tries`th try: whether to try again. `again`: whether another try could help; `None`: it was taken.
pub(crate) fn verdict(retry: &Retry, tries: u32, failed: Option<bool>) -> Verdict {
    match failed {
        None => Verdict::Done,
        Some(false) => Verdict::GiveUp,
        Some(true) => retry.delay(tries).map_or(Verdict::GiveUp, Verdict::Again),
    }
}

/// A delay in whole seconds, spread: between three quarters of it and all of it. `share` is in 0..=1.
pub(crate) fn spread_seconds(delay: Duration, share: f64) -> u32 {
    let seconds = delay.as_secs_f64() * (0.75 + 0.25 * share.clamp(0.0, 1.0));
    // Up to a second there is nothing to spread.
    if delay <= Duration::from_secs(1) { delay.as_secs_f64().ceil() as u32 } else { seconds.round() as u32 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn delays(retry: &Retry) -> Vec<u64> {
        (1..).map_while(|failures| retry.delay(failures)).map(|delay| delay.as_secs()).collect()
    }

    #[test]
    fn the_default_tries_three_times_every_twenty_seconds() {
        assert_eq!(delays(&Retry::default()), [20, 20, 20]);
        assert_eq!(Retry::default().check(), Ok(()));
    }

    #[test]
    fn phases_follow_each_other() {
        let retry = Retry {
            retries: 10,
            immediate: 1,
            pre_backoff: 2,
            post_backoff: 2,
            least_seconds: 1,
            most_seconds: 16,
            ..Retry::default()
        };
        let with = |curve| delays(&Retry { curve, ..retry.clone() });
        assert_eq!(with(Curve::Linear), [0, 1, 1, 1, 4, 8, 12, 16, 16, 16]);
        assert_eq!(with(Curve::Arithmetic), [0, 1, 1, 1, 2, 5, 10, 16, 16, 16]);
        assert_eq!(with(Curve::Geometric), [0, 1, 1, 1, 2, 4, 8, 16, 16, 16]);
        assert_eq!(with(Curve::Exponential), [0, 1, 1, 1, 2, 4, 8, 16, 16, 16]);
    }

    #[test]
    fn what_cannot_be_followed() {
        let with = |change: fn(&mut Retry)| {
            let mut retry = Retry::default();
            change(&mut retry);
            retry.check().unwrap_err()
        };
        assert_eq!(with(|retry| retry.least_seconds = 21), BadRetry::LeastOverMost);
        assert_eq!(with(|retry| retry.immediate = 4), BadRetry::Phases);
        assert_eq!(with(|retry| (retry.retries, retry.most_seconds) = (100, 3600)), BadRetry::TooLong);
        assert!(matches!(with(|retry| retry.retries = 101), BadRetry::OutOfRange { what: "numRetries", .. }));
        assert!(matches!(with(|retry| retry.least_seconds = 0), BadRetry::OutOfRange { .. }));
        assert!(matches!(with(|retry| retry.per_second = Some(0)), BadRetry::OutOfRange { .. }));
    }

    #[test]
    fn a_refusal_is_not_tried_again() {
        let retry = Retry { retries: 1, ..Retry::default() };
        assert_eq!(verdict(&retry, 1, None), Verdict::Done);
        assert_eq!(verdict(&retry, 1, Some(false)), Verdict::GiveUp);
        assert_eq!(verdict(&retry, 1, Some(true)), Verdict::Again(Duration::from_secs(20)));
        assert_eq!(verdict(&retry, 2, Some(true)), Verdict::GiveUp);
    }

    proptest! {
        #[test]
        fn delays_never_shrink_and_stay_within_their_bounds(
            retries in 0u32..=100, immediate in 0u32..40, pre in 0u32..40, post in 0u32..40,
            least in 1u32..3600, more in 0u32..3600, curve in 0usize..4, share in 0.0f64..=1.0,
        ) {
            let curve = [Curve::Linear, Curve::Arithmetic, Curve::Geometric, Curve::Exponential][curve];
            let retry = Retry {
                retries, immediate, pre_backoff: pre, post_backoff: post,
                least_seconds: least, most_seconds: (least + more).min(3600), curve, ..Retry::default()
            };
            prop_assume!(!matches!(retry.check(), Err(BadRetry::Phases)));
            let mut before = Duration::ZERO;
            for failures in 1..=retries {
                let delay = retry.delay(failures).unwrap();
                prop_assert!(delay >= before);
                before = delay;
                let spread = spread_seconds(delay, share);
                prop_assert!(u64::from(spread) <= delay.as_secs_f64().ceil() as u64);
            }
            prop_assert_eq!(retry.delay(retries + 1), None);
        }
    }
}
