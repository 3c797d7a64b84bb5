//! One thread of the data path: a runtime, its listeners, its connections, its pool. It shares with the
//! others the endpoints' state, the table's place and nothing else.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use kit::SystemClock;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::access::AccessSink;
use crate::alarms::Alarms;
use crate::balance::Waiting;
use crate::connection::{Connection, Wish};
use crate::engine::h2::{Links, Workers};
use crate::engine::server;
use crate::exchange::Entrance;
use crate::limits::Limits;
use crate::listen;
use crate::policy::draw::Dice;
use crate::pool::Pool;
use crate::respond;
use crate::signals::Desk;
use crate::stats::Counters;
use crate::table::RouteTable;
use crate::tls;

/// How often connections and pools are looked over, while there are any.
const SWEEP: Duration = Duration::from_millis(250);
/// How long accepting pauses when the process has no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What all threads share.
pub(crate) struct Shared {
    pub(crate) tls: tls::Server,
    pub(crate) table: ArcSwap<RouteTable>,
    pub(crate) access: Arc<dyn AccessSink>,
    pub(crate) limits: Limits,
    /// Client connections open, over all threads.
    pub(crate) connections: AtomicU32,
}

/// What a thread is told.
pub(crate) enum Command {
    /// Accept from this listener, which others of its kind share the address with.
    Open { id: u64, listener: std::net::TcpListener, entrance: Entrance, tls: bool },
    /// Accept from it no more; its connections go on.
    Close { id: u64 },
    /// Accept nothing more, finish what is under way, end. Idle connections may send one more request for as
    /// long as `idle`.
    Shutdown { idle: Duration, grace: Duration, done: oneshot::Sender<()> },
}

/// The state of one thread, for its own tasks only.
pub(crate) struct Thread {
    pub(crate) shared: Arc<Shared>,
    /// As the proxy was started. What an app may change of them is in [`Self::limits_now`].
    pub(crate) limits: Limits,
    pub(crate) counters: Arc<Counters>,
    pub(crate) signals: Desk,
    pub(crate) clock: SystemClock,
    pub(crate) pool: Rc<Pool>,
    /// Connections of HTTP/2 to instances.
    pub(crate) links: Links,
    /// Tasks that serve streams of HTTP/2.
    pub(crate) workers: Workers,
    pub(crate) waiting: Rc<Waiting>,
    pub(crate) dice: Dice,
    pub(crate) alarms: Alarms,
    /// Copies of requests under way.
    pub(crate) mirrors: Cell<u32>,
    pub(crate) tls: tls::Terms,
    /// Connections, streams and tunnels. Owned here: they end before the thread does.
    pub(crate) tasks: TaskTracker,
    table: RefCell<Rc<Table>>,
    limits_now: RefCell<Rc<Limits>>,
    connections: RefCell<BTreeMap<u64, Rc<Connection>>>,
    next: Cell<u64>,
    draining: Cell<bool>,
    leaving: Cell<bool>,
    /// There is something to sweep again.
    stirred: Notify,
}

/// The table as one thread holds it.
pub(crate) struct Table(Arc<RouteTable>);

impl std::ops::Deref for Table {
    type Target = RouteTable;
    fn deref(&self) -> &RouteTable {
        &self.0
    }
}

impl Thread {
    fn new(shared: Arc<Shared>, counters: Arc<Counters>) -> Rc<Self> {
        let limits = shared.limits.clone();
        let tasks = TaskTracker::new();
        let table = shared.table.load_full();
        Rc::new(Self {
            limits_now: RefCell::new(Rc::new(limits.with(&table.limits))),
            table: RefCell::new(Rc::new(Table(table))),
            pool: Rc::new(Pool::new(limits.pool)),
            links: Links::default(),
            workers: Workers::default(),
            waiting: Rc::default(),
            dice: Dice::new(rand::random()),
            alarms: Alarms::default(),
            mirrors: Cell::new(0),
            tls: tls::Terms::new(&shared.tls, &limits),
            signals: Desk::new(shared.access.lane()),
            clock: SystemClock::new(),
            connections: RefCell::default(),
            next: Cell::new(0),
            draining: Cell::new(false),
            leaving: Cell::new(false),
            stirred: Notify::new(),
            shared,
            limits,
            counters,
            tasks,
        })
    }

