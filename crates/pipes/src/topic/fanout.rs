//! The core: who gets what of a message. No clock, no I/O: what comes out is put into queues by the shell.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use kit::{BoxFuture, Timestamp};

use super::filter::{Looked, Scope};
use super::id::{MessageId, SubscriptionId};
use super::settings::TopicSettings;
use super::subscription::{Endpoint, Protocol, Subscription};
use crate::name::{QueueName, TopicName};
use crate::queue::message::{Attribute, AttributeValue, Outgoing};

/// Attributes that a message can have in a queue. With more of them, it cannot be delivered there without an envelope.
pub(crate) const MOST_RAW_ATTRIBUTES: usize = 10;

/// A message as it is published. Whoever makes one has checked it: [`Self::check`], or what a protocol has for that.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Publication {
    /// Its body, for whoever has none of its own in [`Self::bodies`].
    pub body: Bytes,
    /// Bodies for kinds of endpoints.
    pub bodies: BTreeMap<Protocol, Bytes>,
    /// What it is about, in a line.
    pub subject: Option<String>,
    /// Its attributes, in the order of their names.
    pub attributes: Vec<Attribute>,
    /// Its group: where the topic keeps order, the unit of it.
    pub group: Option<String>,
    /// Its identity, where the topic keeps order.
    pub dedup: Option<String>,
    /// `traceparent` or an X-Ray header, handed on as it came.
    pub trace: Option<String>,
    /// Who published it.
    pub sender: String,
}

/// What is told of a message.
#[derive(Clone, Copy, Debug)]
pub struct Notice<'a> {
    /// The topic.
    pub topic: &'a TopicName,
    /// How the topic is set: what a protocol had kept there may say how to tell it.
    pub settings: &'a TopicSettings,
    /// The message.
    pub id: MessageId,
    /// Its place in the order of the topic, where that is kept.
    pub sequence: Option<u64>,
    /// When it was published.
    pub at: Timestamp,
    /// The body, for the kind of endpoint that this is for.
    pub body: &'a Bytes,
    /// What it is about.
    pub subject: Option<&'a str>,
    /// Its attributes.
    pub attributes: &'a [Attribute],
    /// Addresses are subscribed to the topic, which know nobody but by what they are told; else it is for queues alone.
    pub abroad: bool,
}

/// What an address is asked, or told at its end: that it can have messages, or have them again.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// That it was subscribed, or that it no longer is.
    pub kind: QuestionKind,
    /// To which topic.
    pub topic: &'a TopicName,
    /// How the topic is set.
    pub settings: &'a TopicSettings,
    /// The subscription.
    pub subscription: SubscriptionId,
    /// What the answer has to show.
    pub token: &'a str,
    /// The question itself.
    pub id: MessageId,
    /// When it is asked.
    pub at: Timestamp,
}

/// What a question is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuestionKind {
    /// Whether the address wants what the topic has.
    Begin,
    /// Whether the subscription, which has ended, is to be there again.
    Restore,
}

/// How a message is told to whoever does not want it raw: the protocol's matter. It may take a while: what is told may
/// have to be signed.
pub trait Envelope: Send + Sync + 'static {
    /// What every subscriber is told of each of these messages, in their order; asked once, however many there are.
    ///
    /// # Errors
    /// When too many wait for that already.
    fn seal<'a>(&'a self, notices: &'a [Notice<'a>]) -> BoxFuture<'a, Result<Vec<String>, Crowded>>;

    /// The same for one of them.
    fn address(&self, sealed: &str, topic: &TopicName, to: SubscriptionId) -> Bytes;

    /// A question to an address. The token is for the answer.
    ///
    /// # Errors
    /// When too many wait for that already.
    fn question<'a>(&'a self, question: &'a Question<'a>) -> BoxFuture<'a, Result<Bytes, Crowded>>;
}

/// Too many wait for an envelope already: ask again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many messages wait to be signed")]
pub struct Crowded;

