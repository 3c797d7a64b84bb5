//! What `atoll topic` shows.

use std::fmt::Write as _;

use api::{DeliveryPolicy, Subscription, Topic, TopicDetail};
use kit::Timestamp;

use super::table::{Cell, Side, Table};
use super::{Paint, clean, paint, time};

/// `topic ls`: a line per topic.
pub(crate) fn list(topics: &[Topic], columns: Option<usize>, paint: Paint) -> String {
    if topics.is_empty() {
        return "there are no topics\n".into();
    }
    let mut table = Table::new(&[
        ("TOPIC", Side::Left),
        ("OWNER", Side::Left),
        ("KIND", Side::Left),
        ("SUBSCRIBED", Side::Right),
        ("UNCONFIRMED", Side::Right),
        ("TO DELIVER", Side::Right),
    ]);
    for topic in topics {
        let owner = match &topic.owner {
            Some(owner) => Cell::styled(paint::name_style(owner), owner),
            None => Cell::none(),
        };
        table.row(vec![
            Cell::new(&topic.name),
            owner,
            Cell::new(kind(topic)),
            Cell::new(topic.confirmed.to_string()),
            Cell::new(topic.pending.to_string()),
            Cell::new(topic.waiting.to_string()),
        ]);
    }
    table.text(columns, paint)
}

fn kind(topic: &Topic) -> &'static str {
    if topic.fifo { "FIFO" } else { "standard" }
}

/// `topic show`: everything about one.
pub(crate) fn detail(shown: &TopicDetail, now: Timestamp, paint: Paint) -> String {
    let TopicDetail { topic, display_name, order, delivery, tags, created_at, subscriptions } = shown;
    let mut text = format!("{}\n", paint.bold(clean::text(&topic.name)));
    let mut line = |name: &str, value: &str| put(&mut text, 2, name, value);
    line("arn", &topic.arn);
    line("owner", topic.owner.as_deref().unwrap_or("none: it was made at run time"));
    line("kind", kind(topic));
    if let Some(order) = order {
        let identity = if order.content_dedup {
            "that of its content, where it has none"
        } else {
            "its own: it needs one"
        };
        line("identity", identity);
        line("counts within", if order.dedup_by_group { "its group" } else { "the whole topic" });
    }
    if !display_name.is_empty() {
        line("display name", display_name);
    }
    line("made", &format!("{} ago", time::span(now.since(*created_at))));
    if delivery.of == "topic" {
        line("tries again", &tries(delivery));
    }
    for (name, value) in tags {
        line("tag", &format!("{name}={value}"));
    }
    if subscriptions.is_empty() {
        line("subscriptions", "none: what is published goes nowhere");
    }
    for one in subscriptions {
        subscription(&mut text, one, now, paint);
    }
    text
}

fn subscription(text: &mut String, one: &Subscription, now: Timestamp, paint: Paint) {
    let head = format!("{} {}", one.protocol, one.endpoint);
    let _ = write!(text, "\n  {}", paint.bold(clean::text(&head)));
    if one.pending {
        let _ = write!(text, "  {}", paint.warn("not confirmed: nothing is delivered yet"));
    }
    if one.gone {
        let fate = if one.dead_letter.is_some() { "is a dead letter" } else { "is dropped" };
        let _ = write!(text, "  {}", paint.bad(format!("the queue is gone: what is published {fate}")));
    }
    text.push('\n');
    let mut line = |name: &str, value: &str| put(text, 4, name, value);
    line("id", &one.id);
    line("made by", if one.owner == "atoll" { "the file" } else { &one.owner });
    match (&one.filter, &one.filter_scope) {
        (Some(filter), scope) => {
            line("wants", &format!("by {}: {filter}", scope.as_deref().unwrap_or("attributes")));
        }
        (None, _) => line("wants", "all"),
    }
    line("arrives", if one.raw { "as it was published" } else { "in an envelope" });
    if let Some(dead) = &one.dead_letter {
        line("dead letters", &format!("to {dead}"));
    }
    if let Some(policy) = &one.delivery {
        let whose = match policy.of.as_str() {
            "subscription" => "",
            "topic" => ", as the topic says",
            _ => ", as is usual",
        };
        line("tries again", &format!("{}{whose}", tries(policy)));
    }
    if let Some(waiting) = one.waiting {
        let oldest = one.oldest_at.filter(|_| waiting > 0);
        let oldest = oldest.map(|at| format!(", the oldest for {}", time::span(now.since(at))));
        line("to deliver", &format!("{waiting}{}", oldest.unwrap_or_default()));
    }
    if let Some(api::Delivered { taken, failed, given_up, failed_at, tries, why }) = &one.delivered {
        line("delivered", &format!("{taken}; {failed} tries failed, {given_up} given up"));
        if let (Some(at), Some(tries), Some(why)) = (failed_at, tries, why) {
            line("last failure", &format!("{} ago, try {tries}: {why}", time::span(now.since(*at))));
        }
    }
}

