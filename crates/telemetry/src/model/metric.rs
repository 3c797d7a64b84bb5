//! Numbers over time.

use super::Text;

/// What a metric said at one moment, for one set of labels.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricPoint {
    /// The metric.
    pub name: Text,
    /// Its unit; empty where that is not known.
    pub unit: Text,
    /// What tells its series from others of the metric, by name; `service` is one of them.
    pub labels: Vec<(Text, Text)>,
    /// When, in nanoseconds since the Unix epoch; 0 where nobody said: then the time of its arrival is put in.
    pub time_ns: u64,
    /// How much.
    pub value: MetricValue,
}

/// How much.
#[derive(Clone, Debug, PartialEq)]
pub enum MetricValue {
    /// A sum that only grows, since the process started.
    Counter(f64),
    /// How much a sum has grown since the last point.
    Increase(f64),
    /// What goes up and down.
    Gauge(f64),
    /// Many values, counted by size.
    Histogram(Box<Histogram>),
}

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MetricKind {
    /// A sum that only grows.
    Counter,
    /// What goes up and down.
    Gauge,
    /// Many values, counted by size.
    Histogram,
}

impl MetricKind {
    /// Its name: `counter`, `gauge`, `histogram`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

impl MetricValue {
    /// What kind of metric it is of.
    pub const fn kind(&self) -> MetricKind {
        match self {
            Self::Counter(_) | Self::Increase(_) => MetricKind::Counter,
            Self::Gauge(_) => MetricKind::Gauge,
            Self::Histogram(_) => MetricKind::Histogram,
        }
    }
}

/// Many values, counted by size.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    /// It counts since the process started; else since the last point.
    pub cumulative: bool,
    /// How many values.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
    /// How many of which size.
    pub buckets: Buckets,
}

/// How many values of which size.
#[derive(Clone, Debug, PartialEq)]
pub enum Buckets {
    /// Counts between bounds: one count more than there are bounds.
    Explicit {
        /// Upper bounds, inclusive, growing.
        bounds: Vec<f64>,
        /// Counts.
        counts: Vec<u64>,
    },
    /// Bounds that grow by the same factor: `2^(2^-scale)`.
    Exponential {
        /// How fine.
        scale: i32,
        /// How many values are zero.
        zero: u64,
        /// Those above zero.
        positive: ExponentialBuckets,
        /// Those below zero, by their size.
        negative: ExponentialBuckets,
    },
}

/// Counts of buckets next to each other.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ExponentialBuckets {
    /// The index of the first: bucket `i` holds values above `base^i`, up to `base^(i+1)`.
    pub offset: i32,
    /// Counts.
    pub counts: Vec<u64>,
}

impl MetricPoint {
    /// About how many bytes it takes in memory.
    pub fn size(&self) -> usize {
        let labels: usize = self.labels.iter().map(|(k, v)| 2 * size_of::<Text>() + k.len() + v.len()).sum();
        let value = match &self.value {
            MetricValue::Histogram(histogram) => {
                size_of::<Histogram>()
                    + 8 * match &histogram.buckets {
                        Buckets::Explicit { bounds, counts } => bounds.len() + counts.len(),
                        Buckets::Exponential { positive, negative, .. } => {
                            positive.counts.len() + negative.counts.len()
                        }
                    }
            }
            MetricValue::Counter(_) | MetricValue::Increase(_) | MetricValue::Gauge(_) => 0,
        };
        size_of::<Self>() + labels + value
    }
}
