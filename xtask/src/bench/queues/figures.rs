//! Figures of queues, round by round, and what they amount to beside their goals.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value, json};

use super::load::Outcome;
use crate::bench::gateway::figures::{median, median_ratio, most_frequent, write_aligned};
use crate::load::quantile;

/// What is measured, in the order of columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Metric {
    /// Messages a second.
    Rate,
    /// Median latency of an operation, in milliseconds.
    P50,
    /// What 99 of 100 operations keep within, in milliseconds.
    P99,
    /// The longest, in milliseconds.
    Max,
    /// Time on a core that the server's processes take for a message, in microseconds.
    CpuUs,
    /// The same of the load generator: what is left of the machine is the server's.
    OwnUs,
    /// Operations that failed.
    Failed,
}

impl Metric {
    const ALL: [Self; 7] =
        [Self::Rate, Self::P50, Self::P99, Self::Max, Self::CpuUs, Self::OwnUs, Self::Failed];

    fn heading(self) -> &'static str {
        match self {
            Self::Rate => "msg/s",
            Self::P50 => "p50 ms",
            Self::P99 => "p99 ms",
            Self::Max => "max ms",
            Self::CpuUs => "CPU µs/msg",
            Self::OwnUs => "load's µs/msg",
            Self::Failed => "failed",
        }
    }

    fn key(self) -> &'static str {
        match self {
            Self::Rate => "messages_per_s",
            Self::P50 => "p50_ms",
            Self::P99 => "p99_ms",
            Self::Max => "max_ms",
            Self::CpuUs => "cpu_us",
            Self::OwnUs => "load_cpu_us",
            Self::Failed => "failed",
        }
    }

    fn show(self, value: f64) -> String {
        match self {
            Self::Rate | Self::Failed => format!("{value:.0}"),
            Self::CpuUs | Self::OwnUs => format!("{value:.1}"),
            Self::P50 | Self::P99 | Self::Max if value < 10.0 => format!("{value:.2}"),
            Self::P50 | Self::P99 | Self::Max => format!("{value:.1}"),
        }
    }

    /// How a figure of a row stands for all its rounds: the worst of the longest, the sum of failures.
    fn summary(self, values: Vec<f64>) -> Option<f64> {
        match self {
            Self::Max => values.into_iter().reduce(f64::max),
            Self::Failed => values.into_iter().reduce(|sum, value| sum + value),
            _ => median(values),
        }
    }
}

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

impl Round {
    /// One that could not be measured.
    pub(crate) fn failed(why: String) -> Self {
        Self { figures: Figures::new(), failures: BTreeMap::from([(why, 1)]) }
    }
}

/// What a run under load amounts to.
pub(crate) fn of_load(outcome: &Outcome) -> Round {
    let failed: u64 = outcome.failures.values().sum();
    let mut figures = Figures::from([(Metric::Failed, failed as f64)]);
    let mut latencies = outcome.latencies.clone();
    latencies.sort_unstable();
    if outcome.messages > 0 && !latencies.is_empty() {
        let ms = |share| quantile(&latencies, share).as_secs_f64() * 1e3;
        let each = |time: std::time::Duration| time.as_secs_f64() * 1e6 / outcome.messages as f64;
        figures.extend([
            (Metric::Rate, outcome.messages as f64 / outcome.wall.as_secs_f64()),
            (Metric::P50, ms(0.5)),
            (Metric::P99, ms(0.99)),
            (Metric::Max, ms(1.0)),
            (Metric::CpuUs, each(outcome.cpu)),
            (Metric::OwnUs, each(outcome.own)),
        ]);
    }
    Round { figures, failures: outcome.failures.clone() }
}

/// A system and its figures, round by round.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// The system.
    pub(crate) name: String,
    /// In the order of rounds.
    pub(crate) rounds: Vec<Round>,
}

impl Row {
    /// Nothing yet.
    pub(crate) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), rounds: Vec::new() }
    }

    /// The figure that stands for all rounds.
    pub(crate) fn of(&self, metric: Metric) -> Option<f64> {
        metric.summary(self.rounds.iter().filter_map(|round| round.figures.get(&metric).copied()).collect())
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
}

/// What a figure should be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Goal {
    AtLeast(f64),
    AtMost(f64),
    /// Between the two.
    Within(f64, f64),
}

/// A figure beside its goal.
#[derive(Clone, Debug)]
pub(crate) struct Verdict {
    /// Of what.
    pub(crate) what: String,
    /// What it should be.
    pub(crate) goal: Goal,
    /// `None`: it could not be measured.
    pub(crate) measured: Option<f64>,
    /// Behind both.
    pub(crate) unit: &'static str,
}

