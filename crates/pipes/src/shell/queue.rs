//! One queue, as everybody else sees it. How it is received from is in `receive`.

use std::collections::BTreeMap;
use std::sync::Arc;

use kit::Timestamp;
use store::{Op, Txn};

use super::check;
use super::inner::Inner;
use super::options::{Counts, Declared};
use super::parcel::{AROUND, deliver, pack, uuid};
use super::shard::Shard;
use crate::error::{PipeError, PurgeError, ReceiptError, SendError, SetError};
use crate::name::QueueName;
use crate::queue::core::{Decision, Parcel, Refusal, Taken, Taker};
use crate::queue::keys;
use crate::queue::message::{Delivery, Outgoing, Sent};
use crate::queue::receipt::Receipt;
use crate::queue::settings::Settings;
use crate::spaces;

/// One queue. Cheap to clone.
#[derive(Clone)]
pub struct Queue {
    pub(super) inner: Arc<Inner>,
    pub(super) shard: Arc<Shard>,
}

impl Queue {
    /// Its name.
    pub fn name(&self) -> &QueueName {
        &self.shard.name
    }

    /// Its settings.
    pub fn settings(&self) -> Arc<Settings> {
        self.shard.settings()
    }

    /// Its tags.
    pub fn tags(&self) -> BTreeMap<String, String> {
        BTreeMap::clone(&self.shard.look().tags)
    }

    /// When it was made.
    pub fn created_at(&self) -> Timestamp {
        self.shard.created_at
    }

    /// When its settings were changed last.
    pub fn changed_at(&self) -> Timestamp {
        self.shard.look().changed_at
    }

    /// Where it comes from.
    pub fn declared(&self) -> Declared {
        self.shard.declared
    }

    /// How many messages it has.
    pub fn counts(&self) -> Counts {
        let mut state = self.shard.look();
        let wake = state.core.pass(self.inner.now());
        self.inner.settle(&self.shard, &mut state, wake);
        let [sent, received, deleted] = state.core.counters();
        let oldest = state.core.oldest_second().map(|second| u64::from(second) * 1_000_000);
        Counts {
            visible: state.core.visible(),
            in_flight: state.core.in_flight(),
            delayed: state.core.delayed(),
            oldest_sent_at: oldest.map(Timestamp::from_micros),
            sent,
            received,
            deleted,
        }
    }

    /// Changes its settings. Messages that are there keep the delay they were sent with.
    pub async fn set(&self, settings: Settings) -> Result<(), SetError> {
        let admission = self.inner.admit(check::entry_bytes(&settings))?;
        let commit = {
            let mut registry = self.inner.change_registry();
            check::settings(&self.shard.name, &settings, &registry)?;
            let mut state = self.shard.lock()?;
            let now = self.inner.now();
            let wake = state.core.pass(now);
            registry.link(&self.shard.name, Some(state.core.settings()), Some(&settings));
            state.core.set(Arc::new(settings));
            state.changed_at = now;
            let commit = self.inner.submit(admission, vec![self.put_entry(&state)]);
            self.inner.settle(&self.shard, &mut state, wake);
            commit
        };
        Ok(self.inner.durable(commit).await?)
    }

    /// Changes its tags: these are all it has from now on.
    pub async fn set_tags(&self, tags: BTreeMap<String, String>) -> Result<(), PipeError> {
        let bytes: usize = tags.iter().map(|(key, value)| key.len() + value.len() + 8).sum();
        let admission = self.inner.admit(bytes + check::entry_bytes(&self.settings()))?;
        let commit = {
            let mut state = self.shard.lock()?;
            state.tags = Arc::new(tags);
            self.inner.submit(admission, vec![self.put_entry(&state)])
        };
        self.inner.durable(commit).await
    }

    fn put_entry(&self, state: &super::shard::State) -> Op {
        let key = keys::registry(keys::QUEUES, self.shard.name.as_str().as_bytes());
        Op::Put(spaces::REGISTRY, key, self.shard.entry(state).encode())
    }

