//! Making, changing and deleting topics.

use std::collections::BTreeMap;
use std::sync::Arc;

use rand::RngExt;
use store::Txn;

use super::publish::Order;
use super::{CreateTopicError, Topic, TopicError, Topics};
use crate::name::TopicName;
use crate::shell::Declared;
use crate::topic::record::subscription_key;
use crate::topic::retry::Retry;
use crate::topic::settings::TopicSettings;
use crate::topic::spaces::{SEQUENCE, SUB, TOPIC};
use crate::topic::subscription::Subscription;

/// What became of making a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopicCreated {
    /// It is new.
    New,
    /// It was there, with the same settings.
    Existed,
}

/// Subscriptions that are removed in one transaction.
const REMOVED_AT_ONCE: usize = 1000;

impl Topics {
    /// Makes a topic; the same again is no error.
    pub async fn create(
        &self,
        name: TopicName,
        settings: TopicSettings,
        tags: BTreeMap<String, String>,
        declared: Declared,
    ) -> Result<TopicCreated, CreateTopicError> {
        check(&name, &settings)?;
        let inner = &self.inner;
        let _changing = inner.change.lock().await;
        if let Some(there) = self.topic(&name) {
            if let Some(what) = difference(&there.settings, &settings) {
                return Err(CreateTopicError::Differs { what });
            }
            if tags.iter().any(|(key, value)| there.tags.get(key) != Some(value)) {
                return Err(CreateTopicError::DiffersInTags);
            }
            return Ok(TopicCreated::Existed);
        }
        if inner.read().topics.len() >= inner.limits.topics {
            return Err(CreateTopicError::TooMany(inner.limits.topics));
        }
        let topic = Topic {
            id: rand::rng().random(),
            name: name.clone(),
            order: settings.fifo.map(|_| Arc::new(Order::new())),
            settings,
            tags,
            declared,
            created_at: inner.clock.now(),
            subscriptions: Vec::new(),
        };
        inner.commit(Txn::new().put(TOPIC, name.as_str().as_bytes(), topic.record().encode())).await?;
        inner.write().topics.insert(name, Arc::new(topic));
        Ok(TopicCreated::New)
    }

    /// Changes settings and tags of a topic. What `change` refuses is not changed.
    pub async fn change<E: From<CreateTopicError>>(
        &self,
        name: &TopicName,
        change: impl FnOnce(&mut TopicSettings, &mut BTreeMap<String, String>) -> Result<(), E> + Send,
    ) -> Result<(), E> {
        let inner = &self.inner;
        let _changing = inner.change.lock().await;
        let no_topic = || CreateTopicError::Topic(TopicError::NoSuchTopic(name.clone()));
        let mut topic = Topic::clone(&*self.topic(name).ok_or_else(no_topic)?);
        change(&mut topic.settings, &mut topic.tags)?;
        check(name, &topic.settings)?;
        let txn = Txn::new().put(TOPIC, name.as_str().as_bytes(), topic.record().encode());
        inner.commit(txn).await.map_err(CreateTopicError::Topic)?;
        inner.write().topics.insert(name.clone(), Arc::new(topic));
        Ok(())
    }

    /// Deletes a topic with its subscriptions; one that is not there is no error. What was published stays where it
    /// was put.
    pub async fn delete(&self, name: &TopicName) -> Result<(), TopicError> {
        let inner = &self.inner;
        let _changing = inner.change.lock().await;
        let Some(topic) = self.topic(name) else { return Ok(()) };
        let subscriptions: Vec<Arc<Subscription>> = {
            let mut state = inner.write();
            // Nothing is published from here on, whatever comes of the rest.
            state.topics.remove(name);
            let ended = state.ended.values().filter(|there| there.topic == *name);
            topic.subscriptions.iter().chain(ended).cloned().collect()
        };
        if let Err(error) = self.delete_parts(&topic, &subscriptions).await {
            // What is left of it is still there, or the store has stopped.
            inner.write().topics.insert(name.clone(), Arc::clone(&topic));
            for subscription in subscriptions.iter().filter(|there| there.endpoint.url().is_some()) {
                let _ = inner.open_outbox(subscription.id).await;
            }
            return Err(error);
        }
        let mut state = inner.write();
        for subscription in &subscriptions {
            state.subscriptions.remove(&subscription.id);
            state.ended.remove(&subscription.id);
        }
        Ok(())
    }

    /// Queues, then subscriptions, then the topic: a crash between them leaves a topic with less, and never a part of
    /// nothing.
    async fn delete_parts(
        &self,
        topic: &Topic,
        subscriptions: &[Arc<Subscription>],
    ) -> Result<(), TopicError> {
        for subscription in subscriptions {
            self.inner.remove_outbox(subscription).await?;
        }
        for some in subscriptions.chunks(REMOVED_AT_ONCE) {
            let remove = |txn: Txn, id| txn.delete(SUB, subscription_key(&topic.name, id));
            self.inner
                .commit(some.iter().fold(Txn::new(), |txn, subscription| remove(txn, subscription.id)))
                .await?;
        }
        let txn =
            Txn::new().delete(TOPIC, topic.name.as_str().as_bytes()).delete(SEQUENCE, topic.id.to_be_bytes());
        self.inner.commit(txn).await
    }
}

fn check(name: &TopicName, settings: &TopicSettings) -> Result<(), CreateTopicError> {
    if name.is_fifo() != settings.fifo.is_some() {
        return Err(CreateTopicError::Order);
    }
    settings.retry.as_ref().map_or(Ok(()), Retry::check).map_err(CreateTopicError::Retry)
}

/// The first field in which two differ.
fn difference(there: &TopicSettings, asked: &TopicSettings) -> Option<&'static str> {
    let TopicSettings { fifo, display_name, policy, retry, kept } = asked;
    [
        ("fifo", there.fifo == *fifo),
        ("display_name", there.display_name == *display_name),
        ("policy", there.policy == *policy),
        ("retry", there.retry == *retry),
        ("kept", there.kept == *kept),
    ]
    .into_iter()
    .find_map(|(what, same)| (!same).then_some(what))
}
