//! Publish, PublishBatch.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pipes::topic::{Published, Topic};

use super::call::{Answer, Call, inner_entries};
use super::error::{Code, SnsError};
use super::message::{MOST_BYTES, Parts};
use super::names::sequence;
use super::xml::Xml;

/// Most messages of a batch.
const MOST_ENTRIES: usize = 10;

pub(super) async fn publish(call: &Call<'_>) -> Result<Answer, SnsError> {
    if call.some("PhoneNumber").is_some() {
        return Err(SnsError::parameter("PhoneNumber Reason: sms is not served here"));
    }
    let topic = target(call)?;
    let parts = Parts {
        message: call.get("Message"),
        subject: call.get("Subject"),
        structure: call.some("MessageStructure"),
        group: call.get("MessageGroupId"),
        dedup: call.get("MessageDeduplicationId"),
        attributes: attributes(call),
        place: None,
    };
    let fifo = topic.settings().fifo.is_some();
    let mut messages = vec![parts.into_domain(fifo, &call.arrived.caller.name)?];
    call.trace_messages(&mut messages);
    let outcomes = call.topics.publish(topic.name(), messages).await?;
    let busy = || SnsError::new(Code::Throttled, "Rate exceeded");
    let published = outcomes.into_iter().next().ok_or_else(busy)??;
    call.saw_message(&published.id.to_string());
    let mut xml = Xml::default();
    write(&mut xml, published);
    Ok(Answer::Result(xml))
}

/// The topic of `TopicArn`, or of `TargetArn`, which may name one as well.
fn target(call: &Call<'_>) -> Result<Arc<Topic>, SnsError> {
    match (call.some("TopicArn"), call.some("TargetArn")) {
        (None, None) => {
            Err(SnsError::parameter("TopicArn or TargetArn Reason: no value for required parameter"))
        }
        (None, Some(arn)) if arn.contains(":endpoint/") => {
            Err(SnsError::parameter("TargetArn Reason: No endpoint found for the target arn specified"))
        }
        (None, Some(_)) => call.topic("TargetArn"),
        (Some(_), _) => call.topic("TopicArn"),
    }
}

fn write(xml: &mut Xml, published: Published) {
    xml.text("MessageId", &published.id.to_string());
    if let Some(number) = published.sequence {
        xml.text("SequenceNumber", &sequence(number));
    }
}

fn attributes<'c>(call: &'c Call<'_>) -> Vec<BTreeMap<&'c str, &'c str>> {
    let fields: BTreeMap<&str, &str> =
        call.params.iter().filter(|(name, _)| name.starts_with("MessageAttributes.entry.")).collect();
    inner_entries(&fields, "MessageAttributes")
}

pub(super) async fn publish_batch(call: &Call<'_>) -> Result<Answer, SnsError> {
    let topic = call.topic("TopicArn")?;
    let entries = call.members("PublishBatchRequestEntries");
    check_batch(&entries)?;
    let fifo = topic.settings().fifo.is_some();
    let parts: Vec<Parts<'_>> =
        entries.iter().enumerate().map(|(index, entry)| batch_parts(index, entry)).collect();
    if parts.iter().map(Parts::size).sum::<usize>() > MOST_BYTES {
        let message = "The length of all the messages put together is more than the limit.";
        return Err(SnsError::new(Code::BatchRequestTooLong, message));
    }
    let mut messages = Vec::with_capacity(parts.len());
    let mut ids = Vec::with_capacity(parts.len());
    let mut failed: Vec<(&str, SnsError)> = Vec::new();
    for (entry, parts) in entries.iter().zip(parts) {
        let id = entry.get("Id").copied().unwrap_or_default();
        // As the service does it, one attribute that is none fails the whole batch.
        match parts.into_domain(fifo, &call.arrived.caller.name) {
            Err(error) if matches!(error.code, Code::ParameterValueInvalid | Code::Validation) => {
                return Err(error);
            }
            Err(error) => failed.push((id, error)),
            Ok(message) => {
                messages.push(message);
                ids.push(id);
            }
        }
    }
    call.trace_messages(&mut messages);
    let outcomes = call.topics.publish(topic.name(), messages).await?;
    let mut published = Vec::with_capacity(outcomes.len());
    for (id, outcome) in ids.into_iter().zip(outcomes) {
        match outcome {
            Ok(one) => published.push((id, one)),
            Err(error) => failed.push((id, error.into())),
        }
    }
    let mut xml = Xml::default();
    xml.list("Successful", published, |xml, (id, one)| {
        xml.text("Id", id);
        write(xml, one);
    });
    xml.list("Failed", &failed, |xml, (id, error)| {
        xml.text("Id", id);
        xml.text("Code", error.code.wire());
        xml.text("Message", &error.message);
        xml.text("SenderFault", if error.senders_fault() { "true" } else { "false" });
    });
    Ok(Answer::Result(xml))
}

fn batch_parts<'p>(index: usize, entry: &BTreeMap<&'p str, &'p str>) -> Parts<'p> {
    let get = |name: &str| entry.get(name).copied();
    Parts {
        message: get("Message"),
        subject: get("Subject"),
        structure: get("MessageStructure"),
        group: get("MessageGroupId"),
        dedup: get("MessageDeduplicationId"),
        attributes: inner_entries(entry, "MessageAttributes"),
        place: Some(index + 1),
    }
}

fn check_batch(entries: &[BTreeMap<&str, &str>]) -> Result<(), SnsError> {
    if entries.is_empty() {
        return Err(SnsError::new(Code::EmptyBatchRequest, "The batch request doesn't contain any entries."));
    }
    if entries.len() > MOST_ENTRIES {
        let message = "The batch request contains more entries than permissible.";
        return Err(SnsError::new(Code::TooManyEntries, message));
    }
    let mut ids = BTreeSet::new();
    for entry in entries {
        let id = entry.get("Id").copied().unwrap_or_default();
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if id.len() > 80 {
            let message = format!("The Id of a batch entry in the batch request is too long: {id}");
            return Err(SnsError::new(Code::InvalidBatchEntryId, message));
        }
        if id.is_empty() || !id.bytes().all(allowed) {
            let message = format!(
                "The Id of a batch entry in the batch request contains an impermissible character: {id}"
            );
            return Err(SnsError::new(Code::InvalidBatchEntryId, message));
        }
        if !ids.insert(id) {
            let message = "Two or more batch entries in the request have the same Id.";
            return Err(SnsError::new(Code::BatchEntryIdsNotDistinct, message));
        }
    }
    Ok(())
}
