//! Ports for instances and mesh addresses.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Mutex, PoisonError};

/// Ports are given out from here: below the ephemeral range that Linux uses for outgoing connections
/// (32768–60999), so that no connection takes one away between its choice and its use.
const FIRST: u16 = 20_000;

/// How many ports there are to give out.
const COUNT: u16 = 12_000;

/// Gives out ports of 127.0.0.1 that nobody listens on. A port is not given out twice until released.
#[derive(Debug)]
pub struct Ports {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    next: u16,
    taken: BTreeSet<u16>,
}

/// Every port in the range is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no free port between {FIRST} and {}", FIRST + COUNT - 1)]
pub struct NoFreePort;

impl Ports {
    /// Starts looking at a place that depends on `seed`, so that two nodes seldom look at the same port.
    pub fn new(seed: u64) -> Self {
        let next = (seed % u64::from(COUNT)) as u16;
        Self { inner: Mutex::new(Inner { next, taken: BTreeSet::new() }) }
    }

    /// A port that nobody listens on.
    pub fn pick(&self) -> Result<u16, NoFreePort> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..COUNT {
            let port = FIRST + inner.next;
            inner.next = (inner.next + 1) % COUNT;
            if !inner.taken.contains(&port) && is_free(port) {
                inner.taken.insert(port);
                return Ok(port);
            }
        }
        Err(NoFreePort)
    }

    /// Marks a port as taken: one that was given out in an earlier life, or that a file names.
    pub fn keep(&self, port: u16) {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).taken.insert(port);
    }

    /// How many are given out or kept.
    pub fn taken(&self) -> usize {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).taken.len()
    }

    /// Whether nobody listens on a port.
    pub fn is_free(port: u16) -> bool {
        is_free(port)
    }

    /// Takes a port back.
    pub fn release(&self, port: u16) {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).taken.remove(&port);
    }
}

fn is_free(port: u16) -> bool {
    TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_not_given_out_twice_nor_while_somebody_listens_on_it() {
        let ports = Ports::new(7);
        let first = ports.pick().unwrap();
        ports.release(first);
        let _holder = TcpListener::bind((Ipv4Addr::LOCALHOST, first)).unwrap();
        let again = Ports::new(u64::from(first - FIRST));
        assert_ne!(again.pick().unwrap(), first);
        assert_ne!(ports.pick().unwrap(), ports.pick().unwrap());
    }
}