/// A message with what the topic gave it.
#[derive(Clone, Debug)]
pub(crate) struct Stamped<'a> {
    /// Its place in the request.
    pub(crate) index: usize,
    pub(crate) message: &'a Publication,
    pub(crate) id: MessageId,
    pub(crate) sequence: Option<u64>,
    /// Its identity, where order is kept: its own, or that of its content.
    pub(crate) dedup: Option<String>,
}

/// A copy for one subscription, and where it goes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Parcel {
    /// Of which message.
    pub(crate) index: usize,
    /// For whom.
    pub(crate) subscription: SubscriptionId,
    /// The queue.
    pub(crate) queue: QueueName,
    /// What is put there.
    pub(crate) outgoing: Outgoing,
    /// Where it goes if that is impossible.
    pub(crate) dead_letter: Option<QueueName>,
}

impl Parcel {
    /// The same on its way to the dead-letter queue. `None`: there is none, or it comes from there.
    pub(crate) fn diverted(mut self) -> Option<Self> {
        self.queue = self.dead_letter.take()?;
        if !self.queue.is_fifo() {
            self.outgoing.dedup = None;
        }
        Some(self)
    }
}

/// The names of attributes that only an outbox sees; no attribute of a message can begin so.
pub(crate) const OWN: char = '\u{1}';
/// The identity of the message.
pub(crate) const OWN_ID: &str = "\u{1}id";
/// It is the question of a confirmation.
pub(crate) const OWN_QUESTION: &str = "\u{1}question";
/// It is the question whether a subscription that has ended is to be there again.
pub(crate) const OWN_FAREWELL: &str = "\u{1}farewell";

pub(crate) fn own(name: &str, value: &str) -> Attribute {
    Attribute {
        name: name.to_owned(),
        kind: "String".to_owned(),
        value: AttributeValue::Text(value.to_owned()),
    }
}

/// Who gets what of some messages, and what has to be sealed for that.
pub(crate) struct Plan<'a> {
    topic: &'a TopicName,
    copies: Vec<Planned<'a>>,
    /// What is to be sealed.
    pub(crate) notices: Vec<Notice<'a>>,
}

/// A copy of a message for a subscription.
struct Planned<'a> {
    stamped: &'a Stamped<'a>,
    subscription: &'a Subscription,
    body: Told<'a>,
}

enum Told<'a> {
    Raw(&'a Bytes),
    /// The place of what is sealed.
    Sealed(usize),
}

/// A copy of each message for each subscription that wants it, messages in their order.
pub(crate) fn plan<'a>(
    topic: &'a TopicName,
    settings: &'a TopicSettings,
    subscriptions: &'a [Arc<Subscription>],
    messages: &'a [Stamped<'a>],
    at: Timestamp,
) -> Plan<'a> {
    let with_body = subscriptions.iter().any(|subscription| {
        subscription.settings.filter.as_ref().is_some_and(|filter| filter.scope() == Scope::Body)
    });
    // For all that is told, whoever gets it: whoever reads a queue finds it alike.
    let abroad = subscriptions.iter().any(|subscription| subscription.endpoint.url().is_some());
    let mut plan = Plan { topic, copies: Vec::new(), notices: Vec::new() };
    for stamped in messages {
        let message = stamped.message;
        let looked = Looked::new(&message.body, &message.attributes, with_body);
        // By kind of endpoint, where it has a body of its own; under `None` what all others get.
        let mut sealed: BTreeMap<Option<Protocol>, usize> = BTreeMap::new();
        for subscription in subscriptions.iter().filter(|subscription| subscription.is_confirmed()) {
            if subscription.settings.filter.as_ref().is_some_and(|filter| !filter.accepts(&looked)) {
                continue;
            }
            let protocol = subscription.endpoint.protocol();
            let own_body = message.bodies.get(&protocol);
            let body = own_body.unwrap_or(&message.body);
            let body = if subscription.settings.raw {
                Told::Raw(body)
            } else {
                Told::Sealed(*sealed.entry(own_body.map(|_| protocol)).or_insert_with(|| {
                    plan.notices.push(Notice {
                        topic,
                        settings,
                        id: stamped.id,
                        sequence: stamped.sequence,
                        at,
                        body,
                        subject: message.subject.as_deref(),
                        attributes: &message.attributes,
                        abroad,
                    });
                    plan.notices.len() - 1
                }))
            };
            plan.copies.push(Planned { stamped, subscription, body });
        }
    }
    plan
}

