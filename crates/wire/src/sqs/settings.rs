//! The attributes of a queue that can be set, and the settings that they are.

use pipes::{DeadLetter, DeadLettersFrom, QueueName, Settings};
use serde_json::Value;

use super::error::{Code, SqsError};
use crate::names::{parse_queue_arn, queue_arn};
use crate::text::{Pairs, Text};

/// When attributes are given: a queue's kind is settled when it is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    /// CreateQueue.
    Creation,
    /// SetQueueAttributes.
    Later,
}

/// Settings as they are to be.
pub(super) struct Change {
    pub(super) settings: Settings,
    /// The text of the redrive policy, for what is said of it.
    pub(super) redrive: String,
}

/// Whether a queue is to be made that keeps order.
pub(super) fn asks_for_order(attributes: &Pairs<'_, Text<'_>>) -> Result<bool, SqsError> {
    match attributes.0.iter().rev().find(|(name, _)| &**name == "FifoQueue").map(|(_, value)| &**value) {
        None => Ok(false),
        Some("true") => Ok(true),
        // A queue that is not FIFO does not know the attribute: so says the service.
        Some("false") => Err(unknown("FifoQueue")),
        Some(_) => Err(bad("FifoQueue", "")),
    }
}

/// `begin` with attributes set.
pub(super) fn change(
    begin: &Settings,
    attributes: &Pairs<'_, Text<'_>>,
    moment: Moment,
) -> Result<Change, SqsError> {
    let mut change = Change { settings: begin.clone(), redrive: String::new() };
    for (name, value) in &attributes.0 {
        set(&mut change, name, value, moment)?;
    }
    let settings = &mut change.settings;
    if let Some(fifo) = settings.fifo
        && fifo.throughput_by_group
        && !fifo.dedup_by_group
    {
        let reason = " Reason: perMessageGroupId is only allowed where DeduplicationScope is messageGroup.";
        return Err(bad("FifoThroughputLimit", reason));
    }
    // Whoever names a key of theirs wants no other.
    if attributes.0.iter().any(|(name, value)| &**name == "KmsMasterKeyId" && !value.is_empty()) {
        settings.kept.remove("SqsManagedSseEnabled");
    }
    Ok(change)
}

fn set(change: &mut Change, name: &str, value: &str, moment: Moment) -> Result<(), SqsError> {
    let settings = &mut change.settings;
    match name {
        "DelaySeconds" => settings.delay_seconds = number(name, value, 0, 900)?,
        "MaximumMessageSize" => settings.message_bytes = number(name, value, 1024, 1024 * 1024)?,
        "MessageRetentionPeriod" => settings.retention_seconds = number(name, value, 60, 1_209_600)?,
        "ReceiveMessageWaitTimeSeconds" => settings.wait_seconds = number(name, value, 0, 20)?,
        "VisibilityTimeout" => settings.visibility_seconds = number(name, value, 0, 43_200)?,
        "Policy" => settings.policy = policy(value)?,
        "RedrivePolicy" => {
            settings.dead_letter = redrive_policy(value)?;
            value.clone_into(&mut change.redrive);
        }
        "RedriveAllowPolicy" => settings.dead_letters_from = redrive_allow_policy(value)?,
        "KmsMasterKeyId" => keep(settings, name, value),
        "KmsDataKeyReusePeriodSeconds" => {
            number(name, value, 60, 86_400)?;
            keep(settings, name, value);
        }
        "SqsManagedSseEnabled" => {
            boolean(name, value)?;
            keep(settings, name, value);
            if value == "true" {
                settings.kept.remove("KmsMasterKeyId");
            }
        }
        "FifoQueue" => match (moment, &settings.fifo, value) {
            (_, Some(_), "true") => {}
            (Moment::Later, None, _) => return Err(unknown(name)),
            (_, _, "true" | "false") => {
                return Err(bad(name, " Reason: Modifying queue type is not supported."));
            }
            _ => return Err(bad(name, "")),
        },
        "ContentBasedDeduplication" => {
            let fifo = settings.fifo.as_mut().ok_or_else(|| unknown(name))?;
            fifo.content_dedup = boolean(name, value)?;
        }
        "DeduplicationScope" => {
            let fifo = settings.fifo.as_mut().ok_or_else(|| only_fifo(name))?;
            fifo.dedup_by_group = either(name, value, "queue", "messageGroup")?;
        }
        "FifoThroughputLimit" => {
            let fifo = settings.fifo.as_mut().ok_or_else(|| only_fifo(name))?;
            fifo.throughput_by_group = either(name, value, "perQueue", "perMessageGroupId")?;
        }
        _ => return Err(unknown(name)),
    }
    Ok(())
}

