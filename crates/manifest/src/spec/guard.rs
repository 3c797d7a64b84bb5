//! How calls are guarded: what a route of the gateway and an entry of `calls` may say about failing, slow,
//! or too many requests. Every default is here, next to what it is the default of.

use std::path::PathBuf;
use std::time::Duration;

use kit::units::{Bytes, Share};

use super::{HeaderMatch, ServiceName};

/// The guards of one route of the gateway, or of one entry of `calls`.
#[derive(Clone, Debug, PartialEq)]
pub struct Guard {
    /// The deadline: from the last byte of the request to the head of the answer, all tries and waits
    /// included. It travels with the request and is lowered at each hop.
    pub timeout: Duration,
    /// Whether `timeout` was written rather than the default.
    pub timeout_written: bool,
    /// Further tries.
    pub retry: Retry,
    /// A second try beside the first when that is slow; reads only.
    pub hedge: Option<Hedge>,
    /// When to stop trying; `None`: never (`breaker: off`).
    pub breaker: Option<Breaker>,
    /// How many requests at once, and how many wait for a place.
    pub bulkhead: Bulkhead,
    /// A limit that finds itself; `None`: only the bulkhead's.
    pub adaptive: Option<Adaptive>,
    /// What is shed first when there is too much.
    pub priority: Priority,
    /// What is answered when the service cannot.
    pub fallback: Option<Fallback>,
    /// How many requests, each to be satisfied.
    pub limits: Vec<RateLimit>,
    /// Faults made on purpose, in order; the first that matches and is drawn happens.
    pub faults: Vec<Fault>,
    /// Other services that take a part of the requests, in order.
    pub split: Vec<Split>,
    /// A service that sees copies of some requests.
    pub mirror: Option<Mirror>,
    /// Whether the file says that repeated requests are recognised (`idempotent`). Read by the linter alone.
    pub idempotent: bool,
}

impl Guard {
    /// The deadline where the file says nothing.
    pub const TIMEOUT: Duration = Duration::from_secs(15);

    /// The services that its fallback, splits and mirror name.
    pub fn services(&self) -> impl Iterator<Item = &ServiceName> {
        let fallback = match &self.fallback {
            Some(Fallback::From { service, .. }) => service.as_ref(),
            _ => None,
        };
        let mirror = self.mirror.as_ref().map(|mirror| &mirror.to);
        self.split.iter().map(|split| &split.to).chain(fallback).chain(mirror)
    }

    /// Takes out fallback, splits and mirror that name a service which is not to be `kept`.
    pub fn retain(&mut self, kept: impl Fn(&ServiceName) -> bool) {
        self.split.retain(|split| kept(&split.to));
        self.mirror = self.mirror.take().filter(|mirror| kept(&mirror.to));
        self.fallback = self.fallback.take().filter(|fallback| match fallback {
            Fallback::From { service: Some(service), .. } => kept(service),
            _ => true,
        });
    }
}

impl Default for Guard {
    fn default() -> Self {
        Self {
            timeout: Self::TIMEOUT,
            timeout_written: false,
            retry: Retry::default(),
            hedge: None,
            breaker: Some(Breaker::default()),
            bulkhead: Bulkhead::default(),
            adaptive: None,
            priority: Priority::Normal,
            fallback: None,
            limits: Vec::new(),
            faults: Vec::new(),
            split: Vec::new(),
            mirror: None,
            idempotent: false,
        }
    }
}

/// Further tries of a request that failed, where a repeat is safe.
#[derive(Clone, Debug, PartialEq)]
pub struct Retry {
    /// Tries after the first. Those of a request that provably never reached a service come on top.
    pub attempts: u32,
    /// The time of one try; `None`: what is left of the deadline.
    pub per_try: Option<Duration>,
    /// The mean pause before the first further try; it doubles, with full jitter.
    pub backoff: Duration,
    /// The longest pause.
    pub max_backoff: Duration,
    /// Retries at most, as a share of the requests of the last seconds.
    pub budget: Share,
    /// Statuses that are tried again; a lost connection and a try out of time always are.
    pub statuses: Vec<u16>,
    /// Also repeat requests whose method is not idempotent: the file says that it is harmless here.
    pub any_method: bool,
    /// Whether the file says so, rather than the default.
    pub written: bool,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: 1,
            per_try: None,
            backoff: Duration::from_millis(25),
            max_backoff: Duration::from_millis(250),
            budget: Share::percent(20),
            statuses: vec![502, 503, 504],
            any_method: false,
            written: false,
        }
    }
}

