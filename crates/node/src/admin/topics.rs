//! Topics over the API: seen, and published to.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use pipes::topic::{
    Curve, Endpoint, Failed, Protocol, Publication, PublishError, Retry, Scope, Tally, Topic, Topics,
};
use pipes::{Attribute, AttributeValue, Pipes};

use super::queues::SENDER;
use super::{Admin, Answer, Shared, body, detached, problem};
use crate::app::PipeOwners;
use crate::broker::{About, SNS, topic_arn};
use crate::spans::What;

pub(crate) async fn list(State(admin): Shared) -> Json<Vec<api::Topic>> {
    let Some(topics) = admin.applier.broker.topics() else { return Json(Vec::new()) };
    let owners = admin.applier.pipe_owners().await;
    let all = topics.topics(None, usize::MAX);
    Json(all.iter().map(|topic| shown(&topics, topic, &owners)).collect())
}

pub(crate) async fn show(State(admin): Shared, Path(name): Path<String>) -> Answer<api::TopicDetail> {
    let (topics, topic) = find(&admin, &name)?;
    let pipes = admin.applier.broker.pipes().ok_or_else(|| problem::no_topic(&name))?;
    Ok(Json(detail(&topics, &pipes, &topic, &admin.applier.pipe_owners().await)))
}

pub(crate) async fn publish(
    State(admin): Shared,
    Path(name): Path<String>,
    wish: Result<Json<api::PublishMessage>, JsonRejection>,
) -> Answer<api::PublishedMessage> {
    let mut message = publication(body(wish)?);
    let (topics, topic) = find(&admin, &name)?;
    message.check(topic.settings().fifo.is_some()).map_err(|error| problem::not_published(&error))?;
    let told = admin.applier.broker.told().clone();
    let begun = told.begin(&[]);
    message.trace = Some(begun.traceparent());
    detached(async move {
        let outcomes = topics.publish(topic.name(), vec![message]).await;
        let outcome = outcomes.map_err(|error| problem::topic(&error))?.into_iter().next();
        let published = outcome.ok_or_else(problem::stopping)?.map_err(|error| match error {
            PublishError::Busy => problem::pipe(&pipes::PipeError::Busy),
            PublishError::NoGroup | PublishError::NoDedup => problem::not_published(&error),
        })?;
        let id = published.id.to_string();
        let about = About { system: SNS, destination: topic.name().as_str(), messages: vec![&id] };
        told.end(begun, What::Publish, &about, None);
        Ok(Json(api::PublishedMessage { id, sequence: published.sequence, duplicate: published.duplicate }))
    })
    .await
}

fn find(admin: &Admin, name: &str) -> Result<(Topics, Arc<Topic>), problem::Refusal> {
    let topics = admin.applier.broker.topics();
    let topic = topics.as_ref().and_then(|topics| topics.topic(&name.parse().ok()?));
    topics.zip(topic).ok_or_else(|| problem::no_topic(name))
}

fn publication(message: api::PublishMessage) -> Publication {
    let api::PublishMessage { body, subject, attributes, group, dedup } = message;
    let attribute = |(name, api::TopicAttribute { kind, value })| Attribute {
        name,
        kind,
        value: AttributeValue::Text(value),
    };
    Publication {
        body: body.into(),
        subject,
        attributes: attributes.into_iter().map(attribute).collect(), // in the order of their names
        group,
        dedup,
        sender: SENDER.into(),
        ..Publication::default()
    }
}

fn shown(topics: &Topics, topic: &Topic, owners: &PipeOwners) -> api::Topic {
    let name = topic.name().to_string();
    let confirmed = topic.subscriptions().iter().filter(|subscription| subscription.is_confirmed()).count();
    let waiting = topic.subscriptions().iter().filter_map(|subscription| topics.deliveries(subscription.id));
    api::Topic {
        arn: topic_arn(&name),
        owner: owners.of_topic(&name),
        fifo: topic.settings().fifo.is_some(),
        confirmed: confirmed as u64,
        pending: (topic.subscriptions().len() - confirmed) as u64,
        waiting: waiting.map(total).sum(),
        name,
    }
}

fn total(counts: pipes::Counts) -> u64 {
    counts.visible + counts.in_flight + counts.delayed
}

fn detail(topics: &Topics, pipes: &Pipes, topic: &Topic, owners: &PipeOwners) -> api::TopicDetail {
    let settings = topic.settings();
    let mut subscriptions: Vec<_> =
        topic.subscriptions().iter().map(|there| subscription(topics, pipes, topic, there)).collect();
    subscriptions.sort_by(|a, b| (a.created_at, &a.endpoint).cmp(&(b.created_at, &b.endpoint)));
    api::TopicDetail {
        topic: shown(topics, topic, owners),
        display_name: settings.display_name.clone(),
        order: settings.fifo.map(|fifo| api::TopicOrder {
            content_dedup: fifo.content_dedup,
            dedup_by_group: fifo.dedup_by_group,
        }),
        delivery: policy(None, settings.retry.as_ref()),
        tags: topic.tags().clone(),
        created_at: topic.created_at(),
        subscriptions,
    }
}

