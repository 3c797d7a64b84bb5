//! Figures of systems measured in turns, and what they amount to: medians, ratios within a round, verdicts.

use std::collections::BTreeMap;
use std::fmt;
use std::io::IsTerminal;

use serde_json::{Value, json};

use super::load::{Outcome, Sample};
use super::system::System;
use crate::go_on;

/// What is measured, in the order of columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Metric {
    /// Time on its core that the proxy takes for a request, in microseconds.
    CpuUs,
    /// Requests a second.
    Rate,
    /// Median latency, in microseconds.
    P50Us,
    /// The latency that 99 of 100 keep within, in microseconds.
    P99Us,
    /// Share of its core that the proxy uses, in per cent. Below 100 load and upstream are the limit.
    Busy,
    /// Share of that core that somebody else used, in per cent. Above a few the figures mean little.
    Others,
    /// Instructions of user space for a request.
    Instructions,
    /// Lines of code for a request that the first level of the cache did not have.
    CodeMisses,
    /// The same for lines of data.
    DataMisses,
    /// Lines of data that the second level did not have, either.
    FarMisses,
    /// Memory that one more connection takes, in bytes.
    Bytes,
    /// Requests that count.
    Requests,
    /// Of those, the ones that failed.
    Failed,
}

impl Metric {
    fn heading(self) -> &'static str {
        match self {
            Self::CpuUs => "CPU µs/req",
            Self::Rate => "req/s",
            Self::P50Us => "p50 µs",
            Self::P99Us => "p99 µs",
            Self::Busy => "core %",
            Self::Others => "others %",
            Self::Instructions => "instructions/req",
            Self::CodeMisses => "code misses",
            Self::DataMisses => "data misses",
            Self::FarMisses => "of which far",
            Self::Bytes => "bytes/connection",
            Self::Requests => "requests",
            Self::Failed => "failed",
        }
    }

    fn key(self) -> &'static str {
        match self {
            Self::CpuUs => "cpu_us",
            Self::Rate => "requests_per_s",
            Self::P50Us => "p50_us",
            Self::P99Us => "p99_us",
            Self::Busy => "core_percent",
            Self::Others => "others_percent",
            Self::Instructions => "instructions_per_request",
            Self::CodeMisses => "code_misses_per_request",
            Self::DataMisses => "data_misses_per_request",
            Self::FarMisses => "far_misses_per_request",
            Self::Bytes => "bytes_per_connection",
            Self::Requests => "requests",
            Self::Failed => "failed",
        }
    }

    fn show(self, value: f64) -> String {
        match self {
            Self::CpuUs => format!("{value:.2}"),
            Self::P50Us | Self::P99Us if value < 100.0 => format!("{value:.1}"),
            _ => format!("{value:.0}"),
        }
    }
}

/// Kinds of failure that are listed for a system.
const KINDS_SHOWN: usize = 4;

/// Figures by what they are of.
pub(crate) type Figures = BTreeMap<Metric, f64>;

/// One system in one round.
#[derive(Clone, Debug, Default)]
pub(crate) struct Round {
    /// What was measured.
    pub(crate) figures: Figures,
    /// What went wrong, by kind.
    pub(crate) failures: BTreeMap<String, u64>,
}

/// What a run under load amounts to.
pub(crate) fn of_load(outcome: &Outcome) -> Round {
    let Round { mut figures, failures } = of_samples(&outcome.samples.iter().collect::<Vec<_>>());
    let answers: usize = outcome.samples.iter().map(|sample| sample.latencies.len()).sum();
    if answers == 0 {
        return Round { figures, failures };
    }
    if !outcome.cpu.is_zero() {
        figures.insert(Metric::CpuUs, outcome.cpu.as_secs_f64() * 1e6 / answers.max(1) as f64);
        figures.insert(Metric::Busy, 100.0 * outcome.cpu.as_secs_f64() / outcome.wall.as_secs_f64());
    }
    if let Some(busy) = outcome.core {
        let others = busy.saturating_sub(outcome.cpu).as_secs_f64();
        figures.insert(Metric::Others, 100.0 * others / outcome.wall.as_secs_f64());
    }
    figures.insert(Metric::Rate, answers as f64 / outcome.wall.as_secs_f64());
    Round { figures, failures }
}