/// A second try beside the first; whichever answers first wins. For `GET` and `HEAD` without a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hedge {
    /// How long the first try has before the second begins.
    pub after: Duration,
}

/// Opens when too many calls fail or are slow: calls are then refused at once until probes succeed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Breaker {
    /// Share of failed calls at which it opens. Failed: a status of 500 and above, or none in time.
    pub errors: Share,
    /// Calls that the window must hold before it is judged.
    pub of: u32,
    /// How far back is counted.
    pub window: Duration,
    /// Opens for slow calls, too.
    pub slow: Option<Slow>,
    /// How long it stays open before it lets probes through.
    pub open: Duration,
    /// Probes that must succeed, one after the other or at once, before it closes.
    pub probes: u32,
}

impl Default for Breaker {
    fn default() -> Self {
        Self {
            errors: Share::percent(50),
            of: 20,
            window: Duration::from_secs(10),
            slow: None,
            open: Duration::from_secs(5),
            probes: 3,
        }
    }
}

/// When a share of calls is too slow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Slow {
    /// A call that takes longer than this to the head of its answer is slow.
    pub over: Duration,
    /// Share of slow calls at which the breaker opens.
    pub share: Share,
}

/// Keeps one slow callee from taking all places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bulkhead {
    /// Requests under way at once.
    pub concurrency: u32,
    /// Requests that wait for a place. Those whose deadline would pass meanwhile are refused.
    pub queue: u32,
}

impl Default for Bulkhead {
    fn default() -> Self {
        Self { concurrency: 1024, queue: 1024 }
    }
}

/// Finds how many requests at once the callee carries, by how their time grows with their number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Adaptive {
    /// Never fewer than this.
    pub min: u32,
    /// Never more than this.
    pub max: u32,
}

impl Default for Adaptive {
    fn default() -> Self {
        Self { min: 4, max: 1000 }
    }
}

/// What is shed first: `low` before `normal` before `high` before `critical`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// Can be repeated later, or left undone.
    Low,
    /// Everything that says nothing.
    Normal,
    /// A person waits.
    High,
    /// Shed last.
    Critical,
}

/// What is answered when the service fails, is cut off, or refuses for load.
#[derive(Clone, Debug, PartialEq)]
pub enum Fallback {
    /// Always the same answer.
    Static {
        /// Its status.
        status: u16,
        /// Its headers, in the order of the file.
        headers: Vec<(http::HeaderName, String)>,
        /// Its body.
        body: String,
    },
    /// The last good answer to the same `GET`, if it is no older than this.
    Stale {
        /// The oldest that may be used.
        max_age: Duration,
    },
    /// Somebody else's answer.
    From {
        /// Another service; `None`: the same one.
        service: Option<ServiceName>,
        /// Another path; `None`: the same one.
        path: Option<String>,
    },
}

/// A ceiling on the rate of requests: the generic cell rate algorithm (ITU-T I.371).
#[derive(Clone, Debug, PartialEq)]
pub struct RateLimit {
    /// Requests per `period`.
    pub rate: u32,
    /// The period of `rate`.
    pub period: Duration,
    /// Requests that may come at once beyond the even flow; at least 1.
    pub burst: u32,
    /// Who shares one count.
    pub per: LimitKey,
}

/// Who shares one count of a rate limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LimitKey {
    /// Everybody.
    Route,
    /// The client's address; of IPv6 its first 64 bits.
    Client,
    /// The value of a header; requests without it share one count.
    Header(http::HeaderName),
    /// The subject of the token that `auth` has checked; without one, the client's address.
    User,
}

/// A fault made on purpose.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// The share of requests it happens to.
    pub share: Share,
    /// Only for requests with these headers.
    pub headers: Vec<HeaderMatch>,
    /// Wait so long first.
    pub delay: Option<Duration>,
    /// Answer with this status instead of asking the service.
    pub abort: Option<u16>,
    /// Break the answer off after so many bytes of its body.
    pub truncate: Option<Bytes>,
}

/// Another service that takes some of the requests: a revision beside the current one.
#[derive(Clone, Debug, PartialEq)]
pub struct Split {
    /// Which service.
    pub to: ServiceName,
    /// The share of requests that match.
    pub share: Share,
    /// Only requests with these headers.
    pub headers: Vec<HeaderMatch>,
    /// Only requests with these cookies; `None`: any value.
    pub cookies: Vec<(String, Option<String>)>,
}

