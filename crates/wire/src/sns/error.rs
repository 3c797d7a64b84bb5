//! Every failure as SNS says it: the one place where an error of the topics becomes an answer.

use std::borrow::Cow;

use bytes::Bytes;
use http::StatusCode;
use pipes::topic::{ConfirmError, CreateTopicError, PolicyError, PublishError, SubscribeError, TopicError};

use super::xml::Xml;
use crate::face::{Refusal, Reply, Told};
use crate::gate::Denied;
use crate::request_id::RequestId;

/// An error of SNS: its code, and what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SnsError {
    pub(super) code: Code,
    pub(super) message: Cow<'static, str>,
}

macro_rules! codes {
    ($($name:ident $wire:literal $status:literal;)*) => {
        /// The codes of SNS, and those of every AWS service.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Code {
            $($name,)*
        }

        impl Code {
            pub(super) fn wire(self) -> &'static str {
                match self { $(Self::$name => $wire,)* }
            }

            fn status(self) -> u16 {
                match self { $(Self::$name => $status,)* }
            }
        }
    };
}

codes! {
    InvalidParameter "InvalidParameter" 400;
    ParameterValueInvalid "ParameterValueInvalid" 400;
    Validation "ValidationError" 400;
    NotFound "NotFound" 404;
    ResourceNotFound "ResourceNotFound" 404;
    TopicLimitExceeded "TopicLimitExceeded" 403;
    SubscriptionLimitExceeded "SubscriptionLimitExceeded" 403;
    FilterPolicyLimitExceeded "FilterPolicyLimitExceeded" 403;
    TagLimitExceeded "TagLimitExceeded" 400;
    BatchEntryIdsNotDistinct "BatchEntryIdsNotDistinct" 400;
    BatchRequestTooLong "BatchRequestTooLong" 400;
    EmptyBatchRequest "EmptyBatchRequest" 400;
    InvalidBatchEntryId "InvalidBatchEntryId" 400;
    TooManyEntries "TooManyEntriesInBatchRequest" 400;
    Authorization "AuthorizationError" 403;
    Throttled "Throttled" 429;
    Malformed "MalformedInput" 400;
    InvalidAction "InvalidAction" 400;
    MissingAction "MissingAction" 400;
    MissingToken "MissingAuthenticationToken" 403;
    UnknownKey "InvalidClientTokenId" 403;
    ExpiredToken "ExpiredToken" 403;
    WrongSignature "SignatureDoesNotMatch" 403;
    Expired "RequestExpired" 400;
    IncompleteSignature "IncompleteSignature" 400;
    TooLarge "RequestEntityTooLarge" 413;
    TooSlow "RequestTimeout" 408;
    Unavailable "ServiceUnavailable" 503;
}

impl SnsError {
    pub(super) fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into() }
    }

    /// `Invalid parameter: …`
    pub(super) fn parameter(what: &str) -> Self {
        let what = what.chars().take(2048).collect::<String>();
        Self::new(Code::InvalidParameter, format!("Invalid parameter: {what}"))
    }

    /// A parameter is not there.
    pub(super) fn missing(parameter: &str) -> Self {
        let mut lower = parameter.to_owned();
        if let Some(first) = lower.get_mut(..1) {
            first.make_ascii_lowercase();
        }
        Self::new(
            Code::Validation,
            format!(
                "1 validation error detected: Value null at '{lower}' failed to satisfy constraint: Member must not be null"
            ),
        )
    }

    pub(super) fn no_topic() -> Self {
        Self::new(Code::NotFound, "Topic does not exist")
    }

    pub(super) fn no_subscription() -> Self {
        Self::new(Code::NotFound, "Subscription does not exist")
    }

    /// What is wrong with a filter policy; `text` is all of it.
    pub(super) fn filter(error: &PolicyError, text: &str, prefix: &str) -> Self {
        if error.what.starts_with("Filter policy scope") {
            return Self::parameter(&format!("{prefix}{}", error.what));
        }
        let excerpt: String = text.chars().take(500).collect();
        Self::parameter(&format!(
            "{prefix}FilterPolicy: {}\n at [Source: (String)\"{excerpt}\"; line: {}, column: {}]",
            error.what, error.line, error.column
        ))
    }

    /// Whether the sender is at fault, as the entries of a batch say it.
    pub(super) fn senders_fault(&self) -> bool {
        self.code.status() < 500 && self.code != Code::Throttled
    }

    /// The answer.
    pub(super) fn reply(&self, id: &RequestId) -> Reply {
        let Self { code, message } = self;
        let mut xml = Xml::default();
        xml.raw("<ErrorResponse xmlns=\"");
        xml.raw(super::NAMESPACE);
        xml.raw("\">");
        xml.within("Error", |xml| {
            xml.text("Type", if self.senders_fault() { "Sender" } else { "Receiver" });
            xml.text("Code", code.wire());
            xml.text("Message", message);
        });
        xml.text("RequestId", id.as_str());
        xml.close("ErrorResponse");
        Reply {
            status: StatusCode::from_u16(code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            content_type: Some(super::XML),
            query_error: None,
            body: Bytes::from(xml.into_bytes()),
            told: Told { error: Some(code.wire()), ..Told::default() },
        }
    }

    /// Why a request is not served, whatever it wants.
    pub(super) fn refusal(refusal: &Refusal, action: Option<&str>) -> Self {
        match refusal {
            Refusal::Denied(denied) => denied.clone().into(),
            Refusal::TooLarge(most) => Self::new(
                Code::TooLarge,
                format!("The request has more than the {most} bytes that it may have."),
            ),
            Refusal::TooSlow => Self::new(Code::TooSlow, "The request did not come in time."),
            Refusal::Broken => Self::new(Code::Malformed, "The request ended before its end."),
            Refusal::Busy => Self::new(Code::Throttled, "Rate exceeded"),
            Refusal::Unknown => match action {
                Some(action) => {
                    let action: String = action.chars().take(100).collect();
                    Self::new(
                        Code::InvalidAction,
                        format!("Could not find operation {action} for version 2010-03-31"),
                    )
                }
                None => Self::new(Code::MissingAction, "The request must contain the parameter Action."),
            },
        }
    }
}