    /// Sends messages, all in one transaction: those that are taken are all there, or none.
    pub async fn send(&self, messages: Vec<Outgoing>) -> Result<Vec<Result<Sent, SendError>>, PipeError> {
        let settings = self.settings();
        let packed = Packed::new(messages, &settings, self.inner.now());
        if packed.bytes > Txn::MOST_BYTES || packed.parcels.len() * 4 > Txn::MOST_PARTS {
            return Ok(packed.refused(&SendError::TooMuchAtOnce));
        }
        let admission = self.inner.admit(packed.bytes)?;
        let (commit, taken) = {
            let mut state = self.shard.lock()?;
            let now = self.inner.now();
            let decision = state.core.send(&packed.parcels, now);
            keep_fresh(&self.inner, &mut state, &packed.parcels, &decision, now);
            self.inner.follow(&self.shard, &mut state, admission, decision, now)
        };
        if let Some(commit) = commit {
            self.inner.durable(commit).await?;
        }
        Ok(packed.told(taken, settings.fifo.is_some()))
    }

    /// Deletes messages. One that is gone already is deleted; one that somebody else holds by now is not.
    pub async fn delete(&self, receipts: Vec<Receipt>) -> Result<Vec<Result<(), ReceiptError>>, PipeError> {
        self.change(receipts.len(), |core, now| core.delete(&receipts, now)).await
    }

    /// Changes for how long messages are hidden, from now on, in seconds; with 0 they are back at once.
    pub async fn change_visibility(
        &self,
        changes: Vec<(Receipt, u32)>,
    ) -> Result<Vec<Result<(), ReceiptError>>, PipeError> {
        self.change(changes.len(), |core, now| core.change_visibility(&changes, now)).await
    }

    /// Gives messages back that nobody has seen, as if they had not been received.
    pub async fn hand_back(&self, receipts: &[Receipt]) -> Result<(), PipeError> {
        self.change(receipts.len(), |core, now| {
            let taken = |receipt: &Receipt| Taken {
                sequence: receipt.sequence,
                receives: receipt.receives,
                first_at: now,
            };
            core.hand_back(&receipts.iter().map(taken).collect::<Vec<_>>(), now)
        })
        .await
    }

    async fn change<T>(
        &self,
        messages: usize,
        decide: impl FnOnce(&mut crate::queue::core::Core, Timestamp) -> Decision<T>,
    ) -> Result<T, PipeError> {
        let admission = self.inner.admit(messages * AROUND)?;
        let (commit, told) = {
            let mut state = self.shard.lock()?;
            let now = self.inner.now();
            let decision = decide(&mut state.core, now);
            self.inner.follow(&self.shard, &mut state, admission, decision, now)
        };
        if let Some(commit) = commit {
            self.inner.durable(commit).await?;
        }
        Ok(told)
    }

    /// Removes every message that was sent so far. What they took on disk is given back in the background.
    pub async fn purge(&self) -> Result<(), PurgeError> {
        let admission = self.inner.admit(AROUND)?;
        let commit = {
            let mut state = self.shard.lock()?;
            let now = self.inner.now();
            let decision = state.core.purge(now).map_err(|_| PurgeError::InProgress)?;
            state.fresh.clear(&self.inner.fresh);
            self.inner.follow(&self.shard, &mut state, admission, decision, now).0
        };
        if let Some(commit) = commit {
            self.inner.durable(commit).await?;
        }
        Ok(())
    }

