//! GetSubscriptionAttributes, SetSubscriptionAttributes.

use std::collections::BTreeMap;

use pipes::topic::{Filter, Scope, State, Subscription, SubscriptionSettings};
use serde_json::{Value, json};

use super::attributes::{boolean, object};
use super::call::{Answer, Call};
use super::delivery_policy;
use super::error::SnsError;
use super::names::{subscription_arn, topic_arn};
use super::subscriptions::{endpoint_text, protocol};
use super::topic_attributes::DELIVERY_POLICY;
use super::xml::Xml;
use crate::names::{ACCOUNT, parse_queue_arn, queue_arn};

/// Attributes that are kept and told, and not acted upon.
const KEPT: [&str; 2] = ["SubscriptionRoleArn", "ReplayPolicy"];

pub(super) async fn get_subscription_attributes(call: &Call<'_>) -> Result<Answer, SnsError> {
    let there = call.subscription()?;
    let topic = call.topics.topic(&there.topic).ok_or_else(SnsError::no_subscription)?;
    let in_force = there.settings.retry.as_ref().or(topic.settings().retry.as_ref());
    let mut xml = Xml::default();
    let mut told = told(&there);
    if there.endpoint.url().is_some() {
        told.insert("EffectiveDeliveryPolicy", delivery_policy::effective_of_subscription(in_force));
    }
    xml.map("Attributes", told);
    Ok(Answer::Result(xml))
}

pub(super) async fn set_subscription_attributes(call: &Call<'_>) -> Result<Answer, SnsError> {
    let there = call.subscription()?;
    let name = call.required("AttributeName")?;
    let value = call.get("AttributeValue").unwrap_or_default();
    if name == "RedrivePolicy" && !value.is_empty() {
        call.may_send_to(&dead_letter(value, "")?)?;
    }
    call.topics.change_subscription(there.id, |settings| apply(settings, name, value, "")).await?;
    Ok(Answer::Done)
}

/// Sets an attribute.
pub(super) fn apply(
    settings: &mut SubscriptionSettings,
    name: &str,
    value: &str,
    prefix: &str,
) -> Result<(), SnsError> {
    match name {
        "RawMessageDelivery" => settings.raw = boolean(name, value, prefix)?,
        "FilterPolicy" if value.trim().is_empty() || value.trim() == "{}" => settings.filter = None,
        "FilterPolicy" => settings.filter = Some(filter(value, settings.scope, prefix)?),
        "FilterPolicyScope" => {
            settings.scope = match value {
                "MessageAttributes" => Scope::Attributes,
                "MessageBody" => Scope::Body,
                _ => {
                    return Err(SnsError::parameter(&format!(
                        "{prefix}FilterPolicyScope: Invalid value [{value}]. Please use either MessageBody or \
                         MessageAttributes"
                    )));
                }
            };
            if let Some(there) = settings.filter.take() {
                settings.filter = Some(filter(there.text(), settings.scope, prefix)?);
            }
        }
        "RedrivePolicy" if value.is_empty() => settings.dead_letter = None,
        "RedrivePolicy" => settings.dead_letter = Some(dead_letter(value, prefix)?),
        DELIVERY_POLICY if value.is_empty() => {
            settings.retry = None;
            settings.kept.remove(DELIVERY_POLICY);
        }
        DELIVERY_POLICY => {
            settings.retry = delivery_policy::of_subscription(value, prefix)?;
            settings.kept.insert(DELIVERY_POLICY.to_owned(), value.to_owned());
        }
        name if KEPT.contains(&name) => {
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

fn filter(text: &str, scope: Scope, prefix: &str) -> Result<Filter, SnsError> {
    Filter::parse(text, scope).map_err(|error| SnsError::filter(&error, text, prefix))
}

/// The queue of a redrive policy.
fn dead_letter(value: &str, prefix: &str) -> Result<pipes::QueueName, SnsError> {
    let policy = object("RedrivePolicy", value, prefix)?;
    let arn = policy.get("deadLetterTargetArn").and_then(Value::as_str).unwrap_or_default();
    parse_queue_arn(arn).ok_or_else(|| {
        SnsError::parameter(&format!("{prefix}RedrivePolicy: deadLetterTargetArn is an invalid arn"))
    })
}

fn told(subscription: &Subscription) -> BTreeMap<&str, String> {
    let Subscription { id, topic, endpoint, owner, created_at: _, state, settings } = subscription;
    let SubscriptionSettings { raw, filter, scope, dead_letter, retry: _, kept } = settings;
    let mut told: BTreeMap<&str, String> =
        kept.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    told.insert("SubscriptionArn", subscription_arn(topic, *id));
    told.insert("TopicArn", topic_arn(topic));
    told.insert("Protocol", protocol(endpoint).to_owned());
    told.insert("Endpoint", endpoint_text(endpoint));
    told.insert("Owner", owner.clone());
    told.insert("SubscriptionPrincipal", format!("arn:aws:iam::{ACCOUNT}:root"));
    told.insert("RawMessageDelivery", raw.to_string());
    told.insert("PendingConfirmation", (*state == State::Pending).to_string());
    let authenticated = matches!(state, State::Confirmed { authenticated: true });
    told.insert("ConfirmationWasAuthenticated", authenticated.to_string());
    if let Some(filter) = filter {
        told.insert("FilterPolicy", filter.text().to_owned());
        let scope = if *scope == Scope::Body { "MessageBody" } else { "MessageAttributes" };
        told.insert("FilterPolicyScope", scope.to_owned());
    }
    if let Some(queue) = dead_letter {
        told.insert("RedrivePolicy", json!({ "deadLetterTargetArn": queue_arn(queue.as_str()) }).to_string());
    }
    told
}
