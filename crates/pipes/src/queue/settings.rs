//! How a queue behaves: what its owner may set.

use crate::name::QueueName;

/// The settings of a queue. Times are seconds, as every protocol has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// For how long a received message is hidden, 0 to 43,200.
    pub visibility_seconds: u32,
    /// For how long a sent message is hidden, 0 to 900.
    pub delay_seconds: u32,
    /// For how long a message is kept, 60 to 1,209,600.
    pub retention_seconds: u32,
    /// The largest message, 1,024 to 1,048,576 bytes.
    pub message_bytes: u32,
    /// How long a receive waits that does not say it, 0 to 20.
    pub wait_seconds: u32,
    /// Whether and how it keeps order; `None`: it does not.
    pub fifo: Option<Fifo>,
    /// Where messages go that are received too often.
    pub dead_letter: Option<DeadLetter>,
    /// Which queues may send their dead letters here.
    pub dead_letters_from: DeadLettersFrom,
    /// A resource policy in IAM's grammar, as it was set.
    pub policy: Option<String>,
    /// What a protocol wants kept and the queue does not act upon (encryption keys and the like), as it was set.
    pub kept: std::collections::BTreeMap<String, String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            visibility_seconds: 30,
            delay_seconds: 0,
            retention_seconds: 345_600,
            message_bytes: 1024 * 1024,
            wait_seconds: 0,
            fifo: None,
            dead_letter: None,
            dead_letters_from: DeadLettersFrom::All,
            policy: None,
            kept: std::collections::BTreeMap::new(),
        }
    }
}

/// How a queue keeps order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fifo {
    /// A message without an identity has that of its content (SHA-256 of the body).
    pub content_dedup: bool,
    /// Identities count within a group, not within the whole queue.
    pub dedup_by_group: bool,
    /// The throughput limit counts per group. Kept and told; there is no limit here.
    pub throughput_by_group: bool,
}

/// Where messages go that are received too often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// The queue.
    pub target: QueueName,
    /// After so many receives, 1 to 1,000.
    pub after: u32,
}

/// Which queues may send their dead letters to this one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum DeadLettersFrom {
    /// Any.
    #[default]
    All,
    /// None.
    Nobody,
    /// These, at most ten.
    These(Vec<QueueName>),
}
