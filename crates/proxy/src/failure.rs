//! Every way an exchange can fail in our hands: whose fault it is, whether another try is safe, and the
//! names it goes by (a code of ours, an HTTP status, an error type of RFC 9209).

use std::fmt;

use http::{HeaderName, HeaderValue, Method, StatusCode};

/// Whose fault a failure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The client sent something that cannot be served.
    Client,
    /// The service did not do its part.
    Upstream,
    /// Atoll itself.
    Atoll,
}

/// When the same request may be tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// It would fail the same way.
    Never,
    /// The upstream provably did not process the request.
    Safe,
    /// The upstream may have processed it: only a request whose repetition is harmless.
    IfIdempotent,
}

/// One kind of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(usize)]
pub enum Kind {
    /// No route has this host and path.
    NoRoute,
    /// A route has the path, none has the method.
    MethodNotAllowed,
    /// The head breaks a rule of HTTP that guards against ambiguity.
    BadRequest,
    /// The head is longer than `Limits::header_bytes`.
    HeadTooLarge,
    /// The request body paused longer than `Limits::body_idle`.
    RequestStalled,
    /// The client went away before its request was whole.
    RequestIncomplete,
    /// `CONNECT`, which a gateway does not do.
    ConnectRefused,
    /// A mesh listener whose call is not declared (any more).
    UndeclaredCall,
    /// No instance is ready and none is expected, or none came in time.
    NoInstance,
    /// Too many requests wait for an instance already.
    WaitingFull,
    /// Nothing listens at the instance's address.
    ConnectionRefused,
    /// The instance did not take the connection in time.
    ConnectionTimeout,
    /// A reused connection was closed before any of the request was written.
    ClosedUnsent,
    /// A reused connection was closed before a byte of the answer.
    ClosedReused,
    /// A new connection was closed before the head of the answer.
    ConnectionTerminated,
    /// The head of the answer did not come within the route's timeout.
    AnswerTimeout,
    /// The answer is not HTTP.
    BadAnswer,
    /// The answer broke off in its body. Never seen as a status: the client's connection is aborted.
    AnswerIncomplete,
    /// The answer's body paused longer than `Limits::answer_idle`. As above.
    AnswerStalled,
    /// The upstream switched protocols in a way nobody asked for.
    UpgradeFailed,
    /// The request passed through Atoll too often.
    Loop,
    /// The client left before its answer was whole.
    ClientGone,
    /// A connection above `Limits::connections`.
    TooManyConnections,
    /// Plain HTTP on a port that speaks TLS. Its answer is written before there is an exchange.
    PlainOnTls,
    /// A fault of ours.
    Internal,
    /// The route asks for a token, and there is none that holds.
    Unauthorized,
    /// The token holds, and is not for this.
    Forbidden,
    /// Too many tokens with bad signatures came from this client: no further ones are checked for now.
    TooManyBadTokens,
    /// The target alone is longer than `Limits::header_bytes`.
    TargetTooLong,
    /// The request's body is longer than `Limits::body_bytes`.
    BodyTooLarge,
    /// The deadline had passed before anything was asked.
    DeadlineExceeded,
    /// The breaker of the route is open.
    BreakerOpen,
    /// As many requests as may are under way and waiting.
    BulkheadFull,
    /// Refused because the service carries no more, and others matter more.
    Shed,
    /// More requests than `limit` allows.
    RateLimited,
    /// Made on purpose, by `fault`.
    Injected,
    /// Nobody has said yet which routes there are.
    Starting,
}

/// What is always the same about a kind of failure.
pub(crate) struct Facts {
    pub(crate) code: &'static str,
    pub(crate) status: StatusCode,
    /// The error type of RFC 9209 §2.3.
    pub(crate) token: &'static str,
    pub(crate) title: &'static str,
    pub(crate) side: Side,
    pub(crate) retry: Retry,
}

