//! Figures beside their goals.

use std::fmt;
use std::time::Duration;

/// Rows in the order they were added.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: Vec<[String; 4]>,
}

impl Table {
    /// A figure with a goal.
    pub(crate) fn goal(&mut self, what: &str, measured: String, goal: &str, met: bool) {
        let met = if met { "met" } else { "MISSED" };
        self.rows.push([what.to_owned(), measured, goal.to_owned(), met.to_owned()]);
    }

    /// A figure without one.
    pub(crate) fn note(&mut self, what: &str, measured: String) {
        self.rows.push([what.to_owned(), measured, String::new(), String::new()]);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = ["what", "measured", "goal", ""].map(str::to_owned);
        let width = |column: usize| {
            std::iter::once(&head).chain(&self.rows).map(|row| row[column].chars().count()).max().unwrap_or(0)
        };
        let widths: [usize; 4] = std::array::from_fn(width);
        for row in std::iter::once(&head).chain(&self.rows) {
            let cells: Vec<_> =
                row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            writeln!(f, "{}", cells.join("   ").trim_end())?;
        }
        Ok(())
    }
}

/// Milliseconds with as many digits as mean something.
pub(crate) fn ms(duration: Duration) -> String {
    let ms = duration.as_secs_f64() * 1000.0;
    match ms {
        ms if ms < 10.0 => format!("{ms:.2} ms"),
        ms if ms < 1000.0 => format!("{ms:.1} ms"),
        ms => format!("{:.2} s", ms / 1000.0),
    }
}

/// Median, least and most of several runs.
pub(crate) fn spread(mut runs: Vec<Duration>) -> (Duration, String) {
    runs.sort_unstable();
    let median = crate::load::quantile(&runs, 0.5);
    let (least, most) = (runs.first().copied().unwrap_or_default(), runs.last().copied().unwrap_or_default());
    let text = format!("{} (min {}, max {}, {} runs)", ms(median), ms(least), ms(most), runs.len());
    (median, text)
}

/// Bytes in MB (10⁶), as goals are written.
pub(crate) fn mb(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_lines_its_columns_up() {
        let mut table = Table::default();
        table.goal("size", mb(12_300_000), "≤ 30 MB", true);
        table.note("runs", "3".into());
        let expected = "what   measured   goal\n\
                        size   12.3 MB    ≤ 30 MB   met\n\
                        runs   3\n";
        assert_eq!(table.to_string(), expected);
    }

    #[test]
    fn the_median_of_several_runs_comes_with_its_spread() {
        let runs = [3, 1, 2000, 15, 2].map(Duration::from_millis).to_vec();
        let (median, text) = spread(runs);
        assert_eq!(median, Duration::from_millis(3));
        assert_eq!(text, "3.00 ms (min 1.00 ms, max 2.00 s, 5 runs)");
    }
}
