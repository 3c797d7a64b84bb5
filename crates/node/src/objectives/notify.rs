//! Tells who is to be told: a webhook, as Alertmanager posts, and a topic of the app.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use control::{Happening, Level};
use http::Request;
use http::header::CONTENT_TYPE;
use http_body_util::Full;
use kit::{Backoff, OnError, Tasks};
use manifest::spec::{Alerts, PipeName};
use pipes::topic::Publication;
use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Notice, Objectives};
use crate::broker::Broker;
use crate::edge::Tell;
use crate::outbound::{self, Version};

/// Notices that wait to be told; one more is left out, and that is told as an event.
const WAITING: usize = 100;
/// Tries for each.
const TRIES: u32 = 6;
const AGAIN: Backoff = Backoff { first: Duration::from_secs(1), max: Duration::from_secs(60) };
/// How long one may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Who publishes.
const SENDER: &str = "atoll";

pub(super) struct Notifier {
    to: mpsc::Sender<Notice>,
    tell: Tell,
}

impl Notifier {
    pub(super) fn start(broker: Arc<Broker>, objectives: Objectives, tell: Tell, tasks: &Tasks) -> Self {
        let (to, mut notices) = mpsc::channel::<Notice>(WAITING);
        let (told, inner) = (tell.clone(), tasks.clone());
        tasks.spawn("node.alerts", OnError::Log, move |stop| async move {
            while let Some(notice) = tokio::select! {
                notice = notices.recv() => notice,
                () = stop.cancelled() => None,
            } {
                let alerts = objectives.addressees();
                for failed in deliver(&notice, &alerts, &broker, &inner, &stop).await {
                    told(undelivered(failed));
                }
            }
            Ok::<_, Infallible>(())
        });
        Self { to, tell }
    }

    /// Never waits.
    pub(super) fn send(&self, notice: Notice) {
        if let Err(error) = self.to.try_send(notice) {
            (self.tell)(undelivered(format!("too many alerts wait to be told: {error}")));
        }
    }
}

fn undelivered(message: String) -> Happening {
    Happening {
        level: Level::Warning,
        kind: "alert.undelivered",
        service: None,
        instance: None,
        message,
        code: Some("A0683"),
        hint: Some("see that `telemetry.alerts` names somebody who listens".to_owned()),
    }
}

/// Gives what failed.
async fn deliver(
    notice: &Notice,
    alerts: &Alerts,
    broker: &Broker,
    tasks: &Tasks,
    stop: &CancellationToken,
) -> Vec<String> {
    let body = Bytes::from(posted(notice).to_string());
    let mut failed = Vec::new();
    if let Some(topic) = &alerts.topic {
        let publish = || publish(broker, topic, body.clone());
        failed.extend(tried(stop, publish).await.err());
    }
    if let Some(webhook) = &alerts.webhook {
        let post = || post(webhook, body.clone(), tasks);
        failed.extend(tried(stop, post).await.err());
    }
    failed
}

async fn tried<F: Future<Output = Result<(), String>>>(
    stop: &CancellationToken,
    mut act: impl FnMut() -> F,
) -> Result<(), String> {
    let mut tries = 1;
    loop {
        let error = match act().await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        if tries == TRIES || stop.is_cancelled() {
            return Err(error);
        }
        tokio::select! {
            () = tokio::time::sleep(AGAIN.draw(tries)) => {}
            () = stop.cancelled() => return Err(error),
        }
        tries += 1;
    }
}

async fn post(webhook: &str, body: Bytes, tasks: &Tasks) -> Result<(), String> {
    let request = Request::post(webhook)
        .header(CONTENT_TYPE, "application/json")
        .header("user-agent", concat!("atoll/", env!("CARGO_PKG_VERSION")))
        .body(Full::new(body))
        .map_err(|error| format!("the webhook cannot be called: {error}"))?;
    match outbound::send(request, Version::One, PATIENCE, tasks).await {
        Ok(answer) if answer.status.is_success() => Ok(()),
        Ok(answer) => Err(format!("the webhook answers {}", answer.status)),
        Err(error) => Err(format!("the webhook cannot be reached: {}", kit::report::chain(&error))),
    }
}

async fn publish(broker: &Broker, topic: &PipeName, body: Bytes) -> Result<(), String> {
    let failed = |why: &dyn std::fmt::Display| format!("the alert cannot be published on `{topic}`: {why}");
    let topics = broker.topics().ok_or_else(|| failed(&"topics are not open"))?;
    let name = topic.as_str().parse().map_err(|_| failed(&"this is no topic"))?;
    let fifo = topics.topic(&name).is_some_and(|topic| topic.settings().fifo.is_some());
    let message = Publication {
        body: String::from_utf8_lossy(&body).into_owned().into(),
        subject: Some("alert".to_owned()),
        group: fifo.then(|| "alerts".to_owned()),
        dedup: fifo.then(|| format!("{:016x}", digest(&body))),
        sender: SENDER.into(),
        ..Publication::default()
    };
    let outcomes = topics.publish(&name, vec![message]).await.map_err(|error| failed(&error))?;
    match outcomes.into_iter().next() {
        Some(Ok(_)) => Ok(()),
        Some(Err(error)) => Err(failed(&error)),
        None => Err(failed(&"nothing came of it")),
    }
}

/// The same alert is the same message.
fn digest(body: &[u8]) -> u64 {
    use sha2::{Digest, Sha256};
    Sha256::digest(body).iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// An alert as Alertmanager posts it to webhooks, version 4: what many already take.
fn posted(notice: &Notice) -> serde_json::Value {
    let status = if notice.ended.is_some() { "resolved" } else { "firing" };
    let mut labels = serde_json::Map::new();
    labels.insert("alertname".into(), notice.name.as_str().into());
    labels.insert("severity".into(), notice.urgency.as_str().into());
    if let Some(service) = &notice.service {
        labels.insert("service".into(), service.as_str().into());
    }
    if let Some(route) = &notice.route {
        labels.insert("route".into(), route.as_str().into());
    }
    let ends = notice.ended.map_or_else(|| "0001-01-01T00:00:00Z".to_owned(), |ended| ended.to_string());
    json!({
        "version": "4",
        "groupKey": format!("{{}}:{{alertname={:?}}}", notice.name),
        "truncatedAlerts": 0,
        "status": status,
        "receiver": "atoll",
        "groupLabels": { "alertname": notice.name },
        "commonLabels": labels,
        "commonAnnotations": { "summary": notice.summary },
        "externalURL": "",
        "alerts": [{
            "status": status,
            "labels": labels,
            "annotations": { "summary": notice.summary },
            "startsAt": notice.since.to_string(),
            "endsAt": ends,
            "generatorURL": "",
            "fingerprint": format!("{:016x}", digest(notice.name.as_bytes())),
        }],
    })
}
