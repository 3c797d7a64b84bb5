//! Operators between two: numbers, series and numbers, series and series that have the same labels.

use std::collections::HashMap;

use super::ast::{Binary, Many, Sign};
use super::eval::Eval;
use super::matcher::value_of;
use super::rows::{Merged, Row, Value, grouped, set, shown, taken_together, unnamed};
use super::{Labels, NAME, PromError};

pub(super) fn evaluate(eval: &Eval<'_>, binary: &Binary) -> Result<Value, PromError> {
    let (left, right) = (eval.value(&binary.left)?, eval.value(&binary.right)?);
    Ok(match (left, right) {
        (Value::Scalar(left), Value::Scalar(right)) => {
            let of = |(left, right)| match calculated(binary.sign, left, right) {
                Ok(value) => value,
                Err(holds) => f64::from(u8::from(holds)),
            };
            Value::Scalar(left.into_iter().zip(right).map(of).collect())
        }
        (Value::Vector(rows), Value::Scalar(cells)) => {
            Value::Vector(with_scalar(binary, rows, &cells, false)?)
        }
        (Value::Scalar(cells), Value::Vector(rows)) => {
            Value::Vector(with_scalar(binary, rows, &cells, true)?)
        }
        (Value::Vector(left), Value::Vector(right)) if binary.sign.is_of_sets() => {
            Value::Vector(of_sets(eval, binary, left, right)?)
        }
        (Value::Vector(left), Value::Vector(right)) => Value::Vector(of_vectors(eval, binary, left, right)?),
        _ => return Err(PromError::NoAnswer("numbers and instant vectors are needed here".into())), // the parser has checked
    })
}

/// A number, or whether a comparison holds.
fn calculated(sign: Sign, left: f64, right: f64) -> Result<f64, bool> {
    Ok(match sign {
        Sign::Add => left + right,
        Sign::Sub => left - right,
        Sign::Mul => left * right,
        Sign::Div => left / right,
        Sign::Mod => left % right,
        Sign::Pow => left.powf(right),
        Sign::Atan2 => left.atan2(right),
        Sign::Equal => return Err(left == right),
        Sign::NotEqual => return Err(left != right),
        Sign::Greater => return Err(left > right),
        Sign::Less => return Err(left < right),
        Sign::AtLeast => return Err(left >= right),
        Sign::AtMost => return Err(left <= right),
        Sign::And | Sign::Or | Sign::Unless => f64::NAN, // not of numbers
    })
}

/// What an operator leaves: `kept` is what a comparison that holds gives.
fn left_over(binary: &Binary, left: f64, right: f64, kept: f64) -> Option<f64> {
    match calculated(binary.sign, left, right) {
        Ok(value) => Some(value),
        Err(holds) if binary.as_bool => Some(f64::from(u8::from(holds))),
        Err(holds) => holds.then_some(kept),
    }
}

fn keeps_name(binary: &Binary) -> bool {
    binary.sign.compares() && !binary.as_bool
}

fn with_scalar(
    binary: &Binary,
    mut rows: Vec<Row>,
    cells: &[f64],
    scalar_first: bool,
) -> Result<Vec<Row>, PromError> {
    for row in &mut rows {
        if !keeps_name(binary) {
            row.labels = unnamed(std::mem::take(&mut row.labels));
        }
        for (cell, scalar) in row.cells.iter_mut().zip(cells) {
            *cell = cell.and_then(|value| {
                let (left, right) = if scalar_first { (*scalar, value) } else { (value, *scalar) };
                left_over(binary, left, right, value)
            });
        }
    }
    rows.retain(|row| !row.is_empty());
    taken_together(rows)
}

fn of_sets(eval: &Eval<'_>, binary: &Binary, left: Vec<Row>, right: Vec<Row>) -> Result<Vec<Row>, PromError> {
    let presence = |rows: &[Row]| {
        let mut there: HashMap<Labels, Vec<bool>> = HashMap::new();
        for row in rows {
            let steps =
                there.entry(grouped(&row.labels, &binary.on)).or_insert_with(|| vec![false; eval.steps]);
            steps.iter_mut().zip(&row.cells).for_each(|(there, cell)| *there |= cell.is_some());
        }
        there
    };
    // `or` keeps all of the left, and of the right what the left has not.
    let (kept, other, wanted) = match binary.sign {
        Sign::And => (left, right, true),
        Sign::Unless => (left, right, false),
        _ => {
            eval.room(left.len() + right.len())?;
            let there = presence(&left);
            let rest = masked(right, binary, &there, false);
            let mut merged = Merged::default();
            for row in left.into_iter().chain(rest) {
                for (step, cell) in row.cells.iter().enumerate() {
                    if let Some(value) = cell
                        && !merged.put(row.labels.clone(), step, eval.steps, *value)
                    {
                        let why = "vector cannot contain metrics with the same labelset";
                        return Err(PromError::NoAnswer(why.into()));
                    }
                }
            }
            return Ok(merged.rows());
        }
    };
    let there = presence(&other);
    Ok(masked(kept, binary, &there, wanted))
}

