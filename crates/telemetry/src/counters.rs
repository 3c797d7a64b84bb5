//! What was not kept, by reason. Nothing is dropped without one.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

/// Why a record was not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// As many bytes wait to be indexed as may.
    Full,
    /// A span without an id, or without a trace.
    NoId,
    /// A metric without a name, or with a value that is no number.
    NoValue,
    /// As many series of metrics are known as may be.
    TooManySeries,
    /// Its trace neither failed nor was slow, and is not of the share that is kept.
    Sampled,
    /// It could not be written to disk.
    Disk,
    /// It is kept, and could not be sent on in time.
    Onward,
    /// It was on disk, and what is there now is not what was written.
    Damaged,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Full,
        Self::NoId,
        Self::NoValue,
        Self::TooManySeries,
        Self::Sampled,
        Self::Disk,
        Self::Onward,
        Self::Damaged,
    ];

    /// Its name in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::NoId => "no_id",
            Self::NoValue => "no_value",
            Self::TooManySeries => "too_many_series",
            Self::Sampled => "sampled",
            Self::Disk => "disk",
            Self::Onward => "onward",
            Self::Damaged => "damaged",
        }
    }
}

/// Counts of what happened to records on their way in.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    dropped: [AtomicU64; Reason::ALL.len()],
    cut: AtomicU64,
    moved: AtomicU64,
    merged_services: AtomicU64,
}

impl Counters {
    pub(crate) fn dropped(&self, reason: Reason, count: usize) {
        self.dropped[reason as usize].fetch_add(count as u64, Ordering::Relaxed);
    }

    pub(crate) fn cut(&self) {
        self.cut.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn moved(&self) {
        self.moved.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn merged_service(&self) {
        self.merged_services.fetch_add(1, Ordering::Relaxed);
    }

    /// How many were dropped, by reason; reasons that never applied are left out.
    pub(crate) fn by_reason(&self) -> BTreeMap<Reason, u64> {
        let count = |reason: Reason| self.dropped[reason as usize].load(Ordering::Relaxed);
        Reason::ALL
            .into_iter()
            .map(|reason| (reason, count(reason)))
            .filter(|(_, count)| *count > 0)
            .collect()
    }

    /// Records that were cut, records whose time was too far ahead, records of services beyond the limit.
    pub(crate) fn mended(&self) -> (u64, u64, u64) {
        let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
        (get(&self.cut), get(&self.moved), get(&self.merged_services))
    }
}
