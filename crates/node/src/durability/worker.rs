//! What is killed: a process that sends, receives and deletes, and says of each operation when it begins and when it was
//! acknowledged.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use kit::{SystemClock, Tasks};
use pipes::{CreateError, Declared, Fifo, Outgoing, Pipes, Queue, QueueName, Receive, Settings};
use store::EngineKind;

use super::ledger::{GROUPS, Tried};
use crate::broker::SPACES;

/// Messages that wait in a queue at most: every kill is followed by a look at all of them.
const WAITING: u64 = 300;
/// Who sends, and who receives, at once.
const HANDS: usize = 4;
/// Bytes behind the number of a message.
const PADDING: usize = 700;
/// For how long a liar keeps what it has acknowledged to itself.
const LIE: Duration = Duration::from_millis(30);
/// The most memory that the store is to use: little, so that it flushes and compacts under way.
const MEMORY: u64 = 64 << 20;

/// What a worker is to do.
#[derive(Clone, Debug)]
pub struct Work {
    /// Its store.
    pub store: PathBuf,
    /// What keeps that.
    pub engine: EngineKind,
    /// The number of its first message.
    pub first: u64,
    /// To acknowledge before it is true.
    pub lie: bool,
}

/// Works until it is killed, or something fails; then says why.
///
/// # Errors
/// Whatever fails.
pub fn work(work: &Work) -> Result<std::convert::Infallible, String> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start the event loop: {error}"))?;
    runtime.block_on(all(work))
}

async fn all(work: &Work) -> Result<std::convert::Infallible, String> {
    let mut options = store::Options::new(&work.store, SPACES).engine(work.engine);
    options.memory_limit = Some(MEMORY);
    let store = store::open(options).map_err(|error| kit::report::chain(&error))?;
    let options = pipes::Options {
        store,
        clock: Arc::new(SystemClock::new()),
        tasks: Tasks::new(),
        limits: pipes::Limits::default(),
        watch: None,
    };
    let pipes = Pipes::open(options).await.map_err(|error| kit::report::chain(&error))?;
    let plain = queue(&pipes, Tried::Plain, None).await?;
    let fifo = Fifo { content_dedup: false, dedup_by_group: false, throughput_by_group: false };
    let ordered = queue(&pipes, Tried::Ordered, Some(fifo)).await?;
    let hand = Hand { lie: work.lie, next: Arc::new(AtomicU64::new(work.first)) };
    let sending =
        futures_util::future::select_all((0..HANDS).map(|_| Box::pin(hand.clone().send(plain.clone()))));
    let receiving =
        futures_util::future::select_all((0..HANDS).map(|_| Box::pin(receive(Tried::Plain, plain.clone()))));
    // A number is of one group, so one hand a group keeps its order.
    let first = work.first.div_ceil(GROUPS) * GROUPS;
    let in_order = futures_util::future::select_all(
        (0..GROUPS).map(|group| Box::pin(send_in_order(ordered.clone(), first + group))),
    );
    let receiving_in_order = receive(Tried::Ordered, ordered.clone());
    let why = tokio::select! {
        (why, _, _) = sending => why,
        (why, _, _) = receiving => why,
        (why, _, _) = in_order => why,
        why = receiving_in_order => why,
    };
    Err(why)
}

async fn queue(pipes: &Pipes, tried: Tried, fifo: Option<Fifo>) -> Result<Queue, String> {
    let name: QueueName = tried.name().parse().map_err(|_| "a queue's name is none".to_owned())?;
    if let Some(queue) = pipes.queue(&name) {
        return Ok(queue);
    }
    // What is in flight when its worker is killed is in nobody's way for so long.
    let settings = Settings { visibility_seconds: 60, fifo, ..Settings::default() };
    let made: Result<_, CreateError> =
        pipes.create_queue(name.clone(), settings, Default::default(), Declared::AtRunTime).await;
    made.map_err(|error| kit::report::chain(&error))?;
    pipes.queue(&name).ok_or_else(|| "a queue that was made is not there".to_owned())
}

