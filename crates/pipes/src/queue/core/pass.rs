//! What time does: messages come back, appear, are forgotten; and what follows from that on disk, in slices.

use kit::Timestamp;
use store::Op;

use super::{Core, Decision, State};
use crate::queue::keys;
use crate::queue::record::Head;
use crate::queue::seqset::SeqSet;
use crate::spaces;

/// The time between two purges, in seconds.
const BETWEEN_PURGES_SECONDS: u64 = 60;

/// The last purge is too close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooSoon;

impl Core {
    /// Lets time pass; how many more messages can be received.
    pub fn pass(&mut self, now: Timestamp) -> usize {
        let mut wake = 0;
        while let Some((at, seq)) = self.timers.first().copied().filter(|(at, _)| *at <= now) {
            self.timers.remove(&(at, seq));
            wake += self.come_back(seq);
        }
        wake + self.expire(now)
    }

    fn come_back(&mut self, seq: u64) -> usize {
        let Some(known) = self.known.get(&seq) else { return 0 };
        let (group, receives, state) = (known.group, known.receives, known.state);
        match state {
            State::Delayed => {
                self.delayed -= 1;
                self.known.remove(&seq);
                self.appear(seq, group)
            }
            State::InFlight if self.is_dead(receives) => {
                self.leave(seq);
                self.dead.push_back(seq);
                0
            }
            State::InFlight => {
                self.back(seq);
                self.in_flight -= 1;
                self.lanes.settle(group);
                self.appear(seq, group)
            }
            State::Back | State::Leaving => 0,
        }
    }

    /// Forgets what was kept long enough.
    fn expire(&mut self, now: Timestamp) -> usize {
        self.identities.pass(now);
        let retention = self.settings.retention_seconds;
        if self.marks.next_due(retention).is_none_or(|due| due > now) {
            return 0;
        }
        let mut wake = 0;
        if self.alive.is_empty() {
            self.marks.trim(self.next);
        }
        if let Some(below) = self.marks.due_below(now, retention, self.next) {
            wake += self.doom_below(below);
        }
        while let Some(seq) = self.marks.kept_due(now, retention) {
            if self.alive.contains(seq) {
                self.doomed.insert(seq);
            }
            wake += self.forget(seq);
            self.marks.forget(seq);
        }
        wake
    }

    /// Takes every message below a sequence out of what is seen.
    fn doom_below(&mut self, below: u64) -> usize {
        let gone: SeqSet = self.alive.take_below(below);
        if gone.is_empty() {
            return 0;
        }
        self.lanes.remove_below(below);
        let known: Vec<u64> = self.known.keys().copied().filter(|seq| *seq < below).collect();
        for seq in known {
            let Some(known) = self.known.remove(&seq) else { continue };
            self.marks.forget(seq);
            match known.state {
                State::Back => {}
                State::Delayed => self.delayed -= 1,
                State::InFlight | State::Leaving => {
                    self.in_flight -= 1;
                    self.lanes.settle(known.group);
                }
            }
            self.timers.remove(&(known.visible_at, seq));
        }
        self.marks.forget_kept_below(below);
        self.doomed.add_all(gone);
        if !self.is_fifo() {
            return 0;
        }
        self.lanes.free_groups().into_iter().map(|group| self.ready_head(group)).sum()
    }

    /// Removes every message.
    pub fn purge(&mut self, now: Timestamp) -> Result<Decision<()>, TooSoon> {
        let wake = self.pass(now);
        if self.purged_at.as_micros() > 0 && now.since(self.purged_at).as_secs() < BETWEEN_PURGES_SECONDS {
            return Err(TooSoon);
        }
        self.purged_at = now;
        self.purged_below = self.next;
        self.doom_below(self.next);
        // Sequences up to here are given out: the head has to say so before it says that they were purged.
        let ops = vec![self.put_head()];
        Ok(Decision { ops, barrier: true, wake, reply: () })
    }

    /// Removes some of what nobody sees any more from the store. Nothing: there is no more.
    pub fn sweep(&mut self, most: usize) -> Vec<Op> {
        let mut ops = Vec::new();
        for _ in 0..most {
            let Some(seq) = self.doomed.pop_first() else { break };
            ops.push(Op::Delete(spaces::BODY, keys::message(self.number, seq)));
            ops.push(Op::Delete(spaces::META, keys::message(self.number, seq)));
        }
        ops
    }

    /// Whether there is something to remove from the store.
    pub fn has_doomed(&self) -> bool {
        !self.doomed.is_empty()
    }

    /// Buckets of identities that can be dropped from the store.
    pub fn take_old_buckets(&mut self) -> Vec<u32> {
        self.identities.take_over()
    }

    /// Whether there are buckets to be dropped.
    pub fn has_old_buckets(&self) -> bool {
        self.identities.has_over()
    }

    /// Writes down what is written now and then, if it has changed.
    pub fn checkpoint(&mut self) -> Option<Op> {
        (self.head_now() != self.head).then(|| self.put_head())
    }

    pub(super) fn put_head(&mut self) -> Op {
        self.marks.trim(self.low());
        self.head = self.head_now();
        Op::Put(spaces::HEAD, keys::queue(self.number), self.head.encode())
    }

    fn low(&self) -> u64 {
        self.alive.first().into_iter().chain(self.doomed.first()).min().unwrap_or(self.next)
    }

    fn head_now(&self) -> Head {
        Head {
            low: self.low(),
            reserved: self.reserved,
            purged_below: self.purged_below,
            purged_at: self.purged_at.as_micros(),
            counters: self.counters(),
            empty: self.alive.is_empty() && self.doomed.is_empty(),
        }
    }

    /// When time does something next that somebody who waits would notice.
    pub fn next_visible(&self) -> Option<Timestamp> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// When something is to be forgotten next.
    pub fn next_forgotten(&self) -> Option<Timestamp> {
        let due = self.marks.next_due(self.settings.retention_seconds).filter(|_| !self.alive.is_empty());
        due.into_iter().chain(self.identities.next_over()).min()
    }
}
