//! What waits in queues, and how the store under them is.

use std::collections::BTreeMap;

use kit::Timestamp;
use pipes::{Counts, Pipes};

use super::text::{Text, Type};

/// Queues that are told by name; SDKs can make as many as they like. Those of the smallest names.
const MOST: usize = 1000;

pub(super) fn write(text: &mut Text, pipes: &Pipes, now: Timestamp) {
    let names = pipes.queues("", None, MOST);
    let queues = names.iter().filter_map(|name| pipes.queue(name));
    let seen: Vec<(String, Counts)> =
        queues.map(|queue| (queue.name().to_string(), queue.counts())).collect();

    let help = "Messages in a queue, by whether they can be received, were received, or are not due yet.";
    let mut family = text.family("atoll_queue_messages", Type::Gauge, help);
    for (name, counts) in &seen {
        let all = [("visible", counts.visible), ("in_flight", counts.in_flight), ("delayed", counts.delayed)];
        for (state, count) in all {
            family.sample(&[("queue", name), ("state", state)], count as f64);
        }
    }
    let help = "Age of the oldest message in a queue; 0 when it is empty.";
    let mut family = text.family("atoll_queue_oldest_age_seconds", Type::Gauge, help);
    for (name, counts) in &seen {
        let age = counts.oldest_sent_at.map_or(0.0, |sent| now.since(sent).as_secs_f64());
        family.sample(&[("queue", name)], age);
    }
    type Of = fn(&Counts) -> u64;
    let totals: [(&'static str, &'static str, Of); 3] = [
        ("atoll_queue_sent", "Messages sent to a queue.", |counts| counts.sent),
        ("atoll_queue_received", "Messages received from a queue, each time.", |counts| counts.received),
        ("atoll_queue_deleted", "Messages deleted from a queue.", |counts| counts.deleted),
    ];
    for (name, help, of) in totals {
        let mut family = text.family(name, Type::Counter, help);
        for (queue, counts) in &seen {
            family.sample(&[("queue", queue)], of(counts) as f64);
        }
    }
}

/// Short-lived credentials: how often they were lent to each, and refused.
pub(super) fn credentials(text: &mut Text, lent: &BTreeMap<Box<str>, u64>, refused: u64) {
    let help = "Short-lived credentials lent to a service.";
    let mut family = text.family("atoll_credentials_lent", Type::Counter, help);
    for (service, count) in lent {
        family.sample(&[("service", service)], *count as f64);
    }
    let help = "Requests for short-lived credentials that were refused.";
    text.family("atoll_credentials_refused", Type::Counter, help).sample(&[], refused as f64);
}

pub(super) fn store(text: &mut Text, stats: &store::Stats) {
    let mut one = |name, kind, help, value: f64| text.family(name, kind, help).sample(&[], value);
    one("atoll_store_commits", Type::Counter, "Transactions that are on disk.", stats.commits as f64);
    one(
        "atoll_store_syncs",
        Type::Counter,
        "Syncs: transactions that come together share one.",
        stats.syncs as f64,
    );
    let (used, most) = stats.under_way;
    one("atoll_store_waiting_bytes", Type::Gauge, "Bytes on their way to the disk.", used as f64);
    one("atoll_store_waiting_bytes_max", Type::Gauge, "Bytes that may be on their way.", most as f64);
    one("atoll_store_disk_bytes", Type::Gauge, "Bytes of the store on disk.", stats.disk_bytes as f64);
    let failed = f64::from(u8::from(stats.failed.is_some()));
    one("atoll_store_stopped", Type::Gauge, "1 after a failed write or sync: nothing is taken.", failed);
}
