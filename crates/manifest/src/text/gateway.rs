//! `gateway`: the edge of an app.

use super::decode::{record, words};
use super::guard::{BreakerText, BulkheadLong, RetryText, Written};
use super::limit::LimitText;
use super::scalar::{Size, Time, Word};
use super::shape::{Dict, Form, Items, Switch};

record! {
    /// The edge of the app.
    pub struct GatewayText: "a gateway" {
        /// Where it listens: a port, `host:port`, or a list.
        listen: Items<Form<Word, ListenLong>>,
        /// Certificates: `{ cert: …, key: … }`, a list of them, or `development`.
        tls: TlsText,
        /// Who may come in, by the name that routes use.
        auth: Dict<AuthText>,
        /// What is allowed at most.
        limits: LimitsText,
        /// The timeout of every route that has none of its own.
        timeout: Time,
        /// The limit of every route that has none of its own.
        limit: LimitText,
        /// The tries of every route that has none of its own.
        retry: RetryText,
        /// The breaker of every route that has none of its own.
        breaker: Switch<BreakerText>,
        /// The bulkhead of every route that has none of its own.
        bulkhead: Form<u32, BulkheadLong>,
        /// Whether each exchange has a line in the access log.
        access_log: bool,
        /// Whether answers say in `Server-Timing` how much of their time was the platform's own.
        server_timing: bool,
    }
}

impl GatewayText {
    /// What holds for routes that do not say otherwise.
    pub(crate) fn guards(&self) -> Written<'_> {
        Written {
            timeout: self.timeout.as_ref(),
            limit: self.limit.as_ref(),
            retry: self.retry.as_ref(),
            breaker: self.breaker.as_ref(),
            bulkhead: self.bulkhead.as_ref(),
            ..Written::default()
        }
    }
}

record! {
    /// One address of the gateway.
    pub struct ListenLong: "an address to listen on" requires ["address"] {
        /// A port, or `host:port`.
        address: Word,
        /// Speak TLS.
        tls: bool,
    }
}

/// `tls: development`, `{ cert, key }`, a list of them, `true` (as `development`) or `false`.
pub(crate) type TlsText = Switch<Items<Form<TlsWord, TlsLong>>>;

words! {
    /// A certificate that needs no file.
    pub enum TlsWord: "a certificate" {
        /// From Atoll's own development authority.
        Development = "development",
    }
}

record! {
    /// One certificate.
    pub struct TlsLong: "a certificate" {
        /// The chain, leaf first, PEM.
        cert: String,
        /// The private key, PEM.
        key: String,
        /// From Atoll's own development authority, for these names.
        development: Switch<Items<String>>,
    }
}

record! {
    /// One way to be let in.
    pub struct AuthText: "an entry of auth" requires ["jwt"] {
        /// A bearer token (RFC 7519) that is checked against keys.
        jwt: JwtText,
    }
}

record! {
    /// How a token is checked.
    pub struct JwtText: "a jwt section" {
        /// File with a JSON Web Key Set.
        jwks: String,
        /// File with one public key, PEM.
        key: String,
        /// File with a shared secret, for HS256.
        secret: String,
        /// What `iss` must be.
        issuer: String,
        /// What `aud` must hold, one of these.
        audience: Items<String>,
        /// How far clocks may be apart.
        leeway: Time,
    }
}

record! {
    /// What is allowed at most.
    pub struct LimitsText: "a limits section" {
        /// Client connections at once.
        connections: u32,
        /// Bytes of a request's head.
        header_bytes: Size,
        /// Lines of a request's head.
        headers: u32,
        /// Bytes of a request's body; -1: no limit.
        body_bytes: Size,
        /// HTTP/2 streams at once, per connection.
        streams: u32,
        /// Time for a request's head.
        header_read: Time,
        /// Time between two requests of a connection.
        idle: Time,
    }
}
