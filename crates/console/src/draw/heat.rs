//! How often how long: a column for each step of time, a row for each range of durations, darker where there were more.

use std::collections::BTreeMap;

use kit::Timestamp;
use maud::{Markup, html};

use super::scale::{Scale, px, time_step};
use crate::words;

const WIDTH: f64 = 1_140.0;
const HEIGHT: f64 = 210.0;
const LEFT: f64 = 58.0;
const RIGHT: f64 = 12.0;
const BOTTOM: f64 = 24.0;
/// A column is no narrower in time than what telemetry takes together, in microseconds.
const MINUTE: u64 = 60_000_000;
/// Columns at most; more are taken together.
const COLUMNS: usize = 90;
/// Shades.
const SHADES: u64 = 6;

/// A step of time, and how many took at most how many microseconds.
pub(crate) type Step = (Timestamp, Vec<(u64, u64)>);

/// Cells that are not empty: column, row, how many.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Grid {
    columns: Vec<Timestamp>,
    /// The lowest and the highest power of two, in microseconds.
    rows: (u32, u32),
    cells: BTreeMap<(usize, u32), u64>,
}

/// Sorts into cells. Rows are powers of two.
pub(crate) fn grid(steps: &[Step]) -> Grid {
    let mut times: Vec<Timestamp> = steps.iter().map(|(at, _)| *at).collect();
    times.sort_unstable();
    times.dedup();
    let together = times.len().div_ceil(COLUMNS).max(1);
    let mut cells: BTreeMap<(usize, u32), u64> = BTreeMap::new();
    for (at, buckets) in steps {
        let column = times.binary_search(at).unwrap_or(0) / together;
        for (bound, count) in buckets.iter().filter(|(_, count)| *count > 0) {
            *cells.entry((column, (*bound).max(1).next_power_of_two().ilog2())).or_default() += count;
        }
    }
    let columns = times.chunks(together).map(|chunk| chunk[0]).collect();
    let rows = cells.keys().map(|(_, row)| *row);
    let rows = (rows.clone().min().unwrap_or(0), rows.max().unwrap_or(0));
    Grid { columns, rows, cells }
}

/// The shade of a cell: the logarithm, so that a few slow ones are seen beside thousands.
fn shade(count: u64, most: u64) -> u64 {
    if most <= 1 {
        return SHADES;
    }
    let share = ((count as f64).ln_1p() / (most as f64).ln_1p()).clamp(0.0, 1.0);
    ((share * SHADES as f64).ceil() as u64).clamp(1, SHADES)
}

/// The picture, from the beginning to the end of a time.
pub(crate) fn draw(title: &str, steps: &[Step], (from, until): (Timestamp, Timestamp)) -> Markup {
    let grid = grid(steps);
    let most = grid.cells.values().copied().max().unwrap_or(0);
    let (low, high) = grid.rows;
    let down = (HEIGHT - BOTTOM - 8.0) / f64::from(high - low + 1);
    let place = |at: Timestamp| at.as_micros() as f64;
    let scale = Scale::new((place(from), place(until)), (LEFT, WIDTH - RIGHT));
    let apart = grid.columns.windows(2).map(|pair| pair[1].as_micros() - pair[0].as_micros()).min();
    let step_us = apart.unwrap_or(MINUTE).max(MINUTE) as f64;
    let left = |column: usize| scale.at(place(grid.columns[column]));
    let wide = |column: usize| scale.at(place(grid.columns[column]) + step_us) - left(column);
    let y = |row: u32| 8.0 + f64::from(high - row) * down;
    let step = time_step(until.since(from).as_micros() as u64, 12);
    let first = from.as_micros().div_ceil(step) * step;
    let moments = (0..=24_u64).map(|n| first + n * step).take_while(|at| *at <= until.as_micros());
    let told = grid.cells.values().sum::<u64>();
    html! {
        figure.chart.across {
            figcaption { (title) }
            @if most == 0 {
                p.empty { "Nothing was measured in this time." }
            } @else {
                div.scroll { svg.heat role="img" aria-label={ (title) ": " (words::count(told)) " requests, most of them below " (words::micros(1 << busiest(&grid))) } viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } {
                    g.grid {
                        @for row in (low..=high).filter(|row| (row - low) % (1 + (high - low) / 8) == 0) {
                            text x=(px(LEFT - 6.0)) y=(px(y(row) + 4.0)) text-anchor="end" { (bound(row)) }
                        }
                        @for moment in moments {
                            @let at = Timestamp::from_micros(moment);
                            (super::series::moment_at(at, step, (scale.at(place(at)), HEIGHT - 7.0)))
                        }
                    }
                    @for ((column, row), count) in &grid.cells {
                        @let class = format!("h{}", shade(*count, most));
                        rect class=(class) x=(px(left(*column))) y=(px(y(*row))) width=(px((wide(*column) - 1.0).max(0.5))) height=(px((down - 1.0).max(0.5))) rx="1" {
                            title { (words::of_minute(grid.columns[*column])) ": " (words::count(*count)) " up to " (bound(*row)) }
                        }
                    }
                } }
            }
        }
    }
}

/// The longest duration of a row, as people say it: a power of two is never round.
fn bound(row: u32) -> String {
    let us: u64 = 1 << row;
    match us {
        0..=999 => format!("{us} µs"),
        1_000..=999_999 => format!("{} ms", us >> 10),
        _ => format!("{} s", us >> 20),
    }
}

fn busiest(grid: &Grid) -> u32 {
    let mut rows: BTreeMap<u32, u64> = BTreeMap::new();
    for ((_, row), count) in &grid.cells {
        *rows.entry(*row).or_default() += count;
    }
    rows.into_iter().max_by_key(|(_, count)| *count).map_or(0, |(row, _)| row)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: u64) -> Timestamp {
        Timestamp::from_micros(minute * 60_000_000)
    }

    #[test]
    fn durations_go_to_the_row_of_their_power_of_two() {
        let grid =
            grid(&[(at(1), vec![(900, 5), (1_024, 2), (70_000, 1), (3, 0)]), (at(2), vec![(1_000, 4)])]);
        let cells: Vec<_> = grid.cells.iter().map(|(cell, count)| (*cell, *count)).collect();
        assert_eq!(cells, [((0, 10), 7), ((0, 17), 1), ((1, 10), 4)]);
        assert_eq!(grid.rows, (10, 17));
    }

    #[test]
    fn a_day_of_minutes_is_no_wider_than_a_picture() {
        let steps: Vec<Step> = (0..1_440).map(|minute| (at(minute), vec![(1 << (minute % 12), 9)])).collect();
        let grid = grid(&steps);
        assert!(grid.columns.len() <= COLUMNS);
        assert_eq!(grid.cells.values().sum::<u64>(), 1_440 * 9);
        assert!(draw("Latency", &steps, (at(0), at(1_440))).into_string().len() < 150 << 10);
    }

    #[test]
    fn one_among_thousands_is_seen() {
        assert_eq!([shade(1, 1), shade(1, 10_000), shade(10_000, 10_000)], [SHADES, 1, SHADES]);
        assert!(draw("x", &[(at(0), vec![(u64::MAX >> 2, 1)])], (at(0), at(1))).into_string().contains("h6"));
    }
}
