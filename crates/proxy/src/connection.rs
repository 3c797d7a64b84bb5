//! A client's connection as its thread watches it. There is no timer per connection: one sweep looks at
//! all of them and tells those to end that have used up their time.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use http::Version;

use crate::engine::Flow;
use crate::exchange::Entrance;
use crate::limits::Limits;
use crate::thread::Occupied;
use crate::tls::Session;

/// What a connection is told to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// End after the exchange under way; at once when there is none.
    Close,
    /// The same, because the process ends: a request that is on its way may still come.
    Drain,
    /// End now.
    Abort,
}

/// One client connection.
pub(crate) struct Connection {
    peer: SocketAddr,
    entrance: Arc<Entrance>,
    session: Option<Arc<Session>>,
    flow: Rc<Flow>,
    http2: Cell<bool>,
    began: Cell<u64>,
    in_flight: Cell<u32>,
    answering: Cell<u32>,
    /// When the last exchange ended, or the connection was accepted, and how much had been read by then.
    quiet: Cell<(Instant, u64)>,
    /// When a sweep first saw bytes after that: a head is on its way.
    head_since: Cell<Option<Instant>>,
    /// Counts what the client has taken of answers. On HTTP/2 its pings move bytes, too, whatever it reads.
    taken: Cell<u64>,
    /// When a sweep last saw something move, and how much had.
    moved: Cell<(Instant, u64)>,
    wish: Cell<Option<Wish>>,
    /// Whom to wake for a wish.
    waker: RefCell<Option<Waker>>,
    _occupied: Occupied,
}

impl Connection {
    pub(crate) fn new(
        peer: SocketAddr,
        entrance: Arc<Entrance>,
        session: Option<Arc<Session>>,
        flow: Rc<Flow>,
        occupied: Occupied,
    ) -> Rc<Self> {
        let now = Instant::now();
        Rc::new(Self {
            peer,
            entrance,
            session,
            flow,
            http2: Cell::new(false),
            began: Cell::new(0),
            in_flight: Cell::new(0),
            answering: Cell::new(0),
            quiet: Cell::new((now, 0)),
            head_since: Cell::new(None),
            taken: Cell::new(0),
            moved: Cell::new((now, 0)),
            wish: Cell::new(None),
            waker: RefCell::default(),
            _occupied: occupied,
        })
    }

    pub(crate) fn peer(&self) -> SocketAddr {
        self.peer
    }

    pub(crate) fn entrance(&self) -> &Arc<Entrance> {
        &self.entrance
    }

    /// What was agreed on, if it speaks TLS.
    pub(crate) fn session(&self) -> Option<&Arc<Session>> {
        self.session.as_ref()
    }

    /// The head of a request has come, in this version.
    pub(crate) fn head_came(&self, version: Version) {
        self.http2.set(version == Version::HTTP_2);
    }

    /// It has carried a request of HTTP/2.
    pub(crate) fn is_http2(&self) -> bool {
        self.http2.get()
    }

    /// It has never carried a request.
    pub(crate) fn is_fresh(&self) -> bool {
        self.began.get() == 0
    }

    /// No exchange is under way.
    pub(crate) fn is_idle(&self) -> bool {
        self.in_flight.get() == 0
    }

    /// An exchange begins.
    pub(crate) fn begin(&self) {
        self.began.set(self.began.get() + 1);
        self.in_flight.set(self.in_flight.get() + 1);
        self.head_since.set(None);
    }

    /// The head of an exchange's answer is there: from now on bytes should move.
    pub(crate) fn answering(&self) {
        self.answering.set(self.answering.get() + 1);
        self.taken(1);
    }

    /// The client has room for more of an answer and was given so many bytes.
    pub(crate) fn taken(&self, bytes: u64) {
        self.taken.set(self.taken.get() + bytes);
    }

    /// An exchange has ended, now.
    pub(crate) fn end(&self, was_answering: bool, now: Instant) {
        self.in_flight.set(self.in_flight.get().saturating_sub(1));
        if was_answering {
            self.answering.set(self.answering.get().saturating_sub(1));
        }
        self.quiet.set((now, self.flow.read()));
    }

