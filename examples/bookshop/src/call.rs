//! How one service calls another: with a deadline, with the caller's trace, and with every way to fail in
//! the type.

use std::convert::Infallible;
use std::fmt;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::FromRequestParts;
use axum::http::request::{self, Parts};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Problem;
use crate::server::{StartError, log};

/// The largest answer a service reads from a neighbour, in bytes.
const MAX_ANSWER: usize = 1 << 20;

/// Connections kept open to one neighbour while there is nothing to ask.
const MAX_IDLE_CONNECTIONS: usize = 8;

/// The headers that tie the hops of one request together.
const TRAIL: [&str; 3] = ["traceparent", "tracestate", "x-request-id"];

/// What a request must hand on to the calls made for it. An extractor: name it as a handler's argument.
#[derive(Clone, Debug, Default)]
pub struct Trail(HeaderMap);

impl Trail {
    /// The request's id for log lines; `-` when it has none.
    pub fn request_id(&self) -> &str {
        self.0.get("x-request-id").and_then(|value| value.to_str().ok()).unwrap_or("-")
    }

    pub(crate) fn headers(&self) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
        self.0.iter()
    }
}

impl<S: Sync> FromRequestParts<S> for Trail {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let mut trail = HeaderMap::new();
        for name in TRAIL {
            if let Some(value) = parts.headers.get(name) {
                trail.insert(HeaderName::from_static(name), value.clone());
            }
        }
        Ok(Self(trail))
    }
}

/// A service this one calls. Cheap to clone; clones share their connections.
#[derive(Clone, Debug)]
pub struct Upstream {
    name: &'static str,
    base: String,
    timeout: Duration,
    client: HttpClient,
}

pub(crate) type HttpClient = Client<HttpConnector, Full<Bytes>>;

impl Upstream {
    /// The neighbour at `<NAME>_URL`; each call to it may take `timeout`.
    pub fn from_env(name: &'static str, timeout: Duration) -> Result<Self, StartError> {
        let variable = format!("{}_URL", name.to_ascii_uppercase());
        let Ok(base) = std::env::var(&variable) else {
            return Err(format!(
                "{variable} is not set: where is {name}? Name it under `calls` in atoll.yaml"
            ));
        };
        let base = base.trim_end_matches('/').to_owned();
        if base.parse::<Uri>().ok().and_then(|uri| uri.scheme_str().map(|s| s == "http")) != Some(true) {
            return Err(format!("{variable}={base} is not an http:// address"));
        }
        Ok(Self { name, base, timeout, client: http_client() })
    }

    /// `GET path`, the answer read as JSON.
    pub async fn get<T: DeserializeOwned>(&self, trail: &Trail, path: &str) -> Result<T, CallError> {
        self.send(trail, Request::builder().method(Method::GET), path, Bytes::new()).await
    }

    /// `POST path` with a JSON body, the answer read as JSON. The same `key` twice is the same deed once.
    pub async fn post<T: DeserializeOwned>(
        &self,
        trail: &Trail,
        path: &str,
        key: &str,
        body: &impl Serialize,
    ) -> Result<T, CallError> {
        let body = serde_json::to_vec(body).map_err(|error| self.failed(error))?;
        let head = Request::builder()
            .method(Method::POST)
            .header(header::CONTENT_TYPE, "application/json")
            .header("idempotency-key", key);
        self.send(trail, head, path, body.into()).await
    }

    /// Sends, and logs what failed: whoever calls need not.
    async fn send<T: DeserializeOwned>(
        &self,
        trail: &Trail,
        head: request::Builder,
        path: &str,
        body: Bytes,
    ) -> Result<T, CallError> {
        let answered = self.exchange(trail, head, path, body).await;
        if let Err(error @ CallError::Failed { .. }) = &answered {
            log(format_args!("{error} request_id={}", trail.request_id()));
        }
        answered
    }

    async fn exchange<T: DeserializeOwned>(
        &self,
        trail: &Trail,
        head: request::Builder,
        path: &str,
        body: Bytes,
    ) -> Result<T, CallError> {
        let mut request = head
            .uri(format!("{}{path}", self.base))
            .body(Full::new(body))
            .map_err(|error| self.failed(error))?;
        request.headers_mut().extend(trail.0.clone());

        let exchange = async {
            let answer = self.client.request(request).await.map_err(|error| self.failed(chain(&error)))?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
            Ok((status, body.map_err(|error| self.failed(error))?.to_bytes()))
        };
        let Ok(answered) = tokio::time::timeout(self.timeout, exchange).await else {
            return Err(self.failed(format_args!("no answer within {:?}", self.timeout)));
        };
        let (status, body) = answered?;
        if status.is_server_error() {
            return Err(self.failed(status));
        }
        if !status.is_success() {
            let detail = serde_json::from_slice::<Problem>(&body).map(|problem| problem.detail);
            let detail = detail.unwrap_or_else(|_| status.to_string());
            return Err(CallError::Refused { upstream: self.name, status, detail });
        }
        serde_json::from_slice(&body).map_err(|error| self.failed(error))
    }

    fn failed(&self, why: impl fmt::Display) -> CallError {
        CallError::Failed { upstream: self.name, why: why.to_string() }
    }
}

pub(crate) fn http_client() -> HttpClient {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_max_idle_per_host(MAX_IDLE_CONNECTIONS)
        .build(connector)
}

/// The causes behind an error in one line: "client error (Connect): connection refused".
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// Why a call gave nothing. Whose fault it is decides what to do: a refusal is an answer to pass on, a
/// failure is a reason to fall back or to try again.
#[derive(Clone, Debug)]
pub enum CallError {
    /// The neighbour understood and said no (4xx).
    Refused {
        /// Who said no.
        upstream: &'static str,
        /// How.
        status: StatusCode,
        /// Why, in words for people.
        detail: String,
    },
    /// The neighbour could not be reached, was too slow, or broke (5xx).
    Failed {
        /// Who failed.
        upstream: &'static str,
        /// How; for the log, not for customers.
        why: String,
    },
}

impl CallError {
    /// Whose answer is missing.
    pub fn upstream(&self) -> &'static str {
        match self {
            Self::Refused { upstream, .. } | Self::Failed { upstream, .. } => upstream,
        }
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { upstream, status, detail } => {
                write!(f, "call to {upstream} refused with {status}: {detail}")
            }
            Self::Failed { upstream, why } => write!(f, "call to {upstream} failed: {why}"),
        }
    }
}

/// Makes `text` safe as one segment of a path or one value of a query (RFC 3986, section 2.1).
pub fn encode(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => safe.push(byte.into()),
            _ => safe.push_str(&format!("%{byte:02X}")),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_customer_types_cannot_leave_its_place_in_an_address() {
        assert_eq!(encode("a/b?c=d&é"), "a%2Fb%3Fc%3Dd%26%C3%A9");
    }
}
