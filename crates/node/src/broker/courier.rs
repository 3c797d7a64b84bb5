//! Brings what topics have to the addresses that are subscribed to them. When, and how often, is decided in `pipes`.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, USER_AGENT};
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kit::trace::Context;
use kit::{BoxFuture, Tasks};
use pipes::topic::{DEADLINE, Deliver, Push, PushKind, Undelivered};

use super::told::{About, SNS, Told};
use crate::outbound::{self, Answer, Version};
use crate::spans::What;

/// How much of an answer is read, so that its connection can be used again.
const ANSWER_BYTES: usize = 16 * 1024;

/// The client that carries notifications.
pub(crate) struct Courier {
    client: Client<HttpConnector, Full<Bytes>>,
    told: Told,
    tasks: Tasks,
}

impl Courier {
    pub(crate) fn new(told: Told, tasks: Tasks) -> Self {
        Self { client: Client::builder(TokioExecutor::new()).build_http(), told, tasks }
    }
}

impl Deliver for Courier {
    fn deliver(&self, push: Push) -> BoxFuture<'_, Result<(), Undelivered>> {
        Box::pin(async move {
            let begun = self.told.begin(&[push.trace.as_deref().and_then(Context::parse)]);
            let (outcome, error) = match request(&push, &begun.traceparent()) {
                Ok(request) => self.bring(request).await,
                Err(never) => (Err(never), Some("unspeakable".to_owned())),
            };
            let about =
                About { system: SNS, destination: push.topic.as_str(), messages: vec![&push.message_id] };
            self.told.end(begun, What::Deliver, &about, error.as_deref());
            outcome
        })
    }
}

impl Courier {
    /// What became of it and, if it was not taken, the kind of error.
    async fn bring(&self, request: Request<Full<Bytes>>) -> (Result<(), Undelivered>, Option<String>) {
        if request.uri().scheme_str() == Some("https") {
            return match outbound::send(request, Version::One, DEADLINE, &self.tasks).await {
                Ok(Answer { status, .. }) => {
                    (judge(status), (!status.is_success()).then(|| status.as_str().to_owned()))
                }
                Err(error) => (Err(Undelivered::Again(kit::report::chain(&error))), Some("unreached".into())),
            };
        }
        let answer = match self.client.request(request).await {
            Ok(answer) => answer,
            Err(error) => {
                return (Err(Undelivered::Again(kit::report::chain(&error))), Some("unreached".into()));
            }
        };
        let status = answer.status();
        let _ = Limited::new(answer.into_body(), ANSWER_BYTES).collect().await; // only so that it is gone
        (judge(status), (!status.is_success()).then(|| status.as_str().to_owned()))
    }
}

/// What a status says of another try.
fn judge(status: StatusCode) -> Result<(), Undelivered> {
    match status.as_u16() {
        200..=299 => Ok(()),
        429 | 500..=599 => Err(Undelivered::Again(format!("it answered {status}"))),
        _ => Err(Undelivered::Never(format!("it answered {status}"))),
    }
}

/// The request of one delivery, with the headers that SNS sends.
fn request(push: &Push, traceparent: &str) -> Result<Request<Full<Bytes>>, Undelivered> {
    let never = |why: &str| Undelivered::Never(why.to_owned());
    let uri: Uri = push.url.parse().map_err(|_| never("its address is none"))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err(never("its address is neither http:// nor https://"));
    }
    let kind = match push.kind {
        PushKind::Question => "SubscriptionConfirmation",
        PushKind::Farewell => "UnsubscribeConfirmation",
        PushKind::Notification => "Notification",
    };
    let topic = super::environment::topic_arn(push.topic.as_str());
    let mut request = Request::post(uri)
        .header(USER_AGENT, "Amazon Simple Notification Service Agent")
        .header("traceparent", traceparent)
        .header("x-amz-sns-message-type", kind)
        .header("x-amz-sns-message-id", &push.message_id)
        .header("x-amz-sns-topic-arn", &topic);
    // What is not confirmed has no name yet.
    if push.kind != PushKind::Question {
        request = request.header("x-amz-sns-subscription-arn", format!("{topic}:{}", push.subscription));
    }
    if push.raw && push.kind == PushKind::Notification {
        request = request.header("x-amz-sns-rawdelivery", "true");
    }
    let content_type = push.content_type.as_deref().unwrap_or("text/plain; charset=UTF-8");
    let request = request.header(CONTENT_TYPE, content_type);
    request.body(Full::new(push.body.clone())).map_err(|_| never("its content type is none"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_try_follows_what_may_pass() {
        let judged = |status: u16| judge(StatusCode::from_u16(status).unwrap());
        assert!(judged(204).is_ok());
        for passing in [429, 500, 503] {
            assert!(matches!(judged(passing), Err(Undelivered::Again(_))), "{passing}");
        }
        for lasting in [301, 400, 403, 404, 410] {
            assert!(matches!(judged(lasting), Err(Undelivered::Never(_))), "{lasting}");
        }
    }
}
