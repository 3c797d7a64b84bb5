//! What is left of spans when they are gone: how long the work of a service took, and who calls whom, minute by minute.
//! Every span is counted here, also those that sampling does not keep. Pure.

use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasherDefault;
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use crate::block::bloom::AsItIs;
use crate::model::{Span, SpanId, SpanKind, Text, TraceId, Value};
use crate::sketch::{Sketch, Tally};

/// The attribute of a client's span that names who is called.
pub const PEER_SERVICE: &str = "peer.service";
/// The attribute of any span that names who asked for its work: who sees a call from outside knows both sides at once.
pub const CALLER: &str = "atoll.from";
/// The attribute of a span that hands over or takes messages: whoever its other side is, is a queue or a topic.
const MESSAGING: &str = "messaging.system";
/// Between the system of a queue or topic and its name: a service may be called the same.
pub(crate) const APART: char = '\u{1f}';

const MINUTE_NS: u64 = 60_000_000_000;
/// Calls of which one side has been seen, in each of two generations.
const MOST_HALVES: usize = 32_768;
/// Callers and callees of which a minute knows.
const MOST_EDGES: usize = 4_096;

/// The minute of a moment.
pub(crate) const fn minute_of(ns: u64) -> u64 {
    ns / MINUTE_NS
}

/// When a minute begins, in nanoseconds since the Unix epoch.
pub(crate) const fn start_of(minute: u64) -> u64 {
    minute.saturating_mul(MINUTE_NS)
}

/// Calls of one minute.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Calls {
    pub(crate) errors: u64,
    pub(crate) sketch: Sketch,
}

impl Calls {
    fn add(&mut self, duration_ns: u64, failed: bool) {
        self.sketch.add(duration_ns);
        self.errors += u64::from(failed);
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.sketch.merge(&other.sketch);
        self.errors = self.errors.saturating_add(other.errors);
    }

    /// The sum of many; `tally` is used for it.
    pub(crate) fn sum(parts: &[&Self], tally: &mut Tally) -> Self {
        if let [only] = parts {
            return (*only).clone();
        }
        parts.iter().for_each(|part| tally.add(&part.sketch));
        let errors = parts.iter().fold(0u64, |sum, part| sum.saturating_add(part.errors));
        Self { errors, sketch: tally.take() }
    }
}

/// What happened in a minute.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Minute {
    /// Work that was done for somebody, by who did it.
    pub(crate) services: HashMap<Text, Calls>,
    /// Calls, by who calls and who is called.
    pub(crate) edges: Edges,
}

impl Minute {
    pub(crate) fn merge(&mut self, other: &Self) {
        for (service, calls) in &other.services {
            self.services.entry(service.clone()).or_default().merge(calls);
        }
        merge_edges(&mut self.edges, &other.edges);
    }
}

/// Minutes by their number.
pub(crate) type Minutes = BTreeMap<u64, Minute>;
/// Calls by who calls and who is called.
pub(crate) type Edges = HashMap<(Text, Text), Calls>;

/// What came within an hour, so that who asks about it holds up nobody who counts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hour {
    pub(crate) minutes: BTreeMap<u64, Arc<Minute>>,
    /// Who calls whom, of [`STRETCH`] minutes together: over an hour hundreds of pairs have tens of thousands of sums.
    pub(crate) stretches: BTreeMap<u64, Arc<Edges>>,
}

/// Minutes of a stretch.
pub(crate) const STRETCH: u64 = 10;

impl Hour {
    /// Takes in what was counted in a minute.
    pub(crate) fn add(&mut self, minute: u64, counted: &Minute) {
        Arc::make_mut(self.minutes.entry(minute).or_default()).merge(counted);
        let stretch = Arc::make_mut(self.stretches.entry(minute / STRETCH).or_default());
        merge_edges(stretch, &counted.edges);
    }
}

