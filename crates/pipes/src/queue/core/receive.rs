//! Receiving, and looking.

use std::sync::Arc;
use std::time::Duration;

use kit::Timestamp;

use super::{Attempt, Core, Decision, Known, MOST_HIDDEN_SECONDS, REMEMBERED_SECONDS, State};

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Want<'a> {
    /// At most so many messages.
    pub max: usize,
    /// For how long they are hidden; `None`: as the queue says.
    pub visibility_seconds: Option<u32>,
    /// The identity of this attempt, where order is kept.
    pub attempt: Option<&'a str>,
}

/// A message that was taken: it is in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Its sequence.
    pub sequence: u64,
    /// Which of its deliveries this is.
    pub receives: u32,
    /// When it was received first.
    pub first_at: Timestamp,
}

/// A message that was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peeked {
    /// Its sequence.
    pub sequence: u64,
    /// How often it has been received.
    pub receives: u32,
    /// When it was received first, if it was.
    pub first_at: Option<Timestamp>,
}

/// As many messages are in flight as may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverLimit;

impl Core {
    /// Takes messages: those whose turn it is, in order where order is kept.
    pub fn receive(&mut self, want: &Want<'_>, now: Timestamp) -> Result<Decision<Vec<Taken>>, OverLimit> {
        let wake = self.pass(now);
        let visibility = want.visibility_seconds.unwrap_or(self.settings.visibility_seconds);
        let visible_at = now + Duration::from_secs(visibility.min(MOST_HIDDEN_SECONDS).into());
        let attempt = want.attempt.filter(|_| self.is_fifo());
        if let Some(again) = attempt.and_then(|attempt| self.again(attempt, visible_at, now)) {
            return Ok(Decision { wake, ..again });
        }
        let room = self.bounds.in_flight.saturating_sub(self.in_flight);
        if room == 0 {
            return Err(OverLimit);
        }
        let max = want.max.min(usize::try_from(room).unwrap_or(usize::MAX));
        let mut taken = Vec::new();
        let mut ops = Vec::new();
        while taken.len() < max {
            let Some(group) = self.lanes.next_turn() else { break };
            // Where order is kept, whoever gets a message of a group gets those behind it as well.
            while let Some(seq) = self.take_next(group) {
                if let Some(one) = self.deliver(seq, group, visible_at, now) {
                    taken.push(one);
                    ops.push(self.put_meta(seq, group));
                } else {
                    break; // it leaves, and what is behind it waits until it has
                }
                if !self.is_fifo() || taken.len() == max {
                    break;
                }
            }
        }
        if let Some(attempt) = attempt.filter(|_| !taken.is_empty()) {
            self.remember(attempt, &taken, now);
        }
        self.received += taken.len() as u64;
        Ok(Decision { ops, barrier: false, wake, reply: taken })
    }

    /// Takes the next message of a group out of those that wait.
    pub(super) fn take_next(&mut self, group: u64) -> Option<u64> {
        let head = self.lanes.head(group)?;
        let delayed = |known: &Known| known.state == State::Delayed;
        if self.is_fifo() && self.known.get(&head).is_some_and(delayed) {
            return None;
        }
        self.lanes.take(group)
    }

    /// Puts a message in flight, or among the dead letters if it was received too often.
    fn deliver(&mut self, seq: u64, group: u64, visible_at: Timestamp, now: Timestamp) -> Option<Taken> {
        self.in_flight += 1;
        let state = State::InFlight;
        let new = Known { state, group, visible_at, receives: 0, first_at: now, last_at: now };
        let known = self.known.entry(seq).or_insert(new);
        known.state = state;
        let receives = known.receives;
        if self.is_dead(receives) {
            self.leave(seq);
            self.dead.push_back(seq);
            return None;
        }
        let known = self.known.entry(seq).or_insert(new);
        known.receives = receives.saturating_add(1);
        known.visible_at = visible_at;
        known.last_at = now;
        let taken = Taken { sequence: seq, receives: known.receives, first_at: known.first_at };
        self.timers.insert((visible_at, seq));
        Some(taken)
    }

    /// The messages that an attempt got before, if all of them are still held by it.
    fn again(
        &mut self,
        attempt: &str,
        visible_at: Timestamp,
        now: Timestamp,
    ) -> Option<Decision<Vec<Taken>>> {
        let before = self.attempts.get(attempt)?;
        if now.since(before.at).as_secs() >= REMEMBERED_SECONDS {
            return None;
        }
        let taken = before.taken.clone();
        let mut reply = Vec::with_capacity(taken.len());
        for (seq, receives) in &taken {
            let known = self.known.get(seq)?;
            if known.state != State::InFlight || known.receives != *receives {
                return None;
            }
            reply.push(Taken { sequence: *seq, receives: *receives, first_at: known.first_at });
        }
        let mut ops = Vec::with_capacity(taken.len());
        for (seq, _) in taken {
            let Some(known) = self.known.get_mut(&seq) else { continue };
            self.timers.remove(&(known.visible_at, seq));
            known.visible_at = visible_at;
            known.last_at = now;
            let group = known.group;
            self.timers.insert((visible_at, seq));
            ops.push(self.put_meta(seq, group));
        }
        Some(Decision { ops, barrier: true, wake: 0, reply })
    }

    fn remember(&mut self, attempt: &str, taken: &[Taken], now: Timestamp) {
        let over = |at: &Timestamp| now.since(*at).as_secs() >= REMEMBERED_SECONDS;
        while let Some((at, name)) = self.attempts_in_order.front() {
            if !over(at) && self.attempts_in_order.len() < self.bounds.attempts {
                break;
            }
            if self.attempts.get(name).is_some_and(|attempt| attempt.at == *at) {
                self.attempts.remove(name);
            }
            self.attempts_in_order.pop_front();
        }
        let name: Arc<str> = attempt.into();
        let taken = taken.iter().map(|one| (one.sequence, one.receives)).collect();
        self.attempts.insert(Arc::clone(&name), Attempt { at: now, taken });
        self.attempts_in_order.push_back((now, name));
    }

    /// Looks at messages that can be received, or wait behind others of their group; changes nothing but what time
    /// does.
    pub fn peek(&mut self, limit: usize, now: Timestamp) -> Decision<Vec<Peeked>> {
        let wake = self.pass(now);
        let mut seen: Vec<u64> = Vec::new();
        for (_, waiting, _) in self.lanes.iter().take(limit.max(1)) {
            let visible = |seq: &u64| self.known.get(seq).is_none_or(|known| known.state != State::Delayed);
            seen.extend(waiting.iter().filter(visible).take(limit));
        }
        seen.sort_unstable();
        seen.truncate(limit);
        let peeked = seen.into_iter().map(|sequence| {
            let known = self.known.get(&sequence).filter(|known| known.receives > 0);
            let receives = known.map_or(0, |known| known.receives);
            Peeked { sequence, receives, first_at: known.map(|known| known.first_at) }
        });
        Decision { ops: Vec::new(), barrier: true, wake, reply: peeked.collect() }
    }
}
