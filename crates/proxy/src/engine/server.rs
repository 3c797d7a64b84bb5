//! A client's connection: HTTP/1.1 with upgrades, or HTTP/2 by prior knowledge.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Version, header};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio_util::task::TaskTracker;

use super::begin::begin;
use super::h2::{self, PREFACE};
use super::io::Metered;
use super::{RequestStream, Upgrade};
use crate::body::Body;
use crate::connection::{Connection, Wish};
use crate::exchange::{self, Answer, Asked, Entrance, Exchange};
use crate::fields::Fields;
use crate::head::{self, Head};
use crate::limits::Limits;
use crate::outgoing::Outgoing;
use crate::thread::{Occupied, Thread};
use crate::tls::{ClientStream, Session};
use crate::tunnel;

/// Room above `Limits::header_bytes` in which a head that is too long still gets a full problem as its
/// answer. Beyond it the engine answers with a bare status.
const HEAD_SLACK: usize = 16 * 1024;
/// How often a silent HTTP/2 connection is asked whether anybody is there.
const H2_PING: Duration = Duration::from_secs(30);
/// Bytes of answers that may wait for a client, per stream of HTTP/2.
const H2_SEND_BUFFER: usize = 64 * 1024;
/// Of a request's body that nobody wants this much is read, so that its connection can be used again.
const SKIM_BYTES: usize = 64 * 1024;
/// And for no longer than this.
const SKIM_TIME: Duration = Duration::from_millis(100);
/// When the process begins to drain, a connection that has never carried a request gets this long to
/// send one that is on its way already.
const FRESH_GRACE: Duration = Duration::from_millis(250);

/// Starts the tasks of HTTP/2 streams on this thread.
#[derive(Clone)]
pub(crate) struct Streams(TaskTracker);

impl<F: Future<Output: 'static> + 'static> hyper::rt::Executor<F> for Streams {
    fn execute(&self, stream: F) {
        self.0.spawn_local(stream);
    }
}

/// How connections are served.
pub(crate) struct Settings(auto::Builder<Streams>);

impl Settings {
    pub(crate) fn new(limits: &Limits, tasks: &TaskTracker) -> Self {
        let mut builder = auto::Builder::new(Streams(tasks.clone()));
        // The timeouts of HTTP/1 are the sweep's business: see `connection`.
        let buffer = (limits.header_bytes + HEAD_SLACK).max(8192); // hyper asks for that much
        builder.http1().header_read_timeout(None).max_buf_size(buffer);
        const HYPER_DEFAULT: usize = 100; // kept on the stack; any other number is not
        if limits.headers != HYPER_DEFAULT {
            builder.http1().max_headers(limits.headers);
        }
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(limits.streams)
            .max_send_buf_size(H2_SEND_BUFFER)
            .max_header_list_size(u32::try_from(limits.header_bytes + HEAD_SLACK).unwrap_or(u32::MAX))
            .keep_alive_interval(H2_PING)
            .keep_alive_timeout(limits.header_read);
        Self(builder)
    }
}

/// Serves a connection to its end.
pub(crate) async fn serve(
    thread: Rc<Thread>,
    stream: ClientStream,
    session: Option<Arc<Session>>,
    peer: SocketAddr,
    entrance: Arc<Entrance>,
    occupied: Occupied,
) {
    let (mut io, flow) = Metered::new(stream);
    let connection = Connection::new(peer, entrance, session, flow, occupied);
    let _registered = thread.register(&connection);
    let ahead = tokio::select! {
        ahead = io.preface() => ahead,
        wish = connection.wish() => match wish {
            Wish::Close | Wish::Abort => return,
            Wish::Drain => match tokio::time::timeout(FRESH_GRACE, io.preface()).await {
                Ok(ahead) => {
                    connection.tell(Wish::Drain);
                    ahead
                }
                Err(_) => return,
            }
        },
    };
    if ahead == PREFACE[..] {
        return h2::server::serve(thread, connection, io, ahead).await;
    }
    io.unread(ahead);
    let service = service_fn(|request| {
        let (thread, connection) = (Rc::clone(&thread), Rc::clone(&connection));
        async move { Ok::<_, Infallible>(answer(thread, connection, request).await) }
    });
    let serving = thread.server.0.serve_connection_with_upgrades(TokioIo::new(io), service);
    let mut serving = std::pin::pin!(serving);
    loop {
        tokio::select! {
            outcome = serving.as_mut() => return ended(&thread, peer, outcome),
            wish = connection.wish() => match wish {
                Wish::Abort => return,
                Wish::Close => serving.as_mut().graceful_shutdown(),
                Wish::Drain => {
                    if connection.is_fresh() {
                        if let Ok(outcome) = tokio::time::timeout(FRESH_GRACE, serving.as_mut()).await {
                            return ended(&thread, peer, outcome);
                        }
                        if connection.is_fresh() {
                            return;
                        }
                    }
                    serving.as_mut().graceful_shutdown();
                }
            },
        }
    }
}