impl Verdict {
    fn met(&self) -> Option<bool> {
        self.measured.map(|measured| match self.goal {
            Goal::AtLeast(least) => measured >= least,
            Goal::AtMost(most) => measured <= most,
            Goal::Within(least, most) => (least..=most).contains(&measured),
        })
    }

    /// What was measured, as a share of the goal.
    fn share(&self) -> Option<f64> {
        let goal = match self.goal {
            Goal::AtLeast(goal) | Goal::AtMost(goal) => goal,
            Goal::Within(..) => return None,
        };
        self.measured.map(|measured| measured / goal)
    }

    fn cells(&self) -> Vec<String> {
        let show = |value: f64| match value {
            value if value.abs() >= 1000.0 => format!("{value:.0} {}", self.unit),
            value if value.fract() == 0.0 => format!("{value} {}", self.unit),
            value if value.abs() >= 100.0 => format!("{value:.0} {}", self.unit),
            value => format!("{value:.2} {}", self.unit),
        };
        let goal = match self.goal {
            Goal::AtLeast(least) => format!("≥ {}", show(least)),
            Goal::AtMost(most) => format!("≤ {}", show(most)),
            Goal::Within(least, most) => format!("{least}–{}", show(most)),
        };
        let mark = match self.met() {
            Some(true) => "met",
            Some(false) => "MISSED",
            None => "–",
        };
        let measured = self.measured.map_or_else(|| "not measured".into(), show);
        let share = self.share().map_or_else(String::new, |share| format!("{share:.2} ×"));
        vec![self.what.clone(), goal, measured, share, mark.into()]
    }
}

/// What one part of a group found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Block {
    /// What was done.
    pub(crate) title: String,
    /// The systems, the one that others are compared with first.
    pub(crate) rows: Vec<Row>,
    /// The goals.
    pub(crate) verdicts: Vec<Verdict>,
    /// What was left out, and what else a reader must know.
    pub(crate) notes: Vec<String>,
}

impl Block {
    /// A figure beside its goal.
    pub(crate) fn judge(&mut self, what: &str, goal: Goal, measured: Option<f64>, unit: &'static str) {
        self.verdicts.push(Verdict { what: what.to_owned(), goal, measured, unit });
    }

    /// A figure of the row of that name beside its goal.
    pub(crate) fn goal(&mut self, row: &str, metric: Metric, what: &str, goal: Goal, unit: &'static str) {
        let measured = self.rows.iter().find(|one| one.name == row).and_then(|row| row.of(metric));
        self.judge(what, goal, measured, unit);
    }

    /// How the first row stands to the best of those that `counts` lets count; `None`: there is none.
    pub(crate) fn lead(&self, counts: impl Fn(&str) -> bool) -> Option<(f64, &str)> {
        let (first, others) = self.rows.split_first()?;
        let ratios = others
            .iter()
            .filter(|row| counts(&row.name))
            .filter_map(|row| Some((first.ratio(row, Metric::Rate)?, row.name.as_str())));
        ratios.min_by(|(one, _), (other, _)| one.total_cmp(other))
    }

    fn metrics(&self) -> Vec<Metric> {
        let has = |metric: &Metric| self.rows.iter().any(|row| row.of(*metric).is_some());
        Metric::ALL.into_iter().filter(has).collect()
    }

