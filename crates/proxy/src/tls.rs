//! TLS at the gateway: 1.2 and 1.3 by rustls on ring, certificates by name, HTTP/2 by ALPN.
//!
//! For the author of an engine: what a listener with TLS hands over is a [`ClientStream`], which is an
//! `AsyncRead + AsyncWrite + Unpin`, and a [`Session`] that says what was agreed. What to know of it:
//!
//! - **Which engine.** [`Session::is_http2`] is decided: speak HTTP/2 then, and HTTP/1.1 otherwise. Nothing
//!   needs to be sniffed; a client that agreed on nothing speaks HTTP/1.1 unless it sends a preface.
//! - **Type and cost of a call.** `ClientStream` is an enum of `TcpStream` and `Box<TlsStream<TcpStream>>`:
//!   one predictable branch per read or write, and one copy of the engine's code instead of two.
//! - **Reading.** A read gives at most one record (16 KB) and costs one `recv` of at most 4 KB of wire (a
//!   constant of rustls) when nothing is buffered. Decrypted bytes wait inside: readiness of the socket says
//!   nothing before a read was pending; from then on it tells, cheaper than a read, when the next one makes
//!   sense. Do not use `try_read` on the socket.
//! - **Writing.** Each `poll_write` makes records of its own and sends them: 22 bytes and one AEAD each.
//!   Write head and body together (one buffer, or `poll_write_vectored`, which does join its slices into
//!   records). At most [`BUFFER`] bytes of records wait inside for a slow client; then a write is pending.
//!   `poll_flush` is needed: a write may return before its record has left.
//! - **The end.** `poll_shutdown` sends `close_notify` and then a FIN. Many clients leave without
//!   `close_notify`, which a read reports as `ErrorKind::UnexpectedEof`: between two requests that is a
//!   usual end, within a message it is a truncation, and must stay one for bodies that end with the
//!   connection (RFC 9112 §9.8).
//! - **Memory.** An idle connection holds the keys and a read buffer of 4 KB, some 8 KB in all; no plaintext.
//!
//! A handshake costs its thread, measured for the server's side alone: 120 µs with a P-256 certificate, 670 µs
//! with RSA 2048; resumed 100 µs in TLS 1.3 (the key exchange stays) and 16 µs in 1.2. What is pending is the
//! network: other connections go on meanwhile, and the handshakes under way are bounded ([`Handshakes`]).

mod certificates;
mod chain;
mod handshakes;
mod plain;
mod stream;

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::ring;
use rustls::server::ServerSessionMemoryCache;
use rustls::{HandshakeKind, ProtocolVersion, ServerConfig, ServerConnection};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use crate::limits::Limits;
use handshakes::{Handshakes, Told};

pub use certificates::Certificates;
pub use chain::{CHAIN_MAX, CertifiedChain, ChainError, Part};
pub(crate) use stream::ClientStream;

/// HTTP/2 in ALPN (RFC 9113 §3.2).
const H2: &[u8] = b"h2";
/// HTTP/1.1 in ALPN (RFC 7301 §6).
const HTTP_11: &[u8] = b"http/1.1";
/// Sessions kept for clients of TLS 1.2 that take no tickets, over all threads; the oldest gives way.
const SESSIONS: usize = 4096;
/// Records that wait for one slow client, in bytes: two of the largest.
pub(crate) const BUFFER: usize = 32 * 1024;
/// The first byte of a TLS connection: a record of the handshake (RFC 8446 §5.1).
const HANDSHAKE_RECORD: u8 = 22;
/// How long a handshake may still take once its thread is ending.
const HURRY: Duration = Duration::from_secs(1);

/// Makes ring the provider of whatever in this process asks for none by name. The data path always asks by
/// name. Harmless when one has been set already.
pub fn install_provider() {
    let _ = ring::default_provider().install_default();
}

/// What all handshakes of a proxy share: certificates, tickets, sessions.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    config: Arc<ServerConfig>,
    certificates: Certificates,
}

impl Server {
    /// # Errors
    /// When the machine has no randomness for the keys of the session tickets.
    pub(crate) fn new() -> io::Result<Self> {
        let certificates = Certificates::default();
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions() // 1.2 and 1.3
            .map_err(io::Error::other)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(certificates.clone()));
        config.alpn_protocols = vec![H2.to_vec(), HTTP_11.to_vec()];
        config.ticketer = ring::Ticketer::new().map_err(io::Error::other)?; // keys change every six hours
        config.session_storage = ServerSessionMemoryCache::new(SESSIONS);
        config.max_early_data_size = 0; // early data can be replayed (RFC 8446 §8)
        Ok(Self { config: Arc::new(config), certificates })
    }

    pub(crate) fn certificates(&self) -> &Certificates {
        &self.certificates
    }
}

