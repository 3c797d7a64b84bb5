//! Every failure as SQS says it: the one place where an error of the pipes becomes an answer.

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use pipes::{
    BadSettings, CreateError, MoveError, PipeError, PurgeError, QueueName, ReceiptError, ReceiveError,
    SendError, SetError,
};

use crate::encode::{Protocol, escape};
use crate::face::{Refusal, Reply, Told};
use crate::gate::Denied;
use crate::names::BadUrl;
use crate::request_id::RequestId;

/// An error of SQS: its code, and what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SqsError {
    pub(crate) code: Code,
    pub(crate) message: Cow<'static, str>,
}

macro_rules! codes {
    ($($name:ident $json:literal $query:literal $status:literal $fault:ident;)*) => {
        /// The codes of SQS, and those of every AWS service.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Code {
            $($name,)*
        }

        impl Code {
            /// Every code.
            #[cfg(test)]
            pub(crate) const ALL: &[Self] = &[$(Self::$name,)*];

            /// What JSON calls it, with its namespace.
            fn json(self) -> &'static str {
                match self { $(Self::$name => $json,)* }
            }

            /// What the query protocol calls it.
            pub(crate) fn query(self) -> &'static str {
                match self { $(Self::$name => $query,)* }
            }

            /// What the query protocol calls it, and whose fault it is.
            fn header(self) -> &'static str {
                match self { $(Self::$name => concat!($query, ";", stringify!($fault)),)* }
            }

            fn status(self) -> u16 {
                match self { $(Self::$name => $status,)* }
            }

            /// Whose fault it is.
            fn fault(self) -> &'static str {
                match self { $(Self::$name => stringify!($fault),)* }
            }
        }
    };
}

codes! {
    BatchEntryIdsNotDistinct "com.amazonaws.sqs#BatchEntryIdsNotDistinct" "AWS.SimpleQueueService.BatchEntryIdsNotDistinct" 400 Sender;
    BatchRequestTooLong "com.amazonaws.sqs#BatchRequestTooLong" "AWS.SimpleQueueService.BatchRequestTooLong" 400 Sender;
    EmptyBatchRequest "com.amazonaws.sqs#EmptyBatchRequest" "AWS.SimpleQueueService.EmptyBatchRequest" 400 Sender;
    InvalidAddress "com.amazonaws.sqs#InvalidAddress" "InvalidAddress" 404 Sender;
    InvalidAttributeName "com.amazonaws.sqs#InvalidAttributeName" "InvalidAttributeName" 400 Sender;
    InvalidAttributeValue "com.amazonaws.sqs#InvalidAttributeValue" "InvalidAttributeValue" 400 Sender;
    InvalidBatchEntryId "com.amazonaws.sqs#InvalidBatchEntryId" "AWS.SimpleQueueService.InvalidBatchEntryId" 400 Sender;
    InvalidMessageContents "com.amazonaws.sqs#InvalidMessageContents" "InvalidMessageContents" 400 Sender;
    MessageNotInflight "com.amazonaws.sqs#MessageNotInflight" "AWS.SimpleQueueService.MessageNotInflight" 400 Sender;
    OverLimit "com.amazonaws.sqs#OverLimit" "OverLimit" 403 Sender;
    PurgeQueueInProgress "com.amazonaws.sqs#PurgeQueueInProgress" "AWS.SimpleQueueService.PurgeQueueInProgress" 403 Sender;
    QueueDoesNotExist "com.amazonaws.sqs#QueueDoesNotExist" "AWS.SimpleQueueService.NonExistentQueue" 400 Sender;
    QueueNameExists "com.amazonaws.sqs#QueueNameExists" "QueueAlreadyExists" 400 Sender;
    ReceiptHandleIsInvalid "com.amazonaws.sqs#ReceiptHandleIsInvalid" "ReceiptHandleIsInvalid" 404 Sender;
    RequestThrottled "com.amazonaws.sqs#RequestThrottled" "RequestThrottled" 403 Sender;
    ResourceNotFound "com.amazonaws.sqs#ResourceNotFoundException" "ResourceNotFoundException" 404 Sender;
    TooManyEntries "com.amazonaws.sqs#TooManyEntriesInBatchRequest" "AWS.SimpleQueueService.TooManyEntriesInBatchRequest" 400 Sender;
    UnsupportedOperation "com.amazonaws.sqs#UnsupportedOperation" "AWS.SimpleQueueService.UnsupportedOperation" 400 Sender;
    InvalidParameterValue "com.amazon.coral.service#InvalidParameterValueException" "InvalidParameterValue" 400 Sender;
    MissingParameter "com.amazon.coral.service#MissingRequiredParameterException" "MissingParameter" 400 Sender;
    Malformed "com.amazon.coral.service#SerializationException" "MalformedInput" 400 Sender;
    UnknownOperation "com.amazon.coral.service#UnknownOperationException" "InvalidAction" 400 Sender;
    MissingAction "com.amazon.coral.service#UnknownOperationException" "MissingAction" 400 Sender;
    AccessDenied "com.amazon.coral.service#AccessDeniedException" "AccessDenied" 403 Sender;
    MissingToken "com.amazon.coral.service#MissingAuthenticationTokenException" "MissingAuthenticationToken" 403 Sender;
    UnknownKey "com.amazon.coral.service#UnrecognizedClientException" "InvalidClientTokenId" 403 Sender;
    ExpiredToken "com.amazon.coral.service#ExpiredTokenException" "ExpiredToken" 403 Sender;
    WrongSignature "com.amazon.coral.service#InvalidSignatureException" "SignatureDoesNotMatch" 403 Sender;
    Expired "com.amazon.coral.service#RequestExpired" "RequestExpired" 400 Sender;
    IncompleteSignature "com.amazon.coral.service#IncompleteSignatureException" "IncompleteSignature" 400 Sender;
    TooLarge "com.amazon.coral.service#RequestEntityTooLargeException" "RequestEntityTooLarge" 413 Sender;
    TooSlow "com.amazon.coral.service#RequestTimeoutException" "RequestTimeout" 408 Sender;
    Unavailable "com.amazon.coral.service#ServiceUnavailableException" "ServiceUnavailable" 503 Receiver;
}

