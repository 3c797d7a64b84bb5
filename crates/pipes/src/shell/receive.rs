//! Receiving: at once if there is something, else as soon as there is.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use kit::Timestamp;
use store::Committing;
use tokio::sync::oneshot;

use super::inner::Inner;
use super::options::Receive;
use super::parcel::{AROUND, deliver};
use super::queue::Queue;
use super::shard::Shard;
use crate::error::{PipeError, ReceiveError};
use crate::queue::core::{OverLimit, Taken, Want};
use crate::queue::keys;
use crate::queue::message::Delivery;
use crate::queue::receipt::Receipt;
use crate::spaces;

/// Most messages of one receive.
const MOST: usize = 10;

/// What one look at the queue came to.
enum Look {
    Taken {
        commit: Option<Committing>,
        hand_back: HandBack,
        bodies: Vec<Option<Bytes>>,
        at: Timestamp,
        fifo: bool,
    },
    Nothing,
    Wait(oneshot::Receiver<()>),
}

impl Queue {
    /// Receives messages; waits for the first one up to `want.wait`. Dropping the future loses nothing: what it may
    /// have taken is put back.
    pub async fn receive(&self, want: Receive) -> Result<Vec<Delivery>, ReceiveError> {
        let until = (!want.wait.is_zero()).then(|| self.inner.now() + want.wait);
        let mut place = None;
        let closing = self.inner.tasks.stopping();
        loop {
            match self.look(&want, until, &mut place)? {
                Look::Taken { commit, hand_back, bodies, at, fifo } => {
                    drop(place);
                    return Ok(self.deliver(commit, hand_back, bodies, at, fifo).await?);
                }
                Look::Nothing => return Ok(Vec::new()),
                Look::Wait(called) => {
                    let until = until.unwrap_or_else(|| self.inner.now());
                    tokio::select! {
                        // Called, or the queue is gone: look again.
                        _ = called => if let Some(place) = &mut place { place.called = true },
                        // Look once more: it may be that the same moment brought something.
                        () = self.inner.clock.sleep_until(until) => {}
                        () = closing.cancelled() => return Ok(Vec::new()),
                    }
                }
            }
        }
    }

    /// Takes what there is, or a place among those who wait, in one go: nothing can come in between.
    fn look(
        &self,
        want: &Receive,
        until: Option<Timestamp>,
        place: &mut Option<Place>,
    ) -> Result<Look, ReceiveError> {
        let max = want.max.clamp(1, MOST);
        let admission = self.inner.admit(max * AROUND)?;
        let mut state = self.shard.lock()?;
        if let Some(place) = place {
            if !place.called {
                state.waiters.leave(place.ticket);
            }
            place.waits = false;
        }
        let now = self.inner.now();
        let asked =
            Want { max, visibility_seconds: want.visibility_seconds, attempt: want.attempt.as_deref() };
        let decision = state.core.receive(&asked, now).map_err(|OverLimit| ReceiveError::OverLimit)?;
        // A receive that is repeated takes nothing that could be put back: somebody may hold the receipts.
        let repeated = decision.barrier;
        let (commit, taken) = self.inner.follow(&self.shard, &mut state, admission, decision, now);
        if taken.is_empty() {
            if until.is_none_or(|until| until <= now) {
                return Ok(Look::Nothing);
            }
            let place = match place {
                Some(place) => place,
                None => place.insert(Place::new(&self.inner, &self.shard, state.waiters.ticket())?),
            };
            (place.waits, place.called) = (true, false);
            let called = state.waiters.wait(place.ticket);
            self.inner.settle(&self.shard, &mut state, 0);
            return Ok(Look::Wait(called));
        }
        let bodies = taken.iter().map(|one| state.fresh.take(one.sequence, &self.inner.fresh)).collect();
        if state.core.has_ready() {
            state.waiters.call(1); // there is more than was taken
        }
        let fifo = state.core.settings().fifo.is_some();
        drop(state);
        let hand_back = HandBack {
            inner: Arc::clone(&self.inner),
            shard: Arc::clone(&self.shard),
            taken,
            armed: !repeated,
        };
        Ok(Look::Taken { commit, hand_back, bodies, at: now, fifo })
    }

    async fn deliver(
        &self,
        commit: Option<Committing>,
        mut hand_back: HandBack,
        bodies: Vec<Option<Bytes>>,
        at: Timestamp,
        fifo: bool,
    ) -> Result<Vec<Delivery>, PipeError> {
        if let Some(commit) = commit {
            self.inner.durable(commit).await.inspect_err(|_| hand_back.armed = false)?;
        }
        let snapshot = match bodies.iter().all(Option::is_some) {
            true => None,
            false => Some(self.inner.store.snapshot()?),
        };
        let mut deliveries = Vec::with_capacity(bodies.len());
        for (one, body) in hand_back.taken.iter().zip(bodies) {
            let record = match (body, &snapshot) {
                (None, Some(snapshot)) => {
                    let key = keys::message(self.shard.number, one.sequence);
                    snapshot.get(spaces::BODY, &key).await?
                }
                (body, _) => body,
            };
            // Gone meanwhile: purged, or kept long enough.
            let Some(record) = record else { continue };
            let receipt =
                Receipt { shard: self.shard.number, sequence: one.sequence, receives: one.receives };
            match deliver(&record, receipt, Some(one.first_at), at, fifo) {
                Ok(delivery) => deliveries.push(delivery),
                Err(error) => tracing::error!(queue = %self.shard.name, sequence = one.sequence, "{error}"),
            }
        }
        hand_back.armed = false;
        Ok(deliveries)
    }
}

/// Puts messages back that were taken for somebody who went before he got them.
struct HandBack {
    inner: Arc<Inner>,
    shard: Arc<Shard>,
    taken: Vec<Taken>,
    armed: bool,
}

impl Drop for HandBack {
    fn drop(&mut self) {
        if !self.armed {
            return;
        }
        // Without room they come back by themselves, when their time is over.
        let Ok(admission) = self.inner.admit(self.taken.len() * AROUND) else { return };
        let Ok(mut state) = self.shard.lock() else { return };
        let now = self.inner.now();
        let decision = state.core.hand_back(&self.taken, now);
        // Nobody waits for this one: should it fail, so does the next.
        let _ = self.inner.follow(&self.shard, &mut state, admission, decision, now);
    }
}

/// A place among those who wait. Whoever goes without having used a call passes it on.
struct Place {
    inner: Arc<Inner>,
    shard: Arc<Shard>,
    ticket: u64,
    waits: bool,
    called: bool,
}

impl Place {
    fn new(inner: &Arc<Inner>, shard: &Arc<Shard>, ticket: u64) -> Result<Self, PipeError> {
        if inner.waiting.fetch_add(1, Ordering::Relaxed) >= inner.limits.waiting {
            inner.waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(PipeError::Busy);
        }
        let (inner, shard) = (Arc::clone(inner), Arc::clone(shard));
        Ok(Self { inner, shard, ticket, waits: false, called: false })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.inner.waiting.fetch_sub(1, Ordering::Relaxed);
        if !self.waits {
            return;
        }
        let mut state = self.shard.look();
        if !state.waiters.leave(self.ticket) && state.core.has_ready() {
            state.waiters.call(1);
        }
    }
}
