//! Connections of HTTP/2 to instances: of one thread, shared by its requests. Usually one per endpoint; each
//! is driven by a task of its own, which opens it as well, so that a request which is given up meanwhile takes
//! nothing from the others that wait for it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::SendStream;
use h2::client::{Builder, Connection, ResponseFuture, SendRequest};
use registry::Endpoint;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio_util::task::TaskTracker;

use super::io::{Counted, Moved};
use crate::engine::Broken;
use crate::engine::h1::client::refuse_itself;
use crate::limits::Limits;

/// How long the end of a connection may take that nobody uses any more.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Longest head of an answer.
const ANSWER_HEAD_BYTES: u32 = 64 * 1024;

/// Streams on a connection whose instance has not yet said how many it takes: what RFC 9113 §6.5.2 asks it for.
const STREAMS_UNTIL_TOLD: usize = 100;

/// All connections of one thread.
#[derive(Default)]
pub(crate) struct Links {
    /// By the address of the endpoint, which the bundle keeps alive: an instance that comes back on the
    /// same port is another endpoint.
    bundles: RefCell<BTreeMap<usize, Rc<Bundle>>>,
    draining: Cell<bool>,
}

/// The connections to one endpoint.
struct Bundle {
    endpoint: Arc<Endpoint>,
    links: RefCell<Vec<Rc<Link>>>,
    /// Something that a request waits for has changed.
    changed: Notify,
    waiting: Cell<u32>,
}

/// One connection.
pub(super) struct Link {
    state: RefCell<State>,
    /// Streams of ours on it.
    streams: Cell<u32>,
    /// How many have been.
    carried: Cell<u64>,
    /// An answer has come on it, so it speaks HTTP/2.
    pub(super) answered: Cell<bool>,
    idle_since: Cell<Instant>,
    pub(super) moved: RefCell<Rc<Moved>>,
    /// Whoever drives it is to look at the state.
    told: Notify,
}

enum State {
    Opening,
    Open(SendRequest<Bytes>),
    /// It takes no more streams.
    Closed,
    /// It could not be opened.
    Failed(Failed),
}

/// The cause, for whoever waits.
#[derive(Clone, Debug)]
enum Failed {
    Connect(io::ErrorKind, Option<i32>),
    /// It ended before the instance had said a word.
    Ended(String),
    /// What the instance says is not HTTP/2.
    Malformed(String),
}

impl From<Failed> for NoPlace {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Connect(kind, code) => {
                Self::Connect(code.map_or(kind.into(), io::Error::from_raw_os_error))
            }
            Failed::Ended(cause) => Self::Broken(Broken::Unsent(cause.into())),
            Failed::Malformed(cause) => Self::Broken(Broken::Malformed(cause.into())),
        }
    }
}

/// Why there is no place on a connection.
#[derive(Debug)]
pub(crate) enum NoPlace {
    /// The connection could not be opened.
    Connect(io::Error),
    /// It ended before it could be used.
    Broken(Broken),
    /// Too many wait for a place already.
    Full,
}

impl Links {
    /// A place for one stream on a connection to an endpoint, which is opened if there is none or all are
    /// full. The caller bounds the time. `opened` is called for each connection that is opened.
    pub(crate) async fn place(
        &self,
        endpoint: &Arc<Endpoint>,
        limits: &Limits,
        tasks: &TaskTracker,
        opened: impl Fn(),
    ) -> Result<Place, NoPlace> {
        let bundle = self.bundle(endpoint);
        let mut waiting = None;
        let mut watched: Option<Rc<Link>> = None;
        loop {
            if let Some(link) = bundle.free(limits) {
                return Ok(Place::new(bundle, link, self.draining.get()));
            }
            // The one that was waited for is gone: not for the next, but for the retry loop to try again.
            if let Some(link) = &watched
                && let State::Failed(failed) = &*link.state.borrow()
            {
                return Err(failed.clone().into());
            }
            let opening = bundle.opening();
            let room = bundle.in_use() < limits.http2.upstream_connections.max(1);
            watched = match opening {
                Some(link) => Some(link),
                None if room => {
                    opened();
                    let link = bundle.open();
                    tasks.spawn_local(run(
                        Rc::downgrade(&bundle),
                        Rc::clone(&link),
                        endpoint.address(),
                        limits.clone(),
                    ));
                    Some(link)
                }
                None => None,
            };
            if waiting.is_none() {
                waiting = Some(Waiting::enter(&bundle, limits.waiting).ok_or(NoPlace::Full)?);
            }
            bundle.changed.notified().await;
        }
    }

