//! Listeners of telemetry: HTTP/1.1 and HTTP/2 by prior knowledge on each, so many connections, an answer to each request.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{Request, Response};
use http_body_util::combinators::BoxBody;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use kit::{OnError, Tasks};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// Streams of one HTTP/2 connection.
const MAX_STREAMS: u32 = 64;
/// How long a head or a body may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

pub(super) type Body = BoxBody<Bytes, Infallible>;

/// Answers a request.
pub(super) type Answers =
    Arc<dyn Fn(Request<Incoming>) -> Pin<Box<dyn Future<Output = Response<Body>> + Send>> + Send + Sync>;

/// How much may be under way.
#[derive(Clone)]
pub(super) struct Room {
    pub(super) connections: Arc<Semaphore>,
    pub(super) requests: Arc<Semaphore>,
}

impl Room {
    pub(super) fn new(connections: usize, requests: usize) -> Self {
        let of = |count| Arc::new(Semaphore::new(count));
        Self { connections: of(connections), requests: of(requests) }
    }
}

/// Serves a listener until told to stop.
pub(super) async fn serve(
    listener: TcpListener,
    answers: Answers,
    room: Room,
    tasks: Tasks,
    stop: CancellationToken,
) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => return,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!("telemetry: cannot accept a connection: {error}");
                tokio::time::sleep(Duration::from_millis(50)).await; // out of descriptors: not at once again
                continue;
            }
        };
        let Ok(place) = Arc::clone(&room.connections).try_acquire_owned() else { continue };
        let (answers, stop) = (Arc::clone(&answers), stop.clone());
        tasks.spawn("telemetry.connection", OnError::Log, move |_| async move {
            let _place = place;
            connection(stream, answers, stop).await;
            Ok::<_, Infallible>(())
        });
    }
}

async fn connection(stream: tokio::net::TcpStream, answers: Answers, stop: CancellationToken) {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(PATIENCE);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .keep_alive_interval(PATIENCE)
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(2 << 20);
    let service = hyper::service::service_fn(move |request| {
        let answer = answers(request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    tokio::select! {
        _ = &mut connection => return,
        () = stop.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    let _ = tokio::time::timeout(PATIENCE, connection).await;
}
