//! What can go wrong, an enum for each operation.

use std::sync::Arc;

use store::{CommitError, Refused, StoreError};

use crate::name::QueueName;

/// Why an operation did not happen, whatever it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PipeError {
    /// Too much is under way: try again.
    #[error("too much is under way")]
    Busy,
    /// Nothing is taken any more, until the store was opened anew.
    #[error("the queues have stopped: {0}")]
    Stopped(Arc<str>),
    /// There is no such queue, or no longer.
    #[error("there is no queue `{0}`")]
    NoSuchQueue(QueueName),
}

impl From<Refused> for PipeError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Busy => Self::Busy,
            Refused::Stopped(why) => Self::Stopped(why),
        }
    }
}

impl From<StoreError> for PipeError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Refused(refused) => refused.into(),
            other => Self::Stopped(other.to_string().into()),
        }
    }
}

/// Why a message was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// It is larger than its queue allows.
    #[error("the message has {size} bytes, and the queue takes {most}")]
    TooLarge {
        /// Bytes of the message.
        size: usize,
        /// Bytes that the queue takes.
        most: usize,
    },
    /// The queue keeps order, and the message has no group.
    #[error("a message of a queue that keeps order needs a group")]
    NoGroup,
    /// The queue keeps order, the message has no identity, and the queue makes none of the content.
    #[error("a message of this queue needs an identity for deduplication")]
    NoDedup,
    /// The queue keeps order, and the message has a delay of its own.
    #[error("a message of a queue that keeps order has no delay of its own")]
    OwnDelay,
    /// The queue remembers as many identities as it can: try again in some seconds.
    #[error("the queue remembers too many identities")]
    TooManyIdentities,
    /// More was sent at once than fits into one transaction.
    #[error("more was sent at once than one transaction can hold")]
    TooMuchAtOnce,
}

/// Why a receipt is not good for what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// It is none, or was not made here.
    #[error("this is no receipt")]
    Malformed,
    /// It is one of another queue.
    #[error("this is a receipt of another queue")]
    OtherQueue,
    /// The message has been received by somebody else since; where order is kept, it also is stale once its time is
    /// over.
    #[error("the receipt has expired")]
    Stale,
    /// The message is there, but nobody holds it.
    #[error("the message is not in flight")]
    NotInFlight,
    /// The message is gone.
    #[error("the message is gone")]
    NoSuchMessage,
    /// With this, the message would be hidden for more than twelve hours since it was received.
    #[error("a message can be hidden for 43200 seconds in all")]
    TooLong,
}

/// Why nothing could be received. That there is nothing is no error.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReceiveError {
    /// As with every operation.
    #[error(transparent)]
    Pipe(#[from] PipeError),
    /// As many messages are in flight as may be.
    #[error("too many messages are in flight")]
    OverLimit,
}

/// Why a queue was not emptied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PurgeError {
    /// As with every operation.
    #[error(transparent)]
    Pipe(#[from] PipeError),
    /// It was emptied less than 60 seconds ago.
    #[error("the queue was emptied less than 60 seconds ago")]
    InProgress,
}

/// Settings that no queue, or not this queue, can have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSettings {
    /// A number is out of its bounds.
    #[error("{what} is {value}, and must be {from} to {to}")]
    OutOfRange {
        /// The name of the field.
        what: &'static str,
        /// What it was given.
        value: u64,
        /// The least.
        from: u64,
        /// The most.
        to: u64,
    },
    /// A queue keeps order if and only if its name ends with `.fifo`; that never changes.
    #[error("a queue keeps order if, and only if, its name ends with `.fifo`")]
    Order,
    /// There is no such dead-letter queue.
    #[error("there is no dead-letter queue `{0}`")]
    NoDeadLetterQueue(QueueName),
    /// A queue cannot be its own dead-letter queue.
    #[error("a queue cannot be its own dead-letter queue")]
    OwnDeadLetterQueue,
    /// A queue that keeps order needs a dead-letter queue that does, and one that does not needs one that does not.
    #[error("`{0}` keeps order differently, and so cannot take these dead letters")]
    DeadLetterOrder(QueueName),
    /// That queue does not take dead letters from this one.
    #[error("`{0}` does not take dead letters from this queue")]
    DeadLettersRefused(QueueName),
}

/// Why a queue was not made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CreateError {
    /// As with every operation.
    #[error(transparent)]
    Pipe(#[from] PipeError),
    /// It is there already, with other settings.
    #[error("the queue is there already, with another value of {what}")]
    Differs {
        /// The first field of [`crate::Settings`] that differs.
        what: &'static str,
    },
    /// No queue can have these settings.
    #[error(transparent)]
    Settings(#[from] BadSettings),
    /// There are as many queues as there may be.
    #[error("there are as many queues as there may be: {0}")]
    TooMany(usize),
}

/// Why settings were not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetError {
    /// As with every operation.
    #[error(transparent)]
    Pipe(#[from] PipeError),
    /// The queue cannot have these settings.
    #[error(transparent)]
    Settings(#[from] BadSettings),
}

/// What is wrong with moving messages from a dead-letter queue.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MoveError {
    /// As with every operation.
    #[error(transparent)]
    Pipe(#[from] PipeError),
    /// No queue sends its dead letters there.
    #[error("`{0}` is nobody's dead-letter queue")]
    NotADeadLetterQueue(QueueName),
    /// Messages are being moved from there.
    #[error("messages are being moved from `{0}` already")]
    UnderWay(QueueName),
    /// From a queue to itself, or to one that keeps order differently.
    #[error("messages cannot be moved to `{0}`")]
    Target(QueueName),
    /// The rate is 1 to 500 messages a second.
    #[error("messages can be moved at 1 to 500 a second")]
    Rate,
    /// There is no such task.
    #[error("there is no such move task")]
    NoSuchTask,
    /// The task has ended.
    #[error("the move task has ended")]
    Ended,
}

/// Why the queues could not be read back from the store.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The store.
    #[error("cannot read the queues from the store")]
    Store(#[from] StoreError),
    /// The first commit.
    #[error("cannot write to the store")]
    Commit(#[from] CommitError),
    /// A record that this version does not understand, or that is damaged.
    #[error("the record of {what} is damaged, or of a later version")]
    Record {
        /// Whose record.
        what: String,
    },
}

impl From<Refused> for OpenError {
    fn from(refused: Refused) -> Self {
        Self::Store(refused.into())
    }
}
