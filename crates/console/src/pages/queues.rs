//! Queues, and one of them with its messages.

use std::collections::{BTreeMap, BTreeSet};

use api::{Message, MetricQuery, Queue, QueueDetail, Series};
use kit::Timestamp;
use maud::{Markup, html};

use super::topology::Pipes;
use super::{Missing, chart_range, has};
use crate::bits::{self, Act, Tone};
use crate::desk::Desk;
use crate::draw::series;
use crate::place::Place;
use crate::view::{At, View};
use crate::words::{self, clip};

/// Messages that are looked at.
const PEEKED: u32 = 20;
/// Characters of a body that are shown.
const MOST_BODY: usize = 2_000;

/// Topics whose subscriptions are asked for.
const MOST_TOPICS: usize = 40;

/// Queues and topics; nothing where there are none, or nobody tells.
pub(crate) async fn pipes(desk: &Desk) -> Pipes {
    let (queues, topics) = tokio::join!(desk.client.queues(), desk.client.topics());
    let topics = topics.unwrap_or_default();
    let detail = topics.iter().take(MOST_TOPICS).map(|topic| desk.client.topic(&topic.name));
    let topics = futures_util::future::join_all(detail).await.into_iter().filter_map(Result::ok).collect();
    Pipes { queues: queues.unwrap_or_default(), topics }
}

pub(crate) async fn list(desk: &Desk, at: &At) -> Result<View, Missing> {
    let (queues, topics) = tokio::join!(desk.client.queues(), desk.client.topics());
    let (queues, topics) = (queues?, topics.unwrap_or_default());
    let search = at.query.text("q");
    let owner = |queue: &Queue| queue.owner.clone().unwrap_or_default();
    let fits: Vec<&Queue> =
        queues.iter().filter(|queue| has(search, &[&queue.name, &owner(queue)])).collect();
    let (shown, pager) = bits::page(&fits, &at.query, "/queues");
    let table = html! {
        section.panel aria-label="Queues" {
            h2 { "Queues" }
            @if queues.is_empty() { (bits::empty("This app has no queues. `queues: [mail]` under a service makes one.")) }
            @else if fits.is_empty() { (bits::empty("No queue fits.")) }
            @else { (rows(shown, desk.now())) (pager) }
        }
    };
    let said = words::several(fits.len() as u64, "queue");
    Ok(View::new("Queues and topics")
        .still("filters", bits::filters("/queues", &bits::field(&at.query, "q", "Search", "name, owner")))
        .live("queues", table)
        .live("topics", super::topics::list(&topics, search))
        .say(said))
}

fn rows(queues: &[&Queue], now: Timestamp) -> Markup {
    let dead: BTreeSet<&str> =
        queues.iter().filter_map(|queue| Some(queue.dead_letter.as_ref()?.0.as_str())).collect();
    html! {
        div.scroll { table.rows {
            caption.hidden { "Queues" }
            thead { tr {
                th scope="col" { "Queue" } th scope="col" { "Owner" } th.num scope="col" { "Waiting" } th.num scope="col" { "In flight" } th.num scope="col" { "Delayed" }
                th.num scope="col" { "Oldest" } th.num scope="col" { "Sent" } th.num scope="col" { "Received" } th.num scope="col" { "Deleted" } th scope="col" { "Dead letters" }
            } }
            tbody { @for queue in queues { tr {
                th scope="row" { a href=(Place::Queue(queue.name.clone()).path()) { (clip(&queue.name, 80)) } @if queue.fifo { " " span.tag { "fifo" } } }
                td { @if let Some(owner) = &queue.owner { (bits::service(owner)) } @else { span.muted { "–" } } }
                td.num { @if queue.visible > 0 && dead.contains(queue.name.as_str()) { (bits::badge(Tone::Warn, &words::count(queue.visible))) } @else { (words::count(queue.visible)) } } td.num { (words::count(queue.in_flight)) } td.num { (words::count(queue.delayed)) }
                td.num { (queue.oldest_sent_at.map_or_else(|| "–".to_owned(), |at| words::ago(at, now))) }
                td.num { (words::count(queue.sent)) } td.num { (words::count(queue.received)) } td.num { (words::count(queue.deleted)) }
                td { @if let Some((target, after)) = &queue.dead_letter { a href=(Place::Queue(target.clone()).path()) { (clip(target, 80)) } " after " (after) } @else { span.muted { "–" } } }
            } } }
        } }
    }
}

