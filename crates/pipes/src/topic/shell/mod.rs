//! The shell around the core: [`Topics`], which everybody else uses. It reads the clock, asks the core who gets what,
//! puts that into queues, and remembers it.

mod admin;
mod error;
mod open;
mod publish;
mod subscribe;
mod sweep;
mod token;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use kit::{Clock, Tasks, Timestamp};
use store::{Store, Txn};
use tokio::sync::watch;

use super::dedup::Window;
use super::fanout::Envelope;
use super::id::SubscriptionId;
use super::outbox::{Deliver, Tally};
use super::record::TopicRecord;
use super::settings::TopicSettings;
use super::subscription::Subscription;
use crate::name::TopicName;
use crate::shell::{Counts, Declared, Pipes};

pub use admin::TopicCreated;
pub use error::{ConfirmError, CreateTopicError, OpenTopicsError, PublishError, SubscribeError, TopicError};
pub use publish::Published;
pub use subscribe::{Subscribe, Subscribed};

use publish::Order;
use token::Secret;

/// What topics need from around them.
pub struct TopicsOptions {
    /// The queues, of the same store.
    pub pipes: Pipes,
    /// Where everything is kept; opened with [`super::SPACES`] too.
    pub store: Arc<dyn Store>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Who owns the tasks behind topics.
    pub tasks: Tasks,
    /// How messages are told.
    pub envelope: Arc<dyn Envelope>,
    /// Who brings them to addresses; `None`: nobody, and they wait.
    pub deliver: Option<Arc<dyn Deliver>>,
    /// What is bounded.
    pub limits: TopicLimits,
}

/// What is bounded, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicLimits {
    /// Topics that there may be.
    pub topics: usize,
    /// Subscriptions of one topic.
    pub subscriptions: usize,
    /// Subscriptions of one topic that have a filter.
    pub filters: usize,
    /// Identities that are remembered for deduplication, over all topics.
    pub identities: usize,
    /// Subscriptions that have ended and can be had back, over all topics.
    pub ended: usize,
}

impl Default for TopicLimits {
    fn default() -> Self {
        Self { topics: 100_000, subscriptions: 10_000, filters: 200, identities: 4_000_000, ended: 1000 }
    }
}

/// All topics of a store. Cheap to clone.
#[derive(Clone)]
pub struct Topics {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) pipes: Pipes,
    store: Arc<dyn Store>,
    pub(crate) clock: Arc<dyn Clock>,
    tasks: Tasks,
    envelope: Arc<dyn Envelope>,
    deliver: Option<Arc<dyn Deliver>>,
    limits: TopicLimits,
    secret: Secret,
    state: RwLock<State>,
    /// Held while topics and subscriptions change, commit included: what is in memory is what is on disk.
    change: tokio::sync::Mutex<()>,
    window: Mutex<Window>,
    /// What became of deliveries to addresses: an entry for each subscription that has a courier.
    tallies: Mutex<BTreeMap<SubscriptionId, Tally>>,
}

#[derive(Default)]
struct State {
    topics: BTreeMap<TopicName, Arc<Topic>>,
    subscriptions: BTreeMap<SubscriptionId, Arc<Subscription>>,
    /// Those that have ended and can be had back: in no topic, and told to nobody but their address.
    ended: BTreeMap<SubscriptionId, Arc<Subscription>>,
    /// Deliveries to an address go on for as long as this is here.
    couriers: BTreeMap<SubscriptionId, watch::Sender<()>>,
}

/// A topic as it was when it was looked at.
#[derive(Clone)]
pub struct Topic {
    id: u128,
    name: TopicName,
    settings: TopicSettings,
    tags: BTreeMap<String, String>,
    declared: Declared,
    created_at: Timestamp,
    /// In the order of their identities.
    subscriptions: Vec<Arc<Subscription>>,
    order: Option<Arc<Order>>,
}

impl Topic {
    /// Its name.
    pub fn name(&self) -> &TopicName {
        &self.name
    }

    /// Its settings.
    pub fn settings(&self) -> &TopicSettings {
        &self.settings
    }

