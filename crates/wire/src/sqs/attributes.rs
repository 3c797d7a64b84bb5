//! GetQueueAttributes, SetQueueAttributes.

use pipes::{Counts, Queue, Settings};
use serde::Deserialize;

use super::call::{Answer, Call};
use super::error::SqsError;
use super::settings::{self, Change, Moment};
use crate::encode::Named;
use crate::names::queue_arn;
use crate::text::{Pairs, Text};

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct GetQueueAttributes<'a> {
    #[serde(borrow)]
    queue_url: Option<Text<'a>>,
    #[serde(borrow)]
    attribute_names: Option<Vec<Text<'a>>>,
}

pub(super) async fn get_queue_attributes(call: &Call<'_>) -> Result<Answer, SqsError> {
    let GetQueueAttributes { queue_url, attribute_names } = call.decode()?;
    let queue = call.queue(queue_url.as_ref())?;
    let wanted = attribute_names.unwrap_or_default();
    if let Some(name) = wanted.iter().find(|name| &***name != "All" && !NAMES.contains(&&***name)) {
        return Err(settings::unknown(name));
    }
    let all = wanted.iter().any(|name| &**name == "All");
    let of = Of { settings: &queue.settings(), counts: queue.counts(), queue: &queue };
    let attributes: Vec<(&str, String)> = NAMES
        .iter()
        .filter(|name| all || wanted.iter().any(|wanted| wanted.0 == **name))
        .filter_map(|name| Some((*name, of.value(name)?)))
        .collect();
    let mut out = call.answer(64 * attributes.len() + 64);
    if !attributes.is_empty() {
        let entries = attributes.iter().map(|(name, value)| (*name, value));
        out.map(Named { json: "Attributes", xml: "Attribute" }, ("Name", "Value"), entries);
    }
    Ok(Answer::Members(out))
}

/// Every attribute of a queue.
const NAMES: [&str; 21] = [
    "QueueArn",
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
    "CreatedTimestamp",
    "LastModifiedTimestamp",
    "VisibilityTimeout",
    "MaximumMessageSize",
    "MessageRetentionPeriod",
    "DelaySeconds",
    "ReceiveMessageWaitTimeSeconds",
    "Policy",
    "RedrivePolicy",
    "RedriveAllowPolicy",
    "FifoQueue",
    "ContentBasedDeduplication",
    "DeduplicationScope",
    "FifoThroughputLimit",
    "KmsMasterKeyId",
    "KmsDataKeyReusePeriodSeconds",
    "SqsManagedSseEnabled",
];

/// One look at a queue.
struct Of<'q> {
    queue: &'q Queue,
    settings: &'q Settings,
    counts: Counts,
}

impl Of<'_> {
    /// An attribute, if this queue has it.
    fn value(&self, name: &str) -> Option<String> {
        let Self { queue, settings, counts } = self;
        let seconds = |moment: kit::Timestamp| (moment.as_micros() / 1_000_000).to_string();
        let fifo = settings.fifo;
        Some(match name {
            "QueueArn" => queue_arn(queue.name().as_str()),
            "ApproximateNumberOfMessages" => counts.visible.to_string(),
            "ApproximateNumberOfMessagesNotVisible" => counts.in_flight.to_string(),
            "ApproximateNumberOfMessagesDelayed" => counts.delayed.to_string(),
            "CreatedTimestamp" => seconds(queue.created_at()),
            "LastModifiedTimestamp" => seconds(queue.changed_at()),
            "VisibilityTimeout" => settings.visibility_seconds.to_string(),
            "MaximumMessageSize" => settings.message_bytes.to_string(),
            "MessageRetentionPeriod" => settings.retention_seconds.to_string(),
            "DelaySeconds" => settings.delay_seconds.to_string(),
            "ReceiveMessageWaitTimeSeconds" => settings.wait_seconds.to_string(),
            "Policy" => settings.policy.clone()?,
            "RedrivePolicy" => settings::redrive_text(settings.dead_letter.as_ref()?),
            "RedriveAllowPolicy" => settings::redrive_allow_text(&settings.dead_letters_from)?,
            "FifoQueue" => fifo.map(|_| "true")?.to_owned(),
            "ContentBasedDeduplication" => fifo?.content_dedup.to_string(),
            "DeduplicationScope" => if fifo?.dedup_by_group { "messageGroup" } else { "queue" }.to_owned(),
            "FifoThroughputLimit" => {
                if fifo?.throughput_by_group { "perMessageGroupId" } else { "perQueue" }.to_owned()
            }
            // Nothing is encrypted here, and nobody is told so who did not ask for it.
            "SqsManagedSseEnabled" => settings.kept.get(name).map_or("false", String::as_str).to_owned(),
            name => settings.kept.get(name)?.clone(),
        })
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct SetQueueAttributes<'a> {
    #[serde(borrow)]
    queue_url: Option<Text<'a>>,
    #[serde(borrow)]
    attributes: Option<Pairs<'a, Text<'a>>>,
}

pub(super) async fn set_queue_attributes(call: &Call<'_>) -> Result<Answer, SqsError> {
    let SetQueueAttributes { queue_url, attributes } = call.decode()?;
    let queue = call.queue(queue_url.as_ref())?;
    let attributes = attributes.filter(|attributes| !attributes.0.is_empty());
    let attributes = attributes.ok_or_else(|| SqsError::missing("Attributes"))?;
    let Change { settings, redrive } = settings::change(&queue.settings(), &attributes, Moment::Later)?;
    queue.set(settings).await.map_err(|error| SqsError::set(error, &redrive))?;
    Ok(Answer::Done)
}