pub(crate) async fn one(desk: &Desk, at: &At, name: &str) -> Result<View, Missing> {
    let (asked, shown) = chart_range(&at.query, desk.now());
    let metric = |metric: &str| MetricQuery {
        name: metric.to_owned(),
        labels: BTreeMap::from([("queue".to_owned(), name.to_owned())]),
        range: asked,
        step_s: None,
    };
    let (depth, age) = (metric("atoll_queue_messages"), metric("atoll_queue_oldest_age_seconds"));
    let (detail, messages, depth, age) = tokio::join!(
        desk.client.queue(name),
        desk.client.peek(name, PEEKED),
        desk.client.series(&depth),
        desk.client.series(&age),
    );
    let detail = detail?;
    let queue = &detail.queue;
    let said = format!("{} messages wait in {}", queue.visible, queue.name);
    let peeked = html! {
        section.panel aria-label="Messages" {
            h2 { "The next messages" }
            @match &messages {
                Ok(messages) if messages.is_empty() => (bits::empty("It is empty.")),
                Ok(messages) => (self::messages(messages, desk.now())),
                Err(error) => p.note.warn { (clip(&error.to_string(), 300)) },
            }
        }
    };
    let aws = format!(
        "aws sqs receive-message --queue-url {} --endpoint-url {}",
        words::shell(&queue.url),
        words::shell(endpoint(&queue.url))
    );
    let view = View::new(name)
        .aside(html! { (bits::copy("atoll", &format!("atoll queue peek {}", words::shell(name)))) (bits::copy("aws", &aws)) (bits::copy("URL", &queue.url)) })
        .live("state", state(at, &detail, desk.now()))
        .live("charts", charts(&depth.unwrap_or_default(), &age.unwrap_or_default(), shown))
        .live("messages", peeked);
    let view = if at.operates() { view.still("send", send(at, queue)) } else { view };
    Ok(view.say(said))
}

/// How much was in it, and how old the oldest of it was.
fn charts(depth: &[Series], age: &[Series], range: (Timestamp, Timestamp)) -> Markup {
    let lines = |all: &[Series], label: &str| -> Vec<series::Line> {
        let name =
            |one: &Series| one.labels.get(label).map(|state| state.replace('_', " ")).unwrap_or_default();
        all.iter().map(|one| series::Line { name: name(one), points: one.points.clone() }).collect()
    };
    let seconds = |s: f64| words::micros((s.clamp(0.0, 1e9) * 1e6) as u64);
    let chart = |title, lines: &[series::Line], write| {
        series::draw(&series::Chart { title, lines, marks: &[], write, across: false, range })
    };
    html! {
        @if !depth.is_empty() || !age.is_empty() {
            div.charts {
                (chart("Messages in it", &lines(depth, "state"), words::number))
                (chart("Age of the oldest", &lines(age, ""), seconds))
            }
        }
    }
}

/// The address before the account and the name.
fn endpoint(url: &str) -> &str {
    let after = url.find("//").map_or(0, |at| at + 2);
    url[after..].find('/').map_or(url, |at| &url[..after + at])
}

