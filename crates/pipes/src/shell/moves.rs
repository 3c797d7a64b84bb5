//! Tasks that move messages out of a dead-letter queue. How far one is, is in the same commits as what it moves: so it
//! goes on where it was after a restart, and never counts a message twice.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kit::OnError;
use store::Op;

use super::inner::{Inner, locked};
use super::options::{MoveId, MoveState, MoveTask};
use super::parcel::{AROUND, new_id, uuid};
use super::pipes::Pipes;
use super::shard::Shard;
use super::transfer::{AT_ONCE, Move, read, transfer};
use crate::error::{MoveError, PipeError};
use crate::name::QueueName;
use crate::queue::keys;
use crate::queue::record::MoveRecord;
use crate::spaces;

const RUNNING: u8 = 0;
const COMPLETED: u8 = 1;
const CANCELLED: u8 = 2;
const FAILED: u8 = 3;

/// Tasks of one queue that are remembered.
const REMEMBERED: usize = 10;
/// How long to wait before something that could not be done is tried again.
const PAUSE: Duration = Duration::from_millis(50);

/// Every task that is remembered. Its lock is the last one: whoever holds it takes no other.
#[derive(Default)]
pub(super) struct Moves(Mutex<BTreeMap<MoveId, MoveRecord>>);

impl Moves {
    pub(super) fn put(&self, id: MoveId, record: MoveRecord) {
        locked(&self.0).insert(id, record);
    }
}

fn put_record(id: &MoveId, record: &MoveRecord) -> Op {
    Op::Put(spaces::REGISTRY, keys::registry(keys::MOVES, id.0.as_bytes()), record.encode())
}

fn told(id: &MoveId, record: &MoveRecord) -> MoveTask {
    let state = match record.state {
        RUNNING => MoveState::Running,
        COMPLETED => MoveState::Completed,
        CANCELLED => MoveState::Cancelled,
        _ => MoveState::Failed(record.failure.clone().unwrap_or_default()),
    };
    MoveTask {
        id: id.clone(),
        from: record.from.clone(),
        to: record.to.clone(),
        per_second: record.per_second,
        state,
        moved: record.moved,
        to_move: record.to_move,
        started_at: record.started_at,
    }
}

/// Goes on with every task that was running.
pub(super) fn resume(inner: &Arc<Inner>) {
    let running: Vec<MoveId> = {
        let moves = locked(&inner.moves.0);
        moves.iter().filter(|(_, record)| record.state == RUNNING).map(|(id, _)| id.clone()).collect()
    };
    running.into_iter().for_each(|id| spawn(inner, id));
}

impl Pipes {
    /// Begins to move messages out of a dead-letter queue: to `to`, or each to where it came from.
    pub async fn start_move(
        &self,
        from: &QueueName,
        to: Option<QueueName>,
        per_second: Option<u32>,
    ) -> Result<MoveId, MoveError> {
        let inner = &self.inner;
        if per_second.is_some_and(|rate| !(1..=500).contains(&rate)) {
            return Err(MoveError::Rate);
        }
        let shard = |name: &QueueName| inner.shard(name).ok_or_else(|| PipeError::NoSuchQueue(name.clone()));
        let source = shard(from)?;
        if self.dead_letter_sources(from).is_empty() {
            return Err(MoveError::NotADeadLetterQueue(from.clone()));
        }
        if let Some(to) = &to {
            let target = shard(to)?;
            if to == from || target.settings().fifo.is_some() != source.settings().fifo.is_some() {
                return Err(MoveError::Target(to.clone()));
            }
        }
        let admission = inner.admit(4 * AROUND)?;
        let id = MoveId(uuid(&new_id()).into());
        let visible = source.look().core.visible();
        let commit = {
            let mut moves = locked(&inner.moves.0);
            let of_queue = moves.iter().filter(|(_, record)| record.from == *from);
            if of_queue.clone().any(|(_, record)| record.state == RUNNING) {
                return Err(MoveError::UnderWay(from.clone()));
            }
            let mut ended: Vec<_> = of_queue.map(|(id, record)| (record.started_at, id.clone())).collect();
            ended.sort();
            let record = MoveRecord {
                from: from.clone(),
                to,
                per_second,
                state: RUNNING,
                failure: None,
                moved: 0,
                to_move: visible,
                started_at: inner.now(),
            };
            let mut ops = vec![put_record(&id, &record)];
            let too_many = (ended.len() + 1).saturating_sub(REMEMBERED);
            for (_, old) in ended.into_iter().take(too_many) {
                ops.push(Op::Delete(spaces::REGISTRY, keys::registry(keys::MOVES, old.0.as_bytes())));
                moves.remove(&old);
            }
            moves.insert(id.clone(), record);
            inner.submit(admission, ops)
        };
        spawn(inner, id.clone());
        inner.durable(commit).await?;
        Ok(id)
    }

    /// Move tasks of a dead-letter queue, the newest first, at most ten.
    pub fn moves(&self, from: &QueueName) -> Vec<MoveTask> {
        let moves = locked(&self.inner.moves.0);
        let of_queue = moves.iter().filter(|(_, record)| record.from == *from);
        let mut told: Vec<MoveTask> = of_queue.map(|(id, record)| told(id, record)).collect();
        told.sort_by_key(|task| std::cmp::Reverse(task.started_at));
        told
    }

