//! What the shell is given, and what it tells.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use kit::trace::Context;
use kit::{Clock, Tasks, Timestamp};
use store::Store;

use crate::name::QueueName;

/// What queues need from around them.
pub struct Options {
    /// Where everything is kept.
    pub store: Arc<dyn Store>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Who owns the tasks behind the queues.
    pub tasks: Tasks,
    /// What is bounded.
    pub limits: Limits,
    /// Who is told of what happens to messages without anybody asking.
    pub watch: Option<Arc<dyn Watch>>,
}

/// Is told of what happens to messages without anybody asking. It neither waits nor writes.
pub trait Watch: Send + Sync + 'static {
    /// A message has gone from one queue to another: as a dead letter, or back from there.
    fn moved(&self, moved: &Moved<'_>);
}

/// A message that has gone from one queue to another.
#[derive(Clone, Copy, Debug)]
pub struct Moved<'a> {
    /// Where it was.
    pub from: &'a QueueName,
    /// Where it is now.
    pub to: &'a QueueName,
    /// What it was known by there: a UUID in text form.
    pub id: &'a str,
    /// Where it stands in a trace.
    pub context: Option<Context>,
    /// When the move began.
    pub began: Timestamp,
    /// Until it was on disk.
    pub took: Duration,
}

/// What is bounded, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Queues that there may be.
    pub queues: usize,
    /// Messages of one queue that may be in flight.
    pub in_flight: usize,
    /// The same where order is kept.
    pub in_flight_fifo: usize,
    /// Receives that may wait at once, over all queues.
    pub waiting: usize,
    /// Bytes of bodies that are kept in memory for receivers that follow closely, over all queues.
    pub fresh_bytes: usize,
    /// The same of one queue.
    pub fresh_bytes_of_queue: usize,
    /// Identities that one queue remembers for deduplication.
    pub identities: usize,
    /// Receives of one queue that can be asked for again by their attempt's identity.
    pub attempts: usize,
    /// For how long the queues are this process's without its saying so again. An embedded store can be nobody
    /// else's, and a process that was stopped for a while may go on; where a store is shared, this is how long a
    /// take-over waits.
    pub lease: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            queues: 1_000_000,
            in_flight: 120_000,
            in_flight_fifo: 20_000,
            waiting: 100_000,
            fresh_bytes: 64 * 1024 * 1024,
            fresh_bytes_of_queue: 16 * 1024 * 1024,
            identities: 4_000_000,
            attempts: 10_000,
            lease: Duration::from_secs(100 * 365 * 86_400),
        }
    }
}

/// What a receiver asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receive {
    /// At most so many messages, 1 to 10; more is as 10.
    pub max: usize,
    /// For how long they are hidden; `None`: as the queue says.
    pub visibility_seconds: Option<u32>,
    /// For how long to wait if there is nothing.
    pub wait: Duration,
    /// Where order is kept: the identity of this attempt. The same again within five minutes gets the same messages,
    /// as long as they are still held by it.
    pub attempt: Option<String>,
}

/// How many messages a queue has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Waiting to be received.
    pub visible: u64,
    /// Received, and neither deleted nor back.
    pub in_flight: u64,
    /// Sent, and not visible yet.
    pub delayed: u64,
    /// When the oldest of them was sent, to the second.
    pub oldest_sent_at: Option<Timestamp>,
    /// Sent, ever. Over a crash, the last second may be missing here and below.
    pub sent: u64,
    /// Received, ever, each delivery counted.
    pub received: u64,
    /// Deleted by receivers, ever.
    pub deleted: u64,
}

/// Where a queue comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Declared {
    /// From the application's file.
    InFile,
    /// A client made it.
    AtRunTime,
}

/// What became of making a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created {
    /// It is new.
    New,
    /// It was there, with the same settings. Its tags are left as they were.
    Existed,
}

/// Names a move task.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MoveId(pub(crate) Arc<str>);

impl fmt::Display for MoveId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for MoveId {
    type Err = crate::MoveError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let good = text.len() == 36 && text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
        if good { Ok(Self(text.into())) } else { Err(crate::MoveError::NoSuchTask) }
    }
}

/// How far a move task is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MoveState {
    /// It moves.
    Running,
    /// Everything that was visible is moved.
    Completed,
    /// It was cancelled; what was moved stays moved.
    Cancelled,
    /// It could not go on.
    Failed(String),
}

/// Moves messages from a dead-letter queue back to where they came from, or to another queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MoveTask {
    /// Its name.
    pub id: MoveId,
    /// The dead-letter queue.
    pub from: QueueName,
    /// Where to; `None`: each to where it came from.
    pub to: Option<QueueName>,
    /// At most so many a second.
    pub per_second: Option<u32>,
    /// How far it is.
    pub state: MoveState,
    /// Messages moved so far.
    pub moved: u64,
    /// Messages that were there to be moved when it began.
    pub to_move: u64,
    /// When it began.
    pub started_at: Timestamp,
}
