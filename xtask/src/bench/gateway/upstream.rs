//! The upstream behind every proxy: the same program, answering at once. One thread, HTTP/1.1 and HTTP/2 by
//! prior knowledge on one port; the first letter of the path's last segment says what happens.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context;
use bytes::{Bytes, BytesMut};
use h2::server::SendResponse;
use http::{HeaderMap, HeaderValue, Request, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::machine;

/// How the binary is told to be the upstream; nothing for people. Then: the core to stay on.
pub(crate) const VERB: &str = "__upstream";

/// Bytes of a small answer's body.
pub(crate) const SMALL: usize = 100;

/// Bytes of a large answer's body.
pub(crate) const LARGE: usize = 10_240;

/// A request head longer than this closes the connection, in bytes.
const MAX_HEAD: usize = 32 << 10;

/// Header lines of a request.
const MAX_LINES: usize = 64;

/// How an HTTP/2 connection begins.
const PREFACE: &[u8] = b"PRI * HTTP/2.0";

/// Requests that were asked to fail: every other one does.
static FAILURES: AtomicU64 = AtomicU64::new(0);

/// What a request asks for, in the first letter of the last segment of its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    /// A small answer: a digit.
    Small,
    /// A large one: `l`.
    Large,
    /// No answer ever: `h`.
    Hang,
    /// Every other answer is 500: `f`.
    Fail,
}

impl Wish {
    fn of(path: &str) -> Self {
        match path.rsplit_once('/').and_then(|(_, last)| last.bytes().next()) {
            Some(b'l') => Self::Large,
            Some(b'h') => Self::Hang,
            Some(b'f') => Self::Fail,
            _ => Self::Small,
        }
    }
}

/// Serves on `HOST` and `PORT` until a signal ends the process.
pub(crate) fn run(words: &[String]) -> anyhow::Result<()> {
    if let Some(core) = words.first() {
        machine::pin(core.parse().with_context(|| format!("core {core}"))?)?;
    }
    let host = std::env::var("HOST").unwrap_or_else(|_| "127.0.0.1".into());
    let port = std::env::var("PORT").context("PORT is not set")?;
    let address: SocketAddr = format!("{host}:{port}").parse().context("HOST and PORT")?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build_local(Default::default())?;
    runtime.block_on(async {
        let listener = TcpListener::bind(address).await.with_context(|| format!("listen at {address}"))?;
        serve(&listener).await
    })
}

/// Serves every connection of a listener. Needs a local runtime.
pub(crate) async fn serve(listener: &TcpListener) -> anyhow::Result<()> {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        // A connection that breaks is its client's business.
        connections.spawn_local(async move { drop(connection(stream).await) });
        while connections.try_join_next().is_some() {}
    }
}

async fn connection(stream: TcpStream) -> anyhow::Result<()> {
    let mut first = [0; 16];
    let length = stream.peek(&mut first).await?;
    if first[..length].starts_with(PREFACE) {
        return http2(stream).await;
    }
    Ok(http1(stream).await?)
}

async fn http1(mut stream: TcpStream) -> io::Result<()> {
    let (small, large) = (answer("200 OK", SMALL), answer("200 OK", LARGE));
    let failure = answer("500 Internal Server Error", SMALL);
    let mut buffer = BytesMut::with_capacity(8 << 10);
    loop {
        let request = loop {
            if let Some(request) = head(&buffer)? {
                break request;
            }
            if buffer.len() > MAX_HEAD || stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        };
        while buffer.len() < request.length {
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        }
        let _ = buffer.split_to(request.length);
        buffer.reserve(4 << 10);
        let bytes = match request.wish {
            Wish::Small => &small,
            Wish::Large => &large,
            Wish::Fail => {
                if FAILURES.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) {
                    &failure
                } else {
                    &small
                }
            }
            Wish::Hang => {
                while stream.read_buf(&mut buffer).await? > 0 && buffer.len() < MAX_HEAD {}
                return Ok(());
            }
        };
        stream.write_all(bytes).await?;
    }
}

