//! Traces: one by its id, or those with a span like this.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;

use super::Query;
use super::newest::{Part, Place, keep_newest, newest_first};
use crate::filter::{LogFilter, TraceFilter};
use crate::lane::Chunk;
use crate::model::{LogRecord, Span, TakenError, Text, TraceId};

/// Records of one trace at most, of each kind.
pub(crate) const MOST_OF_A_TRACE: usize = 20_000;

/// A trace, whole.
#[derive(Clone, Debug, PartialEq)]
pub struct Trace {
    /// Its id.
    pub id: TraceId,
    /// Its spans by the time they began.
    pub spans: Vec<Span>,
    /// What was logged on the way, the oldest first.
    pub logs: Vec<LogRecord>,
    /// What was thrown on the way, the oldest first.
    pub errors: Vec<TakenError>,
}

/// A trace in a list.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceSummary {
    /// Its id.
    pub id: TraceId,
    /// The service of its first span.
    pub service: Text,
    /// The name of its first span.
    pub operation: Text,
    /// When it began, in nanoseconds since the Unix epoch.
    pub start_ns: u64,
    /// From its first beginning to its last end.
    pub duration_ns: u64,
    /// How many spans are kept of it.
    pub spans: usize,
    /// How many of them failed.
    pub errors: usize,
    /// Who took part, in order of appearance.
    pub services: Vec<Text>,
}

impl TraceSummary {
    /// Of spans by the time they began; none of no spans.
    fn of(id: TraceId, spans: &[Span]) -> Option<Self> {
        let known: HashSet<_> = spans.iter().map(|span| span.span).collect();
        let is_root = |span: &&Span| span.parent.is_none_or(|parent| !known.contains(&parent));
        let root = spans.iter().find(|span| span.parent.is_none()).or_else(|| spans.iter().find(is_root));
        let root = root.or(spans.first())?;
        let start_ns = spans.first()?.start_ns;
        let end_ns = spans.iter().map(Span::end_ns).max()?;
        let mut services: Vec<Text> = Vec::new();
        for span in spans {
            if !services.contains(&span.service) {
                services.push(span.service.clone());
            }
        }
        Some(Self {
            id,
            service: root.service.clone(),
            operation: root.name.clone(),
            start_ns,
            duration_ns: end_ns - start_ns,
            spans: spans.len(),
            errors: spans.iter().filter(|span| span.status.failed()).count(),
            services,
        })
    }
}

impl Query {
    /// One trace, whole; none if nothing is kept of it.
    pub fn trace(&self, id: TraceId) -> Option<Trace> {
        let spans = self.spans_of(&[id]).remove(&id).unwrap_or_default();
        let filter = LogFilter { trace: Some(id), limit: MOST_OF_A_TRACE, ..LogFilter::default() };
        let mut logs: Vec<_> = self.logs(&filter).into_iter().map(|hit| hit.record).collect();
        logs.reverse();
        let errors = self.errors_of(id);
        let found = !(spans.is_empty() && logs.is_empty() && errors.is_empty());
        found.then_some(Trace { id, spans, logs, errors })
    }

    /// Traces with a span like this, the one whose span began last first.
    pub fn find_traces(&self, filter: &TraceFilter) -> Vec<TraceSummary> {
        let ids = self.matching_traces(filter);
        let mut spans = self.spans_of(&ids);
        ids.into_iter().filter_map(|id| TraceSummary::of(id, &spans.remove(&id)?)).collect()
    }

    fn matching_traces(&self, filter: &TraceFilter) -> Vec<TraceId> {
        let lane = self.shared.kept().spans.clone();
        let parts = lane
            .open
            .iter()
            .filter(|chunk| filter.range.meets(chunk.min_ns, chunk.max_ns))
            .map(|chunk| Part { max_ns: chunk.max_ns, part: chunk })
            .collect();
        let scan = |chunk: &&Chunk<Span>, _: usize| {
            let matching = chunk.numbered().filter(|(_, span)| filter.matches(span));
            newest_of_each(matching.map(|(number, span)| ((span.start_ns, number), span.trace)), filter.limit)
        };
        let (mut ids, mut seen) = (Vec::new(), HashSet::new());
        newest_first(parts, usize::MAX, scan, |_, id| {
            if ids.len() < filter.limit && seen.insert(id) {
                ids.push(id);
            }
            if ids.len() < filter.limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        ids
    }

    /// The spans of some traces, each by the time they began.
    fn spans_of(&self, ids: &[TraceId]) -> HashMap<TraceId, Vec<Span>> {
        let lane = self.shared.kept().spans.clone();
        let mut found: HashMap<TraceId, Vec<Span>> = HashMap::new();
        for chunk in &lane.open {
            for span in chunk.rows.iter().filter(|span| ids.contains(&span.trace)) {
                found.entry(span.trace).or_default().push(span.clone());
            }
        }
        for spans in found.values_mut() {
            spans.sort_by_key(|span| span.start_ns);
            spans.truncate(MOST_OF_A_TRACE);
        }
        found
    }
}

/// The newest matching span of each trace, of the `limit` traces with the newest ones.
fn newest_of_each(matching: impl Iterator<Item = (Place, TraceId)>, limit: usize) -> Vec<(Place, TraceId)> {
    let mut newest: HashMap<TraceId, Place> = HashMap::new();
    for (place, trace) in matching {
        let known = newest.entry(trace).or_insert(place);
        *known = place.max(*known);
    }
    let mut hits: Vec<_> = newest.into_iter().map(|(trace, place)| (place, trace)).collect();
    keep_newest(&mut hits, limit);
    hits
}