    /// The table now. Its count of users is this thread's own: the shared one is touched only when the
    /// table has changed.
    pub(crate) fn table(&self) -> Rc<Table> {
        let newest = self.shared.table.load();
        let mut current = self.table.borrow_mut();
        if !Arc::ptr_eq(&newest, &current.0) {
            *current = Rc::new(Table(Arc::clone(&newest)));
            *self.limits_now.borrow_mut() = Rc::new(self.limits.with(&newest.limits));
        }
        Rc::clone(&current)
    }

    /// The limits now, with what the app of the newest table says. They hold for the next head, the next
    /// sweep, the next connection: who lowers one in a flood does not wait for the flood to leave. Only what a
    /// client was told, or counts on, stays as it was when its connection began: the streams of HTTP/2, and
    /// the size of a body that has begun. As of the last look at the table: a request, a new connection and
    /// each sweep take one.
    pub(crate) fn limits_now(&self) -> Rc<Limits> {
        Rc::clone(&self.limits_now.borrow())
    }

    /// Puts a connection under watch until what is returned is dropped.
    pub(crate) fn register(self: &Rc<Self>, connection: &Rc<Connection>) -> Registered {
        let id = self.next.replace(self.next.get() + 1);
        if self.connections.borrow_mut().insert(id, Rc::clone(connection)).is_none() {
            self.stirred.notify_one();
        }
        if self.draining.get() {
            connection.tell(Wish::Drain);
        }
        Registered { thread: Rc::clone(self), id }
    }

    fn sweep(&self) {
        let now = Instant::now();
        self.table();
        let limits = self.limits_now();
        for connection in self.connections.borrow().values() {
            connection.sweep(now, &limits);
        }
        self.pool.sweep(now, self.limits.pool_idle);
        self.links.sweep(now, self.limits.pool_idle);
        self.counters.upstream_idle(self.pool.len() + self.links.idle());
    }

    fn has_work(&self) -> bool {
        !self.connections.borrow().is_empty() || self.pool.len() > 0 || !self.links.is_empty()
    }

    fn has_clients(&self) -> bool {
        !self.connections.borrow().is_empty()
    }

    /// The next answer on each connection is its last. Where the protocol can say so before, it does.
    fn leave(&self) {
        self.leaving.set(true);
        for connection in self.connections.borrow().values().filter(|connection| connection.is_http2()) {
            connection.tell(Wish::Drain);
        }
    }

    /// Whether the next answer on a connection of HTTP/1 is its last.
    pub(crate) fn is_leaving(&self) -> bool {
        self.leaving.get()
    }

    /// Tells every connection to end after what it is doing.
    fn drain(&self) {
        self.draining.set(true);
        self.tls.hurry();
        self.links.drain();
        self.workers.close();
        for connection in self.connections.borrow().values() {
            connection.tell(Wish::Drain);
        }
    }
}

/// A connection under watch.
pub(crate) struct Registered {
    thread: Rc<Thread>,
    id: u64,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.thread.connections.borrow_mut().remove(&self.id);
    }
}

/// A place among the connections that may be open; freed when the connection, and a tunnel that it may
/// have become, is gone.
pub(crate) struct Occupied {
    shared: Arc<Shared>,
    counters: Arc<Counters>,
}

impl Occupied {
    fn take(thread: &Thread) -> Option<Self> {
        let occupied = Self { shared: Arc::clone(&thread.shared), counters: Arc::clone(&thread.counters) };
        occupied.counters.accepted();
        let before = occupied.shared.connections.fetch_add(1, Ordering::Relaxed);
        (before < thread.limits_now().connections).then_some(occupied)
    }
}

impl Drop for Occupied {
    fn drop(&mut self) {
        self.shared.connections.fetch_sub(1, Ordering::Relaxed);
        self.counters.closed();
    }
}

