//! How a topic behaves: what its owner may set.

use std::collections::BTreeMap;

use super::retry::Retry;

/// The settings of a topic.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TopicSettings {
    /// Whether and how it keeps order; `None`: it does not. Never changes from one to the other.
    pub fifo: Option<FifoTopic>,
    /// What people call it.
    pub display_name: String,
    /// A resource policy in IAM's grammar, as it was set.
    pub policy: Option<String>,
    /// How deliveries to HTTP endpoints are tried again, where the subscription does not say.
    pub retry: Option<Retry>,
    /// What a protocol wants kept and the topic does not act upon, as it was set.
    pub kept: BTreeMap<String, String>,
}

/// How a topic keeps order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FifoTopic {
    /// A message without an identity has that of its content (SHA-256 of the body).
    pub content_dedup: bool,
    /// Identities count within a group, not within the whole topic.
    pub dedup_by_group: bool,
}
