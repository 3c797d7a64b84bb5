//! What topics and subscriptions are called on the wire.

use pipes::TopicName;
use pipes::topic::SubscriptionId;

use super::error::SnsError;
use crate::names::{ACCOUNT, REGION};

/// `arn:aws:sns:us-east-1:000000000000:NAME`.
pub(super) fn topic_arn(name: &TopicName) -> String {
    format!("arn:aws:sns:{REGION}:{ACCOUNT}:{name}")
}

/// `arn:aws:sns:us-east-1:000000000000:NAME:ID`.
pub(super) fn subscription_arn(name: &TopicName, id: SubscriptionId) -> String {
    format!("{}:{id}", topic_arn(name))
}

/// What is behind the account of an ARN of SNS here. `Err`: how many elements it has, if there are too few.
fn rest(arn: &str) -> Result<Option<&str>, usize> {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    match parts[..] {
        ["arn", partition, "sns", REGION, ACCOUNT, rest] if partition.starts_with("aws") => Ok(Some(rest)),
        [_, _, _, _, _, _] => Ok(None),
        _ => Err(parts.len()),
    }
}

/// The topic of an ARN; `parameter` is where it stands. `Ok(None)`: it is an ARN, of something that cannot be here.
pub(super) fn parse_topic_arn(arn: &str, parameter: &str) -> Result<Option<TopicName>, SnsError> {
    let rest = rest(arn).map_err(|count| few(parameter, count))?;
    Ok(rest.and_then(|name| name.parse().ok()))
}

/// Topic and identity of a subscription's ARN.
pub(super) fn parse_subscription_arn(arn: &str) -> Result<(TopicName, SubscriptionId), SnsError> {
    let rest = rest(arn).map_err(|count| few("SubscriptionArn", count))?;
    let parsed = rest
        .and_then(|rest| rest.rsplit_once(':'))
        .and_then(|(name, id)| Some((name.parse().ok()?, id.parse().ok()?)));
    parsed.ok_or_else(|| SnsError::parameter("SubscriptionId"))
}

fn few(parameter: &str, count: usize) -> SnsError {
    SnsError::parameter(&format!("{parameter} Reason: An ARN must have at least 6 elements, not {count}"))
}

/// The number of a message in the order of its topic, as SNS writes it.
pub(super) fn sequence(number: u64) -> String {
    format!("1{number:019}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arns_name_topics_and_subscriptions() {
        let name: TopicName = "orders.fifo".parse().unwrap();
        let arn = topic_arn(&name);
        assert_eq!(arn, "arn:aws:sns:us-east-1:000000000000:orders.fifo");
        assert_eq!(parse_topic_arn(&arn, "TopicArn").unwrap(), Some(name.clone()));
        let id: SubscriptionId = "01234567-89ab-4def-8123-456789abcdef".parse().unwrap();
        assert_eq!(parse_subscription_arn(&subscription_arn(&name, id)).unwrap(), (name, id));
        assert_eq!(
            parse_topic_arn("nope", "TopicArn").unwrap_err().message,
            "Invalid parameter: TopicArn Reason: An ARN must have at least 6 elements, not 1"
        );
        assert_eq!(parse_topic_arn("arn:aws:sns:eu-west-1:000000000000:a", "TopicArn").unwrap(), None);
        assert!(parse_subscription_arn(&arn).is_err());
        assert_eq!(sequence(7), "10000000000000000007");
        assert_eq!(sequence(7).len(), 20);
    }
}
