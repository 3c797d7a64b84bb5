//! Traces: one by its id, or those with a span like this.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;

use super::newest::{Place, keep_newest, newest_first};
use super::{Query, Unit, parts};
use crate::block::Unpacker;
use crate::block::bloom::{may_have, of_trace};
use crate::block::spans::{How, Search, TraceSet, places_of, read_spans};
use crate::filter::{LogFilter, TimeRange, TraceFilter};
use crate::model::{LogRecord, Span, TakenError, Text, TraceId};

/// Records of one trace at most, of each kind.
pub(crate) const MOST_OF_A_TRACE: usize = 20_000;

/// How far from the span that was found other spans of its trace are looked for, for lists: an hour.
const NEAR_NS: u64 = 3_600 * 1_000_000_000;

/// Traces that are looked for in the filters of blocks: of more than so many, one that is wrong is found in nearly every block.
const MOST_KEYS: usize = 100;

/// Traces whose spans are fetched at once.
const TRACES_AT_ONCE: usize = 50;

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
        let spans = self.spans_of(&[id], TimeRange::ALL, How::Whole).remove(&id).unwrap_or_default();
        let filter = LogFilter { trace: Some(id), limit: MOST_OF_A_TRACE, ..LogFilter::default() };
        let mut logs: Vec<_> = self.logs(&filter).into_iter().map(|hit| hit.record).collect();
        logs.reverse();
        let errors = self.errors_of(id);
        let found = !(spans.is_empty() && logs.is_empty() && errors.is_empty());
        found.then_some(Trace { id, spans, logs, errors })
    }

    /// Traces with a span like this, the one whose span began last first.
    pub fn find_traces(&self, filter: &TraceFilter) -> Vec<TraceSummary> {
        let found = self.matching_traces(filter);
        let ids: Vec<TraceId> = found.iter().map(|(_, id)| *id).collect();
        let mut spans = self.spans_of(&ids, near(&found), How::Outline);
        ids.into_iter().filter_map(|id| TraceSummary::of(id, &spans.remove(&id)?)).collect()
    }

    /// The same traces with their spans, each by the time they began. The newest up to so many spans, the first trace whole.
    pub fn traces(&self, filter: &TraceFilter, most_spans: usize) -> Vec<(TraceId, Vec<Span>)> {
        let (mut traces, mut count) = (Vec::new(), 0);
        for found in self.matching_traces(filter).chunks(TRACES_AT_ONCE) {
            let ids: Vec<TraceId> = found.iter().map(|(_, id)| *id).collect();
            let mut spans = self.spans_of(&ids, near(found), How::Whole);
            for (id, spans) in ids.into_iter().filter_map(|id| Some((id, spans.remove(&id)?))) {
                count += spans.len();
                if count > most_spans && !traces.is_empty() {
                    return traces;
                }
                traces.push((id, spans));
            }
        }
        traces
    }

    fn matching_traces(&self, filter: &TraceFilter) -> Vec<(u64, TraceId)> {
        let lane = self.shared.kept().spans.clone();
        let (search, unpacker) = (Search::new(filter), Unpacker::default());
        let parts = parts(
            &lane,
            |block| search.may_be_in(&block.header),
            |chunk| filter.range.meets(chunk.min_ns, chunk.max_ns),
        );
        let scan = |unit: &Unit<'_, Span>, _: usize| match unit {
            Unit::Sealed(block) => self.in_block(block, search.keys(), &unpacker, |body| {
                let places = search.scan(body)?.into_iter();
                let first = block.header.first;
                let matching = places.map(|(row, start, trace)| ((start, first + row as u64), trace));
                Some(newest_of_each(matching, filter.limit))
            }),
            Unit::Open(chunk) => {
                let matching = chunk.numbered().filter(|(_, span)| filter.matches(span));
                newest_of_each(
                    matching.map(|(number, span)| ((span.start_ns, number), span.trace)),
                    filter.limit,
                )
            }
        };
        let (mut ids, mut seen) = (Vec::new(), HashSet::new());
        newest_first(parts, usize::MAX, scan, |(start, _), id| {
            if ids.len() < filter.limit && seen.insert(id) {
                ids.push((start, id));
            }
            if ids.len() < filter.limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        ids
    }

    /// The spans of some traces, each by the time they began. A trace is looked for only near `near`, if that is said.
    fn spans_of(&self, ids: &[TraceId], near: TimeRange, how: How) -> HashMap<TraceId, Vec<Span>> {
        let lane = self.shared.kept().spans.clone();
        let mut found: HashMap<TraceId, Vec<Span>> = HashMap::new();
        let keys: Vec<u64> = ids.iter().map(|id| of_trace(*id)).collect();
        let wanted: TraceSet = ids.iter().copied().collect();
        let unpacker = Unpacker::default();
        for block in lane.sealed.iter().filter(|block| near.meets(block.header.min_ns, block.header.max_ns)) {
            if !self.goes_on() {
                break;
            }
            if keys.len() <= MOST_KEYS {
                let Some(bloom) = block.bloom() else { continue };
                if !keys.iter().any(|key| may_have(&bloom, &[*key])) {
                    continue;
                }
            }
            let spans = self.in_block(block, &[], &unpacker, |body| {
                let places = places_of(body, &wanted)?;
                if places.is_empty() { Some(Vec::new()) } else { read_spans(body, Some(&places), how) }
            });
            for span in spans {
                found.entry(span.trace).or_default().push(span);
            }
        }
        for chunk in &lane.open {
            for span in chunk.rows.iter().filter(|span| wanted.contains(&span.trace)) {
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

/// Where other spans of traces are looked for.
fn near(found: &[(u64, TraceId)]) -> TimeRange {
    let starts = || found.iter().map(|(start, _)| *start);
    TimeRange {
        from_ns: starts().min().unwrap_or(0).saturating_sub(NEAR_NS),
        until_ns: starts().max().unwrap_or(0).saturating_add(NEAR_NS),
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
