//! What services print when they throw, as errors: read from their output, and put beside the request that led to it. A
//! service that knows nothing of traces prints no id of one; but which requests it failed meanwhile is known here, and if
//! there was only one it was that.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use telemetry::Intake;
use telemetry::model::{ErrorEvent, LogRecord, SpanId, Text, TraceId};
use telemetry::thrown::{Stacks, in_record};

/// Requests that failed, remembered at most.
const FAILURES: usize = 1_024;
/// Outputs that are read for stacks at most.
const OUTPUTS: usize = 4_096;
/// Errors that wait for the request that led to them, at most; more go without.
const WAITING: usize = 256;
/// After so long without a line a stack is whole.
const QUIET: Duration = Duration::from_millis(150);
/// How long an error waits for its request: that may go on for a while after the service has thrown.
const PATIENCE: Duration = Duration::from_millis(1_500);
/// How long after its request an error may be read, in nanoseconds: output goes another way than answers.
const LATE_NS: u64 = 100_000_000;

/// A request that an instance failed.
pub(super) struct Failure {
    pub(super) instance: Text,
    pub(super) began_ns: u64,
    pub(super) took_ns: u64,
    pub(super) trace: TraceId,
    pub(super) span: SpanId,
}

/// The last requests that failed. Written by whoever reads hops, and only where one fails.
#[derive(Clone, Default)]
pub(super) struct Failures(Arc<Mutex<VecDeque<Failure>>>);

impl Failures {
    pub(super) fn add(&self, failure: Failure) {
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() >= FAILURES {
            failures.pop_front();
        }
        failures.push_back(failure);
    }

    /// The one request that an instance was failing at a moment; none if there were several.
    fn during(&self, instance: &str, at_ns: u64) -> Option<(TraceId, SpanId)> {
        let failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |failure: &&Failure| {
            let end = failure.began_ns.saturating_add(failure.took_ns).saturating_add(LATE_NS);
            &*failure.instance == instance && failure.began_ns <= at_ns && at_ns <= end
        };
        let mut fitting = failures.iter().filter(fits);
        let first = fitting.next()?;
        fitting.all(|other| other.trace == first.trace).then_some((first.trace, first.span))
    }
}

/// Reads outputs, one line after the other.
pub(super) struct Thrown {
    failures: Failures,
    intake: Intake,
    /// By instance and stream: the stack that is being read, and when its last line came.
    outputs: HashMap<(Text, bool), (Stacks, Instant)>,
    waiting: Vec<(Instant, ErrorEvent)>,
}

impl Thrown {
    pub(super) fn new(failures: Failures, intake: Intake) -> Self {
        Self { failures, intake, outputs: HashMap::new(), waiting: Vec::new() }
    }

    /// Takes a line: as it was printed, and as the record that it became.
    pub(super) fn line(&mut self, record: &LogRecord, text: &str, error: bool, read_ns: u64) {
        let output = (record.instance.clone(), error);
        if !self.outputs.contains_key(&output) && self.outputs.len() >= OUTPUTS {
            self.outputs.clear();
        }
        let (stacks, last) =
            self.outputs.entry(output).or_insert_with(|| (Stacks::default(), Instant::now()));
        *last = Instant::now();
        let thrown = match in_record(record) {
            Some(thrown) => Some(thrown),
            None => stacks.line(read_ns, text),
        };
        if let Some(thrown) = thrown {
            self.take(thrown.into_event(record.service.clone(), record.instance.clone()));
        }
    }

    fn take(&mut self, event: ErrorEvent) {
        if event.trace.is_some() || self.waiting.len() >= WAITING {
            self.intake.offer_errors(vec![event]); // what has no room is counted there
        } else {
            self.waiting.push((Instant::now(), event));
        }
    }

    /// Whether there is anything that time alone decides.
    pub(super) fn waits(&self) -> bool {
        !self.waiting.is_empty() || self.outputs.values().any(|(stacks, _)| stacks.is_open())
    }

    /// Ends stacks of which nothing more comes, and gives errors away with the request that led to them, or once they have
    /// waited for it long enough.
    pub(super) fn look(&mut self) {
        let quiet = |last: &Instant| last.elapsed() >= QUIET;
        let mut done = Vec::new();
        for ((instance, _), (stacks, last)) in &mut self.outputs {
            if stacks.is_open()
                && quiet(last)
                && let Some(thrown) = stacks.close()
            {
                let service = super::lines::service_of(instance);
                done.push(thrown.into_event(service, instance.clone()));
            }
        }
        done.into_iter().for_each(|event| self.take(event));
        let Self { failures, intake, waiting, .. } = self;
        let mut ready = Vec::new();
        waiting.retain_mut(|(since, event)| {
            if let Some((trace, span)) = failures.during(&event.instance, event.time_ns) {
                (event.trace, event.span) = (Some(trace), Some(span));
            }
            let stays = event.trace.is_none() && since.elapsed() < PATIENCE;
            if !stays {
                ready.push(std::mem::take(event));
            }
            stays
        });
        if !ready.is_empty() {
            intake.offer_errors(ready);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(instance: &str, trace: u8, began: u64, took: u64) -> Failure {
        Failure {
            instance: instance.into(),
            began_ns: began,
            took_ns: took,
            trace: TraceId([trace; 16]),
            span: SpanId([trace; 8]),
        }
    }

    #[test]
    fn an_error_belongs_to_the_one_request_that_failed_meanwhile() {
        let failures = Failures::default();
        failures.add(failure("pay-1", 1, 1_000, 500));
        failures.add(failure("pay-2", 2, 1_000, 500));
        assert_eq!(failures.during("pay-1", 1_200).unwrap().0, TraceId([1; 16]));
        assert_eq!(failures.during("pay-1", 1_500 + LATE_NS).unwrap().0, TraceId([1; 16]), "a little late");
        assert_eq!(failures.during("pay-1", 900), None, "before it came");
        assert_eq!(failures.during("pay-1", 1_501 + LATE_NS), None, "long after");
        assert_eq!(failures.during("pay-3", 1_200), None);
        // A second try within the same trace leaves no doubt; another request does.
        failures.add(failure("pay-1", 1, 1_100, 50));
        assert!(failures.during("pay-1", 1_200).is_some());
        failures.add(failure("pay-1", 3, 1_100, 500));
        assert_eq!(failures.during("pay-1", 1_200), None);
    }

    #[test]
    fn failures_do_not_pile_up() {
        let failures = Failures::default();
        (0..5_000).for_each(|n| failures.add(failure("pay-1", 1, n, 1)));
        assert_eq!(failures.0.lock().unwrap().len(), FAILURES);
    }
}
