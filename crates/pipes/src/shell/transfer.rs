//! Messages that go from one queue to another: in one commit they are gone here and there are there.

use std::collections::BTreeMap;
use std::sync::Arc;

use kit::Timestamp;
use store::Op;

use super::inner::Inner;
use super::options::Moved;
use super::parcel::{AROUND, new_id, repack, uuid};
use super::pipes::Locked;
use super::shard::Shard;
use crate::error::PipeError;
use crate::queue::core::Parcel;
use crate::queue::keys;
use crate::queue::record::Stored;
use crate::spaces;

/// Messages that are moved in one commit.
pub(super) const AT_ONCE: usize = 100;
/// Bytes of them, if there is more than one.
const BYTES_AT_ONCE: usize = 4 * 1024 * 1024;

/// A message on its way.
pub(super) struct Leaving {
    pub(super) sequence: u64,
    pub(super) stored: Stored,
    bytes: usize,
}

/// Reads what is to be moved; behind it what is too much for one commit. What is gone, or cannot be read, is in
/// neither.
pub(super) async fn read(
    inner: &Inner,
    from: &Shard,
    sequences: &[u64],
) -> Result<(Vec<Leaving>, Vec<u64>), PipeError> {
    // What a core knows may not be on disk yet, and a snapshot shows only what is.
    inner.barrier().await?;
    let snapshot = inner.store.snapshot()?;
    let mut leaving = Vec::with_capacity(sequences.len());
    let mut bytes = 0;
    for (at, sequence) in sequences.iter().copied().enumerate() {
        let Some(record) = snapshot.get(spaces::BODY, &keys::message(from.number, sequence)).await? else {
            continue;
        };
        bytes += record.len() + 2 * AROUND;
        if bytes > BYTES_AT_ONCE && !leaving.is_empty() {
            return Ok((leaving, sequences[at..].to_vec()));
        }
        match Stored::decode(&record) {
            Ok(stored) => leaving.push(Leaving { sequence, stored, bytes: record.len() + 2 * AROUND }),
            Err(error) => tracing::error!(queue = %from.name, sequence, "{error}"),
        }
    }
    Ok((leaving, Vec::new()))
}

/// A message, and the queue that it goes to.
pub(super) struct Move {
    pub(super) leaving: Leaving,
    pub(super) to: Arc<Shard>,
    /// Under a new id, as if it had just been sent; else as what it was.
    pub(super) as_new: bool,
}

/// Moves messages, as far as they are still about to leave; how many. `also` says what else belongs into the commit.
pub(super) async fn transfer(
    inner: &Inner,
    from: &Arc<Shard>,
    moves: Vec<Move>,
    also: impl FnOnce(u64) -> Option<Vec<Op>>,
) -> Result<u64, PipeError> {
    let bytes: usize = moves.iter().map(|one| one.leaving.bytes).sum();
    let admission = inner.admit(bytes + 512)?;
    let began = inner.now();
    let mut told = Vec::new();
    let (commit, moved) = {
        let mut shards: Vec<&Arc<Shard>> = moves.iter().map(|one| &one.to).collect();
        shards.push(from);
        let mut locked = Locked::of(&shards)?;
        let now = inner.now();
        let source = &locked.state(from).core;
        let (leaving, _): (Vec<&Move>, Vec<_>) =
            moves.iter().partition(|one| source.is_leaving(one.leaving.sequence));
        let moved = leaving.len() as u64;
        let Some(mut ops) = also(moved) else { return Ok(0) };
        let mut wakes = BTreeMap::new();
        for one in leaving {
            if inner.watch.is_some() {
                let stored = &one.leaving.stored;
                told.push((uuid(&stored.id), stored.message.context(), Arc::clone(&one.to)));
            }
            let target = locked.state(&one.to);
            let parcel = parcel(one, from, target.core.settings().fifo.is_some(), now);
            let decision = target.core.take_over(&parcel, now);
            target.fresh.put(decision.reply, parcel.record, now, &inner.fresh);
            *wakes.entry(one.to.number).or_insert(0) += decision.wake;
            ops.extend(decision.ops);
            let more = locked.state(from).core.left(one.leaving.sequence, &mut ops);
            *wakes.entry(from.number).or_insert(0) += more;
        }
        let commit = inner.submit(admission, ops);
        locked.settle(inner, &wakes, now);
        (commit, moved)
    };
    inner.durable(commit).await?;
    if let Some(watch) = &inner.watch {
        let took = inner.now().since(began);
        for (id, context, to) in told {
            watch.moved(&Moved { from: &from.name, to: &to.name, id: &id, context, began, took });
        }
    }
    Ok(moved)
}

fn parcel(one: &Move, from: &Shard, fifo: bool, now: Timestamp) -> Parcel {
    let Stored { id, sent_at, message } = &one.leaving.stored;
    let mut message = message.clone();
    if one.as_new {
        message.dead_letter_source = None;
        return repack(new_id(), &message, now);
    }
    message.dead_letter_source = Some(from.name.to_string());
    // A dead letter is as old as it was; where order is kept, its time begins anew.
    if fifo {
        return repack(*id, &message, now);
    }
    Parcel { kept_sent_at: Some(*sent_at), ..repack(*id, &message, *sent_at) }
}

/// Moves some of the dead letters of a queue to where they go.
pub(super) async fn dead_letters(inner: &Inner, shard: &Arc<Shard>) -> Result<(), PipeError> {
    let (dead, target) = {
        let Ok(mut state) = shard.lock() else { return Ok(()) };
        let target = state.core.settings().dead_letter.as_ref().map(|dead| dead.target.clone());
        (state.core.take_dead(AT_ONCE), target)
    };
    if dead.is_empty() {
        return Ok(());
    }
    // Whatever ends this early, they are not forgotten.
    let mut rest = Rest { inner, shard, sequences: dead };
    let fifo = shard.settings().fifo.is_some();
    let target =
        target.and_then(|name| inner.shard(&name)).filter(|target| target.settings().fifo.is_some() == fifo);
    let Some(to) = target else {
        tracing::warn!(queue = %shard.name, "dead letters stay: their queue is gone");
        rest.nowhere();
        return Ok(());
    };
    let (leaving, too_much) = read(inner, shard, &rest.sequences).await?;
    let moves = leaving.into_iter().map(|leaving| Move { leaving, to: Arc::clone(&to), as_new: false });
    let moved = transfer(inner, shard, moves.collect(), |_| Some(Vec::new())).await?;
    rest.sequences = too_much;
    tracing::debug!(queue = %shard.name, to = %to.name, moved, "dead letters moved");
    Ok(())
}

/// Dead letters that were taken and are not moved yet: when this is dropped they wait to be moved again.
struct Rest<'a> {
    inner: &'a Inner,
    shard: &'a Arc<Shard>,
    sequences: Vec<u64>,
}

impl Rest<'_> {
    fn nowhere(&mut self) {
        let Ok(mut state) = self.shard.lock() else { return };
        let wake = state.core.dead_letters_stay(&self.sequences);
        self.sequences.clear();
        self.inner.settle(self.shard, &mut state, wake);
    }
}

impl Drop for Rest<'_> {
    fn drop(&mut self) {
        if self.sequences.is_empty() {
            return;
        }
        let Ok(mut state) = self.shard.lock() else { return };
        state.core.later(&self.sequences);
        self.inner.settle(self.shard, &mut state, 0);
    }
}
