//! SNS: the query protocol, over topics.
//!
//! A request is decoded in the file of its action, which calls the topics and encodes what they say. [`ACTIONS`]
//! lists them all; `call` is what each of them is given; `error` is the one place where a failure becomes an answer;
//! `envelope` is how subscribers are told of a message, `certificate` what they verify that with.

mod attributes;
mod call;
mod certificate;
mod delivery_policy;
mod envelope;
mod error;
mod message;
mod names;
mod permissions;
mod publish;
mod subscription_attributes;
mod subscriptions;
mod tags;
mod topic_attributes;
mod topics;
mod xml;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use http::HeaderValue;
use kit::BoxFuture;
use pipes::Pipes;
use pipes::topic::Topics;

use crate::face::{Arrived, Face, Hints, Refusal, Reply};
use crate::form::Params;
use crate::gate::RequestView;
use crate::request_id::RequestId;
use call::{Answer, Call, Seen};
use error::{Code, SnsError};

pub use envelope::{Digest, Envelopes, Signatures, Signer};
pub use topic_attributes::SIGNATURE_VERSION;

const NAMESPACE: &str = "http://sns.amazonaws.com/doc/2010-03-31/";
const XML: HeaderValue = HeaderValue::from_static("text/xml");

/// The face of SNS.
pub struct Sns {
    topics: Topics,
    pipes: Pipes,
    signer: Option<Arc<dyn Signer>>,
}

impl Sns {
    /// The face over these topics, and the queues that can be subscribed to them.
    pub fn new(topics: Topics, pipes: Pipes) -> Self {
        Self { topics, pipes, signer: None }
    }

    /// Serves the certificates of whoever signs what subscribers are told.
    pub fn signed_by(self, signer: Arc<dyn Signer>) -> Self {
        Self { signer: Some(signer), ..self }
    }
}

type Run = for<'c> fn(&'c Call<'c>) -> BoxFuture<'c, Result<Answer, SnsError>>;

/// One action of SNS.
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

/// Every action that is served, those first that are called most.
static ACTIONS: &[Action] = actions! {
    "Publish" "sns:Publish" publish::publish;
    "PublishBatch" "sns:Publish" publish::publish_batch;
    "CreateTopic" "sns:CreateTopic" topics::create_topic;
    "DeleteTopic" "sns:DeleteTopic" topics::delete_topic;
    "ListTopics" "sns:ListTopics" topics::list_topics;
    "GetTopicAttributes" "sns:GetTopicAttributes" topic_attributes::get_topic_attributes;
    "SetTopicAttributes" "sns:SetTopicAttributes" topic_attributes::set_topic_attributes;
    "Subscribe" "sns:Subscribe" subscriptions::subscribe;
    "ConfirmSubscription" "sns:ConfirmSubscription" subscriptions::confirm_subscription;
    "Unsubscribe" "sns:Unsubscribe" subscriptions::unsubscribe;
    "ListSubscriptions" "sns:ListSubscriptions" subscriptions::list_subscriptions;
    "ListSubscriptionsByTopic" "sns:ListSubscriptionsByTopic" subscriptions::list_subscriptions_by_topic;
    "GetSubscriptionAttributes" "sns:GetSubscriptionAttributes" subscription_attributes::get_subscription_attributes;
    "SetSubscriptionAttributes" "sns:SetSubscriptionAttributes" subscription_attributes::set_subscription_attributes;
    "TagResource" "sns:TagResource" tags::tag_resource;
    "UntagResource" "sns:UntagResource" tags::untag_resource;
    "ListTagsForResource" "sns:ListTagsForResource" tags::list_tags_for_resource;
    "AddPermission" "sns:AddPermission" permissions::add_permission;
    "RemovePermission" "sns:RemovePermission" permissions::remove_permission;
    "GetDataProtectionPolicy" "sns:GetDataProtectionPolicy" permissions::get_data_protection_policy;
    "PutDataProtectionPolicy" "sns:PutDataProtectionPolicy" permissions::put_data_protection_policy;
};

impl Face for Sns {
    fn name(&self) -> &'static str {
        "sns"
    }

    fn takes(&self, hints: &Hints<'_>) -> bool {
        let Some(action) = hints.action.as_deref().filter(|_| hints.target.is_none()) else { return false };
        // AddPermission and RemovePermission are words of SQS as well: without a signature they are taken to be its.
        match hints.scope {
            Some(scope) => scope == "sns",
            None => find(action).is_some() && !matches!(action, "AddPermission" | "RemovePermission"),
        }
    }

    fn serve<'a>(&'a self, arrived: Arrived<'a>) -> BoxFuture<'a, Reply> {
        Box::pin(async move {
            let Some(action) = arrived.hints.action.as_deref().and_then(find) else {
                return self.refuse(&arrived.hints, &Refusal::Unknown, arrived.id);
            };
            let mut params = Params::default();
            for form in [arrived.view.query.as_bytes(), arrived.view.body] {
                if let Err(error) = params.read(form) {
                    return SnsError::new(Code::Malformed, error.to_string()).reply(arrived.id);
                }
            }
            let call = Call {
                topics: &self.topics,
                pipes: &self.pipes,
                arrived: &arrived,
                action: action.name,
                verb: action.verb,
                params,
                seen: Seen::default(),
            };
            let outcome = (action.run)(&call).await;
            call.reply(outcome)
        })
    }

    fn open(&self, request: &RequestView<'_>) -> Option<Reply> {
        certificate::serve(self.signer.as_deref()?, request)
    }

    fn refuse(&self, hints: &Hints<'_>, refusal: &Refusal, id: &RequestId) -> Reply {
        SnsError::refusal(refusal, hints.action.as_deref()).reply(id)
    }
}

fn find(name: &str) -> Option<&'static Action> {
    ACTIONS.iter().find(|action| action.name == name)
}