/// Latencies and failures of several jobs together.
pub(crate) fn of_samples(samples: &[&Sample]) -> Round {
    let mut latencies: Vec<_> = samples.iter().flat_map(|sample| sample.latencies.iter().copied()).collect();
    latencies.sort_unstable();
    let us = |share| crate::load::quantile(&latencies, share).as_secs_f64() * 1e6;
    let requests: u64 = samples.iter().map(|sample| sample.requests).sum();
    let failed: u64 = samples.iter().map(|sample| sample.failed()).sum();
    let mut figures = Figures::from([(Metric::Requests, requests as f64), (Metric::Failed, failed as f64)]);
    if !latencies.is_empty() {
        figures.extend([(Metric::P50Us, us(0.5)), (Metric::P99Us, us(0.99))]);
    }
    let mut failures = BTreeMap::new();
    for (kind, count) in samples.iter().flat_map(|sample| &sample.failures) {
        *failures.entry(kind.clone()).or_default() += count;
    }
    Round { figures, failures }
}

/// A system and its figures, round by round.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// The system, or what else was varied.
    pub(crate) name: String,
    /// In the order of rounds.
    pub(crate) rounds: Vec<Round>,
}

impl Row {
    /// The median over the rounds.
    pub(crate) fn median(&self, metric: Metric) -> Option<f64> {
        median(self.rounds.iter().filter_map(|round| round.figures.get(&metric).copied()).collect())
    }

    /// The median over the rounds of what this is to another, each compared within a round.
    pub(crate) fn ratio(&self, other: &Self, metric: Metric) -> Option<f64> {
        let figures =
            |row: &Self| row.rounds.iter().map(|round| round.figures.get(&metric).copied()).collect();
        median_ratio(figures(self), figures(other))
    }

    /// What went wrong in all rounds, the most frequent kinds first; `None`: nothing did.
    fn failures(&self) -> Option<String> {
        most_frequent(&self.name, self.rounds.iter().map(|round| &round.failures))
    }

    fn sum(&self, metric: Metric) -> f64 {
        self.rounds.iter().filter_map(|round| round.figures.get(&metric)).sum()
    }
}

/// The median over the rounds of what one figure is to another, each compared within a round.
pub(crate) fn median_ratio(these: Vec<Option<f64>>, others: Vec<Option<f64>>) -> Option<f64> {
    let ratios = these.into_iter().zip(others).filter_map(|(this, other)| Some(this? / other?));
    median(ratios.filter(|ratio| ratio.is_finite()).collect())
}

/// What went wrong in all rounds of a system, the most frequent kinds first; `None`: nothing did.
pub(crate) fn most_frequent<'r>(
    system: &str,
    rounds: impl Iterator<Item = &'r BTreeMap<String, u64>>,
) -> Option<String> {
    let mut kinds: BTreeMap<&str, u64> = BTreeMap::new();
    for (kind, count) in rounds.flatten() {
        *kinds.entry(kind).or_default() += count;
    }
    let mut kinds: Vec<_> = kinds.into_iter().collect();
    kinds.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let shown: Vec<_> =
        kinds.iter().take(KINDS_SHOWN).map(|(kind, count)| format!("{count} × {kind}")).collect();
    (!shown.is_empty()).then(|| format!("{system}: {}", shown.join(", ")))
}

/// The middle value, or the mean of the two in the middle; `None` of none.
pub(crate) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    if values.len() % 2 == 1 {
        return Some(upper);
    }
    Some((values[middle - 1] + upper) / 2.0)
}

/// Measures systems in turns: in their order, then in the opposite one, and so on, so that what else the
/// machine does hits all alike.
pub(crate) fn in_turns(
    systems: &[System],
    rounds: usize,
    mut measure: impl FnMut(&System) -> anyhow::Result<Round>,
) -> anyhow::Result<Vec<Row>> {
    let mut rows: Vec<_> =
        systems.iter().map(|system| Row { name: system.name.clone(), rounds: Vec::new() }).collect();
    for round in 0..rounds {
        for index in order(systems.len(), round) {
            go_on()?;
            progress(round, rounds, &systems[index].name);
            // One system that cannot be measured is no reason to lose the others.
            let round = measure(&systems[index]).or_else(|error| {
                go_on()?;
                let failures = BTreeMap::from([(format!("{error:#}"), 1)]);
                anyhow::Ok(Round { failures, ..Round::default() })
            });
            rows[index].rounds.push(round?);
        }
    }
    progress_done();
    Ok(rows)
}

