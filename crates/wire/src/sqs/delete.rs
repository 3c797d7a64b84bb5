//! DeleteMessage, DeleteMessageBatch.

use pipes::{Queue, Receipt, ReceiptError};
use serde::Deserialize;

use super::batch::{self, Failures};
use super::call::{Answer, Call};
use super::error::SqsError;
use crate::text::Text;

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct DeleteMessage<'a> {
    #[serde(borrow)]
    queue_url: Option<Text<'a>>,
    #[serde(borrow)]
    receipt_handle: Option<Text<'a>>,
}

pub(super) async fn delete_message(call: &Call<'_>) -> Result<Answer, SqsError> {
    let DeleteMessage { queue_url, receipt_handle } = call.decode()?;
    let queue = call.queue(queue_url.as_ref())?;
    let receipt = receipt(&queue, receipt_handle.as_ref())?;
    call.seen.messages(1);
    for outcome in queue.delete(vec![receipt]).await? {
        deleted(outcome, &queue)
            .map_err(|error| SqsError::receipt(&error, handle(receipt_handle.as_ref())))?;
    }
    Ok(Answer::Done)
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct DeleteMessageBatch<'a> {
    #[serde(borrow)]
    queue_url: Option<Text<'a>>,
    #[serde(borrow)]
    entries: Option<Vec<Entry<'a>>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Entry<'a> {
    #[serde(borrow)]
    id: Option<Text<'a>>,
    #[serde(borrow)]
    receipt_handle: Option<Text<'a>>,
}

pub(super) async fn delete_message_batch(call: &Call<'_>) -> Result<Answer, SqsError> {
    let DeleteMessageBatch { queue_url, entries } = call.decode()?;
    let entries = entries.unwrap_or_default();
    let queue = call.queue(queue_url.as_ref())?;
    let ids = batch::check(entries.iter().map(|entry| entry.id.as_ref()), "DeleteMessageBatchRequestEntry")?;
    let mut failures: Failures<'_> = Vec::new();
    let mut deleting = Vec::with_capacity(ids.len());
    let mut receipts = Vec::with_capacity(ids.len());
    for (id, Entry { id: _, receipt_handle }) in ids.into_iter().zip(&entries) {
        match receipt(&queue, receipt_handle.as_ref()) {
            Ok(receipt) => {
                deleting.push((id, handle(receipt_handle.as_ref())));
                receipts.push(receipt);
            }
            Err(error) => failures.push((id, error)),
        }
    }
    let outcomes = if receipts.is_empty() { Vec::new() } else { queue.delete(receipts).await? };
    let mut successes = Vec::with_capacity(deleting.len());
    for ((id, handle), outcome) in deleting.into_iter().zip(outcomes) {
        match deleted(outcome, &queue) {
            Ok(()) => successes.push((id, ())),
            Err(error) => failures.push((id, SqsError::receipt(&error, handle))),
        }
    }
    call.seen.messages(successes.len());
    let mut out = call.answer(64 * (successes.len() + 1));
    batch::write(&mut out, "DeleteMessageBatchResultEntry", &successes, &failures, |_, ()| {});
    Ok(Answer::Members(out))
}

/// The receipt that a handle is the text of.
pub(super) fn receipt(queue: &Queue, handle: Option<&Text<'_>>) -> Result<Receipt, SqsError> {
    let handle =
        handle.filter(|handle| !handle.is_empty()).ok_or_else(|| SqsError::missing("ReceiptHandle"))?;
    queue.parse_receipt(handle).map_err(|error| SqsError::receipt(&error, handle))
}

/// The text of a handle, for what is said of it.
pub(super) fn handle<'t>(handle: Option<&'t Text<'_>>) -> &'t str {
    handle.map_or("", |handle| handle)
}

/// Deleting what is gone is as good as deleting it. A receipt that somebody else's replaced deletes nothing, and only where
/// order is kept is its holder told so.
fn deleted(outcome: Result<(), ReceiptError>, queue: &Queue) -> Result<(), ReceiptError> {
    match outcome {
        Err(ReceiptError::NoSuchMessage) => Ok(()),
        Err(ReceiptError::Stale | ReceiptError::NotInFlight) if queue.settings().fifo.is_none() => Ok(()),
        Err(ReceiptError::NotInFlight) => Err(ReceiptError::Stale),
        outcome => outcome,
    }
}
