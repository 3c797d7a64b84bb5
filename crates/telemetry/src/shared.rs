//! What the intake, the indexing thread and queries have in common.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use kit::Clock;

use crate::catalog::Catalog;
use crate::counters::Counters;
use crate::groups::Groups;
use crate::lane::Lane;
use crate::model::{ErrorEvent, LogRecord, MetricPoint, Span, TakenError};
use crate::onward::Givers;
use crate::options::Options;
use crate::rollup::Hour;
use crate::tail::Tails;

pub(crate) struct Shared {
    pub(crate) directory: PathBuf,
    /// What was found damaged when opening.
    pub(crate) notes: Vec<String>,
    pub(crate) options: Options,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) counters: Counters,
    pub(crate) tails: Tails,
    pub(crate) more: Condvar,
    waiting: Mutex<Waiting>,
    kept: RwLock<Holdings>,
    groups: Mutex<Groups>,
    catalog: Mutex<Catalog>,
    onward: Mutex<Givers>,
}

/// What waits to be indexed.
#[derive(Default)]
pub(crate) struct Waiting {
    pub(crate) batches: VecDeque<(usize, Batch)>,
    pub(crate) bytes: usize,
    pub(crate) closed: bool,
}

/// Records of one kind that were offered together, or a wish.
pub(crate) enum Batch {
    Spans(Vec<Span>),
    Logs(Vec<LogRecord>),
    Points(Vec<MetricPoint>),
    Errors(Vec<ErrorEvent>),
    /// Tell when everything before this can be found and is written.
    Flush(SyncSender<()>),
}

/// What is kept.
pub(crate) struct Holdings {
    pub(crate) spans: Lane<Span>,
    pub(crate) logs: Lane<LogRecord>,
    pub(crate) points: Lane<MetricPoint>,
    pub(crate) errors: Lane<TakenError>,
    /// Roll-ups by the hour in which they were counted: of this hour and the one before.
    pub(crate) minutes: BTreeMap<u64, Hour>,
    /// Bytes on disk.
    pub(crate) disk_bytes: u64,
}

impl Shared {
    pub(crate) fn new(
        directory: PathBuf,
        notes: Vec<String>,
        options: Options,
        clock: Arc<dyn Clock>,
        kept: Holdings,
        groups: Groups,
        catalog: Catalog,
    ) -> Self {
        Self {
            directory,
            notes,
            options,
            clock,
            counters: Counters::default(),
            tails: Tails::default(),
            more: Condvar::new(),
            waiting: Mutex::default(),
            kept: RwLock::new(kept),
            groups: Mutex::new(groups),
            catalog: Mutex::new(catalog),
            onward: Mutex::default(),
        }
    }

    pub(crate) fn now_ns(&self) -> u64 {
        self.clock.now().as_micros().saturating_mul(1_000)
    }

    // Whoever panicked with one of these locks left nothing half done that matters more than going on: counts and lists.

    pub(crate) fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn kept(&self) -> RwLockReadGuard<'_, Holdings> {
        self.kept.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn change(&self) -> RwLockWriteGuard<'_, Holdings> {
        self.kept.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn groups(&self) -> MutexGuard<'_, Groups> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn onward(&self) -> MutexGuard<'_, Givers> {
        self.onward.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn catalog(&self) -> MutexGuard<'_, Catalog> {
        self.catalog.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
