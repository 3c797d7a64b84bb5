//! Where services send what they have to tell: OTLP over gRPC and over HTTP, Sentry's envelopes. Every listener speaks
//! HTTP/1.1 and HTTP/2 by prior knowledge, so that a client with the wrong one of the two ports is served all the same.
//!
//! What is sent is read whole within limits, decoded, and offered; an answer says what was not taken. Nothing here
//! waits for the store of telemetry: where there is too much, clients are told to come again.

use std::io::Read;
use std::sync::Arc;

use axum::body::Bytes;
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use futures_util::stream;
use http_body::Frame;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited, StreamBody};
use hyper::body::Incoming;
use telemetry::otlp::{self, Encoding, Signal};

use super::export::MARKER;
use super::serving::{Answers, Body, PATIENCE, Room};

/// Bytes of one request at most, as sent and as unpacked.
const MAX_BODY: usize = 16 << 20;
const MAX_UNPACKED: u64 = 64 << 20;
/// Connections at once, over all listeners; one more is closed at once.
const MAX_CONNECTIONS: usize = 1024;
/// Requests that are read and decoded at once; what is over it is told to come again.
const AT_ONCE: usize = 8;
/// After so many seconds a client that was sent away may come again.
const COME_AGAIN_S: u64 = 1;

/// What a node says to itself.
const ROUND: &str =
    "this comes from here: `telemetry.export` leads back, by whatever name, and it would go round and round";

/// What became of what was sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Taken {
    /// Records that were not taken.
    pub(super) rejected: u64,
    /// Why.
    pub(super) why: String,
}

/// Why nothing of it was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NotTaken {
    /// It cannot be read, and never will be.
    Malformed(String),
    /// There is no room for it now.
    Full,
}

/// Takes what was sent.
pub(super) trait Taker: Send + Sync + 'static {
    fn otlp(&self, signal: Signal, encoding: Encoding, body: &[u8]) -> Result<Taken, NotTaken>;

    /// An envelope, or with `store` a lone event, for a project. Answers with the event's id, if it has one.
    fn sentry(&self, project: &str, store: bool, body: &[u8]) -> Result<Option<String>, NotTaken>;
}

/// What a request is, by its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked<'p> {
    Http(Signal),
    Grpc(Signal),
    Sentry { project: &'p str, store: bool },
}

impl<'p> Asked<'p> {
    fn of(path: &'p str) -> Option<Self> {
        Some(match path {
            "/v1/traces" => Self::Http(Signal::Traces),
            "/v1/logs" => Self::Http(Signal::Logs),
            "/v1/metrics" => Self::Http(Signal::Metrics),
            "/opentelemetry.proto.collector.trace.v1.TraceService/Export" => Self::Grpc(Signal::Traces),
            "/opentelemetry.proto.collector.logs.v1.LogsService/Export" => Self::Grpc(Signal::Logs),
            "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export" => Self::Grpc(Signal::Metrics),
            _ => {
                let (project, what) = path.strip_prefix("/api/")?.split_once('/')?;
                let store = match what.trim_end_matches('/') {
                    "envelope" => false,
                    "store" => true,
                    _ => return None,
                };
                Self::Sentry { project, store }
            }
        })
    }
}

/// How much is under way, over all listeners.
pub(super) fn room() -> Room {
    Room::new(MAX_CONNECTIONS, AT_ONCE)
}

/// Answers what services send; `room` is shared by all listeners.
pub(super) fn answers(taker: Arc<dyn Taker>, own: Arc<str>, room: Room) -> Answers {
    Arc::new(move |request| {
        let (taker, own, room) = (Arc::clone(&taker), Arc::clone(&own), room.clone());
        Box::pin(async move { answer(request, &*taker, &own, &room).await })
    })
}

