//! The metrics that are kept, as Prometheus would have them: names and labels in its letters, a histogram as a series for each
//! bucket, what only tells how much a sum grew as the sum itself.
//!
//! A name that Prometheus could have stays as it is. Any other came over OTLP and is translated as OpenTelemetry lays down: other
//! letters become `_`, the unit is put behind, and `_total` behind a counter.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::rows::set;
use super::{Labels, Limits, Matcher, NAME, PromError, Sampled, Source};
use crate::block::points::Named;
use crate::filter::TimeRange;
use crate::model::{Buckets, ExponentialBuckets, Histogram, MetricKind, MetricValue, Text};
use crate::query::{Points, Query, TooMany, Track};

/// Series that a histogram with exponential buckets becomes at most: beyond that its buckets are taken together.
const MOST_BUCKETS: usize = 160;
/// What a histogram is told apart by.
const BOUND: &str = "le";

/// What is kept of metrics.
pub struct Kept<'q>(pub &'q Query);

/// A metric, as it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// What it is.
    pub kind: MetricKind,
    /// Its unit; may be empty.
    pub unit: Text,
}

impl Source for Kept<'_> {
    fn select(
        &self,
        matchers: &[Matcher],
        from_ms: i64,
        until_ms: i64,
        limits: &Limits,
    ) -> Result<Vec<Sampled>, PromError> {
        let range = range(from_ms, until_ms);
        let tracks = self.tracks(range, Points::All, limits, |named| may_be(named, matchers))?;
        let mut found: BTreeMap<Labels, Vec<(i64, f64)>> = BTreeMap::new();
        let mut samples = 0;
        for track in &tracks {
            let is_meant = |name: &str| {
                matchers.iter().filter(|matcher| matcher.label == NAME).all(|matcher| matcher.is_met_by(name))
            };
            let room = limits.samples.saturating_sub(samples);
            for series in series_of(track, is_meant, room).ok_or_else(|| too_many(limits))? {
                if matchers.iter().all(|matcher| matcher.is_met(&series.labels)) {
                    samples += series.samples.len();
                    found.entry(series.labels).or_default().extend(series.samples);
                }
            }
            if found.len() > limits.series {
                return Err(PromError::TooMuch { what: "series", limit: limits.series });
            }
            if samples > limits.samples {
                return Err(too_many(limits));
            }
        }
        let in_order = |(labels, mut samples): (Labels, Vec<(i64, f64)>)| {
            samples.sort_by_key(|(at, _)| *at);
            // Of two at the same moment the later one counts.
            samples.reverse();
            samples.dedup_by_key(|(at, _)| *at);
            samples.reverse();
            Sampled { labels, samples }
        };
        Ok(found.into_iter().map(in_order).collect())
    }
}

impl Kept<'_> {
    fn tracks(
        &self,
        range: TimeRange,
        which: Points,
        limits: &Limits,
        wanted: impl FnMut(&Named) -> bool,
    ) -> Result<Vec<Track>, PromError> {
        let tracks =
            self.0.tracks(range, which, limits.samples, wanted).map_err(|TooMany| too_many(limits))?;
        if self.0.has_given_up() { Err(PromError::TooLong(limits.time)) } else { Ok(tracks) }
    }

    /// The series that any of these sets of matchers means; without sets, all.
    pub fn series(
        &self,
        sets: &[Vec<Matcher>],
        from_ms: i64,
        until_ms: i64,
        limits: &Limits,
    ) -> Result<BTreeSet<Labels>, PromError> {
        let may_be = |named: &Named| sets.is_empty() || sets.iter().any(|matchers| may_be(named, matchers));
        let tracks = self.tracks(range(from_ms, until_ms), Points::Some, limits, may_be)?;
        let is_meant = |labels: &Labels| {
            sets.is_empty() || sets.iter().any(|set| set.iter().all(|matcher| matcher.is_met(labels)))
        };
        let mut found = BTreeSet::new();
        for track in &tracks {
            let series = series_of(track, |_| true, limits.samples).ok_or_else(|| too_many(limits))?;
            found.extend(series.into_iter().map(|series| series.labels).filter(is_meant));
            if found.len() > limits.series {
                return Err(PromError::TooMuch { what: "series", limit: limits.series });
            }
        }
        Ok(found)
    }

    /// The metrics that there are.
    pub fn metadata(&self, limits: &Limits) -> Result<BTreeMap<String, Metadata>, PromError> {
        let tracks = self.tracks(TimeRange::ALL, Points::Some, limits, |_| true)?;
        let mut found = BTreeMap::new();
        for track in &tracks {
            let Some((_, value)) = track.points.last() else { continue };
            let (name, unit, labels) = &track.named;
            let (mut name, mut kind) = (name_of(name, unit, value.kind()), value.kind());
            if let Some(family) = name.strip_suffix("_bucket")
                && labels.iter().any(|(label, _)| label == BOUND)
            {
                (name, kind) = (family.to_owned(), MetricKind::Histogram);
            }
            found.insert(name, Metadata { kind, unit: unit.clone() });
        }
        Ok(found)
    }
}

