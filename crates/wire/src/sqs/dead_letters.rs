//! ListDeadLetterSourceQueues, StartMessageMoveTask, CancelMessageMoveTask, ListMessageMoveTasks.

use pipes::{MoveId, MoveState, MoveTask, QueueName};
use serde::Deserialize;

use super::call::{Answer, Call};
use super::error::{Code, SqsError};
use super::queues::Page;
use crate::base64;
use crate::encode::Named;
use crate::names::{parse_queue_arn, queue_arn};
use crate::text::Text;

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ListDeadLetterSourceQueues<'a> {
    #[serde(borrow)]
    queue_url: Option<Text<'a>>,
    max_results: Option<i64>,
    #[serde(borrow)]
    next_token: Option<Text<'a>>,
}

pub(super) async fn list_dead_letter_source_queues(call: &Call<'_>) -> Result<Answer, SqsError> {
    let ListDeadLetterSourceQueues { queue_url, max_results, next_token } = call.decode()?;
    let queue = call.queue(queue_url.as_ref())?;
    let page = Page::read(max_results, next_token.as_ref())?;
    let mut names = call.pipes.dead_letter_sources(queue.name());
    names.sort();
    names.retain(|name| page.after.as_ref().is_none_or(|after| name > after));
    names.truncate(page.limit + 1);
    let mut out = call.answer(64 + 80 * names.len());
    if names.is_empty() {
        out.texts(Named { json: "queueUrls", xml: "QueueUrl" }, []);
    }
    page.write(&mut out, call, "queueUrls", &names); // so it is called, and only here
    Ok(Answer::Members(out))
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct StartMessageMoveTask<'a> {
    #[serde(borrow)]
    source_arn: Option<Text<'a>>,
    #[serde(borrow)]
    destination_arn: Option<Text<'a>>,
    max_number_of_messages_per_second: Option<i64>,
}

pub(super) async fn start_message_move_task(call: &Call<'_>) -> Result<Answer, SqsError> {
    let StartMessageMoveTask { source_arn, destination_arn, max_number_of_messages_per_second } =
        call.decode()?;
    let from = source(call, source_arn.as_ref())?;
    let to = destination_arn.map(|arn| queue_at(call, &arn, "DestinationArn")).transpose()?;
    let rate = |rate: i64| u32::try_from(rate).map_err(|_| SqsError::of_move(pipes::MoveError::Rate));
    let per_second = max_number_of_messages_per_second.map(rate).transpose()?;
    let id = call.pipes.start_move(&from, to, per_second).await.map_err(SqsError::of_move)?;
    let mut out = call.answer(256);
    out.ascii("TaskHandle", handle(&id, &from).as_bytes());
    Ok(Answer::Members(out))
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct CancelMessageMoveTask<'a> {
    #[serde(borrow)]
    task_handle: Option<Text<'a>>,
}

pub(super) async fn cancel_message_move_task(call: &Call<'_>) -> Result<Answer, SqsError> {
    let CancelMessageMoveTask { task_handle } = call.decode()?;
    let handle =
        task_handle.filter(|handle| !handle.is_empty()).ok_or_else(|| SqsError::missing("TaskHandle"))?;
    let invalid = || SqsError::invalid("Value for parameter TaskHandle is invalid.");
    let (id, arn) = parse_handle(&handle).ok_or_else(invalid)?;
    let from = queue_at(call, &arn, "SourceArn")?;
    let id: MoveId = id.parse().map_err(SqsError::of_move)?;
    if !call.pipes.moves(&from).iter().any(|task| task.id == id) {
        return Err(SqsError::of_move(pipes::MoveError::NoSuchTask));
    }
    let moved = call.pipes.cancel_move(&id).await.map_err(SqsError::of_move)?;
    let mut out = call.answer(64);
    out.number("ApproximateNumberOfMessagesMoved", moved);
    Ok(Answer::Members(out))
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ListMessageMoveTasks<'a> {
    #[serde(borrow)]
    source_arn: Option<Text<'a>>,
    max_results: Option<i64>,
}

