//! Where memtables end. The engine lets go of a flushed one while it holds a lock that every write of the space has to take,
//! and freeing its hundreds of thousands of entries takes a tenth of a second. So each is held here too, until nobody else
//! does, and is freed on a thread of its own.

use std::any::Any;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crate::engine::EngineError;

/// Whatever a space writes to: the engine does not name it.
pub(super) type Memtable = Arc<dyn Any + Send + Sync>;

/// Memtables that may wait for the thread. Beyond that they are freed when there is room.
const WAITING: usize = 16;

pub(super) struct Reaper {
    held: Mutex<Vec<Memtable>>,
    /// The thread ends with this.
    freed: SyncSender<Memtable>,
}

impl Reaper {
    pub(super) fn start() -> Result<Self, EngineError> {
        let (freed, coming) = sync_channel::<Memtable>(WAITING);
        thread::Builder::new()
            .name("atoll-reap".to_owned())
            .spawn(move || coming.into_iter().for_each(drop))
            .map_err(|error| EngineError::new("start a thread", error))?;
        Ok(Self { held: Mutex::default(), freed })
    }

    /// Holds a memtable that nothing more is written to.
    pub(super) fn hold(&self, memtable: Memtable) {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).push(memtable);
    }

    /// Frees those that nobody else holds any more.
    pub(super) fn free(&self) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let mut at = 0;
        while at < held.len() {
            if Arc::strong_count(&held[at]) > 1 {
                at += 1;
                continue;
            }
            if let Err(error) = self.freed.try_send(held.swap_remove(at)) {
                use std::sync::mpsc::TrySendError::{Disconnected, Full};
                let (Full(memtable) | Disconnected(memtable)) = error;
                held.push(memtable);
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_memtable_is_freed_once_nobody_else_holds_it() {
        let reaper = Reaper::start().unwrap();
        let memtable: Memtable = Arc::new(vec![0; 1000]);
        let seen = Arc::downgrade(&memtable);
        reaper.hold(Arc::clone(&memtable));
        reaper.free();
        assert_eq!(reaper.held.lock().unwrap().len(), 1);
        drop(memtable);
        assert!(seen.upgrade().is_some(), "the reaper holds it");
        reaper.free();
        assert!(reaper.held.lock().unwrap().is_empty());
        let until = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while seen.strong_count() > 0 && std::time::Instant::now() < until {
            thread::yield_now();
        }
        assert_eq!(seen.strong_count(), 0);
    }
}
