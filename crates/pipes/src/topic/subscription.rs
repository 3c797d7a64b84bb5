//! Who wants what is published, and how it gets there.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use kit::Timestamp;

use super::filter::{Filter, Scope};
use super::id::SubscriptionId;
use super::retry::Retry;
use crate::name::{QueueName, TopicName};

/// Where a subscription leads.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Endpoint {
    /// A queue.
    Queue(QueueName),
    /// An address, `http://…`.
    Http(Arc<str>),
    /// An address, `https://…`.
    Https(Arc<str>),
    /// A function, by its name. Functions are not there yet: subscribing one is refused.
    Function(Arc<str>),
}

/// The kinds of [`Endpoint`], for whatever is said by kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// A queue.
    Queue,
    /// `http://…`
    Http,
    /// `https://…`
    Https,
    /// A function.
    Function,
}

impl Endpoint {
    /// Its kind.
    pub fn protocol(&self) -> Protocol {
        match self {
            Self::Queue(_) => Protocol::Queue,
            Self::Http(_) => Protocol::Http,
            Self::Https(_) => Protocol::Https,
            Self::Function(_) => Protocol::Function,
        }
    }

    /// Its address, where it has one.
    pub fn url(&self) -> Option<&Arc<str>> {
        match self {
            Self::Http(url) | Self::Https(url) => Some(url),
            Self::Queue(_) | Self::Function(_) => None,
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Queue(name) => name.fmt(f),
            Self::Http(text) | Self::Https(text) | Self::Function(text) => f.write_str(text),
        }
    }
}

/// What a subscriber may set.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SubscriptionSettings {
    /// The body goes out as it was published, and attributes as attributes, without an envelope.
    pub raw: bool,
    /// Which messages; `None`: all.
    pub filter: Option<Filter>,
    /// What the next filter will look at; that of [`Self::filter`], if there is one.
    pub scope: Scope,
    /// Where messages go that cannot be delivered.
    pub dead_letter: Option<QueueName>,
    /// How deliveries to an address are tried again; `None`: as the topic says.
    pub retry: Option<Retry>,
    /// What a protocol wants kept and the subscription does not act upon, as it was set.
    pub kept: BTreeMap<String, String>,
}

/// Whether whoever is behind the endpoint wants this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It was asked, and has not answered. Nothing is delivered but the question.
    Pending,
    /// It does.
    Confirmed {
        /// Only the owner can end the subscription.
        authenticated: bool,
    },
    /// The subscription has ended. Nothing is delivered but that; for a while, the address can have it back.
    Ended {
        /// When.
        at: Timestamp,
    },
}

/// A subscription.
#[derive(Clone, Debug, PartialEq)]
pub struct Subscription {
    /// Its identity.
    pub id: SubscriptionId,
    /// To which topic.
    pub topic: TopicName,
    /// Where it leads.
    pub endpoint: Endpoint,
    /// Who made it.
    pub owner: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// Whether it is confirmed.
    pub state: State,
    /// How it behaves.
    pub settings: SubscriptionSettings,
}

impl Subscription {
    /// Whether messages go there.
    pub fn is_confirmed(&self) -> bool {
        matches!(self.state, State::Confirmed { .. })
    }

    /// The queue that a copy for this subscription is put into.
    pub(crate) fn target(&self) -> QueueName {
        match &self.endpoint {
            Endpoint::Queue(name) => name.clone(),
            Endpoint::Http(_) | Endpoint::Https(_) | Endpoint::Function(_) => outbox_name(self.id),
        }
    }
}

/// The queue in which copies for an address wait.
pub(crate) fn outbox_name(id: SubscriptionId) -> QueueName {
    QueueName::internal(&format!("sub-{id}"))
}
