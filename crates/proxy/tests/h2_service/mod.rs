//! Services of HTTP/2, made of a few lines or of frames, and a client.
#![allow(dead_code, missing_docs, unreachable_pub)] // each test uses its part of this

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::{Request, Response};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use super::common::*;
use super::h2_raw::{self, Raw};

pub type Stream = (Request<RecvStream>, SendResponse<Bytes>);

/// Services of HTTP/2 with these routes.
pub fn http2(routes: &[&str], timeout: Duration) -> manifest::spec::App {
    let mut app = web(routes, timeout);
    for service in app.services.values_mut() {
        service.wire = manifest::spec::Wire::Http2;
    }
    app
}

pub async fn harness(server: &Server) -> Harness {
    let harness = Harness::start(&http2(&["/{*rest}"], PATIENCE)).await;
    harness.ready("web", &[server.address]);
    harness
}

/// A server that does something with each stream.
pub async fn streams<F>(work: impl Fn(Stream) -> F + Clone + Send + Sync + 'static) -> Server
where
    F: Future<Output = ()> + Send + 'static,
{
    at_most(100, work).await
}

/// As [`streams`], with so many at once on one connection.
pub async fn at_most<F>(most: u32, work: impl Fn(Stream) -> F + Clone + Send + Sync + 'static) -> Server
where
    F: Future<Output = ()> + Send + 'static,
{
    Server::raw(move |stream| {
        let work = work.clone();
        async move {
            let mut builder = h2::server::Builder::new();
            let connection = builder.max_concurrent_streams(most).handshake(stream).await;
            let Ok(mut connection) = connection else { return };
            while let Some(Ok(stream)) = connection.accept().await {
                go(work(stream));
            }
        }
    })
    .await
}

pub async fn say((_, mut respond): Stream, text: &'static str) {
    let mut stream = respond.send_response(Response::new(()), false).unwrap();
    stream.send_data(Bytes::from_static(text.as_bytes()), true).unwrap();
}

/// A server that does what it likes with the frames that it gets, and says in its settings how many streams it
/// takes. `work` gets the number of the connection.
pub async fn frames<F>(most: u32, work: impl Fn(usize, Raw) -> F + Clone + Send + Sync + 'static) -> Server
where
    F: Future<Output = ()> + Send + 'static,
{
    let connections = Arc::new(AtomicUsize::new(0));
    Server::raw(move |mut stream: TcpStream| {
        let nth = connections.fetch_add(1, Ordering::SeqCst);
        let work = work.clone();
        async move {
            if stream.read_exact(&mut [0; h2_raw::PREFACE.len()]).await.is_err() {
                return;
            }
            let mut raw = Raw { stream, polite: true };
            raw.frame(h2_raw::SETTINGS, 0, 0, &setting_of_streams(most)).await;
            work(nth, raw).await;
        }
    })
    .await
}

/// SETTINGS_MAX_CONCURRENT_STREAMS.
pub fn setting_of_streams(most: u32) -> Vec<u8> {
    [&3u16.to_be_bytes()[..], &most.to_be_bytes()].concat()
}

/// `:status: 200`, indexed.
pub const OK: &[u8] = &[0x88];

/// A client of HTTP/2.
pub async fn client(address: SocketAddr) -> h2::client::SendRequest<Bytes> {
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let (sender, connection) = h2::client::handshake(stream).await.unwrap();
    go(async move { drop(connection.await) });
    sender.ready().await.unwrap()
}
