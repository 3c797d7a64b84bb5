//! The bulkhead: only so many requests at once, so that one slow service does not take all places. Who finds no
//! place waits in a bounded queue, the more important first; who would wait beyond its deadline is told at once.
//!
//! Threads share one, each with its own runtime. While there are places, taking one and giving it back is one
//! exchange each. The queue behind a lock is touched only when all places are taken. A place is handed over, not
//! given back and fought for: nobody overtakes, and no wake-up is lost.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use manifest::spec::{Bulkhead as Rule, Priority};
use registry::Moment;
use registry::moment::nanos;

/// The time for which places are held is learned while at least this part of them is taken.
const LEARN_FROM: u32 = 2;
/// One observed time moves the estimate by this part of it, up or down. So it finds the median, and a connection
/// that is held for hours does not make everybody else despair.
const LEARN: u64 = 16;
/// How long a refused request is asked to stay away at least.
const SHORTEST_RETRY: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub struct Bulkhead {
    /// Places taken, and above them the length of the queue: one word, so that nobody can join the queue in the
    /// moment in which the last place is given back.
    word: Counts,
    rule: Limits,
    queue: Mutex<Queue>,
}

#[derive(Debug)]
#[repr(align(128))]
struct Counts(AtomicU64);

/// Written seldom.
#[derive(Debug)]
#[repr(align(128))]
struct Limits {
    concurrency: AtomicU32,
    queue: AtomicU32,
    /// How long a place is held, typically, in nanoseconds; zero: not known.
    held: AtomicU64,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: BTreeMap<Rank, Ticket>,
    /// How many of each priority wait, lowest first.
    by_priority: [u32; 4],
    last: u64,
}

/// The lowest goes first: of the higher priority, then who came earlier.
type Rank = (Reverse<Priority>, u64);

#[derive(Debug)]
struct Ticket {
    fate: Arc<AtomicU8>,
    waker: Waker,
}

/// One more in the queue, in the word.
const ONE_WAITING: u64 = 1 << 32;

const WAITS: u8 = 0;
const HAS_A_PLACE: u8 = 1;
const PUSHED_OUT: u8 = 2;

/// A place. Dropping it gives it to the next in the queue.
#[derive(Debug)]
pub struct Permit {
    bulkhead: Arc<Bulkhead>,
}

/// No place, and waiting for one makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full {
    /// Why.
    pub why: Why,
    /// For `Retry-After`: at least a second.
    pub retry_after: Duration,
}

/// Why a request was not let wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// As many wait as may, and none is less important.
    QueueFull,
    /// Its turn would come after its deadline.
    TooLate,
    /// Something more important came while the queue was full.
    PushedOut,
}

/// A bulkhead as people see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Places taken.
    pub in_use: u32,
    /// Requests that wait.
    pub waiting: u32,
    /// Places at all.
    pub concurrency: u32,
}

impl Bulkhead {
    /// An empty one.
    pub fn new(rule: &Rule) -> Arc<Self> {
        let rule = Limits {
            concurrency: AtomicU32::new(rule.concurrency.max(1)),
            queue: AtomicU32::new(rule.queue),
            held: AtomicU64::new(0),
        };
        Arc::new(Self { word: Counts(AtomicU64::new(0)), rule, queue: Mutex::default() })
    }

    /// Other limits from now on. Nobody loses a place; with more places those who wait get them at once. Those who
    /// wait beyond a shorter queue stay.
    pub fn reconfigure(&self, rule: &Rule) {
        self.rule.concurrency.store(rule.concurrency.max(1), Relaxed);
        self.rule.queue.store(rule.queue, Relaxed);
        let wakers = self.call(&mut self.lock());
        wakers.into_iter().for_each(Waker::wake);
    }

    /// How full it is; what [`super::adaptive`] decides by.
    pub fn load(&self) -> Load {
        let word = self.word.0.load(Relaxed);
        Load {
            in_use: in_use(word),
            waiting: waiting(word),
            concurrency: self.rule.concurrency.load(Relaxed),
        }
    }

