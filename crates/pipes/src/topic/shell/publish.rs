//! Publishing.
//!
//! Without order: who gets what, and one transaction. Where order is kept, the messages of a group pass one after
//! another, and what was published within five minutes is not published again.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};

use store::{Op, Txn};
use tokio::sync::{MutexGuard, watch};

use super::{Inner, PublishError, Topic, TopicError, Topics};
use crate::error::{PipeError, SendError};
use crate::name::TopicName;
use crate::queue::message::Outgoing;
use crate::topic::dedup::{self, First, Key, Met};
use crate::topic::fanout::{Parcel, Publication, Stamped, by_queue, chunks, plan};
use crate::topic::id::MessageId;
use crate::topic::settings::FifoTopic;
use crate::topic::spaces::{DEDUP, SEQUENCE};

/// What a publisher is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// The message, known by this from now on.
    pub id: MessageId,
    /// Its place in the order of its topic, where that is kept.
    pub sequence: Option<u64>,
    /// It was known already, by its identity: this is the first one's answer.
    pub duplicate: bool,
}

/// Groups that can pass at once.
const LANES: usize = 64;
/// A topic that is opened again goes on so many numbers further: those in between may have gone out without having been
/// kept.
const SKIPPED: u64 = 1 << 20;

/// What a topic that keeps order needs for it.
pub(super) struct Order {
    next: AtomicU64,
    lanes: Vec<tokio::sync::Mutex<()>>,
    spread: std::hash::RandomState,
}

impl Order {
    pub(super) fn new() -> Self {
        let lanes = (0..LANES).map(|_| tokio::sync::Mutex::new(())).collect();
        Self { next: AtomicU64::new(1), lanes, spread: std::hash::RandomState::new() }
    }

    pub(super) fn reopened(kept: u64) -> Self {
        let order = Self::new();
        order.next.store(kept.saturating_add(SKIPPED), Ordering::Relaxed);
        order
    }

    fn lane(&self, group: &str) -> usize {
        let mut hasher = self.spread.build_hasher();
        hasher.write(group.as_bytes());
        usize::try_from(hasher.finish() % LANES as u64).unwrap_or_default()
    }

    /// Holds the lanes of these groups, in one order for all: nobody waits for somebody who waits for them.
    async fn hold<'a>(&self, groups: impl Iterator<Item = &'a str>) -> Vec<MutexGuard<'_, ()>> {
        let lanes: BTreeSet<usize> = groups.map(|group| self.lane(group)).collect();
        let mut held = Vec::with_capacity(lanes.len());
        for lane in lanes {
            held.push(self.lanes[lane].lock().await);
        }
        held
    }
}

/// An answer, or why there is none.
type Outcome = Result<Published, PublishError>;

impl Topics {
    /// Publishes messages. The answer comes when a copy of each for everybody who wants it is on disk. After an error
    /// the same may be published again; some may have got it already.
    pub async fn publish(
        &self,
        name: &TopicName,
        messages: Vec<Publication>,
    ) -> Result<Vec<Outcome>, TopicError> {
        let topic = self.topic(name).ok_or_else(|| TopicError::NoSuchTopic(name.clone()))?;
        match (topic.settings.fifo, &topic.order) {
            (Some(fifo), Some(order)) => self.inner.publish_in_order(&topic, fifo, order, &messages).await,
            _ => self.inner.publish_at_once(&topic, &messages).await,
        }
    }
}