/// `own` is what our own requests carry (`telemetry.export`): what they bring came from here.
async fn answer(request: Request<Incoming>, taker: &dyn Taker, own: &str, room: &Room) -> Response<Body> {
    let (head, body) = request.into_parts();
    let Some(asked) = Asked::of(head.uri.path()) else {
        return plain(
            StatusCode::NOT_FOUND,
            "there are /v1/traces, /v1/logs, /v1/metrics here, and their gRPC services\n",
        );
    };
    if head.method != Method::POST {
        return plain(StatusCode::METHOD_NOT_ALLOWED, "send it with POST\n");
    }
    let encoding = match (asked, content_type(&head.headers)) {
        (Asked::Http(_), "application/json") => Encoding::Json,
        (Asked::Http(_), "application/x-protobuf" | "")
        | (Asked::Grpc(_), "application/grpc" | "application/grpc+proto") => Encoding::Protobuf,
        (Asked::Sentry { .. }, _) => Encoding::Json,
        _ => {
            return plain(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "send application/x-protobuf or application/json\n",
            );
        }
    };
    if header(&head.headers, MARKER) == own {
        return not_taken(asked, encoding, &NotTaken::Malformed(ROUND.into()));
    }
    let Ok(_place) = room.requests.try_acquire() else {
        return not_taken(asked, encoding, &NotTaken::Full);
    };
    let read = tokio::time::timeout(PATIENCE, Limited::new(body, MAX_BODY).collect());
    let sent = match read.await {
        Ok(Ok(sent)) => sent.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            return plain(StatusCode::PAYLOAD_TOO_LARGE, "16 MiB at most\n");
        }
        Ok(Err(_)) => return plain(StatusCode::BAD_REQUEST, "the body broke off\n"),
        Err(_) => return plain(StatusCode::REQUEST_TIMEOUT, "the body took too long\n"),
    };
    let unpacked = match asked {
        Asked::Grpc(_) => grpc_message(&sent, header(&head.headers, "grpc-encoding")),
        Asked::Http(_) | Asked::Sentry { .. } => {
            unpack(sent, header(&head.headers, CONTENT_ENCODING.as_str()))
        }
    };
    let taken = match (unpacked, asked) {
        (Err(error), _) => Err(error),
        (Ok(body), Asked::Http(signal) | Asked::Grpc(signal)) => {
            taker.otlp(signal, encoding, &body).map(|taken| match asked {
                Asked::Grpc(_) => grpc_answer(&otlp::answer(encoding, signal, taken.rejected, &taken.why)),
                _ => otlp_answer(otlp::answer(encoding, signal, taken.rejected, &taken.why).into(), encoding),
            })
        }
        (Ok(body), Asked::Sentry { project, store }) => taker.sentry(project, store, &body).map(|id| {
            let id = serde_json::json!({ "id": id });
            otlp_answer(id.to_string().into(), Encoding::Json)
        }),
    };
    taken.unwrap_or_else(|error| not_taken(asked, encoding, &error))
}

fn header<'h>(headers: &'h HeaderMap, name: &str) -> &'h str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// The media type without its parameters.
fn content_type(headers: &HeaderMap) -> &str {
    header(headers, CONTENT_TYPE.as_str()).split(';').next().unwrap_or_default().trim()
}

/// A body as it was before it was packed.
fn unpack(body: Bytes, encoding: &str) -> Result<Bytes, NotTaken> {
    let mut unpacked = Vec::new();
    let limit = MAX_UNPACKED + 1;
    let read = match encoding {
        "" | "identity" => return Ok(body),
        "gzip" => flate2::read::MultiGzDecoder::new(&*body).take(limit).read_to_end(&mut unpacked),
        "deflate" => flate2::read::ZlibDecoder::new(&*body).take(limit).read_to_end(&mut unpacked),
        other => {
            let other: String = other.chars().take(32).collect();
            return Err(NotTaken::Malformed(format!(
                "content encoding {other:?} is not served: gzip and deflate are"
            )));
        }
    };
    match read {
        Ok(_) if unpacked.len() as u64 > MAX_UNPACKED => {
            Err(NotTaken::Malformed("unpacked it is larger than 64 MiB".into()))
        }
        Ok(_) => Ok(unpacked.into()),
        Err(error) => Err(NotTaken::Malformed(format!("it cannot be unpacked: {error}"))),
    }
}

/// The one message of a unary call: a flag, its length, itself (gRPC over HTTP/2, "Length-Prefixed-Message").
fn grpc_message(body: &Bytes, encoding: &str) -> Result<Bytes, NotTaken> {
    let malformed = || NotTaken::Malformed("the body is not one message of gRPC".into());
    let (head, _) = body.split_first_chunk::<5>().ok_or_else(malformed)?;
    let [packed, length @ ..] = *head;
    let message = body.slice(5..);
    if message.len() != u32::from_be_bytes(length) as usize {
        return Err(malformed());
    }
    match packed {
        0 => Ok(message),
        1 => unpack(message, encoding),
        _ => Err(malformed()),
    }
}