const fn too_many(limits: &Limits) -> PromError {
    PromError::TooMuch { what: "samples", limit: limits.samples }
}

fn range(from_ms: i64, until_ms: i64) -> TimeRange {
    let ns = |ms: i64| u64::try_from(ms).unwrap_or(0).saturating_mul(1_000_000);
    TimeRange { from_ns: ns(from_ms), until_ns: ns(until_ms).saturating_add(999_999) }
}

/// Whether a series of this may be meant; what kind it is of is not known yet.
fn may_be((name, unit, labels): &Named, matchers: &[Matcher]) -> bool {
    let by_name: Vec<&Matcher> = matchers.iter().filter(|matcher| matcher.label == NAME).collect();
    let names = |kind| names_of(&name_of(name, unit, kind), kind);
    let is_named = || {
        [MetricKind::Gauge, MetricKind::Counter, MetricKind::Histogram]
            .into_iter()
            .flat_map(names)
            .any(|name| by_name.iter().all(|matcher| matcher.is_met_by(&name)))
    };
    if !by_name.is_empty() && !is_named() {
        return false;
    }
    let labels = labels_of(labels);
    matchers
        .iter()
        .filter(|matcher| matcher.label != NAME && matcher.label != BOUND)
        .all(|matcher| matcher.is_met(&labels))
}

/// The names of the series that a metric becomes.
fn names_of(name: &str, kind: MetricKind) -> Vec<String> {
    match kind {
        MetricKind::Histogram => ["_bucket", "_sum", "_count"].map(|end| format!("{name}{end}")).into(),
        MetricKind::Counter | MetricKind::Gauge => vec![name.to_owned()],
    }
}

fn name_of(name: &str, unit: &str, kind: MetricKind) -> String {
    let begins = |c: char| c.is_ascii_alphabetic() || c == '_' || c == ':';
    let allowed = |c: char| begins(c) || c.is_ascii_digit();
    if name.starts_with(begins) && name.chars().all(allowed) {
        return name.to_owned();
    }
    let mut translated = String::with_capacity(name.len() + 16);
    for c in name.chars() {
        let c = if allowed(c) { c } else { '_' };
        if c != '_' || !translated.ends_with('_') {
            translated.push(c);
        }
    }
    if translated.starts_with(|c: char| c.is_ascii_digit()) {
        translated.insert(0, '_');
    }
    let (per, unit) = unit.split_once('/').map_or(("", unit), |(unit, per)| (per, unit));
    let mut put = |word: &str, with: &str| {
        if !word.is_empty() && !translated.ends_with(word) {
            translated.push_str(with);
            translated.push_str(word);
        }
    };
    if unit == "1" && kind == MetricKind::Gauge {
        put("ratio", "_");
    } else {
        put(&unit_of(unit), "_");
    }
    put(&per_of(per), "_per_");
    if kind == MetricKind::Counter {
        put("total", "_");
    }
    translated
}

