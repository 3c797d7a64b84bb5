//! What `atoll queue` shows.

use std::fmt::Write as _;

use api::{Message, Queue, QueueDetail};
use kit::Timestamp;
use kit::units::Bytes;

use super::table::{Cell, Side, Table};
use super::{Paint, clean, paint, time};

/// `queue ls`: a line per queue.
pub(crate) fn list(queues: &[Queue], now: Timestamp, columns: Option<usize>, paint: Paint) -> String {
    if queues.is_empty() {
        return "there are no queues\n".into();
    }
    let mut table = Table::new(&[
        ("QUEUE", Side::Left),
        ("OWNER", Side::Left),
        ("WAITING", Side::Right),
        ("IN FLIGHT", Side::Right),
        ("DELAYED", Side::Right),
        ("OLDEST", Side::Right),
        ("SENT", Side::Right),
        ("DELETED", Side::Right),
        ("DEAD LETTERS", Side::Left),
    ]);
    for queue in queues {
        let oldest = queue.oldest_sent_at.map(|sent| time::span(now.since(sent)));
        let dead = queue.dead_letter.as_ref().map(|(to, after)| format!("{to} after {after}"));
        let owner = match &queue.owner {
            Some(owner) => Cell::styled(paint::name_style(owner), owner),
            None => Cell::none(),
        };
        table.row(vec![
            Cell::new(&queue.name),
            owner,
            Cell::new(queue.visible.to_string()),
            Cell::new(queue.in_flight.to_string()),
            Cell::new(queue.delayed.to_string()),
            Cell::maybe(oldest),
            Cell::new(queue.sent.to_string()),
            Cell::new(queue.deleted.to_string()),
            Cell::maybe(dead),
        ]);
    }
    table.text(columns, paint)
}

/// `queue show`: everything about one.
pub(crate) fn detail(shown: &QueueDetail, now: Timestamp, paint: Paint) -> String {
    let QueueDetail { queue, .. } = shown;
    let mut text = format!("{}\n", paint.bold(clean::text(&queue.name)));
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "  {name:<14} {}", clean::text(&value));
    };
    line("url", queue.url.clone());
    line("owner", queue.owner.clone().unwrap_or_else(|| "none: it was made at run time".into()));
    line("order", if queue.fifo { "kept within each group".into() } else { "not kept".into() });
    line(
        "messages",
        format!("{} waiting, {} in flight, {} delayed", queue.visible, queue.in_flight, queue.delayed),
    );
    if let Some(sent) = queue.oldest_sent_at {
        line("oldest", format!("{} ago", time::span(now.since(sent))));
    }
    line("hidden for", seconds(shown.visibility_s));
    line("delay", seconds(shown.delay_s));
    line("kept for", seconds(shown.retention_s));
    line("message", format!("at most {}", Bytes(shown.message_bytes.into())));
    if let Some((to, after)) = &queue.dead_letter {
        line("dead letters", format!("to {to} after {after} receives"));
    }
    if !shown.dead_letters_of.is_empty() {
        line("takes those of", shown.dead_letters_of.join(", "));
    }
    for (name, value) in &shown.tags {
        line("tag", format!("{name}={value}"));
    }
    for moved in &shown.moves {
        let to = moved.to.as_deref().unwrap_or("where they came from");
        line("moving", format!("to {to}: {}, {} moved", moved.state, moved.moved));
    }
    text
}

fn seconds(seconds: u32) -> String {
    kit::units::format_duration(std::time::Duration::from_secs(seconds.into()))
}

/// `queue peek` and `queue receive`: a line of facts and the body, for each.
pub(crate) fn messages(messages: &[Message], now: Timestamp, paint: Paint) -> String {
    let mut text = String::new();
    for message in messages {
        let age = time::span(now.since(message.sent_at));
        let received = match message.receives {
            0 => "not received yet".to_owned(),
            1 => "received once".to_owned(),
            times => format!("received {times} times"),
        };
        let mut facts = format!("{age} ago by {}, {received}", message.sender);
        if let Some(group) = &message.group {
            let _ = write!(facts, ", group {group}");
        }
        for (name, value) in &message.attributes {
            let _ = write!(facts, ", {name}={value}");
        }
        let _ = writeln!(text, "{}  {}", paint.bold(clean::text(&message.id)), clean::text(&facts));
        for line in message.body.lines() {
            let _ = writeln!(text, "  {}", clean::text(line));
        }
    }
    if messages.is_empty() { "there is no message\n".into() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue() -> Queue {
        Queue {
            name: "settle".into(),
            url: "http://127.0.0.1:4566/000000000000/settle".into(),
            owner: Some("settlement".into()),
            fifo: false,
            visible: 12,
            in_flight: 1,
            delayed: 0,
            oldest_sent_at: Some(Timestamp::from_micros(1_000_000)),
            sent: 20,
            received: 9,
            deleted: 8,
            dead_letter: Some(("settle-dead".into(), 5)),
        }
    }

    #[test]
    fn a_line_says_what_waits_and_for_how_long() {
        let now = Timestamp::from_micros(4_000_000);
        insta::assert_snapshot!(list(&[queue()], now, None, Paint::new(false)), @r"
        QUEUE   OWNER       WAITING  IN FLIGHT  DELAYED  OLDEST  SENT  DELETED  DEAD LETTERS
        settle  settlement       12          1        0  3.00 s    20        8  settle-dead after 5
        ");
        assert_eq!(list(&[], now, None, Paint::new(false)), "there are no queues\n");
    }

    #[test]
    fn a_message_cannot_write_to_the_terminal() {
        let message = Message {
            id: "7b".into(),
            body: "one\n\u{1b}[2Jtwo".into(),
            attributes: [("kind".to_owned(), "\u{7}".to_owned())].into(),
            group: None,
            sent_at: Timestamp::from_micros(0),
            sender: "orders".into(),
            receives: 2,
        };
        let shown = messages(&[message], Timestamp::from_micros(2_000_000), Paint::new(false));
        assert!(!shown.contains('\u{1b}') && !shown.contains('\u{7}'), "{shown:?}");
        assert!(shown.contains("  one\n"), "{shown}");
    }
}