impl Inner {
    async fn publish_at_once(
        &self,
        topic: &Topic,
        messages: &[Publication],
    ) -> Result<Vec<Outcome>, TopicError> {
        let stamp = |(index, message)| Stamped {
            index,
            message,
            id: MessageId::random(),
            sequence: None,
            dedup: None,
        };
        let stamped: Vec<_> = messages.iter().enumerate().map(stamp).collect();
        let mut nothing = Remember { done: true, ..Remember::default() };
        let failed = self.fan_out(topic, &stamped, &mut nothing).await?;
        let outcome = |stamped: &Stamped<'_>| {
            let published = Published { id: stamped.id, sequence: None, duplicate: false };
            if failed.contains(&stamped.index) { Err(PublishError::Busy) } else { Ok(published) }
        };
        Ok(stamped.iter().map(outcome).collect())
    }

    async fn publish_in_order(
        &self,
        topic: &Topic,
        fifo: FifoTopic,
        order: &Order,
        messages: &[Publication],
    ) -> Result<Vec<Outcome>, TopicError> {
        let mut outcomes: Vec<Option<Outcome>> = vec![None; messages.len()];
        let mut asked: Vec<Asked<'_>> = Vec::with_capacity(messages.len());
        for (index, message) in messages.iter().enumerate() {
            match ask(topic, fifo, index, message) {
                Ok(one) => asked.push(one),
                Err(error) => outcomes[index] = Some(Err(error)),
            }
        }
        let _held = order.hold(asked.iter().map(|one| one.group)).await;
        while !asked.is_empty() {
            let mut rest = Vec::new();
            let mut waits = Vec::new();
            let mut new = Vec::new();
            let now = self.clock.now();
            for one in asked {
                let met = self.window().meet(one.key, now, self.limits.identities);
                match met {
                    Met::New(over) => new.push((UnderWay { inner: self, key: one.key, _over: over }, one)),
                    Met::Full => outcomes[one.index] = Some(Err(PublishError::Busy)),
                    Met::Known(First { id, sequence, .. }) => {
                        let known = Published { id, sequence: Some(sequence), duplicate: true };
                        outcomes[one.index] = Some(Ok(known));
                    }
                    Met::UnderWay(over) => {
                        waits.push(over);
                        rest.push(one);
                    }
                }
            }
            for (index, outcome) in self.publish_new(topic, order, messages, new).await? {
                outcomes[index] = Some(outcome);
            }
            // Only now, with all of our own done: whoever is waited for never waits for us.
            for mut over in waits {
                let _ = over.changed().await;
            }
            asked = rest;
        }
        Ok(outcomes.into_iter().map(|outcome| outcome.unwrap_or(Err(PublishError::Busy))).collect())
    }

    /// Publishes what was not published before and remembers it, in one transaction unless the copies take several: then
    /// the last of them remembers.
    async fn publish_new(
        &self,
        topic: &Topic,
        order: &Order,
        messages: &[Publication],
        new: Vec<(UnderWay<'_>, Asked<'_>)>,
    ) -> Result<Vec<(usize, Outcome)>, TopicError> {
        if new.is_empty() {
            return Ok(Vec::new());
        }
        let count = u64::try_from(new.len()).unwrap_or(u64::MAX);
        let first = order.next.fetch_add(count, Ordering::Relaxed);
        let stamped: Vec<_> = (first..)
            .zip(&new)
            .map(|(sequence, (_, one))| Stamped {
                index: one.index,
                message: &messages[one.index],
                id: MessageId::random(),
                sequence: Some(sequence),
                dedup: Some(one.identity.clone()),
            })
            .collect();
        let now = self.clock.now();
        let next = (first + count).to_be_bytes().to_vec();
        let mut remember = Remember {
            always: vec![Op::Put(SEQUENCE, topic.id.to_be_bytes().to_vec(), next.into())],
            ..Remember::default()
        };
        let mut firsts = Vec::with_capacity(new.len());
        for (stamped, (_, one)) in stamped.iter().zip(&new) {
            let first = First { id: stamped.id, sequence: stamped.sequence.unwrap_or_default(), at: now };
            let put = Op::Put(DEDUP, dedup::disk_key(now, &one.key), first.encode().into());
            remember.of_messages.push((one.index, put));
            firsts.push(first);
        }
        // Room for what is remembered, should it need a transaction of its own, is taken first: once the copies are out,
        // it must not be refused.
        let all = Txn { ops: remember.ops(&BTreeSet::new()), ..Txn::new() };
        remember.bytes = all.bytes();
        let admission = self.store.admit(remember.bytes)?;
        let failed = self.fan_out(topic, &stamped, &mut remember).await?;
        if !remember.done {
            let rest = Txn { ops: remember.ops(&failed), ..Txn::new() };
            self.store.commit(admission, rest).await.map_err(|error| TopicError::from_commit(&error))?;
        }
        let mut outcomes = Vec::with_capacity(new.len());
        for (first, (under_way, one)) in firsts.into_iter().zip(new) {
            if failed.contains(&one.index) {
                outcomes.push((one.index, Err(PublishError::Busy)));
                continue;
            }
            under_way.done(first);
            let published = Published { id: first.id, sequence: Some(first.sequence), duplicate: false };
            outcomes.push((one.index, Ok(published)));
        }
        Ok(outcomes)
    }

    /// Puts a copy for everybody who wants it where it belongs. Answers with the messages that somebody could not take
    /// right now.
    async fn fan_out(
        &self,
        topic: &Topic,
        messages: &[Stamped<'_>],
        remember: &mut Remember,
    ) -> Result<BTreeSet<usize>, TopicError> {
        let now = self.clock.now();
        let plan = plan(&topic.name, &topic.settings, &topic.subscriptions, messages, now);
        let sealed =
            if plan.notices.is_empty() { Vec::new() } else { self.envelope.seal(&plan.notices).await? };
        let (mut parcels, impossible) = plan.parcels(&sealed, &*self.envelope);
        parcels.extend(
            impossible.into_iter().filter_map(|parcel| diverted(parcel, "it has too many attributes")),
        );
        let mut failed = BTreeSet::new();
        let mut chunks = chunks(parcels).into_iter().peekable();
        while let Some(chunk) = chunks.next() {
            let mut not_yet = Remember { done: true, ..Remember::default() };
            let remember = if chunks.peek().is_none() { &mut *remember } else { &mut not_yet };
            self.send(chunk, &mut failed, remember).await?;
        }
        Ok(failed)
    }

    /// One transaction over all queues of these parcels; one more where a queue is gone, or refuses.
    async fn send(
        &self,
        mut parcels: Vec<Parcel>,
        failed: &mut BTreeSet<usize>,
        remember: &mut Remember,
    ) -> Result<(), TopicError> {
        while !parcels.is_empty() {
            let parts = by_queue(parcels);
            let outgoing =
                |parcels: &Vec<Parcel>| parcels.iter().map(|parcel| parcel.outgoing.clone()).collect();
            let request: Vec<(_, Vec<Outgoing>)> =
                parts.iter().map(|(queue, parcels)| (queue.clone(), outgoing(parcels))).collect();
            let bytes = remember.bytes;
            let ops = remember.ops(failed);
            let done = &mut remember.done;
            let ops = (!*done).then_some(ops);
            let also = |taken: &[Vec<bool>]| match ops {
                // What is refused still has a way to go.
                Some(ops) if taken.iter().flatten().all(|taken| *taken) => {
                    *done = true;
                    ops
                }
                _ => Vec::new(),
            };
            parcels = match self.pipes.send_all_with(request, bytes, also).await {
                Err(PipeError::NoSuchQueue(gone)) => parts
                    .into_iter()
                    .flat_map(|(queue, parcels)| {
                        let is_gone = queue == gone;
                        parcels.into_iter().filter_map(move |parcel| {
                            if is_gone { diverted(parcel, "its queue is gone") } else { Some(parcel) }
                        })
                    })
                    .collect(),
                Err(error) => return Err(error.into()),
                Ok(answers) => refused(parts, answers.into_iter().flatten().map(Result::err), failed),
            };
        }
        Ok(())
    }
}

