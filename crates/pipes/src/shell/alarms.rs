//! When queues are to be looked at: each has at most one alarm, and one task waits for the first of them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use kit::Timestamp;
use tokio::sync::Notify;

use super::shard::Shard;

/// The alarms of all queues.
#[derive(Default)]
pub(super) struct Alarms {
    set: Mutex<BTreeMap<(Timestamp, u32), Arc<Shard>>>,
    /// The first one is earlier than it was.
    pub(super) earlier: Notify,
}

impl Alarms {
    /// Sets the alarm of a queue, in place of the one before.
    pub(super) fn set(&self, shard: &Arc<Shard>, before: Option<Timestamp>, at: Timestamp) {
        let mut set = self.set.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = before {
            set.remove(&(before, shard.number));
        }
        let first = set.first_key_value().is_none_or(|((first, _), _)| at < *first);
        set.insert((at, shard.number), Arc::clone(shard));
        drop(set);
        if first {
            self.earlier.notify_one();
        }
    }

    /// The queues whose alarms are due, at most so many.
    pub(super) fn due(&self, now: Timestamp, most: usize) -> Vec<Arc<Shard>> {
        let mut set = self.set.lock().unwrap_or_else(PoisonError::into_inner);
        let mut due = Vec::new();
        while due.len() < most
            && let Some(entry) = set.first_entry()
            && entry.key().0 <= now
        {
            due.push(entry.remove());
        }
        due
    }

    /// The first alarm.
    pub(super) fn first(&self) -> Option<Timestamp> {
        let set = self.set.lock().unwrap_or_else(PoisonError::into_inner);
        set.first_key_value().map(|((at, _), _)| *at)
    }

    /// Every queue that has an alarm.
    pub(super) fn all(&self) -> Vec<Arc<Shard>> {
        self.set.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}

/// Queues that something is to be done for in the background.
#[derive(Default)]
pub(super) struct Work {
    waiting: Mutex<BTreeMap<u32, Arc<Shard>>>,
    pub(super) some: Notify,
}

impl Work {
    pub(super) fn add(&self, shard: &Arc<Shard>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.insert(shard.number, Arc::clone(shard)).is_none() {
            self.some.notify_one();
        }
    }

    /// All of them.
    pub(super) fn take(&self) -> Vec<Arc<Shard>> {
        std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
            .into_values()
            .collect()
    }
}
