//! Queues over the API: seen, filled, emptied.

use std::time::Duration;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, Query, State};
use pipes::{Attribute, AttributeValue, Outgoing, Receive};
use serde::Deserialize;

use crate::broker::{About, SQS};
use crate::spans::What;

use super::{Admin, Answer, Shared, body, detached, problem};

/// Messages that are shown at once.
const PEEK_MOST: usize = 1000;
/// Who sends what is sent over this API.
pub(super) const SENDER: &str = "atoll";

pub(crate) async fn list(State(admin): Shared) -> Json<Vec<api::Queue>> {
    let Some(pipes) = admin.applier.broker.pipes() else { return Json(Vec::new()) };
    let owners = admin.applier.pipe_owners().await;
    let names = pipes.queues("", None, usize::MAX);
    let queues = names.iter().filter_map(|name| pipes.queue(name));
    Json(queues.map(|queue| shown(&queue, &owners)).collect())
}

pub(crate) async fn show(State(admin): Shared, Path(name): Path<String>) -> Answer<api::QueueDetail> {
    let (pipes, queue) = find(&admin, &name)?;
    Ok(Json(detail(&admin, &pipes, &queue).await))
}

#[derive(Deserialize)]
pub(crate) struct Limit {
    #[serde(default = "ten")]
    limit: usize,
}

fn ten() -> usize {
    10
}

pub(crate) async fn peek(
    State(admin): Shared,
    Path(name): Path<String>,
    Query(Limit { limit }): Query<Limit>,
) -> Answer<Vec<api::Message>> {
    let (_, queue) = find(&admin, &name)?;
    let messages = queue.peek(limit.clamp(1, PEEK_MOST)).await.map_err(|error| problem::pipe(&error))?;
    Ok(Json(messages.into_iter().map(message).collect()))
}

pub(crate) async fn send(
    State(admin): Shared,
    Path(name): Path<String>,
    wish: Result<Json<api::SendMessage>, JsonRejection>,
) -> Answer<api::SentMessage> {
    let api::SendMessage { body, attributes, group, dedup, delay_s } = self::body(wish)?;
    let (_, queue) = find(&admin, &name)?;
    let text = |(name, value)| Attribute { name, kind: "String".into(), value: AttributeValue::Text(value) };
    let told = admin.applier.broker.told().clone();
    let begun = told.begin(&[]);
    let outgoing = Outgoing {
        body: body.into(),
        attributes: attributes.into_iter().map(text).collect(),
        sender: SENDER.into(),
        group,
        dedup,
        delay_seconds: delay_s,
        trace: Some(begun.traceparent()),
        ..Outgoing::default()
    };
    detached(async move {
        let sent = queue.send(vec![outgoing]).await.map_err(|error| problem::pipe(&error))?;
        let sent = sent.into_iter().next().ok_or_else(problem::stopping)?;
        let sent = sent.map_err(|error| problem::not_sent(&error))?;
        let destination = queue.name().as_str();
        let about = About { system: SQS, destination, messages: vec![&sent.id] };
        told.end(begun, What::Send, &about, None);
        Ok(Json(api::SentMessage { id: sent.id, duplicate: sent.duplicate }))
    })
    .await
}

pub(crate) async fn receive(
    State(admin): Shared,
    Path(name): Path<String>,
    wish: Result<Json<api::ReceiveMessages>, JsonRejection>,
) -> Answer<Vec<api::Message>> {
    let api::ReceiveMessages { max, wait_s, keep } = body(wish)?;
    let (_, queue) = find(&admin, &name)?;
    let want = Receive {
        max: max.clamp(1, 10) as usize,
        visibility_seconds: None,
        wait: Duration::from_secs(wait_s.min(20).into()),
        attempt: None,
    };
    // Whoever asks may go away while it waits: then nothing is received.
    let messages = tokio::select! {
        messages = queue.receive(want) => messages.map_err(|error| problem::not_received(&error))?,
        () = admin.ending.cancelled() => return Err(problem::stopping()),
    };
    if !messages.is_empty() {
        let told = admin.applier.broker.told();
        let contexts: Vec<_> = messages.iter().map(|message| message.message.context()).collect();
        let ids = messages.iter().map(|message| &*message.id).collect();
        let about = About { system: SQS, destination: queue.name().as_str(), messages: ids };
        told.end(told.begin(&contexts), What::Receive, &about, None);
    }
    if !keep {
        let receipts = messages.iter().map(|message| message.receipt).collect();
        let deleted =
            detached(async move { queue.delete(receipts).await.map_err(|error| problem::pipe(&error)) });
        deleted.await?;
    }
    Ok(Json(messages.into_iter().map(message).collect()))
}