fn merge_edges(edges: &mut Edges, others: &Edges) {
    for (edge, calls) in others {
        match edges.get_mut(edge) {
            Some(known) => known.merge(calls),
            None => drop(edges.insert(edge.clone(), calls.clone())),
        }
    }
}

/// One side of a call whose other side has not been seen yet.
#[derive(Clone, Debug)]
struct Half {
    caller: bool,
    service: Text,
    duration_ns: u64,
    failed: bool,
}

/// By the hash of a trace and a span.
type Halves = HashMap<u64, Half, BuildHasherDefault<AsItIs>>;

/// Counts spans.
#[derive(Debug, Default)]
pub(crate) struct Rollup {
    /// What was counted since it was last taken.
    fresh: Minutes,
    halves: Halves,
    older_halves: Halves,
}

impl Rollup {
    /// Counts a span.
    pub(crate) fn add(&mut self, span: &Span) {
        let failed = span.status.failed();
        if span.kind.serves() {
            let minute = self.fresh.entry(minute_of(span.start_ns)).or_default();
            minute.services.entry(span.service.clone()).or_default().add(span.duration_ns, failed);
        }
        if let Some(caller) = text_of(span, CALLER) {
            return self.edge(
                span.start_ns,
                &other_side(span, caller),
                &span.service,
                span.duration_ns,
                failed,
            );
        }
        match span.kind {
            SpanKind::Client | SpanKind::Producer => {
                if let Some(peer) = text_of(span, PEER_SERVICE) {
                    self.edge(
                        span.start_ns,
                        &span.service,
                        &other_side(span, peer),
                        span.duration_ns,
                        failed,
                    );
                } else {
                    self.meet(span, key(span.trace, span.span), true);
                }
            }
            SpanKind::Server | SpanKind::Consumer => {
                if let Some(parent) = span.parent {
                    self.meet(span, key(span.trace, parent), false);
                }
            }
            SpanKind::Internal => {}
        }
    }

    /// Finds the other side of a call, or waits for it.
    fn meet(&mut self, span: &Span, key: u64, caller: bool) {
        let failed = span.status.failed();
        let other = self
            .halves
            .get(&key)
            .or_else(|| self.older_halves.get(&key))
            .filter(|half| half.caller != caller);
        if let Some(other) = other.cloned() {
            // A caller can have several answers (a message that many work on): it stays, an answer does not.
            if !other.caller {
                self.halves.remove(&key);
                self.older_halves.remove(&key);
            }
            let (from, to) =
                if caller { (&span.service, &other.service) } else { (&other.service, &span.service) };
            let served_ns = if caller { other.duration_ns } else { span.duration_ns };
            if from != to {
                self.edge(span.start_ns, from, to, served_ns, failed || other.failed);
            }
            if !caller {
                return;
            }
        }
        if self.halves.len() >= MOST_HALVES {
            self.age();
        }
        let half = Half { caller, service: span.service.clone(), duration_ns: span.duration_ns, failed };
        self.halves.insert(key, half);
    }

    /// Forgets the sides that have waited longest. To be called now and then.
    pub(crate) fn age(&mut self) {
        self.older_halves = std::mem::take(&mut self.halves);
    }

    fn edge(&mut self, start_ns: u64, from: &Text, to: &Text, duration_ns: u64, failed: bool) {
        let minute = self.fresh.entry(minute_of(start_ns)).or_default();
        if minute.edges.len() >= MOST_EDGES && !minute.edges.contains_key(&(from.clone(), to.clone())) {
            return;
        }
        minute.edges.entry((from.clone(), to.clone())).or_default().add(duration_ns, failed);
    }

    /// What was counted since this was last asked.
    pub(crate) fn take(&mut self) -> Minutes {
        std::mem::take(&mut self.fresh)
    }
}

/// Whom a span names as its other side.
fn other_side(span: &Span, name: &Text) -> Text {
    match text_of(span, MESSAGING) {
        Some(system) => format!("{system}{APART}{name}").into(),
        None => name.clone(),
    }
}

