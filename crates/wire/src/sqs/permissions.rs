//! AddPermission, RemovePermission: statements of a queue's policy, by their label.

use serde::Deserialize;
use serde_json::{Value, json};

use super::call::{Answer, Call};
use super::error::{Code, SqsError};
use crate::names::queue_arn;
use crate::text::Text;

/// Most actions of one statement.
const MOST_ACTIONS: usize = 7;
/// Most statements of a policy.
const MOST_STATEMENTS: usize = 20;

/// What can be permitted so.
const ACTIONS: [&str; 7] = [
    "*",
    "SendMessage",
    "ReceiveMessage",
    "DeleteMessage",
    "ChangeMessageVisibility",
    "GetQueueAttributes",
    "GetQueueUrl",
];

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct AddPermission<'a> {
    #[serde(borrow)]
    queue_url: Option<Text<'a>>,
    #[serde(borrow)]
    label: Option<Text<'a>>,
    #[serde(borrow, rename = "AWSAccountIds")]
    accounts: Option<Vec<Text<'a>>>,
    #[serde(borrow)]
    actions: Option<Vec<Text<'a>>>,
}

/// A statement to be added.
struct Statement<'a> {
    label: Text<'a>,
    accounts: Vec<Text<'a>>,
    actions: Vec<Text<'a>>,
}

impl<'a> AddPermission<'a> {
    fn into_domain(self) -> Result<(Option<Text<'a>>, Statement<'a>), SqsError> {
        let Self { queue_url, label, accounts, actions } = self;
        let label = checked_label(label)?;
        let accounts = accounts.filter(|accounts| !accounts.is_empty());
        let accounts = accounts.ok_or_else(|| SqsError::missing("AWSAccountIds"))?;
        if let Some(account) = accounts.iter().find(|account| !is_account(account)) {
            return Err(SqsError::value(account, "PrincipalId", "Unable to verify."));
        }
        let actions =
            actions.filter(|actions| !actions.is_empty()).ok_or_else(|| SqsError::missing("Actions"))?;
        if actions.len() > MOST_ACTIONS {
            let message = format!("{} Actions were found, maximum allowed is {MOST_ACTIONS}.", actions.len());
            return Err(SqsError::new(Code::OverLimit, message));
        }
        if let Some(action) = actions.iter().find(|action| !ACTIONS.contains(&&***action)) {
            let reason = "Please refer to the appropriate WSDL for a list of valid actions. ";
            return Err(SqsError::value(&format!("SQS:{}", &**action), "ActionName", reason));
        }
        Ok((queue_url, Statement { label, accounts, actions }))
    }
}

fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn checked_label(label: Option<Text<'_>>) -> Result<Text<'_>, SqsError> {
    let label = label.filter(|label| !label.is_empty()).ok_or_else(|| SqsError::missing("Label"))?;
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if label.len() > 80 || !label.bytes().all(allowed) {
        let reason = "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length";
        return Err(SqsError::value(&label, "Label", reason));
    }
    Ok(label)
}

pub(super) async fn add_permission(call: &Call<'_>) -> Result<Answer, SqsError> {
    let (url, statement) = call.decode::<AddPermission<'_>>()?.into_domain()?;
    let queue = call.queue(url.as_ref())?;
    let mut settings = pipes::Settings::clone(&queue.settings());
    let policy = added(settings.policy.as_deref(), &statement, &queue_arn(queue.name().as_str()))?;
    settings.policy = Some(policy);
    queue.set(settings).await.map_err(|error| SqsError::set(error, ""))?;
    Ok(Answer::Done)
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct RemovePermission<'a> {
    #[serde(borrow)]
    queue_url: Option<Text<'a>>,
    #[serde(borrow)]
    label: Option<Text<'a>>,
}

pub(super) async fn remove_permission(call: &Call<'_>) -> Result<Answer, SqsError> {
    let RemovePermission { queue_url, label } = call.decode()?;
    let label = checked_label(label)?;
    let queue = call.queue(queue_url.as_ref())?;
    let mut settings = pipes::Settings::clone(&queue.settings());
    settings.policy = removed(settings.policy.as_deref(), &label)?;
    queue.set(settings).await.map_err(|error| SqsError::set(error, ""))?;
    Ok(Answer::Done)
}

/// A policy with a statement added.
fn added(policy: Option<&str>, statement: &Statement<'_>, arn: &str) -> Result<String, SqsError> {
    let Statement { label, accounts, actions } = statement;
    let id = format!("{arn}/SQSDefaultPolicy");
    let mut policy = match policy.map(serde_json::from_str::<Value>) {
        Some(Ok(policy)) => policy,
        _ => json!({ "Version": "2008-10-17", "Id": id, "Statement": [] }),
    };
    let statements = statements(&mut policy);
    if statements.iter().any(|statement| statement["Sid"] == **label) {
        return Err(SqsError::value(label, "Label", "Already exists."));
    }
    if statements.len() >= MOST_STATEMENTS {
        let message =
            format!("The policy has {MOST_STATEMENTS} statements, which is the most that it can have.");
        return Err(SqsError::new(Code::OverLimit, message));
    }
    statements.push(json!({
        "Sid": &**label,
        "Effect": "Allow",
        "Principal": { "AWS": one_or_all(accounts.iter().map(|account| format!("arn:aws:iam::{}:root", &**account))) },
        "Action": one_or_all(actions.iter().map(|action| format!("SQS:{}", &**action))),
        "Resource": arn,
    }));
    Ok(policy.to_string())
}

/// A policy without the statement of a label; none if that was the last one.
fn removed(policy: Option<&str>, label: &str) -> Result<Option<String>, SqsError> {
    let missing = || SqsError::value(label, "Label", "can't find label.");
    let mut policy: Value =
        policy.and_then(|policy| serde_json::from_str(policy).ok()).ok_or_else(missing)?;
    let statements = statements(&mut policy);
    let before = statements.len();
    statements.retain(|statement| statement["Sid"] != label);
    match statements.len() {
        left if left == before => Err(missing()),
        0 => Ok(None),
        _ => Ok(Some(policy.to_string())),
    }
}

/// The statements of a policy; a single one may stand without a list.
fn statements(policy: &mut Value) -> &mut Vec<Value> {
    if !policy.is_object() {
        *policy = json!({});
    }
    let statements = &mut policy["Statement"];
    if !statements.is_array() {
        let single = std::mem::take(statements);
        *statements = Value::Array(if single.is_null() { Vec::new() } else { vec![single] });
    }
    match statements {
        Value::Array(statements) => statements,
        _ => unreachable!("it was made an array above"),
    }
}

/// As the service writes it: one alone without a list.
fn one_or_all(texts: impl Iterator<Item = String>) -> Value {
    let mut texts: Vec<Value> = texts.map(Value::from).collect();
    match texts.len() {
        1 => texts.remove(0),
        _ => Value::Array(texts),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statement<'a>(label: &'a str, actions: &[&'a str]) -> Statement<'a> {
        Statement {
            label: Text(label.into()),
            accounts: vec![Text("668614515564".into())],
            actions: actions.iter().map(|action| Text((*action).into())).collect(),
        }
    }

    #[test]
    fn statements_come_and_go_by_their_label() {
        let arn = queue_arn("jobs");
        let one = added(None, &statement("first", &["ReceiveMessage"]), &arn).unwrap();
        assert_eq!(
            one,
            format!(
                "{{\"Version\":\"2008-10-17\",\"Id\":\"{arn}/SQSDefaultPolicy\",\"Statement\":[{{\"Sid\":\"first\",\
                 \"Effect\":\"Allow\",\"Principal\":{{\"AWS\":\"arn:aws:iam::668614515564:root\"}},\
                 \"Action\":\"SQS:ReceiveMessage\",\"Resource\":\"{arn}\"}}]}}"
            )
        );
        let again = added(Some(&one), &statement("first", &["*"]), &arn).unwrap_err();
        assert_eq!(again.message, "Value first for parameter Label is invalid. Reason: Already exists.");
        let two = added(Some(&one), &statement("second", &["SendMessage", "GetQueueUrl"]), &arn).unwrap();
        assert!(two.contains("[\"SQS:SendMessage\",\"SQS:GetQueueUrl\"]"));
        let left = removed(Some(&two), "first").unwrap().unwrap();
        assert!(!left.contains("first") && left.contains("second"));
        assert_eq!(removed(Some(&left), "second").unwrap(), None);
        assert_eq!(
            removed(Some(&left), "first").unwrap_err().message,
            "Value first for parameter Label is invalid. Reason: can't find label."
        );
        assert!(removed(None, "first").is_err());
    }

    #[test]
    fn a_statement_without_a_list_is_one_of_a_list() {
        let policy = "{\"Statement\":{\"Sid\":\"first\"}}";
        let two = added(Some(policy), &statement("second", &["*"]), "arn").unwrap();
        assert!(two.contains("first") && two.contains("second"));
        assert_eq!(removed(Some(policy), "first").unwrap(), None);
    }
}