/// Shows on a terminal what is being measured.
pub(crate) fn progress(round: usize, rounds: usize, name: &str) {
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[Kround {} of {rounds}: {name} …", round + 1);
    }
}

/// Takes it away again.
pub(crate) fn progress_done() {
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[K");
    }
}

/// Which goes when in a round: every other one runs backwards.
pub(crate) fn order(count: usize, round: usize) -> Vec<usize> {
    let forth = 0..count;
    if round.is_multiple_of(2) { forth.collect() } else { forth.rev().collect() }
}

/// A figure beside its goal.
#[derive(Clone, Debug)]
pub(crate) struct Verdict {
    what: String,
    /// At most this.
    goal: f64,
    measured: Option<f64>,
    unit: &'static str,
}

impl Verdict {
    /// `measured` should be no more than `goal`; `None`: it could not be measured.
    pub(crate) fn at_most(what: &str, goal: f64, measured: Option<f64>, unit: &'static str) -> Self {
        Self { what: what.to_owned(), goal, measured, unit }
    }

    fn met(&self) -> Option<bool> {
        self.measured.map(|measured| measured <= self.goal)
    }

    fn cells(&self) -> Vec<String> {
        let show = |value: f64| match self.unit {
            "×" => format!("{value:.2} ×"),
            unit if value.fract() == 0.0 => format!("{value:.0} {unit}"),
            unit => format!("{value:.1} {unit}"),
        };
        let mark = match self.met() {
            Some(true) => "✓",
            Some(false) => "✗",
            None => "–",
        };
        let measured = self.measured.map_or_else(|| "not measured".into(), show);
        vec![self.what.clone(), format!("≤ {}", show(self.goal)), measured, mark.into()]
    }
}

/// What one part of a group found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Block {
    /// What was done.
    pub(crate) title: String,
    /// The row that others are compared with.
    pub(crate) reference: Option<String>,
    /// The systems.
    pub(crate) rows: Vec<Row>,
    /// The goals.
    pub(crate) verdicts: Vec<Verdict>,
    /// What was left out, and what else a reader must know.
    pub(crate) notes: Vec<String>,
}

impl Block {
    /// The row of this name.
    pub(crate) fn row(&self, name: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.name == name)
    }

    /// The ratio of a metric between two rows, if both were measured.
    pub(crate) fn ratio(&self, one: &str, other: &str, metric: Metric) -> Option<f64> {
        self.row(one)?.ratio(self.row(other)?, metric)
    }

    /// A goal for such a ratio.
    pub(crate) fn goal(&mut self, what: &str, goal: f64, (one, other): (&str, &str), metric: Metric) {
        let measured = self.ratio(one, other, metric);
        self.verdicts.push(Verdict::at_most(what, goal, measured, "×"));
    }

    fn metrics(&self) -> Vec<Metric> {
        let all: BTreeMap<Metric, ()> = self
            .rows
            .iter()
            .flat_map(|row| {
                row.rounds.iter().flat_map(|round| round.figures.keys().map(|metric| (*metric, ())))
            })
            .collect();
        all.into_keys().filter(|metric| *metric != Metric::Requests).collect()
    }

    /// For programs.
    pub(crate) fn json(&self) -> Value {
        let rows: Vec<_> = self.rows.iter().map(|row| {
            let figures = |figures: &Figures| {
                figures.iter().map(|(metric, value)| (metric.key().to_owned(), json!(value))).collect::<serde_json::Map<_, _>>()
            };
            let median: serde_json::Map<_, _> = self
                .metrics()
                .into_iter()
                .filter_map(|metric| Some((metric.key().to_owned(), json!(row.median(metric)?))))
                .collect();
            json!({ "system": row.name, "median": median, "failures": row.failures(), "rounds": row.rounds.iter().map(|round| figures(&round.figures)).collect::<Vec<_>>() })
        }).collect();
        let verdicts: Vec<_> = self.verdicts.iter().map(|verdict| {
            json!({ "what": verdict.what, "at_most": verdict.goal, "measured": verdict.measured, "unit": verdict.unit, "met": verdict.met() })
        }).collect();
        json!({ "title": self.title, "reference": self.reference, "rows": rows, "goals": verdicts, "notes": self.notes })
    }
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.title)?;
        let metrics = self.metrics();
        let reference = self.reference.as_ref().and_then(|name| self.row(name));
        let mut table = Vec::new();
        let mut head = vec![String::new()];
        for metric in &metrics {
            head.push(metric.heading().to_owned());
            if *metric == Metric::CpuUs
                && let Some(reference) = reference
            {
                head.push(format!("× {}", reference.name));
            }
        }
        table.push(head);
        for row in &self.rows {
            let mut cells = vec![row.name.clone()];
            for metric in &metrics {
                let value = match metric {
                    Metric::Failed => Some(row.sum(*metric)),
                    _ => row.median(*metric),
                };
                cells.push(value.map_or_else(|| "–".into(), |value| metric.show(value)));
                if *metric == Metric::CpuUs
                    && let Some(reference) = reference
                {
                    let ratio = row.ratio(reference, *metric);
                    cells.push(ratio.map_or_else(|| "–".into(), |ratio| format!("{ratio:.2}")));
                }
            }
            table.push(cells);
        }
        write_aligned(f, &table)?;
        if !self.verdicts.is_empty() {
            let mut table = vec![["", "goal", "measured", ""].map(str::to_owned).to_vec()];
            table.extend(self.verdicts.iter().map(Verdict::cells));
            write_aligned(f, &table)?;
        }
        for failures in self.rows.iter().filter_map(Row::failures) {
            writeln!(f, "  · failed: {failures}")?;
        }
        for note in &self.notes {
            writeln!(f, "  · {note}")?;
        }
        Ok(())
    }
}

