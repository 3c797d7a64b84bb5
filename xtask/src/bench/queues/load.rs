//! The load that meets every system alike: so many connections on one thread, each with one operation under
//! way, for a while or until the messages are gone.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::client::Client;
use super::system::System;
use super::used::Used;
use crate::go_on;

/// How long opening all connections may take.
const OPEN_PATIENCE: Duration = Duration::from_secs(60);

/// How long one operation may take.
const OPERATION_PATIENCE: Duration = Duration::from_secs(20);

/// Pause before a connection that broke is opened again.
const REOPEN_PAUSE: Duration = Duration::from_millis(20);

/// How many kinds of failure are told apart.
const MAX_KINDS: usize = 20;

/// What each connection does, over and over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// Sends so many messages at once.
    Send(usize),
    /// Receives up to so many and deletes them.
    Take(usize),
    /// Sends so many, receives as many, deletes them.
    Cycle(usize),
}

impl Work {
    fn batch(self) -> usize {
        match self {
            Self::Send(batch) | Self::Take(batch) | Self::Cycle(batch) => batch,
        }
    }
}

/// For how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    /// Before anything is counted.
    pub(crate) warm: Duration,
    /// What is counted.
    pub(crate) span: Duration,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    /// Messages within the measured time.
    pub(crate) messages: u64,
    /// Messages in all, those before it included.
    pub(crate) total: u64,
    /// Of each operation.
    pub(crate) latencies: Vec<Duration>,
    /// What went wrong, by kind.
    pub(crate) failures: BTreeMap<String, u64>,
    /// What the server's processes used meanwhile.
    pub(crate) cpu: Duration,
    /// What this process used.
    pub(crate) own: Duration,
    /// How long it took.
    pub(crate) wall: Duration,
}

/// What all connections share.
#[derive(Default)]
struct Shared {
    counts: Cell<bool>,
    messages: Cell<u64>,
    total: Cell<u64>,
    latencies: RefCell<Vec<Duration>>,
    failures: RefCell<BTreeMap<String, u64>>,
    /// The end is near once `total` is this.
    last: Cell<Option<u64>>,
    done: Notify,
}

impl Shared {
    fn record(&self, from: Instant, outcome: Result<usize, String>) {
        match outcome {
            Ok(messages) => {
                self.total.set(self.total.get() + messages as u64);
                if self.last.get().is_some_and(|last| self.total.get() >= last) {
                    self.done.notify_one();
                }
                if self.counts.get() {
                    self.messages.set(self.messages.get() + messages as u64);
                    self.latencies.borrow_mut().push(from.elapsed());
                }
            }
            Err(kind) => {
                let mut failures = self.failures.borrow_mut();
                if failures.len() < MAX_KINDS || failures.contains_key(&kind) {
                    *failures.entry(kind).or_default() += 1;
                }
            }
        }
    }
}

/// Works for a while, or, with `most`, until that many messages were handled.
pub(crate) fn run(
    system: &System,
    work: Work,
    in_flight: usize,
    times: Times,
    most: Option<u64>,
) -> anyhow::Result<Outcome> {
    locally(|| async move {
        let shared = Rc::new(Shared::default());
        // Those that find nothing any more would wait, and be counted with what they waited.
        let tail = (in_flight * work.batch()) as u64;
        shared.last.set(most.map(|most| most.saturating_sub(tail).max(1)));
        let clients = tokio::time::timeout(OPEN_PATIENCE, open(system, in_flight, work)).await;
        let clients = clients.context("opening connections takes too long")??;
        let mut workers = JoinSet::new();
        for client in clients {
            workers.spawn_local(worker(client, work, Rc::clone(&shared)));
        }
        let early = wait(times.warm, &shared).await?;
        // Those that serve a connection each have come by now, those of earlier ones have gone.
        let pids = system.tree.pids()?;
        let own = [std::process::id()];
        let (start, before, mine) = (Instant::now(), Used::until_now(&pids), Used::until_now(&own));
        shared.counts.set(true);
        anyhow::ensure!(!early, "the messages are gone before anything could be counted");
        wait(times.span, &shared).await?;
        shared.counts.set(false);
        let (wall, after, mine_after) = (start.elapsed(), Used::until_now(&pids), Used::until_now(&own));
        drop(workers);
        Ok(Outcome {
            messages: shared.messages.get(),
            total: shared.total.get(),
            latencies: shared.latencies.take(),
            failures: shared.failures.take(),
            cpu: after.since(&before),
            own: mine_after.since(&mine),
            wall,
        })
    })
}

async fn open(system: &System, in_flight: usize, work: Work) -> anyhow::Result<Vec<Client>> {
    let mut clients = Vec::new();
    for number in 0..in_flight {
        go_on()?;
        let opened = Client::open(&system.endpoint, number, work).await;
        clients.push(opened.map_err(|error| anyhow::anyhow!("open connection {number}: {error}"))?);
    }
    Ok(clients)
}

/// Waits for a time, or until the messages are gone: then `true`.
async fn wait(time: Duration, shared: &Shared) -> anyhow::Result<bool> {
    let end = Instant::now() + time;
    loop {
        go_on()?;
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        let rest = tokio::time::sleep(left.min(Duration::from_millis(100)));
        tokio::select! {
            () = rest => {}
            () = shared.done.notified() => return Ok(true),
        }
    }
}

async fn worker(mut client: Client, work: Work, shared: Rc<Shared>) {
    loop {
        let from = Instant::now();
        let done = tokio::time::timeout(OPERATION_PATIENCE, client.perform(work)).await;
        let outcome = done.unwrap_or_else(|_| Err(format!("no answer within {OPERATION_PATIENCE:?}")));
        let failed = outcome.is_err();
        shared.record(from, outcome);
        if failed {
            tokio::time::sleep(REOPEN_PAUSE).await;
            while client.reopen(work).await.is_err() {
                tokio::time::sleep(REOPEN_PAUSE).await;
            }
        }
    }
}

/// Runs a future on a runtime of one thread.
pub(crate) fn locally<T, F: Future<Output = anyhow::Result<T>>>(
    make: impl FnOnce() -> F,
) -> anyhow::Result<T> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().build_local(Default::default())?;
    runtime.block_on(make())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happens_before_the_measured_time_counts_only_in_all() {
        let shared = Shared::default();
        shared.record(Instant::now(), Ok(10));
        shared.counts.set(true);
        shared.record(Instant::now(), Ok(3));
        shared.record(Instant::now(), Err("status 500".into()));
        assert_eq!((shared.messages.get(), shared.total.get()), (3, 13));
        assert_eq!((shared.latencies.borrow().len(), shared.failures.borrow()["status 500"]), (1, 1));
    }

    #[test]
    fn a_wait_ends_when_the_messages_are_gone() {
        let ended = locally(|| async {
            let shared = Shared::default();
            shared.last.set(Some(5));
            shared.record(Instant::now(), Ok(4));
            let before = wait(Duration::from_millis(1), &shared).await?;
            shared.record(Instant::now(), Ok(1));
            Ok((before, wait(Duration::from_secs(60), &shared).await?))
        });
        assert_eq!(ended.unwrap(), (false, true));
    }
}
