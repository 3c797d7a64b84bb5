//! Heads between the `http` crate's types, which h2 speaks, and ours.

use std::cell::RefCell;

use http::uri::{Authority, Parts, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri, Version};

use super::recent;
use crate::engine::buffers;
use crate::exchange::Asked;
use crate::failure::{Failure, Kind};
use crate::fields::{Fields, Known};
use crate::head::Head;
use crate::head::forward::{self, Attempt, is_hop_by_hop};
use crate::limits::Limits;

/// Fields that a request has beside those that its client has sent, at most but for a few rare ones.
const OWN_FIELDS: usize = 8;
/// Kept for the next head, per thread: memory for fields.
const KEPT: usize = 64;
/// More fields than these make their memory too large to be kept.
const KEPT_FIELDS: usize = 32;

thread_local! {
    static MAPS: RefCell<Vec<HeaderMap>> = const { RefCell::new(Vec::new()) };
    static AUTHORITY: RefCell<Option<Authority>> = const { RefCell::new(None) };
}

/// No fields, with memory for some.
fn map(fields: usize) -> HeaderMap {
    let kept = MAPS.with_borrow_mut(|maps| maps.pop_if(|map| map.capacity() >= fields));
    kept.unwrap_or_else(|| HeaderMap::with_capacity(fields))
}

/// Gives it back.
pub(super) fn give_map(mut map: HeaderMap) {
    if map.capacity() == 0 || map.capacity() > KEPT_FIELDS {
        return;
    }
    map.clear();
    MAPS.with_borrow_mut(|maps| {
        if maps.len() < KEPT {
            maps.push(map);
        }
    });
}

/// The head of a request as it came.
pub(super) fn head_of(parts: http::request::Parts, secure: bool) -> Box<Head> {
    let mut head = buffers::request();
    head.set_target(parts.uri.path_and_query().map_or("", PathAndQuery::as_str));
    head.authority.push_str(parts.uri.authority().map_or("", Authority::as_str));
    for (name, value) in &parts.headers {
        head.fields.append(name, value);
    }
    give_map(parts.headers);
    (head.method, head.version, head.secure) = (parts.method, Version::HTTP_2, secure);
    head
}

/// The fields of an answer as they came.
pub(super) fn fields_of(map: HeaderMap) -> Fields {
    let mut fields = buffers::fields();
    for (name, value) in &map {
        fields.append(name, value);
    }
    give_map(map);
    fields
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
    *headers = map(fields.len());
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
    *headers = map(asked.head.fields.len() + OWN_FIELDS);
    forward::to_upstream(asked, attempt, limits, |name, value| match Known::of(name) {
        Known::Host => authority = authority_of(value),
        Known::Te => append(headers, Known::Te, name, b"trailers"), // all that it may say
        known if is_hop_by_hop(known) => {}
        known => append(headers, known, name, value),
    })?;
    let unfit = |error| Failure::new(Kind::BadRequest, "the target cannot be passed on").inside(error);
    let mut parts = Parts::default();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = authority;
    let target = recent::block(asked.head.target().as_bytes());
    parts.path_and_query = Some(PathAndQuery::from_maybe_shared(target).map_err(unfit)?);
    let uri = Uri::from_parts(parts);
    *request.uri_mut() = uri.map_err(|_| Failure::new(Kind::BadRequest, "the host cannot be passed on"))?;
    *request.method_mut() = asked.head.method.clone();
    *request.version_mut() = Version::HTTP_2;
    Ok(request)
}

/// Most requests of a thread are for the host that the last one was for.
fn authority_of(text: &[u8]) -> Option<Authority> {
    AUTHORITY.with_borrow_mut(|last| {
        if last.as_ref().is_none_or(|last| last.as_str().as_bytes() != text) {
            *last = Authority::try_from(text).ok();
        }
        last.clone()
    })
}

fn append(headers: &mut HeaderMap, known: Known, name: &[u8], value: &[u8]) {
    let made = match recent::name_of(known).filter(|_| is_fresh(known)) {
        Some(name) => recent::fresh(value).map(|value| (name, value)),
        None => recent::field(known, name, value),
    };
    if let Some((name, value)) = made {
        // Beyond 24,576 names it says no, and no head that was taken has as many.
        let _ = headers.try_append(name, value);
    }
}

/// Whether a field has another value every time.
fn is_fresh(known: Known) -> bool {
    matches!(
        known,
        Known::Traceparent
            | Known::RequestId
            | Known::RequestTimeout
            | Known::GrpcTimeout
            | Known::ServerTiming
    )
}

/// Lets the peer remember the names of fields whose values it is told not to, by sending them once as if they were
/// worth it: from then on a number stands for each. For the first head on a connection.
pub(super) fn introduce(headers: &mut HeaderMap) {
    for value in headers.values_mut().filter(|value| value.is_sensitive()) {
        // Of its own: h2 keeps it for as long as its peer does.
        *value = HeaderValue::from_bytes(value.as_bytes()).unwrap_or_else(|_| value.clone());
    }
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