/// The first column to the left, the others to the right.
pub(crate) fn write_aligned(f: &mut fmt::Formatter<'_>, table: &[Vec<String>]) -> fmt::Result {
    let columns = table.iter().map(Vec::len).max().unwrap_or(0);
    let width =
        |column: usize| table.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<_> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    for row in table {
        let mut line = String::from("  ");
        for (column, cell) in row.iter().enumerate() {
            let pad = " ".repeat(widths[column].saturating_sub(cell.chars().count()));
            let cell = if column == 0 { format!("{cell}{pad}") } else { format!("   {pad}{cell}") };
            line.push_str(&cell);
        }
        writeln!(f, "{}", line.trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, cpu: &[f64]) -> Row {
        let round =
            |value: &f64| Round { figures: Figures::from([(Metric::CpuUs, *value)]), ..Round::default() };
        let rounds = cpu.iter().map(round).collect();
        Row { name: name.into(), rounds }
    }

    #[test]
    fn systems_are_compared_within_a_round_not_over_all() {
        // The machine was slow in the second round: both were. The ratio is that of the rounds.
        let (one, other) = (row("one", &[10.0, 40.0, 11.0]), row("other", &[20.0, 80.0, 20.0]));
        assert_eq!(one.ratio(&other, Metric::CpuUs), Some(0.5));
        assert_eq!(one.median(Metric::CpuUs), Some(11.0));
        assert_eq!(one.ratio(&other, Metric::P99Us), None);
        assert_eq!((median(vec![4.0, 1.0, 2.0, 3.0]), median(vec![])), (Some(2.5), None));
    }

    #[test]
    fn every_other_round_runs_backwards() {
        assert_eq!((order(3, 0), order(3, 1), order(3, 2)), (vec![0, 1, 2], vec![2, 1, 0], vec![0, 1, 2]));
    }

    #[test]
    fn a_block_shows_rows_goals_and_notes() {
        let mut block = Block {
            title: "HTTP/1.1".into(),
            reference: Some("nginx".into()),
            rows: vec![row("nginx", &[16.0]), row("atoll", &[12.0])],
            notes: vec!["x is not installed".into()],
            ..Block::default()
        };
        block.goal("CPU, atoll / nginx", 0.85, ("atoll", "nginx"), Metric::CpuUs);
        block.goal("CPU, atoll / floor", 1.2, ("atoll", "floor"), Metric::CpuUs);
        let expected = "HTTP/1.1\n\
            \x20         CPU µs/req   × nginx\n\
            \x20 nginx        16.00      1.00\n\
            \x20 atoll        12.00      0.75\n\
            \x20                          goal       measured\n\
            \x20 CPU, atoll / nginx   ≤ 0.85 ×         0.75 ×   ✓\n\
            \x20 CPU, atoll / floor   ≤ 1.20 ×   not measured   –\n\
            \x20 · x is not installed\n";
        assert_eq!(block.to_string(), expected);
        assert_eq!(block.json()["goals"][0]["met"], true);
    }
}
