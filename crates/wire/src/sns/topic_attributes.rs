//! GetTopicAttributes, SetTopicAttributes.

use std::collections::BTreeMap;

use pipes::TopicName;
use pipes::topic::{Topic, TopicSettings};
use serde_json::json;

use super::attributes::{boolean, object};
use super::call::{Answer, Call};
use super::delivery_policy;
use super::error::SnsError;
use super::names::topic_arn;
use super::xml::Xml;
use crate::names::ACCOUNT;

/// The attribute that says how what is told of a topic's messages is signed.
pub const SIGNATURE_VERSION: &str = "SignatureVersion";

/// Attributes that are kept and told. None is acted upon but the first.
pub(super) const KEPT: [&str; 20] = [
    SIGNATURE_VERSION,
    "KmsMasterKeyId",
    "TracingConfig",
    "ArchivePolicy",
    "BeginningArchiveTime",
    "ApplicationSuccessFeedbackRoleArn",
    "ApplicationSuccessFeedbackSampleRate",
    "ApplicationFailureFeedbackRoleArn",
    "FirehoseSuccessFeedbackRoleArn",
    "FirehoseSuccessFeedbackSampleRate",
    "FirehoseFailureFeedbackRoleArn",
    "HTTPSuccessFeedbackRoleArn",
    "HTTPSuccessFeedbackSampleRate",
    "HTTPFailureFeedbackRoleArn",
    "LambdaSuccessFeedbackRoleArn",
    "LambdaSuccessFeedbackSampleRate",
    "LambdaFailureFeedbackRoleArn",
    "SQSSuccessFeedbackRoleArn",
    "SQSSuccessFeedbackSampleRate",
    "SQSFailureFeedbackRoleArn",
];

/// Under which name the text of a delivery policy is kept.
pub(super) const DELIVERY_POLICY: &str = "DeliveryPolicy";

pub(super) async fn get_topic_attributes(call: &Call<'_>) -> Result<Answer, SnsError> {
    let topic = call.topic("TopicArn")?;
    let mut xml = Xml::default();
    xml.map("Attributes", told(&topic));
    Ok(Answer::Result(xml))
}

pub(super) async fn set_topic_attributes(call: &Call<'_>) -> Result<Answer, SnsError> {
    let topic = call.topic("TopicArn")?;
    let name = call.required("AttributeName")?;
    let value = call.get("AttributeValue").unwrap_or_default();
    if name == "FifoTopic" {
        return Err(SnsError::parameter("AttributeName"));
    }
    call.topics.change(topic.name(), |settings, _| apply(settings, topic.name(), name, value, "")).await?;
    Ok(Answer::Done)
}

/// Sets an attribute.
pub(super) fn apply(
    settings: &mut TopicSettings,
    topic: &TopicName,
    name: &str,
    value: &str,
    prefix: &str,
) -> Result<(), SnsError> {
    match (name, &mut settings.fifo) {
        ("DisplayName", _) => {
            if value.chars().count() > 100 || value.chars().any(char::is_control) {
                return Err(SnsError::parameter(&format!("{prefix}DisplayName")));
            }
            settings.display_name = value.to_owned();
        }
        ("Policy", _) => {
            if !value.is_empty() {
                object("Policy", value, prefix)?;
            }
            let default = value.is_empty() || value == default_policy(topic);
            settings.policy = (!default).then(|| value.to_owned());
        }
        (DELIVERY_POLICY, _) if value.is_empty() => {
            settings.retry = None;
            settings.kept.remove(DELIVERY_POLICY);
        }
        (DELIVERY_POLICY, _) => {
            settings.retry = delivery_policy::of_topic(value, prefix)?;
            settings.kept.insert(DELIVERY_POLICY.to_owned(), value.to_owned());
        }
        ("ContentBasedDeduplication", Some(fifo)) => fifo.content_dedup = boolean(name, value, prefix)?,
        ("FifoThroughputScope", Some(fifo)) => {
            fifo.dedup_by_group = match value {
                "Topic" => false,
                "MessageGroup" => true,
                _ => return Err(SnsError::parameter(&format!("{prefix}FifoThroughputScope"))),
            };
        }
        (SIGNATURE_VERSION, _) if !matches!(value, "1" | "2") => {
            return Err(SnsError::parameter(&format!("{prefix}SignatureVersion")));
        }
        (name, _) if KEPT.contains(&name) => {
            if value.is_empty() {
                settings.kept.remove(name);
            } else {
                settings.kept.insert(name.to_owned(), value.to_owned());
            }
        }
        _ => return Err(SnsError::parameter(&format!("{prefix}AttributeName"))),
    }
    Ok(())
}

fn told(topic: &Topic) -> BTreeMap<&str, String> {
    let settings = topic.settings();
    let TopicSettings { fifo, display_name, policy, retry, kept } = settings;
    let confirmed = topic.subscriptions().iter().filter(|there| there.is_confirmed()).count();
    let mut told: BTreeMap<&str, String> =
        kept.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    told.insert("TopicArn", topic_arn(topic.name()));
    told.insert("Owner", ACCOUNT.to_owned());
    told.insert("DisplayName", display_name.clone());
    told.insert("Policy", policy.clone().unwrap_or_else(|| default_policy(topic.name())));
    told.insert("EffectiveDeliveryPolicy", delivery_policy::effective_of_topic(retry.as_ref()));
    told.insert("SubscriptionsConfirmed", confirmed.to_string());
    told.insert("SubscriptionsPending", (topic.subscriptions().len() - confirmed).to_string());
    told.insert("SubscriptionsDeleted", "0".to_owned());
    if let Some(fifo) = fifo {
        told.insert("FifoTopic", "true".to_owned());
        told.insert("ContentBasedDeduplication", fifo.content_dedup.to_string());
        let scope = if fifo.dedup_by_group { "MessageGroup" } else { "Topic" };
        told.insert("FifoThroughputScope", scope.to_owned());
    }
    told
}

/// The policy of a topic for which none was set, as the service tells it.
pub(super) fn default_policy(topic: &TopicName) -> String {
    let actions = [
        "GetTopicAttributes",
        "SetTopicAttributes",
        "AddPermission",
        "RemovePermission",
        "DeleteTopic",
        "Subscribe",
        "ListSubscriptionsByTopic",
        "Publish",
    ];
    json!({
        "Version": "2008-10-17",
        "Id": "__default_policy_ID",
        "Statement": [{
            "Sid": "__default_statement_ID",
            "Effect": "Allow",
            "Principal": { "AWS": "*" },
            "Action": actions.map(|action| format!("SNS:{action}")),
            "Resource": topic_arn(topic),
            "Condition": { "StringEquals": { "AWS:SourceOwner": ACCOUNT } },
        }],
    })
    .to_string()
}