impl Kind {
    /// Every kind, in order of declaration.
    pub const ALL: [Self; 37] = [
        Self::NoRoute,
        Self::MethodNotAllowed,
        Self::BadRequest,
        Self::HeadTooLarge,
        Self::RequestStalled,
        Self::RequestIncomplete,
        Self::ConnectRefused,
        Self::UndeclaredCall,
        Self::NoInstance,
        Self::WaitingFull,
        Self::ConnectionRefused,
        Self::ConnectionTimeout,
        Self::ClosedUnsent,
        Self::ClosedReused,
        Self::ConnectionTerminated,
        Self::AnswerTimeout,
        Self::BadAnswer,
        Self::AnswerIncomplete,
        Self::AnswerStalled,
        Self::UpgradeFailed,
        Self::Loop,
        Self::ClientGone,
        Self::TooManyConnections,
        Self::PlainOnTls,
        Self::Internal,
        Self::Unauthorized,
        Self::Forbidden,
        Self::TooManyBadTokens,
        Self::TargetTooLong,
        Self::BodyTooLarge,
        Self::DeadlineExceeded,
        Self::BreakerOpen,
        Self::BulkheadFull,
        Self::Shed,
        Self::RateLimited,
        Self::Injected,
        Self::Starting,
    ];

    /// Whether it was the client's own doing.
    pub fn is_of_client(self) -> bool {
        self.facts().side == Side::Client
    }

    /// The error type of RFC 9209 §2.3 by which `Proxy-Status`, access records and metrics name it.
    pub fn token(self) -> &'static str {
        self.facts().token
    }

    /// The code that `atoll explain` describes.
    pub fn code(self) -> &'static str {
        self.facts().code
    }

    /// Whether it speaks against the instance itself: it could not be reached, or hung up.
    pub(crate) fn is_of_the_connection(self) -> bool {
        use Kind::{ClosedReused, ClosedUnsent, ConnectionRefused, ConnectionTerminated, ConnectionTimeout};
        matches!(
            self,
            ConnectionRefused | ConnectionTimeout | ConnectionTerminated | ClosedReused | ClosedUnsent
        )
    }

    #[rustfmt::skip] // a table
    pub(crate) fn facts(self) -> Facts {
        use {Retry::{IfIdempotent, Never, Safe}, Side::{Atoll, Client, Upstream}};
        let (code, status, token, title, side, retry) = match self {
            Self::NoRoute => ("A0701", 404, "http_request_error", "no route", Client, Never),
            Self::MethodNotAllowed => ("A0702", 405, "http_request_error", "method not allowed", Client, Never),
            Self::BadRequest => ("A0703", 400, "http_request_error", "bad request", Client, Never),
            Self::HeadTooLarge => ("A0704", 431, "http_request_error", "request head too large", Client, Never),
            Self::RequestStalled => ("A0705", 408, "http_request_error", "request body stalled", Client, Never),
            Self::RequestIncomplete => ("A0705", 400, "http_request_error", "request body incomplete", Client, Never),
            Self::ConnectRefused => ("A0706", 501, "http_request_denied", "CONNECT is not served", Client, Never),
            Self::UndeclaredCall => ("A0707", 403, "http_request_denied", "undeclared call", Client, Never),
            Self::NoInstance => ("A0710", 503, "destination_unavailable", "no instance ready", Upstream, Never),
            Self::WaitingFull => ("A0711", 503, "connection_limit_reached", "too many requests waiting", Upstream, Never),
            Self::ConnectionRefused => ("A0712", 502, "connection_refused", "connection refused", Upstream, Safe),
            Self::ConnectionTimeout => ("A0713", 504, "connection_timeout", "connection timed out", Upstream, Safe),
            Self::ClosedUnsent => ("A0714", 502, "connection_terminated", "connection closed before the answer", Upstream, Safe),
            Self::ClosedReused | Self::ConnectionTerminated => ("A0714", 502, "connection_terminated", "connection closed before the answer", Upstream, IfIdempotent),
            Self::AnswerTimeout => ("A0715", 504, "http_response_timeout", "no answer in time", Upstream, IfIdempotent),
            Self::BadAnswer => ("A0716", 502, "http_protocol_error", "the answer is not HTTP", Upstream, Never),
            Self::AnswerIncomplete => ("A0717", 502, "http_response_incomplete", "the answer broke off", Upstream, Never),
            Self::AnswerStalled => ("A0718", 504, "connection_read_timeout", "the answer stalled", Upstream, Never),
            Self::UpgradeFailed => ("A0719", 502, "http_upgrade_failed", "upgrade failed", Upstream, Never),
            Self::Loop => ("A0720", 502, "proxy_loop_detected", "request loop", Atoll, Never),
            Self::ClientGone => ("A0721", 499, "client_gone", "the client left", Client, Never),
            Self::TooManyConnections => ("A0722", 503, "connection_limit_reached", "too many connections", Atoll, Never),
            Self::PlainOnTls => ("A0753", 400, "http_request_error", "plain HTTP on a TLS port", Client, Never),
            Self::DeadlineExceeded => ("A0724", 504, "http_response_timeout", "deadline exceeded", Client, Never),
            Self::BreakerOpen => ("A0725", 503, "destination_unavailable", "breaker open", Upstream, Never),
            Self::BulkheadFull => ("A0726", 503, "connection_limit_reached", "too many requests under way", Upstream, Never),
            Self::Shed => ("A0727", 503, "connection_limit_reached", "shed for load", Upstream, Never),
            Self::RateLimited => ("A0728", 429, "http_request_denied", "too many requests", Client, Never),
            Self::Injected => ("A0729", 503, "http_request_denied", "fault made on purpose", Atoll, Never),
            Self::Starting => ("A0731", 503, "destination_unavailable", "starting", Atoll, Never),
            Self::Internal => ("A0730", 500, "proxy_internal_error", "internal error", Atoll, Never),
            Self::Unauthorized => ("A0740", 401, "http_request_denied", "unauthorized", Client, Never),
            Self::Forbidden => ("A0741", 403, "http_request_denied", "forbidden", Client, Never),
            Self::TooManyBadTokens => ("A0742", 429, "http_request_denied", "too many bad tokens", Client, Never),
            Self::TargetTooLong => ("A0704", 414, "http_request_error", "request target too long", Client, Never),
            Self::BodyTooLarge => ("A0723", 413, "http_request_error", "request body too large", Client, Never),
        };
        // Every number above is a valid status; the fallback is never taken.
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Facts { code, status, token, title, side, retry }
    }
}

