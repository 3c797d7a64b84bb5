//! Which traces are kept, decided when they have ended as far as can be known. Pure: the time is told.

use std::collections::{HashMap, VecDeque};

use xxhash_rust::xxh3::xxh3_64;

use crate::model::{Span, Text, TraceId};
use crate::options::{Sampling, Slow};
use crate::sketch::Sketch;

/// Decisions that are remembered for spans that come late.
const MOST_DECISIONS: usize = 65_536;
/// Operations whose usual durations are known.
const MOST_OPERATIONS: usize = 10_000;
/// Durations of an operation that have to be known before one is called slow.
const ENOUGH: u64 = 100;

/// Decides about traces.
pub(crate) struct Sampler {
    options: Sampling,
    waiting: HashMap<TraceId, Trace>,
    /// Traces that wait, the oldest first.
    order: VecDeque<(u64, TraceId)>,
    bytes: usize,
    decisions: HashMap<TraceId, bool>,
    older_decisions: HashMap<TraceId, bool>,
    usual: HashMap<(Text, Text), Sketch>,
    dropped: usize,
}

#[derive(Default)]
struct Trace {
    spans: Vec<Span>,
    bytes: usize,
    wanted: bool,
}

impl Sampler {
    pub(crate) fn new(options: Sampling) -> Self {
        Self {
            options,
            waiting: HashMap::new(),
            order: VecDeque::new(),
            bytes: 0,
            decisions: HashMap::new(),
            older_decisions: HashMap::new(),
            usual: HashMap::new(),
            dropped: 0,
        }
    }

    /// Takes spans, gives those that are to be kept now.
    pub(crate) fn add(&mut self, spans: Vec<Span>, now_ns: u64) -> Vec<Span> {
        if self.options.share >= 1.0 {
            return spans;
        }
        let mut kept = Vec::new();
        for span in spans {
            let wanted = span.status.failed() | self.is_slow(&span);
            let decision = self.decisions.get(&span.trace).or_else(|| self.older_decisions.get(&span.trace));
            match decision {
                Some(true) => kept.push(span),
                // What failed or was slow is kept even where its trace is gone already.
                Some(false) if wanted => kept.push(span),
                Some(false) => self.dropped += 1,
                None => self.wait(span, wanted, now_ns),
            }
        }
        while self.bytes > self.options.waiting_bytes {
            let Some((_, trace)) = self.order.pop_front() else { break };
            self.decide(trace, &mut kept);
        }
        kept
    }

    fn wait(&mut self, span: Span, wanted: bool, now_ns: u64) {
        let size = span.size();
        let order = &mut self.order;
        let trace = self.waiting.entry(span.trace).or_insert_with(|| {
            order.push_back((now_ns, span.trace));
            Trace::default()
        });
        trace.wanted |= wanted;
        trace.bytes += size;
        trace.spans.push(span);
        self.bytes += size;
    }

    fn is_slow(&mut self, span: &Span) -> bool {
        match self.options.slow {
            Slow::Over(limit) => u128::from(span.duration_ns) > limit.as_nanos(),
            Slow::Quantile(share) => {
                let operation = (span.service.clone(), span.name.clone());
                if self.usual.len() >= MOST_OPERATIONS && !self.usual.contains_key(&operation) {
                    return false;
                }
                let usual = self.usual.entry(operation).or_default();
                let slow = usual.count() >= ENOUGH && span.duration_ns > usual.quantile(share);
                usual.add(span.duration_ns);
                slow
            }
        }
    }

    /// What is to be kept of the traces that have waited long enough.
    pub(crate) fn decided(&mut self, now_ns: u64) -> Vec<Span> {
        let wait = u64::try_from(self.options.wait.as_nanos()).unwrap_or(u64::MAX);
        let mut kept = Vec::new();
        while let Some((since, trace)) = self.order.front().copied() {
            if now_ns.saturating_sub(since) < wait {
                break;
            }
            self.order.pop_front();
            self.decide(trace, &mut kept);
        }
        kept
    }

