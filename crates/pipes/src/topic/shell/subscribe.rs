//! Making, confirming, changing and ending subscriptions.

use std::collections::BTreeMap;
use std::sync::Arc;

use store::{Op, Txn};
use tokio::sync::watch;

use super::token::Token;
use super::{ConfirmError, Inner, SubscribeError, Topic, TopicError, Topics};
use crate::error::{CreateError, PipeError};
use crate::name::{QueueName, TopicName};
use crate::queue::message::Outgoing;
use crate::shell::Declared;
use crate::topic::fanout::{Crowded, OWN_FAREWELL, OWN_ID, OWN_QUESTION, Question, QuestionKind, own};
use crate::topic::id::{MessageId, SubscriptionId};
use crate::topic::outbox;
use crate::topic::record::{encode_subscription, subscription_key};
use crate::topic::spaces::SUB;
use crate::topic::subscription::{Endpoint, State, Subscription, SubscriptionSettings, outbox_name};

/// Who is to be subscribed.
#[derive(Clone, Debug, PartialEq)]
pub struct Subscribe {
    /// Where messages go.
    pub endpoint: Endpoint,
    /// How the subscription behaves.
    pub settings: SubscriptionSettings,
    /// Who asks for it.
    pub owner: String,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Subscribed {
    /// The subscription.
    pub subscription: Arc<Subscription>,
    /// It was there before.
    pub existed: bool,
}

impl Topics {
    /// Subscribes an endpoint; the same again is no error. An address is asked first whether it wants that, and asked
    /// anew if it has not answered.
    pub async fn subscribe(&self, name: &TopicName, asked: Subscribe) -> Result<Subscribed, SubscribeError> {
        let inner = &self.inner;
        let _changing = inner.change.lock().await;
        let topic = self.topic(name).ok_or_else(|| TopicError::NoSuchTopic(name.clone()))?;
        let Subscribe { endpoint, settings, owner } = asked;
        inner.check(&topic, &endpoint, &settings, None)?;
        if let Some(there) = topic.subscriptions.iter().find(|there| there.endpoint == endpoint) {
            if there.settings != settings {
                return Err(SubscribeError::Differs);
            }
            if !there.is_confirmed() {
                inner.begin(&topic, there.id).await?;
            }
            return Ok(Subscribed { subscription: Arc::clone(there), existed: true });
        }
        if topic.subscriptions.len() >= inner.limits.subscriptions {
            return Err(SubscribeError::TooMany(inner.limits.subscriptions));
        }
        let asks = endpoint.url().is_some();
        // What has ended is over for good once it is begun anew: an address is subscribed once.
        for ended in inner.ended_at(name, &endpoint) {
            inner.end(ended).await?;
        }
        let subscription = Arc::new(Subscription {
            id: SubscriptionId::random(),
            topic: name.clone(),
            endpoint,
            owner,
            created_at: inner.clock.now(),
            state: if asks { State::Pending } else { State::Confirmed { authenticated: true } },
            settings,
        });
        inner.put(&subscription).await?;
        if asks {
            inner
                .open_outbox(subscription.id)
                .await
                .map_err(|error| TopicError::Stopped(error.to_string().into()))?;
            inner.begin(&topic, subscription.id).await?;
        }
        Ok(Subscribed { subscription, existed: false })
    }

    /// Takes the answer of an endpoint that was asked, or has its subscription back. `authenticated`: only the owner may end the subscription.
    pub async fn confirm(
        &self,
        name: &TopicName,
        token: &str,
        authenticated: bool,
    ) -> Result<Arc<Subscription>, ConfirmError> {
        let inner = &self.inner;
        let _changing = inner.change.lock().await;
        let id = match inner.secret.read(token, inner.clock.now()) {
            None => return Err(ConfirmError::Token),
            Some(Token::Expired) => return Err(ConfirmError::Expired),
            Some(Token::Of(id)) => id,
        };
        let there = inner.subscription(id).map(|(there, _)| there);
        let there = there.filter(|there| there.topic == *name).ok_or(ConfirmError::Token)?;
        if there.is_confirmed() {
            return Ok(there);
        }
        let confirmed =
            Subscription { state: State::Confirmed { authenticated }, ..Subscription::clone(&there) };
        let confirmed = Arc::new(confirmed);
        // Had back, it may be one more than a topic may have: those that can be are few.
        inner.put(&confirmed).await?;
        inner.write().ended.remove(&id);
        Ok(confirmed)
    }