    /// A place, if there is one and nobody waits for it.
    #[inline]
    pub fn try_acquire(self: &Arc<Self>) -> Option<Permit> {
        let concurrency = self.rule.concurrency.load(Relaxed);
        let taken = |word| (waiting(word) == 0 && in_use(word) < concurrency).then_some(word + 1);
        self.word.0.fetch_update(Relaxed, Relaxed, taken).ok()?;
        Some(Permit { bulkhead: Arc::clone(self) })
    }

    /// A place, or a wait for one that ends at the latest when the caller drops this: there is no timer in here, so
    /// let the request's own end it at its deadline. Dropping it at any moment is safe.
    pub async fn acquire(
        self: &Arc<Self>,
        deadline: Moment,
        priority: Priority,
        now: Moment,
    ) -> Result<Permit, Full> {
        if let Some(permit) = self.try_acquire() {
            return Ok(permit);
        }
        let mut place = Place { bulkhead: self, rank: None, fate: Arc::new(AtomicU8::new(WAITS)) };
        poll_fn(|context| match place.rank {
            None => place.join(deadline, priority, now, context),
            Some(rank) => place.look(rank, context),
        })
        .await
    }

    /// A permit was held for so long. It makes the estimate of how long a queue takes; nobody has to say it.
    pub fn observe(&self, held: Duration) {
        let before = self.rule.held.load(Relaxed);
        let Load { in_use, concurrency, .. } = self.load();
        if before != 0 && in_use < concurrency / LEARN_FROM {
            return; // nobody is near waiting: leave the line to its readers
        }
        let held = nanos(held).max(1);
        let step = before / LEARN + 1;
        let after = match before {
            0 => held,
            _ if held > before => before.saturating_add(step),
            _ => before.saturating_sub(step).max(1),
        };
        self.rule.held.store(after, Relaxed);
    }

    /// When somebody's turn would come who has `ahead` others before them.
    fn wait(&self, ahead: u32) -> Duration {
        let turns = u64::from(ahead) + 1;
        let concurrency = u64::from(self.rule.concurrency.load(Relaxed));
        Duration::from_nanos(self.rule.held.load(Relaxed).saturating_mul(turns) / concurrency)
    }

    fn give_back(&self) {
        let alone = |word| (waiting(word) == 0).then_some(word - 1);
        if self.word.0.fetch_update(Relaxed, Relaxed, alone).is_ok() {
            return;
        }
        let wakers = {
            let mut queue = self.lock();
            self.word.0.fetch_sub(1, Relaxed);
            self.call(&mut queue)
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Gives free places to those whose turn it is. While somebody waits, only who has the lock changes the word.
    fn call(&self, queue: &mut Queue) -> Vec<Waker> {
        let mut wakers = Vec::new();
        while self.load().in_use < self.rule.concurrency.load(Relaxed) {
            let Some((_, ticket)) = queue.pop_first() else { break };
            self.word.0.fetch_sub(ONE_WAITING - 1, Relaxed);
            ticket.fate.store(HAS_A_PLACE, Relaxed);
            wakers.push(ticket.waker);
        }
        wakers
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.bulkhead.give_back();
    }
}

/// Somebody who looks for a place. Once in the queue, `rank` is where.
struct Place<'a> {
    bulkhead: &'a Arc<Bulkhead>,
    rank: Option<Rank>,
    fate: Arc<AtomicU8>,
}

impl Place<'_> {
    fn join(
        &mut self,
        deadline: Moment,
        priority: Priority,
        now: Moment,
        context: &Context<'_>,
    ) -> Poll<Result<Permit, Full>> {
        let bulkhead = self.bulkhead;
        let mut queue = bulkhead.lock();
        let wait = bulkhead.wait(queue.ahead_of(priority));
        let full = |why| Poll::Ready(Err(Full { why, retry_after: wait.max(SHORTEST_RETRY) }));
        let most = bulkhead.rule.queue.load(Relaxed);
        let mut word = bulkhead.word.0.load(Relaxed);
        loop {
            let free = waiting(word) == 0 && in_use(word) < bulkhead.rule.concurrency.load(Relaxed);
            let next = if free { word + 1 } else { word + ONE_WAITING };
            if !free && now + wait >= deadline {
                return full(Why::TooLate);
            }
            if !free && waiting(word) >= most {
                break;
            }
            match bulkhead.word.0.compare_exchange_weak(word, next, Relaxed, Relaxed) {
                Ok(_) if free => return Poll::Ready(Ok(self.permit())),
                Ok(_) => {
                    self.rank = Some(queue.push(priority, &self.fate, context));
                    return Poll::Pending;
                }
                Err(other) => word = other,
            }
        }
        // The queue is full: the least important of those who wait goes, if it is less important.
        let Some(pushed_out) = queue.pop_less_important_than(priority) else { return full(Why::QueueFull) };
        pushed_out.fate.store(PUSHED_OUT, Relaxed);
        self.rank = Some(queue.push(priority, &self.fate, context));
        drop(queue);
        pushed_out.waker.wake();
        Poll::Pending
    }

