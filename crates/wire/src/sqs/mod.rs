//! SQS: the JSON protocol and the legacy query protocol, over queues.
//!
//! A request is decoded in the file of its action, which calls the pipes and encodes what they say. [`ACTIONS`] lists them
//! all; `call` is what each of them is given; `query` brings the query protocol into the form of the JSON protocol, so that
//! there is one decoder; `error` is the one place where a failure becomes an answer.

mod attributes;
mod batch;
mod call;
mod dead_letters;
mod delete;
mod error;
#[cfg(test)]
mod fuzz_tests;
mod message;
mod permissions;
mod query;
mod queues;
mod receive;
mod send;
mod settings;
mod tags;
mod visibility;

use std::borrow::Cow;

use http::HeaderValue;
use kit::BoxFuture;
use pipes::Pipes;

use crate::encode::Protocol;
use crate::face::{Arrived, Face, Hints, Refusal, Reply};
use crate::request_id::RequestId;
use call::{Answer, Call, Seen};
use error::SqsError;

const NAMESPACE: &str = "http://queue.amazonaws.com/doc/2012-11-05/";
const JSON: HeaderValue = HeaderValue::from_static("application/x-amz-json-1.0");
const XML: HeaderValue = HeaderValue::from_static("text/xml");
const TARGET: &str = "AmazonSQS.";

/// The face of SQS.
pub struct Sqs {
    pipes: Pipes,
}

impl Sqs {
    /// The face over these queues.
    pub fn new(pipes: Pipes) -> Self {
        Self { pipes }
    }
}

type Run = for<'c> fn(&'c Call<'c>) -> BoxFuture<'c, Result<Answer, SqsError>>;

/// One action of SQS.
struct Action {
    name: &'static str,
    /// What policies call it. A batch is allowed to whoever may do the single action, as in the service.
    verb: &'static str,
    run: Run,
}

macro_rules! actions {
    ($($name:literal $verb:literal $module:ident::$run:ident;)*) => {
        &[$(Action { name: $name, verb: $verb, run: |call| Box::pin($module::$run(call)) },)*]
    };
}

/// Every action of SQS, those first that are called most.
static ACTIONS: &[Action] = actions! {
    "SendMessage" "sqs:SendMessage" send::send_message;
    "ReceiveMessage" "sqs:ReceiveMessage" receive::receive_message;
    "DeleteMessage" "sqs:DeleteMessage" delete::delete_message;
    "SendMessageBatch" "sqs:SendMessage" send::send_message_batch;
    "DeleteMessageBatch" "sqs:DeleteMessage" delete::delete_message_batch;
    "ChangeMessageVisibility" "sqs:ChangeMessageVisibility" visibility::change_message_visibility;
    "ChangeMessageVisibilityBatch" "sqs:ChangeMessageVisibility" visibility::change_message_visibility_batch;
    "GetQueueUrl" "sqs:GetQueueUrl" queues::get_queue_url;
    "GetQueueAttributes" "sqs:GetQueueAttributes" attributes::get_queue_attributes;
    "SetQueueAttributes" "sqs:SetQueueAttributes" attributes::set_queue_attributes;
    "CreateQueue" "sqs:CreateQueue" queues::create_queue;
    "DeleteQueue" "sqs:DeleteQueue" queues::delete_queue;
    "ListQueues" "sqs:ListQueues" queues::list_queues;
    "PurgeQueue" "sqs:PurgeQueue" queues::purge_queue;
    "TagQueue" "sqs:TagQueue" tags::tag_queue;
    "UntagQueue" "sqs:UntagQueue" tags::untag_queue;
    "ListQueueTags" "sqs:ListQueueTags" tags::list_queue_tags;
    "AddPermission" "sqs:AddPermission" permissions::add_permission;
    "RemovePermission" "sqs:RemovePermission" permissions::remove_permission;
    "ListDeadLetterSourceQueues" "sqs:ListDeadLetterSourceQueues" dead_letters::list_dead_letter_source_queues;
    "StartMessageMoveTask" "sqs:StartMessageMoveTask" dead_letters::start_message_move_task;
    "CancelMessageMoveTask" "sqs:CancelMessageMoveTask" dead_letters::cancel_message_move_task;
    "ListMessageMoveTasks" "sqs:ListMessageMoveTasks" dead_letters::list_message_move_tasks;
};

impl Face for Sqs {
    fn name(&self) -> &'static str {
        "sqs"
    }

    fn takes(&self, hints: &Hints<'_>) -> bool {
        match (hints.target, &hints.action) {
            (Some(target), _) => target.starts_with(TARGET),
            (None, Some(action)) => hints.scope.is_none_or(|scope| scope == "sqs") && find(action).is_some(),
            (None, None) => false,
        }
    }

    fn serve<'a>(&'a self, arrived: Arrived<'a>) -> BoxFuture<'a, Reply> {
        Box::pin(async move {
            let (protocol, name) = asked(&arrived.hints);
            let Some(action) = name.and_then(find) else {
                return self.refuse(&arrived.hints, &Refusal::Unknown, arrived.id);
            };
            let input = match protocol {
                Protocol::Json => Cow::Borrowed(arrived.view.body),
                Protocol::Query => match query::to_json(&arrived.view) {
                    Ok(input) => Cow::Owned(input),
                    Err(error) => return error.reply(protocol, arrived.id),
                },
            };
            let call = Call {
                pipes: &self.pipes,
                arrived: &arrived,
                protocol,
                action: action.name,
                verb: action.verb,
                input: &input,
                seen: Seen::default(),
            };
            let outcome = (action.run)(&call).await;
            call.reply(outcome)
        })
    }

    fn refuse(&self, hints: &Hints<'_>, refusal: &Refusal, id: &RequestId) -> Reply {
        let (protocol, name) = asked(hints);
        SqsError::refusal(refusal, name).reply(protocol, id)
    }
}

fn find(name: &str) -> Option<&'static Action> {
    ACTIONS.iter().find(|action| action.name == name)
}

/// The protocol that a request speaks, and the action that it names in it.
fn asked<'h>(hints: &'h Hints<'_>) -> (Protocol, Option<&'h str>) {
    match hints.target {
        Some(target) => (Protocol::Json, Some(target.strip_prefix(TARGET).unwrap_or(target))),
        None => (Protocol::Query, hints.action.as_deref()),
    }
}