/// What is remembered of messages, in the transaction that brings the last copies of them.
#[derive(Default)]
struct Remember {
    always: Vec<Op>,
    /// By the place of the message.
    of_messages: Vec<(usize, Op)>,
    bytes: usize,
    /// It is in a transaction.
    done: bool,
}

impl Remember {
    /// Without messages that somebody could not take: they are as if they had never been published.
    fn ops(&self, failed: &BTreeSet<usize>) -> Vec<Op> {
        let kept = self.of_messages.iter().filter(|(index, _)| !failed.contains(index));
        self.always.iter().chain(kept.map(|(_, op)| op)).cloned().collect()
    }
}

/// What queues refused, on its way to their dead-letter queues.
fn refused(
    parts: Vec<(crate::QueueName, Vec<Parcel>)>,
    errors: impl Iterator<Item = Option<SendError>>,
    failed: &mut BTreeSet<usize>,
) -> Vec<Parcel> {
    let mut again = Vec::new();
    for (parcel, error) in parts.into_iter().flat_map(|(_, parcels)| parcels).zip(errors) {
        match error {
            None => {}
            Some(SendError::TooManyIdentities | SendError::TooMuchAtOnce) => {
                failed.insert(parcel.index);
            }
            Some(error) => again.extend(diverted(parcel, &error.to_string())),
        }
    }
    again
}

fn diverted(parcel: Parcel, why: &str) -> Option<Parcel> {
    let (subscription, queue) = (parcel.subscription, parcel.queue.clone());
    let diverted = parcel.diverted();
    if diverted.is_none() {
        tracing::warn!(%subscription, %queue, "a message cannot be delivered and is dropped: {why}");
    }
    diverted
}

/// A message with what makes it known.
struct Asked<'a> {
    index: usize,
    group: &'a str,
    identity: String,
    key: Key,
}

fn ask<'a>(
    topic: &Topic,
    fifo: FifoTopic,
    index: usize,
    message: &'a Publication,
) -> Result<Asked<'a>, PublishError> {
    let group = message.group.as_deref().ok_or(PublishError::NoGroup)?;
    let identity = match &message.dedup {
        Some(identity) => identity.clone(),
        None if fifo.content_dedup => dedup::of_content(&message.body),
        None => return Err(PublishError::NoDedup),
    };
    let key = dedup::key(topic.id, fifo.dedup_by_group.then_some(group), &identity);
    Ok(Asked { index, group, identity, key })
}

/// An identity that is being published; forgotten if that comes to nothing, however it does.
struct UnderWay<'a> {
    inner: &'a Inner,
    key: Key,
    /// Dropped when it is over: that wakes whoever waits.
    _over: watch::Sender<()>,
}

impl UnderWay<'_> {
    fn done(self, first: First) {
        self.inner.window().know(self.key, first);
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.inner.window().forget_unknown(&self.key);
    }
}
