//! What the data path counts. Every thread counts on its own cache lines; whoever asks adds them up.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::failure::Kind;
use crate::signals::Hop;

/// Totals since the proxy started, and what is open now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Exchanges that have ended.
    pub requests: u64,
    /// Exchanges under way.
    pub in_flight: u64,
    /// Ended exchanges by class of status: `[1xx, 2xx, 3xx, 4xx, 5xx]`.
    pub classes: [u64; 5],
    /// Failures by code (`A0712`) with the error type of RFC 9209; only those that happened.
    pub errors: BTreeMap<(&'static str, &'static str), u64>,
    /// Client connections open now.
    pub connections: u64,
    /// Client connections accepted since the start.
    pub accepted: u64,
    /// Client connections that ended because what came was not HTTP.
    pub unreadable: u64,
    /// TLS handshakes that were completed, resumed sessions included.
    pub handshakes: u64,
    /// Those of them that continued an earlier session.
    pub handshakes_resumed: u64,
    /// TLS handshakes that were not completed: nothing in common, no TLS, not in time.
    pub handshakes_failed: u64,
    /// Connections to instances that were opened.
    pub upstream_opened: u64,
    /// Connections to instances that are idle now.
    pub upstream_idle: u64,
    /// Attempts after the first.
    pub retries: u64,
    /// Copies of requests that were answered well, and those that were not or were not sent.
    pub mirrored: [u64; 2],
    /// Bytes of request bodies passed on.
    pub bytes_in: u64,
    /// Bytes of answer bodies passed on.
    pub bytes_out: u64,
}

/// One thread's counters.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Counters {
    began: AtomicU64,
    ended: AtomicU64,
    classes: [AtomicU64; 5],
    errors: Errors,
    accepted: AtomicU64,
    closed: AtomicU64,
    unreadable: AtomicU64,
    handshakes: AtomicU64,
    handshakes_resumed: AtomicU64,
    handshakes_failed: AtomicU64,
    upstream_opened: AtomicU64,
    upstream_idle: AtomicU64,
    retries: AtomicU64,
    mirrored: [AtomicU64; 2],
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
}

/// Counts: a thread's counters are written by that thread alone, so that plain writes do.
#[inline]
fn add(counter: &AtomicU64, more: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(more), Relaxed);
}

/// One count per kind of failure.
#[derive(Debug)]
struct Errors([AtomicU64; Kind::ALL.len()]);

impl Default for Errors {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

impl Counters {
    pub(crate) fn exchange_began(&self) {
        add(&self.began, 1);
    }

    pub(crate) fn exchange_ended(&self, hop: &Hop<'_>) {
        add(&self.ended, 1);
        if let Some(class) = usize::from(hop.status / 100).checked_sub(1).and_then(|c| self.classes.get(c)) {
            add(class, 1);
        }
        if let Some(kind) = hop.error {
            self.failed(kind);
        }
        add(&self.bytes_in, hop.bytes_in);
        add(&self.bytes_out, hop.bytes_out);
    }

    pub(crate) fn failed(&self, kind: Kind) {
        if let Some(count) = self.errors.0.get(kind as usize) {
            add(count, 1);
        }
    }

    pub(crate) fn accepted(&self) {
        add(&self.accepted, 1);
    }

    pub(crate) fn closed(&self) {
        add(&self.closed, 1);
    }

    pub(crate) fn connection_failed(&self, unreadable: bool) {
        add(&self.unreadable, u64::from(unreadable));
    }

    pub(crate) fn handshake_done(&self, resumed: bool) {
        add(&self.handshakes, 1);
        add(&self.handshakes_resumed, u64::from(resumed));
    }

    pub(crate) fn handshake_failed(&self) {
        add(&self.handshakes_failed, 1);
    }

    pub(crate) fn upstream_opened(&self) {
        add(&self.upstream_opened, 1);
    }

    pub(crate) fn upstream_idle(&self, now: usize) {
        self.upstream_idle.store(now as u64, Relaxed);
    }

    pub(crate) fn mirrored(&self, well: bool) {
        add(&self.mirrored[usize::from(!well)], 1);
    }

    pub(crate) fn retried(&self) {
        add(&self.retries, 1);
    }
}

impl Stats {
    /// Adds one thread's counters.
    pub(crate) fn add(&mut self, counters: &Counters) {
        let read = |counter: &AtomicU64| counter.load(Relaxed);
        let ended = read(&counters.ended);
        self.requests += ended;
        self.in_flight += read(&counters.began).saturating_sub(ended);
        for (sum, class) in self.classes.iter_mut().zip(&counters.classes) {
            *sum += read(class);
        }
        for (kind, count) in Kind::ALL.into_iter().zip(&counters.errors.0) {
            let count = read(count);
            if count > 0 {
                *self.errors.entry((kind.code(), kind.token())).or_default() += count;
            }
        }
        let closed = read(&counters.closed);
        let accepted = read(&counters.accepted);
        self.accepted += accepted;
        self.connections += accepted.saturating_sub(closed);
        self.unreadable += read(&counters.unreadable);
        self.handshakes += read(&counters.handshakes);
        self.handshakes_resumed += read(&counters.handshakes_resumed);
        self.handshakes_failed += read(&counters.handshakes_failed);
        self.upstream_opened += read(&counters.upstream_opened);
        self.upstream_idle += read(&counters.upstream_idle);
        self.retries += read(&counters.retries);
        for (sum, count) in self.mirrored.iter_mut().zip(&counters.mirrored) {
            *sum += read(count);
        }
        self.bytes_in += read(&counters.bytes_in);
        self.bytes_out += read(&counters.bytes_out);
    }
}