fn subscription(
    topics: &Topics,
    pipes: &Pipes,
    topic: &Topic,
    there: &pipes::topic::Subscription,
) -> api::Subscription {
    let settings = &there.settings;
    let waiting = topics.deliveries(there.id);
    let (protocol, to_address) = match there.endpoint.protocol() {
        Protocol::Queue => ("sqs", false),
        Protocol::Http => ("http", true),
        Protocol::Https => ("https", true),
        Protocol::Function => ("lambda", false),
    };
    let scope = |scope| match scope {
        Scope::Attributes => "attributes".to_owned(),
        Scope::Body => "body".to_owned(),
    };
    api::Subscription {
        id: there.id.to_string(),
        arn: format!("{}:{}", topic_arn(topic.name().as_str()), there.id),
        protocol: protocol.to_owned(),
        endpoint: there.endpoint.to_string(),
        gone: matches!(&there.endpoint, Endpoint::Queue(name) if pipes.queue(name).is_none()),
        owner: there.owner.clone(),
        pending: !there.is_confirmed(),
        raw: settings.raw,
        filter: settings.filter.as_ref().map(|filter| filter.text().to_owned()),
        filter_scope: settings.filter.as_ref().map(|filter| scope(filter.scope())),
        dead_letter: settings.dead_letter.as_ref().map(ToString::to_string),
        delivery: to_address.then(|| policy(settings.retry.as_ref(), topic.settings().retry.as_ref())),
        waiting: waiting.map(total),
        oldest_at: waiting.and_then(|counts| counts.oldest_sent_at),
        delivered: to_address.then(|| delivered(topics.tally(there.id))),
        created_at: there.created_at,
    }
}

fn delivered(tally: Tally) -> api::Delivered {
    let Tally { taken, failed, given_up, last_failure } = tally;
    let (failed_at, tries, why) = match last_failure {
        Some(Failed { at, tries, why }) => (Some(at), Some(tries), Some(why)),
        None => (None, None, None),
    };
    api::Delivered { taken, failed, given_up, failed_at, tries, why }
}

/// What is in force: the subscription's own, else the topic's, else what holds where nobody says anything.
fn policy(of_subscription: Option<&Retry>, of_topic: Option<&Retry>) -> api::DeliveryPolicy {
    let default = Retry::default();
    let (of, retry) = match (of_subscription, of_topic) {
        (Some(retry), _) => ("subscription", retry),
        (None, Some(retry)) => ("topic", retry),
        (None, None) => ("default", &default),
    };
    let curve = match retry.curve {
        Curve::Linear => "linear",
        Curve::Arithmetic => "arithmetic",
        Curve::Geometric => "geometric",
        Curve::Exponential => "exponential",
    };
    api::DeliveryPolicy {
        of: of.to_owned(),
        retries: retry.retries,
        immediate: retry.immediate,
        pre_backoff: retry.pre_backoff,
        post_backoff: retry.post_backoff,
        least_s: retry.least_seconds,
        most_s: retry.most_seconds,
        curve: curve.to_owned(),
        per_second: retry.per_second,
        content_type: retry.content_type.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_in_force_is_that_of_the_nearest_who_has_one() {
        let of = |retries| Retry { retries, ..Retry::default() };
        let shown = |own: Option<&Retry>, topic: Option<&Retry>| {
            let policy = policy(own, topic);
            (policy.of, policy.retries)
        };
        assert_eq!(shown(Some(&of(1)), Some(&of(2))), ("subscription".to_owned(), 1));
        assert_eq!(shown(None, Some(&of(2))), ("topic".to_owned(), 2));
        assert_eq!(shown(None, None), ("default".to_owned(), 3));
    }

    #[test]
    fn attributes_are_published_in_the_order_of_their_names() {
        let attribute =
            |kind: &str, value: &str| api::TopicAttribute { kind: kind.into(), value: value.into() };
        let attributes =
            [("b".to_owned(), attribute("Number", "5")), ("a".to_owned(), attribute("String", "x"))].into();
        let message = api::PublishMessage { body: "hello".into(), attributes, ..Default::default() };
        let publication = publication(message);
        let seen: Vec<_> =
            publication.attributes.iter().map(|one| (one.name.as_str(), one.kind.as_str())).collect();
        assert_eq!(seen, [("a", "String"), ("b", "Number")]);
        assert_eq!((publication.sender.as_str(), publication.check(false)), ("atoll", Ok(())));
    }
}