/// The first attribute in which two settings differ.
pub(super) fn first_difference(a: &Settings, b: &Settings) -> Option<&'static str> {
    let Settings {
        visibility_seconds,
        delay_seconds,
        retention_seconds,
        message_bytes,
        wait_seconds,
        fifo,
        dead_letter,
        dead_letters_from,
        policy,
        kept,
    } = a;
    let fifo_of = |settings: &Option<pipes::Fifo>| settings.unwrap_or_default();
    let (mine, theirs) = (fifo_of(fifo), fifo_of(&b.fifo));
    let kept_differs = |name: &str| kept.get(name) != b.kept.get(name);
    [
        ("VisibilityTimeout", *visibility_seconds != b.visibility_seconds),
        ("DelaySeconds", *delay_seconds != b.delay_seconds),
        ("MessageRetentionPeriod", *retention_seconds != b.retention_seconds),
        ("MaximumMessageSize", *message_bytes != b.message_bytes),
        ("ReceiveMessageWaitTimeSeconds", *wait_seconds != b.wait_seconds),
        ("FifoQueue", fifo.is_some() != b.fifo.is_some()),
        ("ContentBasedDeduplication", mine.content_dedup != theirs.content_dedup),
        ("DeduplicationScope", mine.dedup_by_group != theirs.dedup_by_group),
        ("FifoThroughputLimit", mine.throughput_by_group != theirs.throughput_by_group),
        ("RedrivePolicy", *dead_letter != b.dead_letter),
        ("RedriveAllowPolicy", *dead_letters_from != b.dead_letters_from),
        ("Policy", *policy != b.policy),
        ("KmsMasterKeyId", kept_differs("KmsMasterKeyId")),
        ("KmsDataKeyReusePeriodSeconds", kept_differs("KmsDataKeyReusePeriodSeconds")),
        ("SqsManagedSseEnabled", kept_differs("SqsManagedSseEnabled")),
    ]
    .into_iter()
    .find_map(|(name, differs)| differs.then_some(name))
}

/// An attribute that no queue has, or not this one.
pub(super) fn unknown(name: &str) -> SqsError {
    let name = name.chars().take(256).collect::<String>();
    SqsError::new(Code::InvalidAttributeName, format!("Unknown Attribute {name}."))
}

fn only_fifo(name: &str) -> SqsError {
    let message = format!("You can specify the {name} only when FifoQueue is set to true.");
    SqsError::new(Code::InvalidAttributeName, message)
}

fn bad(name: &str, reason: &str) -> SqsError {
    SqsError::new(Code::InvalidAttributeValue, format!("Invalid value for the parameter {name}.{reason}"))
}

fn number(name: &str, value: &str, from: u32, to: u32) -> Result<u32, SqsError> {
    let plain = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    let number = value.parse::<u32>().ok().filter(|_| plain);
    number.filter(|number| (from..=to).contains(number)).ok_or_else(|| bad(name, ""))
}

fn boolean(name: &str, value: &str) -> Result<bool, SqsError> {
    either(name, value, "false", "true")
}

/// Whether it is the second one.
fn either(name: &str, value: &str, first: &str, second: &str) -> Result<bool, SqsError> {
    if value == second {
        return Ok(true);
    }
    if value == first { Ok(false) } else { Err(bad(name, "")) }
}

fn keep(settings: &mut Settings, name: &str, value: &str) {
    if value.is_empty() {
        settings.kept.remove(name);
    } else {
        settings.kept.insert(name.to_owned(), value.to_owned());
    }
}