/// What a client and this gateway agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    version: ProtocolVersion,
    cipher: Option<rustls::CipherSuite>,
    http2: bool,
    server_name: Option<Box<str>>,
    resumed: bool,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Gone => f.write_str("closed before it began"),
            Self::Late => f.write_str("not done in time"),
            Self::Crowded => f.write_str("too many handshakes are under way"),
            Self::PlainHttp => f.write_str("plain HTTP came"),
            Self::Failed(error) => error.fmt(f),
        }
    }
}

impl Session {
    fn of(connection: &ServerConnection) -> Self {
        Self {
            version: connection.protocol_version().unwrap_or(ProtocolVersion::TLSv1_2),
            cipher: connection.negotiated_cipher_suite().map(|suite| suite.suite()),
            http2: connection.alpn_protocol() == Some(H2),
            server_name: connection.server_name().map(Box::from),
            resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
        }
    }

    /// `TLSv1.3` or `TLSv1.2`, as nginx and OpenSSL write it.
    pub fn version(&self) -> &'static str {
        if self.version == ProtocolVersion::TLSv1_3 { "TLSv1.3" } else { "TLSv1.2" }
    }

    /// The cipher suite by its name of the IANA registry, such as `TLS_AES_128_GCM_SHA256` (those of 1.3
    /// with rustls' prefix `TLS13`).
    pub fn cipher(&self) -> &'static str {
        self.cipher.and_then(|cipher| cipher.as_str()).unwrap_or("unknown")
    }

    /// Whether HTTP/2 was agreed on by ALPN.
    pub fn is_http2(&self) -> bool {
        self.http2
    }

    /// The name that the client asked for (SNI), lower case.
    pub fn server_name(&self) -> Option<&str> {
        self.server_name.as_deref()
    }

    /// Whether it continues an earlier session: no certificate was shown.
    pub fn is_resumed(&self) -> bool {
        self.resumed
    }
}

/// Why a connection did not come to speak TLS.
#[derive(Debug)]
pub(crate) enum Refused {
    /// It was closed before it said anything: a port check, or a browser that opened one in reserve.
    Gone,
    /// Not done within [`Limits::handshake`].
    Late,
    /// One of more than [`Limits::handshakes`], and the oldest.
    Crowded,
    /// Plain HTTP; it was told so.
    PlainHttp,
    /// What came is not TLS, or there is nothing in common.
    Failed(io::Error),
}

/// One thread's side of it: where it accepts.
pub(crate) struct Terms {
    acceptor: TlsAcceptor,
    patience: Duration,
    handshakes: Rc<Handshakes>,
}

impl Terms {
    pub(crate) fn new(server: &Server, limits: &Limits) -> Self {
        Self {
            acceptor: TlsAcceptor::from(Arc::clone(&server.config)),
            patience: limits.handshake,
            handshakes: Handshakes::new(limits.handshakes),
        }
    }

    /// Carries out a handshake. Returns within [`Limits::handshake`].
    pub(crate) async fn accept(&self, stream: TcpStream) -> Result<(ClientStream, Session), Refused> {
        let place = self.handshakes.begin();
        let mut deadline = Instant::now() + self.patience;
        let mut work = std::pin::pin!(self.shake(stream));
        loop {
            tokio::select! {
                biased;
                outcome = work.as_mut() => return outcome,
                told = place.told() => match told {
                    Told::Leave => return Err(Refused::Crowded),
                    Told::Hurry => deadline = deadline.min(Instant::now() + HURRY),
                },
                () = tokio::time::sleep_until(deadline) => return Err(Refused::Late),
            }
        }
    }

    async fn shake(&self, stream: TcpStream) -> Result<(ClientStream, Session), Refused> {
        // A connection that says nothing yet has no TLS state: it costs a socket and a timer.
        let mut first = [0];
        match stream.peek(&mut first).await {
            Ok(0) => return Err(Refused::Gone),
            Err(error) => return Err(Refused::Failed(error)),
            Ok(_) => {}
        }
        if first[0] != HANDSHAKE_RECORD && plain::looks_like_http(first[0]) {
            plain::answer(stream).await;
            return Err(Refused::PlainHttp);
        }
        let stream = self.acceptor.accept_with(stream, |connection| {
            connection.set_buffer_limit(Some(BUFFER));
        });
        let stream = Box::new(stream.await.map_err(Refused::Failed)?);
        let session = Session::of(stream.get_ref().1);
        Ok((ClientStream::Tls(stream), session))
    }

    /// The thread ends: whoever is not done soon is cut off.
    pub(crate) fn hurry(&self) {
        self.handshakes.hurry();
    }
}

#[cfg(test)]
mod tests;
