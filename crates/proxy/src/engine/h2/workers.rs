//! Tasks that serve streams, one at a time. One that has served its stream waits for the next: what a task is
//! made of is some kilobytes, which need not be made and moved for every request.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use super::server::{Job, stream};
use crate::thread::Thread;

/// Tasks that wait, at most, per thread.
const IDLE: usize = 64;

/// The tasks of one thread that wait for a stream.
#[derive(Default)]
pub(crate) struct Workers {
    idle: RefCell<Vec<Rc<Slot>>>,
    closed: Cell<bool>,
}

/// Where a task finds its next stream.
#[derive(Default)]
struct Slot {
    job: RefCell<Option<Job>>,
    waker: RefCell<Option<Waker>>,
}

impl Slot {
    fn wake(&self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl Workers {
    /// Has a stream served, by a task that waits or a new one.
    pub(super) fn serve(&self, thread: &Rc<Thread>, job: Job) {
        let idle = self.idle.borrow_mut().pop();
        if let Some(slot) = idle {
            *slot.job.borrow_mut() = Some(job);
            return slot.wake();
        }
        let slot = Slot { job: RefCell::new(Some(job)), waker: RefCell::default() };
        thread.tasks.spawn_local(work(Rc::clone(thread), Rc::new(slot)));
    }

    /// From now on tasks end with their stream.
    pub(crate) fn close(&self) {
        self.closed.set(true);
        for slot in self.idle.take() {
            slot.wake();
        }
    }

    /// Whether a task that has nothing to do is to wait.
    fn keeps(&self, slot: &Rc<Slot>) -> bool {
        let mut idle = self.idle.borrow_mut();
        let keeps = !self.closed.get() && idle.len() < IDLE;
        if keeps {
            idle.push(Rc::clone(slot));
        }
        keeps
    }
}

async fn work(thread: Rc<Thread>, slot: Rc<Slot>) {
    loop {
        let next = poll_fn(|cx| {
            let job = slot.job.take();
            if job.is_some() || thread.workers.closed.get() {
                return Poll::Ready(job);
            }
            *slot.waker.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        });
        let Some(job) = next.await else { return };
        stream(&thread, job).await;
        if !thread.workers.keeps(&slot) {
            return;
        }
    }
}