fn text_of<'s>(span: &'s Span, name: &str) -> Option<&'s Text> {
    span.attributes.iter().find_map(|(key, value)| match value {
        Value::Text(text) if *key == name => Some(text),
        _ => None,
    })
}

fn key(trace: TraceId, span: SpanId) -> u64 {
    xxh3_64(&trace.0) ^ u64::from_le_bytes(span.0).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Status;

    fn span(service: &str, kind: SpanKind, id: u8, parent: Option<u8>) -> Span {
        Span {
            trace: TraceId([7; 16]),
            span: SpanId([id; 8]),
            parent: parent.map(|id| SpanId([id; 8])),
            service: service.into(),
            name: "work".into(),
            kind,
            start_ns: MINUTE_NS,
            duration_ns: 1_000_000,
            status: Status::Unset,
            attributes: Vec::new(),
            events: Vec::new(),
            links: Vec::new(),
        }
    }

    fn edges(spans: &[Span]) -> Vec<(String, String, u64)> {
        let mut rollup = Rollup::default();
        spans.iter().for_each(|span| rollup.add(span));
        let minutes = rollup.take();
        let mut edges: Vec<_> = minutes
            .values()
            .flat_map(|minute| &minute.edges)
            .map(|((from, to), calls)| (from.to_string(), to.to_string(), calls.sketch.count()))
            .collect();
        edges.sort();
        edges
    }

    #[test]
    fn a_call_is_an_edge_whichever_side_is_told_first() {
        let caller = span("shop", SpanKind::Client, 1, None);
        let callee = span("orders", SpanKind::Server, 2, Some(1));
        let edge = vec![("shop".to_owned(), "orders".to_owned(), 1)];
        assert_eq!(edges(&[caller.clone(), callee.clone()]), edge);
        assert_eq!(edges(&[callee, caller]), edge);
    }

    #[test]
    fn a_message_that_two_work_on_is_two_edges() {
        let sent = span("shop", SpanKind::Producer, 1, None);
        let one = span("mail", SpanKind::Consumer, 2, Some(1));
        let two = span("stock", SpanKind::Consumer, 3, Some(1));
        let told =
            [("shop", "mail", 1), ("shop", "stock", 1)].map(|(a, b, n)| (a.to_owned(), b.to_owned(), n));
        assert_eq!(edges(&[sent, one, two]), told);
    }

    #[test]
    fn a_client_that_names_its_peer_needs_no_answer() {
        let mut caller = span("shop", SpanKind::Client, 1, None);
        caller.attributes.push((Text::from_static(PEER_SERVICE), Value::from("bank")));
        assert_eq!(edges(&[caller]), [("shop".to_owned(), "bank".to_owned(), 1)]);
    }

    #[test]
    fn a_queue_that_is_called_as_its_service_is_somebody_else() {
        let with = |mut span: Span, key: &'static str| {
            span.attributes.push((Text::from_static(key), Value::from("mail")));
            span.attributes.push((Text::from_static(MESSAGING), Value::from("aws_sqs")));
            span
        };
        let sent = with(span("mail", SpanKind::Producer, 1, None), PEER_SERVICE);
        let taken = with(span("mail", SpanKind::Client, 2, None), CALLER);
        let told = [("aws_sqs\u{1f}mail", "mail", 1), ("mail", "aws_sqs\u{1f}mail", 1)];
        assert_eq!(edges(&[sent, taken]), told.map(|(a, b, n)| (a.to_owned(), b.to_owned(), n)));
    }

    #[test]
    fn what_waits_for_its_other_side_is_bounded() {
        let mut rollup = Rollup::default();
        for n in 0..200_000u32 {
            let mut one = span("shop", SpanKind::Client, 1, None);
            one.span = SpanId([n.to_le_bytes(), [1; 4]].concat().try_into().unwrap());
            rollup.add(&one);
        }
        assert!(rollup.halves.len() + rollup.older_halves.len() <= 2 * MOST_HALVES);
    }
}
