//! The one place where a failure becomes an answer: a problem (RFC 9457) with `Proxy-Status` (RFC 9209).

use http::header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderName, HeaderValue, StatusCode, Version};
use serde::Serialize;

use crate::body::Body;
use crate::exchange::{Answer, Exchange};
use crate::failure::{Failure, Kind};
use crate::fields::Known;
use crate::grpc;
use crate::head::{self, REQUEST_ID, RequestId};

const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");

/// The members of a problem, in the order they are written.
#[derive(Serialize)]
struct Problem<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    /// The request's id: what to look for in logs and traces.
    instance: &'a str,
    /// `atoll explain` has its page.
    code: &'a str,
}

/// The answer that tells the client of a failure.
#[cold]
pub(crate) fn problem(failure: &Failure, exchange: &Exchange) -> Answer {
    let mut answer = build(failure, exchange.request_id());
    let untrusted = matches!(failure.kind, Kind::BadRequest | Kind::ConnectRefused);
    if untrusted && exchange.version() < Version::HTTP_2 {
        // Whoever sends such a head may mean what follows it to be read in another way, too.
        answer.set_header(CONNECTION, HeaderValue::from_static("close"));
    }
    if exchange.version() == Version::HTTP_2 && head::is_grpc(&exchange.asked.head.fields) {
        grpc::tell(failure, &mut answer);
    }
    answer
}

/// The answer to what could not be read as a request.
pub(crate) fn unreadable(failure: &Failure) -> Answer {
    let request_id = RequestId::of(&crate::fields::Fields::new());
    let mut answer = build(failure, request_id.as_str());
    name_request(&mut answer, &request_id);
    answer
}

fn build(failure: &Failure, request_id: &str) -> Answer {
    let facts = failure.kind.facts();
    let problem = Problem {
        r#type: format!("urn:atoll:error:{}", facts.code),
        title: facts.title,
        status: facts.status.as_u16(),
        detail: &failure.detail,
        instance: request_id,
        code: facts.code,
    };
    let body = serde_json::to_vec(&problem).unwrap_or_default();
    let mut answer = Answer::new(facts.status)
        .with_header(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"))
        .with_header(CACHE_CONTROL, HeaderValue::from_static("no-store"))
        .with_body(Body::full(body));
    let status = format!("atoll; error={}; details={}", facts.token, quoted(&failure.detail));
    if let Ok(status) = HeaderValue::from_str(&status) {
        answer.set_header(PROXY_STATUS, status);
    }
    if failure.kind == Kind::MethodNotAllowed {
        let allow: Vec<&str> = failure.allow.iter().map(http::Method::as_str).collect();
        if let Ok(allow) = HeaderValue::from_str(&allow.join(", ")) {
            answer.set_header(ALLOW, allow);
        }
    }
    let paced = failure.headers.iter().any(|(name, _)| *name == RETRY_AFTER);
    if facts.status == StatusCode::SERVICE_UNAVAILABLE && !paced {
        answer.set_header(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    for (name, value) in &failure.headers {
        answer = answer.with_header(name.clone(), value.clone());
    }
    answer
}

/// A string of RFC 8941 §3.3.3: printable ASCII in quotes.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            ' '..='~' => quoted.push(c),
            _ => quoted.push('?'),
        }
    }
    quoted.push('"');
    quoted
}

/// Says in an answer which request it answers.
pub(crate) fn name_request(answer: &mut Answer, request_id: &RequestId) {
    if !answer.fields.has(Known::RequestId) {
        answer.fields.push(REQUEST_ID.as_str().as_bytes(), request_id.as_bytes());
    }
}

/// The whole answer, as bytes, to a connection that is one too many: nothing has been read from it.
pub(crate) fn too_many_connections(limit: u32) -> Vec<u8> {
    unasked(Kind::TooManyConnections, &format!("{limit} connections are open already"), "Retry-After: 1\r\n")
}

/// The whole answer, as bytes, to plain HTTP on a port that speaks TLS.
pub(crate) fn plain_on_tls() -> Vec<u8> {
    unasked(Kind::PlainOnTls, "plain HTTP was sent to a port that speaks TLS: use https://", "")
}

/// An answer to a connection of which no request was read; `lines` are further ones of its head.
fn unasked(kind: Kind, detail: &str, lines: &str) -> Vec<u8> {
    let facts = kind.facts();
    let problem = format!(
        r#"{{"type":"urn:atoll:error:{code}","title":"{title}","status":{status},"detail":"{detail}","code":"{code}"}}"#,
        code = facts.code,
        title = facts.title,
        status = facts.status.as_u16(),
    );
    format!(
        "HTTP/1.1 {}\r\nContent-Type: application/problem+json\r\nContent-Length: {}\r\n\
         Proxy-Status: atoll; error={}\r\n{lines}Connection: close\r\n\r\n{problem}",
        facts.status,
        problem.len(),
        facts.token,
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_failure_is_told_as_a_problem_and_never_what_is_inside() {
        let failure =
            Failure::new(Kind::ConnectionRefused, "`web-1#1` refused the connection").inside("os error 111");
        let mut answer = build(&failure, "r-1");
        assert_eq!(answer.status(), 502);
        let status = "atoll; error=connection_refused; details=\"`web-1#1` refused the connection\"";
        assert_eq!(answer.header(&PROXY_STATUS), Some(status.as_bytes()));
        let body = answer.take_body().frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(
            std::str::from_utf8(&body).unwrap(),
            r#"{"type":"urn:atoll:error:A0712","title":"connection refused","status":502,"detail":"`web-1#1` refused the connection","instance":"r-1","code":"A0712"}"#
        );
    }

    #[test]
    fn details_are_quoted_as_a_structured_field() {
        assert_eq!(quoted("a \"b\" \\ ü\n"), r#""a \"b\" \\ ??""#);
    }

    #[test]
    fn an_answer_that_nobody_asked_for_has_the_length_it_says() {
        for (answer, status) in
            [(too_many_connections(7), "503 Service Unavailable"), (plain_on_tls(), "400 Bad Request")]
        {
            let text = String::from_utf8(answer).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(head.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{head}");
            assert!(head.contains(&format!("Content-Length: {}", body.len())));
            let body: serde_json::Value = serde_json::from_str(body).unwrap();
            assert!(status.starts_with(&body["status"].to_string()));
        }
    }
}
