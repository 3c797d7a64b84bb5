//! Deliveries to addresses: from the queue of a subscription, one by one, until each is taken or given up.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use kit::{BoxFuture, OnError, Tasks, Timestamp};
use rand::RngExt;
use tokio::sync::watch;

use super::fanout::{OWN, OWN_FAREWELL, OWN_ID, OWN_QUESTION};
use super::id::SubscriptionId;
use super::retry::{Retry, Verdict, spread_seconds, verdict};
use super::shell::Inner;
use super::subscription::{State, Subscription};
use crate::error::{PipeError, ReceiveError};
use crate::name::TopicName;
use crate::queue::message::{Attribute, AttributeValue, Delivery};
use crate::queue::settings::Settings;
use crate::shell::{Queue, Receive};

/// Deliveries of one subscription that may be under way at once.
pub const IN_FLIGHT: usize = 16;
/// For how long one delivery may take.
pub const DEADLINE: Duration = Duration::from_secs(15);
/// For how long a message is held while it is delivered: the deadline, with room to spare. After a crash, what was under way
/// is delivered again once this is over.
const HELD_SECONDS: u32 = 30;
/// The same where a throttle has messages wait for their turn.
const HELD_IN_LINE_SECONDS: u32 = 120;
/// How long a receive waits.
const WAIT: Duration = Duration::from_secs(20);
/// After a refusal for too much load.
const PAUSE: Duration = Duration::from_secs(1);

/// Brings messages to addresses. Whoever has a client does it; here is decided when, how often, and what comes then.
pub trait Deliver: Send + Sync + 'static {
    /// Delivers once. Given up by its caller after [`DEADLINE`].
    fn deliver(&self, push: Push) -> BoxFuture<'_, Result<(), Undelivered>>;
}

/// One delivery.
#[derive(Clone, Debug, PartialEq)]
pub struct Push {
    /// From which topic.
    pub topic: TopicName,
    /// For which subscription.
    pub subscription: SubscriptionId,
    /// The address.
    pub url: Arc<str>,
    /// What it is.
    pub kind: PushKind,
    /// Whether the body goes as it was published, without an envelope.
    pub raw: bool,
    /// The message.
    pub message_id: String,
    /// What is sent.
    pub body: Bytes,
    /// Attributes of a message that is sent raw.
    pub attributes: Vec<Attribute>,
    /// The `Content-Type` that the subscription wants.
    pub content_type: Option<String>,
    /// `traceparent` or an X-Ray header, as it came.
    pub trace: Option<String>,
    /// Which try this is, the first is 1.
    pub tries: u32,
}

/// What a delivery brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushKind {
    /// The question whether the address wants what the topic has.
    Question,
    /// That the subscription has ended, and how to have it back.
    Farewell,
    /// A message.
    Notification,
}

/// Why a delivery was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Undelivered {
    /// Another try may help: no connection, no answer, 429, 5xx.
    #[error("{0}")]
    Again(String),
    /// It would be refused again: any other status that is not 2xx.
    #[error("{0}")]
    Never(String),
}

/// What became of the deliveries of a subscription since this process began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Those that were taken.
    pub taken: u64,
    /// Tries that failed.
    pub failed: u64,
    /// Messages that were given up: dead letters, or dropped where there is no queue for them.
    pub given_up: u64,
    /// The last try that failed.
    pub last_failure: Option<Failed>,
}

/// A try that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// When.
    pub at: Timestamp,
    /// Which try of its message it was.
    pub tries: u32,
    /// Why.
    pub why: String,
}

/// The longest reason that is kept, in characters.
const MOST_WHY: usize = 300;

impl Tally {
    fn failed(&mut self, at: Timestamp, tries: u32, error: &Undelivered) {
        self.failed += 1;
        let why = error.to_string().chars().take(MOST_WHY).collect();
        self.last_failure = Some(Failed { at, tries, why });
    }
}

/// The settings of an outbox: the retry policy decides when something is visible again, and nothing is kept for ever.
pub(crate) fn settings() -> Settings {
    Settings { visibility_seconds: HELD_SECONDS, retention_seconds: 1_209_600, ..Settings::default() }
}

