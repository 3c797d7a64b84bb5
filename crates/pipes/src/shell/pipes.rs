//! All queues of a store.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use store::{Op, Txn};

use super::check;
use super::inner::Inner;
use super::options::{Created, Declared};
use super::parcel::AROUND;
use super::queue::{Packed, Queue, keep_fresh};
use super::shard::Shard;
use crate::error::{CreateError, PipeError, SendError};
use crate::name::QueueName;
use crate::queue::core::Core;
use crate::queue::keys;
use crate::queue::message::{Outgoing, Sent};
use crate::queue::record::Entry;
use crate::queue::settings::Settings;
use crate::spaces;

/// All queues of a store. Cheap to clone.
#[derive(Clone)]
pub struct Pipes {
    pub(super) inner: Arc<Inner>,
}

impl Pipes {
    /// Makes a queue, unless it is there with the same settings.
    pub async fn create_queue(
        &self,
        name: QueueName,
        settings: Settings,
        tags: BTreeMap<String, String>,
        declared: Declared,
    ) -> Result<Created, CreateError> {
        let tag_bytes: usize = tags.iter().map(|(key, value)| key.len() + value.len() + 8).sum();
        let admission = self.inner.admit(check::entry_bytes(&settings) + tag_bytes)?;
        let (created, commit) = {
            let mut registry = self.inner.change_registry();
            if let Some(there) = registry.by_name.get(&name) {
                if let Some(what) = check::difference(&there.settings(), &settings) {
                    return Err(CreateError::Differs { what });
                }
                // Whoever made it may still wait for the disk.
                (Created::Existed, self.inner.submit(admission, Vec::new()))
            } else {
                if registry.by_name.len() >= self.inner.limits.queues {
                    return Err(CreateError::TooMany(self.inner.limits.queues));
                }
                check::settings(&name, &settings, &registry)?;
                let number = registry.next_number;
                registry.next_number += 1;
                let now = self.inner.now();
                let in_file = declared == Declared::InFile;
                let entry = Entry { number, created_at: now, changed_at: now, in_file, settings, tags };
                let key = keys::registry(keys::QUEUES, name.as_str().as_bytes());
                let next = Vec::from(registry.next_number.to_be_bytes());
                let ops = vec![
                    Op::Put(spaces::REGISTRY, key, entry.encode()),
                    Op::Put(spaces::REGISTRY, keys::NEXT_NUMBER.to_vec(), next.into()),
                ];
                let settings = Arc::new(entry.settings.clone());
                let bounds = Inner::bounds(&self.inner.limits, &settings);
                registry.link(&name, None, Some(&settings));
                let core = Core::new(number, settings, bounds, None);
                let shard = Arc::new(Shard::new(name.clone(), entry, core));
                registry.by_name.insert(name.clone(), shard);
                // Those that had nowhere to send their dead letters to may do so now.
                for source in registry.sources.get(&name).into_iter().flatten() {
                    if let Some(source) = registry.by_name.get(source) {
                        source.look().core.dead_letters_may_leave();
                    }
                }
                (Created::New, self.inner.submit(admission, ops))
            }
        };
        self.inner.durable(commit).await?;
        Ok(created)
    }

    /// A queue by its name.
    pub fn queue(&self, name: &QueueName) -> Option<Queue> {
        self.inner.shard(name).map(|shard| Queue { inner: Arc::clone(&self.inner), shard })
    }

    /// Names of queues in their order, those that nobody can name left out: at most `limit`, behind `after`.
    pub fn queues(&self, prefix: &str, after: Option<&QueueName>, limit: usize) -> Vec<QueueName> {
        let registry = self.inner.registry();
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let names = registry.by_name.range::<QueueName, _>((from, Bound::Unbounded)).map(|(name, _)| name);
        // Names with the prefix follow each other.
        let skipped = names.skip_while(|name| name.as_str() < prefix);
        let of_prefix = skipped.take_while(|name| name.as_str().starts_with(prefix));
        of_prefix.filter(|name| !name.is_internal()).take(limit).cloned().collect()
    }

    /// Deletes a queue with all its messages. What they took on disk is given back in the background.
    pub async fn delete_queue(&self, name: &QueueName) -> Result<(), PipeError> {
        let admission = self.inner.admit(AROUND)?;
        let commit = {
            let mut registry = self.inner.change_registry();
            let shard = registry.by_name.get(name).cloned();
            let shard = shard.ok_or_else(|| PipeError::NoSuchQueue(name.clone()))?;
            let mut state = shard.lock()?;
            state.gone = true;
            state.waiters.call_all();
            state.fresh.clear(&self.inner.fresh);
            registry.by_name.remove(name);
            registry.link(name, Some(state.core.settings()), None);
            let ops = vec![
                Op::Delete(spaces::REGISTRY, keys::registry(keys::QUEUES, name.as_str().as_bytes())),
                Op::Put(
                    spaces::REGISTRY,
                    keys::registry(keys::DROPS, &shard.number.to_be_bytes()),
                    "".into(),
                ),
            ];
            let commit = self.inner.submit(admission, ops);
            self.inner.work.add(&shard);
            commit
        };
        self.inner.durable(commit).await
    }

