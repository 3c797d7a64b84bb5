//! The tree becomes numbers, all moments of an answer at once.

use std::cell::Cell;

use super::ast::{At, Expr, Node, Selector, Shift, Subquery};
use super::functions::{Function, absent_labels, label_join, label_replace};
use super::matcher::value_of;
use super::rows::{Row, Value, taken_together, unique, unnamed};
use super::windows::{self, Windows};
use super::{
    LOOK_BACK_MS, Labels, Limits, Matcher, PromError, Sampled, Source, aggregate, binary, histogram,
};

/// What a subquery without a step takes.
const USUAL_STEP_MS: i64 = 60_000;

/// Which moments are asked about, in milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The first.
    pub start_ms: i64,
    /// None after this.
    pub end_ms: i64,
    /// Between two; 1 at least.
    pub step_ms: i64,
}

impl Asked {
    /// One moment.
    pub const fn once(at_ms: i64) -> Self {
        Self { start_ms: at_ms, end_ms: at_ms, step_ms: 1 }
    }

    /// How many.
    pub fn steps(&self) -> usize {
        let length = self.end_ms.saturating_sub(self.start_ms);
        if length < 0 { 0 } else { usize::try_from(length / self.step_ms.max(1) + 1).unwrap_or(usize::MAX) }
    }

    /// When.
    pub fn moments(&self) -> impl Iterator<Item = i64> + '_ {
        (0..self.steps()).map(|step| self.start_ms.saturating_add(step as i64 * self.step_ms.max(1)))
    }
}

/// Answers a question. `may_go_on` is asked now and then; where it says no, that is the answer.
pub fn evaluate(
    expr: &Expr,
    asked: Asked,
    source: &dyn Source,
    limits: &Limits,
    may_go_on: &dyn Fn() -> bool,
) -> Result<Value, PromError> {
    let steps = asked.steps();
    if steps > limits.steps {
        return Err(PromError::TooMuch { what: "moments", limit: limits.steps });
    }
    let (whole, made) = ((asked.start_ms, asked.end_ms), Cell::new(0));
    let eval = Eval { asked, steps, whole, source, limits, may_go_on, made: &made };
    if let Node::Range(..) | Node::Subquery(_) = &expr.0 {
        let mut windows = eval.windows(&expr.0)?;
        let end = windows.ends.first().copied().unwrap_or(asked.start_ms);
        for series in &mut windows.series {
            series.samples.retain(|(at, _)| *at >= end - windows.range_ms && *at <= end);
        }
        windows.series.retain(|series| !series.samples.is_empty());
        return Ok(Value::Matrix(windows.series));
    }
    let mut value = eval.value(&expr.0)?;
    if let Value::Vector(rows) = &mut value {
        rows.retain(|row| !row.is_empty());
    }
    Ok(value)
}

pub(super) struct Eval<'a> {
    pub(super) asked: Asked,
    pub(super) steps: usize,
    /// The first and the last moment of the whole question, for `@ start()`.
    whole: (i64, i64),
    source: &'a dyn Source,
    limits: &'a Limits,
    may_go_on: &'a dyn Fn() -> bool,
    /// Numbers that were made so far, for the whole question: all of them may be there at once.
    made: &'a Cell<usize>,
}

