//! The engine without a disk: ordered maps that keep as many versions of a value as open views need. What a file would be
//! is a [`Disk`], which outlives the store, so that a test can open it again after a fault.

use std::collections::{BTreeMap, VecDeque};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

use super::{Batch, Between, Engine, EngineError, View, Visitor};
use crate::space::SpaceKind;

/// Keys that a commit looks at again, beyond twice as many as it makes, to forget values that no view needs any more.
const SWEPT: usize = 256;

/// What stands in for a disk. Clones are the same disk. One store at a time may have it open.
#[derive(Clone, Debug, Default)]
pub struct Disk(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    state: RwLock<State>,
    /// Which view looks at which sequence, counted.
    views: Mutex<BTreeMap<u64, usize>>,
    plan: Mutex<Plan>,
    open: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    sequence: u64,
    spaces: BTreeMap<u8, BTreeMap<Bytes, Chain>>,
    /// Keys with values that some view needed when they were replaced.
    stale: VecDeque<(u8, Bytes)>,
}

/// Values of a key by the sequence of their commit, the oldest first.
type Chain = Vec<(u64, Option<Bytes>)>;

#[derive(Debug, Default)]
struct Plan {
    /// After so many commits that go well.
    fault: Option<(u64, Fault)>,
    failed: bool,
    /// What a faulty write has left: read when the disk is opened again.
    tail: Vec<u8>,
}

/// What can go wrong with a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is written.
    Write,
    /// The disk is full: nothing is written.
    Full,
    /// Half of the batch is written.
    Short,
    /// All of the batch has its place, but some of it is not what was written.
    Torn,
    /// The batch is written, the sync fails. Whether it is there afterwards is said here.
    Sync {
        /// It is.
        kept: bool,
    },
}

impl Disk {
    /// An empty disk without faults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Plans a fault: so many commits go well, the next does not, and none after it until the disk is opened again.
    pub fn fail_after(&self, commits: u64, fault: Fault) {
        locked(&self.0.plan).fault = Some((commits, fault));
    }

    /// Whether a planned fault has come about.
    pub fn has_failed(&self) -> bool {
        locked(&self.0.plan).failed
    }

    fn state(&self) -> RwLockReadGuard<'_, State> {
        self.0.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn state_mut(&self) -> RwLockWriteGuard<'_, State> {
        self.0.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first sequence that a view still looks at.
    fn oldest_view(&self) -> Option<u64> {
        locked(&self.0.views).keys().next().copied()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A disk that is open.
pub(crate) struct Memory(Disk);

impl Memory {
    /// `None`: another store has it open.
    pub(crate) fn open(disk: Disk) -> Option<Self> {
        if disk.0.open.swap(true, Ordering::AcqRel) {
            return None;
        }
        let tail = {
            let mut plan = locked(&disk.0.plan);
            plan.failed = false;
            std::mem::take(&mut plan.tail)
        };
        if let Some(writes) = decode(&tail) {
            apply(&disk, writes);
        }
        Some(Self(disk))
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.0.0.open.store(false, Ordering::Release);
    }
}

impl Engine for Memory {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn open_space(&mut self, id: u8, _: SpaceKind) -> Result<(), EngineError> {
        self.0.state_mut().spaces.entry(id).or_default();
        Ok(())
    }

    fn commit(&self, batch: &Batch) -> Result<(), EngineError> {
        let mut plan = locked(&self.0.0.plan);
        if plan.failed {
            return Err(EngineError::new("write", "the disk has failed before"));
        }
        match &mut plan.fault {
            Some((0, fault)) => {
                let fault = *fault;
                plan.fault = None;
                plan.failed = true;
                return Err(plan.fail(fault, batch));
            }
            Some((left, _)) => *left -= 1,
            None => {}
        }
        drop(plan);
        let writes = batch.last_writes();
        apply(&self.0, writes.map(|write| (write.space, write.key.clone(), write.value.clone())));
        Ok(())
    }

    fn view(&self) -> Result<Arc<dyn View>, EngineError> {
        let state = self.0.state();
        let sequence = state.sequence;
        *locked(&self.0.0.views).entry(sequence).or_default() += 1;
        drop(state);
        Ok(Arc::new(Seen { disk: self.0.clone(), sequence }))
    }

    fn reads_block(&self) -> bool {
        false
    }

    fn disk_bytes(&self) -> u64 {
        0
    }
}

impl Plan {
    fn fail(&mut self, fault: Fault, batch: &Batch) -> EngineError {
        let mut record = encode(batch);
        match fault {
            Fault::Write => return EngineError::new("write", "injected fault"),
            Fault::Full => return EngineError::new("write", "no space left on the disk"),
            Fault::Short => record.truncate(record.len() / 2),
            Fault::Torn => {
                let middle = record.len() / 2;
                record[middle] ^= 0xff;
            }
            Fault::Sync { kept: false } => record.clear(),
            Fault::Sync { kept: true } => {}
        }
        self.tail = record;
        match fault {
            Fault::Sync { .. } => EngineError::new("sync", "injected fault"),
            _ => EngineError::new("write", "injected fault"),
        }
    }
}

fn apply(disk: &Disk, writes: impl IntoIterator<Item = (u8, Bytes, Option<Bytes>)>) {
    let mut state = disk.state_mut();
    // A view that comes from now on has to wait for the state: it will see this commit.
    let oldest = disk.oldest_view();
    let state = &mut *state;
    state.sequence += 1;
    let sequence = state.sequence;
    let mut count = 0;
    for (space, key, value) in writes {
        let keys = state.spaces.entry(space).or_default();
        match (oldest, value) {
            (None, None) => {
                keys.remove(&key);
            }
            (None, Some(value)) => {
                keys.insert(key, vec![(sequence, Some(value))]);
            }
            (Some(_), value) => {
                keys.entry(key.clone()).or_default().push((sequence, value));
                state.stale.push_back((space, key));
                count += 1;
            }
        }
    }
    for _ in 0..SWEPT + 2 * count {
        let Some((space, key)) = state.stale.pop_front() else { break };
        if let Some(chain) = state.spaces.get_mut(&space).and_then(|keys| keys.get_mut(&key)) {
            // What the oldest view sees, and all after it.
            let needed = oldest.unwrap_or(sequence);
            let first = chain.iter().rposition(|(at, _)| *at <= needed).unwrap_or(0);
            chain.drain(..first);
            if chain.len() == 1 && chain[0].1.is_none() && chain[0].0 <= needed {
                state.spaces.entry(space).or_default().remove(&key);
            } else if chain.len() > 1 || chain[0].1.is_none() {
                state.stale.push_back((space, key));
            }
        }
    }
}

struct Seen {
    disk: Disk,
    sequence: u64,
}

impl Seen {
    fn value<'a>(&self, chain: &'a Chain) -> Option<&'a Bytes> {
        chain.iter().rev().find(|(at, _)| *at <= self.sequence).and_then(|(_, value)| value.as_ref())
    }
}