impl From<Denied> for SnsError {
    fn from(denied: Denied) -> Self {
        let message = denied.to_string();
        let code = match denied {
            Denied::Unsigned => Code::MissingToken,
            Denied::UnknownKey => Code::UnknownKey,
            Denied::ExpiredToken => Code::ExpiredToken,
            Denied::WrongSignature(_) => Code::WrongSignature,
            Denied::Expired(_) => Code::Expired,
            Denied::Malformed(_) => Code::IncompleteSignature,
            Denied::Forbidden(_) => Code::Authorization,
        };
        Self::new(code, message)
    }
}

impl From<TopicError> for SnsError {
    fn from(error: TopicError) -> Self {
        match error {
            TopicError::Busy => Self::new(Code::Throttled, "Rate exceeded"),
            TopicError::Stopped(_) => {
                Self::new(Code::Unavailable, "The service has stopped and must be looked after.")
            }
            TopicError::NoSuchTopic(_) => Self::no_topic(),
            TopicError::NoSuchSubscription(_) => Self::no_subscription(),
        }
    }
}

impl From<CreateTopicError> for SnsError {
    fn from(error: CreateTopicError) -> Self {
        match error {
            CreateTopicError::Topic(error) => error.into(),
            CreateTopicError::Differs { .. } => {
                Self::parameter("Attributes Reason: Topic already exists with different attributes")
            }
            CreateTopicError::DiffersInTags => {
                Self::parameter("Tags Reason: Topic already exists with different tags")
            }
            CreateTopicError::Order => Self::parameter("Topic Name"),
            CreateTopicError::Retry(error) => Self::parameter(&format!("DeliveryPolicy: {error}")),
            CreateTopicError::TooMany(_) => {
                Self::new(Code::TopicLimitExceeded, "Topic limit exceeded for this account")
            }
        }
    }
}

impl From<SubscribeError> for SnsError {
    fn from(error: SubscribeError) -> Self {
        match error {
            SubscribeError::Topic(error) => error.into(),
            SubscribeError::Differs => {
                Self::parameter("Attributes Reason: Subscription already exists with different attributes")
            }
            SubscribeError::NotServed(what) => {
                Self::parameter(&format!("Protocol Reason: {what} cannot be subscribed here yet"))
            }
            SubscribeError::QueueOrder => Self::parameter(
                "Invalid parameter: Endpoint Reason: FIFO SQS Queues can not be subscribed to standard SNS topics",
            ),
            SubscribeError::QueuesOnly => {
                Self::parameter("Invalid parameter: Endpoint Reason: Please use SQS queues with FIFO topics")
            }
            SubscribeError::DeadLetterOrder(_) => Self::parameter(
                "RedrivePolicy: must use a FIFO queue as DLQ for a FIFO Subscription to a FIFO Topic, and only there.",
            ),
            SubscribeError::Retry(error) => Self::parameter(&format!("DeliveryPolicy: {error}")),
            SubscribeError::RetryOfQueue => Self::parameter(
                "Delivery Policy: only http and https subscriptions can have a delivery policy",
            ),
            SubscribeError::TooMany(_) => {
                Self::new(Code::SubscriptionLimitExceeded, "Subscription limit exceeded for this topic")
            }
            SubscribeError::TooManyFilters(_) => {
                Self::new(Code::FilterPolicyLimitExceeded, "Filter policy limit exceeded for this topic")
            }
        }
    }
}

impl From<ConfirmError> for SnsError {
    fn from(error: ConfirmError) -> Self {
        match error {
            ConfirmError::Topic(error) => error.into(),
            ConfirmError::Token | ConfirmError::Expired => Self::parameter("Token"),
        }
    }
}

impl From<PublishError> for SnsError {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::NoGroup => {
                Self::parameter("The MessageGroupId parameter is required for FIFO topics")
            }
            PublishError::NoDedup => Self::parameter(
                "The topic should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided \
                 explicitly",
            ),
            PublishError::Busy => Self::new(Code::Throttled, "Rate exceeded"),
        }
    }
}