impl Plan<'_> {
    /// The copies, with what was sealed in the order of the notices. The second list has those that cannot be delivered as
    /// their subscription wants them.
    pub(crate) fn parcels(self, sealed: &[String], envelope: &dyn Envelope) -> (Vec<Parcel>, Vec<Parcel>) {
        let Self { topic, copies, notices: _ } = self;
        let mut parcels = Vec::with_capacity(copies.len());
        let mut impossible = Vec::new();
        for Planned { stamped, subscription, body } in copies {
            let raw = matches!(body, Told::Raw(_));
            let body = match body {
                Told::Raw(body) => body.clone(),
                Told::Sealed(place) => {
                    let sealed = sealed.get(place).map(String::as_str).unwrap_or_default();
                    envelope.address(sealed, topic, subscription.id)
                }
            };
            let parcel = parcel(subscription, stamped, body);
            let to_queue = subscription.endpoint.protocol() == Protocol::Queue;
            if raw && to_queue && stamped.message.attributes.len() > MOST_RAW_ATTRIBUTES {
                impossible.push(parcel);
            } else {
                parcels.push(parcel);
            }
        }
        (parcels, impossible)
    }
}

fn parcel(subscription: &Subscription, stamped: &Stamped<'_>, body: Bytes) -> Parcel {
    let message = stamped.message;
    let queue = subscription.target();
    let mut attributes = if subscription.settings.raw { message.attributes.clone() } else { Vec::new() };
    if !matches!(subscription.endpoint, Endpoint::Queue(_)) {
        attributes.insert(0, own(OWN_ID, &stamped.id.to_string()));
    }
    let outgoing = Outgoing {
        body,
        attributes,
        trace: message.trace.clone(),
        sender: message.sender.clone(),
        group: message.group.clone().filter(|_| matches!(subscription.endpoint, Endpoint::Queue(_))),
        dedup: stamped.dedup.clone().filter(|_| queue.is_fifo()),
        delay_seconds: None,
        dead_letter_source: None,
    };
    let dead_letter = subscription.settings.dead_letter.clone();
    Parcel { index: stamped.index, subscription: subscription.id, queue, outgoing, dead_letter }
}

/// Bytes of messages that go into one transaction; the store takes more, but queues add to them.
pub(crate) const CHUNK_BYTES: usize = 8 * 1024 * 1024;
/// Messages that go into one transaction.
pub(crate) const CHUNK_PARCELS: usize = 500;

/// Parcels in as few transactions as hold them: nearly always one.
pub(crate) fn chunks(parcels: Vec<Parcel>) -> Vec<Vec<Parcel>> {
    let mut chunks = Vec::new();
    let mut chunk: Vec<Parcel> = Vec::new();
    let mut bytes = 0;
    for parcel in parcels {
        let size = parcel.outgoing.size();
        if !chunk.is_empty() && (bytes + size > CHUNK_BYTES || chunk.len() == CHUNK_PARCELS) {
            chunks.push(std::mem::take(&mut chunk));
            bytes = 0;
        }
        bytes += size;
        chunk.push(parcel);
    }
    if !chunk.is_empty() {
        chunks.push(chunk);
    }
    chunks
}

/// Parcels by queue, in their order, for one transaction over all of them.
pub(crate) fn by_queue(parcels: Vec<Parcel>) -> Vec<(QueueName, Vec<Parcel>)> {
    let mut places: BTreeMap<QueueName, usize> = BTreeMap::new();
    let mut parts: Vec<(QueueName, Vec<Parcel>)> = Vec::new();
    for parcel in parcels {
        let place = *places.entry(parcel.queue.clone()).or_insert(parts.len());
        if place == parts.len() {
            parts.push((parcel.queue.clone(), Vec::new()));
        }
        parts[place].1.push(parcel);
    }
    parts
}

#[cfg(test)]
#[path = "fanout_tests.rs"]
mod tests;