/// A policy is kept as its owner wrote it; what it allows is decided elsewhere.
fn policy(value: &str) -> Result<Option<String>, SqsError> {
    if value.is_empty() {
        return Ok(None);
    }
    match serde_json::from_str::<Value>(value) {
        Ok(Value::Object(_)) => Ok(Some(value.to_owned())),
        _ => Err(bad("Policy", "")),
    }
}

fn redrive_policy(value: &str) -> Result<Option<DeadLetter>, SqsError> {
    if value.is_empty() {
        return Ok(None);
    }
    let wrong = |reason: &str| SqsError::value(value, "RedrivePolicy", reason);
    let Ok(Value::Object(policy)) = serde_json::from_str::<Value>(value) else {
        return Err(wrong("Redrive policy is not a valid JSON map."));
    };
    let missing =
        |name: &str| wrong(&format!("Redrive policy does not contain mandatory attribute: {name}."));
    let target = policy.get("deadLetterTargetArn").ok_or_else(|| missing("deadLetterTargetArn"))?;
    let after = policy.get("maxReceiveCount").ok_or_else(|| missing("maxReceiveCount"))?;
    let target = target
        .as_str()
        .and_then(parse_queue_arn)
        .ok_or_else(|| wrong("Invalid value for deadLetterTargetArn."))?;
    let after = match after {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    match after.and_then(|after| u32::try_from(after).ok()) {
        Some(after @ 1..=1000) => Ok(Some(DeadLetter { target, after })),
        _ => Err(wrong("Invalid value for maxReceiveCount: valid values are from 1 to 1000 both inclusive.")),
    }
}

fn redrive_allow_policy(value: &str) -> Result<DeadLettersFrom, SqsError> {
    if value.is_empty() {
        return Ok(DeadLettersFrom::All);
    }
    let wrong = |reason: &str| SqsError::value(value, "RedriveAllowPolicy", reason);
    let Ok(Value::Object(policy)) = serde_json::from_str::<Value>(value) else {
        return Err(wrong(
            "Amazon SQS can't create the redrive allow policy, as it is not a valid JSON map.",
        ));
    };
    let sources = policy.get("sourceQueueArns");
    match policy.get("redrivePermission").and_then(Value::as_str) {
        Some("allowAll") if sources.is_none() => Ok(DeadLettersFrom::All),
        Some("denyAll") if sources.is_none() => Ok(DeadLettersFrom::Nobody),
        Some("allowAll" | "denyAll") => Err(wrong("sourceQueueArns can only be given with byQueue.")),
        Some("byQueue") => {
            let arns = sources.and_then(Value::as_array).filter(|arns| (1..=10).contains(&arns.len()));
            let arns = arns.ok_or_else(|| wrong("byQueue needs 1 to 10 sourceQueueArns."))?;
            let names: Option<Vec<QueueName>> =
                arns.iter().map(|arn| arn.as_str().and_then(parse_queue_arn)).collect();
            Ok(DeadLettersFrom::These(names.ok_or_else(|| wrong("sourceQueueArns must be ARNs of queues."))?))
        }
        _ => Err(wrong("redrivePermission must be allowAll, denyAll or byQueue.")),
    }
}

/// A redrive policy as text.
pub(super) fn redrive_text(dead_letter: &DeadLetter) -> String {
    let DeadLetter { target, after } = dead_letter;
    // Names need no escapes.
    format!("{{\"deadLetterTargetArn\":\"{}\",\"maxReceiveCount\":{after}}}", queue_arn(target.as_str()))
}

/// A redrive allow policy as text; none if any queue may, as it is without one.
pub(super) fn redrive_allow_text(from: &DeadLettersFrom) -> Option<String> {
    match from {
        DeadLettersFrom::All => None,
        DeadLettersFrom::Nobody => Some("{\"redrivePermission\":\"denyAll\"}".to_owned()),
        DeadLettersFrom::These(names) => {
            let arns: Vec<String> =
                names.iter().map(|name| format!("\"{}\"", queue_arn(name.as_str()))).collect();
            Some(format!("{{\"redrivePermission\":\"byQueue\",\"sourceQueueArns\":[{}]}}", arns.join(",")))
        }
    }
}

#[cfg(test)]
#[path = "settings_tests.rs"]
mod tests;