    fn look(&mut self, rank: Rank, context: &Context<'_>) -> Poll<Result<Permit, Full>> {
        let mut queue = self.bulkhead.lock();
        if let Some(ticket) = queue.waiting.get_mut(&rank) {
            ticket.waker.clone_from(context.waker());
            return Poll::Pending;
        }
        drop(queue);
        self.rank = None;
        Poll::Ready(match self.fate.load(Relaxed) {
            HAS_A_PLACE => Ok(self.permit()),
            _ => Err(Full { why: Why::PushedOut, retry_after: SHORTEST_RETRY }),
        })
    }

    fn permit(&self) -> Permit {
        Permit { bulkhead: Arc::clone(self.bulkhead) }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let Some(rank) = self.rank else { return };
        let mut queue = self.bulkhead.lock();
        if queue.remove(rank) {
            self.bulkhead.word.0.fetch_sub(ONE_WAITING, Relaxed);
            return;
        }
        drop(queue);
        if self.fate.load(Relaxed) == HAS_A_PLACE {
            self.bulkhead.give_back(); // called, and left without having heard it
        }
    }
}

impl Queue {
    /// How many go before a newcomer.
    fn ahead_of(&self, priority: Priority) -> u32 {
        self.by_priority.iter().skip(priority as usize).sum()
    }

    fn push(&mut self, priority: Priority, fate: &Arc<AtomicU8>, context: &Context<'_>) -> Rank {
        self.last += 1;
        let rank = (Reverse(priority), self.last);
        let ticket = Ticket { fate: Arc::clone(fate), waker: context.waker().clone() };
        self.waiting.insert(rank, ticket);
        self.count(priority, 1);
        rank
    }

    fn pop_first(&mut self) -> Option<(Rank, Ticket)> {
        let first = self.waiting.pop_first();
        if let Some(((Reverse(priority), _), _)) = &first {
            self.count(*priority, -1);
        }
        first
    }

    fn pop_less_important_than(&mut self, priority: Priority) -> Option<Ticket> {
        let (Reverse(least), _) = self.waiting.last_key_value()?.0;
        if *least >= priority {
            return None;
        }
        self.count(*least, -1);
        self.waiting.pop_last().map(|(_, ticket)| ticket)
    }

    fn remove(&mut self, rank: Rank) -> bool {
        let was_there = self.waiting.remove(&rank).is_some();
        if was_there {
            self.count(rank.0.0, -1);
        }
        was_there
    }

    fn count(&mut self, priority: Priority, by: i32) {
        if let Some(count) = self.by_priority.get_mut(priority as usize) {
            *count = count.saturating_add_signed(by);
        }
    }
}

fn in_use(word: u64) -> u32 {
    word as u32
}

fn waiting(word: u64) -> u32 {
    (word >> 32) as u32
}

#[cfg(test)]
#[path = "bulkhead_tests.rs"]
mod tests;
