//! Subscribe, ConfirmSubscription, Unsubscribe, ListSubscriptions, ListSubscriptionsByTopic.

use std::sync::Arc;

use pipes::topic::{Endpoint, State, Subscribe, Subscription, SubscriptionId, SubscriptionSettings, Topic};

use super::call::{Answer, Call};
use super::error::SnsError;
use super::names::{parse_subscription_arn, parse_topic_arn, subscription_arn, topic_arn};
use super::subscription_attributes;
use super::topics::{PAGE, bad_token, read_token, token};
use super::xml::Xml;
use crate::names::{ACCOUNT, parse_queue_arn};

/// Ways of delivering that the service has and this does not.
const NOT_SERVED: [&str; 5] = ["email", "email-json", "sms", "application", "firehose"];

/// Longest address.
const MOST_URL: usize = 2048;

pub(super) async fn subscribe(call: &Call<'_>) -> Result<Answer, SnsError> {
    let topic = call.topic("TopicArn")?;
    let protocol = call.required("Protocol")?;
    let endpoint = endpoint(protocol, call.some("Endpoint"))?;
    let attributes = call.map("Attributes")?;
    if let Endpoint::Queue(queue) = &endpoint {
        call.may_send_to(queue)?;
    }
    let mut settings = SubscriptionSettings::default();
    // The scope first: it says how the policy is to be read.
    let (scope, others): (Vec<_>, Vec<_>) =
        attributes.iter().partition(|(name, _)| *name == "FilterPolicyScope");
    for (name, value) in scope.into_iter().chain(others) {
        subscription_attributes::apply(&mut settings, name, value, "Attributes Reason: ")?;
    }
    if let Some(dead_letter) = &settings.dead_letter {
        call.may_send_to(dead_letter)?;
    }
    let asked = Subscribe { endpoint, settings, owner: ACCOUNT.to_owned() };
    let subscribed = match call.topics.subscribe(topic.name(), asked).await {
        // Attributes that are not said are as they are.
        Err(pipes::topic::SubscribeError::Differs) if attributes.is_empty() => there(&topic, protocol, call)?,
        outcome => outcome?.subscription,
    };
    let wanted = call.some("ReturnSubscriptionArn").is_some_and(|text| text.eq_ignore_ascii_case("true"));
    let mut xml = Xml::default();
    if subscribed.is_confirmed() || wanted {
        xml.text("SubscriptionArn", &subscription_arn(&subscribed.topic, subscribed.id));
    } else {
        xml.text("SubscriptionArn", "pending confirmation");
    }
    Ok(Answer::Result(xml))
}

fn there(topic: &Topic, protocol: &str, call: &Call<'_>) -> Result<Arc<Subscription>, SnsError> {
    let endpoint = endpoint(protocol, call.some("Endpoint"))?;
    let found = call.topics.topic(topic.name());
    let found = found
        .and_then(|topic| topic.subscriptions().iter().find(|there| there.endpoint == endpoint).cloned());
    found.ok_or_else(SnsError::no_subscription)
}

/// Where messages are to go.
fn endpoint(protocol: &str, text: Option<&str>) -> Result<Endpoint, SnsError> {
    if NOT_SERVED.contains(&protocol) {
        return Err(SnsError::parameter(&format!("Protocol Reason: {protocol} is not served here")));
    }
    if !matches!(protocol, "sqs" | "http" | "https" | "lambda") {
        let what = format!("Amazon SNS does not support this protocol string: {protocol}");
        return Err(SnsError::parameter(&what));
    }
    let text = text.ok_or_else(|| SnsError::parameter("Endpoint"))?;
    match protocol {
        "sqs" => {
            parse_queue_arn(text).map(Endpoint::Queue).ok_or_else(|| SnsError::parameter("SQS endpoint ARN"))
        }
        "lambda" => Ok(Endpoint::Function(text.into())),
        _ => {
            if !text.starts_with(&format!("{protocol}://")) {
                return Err(SnsError::parameter("Endpoint must match the specified protocol"));
            }
            let uri: http::Uri = text.parse().map_err(|_| SnsError::parameter("Endpoint"))?;
            if uri.host().is_none_or(str::is_empty) || text.len() > MOST_URL {
                return Err(SnsError::parameter("Endpoint"));
            }
            Ok(if protocol == "http" { Endpoint::Http(text.into()) } else { Endpoint::Https(text.into()) })
        }
    }
}