/// A unit of UCUM in words; what stands in braces is no unit.
fn unit_of(unit: &str) -> String {
    let word = match unit {
        "d" => "days",
        "h" => "hours",
        "min" => "minutes",
        "s" => "seconds",
        "ms" => "milliseconds",
        "us" => "microseconds",
        "ns" => "nanoseconds",
        "By" => "bytes",
        "KiBy" => "kibibytes",
        "MiBy" => "mebibytes",
        "GiBy" => "gibibytes",
        "KBy" => "kilobytes",
        "MBy" => "megabytes",
        "GBy" => "gigabytes",
        "Cel" => "celsius",
        "Hz" => "hertz",
        "%" => "percent",
        "1" => "",
        other if other.contains('{') => "",
        other => other,
    };
    word.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

fn per_of(unit: &str) -> String {
    match unit {
        "s" => "second".into(),
        "min" | "m" => "minute".into(),
        "h" => "hour".into(),
        "d" => "day".into(),
        other => unit_of(other),
    }
}

/// Labels by their names, in letters of Prometheus. Values of two that become the same stand behind each other.
fn labels_of(labels: &[(Text, Text)]) -> Labels {
    let mut translated: BTreeMap<Text, Text> = BTreeMap::new();
    for (label, value) in labels.iter().filter(|(_, value)| !value.is_empty()) {
        let begins = |c: char| c.is_ascii_alphabetic() || c == '_';
        let allowed = |c: char| begins(c) || c.is_ascii_digit();
        let label = if label.starts_with(begins) && label.chars().all(allowed) {
            label.clone()
        } else {
            let mut plain: String = label.chars().map(|c| if allowed(c) { c } else { '_' }).collect();
            if !plain.starts_with(begins) {
                plain.insert(0, '_');
            }
            Text::from(plain)
        };
        match translated.get_mut(&label) {
            Some(before) => *before = Text::from(format!("{before};{value}")),
            None => drop(translated.insert(label, value.clone())),
        }
    }
    translated.into_iter().collect()
}

/// The series that one becomes, of those whose names are meant. None if they would have more samples than `most`.
fn series_of(track: &Track, is_meant: impl Fn(&str) -> bool, most: usize) -> Option<Vec<Sampled>> {
    let (name, unit, labels) = &track.named;
    let labels = labels_of(labels);
    let Some((_, last)) = track.points.last() else { return Some(Vec::new()) };
    let name = name_of(name, unit, last.kind());
    if last.kind() == MetricKind::Histogram {
        return buckets_of(&name, &labels, track, is_meant, most);
    }
    if !is_meant(&name) {
        return Some(Vec::new());
    }
    let mut total = 0.0;
    let sample = |(at, value): &(u64, MetricValue)| {
        let value = match value {
            MetricValue::Gauge(value) | MetricValue::Counter(value) => *value,
            MetricValue::Increase(by) => {
                total += by;
                total
            }
            MetricValue::Histogram(_) => return None, // it was one once
        };
        Some((ms(*at), value))
    };
    let samples = track.points.iter().filter_map(sample).collect();
    Some(vec![Sampled { samples, labels: named(&labels, &name) }])
}

fn ms(ns: u64) -> i64 {
    i64::try_from(ns / 1_000_000).unwrap_or(i64::MAX)
}

fn named(labels: &Labels, name: &str) -> Labels {
    let mut labels = labels.clone();
    set(&mut labels, NAME, name);
    labels
}

#[expect(clippy::cast_precision_loss, reason = "counts")]
fn buckets_of(
    name: &str,
    labels: &Labels,
    track: &Track,
    is_meant: impl Fn(&str) -> bool,
    most: usize,
) -> Option<Vec<Sampled>> {
    let histograms = || {
        track.points.iter().filter_map(|(at, value)| match value {
            MetricValue::Histogram(histogram) => Some((ms(*at), &**histogram)),
            _ => None,
        })
    };
    let [of_buckets, of_sums, of_counts] = ["_bucket", "_sum", "_count"].map(|end| format!("{name}{end}"));
    let [with_buckets, with_sums, with_counts] =
        [&of_buckets, &of_sums, &of_counts].map(|name| is_meant(name));
    let all: Vec<_> = histograms().map(|(_, histogram)| histogram).collect();
    let shape = Shape::of(&all);
    // A hundred buckets and more, of each of them: looked at before they are made.
    if with_buckets && all.iter().map(|one| shape.len(one)).sum::<usize>() > most {
        return None;
    }
    let mut bounds: BTreeMap<Bound, Vec<(i64, f64)>> = BTreeMap::new();
    let (mut sums, mut counts) = (Vec::new(), Vec::new());
    let (mut sum, mut count, mut up_to) = (0.0, 0.0, HashMap::<u64, f64>::new());
    for (at, histogram) in histograms() {
        let grows = !histogram.cumulative;
        let mut running = |key: f64, value: f64| {
            let total = up_to.entry(key.to_bits()).or_default();
            *total = if grows { *total + value } else { value };
            *total
        };
        if with_buckets {
            for (bound, value) in shape.buckets(histogram) {
                bounds.entry(Bound(bound)).or_default().push((at, running(bound, value)));
            }
            let all = running(f64::INFINITY, histogram.count as f64);
            bounds.entry(Bound(f64::INFINITY)).or_default().push((at, all));
        }
        (sum, count) = if grows {
            (sum + histogram.sum, count + histogram.count as f64)
        } else {
            (histogram.sum, histogram.count as f64)
        };
        sums.push((at, sum));
        counts.push((at, count));
    }
    let bucket = |(Bound(bound), samples): (Bound, Vec<(i64, f64)>)| {
        let mut labels = named(labels, &of_buckets);
        set(&mut labels, BOUND, &super::aggregate::number(bound));
        Sampled { labels, samples }
    };
    let mut series: Vec<Sampled> = bounds.into_iter().map(bucket).collect();
    if with_sums {
        series.push(Sampled { labels: named(labels, &of_sums), samples: sums });
    }
    if with_counts {
        series.push(Sampled { labels: named(labels, &of_counts), samples: counts });
    }
    Some(series)
}

/// A bound, in order.
#[derive(Clone, Copy, Debug)]
struct Bound(f64);

impl Ord for Bound {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl PartialOrd for Bound {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Bound {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Bound {}

/// Buckets that all histograms of a series have in common, where theirs are exponential: so that a bucket is there from the first
/// sample on, and its growth is seen.
struct Shape {
    scale: i32,
    /// Indices, from the first to before the last.
    first: i64,
    end: i64,
}

impl Shape {
    fn of(histograms: &[&Histogram]) -> Self {
        let exponential = || {
            histograms.iter().filter_map(|histogram| match &histogram.buckets {
                Buckets::Exponential { scale, positive, .. } => Some((*scale, positive)),
                Buckets::Explicit { .. } => None,
            })
        };
        let mut scale = exponential().map(|(scale, _)| scale).min().unwrap_or(0);
        loop {
            let (mut first, mut end) = (i64::MAX, i64::MIN);
            for (finer, buckets) in exponential().filter(|(_, buckets)| !buckets.counts.is_empty()) {
                let (from, until) = indices(buckets);
                first = first.min(coarser(from, finer, scale));
                end = end.max(coarser(until - 1, finer, scale) + 1);
            }
            if first >= end {
                return Self { scale, first: 0, end: 0 };
            }
            if end - first <= MOST_BUCKETS as i64 {
                return Self { scale, first, end };
            }
            scale -= 1;
        }
    }

    /// How many buckets a histogram has in it, the one of all values included.
    fn len(&self, histogram: &Histogram) -> usize {
        match &histogram.buckets {
            Buckets::Explicit { bounds, .. } => bounds.len() + 1,
            Buckets::Exponential { .. } => usize::try_from(self.end - self.first).unwrap_or(usize::MAX) + 2,
        }
    }

    /// Upper bounds, and how many values are at most so large.
    #[expect(clippy::cast_precision_loss, reason = "counts and indices")]
    fn buckets(&self, histogram: &Histogram) -> Vec<(f64, f64)> {
        match &histogram.buckets {
            Buckets::Explicit { bounds, counts } => {
                let mut total = 0.0;
                let up_to = |(bound, count): (&f64, &u64)| {
                    total += *count as f64;
                    (*bound, total)
                };
                let finite = |(bound, _): &(&f64, &u64)| bound.is_finite();
                bounds.iter().zip(counts).filter(finite).map(up_to).collect()
            }
            Buckets::Exponential { scale, zero, positive, negative } => {
                // Counts are whatever somebody has sent: as numbers with a point they have no end that they could run over.
                let below: f64 = negative.counts.iter().map(|count| *count as f64).sum();
                let mut total = *zero as f64 + below;
                let mut up_to = vec![(0.0, total)];
                let (from, _) = indices(positive);
                let mut counts = (from..).zip(&positive.counts).peekable();
                for index in self.first..self.end {
                    while let Some((_, count)) =
                        counts.next_if(|(finer, _)| coarser(*finer, *scale, self.scale) <= index)
                    {
                        total += *count as f64;
                    }
                    let bound = ((index + 1) as f64 * (-f64::from(self.scale)).exp2()).exp2();
                    if bound.is_finite() {
                        up_to.push((bound, total));
                    }
                }
                up_to
            }
        }
    }
}

fn indices(buckets: &ExponentialBuckets) -> (i64, i64) {
    let from = i64::from(buckets.offset);
    (from, from + buckets.counts.len() as i64)
}

/// The bucket of a coarser scale that holds this one.
fn coarser(index: i64, scale: i32, to: i32) -> i64 {
    index >> u32::try_from(i64::from(scale) - i64::from(to)).unwrap_or(0).min(63)
}