    /// Changes how a subscription behaves. What `change` refuses is not changed.
    pub async fn change_subscription<E: From<SubscribeError>>(
        &self,
        id: SubscriptionId,
        change: impl FnOnce(&mut SubscriptionSettings) -> Result<(), E> + Send,
    ) -> Result<(), E> {
        let inner = &self.inner;
        let _changing = inner.change.lock().await;
        let no_subscription = || SubscribeError::Topic(TopicError::NoSuchSubscription(id));
        let there = inner.subscription(id).filter(|(there, _)| !matches!(there.state, State::Ended { .. }));
        let (there, topic) = there.ok_or_else(no_subscription)?;
        let mut changed = Subscription::clone(&there);
        change(&mut changed.settings)?;
        inner.check(&topic, &changed.endpoint, &changed.settings, Some(id))?;
        inner.put(&Arc::new(changed)).await.map_err(SubscribeError::Topic)?;
        Ok(())
    }

    /// Ends a subscription; one that is not there is no error. What waits to be delivered to an address is dropped. Where a
    /// `stranger` ends it, who had nothing but the address for that, it is told of the end, and can have the subscription
    /// back for two days.
    pub async fn unsubscribe(&self, id: SubscriptionId, stranger: bool) -> Result<(), TopicError> {
        let inner = &self.inner;
        let _changing = inner.change.lock().await;
        let Some(there) = self.subscription(id) else { return Ok(()) };
        let listens = stranger && there.is_confirmed() && there.endpoint.url().is_some();
        match self.topic(&there.topic).filter(|_| listens) {
            Some(topic) if inner.read().ended.len() < inner.limits.ended => {
                inner.retire(&topic, &there).await
            }
            _ => inner.end(id).await,
        }
    }
}

impl Inner {
    fn check(
        &self,
        topic: &Topic,
        endpoint: &Endpoint,
        settings: &SubscriptionSettings,
        of: Option<SubscriptionId>,
    ) -> Result<(), SubscribeError> {
        let fifo = match endpoint {
            Endpoint::Function(_) => return Err(SubscribeError::NotServed("a function")),
            Endpoint::Queue(name) if name.is_fifo() && !topic.name.is_fifo() => {
                return Err(SubscribeError::QueueOrder);
            }
            Endpoint::Queue(_) if settings.retry.is_some() => return Err(SubscribeError::RetryOfQueue),
            Endpoint::Queue(name) => name.is_fifo(),
            Endpoint::Http(_) | Endpoint::Https(_) if topic.name.is_fifo() => {
                return Err(SubscribeError::QueuesOnly);
            }
            Endpoint::Http(_) | Endpoint::Https(_) => false,
        };
        if let Some(dead) = settings.dead_letter.as_ref().filter(|dead| dead.is_fifo() != fifo) {
            return Err(SubscribeError::DeadLetterOrder(dead.clone()));
        }
        if let Some(retry) = &settings.retry {
            retry.check()?;
        }
        let others = topic.subscriptions.iter().filter(|there| Some(there.id) != of);
        let filters = others.filter(|there| there.settings.filter.is_some()).count();
        if settings.filter.is_some() && filters >= self.limits.filters {
            return Err(SubscribeError::TooManyFilters(self.limits.filters));
        }
        Ok(())
    }

    /// Keeps a subscription, new or changed, on disk and then in memory.
    async fn put(&self, subscription: &Arc<Subscription>) -> Result<(), TopicError> {
        let key = subscription_key(&subscription.topic, subscription.id);
        self.commit(Txn::new().put(SUB, key, encode_subscription(subscription))).await?;
        self.remember(subscription);
        Ok(())
    }

    /// Ends a subscription for good; the caller holds [`Inner::change`]. The queue goes before the record, so that a crash
    /// between the two leaves a subscription with an empty queue, and never a queue of nobody.
    pub(super) async fn end(self: &Arc<Self>, id: SubscriptionId) -> Result<(), TopicError> {
        let Some((there, _)) = self.subscription(id) else { return Ok(()) };
        let txn = Txn::new().delete(SUB, subscription_key(&there.topic, id));
        let admission = self.store.admit(txn.bytes())?;
        let had_ended = self.write().ended.remove(&id).is_some();
        self.forget(&there);
        if let Err(error) = self.remove_outbox(&there).await {
            if had_ended {
                self.write().ended.insert(id, there);
            } else {
                self.remember(&there);
            }
            return Err(error);
        }
        self.store.commit(admission, txn).await.map(|_| ()).map_err(|error| TopicError::from_commit(&error))
    }

    fn forget(&self, subscription: &Subscription) {
        let id = subscription.id;
        self.change_subscriptions(&subscription.topic, |all| all.retain(|there| there.id != id));
        self.write().subscriptions.remove(&id);
    }

    fn remember(&self, subscription: &Arc<Subscription>) {
        self.change_subscriptions(&subscription.topic, |all| {
            match all.binary_search_by_key(&subscription.id, |there| there.id) {
                Ok(at) => all[at] = Arc::clone(subscription),
                Err(at) => all.insert(at, Arc::clone(subscription)),
            }
        });
        self.write().subscriptions.insert(subscription.id, Arc::clone(subscription));
    }