    /// For programs.
    pub(crate) fn json(&self) -> Value {
        let of = |figures: &Figures| -> Map<_, _> {
            figures.iter().map(|(metric, value)| (metric.key().to_owned(), json!(value))).collect()
        };
        let rows = self.rows.iter().map(|row| {
            let figures = Metric::ALL.iter().filter_map(|metric| Some((*metric, row.of(*metric)?))).collect();
            let rounds: Vec<_> = row.rounds.iter().map(|round| of(&round.figures)).collect();
            json!({ "system": row.name, "figures": of(&figures), "failures": row.failures(), "rounds": rounds })
        });
        let goals = self.verdicts.iter().map(|verdict| {
            let (least, most) = match verdict.goal {
                Goal::AtLeast(least) => (Some(least), None),
                Goal::AtMost(most) => (None, Some(most)),
                Goal::Within(least, most) => (Some(least), Some(most)),
            };
            json!({
                "what": verdict.what, "at_least": least, "at_most": most, "measured": verdict.measured,
                "unit": verdict.unit, "met": verdict.met(),
            })
        });
        json!({
            "title": self.title, "rows": rows.collect::<Vec<_>>(), "goals": goals.collect::<Vec<_>>(),
            "notes": self.notes,
        })
    }
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.title)?;
        let metrics = self.metrics();
        if let Some(first) = self.rows.first() {
            let compared = self.rows.len() > 1;
            let mut head = vec![String::new()];
            for metric in &metrics {
                head.push(metric.heading().to_owned());
                if compared && *metric == Metric::Rate {
                    head.push(format!("{} is", first.name));
                }
            }
            let mut table = vec![head];
            for row in &self.rows {
                let mut cells = vec![row.name.clone()];
                for metric in &metrics {
                    cells.push(row.of(*metric).map_or_else(|| "–".into(), |value| metric.show(value)));
                    if compared && *metric == Metric::Rate {
                        let ratio = first.ratio(row, *metric);
                        cells.push(ratio.map_or_else(|| "–".into(), |ratio| format!("{ratio:.2} ×")));
                    }
                }
                table.push(cells);
            }
            write_aligned(f, &table)?;
        }
        if !self.verdicts.is_empty() {
            let mut table = vec![["", "goal", "measured", "of the goal", ""].map(str::to_owned).to_vec()];
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn row(name: &str, rates: &[f64]) -> Row {
        let round =
            |rate: &f64| Round { figures: Figures::from([(Metric::Rate, *rate)]), ..Round::default() };
        Row { name: name.into(), rounds: rates.iter().map(round).collect() }
    }

    #[test]
    fn a_run_amounts_to_messages_a_second_and_time_for_each() {
        let outcome = Outcome {
            messages: 1000,
            latencies: (1..=100).map(Duration::from_millis).collect(),
            cpu: Duration::from_millis(20),
            own: Duration::from_millis(10),
            wall: Duration::from_millis(500),
            ..Outcome::default()
        };
        let figures = of_load(&outcome).figures;
        assert_eq!((figures[&Metric::Rate], figures[&Metric::Max]), (2000.0, 100.0));
        assert_eq!((figures[&Metric::CpuUs], figures[&Metric::OwnUs]), (20.0, 10.0));
        assert!(figures[&Metric::P50] < figures[&Metric::P99]);
        assert_eq!(of_load(&Outcome::default()).figures.get(&Metric::Rate), None);
    }

    #[test]
    fn the_lead_is_over_the_best_of_those_that_count_within_rounds() {
        let rows = vec![row("Atoll", &[30.0, 10.0]), row("slow", &[3.0, 1.0]), row("fast", &[60.0, 20.0])];
        let block = Block { rows, ..Block::default() };
        assert_eq!(block.lead(|_| true), Some((0.5, "fast")));
        assert_eq!(block.lead(|name| name != "fast"), Some((10.0, "slow")));
        assert_eq!(block.lead(|_| false), None);
    }

    #[test]
    fn a_goal_is_met_or_missed_in_either_direction() {
        let met = |goal, measured| Verdict { what: String::new(), goal, measured, unit: "" }.met();
        assert_eq!(met(Goal::AtLeast(2.0), Some(2.0)), Some(true));
        assert_eq!(met(Goal::AtMost(2.0), Some(2.1)), Some(false));
        assert_eq!(met(Goal::Within(0.9, 1.1), Some(0.8)), Some(false));
        assert_eq!(met(Goal::AtMost(2.0), None), None);
    }

    #[test]
    fn a_block_shows_rows_goals_and_notes() {
        let rows = vec![row("Atoll", &[300.0]), row("Redis", &[100.0])];
        let mut block =
            Block { title: "Sends".into(), rows, notes: vec!["x is missing".into()], ..Block::default() };
        block.goal("Atoll", Metric::Rate, "sends", Goal::AtLeast(400.0), "/s");
        let expected = "Sends\n\
            \x20         msg/s   Atoll is\n\
            \x20 Atoll     300     1.00 ×\n\
            \x20 Redis     100     3.00 ×\n\
            \x20            goal   measured   of the goal\n\
            \x20 sends   ≥ 400 /s     300 /s        0.75 ×   MISSED\n\
            \x20 · x is missing\n";
        // The heading of the goals' columns is as wide as what stands below.
        let lines = |text: &str| {
            text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>()
        };
        assert_eq!(lines(&block.to_string()), lines(expected));
        assert_eq!(block.json()["goals"][0]["met"], false);
    }
}