/// A whole answer: it leaves in one write.
fn answer(status: &str, body: usize) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/octet-stream\r\ncontent-length: {body}\r\n\r\n"
    );
    [head.as_bytes(), &vec![b'x'; body]].concat()
}

/// What matters of a request.
struct Head {
    wish: Wish,
    /// Bytes of head and body.
    length: usize,
}

/// The head at the start of `bytes`; `None` while it is not whole. Bodies in chunks are not for this server.
fn head(bytes: &[u8]) -> io::Result<Option<Head>> {
    let mut lines = [httparse::EMPTY_HEADER; MAX_LINES];
    let mut request = httparse::Request::new(&mut lines);
    let bad = |error: &str| io::Error::new(io::ErrorKind::InvalidData, error.to_owned());
    let httparse::Status::Complete(length) = request.parse(bytes).map_err(|error| bad(&error.to_string()))?
    else {
        return Ok(None);
    };
    let mut body = 0;
    for line in request.headers.iter() {
        if line.name.eq_ignore_ascii_case("content-length") {
            let text = std::str::from_utf8(line.value).map_err(|_| bad("content-length"))?;
            body = text.trim().parse::<usize>().map_err(|_| bad("content-length"))?;
        }
    }
    let wish = Wish::of(request.path.unwrap_or_default());
    Ok(Some(Head { wish, length: length.saturating_add(body) }))
}

async fn http2(stream: TcpStream) -> anyhow::Result<()> {
    let mut connection = h2::server::Builder::new()
        .initial_window_size(1 << 20)
        .initial_connection_window_size(1 << 20)
        .max_concurrent_streams(1024)
        .handshake::<_, Bytes>(stream)
        .await?;
    let mut streams = JoinSet::new();
    while let Some(request) = connection.accept().await {
        let (request, respond) = request?;
        // A stream that breaks is its client's business.
        streams.spawn_local(async move { drop(stream_of(request, respond).await) });
        while streams.try_join_next().is_some() {}
    }
    Ok(())
}

/// A unary call of gRPC is sent back as it came; anything else gets an answer by its path.
async fn stream_of(request: Request<h2::RecvStream>, mut respond: SendResponse<Bytes>) -> anyhow::Result<()> {
    let grpc = request.headers().get("content-type").is_some_and(|kind| kind == "application/grpc");
    let wish = Wish::of(request.uri().path());
    let mut body = request.into_body();
    let mut echo = Bytes::new();
    while let Some(part) = body.data().await {
        let part = part?;
        body.flow_control().release_capacity(part.len())?;
        echo = if echo.is_empty() { part } else { [echo, part].concat().into() };
    }
    let kind = HeaderValue::from_static(if grpc { "application/grpc" } else { "application/octet-stream" });
    let answer = Response::builder().header("content-type", kind).body(())?;
    let mut stream = respond.send_response(answer, false)?;
    if grpc {
        stream.send_data(echo, false)?;
        let status = (http::HeaderName::from_static("grpc-status"), HeaderValue::from_static("0"));
        stream.send_trailers(HeaderMap::from_iter([status]))?;
        return Ok(());
    }
    let length = if wish == Wish::Large { LARGE } else { SMALL };
    stream.send_data(vec![b'x'; length].into(), true)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_segment_of_the_path_says_what_happens() {
        let wishes = ["/r1/17", "/r1/l17", "/r2/h", "/r3/f5", "/"].map(Wish::of);
        assert_eq!(wishes, [Wish::Small, Wish::Large, Wish::Hang, Wish::Fail, Wish::Small]);
    }

    #[test]
    fn a_head_is_whole_or_not_there_and_its_body_is_counted() {
        let text = b"POST /r1/l HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello";
        assert!(head(&text[..30]).unwrap().is_none());
        let whole = head(text).unwrap().unwrap();
        assert_eq!((whole.wish, whole.length), (Wish::Large, text.len()));
        assert!(head(b"GET / HTTP/9\r\n\r\n").is_err());
    }
}
