//! The wire types of topics.

use std::collections::BTreeMap;

use kit::Timestamp;
use serde::{Deserialize, Serialize};

/// A topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topic {
    /// Its name, as clients write it.
    pub name: String,
    /// What clients call it by.
    pub arn: String,
    /// The service that the file writes it under; none for one that was made at run time.
    pub owner: Option<String>,
    /// It keeps order.
    pub fifo: bool,
    /// Subscriptions that get what is published.
    pub confirmed: u64,
    /// Subscriptions that have not been confirmed yet, and get nothing.
    pub pending: u64,
    /// Deliveries to addresses that are not taken yet, over all subscriptions.
    pub waiting: u64,
}

/// A topic, its settings and its subscriptions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicDetail {
    /// The topic.
    pub topic: Topic,
    /// What people call it; empty where nobody has said.
    pub display_name: String,
    /// How it keeps order.
    pub order: Option<TopicOrder>,
    /// How deliveries to addresses are tried again, where a subscription does not say.
    pub delivery: DeliveryPolicy,
    /// Tags.
    pub tags: BTreeMap<String, String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Its subscriptions, the oldest first.
    pub subscriptions: Vec<Subscription>,
}

/// How a topic keeps order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicOrder {
    /// A message that names no identity has that of its content.
    pub content_dedup: bool,
    /// Identities count within a group, not within the whole topic.
    pub dedup_by_group: bool,
}

/// Who gets what is published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscription {
    /// Its identity.
    pub id: String,
    /// What clients call it by.
    pub arn: String,
    /// `sqs`, `http`, `https`, `lambda`.
    pub protocol: String,
    /// The name of a queue or function, or an address.
    pub endpoint: String,
    /// The endpoint is a queue, and there is none of this name any more.
    pub gone: bool,
    /// The service or key that made it; `atoll`: it stands in the file.
    pub owner: String,
    /// It was asked whether it wants this, and has not answered.
    pub pending: bool,
    /// Messages arrive as they were published, without an envelope.
    pub raw: bool,
    /// Which messages it wants: a filter policy, as it was written; none: all.
    pub filter: Option<String>,
    /// What the filter looks at: `attributes` or `body`.
    pub filter_scope: Option<String>,
    /// The queue for what cannot be delivered.
    pub dead_letter: Option<String>,
    /// How deliveries to an address are tried again; none for queues.
    pub delivery: Option<DeliveryPolicy>,
    /// Deliveries to an address that are not taken yet, those under way and the question for its confirmation included;
    /// none for queues.
    pub waiting: Option<u64>,
    /// When the oldest of them was published.
    pub oldest_at: Option<Timestamp>,
    /// What became of deliveries to an address since the node began; none for queues.
    #[serde(default)]
    pub delivered: Option<Delivered>,
    /// When it was made.
    pub created_at: Timestamp,
}

/// What became of deliveries to an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivered {
    /// Those that were taken.
    pub taken: u64,
    /// Tries that failed.
    pub failed: u64,
    /// Messages that were given up: dead letters, or dropped where there is no queue for them.
    pub given_up: u64,
    /// When the last try failed.
    pub failed_at: Option<Timestamp>,
    /// Which try of its message that was.
    pub tries: Option<u32>,
    /// Why it failed.
    pub why: Option<String>,
}

/// How deliveries to an address are tried again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryPolicy {
    /// Whose policy it is: `subscription`, `topic`, or `default`.
    pub of: String,
    /// Tries after the first one, over all phases.
    pub retries: u32,
    /// How many of them follow without a delay.
    pub immediate: u32,
    /// How many follow then with the least delay.
    pub pre_backoff: u32,
    /// How many come at the end with the most delay.
    pub post_backoff: u32,
    /// The least delay, in seconds.
    pub least_s: u32,
    /// The most, in seconds.
    pub most_s: u32,
    /// How delays grow from one to the other: `linear`, `arithmetic`, `geometric`, `exponential`.
    pub curve: String,
    /// Deliveries a second at most.
    pub per_second: Option<u32>,
    /// The `Content-Type` of what is delivered, where another one than the usual is wanted.
    pub content_type: Option<String>,
}

/// A message to be published.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishMessage {
    /// Its body.
    pub body: String,
    /// What it is about, in a line.
    #[serde(default)]
    pub subject: Option<String>,
    /// Its attributes.
    #[serde(default)]
    pub attributes: BTreeMap<String, TopicAttribute>,
    /// Its group.
    #[serde(default)]
    pub group: Option<String>,
    /// Its identity.
    #[serde(default)]
    pub dedup: Option<String>,
}

/// An attribute of a message. What filters make of it depends on its type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicAttribute {
    /// `String`, `Number`, `String.Array`, or one of these with a dot and more.
    pub kind: String,
    /// Its value.
    pub value: String,
}

/// What became of a message that was published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedMessage {
    /// It is known by this from now on.
    pub id: String,
    /// Its place in the order of its topic, where that is kept.
    pub sequence: Option<u64>,
    /// It was known already, by its identity.
    pub duplicate: bool,
}
