//! Topics: what is published once reaches every subscription that wants it.
//!
//! A publish is acknowledged when a copy for each matching subscription is on disk. For a queue the copy is a message
//! in that queue; for an HTTP endpoint it is one in a queue of the subscription's own ([`outbox`]), from which it is
//! delivered with retries of its own: whoever is slow delays nobody else.
//!
//! Read in this order: [`settings`] and [`subscription`] (what there is), [`filter`] (who wants what), [`fanout`]
//! (the core: who gets what), [`check`] (what can be published), [`retry`] (when it is tried again), [`dedup`] and [`record`] (what is remembered),
//! [`shell`] ([`Topics`], which everybody else uses), [`outbox`].

pub mod check;
mod dedup;
mod fanout;
pub mod filter;
mod id;
mod outbox;
mod record;
pub mod retry;
pub mod settings;
mod shell;
pub mod spaces;
pub mod subscription;

pub use check::BadPublication;
pub use fanout::{Crowded, Envelope, Notice, Publication, Question, QuestionKind};
pub use filter::{Filter, PolicyError, Scope};
pub use id::{MessageId, SubscriptionId};
pub use outbox::{DEADLINE, Deliver, Failed, IN_FLIGHT, Push, PushKind, Tally, Undelivered};
pub use retry::{BadRetry, Curve, Retry};
pub use settings::{FifoTopic, TopicSettings};
pub use shell::{
    ConfirmError, CreateTopicError, OpenTopicsError, PublishError, Published, Subscribe, SubscribeError,
    Subscribed, Topic, TopicCreated, TopicError, TopicLimits, Topics, TopicsOptions,
};
pub use spaces::SPACES;
pub use subscription::{Endpoint, Protocol, State, Subscription, SubscriptionSettings};