fn varint(mut number: u64, to: &mut Vec<u8>) {
    while number >= 0x80 {
        to.push(number as u8 | 0x80); // seven bits at a time
        number >>= 7;
    }
    to.push(number as u8);
}

fn full(status: StatusCode, kind: &'static str, body: Bytes) -> Response<Body> {
    let mut response = Response::new(Full::new(body).boxed());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

fn plain(status: StatusCode, text: &'static str) -> Response<Body> {
    full(status, "text/plain; charset=utf-8", Bytes::from_static(text.as_bytes()))
}

fn otlp_answer(body: Bytes, encoding: Encoding) -> Response<Body> {
    let kind = match encoding {
        Encoding::Protobuf => "application/x-protobuf",
        Encoding::Json => "application/json",
    };
    full(StatusCode::OK, kind, body)
}

fn grpc_answer(message: &[u8]) -> Response<Body> {
    let mut framed = Vec::with_capacity(5 + message.len());
    framed.push(0);
    framed.extend_from_slice(&(message.len() as u32).to_be_bytes()); // a count and a sentence
    framed.extend_from_slice(message);
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let frames = [Ok(Frame::data(Bytes::from(framed))), Ok(Frame::trailers(trailers))];
    let body = StreamBody::new(stream::iter(frames));
    let mut response = Response::new(BodyExt::boxed(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

/// What was not taken, as the client's protocol says it: what may come again, and what never may.
fn not_taken(asked: Asked<'_>, encoding: Encoding, error: &NotTaken) -> Response<Body> {
    const INVALID_ARGUMENT: u8 = 3;
    const UNAVAILABLE: u8 = 14;
    let (status, code, message) = match error {
        NotTaken::Malformed(why) => (StatusCode::BAD_REQUEST, INVALID_ARGUMENT, why.as_str()),
        NotTaken::Full => (StatusCode::SERVICE_UNAVAILABLE, UNAVAILABLE, "too much at once: come again"),
    };
    let mut response = match asked {
        Asked::Grpc(_) => {
            let mut response = Response::new(Full::new(Bytes::new()).boxed());
            let headers = response.headers_mut();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
            headers.insert("grpc-status", HeaderValue::from(u16::from(code)));
            headers.insert("grpc-message", percent_encoded(message));
            return response;
        }
        // `google.rpc.Status`, as OTLP/HTTP asks for.
        Asked::Http(_) if encoding == Encoding::Protobuf => {
            let mut body = vec![0x08, code, 0x12];
            varint(message.len() as u64, &mut body);
            body.extend_from_slice(message.as_bytes());
            full(status, "application/x-protobuf", body.into())
        }
        Asked::Http(_) | Asked::Sentry { .. } => {
            let body = serde_json::json!({ "code": code, "message": message, "detail": message });
            full(status, "application/json", body.to_string().into())
        }
    };
    if *error == NotTaken::Full {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(COME_AGAIN_S));
    }
    response
}

/// As gRPC wants a message in a header: what is not printable ASCII, and `%`, percent-encoded.
fn percent_encoded(text: &str) -> HeaderValue {
    let mut encoded = String::new();
    for byte in text.bytes().take(512) {
        match byte {
            b'%' | 0..=0x1f | 0x7f.. => encoded.push_str(&format!("%{byte:02X}")),
            _ => encoded.push(char::from(byte)),
        }
    }
    HeaderValue::try_from(encoded).unwrap_or_else(|_| HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::io::Write;
    use std::sync::Mutex;
    use std::time::Duration;

    use kit::{OnError, Tasks};
    use tokio::net::TcpListener;
    use tokio_util::sync::CancellationToken;

    use super::super::serving::serve;
    use super::*;

    #[test]
    fn a_message_of_grpc_is_whole_or_refused() {
        let frame = |flag: u8, length: u32, message: &[u8]| {
            let mut frame = vec![flag];
            frame.extend_from_slice(&length.to_be_bytes());
            frame.extend_from_slice(message);
            Bytes::from(frame)
        };
        assert_eq!(grpc_message(&frame(0, 2, b"ab"), ""), Ok(Bytes::from_static(b"ab")));
        for bad in [frame(0, 3, b"ab"), frame(0, 1, b"ab"), frame(2, 2, b"ab"), Bytes::from_static(b"\0\0")] {
            assert!(matches!(grpc_message(&bad, ""), Err(NotTaken::Malformed(_))), "{bad:?}");
        }
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packer.write_all(b"hello").unwrap();
        let packed = packer.finish().unwrap();
        let framed = frame(1, packed.len() as u32, &packed);
        assert_eq!(grpc_message(&framed, "gzip"), Ok(Bytes::from_static(b"hello")));
        assert!(grpc_message(&framed, "br").is_err());
    }

    #[test]
    fn what_unpacks_to_too_much_is_refused() {
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        let zeros = vec![0; 1 << 20];
        for _ in 0..65 {
            packer.write_all(&zeros).unwrap();
        }
        let packed = Bytes::from(packer.finish().unwrap());
        assert!(packed.len() < MAX_BODY);
        assert!(matches!(unpack(packed, "gzip"), Err(NotTaken::Malformed(_))));
    }

    #[test]
    fn paths_are_those_of_otlp_and_of_sentry() {
        assert_eq!(Asked::of("/v1/logs"), Some(Asked::Http(Signal::Logs)));
        assert_eq!(Asked::of("/api/42/envelope/"), Some(Asked::Sentry { project: "42", store: false }));
        assert_eq!(Asked::of("/api/42/store"), Some(Asked::Sentry { project: "42", store: true }));
        for other in ["/", "/v1/traces/", "/api/42", "/api/42/envelope/x", "/apix/42/store/"] {
            assert_eq!(Asked::of(other), None, "{other}");
        }
    }

    #[derive(Default)]
    struct Heard(Mutex<Vec<(Signal, Encoding, Vec<u8>)>>);

    impl Taker for Heard {
        fn otlp(&self, signal: Signal, encoding: Encoding, body: &[u8]) -> Result<Taken, NotTaken> {
            if body == b"full" {
                return Err(NotTaken::Full);
            }
            if body == b"bad" {
                return Err(NotTaken::Malformed("it is bad: 100 %".into()));
            }
            self.0.lock().unwrap().push((signal, encoding, body.to_vec()));
            Ok(Taken::default())
        }

        fn sentry(&self, project: &str, _: bool, _: &[u8]) -> Result<Option<String>, NotTaken> {
            Ok(Some(project.to_owned()))
        }
    }

    #[tokio::test]
    async fn a_client_is_told_what_may_come_again_and_what_never_may() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (heard, tasks) = (Arc::new(Heard::default()), Tasks::new());
        let (taker, stop): (Arc<dyn Taker>, _) = (heard.clone(), CancellationToken::new());
        let (served, stopped) = (tasks.clone(), stop.clone());
        tasks.spawn("serve", OnError::Log, move |_| async move {
            serve(listener, answers(taker, "me".into(), room()), room(), served, stopped).await;
            Ok::<_, Infallible>(())
        });
        let send = async |kind: &str, more: &str, body: &str| {
            let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
            let request = format!(
                "POST /v1/traces HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-type: {kind}\r\n{more}\
                 content-length: {}\r\n\r\n{body}",
                body.len()
            );
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await.unwrap();
            String::from_utf8_lossy(&answer).into_owned()
        };
        let ask = async |kind: &str, body: &str| send(kind, "", body).await;
        assert!(ask("application/json", "{}").await.starts_with("HTTP/1.1 200"));
        let own = send("application/json", &format!("{MARKER}: me\r\n"), "{}").await;
        assert!(own.starts_with("HTTP/1.1 400") && own.contains("round and round"), "{own}");
        assert!(ask("text/csv", "{}").await.starts_with("HTTP/1.1 415"));
        let full = ask("application/json", "full").await;
        assert!(full.starts_with("HTTP/1.1 503") && full.contains("retry-after: 1"), "{full}");
        let bad = ask("application/json; charset=utf-8", "bad").await;
        assert!(bad.starts_with("HTTP/1.1 400") && bad.contains("it is bad") && !bad.contains("retry-after"));
        let others = send("application/json", &format!("{MARKER}: other\r\n"), "[]").await;
        assert!(others.starts_with("HTTP/1.1 200"), "another node's is taken: {others}");
        let heard: Vec<Vec<u8>> = heard.0.lock().unwrap().iter().map(|(.., body)| body.clone()).collect();
        assert_eq!(heard, [b"{}".to_vec(), b"[]".to_vec()]);
        stop.cancel();
        tasks.shutdown(Duration::from_secs(5)).await.unwrap();
    }
}
