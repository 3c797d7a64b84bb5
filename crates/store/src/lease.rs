//! Leases of an embedded store: the lock of the directory makes it the only one that could give them, so they are kept in
//! memory. Epochs rise over restarts: each begins with how often the directory was opened.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kit::{Clock, Timestamp};

use crate::error::StoreError;
use crate::seam::Lease;
use crate::txn::Epoch;

/// Who holds what.
pub(crate) struct Held {
    clock: Arc<dyn Clock>,
    leases: Mutex<Leases>,
}

struct Leases {
    last: Epoch,
    by_name: HashMap<String, (Epoch, Timestamp)>,
}

impl Held {
    /// Nothing is held, the directory having been opened so often.
    pub(crate) fn new(clock: Arc<dyn Clock>, opened: u64) -> Self {
        let leases = Leases { last: Epoch(opened << 32), by_name: HashMap::new() };
        Self { clock, leases: Mutex::new(leases) }
    }

    pub(crate) fn take(&self, name: &str, ttl: Duration) -> Result<Lease, StoreError> {
        let mut leases = self.locked();
        let now = self.clock.now();
        if leases.by_name.get(name).is_some_and(|(_, until)| *until > now) {
            return Err(StoreError::Held(name.to_owned()));
        }
        leases.last.0 += 1;
        let epoch = leases.last;
        leases.by_name.insert(name.to_owned(), (epoch, now + ttl));
        Ok(Lease { name: name.to_owned(), epoch })
    }

    pub(crate) fn renew(&self, lease: &Lease, ttl: Duration) -> Result<(), StoreError> {
        let mut leases = self.locked();
        let now = self.clock.now();
        match leases.by_name.get_mut(&lease.name) {
            // One that has run out is not taken up again, even if nobody else has it: its holder may have been told so.
            Some((epoch, until)) if *epoch == lease.epoch && *until > now => {
                *until = now + ttl;
                Ok(())
            }
            _ => Err(StoreError::Held(lease.name.clone())),
        }
    }

    pub(crate) fn release(&self, lease: &Lease) {
        let mut leases = self.locked();
        if leases.by_name.get(&lease.name).is_some_and(|(epoch, _)| *epoch == lease.epoch) {
            leases.by_name.remove(&lease.name);
        }
    }

    /// Whether the lease of this name is held in this epoch, now.
    pub(crate) fn holds(&self, name: &str, epoch: Epoch) -> bool {
        let leases = self.locked();
        let held = leases.by_name.get(name);
        held.is_some_and(|(of, until)| *of == epoch && *until > self.clock.now())
    }

    fn locked(&self) -> MutexGuard<'_, Leases> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