pub(crate) async fn purge(State(admin): Shared, Path(name): Path<String>) -> Answer<api::QueueDetail> {
    let (pipes, queue) = find(&admin, &name)?;
    detached(async move {
        queue.purge().await.map_err(|error| problem::not_purged(&error))?;
        Ok(Json(detail(&admin, &pipes, &queue).await))
    })
    .await
}

pub(crate) async fn begin_move(
    State(admin): Shared,
    Path(name): Path<String>,
    wish: Result<Json<api::MoveMessages>, JsonRejection>,
) -> Answer<api::QueueDetail> {
    let api::MoveMessages { to, per_second } = body(wish)?;
    let (pipes, queue) = find(&admin, &name)?;
    let to = match to {
        None => None,
        Some(to) => Some(find(&admin, &to)?.1.name().clone()),
    };
    detached(async move {
        let begun = pipes.start_move(queue.name(), to, per_second).await;
        begun.map_err(|error| problem::not_moved(&error))?;
        Ok(Json(detail(&admin, &pipes, &queue).await))
    })
    .await
}

type Found = (std::sync::Arc<pipes::Pipes>, pipes::Queue);

fn find(admin: &Admin, name: &str) -> Result<Found, problem::Refusal> {
    let pipes = admin.applier.broker.pipes();
    let queue = pipes.as_ref().and_then(|pipes| pipes.queue(&name.parse().ok()?));
    pipes.zip(queue).ok_or_else(|| problem::no_queue(name))
}

fn shown(queue: &pipes::Queue, owners: &crate::app::PipeOwners) -> api::Queue {
    let (settings, counts) = (queue.settings(), queue.counts());
    let name = queue.name().to_string();
    api::Queue {
        url: owners.url(&name),
        owner: owners.of_queue(&name),
        fifo: settings.fifo.is_some(),
        visible: counts.visible,
        in_flight: counts.in_flight,
        delayed: counts.delayed,
        oldest_sent_at: counts.oldest_sent_at,
        sent: counts.sent,
        received: counts.received,
        deleted: counts.deleted,
        dead_letter: settings.dead_letter.as_ref().map(|dead| (dead.target.to_string(), dead.after)),
        name,
    }
}

async fn detail(admin: &Admin, pipes: &pipes::Pipes, queue: &pipes::Queue) -> api::QueueDetail {
    let settings = queue.settings();
    let moves = pipes.moves(queue.name()).into_iter().map(|task| api::QueueMove {
        id: task.id.to_string(),
        to: task.to.map(|to| to.to_string()),
        state: match task.state {
            pipes::MoveState::Running => "running".into(),
            pipes::MoveState::Completed => "completed".into(),
            pipes::MoveState::Cancelled => "cancelled".into(),
            pipes::MoveState::Failed(why) => format!("failed: {why}"),
        },
        moved: task.moved,
    });
    api::QueueDetail {
        queue: shown(queue, &admin.applier.pipe_owners().await),
        visibility_s: settings.visibility_seconds,
        delay_s: settings.delay_seconds,
        retention_s: settings.retention_seconds,
        message_bytes: settings.message_bytes,
        wait_s: settings.wait_seconds,
        dead_letters_of: pipes.dead_letter_sources(queue.name()).iter().map(ToString::to_string).collect(),
        tags: queue.tags(),
        created_at: queue.created_at(),
        moves: moves.collect(),
    }
}

fn message(delivery: pipes::Delivery) -> api::Message {
    let pipes::Delivery { id, message, sent_at, receives, .. } = delivery;
    let value = |attribute: Attribute| {
        let text = match attribute.value {
            AttributeValue::Text(text) => text,
            AttributeValue::Binary(bytes) => format!("({} bytes)", bytes.len()),
        };
        (attribute.name, text)
    };
    api::Message {
        id,
        body: String::from_utf8_lossy(&message.body).into_owned(),
        attributes: message.attributes.into_iter().map(value).collect(),
        group: message.group,
        sent_at,
        sender: message.sender,
        receives,
    }
}
