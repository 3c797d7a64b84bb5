//! Listening sockets that change hands: from the process that goes to the one that comes in its place.
//!
//! A connection that the kernel has completed waits in the queue of one socket, and is lost if the last
//! descriptor of that socket is closed. So every socket is handed over, and none is closed on the way: both
//! processes have all of them until the new one accepts.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::PoisonError;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::exchange::Entrance;
use crate::listen::{Handle, Listener, share};
use crate::thread::Command;

/// The sockets of one listener. What TLS it speaks is not their business: the app says so.
#[derive(Debug)]
pub struct Sockets {
    /// The address that was asked for.
    pub address: SocketAddr,
    /// What the listener is for.
    pub entrance: Entrance,
    /// The address it really has.
    pub bound: SocketAddr,
    /// All sockets that share it, one per thread of the process that opened them.
    pub sockets: Vec<TcpListener>,
}

impl Sockets {
    fn is_of(&self, wanted: &Listener) -> bool {
        self.address == wanted.address && self.entrance == wanted.entrance
    }
}

impl Handle {
    /// Copies of the descriptors of every listener, for another process. This one goes on accepting.
    ///
    /// # Errors
    /// When there are no descriptors left.
    pub async fn lend(&self) -> io::Result<Vec<Sockets>> {
        let set = self.inner.open.lock().await;
        let mut lent = Vec::new();
        for open in &set.listeners {
            let sockets = open.sockets.iter().map(TcpListener::try_clone).collect::<io::Result<Vec<_>>>()?;
            let Listener { address, entrance, .. } = open.wanted.clone();
            lent.push(Sockets { address, entrance, bound: open.bound, sockets });
        }
        Ok(lent)
    }

    /// Takes the sockets of another process. [`Self::listen`] uses them where it would open the same
    /// address for the same purpose. Nothing is accepted, on these or others, before [`Self::accept`].
    pub async fn inherit(&self, sockets: Vec<Sockets>) {
        let mut set = self.inner.open.lock().await;
        set.held = true;
        set.inherited = sockets;
    }

    /// Begins to accept, and gives up what was inherited and is not wanted.
    pub async fn accept(&self) {
        let mut set = self.inner.open.lock().await;
        set.held = false;
        set.inherited.clear();
        for open in &mut set.listeners {
            // A thread without a socket would have nothing to do. One more in the group takes its share of new
            // connections and nothing from the others; without it the thread is idle, no more.
            while open.sockets.len() < self.inner.threads.len() {
                match share(open.bound) {
                    Ok(socket) => open.sockets.push(socket),
                    Err(error) => {
                        tracing::warn!("cannot open another socket for {}: {error}", open.bound);
                        break;
                    }
                }
            }
            self.inner.begin(open).await;
        }
    }

    /// Accepts nothing more: another process does, on the same sockets. Finishes the exchanges under way and
    /// then ends, like [`Self::shutdown`]. But a client must not lose the request that it is sending this
    /// very moment: an idle HTTP/1 connection stays open for up to `idle`, and its next answer says
    /// `Connection: close`. HTTP/2 is told `GOAWAY` at once, which tells it what was not processed. What is
    /// not finished `grace` after that is cut off.
    pub async fn leave(&self, idle: Duration, grace: Duration) {
        self.end(idle, grace).await;
    }

    pub(crate) async fn end(&self, idle: Duration, grace: Duration) {
        let mut set = self.inner.open.lock().await;
        set.closed = true;
        set.listeners.clear();
        self.inner.addresses.lock().unwrap_or_else(PoisonError::into_inner).clear();
        let mut ending = Vec::new();
        for thread in &self.inner.threads {
            let (done, ended) = oneshot::channel();
            if thread.commands.send(Command::Shutdown { idle, grace, done }).await.is_ok() {
                ending.push(ended);
            }
        }
        drop(set);
        for ended in ending {
            let _ = ended.await;
        }
    }
}

/// The sockets that were inherited for `wanted`, if any.
pub(crate) fn take(
    inherited: &mut Vec<Sockets>,
    wanted: &Listener,
) -> Option<(Vec<TcpListener>, SocketAddr)> {
    let at = inherited.iter().position(|sockets| sockets.is_of(wanted) && !sockets.sockets.is_empty())?;
    let Sockets { bound, sockets, .. } = inherited.swap_remove(at);
    Some((sockets, bound))
}