/// Runs a thread to its end. Returns whom to tell that it has ended.
pub(crate) async fn run(
    shared: Arc<Shared>,
    counters: Arc<Counters>,
    mut commands: mpsc::Receiver<Command>,
) -> Option<oneshot::Sender<()>> {
    let thread = Thread::new(shared, counters);
    let mut listeners: HashMap<u64, CancellationToken> = HashMap::new();
    let mut sweep = tokio::time::interval(SWEEP);
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (idle, grace, done) = loop {
        let has_work = thread.has_work();
        let command = tokio::select! {
            command = commands.recv() => command,
            _ = sweep.tick(), if has_work => {
                thread.sweep();
                continue;
            }
            () = thread.stirred.notified(), if !has_work => continue,
        };
        match command {
            Some(Command::Open { id, listener, entrance, tls }) => {
                let stop = listeners.entry(id).or_default().clone(); // a listener may have several sockets here
                thread.tasks.spawn_local(accept(Rc::clone(&thread), listener, Arc::new(entrance), tls, stop));
            }
            Some(Command::Close { id }) => {
                if let Some(stop) = listeners.remove(&id) {
                    stop.cancel();
                }
            }
            Some(Command::Shutdown { idle, grace, done }) => break (idle, grace, Some(done)),
            None => break (Duration::ZERO, Duration::ZERO, None), // every handle is gone: nobody can want more
        }
    };
    listeners.values().for_each(CancellationToken::cancel);
    tokio::task::yield_now().await; // the accepting tasks take what has been connected already
    thread.leave();
    let left = tokio::time::Instant::now() + idle;
    while thread.has_clients() && tokio::time::Instant::now() < left {
        sweep.tick().await;
        thread.sweep();
    }
    thread.drain();
    thread.tasks.close();
    let swept = async {
        loop {
            sweep.tick().await;
            thread.sweep();
        }
    };
    tokio::select! {
        _ = tokio::time::timeout(grace, thread.tasks.wait()) => {}
        () = swept => {}
    }
    done
}

/// Accepts until told to stop, then takes what the kernel has connected already: closing the listener
/// would reset those.
async fn accept(
    thread: Rc<Thread>,
    listener: std::net::TcpListener,
    entrance: Arc<Entrance>,
    tls: bool,
    stop: CancellationToken,
) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!("cannot accept: {error}"),
    };
    loop {
        tokio::select! {
            biased;
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => welcome(&thread, stream, peer, &entrance, tls),
                Err(error) => refused(&error).await,
            },
            () = stop.cancelled() => break,
        }
    }
    // The runtime may not have heard of the latest yet: the kernel has.
    if let Ok(listener) = listener.into_std() {
        for _ in 0..listen::BACKLOG {
            let Ok((stream, peer)) = listener.accept() else { return };
            let stream = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream));
            if let Ok(stream) = stream {
                welcome(&thread, stream, peer, &entrance, tls);
            }
        }
    }
}

/// Some failures are of the one connection; the others (no file descriptors, no memory) pass with time.
async fn refused(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    if !matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted) {
        tracing::warn!("cannot accept a connection: {error}");
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
}

fn welcome(thread: &Rc<Thread>, stream: TcpStream, peer: SocketAddr, entrance: &Arc<Entrance>, tls: bool) {
    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port()); // IPv4 by way of `::` is IPv4
    thread.table(); // its limits may be new
    let Some(occupied) = Occupied::take(thread) else {
        if !tls {
            // As much as fits at once; the client is not waited for.
            let _ = stream.try_write(&respond::too_many_connections(thread.limits_now().connections));
        }
        thread.counters.failed(crate::failure::Kind::TooManyConnections);
        return;
    };
    let _ = stream.set_nodelay(true);
    let (thread, entrance) = (Rc::clone(thread), Arc::clone(entrance));
    if tls {
        Rc::clone(&thread).tasks.spawn_local(secure(thread, stream, peer, entrance, occupied));
    } else {
        let serving = server::serve(Rc::clone(&thread), stream.into(), None, peer, entrance, occupied);
        thread.tasks.spawn_local(serving);
    }
}

/// Serves a connection that begins with a TLS handshake. Those that fail are many on an open port, and
/// seldom anybody's who matters: they are counted, and logged for whoever looks for them.
async fn secure(
    thread: Rc<Thread>,
    stream: TcpStream,
    peer: SocketAddr,
    entrance: Arc<Entrance>,
    occupied: Occupied,
) {
    match thread.tls.accept(stream).await {
        Ok((stream, session)) => {
            thread.counters.handshake_done(session.is_resumed());
            server::serve(thread, stream, Some(Arc::new(session)), peer, entrance, occupied).await;
        }
        Err(tls::Refused::Gone) => {}
        Err(refused) => {
            tracing::debug!(%peer, "TLS handshake: {refused}");
            match refused {
                tls::Refused::PlainHttp => thread.counters.failed(crate::failure::Kind::PlainOnTls),
                _ => thread.counters.handshake_failed(),
            }
        }
    }
}