    fn bundle(&self, endpoint: &Arc<Endpoint>) -> Rc<Bundle> {
        let mut bundles = self.bundles.borrow_mut();
        let bundle = bundles.entry(Arc::as_ptr(endpoint).addr()).or_insert_with(|| {
            Rc::new(Bundle {
                endpoint: Arc::clone(endpoint),
                links: RefCell::default(),
                changed: Notify::new(),
                waiting: Cell::new(0),
            })
        });
        Rc::clone(bundle)
    }

    /// Closes connections that were idle for too long, or lead to an endpoint that is leaving: an instance
    /// that ends gracefully waits for them.
    pub(crate) fn sweep(&self, now: Instant, limit: Duration) {
        self.bundles.borrow_mut().retain(|_, bundle| {
            let leaving = !bundle.endpoint.is_accepting() || self.draining.get();
            for link in bundle.links.borrow().iter() {
                let old = now.saturating_duration_since(link.idle_since.get()) > limit;
                if link.streams.get() == 0 && (leaving || old) && link.is_open() {
                    link.close();
                }
            }
            !bundle.links.borrow().is_empty() || bundle.waiting.get() > 0
        });
    }

    /// From now on connections close with their last stream.
    pub(crate) fn drain(&self) {
        self.draining.set(true);
        self.sweep(Instant::now(), Duration::MAX);
    }

    /// Connections now that carry nothing.
    pub(crate) fn idle(&self) -> usize {
        let idle = |bundle: &Rc<Bundle>| {
            bundle.links.borrow().iter().filter(|link| link.streams.get() == 0 && link.is_open()).count()
        };
        self.bundles.borrow().values().map(idle).sum()
    }

    /// Whether there is nothing to sweep.
    pub(crate) fn is_empty(&self) -> bool {
        self.bundles.borrow().is_empty()
    }
}

impl Bundle {
    /// The connection with the fewest streams, if any has room for one more.
    fn free(&self, limits: &Limits) -> Option<Rc<Link>> {
        let links = self.links.borrow();
        let free = links.iter().filter(|link| link.streams.get() < link.most(limits) && link.is_alive());
        free.min_by_key(|link| link.streams.get()).cloned()
    }

    /// The connection that is being opened.
    fn opening(&self) -> Option<Rc<Link>> {
        let links = self.links.borrow();
        links.iter().find(|link| matches!(*link.state.borrow(), State::Opening)).cloned()
    }

    /// Connections that take streams, or will. Those that only finish theirs do not count.
    fn in_use(&self) -> usize {
        let closed = |link: &&Rc<Link>| matches!(*link.state.borrow(), State::Closed | State::Failed(..));
        let links = self.links.borrow();
        links.len() - links.iter().filter(closed).count()
    }

    fn open(&self) -> Rc<Link> {
        let link = Rc::new(Link {
            state: RefCell::new(State::Opening),
            streams: Cell::new(0),
            carried: Cell::new(0),
            answered: Cell::new(false),
            idle_since: Cell::new(Instant::now()),
            moved: RefCell::default(),
            told: Notify::new(),
        });
        self.links.borrow_mut().push(Rc::clone(&link));
        link
    }

    /// A connection has ended.
    fn remove(&self, link: &Rc<Link>) {
        self.links.borrow_mut().retain(|other| !Rc::ptr_eq(other, link));
        self.changed.notify_waiters();
    }
}

