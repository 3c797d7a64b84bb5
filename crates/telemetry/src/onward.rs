//! What is kept, handed on to whoever sends it elsewhere. Bounded: what is not taken in time is dropped and counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::mpsc;

use crate::model::{LogRecord, MetricPoint, Span};

/// Records that wait to be taken at most, their bytes in memory, and batches of them.
const MOST: usize = 50_000;
const MOST_BYTES: usize = 64 << 20;
const BATCHES: usize = 1024;

/// Records that were kept together.
#[derive(Clone, Debug, PartialEq)]
pub enum Onward {
    /// Spans.
    Spans(Vec<Span>),
    /// Log records.
    Logs(Vec<LogRecord>),
    /// Points of metrics.
    Points(Vec<MetricPoint>),
}

impl Onward {
    /// How many.
    pub fn len(&self) -> usize {
        match self {
            Self::Spans(spans) => spans.len(),
            Self::Logs(records) => records.len(),
            Self::Points(points) => points.len(),
        }
    }

    /// Bytes that they take in memory, about.
    pub fn size(&self) -> usize {
        match self {
            Self::Spans(spans) => spans.iter().map(Span::size).sum(),
            Self::Logs(records) => records.iter().map(LogRecord::size).sum(),
            Self::Points(points) => points.iter().map(MetricPoint::size).sum(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Which kinds are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signals {
    /// Spans.
    pub traces: bool,
    /// Log records.
    pub logs: bool,
    /// Points.
    pub metrics: bool,
}

/// The end where it is put in.
pub(crate) struct Giver {
    pub(crate) signals: Signals,
    to: mpsc::Sender<(Onward, usize)>,
    waiting: Arc<Waiting>,
}

/// What has been put in and not been taken.
#[derive(Default)]
struct Waiting {
    records: AtomicUsize,
    bytes: AtomicUsize,
}

impl Waiting {
    fn add(&self, records: usize, bytes: usize) {
        self.records.fetch_add(records, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn take(&self, records: usize, bytes: usize) {
        self.records.fetch_sub(records, Ordering::Relaxed);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    fn has_room(&self, records: usize, bytes: usize) -> bool {
        self.records.load(Ordering::Relaxed) + records <= MOST
            && self.bytes.load(Ordering::Relaxed) + bytes <= MOST_BYTES
    }
}

/// The end where it is taken.
pub struct OnwardReader {
    from: mpsc::Receiver<(Onward, usize)>,
    waiting: Arc<Waiting>,
}

pub(crate) fn channel(signals: Signals) -> (Giver, OnwardReader) {
    let (to, from) = mpsc::channel(BATCHES);
    let waiting = Arc::new(Waiting::default());
    (Giver { signals, to, waiting: Arc::clone(&waiting) }, OnwardReader { from, waiting })
}

impl Giver {
    /// How many were not taken.
    pub(crate) fn give(&self, batch: Onward) -> usize {
        let (count, size) = (batch.len(), batch.size());
        if !self.waiting.has_room(count, size) {
            return count;
        }
        self.waiting.add(count, size);
        if self.to.try_send((batch, size)).is_err() {
            self.waiting.take(count, size);
            return count;
        }
        0
    }
}

impl OnwardReader {
    /// The next batch; none once telemetry is closed.
    pub async fn next(&mut self) -> Option<Onward> {
        let (batch, size) = self.from.recv().await?;
        self.waiting.take(batch.len(), size);
        Some(batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_not_taken_in_time_is_dropped() {
        let (giver, mut reader) = channel(Signals { traces: true, logs: true, metrics: true });
        let point = MetricPoint {
            name: "m".into(),
            unit: "".into(),
            labels: Vec::new(),
            time_ns: 1,
            value: crate::model::MetricValue::Gauge(1.0),
        };
        let batch = || Onward::Points(vec![point.clone(); MOST / 2]);
        assert_eq!((giver.give(batch()), giver.give(batch()), giver.give(batch())), (0, 0, MOST / 2));
        assert_eq!(reader.next().await.unwrap().len(), MOST / 2);
        assert_eq!(giver.give(batch()), 0);
    }

    #[tokio::test]
    async fn nor_does_it_take_more_memory_than_that() {
        let (giver, mut reader) = channel(Signals { traces: true, logs: true, metrics: true });
        let point = MetricPoint {
            name: "m".into(),
            unit: "".into(),
            labels: vec![("l".into(), "x".repeat(30 << 20).as_str().into())],
            time_ns: 1,
            value: crate::model::MetricValue::Gauge(1.0),
        };
        let batch = || Onward::Points(vec![point.clone()]);
        assert_eq!((giver.give(batch()), giver.give(batch()), giver.give(batch())), (0, 0, 1));
        reader.next().await.unwrap();
        assert_eq!(giver.give(batch()), 0);
    }
}