    /// What is to be kept of all that wait.
    pub(crate) fn all(&mut self) -> Vec<Span> {
        self.decided(u64::MAX)
    }

    fn decide(&mut self, id: TraceId, kept: &mut Vec<Span>) {
        let Some(trace) = self.waiting.remove(&id) else { return };
        self.bytes -= trace.bytes;
        let keep = trace.wanted || in_share(id, self.options.share);
        if keep {
            kept.extend(trace.spans);
        } else {
            self.dropped += trace.spans.len();
        }
        if self.decisions.len() >= MOST_DECISIONS {
            self.older_decisions = std::mem::take(&mut self.decisions);
        }
        self.decisions.insert(id, keep);
    }

    /// How many spans were dropped since this was last asked.
    pub(crate) fn take_dropped(&mut self) -> usize {
        std::mem::take(&mut self.dropped)
    }
}

/// Whether a trace is of the share that is kept: the same answer everywhere, for its id decides.
fn in_share(id: TraceId, share: f64) -> bool {
    #[expect(clippy::cast_precision_loss, reason = "a share")]
    let place = xxh3_64(&id.0) as f64 / u64::MAX as f64;
    place < share
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::{SpanId, SpanKind, Status};

    const WAIT_NS: u64 = 5_000_000_000;

    fn span(trace: u32, failed: bool, duration_ns: u64) -> Span {
        let mut id = [1; 16];
        id[..4].copy_from_slice(&trace.to_le_bytes());
        Span {
            trace: TraceId(id),
            span: SpanId([1; 8]),
            parent: None,
            service: "shop".into(),
            name: "work".into(),
            kind: SpanKind::Server,
            start_ns: 1,
            duration_ns,
            status: if failed { Status::Error { message: Text::default() } } else { Status::Unset },
            attributes: Vec::new(),
            events: Vec::new(),
            links: Vec::new(),
        }
    }

    fn sampler(share: f64, slow: Slow) -> Sampler {
        Sampler::new(Sampling { share, slow, wait: Duration::from_nanos(WAIT_NS), ..Sampling::default() })
    }

    #[test]
    fn failed_and_slow_traces_are_kept_whole_and_of_the_rest_a_share() {
        let mut sampler = sampler(0.2, Slow::Over(Duration::from_nanos(100)));
        for trace in 0..1_000 {
            let first = sampler.add(vec![span(trace, false, 10)], 0);
            let second = sampler.add(vec![span(trace, trace == 3, if trace == 4 { 101 } else { 10 })], 1);
            assert!(first.is_empty() && second.is_empty(), "nothing is decided yet");
        }
        let kept = sampler.decided(WAIT_NS);
        let count = |trace| kept.iter().filter(|one| one.trace == span(trace, false, 0).trace).count();
        assert_eq!((count(3), count(4)), (2, 2));
        assert!((300..500).contains(&kept.len()), "{} of 2,000", kept.len());
        assert_eq!(kept.len() + sampler.take_dropped(), 2_000);
        let late = sampler.add(vec![span(3, false, 10)], WAIT_NS);
        assert_eq!(late.len(), 1, "what comes late follows its trace");
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut sampler = sampler(0.0, Slow::Over(Duration::MAX));
        sampler.options.waiting_bytes = 10_000;
        for trace in 0..1_000 {
            sampler.add(vec![span(trace, false, 10)], 0);
        }
        assert!(sampler.bytes <= 10_000 && sampler.take_dropped() > 900);
    }

    #[test]
    fn slow_is_what_is_slow_for_its_operation() {
        let mut sampler = sampler(0.0, Slow::Quantile(0.99));
        for trace in 0..1_000 {
            sampler.add(vec![span(trace, false, 1_000)], 0);
        }
        sampler.add(vec![span(5_000, false, 5_000)], 0);
        assert_eq!(sampler.all().len(), 1);
    }
}
