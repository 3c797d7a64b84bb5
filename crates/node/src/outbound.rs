//! Requests of the node itself to others: alerts, telemetry that goes on, what topics have for addresses with TLS. One
//! connection for each, plain or over TLS with what this machine trusts. Everything within a limit: the time of the whole, the
//! bytes of the answer.

use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use kit::{OnError, Tasks};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// Bytes of an answer that are read; and of one over HTTP/1.1, whose status is all that counts, for how long: so that whoever sends it
/// can end well.
const MOST: usize = 64 << 10;
const LISTENS: Duration = Duration::from_secs(1);

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// What gRPC says at the end.
    pub(crate) trailers: HeaderMap,
}

/// Why nothing came back.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SendError {
    #[error("`{0}` is no host to send to")] // the host alone: what stands behind it may be a secret
    Address(String),
    #[error("cannot connect to {to}")]
    Connect { to: String, source: io::Error },
    #[error("the connection to {to} broke off")]
    Broken { to: String, source: hyper::Error },
    #[error("the answer of {0} cannot be read")]
    Answer(String),
    #[error("{to} has not answered within {after:?}")]
    Late { to: String, after: Duration },
}

/// HTTP/1.1, or HTTP/2 without asking first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    One,
    Two,
}

/// Sends a request to the absolute address in it.
pub(crate) async fn send(
    request: Request<Full<Bytes>>,
    version: Version,
    within: Duration,
    tasks: &Tasks,
) -> Result<Answer, SendError> {
    let uri = request.uri().clone();
    let Some(host) = uri.host().map(|host| host.trim_matches(['[', ']']).to_owned()) else {
        return Err(SendError::Address(String::new()));
    };
    let tls = uri.scheme_str() == Some("https");
    let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
    let to = format!("{host}:{port}");
    let sent = exchange(request, version, &host, port, tls, tasks);
    match tokio::time::timeout(within, sent).await {
        Ok(answer) => answer,
        Err(_) => Err(SendError::Late { to, after: within }),
    }
}

async fn exchange(
    request: Request<Full<Bytes>>,
    version: Version,
    host: &str,
    port: u16,
    tls: bool,
    tasks: &Tasks,
) -> Result<Answer, SendError> {
    let to = format!("{host}:{port}");
    let connect = |source| SendError::Connect { to: to.clone(), source };
    let stream = TcpStream::connect((host, port)).await.map_err(connect)?;
    let _ = stream.set_nodelay(true); // it is only slower without
    let answer = if tls {
        let name = ServerName::try_from(host.to_owned()).map_err(|_| SendError::Address(host.to_owned()))?;
        let connector = tokio_rustls::TlsConnector::from(trust(version).map_err(connect)?);
        let stream = connector.connect(name, stream).await.map_err(connect)?;
        spoken(stream, request, version, tasks).await
    } else {
        spoken(stream, request, version, tasks).await
    };
    let (head, body) = answer.map_err(|source| SendError::Broken { to: to.clone(), source })?.into_parts();
    let read = Limited::new(body, MOST).collect();
    let trailers = match version {
        Version::One => {
            let _ = tokio::time::timeout(LISTENS, read).await;
            HeaderMap::new()
        }
        Version::Two => {
            let read = read.await.map_err(|_| SendError::Answer(to))?;
            read.trailers().cloned().unwrap_or_default()
        }
    };
    Ok(Answer { status: head.status, headers: head.headers, trailers })
}

async fn spoken(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    mut request: Request<Full<Bytes>>,
    version: Version,
    tasks: &Tasks,
) -> Result<http::Response<Incoming>, hyper::Error> {
    let stream = TokioIo::new(stream);
    match version {
        Version::One => {
            if let Some(host) = host_of(request.uri()).and_then(|host| http::HeaderValue::try_from(host).ok())
            {
                request.headers_mut().insert(http::header::HOST, host);
            }
            let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
            *request.uri_mut() = path.parse().unwrap_or_default();
            let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await?;
            tasks.spawn("node.outbound", OnError::Log, |_| connection);
            sender.send_request(request).await
        }
        Version::Two => {
            let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream);
            let (mut sender, connection) = handshake.await?;
            tasks.spawn("node.outbound", OnError::Log, |_| connection);
            sender.send_request(request).await
        }
    }
}

/// Host and port as they are written, without a user in front of them.
fn host_of(uri: &Uri) -> Option<String> {
    let host = uri.host()?;
    Some(uri.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")))
}

/// What this machine trusts, read once.
fn trust(version: Version) -> io::Result<Arc<rustls::ClientConfig>> {
    static ROOTS: OnceLock<Arc<rustls::RootCertStore>> = OnceLock::new();
    let roots = ROOTS.get_or_init(|| {
        let mut roots = rustls::RootCertStore::empty();
        let (_, unread) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if unread > 0 {
            tracing::debug!("{unread} certificates that this machine trusts cannot be read");
        }
        Arc::new(roots)
    });
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    let mut config = config.with_root_certificates(Arc::clone(roots)).with_no_client_auth();
    config.alpn_protocols = match version {
        Version::One => vec![b"http/1.1".to_vec()],
        Version::Two => vec![b"h2".to_vec()],
    };
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// Sends to somebody who answers this. Gives what came of it, and what was sent.
    async fn answered(head: &str, body: usize) -> (Result<StatusCode, SendError>, String) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let request =
            Request::post(format!("http://user:secret@{at}/hook?a=b")).body(Full::default()).unwrap();
        let tasks = Tasks::new();
        let server = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut seen = vec![0; 4096];
            let read = stream.read(&mut seen).await.unwrap();
            // Whoever asked may have heard enough.
            let _ = stream.write_all(head.as_bytes()).await;
            let _ = stream.write_all(&vec![b'x'; body]).await;
            (String::from_utf8_lossy(&seen[..read]).into_owned(), stream)
        };
        let sent = send(request, Version::One, Duration::from_secs(20), &tasks);
        let (sent, (seen, _stream)) = tokio::join!(sent, server);
        (sent.map(|answer| answer.status), seen)
    }

    #[tokio::test]
    async fn the_status_is_all_that_counts_and_no_user_is_named() {
        let (sent, seen) = answered("HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n", 1_000_000).await;
        assert_eq!(sent.unwrap(), StatusCode::OK, "however long the answer");
        let (head, port) = (seen.to_ascii_lowercase(), "host: 127.0.0.1:");
        assert!(head.contains(port) && !head.contains("secret"), "{seen}");
        let (sent, _) = answered("HTTP/1.1 202 Accepted\r\ncontent-length: 5\r\n\r\n", 1).await;
        assert_eq!(sent.unwrap(), StatusCode::ACCEPTED, "even where it never ends");
    }

    #[tokio::test]
    async fn an_error_tells_nothing_of_the_path() {
        let tasks = Tasks::new();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        for url in [format!("https://{at}/secret"), "http://nobody.invalid/secret".to_owned()] {
            let request = Request::post(&url).body(Full::default()).unwrap();
            let accepting = async { drop(listener.accept().await) };
            let sent = tokio::select! {
                sent = send(request, Version::One, Duration::from_secs(20), &tasks) => sent,
                never = async { accepting.await; std::future::pending().await } => never,
            };
            let error = kit::report::chain(&sent.unwrap_err());
            assert!(!error.contains("secret"), "{error}");
        }
        assert!(!SendError::Address("a_b".to_owned()).to_string().contains('/'));
    }
}