impl SqsError {
    pub(crate) fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into() }
    }

    /// A parameter has a value that it cannot have. Long values are cut: they came from the client, who knows them.
    pub(crate) fn value(value: &str, parameter: &str, reason: &str) -> Self {
        let value = value.chars().take(1024).collect::<String>();
        Self::invalid(format!("Value {value} for parameter {parameter} is invalid. Reason: {reason}"))
    }

    /// A parameter is wrong, in words.
    pub(crate) fn invalid(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::InvalidParameterValue, message)
    }

    /// A parameter is not there.
    pub(crate) fn missing(parameter: &str) -> Self {
        Self::new(Code::MissingParameter, format!("The request must contain the parameter {parameter}."))
    }

    /// There is no such queue.
    pub(crate) fn no_queue() -> Self {
        Self::new(Code::QueueDoesNotExist, "The specified queue does not exist.")
    }

    /// Whether the sender is at fault, as the entries of a batch say it.
    pub(crate) fn senders_fault(&self) -> bool {
        self.code.fault() == "Sender"
    }

    /// The answer.
    pub(crate) fn reply(&self, protocol: Protocol, id: &RequestId) -> Reply {
        let Self { code, message } = self;
        let mut body = Vec::with_capacity(320 + message.len());
        let content_type = match protocol {
            Protocol::Json => {
                body.extend_from_slice(b"{\"__type\":\"");
                body.extend_from_slice(code.json().as_bytes());
                body.extend_from_slice(b"\",\"message\":\"");
                escape(protocol, message, &mut body);
                body.extend_from_slice(b"\"}");
                super::JSON
            }
            Protocol::Query => {
                let message = match code {
                    Code::QueueDoesNotExist => "The specified queue does not exist for this wsdl version.",
                    _ => message,
                };
                for piece in [
                    "<?xml version=\"1.0\"?><ErrorResponse xmlns=\"",
                    super::NAMESPACE,
                    "\"><Error><Type>",
                    code.fault(),
                    "</Type><Code>",
                    code.query(),
                    "</Code><Message>",
                ] {
                    body.extend_from_slice(piece.as_bytes());
                }
                escape(protocol, message, &mut body);
                body.extend_from_slice(b"</Message><Detail/></Error><RequestId>");
                body.extend_from_slice(id.as_str().as_bytes());
                body.extend_from_slice(b"</RequestId></ErrorResponse>");
                super::XML
            }
        };
        Reply {
            status: StatusCode::from_u16(code.status()).unwrap_or(StatusCode::BAD_REQUEST),
            content_type: Some(content_type),
            query_error: (protocol == Protocol::Json).then(|| HeaderValue::from_static(code.header())),
            body: Bytes::from(body),
            told: Told { error: Some(code.query()), ..Told::default() },
        }
    }

    /// What a receipt is wrong for; `handle` is how the client gave it.
    pub(crate) fn receipt(error: &ReceiptError, handle: &str) -> Self {
        match error {
            ReceiptError::Malformed | ReceiptError::OtherQueue => {
                let handle = handle.chars().take(1024).collect::<String>();
                let message = format!("The input receipt handle \"{handle}\" is not a valid receipt handle.");
                Self::new(Code::ReceiptHandleIsInvalid, message)
            }
            ReceiptError::Stale => Self::value(handle, "ReceiptHandle", "The receipt handle has expired."),
            ReceiptError::NotInFlight => {
                Self::new(Code::MessageNotInflight, "The specified message isn't in flight.")
            }
            ReceiptError::NoSuchMessage => {
                let reason = "Message does not exist or is not available for visibility timeout change.";
                Self::value(handle, "ReceiptHandle", reason)
            }
            ReceiptError::TooLong => {
                Self::invalid("Total VisibilityTimeout for the message is beyond the limit [43200 seconds]")
            }
        }
    }

    /// A redrive policy that the queues do not allow; `policy` is its text.
    pub(crate) fn settings(error: &BadSettings, policy: &str) -> Self {
        let redrive = |reason: &str| Self::value(policy, "RedrivePolicy", reason);
        match error {
            BadSettings::OutOfRange { what, value, from, to } => {
                Self::value(&value.to_string(), what, &format!("Must be between {from} and {to}."))
            }
            BadSettings::Order => Self::new(
                Code::InvalidAttributeValue,
                "Invalid value for the parameter FifoQueue. Reason: Modifying queue type is not supported.",
            ),
            BadSettings::NoDeadLetterQueue(_) => redrive("Dead letter target does not exist."),
            BadSettings::OwnDeadLetterQueue => redrive("Dead letter target cannot be the queue itself."),
            BadSettings::DeadLetterOrder(_) => {
                redrive("Dead-letter queue must be same type of queue as the source.")
            }
            BadSettings::DeadLettersRefused(_) => {
                redrive("The dead-letter queue's RedriveAllowPolicy does not allow this source queue.")
            }
        }
    }

    /// A move task that cannot be, of a queue called `from`.
    pub(crate) fn of_move(error: MoveError) -> Self {
        match error {
            MoveError::Pipe(error) => error.into(),
            MoveError::NotADeadLetterQueue(_) => {
                Self::invalid("Source queue must be configured as a Dead Letter Queue.")
            }
            MoveError::UnderWay(_) => Self::invalid(
                "There is already a task running. Only one active task is allowed for a source queue arn at a given time.",
            ),
            MoveError::Target(name) => Self::value(
                &crate::names::queue_arn(name.as_str()),
                "DestinationArn",
                "The destination must be another queue of the same type as the source.",
            ),
            MoveError::Rate => Self::invalid("MaxNumberOfMessagesPerSecond must be between 1 and 500."),
            MoveError::NoSuchTask => Self::new(Code::ResourceNotFound, "Task does not exist."),
            MoveError::Ended => Self::invalid("Only active tasks can be cancelled."),
        }
    }

    /// Why a queue of that name cannot be emptied now.
    pub(crate) fn purge(error: PurgeError, name: &QueueName) -> Self {
        match error {
            PurgeError::Pipe(error) => error.into(),
            PurgeError::InProgress => Self::new(
                Code::PurgeQueueInProgress,
                format!("Only one PurgeQueue operation on {name} is allowed every 60 seconds."),
            ),
        }
    }

    /// Why a queue was not made; `policy` is the text of its redrive policy.
    pub(crate) fn create(error: CreateError, policy: &str) -> Self {
        match error {
            CreateError::Pipe(error) => error.into(),
            CreateError::Differs { what } => Self::differs(what),
            CreateError::Settings(error) => Self::settings(&error, policy),
            CreateError::TooMany(most) => {
                Self::new(Code::OverLimit, format!("There are as many queues as there may be: {most}."))
            }
        }
    }

    /// A queue of that name has another value of an attribute.
    pub(crate) fn differs(attribute: &str) -> Self {
        let message = format!(
            "A queue already exists with the same name and a different value for attribute {attribute}"
        );
        Self::new(Code::QueueNameExists, message)
    }

    /// Why settings were not changed.
    pub(crate) fn set(error: SetError, policy: &str) -> Self {
        match error {
            SetError::Pipe(error) => error.into(),
            SetError::Settings(error) => Self::settings(&error, policy),
        }
    }
}

