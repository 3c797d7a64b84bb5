//! The proxy as others see it: threads that are started, told where to listen, given tables, and stopped.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::mpsc;

use crate::access::{AccessSink, Discard};
use crate::exchange::Entrance;
use crate::handover::{self, Sockets};
use crate::limits::Limits;
use crate::stats::{Counters, Stats};
use crate::table::RouteTable;
use crate::thread::{self, Command, Shared};
use crate::tls;

/// Commands that may wait for a thread.
const COMMANDS: usize = 256;
/// Connections the kernel completes before they are accepted, per listener and thread.
pub(crate) const BACKLOG: i32 = 1024;
/// Most threads by default.
const THREADS_MAX: usize = 8;

/// How a proxy is started.
pub struct Options {
    /// Threads of the data path.
    pub threads: usize,
    /// Takes the record of every exchange.
    pub access: Arc<dyn AccessSink>,
    /// What is allowed at most.
    pub limits: Limits,
}

impl Default for Options {
    /// One thread per core, at most eight; records are not kept.
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self { threads: cores.min(THREADS_MAX), access: Arc::new(Discard), limits: Limits::default() }
    }
}

/// Where to listen, and for whom. A port of 0 lets the system choose one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Listener {
    /// The address.
    pub address: SocketAddr,
    /// What it is for.
    pub entrance: Entrance,
    /// Whether it speaks TLS, with the certificates of [`Handle::certificates`].
    pub tls: bool,
}

/// The data path.
pub struct Proxy;

impl Proxy {
    /// Starts its threads. They listen nowhere and know no routes yet.
    ///
    /// # Errors
    /// When a thread or its runtime cannot be made.
    pub fn start(options: Options) -> io::Result<Handle> {
        let shared = Arc::new(Shared {
            tls: tls::Server::new()?,
            table: ArcSwap::from_pointee(RouteTable::default()),
            access: options.access,
            limits: options.limits,
            connections: 0.into(),
        });
        let mut threads = Vec::new();
        for number in 0..options.threads.max(1) {
            threads.push(start_thread(number, &shared)?);
        }
        let open = tokio::sync::Mutex::default();
        Ok(Handle { inner: Arc::new(Inner { shared, threads, open, addresses: Mutex::default() }) })
    }
}

fn start_thread(number: usize, shared: &Arc<Shared>) -> io::Result<Thread> {
    let (commands, receiver) = mpsc::channel(COMMANDS);
    let counters = Arc::new(Counters::default());
    let (started, outcome) = std::sync::mpsc::sync_channel(1);
    let (shared, own) = (Arc::clone(shared), Arc::clone(&counters));
    std::thread::Builder::new().name(format!("atoll-proxy-{number}")).spawn(move || {
        let runtime = match Builder::new_current_thread().enable_all().build_local(LocalOptions::default()) {
            Ok(runtime) => runtime,
            Err(error) => {
                let _ = started.send(Err(error));
                return;
            }
        };
        let _ = started.send(Ok(()));
        let done = runtime.block_on(thread::run(shared, own, receiver));
        drop(runtime); // whatever overstayed its grace ends here
        if let Some(done) = done {
            let _ = done.send(());
        }
    })?;
    outcome.recv().map_err(io::Error::other)??;
    Ok(Thread { commands, counters })
}

/// Tells a running proxy what to do. Cheap to clone; all clones are the same proxy.
#[derive(Clone)]
pub struct Handle {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    shared: Arc<Shared>,
    pub(crate) threads: Vec<Thread>,
    /// Held while the set changes: two changes at once would undo each other.
    pub(crate) open: tokio::sync::Mutex<Set>,
    /// A copy for whoever only looks.
    pub(crate) addresses: Mutex<Vec<(Listener, SocketAddr)>>,
}

pub(crate) struct Thread {
    pub(crate) commands: mpsc::Sender<Command>,
    counters: Arc<Counters>,
}

#[derive(Default)]
pub(crate) struct Set {
    pub(crate) listeners: Vec<Open>,
    next: u64,
    pub(crate) closed: bool,
    /// Sockets of another process that no listener has taken yet.
    pub(crate) inherited: Vec<Sockets>,
    /// Nothing is accepted yet.
    pub(crate) held: bool,
}

pub(crate) struct Open {
    id: u64,
    pub(crate) wanted: Listener,
    pub(crate) bound: SocketAddr,
    /// All its sockets; the threads have copies of the descriptors.
    pub(crate) sockets: Vec<TcpListener>,
}

impl Inner {
    /// Lets the threads accept from a listener, as evenly as its sockets allow.
    pub(crate) async fn begin(&self, open: &Open) {
        for (socket, thread) in open.sockets.iter().zip(self.threads.iter().cycle()) {
            match socket.try_clone() {
                Ok(listener) => {
                    let (entrance, tls) = (open.wanted.entrance.clone(), open.wanted.tls);
                    let _ =
                        thread.commands.send(Command::Open { id: open.id, listener, entrance, tls }).await;
                }
                Err(error) => tracing::error!("cannot accept on {}: {error}", open.bound),
            }
        }
    }
}

