//! What is answered from roll-ups: how long work took, and who calls whom.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::sync::Arc;

use super::Query;
use crate::files::log;
use crate::files::rollups::{add_entry, rollup_files};
use crate::filter::{LatencyFilter, TimeRange};
use crate::model::Text;
use crate::rollup::{APART, Calls, Hour, Minutes, STRETCH, minute_of, start_of};
use crate::sketch::{Sketch, Tally};

/// How late a span may come and still be seen in the minute it was in.
const LATE_HOURS: u64 = 1;

/// How long the work of a service took within one step.
#[derive(Clone, Debug, PartialEq)]
pub struct Latency {
    /// The service.
    pub service: Text,
    /// The beginning of the step, in nanoseconds since the Unix epoch.
    pub start_ns: u64,
    /// Spans that failed.
    pub errors: u64,
    /// How long they took; its count is the number of spans that served somebody.
    pub sketch: Sketch,
}

/// A side of calls.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Party {
    /// Its name.
    pub name: Text,
    /// Of a queue or a topic what kind of it, as `messaging.system` says: a service may be called the same.
    pub system: Option<Text>,
}

impl Party {
    fn new(text: Text) -> Self {
        match text.split_once(APART) {
            Some((system, name)) => Self { name: name.into(), system: Some(system.into()) },
            None => Self { name: text, system: None },
        }
    }
}

/// Calls from one to another.
#[derive(Clone, Debug, PartialEq)]
pub struct Edge {
    /// Who calls.
    pub from: Party,
    /// Who is called.
    pub to: Party,
    /// Calls that failed.
    pub errors: u64,
    /// How long they took; its count is the number of calls.
    pub sketch: Sketch,
}

impl Query {
    /// How long the work of services took, by service and step, the oldest first.
    pub fn latency(&self, filter: &LatencyFilter) -> Vec<Latency> {
        let step = u64::from(filter.step_minutes.max(1));
        let mut steps: BTreeMap<(u64, Text), Calls> = BTreeMap::new();
        self.each_hour(filter.range, |hour, first, last| {
            let wanted = |service: &Text| filter.service.as_deref().is_none_or(|wanted| *service == wanted);
            let parts = hour.minutes.range(first..=last).flat_map(|(minute, counted)| {
                let services = counted.services.iter().filter(|(service, _)| wanted(service));
                services.map(move |(service, calls)| ((minute - minute % step, service), calls))
            });
            each_sum(parts, |(minute, service), calls| {
                add(&mut steps, (minute, service.clone()), calls);
            });
        });
        let latency = |((minute, service), calls): ((u64, Text), Calls)| Latency {
            service,
            start_ns: start_of(minute),
            errors: calls.errors,
            sketch: calls.sketch,
        };
        steps.into_iter().map(latency).collect()
    }

    /// Who calls whom.
    pub fn graph(&self, range: TimeRange) -> Vec<Edge> {
        let mut edges: BTreeMap<(Text, Text), Calls> = BTreeMap::new();
        self.each_hour(range, |hour, first, last| {
            let is_within =
                |stretch: u64| stretch * STRETCH >= first && stretch * STRETCH + STRETCH - 1 <= last;
            let whole = hour.stretches.iter().filter(|(stretch, _)| is_within(**stretch));
            let others = hour.minutes.range(first..=last);
            let others = others.filter(|(minute, _)| {
                let stretch = *minute / STRETCH;
                !is_within(stretch) || !hour.stretches.contains_key(&stretch)
            });
            let parts = whole.flat_map(|(_, edges)| edges.iter());
            let parts = parts.chain(others.flat_map(|(_, counted)| counted.edges.iter()));
            each_sum(parts, |edge, calls| add(&mut edges, edge.clone(), calls));
        });
        let edge = |((from, to), calls): ((Text, Text), Calls)| Edge {
            from: Party::new(from),
            to: Party::new(to),
            errors: calls.errors,
            sketch: calls.sketch,
        };
        edges.into_iter().map(edge).collect()
    }

    /// Gives what was counted to `each`, hour by hour, with the first and the last of the minutes that are meant: a minute can be in several
    /// hours. What came later than [`LATE_HOURS`] after its time is not seen.
    fn each_hour(&self, range: TimeRange, mut each: impl FnMut(&Hour, u64, u64)) {
        let (first, last) = (minute_of(range.from_ns), minute_of(range.until_ns));
        if last < first {
            return;
        }
        let (from_hour, until_hour) = (first / 60, (last / 60).saturating_add(LATE_HOURS));
        // Pointers, so that nobody waits while they are added up.
        let in_memory = self.shared.kept().minutes.clone();
        in_memory.values().for_each(|hour| each(hour, first, last));
        for (hour, path) in rollup_files(&self.shared.directory) {
            if (from_hour..=until_hour).contains(&hour) && !in_memory.contains_key(&hour) && self.goes_on() {
                let mut counted = Minutes::new();
                for entry in log::read(&path, None) {
                    if add_entry(&entry, &mut counted).is_none() {
                        tracing::warn!("telemetry: an entry of `{}` is damaged and left out", path.display());
                    }
                }
                let minutes = counted.into_iter().map(|(minute, counted)| (minute, Arc::new(counted)));
                each(&Hour { minutes: minutes.collect(), stretches: BTreeMap::new() }, first, last);
            }
        }
    }
}

fn add<N: Ord>(sums: &mut BTreeMap<N, Calls>, name: N, calls: Calls) {
    match sums.entry(name) {
        Entry::Vacant(new) => drop(new.insert(calls)),
        Entry::Occupied(mut sum) => sum.get_mut().merge(&calls),
    }
}

/// Adds up what has the same name. Pairs of services have some dozens of calls in each of sixty minutes: adding the minutes
/// up one by one would write the sum down sixty times.
fn each_sum<'p, N: Eq + Hash>(parts: impl Iterator<Item = (N, &'p Calls)>, mut each: impl FnMut(N, Calls)) {
    let mut named: HashMap<N, Vec<&Calls>> = HashMap::new();
    for (name, calls) in parts {
        named.entry(name).or_default().push(calls);
    }
    let mut tally = Tally::default();
    for (name, parts) in named {
        each(name, Calls::sum(&parts, &mut tally));
    }
}
