//! Heads between the `http` crate's types, which h2 speaks, and ours.

use http::uri::{Authority, Parts, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Uri, Version};

use crate::engine::buffers;
use crate::exchange::Asked;
use crate::failure::{Failure, Kind};
use crate::fields::{Fields, Known};
use crate::head::Head;
use crate::head::forward::{self, Attempt, is_hop_by_hop};
use crate::limits::Limits;

/// The head of a request as it came.
pub(super) fn head_of(parts: http::request::Parts, secure: bool) -> Head {
    let mut head = buffers::request();
    head.set_target(parts.uri.path_and_query().map_or("", PathAndQuery::as_str));
    head.authority.push_str(parts.uri.authority().map_or("", Authority::as_str));
    for (name, value) in &parts.headers {
        head.fields.append(name, value);
    }
    (head.method, head.version, head.secure) = (parts.method, Version::HTTP_2, secure);
    head
}

/// The one length that a head says its body has. Several, or none that is a number, are none: h2 holds the
/// peer to the first, and `head::check` refuses the rest.
pub(super) fn length_of(fields: &HeaderMap) -> Option<u64> {
    let mut lengths = fields.get_all(http::header::CONTENT_LENGTH).iter();
    let length = lengths.next()?.to_str().ok()?;
    let plain = lengths.next().is_none() && length.bytes().all(|byte| byte.is_ascii_digit());
    length.parse().ok().filter(|_| plain)
}

/// The head of an answer for h2, without what is HTTP/1's own (RFC 9113 §8.2.2).
pub(super) fn response_of(status: StatusCode, fields: &Fields) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = status;
    *response.version_mut() = Version::HTTP_2;
    let headers = response.headers_mut();
    headers.reserve(fields.len());
    for field in fields.iter() {
        if !is_hop_by_hop(field.known) {
            append(headers, field.known, field.name, field.value);
        }
    }
    response
}

/// A request as an instance gets it.
pub(super) fn request_of(asked: &Asked, attempt: &Attempt, limits: &Limits) -> Result<Request<()>, Failure> {
    let mut request = Request::new(());
    let mut authority = None;
    let headers = request.headers_mut();
    headers.reserve(asked.head.fields.len() + 10);
    forward::to_upstream(asked, attempt, limits, |name, value| match Known::of(name) {
        Known::Host => authority = Authority::try_from(value).ok(),
        Known::Te => append(headers, Known::Te, name, b"trailers"), // all that it may say
        known if is_hop_by_hop(known) => {}
        known => append(headers, known, name, value),
    })?;
    let unfit = |error| Failure::new(Kind::BadRequest, "the target cannot be passed on").inside(error);
    let mut parts = Parts::default();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = authority;
    parts.path_and_query = Some(PathAndQuery::try_from(asked.head.target()).map_err(unfit)?);
    let uri = Uri::from_parts(parts);
    *request.uri_mut() = uri.map_err(|_| Failure::new(Kind::BadRequest, "the host cannot be passed on"))?;
    *request.method_mut() = asked.head.method.clone();
    *request.version_mut() = Version::HTTP_2;
    Ok(request)
}

fn append(headers: &mut HeaderMap, known: Known, name: &[u8], value: &[u8]) {
    let name = match name_of(known) {
        Some(name) => name,
        None => match HeaderName::from_bytes(name) {
            Ok(name) => name,
            Err(_) => return,
        },
    };
    let Ok(mut value) = HeaderValue::from_bytes(value) else { return };
    // What is another value every time would only drive out of the peer's table what is not (RFC 7541 §7.1.3
    // is about secrets, but says it in the same way).
    let fresh = matches!(
        known,
        Known::Traceparent
            | Known::RequestId
            | Known::RequestTimeout
            | Known::GrpcTimeout
            | Known::ServerTiming
    );
    value.set_sensitive(fresh);
    // Beyond 24,576 names it says no, and no head that was taken has as many.
    let _ = headers.try_append(name, value);
}

/// Names that are in most heads, none of which has to be made.
fn name_of(known: Known) -> Option<HeaderName> {
    Some(match known {
        Known::ContentLength => http::header::CONTENT_LENGTH,
        Known::ContentType => http::header::CONTENT_TYPE,
        Known::Te => http::header::TE,
        Known::Via => http::header::VIA,
        Known::Traceparent => const { HeaderName::from_static("traceparent") },
        Known::RequestId => const { HeaderName::from_static("x-request-id") },
        Known::RequestTimeout => const { HeaderName::from_static("x-request-timeout-ms") },
        Known::GrpcTimeout => const { HeaderName::from_static("grpc-timeout") },
        Known::ForwardedFor => const { HeaderName::from_static("x-forwarded-for") },
        Known::ForwardedHost => const { HeaderName::from_static("x-forwarded-host") },
        Known::ForwardedProto => const { HeaderName::from_static("x-forwarded-proto") },
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_plain_number_is_a_length() {
        for (values, length) in [
            (&["5"][..], Some(5)),
            (&[], None),
            (&["5", "5"], None),
            (&["+5"], None),
            (&["5, 5"], None),
            (&[""], None),
            (&["18446744073709551616"], None),
        ] {
            let mut map = HeaderMap::new();
            for value in values {
                map.append("content-length", HeaderValue::from_static(value));
            }
            assert_eq!(length_of(&map), length, "{values:?}");
        }
    }

    #[test]
    fn an_answer_leaves_behind_what_belongs_to_a_connection_of_http_1() {
        let mut fields = Fields::new();
        for (name, value) in
            [("Connection", "x"), ("Keep-Alive", "y"), ("Transfer-Encoding", "chunked"), ("ETag", "z")]
        {
            fields.push(name.as_bytes(), value.as_bytes());
        }
        let response = response_of(StatusCode::OK, &fields);
        assert_eq!(response.headers().len(), 1);
        assert_eq!(response.headers()["etag"], "z");
    }
}
