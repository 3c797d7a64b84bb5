//! Which services, operations and metrics there are. Bounded: whoever makes names up fills nothing but these bounds.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::BuildHasherDefault;

use xxhash_rust::xxh3::{Xxh3, xxh3_64, xxh3_64_with_seed};

use crate::block::bloom::AsItIs;
use crate::model::{MetricKind, MetricPoint, Text};
use crate::options::Limits;

/// The service of records of services beyond the limit.
pub(crate) const OTHERS: Text = Text::from_static("(others)");

/// A metric that there is.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricInfo {
    /// Its name.
    pub name: Text,
    /// What it is.
    pub kind: MetricKind,
    /// Its unit; may be empty.
    pub unit: Text,
    /// How many series it has.
    pub series: usize,
}

/// What there is.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    services: BTreeMap<Text, BTreeSet<Text>>,
    /// Operations that need not be looked at again, by the hash of service and name. Bounded as they are.
    seen: HashSet<u64, BuildHasherDefault<AsItIs>>,
    metrics: BTreeMap<Text, (MetricKind, Text)>,
    series: HashSet<u64>,
    series_of: BTreeMap<Text, usize>,
    /// The day that the series are counted in.
    day: u64,
}

impl Catalog {
    /// The name under which a service is kept.
    pub(crate) fn service(&mut self, service: &Text, limits: &Limits) -> Option<Text> {
        if self.services.contains_key(service) {
            return None;
        }
        if self.services.len() >= limits.services {
            return Some(OTHERS);
        }
        self.services.insert(service.clone(), BTreeSet::new());
        None
    }

    /// Remembers an operation of a service.
    pub(crate) fn operation(&mut self, service: &Text, operation: &Text, limits: &Limits) {
        let key = xxh3_64_with_seed(operation.as_bytes(), xxh3_64(service.as_bytes()));
        if self.seen.contains(&key) {
            return;
        }
        if let Some(operations) = self.services.get_mut(service)
            && operations.len() < limits.operations
        {
            operations.insert(operation.clone());
            self.seen.insert(key);
        }
    }

    /// Whether a point may be kept.
    pub(crate) fn point(&mut self, point: &MetricPoint, limits: &Limits) -> bool {
        let series = series_of(point);
        if !self.series.contains(&series) {
            if self.series.len() >= limits.series {
                return false;
            }
            self.series.insert(series);
            *self.series_of.entry(point.name.clone()).or_default() += 1;
        }
        if !self.metrics.contains_key(&point.name) {
            self.metrics.insert(point.name.clone(), (point.value.kind(), point.unit.clone()));
        }
        true
    }

    /// Series are counted anew each day, so that those of instances long gone do not keep new ones out.
    pub(crate) fn on_day(&mut self, day: u64) {
        if day != self.day {
            self.day = day;
            self.series.clear();
            self.series_of.clear();
            self.metrics.clear();
        }
    }

    pub(crate) fn services(&self) -> Vec<Text> {
        self.services.keys().cloned().collect()
    }

    pub(crate) fn operations(&self, service: &str) -> Vec<Text> {
        self.services.get(service).map(|operations| operations.iter().cloned().collect()).unwrap_or_default()
    }

    pub(crate) fn metrics(&self) -> Vec<MetricInfo> {
        let info = |(name, (kind, unit)): (&Text, &(MetricKind, Text))| MetricInfo {
            name: name.clone(),
            kind: *kind,
            unit: unit.clone(),
            series: self.series_of.get(name).copied().unwrap_or(0),
        };
        self.metrics.iter().map(info).collect()
    }

    pub(crate) fn series(&self) -> usize {
        self.series.len()
    }
}

/// Names a series: the metric and its labels.
pub(crate) fn series_of(point: &MetricPoint) -> u64 {
    let mut hash = Xxh3::new();
    let mut add = |text: &str| {
        hash.update(&(text.len() as u64).to_le_bytes());
        hash.update(text.as_bytes());
    };
    add(&point.name);
    for (key, value) in &point.labels {
        add(key);
        add(value);
    }
    hash.digest()
}