fn state(at: &At, detail: &QueueDetail, now: Timestamp) -> Markup {
    let QueueDetail {
        queue,
        visibility_s,
        delay_s,
        retention_s,
        message_bytes,
        wait_s,
        dead_letters_of,
        tags,
        created_at,
        moves,
    } = detail;
    let held = queue.visible + queue.in_flight + queue.delayed;
    let purge = format!(
        "Delete all {} of {}? They cannot be brought back.",
        words::several(held, "message"),
        queue.name
    );
    let back = format!("Move the messages of {} back to the queues they came from?", queue.name);
    let seconds = |s: u32| words::span(std::time::Duration::from_secs(s.into()));
    html! {
        div.cards {
            (bits::card("Waiting", &words::count(queue.visible), &html! { @if let Some(oldest) = queue.oldest_sent_at { "oldest " (words::ago(oldest, now)) } }))
            (bits::card("In flight", &words::count(queue.in_flight), &html! { "hidden for " (seconds(*visibility_s)) }))
            (bits::card("Delayed", &words::count(queue.delayed), &html! {}))
            (bits::card("Sent", &words::count(queue.sent), &html! { (words::count(queue.deleted)) " deleted" }))
        }
        section.panel aria-label="Settings" {
            div.row.between {
                h2 { "Settings" }
                div.row {
                    @if !dead_letters_of.is_empty() { (bits::act(&Act { at, action: "move", fields: &[("queue", &queue.name)], label: "Redrive", sure: &back, danger: false })) }
                    (bits::act(&Act { at, action: "purge", fields: &[("queue", &queue.name)], label: "Purge", sure: &purge, danger: true }))
                }
            }
            dl.facts {
                div { dt { "Owner" } dd { @if let Some(owner) = &queue.owner { (bits::service(owner)) } @else { "made at run time" } } }
                div { dt { "Order" } dd { (if queue.fifo { "kept (FIFO)" } else { "as it comes" }) } }
                div { dt { "Kept for" } dd { (seconds(*retention_s)) } }
                div { dt { "Delay" } dd { (seconds(*delay_s)) } }
                div { dt { "Largest message" } dd { (words::bytes((*message_bytes).into())) } }
                div { dt { "A receive waits" } dd { (seconds(*wait_s)) } }
                div { dt { "Dead letters" } dd { @if let Some((target, after)) = &queue.dead_letter { a href=(Place::Queue(target.clone()).path()) { (clip(target, 80)) } " after " (after) " receives" } @else { "are not kept" } } }
                @if !dead_letters_of.is_empty() { div { dt { "Takes those of" } dd { @for source in dead_letters_of.iter().take(20) { a href=(Place::Queue(source.clone()).path()) { (clip(source, 80)) } " " } } } }
                div { dt { "Made" } dd { (bits::date(*created_at)) } }
                div { dt { "Address" } dd.mono { (clip(&queue.url, 200)) } }
                @for (key, value) in tags.iter().take(20) { div { dt { (clip(key, 60)) } dd { (clip(value, 120)) } } }
            }
            @if !moves.is_empty() {
                h3 { "Moves" }
                ul.plain { @for a_move in moves.iter().take(10) {
                    @let tone = match a_move.state.as_str() { "running" => Tone::Busy, "completed" => Tone::Good, "cancelled" => Tone::Quiet, _ => Tone::Bad };
                    li { (bits::badge(tone, &clip(&a_move.state, 80))) " " (words::several(a_move.moved, "message")) " to " (clip(a_move.to.as_deref().unwrap_or("where each came from"), 80)) }
                } }
            }
        }
    }
}

fn messages(messages: &[Message], now: Timestamp) -> Markup {
    html! {
        div.scroll { table.rows {
            caption.hidden { "Messages" }
            thead { tr { th scope="col" { "Message" } th.num scope="col" { "Age" } th.num scope="col" { "Receives" } th scope="col" { "From" } th scope="col" { "Attributes" } th scope="col" { "Body" } } }
            tbody { @for message in messages { tr {
                th.mono scope="row" title=(clip(&message.id, 120)) { (clip(&message.id, 10)) @if let Some(group) = &message.group { " " span.tag { (clip(group, 40)) } } }
                td.num { (words::ago(message.sent_at, now)) } td.num { (message.receives) } td { (clip(&message.sender, 60)) }
                td { @for (key, value) in message.attributes.iter().take(10) { i { (clip(key, 40)) "=" } (clip(value, 60)) " " } }
                td { pre.body { (clip(&message.body, MOST_BODY)) } }
            } } }
        } }
    }
}

fn send(at: &At, queue: &Queue) -> Markup {
    html! {
        section.panel aria-label="Send" {
            h2 { "Send a message" }
            form.stack method="post" action="/do/send" data-act {
                (bits::csrf(at))
                input type="hidden" name="back" value=(at.address());
                input type="hidden" name="queue" value=(queue.name);
                label.field { span { "Body" } textarea name="body" rows="4" required spellcheck="false" {} }
                @if queue.fifo {
                    label.field { span { "Group" } input name="group" required; }
                    label.field { span { "Deduplication id" } input name="dedup"; }
                } @else {
                    label.field { span { "Delay (s)" } input type="number" name="delay" min="0" max="900"; }
                }
                div.row { button.primary type="submit" { "Send" } }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::endpoint;

    #[test]
    fn the_endpoint_is_what_stands_before_the_path() {
        assert_eq!(endpoint("http://127.0.0.1:4566/000000000000/jobs"), "http://127.0.0.1:4566");
        assert_eq!(endpoint("http://127.0.0.1:4566"), "http://127.0.0.1:4566");
        assert_eq!(endpoint(""), "");
    }
}
