//! Messages that leave for another queue: dead letters, and those that are moved back. While one leaves, nobody gets
//! it; it is gone with the commit that puts it there, and back if that does not come to be.

use kit::Timestamp;
use store::Op;

use super::{Core, Decision, Known, State};

impl Core {
    /// Marks a message in flight as one that leaves. It is on disk as before: after a crash it simply is back.
    pub(super) fn leave(&mut self, seq: u64) {
        if let Some(known) = self.known.get_mut(&seq) {
            self.timers.remove(&(known.visible_at, seq));
            known.state = State::Leaving;
        }
    }

    /// Takes dead letters to be moved.
    pub fn take_dead(&mut self, most: usize) -> Vec<u64> {
        let mut taken = Vec::new();
        while taken.len() < most {
            let Some(seq) = self.dead.pop_front() else { break };
            if self.is_leaving(seq) {
                taken.push(seq);
            }
        }
        taken
    }

    /// Whether there are dead letters to be moved.
    pub fn has_dead(&self) -> bool {
        !self.dead.is_empty()
    }

    /// Takes messages that could be received, to be moved.
    pub fn take_to_move(&mut self, most: usize, now: Timestamp) -> Decision<Vec<u64>> {
        let wake = self.pass(now);
        let mut taken = Vec::new();
        while taken.len() < most {
            let Some(group) = self.lanes.next_turn() else { break };
            while let Some(seq) = self.take_next(group) {
                self.in_flight += 1;
                let zero = Timestamp::from_micros(0);
                let new = Known {
                    state: State::Leaving,
                    group,
                    visible_at: zero,
                    receives: 0,
                    first_at: zero,
                    last_at: zero,
                };
                self.known.entry(seq).or_insert(new).state = State::Leaving;
                taken.push(seq);
                if !self.is_fifo() || taken.len() == most {
                    break;
                }
            }
        }
        Decision { ops: Vec::new(), barrier: true, wake, reply: taken }
    }

    /// Whether a message is still about to leave: it may have been purged meanwhile.
    pub fn is_leaving(&self, seq: u64) -> bool {
        self.known.get(&seq).is_some_and(|known| known.state == State::Leaving)
    }

    /// A message has left: what removes it here belongs into the commit that puts it there.
    pub fn left(&mut self, seq: u64, ops: &mut Vec<Op>) -> usize {
        if self.is_leaving(seq) { self.remove(seq, ops) } else { 0 }
    }

    /// Messages that were to leave stay: they can be received again.
    pub fn stay(&mut self, seqs: &[u64]) -> usize {
        let mut wake = 0;
        for seq in seqs {
            let Some(known) = self.known.get_mut(seq).filter(|known| known.state == State::Leaving) else {
                continue;
            };
            let group = known.group;
            known.state = State::Back;
            if known.receives == 0 {
                self.known.remove(seq);
            }
            self.in_flight -= 1;
            self.lanes.settle(group);
            wake += self.appear(*seq, group);
        }
        wake
    }

    /// Dead letters are to be moved later: the way is closed for a moment.
    pub fn later(&mut self, seqs: &[u64]) {
        seqs.iter().rev().for_each(|seq| self.dead.push_front(*seq));
    }

    /// There is nowhere to move dead letters to: they stay, and are received as others are, until [`Self::set`] or
    /// [`Self::dead_letters_may_leave`].
    pub fn dead_letters_stay(&mut self, seqs: &[u64]) -> usize {
        self.dead_letters_stay = true;
        let dead = std::mem::take(&mut self.dead);
        self.stay(seqs) + self.stay(&dead.into_iter().collect::<Vec<_>>())
    }

    /// There is somewhere to move dead letters to.
    pub fn dead_letters_may_leave(&mut self) {
        self.dead_letters_stay = false;
    }
}