pub(super) async fn confirm_subscription(call: &Call<'_>) -> Result<Answer, SnsError> {
    // No question of who may do this: whoever has the token was asked.
    let name = parse_topic_arn(call.required("TopicArn")?, "TopicArn")?;
    let name = name.ok_or_else(|| SnsError::parameter("TopicArn"))?;
    call.topics.topic(&name).ok_or_else(SnsError::no_topic)?;
    let authenticated =
        call.some("AuthenticateOnUnsubscribe").is_some_and(|text| text.eq_ignore_ascii_case("true"));
    let confirmed = call.topics.confirm(&name, call.required("Token")?, authenticated).await?;
    let mut xml = Xml::default();
    xml.text("SubscriptionArn", &subscription_arn(&name, confirmed.id));
    Ok(Answer::Result(xml))
}

pub(super) async fn unsubscribe(call: &Call<'_>) -> Result<Answer, SnsError> {
    let (name, id) = parse_subscription_arn(call.required("SubscriptionArn")?)?;
    let there = call.topics.subscription(id).filter(|there| there.topic == name);
    // Whoever was asked may go by the address that every message gives them, unless they said otherwise.
    let open = there.as_ref().is_some_and(|there| there.state == State::Confirmed { authenticated: false });
    if open {
        call.saw_topic(&name);
    } else {
        let topic = call.topics.topic(&name);
        let policy = topic.as_ref().and_then(|topic| topic.settings().policy.as_deref());
        call.may(&name, policy)?;
    }
    // Also where it is not there: it may be about to end, and is ended only once that is on disk.
    let stranger = call.arrived.caller.key.is_empty();
    call.topics.unsubscribe(id, stranger).await?;
    Ok(Answer::Done)
}

pub(super) async fn list_subscriptions(call: &Call<'_>) -> Result<Answer, SnsError> {
    call.may_at_all()?;
    let all = call.topics.subscriptions(after(call)?, PAGE + 1);
    Ok(page(all))
}

pub(super) async fn list_subscriptions_by_topic(call: &Call<'_>) -> Result<Answer, SnsError> {
    let topic = call.topic("TopicArn")?;
    let after = after(call)?;
    let behind = topic.subscriptions().iter().filter(|there| after.is_none_or(|after| there.id > after));
    Ok(page(behind.take(PAGE + 1).cloned().collect()))
}

fn after(call: &Call<'_>) -> Result<Option<SubscriptionId>, SnsError> {
    let Some(token) = call.some("NextToken") else { return Ok(None) };
    read_token(token).and_then(|id| id.parse().ok()).map(Some).ok_or_else(bad_token)
}

fn page(mut subscriptions: Vec<Arc<Subscription>>) -> Answer {
    let more = subscriptions.len() > PAGE;
    subscriptions.truncate(PAGE);
    let mut xml = Xml::default();
    xml.list("Subscriptions", &subscriptions, |xml, there| {
        let arn = if there.is_confirmed() {
            subscription_arn(&there.topic, there.id)
        } else {
            "PendingConfirmation".to_owned()
        };
        xml.text("SubscriptionArn", &arn);
        xml.text("Owner", &there.owner);
        xml.text("Protocol", protocol(&there.endpoint));
        xml.text("Endpoint", &endpoint_text(&there.endpoint));
        xml.text("TopicArn", &topic_arn(&there.topic));
    });
    if let Some(last) = subscriptions.last().filter(|_| more) {
        xml.text("NextToken", &token(&last.id.to_string()));
    }
    Answer::Result(xml)
}

/// What SNS calls a kind of endpoint.
pub(super) fn protocol(endpoint: &Endpoint) -> &'static str {
    match endpoint {
        Endpoint::Queue(_) => "sqs",
        Endpoint::Http(_) => "http",
        Endpoint::Https(_) => "https",
        Endpoint::Function(_) => "lambda",
    }
}

/// An endpoint as it was given.
pub(super) fn endpoint_text(endpoint: &Endpoint) -> String {
    match endpoint {
        Endpoint::Queue(name) => crate::names::queue_arn(name.as_str()),
        other => other.to_string(),
    }
}
