//! What a face is to the server: one service's protocols over the pipes.

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use kit::trace::{Context, Trace};
use kit::{BoxFuture, Timestamp};
use tokio_util::sync::CancellationToken;

use crate::gate::{Caller, Denied, Gatekeeper, RequestView};
use crate::request_id::RequestId;

/// One service's protocols. The server asks each face of its table, in order, whether a request is for it.
pub trait Face: Send + Sync + 'static {
    /// The service, as signatures name it: `sqs`.
    fn name(&self) -> &'static str;

    /// Whether a request is for this face.
    fn takes(&self, hints: &Hints<'_>) -> bool;

    /// Answers a request of a caller who is known.
    fn serve<'a>(&'a self, arrived: Arrived<'a>) -> BoxFuture<'a, Reply>;

    /// Says in the service's own words why a request is not served.
    fn refuse(&self, hints: &Hints<'_>, refusal: &Refusal, id: &RequestId) -> Reply;

    /// What everybody gets who asks for it, without credentials; `None`: it is nothing of that kind.
    fn open(&self, _: &RequestView<'_>) -> Option<Reply> {
        None
    }
}

/// What tells the face of a request.
#[derive(Clone, Debug, Default)]
pub struct Hints<'a> {
    /// `X-Amz-Target`: the JSON protocol.
    pub target: Option<&'a str>,
    /// `Action=`: the query protocol.
    pub action: Option<Cow<'a, str>>,
    /// The service that the request was signed for.
    pub scope: Option<&'a str>,
}

impl<'a> Hints<'a> {
    /// Looks for what tells the face.
    pub fn of(request: &RequestView<'a>) -> Self {
        let header = |name: &str| request.headers.get(name).and_then(|value| value.to_str().ok());
        let target = header("x-amz-target");
        let action = match target {
            Some(_) => None,
            None => crate::form::first(request.query.as_bytes(), "Action")
                .or_else(|| crate::form::first(request.body, "Action").filter(|_| is_form(request))),
        };
        // Credential=KEY/DATE/REGION/SERVICE/aws4_request
        let scope = header("authorization")
            .and_then(|text| text.split_once("Credential="))
            .and_then(|(_, credential)| credential.split([',', ' ']).next()?.rsplit('/').nth(1));
        let presigned = || {
            let (_, credential) = request.query.split_once("X-Amz-Credential=")?;
            let credential = credential.split('&').next()?;
            credential.rsplit("%2F").nth(1).or_else(|| credential.rsplit('/').nth(1))
        };
        Self { target, action, scope: scope.or_else(presigned) }
    }
}

fn is_form(request: &RequestView<'_>) -> bool {
    let kind = request.headers.get(http::header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    kind.is_none_or(|kind| kind.starts_with("application/x-www-form-urlencoded"))
}

/// A request whose caller is known, on its way into a face.
pub struct Arrived<'a> {
    /// What it looks like.
    pub view: RequestView<'a>,
    /// Which face and action it wants.
    pub hints: Hints<'a>,
    /// The host that the client knows this listener by, with its port.
    pub host: &'a str,
    /// Who sent it.
    pub caller: Caller,
    /// To ask what they may do.
    pub gate: &'a dyn Gatekeeper,
    /// Its number.
    pub id: &'a RequestId,
    /// Where it stands in a trace, if its headers say so.
    pub came: Option<Context>,
    /// Cancelled when the server stops: whoever waits answers at once.
    pub stop: &'a CancellationToken,
}

/// Why a request is not served, whatever it wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The gatekeeper said no.
    Denied(Denied),
    /// Its body is larger than this.
    TooLarge(usize),
    /// The body did not come in time.
    TooSlow,
    /// The body ended before its end.
    Broken,
    /// Too much is under way.
    Busy,
    /// No face knows what it asks for.
    Unknown,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Its status.
    pub status: StatusCode,
    /// The type of the body; none with an empty one.
    pub content_type: Option<HeaderValue>,
    /// `x-amzn-query-error`: the code that the query protocol has for this error.
    pub query_error: Option<HeaderValue>,
    /// The body.
    pub body: Bytes,
    /// What is told of it, to whoever watches.
    pub told: Told,
}

/// What a watcher is told of a request, beside what the server knows itself.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// What was asked for; empty if that is unknown.
    pub action: &'static str,
    /// The queue or topic; empty if none was found.
    pub resource: String,
    /// The code of the error.
    pub error: Option<&'static str>,
    /// How many messages went in or out.
    pub messages: u32,
    /// The message, if it was one and its id is known.
    pub message: Option<String>,
    /// The span of the request, where its messages decide on that.
    pub span: Option<Trace>,
    /// Where its messages stand in traces, beside the parent of that span.
    pub links: Vec<Context>,
    /// When there was something to answer, if it waited for that.
    pub since: Option<Timestamp>,
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    fn hints<'a>(headers: &'a HeaderMap, query: &'a str, body: &'a [u8]) -> Hints<'a> {
        Hints::of(&RequestView { method: "POST", path: "/", query, headers, body })
    }

    #[test]
    fn headers_query_and_body_tell_the_face() {
        let mut headers = HeaderMap::new();
        let none = hints(&headers, "", b"");
        assert_eq!((none.target, none.action, none.scope), (None, None, None));

        let form = hints(&headers, "", b"Version=2012-11-05&Action=SendMessage");
        assert_eq!(form.action.as_deref(), Some("SendMessage"));

        let signed =
            "Action=Publish&X-Amz-Credential=AKIA%2F20261130%2Fus-east-1%2Fsns%2Faws4_request&X-Amz-Date=x";
        let presigned = hints(&headers, signed, b"");
        assert_eq!((presigned.action.as_deref(), presigned.scope), (Some("Publish"), Some("sns")));

        headers.insert("x-amz-target", HeaderValue::from_static("AmazonSQS.SendMessage"));
        headers.insert(
            "authorization",
            HeaderValue::from_static(
                "AWS4-HMAC-SHA256 Credential=AKIA/20261130/us-east-1/sqs/aws4_request, SignedHeaders=host",
            ),
        );
        let json = hints(&headers, "", b"{\"Action\":1}");
        assert_eq!(
            (json.target, json.action, json.scope),
            (Some("AmazonSQS.SendMessage"), None, Some("sqs"))
        );
    }
}
