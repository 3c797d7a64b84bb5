//! AddPermission, RemovePermission: statements of a topic's policy, by their label; and data protection policies, of
//! which there are none.

use serde_json::{Value, json};

use super::call::{Answer, Call};
use super::error::SnsError;
use super::names::{parse_topic_arn, topic_arn};
use super::topic_attributes::default_policy;
use super::xml::Xml;

/// Most statements of a policy.
const MOST_STATEMENTS: usize = 100;

/// What can be permitted so.
const ACTIONS: [&str; 12] = [
    "*",
    "Publish",
    "Subscribe",
    "Receive",
    "GetTopicAttributes",
    "SetTopicAttributes",
    "AddPermission",
    "RemovePermission",
    "DeleteTopic",
    "ListSubscriptionsByTopic",
    "GetDataProtectionPolicy",
    "PutDataProtectionPolicy",
];

pub(super) async fn add_permission(call: &Call<'_>) -> Result<Answer, SnsError> {
    let topic = call.topic("TopicArn")?;
    let label = call.required("Label")?.to_owned();
    let accounts = texts(call, "AWSAccountId");
    let actions = texts(call, "ActionName");
    if accounts.is_empty() {
        return Err(SnsError::missing("AWSAccountId"));
    }
    if actions.is_empty() {
        return Err(SnsError::missing("ActionName"));
    }
    if !actions.iter().all(|action| ACTIONS.contains(&action.as_str())) {
        return Err(SnsError::parameter("Policy statement action out of service scope!"));
    }
    let is_account =
        |text: &String| text == "*" || (text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit()));
    if !accounts.iter().all(is_account) {
        return Err(SnsError::parameter("AWSAccountId"));
    }
    let arn = topic_arn(topic.name());
    let statement = json!({
        "Sid": label,
        "Effect": "Allow",
        "Principal": { "AWS": one_or_all(accounts.iter().map(|account| principal(account))) },
        "Action": one_or_all(actions.iter().map(|action| format!("SNS:{action}"))),
        "Resource": arn,
    });
    let default = default_policy(topic.name());
    call.topics
        .change(topic.name(), |settings, _| {
            let text = settings.policy.take().unwrap_or(default);
            settings.policy = Some(added(&text, &label, statement)?);
            Ok::<_, SnsError>(())
        })
        .await?;
    Ok(Answer::Done)
}

pub(super) async fn remove_permission(call: &Call<'_>) -> Result<Answer, SnsError> {
    let topic = call.topic("TopicArn")?;
    let label = call.required("Label")?;
    let default = default_policy(topic.name());
    call.topics
        .change(topic.name(), |settings, _| {
            if let Some(text) = &settings.policy {
                let left = removed(text, label);
                settings.policy = (left != default).then_some(left);
            }
            Ok::<_, SnsError>(())
        })
        .await?;
    Ok(Answer::Done)
}

fn texts(call: &Call<'_>, name: &str) -> Vec<String> {
    call.members(name).iter().filter_map(|member| member.get("")).map(|text| (*text).to_owned()).collect()
}

fn principal(account: &str) -> String {
    if account == "*" { account.to_owned() } else { format!("arn:aws:iam::{account}:root") }
}

/// As the service writes it: one alone without a list.
fn one_or_all(texts: impl Iterator<Item = String>) -> Value {
    let mut texts: Vec<Value> = texts.map(Value::from).collect();
    if texts.len() == 1 { texts.remove(0) } else { Value::Array(texts) }
}

/// The statements of a policy; a single one may stand without a list.
fn statements(policy: &Value) -> Vec<Value> {
    match &policy["Statement"] {
        Value::Array(statements) => statements.clone(),
        Value::Null => Vec::new(),
        single => vec![single.clone()],
    }
}

fn added(policy: &str, label: &str, statement: Value) -> Result<String, SnsError> {
    let mut policy: Value =
        serde_json::from_str(policy).unwrap_or_else(|_| json!({ "Version": "2008-10-17" }));
    let mut all = statements(&policy);
    if all.iter().any(|there| there["Sid"] == label) {
        return Err(SnsError::parameter("Statement already exists"));
    }
    if all.len() >= MOST_STATEMENTS {
        return Err(SnsError::parameter("Policy Reason: the policy has as many statements as it can have"));
    }
    all.push(statement);
    policy["Statement"] = Value::Array(all);
    Ok(policy.to_string())
}

fn removed(policy: &str, label: &str) -> String {
    let Ok(mut read) = serde_json::from_str::<Value>(policy) else { return policy.to_owned() };
    let mut all = statements(&read);
    all.retain(|there| there["Sid"] != label);
    read["Statement"] = Value::Array(all);
    read.to_string()
}

pub(super) async fn get_data_protection_policy(call: &Call<'_>) -> Result<Answer, SnsError> {
    let arn = call.required("ResourceArn")?;
    let name = parse_topic_arn(arn, "ResourceArn")?.ok_or_else(|| SnsError::parameter("ResourceArn"))?;
    call.topic_of(&name)?;
    Ok(Answer::Result(Xml::default()))
}

pub(super) async fn put_data_protection_policy(call: &Call<'_>) -> Result<Answer, SnsError> {
    call.topic("ResourceArn")?;
    Err(no_data_protection())
}

/// Said, rather than kept and not obeyed: somebody relies on what such a policy keeps secret.
pub(super) fn no_data_protection() -> SnsError {
    SnsError::parameter("DataProtectionPolicy Reason: data protection policies are not served here")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_come_and_go_by_their_label() {
        let topic = "orders".parse().unwrap();
        let default = default_policy(&topic);
        let one = added(&default, "first", json!({ "Sid": "first" })).unwrap();
        assert_eq!(statements(&serde_json::from_str(&one).unwrap()).len(), 2);
        assert!(added(&one, "first", json!({})).is_err());
        assert_eq!(removed(&one, "first"), default);
        assert_eq!(removed("{\"Statement\":{\"Sid\":\"a\"}}", "a"), "{\"Statement\":[]}");
        assert_eq!(removed("no policy", "a"), "no policy");
    }
}
