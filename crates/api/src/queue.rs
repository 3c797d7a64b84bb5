//! The wire types of queues.

use std::collections::BTreeMap;

use kit::Timestamp;
use serde::{Deserialize, Serialize};

/// A queue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Queue {
    /// Its name, as clients write it.
    pub name: String,
    /// Where clients find it.
    pub url: String,
    /// The service that the file writes it under; none for one that was made at run time.
    pub owner: Option<String>,
    /// It keeps order.
    pub fifo: bool,
    /// Messages that can be received.
    pub visible: u64,
    /// Messages that were received and are neither deleted nor back.
    pub in_flight: u64,
    /// Messages that were sent and cannot be received yet.
    pub delayed: u64,
    /// When the oldest message was sent.
    pub oldest_sent_at: Option<Timestamp>,
    /// Messages sent since the queue was made; the last second before a crash may be missing.
    pub sent: u64,
    /// Messages received since the queue was made; the last second before a crash may be missing.
    pub received: u64,
    /// Messages deleted since the queue was made; the last second before a crash may be missing.
    pub deleted: u64,
    /// Where messages go that are received too often, and after how many times.
    pub dead_letter: Option<(String, u32)>,
}

/// A queue, its settings and what is moved out of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QueueDetail {
    /// The queue.
    pub queue: Queue,
    /// For how long a received message is hidden, in seconds.
    pub visibility_s: u32,
    /// For how long a sent message is hidden, in seconds.
    pub delay_s: u32,
    /// For how long a message is kept, in seconds.
    pub retention_s: u32,
    /// The largest message, in bytes.
    pub message_bytes: u32,
    /// How long a receive waits that does not say it, in seconds.
    pub wait_s: u32,
    /// The queues whose dead letters come here.
    pub dead_letters_of: Vec<String>,
    /// Tags.
    pub tags: BTreeMap<String, String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// What is or was moved out of it, newest first.
    pub moves: Vec<QueueMove>,
}

/// Messages that are moved from one queue to others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QueueMove {
    /// Its identity.
    pub id: String,
    /// Where to; none: back to where each came from.
    pub to: Option<String>,
    /// `running`, `completed`, `cancelled`, `failed: …`.
    pub state: String,
    /// Messages moved so far.
    pub moved: u64,
}

/// A message to be sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendMessage {
    /// Its body.
    pub body: String,
    /// Its attributes, all of them text.
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
    /// Its group.
    #[serde(default)]
    pub group: Option<String>,
    /// Its identity.
    #[serde(default)]
    pub dedup: Option<String>,
    /// For how long it is hidden, in seconds.
    #[serde(default)]
    pub delay_s: Option<u32>,
}

/// What became of a message that was sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentMessage {
    /// It is known by this from now on.
    pub id: String,
    /// It was known already, by its identity.
    pub duplicate: bool,
}

/// Messages that somebody wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiveMessages {
    /// At most so many, 1 to 10.
    pub max: u32,
    /// How long to wait for the first, in seconds, at most 20.
    pub wait_s: u32,
    /// Leave them in the queue: they come back when their time of being hidden is over.
    pub keep: bool,
}

/// A message as it is looked at or received.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// The message.
    pub id: String,
    /// Its body; what is not UTF-8 in it is replaced.
    pub body: String,
    /// Its attributes; of binary ones how long they are.
    pub attributes: BTreeMap<String, String>,
    /// Its group.
    pub group: Option<String>,
    /// When it was sent.
    pub sent_at: Timestamp,
    /// Who sent it.
    pub sender: String,
    /// How often it has been received.
    pub receives: u32,
}

/// A wish: copy the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupStore {
    /// Where to: an empty directory, by its absolute path.
    pub directory: String,
}

/// A copy of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreBackup {
    /// The last commit in it.
    pub version: u64,
    /// Keys in it.
    pub keys: u64,
    /// Bytes of it.
    pub bytes: u64,
}

/// A wish: move the messages of a queue.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MoveMessages {
    /// Where to; none: back to where each came from.
    pub to: Option<String>,
    /// At most so many a second, 1 to 500.
    pub per_second: Option<u32>,
}