impl Link {
    /// Streams that it takes at once.
    fn most(&self, limits: &Limits) -> u32 {
        match &*self.state.borrow() {
            State::Open(sender) => {
                let theirs = u32::try_from(sender.current_max_send_streams()).unwrap_or(u32::MAX);
                theirs.min(limits.http2.upstream_streams)
            }
            _ => 0,
        }
    }

    /// Whether the instance has not said goodbye; one that has takes no more streams.
    fn is_alive(&self) -> bool {
        let mut state = self.state.borrow_mut();
        let State::Open(sender) = &mut *state else { return false };
        // It has begun no stream itself, so there is nothing that this could wait for.
        let polled = sender.poll_ready(&mut Context::from_waker(Waker::noop()));
        let alive = !matches!(polled, Poll::Ready(Err(_)));
        if !alive {
            *state = State::Closed;
            self.told.notify_one();
        }
        alive
    }

    fn is_open(&self) -> bool {
        matches!(*self.state.borrow(), State::Open(_))
    }

    /// Takes no more streams; ends with the last.
    fn close(&self) {
        if self.is_open() {
            *self.state.borrow_mut() = State::Closed;
        }
        self.told.notify_one();
    }
}

/// A place in the line for a place.
struct Waiting(Rc<Bundle>);

impl Waiting {
    fn enter(bundle: &Rc<Bundle>, limit: u32) -> Option<Self> {
        let waiting = bundle.waiting.get();
        (waiting < limit).then(|| {
            bundle.waiting.set(waiting + 1);
            Self(Rc::clone(bundle))
        })
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.set(self.0.waiting.get() - 1);
    }
}

/// One stream's place on a connection; given back when dropped.
pub(crate) struct Place {
    bundle: Rc<Bundle>,
    pub(super) link: Rc<Link>,
    /// The connection has carried streams before.
    pub(crate) reused: bool,
    draining: bool,
}

impl Place {
    fn new(bundle: Rc<Bundle>, link: Rc<Link>, draining: bool) -> Self {
        link.streams.set(link.streams.get() + 1);
        let reused = link.carried.replace(link.carried.get() + 1) > 0;
        Self { bundle, link, reused, draining }
    }

    /// Begins the stream. `None` as the error: the connection was closed meanwhile.
    pub(super) fn send(
        &self,
        request: http::Request<()>,
        ends: bool,
    ) -> Result<(ResponseFuture, SendStream<Bytes>), Option<h2::Error>> {
        // A sender remembers the stream that it could not begin at once, and lets one task alone wait for
        // it. One of our own per request leaves that to h2's queue, which the places bound.
        let mut sender = match &*self.link.state.borrow() {
            State::Open(sender) => sender.clone(),
            _ => return Err(None),
        };
        sender.send_request(request, ends).map_err(Some)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let streams = self.link.streams.get() - 1;
        self.link.streams.set(streams);
        if streams == 0 {
            self.link.idle_since.set(Instant::now());
            if self.draining || !self.bundle.endpoint.is_accepting() {
                self.link.close();
            }
        }
        if self.bundle.waiting.get() > 0 {
            self.bundle.changed.notify_one();
        }
    }
}

/// Opens a connection and moves its bytes until it ends.
async fn run(bundle: Weak<Bundle>, link: Rc<Link>, address: SocketAddr, limits: Limits) {
    match open(&link, address, &limits).await {
        Err(failed) => *link.state.borrow_mut() = State::Failed(failed),
        Ok((sender, driver)) => {
            *link.state.borrow_mut() = State::Open(sender);
            link.idle_since.set(Instant::now());
            if let Some(bundle) = bundle.upgrade() {
                bundle.changed.notify_waiters();
            }
            drive(&bundle, &link, driver, &limits).await;
            *link.state.borrow_mut() = State::Closed;
        }
    }
    if let Some(bundle) = bundle.upgrade() {
        bundle.remove(&link);
    }
}

type Driver = Pin<Box<Connection<Counted<TcpStream>, Bytes>>>;

