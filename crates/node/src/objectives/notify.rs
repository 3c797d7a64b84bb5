//! Tells who is to be told: a webhook, as Alertmanager posts, a topic of the app, and people by e-mail ([`super::mail`]). Each has a queue
//! of its own: one that does not listen holds up nobody else.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use control::{Happening, Level};
use http::Request;
use http::header::CONTENT_TYPE;
use http_body_util::Full;
use kit::{Backoff, OnError, Tasks};
use manifest::spec::PipeName;
use pipes::topic::Publication;
use serde_json::json;
use telemetry::promql::NAME;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::mail::{self, Sender};
use super::{Notice, Objectives, happening};
use crate::broker::Broker;
use crate::console::WebConsole;
use crate::edge::Tell;
use crate::outbound::{self, Version};

/// Notices that wait for an addressee; one more is left out, and that is told as an event.
const WAITING: usize = 100;
/// For how long one is tried from when it came, once at least. Those behind it wait meanwhile and have no longer: who does not listen
/// for a while misses nothing, and who never does holds nothing up for longer than this and one try for each.
const TRIED_FOR: Duration = Duration::from_secs(120);
const AGAIN: Backoff = Backoff { first: Duration::from_secs(1), max: Duration::from_secs(15) };
/// How long one may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a node that ends waits for who is being told: a mail server may look at a letter for minutes.
const LAST: Duration = Duration::from_secs(2);
/// Who publishes.
const SENDER: &str = "atoll";

pub(super) struct Notifier {
    to: Vec<mpsc::Sender<Waiting>>,
    tell: Tell,
}

type Waiting = (Instant, Arc<Notice>);

/// What those who are told are reached through.
pub(crate) struct Ways {
    pub(crate) broker: Arc<Broker>,
    /// Letters say where it is.
    pub(crate) console: Arc<WebConsole>,
}

/// Why somebody has not been told, and whether it is worth trying again.
#[derive(Debug)]
pub(super) struct Untold {
    pub(super) why: String,
    pub(super) again: bool,
}

impl Untold {
    pub(super) fn again(why: String) -> Self {
        Self { why, again: true }
    }

    pub(super) fn for_good(why: String) -> Self {
        Self { why, again: false }
    }
}

impl Notifier {
    pub(super) fn start(ways: Ways, objectives: Objectives, tell: Tell, tasks: &Tasks) -> Self {
        let Ways { broker, console } = ways;
        let mut notifier = Self { to: Vec::new(), tell };
        let (all, inner) = (objectives.clone(), tasks.clone());
        notifier.add("node.alerts.webhook", tasks, move |notice| {
            let (to, tasks) = (all.addressees(), inner.clone());
            async move {
                let Some(webhook) = &to.alerts.webhook else { return Ok(()) };
                post(webhook, posted(&notice), &tasks).await.map_err(Untold::again)
            }
        });
        let all = objectives.clone();
        notifier.add("node.alerts.topic", tasks, move |notice| {
            let (to, broker) = (all.addressees(), Arc::clone(&broker));
            async move {
                let Some(topic) = &to.alerts.topic else { return Ok(()) };
                publish(&broker, topic, posted(&notice)).await.map_err(Untold::again)
            }
        });
        let left = Arc::new(Mutex::new(mail::Left::default()));
        let machine = rustix::system::uname().nodename().to_string_lossy().into_owned();
        notifier.add("node.alerts.mail", tasks, move |notice| {
            let (to, console, host) = (objectives.addressees(), console.url(), machine.clone());
            let left = Arc::clone(&left);
            async move {
                let Some(mail) = &to.alerts.mail else { return Ok(()) };
                let sender = Sender { app: &to.app, host: &host, console };
                mail::send(&notice, mail, &sender, &left).await
            }
        });
        notifier
    }