/// Starts delivering for a subscription, until `gone` ends.
pub(crate) fn start(
    inner: Arc<Inner>,
    id: SubscriptionId,
    queue: Queue,
    deliver: Arc<dyn Deliver>,
    gone: watch::Receiver<()>,
    tasks: &Tasks,
) {
    tasks.spawn("topics.deliver", OnError::Log, |stop| async move {
        let courier = Courier { inner, id, queue, deliver };
        tokio::select! {
            () = stop.cancelled() => {}
            () = ended(gone) => {}
            () = courier.run() => {}
        }
        Ok::<_, Infallible>(())
    });
}

async fn ended(mut gone: watch::Receiver<()>) {
    while gone.changed().await.is_ok() {}
}

struct Courier {
    inner: Arc<Inner>,
    id: SubscriptionId,
    queue: Queue,
    deliver: Arc<dyn Deliver>,
}

impl Courier {
    /// Returns when the queue is gone, or the store has stopped. May be dropped at any moment: what was not deleted
    /// comes back.
    async fn run(&self) {
        let mut under_way = FuturesUnordered::new();
        let mut throttle = Throttle::default();
        loop {
            let room = IN_FLIGHT - under_way.len();
            if room == 0 {
                under_way.next().await;
                continue;
            }
            let held = if self.retry().per_second.is_some() { HELD_IN_LINE_SECONDS } else { HELD_SECONDS };
            let want = Receive { max: room, visibility_seconds: Some(held), wait: WAIT, attempt: None };
            let began = self.inner.clock.now();
            let mut receiving = std::pin::pin!(self.queue.receive(want));
            let received = loop {
                tokio::select! {
                    received = &mut receiving => break received,
                    Some(()) = under_way.next(), if !under_way.is_empty() => {}
                }
            };
            match received {
                // Nothing before its time: the queues are stopping. Whoever stops us has to get a word in.
                Ok(deliveries) if deliveries.is_empty() && self.inner.clock.now().since(began) < WAIT => {
                    self.pause(&mut under_way).await;
                }
                Ok(deliveries) => {
                    for delivery in deliveries {
                        let turn = throttle.turn(self.retry().per_second, self.inner.clock.now());
                        under_way.push(self.bring(delivery, turn));
                    }
                }
                Err(ReceiveError::Pipe(PipeError::Busy) | ReceiveError::OverLimit) => {
                    self.pause(&mut under_way).await;
                }
                Err(ReceiveError::Pipe(PipeError::Stopped(_) | PipeError::NoSuchQueue(_))) => return,
            }
        }
    }

    /// Takes nothing new for a while; what is under way goes on.
    async fn pause(&self, under_way: &mut FuturesUnordered<impl Future<Output = ()>>) {
        let mut over = std::pin::pin!(self.inner.clock.sleep_until(self.inner.clock.now() + PAUSE));
        loop {
            tokio::select! {
                () = &mut over => return,
                Some(()) = under_way.next(), if !under_way.is_empty() => {}
            }
        }
    }

    fn retry(&self) -> Retry {
        let Some((subscription, topic)) = self.inner.subscription(self.id) else { return Retry::default() };
        subscription.settings.retry.clone().or_else(|| topic.settings().retry.clone()).unwrap_or_default()
    }

    async fn bring(&self, delivery: Delivery, turn: Timestamp) {
        let Some((subscription, _)) = self.inner.subscription(self.id) else { return };
        let Some(url) = subscription.endpoint.url().cloned() else { return };
        let retry = self.retry();
        let receipt = delivery.receipt;
        let push = push(&delivery, &subscription, url, retry.content_type.clone());
        let kind = push.kind;
        let outdated = match kind {
            PushKind::Question | PushKind::Farewell => subscription.is_confirmed(), // answered meanwhile
            PushKind::Notification => matches!(subscription.state, State::Ended { .. }),
        };
        if outdated {
            return self.done(&delivery).await;
        }
        self.inner.clock.sleep_until(turn).await;
        let deadline = self.inner.clock.now() + DEADLINE;
        let outcome = tokio::select! {
            outcome = self.deliver.deliver(push) => outcome,
            () = self.inner.clock.sleep_until(deadline) => Err(Undelivered::Again("there was no answer in time".to_owned())),
        };
        let failed = outcome.as_ref().err().map(|error| matches!(error, Undelivered::Again(_)));
        let judged = verdict(&retry, delivery.receives, failed);
        let now = self.inner.clock.now();
        self.inner.tally(self.id, |tally| {
            match &outcome {
                Ok(()) => tally.taken += 1,
                Err(error) => tally.failed(now, delivery.receives, error),
            }
            tally.given_up += u64::from(matches!(judged, Verdict::GiveUp));
        });
        match judged {
            Verdict::Done => self.done(&delivery).await,
            Verdict::Again(delay) => {
                let seconds = spread_seconds(delay, rand::rng().random_range(0.0..=1.0));
                // If this fails, it is tried again when the message is no longer held.
                let _ = self.queue.change_visibility(vec![(receipt, seconds)]).await;
            }
            Verdict::GiveUp => {
                let why = outcome.err().map_or_else(String::new, |error| error.to_string());
                let dead_letter =
                    subscription.settings.dead_letter.clone().filter(|_| kind == PushKind::Notification);
                self.give_up(delivery, dead_letter, &why).await;
            }
        }
    }