impl From<PipeError> for SqsError {
    fn from(error: PipeError) -> Self {
        match error {
            PipeError::Busy => Self::new(Code::RequestThrottled, "Too much is under way: try again."),
            PipeError::Stopped(why) => {
                tracing::warn!("a queue operation was refused: {why}");
                Self::new(
                    Code::Unavailable,
                    "The queues have stopped and take nothing until the node is restarted.",
                )
            }
            PipeError::NoSuchQueue(_) => Self::no_queue(),
        }
    }
}

impl From<SendError> for SqsError {
    fn from(error: SendError) -> Self {
        match error {
            SendError::TooLarge { size: _, most } => Self::invalid(format!(
                "One or more parameters are invalid. Reason: Message must be shorter than {most} bytes."
            )),
            SendError::NoGroup => Self::missing("MessageGroupId"),
            SendError::NoDedup => Self::invalid(
                "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly",
            ),
            SendError::OwnDelay => Self::invalid(
                "Value for parameter DelaySeconds is invalid. Reason: The request include parameter that is not valid for this queue type.",
            ),
            SendError::TooManyIdentities => Self::new(
                Code::RequestThrottled,
                "The queue remembers as many deduplication ids as it can: try again.",
            ),
            SendError::TooMuchAtOnce => {
                Self::new(Code::RequestThrottled, "More was sent at once than can be committed.")
            }
        }
    }
}

