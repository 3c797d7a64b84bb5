//! Compaction, on a thread of its own.
//!
//! Left to itself the engine compacts on the threads that flush: with one of them a flush waits for the end of a compaction,
//! and writers wait for the flush; with several, one of them spins for as long as another one compacts. So the engine gets one
//! thread, which flushes, and a strategy that is never in need of anything ([`idle`]); what is to be compacted is decided and
//! done here.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};

use fjall::compaction::Leveled;
use fjall::{AbstractTree, Database, Keyspace};

use super::describe;
use crate::engine::EngineError;

/// Tables of the first level that are merged into the next one.
const TABLES: u8 = 4;
/// Compactions of one space in a row: then it is another one's turn.
const IN_A_ROW: usize = 16;

/// What the engine itself goes by: it moves tables that need no merge, and finds no level ever too large.
pub(super) fn idle() -> Arc<Leveled> {
    Arc::new(Leveled::default().with_l0_threshold(u8::MAX))
}

/// The thread, while this is there.
pub(super) struct Compactor {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    state: Mutex<State>,
    more: Condvar,
    /// Why it has stopped.
    failed: OnceLock<Arc<str>>,
}

#[derive(Default)]
struct State {
    /// Where something may be to be done.
    spaces: Vec<Keyspace>,
    closed: bool,
}

impl Compactor {
    pub(super) fn start(database: &Database) -> Result<Self, EngineError> {
        let shared =
            Arc::new(Shared { state: Mutex::default(), more: Condvar::new(), failed: OnceLock::new() });
        let (work, of) = (Arc::clone(&shared), database.clone());
        let thread = thread::Builder::new()
            .name("atoll-compact".to_owned())
            .spawn(move || work.run(&of))
            .map_err(|error| EngineError::new("start a thread", error))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Looks through a space, unless it is about to.
    pub(super) fn look_through(&self, space: &Keyspace) -> Result<(), EngineError> {
        if let Some(why) = self.shared.failed.get() {
            return Err(EngineError::new("compact a space", why));
        }
        let mut state = self.shared.lock();
        if state.spaces.iter().all(|waiting| waiting.id() != space.id()) {
            state.spaces.push(space.clone());
            self.shared.more.notify_one();
        }
        Ok(())
    }
}

impl Drop for Compactor {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.more.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panic in it has been told where it happened.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn run(&self, database: &Database) {
        let mut again = false;
        let mut last = None;
        loop {
            // A space that has more to do goes to the end of the line.
            let space: Option<Keyspace> = last.take().filter(|_| again);
            let Some(space) = self.next(space) else { return };
            let compacted =
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.compact(database, &space)));
            match compacted {
                Ok(Ok(more)) => again = more,
                Ok(Err(error)) => return self.fail(&error.to_string()),
                Err(_) => return self.fail("it has panicked"),
            }
            last = Some(space);
        }
    }

    fn fail(&self, why: &str) {
        tracing::error!("cannot compact the store: {why}");
        self.failed.get_or_init(|| why.into());
        self.lock().spaces.clear();
    }

    /// Whether there is more to do.
    fn compact(&self, database: &Database, space: &Keyspace) -> Result<bool, EngineError> {
        let strategy = Arc::new(Leveled::default().with_l0_threshold(TABLES));
        for _ in 0..IN_A_ROW {
            if self.lock().closed {
                return Ok(false);
            }
            let before = space.tree.current_version().id();
            // Nothing that a snapshot may still see is forgotten.
            let seen = database.supervisor.snapshot_tracker.get_seqno_safe_to_gc();
            let strategy = Arc::clone(&strategy);
            space
                .tree
                .compact(strategy, seen)
                .map_err(|error| EngineError::new("compact a space", describe(&error.into())))?;
            if space.tree.current_version().id() == before {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The next space; `None`: there will be none.
    fn next(&self, again: Option<Keyspace>) -> Option<Keyspace> {
        let mut state = self.lock();
        state.spaces.extend(again);
        while state.spaces.is_empty() && !state.closed {
            state = self.more.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.closed { None } else { Some(state.spaces.remove(0)) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