fn put(text: &mut String, indent: usize, name: &str, value: &str) {
    let _ = writeln!(text, "{:indent$}{name:<14} {}", "", clean::text(value));
}

fn tries(policy: &DeliveryPolicy) -> String {
    let mut text = match policy.retries {
        0 => "never".to_owned(),
        1 => "once".to_owned(),
        times => format!("{times} times"),
    };
    if policy.retries > 0 {
        let _ = match (policy.least_s, policy.most_s) {
            (least, most) if least == most => write!(text, ", after {least} s"),
            (least, most) => write!(text, ", after {least} s to {most} s ({})", policy.curve),
        };
    }
    let phases = [
        (policy.immediate, "without a pause"),
        (policy.pre_backoff, "with the shortest"),
        (policy.post_backoff, "with the longest"),
    ];
    for (count, how) in phases.into_iter().filter(|(count, _)| *count > 0) {
        let _ = write!(text, ", {count} of them {how}");
    }
    if let Some(most) = policy.per_second {
        let _ = write!(text, "; at most {most} a second");
    }
    if let Some(kind) = &policy.content_type {
        let _ = write!(text, "; as {kind}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic() -> Topic {
        Topic {
            name: "order-placed".into(),
            arn: "arn:aws:sns:us-east-1:000000000000:order-placed".into(),
            owner: Some("orders".into()),
            fifo: false,
            confirmed: 2,
            pending: 1,
            waiting: 3,
        }
    }

    fn usual() -> DeliveryPolicy {
        DeliveryPolicy {
            of: "default".into(),
            retries: 3,
            immediate: 0,
            pre_backoff: 0,
            post_backoff: 0,
            least_s: 20,
            most_s: 20,
            curve: "linear".into(),
            per_second: None,
            content_type: None,
        }
    }

    fn to_queue() -> Subscription {
        Subscription {
            id: "01234567-89ab-4def-8123-456789abcdef".into(),
            arn: "arn:aws:sns:us-east-1:000000000000:order-placed:01234567-89ab-4def-8123-456789abcdef"
                .into(),
            protocol: "sqs".into(),
            endpoint: "large".into(),
            gone: false,
            owner: "atoll".into(),
            pending: false,
            raw: true,
            filter: Some(r#"{"total":[{"numeric":[">=",100]}]}"#.into()),
            filter_scope: Some("body".into()),
            dead_letter: None,
            delivery: None,
            waiting: None,
            oldest_at: None,
            delivered: None,
            created_at: Timestamp::from_micros(1_000_000),
        }
    }

    fn to_address() -> Subscription {
        Subscription {
            id: "11234567-89ab-4def-8123-456789abcdef".into(),
            protocol: "http".into(),
            endpoint: "http://127.0.0.1:9000/hook".into(),
            owner: "billing".into(),
            pending: true,
            raw: false,
            filter: None,
            filter_scope: None,
            dead_letter: Some("hook-dead".into()),
            delivery: Some(DeliveryPolicy {
                of: "subscription".into(),
                retries: 10,
                immediate: 2,
                post_backoff: 1,
                least_s: 1,
                most_s: 60,
                curve: "exponential".into(),
                per_second: Some(5),
                content_type: Some("application/json".into()),
                ..usual()
            }),
            waiting: Some(3),
            oldest_at: Some(Timestamp::from_micros(2_000_000)),
            delivered: Some(api::Delivered {
                taken: 12,
                failed: 3,
                given_up: 1,
                failed_at: Some(Timestamp::from_micros(3_000_000)),
                tries: Some(2),
                why: Some("it answered 503 Service Unavailable".into()),
            }),
            ..to_queue()
        }
    }

    #[test]
    fn a_line_says_who_listens_and_what_waits() {
        let made = Topic { name: "made.fifo".into(), owner: None, fifo: true, waiting: 0, ..topic() };
        insta::assert_snapshot!(list(&[topic(), made], None, Paint::new(false)), @"
        TOPIC         OWNER   KIND      SUBSCRIBED  UNCONFIRMED  TO DELIVER
        order-placed  orders  standard           2            1           3
        made.fifo     –       FIFO               2            1           0
        ");
        assert_eq!(list(&[], None, Paint::new(false)), "there are no topics\n");
    }

    #[test]
    fn a_topic_is_shown_with_its_subscriptions() {
        let lost = Subscription { gone: true, endpoint: "old".into(), filter: None, ..to_queue() };
        let plain =
            Subscription { delivery: Some(usual()), pending: false, waiting: Some(0), ..to_address() };
        let shown = TopicDetail {
            topic: topic(),
            display_name: "Orders".into(),
            order: None,
            delivery: DeliveryPolicy { of: "topic".into(), ..usual() },
            tags: [("team".to_owned(), "shop".to_owned())].into(),
            created_at: Timestamp::from_micros(0),
            subscriptions: vec![to_queue(), to_address(), lost, plain],
        };
        insta::assert_snapshot!(detail(&shown, Timestamp::from_micros(4_000_000), Paint::new(false)), @r#"
        order-placed
          arn            arn:aws:sns:us-east-1:000000000000:order-placed
          owner          orders
          kind           standard
          display name   Orders
          made           4.00 s ago
          tries again    3 times, after 20 s
          tag            team=shop

          sqs large
            id             01234567-89ab-4def-8123-456789abcdef
            made by        the file
            wants          by body: {"total":[{"numeric":[">=",100]}]}
            arrives        as it was published

          http http://127.0.0.1:9000/hook  not confirmed: nothing is delivered yet
            id             11234567-89ab-4def-8123-456789abcdef
            made by        billing
            wants          all
            arrives        in an envelope
            dead letters   to hook-dead
            tries again    10 times, after 1 s to 60 s (exponential), 2 of them without a pause, 1 of them with the longest; at most 5 a second; as application/json
            to deliver     3, the oldest for 2.00 s
            delivered      12; 3 tries failed, 1 given up
            last failure   1.00 s ago, try 2: it answered 503 Service Unavailable

          sqs old  the queue is gone: what is published is dropped
            id             01234567-89ab-4def-8123-456789abcdef
            made by        the file
            wants          all
            arrives        as it was published

          http http://127.0.0.1:9000/hook
            id             11234567-89ab-4def-8123-456789abcdef
            made by        billing
            wants          all
            arrives        in an envelope
            dead letters   to hook-dead
            tries again    3 times, after 20 s, as is usual
            to deliver     0
            delivered      12; 3 tries failed, 1 given up
            last failure   1.00 s ago, try 2: it answered 503 Service Unavailable
        "#);
    }

    #[test]
    fn a_topic_that_keeps_order_says_how_and_one_without_subscriptions_that_nobody_gets_anything() {
        let shown = TopicDetail {
            topic: Topic { name: "made.fifo".into(), owner: None, fifo: true, ..topic() },
            display_name: String::new(),
            order: Some(api::TopicOrder { content_dedup: true, dedup_by_group: true }),
            delivery: usual(),
            tags: Default::default(),
            created_at: Timestamp::from_micros(0),
            subscriptions: Vec::new(),
        };
        insta::assert_snapshot!(detail(&shown, Timestamp::from_micros(4_000_000), Paint::new(false)), @"
        made.fifo
          arn            arn:aws:sns:us-east-1:000000000000:order-placed
          owner          none: it was made at run time
          kind           FIFO
          identity       that of its content, where it has none
          counts within  its group
          made           4.00 s ago
          subscriptions  none: what is published goes nowhere
        ");
    }

    #[test]
    fn what_others_have_written_cannot_write_to_the_terminal() {
        let evil = Subscription {
            endpoint: "http://x/\u{1b}[2J".into(),
            filter: Some("{\"a\":[\"\u{7}\"]}".into()),
            ..to_address()
        };
        let shown = TopicDetail {
            topic: topic(),
            display_name: "\u{1b}[31m".into(),
            order: None,
            delivery: usual(),
            tags: Default::default(),
            created_at: Timestamp::from_micros(0),
            subscriptions: vec![evil],
        };
        let text = detail(&shown, Timestamp::from_micros(4_000_000), Paint::new(false));
        assert!(!text.contains('\u{1b}') && !text.contains('\u{7}'), "{text:?}");
    }
}