impl Handle {
    /// Makes `listeners` the whole set: opens new ones on every thread, closes those that are gone (their
    /// connections go on), keeps the rest. Returns those that could not be opened, each with the reason;
    /// the others are open when this returns.
    pub async fn listen(&self, listeners: Vec<Listener>) -> Vec<(Listener, io::Error)> {
        let mut set = self.inner.open.lock().await;
        let mut failed = Vec::new();
        if set.closed {
            let closed = || io::Error::new(io::ErrorKind::NotConnected, "the proxy has been shut down");
            return listeners.into_iter().map(|listener| (listener, closed())).collect();
        }
        let (keep, gone) = std::mem::take(&mut set.listeners)
            .into_iter()
            .partition::<Vec<_>, _>(|open| listeners.contains(&open.wanted));
        set.listeners = keep;
        for open in gone {
            for thread in &self.inner.threads {
                let _ = thread.commands.send(Command::Close { id: open.id }).await;
            }
            let bound = open.bound;
            drop(open);
            wait_until_free(bound).await;
        }
        for wanted in listeners {
            if set.listeners.iter().any(|open| open.wanted == wanted) {
                continue;
            }
            let inherited = handover::take(&mut set.inherited, &wanted);
            match inherited.map_or_else(|| bind(wanted.address, self.inner.threads.len()), Ok) {
                Ok((sockets, bound)) => {
                    set.next += 1;
                    let open = Open { id: set.next, wanted, bound, sockets };
                    if !set.held {
                        self.inner.begin(&open).await;
                    }
                    set.listeners.push(open);
                }
                Err(error) => failed.push((wanted, error)),
            }
        }
        let addresses = set.listeners.iter().map(|open| (open.wanted.clone(), open.bound)).collect();
        *self.inner.addresses.lock().unwrap_or_else(PoisonError::into_inner) = addresses;
        failed
    }

    /// Every open listener with the address it really has: where a port of 0 was asked for, the one that
    /// was chosen.
    pub fn addresses(&self) -> Vec<(Listener, SocketAddr)> {
        self.inner.addresses.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Makes `table` the table of every request from now on. Requests in flight keep the one they have.
    pub fn publish(&self, table: RouteTable) {
        self.inner.shared.access.want_text(table.access_log);
        self.inner.shared.table.store(Arc::new(table));
    }

    /// Accepts nothing more, finishes the exchanges under way (with `Connection: close`, or `GOAWAY` on
    /// HTTP/2), then ends. What is not finished within `grace` is cut off.
    pub async fn shutdown(&self, grace: Duration) {
        self.end(Duration::ZERO, grace).await;
    }

    /// The certificates of every listener that speaks TLS. They can be replaced at any time.
    pub fn certificates(&self) -> &tls::Certificates {
        self.inner.shared.tls.certificates()
    }

    /// What has been counted so far.
    pub fn stats(&self) -> Stats {
        let mut stats = Stats::default();
        for thread in &self.inner.threads {
            stats.add(&thread.counters);
        }
        stats
    }

    /// The table of requests that come now.
    pub fn table(&self) -> Arc<RouteTable> {
        self.inner.shared.table.load_full()
    }
}

/// Opens one listener per thread on the same address (`SO_REUSEPORT`). `::` takes IPv4 as well, and stands
/// for `0.0.0.0` on a machine without IPv6.
///
/// Sockets that share a port would also share it with somebody else's that allow it, and requests would
/// go now here, now there. So the address is bound without sharing first: that fails if anybody has it.
fn bind(address: SocketAddr, count: usize) -> io::Result<(Vec<TcpListener>, SocketAddr)> {
    let (probe, address) = match socket(address, false) {
        Err(error) if address.ip() == Ipv6Addr::UNSPECIFIED && has_no_ipv6(&error) => {
            let address = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port());
            (socket(address, false)?, address)
        }
        probe => (probe?, address),
    };
    let address = probe.local_addr()?.as_socket().unwrap_or(address);
    drop(probe);
    let sockets = (0..count).map(|_| share(address)).collect::<io::Result<Vec<_>>>()?;
    Ok((sockets, address))
}

/// One of the listening sockets that share an address.
pub(crate) fn share(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket(address, true)?;
    socket.listen(BACKLOG)?;
    Ok(TcpListener::from(socket))
}

/// Whether a socket failed because the machine has no IPv6: it was left out of the kernel, or switched off.
fn has_no_ipv6(error: &io::Error) -> bool {
    const EAFNOSUPPORT: i32 = 97;
    error.raw_os_error() == Some(EAFNOSUPPORT) || error.kind() == io::ErrorKind::AddrNotAvailable
}

fn socket(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    if address.ip() == Ipv6Addr::UNSPECIFIED {
        socket.set_only_v6(false)?; // `::` means everywhere, whatever net.ipv6.bindv6only says
    }
    socket.set_reuse_address(true)?; // a port whose connections linger in TIME_WAIT is free
    socket.set_reuse_port(shared)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Waits a moment for the threads to close their listeners, so that the same address can be opened for
/// something else in the same call.
async fn wait_until_free(address: SocketAddr) {
    const LOOKS: u32 = 100;
    for _ in 0..LOOKS {
        if socket(address, false).is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_ipv6_is_told_from_a_port_in_use() {
        let no_family = io::Error::from_raw_os_error(97); // EAFNOSUPPORT: not in the kernel
        let no_address = io::Error::from_raw_os_error(99); // EADDRNOTAVAIL: switched off
        let in_use = io::Error::from_raw_os_error(98); // EADDRINUSE
        assert!(has_no_ipv6(&no_family) && has_no_ipv6(&no_address) && !has_no_ipv6(&in_use));
    }
}
