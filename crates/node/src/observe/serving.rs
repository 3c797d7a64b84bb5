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
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::stalled::{Impatient, UnderWay};

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

async fn connection<S>(stream: S, answers: Answers, stop: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(PATIENCE);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .keep_alive_interval(PATIENCE)
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(2 << 20);
    let under_way = UnderWay::default();
    let watching = under_way.clone();
    let service = hyper::service::service_fn(move |request| {
        let (answer, watching) = (answers(request), watching.clone());
        async move { Ok::<_, Infallible>(answer.await.map(|body| watching.watch(body))) }
    });
    let connection = builder.serve_connection(TokioIo::new(Impatient::new(stream, PATIENCE)), service);
    tokio::pin!(connection);
    let mut look = tokio::time::interval(PATIENCE / 4);
    loop {
        tokio::select! {
            _ = &mut connection => return,
            () = stop.cancelled() => break,
            _ = look.tick() => if under_way.stands_still(PATIENCE) { return },
        }
    }
    connection.as_mut().graceful_shutdown();
    let _ = tokio::time::timeout(PATIENCE, connection).await;
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt, Full};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// Answers with so many bytes, which are counted for as long as somebody holds them.
    fn long(bytes: usize) -> (Answers, Arc<()>) {
        struct Held(Vec<u8>, #[expect(dead_code, reason = "counted")] Arc<()>);
        impl AsRef<[u8]> for Held {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }
        let held = Arc::new(());
        let counted = Arc::clone(&held);
        let answers: Answers = Arc::new(move |_| {
            let body = Bytes::from_owner(Held(vec![b'x'; bytes], Arc::clone(&counted)));
            Box::pin(async move { Response::new(Full::new(body).boxed()) })
        });
        (answers, held)
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_takes_nothing_is_given_up() {
        let (mut client, server) = tokio::io::duplex(64 << 10);
        let (answers, held) = long(8 << 20);
        client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        let serving = connection(server, answers, CancellationToken::new());
        tokio::time::timeout(2 * PATIENCE, serving).await.unwrap();
        assert_eq!(Arc::strong_count(&held), 1, "and so is what it was to have");
    }

    #[tokio::test(start_paused = true)]
    async fn so_is_one_with_a_stream_that_stands_still() {
        let (client, server) = tokio::io::duplex(64 << 10);
        let (answers, held) = long(8 << 20);
        let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(client));
        let tasks = Tasks::new();
        tasks.spawn("client", OnError::Log, |_| async move {
            let (mut sender, connection) = handshake.await.unwrap();
            let asked = async {
                let request = Request::get("http://a/").body(Full::new(Bytes::new())).unwrap();
                let answer = sender.send_request(request).await.unwrap();
                std::future::pending::<()>().await; // it has the head, and never reads the rest
                drop(answer);
            };
            tokio::select! {
                _ = connection => {}
                () = asked => {}
            }
            Ok::<_, Infallible>(())
        });
        let serving = connection(server, answers, CancellationToken::new());
        tokio::time::timeout(3 * PATIENCE, serving).await.unwrap();
        // What sends a stream is a task of its own, which hears of it in a moment.
        let let_go = async {
            while Arc::strong_count(&held) > 1 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(1), let_go).await.unwrap();
        tasks.shutdown(PATIENCE).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn who_reads_slowly_has_all_of_it() {
        let (mut client, server) = tokio::io::duplex(16 << 10);
        let (answers, _held) = long(256 << 10);
        let reading = async {
            client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
            let mut read = 0;
            loop {
                tokio::time::sleep(PATIENCE / 2).await;
                let mut some = [0; 16 << 10];
                match client.read(&mut some).await.unwrap() {
                    0 => return read,
                    more => read += more,
                }
            }
        };
        let ((), read) = tokio::join!(connection(server, answers, CancellationToken::new()), reading);
        assert!(read > 256 << 10, "{read}");
    }
}
