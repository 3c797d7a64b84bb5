//! What `atoll metrics` and `atoll graph` show.

use std::collections::BTreeMap;

use api::{Graph, Metric, Series};

use super::table::{Cell, Side, Table};
use super::traces::took;
use super::{Paint, clean, paint};

/// Heights of a column in a small chart.
const HEIGHTS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Columns of a small chart.
const CHART: usize = 32;

/// `metrics`: a line per metric.
pub(crate) fn metrics(metrics: &[Metric], columns: Option<usize>, paint: Paint) -> String {
    if metrics.is_empty() {
        return "there are no metrics yet\n".into();
    }
    let mut table = Table::new(&[
        ("METRIC", Side::Left),
        ("KIND", Side::Left),
        ("UNIT", Side::Left),
        ("SERIES", Side::Right),
    ]);
    for metric in metrics {
        table.row(vec![
            Cell::new(&metric.name),
            Cell::new(&metric.kind),
            Cell::maybe(metric.unit.as_ref()),
            Cell::new(metric.series.to_string()),
        ]);
    }
    table.text(columns, paint)
}

/// `metrics NAME`: a line per series, with a small chart of it.
pub(crate) fn series(series: &[Series], columns: Option<usize>, paint: Paint) -> String {
    if series.is_empty() {
        return "there is no such metric in this time\n".into();
    }
    // A counter stands at something, and what is shown of it is how fast it grows.
    let counts = series.iter().any(|one| one.total.is_some());
    let mut heads = vec![("LABELS", Side::Left)];
    if counts {
        heads.extend([("TOTAL", Side::Right), ("PER SECOND", Side::Right)]);
    } else {
        heads.push(("LAST", Side::Right));
    }
    heads.extend([("LEAST", Side::Right), ("MOST", Side::Right), ("OVER TIME", Side::Left)]);
    let mut table = Table::new(&heads);
    for one in series {
        let values: Vec<f64> =
            one.points.iter().map(|(_, value)| *value).filter(|value| value.is_finite()).collect();
        let least = values.iter().copied().reduce(f64::min);
        let most = values.iter().copied().reduce(f64::max);
        let mut row = vec![Cell::new(labels(&one.labels))];
        if counts {
            row.push(Cell::maybe(one.total.map(number)));
        }
        row.extend([
            Cell::maybe(values.last().copied().map(number)),
            Cell::maybe(least.map(number)),
            Cell::maybe(most.map(number)),
            Cell::new(chart(&values)),
        ]);
        table.row(row);
    }
    table.text(columns, paint)
}

/// `graph`: a line per edge, the busiest first.
pub(crate) fn graph(graph: &Graph, columns: Option<usize>, paint: Paint) -> String {
    if graph.edges.is_empty() {
        return "nobody called anybody in this time\n".into();
    }
    let mut table = Table::new(&[
        ("FROM", Side::Left),
        ("TO", Side::Left),
        ("CALLS", Side::Right),
        ("PER SECOND", Side::Right),
        ("FAILED", Side::Right),
        ("HALF WITHIN", Side::Right),
        ("99 % WITHIN", Side::Right),
    ]);
    let mut edges: Vec<_> = graph.edges.iter().collect();
    edges.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| (&a.from, &a.to).cmp(&(&b.from, &b.to))));
    for edge in edges {
        let failed = match edge.errors {
            0 => Cell::none(),
            errors => Cell::styled(paint::bad(), format!("{:.1} %", share(errors, edge.count))),
        };
        table.row(vec![
            Cell::styled(paint::name_style(&edge.from), &edge.from),
            Cell::styled(paint::name_style(&edge.to), &edge.to),
            Cell::new(edge.count.to_string()),
            Cell::new(number(edge.rate)),
            failed,
            Cell::new(took(edge.p50_us)),
            Cell::new(took(edge.p99_us)),
        ]);
    }
    table.text(columns, paint)
}

fn share(part: u64, whole: u64) -> f64 {
    part as f64 * 100.0 / whole.max(1) as f64
}

fn labels(labels: &BTreeMap<String, String>) -> String {
    let pairs: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    clean::text(&pairs.join(" "))
}

/// Three figures that count.
fn number(value: f64) -> String {
    let size = value.abs();
    if size != 0.0 && size < 0.01 {
        format!("{value:.2e}")
    } else if size < 10.0 {
        format!("{value:.2}")
    } else if size < 1000.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.0}")
    }
}

/// The last values as columns between the least and the most of them.
fn chart(values: &[f64]) -> String {
    let shown = &values[values.len().saturating_sub(CHART)..];
    let least = shown.iter().copied().fold(f64::INFINITY, f64::min);
    let most = shown.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let height = |value: &f64| {
        if most <= least {
            return HEIGHTS[0];
        }
        let step = (value - least) / (most - least) * (HEIGHTS.len() - 1) as f64;
        HEIGHTS[(step.round() as usize).min(HEIGHTS.len() - 1)]
    };
    shown.iter().map(height).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_goes_from_the_least_to_the_most() {
        assert_eq!(chart(&[0.0, 1.0, 2.0, 7.0]), "▁▂▃█");
        assert_eq!(chart(&[3.0, 3.0]), "▁▁");
        assert_eq!(chart(&[]), "");
        assert_eq!(chart(&vec![1.0; 100]).chars().count(), CHART);
    }

    #[test]
    fn numbers_have_three_figures_that_count() {
        let shown = [0.0, 0.001, 0.5, 12.34, 123.4, 1234.5].map(number);
        assert_eq!(shown, ["0.00", "1.00e-3", "0.50", "12.3", "123.4", "1234"]);
    }

    #[test]
    fn a_counter_that_was_seen_once_is_shown_as_it_stands() {
        let one = |service: &str, points: &[f64], total| Series {
            labels: [("service".to_owned(), service.to_owned())].into(),
            points: points.iter().map(|value| (kit::Timestamp::from_micros(1), *value)).collect(),
            total,
        };
        let counters = [one("a", &[], Some(3.0)), one("b", &[1.0, 2.0], Some(40.0))];
        insta::assert_snapshot!(series(&counters, None, Paint::new(false)), @r"
        LABELS     TOTAL  PER SECOND  LEAST  MOST  OVER TIME
        service=a   3.00           –      –     –
        service=b   40.0        2.00   1.00  2.00  ▁█
        ");
        insta::assert_snapshot!(series(&[one("a", &[1.0], None)], None, Paint::new(false)), @r"
        LABELS     LAST  LEAST  MOST  OVER TIME
        service=a  1.00   1.00  1.00  ▁
        ");
    }

    #[test]
    fn the_busiest_edge_is_first() {
        let edge = |from: &str, to: &str, count, errors| api::GraphEdge {
            from: from.into(),
            from_kind: String::new(),
            to: to.into(),
            to_kind: String::new(),
            count,
            errors,
            rate: count as f64 / 60.0,
            p50_us: 1_500,
            p99_us: 20_000,
        };
        let edges = vec![edge("orders", "payments", 60, 3), edge("gateway", "orders", 120, 0)];
        let graph = Graph { nodes: Vec::new(), edges };
        insta::assert_snapshot!(super::graph(&graph, None, Paint::new(false)), @r"
        FROM     TO        CALLS  PER SECOND  FAILED  HALF WITHIN  99 % WITHIN
        gateway  orders      120        2.00       –      1.50 ms        20 ms
        orders   payments     60        1.00   5.0 %      1.50 ms        20 ms
        ");
    }
}
