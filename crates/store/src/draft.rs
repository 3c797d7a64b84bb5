//! One batch in the making: transactions are taken one after the other, each seeing what those before it have done.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;

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
    /// By space: which write is the last of a key.
    last: BTreeMap<u8, BTreeMap<Bytes, usize>>,
    /// Set while a transaction is taken that may turn out to be invalid: what its writes have covered.
    undo: Option<Vec<(u8, Bytes, Option<usize>)>>,
}

impl<'a> Draft<'a> {
    /// An empty batch behind `version`.
    pub(crate) fn new(engine: &'a dyn Engine, leases: &'a Held, bucket: u64, version: Version) -> Self {
        Self {
            engine,
            view: None,
            leases,
            bucket,
            began: version,
            version,
            batch: Batch::default(),
            last: BTreeMap::new(),
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

    fn get(&mut self, space: u8, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        match self.last.get(&space).and_then(|keys| keys.get(key)) {
            Some(at) => Ok(self.batch.writes[*at].value.clone()),
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
        let written = self.last.get(&space);
        let mut here = written.into_iter().flat_map(|keys| keys.range::<[u8], _>(range.bounds()));
        if here.any(|(_, at)| self.batch.writes[*at].value.is_some()) {
            return Ok(false);
        }
        let mut empty = true;
        view.scan(space, range, &mut |key, _| {
            // What this batch has written in the range, it has removed.
            if written.is_some_and(|keys| keys.contains_key(&key)) {
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
        // A weak removal answers to exactly one put below it: not to one that this batch covers.
        let covered = self.last.get(&space.id()).is_some_and(|keys| keys.contains_key(&key));
        self.write(space.id(), key, None, space.kind() == SpaceKind::WriteOnce && !covered);
    }

    fn write(&mut self, space: u8, key: Bytes, value: Option<Bytes>, weak: bool) {
        let at = self.batch.writes.len();
        let covered = self.last.entry(space).or_default().insert(key.clone(), at);
        if let Some(covered) = covered {
            self.batch.writes[covered].last = false;
        }
        if let Some(undo) = &mut self.undo {
            undo.push((space, key.clone(), covered));
        }
        self.batch.bytes += key.len() + value.as_ref().map_or(0, Bytes::len);
        self.batch.writes.push(Write { version: self.version, space, key, value, weak, last: true });
    }

    fn roll_back(&mut self, (version, writes, bytes): (Version, usize, usize)) {
        for (space, key, covered) in self.undo.take().into_iter().flatten().rev() {
            let keys = self.last.entry(space).or_default();
            match covered {
                None => drop(keys.remove(&key)),
                Some(at) => {
                    self.batch.writes[at].last = true;
                    keys.insert(key, at);
                }
            }
        }
        self.batch.writes.truncate(writes);
        self.batch.bytes = bytes;
        self.version = version;
    }
}