/// A service that sees copies of requests. What it answers is thrown away.
#[derive(Clone, Debug, PartialEq)]
pub struct Mirror {
    /// Which service.
    pub to: ServiceName,
    /// The share of requests that are copied.
    pub share: Share,
}

/// How requests are spread over the instances of a service.
#[derive(Clone, Debug, PartialEq)]
pub struct Balance {
    /// Which instance is next.
    pub by: BalanceBy,
    /// An instance that has just become ready takes its share over this time; zero: at once.
    pub slow_start: Duration,
    /// When fewer than this share of the known instances are ready, those that only the data path
    /// suspects are used as well: a bad one may answer, none certainly does not.
    pub panic: Share,
    /// When the data path passes an instance over; `None`: never.
    pub outlier: Option<Outlier>,
}

impl Default for Balance {
    fn default() -> Self {
        Self {
            by: BalanceBy::PeakEwma,
            slow_start: Duration::ZERO,
            panic: Share::percent(50),
            outlier: Some(Outlier::default()),
        }
    }
}

/// Which instance is next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BalanceBy {
    /// Of two drawn at random the one with the lower product of peak latency and requests under way.
    PeakEwma,
    /// Of two drawn at random the one with fewer requests under way.
    LeastRequest,
    /// In turn.
    RoundRobin,
    /// The same key goes to the same instance as long as it is there.
    Hash(HashKey),
}

/// What a consistent hash is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HashKey {
    /// The value of a header.
    Header(http::HeaderName),
    /// The value of a cookie.
    Cookie(String),
    /// The client's address.
    Client,
}

/// When an instance is passed over for what it answers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outlier {
    /// Failures in a row: statuses 502, 503, 504, lost connections, tries out of time.
    pub failures: u32,
    /// How long it is passed over the first time; each further time is longer by this much.
    pub eject: Duration,
    /// The longest.
    pub max_eject: Duration,
    /// Of all instances at most this share is passed over at once.
    pub share: Share,
}

impl Default for Outlier {
    fn default() -> Self {
        Self {
            failures: 5,
            eject: Duration::from_secs(5),
            max_eject: Duration::from_secs(300),
            share: Share::percent(50),
        }
    }
}

/// What a service speaks on its port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wire {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2 by prior knowledge, gRPC included.
    Http2,
}

/// Who may come in: a bearer token that is checked against keys.
#[derive(Clone, Debug, PartialEq)]
pub struct Jwt {
    /// Where the keys are.
    pub keys: JwtKeys,
    /// What `iss` must be; `None`: anything.
    pub issuer: Option<String>,
    /// What `aud` must hold, one of these; empty: anything.
    pub audience: Vec<String>,
    /// How far clocks may be apart.
    pub leeway: Duration,
}

impl Jwt {
    /// The leeway where the file says nothing.
    pub const LEEWAY: Duration = Duration::from_secs(30);
}

/// Keys for tokens. Files are read again when they change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JwtKeys {
    /// A JSON Web Key Set (RFC 7517). Absolute.
    Jwks(PathBuf),
    /// One public key, PEM (`BEGIN PUBLIC KEY`). Absolute.
    PublicKey(PathBuf),
    /// A shared secret for HS256: the bytes of a file, of which white space at the end is left out. Absolute.
    Secret(PathBuf),
}

/// One TLS certificate of the gateway. Names come from the certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Certificate {
    /// Files, read again when they change. Absolute.
    Files {
        /// The chain, leaf first, PEM.
        cert: PathBuf,
        /// The private key, PEM.
        key: PathBuf,
    },
    /// One from Atoll's own development authority, for these names.
    Development {
        /// Names and addresses.
        names: Vec<String>,
    },
}

/// What the gateway and the mesh allow at most; the data path's own defaults fill in for `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EdgeLimits {
    /// Client connections at once.
    pub connections: Option<u32>,
    /// Bytes of a request's head.
    pub header_bytes: Option<Bytes>,
    /// Lines of a request's head.
    pub headers: Option<u32>,
    /// Bytes of a request's body.
    pub body_bytes: Option<Bytes>,
    /// HTTP/2 streams at once, per connection.
    pub streams: Option<u32>,
    /// Time for a request's head.
    pub header_read: Option<Duration>,
    /// Time between two requests of a connection.
    pub idle: Option<Duration>,
}