/// Opens a connection, and waits until the instance has said in its settings how many streams it takes: of those
/// beyond it refuses each, and one whose body has been sent cannot be tried again.
async fn open(
    link: &Link,
    address: SocketAddr,
    limits: &Limits,
) -> Result<(SendRequest<Bytes>, Driver), Failed> {
    let connecting = tokio::time::timeout(limits.connect, connect(address, limits)).await;
    let connected = connecting.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    let (sender, driver, moved) =
        connected.map_err(|error| Failed::Connect(error.kind(), error.raw_os_error()))?;
    *link.moved.borrow_mut() = Rc::clone(&moved);
    let mut driver = Box::pin(driver);
    // Settings are the first that comes (RFC 9113 §3.4).
    let settings = poll_fn(|cx| match driver.as_mut().poll(cx) {
        Poll::Ready(ended) => Poll::Ready(Err(ended)),
        Poll::Pending if moved.read.get() > 0 => Poll::Ready(Ok(())),
        Poll::Pending => Poll::Pending,
    });
    // An instance that is too busy to say anything is waited for on the stream: how long is up to the deadline.
    let ended = match tokio::time::timeout(limits.connect, settings).await {
        Err(_) | Ok(Ok(())) => return Ok((sender, driver)),
        Ok(Err(ended)) => ended,
    };
    Err(match ended {
        Err(error) if error.is_library() => Failed::Malformed(error.to_string()),
        Err(error) => Failed::Ended(error.to_string()),
        Ok(()) => Failed::Ended("it was closed".to_owned()),
    })
}

async fn connect(
    address: SocketAddr,
    limits: &Limits,
) -> io::Result<(SendRequest<Bytes>, Connection<Counted<TcpStream>, Bytes>, Rc<Moved>)> {
    let stream = TcpStream::connect(address).await?;
    refuse_itself(&stream)?;
    stream.set_nodelay(true)?;
    let (io, moved) = Counted::new(stream, Bytes::new(), None);
    let own = &limits.http2;
    let all = own.upstream_window.saturating_mul(own.upstream_streams).min(i32::MAX as u32);
    let mut builder = Builder::new();
    builder
        .enable_push(false)
        .initial_max_send_streams(STREAMS_UNTIL_TOLD)
        .initial_window_size(own.upstream_window)
        .initial_connection_window_size(all)
        // The windows bound what lies here unread: `upstream_window` frames of one byte on each stream. A bound of
        // all streams together would let one client that does not read end the calls of everybody else.
        .data_frame_budget(usize::MAX)
        // What is cancelled goes on arriving for a while. h2 counts that as faults where it has forgotten the stream,
        // over the life of the connection, and closes it when they are too many.
        .max_concurrent_reset_streams(4 * own.upstream_streams as usize)
        .max_local_error_reset_streams(None)
        .max_header_list_size(ANSWER_HEAD_BYTES)
        .max_send_buffer_size(own.send_buffer);
    let (sender, driver) = builder.handshake(io).await.map_err(io::Error::other)?;
    Ok((sender, driver, moved))
}

/// Moves bytes until the connection ends, or until it was closed and its last stream is over.
async fn drive(bundle: &Weak<Bundle>, link: &Link, mut driver: Driver, limits: &Limits) {
    let mut most = link.most(limits);
    loop {
        tokio::select! {
            outcome = poll_fn(|cx| {
                let polled = driver.as_mut().poll(cx);
                // The instance may say at any time that it takes more streams than it has said before.
                if let Some(bundle) = bundle.upgrade()
                    && bundle.waiting.get() > 0
                {
                    let before = std::mem::replace(&mut most, link.most(limits));
                    if most > before {
                        bundle.changed.notify_waiters();
                    }
                }
                polled
            }) => {
                if let Err(error) = outcome {
                    tracing::debug!("connection to an instance: {error}");
                }
                return;
            }
            () = link.told.notified() => {
                if link.streams.get() == 0 && !link.is_open() {
                    // Nobody holds it any more: it says goodbye by itself.
                    let _ = tokio::time::timeout(LAST_WORDS, driver.as_mut()).await;
                    return;
                }
            }
        }
    }
}
