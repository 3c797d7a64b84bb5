//! Quantiles of what was counted in buckets.

use std::collections::HashMap;

use super::eval::Eval;
use super::matcher::value_of;
use super::rows::{Row, set, unnamed};
use super::{Labels, PromError};

/// The label of a bucket: its upper bound.
const BOUND: &str = "le";

/// `histogram_quantile`, of each set of buckets.
pub(super) fn quantile(eval: &Eval<'_>, shares: &[f64], rows: Vec<Row>) -> Result<Vec<Row>, PromError> {
    let mut places: HashMap<Labels, usize> = HashMap::new();
    let mut sets: Vec<(Labels, Vec<(f64, Row)>)> = Vec::new();
    for row in rows {
        let Ok(bound) = value_of(&row.labels, BOUND).parse::<f64>() else { continue };
        let mut labels = unnamed(row.labels.clone());
        set(&mut labels, BOUND, "");
        let place = *places.entry(labels).or_insert_with_key(|labels| {
            sets.push((labels.clone(), Vec::new()));
            sets.len() - 1
        });
        sets[place].1.push((bound, row));
    }
    let mut answer = Vec::with_capacity(sets.len());
    for (labels, mut buckets) in sets {
        eval.check()?;
        buckets.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        let of = |step: usize| {
            let there = buckets.iter().filter_map(|(bound, row)| Some((*bound, row.cells[step]?)));
            let there: Vec<(f64, f64)> = there.collect();
            (!there.is_empty()).then(|| within(shares[step], there))
        };
        answer.push(Row { labels, cells: (0..eval.steps).map(of).collect() });
    }
    Ok(answer)
}

/// The value below which so large a share lies, as if all were spread evenly within their bucket. Buckets by their bounds; counts of all up to there.
fn within(share: f64, buckets: Vec<(f64, f64)>) -> f64 {
    if share.is_nan() {
        return f64::NAN;
    }
    if share < 0.0 {
        return f64::NEG_INFINITY;
    }
    if share > 1.0 {
        return f64::INFINITY;
    }
    let mut merged: Vec<(f64, f64)> = Vec::with_capacity(buckets.len());
    for (bound, count) in buckets {
        match merged.last_mut() {
            Some((last, total)) if *last == bound => *total += count,
            _ => merged.push((bound, count)),
        }
    }
    // Buckets that were not sampled at one moment may say less than smaller ones.
    let mut most = f64::NEG_INFINITY;
    for (_, count) in &mut merged {
        most = if *count > most { *count } else { most };
        *count = most;
    }
    let [first, .., (last_bound, all)] = merged[..] else { return f64::NAN };
    if last_bound != f64::INFINITY || all == 0.0 || all.is_nan() {
        return f64::NAN;
    }
    let rank = share * all;
    let at = merged[..merged.len() - 1].partition_point(|(_, count)| *count < rank);
    if at == merged.len() - 1 {
        return merged[at - 1].0;
    }
    if at == 0 && first.0 <= 0.0 {
        return first.0;
    }
    let (end, up_to) = merged[at];
    let (start, before) = if at == 0 { (0.0, 0.0) } else { merged[at - 1] };
    start + (end - start) * ((rank - before) / (up_to - before))
}
