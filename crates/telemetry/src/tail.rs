//! Log records as they come.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc;

use crate::filter::LogFilter;
use crate::lane::Chunk;
use crate::model::{Cursor, LogHit, LogRecord};

/// Records that wait for a slow reader, at most.
const MOST_WAITING: usize = 1_024;
/// Readers at once; over it the one that came first is let go.
const MOST_TAILS: usize = 64;

/// Log records as they come. Dropping it ends it.
pub struct Tail {
    records: mpsc::Receiver<LogHit>,
    lost: Arc<AtomicU64>,
    told: u64,
}

/// What a tail tells.
#[derive(Clone, Debug, PartialEq)]
pub enum TailItem {
    /// A record.
    Record(LogHit),
    /// So many records came faster than they were read, and are left out here.
    Lost(u64),
}

impl Tail {
    /// The next record; none once telemetry is closed.
    pub async fn next(&mut self) -> Option<TailItem> {
        let lost = self.lost.load(Ordering::Relaxed);
        if lost > self.told && self.records.is_empty() {
            let more = lost - self.told;
            self.told = lost;
            return Some(TailItem::Lost(more));
        }
        self.records.recv().await.map(TailItem::Record)
    }
}

/// Whoever reads along.
#[derive(Default)]
pub(crate) struct Tails(Mutex<Vec<Reading>>);

struct Reading {
    filter: LogFilter,
    records: mpsc::Sender<LogHit>,
    lost: Arc<AtomicU64>,
}

impl Tails {
    pub(crate) fn start(&self, filter: LogFilter) -> Tail {
        let (sender, records) = mpsc::channel(MOST_WAITING);
        let lost = Arc::new(AtomicU64::new(0));
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|reading| !reading.records.is_closed());
        if all.len() >= MOST_TAILS {
            all.remove(0);
        }
        all.push(Reading { filter, records: sender, lost: Arc::clone(&lost) });
        Tail { records, lost, told: 0 }
    }

    /// Tells everybody who wants to know.
    pub(crate) fn tell(&self, records: &Chunk<LogRecord>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.is_empty() {
            return;
        }
        all.retain(|reading| !reading.records.is_closed());
        for reading in &*all {
            for (number, record) in records.numbered().filter(|(_, record)| reading.filter.matches(record)) {
                let cursor = Cursor { time_ns: record.time_ns, number };
                if reading.records.try_send(LogHit { cursor, record: record.clone() }).is_err() {
                    reading.lost.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }

    /// Ends all.
    pub(crate) fn close(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
