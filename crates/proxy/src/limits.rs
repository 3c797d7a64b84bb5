//! Every bound of the data path, by name.

use std::time::Duration;

use kit::units::Bytes;
use manifest::spec::EdgeLimits;

/// What the proxy allows at most. Counts marked "per thread" hold for each of the proxy's threads alone:
/// threads share nothing on a request's path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Client connections open at once, over all threads. One more is answered 503 and closed.
    pub connections: u32,
    /// Bytes of a request head: names, values and target. A longer head is refused with 431.
    pub header_bytes: usize,
    /// Header lines of a request. More are refused with 431.
    pub headers: usize,
    /// Bytes of a request's body, chunked or not. A longer one is refused with 413, or cut off there.
    pub body_bytes: u64,
    /// HTTP/2 streams open at once on one client connection.
    pub streams: u32,
    /// From the accepted connection to the end of its TLS handshake.
    pub handshake: Duration,
    /// TLS handshakes under way at once, per thread. One more ends the oldest.
    pub handshakes: usize,
    /// From the first byte of a request head (or the accepted connection) to its last.
    pub header_read: Duration,
    /// How long a client connection may stay open between two requests.
    pub keep_alive: Duration,
    /// How long the body of a request may pause before the exchange is given up. Once the answer has begun it
    /// may pause for as long as that goes on.
    pub body_idle: Duration,
    /// How long the body of a request may take before the deadline stops waiting for it, besides the time that it
    /// takes at [`Self::body_rate`]: whoever sends a byte now and then would hold its place at the service for ever.
    pub body_slack: Duration,
    /// Bytes a second below which the body of a request uses up [`Self::body_slack`].
    pub body_rate: u64,
    /// How long the body of an answer may pause, whether its service does not write or its client does not
    /// read. Much longer than [`Self::body_idle`]: events from a server come when there is news.
    pub answer_idle: Duration,
    /// How long an upgraded connection (WebSocket) may be silent in both directions.
    pub tunnel_idle: Duration,
    /// Requests that wait for an instance of one upstream, per thread. One more is answered 503.
    pub waiting: u32,
    /// How long opening a connection to an instance may take.
    pub connect: Duration,
    /// How long the body of a request with `Expect: 100-continue` is held back for the upstream's word.
    /// RFC 9110 §10.1.1 lets a client go on without it.
    pub expect: Duration,
    /// Attempts for a request that provably was not processed, the first one included.
    pub attempts: u32,
    /// Idle connections kept per endpoint, per thread.
    pub pool: usize,
    /// How long an idle upstream connection is kept.
    pub pool_idle: Duration,
    /// Copies of requests under way at once, per thread (`mirror`).
    pub mirrors: u32,
    /// Times a request may pass through Atoll (counted in `Via`) before it is taken for a loop.
    pub hops: usize,
    /// What holds for HTTP/2 alone.
    pub http2: Http2,
}

/// Bounds of HTTP/2, besides [`Limits::streams`] and [`Limits::header_bytes`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http2 {
    /// Bytes of a request's body that a client may send ahead of the service, per stream.
    pub stream_window: u32,
    /// The same for all streams of a client's connection together.
    pub connection_window: u32,
    /// Bytes of an answer that wait for the client, per stream, besides the last piece that was read.
    pub send_buffer: usize,
    /// How long a client's connection may be silent before it is asked whether anybody is there. One that
    /// does not answer within [`Limits::header_read`] is closed.
    pub ping: Duration,
    /// The window in which the next two are counted.
    pub calm_window: Duration,
    /// Streams that a client may reset before they are answered, if they are most of its streams. More close
    /// the connection with `ENHANCE_YOUR_CALM`.
    pub resets: u32,
    /// Frames that a client may send which carry nothing (such as pings, settings, empty pieces of bodies),
    /// beyond one for each that does and some for what it reads. More close the connection with
    /// `ENHANCE_YOUR_CALM`.
    pub chatter: u64,
    /// Streams that a client may begin and reset before they are even looked at. More close the connection.
    pub unseen_resets: usize,
    /// Connections to one instance, per thread. A second one is opened when the first has as many streams as
    /// the instance, or [`Self::upstream_streams`], allows.
    pub upstream_connections: usize,
    /// Streams on one connection to an instance.
    pub upstream_streams: u32,
    /// Bytes of an answer's body that an instance may send ahead of the client, per stream. All streams of a
    /// connection together may send as many times that: a client that does not read stops nobody else's.
    pub upstream_window: u32,
}

impl Default for Http2 {
    fn default() -> Self {
        Self {
            stream_window: 256 * 1024,
            connection_window: 4 * 1024 * 1024,
            send_buffer: 64 * 1024,
            ping: Duration::from_secs(30),
            calm_window: Duration::from_secs(10),
            resets: 200,
            chatter: 10_000,
            unseen_resets: 20,
            upstream_connections: 2,
            upstream_streams: 256,
            upstream_window: 128 * 1024,
        }
    }
}

impl Limits {
    /// These limits with what an app's file says in place of its part of them.
    #[must_use]
    pub fn with(&self, wanted: &EdgeLimits) -> Self {
        let EdgeLimits { connections, header_bytes, headers, body_bytes, streams, header_read, idle } =
            *wanted;
        let size = |bytes: Bytes| usize::try_from(bytes.0).unwrap_or(usize::MAX);
        Self {
            connections: connections.unwrap_or(self.connections),
            header_bytes: header_bytes.map_or(self.header_bytes, size),
            headers: headers.map_or(self.headers, |lines| lines as usize),
            body_bytes: body_bytes.map_or(self.body_bytes, |bytes| bytes.0),
            streams: streams.unwrap_or(self.streams),
            header_read: header_read.unwrap_or(self.header_read),
            keep_alive: idle.unwrap_or(self.keep_alive),
            ..self.clone()
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            header_bytes: 16 * 1024,
            headers: 100,
            body_bytes: 1 << 30,
            streams: 128,
            handshake: Duration::from_secs(10),
            handshakes: 1024,
            header_read: Duration::from_secs(10),
            keep_alive: Duration::from_secs(75),
            body_idle: Duration::from_secs(60),
            body_slack: Duration::from_secs(60),
            body_rate: 1024,
            answer_idle: Duration::from_secs(300),
            tunnel_idle: Duration::from_secs(600),
            waiting: 1024,
            connect: Duration::from_secs(2),
            expect: Duration::from_secs(1),
            attempts: 3,
            pool: 64,
            pool_idle: Duration::from_secs(15),
            mirrors: 64,
            hops: 20,
            http2: Http2::default(),
        }
    }
}
