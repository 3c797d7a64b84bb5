//! ChangeMessageVisibility, ChangeMessageVisibilityBatch.

use serde::Deserialize;

use super::batch::{self, Failures};
use super::call::{Answer, Call};
use super::delete::{handle, receipt};
use super::error::SqsError;
use crate::text::Text;

/// Longest time that a message is hidden, in seconds.
const MOST_SECONDS: i64 = 43_200;

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ChangeMessageVisibility<'a> {
    #[serde(borrow)]
    queue_url: Option<Text<'a>>,
    #[serde(borrow)]
    receipt_handle: Option<Text<'a>>,
    visibility_timeout: Option<i64>,
}

pub(super) async fn change_message_visibility(call: &Call<'_>) -> Result<Answer, SqsError> {
    let ChangeMessageVisibility { queue_url, receipt_handle, visibility_timeout } = call.decode()?;
    let queue = call.queue(queue_url.as_ref())?;
    let seconds = seconds(visibility_timeout.ok_or_else(|| SqsError::missing("VisibilityTimeout"))?)?;
    let receipt = receipt(&queue, receipt_handle.as_ref())?;
    call.seen.messages(1);
    for outcome in queue.change_visibility(vec![(receipt, seconds)]).await? {
        outcome.map_err(|error| SqsError::receipt(&error, handle(receipt_handle.as_ref())))?;
    }
    Ok(Answer::Done)
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ChangeMessageVisibilityBatch<'a> {
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
    visibility_timeout: Option<i64>,
}

pub(super) async fn change_message_visibility_batch(call: &Call<'_>) -> Result<Answer, SqsError> {
    let ChangeMessageVisibilityBatch { queue_url, entries } = call.decode()?;
    let entries = entries.unwrap_or_default();
    let queue = call.queue(queue_url.as_ref())?;
    let ids = entries.iter().map(|entry| entry.id.as_ref());
    let ids = batch::check(ids, "ChangeMessageVisibilityBatchRequestEntry")?;
    let mut failures: Failures<'_> = Vec::new();
    let mut changing = Vec::with_capacity(ids.len());
    let mut changes = Vec::with_capacity(ids.len());
    for (id, Entry { id: _, receipt_handle, visibility_timeout }) in ids.into_iter().zip(&entries) {
        let change = visibility_timeout
            .ok_or_else(|| SqsError::missing("VisibilityTimeout"))
            .and_then(seconds)
            .and_then(|seconds| Ok((receipt(&queue, receipt_handle.as_ref())?, seconds)));
        match change {
            Ok(change) => {
                changing.push((id, handle(receipt_handle.as_ref())));
                changes.push(change);
            }
            Err(error) => failures.push((id, error)),
        }
    }
    let outcomes = if changes.is_empty() { Vec::new() } else { queue.change_visibility(changes).await? };
    let mut successes = Vec::with_capacity(changing.len());
    for ((id, handle), outcome) in changing.into_iter().zip(outcomes) {
        match outcome {
            Ok(()) => successes.push((id, ())),
            Err(error) => failures.push((id, SqsError::receipt(&error, handle))),
        }
    }
    call.seen.messages(successes.len());
    let mut out = call.answer(64 * (successes.len() + 1));
    batch::write(&mut out, "ChangeMessageVisibilityBatchResultEntry", &successes, &failures, |_, ()| {});
    Ok(Answer::Members(out))
}

/// A time that a message can be hidden for.
pub(super) fn seconds(timeout: i64) -> Result<u32, SqsError> {
    u32::try_from(timeout).ok().filter(|_| timeout <= MOST_SECONDS).ok_or_else(|| {
        let reason = "VisibilityTimeout must be an integer between 0 and 43200";
        SqsError::value(&timeout.to_string(), "VisibilityTimeout", reason)
    })
}
