//! What is kept, handed on to whoever sends it elsewhere, each kind of record by itself: one that nobody takes holds up no
//! other. Bounded: what is not taken in time is dropped and counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::mpsc;

use crate::lane::Record;
use crate::model::{LogRecord, MetricPoint, Span};

/// Records of a kind that wait to be taken at most, their bytes in memory, and batches of them.
const MOST: usize = 50_000;
const MOST_BYTES: usize = 24 << 20;
const BATCHES: usize = 1024;

/// The ends where records are put in, of the kinds that somebody wants.
#[derive(Default)]
pub(crate) struct Givers {
    pub(crate) spans: Option<Giver<Span>>,
    pub(crate) logs: Option<Giver<LogRecord>>,
    pub(crate) points: Option<Giver<MetricPoint>>,
}

/// The end where it is put in.
pub(crate) struct Giver<R> {
    to: mpsc::Sender<(Vec<R>, usize)>,
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
pub struct OnwardReader<R> {
    from: mpsc::Receiver<(Vec<R>, usize)>,
    waiting: Arc<Waiting>,
}

pub(crate) fn channel<R>() -> (Giver<R>, OnwardReader<R>) {
    let (to, from) = mpsc::channel(BATCHES);
    let waiting = Arc::new(Waiting::default());
    (Giver { to, waiting: Arc::clone(&waiting) }, OnwardReader { from, waiting })
}

impl<R: Record> Giver<R> {
    /// Hands copies on. Tells how many there was no room for: those are not copied either.
    pub(crate) fn give(&self, records: &[R]) -> usize {
        if records.is_empty() || self.to.is_closed() {
            return 0;
        }
        let (count, size) = (records.len(), records.iter().map(Record::memory).sum());
        if !self.waiting.has_room(count, size) {
            return count;
        }
        self.waiting.add(count, size);
        if self.to.try_send((records.to_vec(), size)).is_err() {
            self.waiting.take(count, size);
            return count;
        }
        0
    }
}

impl<R> OnwardReader<R> {
    /// The next batch; none once telemetry is closed, or somebody else reads.
    pub async fn next(&mut self) -> Option<Vec<R>> {
        let batch = self.from.recv().await?;
        Some(self.taken(batch))
    }

    /// The next batch, if there is one by now.
    pub fn waiting(&mut self) -> Option<Vec<R>> {
        let batch = self.from.try_recv().ok()?;
        Some(self.taken(batch))
    }

    fn taken(&self, (batch, size): (Vec<R>, usize)) -> Vec<R> {
        self.waiting.take(batch.len(), size);
        batch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(label: usize) -> MetricPoint {
        MetricPoint {
            name: "m".into(),
            unit: "".into(),
            labels: vec![("l".into(), "x".repeat(label).as_str().into())],
            time_ns: 1,
            value: crate::model::MetricValue::Gauge(1.0),
        }
    }

    #[tokio::test]
    async fn what_is_not_taken_in_time_is_dropped() {
        let (giver, mut reader) = channel();
        let batch = vec![point(1); MOST / 2];
        assert_eq!((giver.give(&batch), giver.give(&batch), giver.give(&batch)), (0, 0, MOST / 2));
        assert_eq!(reader.next().await.unwrap().len(), MOST / 2);
        assert_eq!(giver.give(&batch), 0);
        assert_eq!(
            (reader.waiting().map(|batch| batch.len()), reader.waiting().is_some()),
            (Some(MOST / 2), true)
        );
        assert!(reader.waiting().is_none());
    }

    #[tokio::test]
    async fn nor_does_it_take_more_memory_than_that() {
        let (giver, mut reader) = channel();
        let batch = [point(MOST_BYTES / 5 * 2)];
        assert_eq!((giver.give(&batch), giver.give(&batch), giver.give(&batch)), (0, 0, 1));
        reader.next().await.unwrap();
        assert_eq!(giver.give(&batch), 0);
    }

    #[test]
    fn what_nobody_wants_is_not_lost() {
        let (giver, reader) = channel();
        drop(reader);
        assert_eq!(giver.give(&vec![point(1); MOST + 1]), 0);
    }
}