fn ended(thread: &Thread, peer: SocketAddr, outcome: Result<(), Box<dyn std::error::Error + Send + Sync>>) {
    if let Err(error) = outcome {
        thread.counters.connection_failed(unreadable(&*error));
        tracing::debug!(%peer, "client connection: {error}");
    }
}

/// Whether a connection failed because the engine could not read what came: it has answered 400, 414 or
/// 431 itself then.
fn unreadable(error: &(dyn std::error::Error + 'static)) -> bool {
    error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse)
}

/// One request of hyper's in, one answer for hyper out.
async fn answer(
    thread: Rc<Thread>,
    connection: Rc<Connection>,
    request: http::Request<Incoming>,
) -> Response<Outgoing> {
    let (mut parts, incoming) = request.into_parts();
    let upgrade = parts.extensions.remove().map(|on| Upgrade { on, upstream: None });
    let lines = connection.head_came(parts.version);
    let mut head = Head::default();
    (head.method, head.version) = (parts.method, parts.version);
    head.secure = connection.session().is_some();
    match (parts.version, parts.uri.path_and_query()) {
        (Version::HTTP_2, target) => {
            head.set_target(target.map_or("", |target| target.as_str()));
            head.authority.push_str(parts.uri.authority().map_or("", |authority| authority.as_str()));
        }
        (_, Some(target)) if parts.uri.authority().is_none() => head.set_target(target.as_str()),
        _ => head.set_target(&parts.uri.to_string()),
    }
    head.fields = Fields::from(&parts.headers);
    let body = Body::request(RequestStream::Http1(incoming));
    let mut exchange = begin(&thread, connection, head, lines, body, upgrade);
    let mut answer = exchange::run(&thread, &mut exchange).await;
    if exchange.version() < Version::HTTP_2
        && answer.upgrade.is_none()
        && !is_read(&mut exchange, &answer).await
    {
        answer.set_header(header::CONNECTION, HeaderValue::from_static("close"));
        exchange.record.linger();
    }
    if exchange.version() < Version::HTTP_2 && answer.upgrade.is_none() && thread.is_leaving() {
        answer.set_header(header::CONNECTION, HeaderValue::from_static("close"));
    }
    finish(&thread, exchange, answer)
}

/// Whether all of a request has been read by the time its answer begins, if need be by reading the rest of it.
/// Where it has not, the connection is of no more use.
async fn is_read(exchange: &mut Exchange, answer: &Answer) -> bool {
    let upload = exchange.record.upload_of();
    let size = match &upload {
        Some(upload) if upload.is_finished() => return true,
        Some(_) if !exchange.record.has_failed() => return false, // it may still be on its way to the service
        Some(upload) => upload.size(),
        None if exchange.body.is_empty() => return true,
        None => exchange.body.size(),
    };
    // Who waits for `100 Continue` would be told so by reading.
    let near =
        size.is_some_and(|size| size <= SKIM_BYTES as u64) && !head::expects_continue(&exchange.asked.head);
    if !near || answer.header(&header::CONNECTION).is_some() {
        return false;
    }
    let mut rest = upload.map_or_else(|| exchange.take_body(), |upload| upload.rest());
    let end = async { while rest.frame().await.is_some_and(|frame| frame.is_ok()) {} };
    tokio::time::timeout(SKIM_TIME, end).await.is_ok() && rest.is_empty()
}

fn to_map(fields: &Fields) -> HeaderMap {
    let mut map = HeaderMap::with_capacity(fields.len());
    for field in fields.iter() {
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(field.name), HeaderValue::from_bytes(field.value))
        {
            map.append(name, value);
        }
    }
    map
}

/// Hands the answer over: its body carries the record, or a tunnel does.
fn finish(thread: &Rc<Thread>, exchange: Exchange, answer: Answer) -> Response<Outgoing> {
    let Exchange { asked: Asked { head, .. }, upgrade, record, .. } = exchange;
    let Answer { status, fields, body, upgrade: upstream } = answer;
    let mut headers = to_map(&fields);
    let bodiless = head.method == http::Method::HEAD
        || [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED, StatusCode::SWITCHING_PROTOCOLS]
            .contains(&status);
    if head.method == http::Method::HEAD
        && let Some(size) = body.size().filter(|size| *size > 0)
    {
        headers.entry(http::header::CONTENT_LENGTH).or_insert(size.into());
    }
    let body = match (upgrade, upstream) {
        (Some(client), Some(upstream)) if status == StatusCode::SWITCHING_PROTOCOLS => {
            let tunnel = tunnel::run(client, upstream, record, thread.limits.tunnel_idle);
            thread.tasks.spawn_local(tunnel);
            Outgoing::unwatched()
        }
        _ if bodiless => Outgoing::new(Body::empty(), record),
        _ => Outgoing::new(body, record),
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}
