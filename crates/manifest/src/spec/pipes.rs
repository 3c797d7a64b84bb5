//! Queues and topics: who owns them, who may touch them, and how they behave. Every default is here, next to
//! what it is the default of.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use kit::units::Bytes;

use super::{PipeName, ServiceName};

/// The queues and topics of an app, and what holds for all of them. They are the app's, not its services':
/// they stay as they are when only some services are selected.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pipes {
    /// The queues, those included that were made for dead letters. A name is there once in an app.
    pub queues: BTreeMap<PipeName, Queue>,
    /// The topics. A name is there once in an app.
    pub topics: BTreeMap<PipeName, Topic>,
    /// Where clients reach them; `None` when the file has no queue, no topic and no `pipes`.
    pub listen: Option<SocketAddr>,
    /// What happens to a request that is not allowed.
    pub access: Access,
    /// What keeps them on disk.
    pub engine: Engine,
    /// What services get to sign their requests with.
    pub credentials: CredentialKind,
}

impl Pipes {
    /// Where clients reach them when the file does not say: this machine only.
    pub const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 4566);

    /// The queues that take messages of a topic, each with how.
    pub fn takers<'a>(&'a self, topic: &'a PipeName) -> impl Iterator<Item = (&'a Queue, &'a Subscription)> {
        let of_topic = move |subscription: &&Subscription| subscription.topic == *topic;
        self.queues
            .values()
            .flat_map(move |queue| queue.from.iter().filter(of_topic).map(move |taken| (queue, taken)))
    }
}

/// What happens to a request of a caller who is not allowed to make it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// It is served, and written down.
    #[default]
    Audit,
    /// It is refused.
    Enforce,
}

/// What services get to sign their requests with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CredentialKind {
    /// A key in the environment, which stays the same.
    #[default]
    Static,
    /// Keys that are good for an hour, from an address that SDKs ask by themselves.
    Short,
}

/// What keeps queues and topics on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Engine {
    /// A log-structured merge tree.
    #[default]
    Fjall,
    /// A B-tree in one file, for small installations.
    Redb,
}

/// What a service may do with a queue or topic. Its owner may do everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verb {
    /// Send to a queue.
    Send,
    /// Receive from a queue, and delete what was received or change for how long it is hidden.
    Receive,
    /// Publish to a topic.
    Publish,
    /// Subscribe to a topic at run time. A queue that names the topic in the file needs no permission.
    Subscribe,
    /// Everything that changes the queue or topic itself: settings, purging, moving, deleting.
    Manage,
}

/// What services that do not own a queue or topic may do with it.
pub type Allow = BTreeMap<ServiceName, BTreeSet<Verb>>;

/// A queue.
#[derive(Clone, Debug, PartialEq)]
pub struct Queue {
    /// Its name, without `.fifo`.
    pub name: PipeName,
    /// The service it is written under.
    pub owner: ServiceName,
    /// For how long a received message is hidden. Whole seconds.
    pub visibility: Duration,
    /// For how long a sent message is hidden. Whole seconds.
    pub delay: Duration,
    /// For how long a message is kept. Whole seconds.
    pub retention: Duration,
    /// The largest message.
    pub max_message: Bytes,
    /// How long a receive waits that does not say it. Whole seconds.
    pub wait: Duration,
    /// How it keeps order; `None`: it does not.
    pub fifo: Option<Fifo>,
    /// Where messages go that are received too often.
    pub dead_letter: Option<DeadLetter>,
    /// The topics whose messages it takes, each once.
    pub from: Vec<Subscription>,
    /// How its messages are handed to its owner; `None`: they are fetched.
    pub deliver: Option<Deliver>,
    /// What others may do.
    pub allow: Allow,
    /// The queue for whose dead letters it was made; `None`: it is written in the file.
    pub made_for: Option<PipeName>,
}

