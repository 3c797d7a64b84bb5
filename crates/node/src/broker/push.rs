//! Queues that are handed to a service over HTTP: a worker is an ordinary web service. A message is deleted when the service
//! answers 2xx; else it comes back, later each time, until the queue gives it up to its dead letters.
//!
//! Requests go through the mesh, as a call of the service to itself: with its balancing, its breaker and its wait for an
//! instance that is ready.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kit::Backoff;
use manifest::spec::Deliver;
use pipes::{AttributeValue, Delivery, Queue, Receive};
use tokio_util::sync::CancellationToken;

use super::envelope;
use super::told::{About, Begun, SQS, Told};
use crate::spans::What;

/// How long one look into the queue waits for a message.
const LOOK: Duration = Duration::from_secs(20);
/// How much of an answer is read, so that its connection can be used again.
const ANSWER_BYTES: usize = 64 * 1024;
/// By how much the time of a request may be overstayed: the proxy ends it, with the reason.
const MARGIN: Duration = Duration::from_secs(2);
/// For how long a message that was refused is hidden: drawn from twice as much each time.
const AGAIN: Backoff = Backoff { first: Duration::from_secs(1), max: Duration::from_secs(300) };
/// How long to rest when the service cannot be reached or the store takes nothing.
const REST: Backoff = Backoff { first: Duration::from_millis(100), max: Duration::from_secs(5) };
/// How a trace is handed on (W3C Trace Context).
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// The attribute of a message that says what its body is.
const KIND: &str = "content-type";

/// Hands the messages of one queue to a service.
#[derive(Clone)]
pub(crate) struct Pusher {
    pub(crate) queue: Queue,
    pub(crate) deliver: Deliver,
    /// The address of the mesh that leads to the service.
    pub(crate) to: SocketAddr,
    client: Client<HttpConnector, Full<Bytes>>,
    told: Told,
}

/// What became of a request.
enum Outcome {
    /// The service has done it.
    Done,
    /// The service has not; after so long it may be asked again.
    NotDone(Option<Duration>),
    /// Nobody has seen it.
    Unreached,
}

impl Pusher {
    pub(crate) fn new(queue: Queue, deliver: Deliver, to: SocketAddr, told: Told) -> Self {
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self { queue, deliver, to, client, told }
    }

    /// One of as many as may be under way at once. Ends between two requests.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut failed = 0;
        loop {
            let want = Receive {
                max: usize::try_from(self.deliver.batch).unwrap_or(1).clamp(1, 10),
                visibility_seconds: None,
                wait: LOOK,
                attempt: None,
            };
            let received = tokio::select! {
                biased; // a queue that is about to end gives nothing, and at once
                () = stop.cancelled() => return,
                received = self.queue.receive(want) => received,
            };
            let reached = match received {
                Ok(messages) if messages.is_empty() => continue,
                Ok(messages) => self.hand_over(&messages).await,
                Err(error) => {
                    tracing::debug!(queue = %self.queue.name(), "cannot receive: {error}");
                    false
                }
            };
            failed = if reached { 0 } else { failed + 1 };
            if failed > 0 {
                tokio::select! {
                    () = tokio::time::sleep(REST.draw(failed)) => {}
                    () = stop.cancelled() => return,
                }
            }
        }
    }

    /// Sends messages, and says of each in the queue what became of it. Whether the service was reached.
    async fn hand_over(&self, messages: &[Delivery]) -> bool {
        let contexts: Vec<_> = messages.iter().map(|message| message.message.context()).collect();
        let begun = self.told.begin(&contexts);
        let (outcome, error) = self.ask(messages, &begun).await;
        let about = About {
            system: SQS,
            destination: self.queue.name().as_str(),
            messages: messages.iter().map(|message| &*message.id).collect(),
        };
        self.told.end(begun, What::Deliver, &about, error.as_deref());
        let (reached, told) = match outcome {
            Outcome::Done => {
                let receipts = messages.iter().map(|message| message.receipt).collect();
                (true, self.queue.delete(receipts).await.map(|_| ()))
            }
            Outcome::NotDone(asked) => (true, self.put_back(messages, asked).await),
            // However long the service is away: a message is no dead letter for that.
            Outcome::Unreached => {
                let receipts: Vec<_> = messages.iter().map(|message| message.receipt).collect();
                (false, self.queue.hand_back(&receipts).await)
            }
        };
        if let Err(error) = told {
            // It comes back by itself when its visibility is over.
            tracing::debug!(queue = %self.queue.name(), "cannot tell what became of a message: {error}");
            return false;
        }
        reached
    }

    async fn put_back(&self, messages: &[Delivery], asked: Option<Duration>) -> Result<(), pipes::PipeError> {
        let hidden = |message: &Delivery| {
            let pause = asked.unwrap_or_else(|| AGAIN.draw(message.receives)).min(AGAIN.max);
            (message.receipt, whole_seconds(pause))
        };
        self.queue.change_visibility(messages.iter().map(hidden).collect()).await.map(|_| ())
    }

    /// What became of it and, if it was not done, the kind of error.
    async fn ask(&self, messages: &[Delivery], begun: &Begun) -> (Outcome, Option<String>) {
        let failed = |outcome, error: &str| (outcome, Some(error.to_owned()));
        let Some(request) = self.request(messages, begun) else {
            return failed(Outcome::NotDone(None), "unspeakable");
        };
        let limit = self.deliver.timeout + MARGIN;
        let answered = tokio::time::timeout(limit, async {
            let answer = self.client.request(request).await?;
            let (head, body) = answer.into_parts();
            let _ = Limited::new(body, ANSWER_BYTES).collect().await; // only so that it is gone
            Ok::<_, hyper_util::client::legacy::Error>(head)
        });
        match answered.await {
            Ok(Ok(head)) if head.status.is_success() => (Outcome::Done, None),
            Ok(Ok(head)) if is_unseen(head.status, &head.headers) => {
                failed(Outcome::Unreached, head.status.as_str())
            }
            Ok(Ok(head)) => failed(Outcome::NotDone(retry_after(&head.headers)), head.status.as_str()),
            Ok(Err(error)) => {
                tracing::debug!(queue = %self.queue.name(), "cannot deliver: {error}");
                let outcome = if error.is_connect() { Outcome::Unreached } else { Outcome::NotDone(None) };
                failed(outcome, "unreached")
            }
            Err(_) => failed(Outcome::NotDone(None), "timeout"),
        }
    }

    /// One message as it is, with what is known of it in headers; several as a batch of events.
    fn request(&self, messages: &[Delivery], begun: &Begun) -> Option<Request<Full<Bytes>>> {
        let mut request = Request::builder()
            .method(self.deliver.method.clone())
            .uri(format!("http://{}{}", self.to, self.deliver.path));
        let headers = request.headers_mut()?;
        headers.insert(TRACEPARENT, HeaderValue::from_str(&begun.traceparent()).ok()?);
        let name = self.queue.name().as_str();
        let body = match messages {
            [message] if self.deliver.batch <= 1 => {
                envelope::binary(name, message, headers);
                headers.insert(CONTENT_TYPE, kind_of(message));
                message.message.body.clone()
            }
            several => {
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/cloudevents-batch+json"));
                envelope::batch(name, several)
            }
        };
        request.body(Full::new(body)).ok()
    }
}

