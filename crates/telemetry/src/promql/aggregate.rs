//! Many series become one, or a few: `sum by (…)`, `topk`.

use std::collections::HashMap;

use super::ast::{Aggregate, Total};
use super::eval::{Eval, sort};
use super::rows::{Row, grouped, set};
use super::windows::{least, mean, most, quantile, sum, variance};
use super::{Labels, PromError, functions};

pub(super) fn evaluate(eval: &Eval<'_>, asked: &Aggregate) -> Result<Vec<Row>, PromError> {
    let Aggregate { total, by, wanted, inner } = asked;
    let with = match (wanted, total) {
        (Some(node), Total::TopK | Total::BottomK | Total::Quantile) => eval.scalar(node)?,
        _ => vec![f64::NAN; eval.steps],
    };
    let rows = eval.vector(inner)?;
    let mut places: HashMap<Labels, usize> = HashMap::new();
    let mut groups: Vec<(Labels, Vec<Row>)> = Vec::new();
    for row in rows {
        let place = *places.entry(grouped(&row.labels, by)).or_insert_with_key(|labels| {
            groups.push((labels.clone(), Vec::new()));
            groups.len() - 1
        });
        groups[place].1.push(row);
    }
    let mut answer = Vec::with_capacity(groups.len());
    for (labels, rows) in groups {
        eval.check()?;
        match (total, wanted) {
            (Total::TopK | Total::BottomK, _) => {
                answer.extend(best(eval, rows, *total == Total::TopK, &with));
            }
            (Total::CountValues, Some(super::ast::Node::Text(label))) => {
                answer.extend(count_values(eval, &labels, &rows, label)?);
            }
            _ => answer.push(Row { labels, cells: totals(eval, *total, &rows, &with) }),
        }
    }
    Ok(answer)
}

#[expect(clippy::cast_precision_loss, reason = "a count")]
fn totals(eval: &Eval<'_>, total: Total, rows: &[Row], with: &[f64]) -> Vec<Option<f64>> {
    let mut values = Vec::with_capacity(rows.len());
    let of = |step: usize| {
        values.clear();
        values.extend(rows.iter().filter_map(|row| row.cells[step]));
        if values.is_empty() {
            return None;
        }
        let (each, count) = (values.iter().copied(), values.len() as f64);
        Some(match total {
            Total::Sum => sum(each),
            Total::Avg => mean(each, count),
            Total::Min => least(each),
            Total::Max => most(each),
            Total::Count => count,
            Total::Group => 1.0,
            Total::Stdvar => variance(each),
            Total::Stddev => variance(each).sqrt(),
            Total::Quantile => quantile(with[step], &mut values),
            Total::TopK | Total::BottomK | Total::CountValues => return None, // keep more than one
        })
    };
    (0..eval.steps).map(of).collect()
}

/// The rows with all but the best so many left out, at each moment.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "below 1 it is none, and it saturates"
)]
fn best(eval: &Eval<'_>, mut rows: Vec<Row>, falling: bool, with: &[f64]) -> Vec<Row> {
    let mut ranked: Vec<(f64, usize)> = Vec::with_capacity(rows.len());
    for (step, with) in with.iter().enumerate() {
        let keep = if *with >= 1.0 { *with as usize } else { 0 };
        ranked.clear();
        ranked.extend(rows.iter().enumerate().filter_map(|(at, row)| Some((row.cells[step]?, at))));
        ranked.sort_by(|(a, _), (b, _)| {
            let order = if falling { b.partial_cmp(a) } else { a.partial_cmp(b) };
            order.unwrap_or_else(|| a.is_nan().cmp(&b.is_nan())) // what is no number is the worst
        });
        for (_, at) in ranked.iter().skip(keep) {
            rows[*at].cells[step] = None;
        }
    }
    rows.retain(|row| !row.is_empty());
    if eval.steps == 1 {
        sort(&mut rows, falling);
    }
    rows
}

fn count_values(eval: &Eval<'_>, labels: &Labels, rows: &[Row], label: &str) -> Result<Vec<Row>, PromError> {
    if !functions::is_label(label) {
        return Err(PromError::NoAnswer(format!("invalid label name {label:?}")));
    }
    let mut places: HashMap<u64, usize> = HashMap::new();
    let mut counted: Vec<Row> = Vec::new();
    for row in rows {
        for (step, value) in row.cells.iter().enumerate().filter_map(|(step, cell)| Some((step, (*cell)?))) {
            let bits = if value.is_nan() { f64::NAN.to_bits() } else { value.to_bits() };
            let place = match places.get(&bits) {
                Some(place) => *place,
                None => {
                    eval.room(1)?; // a row of its own for each value that there is
                    let mut labels = labels.clone();
                    set(&mut labels, label, &number(value));
                    counted.push(Row { labels, cells: vec![None; eval.steps] });
                    places.insert(bits, counted.len() - 1);
                    counted.len() - 1
                }
            };
            let cell = &mut counted[place].cells[step];
            *cell = Some(cell.unwrap_or(0.0) + 1.0);
        }
    }
    counted.sort_by(|a, b| a.labels.cmp(&b.labels));
    Ok(counted)
}

/// A number as Prometheus writes it.
pub(super) fn number(value: f64) -> String {
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    value.to_string()
}
