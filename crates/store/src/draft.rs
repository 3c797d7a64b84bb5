//! One batch in the making: transactions are taken one after the other, each seeing what those before it have done.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher};
use std::ops::ControlFlow;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::engine::{Batch, Between, Engine, EngineError, View, Write};
use crate::error::CommitError;
use crate::lease::Held;
use crate::own;
use crate::space::{Space, SpaceKind};
use crate::txn::{Key, Op, Pre, Txn, Version};

/// A batch, and what it makes of the state below it.
pub(crate) struct Draft<'a> {
    engine: &'a dyn Engine,
    /// Taken when the first precondition asks for it: most batches ask for nothing.
    view: Option<Arc<dyn View>>,
    leases: &'a Held,
    /// The bucket of now, for identities of transactions.
    bucket: u64,
    /// Of the last transaction before.
    began: Version,
    version: Version,
    batch: Batch,
    index: &'a mut Index,
    /// Set while a transaction is taken that may turn out to be invalid: what its writes have covered.
    undo: Option<Vec<(u64, Option<usize>)>>,
}

/// Where the last write of each key is, by the digest of space and key; writes of the same digest are linked. Kept from one
/// batch to the next for its memory.
#[derive(Default)]
pub(crate) struct Index {
    last: HashMap<u64, usize, BuildHasherDefault<Digested>>,
    /// For each write, the one before it of the same digest.
    before: Vec<Option<usize>>,
}

/// Digests are spread already.
#[derive(Default)]
struct Digested(u64);

impl Hasher for Digested {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxh3_64_with_seed(bytes, self.0);
    }
    fn write_u64(&mut self, word: u64) {
        self.0 = word;
    }
}

/// Keys come from clients: whoever knows the seed could choose keys of one digest.
static SEED: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one(0));

impl Index {
    fn digest(space: u8, key: &[u8]) -> u64 {
        xxh3_64_with_seed(key, SEED.wrapping_add(u64::from(space)))
    }

    /// The last write of a key.
    fn find(&self, writes: &[Write], digest: u64, space: u8, key: &[u8]) -> Option<usize> {
        let mut at = self.last.get(&digest).copied();
        while let Some(place) = at {
            if writes[place].space == space && writes[place].key == key {
                break;
            }
            at = self.before[place];
        }
        at
    }
}

impl<'a> Draft<'a> {
    /// An empty batch behind `version`.
    pub(crate) fn new(
        engine: &'a dyn Engine,
        leases: &'a Held,
        index: &'a mut Index,
        bucket: u64,
        version: Version,
    ) -> Self {
        index.last.clear();
        index.before.clear();
        Self {
            engine,
            view: None,
            leases,
            bucket,
            began: version,
            version,
            batch: Batch::default(),
            index,
            undo: None,
        }
    }

    /// Takes a transaction, or says why not; then nothing is changed. The outer error is the engine's.
    pub(crate) fn take(&mut self, txn: Txn) -> Result<Result<Version, CommitError>, EngineError> {
        if let Some(id) = txn.id {
            for bucket in [self.bucket, self.bucket.wrapping_sub(1)] {
                let found = self.get(Space::OWN.id(), &own::transaction(bucket, id))?;
                if let Some(version) = found.and_then(|value| own::number(&value)) {
                    return Ok(Ok(Version(version)));
                }
            }
        }
        for (place, pre) in txn.pre.iter().enumerate() {
            if !self.holds(pre)? {
                return Ok(Err(CommitError::Conflict(place)));
            }
        }
        let before = (self.version, self.batch.writes.len(), self.batch.bytes);
        self.version.0 += 1;
        if txn.ops.iter().any(|op| matches!(op, Op::Add(..))) {
            self.undo = Some(Vec::new());
        }
        for op in txn.ops {
            if let Err(invalid) = self.perform(op)? {
                self.roll_back(before);
                return Ok(Err(CommitError::Invalid(invalid)));
            }
        }
        self.undo = None;
        if let Some(id) = txn.id {
            let version = Bytes::copy_from_slice(&self.version.0.to_be_bytes());
            self.put(Space::OWN, own::transaction(self.bucket, id).into(), version);
        }
        Ok(Ok(self.version))
    }

