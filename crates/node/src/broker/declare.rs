//! Makes queues, topics and subscriptions as the file wants them. Nothing that holds data is ever taken away: what the file no
//! longer names stays, but a subscription of the file's.

use std::collections::BTreeMap;
use std::error::Error;

use manifest::spec::{self, FilterScope};
use pipes::topic::{
    CreateTopicError, Endpoint, FifoTopic, Filter, Scope, Subscribe, SubscribeError, SubscriptionSettings,
    TopicSettings, Topics,
};
use pipes::{Declared, Pipes, QueueName, TopicName};

use super::BrokerError;
use super::settings;

/// Who owns the subscriptions that the file asks for.
const OWNER: &str = "atoll";

pub(crate) async fn declare(pipes: &Pipes, topics: &Topics, wanted: &spec::Pipes) -> Result<(), BrokerError> {
    queues(pipes, wanted).await?;
    for topic in wanted.topics.values() {
        self::topic(topics, topic).await?;
    }
    for queue in wanted.queues.values() {
        subscriptions(topics, queue, wanted).await?;
    }
    Ok(())
}

fn failed(what: &'static str, name: &impl ToString, error: &(dyn Error + 'static)) -> BrokerError {
    BrokerError::Declare { what, name: name.to_string(), why: kit::report::chain(error) }
}

/// Two passes: a queue may name any other as the one for its dead letters.
async fn queues(pipes: &Pipes, wanted: &spec::Pipes) -> Result<(), BrokerError> {
    let queues: Vec<_> = wanted.queues.values().filter_map(|queue| settings::of(queue, wanted)).collect();
    for (name, settings) in &queues {
        if pipes.queue(name).is_none() {
            let alone = pipes::Settings { dead_letter: None, ..settings.clone() };
            let made = pipes.create_queue(name.clone(), alone, BTreeMap::new(), Declared::InFile).await;
            made.map_err(|error| failed("queue", name, &error))?;
        }
    }
    for (name, settings) in queues {
        let Some(queue) = pipes.queue(&name) else { continue };
        // What was set at run time and the file has no word for stays.
        let before = queue.settings();
        let settings = pipes::Settings {
            policy: before.policy.clone(),
            kept: before.kept.clone(),
            dead_letters_from: before.dead_letters_from.clone(),
            ..settings
        };
        if *before != settings {
            queue.set(settings).await.map_err(|error| failed("queue", &name, &error))?;
        }
    }
    Ok(())
}

async fn topic(topics: &Topics, wanted: &spec::Topic) -> Result<(), BrokerError> {
    let Some(name) = topic_name(wanted) else { return Ok(()) };
    let fifo = wanted
        .fifo
        .map(|fifo| FifoTopic { content_dedup: fifo.content_dedup, dedup_by_group: fifo.by_group });
    let Some(there) = topics.topic(&name) else {
        // Cheaper, and better, than what the service has for topics that say nothing; an SDK may set it back. Where order is
        // kept nothing is signed.
        let signature = (wire::sns::SIGNATURE_VERSION.to_owned(), "2".to_owned());
        let kept = if fifo.is_some() { BTreeMap::new() } else { [signature].into() };
        let settings = TopicSettings { fifo, kept, ..TopicSettings::default() };
        let made = topics.create(name.clone(), settings, BTreeMap::new(), Declared::InFile).await;
        return made.map(|_| ()).map_err(|error| failed("topic", &name, &error));
    };
    if there.settings().fifo == fifo {
        return Ok(());
    }
    let changed = topics.change::<CreateTopicError>(&name, |settings, _| {
        settings.fifo = fifo;
        Ok(())
    });
    changed.await.map_err(|error| failed("topic", &name, &error))
}

/// The file's subscriptions of one queue. Those that somebody made at run time are nobody's business here.
async fn subscriptions(
    topics: &Topics,
    queue: &spec::Queue,
    wanted: &spec::Pipes,
) -> Result<(), BrokerError> {
    let Some(name) = settings::wire_name(queue) else { return Ok(()) };
    let mut kept = Vec::new();
    for taken in &queue.from {
        let Some(topic) = wanted.topics.get(&taken.topic).and_then(topic_name) else { continue };
        subscribe(topics, &topic, &name, taken).await?;
        kept.push(topic);
    }
    for topic in topics.topics(None, usize::MAX) {
        let ours = topic.subscriptions().iter().filter(|subscription| {
            subscription.owner == OWNER && subscription.endpoint == Endpoint::Queue(name.clone())
        });
        for subscription in ours.filter(|_| !kept.contains(topic.name())) {
            let ended = topics.unsubscribe(subscription.id, false).await;
            ended.map_err(|error| failed("subscription of queue", &name, &error))?;
        }
    }
    Ok(())
}

async fn subscribe(
    topics: &Topics,
    topic: &TopicName,
    queue: &QueueName,
    taken: &spec::Subscription,
) -> Result<(), BrokerError> {
    let refused = |error: &(dyn Error + 'static)| failed("subscription of queue", queue, error);
    let scope = match taken.filter_scope {
        FilterScope::Attributes => Scope::Attributes,
        FilterScope::Body => Scope::Body,
    };
    let filter = taken.filter.as_deref().map(|text| Filter::parse(text, scope)).transpose();
    let filter = filter.map_err(|error| refused(&error))?;
    let endpoint = Endpoint::Queue(queue.clone());
    let settings = SubscriptionSettings { raw: taken.raw, filter, scope, ..SubscriptionSettings::default() };
    let there = topics.topic(topic);
    let there = there.iter().flat_map(|topic| topic.subscriptions()).find(|there| there.endpoint == endpoint);
    match there {
        None => {
            let asked = Subscribe { endpoint, settings, owner: OWNER.into() };
            topics.subscribe(topic, asked).await.map(|_| ()).map_err(|error| refused(&error))
        }
        Some(there) if there.settings == settings => Ok(()),
        Some(there) => {
            let changed = topics.change_subscription::<SubscribeError>(there.id, |before| {
                *before = settings;
                Ok(())
            });
            changed.await.map_err(|error| refused(&error))
        }
    }
}

fn topic_name(topic: &spec::Topic) -> Option<TopicName> {
    topic.wire_name().parse().ok()
}
