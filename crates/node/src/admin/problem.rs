//! The one place where an error becomes an answer of this API: RFC 9457 problems.

use api::Problem;
use axum::http::header::CONTENT_TYPE;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use control::RestartError;
use kit::Explain;

use crate::apply_error::ApplyError;
use crate::broker::{BrokerError, KeysError};
use crate::observe::Observer;

/// A refused call.
pub(crate) struct Refusal(Box<Problem>);

impl Refusal {
    fn new(status: StatusCode, title: String, code: &'static str, hint: &str) -> Self {
        let hint = Some(hint.to_owned());
        Self(Box::new(Problem {
            status: status.as_u16(),
            title,
            code: code.into(),
            detail: String::new(),
            hint,
        }))
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self.0).unwrap_or_default(); // our own type always encodes
        (status, [(CONTENT_TYPE, "application/problem+json")], body).into_response()
    }
}

impl From<ApplyError> for Refusal {
    fn from(error: ApplyError) -> Self {
        let help = error.help();
        let status = match &error {
            ApplyError::Faults { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            ApplyError::OtherApp { .. } | ApplyError::Listen { .. } => StatusCode::CONFLICT,
            ApplyError::Select(_) | ApplyError::NoService { .. } => StatusCode::NOT_FOUND,
            ApplyError::Broker(_) => StatusCode::CONFLICT,
            ApplyError::TooMany { .. } | ApplyError::Certificate(_) | ApplyError::Edge(_) => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
            ApplyError::Ports(_) | ApplyError::Keep(_) => StatusCode::INSUFFICIENT_STORAGE,
            ApplyError::Stopping | ApplyError::Upgrading => StatusCode::SERVICE_UNAVAILABLE,
        };
        let detail = match &error {
            ApplyError::Faults { report } => report.clone(),
            _ => String::new(),
        };
        Self(Box::new(Problem {
            status: status.as_u16(),
            title: kit::report::chain(&error),
            code: help.code.to_string(),
            detail,
            hint: help.hint,
        }))
    }
}

/// The body is not what the call takes.
pub(crate) fn bad_request(why: String) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, why, "A0620", "CLI and node differ in version: see `atoll version`")
}

/// No such call.
pub(crate) async fn not_found(method: Method, uri: Uri) -> Refusal {
    let title = format!("there is no `{method} {}`", uri.path());
    Refusal::new(StatusCode::NOT_FOUND, title, "A0621", "CLI and node differ in version: see `atoll version`")
}

/// The node ends.
pub(crate) fn stopping() -> Refusal {
    ApplyError::Stopping.into()
}

/// Nothing has this name.
pub(crate) fn unknown_target(name: &str) -> Refusal {
    let title = format!("nothing is called `{name}`");
    Refusal::new(StatusCode::NOT_FOUND, title, "A0622", "`atoll ps` lists services and instances")
}

/// No route has this name, or it has no breaker.
pub(crate) fn no_breaker(route: &str) -> Refusal {
    let title = format!("no route `{route}` has a breaker");
    Refusal::new(StatusCode::NOT_FOUND, title, "A0625", "`atoll breaker` lists them; `breaker: off` has none")
}

/// No queue has this name.
pub(crate) fn no_queue(name: &str) -> Refusal {
    let title = format!("there is no queue `{name}`");
    Refusal::new(StatusCode::NOT_FOUND, title, "A0626", "`atoll queue ls` lists them")
}

/// The store takes nothing right now.
pub(crate) fn pipe(error: &pipes::PipeError) -> Refusal {
    match error {
        pipes::PipeError::NoSuchQueue(name) => no_queue(name.as_str()),
        pipes::PipeError::Busy => Refusal::new(
            StatusCode::TOO_MANY_REQUESTS,
            error.to_string(),
            "A0627",
            "try again: too much waits to be written",
        ),
        pipes::PipeError::Stopped(_) => Refusal::new(
            StatusCode::SERVICE_UNAVAILABLE,
            error.to_string(),
            "A0628",
            "see that the disk has room and works, then `atoll down` and `atoll up`",
        ),
    }
}

/// No topic has this name.
pub(crate) fn no_topic(name: &str) -> Refusal {
    let title = format!("there is no topic `{name}`");
    Refusal::new(StatusCode::NOT_FOUND, title, "A0695", "`atoll topic ls` lists them")
}

/// A topic takes nothing right now, or is gone.
pub(crate) fn topic(error: &pipes::topic::TopicError) -> Refusal {
    use pipes::topic::TopicError;
    match error {
        TopicError::Busy => pipe(&pipes::PipeError::Busy),
        TopicError::Stopped(why) => pipe(&pipes::PipeError::Stopped(why.clone())),
        TopicError::NoSuchTopic(name) => no_topic(name.as_str()),
        TopicError::NoSuchSubscription(_) => not_published(error),
    }
}

