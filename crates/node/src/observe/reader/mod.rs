//! Where tools of others ask: what Prometheus ([`prometheus`]) and Jaeger ([`jaeger`]) answer, over what is kept. Nothing can be
//! changed here.
//!
//! Without a token only this machine gets in, and no page of a browser: neither a name that leads here by a trick of its owner
//! nor a page of somebody else's is answered. Questions are worked on a few at a time, each within limits and for as long as
//! somebody waits for the answer, on threads that may wait.

mod jaeger;
mod parameters;
mod prometheus;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::http::header::{ALLOW, AUTHORIZATION, CONTENT_TYPE, HOST, WWW_AUTHENTICATE};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, Request, Response, StatusCode};
use base64::Engine;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use kit::{Clock, SystemClock};
use sha2::{Digest, Sha256};
use telemetry::Query;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

use super::serving::{Answers, Body, PATIENCE, Room};
use parameters::Parameters;

/// Connections at once; one more is closed at once.
const MAX_CONNECTIONS: usize = 64;
/// Questions that are worked on at once; others wait, up to [`WAIT`].
const AT_ONCE: usize = 2;
const WAIT: Duration = Duration::from_secs(20);
/// Bytes of the body of a question.
const MAX_BODY: usize = 64 << 10;
/// Bytes of an answer.
const MAX_ANSWER: usize = 32 << 20;
/// KiB of answers that are in the making or on their way at once: whoever does not read his holds up others until his connection is
/// given up, and no memory beyond this. Each question has room for the largest answer before it is worked on.
const ROOM_KIB: u32 = 4 * ANSWER_KIB;
const ANSWER_KIB: u32 = (MAX_ANSWER >> 10) as u32 + 1;

/// Answers questions.
pub(super) struct Reader {
    pub(super) query: Query,
    pub(super) clock: SystemClock,
    /// What who asks must know.
    pub(super) token: Option<String>,
}

pub(super) fn room() -> Room {
    Room::new(MAX_CONNECTIONS, AT_ONCE)
}

pub(super) fn answers(reader: Reader, room: Room) -> Answers {
    let (reader, bytes) = (Arc::new(reader), Arc::new(Semaphore::new(ROOM_KIB as usize)));
    Arc::new(move |request| {
        let (reader, room, bytes) = (Arc::clone(&reader), room.clone(), Arc::clone(&bytes));
        Box::pin(async move { answer(request, reader, &room, bytes).await })
    })
}

/// Whether whoever asked still waits.
#[derive(Clone, Default)]
struct Waits(Arc<AtomicBool>);

impl Waits {
    /// Says that he does not once it is dropped.
    fn end_with(&self) -> impl Drop + use<> {
        struct End(Waits);
        impl Drop for End {
            fn drop(&mut self) {
                self.0.0.store(true, Ordering::Relaxed);
            }
        }
        End(self.clone())
    }

