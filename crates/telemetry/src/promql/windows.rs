//! Functions of stretches of time: what a series said in one becomes a number.

use super::functions::Function;
use super::rows::Row;
use super::{PromError, Sampled};

/// Samples that are worked on between two looks whether there is time left.
const BETWEEN_LOOKS: usize = 250_000;

/// Series, and for each moment the end of a stretch.
pub(super) struct Windows {
    pub(super) series: Vec<Sampled>,
    pub(super) range_ms: i64,
    pub(super) ends: Vec<i64>,
}

/// What a series said in a stretch: something.
pub(super) struct Window<'s> {
    pub(super) samples: &'s [(i64, f64)],
    pub(super) start_ms: i64,
    pub(super) end_ms: i64,
    pub(super) step: usize,
}

impl Windows {
    /// A number for each stretch that has samples. Both ends belong to it.
    pub(super) fn apply(
        &self,
        of: impl Fn(&Window<'_>) -> Result<Option<f64>, PromError>,
        check: impl Fn() -> Result<(), PromError>,
    ) -> Result<Vec<Row>, PromError> {
        let mut rows = Vec::with_capacity(self.series.len());
        let mut worked = 0;
        for series in &self.series {
            check()?;
            let (mut from, mut until) = (0, 0);
            let mut cells = Vec::with_capacity(self.ends.len());
            for (step, end_ms) in self.ends.iter().copied().enumerate() {
                let start_ms = end_ms.saturating_sub(self.range_ms);
                while series.samples.get(until).is_some_and(|(at, _)| *at <= end_ms) {
                    until += 1;
                }
                while from < until && series.samples[from].0 < start_ms {
                    from += 1;
                }
                let samples = &series.samples[from..until];
                worked += samples.len() + 1;
                if worked > BETWEEN_LOOKS {
                    worked = 0;
                    check()?;
                }
                let window = Window { samples, start_ms, end_ms, step };
                cells.push(if samples.is_empty() { None } else { of(&window)? });
            }
            rows.push(Row { labels: series.labels.clone(), cells });
        }
        rows.retain(|row| !row.is_empty());
        Ok(rows)
    }
}

/// What a function makes of a stretch; `now_ms` is the moment that is asked about, `with` its other argument.
#[expect(clippy::cast_precision_loss, reason = "counts and milliseconds")]
pub(super) fn function(function: Function, window: &Window<'_>, now_ms: i64, with: f64) -> Option<f64> {
    use Function as F;
    let samples = window.samples;
    let values = || samples.iter().map(|(_, value)| *value);
    let count = samples.len() as f64;
    let pairs = || samples.windows(2).map(|pair| (pair[0].1, pair[1].1));
    Some(match function {
        F::Rate => extrapolated(window, true)? / ((window.end_ms - window.start_ms) as f64 / 1000.0),
        F::Increase => extrapolated(window, true)?,
        F::Delta => extrapolated(window, false)?,
        F::Irate => {
            let [.., (before, old), (at, new)] = *samples else { return None };
            let grown = if new < old { new } else { new - old };
            (at > before).then(|| grown / ((at - before) as f64 / 1000.0))?
        }
        F::Idelta => {
            let [.., (before, old), (at, new)] = *samples else { return None };
            (at > before).then_some(new - old)?
        }
        F::Deriv => line(samples, samples.first()?.0)?.0,
        F::PredictLinear => {
            let (slope, level) = line(samples, now_ms)?;
            slope * with + level
        }
        F::Resets => pairs().filter(|(old, new)| new < old).count() as f64,
        F::Changes => {
            pairs().filter(|(old, new)| new != old && !(new.is_nan() && old.is_nan())).count() as f64
        }
        F::AvgOverTime => mean(values(), count),
        F::SumOverTime => sum(values()),
        F::CountOverTime => count,
        F::LastOverTime => samples.last()?.1,
        F::PresentOverTime => 1.0,
        F::MinOverTime => least(values()),
        F::MaxOverTime => most(values()),
        F::StdvarOverTime => variance(values()),
        F::StddevOverTime => variance(values()).sqrt(),
        F::QuantileOverTime => quantile(with, &mut values().collect::<Vec<_>>()),
        _ => return None,
    })
}

/// How much it has grown over the whole stretch: what was seen, drawn out to both ends where the samples come near them. A counter
/// that falls began anew, and none begins below zero.
#[expect(clippy::cast_precision_loss, reason = "milliseconds")]
fn extrapolated(window: &Window<'_>, counts: bool) -> Option<f64> {
    let (Some((first_at, first)), Some((last_at, last))) = (window.samples.first(), window.samples.last())
    else {
        return None;
    };
    let between = window.samples.len().checked_sub(1).filter(|between| *between > 0)?;
    let mut grown = last - first;
    if counts {
        for pair in window.samples.windows(2) {
            if pair[1].1 < pair[0].1 {
                grown += pair[0].1;
            }
        }
    }
    let mut to_start = (first_at - window.start_ms) as f64 / 1000.0;
    let to_end = (window.end_ms - last_at) as f64 / 1000.0;
    let seen = (last_at - first_at) as f64 / 1000.0;
    let average = seen / between as f64;
    if counts && grown > 0.0 && *first >= 0.0 {
        to_start = to_start.min(seen * (first / grown));
    }
    let near = average * 1.1;
    let drawn_out = |gap: f64| if gap < near { gap } else { average / 2.0 };
    Some(grown * ((seen + drawn_out(to_start) + drawn_out(to_end)) / seen))
}

/// The straight line through the samples: how fast it rises per second, and where it is at a moment.
#[expect(clippy::cast_precision_loss, reason = "milliseconds")]
fn line(samples: &[(i64, f64)], at_ms: i64) -> Option<(f64, f64)> {
    let [(_, first), rest @ ..] = samples else { return None };
    if rest.is_empty() {
        return None;
    }
    if rest.iter().all(|(_, value)| value == first) {
        return Some(if first.is_infinite() { (f64::NAN, f64::NAN) } else { (0.0, *first) });
    }
    let n = samples.len() as f64;
    let x = |at: i64| (at - at_ms) as f64 / 1000.0;
    let (mean_x, mean_y) =
        (sum(samples.iter().map(|(at, _)| x(*at))) / n, sum(samples.iter().map(|(_, value)| *value)) / n);
    // Around the means: moments of this era are large, and their squares would lose what tells them apart.
    let covariance = sum(samples.iter().map(|(at, value)| (x(*at) - mean_x) * (value - mean_y)));
    let spread = sum(samples.iter().map(|(at, _)| (x(*at) - mean_x).powi(2)));
    let slope = covariance / spread;
    Some((slope, mean_y - slope * mean_x))
}

/// Adds up, and what rounding loses as well.
pub(super) fn sum(values: impl Iterator<Item = f64>) -> f64 {
    let (mut sum, mut lost) = (0.0f64, 0.0f64);
    for value in values {
        let next = sum + value;
        if next.is_finite() {
            lost += if sum.abs() >= value.abs() { (sum - next) + value } else { (value - next) + sum };
        }
        sum = next;
    }
    if sum.is_finite() { sum + lost } else { sum }
}

pub(super) fn mean(values: impl Iterator<Item = f64> + Clone, count: f64) -> f64 {
    let total = sum(values.clone());
    if total.is_infinite() && values.clone().all(f64::is_finite) {
        return sum(values.map(|value| value / count));
    }
    total / count
}

/// The least that is a number, if any is.
pub(super) fn least(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(f64::NAN, |least, value| if value < least || least.is_nan() { value } else { least })
}

/// The most that is a number, if any is.
pub(super) fn most(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(f64::NAN, |most, value| if value > most || most.is_nan() { value } else { most })
}

pub(super) fn variance(values: impl Iterator<Item = f64>) -> f64 {
    let (mut count, mut mean, mut squares) = (0.0, 0.0, 0.0);
    for value in values {
        count += 1.0;
        let off = value - mean;
        mean += off / count;
        squares += off * (value - mean);
    }
    squares / count
}

/// The value below which so large a share lies, between the two that are nearest.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "ranks"
)]
pub(super) fn quantile(share: f64, values: &mut [f64]) -> f64 {
    if values.is_empty() || share.is_nan() {
        return f64::NAN;
    }
    if share < 0.0 {
        return f64::NEG_INFINITY;
    }
    if share > 1.0 {
        return f64::INFINITY;
    }
    values.sort_by(|a, b| a.partial_cmp(b).unwrap_or_else(|| b.is_nan().cmp(&a.is_nan())));
    let rank = share * (values.len() - 1) as f64;
    let lower = rank.floor() as usize;
    let upper = (lower + 1).min(values.len() - 1);
    let weight = rank - rank.floor();
    values[lower] * (1.0 - weight) + values[upper] * weight
}
