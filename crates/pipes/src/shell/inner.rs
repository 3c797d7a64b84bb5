//! What all handles share.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use kit::{Clock, Tasks, Timestamp};
use store::{Admission, Committing, Lease, Op, Pre, Store, Txn};

use super::alarms::{Alarms, Work};
use super::fresh::Budget;
use super::moves::Moves;
use super::options::{Limits, Watch};
use super::shard::{Shard, State};
use crate::error::PipeError;
use crate::name::QueueName;
use crate::queue::core::{Bounds, Decision};
use crate::queue::receipt::ReceiptKey;
use crate::queue::settings::Settings;

/// How far a head on disk may be behind.
pub(super) const CHECKPOINT: Duration = Duration::from_secs(1);

pub(super) struct Inner {
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) tasks: Tasks,
    pub(super) limits: Limits,
    pub(super) lease: Lease,
    pub(super) receipts: ReceiptKey,
    pub(super) alarms: Alarms,
    pub(super) work: Work,
    pub(super) fresh: Budget,
    pub(super) waiting: AtomicUsize,
    pub(super) moves: Moves,
    pub(super) watch: Option<Arc<dyn Watch>>,
    registry: RwLock<Registry>,
    stopped: OnceLock<Arc<str>>,
}

/// Which queues there are. Whoever holds this may lock queues; never the other way round.
#[derive(Default)]
pub(super) struct Registry {
    pub(super) by_name: BTreeMap<QueueName, Arc<Shard>>,
    /// Who sends dead letters to whom.
    pub(super) sources: BTreeMap<QueueName, BTreeSet<QueueName>>,
    pub(super) next_number: u32,
}

impl Registry {
    /// Notes where a queue sends its dead letters, in place of where it did.
    pub(super) fn link(&mut self, name: &QueueName, before: Option<&Settings>, after: Option<&Settings>) {
        let target = |settings: &Settings| settings.dead_letter.as_ref().map(|dead| dead.target.clone());
        if let Some(target) = before.and_then(target)
            && let Some(sources) = self.sources.get_mut(&target)
        {
            sources.remove(name);
            if sources.is_empty() {
                self.sources.remove(&target);
            }
        }
        if let Some(target) = after.and_then(target) {
            self.sources.entry(target).or_default().insert(name.clone());
        }
    }
}

impl Inner {
    pub(super) fn new(
        (store, clock, tasks): (Arc<dyn Store>, Arc<dyn Clock>, Tasks),
        (limits, watch): (Limits, Option<Arc<dyn Watch>>),
        lease: Lease,
        receipts: ReceiptKey,
        registry: Registry,
        moves: Moves,
    ) -> Self {
        Self {
            store,
            clock,
            tasks,
            limits,
            lease,
            receipts,
            alarms: Alarms::default(),
            work: Work::default(),
            fresh: Budget::new(limits.fresh_bytes, limits.fresh_bytes_of_queue),
            waiting: AtomicUsize::new(0),
            moves,
            watch,
            registry: RwLock::new(registry),
            stopped: OnceLock::new(),
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(super) fn registry(&self) -> RwLockReadGuard<'_, Registry> {
        self.registry.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn change_registry(&self) -> RwLockWriteGuard<'_, Registry> {
        self.registry.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn shard(&self, name: &QueueName) -> Option<Arc<Shard>> {
        self.registry().by_name.get(name).cloned()
    }

    /// Takes room for a commit of about so many bytes. From here to [`Self::submit`] nothing is waited for.
    pub(super) fn admit(&self, bytes: usize) -> Result<Admission, PipeError> {
        if let Some(why) = self.stopped.get() {
            return Err(PipeError::Stopped(Arc::clone(why)));
        }
        Ok(self.store.admit(bytes)?)
    }

    /// Commits, in the order of these calls, as long as the queues are this process's.
    pub(super) fn submit(&self, admission: Admission, ops: Vec<Op>) -> Committing {
        let fence = Pre::Fence(self.lease.name.clone(), self.lease.epoch);
        self.store.commit(admission, Txn { pre: vec![fence], ops, id: None })
    }

    /// Waits until a commit is on disk. One that fails ends everything: what is in memory is not what is on disk.
    pub(super) async fn durable(&self, commit: Committing) -> Result<(), PipeError> {
        match commit.await {
            Ok(_) => Ok(()),
            Err(error) => Err(PipeError::Stopped(self.stop(&format!("a commit has failed: {error}")))),
        }
    }

    /// Waits until everything that was submitted is on disk.
    pub(super) async fn barrier(&self) -> Result<(), PipeError> {
        let admission = self.admit(0)?;
        self.durable(self.submit(admission, Vec::new())).await
    }

    /// Takes nothing any more; for which reason, which is the first.
    pub(super) fn stop(&self, why: &str) -> Arc<str> {
        Arc::clone(self.stopped.get_or_init(|| {
            tracing::error!("queues stop: {why}");
            why.into()
        }))
    }

    /// Submits what a core decided, and does what follows from it. `None`: the answer can be given at once.
    pub(super) fn follow<T>(
        &self,
        shard: &Arc<Shard>,
        state: &mut State,
        admission: Admission,
        decision: Decision<T>,
        now: Timestamp,
    ) -> (Option<Committing>, T) {
        let Decision { ops, barrier, wake, reply } = decision;
        if !ops.is_empty() {
            state.dirty_since.get_or_insert(now);
        }
        let commit = (barrier || !ops.is_empty()).then(|| self.submit(admission, ops));
        self.settle(shard, state, wake);
        (commit, reply)
    }

    /// After every change: calls those who wait, and sees to it that the queue is looked at in time.
    pub(super) fn settle(&self, shard: &Arc<Shard>, state: &mut State, wake: usize) {
        state.waiters.call(wake);
        if state.core.has_dead() || state.core.has_doomed() || state.core.has_old_buckets() {
            self.work.add(shard);
        }
        let waited_for = !state.waiters.is_empty() || state.core.settings().dead_letter.is_some();
        let visible = if waited_for { state.core.next_visible() } else { None };
        let checkpoint = state.dirty_since.map(|since| since + CHECKPOINT);
        let all = [visible, state.core.next_forgotten(), checkpoint, state.fresh.until()];
        if let Some(next) = all.into_iter().flatten().min()
            && state.armed.is_none_or(|armed| next < armed)
        {
            self.alarms.set(shard, state.armed, next);
            state.armed = Some(next);
        }
    }

    /// The bounds of the core of a queue.
    pub(super) fn bounds(limits: &Limits, settings: &Settings) -> Bounds {
        let in_flight = if settings.fifo.is_some() { limits.in_flight_fifo } else { limits.in_flight };
        Bounds { in_flight: in_flight as u64, identities: limits.identities, attempts: limits.attempts }
    }
}

/// A lock that guards nothing that could be left half-way.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