impl Queue {
    /// `visibility` where the file says nothing and nothing is delivered.
    pub const VISIBILITY: Duration = Duration::from_secs(30);
    /// By how much `visibility` is longer than the time of a delivery where the file says nothing.
    pub const VISIBILITY_MARGIN: Duration = Duration::from_secs(5);
    /// `retention` where the file says nothing.
    pub const RETENTION: Duration = Duration::from_secs(4 * 86_400);
    /// `retention` of a queue that takes dead letters: the longest there is.
    pub const DEAD_RETENTION: Duration = Duration::from_secs(14 * 86_400);
    /// `max_message` where the file says nothing: the most there is.
    pub const MAX_MESSAGE: Bytes = Bytes(1 << 20);

    /// A queue of which the file says nothing but the name, without dead letters.
    pub fn new(name: PipeName, owner: ServiceName) -> Self {
        Self {
            name,
            owner,
            visibility: Self::VISIBILITY,
            delay: Duration::ZERO,
            retention: Self::RETENTION,
            max_message: Self::MAX_MESSAGE,
            wait: Duration::ZERO,
            fifo: None,
            dead_letter: None,
            from: Vec::new(),
            deliver: None,
            allow: Allow::new(),
            made_for: None,
        }
    }

    /// The name that clients use: with `.fifo` where it keeps order.
    pub fn wire_name(&self) -> String {
        self.name.on_the_wire(self.fifo.is_some())
    }

    /// Whether a service may do this.
    pub fn may(&self, service: &ServiceName, verb: Verb) -> bool {
        may(&self.owner, &self.allow, service, verb)
    }
}

/// A topic.
#[derive(Clone, Debug, PartialEq)]
pub struct Topic {
    /// Its name, without `.fifo`.
    pub name: PipeName,
    /// The service it is written under.
    pub owner: ServiceName,
    /// How it keeps order; `None`: it does not.
    pub fifo: Option<Fifo>,
    /// What others may do.
    pub allow: Allow,
}

impl Topic {
    /// The name that clients use: with `.fifo` where it keeps order.
    pub fn wire_name(&self) -> String {
        self.name.on_the_wire(self.fifo.is_some())
    }

    /// Whether a service may do this.
    pub fn may(&self, service: &ServiceName, verb: Verb) -> bool {
        may(&self.owner, &self.allow, service, verb)
    }
}

fn may(owner: &ServiceName, allow: &Allow, service: &ServiceName, verb: Verb) -> bool {
    owner == service || allow.get(service).is_some_and(|verbs| verbs.contains(&verb))
}

/// How a queue or topic keeps order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fifo {
    /// A message that names no identity has that of its content; else it has to name one.
    pub content_dedup: bool,
    /// Identities count within a group, and so does the throughput; else within the whole queue or topic.
    pub by_group: bool,
}

/// Where messages go that are received too often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// The queue.
    pub to: PipeName,
    /// After so many receives.
    pub after: u32,
}

impl DeadLetter {
    /// Receives where the file says nothing.
    pub const AFTER: u32 = 10;
    /// What ends the name of a queue that is made for dead letters.
    pub const SUFFIX: &str = "-dead";
}

/// How a queue takes the messages of a topic.
#[derive(Clone, Debug, PartialEq)]
pub struct Subscription {
    /// The topic.
    pub topic: PipeName,
    /// Which messages: a filter policy, in JSON; `None`: all.
    pub filter: Option<String>,
    /// What the filter looks at.
    pub filter_scope: FilterScope,
    /// Whether a message arrives as it was published; else in SNS's envelope.
    pub raw: bool,
}

/// What a filter looks at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FilterScope {
    /// The attributes of a message.
    #[default]
    Attributes,
    /// Its body, which is JSON.
    Body,
}

/// How the messages of a queue are handed to the service that owns it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deliver {
    /// `POST`, `PUT` or `PATCH`.
    pub method: http::Method,
    /// Path and query.
    pub path: String,
    /// Requests under way at once, over all instances.
    pub concurrency: u32,
    /// Messages in one request at most.
    pub batch: u32,
    /// How long one request may take.
    pub timeout: Duration,
}

impl Deliver {
    /// `concurrency` where the file says nothing.
    pub const CONCURRENCY: u32 = 4;
    /// `timeout` where the file says nothing.
    pub const TIMEOUT: Duration = Duration::from_secs(30);
}
