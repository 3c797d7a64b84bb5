//! The server under the faces: HTTP/1.1, and HTTP/2 without TLS for who begins with it.
//!
//! ```text
//! serve      accept, within the limit of connections
//! answer     read the body, find the face, let the caller in, serve, tell the witness
//! ```

mod body;
mod counts;
mod limits;

use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HOST};
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use kit::trace::{Context, Trace};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::face::{Arrived, Face, Hints, Refusal, Reply, Told};
use crate::gate::{Gatekeeper, Lent, RequestView};
use crate::request_id::{RequestId, RequestIds};
use crate::trace;
use crate::witness::{Exchange, Witness};

pub use counts::Counts;
pub use limits::Limits;

use counts::Counters;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");
const QUERY_ERROR: HeaderName = HeaderName::from_static("x-amzn-query-error");

/// How long to wait after a connection could not be accepted for want of descriptors: somebody has to close one.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// What a server is made of.
pub struct Options {
    /// The faces; the first that takes a request serves it. Never empty.
    pub faces: Vec<Arc<dyn Face>>,
    /// Who comes in.
    pub gate: Arc<dyn Gatekeeper>,
    /// Who is told.
    pub witness: Arc<dyn Witness>,
    /// How much at a time.
    pub limits: Limits,
}

/// Serves faces on listeners. Cheap to clone; all clones share limits and counts.
#[derive(Clone)]
pub struct Server {
    inner: Arc<Inner>,
}

struct Inner {
    options: Options,
    counters: Counters,
    ids: RequestIds,
}

impl Server {
    /// A server without listeners.
    pub fn new(options: Options) -> Self {
        Self { inner: Arc::new(Inner { options, counters: Counters::default(), ids: RequestIds::new() }) }
    }

    /// How much is under way.
    pub fn counts(&self) -> Counts {
        self.inner.counters.read()
    }

    /// Serves a listener on the current runtime until `stop`, then lets requests under way end, within the limit of
    /// `drain`. For several threads, call it on the runtime of each with a listener of its own (a clone, or another
    /// one on the same port).
    pub async fn serve(&self, listener: std::net::TcpListener, stop: CancellationToken) -> io::Result<()> {
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => self.begin(stream, &stop, &mut connections),
                    Err(error) if is_of_the_connection(&error) => {}
                    Err(error) => {
                        tracing::warn!("cannot accept a connection: {error}");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
                Some(ended) = connections.join_next() => report(ended),
                () = stop.cancelled() => break,
            }
        }
        drop(listener);
        let drained = async {
            while let Some(ended) = connections.join_next().await {
                report(ended);
            }
        };
        if tokio::time::timeout(self.inner.options.limits.drain, drained).await.is_err() {
            tracing::warn!("{} connections are cut: their requests did not end in time", connections.len());
            connections.shutdown().await;
        }
        Ok(())
    }

    fn begin(&self, stream: TcpStream, stop: &CancellationToken, connections: &mut JoinSet<()>) {
        let inner = Arc::clone(&self.inner);
        if inner.counters.connection(inner.options.limits.connections).is_none() {
            inner.counters.connections_refused.fetch_add(1, Ordering::Relaxed);
            refuse(&stream);
            return;
        }
        let stop = stop.clone();
        connections.spawn(async move {
            let limits = &inner.options.limits;
            // Taken anew here, where it lives as long as the connection does.
            let Some(_held) = inner.counters.connection(limits.connections) else { return };
            if let Err(error) = set_up(&stream, limits) {
                tracing::debug!("cannot set up a connection: {error}");
                return;
            }
            connection(Arc::clone(&inner), stream, stop).await;
        });
    }
}

/// What the requests of one connection share.
struct Connection {
    inner: Arc<Inner>,
    /// Our own address: what a client that names no host is told in URLs.
    local: String,
    /// The client is on this machine.
    near: bool,
    stop: CancellationToken,
}

