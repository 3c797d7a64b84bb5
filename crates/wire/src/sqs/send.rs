//! SendMessage, SendMessageBatch.

use pipes::Sent;
use serde::Deserialize;

use super::batch::{self, Failures};
use super::call::{Answer, Call};
use super::error::{Code, SqsError};
use super::message::{Checked, MOST_BYTES, Parts, Value};
use crate::encode::Encoder;
use crate::text::{Pairs, Text};

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct SendMessage<'a> {
    #[serde(borrow)]
    queue_url: Option<Text<'a>>,
    #[serde(borrow)]
    message_body: Option<Text<'a>>,
    delay_seconds: Option<i64>,
    #[serde(borrow)]
    message_attributes: Option<Pairs<'a, Value<'a>>>,
    #[serde(borrow)]
    message_system_attributes: Option<Pairs<'a, Value<'a>>>,
    #[serde(borrow)]
    message_deduplication_id: Option<Text<'a>>,
    #[serde(borrow)]
    message_group_id: Option<Text<'a>>,
}

impl<'a> SendMessage<'a> {
    /// Where to, and what.
    fn into_parts(self) -> (Option<Text<'a>>, Parts<'a>) {
        let Self {
            queue_url,
            message_body,
            delay_seconds,
            message_attributes,
            message_system_attributes,
            message_deduplication_id,
            message_group_id,
        } = self;
        let parts = Parts {
            body: message_body,
            delay: delay_seconds,
            attributes: message_attributes,
            system_attributes: message_system_attributes,
            dedup: message_deduplication_id,
            group: message_group_id,
        };
        (queue_url, parts)
    }
}

pub(super) async fn send_message(call: &Call<'_>) -> Result<Answer, SqsError> {
    let (url, parts) = call.decode::<SendMessage<'_>>()?.into_parts();
    let queue = call.queue(url.as_ref())?;
    let checked = parts.into_domain(&queue.settings(), &call.arrived.caller.name)?;
    let Checked { outgoing, body, attributes, system_attributes } = checked;
    let mut outgoing = vec![outgoing];
    call.trace_messages(&mut outgoing);
    let sent = queue.send(outgoing).await?.pop().ok_or_else(unanswered)??;
    call.seen.message(&sent.id);
    let mut out = call.answer(256);
    write(&mut out, &Digests { body, attributes, system_attributes }, &sent);
    Ok(Answer::Members(out))
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct SendMessageBatch<'a> {
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
    message_body: Option<Text<'a>>,
    delay_seconds: Option<i64>,
    #[serde(borrow)]
    message_attributes: Option<Pairs<'a, Value<'a>>>,
    #[serde(borrow)]
    message_system_attributes: Option<Pairs<'a, Value<'a>>>,
    #[serde(borrow)]
    message_deduplication_id: Option<Text<'a>>,
    #[serde(borrow)]
    message_group_id: Option<Text<'a>>,
}

impl<'a> Entry<'a> {
    /// Its id, and what is to be sent.
    fn into_parts(self) -> (Option<Text<'a>>, Parts<'a>) {
        let Self {
            id,
            message_body,
            delay_seconds,
            message_attributes,
            message_system_attributes,
            message_deduplication_id,
            message_group_id,
        } = self;
        let parts = Parts {
            body: message_body,
            delay: delay_seconds,
            attributes: message_attributes,
            system_attributes: message_system_attributes,
            dedup: message_deduplication_id,
            group: message_group_id,
        };
        (id, parts)
    }
}

pub(super) async fn send_message_batch(call: &Call<'_>) -> Result<Answer, SqsError> {
    let SendMessageBatch { queue_url, entries } = call.decode()?;
    let queue = call.queue(queue_url.as_ref())?;
    let settings = queue.settings();
    let (ids, parts): (Vec<_>, Vec<_>) =
        entries.unwrap_or_default().into_iter().map(Entry::into_parts).unzip();
    let ids = batch::check(ids.iter().map(Option::as_ref), "SendMessageBatchRequestEntry")?;
    let size: usize = parts.iter().map(Parts::size).sum();
    if size > MOST_BYTES {
        let message =
            format!("Batch requests cannot be longer than {MOST_BYTES} bytes. You have sent {size} bytes.");
        return Err(SqsError::new(Code::BatchRequestTooLong, message));
    }
    if let Some(fifo) = settings.fifo {
        // What is wrong with the kind of queue is wrong with the whole request, as in the service.
        if parts.iter().any(|parts| parts.group.is_none()) {
            return Err(SqsError::invalid("The request must contain the parameter MessageGroupId."));
        }
        if !fifo.content_dedup && parts.iter().any(|parts| parts.dedup.is_none()) {
            return Err(pipes::SendError::NoDedup.into());
        }
    }

    let mut failures: Failures<'_> = Vec::new();
    let mut sending = Vec::with_capacity(ids.len());
    let mut outgoing = Vec::with_capacity(ids.len());
    for (id, parts) in ids.into_iter().zip(parts) {
        match parts.into_domain(&settings, &call.arrived.caller.name) {
            Ok(Checked { outgoing: message, body, attributes, system_attributes }) => {
                sending.push((id, Digests { body, attributes, system_attributes }));
                outgoing.push(message);
            }
            Err(error) => failures.push((id, error)),
        }
    }
    call.trace_messages(&mut outgoing);
    let sent = if outgoing.is_empty() { Vec::new() } else { queue.send(outgoing).await? };
    let mut successes = Vec::with_capacity(sending.len());
    for ((id, digests), sent) in sending.into_iter().zip(sent) {
        match sent {
            Ok(sent) => successes.push((id, (digests, sent))),
            Err(error) => failures.push((id, error.into())),
        }
    }
    let mut out = call.answer(64 + 280 * successes.len());
    batch::write(&mut out, "SendMessageBatchResultEntry", &successes, &failures, |out, (digests, sent)| {
        write(out, digests, sent);
    });
    Ok(Answer::Members(out))
}

/// What a sender compares.
struct Digests {
    body: crate::digest::Hex,
    attributes: Option<crate::digest::Hex>,
    system_attributes: Option<crate::digest::Hex>,
}

fn write(out: &mut Encoder, digests: &Digests, sent: &Sent) {
    let Sent { id, sequence, duplicate: _ } = sent;
    out.ascii("MD5OfMessageBody", digests.body.as_bytes());
    if let Some(attributes) = &digests.attributes {
        out.ascii("MD5OfMessageAttributes", attributes.as_bytes());
    }
    if let Some(attributes) = &digests.system_attributes {
        out.ascii("MD5OfMessageSystemAttributes", attributes.as_bytes());
    }
    out.text("MessageId", id);
    if let Some(sequence) = sequence {
        out.text("SequenceNumber", &format!("{sequence:020}"));
    }
}

/// The pipes answered fewer messages than they were given: never, but then nothing was promised.
fn unanswered() -> SqsError {
    SqsError::new(Code::Unavailable, "The message was not answered for: send it again.")
}