pub(super) async fn list_message_move_tasks(call: &Call<'_>) -> Result<Answer, SqsError> {
    let ListMessageMoveTasks { source_arn, max_results } = call.decode()?;
    let from = source(call, source_arn.as_ref())?;
    let most = match max_results {
        None => 1,
        Some(most @ 1..=10) => most.unsigned_abs() as usize,
        Some(most) => {
            return Err(SqsError::value(&most.to_string(), "MaxResults", "Must be between 1 and 10."));
        }
    };
    let mut tasks = call.pipes.moves(&from);
    tasks.sort_by_key(|task| std::cmp::Reverse(task.started_at));
    tasks.truncate(most);
    let mut out = call.answer(512 * tasks.len());
    if !tasks.is_empty() {
        out.objects(
            Named { json: "Results", xml: "ListMessageMoveTasksResultEntry" },
            &tasks,
            |out, task| {
                let MoveTask { id, from, to, per_second, state, moved, to_move, started_at } = task;
                if *state == MoveState::Running {
                    out.ascii("TaskHandle", handle(id, from).as_bytes());
                }
                let (status, failure) = match state {
                    MoveState::Running => ("RUNNING", None),
                    MoveState::Completed => ("COMPLETED", None),
                    MoveState::Cancelled => ("CANCELLED", None),
                    MoveState::Failed(why) => ("FAILED", Some(why)),
                };
                out.text("Status", status);
                out.text("SourceArn", &queue_arn(from.as_str()));
                if let Some(to) = to {
                    out.text("DestinationArn", &queue_arn(to.as_str()));
                }
                if let Some(per_second) = per_second {
                    out.number("MaxNumberOfMessagesPerSecond", u64::from(*per_second));
                }
                out.number("ApproximateNumberOfMessagesMoved", *moved);
                out.number("ApproximateNumberOfMessagesToMove", *to_move);
                if let Some(why) = failure {
                    out.text("FailureReason", why);
                }
                out.number("StartedTimestamp", started_at.as_micros() / 1000);
            },
        );
    }
    Ok(Answer::Members(out))
}

/// The dead-letter queue that an action is about.
fn source(call: &Call<'_>, arn: Option<&Text<'_>>) -> Result<QueueName, SqsError> {
    let arn = arn.filter(|arn| !arn.is_empty()).ok_or_else(|| SqsError::missing("SourceArn"))?;
    queue_at(call, arn, "SourceArn")
}

/// The name of a queue that is there, and that the caller may do this to.
fn queue_at(call: &Call<'_>, arn: &str, parameter: &str) -> Result<QueueName, SqsError> {
    if arn.split(':').count() != 6 || !arn.starts_with("arn:") {
        return Err(SqsError::invalid(format!(
            "You must use this format to specify the {parameter}: arn:<partition>:<service>:<region>:<account-id>:<resource-id>"
        )));
    }
    let missing = || {
        let message = format!("The resource that you specified for the {parameter} parameter doesn't exist.");
        SqsError::new(Code::ResourceNotFound, message)
    };
    let name = parse_queue_arn(arn).ok_or_else(missing)?;
    match call.queue_of(&name) {
        Ok(_) => Ok(name),
        Err(error) if error.code == Code::QueueDoesNotExist => Err(missing()),
        Err(error) => Err(error),
    }
}

/// A task as its client knows it: which, and of which queue.
fn handle(id: &MoveId, from: &QueueName) -> String {
    let text = format!("{{\"taskId\":\"{id}\",\"sourceArn\":\"{}\"}}", queue_arn(from.as_str()));
    base64::text(text.as_bytes())
}

fn parse_handle(handle: &str) -> Option<(String, String)> {
    let handle: serde_json::Value = serde_json::from_slice(&base64::decode(handle)?).ok()?;
    let text = |name: &str| handle.get(name)?.as_str().map(str::to_owned);
    Some((text("taskId")?, text("sourceArn")?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_handle_names_the_task_and_its_queue() {
        let id: MoveId = "0b5a5ee6-50b2-4b8f-a0ea-8a0ee1a3d8c0".parse().unwrap();
        let handle = handle(&id, &"dead".parse().unwrap());
        assert_eq!(parse_handle(&handle), Some((id.to_string(), queue_arn("dead"))));
    }

    proptest! {
        #[test]
        fn no_handle_panics(text: String) {
            let _ = (parse_handle(&text), parse_handle(&base64::text(text.as_bytes())));
        }
    }
}
