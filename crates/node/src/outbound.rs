//! Requests of the node itself to others: alerts, telemetry that goes on. One connection for each, plain or over TLS with what this
//! machine trusts. Everything within a limit: the time of the whole, the bytes of the answer.

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

/// Bytes of an answer that are read.
const MOST: usize = 64 << 10;

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
    #[error("`{0}` is no address to send to")]
    Address(Uri),
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
        return Err(SendError::Address(uri));
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
        let name =
            ServerName::try_from(host.to_owned()).map_err(|_| SendError::Address(request.uri().clone()))?;
        let connector = tokio_rustls::TlsConnector::from(trust(version).map_err(connect)?);
        let stream = connector.connect(name, stream).await.map_err(connect)?;
        spoken(stream, request, version, tasks).await
    } else {
        spoken(stream, request, version, tasks).await
    };
    let answer = answer.map_err(|source| SendError::Broken { to: to.clone(), source })?;
    let (head, body) = answer.into_parts();
    let read = Limited::new(body, MOST).collect().await.map_err(|_| SendError::Answer(to))?;
    let trailers = read.trailers().cloned().unwrap_or_default();
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
            let host = request.uri().authority().map(|authority| authority.as_str().to_owned());
            if let Some(host) = host.and_then(|host| http::HeaderValue::try_from(host).ok()) {
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