    fn has_ended(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Whether work may go on: somebody waits, and it is not later than so long from now.
    fn within(&self, time: Duration) -> impl Fn() -> bool + Clone + Send + Sync + use<> {
        let (waits, end) = (self.clone(), Instant::now() + time);
        move || !waits.has_ended() && Instant::now() < end
    }
}

/// An answer that holds the room that it takes until it has been sent.
struct Sent {
    bytes: Bytes,
    _room: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Sent {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// What is answered: a status and JSON.
struct Answer(StatusCode, Bytes);

/// Who is asked, by path.
enum Asked {
    Prometheus(prometheus::Asked),
    Jaeger(jaeger::Asked),
    /// Whether it lives.
    Health,
}

impl Asked {
    fn of(path: &str) -> Option<Self> {
        if matches!(path, "/" | "/-/healthy" | "/-/ready") {
            return Some(Self::Health);
        }
        match path.strip_prefix("/api/v1/") {
            Some(path) => prometheus::Asked::of(path).map(Self::Prometheus),
            None => jaeger::Asked::of(path.strip_prefix("/api/")?).map(Self::Jaeger),
        }
    }
}

async fn answer(
    request: Request<Incoming>,
    reader: Arc<Reader>,
    room: &Room,
    bytes: Arc<Semaphore>,
) -> Response<Body> {
    let (head, body) = request.into_parts();
    if let Some(refused) = reader.refusal(&head) {
        return refused;
    }
    let Some(asked) = Asked::of(head.uri.path()) else {
        return text(
            StatusCode::NOT_FOUND,
            "this path is none of those that are served: docs/telemetry.md names them\n",
        );
    };
    if let Asked::Health = asked {
        return full(StatusCode::OK, "application/json", Bytes::from_static(b"{\"status\":\"ok\"}"));
    }
    let posts = head.method == Method::POST;
    if !posts && head.method != Method::GET && head.method != Method::HEAD {
        let mut refused = text(StatusCode::METHOD_NOT_ALLOWED, "ask with GET, or a form with POST\n");
        refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, POST"));
        return refused;
    }
    let form = if posts {
        match tokio::time::timeout(PATIENCE, Limited::new(body, MAX_BODY).collect()).await {
            Ok(Ok(form)) => form.to_bytes(),
            Ok(Err(_)) => return text(StatusCode::PAYLOAD_TOO_LARGE, "64 KiB at most, and whole\n"),
            Err(_) => return text(StatusCode::REQUEST_TIMEOUT, "the body took too long\n"),
        }
    } else {
        Bytes::new()
    };
    let parameters = Parameters::read(head.uri.query().unwrap_or_default().as_bytes(), &form);
    // Room before a place: whoever waits for answers that nobody reads keeps no other question from being worked on.
    let places = async {
        let bytes = bytes.acquire_many_owned(ANSWER_KIB).await?;
        Ok::<_, AcquireError>((bytes, Arc::clone(&room.requests).acquire_owned().await?))
    };
    let Ok(Ok((mut bytes, place))) = tokio::time::timeout(WAIT, places).await else {
        return text(StatusCode::SERVICE_UNAVAILABLE, "too many questions at once\n");
    };
    let waits = Waits::default();
    let _asker = waits.end_with();
    let worked = tokio::task::spawn_blocking(move || {
        let now_ms = reader.now_ms();
        let answer = match asked {
            Asked::Health => Answer(StatusCode::OK, Bytes::new()), // answered already
            Asked::Jaeger(asked) => jaeger::answer(&asked, &parameters, &reader.query, now_ms, &waits),
            Asked::Prometheus(asked) => {
                prometheus::answer(&asked, &parameters, &reader.query, now_ms, &waits)
            }
        };
        drop(place); // held for as long as it is worked on, also where nobody waits any more
        answer
    });
    let Ok(Answer(status, body)) = worked.await else {
        return text(StatusCode::INTERNAL_SERVER_ERROR, "the question could not be worked on\n");
    };
    if body.len() > MAX_ANSWER {
        let why =
            "the answer would be longer than 32 MiB: ask for less time, fewer series or a larger step\n";
        return text(StatusCode::UNPROCESSABLE_ENTITY, why);
    }
    // What the answer does not need, others may have.
    let sent = bytes.split(body.len() / 1024 + 1);
    drop(bytes);
    match sent {
        Some(sent) => full(status, "application/json", Bytes::from_owner(Sent { bytes: body, _room: sent })),
        None => text(StatusCode::INTERNAL_SERVER_ERROR, "the answer is longer than it may be\n"),
    }
}

impl Reader {
    fn now_ms(&self) -> i64 {
        i64::try_from(self.clock.now().as_micros() / 1000).unwrap_or(i64::MAX)
    }

    /// Why somebody does not get in.
    fn refusal(&self, head: &Parts) -> Option<Response<Body>> {
        // With a token, too: a browser sends one that it knows along for any page.
        if is_of_another_page(head) {
            return Some(text(StatusCode::FORBIDDEN, "pages of browsers are not answered\n"));
        }
        if let Some(token) = &self.token {
            let shown = head.headers.get(AUTHORIZATION).and_then(|value| secret(value.to_str().ok()?));
            if shown.is_some_and(|shown| same(shown.as_bytes(), token.as_bytes())) {
                return None;
            }
            let mut refused = text(StatusCode::UNAUTHORIZED, "show the token of `telemetry.query`\n");
            let asks = HeaderValue::from_static("Basic realm=\"telemetry\"");
            refused.headers_mut().insert(WWW_AUTHENTICATE, asks);
            return Some(refused);
        }
        let host = head.uri.host().or_else(|| head.headers.get(HOST)?.to_str().ok());
        if host.is_some_and(is_of_this_machine) {
            return None;
        }
        Some(text(StatusCode::FORBIDDEN, "ask by address or as `localhost`: other names need a token\n"))
    }
}

/// The token of a bearer, or the password of any user.
fn secret(header: &str) -> Option<String> {
    let (scheme, rest) = header.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.trim().to_owned());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = base64::engine::general_purpose::STANDARD.decode(rest.trim()).ok()?;
    Some(String::from_utf8(decoded).ok()?.split_once(':')?.1.to_owned())
}

/// Compared by their digests, so that how long it takes tells nothing.
fn same(shown: &[u8], token: &[u8]) -> bool {
    Sha256::digest(shown) == Sha256::digest(token)
}

/// Whether a browser says that it asks for a page of somebody else's. The page could not read the answer, but it could have
/// us work.
fn is_of_another_page(head: &Parts) -> bool {
    let said = |name: &str| head.headers.get(name).map(HeaderValue::as_bytes);
    let from_elsewhere = said("sec-fetch-site").is_some_and(|site| site != b"none" && site != b"same-origin");
    from_elsewhere || said("origin").is_some()
}

/// An address, or `localhost`: nobody else can make such a name lead here.
fn is_of_this_machine(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((name, "")) => name,
            Some((name, port)) if port.starts_with(':') => name,
            _ => return false,
        },
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<std::net::IpAddr>().is_ok()
}

fn full(status: StatusCode, kind: &'static str, body: Bytes) -> Response<Body> {
    let mut response = Response::new(Full::new(body).boxed());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

fn text(status: StatusCode, text: &'static str) -> Response<Body> {
    full(status, "text/plain; charset=utf-8", Bytes::from_static(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_nobody_can_point_here_are_of_this_machine() {
        for own in ["localhost", "LOCALHOST:9464", "127.0.0.1:9464", "[::1]:9464", "127.0.0.1", "10.0.0.7:1"]
        {
            assert!(is_of_this_machine(own), "{own}");
        }
        for other in [
            "",
            "[::1].evil.example",
            "[::1",
            "evil.example",
            "evil.example:9464",
            "localhost.evil.example",
            "127.0.0.1.evil.example:1",
        ] {
            assert!(!is_of_this_machine(other), "{other}");
        }
    }

    #[test]
    fn a_page_of_somebody_else_is_told_by_what_browsers_say() {
        let said = |headers: &[(&str, &str)]| {
            let mut request = Request::builder();
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            is_of_another_page(&request.body(()).unwrap().into_parts().0)
        };
        assert!(!said(&[]) && !said(&[("sec-fetch-site", "none")]));
        assert!(said(&[("sec-fetch-site", "cross-site")]) && said(&[("origin", "https://evil.example")]));
    }

    #[test]
    fn work_ends_with_whoever_waits_for_it() {
        let waits = Waits::default();
        let asker = waits.end_with();
        let may_go_on = waits.within(Duration::from_secs(60));
        assert!(may_go_on());
        drop(asker);
        assert!(!may_go_on());
        assert!(!Waits::default().within(Duration::ZERO)());
    }

    #[test]
    fn a_token_is_a_bearers_or_the_password_of_anybody() {
        assert_eq!(secret("Bearer abc").as_deref(), Some("abc"));
        let basic = base64::engine::general_purpose::STANDARD.encode("grafana:a:c");
        assert_eq!(secret(&format!("Basic {basic}")).as_deref(), Some("a:c"));
        for bad in ["", "Bearer", "Digest abc", "Basic !", "Basic YWJj"] {
            assert_eq!(secret(bad), None, "{bad}");
        }
        assert!(same(b"abc", b"abc") && !same(b"abc", b"abd"));
    }
}