    /// The next head is waited for; so much of it has been read ahead.
    pub(crate) fn waits_for_head(&self, ahead: usize) {
        if ahead > 0 {
            let (since, read) = self.quiet.get();
            self.quiet.set((since, read.saturating_sub(ahead as u64)));
        }
    }

    /// Tells the connection what to do.
    pub(crate) fn tell(&self, wish: Wish) {
        self.wish.set(Some(wish));
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }

    /// Ready when it is told what to do.
    pub(crate) fn poll_wish(&self, cx: &mut Context<'_>) -> Poll<Wish> {
        if let Some(wish) = self.wish.take() {
            return Poll::Ready(wish);
        }
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Waits until it is told what to do.
    pub(crate) async fn wish(&self) -> Wish {
        std::future::poll_fn(|cx| self.poll_wish(cx)).await
    }

    /// Looks whether its time is used up, and tells it so.
    pub(crate) fn sweep(&self, now: Instant, limits: &Limits) {
        let read = self.flow.read();
        let moved = if self.http2.get() { self.taken.get() } else { read + self.flow.written() };
        if self.moved.get().1 != moved {
            self.moved.set((now, moved));
        }
        let (quiet_since, read_then) = self.quiet.get();
        let head_on_its_way = self.in_flight.get() == 0 && !self.http2.get() && read != read_then;
        if head_on_its_way && self.head_since.get().is_none() {
            self.head_since.set(Some(now));
        }
        let seen = Seen {
            fresh: self.is_fresh(),
            exchanges: self.in_flight.get(),
            answering: self.answering.get(),
            quiet: now.saturating_duration_since(quiet_since),
            head: self.head_since.get().map(|since| now.saturating_duration_since(since)),
            still: now.saturating_duration_since(self.moved.get().0),
        };
        if let Some(wish) = judge(&seen, limits) {
            self.tell(wish);
        }
    }
}

/// What a sweep sees of a connection.
struct Seen {
    fresh: bool,
    exchanges: u32,
    answering: u32,
    quiet: Duration,
    head: Option<Duration>,
    still: Duration,
}

/// Whether a connection has used up its time.
fn judge(seen: &Seen, limits: &Limits) -> Option<Wish> {
    if seen.exchanges > 0 {
        // Bodies have pauses of their own; this catches a client that no longer reads.
        let stuck = seen.answering == seen.exchanges && seen.still > limits.answer_idle;
        return stuck.then_some(Wish::Abort);
    }
    let head_late = seen.head.is_some_and(|time| time > limits.header_read);
    if head_late || (seen.fresh && seen.quiet > limits.header_read) {
        return Some(Wish::Abort);
    }
    (seen.head.is_none() && seen.quiet > limits.keep_alive).then_some(Wish::Close)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn idle() -> Seen {
        Seen { fresh: false, exchanges: 0, answering: 0, quiet: at(0), head: None, still: at(0) }
    }

    #[test]
    fn an_idle_connection_is_kept_for_its_time_and_then_closed_gently() {
        let limits = Limits::default();
        assert_eq!(judge(&Seen { quiet: at(75), ..idle() }, &limits), None);
        assert_eq!(judge(&Seen { quiet: at(76), ..idle() }, &limits), Some(Wish::Close));
    }

    #[test]
    fn a_head_must_be_whole_in_time_however_it_trickles() {
        let limits = Limits::default();
        assert_eq!(judge(&Seen { head: Some(at(10)), quiet: at(100), ..idle() }, &limits), None);
        assert_eq!(judge(&Seen { head: Some(at(11)), ..idle() }, &limits), Some(Wish::Abort));
        assert_eq!(judge(&Seen { fresh: true, quiet: at(11), ..idle() }, &limits), Some(Wish::Abort));
    }

    #[test]
    fn a_client_that_stops_reading_is_cut_off_but_a_slow_service_is_waited_for() {
        let limits = Limits::default();
        let waiting = Seen { exchanges: 1, still: at(301), quiet: at(301), ..idle() };
        assert_eq!(judge(&waiting, &limits), None);
        assert_eq!(judge(&Seen { answering: 1, ..waiting }, &limits), Some(Wish::Abort));
    }
}