impl Eval<'_> {
    pub(super) fn check(&self) -> Result<(), PromError> {
        if (self.may_go_on)() { Ok(()) } else { Err(PromError::TooLong(self.limits.time)) }
    }

    /// Makes room for so many rows.
    pub(super) fn room(&self, rows: usize) -> Result<(), PromError> {
        self.room_of(rows.saturating_mul(self.steps))
    }

    /// Makes room for so many numbers.
    fn room_of(&self, numbers: usize) -> Result<(), PromError> {
        self.made.set(self.made.get().saturating_add(numbers));
        if self.made.get() > self.limits.cells {
            return Err(PromError::TooMuch { what: "numbers", limit: self.limits.cells });
        }
        self.check()
    }

    pub(super) fn value(&self, node: &Node) -> Result<Value, PromError> {
        Ok(match node {
            Node::Number(number) => {
                self.room(1)?;
                Value::Scalar(vec![*number; self.steps])
            }
            Node::Text(text) => Value::Text(text.clone()),
            Node::Instant(selector) => Value::Vector(self.instant(selector, false)?),
            Node::Range(..) | Node::Subquery(_) => {
                return Err(PromError::NoAnswer("a range vector is no answer here".into()));
            }
            Node::Call(function, arguments) => self.call(*function, arguments)?,
            Node::Aggregate(aggregate) => Value::Vector(aggregate::evaluate(self, aggregate)?),
            Node::Binary(binary) => binary::evaluate(self, binary)?,
            Node::Negate(inner) => match self.value(inner)? {
                Value::Scalar(cells) => Value::Scalar(cells.into_iter().map(|cell| -cell).collect()),
                Value::Vector(mut rows) => {
                    for row in &mut rows {
                        row.labels = unnamed(std::mem::take(&mut row.labels));
                        row.cells.iter_mut().flatten().for_each(|cell| *cell = -*cell);
                    }
                    Value::Vector(unique(rows)?)
                }
                other => other,
            },
        })
    }

    pub(super) fn vector(&self, node: &Node) -> Result<Vec<Row>, PromError> {
        match self.value(node)? {
            Value::Vector(rows) => Ok(rows),
            _ => Err(PromError::NoAnswer("an instant vector is needed here".into())), // the parser has checked
        }
    }

    pub(super) fn scalar(&self, node: &Node) -> Result<Vec<f64>, PromError> {
        match self.value(node)? {
            Value::Scalar(cells) => Ok(cells),
            _ => Err(PromError::NoAnswer("a scalar is needed here".into())), // the parser has checked
        }
    }

    /// The moments that are meant where the answer is about ours.
    fn moments(&self, shift: Shift) -> Vec<i64> {
        let at = shift.at.map(|at| match at {
            At::Start => self.whole.0,
            At::End => self.whole.1,
            At::Ms(ms) => ms,
        });
        self.asked.moments().map(|ours| at.unwrap_or(ours).saturating_sub(shift.offset_ms)).collect()
    }

    fn select(&self, matchers: &[Matcher], moments: &[i64], back_ms: i64) -> Result<Vec<Sampled>, PromError> {
        let (Some(first), Some(last)) = (moments.first(), moments.last()) else { return Ok(Vec::new()) };
        self.check()?;
        self.source.select(matchers, first.saturating_sub(back_ms), *last, self.limits)
    }

    /// What the series said last, or when they did.
    fn instant(&self, selector: &Selector, when: bool) -> Result<Vec<Row>, PromError> {
        let moments = self.moments(selector.shift);
        let found = self.select(&selector.matchers, &moments, LOOK_BACK_MS)?;
        self.room(found.len())?;
        let mut rows = Vec::with_capacity(found.len());
        for series in found {
            let mut next = 0;
            let last = |moment: &i64| {
                while series.samples.get(next).is_some_and(|(at, _)| at <= moment) {
                    next += 1;
                }
                let (at, value) = *series.samples.get(next.checked_sub(1)?)?;
                #[expect(clippy::cast_precision_loss, reason = "milliseconds of this era fit")]
                (at >= moment - LOOK_BACK_MS).then(|| if when { at as f64 / 1000.0 } else { value })
            };
            let cells = moments.iter().map(last).collect();
            rows.push(Row { labels: series.labels, cells });
        }
        rows.retain(|row| !row.is_empty());
        Ok(rows)
    }

    /// Stretches of time of a series for each moment.
    fn windows(&self, node: &Node) -> Result<Windows, PromError> {
        match node {
            Node::Range(selector, range_ms) => {
                let ends = self.moments(selector.shift);
                let series = self.select(&selector.matchers, &ends, *range_ms)?;
                self.room(series.len())?;
                Ok(Windows { series, range_ms: *range_ms, ends })
            }
            Node::Subquery(subquery) => self.subquery(subquery),
            _ => Err(PromError::NoAnswer("a range vector is needed here".into())), // the parser has checked
        }
    }

    fn subquery(&self, subquery: &Subquery) -> Result<Windows, PromError> {
        let Subquery { inner, range_ms, step_ms, shift } = subquery;
        let ends = self.moments(*shift);
        let step_ms = step_ms.unwrap_or(USUAL_STEP_MS);
        let (Some(first), Some(last)) = (ends.first(), ends.last()) else {
            return Ok(Windows { series: Vec::new(), range_ms: *range_ms, ends });
        };
        // Its moments are whole multiples of its step, whatever ours are.
        let begin = first.saturating_sub(*range_ms);
        let mut start_ms = begin.div_euclid(step_ms).saturating_mul(step_ms);
        if start_ms < begin {
            start_ms = start_ms.saturating_add(step_ms);
        }
        let asked = Asked { start_ms, end_ms: *last, step_ms };
        let steps = asked.steps();
        if steps > self.limits.cells {
            return Err(PromError::TooMuch { what: "moments", limit: self.limits.cells });
        }
        let rows = match (Eval { asked, steps, ..*self }).value(inner)? {
            Value::Vector(rows) => rows,
            Value::Scalar(cells) => {
                vec![Row { labels: Labels::new(), cells: cells.into_iter().map(Some).collect() }]
            }
            Value::Matrix(_) | Value::Text(_) => Vec::new(), // the parser has checked
        };
        let series = rows.into_iter().map(|row| {
            let samples = asked.moments().zip(row.cells).filter_map(|(at, cell)| Some((at, cell?)));
            Sampled { samples: samples.collect(), labels: row.labels }
        });
        Ok(Windows { series: series.collect(), range_ms: *range_ms, ends })
    }

    fn call(&self, function: Function, arguments: &[Node]) -> Result<Value, PromError> {
        use Function as F;
        let argument = |at: usize| arguments.get(at).unwrap_or(&Node::Number(f64::NAN));
        let texts = || -> Vec<&str> { arguments.iter().filter_map(Node::text).collect() };
        let rows = match function {
            F::Time => return Ok(Value::Scalar(self.seconds()?)),
            F::Pi => return self.value(&Node::Number(std::f64::consts::PI)),
            F::Scalar_ => {
                let rows = self.vector(argument(0))?;
                self.room(1)?;
                let only = |step: usize| {
                    let mut there = rows.iter().filter_map(|row| row.cells[step]);
                    match (there.next(), there.next()) {
                        (Some(value), None) => value,
                        _ => f64::NAN,
                    }
                };
                return Ok(Value::Scalar((0..self.steps).map(only).collect()));
            }
            F::Vector_ => {
                let cells = self.scalar(argument(0))?.into_iter().map(Some).collect();
                vec![Row { labels: Labels::new(), cells }]
            }
            F::Timestamp => {
                let rows = match argument(0) {
                    Node::Instant(selector) => self.instant(selector, true)?,
                    other => {
                        let seconds = self.seconds()?;
                        let mut rows = self.vector(other)?;
                        for row in &mut rows {
                            let cells = row.cells.iter_mut().zip(&seconds);
                            cells.for_each(|(cell, now)| *cell = cell.map(|_| *now));
                        }
                        rows
                    }
                };
                taken_together(without_names(rows))?
            }
            F::Absent => {
                let rows = self.vector(argument(0))?;
                let labels = match argument(0) {
                    Node::Instant(selector) => absent_labels(&selector.matchers),
                    _ => Labels::new(),
                };
                vec![self.absence(labels, |step| rows.iter().any(|row| row.cells[step].is_some()))]
            }
            F::AbsentOverTime => {
                let windows = self.windows(argument(0))?;
                let labels = match argument(0) {
                    Node::Range(selector, _) => absent_labels(&selector.matchers),
                    _ => Labels::new(),
                };
                let there = windows.apply(|_| Ok(Some(1.0)), || self.check())?;
                vec![self.absence(labels, |step| there.iter().any(|row| row.cells[step].is_some()))]
            }
            F::LabelReplace | F::LabelJoin => {
                let mut rows = self.vector(argument(0))?;
                match function {
                    F::LabelReplace => label_replace(&mut rows, &texts())?,
                    _ => label_join(&mut rows, &texts())?,
                }
                // What labels have grown by counts like numbers of as many bytes.
                let to = texts().first().copied().unwrap_or_default();
                let bytes: usize = rows.iter().map(|row| value_of(&row.labels, to).len()).sum();
                self.room_of(bytes / size_of::<Option<f64>>())?;
                taken_together(rows)?
            }
            F::Sort | F::SortDesc => {
                let mut rows = self.vector(argument(0))?;
                // Only where one moment is asked about is there an order.
                if self.steps == 1 {
                    sort(&mut rows, function == F::SortDesc);
                }
                rows
            }
            F::HistogramQuantile => {
                let quantiles = self.scalar(argument(0))?;
                histogram::quantile(self, &quantiles, self.vector(argument(1))?)?
            }
            _ if function.is_of_values() => self.of_values(function, arguments)?,
            _ => self.over_time(function, arguments)?,
        };
        Ok(Value::Vector(rows))
    }

    #[expect(clippy::cast_precision_loss, reason = "milliseconds of this era fit")]
    fn seconds(&self) -> Result<Vec<f64>, PromError> {
        self.room(1)?;
        Ok(self.asked.moments().map(|at| at as f64 / 1000.0).collect())
    }

    fn absence(&self, labels: Labels, is_there: impl Fn(usize) -> bool) -> Row {
        Row { labels, cells: (0..self.steps).map(|step| (!is_there(step)).then_some(1.0)).collect() }
    }

    fn of_values(&self, function: Function, arguments: &[Node]) -> Result<Vec<Row>, PromError> {
        let mut rows = match arguments.first() {
            Some(argument) => self.vector(argument)?,
            // `hour()` is that of each moment.
            None => {
                vec![Row { labels: Labels::new(), cells: self.seconds()?.into_iter().map(Some).collect() }]
            }
        };
        let with = |at: usize| match arguments.get(at) {
            Some(argument) => self.scalar(argument),
            None => self.room(1).map(|()| vec![1.0; self.steps]), // what `round` rounds to
        };
        let (a, b) = (with(1)?, with(2)?);
        for row in &mut rows {
            for (step, cell) in row.cells.iter_mut().enumerate() {
                *cell = cell.and_then(|value| function.of_value(value, [a[step], b[step]]));
            }
        }
        taken_together(without_names(rows))
    }

    fn over_time(&self, function: Function, arguments: &[Node]) -> Result<Vec<Row>, PromError> {
        let number = |node: &Node| self.scalar(node);
        let (matrix, with) = match (function, arguments) {
            (Function::QuantileOverTime, [quantile, matrix]) => (matrix, number(quantile)?),
            (_, [matrix, with]) => (matrix, number(with)?),
            (_, [matrix]) => (matrix, Vec::new()),
            _ => return Ok(Vec::new()), // the parser has checked
        };
        let windows = self.windows(matrix)?;
        let moments: Vec<i64> = self.asked.moments().collect();
        let rows = windows.apply(
            |window| {
                let with = with.get(window.step).copied().unwrap_or(f64::NAN);
                Ok(windows::function(function, window, moments[window.step], with))
            },
            || self.check(),
        )?;
        if function == Function::LastOverTime {
            return Ok(rows);
        }
        unique(without_names(rows))
    }
}

fn without_names(mut rows: Vec<Row>) -> Vec<Row> {
    for row in &mut rows {
        row.labels = unnamed(std::mem::take(&mut row.labels));
    }
    rows
}

/// By the number of the first moment; NaN comes last.
pub(super) fn sort(rows: &mut [Row], falling: bool) {
    rows.sort_by(|a, b| {
        let number = |row: &Row| row.cells.first().copied().flatten().unwrap_or(f64::NAN);
        let (a, b) = (number(a), number(b));
        let order = if falling { b.partial_cmp(&a) } else { a.partial_cmp(&b) };
        order.unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
    });
}
