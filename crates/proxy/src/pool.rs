//! Idle connections to instances: a stack per endpoint, of one thread. The one used last is used next, so
//! that the others can grow old and go.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use registry::Endpoint;

use crate::engine::UpstreamConnection;

/// The stacks.
pub(crate) struct Pool {
    /// By the address of the endpoint, which the stack keeps alive: an instance that comes back on the
    /// same port is another endpoint.
    stacks: RefCell<BTreeMap<usize, Stack>>,
    size: usize,
}

struct Stack {
    endpoint: Arc<Endpoint>,
    idle: Vec<Idle>,
}

struct Idle {
    connection: UpstreamConnection,
    /// When a sweep first found it idle: nobody reads the clock for it before.
    since: Option<Instant>,
}

impl Pool {
    /// A pool that keeps up to `size` idle connections per endpoint.
    pub(crate) fn new(size: usize) -> Self {
        Self { stacks: RefCell::default(), size }
    }

    /// A connection that was idle and, as far as can be seen, still is open.
    pub(crate) fn take(&self, endpoint: &Arc<Endpoint>) -> Option<UpstreamConnection> {
        let mut stacks = self.stacks.borrow_mut();
        let stack = stacks.get_mut(&key(endpoint))?;
        while let Some(mut idle) = stack.idle.pop() {
            if idle.connection.is_usable() {
                return Some(idle.connection);
            }
        }
        None
    }

    /// Keeps a connection for the next exchange, unless the endpoint is leaving or there are enough.
    pub(crate) fn put(&self, endpoint: &Arc<Endpoint>, connection: UpstreamConnection) {
        if !endpoint.is_accepting() {
            return;
        }
        let mut stacks = self.stacks.borrow_mut();
        let stack = stacks
            .entry(key(endpoint))
            .or_insert_with(|| Stack { endpoint: Arc::clone(endpoint), idle: Vec::new() });
        if stack.idle.len() < self.size {
            stack.idle.push(Idle { connection, since: None });
        }
    }

    /// Closes connections that were idle for too long, were closed by the other side, or lead to an
    /// endpoint that is leaving: an instance that ends gracefully waits for them.
    pub(crate) fn sweep(&self, now: Instant, limit: Duration) {
        self.stacks.borrow_mut().retain(|_, stack| {
            let leaving = !stack.endpoint.is_accepting();
            stack.idle.retain_mut(|idle| {
                let since = *idle.since.get_or_insert(now);
                let old = now.saturating_duration_since(since) > limit;
                !leaving && !old && idle.connection.is_usable()
            });
            !stack.idle.is_empty()
        });
    }

    /// Idle connections now.
    pub(crate) fn len(&self) -> usize {
        self.stacks.borrow().values().map(|stack| stack.idle.len()).sum()
    }
}

fn key(endpoint: &Arc<Endpoint>) -> usize {
    Arc::as_ptr(endpoint).addr()
}
