//! What is in the queues that a killed process has left.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kit::{Clock, SteppedClock, SystemClock, Tasks};
use pipes::{Pipes, QueueName};
use store::EngineKind;

use super::DurabilityError;
use super::ledger::{Found, Tried};
use crate::broker::SPACES;

/// By how much the clock is ahead while it looks: what was in flight is back then, what has an identity is still known.
const AHEAD: Duration = Duration::from_secs(120);
/// Messages of one queue that are looked at; workers keep far fewer.
const MOST: usize = 100_000;
/// How long the queues may take to be closed.
const GRACE: Duration = Duration::from_secs(10);

/// Opens a store, looks, and closes it.
pub(super) fn at(directory: &Path, engine: EngineKind, kill: u32) -> Result<Found, DurabilityError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| DurabilityError::Machine { what: "start the event loop", source })?;
    runtime.block_on(look(directory, engine, kill))
}

async fn look(directory: &Path, engine: EngineKind, kill: u32) -> Result<Found, DurabilityError> {
    let options = store::Options::new(directory, SPACES).engine(engine);
    let store = store::open(options).map_err(|source| DurabilityError::Open { kill, source })?;
    let tasks = Tasks::new();
    let options = pipes::Options {
        store: Arc::clone(&store),
        clock: Arc::new(SteppedClock::new(SystemClock::new().now() + AHEAD)),
        tasks: tasks.clone(),
        limits: pipes::Limits::default(),
        watch: None,
    };
    let unreadable = |error: &(dyn std::error::Error + 'static)| DurabilityError::Read {
        kill,
        why: kit::report::chain(error),
    };
    let pipes = Pipes::open(options).await.map_err(|error| unreadable(&error))?;
    let mut found = Found::new();
    for tried in Tried::ALL {
        let queue = tried.name().parse::<QueueName>().ok().and_then(|name| pipes.queue(&name));
        let Some(queue) = queue else { continue }; // killed before it was made
        let messages = queue.peek(MOST).await.map_err(|error| unreadable(&error))?;
        if messages.len() == MOST {
            let why = format!("`{}` holds more messages than the {MOST} that can be looked at", tried.name());
            return Err(DurabilityError::Read { kill, why });
        }
        let numbers = messages.iter().map(|message| {
            let body = std::str::from_utf8(&message.message.body).unwrap_or_default();
            body.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(u64::MAX)
        });
        found.insert(tried, numbers.collect());
    }
    drop(pipes);
    if let Err(late) = tasks.shutdown(GRACE).await {
        tracing::warn!("{late}");
    }
    store.close().await;
    Ok(found)
}
