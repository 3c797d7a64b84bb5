//! What is answered from roll-ups: how long work took, and who calls whom.

use std::collections::BTreeMap;

use super::Query;
use crate::files::log;
use crate::files::rollups::{add_entry, rollup_files};
use crate::filter::{LatencyFilter, TimeRange};
use crate::model::Text;
use crate::rollup::{Calls, Minute, Minutes, minute_of, start_of};
use crate::sketch::Sketch;

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

/// Calls from one to another.
#[derive(Clone, Debug, PartialEq)]
pub struct Edge {
    /// Who calls.
    pub from: Text,
    /// Who is called.
    pub to: Text,
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
        self.each_minute(filter.range, |minute, counted| {
            for (service, calls) in &counted.services {
                if filter.service.as_deref().is_none_or(|wanted| *service == wanted) {
                    steps.entry((minute - minute % step, service.clone())).or_default().merge(calls);
                }
            }
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
        self.each_minute(range, |_, counted| {
            for (edge, calls) in &counted.edges {
                edges.entry(edge.clone()).or_default().merge(calls);
            }
        });
        let edge = |((from, to), calls): ((Text, Text), Calls)| Edge {
            from,
            to,
            errors: calls.errors,
            sketch: calls.sketch,
        };
        edges.into_iter().map(edge).collect()
    }

    /// Gives what was counted in these minutes to `each`; a minute can come in several parts. What came later than [`LATE_HOURS`] after its time is not seen.
    fn each_minute(&self, range: TimeRange, mut each: impl FnMut(u64, &Minute)) {
        let (first, last) = (minute_of(range.from_ns), minute_of(range.until_ns));
        let mut add = |counted: &Minutes| {
            if first <= last {
                for (minute, counted) in counted.range(first..=last) {
                    each(*minute, counted);
                }
            }
        };
        let (from_hour, until_hour) = (first / 60, (last / 60).saturating_add(LATE_HOURS));
        let in_memory: Vec<u64> = {
            let kept = self.shared.kept();
            kept.minutes.values().for_each(&mut add);
            kept.minutes.keys().copied().collect()
        };
        for (hour, path) in rollup_files(&self.shared.directory) {
            if (from_hour..=until_hour).contains(&hour) && !in_memory.contains(&hour) {
                let mut counted = Minutes::new();
                for entry in log::read(&path, None) {
                    if add_entry(&entry, &mut counted).is_none() {
                        tracing::warn!("telemetry: an entry of `{}` is damaged and left out", path.display());
                    }
                }
                add(&counted);
            }
        }
    }
}
