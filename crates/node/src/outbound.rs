//! Requests of the node itself to others: alerts, telemetry that goes on, what topics have for addresses with TLS. One
//! connection for each, plain or over TLS with what this machine trusts. Everything within a limit: the time of the whole, the
//! bytes of the answer.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper_util::rt::TokioIo;
use kit::{OnError, Tasks};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

/// Bytes of an answer that are read; and of one over HTTP/1.1, whose status is all that counts, for how long: so that whoever sends it
/// can end well.
const MOST: usize = 64 << 10;
const LISTENS: Duration = Duration::from_secs(1);
/// How long what this machine trusts is believed to be as it was read.
const TRUSTED_FOR: Duration = Duration::from_secs(3600);

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// What gRPC says at the end.
    pub(crate) trailers: HeaderMap,
    /// Empty where it was too long, or did not end soon.
    pub(crate) body: Bytes,
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
    // Nothing of it stays behind, however the other side behaves.
    let gone = CancellationToken::new();
    let _gone = gone.clone().drop_guard();
    let connections = Connections { tasks: tasks.clone(), gone };
    let sent = exchange(request, version, &host, port, tls, &connections);
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
    connections: &Connections,
) -> Result<Answer, SendError> {
    let to = format!("{host}:{port}");
    let connect = |source| SendError::Connect { to: to.clone(), source };
    let stream = TcpStream::connect((host, port)).await.map_err(connect)?;
    let _ = stream.set_nodelay(true); // it is only slower without
    let answer = if tls {
        let name = ServerName::try_from(host.to_owned()).map_err(|_| SendError::Address(host.to_owned()))?;
        let connector = tokio_rustls::TlsConnector::from(trust(version).await.map_err(connect)?);
        let stream = connector.connect(name, stream).await.map_err(connect)?;
        spoken(stream, request, version, connections).await
    } else {
        spoken(stream, request, version, connections).await
    };
    let (head, body) = answer.map_err(|source| SendError::Broken { to: to.clone(), source })?.into_parts();
    let read = Limited::new(body, MOST).collect();
    let (trailers, body) = match version {
        Version::One => match tokio::time::timeout(LISTENS, read).await {
            Ok(Ok(read)) => (HeaderMap::new(), read.to_bytes()),
            _ => (HeaderMap::new(), Bytes::new()),
        },
        Version::Two => {
            let read = read.await.map_err(|_| SendError::Answer(to))?;
            (read.trailers().cloned().unwrap_or_default(), read.to_bytes())
        }
    };
    Ok(Answer { status: head.status, headers: head.headers, trailers, body })
}

/// What carries a request: tasks that end with it.
#[derive(Clone)]
struct Connections {
    tasks: Tasks,
    gone: CancellationToken,
}

impl<F> hyper::rt::Executor<F> for Connections
where
    F: Future + Send + 'static,
{
    fn execute(&self, connection: F) {
        let gone = self.gone.clone();
        self.tasks.spawn("node.outbound", OnError::Log, |_| async move {
            tokio::select! {
                _ = connection => {}
                () = gone.cancelled() => {}
            }
            Ok::<_, std::convert::Infallible>(()) // how it ended is told to who sent
        });
    }
}

async fn spoken(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    mut request: Request<Full<Bytes>>,
    version: Version,
    connections: &Connections,
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
            connections.execute(connection);
            sender.send_request(request).await
        }
        Version::Two => {
            let handshake = hyper::client::conn::http2::handshake(connections.clone(), stream);
            let (mut sender, connection) = handshake.await?;
            connections.execute(connection);
            sender.send_request(request).await
        }
    }
}

/// Host and port as they are written, without a user in front of them.
fn host_of(uri: &Uri) -> Option<String> {
    let host = uri.host()?;
    Some(uri.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")))
}

/// What this machine trusts.
async fn trust(version: Version) -> io::Result<Arc<rustls::ClientConfig>> {
    static ROOTS: Mutex<Option<(Instant, Arc<rustls::RootCertStore>)>> = Mutex::new(None);
    let known = || ROOTS.lock().unwrap_or_else(PoisonError::into_inner);
    let fresh = known().clone().filter(|(read, _)| read.elapsed() < TRUSTED_FOR);
    let roots = match fresh {
        Some((_, roots)) => roots,
        None => {
            let roots = tokio::task::spawn_blocking(read_roots).await.map_err(io::Error::other)??;
            *known() = Some((Instant::now(), Arc::clone(&roots)));
            roots
        }
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = match version {
        Version::One => vec![b"http/1.1".to_vec()],
        Version::Two => vec![b"h2".to_vec()],
    };
    Ok(Arc::new(config))
}

fn read_roots() -> io::Result<Arc<rustls::RootCertStore>> {
    let mut roots = rustls::RootCertStore::empty();
    let (_, unread) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if unread > 0 {
        tracing::debug!("{unread} certificates that this machine trusts cannot be read");
    }
    if roots.is_empty() {
        return Err(io::Error::other("this machine trusts nobody: it has no certificates of authorities"));
    }
    Ok(Arc::new(roots))
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
