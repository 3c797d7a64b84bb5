//! What is done in the background: calling those who wait when time has done something, writing heads, removing what
//! is gone, moving dead letters. Nothing here is ever needed for an answer.

use std::sync::Arc;
use std::time::Duration;

use kit::{OnError, Timestamp};
use store::Op;

use super::inner::{CHECKPOINT, Inner};
use super::parcel::AROUND;
use super::shard::Shard;
use super::transfer::dead_letters;
use crate::error::PipeError;
use crate::queue::keys;
use crate::spaces;

/// Messages that are removed from the store in one commit.
const SWEPT_AT_ONCE: usize = 500;
/// How long to let go of what could not be done.
const PAUSE: Duration = Duration::from_millis(50);
/// Queues that are looked at in one go.
const ALARMS_AT_ONCE: usize = 256;

/// Starts the tasks. `drops` are numbers of queues that were deleted and not yet removed.
pub(super) fn start(inner: &Arc<Inner>, drops: Vec<u32>) {
    let clock = Arc::clone(inner);
    inner.tasks.spawn("pipes.clock", OnError::StopNode, |stop| async move {
        let renew = clock.limits.lease / 3;
        let mut renew_at = clock.now() + renew;
        loop {
            let now = clock.now();
            if now >= renew_at {
                if let Err(error) = clock.store.renew(&clock.lease, clock.limits.lease).await {
                    return Err(clock.stop(&format!("the queues are somebody else's: {error}")).to_string());
                }
                renew_at = now + renew;
            }
            let due = clock.alarms.due(now, ALARMS_AT_ONCE);
            for shard in &due {
                look(&clock, shard, now);
            }
            if !due.is_empty() {
                tokio::task::yield_now().await;
                continue;
            }
            let next = clock.alarms.first().unwrap_or(renew_at).min(renew_at);
            tokio::select! {
                () = stop.cancelled() => break,
                () = clock.alarms.earlier.notified() => {}
                () = clock.clock.sleep_until(next) => {}
            }
        }
        close(&clock).await;
        Ok(())
    });
    let inner_ = Arc::clone(inner);
    inner.tasks.spawn("pipes.upkeep", OnError::StopNode, |stop| async move {
        tokio::select! {
            () = stop.cancelled() => {}
            () = work(&inner_, drops) => {}
        }
        Ok::<_, PipeError>(())
    });
}

/// Looks at a queue whose alarm is due.
fn look(inner: &Inner, shard: &Arc<Shard>, now: Timestamp) {
    let Ok(mut state) = shard.lock() else { return };
    state.armed = None;
    let wake = state.core.pass(now);
    if state.fresh.until().is_some_and(|until| until <= now) {
        state.fresh.clear(&inner.fresh);
    }
    if state.dirty_since.is_some_and(|since| since + CHECKPOINT <= now) {
        match inner.admit(AROUND) {
            Ok(admission) => {
                state.dirty_since = None;
                if let Some(op) = state.core.checkpoint() {
                    // Nobody waits for this one: should it fail, so does the next.
                    drop(inner.submit(admission, vec![op]));
                }
            }
            Err(_) => state.dirty_since = Some(now),
        }
    }
    inner.settle(shard, &mut state, wake);
}

/// Writes what is written now and then, for the last time, and lets go of the queues.
async fn close(inner: &Inner) {
    let mut last = None;
    for shard in inner.alarms.all() {
        let Ok(mut state) = shard.lock() else { continue };
        if state.dirty_since.take().is_some()
            && let Some(op) = state.core.checkpoint()
            && let Ok(admission) = inner.admit(AROUND)
        {
            last = Some(inner.submit(admission, vec![op]));
        }
    }
    if let Some(last) = last {
        let _ = inner.durable(last).await; // the next start reads more, that is all
    }
    if let Err(error) = inner.store.release(inner.lease.clone()).await {
        tracing::warn!("the queues are not let go of: {error}");
    }
}

/// Does what there is to do, a slice of each queue after the other.
async fn work(inner: &Arc<Inner>, drops: Vec<u32>) {
    for number in drops {
        while let Err(error) = remove_queue(inner, number).await {
            if pause(inner, &error).await.is_err() {
                return;
            }
        }
    }
    loop {
        let queues = inner.work.take();
        if queues.is_empty() {
            inner.work.some.notified().await;
            continue;
        }
        for shard in queues {
            if let Err(error) = slice(inner, &shard).await {
                if pause(inner, &error).await.is_err() {
                    return;
                }
                inner.work.add(&shard);
            }
        }
    }
}

/// Waits a little before it is tried again; an error: there is no sense in that.
async fn pause(inner: &Inner, error: &PipeError) -> Result<(), ()> {
    match error {
        PipeError::Stopped(_) => Err(()),
        PipeError::Busy | PipeError::NoSuchQueue(_) => {
            inner.clock.sleep_until(inner.now() + PAUSE).await;
            Ok(())
        }
    }
}

/// Does some of what there is to do for a queue; what is left is done later.
async fn slice(inner: &Arc<Inner>, shard: &Arc<Shard>) -> Result<(), PipeError> {
    if shard.look().gone {
        return remove_queue(inner, shard.number).await;
    }
    let (commit, buckets) = {
        let admission = inner.admit(SWEPT_AT_ONCE * AROUND)?;
        let Ok(mut state) = shard.lock() else { return Ok(()) };
        let ops = state.core.sweep(SWEPT_AT_ONCE);
        let commit = (!ops.is_empty()).then(|| {
            state.dirty_since.get_or_insert(inner.now());
            inner.submit(admission, ops)
        });
        let buckets = state.core.take_old_buckets();
        inner.settle(shard, &mut state, 0);
        (commit, buckets)
    };
    if let Some(commit) = commit {
        inner.durable(commit).await?;
    }
    for bucket in buckets {
        inner.store.drop_bucket(spaces::DEDUP, &keys::bucket(shard.number, bucket)).await?;
    }
    dead_letters(inner, shard).await
}

/// Removes everything of a queue that was deleted.
async fn remove_queue(inner: &Inner, number: u32) -> Result<(), PipeError> {
    // Whatever was submitted for it before has to be there first, or it would come after.
    inner.barrier().await?;
    let prefix = keys::queue(number);
    for space in [spaces::META, spaces::BODY, spaces::DEDUP, spaces::HEAD] {
        inner.store.drop_bucket(space, &prefix).await?;
    }
    let admission = inner.admit(AROUND)?;
    let done = Op::Delete(spaces::REGISTRY, keys::registry(keys::DROPS, &number.to_be_bytes()));
    inner.durable(inner.submit(admission, vec![done])).await
}
