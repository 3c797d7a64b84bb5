//! Topics: who publishes, who gets what is published.

use api::{Topic, TopicDetail};
use maud::{Markup, html};

use super::{Missing, has};
use crate::bits::{self, Tone};
use crate::desk::Desk;
use crate::place::Place;
use crate::view::{At, View};
use crate::words::{self, clip};

/// Subscriptions that are shown.
const MOST: usize = 100;

/// Those of the app, beside its queues; nothing where there are none.
pub(crate) fn list(topics: &[Topic], search: &str) -> Markup {
    let owner = |topic: &Topic| topic.owner.clone().unwrap_or_default();
    let fits: Vec<&Topic> =
        topics.iter().filter(|topic| has(search, &[&topic.name, &owner(topic)])).collect();
    html! {
        @if !fits.is_empty() {
            section.panel aria-label="Topics" {
                h2 { "Topics" }
                div.scroll { table.rows {
                    caption.hidden { "Topics" }
                    thead { tr { th scope="col" { "Topic" } th scope="col" { "Owner" } th.num scope="col" { "Subscriptions" } th.num scope="col" { "Not confirmed" } th.num scope="col" { "Deliveries waiting" } } }
                    tbody { @for topic in fits.iter().take(bits::ROWS) { tr {
                        th scope="row" { a href=(Place::Topic(topic.name.clone()).path()) { (clip(&topic.name, 80)) } @if topic.fifo { " " span.tag { "fifo" } } }
                        td { @if let Some(owner) = &topic.owner { (bits::service(owner)) } @else { span.muted { "–" } } }
                        td.num { (words::count(topic.confirmed)) } td.num { (words::count(topic.pending)) } td.num { (words::count(topic.waiting)) }
                    } } }
                } }
            }
        }
    }
}

pub(crate) async fn one(desk: &Desk, at: &At, name: &str) -> Result<View, Missing> {
    let detail = desk.client.topic(name).await?;
    let topic = &detail.topic;
    let aws = format!("aws sns publish --topic-arn {} --message hello", words::shell(&topic.arn));
    let view = View::new(name)
        .aside(html! { (bits::copy("atoll", &format!("atoll topic publish {} hello", words::shell(name)))) (bits::copy("aws", &aws)) (bits::copy("ARN", &topic.arn)) })
        .live("state", state(&detail))
        .live("subscriptions", subscriptions(&detail));
    let view = if at.operates() { view.still("publish", publish(at, topic)) } else { view };
    Ok(view.say(words::several(topic.confirmed, "subscription")))
}

fn state(detail: &TopicDetail) -> Markup {
    let TopicDetail { topic, display_name, order, delivery, tags, created_at, subscriptions: _ } = detail;
    html! {
        section.panel aria-label="Settings" {
            h2 { "Settings" }
            dl.facts {
                div { dt { "Owner" } dd { @if let Some(owner) = &topic.owner { (bits::service(owner)) } @else { "made at run time" } } }
                @if !display_name.is_empty() { div { dt { "Called" } dd { (clip(display_name, 120)) } } }
                div { dt { "Order" } dd { (if order.is_some() { "kept (FIFO)" } else { "as it comes" }) } }
                div { dt { "Tried again" } dd { (delivery.retries) " times, " (delivery.least_s) " to " (delivery.most_s) " s apart" } }
                div { dt { "Waiting" } dd { (words::count(topic.waiting)) " deliveries to addresses" } }
                div { dt { "Made" } dd { (bits::date(*created_at)) } }
                div { dt { "ARN" } dd.mono { (clip(&topic.arn, 200)) } }
                @for (key, value) in tags.iter().take(20) { div { dt { (clip(key, 60)) } dd { (clip(value, 120)) } } }
            }
        }
    }
}

fn subscriptions(detail: &TopicDetail) -> Markup {
    html! {
        section.panel aria-label="Subscriptions" {
            h2 { "Who gets what is published" }
            @if detail.subscriptions.is_empty() { (bits::empty("Nobody yet. A queue takes from it with `from: SERVICE/TOPIC`, anybody else subscribes with `aws sns subscribe`.")) } @else {
                div.scroll { table.rows {
                    caption.hidden { "Subscriptions" }
                    thead { tr { th scope="col" { "To" } th scope="col" { "By" } th scope="col" { "State" } th scope="col" { "Filter" } th.num scope="col" { "Waiting" } th scope="col" { "Dead letters" } } }
                    tbody { @for one in detail.subscriptions.iter().take(MOST) { tr {
                        th.said scope="row" { @if one.protocol == "sqs" { a href=(Place::Queue(one.endpoint.clone()).path()) { (clip(&one.endpoint, 80)) } } @else { (clip(&one.endpoint, 160)) } }
                        td { (clip(&one.protocol, 10)) @if one.raw { " " span.tag { "raw" } } }
                        td { @if one.gone { (bits::badge(Tone::Bad, "queue is gone")) } @else if one.pending { (bits::badge(Tone::Busy, "not confirmed")) } @else { (bits::badge(Tone::Good, "confirmed")) } }
                        td.mono { @if let Some(filter) = &one.filter { (clip(filter, 120)) } @else { span.muted { "all" } } }
                        td.num { (one.waiting.map_or_else(|| "–".to_owned(), words::count)) }
                        td { @if let Some(dead) = &one.dead_letter { (clip(dead, 80)) } @else { span.muted { "–" } } }
                    } } }
                } }
                @if detail.subscriptions.len() > MOST { p.muted { "and " (detail.subscriptions.len() - MOST) " more" } }
            }
        }
    }
}

fn publish(at: &At, topic: &Topic) -> Markup {
    html! {
        section.panel aria-label="Publish" {
            h2 { "Publish a message" }
            form.stack method="post" action="/do/publish" data-act {
                (bits::csrf(at))
                input type="hidden" name="back" value=(at.address());
                input type="hidden" name="topic" value=(topic.name);
                label.field { span { "Body" } textarea name="body" rows="3" required spellcheck="false" {} }
                label.field { span { "Subject" } input name="subject" maxlength="100"; }
                @if topic.fifo {
                    label.field { span { "Group" } input name="group" required; }
                    label.field { span { "Deduplication id" } input name="dedup"; }
                }
                div.row { button.primary type="submit" { "Publish" } }
            }
        }
    }
}