    /// Sends to several queues in one transaction: either everything that is taken is there, or nothing.
    pub async fn send_all(
        &self,
        parts: Vec<(QueueName, Vec<Outgoing>)>,
    ) -> Result<Vec<Vec<Result<Sent, SendError>>>, PipeError> {
        self.send_all_with(parts, 0, |_| Vec::new()).await
    }

    /// The same with whatever else belongs into the transaction, of at most so many bytes. `also` is told of each message
    /// whether it is taken; it is not asked where nothing is.
    pub(crate) async fn send_all_with(
        &self,
        parts: Vec<(QueueName, Vec<Outgoing>)>,
        also_bytes: usize,
        also: impl FnOnce(&[Vec<bool>]) -> Vec<Op> + Send,
    ) -> Result<Vec<Vec<Result<Sent, SendError>>>, PipeError> {
        let now = self.inner.now();
        let mut packed = Vec::with_capacity(parts.len());
        for (name, messages) in parts {
            let shard = self.inner.shard(&name).ok_or(PipeError::NoSuchQueue(name))?;
            let settings = shard.settings();
            packed.push((shard, settings.fifo.is_some(), Packed::new(messages, &settings, now)));
        }
        let bytes: usize = also_bytes + packed.iter().map(|(_, _, part)| part.bytes).sum::<usize>();
        let parcels: usize = packed.iter().map(|(_, _, part)| part.parcels.len() + 1).sum();
        if bytes > Txn::MOST_BYTES || parcels * 4 > Txn::MOST_PARTS {
            return Ok(packed
                .into_iter()
                .map(|(_, _, part)| part.refused(&SendError::TooMuchAtOnce))
                .collect());
        }
        let admission = self.inner.admit(bytes)?;
        let mut taken = Vec::with_capacity(packed.len());
        let commit = {
            let shards: Vec<&Arc<Shard>> = packed.iter().map(|(shard, _, _)| shard).collect();
            let mut locked = Locked::of(&shards)?;
            let now = self.inner.now();
            let mut ops = Vec::new();
            let mut wakes = BTreeMap::new();
            for (shard, _, part) in &packed {
                let state = locked.state(shard);
                let decision = state.core.send(&part.parcels, now);
                keep_fresh(&self.inner, state, &part.parcels, &decision, now);
                *wakes.entry(shard.number).or_insert(0) += decision.wake;
                ops.extend(decision.ops);
                taken.push(decision.reply);
            }
            let told: Vec<_> =
                packed.iter().zip(&taken).map(|((_, _, part), taken)| part.ok(taken)).collect();
            ops.extend(also(&told));
            let commit = self.inner.submit(admission, ops);
            locked.settle(&self.inner, &wakes, now);
            commit
        };
        self.inner.durable(commit).await?;
        let told = packed.into_iter().zip(taken).map(|((_, fifo, part), taken)| part.told(taken, fifo));
        Ok(told.collect())
    }

    /// Queues that send their dead letters to this one, in order.
    pub fn dead_letter_sources(&self, of: &QueueName) -> Vec<QueueName> {
        self.inner.registry().sources.get(of).into_iter().flatten().cloned().collect()
    }
}

/// Several queues, locked in the order of their numbers, so that two who want the same never wait for each other.
pub(super) struct Locked<'a> {
    shards: Vec<(&'a Arc<Shard>, std::sync::MutexGuard<'a, super::shard::State>)>,
}

impl<'a> Locked<'a> {
    /// Locks them; one that is named twice, once.
    pub(super) fn of(shards: &[&'a Arc<Shard>]) -> Result<Self, PipeError> {
        let mut shards = shards.to_vec();
        shards.sort_unstable_by_key(|shard| shard.number);
        shards.dedup_by_key(|shard| shard.number);
        let locked = shards.into_iter().map(|shard| Ok((shard, shard.lock()?)));
        Ok(Self { shards: locked.collect::<Result<_, PipeError>>()? })
    }

    /// The state of one of them.
    pub(super) fn state(&mut self, shard: &Shard) -> &mut super::shard::State {
        let at = self.shards.partition_point(|(other, _)| other.number < shard.number);
        &mut self.shards[at].1
    }

    /// After a change of all of them.
    pub(super) fn settle(&mut self, inner: &Inner, wakes: &BTreeMap<u32, usize>, now: kit::Timestamp) {
        for (shard, state) in &mut self.shards {
            state.dirty_since.get_or_insert(now);
            inner.settle(shard, state, wakes.get(&shard.number).copied().unwrap_or(0));
        }
    }
}