    /// Cancels a move task; how many messages it has moved, which stay where they are.
    pub async fn cancel_move(&self, id: &MoveId) -> Result<u64, MoveError> {
        let admission = self.inner.admit(4 * AROUND)?;
        let (moved, commit) = {
            let mut moves = locked(&self.inner.moves.0);
            let record = moves.get_mut(id).ok_or(MoveError::NoSuchTask)?;
            if record.state != RUNNING {
                return Err(MoveError::Ended);
            }
            record.state = CANCELLED;
            (record.moved, self.inner.submit(admission, vec![put_record(id, record)]))
        };
        self.inner.durable(commit).await?;
        Ok(moved)
    }
}

fn spawn(inner: &Arc<Inner>, id: MoveId) {
    let task = Arc::clone(inner);
    inner.tasks.spawn("pipes.move", OnError::Log, |stop| async move {
        tokio::select! {
            () = stop.cancelled() => Ok(()), // it goes on at the next start
            ended = run(&task, &id) => ended,
        }
    });
}

/// Moves until there is nothing left, or it was cancelled.
async fn run(inner: &Arc<Inner>, id: &MoveId) -> Result<(), PipeError> {
    loop {
        let Some(record) = locked(&inner.moves.0).get(id).cloned() else { return Ok(()) };
        if record.state != RUNNING {
            return Ok(());
        }
        let began = inner.now();
        let outcome = step(inner, id, &record).await;
        match outcome {
            Ok(Step::Moved(moved)) => {
                if let Some(rate) = record.per_second {
                    let pause = Duration::from_secs(1).mul_f64(moved as f64 / f64::from(rate));
                    inner.clock.sleep_until(began + pause).await;
                }
            }
            Ok(Step::Nothing) => return end(inner, id, COMPLETED, None).await,
            Ok(Step::Nowhere(why)) => return end(inner, id, FAILED, Some(why)).await,
            Err(PipeError::Busy) => inner.clock.sleep_until(inner.now() + PAUSE).await,
            Err(PipeError::NoSuchQueue(name)) => {
                return end(inner, id, FAILED, Some(PipeError::NoSuchQueue(name).to_string())).await;
            }
            Err(stopped @ PipeError::Stopped(_)) => return Err(stopped),
        }
    }
}

enum Step {
    Moved(u64),
    Nothing,
    Nowhere(String),
}

/// Moves some messages.
async fn step(inner: &Arc<Inner>, id: &MoveId, record: &MoveRecord) -> Result<Step, PipeError> {
    let from = inner.shard(&record.from).ok_or_else(|| PipeError::NoSuchQueue(record.from.clone()))?;
    let most = record.per_second.map_or(AT_ONCE, |rate| AT_ONCE.min((rate as usize).div_ceil(10)));
    let mut stay = Stay { inner, shard: &from, sequences: Vec::new() };
    {
        let mut state = from.lock()?;
        let decision = state.core.take_to_move(most, inner.now());
        stay.sequences = decision.reply;
        inner.settle(&from, &mut state, decision.wake);
    }
    if stay.sequences.is_empty() {
        return Ok(Step::Nothing);
    }
    let fifo = from.settings().fifo.is_some();
    let mut moves = Vec::new();
    let (leaving, rest) = read(inner, &from, &stay.sequences).await?;
    if leaving.is_empty()
        && rest.is_empty()
        && stay.sequences.iter().any(|seq| from.look().core.is_leaving(*seq))
    {
        return Ok(Step::Nowhere("messages cannot be read".to_owned()));
    }
    for leaving in leaving {
        let source = leaving.stored.message.dead_letter_source.as_deref();
        let to = match &record.to {
            Some(to) => Some(to.clone()),
            None => source.and_then(|name| QueueName::stored(name).ok()),
        };
        let Some(to) = to else { return Ok(Step::Nowhere("a message came from no other queue".to_owned())) };
        let target = inner.shard(&to).filter(|target| target.settings().fifo.is_some() == fifo);
        let Some(to) = target else { return Ok(Step::Nowhere(PipeError::NoSuchQueue(to).to_string())) };
        moves.push(Move { leaving, to, as_new: true });
    }
    let moved = transfer(inner, &from, moves, |moved| {
        let mut moves = locked(&inner.moves.0);
        let record = moves.get_mut(id).filter(|record| record.state == RUNNING)?;
        record.moved += moved;
        Some(vec![put_record(id, record)])
    })
    .await?;
    Ok(Step::Moved(moved))
}

async fn end(inner: &Inner, id: &MoveId, state: u8, failure: Option<String>) -> Result<(), PipeError> {
    let admission = loop {
        match inner.admit(4 * AROUND) {
            Err(PipeError::Busy) => inner.clock.sleep_until(inner.now() + PAUSE).await,
            admitted => break admitted?,
        }
    };
    let commit = {
        let mut moves = locked(&inner.moves.0);
        let Some(record) = moves.get_mut(id).filter(|record| record.state == RUNNING) else { return Ok(()) };
        (record.state, record.failure) = (state, failure);
        inner.submit(admission, vec![put_record(id, record)])
    };
    inner.durable(commit).await
}

/// Messages that were taken to be moved: what has not left when this is dropped stays.
struct Stay<'a> {
    inner: &'a Inner,
    shard: &'a Arc<Shard>,
    sequences: Vec<u64>,
}

impl Drop for Stay<'_> {
    fn drop(&mut self) {
        if self.sequences.is_empty() {
            return;
        }
        let Ok(mut state) = self.shard.lock() else { return };
        let wake = state.core.stay(&self.sequences);
        self.inner.settle(self.shard, &mut state, wake);
    }
}