    async fn done(&self, delivery: &Delivery) {
        // If this fails, it is delivered once more: at least once is what is promised.
        let _ = self.queue.delete(vec![delivery.receipt]).await;
    }

    /// First there, then no longer here: a crash between the two leaves it in both places, not in none.
    async fn give_up(&self, delivery: Delivery, dead_letter: Option<crate::QueueName>, why: &str) {
        let subscription = self.id;
        if let Some(queue) = dead_letter {
            let mut outgoing = delivery.message.clone();
            outgoing.attributes.retain(|attribute| !attribute.name.starts_with(OWN));
            match self.inner.pipes.send_all(vec![(queue.clone(), vec![outgoing])]).await {
                Ok(sent) => {
                    if let Some(Err(error)) = sent.into_iter().flatten().next() {
                        tracing::warn!(%subscription, %queue, "a message cannot be dead-lettered and is dropped: {error}");
                    }
                }
                Err(PipeError::NoSuchQueue(_)) => {
                    tracing::warn!(%subscription, %queue, "there is no such dead-letter queue: a message is dropped");
                }
                // It comes back, and is given up again.
                Err(_) => return,
            }
        } else {
            tracing::warn!(%subscription, "a message cannot be delivered and is dropped: {why}");
        }
        self.done(&delivery).await;
    }
}

fn push(
    delivery: &Delivery,
    subscription: &Subscription,
    url: Arc<str>,
    content_type: Option<String>,
) -> Push {
    let find = |name: &str| {
        delivery.message.attributes.iter().find(|attribute| attribute.name == name).and_then(|attribute| {
            match &attribute.value {
                AttributeValue::Text(text) => Some(text.clone()),
                AttributeValue::Binary(_) => None,
            }
        })
    };
    let kind = if find(OWN_QUESTION).is_some() {
        PushKind::Question
    } else if find(OWN_FAREWELL).is_some() {
        PushKind::Farewell
    } else {
        PushKind::Notification
    };
    let attributes = delivery.message.attributes.iter().filter(|attribute| !attribute.name.starts_with(OWN));
    Push {
        topic: subscription.topic.clone(),
        subscription: subscription.id,
        url,
        kind,
        raw: subscription.settings.raw,
        message_id: find(OWN_ID).unwrap_or_default(),
        body: delivery.message.body.clone(),
        attributes: attributes.cloned().collect(),
        content_type,
        trace: delivery.message.trace.clone(),
        tries: delivery.receives,
    }
}

/// So many a second, evenly.
#[derive(Default)]
struct Throttle {
    next: Option<Timestamp>,
}

impl Throttle {
    /// When the next one may go.
    fn turn(&mut self, per_second: Option<u32>, now: Timestamp) -> Timestamp {
        let Some(per_second) = per_second else { return now };
        let turn = self.next.unwrap_or(now).max(now);
        self.next = Some(turn + Duration::from_secs(1) / per_second.max(1));
        turn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_throttle_spreads_deliveries_evenly() {
        let now = Timestamp::from_micros(5_000_000);
        let mut throttle = Throttle::default();
        assert_eq!(throttle.turn(None, now), now);
        let turns: Vec<_> = (0..3).map(|_| throttle.turn(Some(4), now).since(now).as_millis()).collect();
        assert_eq!(turns, [0, 250, 500]);
        let later = now + Duration::from_secs(10);
        assert_eq!(throttle.turn(Some(4), later), later);
    }
}