/// A topic does not take a message.
pub(crate) fn not_published(error: &dyn std::error::Error) -> Refusal {
    let hint = "`atoll topic show` tells how the topic is set";
    Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, error.to_string(), "A0696", hint)
}

/// A key is not made, listed or revoked.
pub(crate) fn keys(error: &KeysError) -> Refusal {
    let status = match error {
        KeysError::Unreadable { .. } => StatusCode::CONFLICT,
        KeysError::NoSuchKey(_) => StatusCode::NOT_FOUND,
        KeysError::Refused(_) => StatusCode::UNPROCESSABLE_ENTITY,
        KeysError::Unwritable { .. } => StatusCode::INSUFFICIENT_STORAGE,
    };
    let help = error.help();
    Refusal::new(status, error.to_string(), help.code.as_str(), &help.hint.unwrap_or_default())
}

/// What a key is to be made for is nothing.
pub(crate) fn no_grant(error: &identity::BadGrant) -> Refusal {
    let hint = "for example `orders:send`, `queue/jobs:receive`, `topic/*:publish`";
    Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, error.to_string(), "A0672", hint)
}

/// Nobody can be let in.
pub(crate) fn no_door(error: BrokerError) -> Refusal {
    ApplyError::from(error).into()
}

/// The app has no console.
pub(crate) fn no_console() -> Refusal {
    let title = "the app has no console".to_owned();
    Refusal::new(
        StatusCode::NOT_FOUND,
        title,
        "A0691",
        "take `console: off` out of the file, or see `atoll events`",
    )
}

/// The app has no store that is open.
pub(crate) fn no_store() -> Refusal {
    let title = "the app has no queues and no topics, so there is no store".to_owned();
    Refusal::new(StatusCode::NOT_FOUND, title, "A0640", "`atoll queue ls` lists queues")
}

/// No backup was taken.
pub(crate) fn no_backup(error: &::store::StoreError) -> Refusal {
    let title = format!("no backup was taken: {error}");
    Refusal::new(StatusCode::CONFLICT, title, "A0641", "name an empty directory, on a disk that has room")
}

fn refused_by_the_queue(error: &dyn std::error::Error) -> Refusal {
    let hint = "`atoll queue show` tells how the queue is set";
    Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, error.to_string(), "A0629", hint)
}

/// A queue does not take a message.
pub(crate) fn not_sent(error: &pipes::SendError) -> Refusal {
    refused_by_the_queue(error)
}

/// A queue gives no messages.
pub(crate) fn not_received(error: &pipes::ReceiveError) -> Refusal {
    match error {
        pipes::ReceiveError::Pipe(error) => pipe(error),
        other => refused_by_the_queue(other),
    }
}

/// A queue is not emptied.
pub(crate) fn not_purged(error: &pipes::PurgeError) -> Refusal {
    match error {
        pipes::PurgeError::Pipe(error) => pipe(error),
        other => refused_by_the_queue(other),
    }
}

/// Messages are not moved.
pub(crate) fn not_moved(error: &pipes::MoveError) -> Refusal {
    match error {
        pipes::MoveError::Pipe(error) => pipe(error),
        other => refused_by_the_queue(other),
    }
}

/// A question about telemetry that cannot be understood.
pub(crate) fn bad_question(why: &dyn std::fmt::Display) -> Refusal {
    let hint = "ids are as `atoll trace ls` and `atoll errors ls` print them";
    Refusal::new(StatusCode::BAD_REQUEST, why.to_string(), "A0648", hint)
}

/// Telemetry has nothing of this name.
pub(crate) fn not_kept(what: &str, id: &str) -> Refusal {
    let title = format!("there is no {what} `{id}`");
    let hint = "it may be older than what is kept, or not of the share that is: see `telemetry` in the file";
    Refusal::new(StatusCode::NOT_FOUND, title, "A0646", hint)
}

/// Nothing is kept.
pub(crate) fn no_telemetry(observer: &Observer) -> Refusal {
    if observer.is_undecided() {
        let title = "telemetry is still being opened".to_owned();
        return Refusal::new(StatusCode::SERVICE_UNAVAILABLE, title, "A0649", "ask again in a moment");
    }
    let title = "no telemetry is kept".to_owned();
    let hint = "see `atoll events` for why, or whether the file says `telemetry: off`";
    Refusal::new(StatusCode::CONFLICT, title, "A0647", hint)
}

/// A restart did not come to its end.
pub(crate) fn restart(error: &RestartError) -> Refusal {
    match error {
        RestartError::Unknown(name) => unknown_target(name),
        RestartError::Failed { place, .. } => Refusal::new(
            StatusCode::CONFLICT,
            error.to_string(),
            "A0623",
            &format!("see `atoll logs {}`", place.service),
        ),
        RestartError::GoingDown => stopping(),
    }
}

/// The log files cannot be read.
pub(crate) fn logs_unreadable(error: &std::io::Error) -> Refusal {
    let title = format!("the logs cannot be read: {error}");
    Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, title, "A0624", "look at `logs` in the state directory")
}