    fn change_subscriptions(&self, name: &TopicName, change: impl FnOnce(&mut Vec<Arc<Subscription>>)) {
        let mut state = self.write();
        if let Some(topic) = state.topics.get_mut(name) {
            change(&mut Arc::make_mut(topic).subscriptions);
        }
    }

    /// Subscriptions of an address that have ended.
    fn ended_at(&self, topic: &TopicName, endpoint: &Endpoint) -> Vec<SubscriptionId> {
        let state = self.read();
        let same = state.ended.values().filter(|there| there.topic == *topic && there.endpoint == *endpoint);
        same.map(|there| there.id).collect()
    }

    /// Ends a subscription whose address is told so: that, and that it has ended, are one transaction.
    async fn retire(&self, topic: &Topic, there: &Arc<Subscription>) -> Result<(), TopicError> {
        let id = there.id;
        let farewell = self.question(topic, id, QuestionKind::Restore).await?;
        let state = State::Ended { at: self.clock.now() };
        let ended = Arc::new(Subscription { state, ..Subscription::clone(there) });
        let record = encode_subscription(&ended);
        let put = Op::Put(SUB, subscription_key(&there.topic, id), record.into());
        let bytes = Txn { ops: vec![put.clone()], ..Txn::new() }.bytes();
        let whole = |taken: &[Vec<bool>]| {
            if !taken.iter().flatten().all(|taken| *taken) {
                return Vec::new();
            }
            // Before whoever delivers can take what was sent, and not before it is certain that it will be: they look here
            // what it is that waits.
            self.forget(there);
            self.write().ended.insert(id, ended);
            vec![put]
        };
        let sent = self.pipes.send_all_with(vec![(outbox_name(id), vec![farewell])], bytes, whole).await;
        let failed = match sent {
            Ok(sent) if sent.iter().flatten().all(Result::is_ok) => return Ok(()),
            Ok(_) => TopicError::Busy,
            Err(error) => error.into(),
        };
        self.write().ended.remove(&id);
        self.remember(there);
        Err(failed)
    }

    /// What is put into an outbox to ask an address something.
    async fn question(
        &self,
        topic: &Topic,
        id: SubscriptionId,
        kind: QuestionKind,
    ) -> Result<Outgoing, Crowded> {
        let at = self.clock.now();
        let message = MessageId::random();
        let token = self.secret.token(id, at);
        let (topic, settings) = (&topic.name, &topic.settings);
        let question = Question { kind, topic, settings, subscription: id, token: &token, id: message, at };
        let body = self.envelope.question(&question).await?;
        let mark = match kind {
            QuestionKind::Begin => OWN_QUESTION,
            QuestionKind::Restore => OWN_FAREWELL,
        };
        let attributes = vec![own(OWN_ID, &message.to_string()), own(mark, "")];
        Ok(Outgoing { body, attributes, ..Outgoing::default() })
    }

    /// Puts the question into the outbox, before everything else that will be there.
    async fn begin(&self, topic: &Topic, id: SubscriptionId) -> Result<(), TopicError> {
        let outgoing = self.question(topic, id, QuestionKind::Begin).await?;
        let sent = self.pipes.send_all(vec![(outbox_name(id), vec![outgoing])]).await?;
        match sent.into_iter().flatten().next() {
            Some(Ok(_)) => Ok(()),
            _ => Err(TopicError::Busy),
        }
    }

    /// The queue of a subscription with an address, and whoever delivers from it.
    pub(super) async fn open_outbox(self: &Arc<Self>, id: SubscriptionId) -> Result<(), CreateError> {
        let name: QueueName = outbox_name(id);
        self.pipes
            .create_queue(name.clone(), outbox::settings(), BTreeMap::new(), Declared::AtRunTime)
            .await?;
        let (Some(deliver), Some(queue)) = (&self.deliver, self.pipes.queue(&name)) else { return Ok(()) };
        let (courier, gone) = watch::channel(());
        self.write().couriers.insert(id, courier);
        outbox::start(Arc::clone(self), id, queue, Arc::clone(deliver), gone, &self.tasks);
        Ok(())
    }

    /// Removes the queue of a subscription that has one of its own; whoever delivers from it ends.
    pub(super) async fn remove_outbox(&self, subscription: &Subscription) -> Result<(), TopicError> {
        if subscription.endpoint.url().is_none() {
            return Ok(());
        }
        match self.pipes.delete_queue(&outbox_name(subscription.id)).await {
            Ok(()) | Err(PipeError::NoSuchQueue(_)) => {
                self.write().couriers.remove(&subscription.id);
                self.forget_tally(subscription.id);
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }
}
