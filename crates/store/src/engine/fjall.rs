//! The default engine: a log-structured tree per space behind one journal.

mod compactor;
mod reaper;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ::fjall::{AbstractTree, Database, Keyspace, KeyspaceCreateOptions, PersistMode, Readable, Slice};
use bytes::Bytes;

use super::{Batch, Between, Engine, EngineError, View, Visitor};
use crate::share::Share;
use crate::space::SpaceKind;

use compactor::Compactor;
use reaper::{Memtable, Reaper};

/// Threads that flush. With a second one they would compact too, and the first would spin meanwhile: see [`compactor`].
const WORKERS: usize = 1;
/// Bytes of sealed journals before a space that holds up the oldest is flushed. All of them are read at the next opening.
const JOURNAL_BYTES: u64 = 384 * 1024 * 1024;
/// Bytes that are written between two looks at memtables and tables: each look takes a lock of every space.
const LOOK_BYTES: u64 = 1024 * 1024;
/// The engine stops for tenths of a second at four sealed memtables of a space, and spins from twenty runs on: wait a little
/// earlier instead, and more the nearer it is.
const SEALED_BEFORE_PACE: usize = 1;
const RUNS_BEFORE_PACE: usize = 10;

pub(crate) struct Fjall {
    compactor: Compactor,
    reaper: Reaper,
    database: Database,
    /// By number.
    spaces: Arc<BTreeMap<u8, Arc<Opened>>>,
    share: Share,
    /// Bytes written since the last look.
    unseen: AtomicU64,
    /// What the next batch had better wait, in microseconds, as of the last look.
    pause: AtomicU64,
}

struct Opened {
    keyspace: Keyspace,
    memtable_bytes: u64,
    /// Tables at the last look: others are there since something was flushed or merged.
    tables: AtomicUsize,
    /// What was written to at the last look.
    active: Mutex<Memtable>,
}

impl Fjall {
    /// Opens a database, or makes one. Its journals have been looked at before: see [`crate::journal`].
    pub(crate) fn open(directory: &Path, share: Share) -> Result<Self, EngineError> {
        let database = Database::builder(directory)
            .cache_size(share.cache_bytes)
            .max_journaling_size(JOURNAL_BYTES)
            .worker_threads(WORKERS)
            // Every batch says itself that it is to be synced.
            .manual_journal_persist(true)
            .open()
            .map_err(|error| EngineError::new("open the database", describe(&error)))?;
        Ok(Self {
            compactor: Compactor::start(&database)?,
            reaper: Reaper::start()?,
            database,
            spaces: Arc::default(),
            share,
            unseen: AtomicU64::new(0),
            pause: AtomicU64::new(0),
        })
    }

    fn keyspace(&self, id: u8) -> Result<&Opened, EngineError> {
        self.spaces.get(&id).map(|space| &**space).ok_or_else(|| EngineError::no_space(id))
    }

