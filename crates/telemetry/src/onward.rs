//! What is kept, handed on to whoever sends it elsewhere. Bounded: what is not taken in time is dropped and counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::mpsc;

use crate::model::{LogRecord, MetricPoint, Span};

/// Records that wait to be taken at most, and batches of them.
const MOST: usize = 50_000;
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
    to: mpsc::Sender<Onward>,
    waiting: Arc<AtomicUsize>,
}

/// The end where it is taken.
pub struct OnwardReader {
    from: mpsc::Receiver<Onward>,
    waiting: Arc<AtomicUsize>,
}

pub(crate) fn channel(signals: Signals) -> (Giver, OnwardReader) {
    let (to, from) = mpsc::channel(BATCHES);
    let waiting = Arc::new(AtomicUsize::new(0));
    (Giver { signals, to, waiting: Arc::clone(&waiting) }, OnwardReader { from, waiting })
}

impl Giver {
    /// How many were not taken.
    pub(crate) fn give(&self, batch: Onward) -> usize {
        let count = batch.len();
        if self.waiting.load(Ordering::Relaxed) + count > MOST {
            return count;
        }
        self.waiting.fetch_add(count, Ordering::Relaxed);
        if self.to.try_send(batch).is_err() {
            self.waiting.fetch_sub(count, Ordering::Relaxed);
            return count;
        }
        0
    }
}

impl OnwardReader {
    /// The next batch; none once telemetry is closed.
    pub async fn next(&mut self) -> Option<Onward> {
        let batch = self.from.recv().await?;
        self.waiting.fetch_sub(batch.len(), Ordering::Relaxed);
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
}
