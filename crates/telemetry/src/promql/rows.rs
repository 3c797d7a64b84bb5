//! What comes out: numbers at the moments that were asked about.

use std::collections::HashMap;

use super::ast::Grouping;
use super::matcher::value_of;
use super::{Labels, NAME, PromError, Sampled};
use crate::model::Text;

/// A series of an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Its labels.
    pub labels: Labels,
    /// For each moment a number, or none.
    pub cells: Vec<Option<f64>>,
}

/// An answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A number for each moment.
    Scalar(Vec<f64>),
    /// Series; each has a number at some moment.
    Vector(Vec<Row>),
    /// What was sampled; only of a question about one moment.
    Matrix(Vec<Sampled>),
    /// A text.
    Text(String),
}

impl Row {
    pub(super) fn is_empty(&self) -> bool {
        self.cells.iter().all(Option::is_none)
    }
}

/// The labels without the name of the metric.
pub(super) fn unnamed(mut labels: Labels) -> Labels {
    labels.retain(|(name, _)| name != NAME);
    labels
}

/// Sets a label; the empty text takes it away.
pub(super) fn set(labels: &mut Labels, name: &str, value: &str) {
    match labels.binary_search_by(|(other, _)| other.as_str().cmp(name)) {
        Ok(at) if value.is_empty() => drop(labels.remove(at)),
        Ok(at) => labels[at].1 = Text::from(value),
        Err(_) if value.is_empty() => {}
        Err(at) => labels.insert(at, (Text::from(name), Text::from(value))),
    }
}

/// What of the labels counts.
pub(super) fn grouped(labels: &Labels, by: &Grouping) -> Labels {
    if by.without {
        let stays =
            |(name, _): &&(Text, Text)| name != NAME && !by.labels.iter().any(|label| *name == **label);
        return labels.iter().filter(stays).cloned().collect();
    }
    let mut group = Labels::new();
    for label in &by.labels {
        set(&mut group, label, value_of(labels, label));
    }
    group
}

/// Two series with the same labels are no answer.
pub(super) fn unique(rows: Vec<Row>) -> Result<Vec<Row>, PromError> {
    let mut seen = std::collections::HashSet::with_capacity(rows.len());
    if rows.iter().all(|row| seen.insert(&row.labels)) {
        return Ok(rows);
    }
    Err(same_labels())
}

/// Series with the same labels become one: an instance that ended and one that came after it. If they are there at the same moment,
/// they are no answer.
pub(super) fn taken_together(rows: Vec<Row>) -> Result<Vec<Row>, PromError> {
    let mut places: HashMap<Labels, usize> = HashMap::with_capacity(rows.len());
    let mut together: Vec<Row> = Vec::with_capacity(rows.len());
    for row in rows {
        match places.get(&row.labels).and_then(|place| together.get_mut(*place)) {
            None => {
                places.insert(row.labels.clone(), together.len());
                together.push(row);
            }
            Some(other) => {
                for (there, cell) in other.cells.iter_mut().zip(row.cells) {
                    if cell.is_some() && std::mem::replace(there, cell).is_some() {
                        return Err(same_labels());
                    }
                }
            }
        }
    }
    Ok(together)
}

fn same_labels() -> PromError {
    PromError::NoAnswer("vector cannot contain metrics with the same labelset".into())
}

/// Series in the making, each with labels of its own.
#[derive(Default)]
pub(super) struct Merged {
    places: HashMap<Labels, usize>,
    rows: Vec<Row>,
}

impl Merged {
    /// Whether there was none at this moment yet.
    pub(super) fn put(&mut self, labels: Labels, step: usize, steps: usize, value: f64) -> bool {
        let place = *self.places.entry(labels).or_insert_with_key(|labels| {
            self.rows.push(Row { labels: labels.clone(), cells: vec![None; steps] });
            self.rows.len() - 1
        });
        self.rows[place].cells[step].replace(value).is_none()
    }

    pub(super) fn rows(self) -> Vec<Row> {
        self.rows
    }
}

/// Labels as people write them.
pub(super) fn shown(labels: &Labels) -> String {
    let name = value_of(labels, NAME);
    let others = labels.iter().filter(|(label, _)| label != NAME);
    let others: Vec<String> = others.map(|(label, value)| format!("{label}={:?}", value.as_str())).collect();
    format!("{name}{{{}}}", others.join(", "))
}
