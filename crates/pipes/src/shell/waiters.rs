//! Receives that wait, in the order in which they came. Waiting costs an entry here and a timer; nobody looks through
//! them.

use std::collections::BTreeMap;

use tokio::sync::oneshot;

/// Who waits at one queue.
#[derive(Default)]
pub(super) struct Waiters {
    waiting: BTreeMap<u64, oneshot::Sender<()>>,
    next_ticket: u64,
}

impl Waiters {
    /// A place at the end.
    pub(super) fn ticket(&mut self) -> u64 {
        self.next_ticket += 1;
        self.next_ticket
    }

    /// Waits in a place: a ticket that was called in vain is good for the same place again.
    pub(super) fn wait(&mut self, ticket: u64) -> oneshot::Receiver<()> {
        let (call, called) = oneshot::channel();
        self.waiting.insert(ticket, call);
        called
    }

    /// Waits no longer; `false`: it was called already.
    pub(super) fn leave(&mut self, ticket: u64) -> bool {
        self.waiting.remove(&ticket).is_some()
    }

    /// Calls the first so many.
    pub(super) fn call(&mut self, mut many: usize) {
        while many > 0 {
            let Some((_, call)) = self.waiting.pop_first() else { return };
            // Whoever went without leaving takes no call.
            many -= usize::from(call.send(()).is_ok());
        }
    }

    pub(super) fn call_all(&mut self) {
        self.call(usize::MAX);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}
