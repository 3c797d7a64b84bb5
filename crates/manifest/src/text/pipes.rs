//! `queues` and `topics` of a service, and `pipes`: what holds for all of them.

use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};

use super::decode::{At, Decode, Faults, at_item, record, words};
use super::filter::FilterText;
use super::scalar::{Size, Time, Word};
use super::shape::{Form, Items, Names, Switch};
use crate::tree::Node;

record! {
    /// What holds for all queues and topics.
    pub struct PipesText: "a pipes section" {
        /// Where clients reach them: a port, or `host:port`.
        listen: Word,
        /// What happens to a request that is not allowed.
        access: AccessWord,
        /// What keeps them on disk.
        engine: EngineWord,
        /// What services get to sign their requests with.
        credentials: CredentialsWord,
    }
}

words! {
    /// What services get to sign their requests with.
    pub enum CredentialsWord: "a kind of credentials" {
        /// A key in the environment, which stays the same.
        Static = "static",
        /// Keys that are good for an hour, from an address that SDKs ask by themselves.
        Short = "short",
    }
}

words! {
    /// What happens to a request that is not allowed.
    pub enum AccessWord: "an access mode" {
        /// It is served, and written down.
        Audit = "audit",
        /// It is refused.
        Enforce = "enforce",
    }
}

words! {
    /// What keeps queues and topics on disk.
    pub enum EngineWord: "a storage engine" {
        /// A log-structured merge tree.
        Fjall = "fjall",
        /// A B-tree in one file.
        Redb = "redb",
    }
}

record! {
    /// A queue.
    pub struct QueueText: "a queue" {
        /// Topics whose messages it takes: `SERVICE/TOPIC`, or a list.
        from: Items<Form<String, FromLong>>,
        /// For how long a received message is hidden.
        visibility: Time,
        /// For how long a sent message is hidden.
        delay: Time,
        /// For how long a message is kept.
        retention: Time,
        /// The largest message.
        max_message: Size,
        /// How long a receive waits that does not say it.
        wait: Time,
        /// Whether and how it keeps order.
        fifo: Switch<QueueFifo>,
        /// After how many receives a message is a dead letter, and where it goes; `off`: never.
        dead_letter: Switch<Form<u32, DeadLetterLong>>,
        /// How its messages are handed to the service: `POST /jobs`.
        deliver: Form<String, DeliverLong>,
        /// What other services may do: `send`, `receive`, `manage`. A list of services: `send`.
        allow: Names<Verbs<QueueVerb>>,
    }
}

record! {
    /// How a queue takes the messages of a topic.
    pub struct FromLong: "a source of a queue" requires ["topic"] {
        /// The topic: `SERVICE/TOPIC`.
        topic: String,
        /// Which messages: a filter policy as SNS has it.
        filter: FilterText,
        /// What the filter looks at.
        filter_scope: ScopeWord,
        /// Whether a message arrives as it was published; else in SNS's envelope.
        raw: bool,
    }
}

words! {
    /// What a filter looks at.
    pub enum ScopeWord: "a filter scope" {
        /// The attributes of a message.
        Attributes = "attributes",
        /// Its body, which is JSON.
        Body = "body",
    }
}

record! {
    /// How a queue keeps order.
    pub struct QueueFifo: "a fifo section" {
        /// By what a message is recognised that is sent twice: its `id` or its `content`.
        dedup: DedupWord,
        /// Where that counts: in the whole `queue` or in each `group`.
        scope: QueueScope,
    }
}

words! {
    /// By what a message is recognised that is sent twice.
    pub enum DedupWord: "a way to recognise a message" {
        /// What its sender says.
        Id = "id",
        /// Its body.
        Content = "content",
    }
}

words! {
    /// Where the identity of a message counts.
    pub enum QueueScope: "a scope of a fifo queue" {
        /// In the whole queue.
        Queue = "queue",
        /// In each group.
        Group = "group",
    }
}

record! {
    /// Where messages go that are received too often.
    pub struct DeadLetterLong: "a dead_letter section" {
        /// After so many receives.
        after: u32,
        /// The queue: `SERVICE/QUEUE`; left out, one is made.
        to: String,
    }
}

record! {
    /// How messages are handed to the service.
    pub struct DeliverLong: "a deliver section" requires ["to"] {
        /// Method and path: `POST /jobs`.
        to: String,
        /// Requests under way at once.
        concurrency: u32,
        /// Messages in one request at most.
        batch: u32,
        /// How long one request may take.
        timeout: Time,
    }
}

words! {
    /// What a service may do with another one's queue.
    pub enum QueueVerb: "a permission on a queue" {
        /// Send messages.
        Send = "send",
        /// Receive messages and delete them.
        Receive = "receive",
        /// Change or purge the queue itself.
        Manage = "manage",
    }
}

record! {
    /// A topic.
    pub struct TopicText: "a topic" {
        /// Whether and how it keeps order.
        fifo: Switch<TopicFifo>,
        /// What other services may do: `publish`, `subscribe`, `manage`. A list of services: `publish`.
        allow: Names<Verbs<TopicVerb>>,
    }
}

record! {
    /// How a topic keeps order.
    pub struct TopicFifo: "a fifo section" {
        /// By what a message is recognised that is published twice: its `id` or its `content`.
        dedup: DedupWord,
        /// Where that counts: in the whole `topic` or in each `group`.
        scope: TopicScope,
    }
}

words! {
    /// Where the identity of a message counts.
    pub enum TopicScope: "a scope of a fifo topic" {
        /// In the whole topic.
        Topic = "topic",
        /// In each group.
        Group = "group",
    }
}

words! {
    /// What a service may do with another one's topic.
    pub enum TopicVerb: "a permission on a topic" {
        /// Publish messages.
        Publish = "publish",
        /// Subscribe at run time.
        Subscribe = "subscribe",
        /// Change the topic itself.
        Manage = "manage",
    }
}

/// One verb or a list of them; nothing: what is usual there.
#[derive(Clone, Debug, PartialEq)]
pub struct Verbs<V>(pub Option<Vec<At<V>>>);

impl<V> Default for Verbs<V> {
    fn default() -> Self {
        Self(None)
    }
}

impl<V: Decode> Decode for Verbs<V> {
    fn decode(node: &Node, faults: &mut Faults) -> Option<Self> {
        if node.is_null() {
            return Some(Self(None));
        }
        let Some(items) = node.as_seq() else {
            return at_item(node, faults).map(|verb| Self(Some(vec![verb])));
        };
        if items.is_empty() {
            faults.bad_value(node.span, "nothing is allowed here", "take the service out of `allow`");
        }
        Some(Self(Some(items.iter().filter_map(|item| at_item(item, faults)).collect())))
    }

    fn shape(generator: &mut SchemaGenerator) -> Schema {
        let one = V::shape(generator);
        json_schema!({ "anyOf": [one, { "type": "array", "items": one }] })
    }
}

impl<V: Serialize> Serialize for Verbs<V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}