impl View for Seen {
    fn get(&self, space: u8, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        let state = self.disk.state();
        let keys = state.spaces.get(&space).ok_or_else(|| EngineError::no_space(space))?;
        Ok(keys.get(key).and_then(|chain| self.value(chain)).cloned())
    }

    fn scan(&self, space: u8, range: Between<'_>, visit: Visitor<'_>) -> Result<(), EngineError> {
        if range.is_empty() {
            return Ok(());
        }
        let state = self.disk.state();
        let keys = state.spaces.get(&space).ok_or_else(|| EngineError::no_space(space))?;
        let mut found = keys.range::<[u8], _>(range.bounds());
        while let Some((key, chain)) = if range.reverse { found.next_back() } else { found.next() } {
            let Some(value) = self.value(chain) else { continue };
            if let ControlFlow::Break(()) = visit(key.clone(), value.clone()) {
                break;
            }
        }
        Ok(())
    }
}

impl Drop for Seen {
    fn drop(&mut self) {
        let mut views = locked(&self.disk.0.views);
        if let Some(count) = views.get_mut(&self.sequence) {
            *count -= 1;
            if *count == 0 {
                views.remove(&self.sequence);
            }
        }
    }
}

/// A record as a log would have it: what a short or torn write leaves can be told from a whole one.
fn encode(batch: &Batch) -> Vec<u8> {
    let mut record = Vec::with_capacity(batch.bytes + 64);
    for write in batch.last_writes() {
        record.push(write.space);
        record.extend((write.key.len() as u64).to_be_bytes());
        record.extend(&*write.key);
        match &write.value {
            None => record.extend(u64::MAX.to_be_bytes()),
            Some(value) => {
                record.extend((value.len() as u64).to_be_bytes());
                record.extend(&**value);
            }
        }
    }
    record.extend(xxh3_64(&record).to_be_bytes());
    record
}

/// The writes of a whole record; `None` if it is not whole.
fn decode(record: &[u8]) -> Option<Vec<(u8, Bytes, Option<Bytes>)>> {
    let (mut rest, sum) = record.split_last_chunk::<8>()?;
    if xxh3_64(rest) != u64::from_be_bytes(*sum) {
        return None;
    }
    let mut writes = Vec::new();
    while let Some((space, after)) = rest.split_first() {
        let (key, after) = sized(after)?;
        let (value, after) = sized(after)?;
        writes.push((*space, Bytes::copy_from_slice(key?), value.map(Bytes::copy_from_slice)));
        rest = after;
    }
    Some(writes)
}

fn sized(bytes: &[u8]) -> Option<(Option<&[u8]>, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<8>()?;
    match u64::from_be_bytes(*length) {
        u64::MAX => Some((None, rest)),
        length => {
            let (value, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
            Some((Some(value), rest))
        }
    }
}
