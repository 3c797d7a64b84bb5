//! What one server takes upon itself, by name.

use std::time::Duration;

/// The limits of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes of a request's head; more is answered with 431.
    pub head_bytes: usize,
    /// Most bytes of a body. A message of 1 MiB takes up to three times that in JSON (`"` and newlines double, `é` is
    /// `\u00e9`) and in a form (`%C3%A9`), and there are names around it. More is answered with 413.
    pub body_bytes: usize,
    /// Most bytes of bodies that are held at a time, over all requests; over that a request is told to come again.
    pub held_bytes: usize,
    /// Most connections at a time, over all listeners; one more is closed at once.
    pub connections: usize,
    /// Most requests under way at a time, those that wait for messages included; over that a request is told to come
    /// again.
    pub in_flight: usize,
    /// Most streams of one HTTP/2 connection.
    pub streams: u32,
    /// For how long a connection may be silent: until its next head is complete.
    pub head_wait: Duration,
    /// How long a body may take.
    pub body_wait: Duration,
    /// Most bytes of a refused body that are still read, so that its sender can read the answer.
    pub discard_bytes: usize,
    /// How long that may take.
    pub discard_wait: Duration,
    /// For how long a client may leave unread what it is sent.
    pub write_wait: Duration,
    /// How long requests under way may take once the server stops.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        const MIB: usize = 1024 * 1024;
        Self {
            head_bytes: 64 * 1024,
            body_bytes: 3 * MIB + MIB / 4,
            held_bytes: 256 * MIB,
            connections: 16_384,
            in_flight: 32_768,
            streams: 256,
            head_wait: Duration::from_secs(60),
            body_wait: Duration::from_secs(30),
            discard_bytes: 16 * MIB,
            discard_wait: Duration::from_secs(5),
            write_wait: Duration::from_secs(30),
            drain: Duration::from_secs(10),
        }
    }
}