    fn add<F>(&mut self, name: &str, tasks: &Tasks, mut act: impl FnMut(Arc<Notice>) -> F + Send + 'static)
    where
        F: Future<Output = Result<(), Untold>> + Send,
    {
        let (to, mut notices) = mpsc::channel::<Waiting>(WAITING);
        let tell = Arc::clone(&self.tell);
        tasks.spawn(name, OnError::Log, |stop| async move {
            while let Some((came, notice)) = tokio::select! {
                notice = notices.recv() => notice,
                () = stop.cancelled() => None,
            } {
                if let Err(untold) = tried(came, &stop, || act(Arc::clone(&notice))).await {
                    tell(undelivered(untold.why));
                }
            }
            Ok::<_, Infallible>(())
        });
        self.to.push(to);
    }

    /// Never waits.
    pub(super) fn send(&self, notice: Notice) {
        (self.tell)(happening(&notice));
        let notice = Arc::new(notice);
        for to in &self.to {
            if let Err(error) = to.try_send((Instant::now(), Arc::clone(&notice))) {
                (self.tell)(undelivered(format!("too many alerts wait to be told: {error}")));
            }
        }
    }

    /// Tells of something that is no alert.
    pub(super) fn tell(&self, happening: Happening) {
        (self.tell)(happening);
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

async fn tried<F: Future<Output = Result<(), Untold>>>(
    came: Instant,
    stop: &CancellationToken,
    mut act: impl FnMut() -> F,
) -> Result<(), Untold> {
    let mut tries = 1;
    loop {
        let ends = async {
            stop.cancelled().await;
            tokio::time::sleep(LAST).await;
        };
        let told = tokio::select! {
            told = act() => told,
            () = ends => Err(Untold::for_good("the node ends, and nobody has answered".to_owned())),
        };
        let untold = match told {
            Ok(()) => return Ok(()),
            Err(untold) => untold,
        };
        let pause = AGAIN.draw(tries);
        if !untold.again || came.elapsed() + pause > TRIED_FOR || stop.is_cancelled() {
            return Err(untold);
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => return Err(untold),
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
pub(super) fn digest(body: &[u8]) -> u64 {
    use sha2::{Digest, Sha256};
    Sha256::digest(body).iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// All that tells an alert from others: who is told goes by them when it is over.
pub(super) fn labels(notice: &Notice) -> BTreeMap<&str, &str> {
    let of_series = notice.labels.iter().filter(|(label, _)| *label != NAME);
    let mut labels: BTreeMap<&str, &str> = of_series.map(|(label, value)| (&**label, &**value)).collect();
    if let Some(service) = &notice.service {
        labels.insert("service", service.as_str());
    }
    if let Some(route) = &notice.route {
        labels.insert("route", route);
    }
    labels.insert("alertname", &notice.name);
    labels.insert("severity", notice.urgency.as_str());
    labels
}

/// What tells these labels from all others.
pub(super) fn distinct(labels: &BTreeMap<&str, &str>) -> String {
    labels.iter().flat_map(|(label, value)| [label, "\0", value, "\0"]).collect()
}

/// An alert as Alertmanager posts it to webhooks, version 4: what many already take. It is a group of its own.
fn posted(notice: &Notice) -> Bytes {
    let status = if notice.ended.is_some() { "resolved" } else { "firing" };
    let labels = labels(notice);
    let of_group: Vec<String> = labels.iter().map(|(label, value)| format!("{label}={value:?}")).collect();
    let ends = notice.ended.map_or_else(|| "0001-01-01T00:00:00Z".to_owned(), |ended| ended.to_string());
    let posted = json!({
        "version": "4",
        "groupKey": format!("{{}}:{{{}}}", of_group.join(", ")),
        "truncatedAlerts": 0,
        "status": status,
        "receiver": "atoll",
        "groupLabels": labels,
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
            "fingerprint": format!("{:016x}", digest(distinct(&labels).as_bytes())),
        }],
    });
    Bytes::from(posted.to_string())
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, PoisonError};

    use telemetry::slo::Urgency;

    use super::super::moment_of;
    use super::*;

    fn notice(name: &str, labels: &[(&str, &str)], urgency: Urgency) -> Notice {
        Notice {
            name: name.to_owned(),
            service: None,
            route: None,
            labels: labels.iter().map(|(label, value)| ((*label).into(), (*value).into())).collect(),
            urgency,
            summary: name.to_owned(),
            since: moment_of(1_700_000_000),
            ended: None,
        }
    }

    #[test]
    fn alerts_are_told_apart_by_their_labels_and_meet_again_when_they_are_over() {
        let read =
            |notice: &Notice| -> serde_json::Value { serde_json::from_slice(&posted(notice)).unwrap() };
        let id = |notice: &Notice| read(notice)["alerts"][0]["fingerprint"].as_str().unwrap().to_owned();
        let one = notice("down", &[("__name__", "up"), ("instance", "a"), ("severity", "x")], Urgency::Page);
        let other = notice("down", &[("__name__", "up"), ("instance", "b")], Urgency::Page);
        let ticket = notice("down", &[("__name__", "up"), ("instance", "b")], Urgency::Ticket);
        let labels = json!({ "alertname": "down", "severity": "page", "instance": "a" });
        assert_eq!(read(&one)["alerts"][0]["labels"], labels);
        assert_eq!(read(&one)["groupKey"], r#"{}:{alertname="down", instance="a", severity="page"}"#);
        assert_ne!(id(&one), id(&other));
        assert_ne!(id(&other), id(&ticket));
        let over = Notice { ended: Some(moment_of(1_700_000_900)), summary: "over".into(), ..one.clone() };
        assert_eq!((id(&over), &read(&over)["status"]), (id(&one), &json!("resolved")));
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_ends_waits_for_nobody_who_does_not_answer() {
        let stop = CancellationToken::new();
        let began = Instant::now();
        let telling = tried(began, &stop, std::future::pending::<Result<(), Untold>>);
        let (told, ()) = tokio::join!(telling, async { stop.cancel() });
        assert!(!told.unwrap_err().again);
        assert_eq!(began.elapsed(), LAST);
    }

    type Seen = Arc<Mutex<Vec<String>>>;

    fn seen(to: &Seen) -> Vec<String> {
        to.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn notifier() -> (Notifier, Seen) {
        let events = Seen::default();
        let to = Arc::clone(&events);
        let tell: Tell = Arc::new(move |happening| to.lock().unwrap().push(happening.kind.to_owned()));
        (Notifier { to: Vec::new(), tell }, events)
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_listen_holds_up_nobody_else_and_misses_nothing_for_a_while() {
        let (tasks, (mut notifier, events)) = (Tasks::new(), notifier());
        let (late, prompt) = (Seen::default(), Seen::default());
        let began = Instant::now();
        let to = Arc::clone(&late);
        notifier.add("late", &tasks, move |notice| {
            let to = Arc::clone(&to);
            async move {
                tokio::time::sleep(PATIENCE).await;
                if began.elapsed() < Duration::from_secs(80) {
                    return Err(Untold::again("nobody is there".to_owned()));
                }
                to.lock().unwrap().push(notice.name.clone());
                Ok(())
            }
        });
        let to = Arc::clone(&prompt);
        notifier.add("prompt", &tasks, move |notice| {
            to.lock().unwrap().push(notice.name.clone());
            std::future::ready(Ok(()))
        });
        let names: Vec<String> = (0..10).map(|n| format!("alert {n}")).collect();
        names.iter().for_each(|name| notifier.send(notice(name, &[], Urgency::Page)));
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!((seen(&prompt), seen(&late)), (names.clone(), Vec::new()));
        tokio::time::sleep(Duration::from_secs(300)).await;
        assert_eq!(seen(&late), names, "each, in their order");
        assert_eq!(seen(&events), vec!["alert.firing"; 10]);
    }

    #[tokio::test(start_paused = true)]
    async fn who_never_listens_is_given_up_and_that_is_told() {
        let (tasks, (mut notifier, events)) = (Tasks::new(), notifier());
        notifier
            .add("never", &tasks, |_| std::future::ready(Err(Untold::again("nobody is there".to_owned()))));
        (0..WAITING + 5).for_each(|n| notifier.send(notice(&n.to_string(), &[], Urgency::Page)));
        let undelivered = || seen(&events).iter().filter(|kind| *kind == "alert.undelivered").count();
        assert_eq!(undelivered(), 5, "for whom there is no room");
        tokio::time::sleep(TRIED_FOR).await;
        assert_eq!(undelivered(), WAITING + 5);
    }
}