    /// Removes keys of a range, at most `limit`; answers where to go on if there may be more.
    pub(crate) fn remove(
        &mut self,
        space: Space,
        from: &[u8],
        to: Option<&[u8]>,
        limit: usize,
    ) -> Result<Option<Key>, EngineError> {
        let mut keys = Vec::new();
        let mut bytes = 0;
        self.view()?.scan(space.id(), Between::up(from, to), &mut |key, _| {
            bytes += key.len();
            keys.push(key);
            if keys.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        let next = keys.last().filter(|_| keys.len() == limit).map(|key| [key, &[0][..]].concat());
        if !keys.is_empty() {
            self.version.0 += 1;
        }
        for key in keys {
            self.delete(space, key);
        }
        Ok(next)
    }

    /// The finished batch and its version; `None` if there is nothing to write.
    pub(crate) fn finish(mut self) -> Option<(Batch, Version)> {
        // A transaction without operations is written too: its version was given out.
        if self.version == self.began {
            return None;
        }
        let version = self.version;
        self.put(
            Space::OWN,
            Bytes::from_static(own::VERSION),
            Bytes::copy_from_slice(&version.0.to_be_bytes()),
        );
        Some((self.batch, version))
    }

    fn view(&mut self) -> Result<&Arc<dyn View>, EngineError> {
        match &mut self.view {
            Some(view) => Ok(view),
            none => Ok(none.insert(self.engine.view()?)),
        }
    }

    /// The last write of a key in this batch.
    fn written(&self, space: u8, key: &[u8]) -> Option<usize> {
        if self.batch.writes.is_empty() {
            return None;
        }
        self.index.find(&self.batch.writes, Index::digest(space, key), space, key)
    }

    fn get(&mut self, space: u8, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        match self.written(space, key) {
            Some(at) => Ok(self.batch.writes[at].value.clone()),
            None => self.view()?.get(space, key),
        }
    }

    fn holds(&mut self, pre: &Pre) -> Result<bool, EngineError> {
        Ok(match pre {
            Pre::Absent(space, key) => self.get(space.id(), key)?.is_none(),
            Pre::Value(space, key, value) => self.get(space.id(), key)?.as_ref() == Some(value),
            Pre::RangeEmpty(space, from, to) => self.is_empty(space.id(), from, to)?,
            Pre::Fence(name, epoch) => self.leases.holds(name, *epoch),
        })
    }

    fn is_empty(&mut self, space: u8, from: &[u8], to: &[u8]) -> Result<bool, EngineError> {
        let range = Between::up(from, Some(to));
        if range.is_empty() {
            return Ok(true);
        }
        let view = Arc::clone(self.view()?);
        // A batch is short, and hardly anybody asks this.
        let mut here = self.batch.last_writes().filter(|write| write.space == space);
        if here.any(|write| write.value.is_some() && from <= &*write.key && &*write.key < to) {
            return Ok(false);
        }
        let mut empty = true;
        view.scan(space, range, &mut |key, _| {
            // What this batch has written in the range, it has removed.
            if self.written(space, &key).is_some() {
                return ControlFlow::Continue(());
            }
            empty = false;
            ControlFlow::Break(())
        })?;
        Ok(empty)
    }

    fn perform(&mut self, op: Op) -> Result<Result<(), &'static str>, EngineError> {
        match op {
            Op::Put(space, key, value) => self.put(space, key.into(), value),
            Op::Delete(space, key) => self.delete(space, key.into()),
            Op::PutAtVersion(space, mut key, suffix, value) => {
                key.extend(self.version.0.to_be_bytes());
                key.extend(suffix);
                self.put(space, key.into(), value);
            }
            Op::Add(space, key, by) => {
                let number = match self.get(space.id(), &key)? {
                    None => 0,
                    Some(value) => match <[u8; 8]>::try_from(&*value) {
                        Ok(bytes) => i64::from_be_bytes(bytes),
                        Err(_) => return Ok(Err("it adds to what is no number of eight bytes")),
                    },
                };
                let Some(sum) = number.checked_add(by) else {
                    return Ok(Err("its sum is larger than a number can be"));
                };
                self.put(space, key.into(), Bytes::copy_from_slice(&sum.to_be_bytes()));
            }
        }
        Ok(Ok(()))
    }

    fn put(&mut self, space: Space, key: Bytes, value: Bytes) {
        self.write(space.id(), key, Some(value), false);
    }

    fn delete(&mut self, space: Space, key: Bytes) {
        self.write(space.id(), key, None, space.kind() == SpaceKind::WriteOnce);
    }

    fn write(&mut self, space: u8, key: Bytes, value: Option<Bytes>, weak: bool) {
        let at = self.batch.writes.len();
        let digest = Index::digest(space, &key);
        let covered = self.index.find(&self.batch.writes, digest, space, &key);
        if let Some(covered) = covered {
            self.batch.writes[covered].last = false;
        }
        let before = self.index.last.insert(digest, at);
        self.index.before.push(before);
        if let Some(undo) = &mut self.undo {
            undo.push((digest, covered));
        }
        self.batch.bytes += key.len() + value.as_ref().map_or(0, Bytes::len);
        // A weak removal answers to exactly one put below it: not to one that this batch covers.
        let weak = weak && covered.is_none();
        self.batch.writes.push(Write { version: self.version, space, key, value, weak, last: true });
    }

    fn roll_back(&mut self, (version, writes, bytes): (Version, usize, usize)) {
        for (digest, covered) in self.undo.take().into_iter().flatten().rev() {
            match self.index.before.pop().flatten() {
                Some(before) => self.index.last.insert(digest, before),
                None => self.index.last.remove(&digest),
            };
            if let Some(covered) = covered {
                self.batch.writes[covered].last = true;
            }
        }
        self.batch.writes.truncate(writes);
        self.batch.bytes = bytes;
        self.version = version;
    }
}