/// What only Atoll's own log may say. It has no `Display`, so that it cannot leave by accident.
pub struct Inside(String);

impl Inside {
    /// For the log of the node.
    pub fn for_log(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Inside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Inside(…)")
    }
}

/// Why an exchange has no answer from its service.
#[derive(Debug, thiserror::Error)]
#[error("{detail}")]
pub struct Failure {
    /// What kind of failure.
    pub kind: Kind,
    /// What the client may know: a lowercase sentence without a full stop.
    pub detail: String,
    /// What it may not.
    pub inside: Option<Inside>,
    /// The methods that the path does take; for [`Kind::MethodNotAllowed`].
    pub allow: Vec<Method>,
    /// What the answer says besides, such as `WWW-Authenticate`.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

impl Failure {
    /// A failure that says `detail` to the client.
    #[cold]
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), inside: None, allow: Vec::new(), headers: Vec::new() }
    }

    /// Adds what only the log may say.
    #[must_use]
    pub fn inside(mut self, inside: impl fmt::Display) -> Self {
        self.inside = Some(Inside(inside.to_string()));
        self
    }

    /// Adds a header to the answer, beside those of the same name.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// When it may be worth while to ask again; whole seconds, at least one.
    #[must_use]
    pub(crate) fn retry_after(mut self, pause: std::time::Duration) -> Self {
        let seconds = pause.as_secs() + u64::from(pause.subsec_nanos() > 0);
        self.headers.push((http::header::RETRY_AFTER, HeaderValue::from(seconds.max(1))));
        self
    }

    /// Whose fault it is.
    pub fn side(&self) -> Side {
        self.kind.facts().side
    }

    /// Whether another try is safe.
    pub fn retry(&self) -> Retry {
        self.kind.facts().retry
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_listed_once_and_in_order() {
        for (index, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, index);
        }
    }

    #[test]
    fn only_failures_before_the_request_was_sent_are_safe_to_repeat() {
        let safe: Vec<_> = Kind::ALL.into_iter().filter(|kind| kind.facts().retry == Retry::Safe).collect();
        assert_eq!(safe, [Kind::ConnectionRefused, Kind::ConnectionTimeout, Kind::ClosedUnsent]);
    }
}
