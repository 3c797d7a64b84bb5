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
/// After so long without a line an output is forgotten: its instance may have ended.
const IDLE: Duration = Duration::from_secs(60);
/// Errors that wait for the request that led to them, at most; more go without.
const WAITING: usize = 256;
/// After so long without a line a stack is whole.
const QUIET: Duration = Duration::from_millis(150);
/// How long an error waits for its request: that may go on for a while after the service has thrown, and so may others that fail
/// as well. Which of them it was is decided when all can be seen.
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
pub(super) struct Failures(Arc<Mutex<Remembered>>);

#[derive(Default)]
struct Remembered {
    failures: VecDeque<Failure>,
    /// Up to here there may have been others, which had no room.
    forgotten_ns: u64,
}

impl Failure {
    /// Until when what is read may be of it.
    fn end_ns(&self) -> u64 {
        self.began_ns.saturating_add(self.took_ns).saturating_add(LATE_NS)
    }
}

impl Failures {
    pub(super) fn add(&self, failure: Failure) {
        let mut remembered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if remembered.failures.len() >= FAILURES
            && let Some(oldest) = remembered.failures.pop_front()
        {
            remembered.forgotten_ns = remembered.forgotten_ns.max(oldest.end_ns());
        }
        remembered.failures.push_back(failure);
    }

    /// The one request that an instance was failing at a moment; none if there were several.
    fn during(&self, instance: &str, at_ns: u64) -> Option<(TraceId, SpanId)> {
        let remembered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |failure: &&Failure| {
            &*failure.instance == instance && failure.began_ns <= at_ns && at_ns <= failure.end_ns()
        };
        let mut fitting = remembered.failures.iter().filter(fits).filter(|_| remembered.forgotten_ns < at_ns);
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
        if !self.outputs.contains_key(&output) {
            self.make_room(Instant::now());
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

    /// Forgets outputs that have ended, or the one that has said nothing for longest.
    fn make_room(&mut self, now: Instant) {
        let since = |last: &Instant| now.saturating_duration_since(*last);
        self.outputs.retain(|_, (stacks, last)| stacks.is_open() || since(last) < IDLE);
        while self.outputs.len() >= OUTPUTS {
            let oldest = self.outputs.iter().min_by_key(|(_, (_, last))| *last);
            let Some(oldest) = oldest.map(|(output, _)| output.clone()) else { return };
            self.outputs.remove(&oldest);
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

    /// Ends stacks of which nothing more comes, and gives away errors that have waited long enough for the request that led to
    /// them.
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
        let ready = settled(&self.failures, &mut self.waiting, Instant::now());
        if !ready.is_empty() {
            self.intake.offer_errors(ready);
        }
    }
}

/// Takes out those that have waited long enough, each with the request that led to it.
fn settled(failures: &Failures, waiting: &mut Vec<(Instant, ErrorEvent)>, now: Instant) -> Vec<ErrorEvent> {
    let waits = |since: Instant| now.saturating_duration_since(since) < PATIENCE;
    let done = waiting.extract_if(.., |(since, _)| !waits(*since));
    let with_request = |(_, mut event): (Instant, ErrorEvent)| {
        if let Some((trace, span)) = failures.during(&event.instance, event.time_ns) {
            (event.trace, event.span) = (Some(trace), Some(span));
        }
        event
    };
    done.map(with_request).collect()
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
        assert_eq!(failures.0.lock().unwrap().failures.len(), FAILURES);
        // Of what was then others may have been forgotten.
        assert_eq!(failures.during("pay-1", 4_999), None);
        failures.add(failure("pay-1", 2, 2 * LATE_NS, 1));
        assert!(failures.during("pay-1", 2 * LATE_NS).is_some());
    }

    #[test]
    fn outputs_of_instances_that_have_ended_are_forgotten() {
        let directory = tempfile::tempdir().unwrap();
        let clock = Arc::new(kit::SystemClock::new());
        let telemetry =
            telemetry::Telemetry::open(directory.path(), telemetry::Options::default(), clock).unwrap();
        let mut thrown = Thrown::new(Failures::default(), telemetry.intake());
        let say = |thrown: &mut Thrown, instance: &str, text: &str| {
            let record = LogRecord {
                time_ns: 1,
                service: "pay".into(),
                instance: instance.into(),
                severity: telemetry::model::Severity::Info,
                body: text.into(),
                attributes: Vec::new(),
                trace: None,
                span: None,
            };
            thrown.line(&record, text, true, 1);
        };
        say(&mut thrown, "pay-open", "Traceback (most recent call last):");
        assert!(thrown.waits());
        for n in 0..OUTPUTS + 10 {
            say(&mut thrown, &format!("pay-{n}"), "fine");
        }
        assert_eq!(thrown.outputs.len(), OUTPUTS);
        say(&mut thrown, "pay-open", "Traceback (most recent call last):");
        thrown.make_room(Instant::now() + IDLE);
        assert_eq!(thrown.outputs.len(), 1, "what is being read stays");
        telemetry.close();
    }

    #[test]
    fn which_request_it_was_is_decided_when_all_can_be_seen() {
        let (failures, read) = (Failures::default(), Instant::now());
        let event = |time_ns| ErrorEvent { instance: "pay-1".into(), time_ns, ..ErrorEvent::default() };
        let ms = |ms: u64| ms * 1_000_000;
        failures.add(failure("pay-1", 1, ms(0), ms(50)));
        let mut waiting = vec![(read, event(ms(20))), (read, event(ms(120)))];
        // The second is of a request that has not ended yet: the first, that has just failed, would fit as well.
        assert_eq!(settled(&failures, &mut waiting, read + PATIENCE / 2), []);
        failures.add(failure("pay-1", 2, ms(110), ms(800)));
        let traces: Vec<_> =
            settled(&failures, &mut waiting, read + PATIENCE).iter().map(|e| e.trace).collect();
        assert_eq!(traces, [Some(TraceId([1; 16])), None]);
        assert!(waiting.is_empty());
    }
}
