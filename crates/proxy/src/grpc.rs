//! Failures as a client of gRPC reads them: status 200 and, in place of trailers, a head that says what
//! happened ("Trailers-Only" of "gRPC over HTTP2"). A status of HTTP would reach it as UNKNOWN, or as
//! something that it retries where it should not.

use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, StatusCode};

use crate::body::Body;
use crate::exchange::Answer;
use crate::failure::{Failure, Kind};
use crate::fields::Fields;
use crate::head;

const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// The codes of gRPC that a proxy has a use for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Code {
    Cancelled = 1,
    Unknown = 2,
    DeadlineExceeded = 4,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    Unimplemented = 12,
    Internal = 13,
    Unavailable = 14,
    Unauthenticated = 16,
}

/// Tells a failure to a client of gRPC instead. What else the answer says goes along as metadata.
pub(crate) fn tell(failure: &Failure, answer: &mut Answer) {
    answer.set_status(StatusCode::OK);
    answer.set_body(Body::empty());
    answer.set_header(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    answer.set_header(STATUS, HeaderValue::from(code(failure.kind) as u16));
    if let Ok(message) = HeaderValue::from_str(&escaped(&failure.detail)) {
        answer.set_header(MESSAGE, message);
    }
}

/// What an answer amounts to, as a status of HTTP. A failure of gRPC comes with 200 and says so in the head, if nothing came
/// before it ("Trailers-Only"). One that comes in the trailers of an answer is seen by the client alone: by then the answer
/// is on its way.
pub(crate) fn amounts_to(status: StatusCode, fields: &Fields) -> StatusCode {
    if status != StatusCode::OK || !head::is_grpc(fields) {
        return status;
    }
    let Some(code) = fields.get(&STATUS) else { return status };
    match code {
        b"2" | b"13" | b"15" => StatusCode::INTERNAL_SERVER_ERROR, // UNKNOWN, INTERNAL, DATA_LOSS
        b"4" => StatusCode::GATEWAY_TIMEOUT,                       // DEADLINE_EXCEEDED
        b"8" => StatusCode::TOO_MANY_REQUESTS,                     // RESOURCE_EXHAUSTED
        b"14" => StatusCode::SERVICE_UNAVAILABLE,                  // UNAVAILABLE
        _ => status,
    }
}

/// As "HTTP to gRPC Status Code Mapping" has it, and more precise where more is known than a status of HTTP.
fn code(kind: Kind) -> Code {
    match kind {
        Kind::AnswerTimeout | Kind::DeadlineExceeded => return Code::DeadlineExceeded,
        Kind::RequestStalled | Kind::RequestIncomplete | Kind::ClientGone => return Code::Cancelled,
        Kind::BadAnswer | Kind::UpgradeFailed | Kind::Loop => return Code::Internal,
        _ => {}
    }
    match kind.facts().status.as_u16() {
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        404 | 405 | 501 => Code::Unimplemented,
        413 | 414 | 429 | 431 => Code::ResourceExhausted,
        502..=504 => Code::Unavailable,
        400 | 500 => Code::Internal,
        _ => Code::Unknown,
    }
}

/// `Status-Message`: percent-encoded but for printable ASCII, whose percent sign is encoded as well.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => escaped.push(char::from(byte)),
            _ => {
                let mut digits = [0; 2];
                crate::trace::hex_into(&[byte], &mut digits);
                escaped.push('%');
                escaped.extend(digits.map(|digit| char::from(digit.to_ascii_uppercase())));
            }
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_of_grpc_amounts_to_one_of_http() {
        let answer = |kind: &[u8], code: &[u8], status| {
            let mut fields = Fields::new();
            fields.push(b"content-type", kind);
            fields.push(b"grpc-status", code);
            amounts_to(status, &fields).as_u16()
        };
        let grpc = b"application/grpc+proto".as_slice();
        for (code, status) in
            [("0", 200), ("5", 200), ("2", 500), ("4", 504), ("8", 429), ("14", 503), ("x", 200)]
        {
            assert_eq!(answer(grpc, code.as_bytes(), StatusCode::OK), status, "{code}");
        }
        assert_eq!(answer(b"text/plain", b"14", StatusCode::OK), 200);
        assert_eq!(answer(grpc, b"14", StatusCode::BAD_GATEWAY), 502);
        assert_eq!(amounts_to(StatusCode::OK, &Fields::new()), StatusCode::OK);
    }

    #[test]
    fn a_failure_becomes_trailers_and_no_body() {
        let mut answer = Answer::new(StatusCode::SERVICE_UNAVAILABLE).with_body(Body::full("a problem"));
        tell(&Failure::new(Kind::NoInstance, "no instance of `ü` is 100% ready"), &mut answer);
        assert_eq!((answer.status().as_u16(), answer.body.is_empty()), (200, true));
        assert_eq!(answer.header(&CONTENT_TYPE), Some(&b"application/grpc"[..]));
        assert_eq!(answer.header(&STATUS), Some(&b"14"[..]));
        assert_eq!(answer.header(&MESSAGE), Some(&b"no instance of `%C3%BC` is 100%25 ready"[..]));
    }

    #[test]
    fn each_kind_of_failure_has_its_code() {
        for (kind, code) in [
            (Kind::NoRoute, 12),
            (Kind::MethodNotAllowed, 12),
            (Kind::BadRequest, 13),
            (Kind::HeadTooLarge, 8),
            (Kind::WaitingFull, 14),
            (Kind::UndeclaredCall, 7),
            (Kind::Unauthorized, 16),
            (Kind::Forbidden, 7),
            (Kind::TooManyBadTokens, 8),
            (Kind::ConnectionRefused, 14),
            (Kind::ConnectionTimeout, 14),
            (Kind::ConnectionTerminated, 14),
            (Kind::AnswerTimeout, 4),
            (Kind::BadAnswer, 13),
            (Kind::ClientGone, 1),
            (Kind::Internal, 13),
        ] {
            assert_eq!(super::code(kind) as u8, code, "{kind:?}");
        }
        // None is left without one.
        assert!(Kind::ALL.into_iter().all(|kind| super::code(kind) != Code::Unknown));
    }
}