    /// Looks at messages that could be received; changes nothing.
    pub async fn peek(&self, limit: usize) -> Result<Vec<Delivery>, PipeError> {
        // What is looked at has to be on disk: it is told of.
        self.inner.barrier().await?;
        let (peeked, fifo) = {
            let mut state = self.shard.lock()?;
            let decision = state.core.peek(limit, self.inner.now());
            self.inner.settle(&self.shard, &mut state, decision.wake);
            (decision.reply, state.core.settings().fifo.is_some())
        };
        let snapshot = self.inner.store.snapshot()?;
        let mut deliveries = Vec::with_capacity(peeked.len());
        for one in peeked {
            let key = keys::message(self.shard.number, one.sequence);
            // Gone meanwhile, or sent after the barrier.
            let Some(record) = snapshot.get(spaces::BODY, &key).await? else { continue };
            let receipt =
                Receipt { shard: self.shard.number, sequence: one.sequence, receives: one.receives };
            match deliver(&record, receipt, one.first_at, self.inner.now(), fifo) {
                Ok(delivery) => deliveries.push(delivery),
                Err(error) => tracing::error!(queue = %self.shard.name, sequence = one.sequence, "{error}"),
            }
        }
        Ok(deliveries)
    }

    /// A receipt as text.
    pub fn receipt_text(&self, receipt: &Receipt) -> String {
        self.inner.receipts.seal(receipt)
    }

    /// A receipt from its text, if it was made here, for this queue.
    pub fn parse_receipt(&self, text: &str) -> Result<Receipt, ReceiptError> {
        let receipt = self.inner.receipts.open(text).ok_or(ReceiptError::Malformed)?;
        if receipt.shard == self.shard.number { Ok(receipt) } else { Err(ReceiptError::OtherQueue) }
    }
}

/// Keeps what is sent for whoever receives it soon.
pub(super) fn keep_fresh(
    inner: &Inner,
    state: &mut super::shard::State,
    parcels: &[Parcel],
    decision: &Decision<Vec<Result<Taker, Refusal>>>,
    now: Timestamp,
) {
    for (parcel, taken) in parcels.iter().zip(&decision.reply) {
        if let Ok(taker) = taken
            && !taker.duplicate
        {
            state.fresh.put(taker.sequence, parcel.record.clone(), now, &inner.fresh);
        }
    }
}

/// Messages that are about to be sent, and what became of those that are not.
pub(super) struct Packed {
    pub(super) parcels: Vec<Parcel>,
    /// By place: why it is not among the parcels.
    refused: Vec<Option<SendError>>,
    /// What they take in a commit, about.
    pub(super) bytes: usize,
}

impl Packed {
    pub(super) fn new(messages: Vec<Outgoing>, settings: &Settings, now: Timestamp) -> Self {
        let mut packed =
            Self { parcels: Vec::with_capacity(messages.len()), refused: Vec::new(), bytes: AROUND };
        for message in messages {
            match pack(message, settings, now) {
                Ok(parcel) => {
                    packed.bytes += parcel.record.len() + AROUND;
                    packed.parcels.push(parcel);
                    packed.refused.push(None);
                }
                Err(why) => packed.refused.push(Some(why)),
            }
        }
        packed
    }

    /// Whether each is taken, in the order in which the messages came.
    pub(super) fn ok(&self, taken: &[Result<Taker, Refusal>]) -> Vec<bool> {
        let mut taken = taken.iter();
        let ok = |refused: &Option<SendError>| refused.is_none() && taken.next().is_some_and(Result::is_ok);
        self.refused.iter().map(ok).collect()
    }

    /// The answers, in the order in which the messages came.
    pub(super) fn told(self, taken: Vec<Result<Taker, Refusal>>, fifo: bool) -> Vec<Result<Sent, SendError>> {
        let mut taken = taken.into_iter();
        let told = self.refused.into_iter().map(|refused| match (refused, &mut taken) {
            (Some(why), _) => Err(why),
            (None, taken) => match taken.next() {
                Some(Ok(taker)) => Ok(Sent {
                    id: uuid(&taker.id),
                    sequence: fifo.then_some(taker.sequence),
                    duplicate: taker.duplicate,
                }),
                Some(Err(Refusal::TooManyIdentities)) | None => Err(SendError::TooManyIdentities),
            },
        });
        told.collect()
    }

    /// None of them is taken.
    pub(super) fn refused(self, why: &SendError) -> Vec<Result<Sent, SendError>> {
        self.refused.into_iter().map(|refused| Err(refused.unwrap_or_else(|| why.clone()))).collect()
    }
}