/// Queues count in seconds. Rounded up: a pause is never none because it was short.
fn whole_seconds(pause: Duration) -> u32 {
    u32::try_from(pause.as_millis().div_ceil(1000)).unwrap_or(u32::MAX)
}

/// What a message says that its body is; else JSON if it looks like it.
fn kind_of(message: &Delivery) -> HeaderValue {
    let said = message.message.attributes.iter().find(|attribute| attribute.name.eq_ignore_ascii_case(KIND));
    let said = said.and_then(|attribute| match &attribute.value {
        AttributeValue::Text(text) => HeaderValue::from_str(text).ok(),
        AttributeValue::Binary(_) => None,
    });
    said.unwrap_or_else(|| {
        let body = message.message.body.trim_ascii_start();
        let json = matches!(body.first(), Some(b'{' | b'['));
        HeaderValue::from_static(if json { "application/json" } else { "text/plain; charset=utf-8" })
    })
}

/// Whether the proxy says that no instance has seen the request: none was there, too much was under way, its breaker is
/// open. A connection that broke off is none of these: the message may be what broke it. Other statuses are never the proxy's words
/// for that: an instance may hand on what was said to it of a call of its own.
fn is_unseen(status: StatusCode, headers: &HeaderMap) -> bool {
    const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");
    const UNSEEN: [&str; 4] =
        ["destination_unavailable", "connection_limit_reached", "connection_refused", "connection_timeout"];
    let of_proxy = [StatusCode::BAD_GATEWAY, StatusCode::SERVICE_UNAVAILABLE, StatusCode::GATEWAY_TIMEOUT];
    if !of_proxy.contains(&status) {
        return false;
    }
    let said = headers.get(PROXY_STATUS).and_then(|said| said.to_str().ok());
    let error = said.and_then(|said| said.strip_prefix("atoll; error=")?.split(';').next());
    error.is_some_and(|error| UNSEEN.contains(&error))
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds: u32 = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_refused_never_comes_back_at_once() {
        for (millis, seconds) in [(0, 0), (1, 1), (500, 1), (1000, 1), (1001, 2), (300_000, 300)] {
            assert_eq!(whole_seconds(Duration::from_millis(millis)), seconds, "{millis}");
        }
        for receives in 1..20 {
            assert!(whole_seconds(AGAIN.draw(receives)) >= 1);
        }
    }

    #[test]
    fn what_an_instance_may_have_seen_is_not_called_unseen() {
        let said =
            |status: &str| HeaderMap::from_iter([("proxy-status".parse().unwrap(), status.parse().unwrap())]);
        assert!(is_unseen(
            StatusCode::SERVICE_UNAVAILABLE,
            &said(r#"atoll; error=destination_unavailable; details="x""#)
        ));
        assert!(is_unseen(StatusCode::BAD_GATEWAY, &said("atoll; error=connection_refused")));
        for seen in
            ["atoll; error=connection_terminated", "atoll; error=http_request_denied", "other; error=x"]
        {
            assert!(!is_unseen(StatusCode::BAD_GATEWAY, &said(seen)), "{seen}");
        }
        assert!(!is_unseen(StatusCode::BAD_GATEWAY, &HeaderMap::new()));
        let handed_on = said("atoll; error=destination_unavailable");
        assert!(!is_unseen(StatusCode::INTERNAL_SERVER_ERROR, &handed_on));
    }
}
