//! One queue with all that is around its core, behind a lock that is never held for long.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kit::Timestamp;

use super::fresh::Fresh;
use super::options::Declared;
use super::waiters::Waiters;
use crate::error::PipeError;
use crate::name::QueueName;
use crate::queue::core::Core;
use crate::queue::record::Entry;
use crate::queue::settings::Settings;

/// One queue.
pub(super) struct Shard {
    pub(super) name: QueueName,
    pub(super) number: u32,
    pub(super) created_at: Timestamp,
    pub(super) declared: Declared,
    state: Mutex<State>,
}

/// What of a queue changes.
pub(super) struct State {
    pub(super) core: Core,
    pub(super) tags: Arc<BTreeMap<String, String>>,
    pub(super) changed_at: Timestamp,
    pub(super) waiters: Waiters,
    pub(super) fresh: Fresh,
    /// It was deleted: whoever still has a handle is told so.
    pub(super) gone: bool,
    /// When it is looked at next.
    pub(super) armed: Option<Timestamp>,
    /// Since when its head on disk is behind.
    pub(super) dirty_since: Option<Timestamp>,
}

impl Shard {
    pub(super) fn new(name: QueueName, entry: Entry, core: Core) -> Self {
        let state = State {
            core,
            tags: Arc::new(entry.tags),
            changed_at: entry.changed_at,
            waiters: Waiters::default(),
            fresh: Fresh::default(),
            gone: false,
            armed: None,
            dirty_since: None,
        };
        let declared = if entry.in_file { Declared::InFile } else { Declared::AtRunTime };
        let (number, created_at) = (entry.number, entry.created_at);
        Self { name, number, created_at, declared, state: Mutex::new(state) }
    }

    /// To decide something. Refused where the queue is gone, and where a decision has failed half-way: what it holds
    /// in memory is not what is on disk then.
    pub(super) fn lock(&self) -> Result<MutexGuard<'_, State>, PipeError> {
        let failed = |_| PipeError::Stopped(format!("a decision of queue `{}` has failed", self.name).into());
        let state = self.state.lock().map_err(failed)?;
        if state.gone { Err(PipeError::NoSuchQueue(self.name.clone())) } else { Ok(state) }
    }

    /// To look, whatever has happened.
    pub(super) fn look(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn settings(&self) -> Arc<Settings> {
        Arc::clone(self.look().core.settings())
    }

    /// What the registry says of it.
    pub(super) fn entry(&self, state: &State) -> Entry {
        Entry {
            number: self.number,
            created_at: self.created_at,
            changed_at: state.changed_at,
            in_file: self.declared == Declared::InFile,
            settings: Settings::clone(state.core.settings()),
            tags: BTreeMap::clone(&state.tags),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_that_nobody_uses_takes_less_than_two_kilobytes() {
        // Beside these: its name, twice, an entry of a map, and its alarm.
        let bytes = size_of::<Shard>() + size_of::<Settings>() + 300;
        assert!(bytes < 2048, "{bytes}");
        println!("{} + {}", size_of::<Shard>(), size_of::<Settings>());
    }
}