/// Says a line, whole, at once: what was said is heard whatever becomes of this process.
fn say(word: &str, tried: Tried, number: u64) -> Result<(), String> {
    let line = format!("{word} {} {number}\n", tried.name());
    io::stdout().lock().write_all(line.as_bytes()).map_err(|error| format!("nobody listens: {error}"))
}

fn message(number: u64) -> Outgoing {
    let body = format!("{number} {}", "x".repeat(PADDING));
    Outgoing { body: Bytes::from(body), ..Outgoing::default() }
}

/// What senders share.
#[derive(Clone)]
struct Hand {
    lie: bool,
    next: Arc<AtomicU64>,
}

impl Hand {
    async fn send(self, queue: Queue) -> String {
        loop {
            if queue.counts().visible > WAITING {
                tokio::time::sleep(Duration::from_millis(1)).await; // receivers are behind: there is nothing to race
                continue;
            }
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if let Err(why) = self.one(&queue, number).await {
                return why;
            }
        }
    }

    async fn one(&self, queue: &Queue, number: u64) -> Result<(), String> {
        say("sending", Tried::Plain, number)?;
        if self.lie {
            say("sent", Tried::Plain, number)?;
            tokio::time::sleep(LIE).await;
        }
        sent(queue, message(number)).await?;
        say("sent", Tried::Plain, number)
    }
}

/// Sends every `GROUPS`th number to its group, each now and then twice.
async fn send_in_order(queue: Queue, first: u64) -> String {
    let mut number = first;
    loop {
        if queue.counts().visible > WAITING {
            tokio::time::sleep(Duration::from_millis(1)).await;
            continue;
        }
        let message = || Outgoing {
            group: Some(format!("group-{}", number % GROUPS)),
            dedup: Some(number.to_string()),
            ..message(number)
        };
        let times = if (number / GROUPS).is_multiple_of(8) { 2 } else { 1 };
        for _ in 0..times {
            let told = async {
                say("sending", Tried::Ordered, number)?;
                sent(&queue, message()).await?;
                say("sent", Tried::Ordered, number)
            };
            if let Err(why) = told.await {
                return why;
            }
        }
        number += GROUPS;
    }
}

async fn sent(queue: &Queue, message: Outgoing) -> Result<(), String> {
    let told = queue.send(vec![message]).await.map_err(|error| kit::report::chain(&error))?;
    match told.into_iter().next() {
        Some(Ok(_)) => Ok(()),
        Some(Err(error)) => Err(kit::report::chain(&error)),
        None => Err("a send was not answered".to_owned()),
    }
}

/// Receives, and deletes nearly all: some are in flight when the end comes.
async fn receive(tried: Tried, queue: Queue) -> String {
    // What a killed worker had in hand holds up the groups that it is of, until its time is over.
    let visibility_seconds = (tried == Tried::Ordered).then_some(1);
    loop {
        let want = Receive { max: 5, visibility_seconds, wait: Duration::from_secs(1), attempt: None };
        let received = match queue.receive(want).await {
            Ok(received) => received,
            Err(error) => return kit::report::chain(&error),
        };
        for delivery in received {
            let body = std::str::from_utf8(&delivery.message.body).unwrap_or_default();
            let Some(number) = body.split(' ').next().and_then(|number| number.parse::<u64>().ok()) else {
                return "a message has lost its number".to_owned();
            };
            // Left the first time. Where order is kept, one that is left would hold up its group.
            if tried == Tried::Plain && number.is_multiple_of(16) && delivery.receives == 1 {
                continue;
            }
            let told = async {
                say("deleting", tried, number)?;
                let told =
                    queue.delete(vec![delivery.receipt]).await.map_err(|error| kit::report::chain(&error))?;
                match told.into_iter().next() {
                    Some(Ok(())) => say("deleted", tried, number),
                    _ => Ok(()), // it took longer than its time: then it is somebody else's
                }
            };
            if let Err(why) = told.await {
                return why;
            }
        }
    }
}
