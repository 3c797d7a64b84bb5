//! How records come in. Nobody waits here: what does not fit is dropped and counted.

use std::sync::Arc;

use crate::admission::Admission;
use crate::counters::Reason;
use crate::model::{ErrorEvent, LogRecord, MetricPoint, Span};
use crate::shared::{Batch, Shared};

/// Takes in records. Cheap to copy.
#[derive(Clone)]
pub struct Intake {
    shared: Arc<Shared>,
}

/// What became of records that were offered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offered {
    /// They are taken: found within a second, if sampling keeps them.
    pub taken: usize,
    /// They are no records: without an id, a name, a number. Offering them again is of no use.
    pub refused: usize,
    /// There was no room for them now: all of a batch, or none.
    pub full: usize,
}

impl Intake {
    pub(crate) const fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Offers spans.
    pub fn offer_spans(&self, spans: Vec<Span>) -> Offered {
        self.offer(spans)
    }

    /// Offers log records.
    pub fn offer_logs(&self, records: Vec<LogRecord>) -> Offered {
        self.offer(records)
    }

    /// Offers numbers.
    pub fn offer_points(&self, points: Vec<MetricPoint>) -> Offered {
        self.offer(points)
    }

    /// Offers errors.
    pub fn offer_errors(&self, events: Vec<ErrorEvent>) -> Offered {
        self.offer(events)
    }

    fn offer<R: Offer>(&self, mut records: Vec<R>) -> Offered {
        let shared = &*self.shared;
        let admission =
            Admission { now_ns: shared.now_ns(), limits: &shared.options.limits, counters: &shared.counters };
        let offered = records.len();
        let mut bytes = 0;
        records.retain_mut(|record| match record.admit(&admission) {
            Ok(size) => {
                bytes += size;
                true
            }
            Err(reason) => {
                shared.counters.dropped(reason, 1);
                false
            }
        });
        let (taken, refused) = (records.len(), offered - records.len());
        if taken == 0 {
            return Offered { taken, refused, full: 0 };
        }
        let mut waiting = shared.waiting();
        if waiting.closed || waiting.bytes.saturating_add(bytes) > shared.options.waiting_bytes {
            drop(waiting);
            shared.counters.dropped(Reason::Full, taken);
            return Offered { taken: 0, refused, full: taken };
        }
        waiting.bytes += bytes;
        waiting.batches.push_back((bytes, R::batch(records)));
        drop(waiting);
        shared.more.notify_one();
        Offered { taken, refused, full: 0 }
    }
}

/// What can be offered.
trait Offer: Sized {
    /// Brings it within the limits, and tells about how many bytes it takes in memory.
    fn admit(&mut self, admission: &Admission<'_>) -> Result<usize, Reason>;
    fn batch(records: Vec<Self>) -> Batch;
}

impl Offer for Span {
    fn admit(&mut self, admission: &Admission<'_>) -> Result<usize, Reason> {
        admission.span(self)
    }
    fn batch(records: Vec<Self>) -> Batch {
        Batch::Spans(records)
    }
}

impl Offer for LogRecord {
    fn admit(&mut self, admission: &Admission<'_>) -> Result<usize, Reason> {
        Ok(admission.log(self))
    }
    fn batch(records: Vec<Self>) -> Batch {
        Batch::Logs(records)
    }
}

impl Offer for MetricPoint {
    fn admit(&mut self, admission: &Admission<'_>) -> Result<usize, Reason> {
        admission.point(self)
    }
    fn batch(records: Vec<Self>) -> Batch {
        Batch::Points(records)
    }
}

impl Offer for ErrorEvent {
    fn admit(&mut self, admission: &Admission<'_>) -> Result<usize, Reason> {
        Ok(admission.error(self))
    }
    fn batch(records: Vec<Self>) -> Batch {
        Batch::Errors(records)
    }
}
