//! From what the application file says of queues to what a queue is set to. Pure.

use manifest::spec;
use pipes::{DeadLetter, DeadLettersFrom, Fifo, QueueName, Settings};

/// A queue as the file wants it.
pub(crate) fn of(queue: &spec::Queue, all: &spec::Pipes) -> Option<(QueueName, Settings)> {
    let name = wire_name(queue)?;
    let dead_letter = match &queue.dead_letter {
        None => None,
        Some(dead) => Some(DeadLetter { target: wire_name(all.queues.get(&dead.to)?)?, after: dead.after }),
    };
    let settings = Settings {
        visibility_seconds: seconds(queue.visibility),
        delay_seconds: seconds(queue.delay),
        retention_seconds: seconds(queue.retention),
        message_bytes: u32::try_from(queue.max_message.0).unwrap_or(u32::MAX),
        wait_seconds: seconds(queue.wait),
        fifo: queue.fifo.map(|fifo| Fifo {
            content_dedup: fifo.content_dedup,
            dedup_by_group: fifo.by_group,
            throughput_by_group: fifo.by_group,
        }),
        dead_letter,
        dead_letters_from: DeadLettersFrom::All,
        ..Settings::default()
    };
    Some((name, settings))
}

/// The name that clients use. The file's names are narrower than what a queue may be called: there always is one.
pub(crate) fn wire_name(queue: &spec::Queue) -> Option<QueueName> {
    queue.wire_name().parse().ok()
}

fn seconds(time: std::time::Duration) -> u32 {
    u32::try_from(time.as_secs()).unwrap_or(u32::MAX)
}
