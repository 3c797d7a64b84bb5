//! A store in memory, a clock, and queues in it; all of it can be opened again.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use kit::{BoxFuture, Clock, SteppedClock, Tasks, Timestamp};
use pipes::{
    Declared, Delivery, Limits, Options, Outgoing, Pipes, Queue, QueueName, Receipt, Receive, Settings,
};
use store::{Disk, Store};

/// The clock of the store, which asks it before each commit: while it is held, so are commits.
pub(crate) struct Gate {
    clock: Arc<SteppedClock>,
    held: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    /// Holds commits until what this gives is dropped.
    pub(crate) fn hold(self: &Arc<Self>) -> impl Drop + use<> {
        struct Held(Arc<Gate>);
        impl Drop for Held {
            fn drop(&mut self) {
                *self.0.held.lock().unwrap() = false;
                self.0.opened.notify_all();
            }
        }
        *self.held.lock().unwrap() = true;
        Held(Arc::clone(self))
    }
}

impl Clock for Gate {
    fn now(&self) -> Timestamp {
        drop(self.opened.wait_while(self.held.lock().unwrap(), |held| *held).unwrap());
        self.clock.now()
    }

    fn sleep_until(&self, moment: Timestamp) -> BoxFuture<'_, ()> {
        self.clock.sleep_until(moment)
    }
}

pub(crate) struct World {
    pub(crate) gate: Arc<Gate>,
    pub(crate) clock: Arc<SteppedClock>,
    pub(crate) disk: Disk,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) tasks: Tasks,
    pub(crate) pipes: Pipes,
    limits: Limits,
    under_way_bytes: usize,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(Limits::default(), store::Options::memory(pipes::SPACES).under_way_bytes).await
    }

    pub(crate) async fn with(limits: Limits, under_way_bytes: usize) -> Self {
        let clock = Arc::new(SteppedClock::new(Timestamp::from_micros(1_700_000_000_000_000)));
        let gate =
            Arc::new(Gate { clock: Arc::clone(&clock), held: Mutex::new(false), opened: Condvar::new() });
        let disk = Disk::new();
        let (store, tasks, pipes) = open(&gate, &disk, limits, under_way_bytes).await;
        Self { gate, clock, disk, store, tasks, pipes, limits, under_way_bytes }
    }

    /// As if the process had been killed, and started anew.
    pub(crate) async fn killed(self) -> Self {
        let Self { gate, clock, disk, store, tasks, pipes, limits, under_way_bytes } = self;
        store.close().await; // before anybody can write a last word
        drop((pipes, store));
        tasks.shutdown(Duration::from_secs(5)).await.unwrap();
        drop(tasks);
        let (store, tasks, pipes) = open(&gate, &disk, limits, under_way_bytes).await;
        Self { gate, clock, disk, store, tasks, pipes, limits, under_way_bytes }
    }

    pub(crate) async fn queue(&self, text: &str, settings: Settings) -> Queue {
        self.pipes.create_queue(name(text), settings, BTreeMap::new(), Declared::AtRunTime).await.unwrap();
        self.pipes.queue(&name(text)).unwrap()
    }

    pub(crate) fn again(&self, text: &str) -> Queue {
        self.pipes.queue(&name(text)).unwrap()
    }

    pub(crate) fn advance(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

async fn open(
    gate: &Arc<Gate>,
    disk: &Disk,
    limits: Limits,
    under_way_bytes: usize,
) -> (Arc<dyn Store>, Tasks, Pipes) {
    let options = store::Options {
        disk: disk.clone(),
        under_way_bytes,
        clock: Arc::clone(gate) as Arc<dyn Clock>,
        ..store::Options::memory(pipes::SPACES)
    };
    // Whoever was killed lets go of the disk when the last of its threads has ended.
    let store = within(|| store::open(options.clone()).ok()).await;
    let tasks = Tasks::new();
    let options = Options {
        store: Arc::clone(&store),
        clock: Arc::clone(&gate.clock) as Arc<dyn Clock>,
        tasks: tasks.clone(),
        limits,
        watch: None,
    };
    (store, tasks, Pipes::open(options).await.unwrap())
}

/// What comes about within a while.
pub(crate) async fn within<T>(mut look: impl FnMut() -> Option<T>) -> T {
    for _ in 0..20_000 {
        if let Some(found) = look() {
            return found;
        }
        tokio::time::sleep(Duration::from_micros(200)).await;
    }
    panic!("it has not come about");
}

pub(crate) async fn until(mut holds: impl FnMut() -> bool) {
    within(|| holds().then_some(())).await;
}

pub(crate) fn name(text: &str) -> QueueName {
    text.parse().unwrap()
}

pub(crate) fn message(body: &str) -> Outgoing {
    Outgoing { body: body.to_owned().into(), sender: "somebody".to_owned(), ..Outgoing::default() }
}

pub(crate) fn of_group(body: &str, group: &str) -> Outgoing {
    Outgoing { group: Some(group.to_owned()), dedup: Some(body.to_owned()), ..message(body) }
}

pub(crate) fn at_once(max: usize) -> Receive {
    Receive { max, visibility_seconds: None, wait: Duration::ZERO, attempt: None }
}

pub(crate) fn waiting(seconds: u64) -> Receive {
    Receive { wait: Duration::from_secs(seconds), ..at_once(1) }
}

pub(crate) async fn send(queue: &Queue, bodies: &[&str]) {
    let messages = bodies.iter().map(|body| message(body)).collect();
    for sent in queue.send(messages).await.unwrap() {
        sent.unwrap();
    }
}

pub(crate) async fn receive(queue: &Queue, max: usize) -> Vec<Delivery> {
    queue.receive(at_once(max)).await.unwrap()
}

pub(crate) fn bodies(deliveries: &[Delivery]) -> Vec<&str> {
    deliveries.iter().map(|delivery| std::str::from_utf8(&delivery.message.body).unwrap()).collect()
}

pub(crate) fn receipts(deliveries: &[Delivery]) -> Vec<Receipt> {
    deliveries.iter().map(|delivery| delivery.receipt).collect()
}

pub(crate) async fn delete(queue: &Queue, deliveries: &[Delivery]) {
    for deleted in queue.delete(receipts(deliveries)).await.unwrap() {
        deleted.unwrap();
    }
}
