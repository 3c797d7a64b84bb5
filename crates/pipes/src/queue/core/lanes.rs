//! Messages that wait to be received, by group. Groups take turns, so that one with many messages does not starve the
//! others; where order is kept, a group has its turn only while nothing of it is in flight.

use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasherDefault;

use super::super::seqset::SeqSet;
use super::SequenceHasher;

#[derive(Debug)]
pub(super) struct Lanes {
    ordered: bool,
    lanes: HashMap<u64, Lane, BuildHasherDefault<SequenceHasher>>,
    /// Groups in the order of their turns. Where order is kept, one may be in it that can no longer be received from.
    turns: VecDeque<u64>,
    waiting: u64,
}

#[derive(Debug, Default)]
struct Lane {
    waiting: SeqSet,
    /// Messages in flight, where order is kept.
    out: u32,
    /// Whether it is in the line of turns.
    lined_up: bool,
}

impl Lanes {
    pub(super) fn new(ordered: bool) -> Self {
        Self { ordered, lanes: HashMap::default(), turns: VecDeque::new(), waiting: 0 }
    }

    pub(super) fn waiting(&self) -> u64 {
        self.waiting
    }

    pub(super) fn has_ready(&self) -> bool {
        !self.turns.is_empty()
    }

    /// Adds a message. Where order is kept it has to be lined up as well, once its head can be received.
    pub(super) fn insert(&mut self, group: u64, seq: u64) {
        let lane = self.lanes.entry(group).or_default();
        self.waiting += u64::from(lane.waiting.insert(seq));
        if !self.ordered && !lane.lined_up {
            lane.lined_up = true;
            self.turns.push_back(group);
        }
    }

    /// Where order is kept: the first message of a group that nothing is in flight of.
    pub(super) fn head_of_free(&self, group: u64) -> Option<u64> {
        self.lanes.get(&group).filter(|lane| lane.out == 0)?.waiting.first()
    }

    /// Gives a group its turn; whether it had none.
    pub(super) fn line_up(&mut self, group: u64) -> bool {
        let Some(lane) = self.lanes.get_mut(&group).filter(|lane| !lane.lined_up) else { return false };
        lane.lined_up = true;
        self.turns.push_back(group);
        true
    }

    /// The group whose turn it is. Its turn is over with that: see [`Self::line_up`] and [`Self::take`].
    pub(super) fn next_turn(&mut self) -> Option<u64> {
        while let Some(group) = self.turns.pop_front() {
            let Some(lane) = self.lanes.get_mut(&group) else { continue };
            lane.lined_up = false;
            if !lane.waiting.is_empty() && lane.out == 0 {
                return Some(group);
            }
            self.drop_if_idle(group);
        }
        None
    }

    /// The first message of a group.
    pub(super) fn head(&self, group: u64) -> Option<u64> {
        self.lanes.get(&group)?.waiting.first()
    }

    /// Takes the first message of a group: it is in flight from now on. Where no order is kept, the group lines up
    /// again if it has more.
    pub(super) fn take(&mut self, group: u64) -> Option<u64> {
        let lane = self.lanes.get_mut(&group)?;
        let seq = lane.waiting.pop_first()?;
        self.waiting -= 1;
        if self.ordered {
            lane.out += 1;
        } else if !lane.waiting.is_empty() {
            if !lane.lined_up {
                lane.lined_up = true;
                self.turns.push_back(group);
            }
        } else {
            self.drop_if_idle(group);
        }
        Some(seq)
    }

    /// Where order is kept: a message of the group is in flight that was not taken here.
    pub(super) fn hold(&mut self, group: u64) {
        if self.ordered {
            self.lanes.entry(group).or_default().out += 1;
        }
    }

    /// Where order is kept: a message of the group is in flight no longer.
    pub(super) fn settle(&mut self, group: u64) {
        if !self.ordered {
            return;
        }
        if let Some(lane) = self.lanes.get_mut(&group) {
            lane.out = lane.out.saturating_sub(1);
        }
        self.drop_if_idle(group);
    }

    /// Takes out a message that waits.
    pub(super) fn remove(&mut self, group: u64, seq: u64) {
        if let Some(lane) = self.lanes.get_mut(&group) {
            self.waiting -= u64::from(lane.waiting.remove(seq));
        }
        self.drop_if_idle(group);
    }

    /// The same where nobody knows its group. Rare, and slow where there are many.
    pub(super) fn remove_anywhere(&mut self, seq: u64) {
        let group = self.lanes.iter().find(|(_, lane)| lane.waiting.contains(seq)).map(|(group, _)| *group);
        if let Some(group) = group {
            self.remove(group, seq);
        }
    }

    /// Takes out all that wait below `end`.
    pub(super) fn remove_below(&mut self, end: u64) {
        let mut removed = 0;
        self.lanes.retain(|_, lane| {
            removed += lane.waiting.take_below(end).len();
            lane.lined_up || lane.out > 0 || !lane.waiting.is_empty()
        });
        self.waiting -= removed;
    }

    /// Groups that have messages, with those that wait.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &SeqSet, bool)> {
        self.lanes.iter().map(|(group, lane)| (*group, &lane.waiting, lane.out > 0))
    }

    /// Groups that can be received from once their head can be.
    pub(super) fn free_groups(&self) -> Vec<u64> {
        let free =
            self.lanes.iter().filter(|(_, lane)| lane.out == 0 && !lane.waiting.is_empty() && !lane.lined_up);
        free.map(|(group, _)| *group).collect()
    }

    fn drop_if_idle(&mut self, group: u64) {
        let idle = |lane: &Lane| lane.waiting.is_empty() && lane.out == 0 && !lane.lined_up;
        if group != 0 && self.lanes.get(&group).is_some_and(idle) {
            self.lanes.remove(&group);
        }
    }
}