impl From<ReceiveError> for SqsError {
    fn from(error: ReceiveError) -> Self {
        match error {
            ReceiveError::Pipe(error) => error.into(),
            ReceiveError::OverLimit => {
                Self::new(Code::OverLimit, "Too many messages of the queue are in flight: delete some first.")
            }
        }
    }
}

impl From<BadUrl> for SqsError {
    fn from(why: BadUrl) -> Self {
        match why {
            BadUrl::NoAddress => {
                Self::new(Code::InvalidAddress, "The address of the queue is not valid for this endpoint.")
            }
            BadUrl::NoQueue => Self::no_queue(),
        }
    }
}

impl From<Denied> for SqsError {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Unsigned => Self::new(Code::MissingToken, "Request is missing Authentication Token"),
            Denied::UnknownKey => {
                Self::new(Code::UnknownKey, "The security token included in the request is invalid.")
            }
            Denied::ExpiredToken => {
                Self::new(Code::ExpiredToken, "The security token included in the request is expired")
            }
            Denied::WrongSignature(why) => Self::new(Code::WrongSignature, why),
            Denied::Expired(why) => Self::new(Code::Expired, why),
            Denied::Malformed(why) => Self::new(Code::IncompleteSignature, why),
            Denied::Forbidden(why) => Self::new(Code::AccessDenied, why),
        }
    }
}

impl SqsError {
    /// Why the server did not pass a request on.
    pub(crate) fn refusal(refusal: &Refusal, action: Option<&str>) -> Self {
        match refusal {
            Refusal::Denied(denied) => denied.clone().into(),
            Refusal::TooLarge(most) => {
                Self::new(Code::TooLarge, format!("Request size exceeded the limit of {most} bytes."))
            }
            Refusal::TooSlow => Self::new(Code::TooSlow, "The body of the request did not come in time."),
            Refusal::Broken => Self::new(Code::Malformed, "The body of the request did not come whole."),
            Refusal::Busy => Self::new(Code::RequestThrottled, "Too much is under way: try again."),
            Refusal::Unknown => match action {
                Some(action) => {
                    let action = action.chars().take(128).collect::<String>();
                    let message = format!("The action {action} is not valid for this endpoint.");
                    Self::new(Code::UnknownOperation, message)
                }
                None => Self::new(Code::MissingAction, "The request must contain the parameter Action."),
            },
        }
    }
}

#[cfg(test)]
#[path = "error_tests.rs"]
mod tests;