async fn connection(inner: Arc<Inner>, stream: TcpStream, stop: CancellationToken) {
    let limits = inner.options.limits.clone();
    let own = stream.local_addr();
    let near = matches!((stream.peer_addr(), &own), (Ok(peer), Ok(own)) if is_near(peer.ip(), own.ip()));
    let local = own.map(|address| address.to_string()).unwrap_or_default();
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_wait)
        .max_buf_size(limits.head_bytes);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(limits.head_bytes).unwrap_or(u32::MAX))
        .max_concurrent_streams(limits.streams)
        .keep_alive_interval(limits.head_wait / 2)
        .keep_alive_timeout(limits.head_wait / 2);
    let shared = Arc::new(Connection { inner, local, near, stop: stop.clone() });
    let service = service_fn(|request| {
        let shared = Arc::clone(&shared);
        async move { Ok::<_, Infallible>(shared.inner.answer(request, &shared).await) }
    });
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!("a connection ended early: {error}");
    }
}

impl Inner {
    async fn answer(&self, request: Request<Incoming>, connection: &Connection) -> Response<Full<Bytes>> {
        let began = Instant::now();
        let id = self.ids.next();
        self.counters.requests.fetch_add(1, Ordering::Relaxed);
        let limits = &self.options.limits;
        let (mut parts, mut body) = request.into_parts();
        if !parts.headers.contains_key(HOST)
            && let Some(host) = parts.uri.authority().and_then(|authority| authority.as_str().parse().ok())
        {
            parts.headers.insert(HOST, host);
        }

        let size = body.size_hint().upper().and_then(|size| usize::try_from(size).ok());
        let room = size.unwrap_or(limits.body_bytes);
        let in_flight = self.counters.request(limits.in_flight);
        let held = self.counters.bytes(room.min(limits.body_bytes), limits.held_bytes);
        let read = if room > limits.body_bytes {
            Err(Refusal::TooLarge(limits.body_bytes))
        } else if in_flight.is_none() || held.is_none() {
            Err(Refusal::Busy)
        } else {
            body::read(&mut body, limits).await
        };
        let mut left_unread = false;
        if let Err(refusal) = &read {
            let counter = match refusal {
                Refusal::TooLarge(_) => &self.counters.too_large,
                Refusal::Busy => &self.counters.busy,
                _ => &self.counters.incomplete,
            };
            counter.fetch_add(1, Ordering::Relaxed);
            let may_end = matches!(refusal, Refusal::TooLarge(_) | Refusal::Busy);
            left_unread = !(may_end && body::discard(&mut body, limits).await);
        }
        let body = read;

        let no_body = Bytes::new();
        let view = RequestView {
            method: parts.method.as_str(),
            path: parts.uri.path(),
            query: parts.uri.query().unwrap_or_default(),
            headers: &parts.headers,
            body: body.as_ref().unwrap_or(&no_body),
        };
        let came = trace::came(&parts.headers);
        if let Some(lent) = body.is_ok().then(|| self.options.gate.lend(&view, connection.near)).flatten() {
            if matches!(lent, Lent::Refused(_)) {
                self.counters.denied.fetch_add(1, Ordering::Relaxed);
            }
            let (caller, reply) = lending(lent);
            self.tell(LENDING, &caller, &reply, came.as_ref(), began);
            let mut response = response(reply, &id);
            response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            return response;
        }
        let hints = Hints::of(&view);
        let opened = || self.options.faces.iter().find_map(|face| Some((&**face, face.open(&view)?)));
        if let Some((face, reply)) = body.is_ok().then(opened).flatten() {
            self.tell(face.name(), "", &reply, came.as_ref(), began);
            return response(reply, &id);
        }
        let (face, taken) = self.face(&hints);
        let mut caller = None;
        let outcome = body.as_ref().map_err(Clone::clone).and_then(|_| {
            let admitted = self.options.gate.admit(&view).map_err(|denied| {
                self.counters.denied.fetch_add(1, Ordering::Relaxed);
                Refusal::Denied(denied)
            })?;
            caller = Some(Arc::clone(&admitted.name));
            if taken { Ok(admitted) } else { Err(Refusal::Unknown) }
        });
        let reply = match outcome {
            Ok(caller) => {
                let host = parts.headers.get(HOST).and_then(|host| host.to_str().ok());
                let host = host.unwrap_or(&connection.local);
                let gate = &*self.options.gate;
                let stop = &connection.stop;
                let arrived = Arrived { view, hints, host, caller, gate, id: &id, came, stop };
                face.serve(arrived).await
            }
            Err(refusal) => face.refuse(&hints, &refusal, &id),
        };
        self.tell(face.name(), caller.as_deref().unwrap_or_default(), &reply, came.as_ref(), began);
        let mut response = response(reply, &id);
        if left_unread && parts.version < http::Version::HTTP_2 {
            // What is left of the body would have to be read before the next request: not from somebody like this.
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    /// Tells the witness of an answer.
    fn tell(&self, face: &str, caller: &str, reply: &Reply, came: Option<&Context>, began: Instant) {
        let Told { action, resource, error, messages, message, span, links, since } = &reply.told;
        self.options.witness.saw(&Exchange {
            face,
            action,
            resource,
            caller,
            status: reply.status.as_u16(),
            error: *error,
            messages: *messages,
            message: message.as_deref(),
            trace: span.unwrap_or_else(|| Trace::after(came)),
            links,
            began,
            took: began.elapsed(),
            since: *since,
        });
    }

    /// The face of a request, and whether it takes it; else the one to say so: that which the request was signed for.
    fn face(&self, hints: &Hints<'_>) -> (&dyn Face, bool) {
        let faces = &self.options.faces;
        if let Some(face) = faces.iter().find(|face| face.takes(hints)) {
            return (&**face, true);
        }
        let named = faces.iter().find(|face| Some(face.name()) == hints.scope);
        (&**named.unwrap_or(&faces[0]), false)
    }
}

/// What a request for credentials is called where requests are told of, in place of a face and of its action.
pub const LENDING: &str = "credentials";

/// Who gets credentials, and the answer: in the words of the address that SDKs ask in containers.
fn lending(lent: Lent) -> (Arc<str>, Reply) {
    let (to, status, document, error) = match lent {
        Lent::Document { to, document } => (to, StatusCode::OK, document, None),
        Lent::Refused(why) => {
            let message = serde_json::json!({ "code": "AccessDenied", "message": why }).to_string();
            ("".into(), StatusCode::FORBIDDEN, message, Some("AccessDenied"))
        }
    };
    let reply = Reply {
        status,
        content_type: Some(HeaderValue::from_static("application/json")),
        query_error: None,
        body: document.into(),
        told: Told { action: LENDING, error, ..Told::default() },
    };
    (to, reply)
}

/// Whether a client is on this machine: by the loopback, or from the very address that it has reached, which nobody else
/// can have.
fn is_near(peer: IpAddr, own: IpAddr) -> bool {
    let (peer, own) = (peer.to_canonical(), own.to_canonical());
    peer.is_loopback() || peer == own
}

fn response(reply: Reply, id: &RequestId) -> Response<Full<Bytes>> {
    let Reply { status, content_type, query_error, body, told: _ } = reply;
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(id.as_str()) {
        headers.insert(REQUEST_ID, id);
    }
    if let Some(content_type) = content_type {
        headers.insert(CONTENT_TYPE, content_type);
    }
    if let Some(code) = query_error {
        headers.insert(QUERY_ERROR, code);
    }
    response
}

fn set_up(stream: &TcpStream, limits: &Limits) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = socket2::SockRef::from(stream);
    // The kernel's clock watches readers that do not read: it costs nothing on the way of a request.
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(limits.write_wait))?;
    socket.set_tcp_keepalive(&socket2::TcpKeepalive::new().with_time(limits.head_wait))
}

/// Says that there are too many connections, if that can be said without waiting.
fn refuse(stream: &TcpStream) {
    const ANSWER: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n";
    let _ = stream.try_write(ANSWER);
}

/// Whether the connection was lost before it was accepted, which says nothing of the listener.
fn is_of_the_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!("a connection ended in a panic: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_this_machine_alone_can_have_is_near() {
        let near = |peer: &str, own: &str| is_near(peer.parse().unwrap(), own.parse().unwrap());
        assert!(near("127.0.0.1", "127.0.0.1") && near("::1", "::1") && near("127.0.0.2", "127.0.0.1"));
        assert!(near("::ffff:127.0.0.1", "::ffff:127.0.0.1"), "a listener of both kinds");
        assert!(near("192.168.1.5", "192.168.1.5") && near("::ffff:192.168.1.5", "192.168.1.5"));
        assert!(!near("192.168.1.6", "192.168.1.5") && !near("fe80::1", "fe80::2"));
        assert!(!near("::ffff:10.0.0.1", "::ffff:10.0.0.2"));
    }
}
