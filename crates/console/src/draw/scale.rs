//! From values to places on a picture.

/// Values from `low` to `high` on a line from `from` to `to`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Scale {
    pub(crate) fn new((low, high): (f64, f64), (from, to): (f64, f64)) -> Self {
        Self { low, high, from, to }
    }

    /// Where a value is; outside of the range: at its end.
    pub(crate) fn at(&self, value: f64) -> f64 {
        let span = self.high - self.low;
        let share =
            if span > 0.0 && value.is_finite() { ((value - self.low) / span).clamp(0.0, 1.0) } else { 0.0 };
        self.from + share * (self.to - self.from)
    }
}

/// A round number that is at least `most`, and the ticks from zero to it: about `wanted` of them.
pub(crate) fn ticks(most: f64, wanted: usize) -> Vec<f64> {
    let most = if most.is_finite() && most > 0.0 { most } else { 1.0 };
    let rough = most / wanted.max(1) as f64;
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0].map(|times| times * power);
    let step = step.into_iter().find(|step| *step >= rough * 0.999).unwrap_or(10.0 * power);
    let count = (most / step - 1e-9).ceil().max(1.0) as usize;
    (0..=count).map(|at| at as f64 * step).collect()
}

/// Steps of time on an axis, in microseconds, such that there are about `wanted` of them.
pub(crate) fn time_step(span_us: u64, wanted: u64) -> u64 {
    const SECOND: u64 = 1_000_000;
    let steps =
        [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 14_400, 21_600, 43_200, 86_400];
    let rough = span_us / wanted.max(1);
    let found = steps.into_iter().map(|step| step * SECOND).find(|step| *step >= rough);
    found.unwrap_or_else(|| rough.div_ceil(86_400 * SECOND) * 86_400 * SECOND)
}

/// A place with one decimal: pages stay small.
pub(crate) fn px(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ticks_are_round_and_reach_the_top() {
        assert_eq!(ticks(7.3, 4), [0.0, 2.0, 4.0, 6.0, 8.0]);
        assert_eq!(ticks(100.0, 4), [0.0, 25.0, 50.0, 75.0, 100.0]);
        assert_eq!(ticks(0.0, 4), [0.0, 0.25, 0.5, 0.75, 1.0]);
        assert_eq!(time_step(3_600_000_000, 6), 600_000_000);
        assert_eq!([px(3.0), px(3.12), px(-0.04)], ["3", "3.1", "-0"]);
    }

    proptest! {
        #[test]
        fn whatever_is_shown_stays_within_the_picture(values in prop::collection::vec(any::<f64>(), 1..20), value in any::<f64>()) {
            let most = values.iter().copied().filter(|v| v.is_finite()).fold(0.0, f64::max).min(1e300);
            let ticks = ticks(most, 4);
            prop_assert!(ticks.len() >= 2 && ticks.len() < 12, "{ticks:?}");
            prop_assert!(ticks[ticks.len() - 1] >= most * 0.999);
            let scale = Scale::new((0.0, ticks[ticks.len() - 1]), (10.0, 90.0));
            prop_assert!((10.0..=90.0).contains(&scale.at(value)));
        }

        #[test]
        fn an_axis_of_time_has_a_few_marks(span in 1_000_000_u64..10_000_000_000_000) {
            let marks = span / time_step(span, 6);
            prop_assert!(marks <= 6);
        }
    }
}
