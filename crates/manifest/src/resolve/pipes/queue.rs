//! One entry of `queues`: how it behaves, what it takes and how it is delivered.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::time::Duration;

use kit::units::Bytes;

use super::super::detour::target;
use super::super::guard::{number, units};
use super::Reference;
use crate::fault::Fault;
use crate::spec::{Deliver, Fifo, FilterScope, PipeName, Queue, ServiceName, Subscription, Topic};
use crate::text::At;
use crate::text::decode::{Faults, nearest, shown};
use crate::text::pipes::{DeliverLong, FromLong, QueueText, ScopeWord};
use crate::text::scalar::{Size, Time};
use crate::text::shape::Form;

/// Bounds of times, in seconds: SQS's.
const VISIBILITY: RangeInclusive<u64> = 0..=43_200;
const DELAY: RangeInclusive<u64> = 0..=900;
const RETENTION: RangeInclusive<u64> = 60..=1_209_600;
const WAIT: RangeInclusive<u64> = 0..=20;
/// Bounds of the largest message, in bytes: SQS's.
const MAX_MESSAGE: RangeInclusive<u64> = 1_024..=1_048_576;
/// Topics of one queue at most.
const MAX_FROM: usize = 100;
/// Requests of one queue under way at once, at most.
const MAX_CONCURRENCY: u32 = 1_000;
/// Messages in one request at most: what one receive brings.
const MAX_BATCH: u32 = 10;
/// Bounds of the time of a delivery; a message can be hidden for no longer.
const DELIVERY: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(43_200);

/// What stands around a queue.
pub(super) struct Around<'a> {
    pub(super) owner: &'a ServiceName,
    /// Whether its owner runs to its end, and so cannot be delivered to.
    pub(super) ends: bool,
    pub(super) topics: &'a BTreeMap<PipeName, Topic>,
}

/// A queue without its dead letters and without what others may do.
pub(super) fn resolve(
    name: PipeName,
    fifo: Option<Fifo>,
    written: &QueueText,
    around: &Around<'_>,
    faults: &mut Faults,
) -> Queue {
    let deliver = written.deliver.as_ref().and_then(|at| deliver(at, around, faults));
    let default = Queue { fifo, ..Queue::new(name, around.owner.clone()) };
    let visibility = deliver.as_ref().map_or(default.visibility, hidden_while_delivered);
    Queue {
        visibility: seconds(&written.visibility, visibility, VISIBILITY, faults),
        delay: seconds(&written.delay, default.delay, DELAY, faults),
        retention: seconds(&written.retention, default.retention, RETENTION, faults),
        max_message: size(&written.max_message, default.max_message, faults),
        wait: seconds(&written.wait, default.wait, WAIT, faults),
        from: sources(written, &default, around, faults),
        deliver,
        ..default
    }
}

/// For how long a message is hidden where only its delivery has a time: a little longer, so that the answer
/// comes before another delivery begins.
fn hidden_while_delivered(deliver: &Deliver) -> Duration {
    let whole = deliver.timeout.as_secs() + u64::from(deliver.timeout.subsec_nanos() > 0);
    let hidden = Duration::from_secs(whole) + Queue::VISIBILITY_MARGIN;
    hidden.clamp(Queue::VISIBILITY, Duration::from_secs(*VISIBILITY.end()))
}

/// A time of whole seconds that is written and fits, else what holds without it.
fn seconds(
    written: &Option<At<Time>>,
    default: Duration,
    range: RangeInclusive<u64>,
    faults: &mut Faults,
) -> Duration {
    let Some(at) = written else { return default };
    let time = at.value.0;
    let hint = || format!("left out, it is {}", long_units(default));
    if time.subsec_nanos() != 0 {
        faults.bad_value(at.span, format!("`{}` is not a whole number of seconds", units(time)), hint());
        return default;
    }
    if !range.contains(&time.as_secs()) {
        let bound = |seconds| long_units(Duration::from_secs(seconds));
        let message = format!(
            "`{}` is not a time from {} to {}",
            long_units(time),
            bound(*range.start()),
            bound(*range.end())
        );
        faults.bad_value(at.span, message, hint());
        return default;
    }
    time
}

/// A duration as people write it, in days where it has only those.
fn long_units(duration: Duration) -> String {
    const DAY: u64 = 86_400;
    match duration.as_secs() {
        seconds if seconds >= DAY && seconds % DAY == 0 => format!("{}d", seconds / DAY),
        _ => units(duration),
    }
}

fn size(written: &Option<At<Size>>, default: Bytes, faults: &mut Faults) -> Bytes {
    let Some(at) = written else { return default };
    match at.value.0 {
        Some(bytes) if MAX_MESSAGE.contains(&bytes.0) => bytes,
        _ => {
            let (least, most) = (Bytes(*MAX_MESSAGE.start()), Bytes(*MAX_MESSAGE.end()));
            let message = format!("a message is allowed from {least} to {most}");
            faults.bad_value(at.span, message, format!("left out, it is {default}"));
            default
        }
    }
}

/// The topics whose messages it takes.
fn sources(
    written: &QueueText,
    queue: &Queue,
    around: &Around<'_>,
    faults: &mut Faults,
) -> Vec<Subscription> {
    let Some(from) = &written.from else { return Vec::new() };
    if from.0.len() > MAX_FROM {
        let message = format!("more than {MAX_FROM} topics");
        faults.bad_value(from.key, message, "let several queues take them");
    }
    let mut seen: BTreeSet<PipeName> = BTreeSet::new();
    let mut sources = Vec::new();
    for item in from.0.iter().take(MAX_FROM) {
        let (topic, long) = match &item.value {
            Form::Short(topic) => (item.with(topic.clone()), None),
            Form::Long(long) => match &long.topic {
                Some(topic) => (topic.clone(), Some(&**long)),
                None => continue, // a missing key was noted
            },
        };
        let Some(found) = find_topic(&topic, queue, around, faults) else { continue };
        if !seen.insert(found.name.clone()) {
            let message = format!("`{}` takes from `{}` twice", queue.name, shown(&topic));
            faults.bad_value(topic.span, message, "write it once; one filter may let several kinds through");
            continue;
        }
        sources.push(subscription(found, long, faults));
    }
    sources
}

