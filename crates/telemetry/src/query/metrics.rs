//! Numbers over time.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Query;
use crate::block::points::{of_metric, places_of};
use crate::block::{Kept, Unpacker};
use crate::filter::{MetricFilter, TimeRange};
use crate::model::{MetricKind, MetricPoint, MetricValue, Text};

/// A sum is compared with the point before: so far back it is looked for.
const LOOK_BACK: Duration = Duration::from_secs(300);
/// Points of an answer, of each series, at most: a finer step is made coarser.
const MOST_STEPS: u64 = 11_000;

/// Values over time with the same labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Its labels, by name.
    pub labels: Vec<(Text, Text)>,
    /// What it is.
    pub kind: MetricKind,
    /// The beginning of each step with a value, in nanoseconds since the Unix epoch, and the value: of a gauge the last, of
    /// a counter how fast it grew, per second, of a histogram how many values came, per second.
    pub points: Vec<(u64, f64)>,
    /// What a counter stands at, or how many values a histogram that adds them up has. Of one point alone this is all that can be said.
    pub total: Option<f64>,
}

impl Query {
    /// The series of a metric.
    pub fn series(&self, filter: &MetricFilter) -> Vec<Series> {
        let back = u64::try_from(LOOK_BACK.as_nanos()).unwrap_or(u64::MAX);
        let range = TimeRange { from_ns: filter.range.from_ns.saturating_sub(back), ..filter.range };
        let wide = MetricFilter { range, ..filter.clone() };
        let mut series: BTreeMap<Vec<(Text, Text)>, Vec<MetricPoint>> = BTreeMap::new();
        for mut point in self.points(&wide) {
            series.entry(std::mem::take(&mut point.labels)).or_default().push(point);
        }
        series.into_iter().filter_map(|(labels, points)| one_series(labels, points, filter)).collect()
    }

    fn points(&self, filter: &MetricFilter) -> Vec<MetricPoint> {
        let lane = self.shared.kept().points.clone();
        let keys = [of_metric(&filter.name)];
        let (mut points, unpacker) = (Vec::new(), Unpacker::default());
        for block in
            lane.sealed.iter().filter(|block| filter.range.meets(block.header.min_ns, block.header.max_ns))
        {
            let found = self.in_block(block, &keys, &unpacker, |body| {
                let places = places_of(body, &filter.name)?;
                if places.is_empty() { Some(Vec::new()) } else { MetricPoint::read(body, Some(&places)) }
            });
            points.extend(found.into_iter().filter(|point| filter.matches(point)));
        }
        let chunks = lane.open.iter().filter(|chunk| filter.range.meets(chunk.min_ns, chunk.max_ns));
        points.extend(
            chunks.flat_map(|chunk| chunk.rows.iter().filter(|point| filter.matches(point)).cloned()),
        );
        points
    }
}

fn one_series(
    labels: Vec<(Text, Text)>,
    mut points: Vec<MetricPoint>,
    filter: &MetricFilter,
) -> Option<Series> {
    points.sort_by_key(|point| point.time_ns);
    let kind = points.last()?.value.kind();
    let (first, last) = (points.first()?.time_ns.max(filter.range.from_ns), points.last()?.time_ns);
    let least = last.saturating_sub(first) / MOST_STEPS + 1;
    let step = u64::try_from(filter.step.as_nanos()).unwrap_or(u64::MAX).max(least);
    let mut steps: BTreeMap<u64, f64> = BTreeMap::new();
    let (mut before, mut stands): (Option<f64>, Option<f64>) = (None, None);
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    for point in &points {
        let within = filter.range.has(point.time_ns);
        let at = point.time_ns - point.time_ns % step;
        let (total, cumulative) = match &point.value {
            MetricValue::Gauge(value) => {
                if within {
                    steps.insert(at, *value);
                }
                continue;
            }
            MetricValue::Counter(total) => (*total, true),
            MetricValue::Increase(by) => (*by, false),
            MetricValue::Histogram(histogram) => (histogram.count as f64, histogram.cumulative),
        };
        let grown = if cumulative {
            let last = before.replace(total);
            if within {
                stands = Some(total);
            }
            // A sum that is smaller than before began anew: all of it is growth.
            last.map(|last| if total < last { total } else { total - last })
        } else {
            Some(total)
        };
        if let Some(grown) = grown.filter(|_| within) {
            *steps.entry(at).or_default() += grown / (step as f64 / 1e9);
        }
    }
    let is_there = !steps.is_empty() || stands.is_some();
    is_there.then(|| Series { labels, kind, points: steps.into_iter().collect(), total: stands })
}
