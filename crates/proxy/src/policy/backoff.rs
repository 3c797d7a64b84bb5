//! How long to wait before another try: exponential with full jitter, so that those who failed together do not
//! come back together (Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015).

use std::time::Duration;

use manifest::spec::Retry;

use super::draw;

/// The pause before the `nth` further try, from 1. `retry_after` is what the last answer asked for: the pause is
/// longer than that. `None`: the pause would not fit in the time that is `left`, so there is no other try.
pub fn pause(
    rule: &Retry,
    nth: u32,
    retry_after: Option<Duration>,
    left: Duration,
    random: u64,
) -> Option<Duration> {
    let doubled = 2u32.saturating_pow(nth.clamp(1, 32)); // uniform from zero: the mean is half of this
    let most = rule.backoff.saturating_mul(doubled).min(rule.max_backoff);
    let jittered = most.mul_f64(draw::fraction(random));
    let pause = jittered.saturating_add(retry_after.unwrap_or_default());
    (pause < left).then_some(pause)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn the_mean_pause_doubles_up_to_the_longest() {
        let rule = Retry { backoff: MS * 20, max_backoff: MS * 100, ..Retry::default() };
        let longest = |nth| pause(&rule, nth, None, Duration::MAX, u64::MAX).unwrap().as_millis();
        let mean = |nth| pause(&rule, nth, None, Duration::MAX, u64::MAX / 2).unwrap().as_micros();
        assert_eq!((mean(1), longest(1)), (20_000, 40));
        assert_eq!((longest(2), longest(3), longest(99)), (80, 100, 100));
        assert_eq!(pause(&rule, 1, None, MS, 0), Some(Duration::ZERO));
    }

    #[test]
    fn what_the_service_asks_for_is_waited_for_or_there_is_no_other_try() {
        let rule = Retry::default();
        assert_eq!(pause(&rule, 1, Some(MS * 500), MS * 501, 0), Some(MS * 500));
        assert_eq!(pause(&rule, 1, Some(MS * 500), MS * 500, 0), None);
    }

    proptest! {
        #[test]
        fn a_pause_fits_and_is_never_too_long(
            (backoff, most, left) in (0u64..1 << 40, 0u64..1 << 40, 0u64..1 << 40),
            nth: u32, random: u64, after in prop::option::of(0u64..1 << 40),
        ) {
            let nanos = Duration::from_nanos;
            let rule = Retry { backoff: nanos(backoff), max_backoff: nanos(most), ..Retry::default() };
            let after = after.map(nanos);
            if let Some(pause) = pause(&rule, nth, after, nanos(left), random) {
                prop_assert!(pause < nanos(left));
                prop_assert!(pause >= after.unwrap_or_default());
                prop_assert!(pause <= after.unwrap_or_default() + nanos(most));
            }
        }
    }
}