fn find_topic<'a>(
    at: &At<String>,
    queue: &Queue,
    around: &Around<'a>,
    faults: &mut Faults,
) -> Option<&'a Topic> {
    let reference = Reference::new(at, around.owner);
    let Some(topic) = reference.find(around.topics, |topic| &topic.owner) else {
        let message = format!(
            "`{}` takes from `{}`, and `{}` has no such topic",
            queue.name,
            shown(at),
            shown(reference.service)
        );
        let fault = Fault::error("A0324", at.span, message);
        faults.add(if faults.full() { fault } else { fault.hint(topic_hint(&reference, around.topics)) });
        return None;
    };
    if queue.fifo.is_some() && topic.fifo.is_none() {
        let message = format!("`{}` keeps order, and `{}` does not", queue.name, shown(at));
        let fault = Fault::error("A0325", at.span, message);
        let hint =
            format!("write `{}: {{ fifo: true }}` under `topics`, or take `fifo` out here", topic.name);
        faults.add(fault.hint(hint));
        return None;
    }
    Some(topic)
}

fn topic_hint(reference: &Reference<'_>, topics: &BTreeMap<PipeName, Topic>) -> String {
    let full = |topic: &Topic| format!("{}/{}", topic.owner, topic.name);
    // The right name below the wrong service, or below none.
    if let Some(topic) = reference.name.parse().ok().and_then(|name: PipeName| topics.get(&name)) {
        return format!("did you mean `{}`?", full(topic));
    }
    let names: Vec<String> = topics.values().map(full).collect();
    let wanted = format!("{}/{}", reference.service, reference.name);
    match nearest(&wanted, names.iter().map(String::as_str)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "write it under its service: `topics: [order-placed]`".to_owned(),
    }
}

fn subscription(topic: &Topic, long: Option<&FromLong>, faults: &mut Faults) -> Subscription {
    let filter = long.and_then(|long| long.filter.as_ref());
    let scope = match long.and_then(|long| long.filter_scope.as_ref()).map(|at| at.value) {
        Some(ScopeWord::Body) => FilterScope::Body,
        Some(ScopeWord::Attributes) | None => FilterScope::Attributes,
    };
    if let Some(at) = filter.filter(|at| scope == FilterScope::Attributes && at.is_nested()) {
        let message = "attributes have no parts that a filter could look into";
        let hint = "conditions stand in a list (`price: [{ numeric: [\">\", 5] }]`); for the body write `filter_scope: body`";
        faults.bad_value(at.span, message, hint);
    }
    Subscription {
        topic: topic.name.clone(),
        filter: filter.map(|at| at.0.to_string()),
        filter_scope: scope,
        raw: long.and_then(|long| long.raw.as_ref()).is_some_and(|at| at.value),
    }
}

fn deliver(at: &At<Form<String, DeliverLong>>, around: &Around<'_>, faults: &mut Faults) -> Option<Deliver> {
    let (to, long) = match &at.value {
        Form::Short(to) => (at.with(to.clone()), None),
        Form::Long(long) => (long.to.clone()?, Some(&**long)), // a missing key was noted
    };
    if around.ends {
        let message = format!("`{}` runs to its end, and cannot be delivered to", around.owner);
        let fault = Fault::error("A0327", to.span, message).label("another service waits for it to end");
        faults.add(fault.hint("deliver to a service that stays, or let this one fetch with an SDK"));
    }
    let (method, path) = request(&to, faults)?;
    let timeout = match long.and_then(|long| long.timeout.as_ref()) {
        None => Deliver::TIMEOUT,
        Some(at) => {
            if !DELIVERY.contains(&at.value.0) {
                let message = format!(
                    "a delivery takes from {} to {}",
                    units(*DELIVERY.start()),
                    units(*DELIVERY.end())
                );
                faults.bad_value(at.span, message, format!("left out, it is {}", units(Deliver::TIMEOUT)));
            }
            at.value.0
        }
    };
    let count = |field: fn(&DeliverLong) -> &Option<At<u32>>, default, most, faults: &mut Faults| {
        long.map_or(default, |long| number(field(long), default, 1..=most, faults))
    };
    Some(Deliver {
        method,
        path,
        concurrency: count(|long| &long.concurrency, Deliver::CONCURRENCY, MAX_CONCURRENCY, faults),
        batch: count(|long| &long.batch, 1, MAX_BATCH, faults),
        timeout,
    })
}

/// Reads `POST /jobs` or `/jobs`.
fn request(at: &At<String>, faults: &mut Faults) -> Option<(http::Method, String)> {
    let words: Vec<&str> = at.split_whitespace().collect();
    let (method, path) = match words[..] {
        [path] if path.starts_with('/') => ("POST", path),
        [method, path] => (method, path),
        _ => ("", ""),
    };
    let method = match method {
        "POST" => http::Method::POST,
        "PUT" => http::Method::PUT,
        "PATCH" => http::Method::PATCH,
        _ => {
            let message = format!("`{}` is not where messages are delivered to", shown(at));
            let hint = "write it like `POST /jobs`; the methods are `POST`, `PUT` and `PATCH`";
            faults.bad_value(at.span, message, hint);
            return None;
        }
    };
    Some((method, target(&at.with(path.to_owned()), faults)?))
}
