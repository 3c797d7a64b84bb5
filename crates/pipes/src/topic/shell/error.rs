//! What can go wrong, an enum for each operation.

use std::sync::Arc;

use store::{CommitError, Refused, StoreError};

use crate::error::PipeError;
use crate::name::{BadName, QueueName, TopicName};
use crate::topic::fanout::Crowded;
use crate::topic::id::SubscriptionId;
use crate::topic::retry::BadRetry;

/// Why an operation did not happen, whatever it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    /// Too much is under way: try again.
    #[error("too much is under way")]
    Busy,
    /// Nothing is taken any more, until the store was opened anew.
    #[error("the topics have stopped: {0}")]
    Stopped(Arc<str>),
    /// There is no such topic, or no longer.
    #[error("there is no topic `{0}`")]
    NoSuchTopic(TopicName),
    /// There is no such subscription, or no longer.
    #[error("there is no subscription `{0}`")]
    NoSuchSubscription(SubscriptionId),
}

impl TopicError {
    pub(super) fn from_commit(error: &CommitError) -> Self {
        Self::Stopped(error.to_string().into())
    }
}

impl From<Refused> for TopicError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Busy => Self::Busy,
            Refused::Stopped(why) => Self::Stopped(why),
        }
    }
}

impl From<Crowded> for TopicError {
    fn from(Crowded: Crowded) -> Self {
        Self::Busy
    }
}

impl From<PipeError> for TopicError {
    fn from(error: PipeError) -> Self {
        match error {
            PipeError::Busy => Self::Busy,
            PipeError::Stopped(why) => Self::Stopped(why),
            // Whoever can do without a queue has dealt with this before.
            other => Self::Stopped(other.to_string().into()),
        }
    }
}

/// Why a topic was not made, or not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CreateTopicError {
    /// As with every operation.
    #[error(transparent)]
    Topic(#[from] TopicError),
    /// It is there already, with other settings.
    #[error("the topic is there already, with another value of {what}")]
    Differs {
        /// The first field of [`crate::topic::TopicSettings`] that differs.
        what: &'static str,
    },
    /// It is there already, with other tags.
    #[error("the topic is there already, with other tags")]
    DiffersInTags,
    /// A topic keeps order if and only if its name ends with `.fifo`; that never changes.
    #[error("a topic keeps order if, and only if, its name ends with `.fifo`")]
    Order,
    /// Deliveries cannot be tried again like that.
    #[error(transparent)]
    Retry(#[from] BadRetry),
    /// There are as many topics as there may be.
    #[error("there are as many topics as there may be: {0}")]
    TooMany(usize),
}

/// Why nobody was subscribed, or a subscription was not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubscribeError {
    /// As with every operation.
    #[error(transparent)]
    Topic(#[from] TopicError),
    /// The endpoint is subscribed already, with other settings.
    #[error("the endpoint is subscribed already, with other settings")]
    Differs,
    /// Nobody can be subscribed in this way here.
    #[error("{0} cannot be subscribed here yet")]
    NotServed(&'static str),
    /// A queue that keeps order cannot be subscribed to a topic that does not.
    #[error("a queue that keeps order cannot be subscribed to a topic that does not")]
    QueueOrder,
    /// A topic that keeps order has subscriptions of queues only.
    #[error("only queues can be subscribed to a topic that keeps order")]
    QueuesOnly,
    /// Only a queue that keeps order can take dead letters where order is kept, and only there.
    #[error("`{0}` keeps order differently, and so cannot take these dead letters")]
    DeadLetterOrder(QueueName),
    /// Deliveries cannot be tried again like that.
    #[error(transparent)]
    Retry(#[from] BadRetry),
    /// Only deliveries to an address have a policy of trying again.
    #[error("only deliveries to an address are tried again by a policy")]
    RetryOfQueue,
    /// The topic has as many subscriptions as it may have.
    #[error("the topic has as many subscriptions as it may have: {0}")]
    TooMany(usize),
    /// The topic has as many subscriptions with a filter as it may have.
    #[error("the topic has as many subscriptions with a filter as it may have: {0}")]
    TooManyFilters(usize),
}

/// Why a subscription was not confirmed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfirmError {
    /// As with every operation.
    #[error(transparent)]
    Topic(#[from] TopicError),
    /// The token is none of ours, or one of another topic.
    #[error("this is no token of the topic")]
    Token,
    /// It is too old.
    #[error("the token has expired")]
    Expired,
}

/// Why one message of a request was not published.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The topic keeps order, and the message has no group.
    #[error("a message of a topic that keeps order needs a group")]
    NoGroup,
    /// The topic keeps order, the message has no identity, and the topic makes none of the content.
    #[error("a message of this topic needs an identity for deduplication")]
    NoDedup,
    /// Some subscription could not take it right now: publish it again, the others know it then.
    #[error("too much is under way")]
    Busy,
}

/// Why topics could not be read back from the store.
#[derive(Debug, thiserror::Error)]
pub enum OpenTopicsError {
    /// The store.
    #[error("cannot read the topics from the store")]
    Store(#[from] StoreError),
    /// The first commit.
    #[error("cannot write to the store")]
    Commit(#[from] CommitError),
    /// The queue of a subscription.
    #[error("cannot open the queue of the subscription `{subscription}`")]
    Outbox {
        /// Which one.
        subscription: SubscriptionId,
        /// Why.
        source: crate::error::CreateError,
    },
    /// The name of a topic that none can have.
    #[error("a topic has a name that none can have")]
    Name(#[from] BadName),
    /// A record that this version does not understand, or that is damaged.
    #[error("the record of {what} is damaged, or of a later version")]
    Record {
        /// Whose record.
        what: String,
    },
}

impl From<Refused> for OpenTopicsError {
    fn from(refused: Refused) -> Self {
        Self::Store(refused.into())
    }
}
