//! What happened within the measured time.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// What one job saw.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sample {
    /// Requests that count: in a closed loop those answered within the time, in an open one those due in it.
    pub(crate) requests: u64,
    /// Anything but a whole answer of the right kind, by kind.
    pub(crate) failures: BTreeMap<String, u64>,
    /// Of whole answers, from when the request was sent (closed loop) or due (open loop). Sorted.
    pub(crate) latencies: Vec<Duration>,
}

impl Sample {
    /// All failures.
    pub(crate) fn failed(&self) -> u64 {
        self.failures.values().sum()
    }

    /// The latency that `share` (0 to 1) of the answers kept within.
    pub(crate) fn quantile(&self, share: f64) -> Duration {
        crate::load::quantile(&self.latencies, share)
    }
}

/// Takes results as they come; one thread.
pub(super) struct Recorder {
    /// Requests count by when they were due, and not by when they were answered.
    by_due: bool,
    begin: Cell<Option<Instant>>,
    end: Cell<Option<Instant>>,
    /// Requests due within the time and not answered yet.
    outstanding: Cell<u64>,
    sample: RefCell<Sample>,
}

impl Recorder {
    /// Counts nothing yet.
    pub(super) fn new(by_due: bool) -> Self {
        let (begin, end) = (Cell::new(None), Cell::new(None));
        Self { by_due, begin, end, outstanding: Cell::new(0), sample: RefCell::default() }
    }

    /// Counts from now on.
    pub(super) fn begin(&self, now: Instant) {
        self.begin.set(Some(now));
    }

    /// Counts no more.
    pub(super) fn end(&self, now: Instant) {
        self.end.set(Some(now));
    }

    /// A request of an open loop is due.
    pub(super) fn due(&self, at: Instant) {
        if self.within(at) {
            self.outstanding.set(self.outstanding.get() + 1);
        }
    }

    /// How many requests that count have no result.
    pub(super) fn outstanding(&self) -> u64 {
        self.outstanding.get()
    }

    /// A request that was sent or due at `from` has its result.
    pub(super) fn record(&self, from: Instant, result: Result<(), String>) {
        let now = Instant::now();
        let counts = if self.by_due { self.within(from) } else { self.within(now) };
        if !counts {
            return;
        }
        self.outstanding.set(self.outstanding.get().saturating_sub(1));
        let mut sample = self.sample.borrow_mut();
        sample.requests += 1;
        match result {
            Ok(()) => sample.latencies.push(now - from),
            Err(kind) => *sample.failures.entry(kind).or_default() += 1,
        }
    }

    /// What there is, sorted; what has no result is a failure.
    pub(super) fn sample(&self) -> Sample {
        let mut sample = self.sample.take();
        sample.latencies.sort_unstable();
        let lost = self.outstanding.take();
        if lost > 0 {
            sample.requests += lost;
            sample.failures.insert("no answer in time".into(), lost);
        }
        sample
    }

    fn within(&self, at: Instant) -> bool {
        self.begin.get().is_some_and(|begin| at >= begin) && self.end.get().is_none_or(|end| at < end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_loop_counts_what_was_due_in_time_even_if_it_was_never_answered() {
        let start = Instant::now();
        let recorder = Recorder::new(true);
        recorder.due(start);
        recorder.begin(start);
        for _ in 0..3 {
            recorder.due(start + Duration::from_micros(1));
        }
        recorder.end(start + Duration::from_micros(2));
        recorder.due(start + Duration::from_micros(3));
        recorder.record(start + Duration::from_micros(1), Ok(()));
        recorder.record(start + Duration::from_micros(1), Err("500".into()));
        recorder.record(start + Duration::from_micros(3), Ok(()));
        assert_eq!(recorder.outstanding(), 1);
        let sample = recorder.sample();
        assert_eq!((sample.requests, sample.latencies.len(), sample.failed()), (3, 1, 2));
    }
}