    /// Its tags.
    pub fn tags(&self) -> &BTreeMap<String, String> {
        &self.tags
    }

    /// Where it comes from.
    pub fn declared(&self) -> Declared {
        self.declared
    }

    /// When it was made.
    pub fn created_at(&self) -> Timestamp {
        self.created_at
    }

    /// Its subscriptions, in the order of their identities.
    pub fn subscriptions(&self) -> &[Arc<Subscription>] {
        &self.subscriptions
    }

    fn record(&self) -> TopicRecord {
        TopicRecord {
            id: self.id,
            created_at: self.created_at,
            declared: self.declared,
            settings: self.settings.clone(),
            tags: self.tags.clone(),
        }
    }
}

impl Topics {
    /// A topic by its name.
    pub fn topic(&self, name: &TopicName) -> Option<Arc<Topic>> {
        self.inner.read().topics.get(name).cloned()
    }

    /// Topics in the order of their names, behind `after`.
    pub fn topics(&self, after: Option<&TopicName>, limit: usize) -> Vec<Arc<Topic>> {
        let state = self.inner.read();
        let behind = |topic: &&Arc<Topic>| after.is_none_or(|after| topic.name > *after);
        match after {
            Some(after) => state
                .topics
                .range(after.clone()..)
                .map(|(_, t)| t)
                .filter(behind)
                .take(limit)
                .cloned()
                .collect(),
            None => state.topics.values().take(limit).cloned().collect(),
        }
    }

    /// A subscription by its identity.
    pub fn subscription(&self, id: SubscriptionId) -> Option<Arc<Subscription>> {
        self.inner.read().subscriptions.get(&id).cloned()
    }

    /// What is yet to be delivered to the address of a subscription, the question for its confirmation included; `None`:
    /// it has no address, or is no longer there.
    pub fn deliveries(&self, id: SubscriptionId) -> Option<Counts> {
        let subscription =
            self.subscription(id).filter(|subscription| subscription.endpoint.url().is_some())?;
        Some(self.inner.pipes.queue(&subscription.target())?.counts())
    }

    /// What became of deliveries to the address of a subscription since this process began.
    pub fn tally(&self, id: SubscriptionId) -> Tally {
        let tallies = self.inner.tallies.lock().unwrap_or_else(PoisonError::into_inner);
        tallies.get(&id).cloned().unwrap_or_default()
    }

    /// Subscriptions to all topics in the order of their identities, behind `after`.
    pub fn subscriptions(&self, after: Option<SubscriptionId>, limit: usize) -> Vec<Arc<Subscription>> {
        let from = after.map_or(0, |after| after.0.saturating_add(1));
        let state = self.inner.read();
        state.subscriptions.range(SubscriptionId(from)..).take(limit).map(|(_, s)| Arc::clone(s)).collect()
    }
}

impl Inner {
    /// Counts what became of a delivery, of a subscription that is still there.
    pub(crate) fn tally(&self, id: SubscriptionId, count: impl FnOnce(&mut Tally)) {
        let mut tallies = self.tallies.lock().unwrap_or_else(PoisonError::into_inner);
        if self.read().couriers.contains_key(&id) {
            count(tallies.entry(id).or_default());
        }
    }

    /// Nothing is delivered for a subscription any more.
    fn forget_tally(&self, id: SubscriptionId) {
        self.tallies.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn window(&self) -> MutexGuard<'_, Window> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known of a subscription right now, be it that it has ended.
    pub(crate) fn subscription(&self, id: SubscriptionId) -> Option<(Arc<Subscription>, Arc<Topic>)> {
        let state = self.read();
        let subscription = state.subscriptions.get(&id).or_else(|| state.ended.get(&id))?;
        Some((Arc::clone(subscription), Arc::clone(state.topics.get(&subscription.topic)?)))
    }

    async fn commit(&self, txn: Txn) -> Result<(), TopicError> {
        let admission = self.store.admit(txn.bytes())?;
        self.store.commit(admission, txn).await.map(|_| ()).map_err(|error| TopicError::from_commit(&error))
    }
}