    /// Looks after memtables and tables, once there is something to see.
    fn look(&self, written: u64) -> Result<(), EngineError> {
        let unseen = self.unseen.fetch_add(written, Ordering::Relaxed) + written;
        if unseen < LOOK_BYTES && self.pause.load(Ordering::Relaxed) == 0 {
            return Ok(());
        }
        self.unseen.store(0, Ordering::Relaxed);
        self.seal()?;
        let mut pause = Duration::ZERO;
        for space in self.spaces.values() {
            let tables = space.keyspace.table_count();
            if space.tables.swap(tables, Ordering::Relaxed) != tables {
                self.compactor.look_through(&space.keyspace)?;
            }
            pause = pause.max(space.pause());
            let active: Memtable = space.keyspace.tree.active_memtable();
            let mut before = space.active.lock().unwrap_or_else(PoisonError::into_inner);
            if !Arc::ptr_eq(&before, &active) {
                self.reaper.hold(std::mem::replace(&mut before, active));
            }
        }
        self.reaper.free();
        self.pause.store(u64::try_from(pause.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
        Ok(())
    }

    /// Seals memtables that are larger than the share of memory allows. What the engine itself goes by was fixed when the
    /// space was made, and may have been on a larger machine.
    fn seal(&self) -> Result<(), EngineError> {
        for space in self.spaces.values() {
            if space.keyspace.tree.active_memtable().size() > space.memtable_bytes {
                space.seal()?;
            }
        }
        if self.database.write_buffer_size() > self.share.write_buffer_bytes {
            let largest =
                self.spaces.values().max_by_key(|space| space.keyspace.tree.active_memtable().size());
            if let Some(space) = largest.filter(|space| space.keyspace.sealed_memtable_count() == 0) {
                space.seal()?;
            }
        }
        Ok(())
    }
}

impl Opened {
    /// How long a batch had better wait for what is flushed and compacted.
    fn pause(&self) -> Duration {
        let sealed = self.keyspace.sealed_memtable_count().saturating_sub(SEALED_BEFORE_PACE);
        // 2, 8, 32 ms.
        let flush =
            if sealed > 0 { Duration::from_micros(500 << (2 * sealed.min(4))) } else { Duration::ZERO };
        let runs = self.keyspace.tree.l0_run_count().saturating_sub(RUNS_BEFORE_PACE);
        flush.max(Duration::from_micros(200) * u32::try_from(runs).unwrap_or(u32::MAX))
    }

    fn seal(&self) -> Result<(), EngineError> {
        self.keyspace
            .rotate_memtable()
            .map(drop)
            .map_err(|error| EngineError::new("seal a memtable", describe(&error)))
    }
}

impl Engine for Fjall {
    fn name(&self) -> &'static str {
        "fjall"
    }

    fn open_space(&mut self, id: u8, kind: SpaceKind) -> Result<(), EngineError> {
        let memtable_bytes = self.share.memtable_bytes(kind);
        let settings = || {
            let settings = KeyspaceCreateOptions::default()
                .manual_journal_persist(true)
                .compaction_strategy(compactor::idle())
                // `seal` goes by the share of memory; this is only what no machine exceeds.
                .max_memtable_size(Share::MOST_MEMTABLE_BYTES);
            match kind {
                // What is asked for is nearly always there: filters of the last level would be memory for nothing.
                SpaceKind::WriteOnce => settings.expect_point_read_hits(true),
                SpaceKind::Rewritten | SpaceKind::Quiet => settings,
            }
        };
        let keyspace = self
            .database
            .keyspace(&format!("s{id}"), settings)
            .map_err(|error| EngineError::new("open a space", describe(&error)))?;
        let mut spaces = BTreeMap::clone(&self.spaces);
        // What an earlier life has left to be compacted is looked through at the first look.
        let tables = AtomicUsize::new(0);
        let active: Memtable = keyspace.tree.active_memtable();
        let active = Mutex::new(active);
        spaces.insert(id, Arc::new(Opened { keyspace, memtable_bytes, tables, active }));
        self.spaces = Arc::new(spaces);
        Ok(())
    }

    fn commit(&self, batch: &Batch) -> Result<(), EngineError> {
        // The batch is synced before it is applied: what is not on disk is not seen.
        let mut writes = ::fjall::OwnedWriteBatch::with_capacity(self.database.clone(), batch.writes.len())
            .durability(Some(PersistMode::SyncData));
        for write in batch.last_writes() {
            let keyspace = &self.keyspace(write.space)?.keyspace;
            let key = Slice::from(write.key.clone());
            match &write.value {
                Some(value) => writes.insert(keyspace, key, Slice::from(value.clone())),
                None if write.weak => writes.remove_weak(keyspace, key),
                None => writes.remove(keyspace, key),
            }
        }
        writes.commit().map_err(|error| EngineError::new("write a batch", describe(&error)))?;
        self.look(batch.bytes as u64)
    }

    fn view(&self) -> Result<Arc<dyn View>, EngineError> {
        Ok(Arc::new(Seen { snapshot: self.database.snapshot(), spaces: Arc::clone(&self.spaces) }))
    }

    fn pace(&self) -> Duration {
        Duration::from_micros(self.pause.load(Ordering::Relaxed))
    }

    fn disk_bytes(&self) -> u64 {
        self.database.disk_space().unwrap_or_default()
    }
}

struct Seen {
    snapshot: ::fjall::Snapshot,
    spaces: Arc<BTreeMap<u8, Arc<Opened>>>,
}

impl Seen {
    fn keyspace(&self, id: u8) -> Result<&Keyspace, EngineError> {
        self.spaces.get(&id).map(|space| &space.keyspace).ok_or_else(|| EngineError::no_space(id))
    }
}

impl View for Seen {
    fn get(&self, space: u8, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        let value = self.snapshot.get(self.keyspace(space)?, key);
        let value = value.map_err(|error| EngineError::new("read a key", describe(&error)))?;
        Ok(value.map(Bytes::from))
    }

    fn scan(&self, space: u8, range: Between<'_>, visit: Visitor<'_>) -> Result<(), EngineError> {
        if range.is_empty() {
            return Ok(());
        }
        let mut found = self.snapshot.range::<&[u8], _>(self.keyspace(space)?, range.bounds());
        while let Some(guard) = if range.reverse { found.next_back() } else { found.next() } {
            let (key, value) =
                guard.into_inner().map_err(|error| EngineError::new("read a range", describe(&error)))?;
            if let ControlFlow::Break(()) = visit(Bytes::from(key), Bytes::from(value)) {
                break;
            }
        }
        Ok(())
    }
}

/// The engine's own words are the names of its types: at least say what the system said.
fn describe(error: &::fjall::Error) -> String {
    match error {
        ::fjall::Error::Io(error) => error.to_string(),
        ::fjall::Error::Storage(::fjall::LsmError::Io(error)) => error.to_string(),
        ::fjall::Error::Locked => "another process has it open".to_owned(),
        ::fjall::Error::Poisoned => "it has failed before".to_owned(),
        other => format!("{other:?}"),
    }
}
