//! Notifications: tells the owner of the shop of large orders. What is large is said in `atoll.yaml`, as a filter: smaller
//! orders never come here.
//!
//! It fetches from the queue `large-orders` with signed requests, as any client of SQS does. A notice is written to
//! `DATA_DIR` before its message is deleted: who dies in between tells it again. Stands where a mail server will stand.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use bookshop::Journal;
use bookshop::pipe::{Message, Queue};
use bookshop::server::{Stop, log, setting};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How long to rest when the queue cannot be reached.
const REST: Duration = Duration::from_millis(500);

fn main() -> ExitCode {
    bookshop::server::work("notifications", |stop| {
        let path = PathBuf::from(setting("DATA_DIR", ".data".to_owned())?).join("notices.jsonl");
        let (journal, _) = Journal::open::<Value>(&path)?;
        let queue = Queue::from_env("large-orders")?;
        Ok(watch(queue, journal, stop))
    })
}

/// What a notice needs to know of an order.
#[derive(Debug, Deserialize, Serialize)]
struct Order {
    order_id: String,
    title: String,
    quantity: u32,
    total_cents: u64,
    customer: String,
}

/// Takes message after message. A stop waits for those in hand, not for the next ones.
async fn watch(queue: Queue, mut journal: Journal, mut stop: Stop) {
    while !stop.is_wanted() {
        let received = tokio::select! {
            received = queue.receive() => received,
            () = stop.wanted() => return,
        };
        let messages = match received {
            Ok(messages) => messages,
            Err(error) => {
                log(error);
                tokio::select! {
                    () = tokio::time::sleep(REST) => continue,
                    () = stop.wanted() => return,
                }
            }
        };
        for message in &messages {
            tell(&queue, &mut journal, message).await;
        }
    }
}

/// What cannot be told stays in the queue and comes back; after some times it is a dead letter.
async fn tell(queue: &Queue, journal: &mut Journal, message: &Message) {
    let order: Order = match serde_json::from_str(&message.body) {
        Ok(order) => order,
        Err(error) => return log(format_args!("a message is no order: {error}")),
    };
    if let Err(error) = journal.append(&order) {
        return log(format_args!("cannot write the notice: {error}"));
    }
    log(format_args!(
        "large order told order_id={} total={} customer={}",
        order.order_id,
        bookshop::page::price(order.total_cents),
        order.customer
    ));
    if let Err(error) = queue.delete(message).await {
        log(format_args!("{error}: it will be told again order_id={}", order.order_id));
    }
}