fn masked(mut rows: Vec<Row>, binary: &Binary, there: &HashMap<Labels, Vec<bool>>, wanted: bool) -> Vec<Row> {
    for row in &mut rows {
        let there = there.get(&grouped(&row.labels, &binary.on));
        for (step, cell) in row.cells.iter_mut().enumerate() {
            if there.is_some_and(|steps| steps[step]) != wanted {
                *cell = None;
            }
        }
    }
    rows.retain(|row| !row.is_empty());
    rows
}

fn of_vectors(
    eval: &Eval<'_>,
    binary: &Binary,
    left: Vec<Row>,
    right: Vec<Row>,
) -> Result<Vec<Row>, PromError> {
    let (many, one, one_side) = match binary.many {
        Many::Right => (right, left, "left"),
        Many::None | Many::Left => (left, right, "right"),
    };
    if many.is_empty() || one.is_empty() {
        return Ok(Vec::new());
    }
    let mut ones: HashMap<Labels, Vec<&Row>> = HashMap::new();
    for row in &one {
        ones.entry(grouped(&row.labels, &binary.on)).or_default().push(row);
    }
    for (group, rows) in ones.iter().filter(|(_, rows)| rows.len() > 1) {
        for step in 0..eval.steps {
            let mut there = rows.iter().filter(|row| row.cells[step].is_some());
            if let (Some(first), Some(second)) = (there.next(), there.next()) {
                return Err(PromError::NoAnswer(format!(
                    "found duplicate series for the match group {} on the {one_side} hand-side of the operation: [{}, {}];\
                     many-to-many matching not allowed: matching labels must be unique on one side",
                    shown(group),
                    shown(&second.labels),
                    shown(&first.labels),
                )));
            }
        }
    }
    let mut merged = Merged::default();
    // Where one goes with one, a group may be met once at each moment at which the comparison holds.
    let mut met: HashMap<Labels, Vec<bool>> = HashMap::new();
    for row in &many {
        let group = grouped(&row.labels, &binary.on);
        let Some(others) = ones.get(&group) else { continue };
        let met = met.entry(group).or_insert_with(|| vec![false; eval.steps]);
        eval.room(others.len())?;
        for other in others {
            let labels = joined(binary, &row.labels, &other.labels);
            for (step, met) in met.iter_mut().enumerate() {
                let (Some(a), Some(b)) = (row.cells[step], other.cells[step]) else { continue };
                let (left, right) = if binary.many == Many::Right { (b, a) } else { (a, b) };
                let Some(value) = left_over(binary, left, right, left) else { continue };
                let is_first = if binary.many == Many::None {
                    let is_first = !std::mem::replace(met, true);
                    merged.put(labels.clone(), step, eval.steps, value);
                    is_first
                } else {
                    merged.put(labels.clone(), step, eval.steps, value)
                };
                if !is_first {
                    let why = if binary.many == Many::None {
                        "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)"
                    } else {
                        "multiple matches for labels: grouping labels must ensure unique matches"
                    };
                    return Err(PromError::NoAnswer(why.into()));
                }
            }
        }
    }
    Ok(merged.rows())
}

/// The labels of a pair.
fn joined(binary: &Binary, many: &Labels, one: &Labels) -> Labels {
    let mut labels = many.clone();
    if !keeps_name(binary) {
        labels = unnamed(labels);
    }
    if binary.many == Many::None {
        let listed = |name: &str| binary.on.labels.iter().any(|label| label == name);
        labels.retain(|(name, _)| {
            if binary.on.without {
                !listed(name)
            } else {
                listed(name) && (name != NAME || keeps_name(binary))
            }
        });
    }
    for label in &binary.include {
        set(&mut labels, label, value_of(one, label));
    }
    labels
}
