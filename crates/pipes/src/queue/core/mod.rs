//! The machine of one queue: what is sent, received, deleted, put back, forgotten. It has no clock and does no I/O:
//! every call takes the time, changes what is in memory, and says what has to be committed ([`Decision`]).
//!
//! The order of decisions is the order of commits, and a store that fails a commit takes no more of them. So what is in
//! memory may run ahead of the disk, as long as nobody is told of it before the disk has it.
//!
//! Read in this order: this file (the state), [`send`], [`receive`], [`settle`] (delete, change visibility, hand
//! back), [`pass`] (what time does), [`shift`] (messages that leave for another queue), [`restore`].

mod identities;
mod lanes;
mod marks;
mod pass;
mod receive;
mod restore;
mod send;
mod settle;
mod shift;

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use kit::Timestamp;
use store::Op;

pub use self::receive::{OverLimit, Peeked, Taken, Want};
pub use self::send::{Parcel, Refusal, Taker};

use self::identities::Identities;
use self::lanes::Lanes;
use self::marks::Marks;
use super::keys;
use super::record::{Head, Meta, ReceivedMeta};
use super::seqset::SeqSet;
use super::settings::Settings;
use crate::spaces;

/// The longest that a message is hidden since it was received, in seconds.
pub const MOST_HIDDEN_SECONDS: u32 = 43_200;
/// For how long identities and attempts are remembered, in seconds.
pub const REMEMBERED_SECONDS: u64 = 300;
/// Sequences that are reserved at once: so many may be left out when a queue is read back.
const RESERVED_AT_ONCE: u64 = 65_536;

/// What has to follow from a call.
#[derive(Debug)]
#[must_use = "what was decided has to be committed"]
pub struct Decision<T> {
    /// What has to be on disk before anybody is told.
    pub ops: Vec<Op>,
    /// The answer rests on what was decided before: it has to wait until that is on disk, even if there is nothing to
    /// write.
    pub barrier: bool,
    /// So many messages can be received that could not before.
    pub wake: usize,
    /// The answer.
    pub reply: T,
}

/// What is bounded in a queue.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Messages in flight.
    pub in_flight: u64,
    /// Identities remembered.
    pub identities: usize,
    /// Attempts remembered.
    pub attempts: usize,
}

/// The machine of one queue.
#[derive(Debug)]
pub struct Core {
    number: u32,
    settings: Arc<Settings>,
    bounds: Bounds,
    /// The next sequence, and from where on none is reserved on disk.
    next: u64,
    reserved: u64,
    /// Every message that is there: neither deleted nor due to be removed.
    alive: SeqSet,
    /// Messages that can be received, by group. Where order is kept, those that are delayed as well.
    lanes: Lanes,
    /// What there is to know of messages that are not simply new and waiting.
    known: HashMap<u64, Known, BuildHasherDefault<SequenceHasher>>,
    /// When messages in flight come back, and delayed ones appear.
    timers: BTreeSet<(Timestamp, u64)>,
    /// When messages were sent, in rough steps.
    marks: Marks,
    /// Messages to be removed from the store, which nobody sees any more.
    doomed: SeqSet,
    /// Messages received too often, to be moved to the dead-letter queue.
    dead: VecDeque<u64>,
    /// Dead letters stay, for there is nowhere to move them to.
    dead_letters_stay: bool,
    identities: Identities,
    attempts: HashMap<Arc<str>, Attempt>,
    attempts_in_order: VecDeque<(Timestamp, Arc<str>)>,
    in_flight: u64,
    delayed: u64,
    purged_below: u64,
    purged_at: Timestamp,
    sent: u64,
    received: u64,
    deleted: u64,
    /// What the head on disk says.
    head: Head,
}

/// What there is to know of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Known {
    state: State,
    group: u64,
    visible_at: Timestamp,
    receives: u32,
    first_at: Timestamp,
    last_at: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Received before, and back.
    Back,
    InFlight,
    Delayed,
    /// About to leave for another queue.
    Leaving,
}

/// A receive that can be asked for again.
#[derive(Debug)]
struct Attempt {
    at: Timestamp,
    taken: Vec<(u64, u32)>,
}

impl Core {
    /// The machine of a queue that has no messages. One that had some goes on from its head and its records: see
    /// [`Self::restore_message`].
    pub fn new(number: u32, settings: Arc<Settings>, bounds: Bounds, head: Option<Head>) -> Self {
        let head = head.unwrap_or(Head { empty: true, ..Head::default() });
        let next = head.reserved.max(1);
        let [sent, received, deleted] = head.counters;
        Self {
            number,
            lanes: Lanes::new(settings.fifo.is_some()),
            settings,
            bounds,
            next,
            reserved: head.reserved,
            alive: SeqSet::default(),
            known: HashMap::default(),
            timers: BTreeSet::new(),
            marks: Marks::default(),
            doomed: SeqSet::default(),
            dead: VecDeque::new(),
            dead_letters_stay: false,
            identities: Identities::default(),
            attempts: HashMap::new(),
            attempts_in_order: VecDeque::new(),
            in_flight: 0,
            delayed: 0,
            purged_below: head.purged_below,
            purged_at: Timestamp::from_micros(head.purged_at),
            sent,
            received,
            deleted,
            head,
        }
    }

    /// Its number.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Its settings.
    pub fn settings(&self) -> &Arc<Settings> {
        &self.settings
    }

    /// Gives it other settings. Whether it keeps order cannot change.
    pub fn set(&mut self, settings: Arc<Settings>) {
        self.settings = settings;
        self.dead_letters_stay = false;
    }

    /// Messages that can be received or wait behind others of their group.
    pub fn visible(&self) -> u64 {
        self.lanes.waiting() - if self.is_fifo() { self.delayed } else { 0 }
    }

    /// Messages in flight, those included that are about to be moved.
    pub fn in_flight(&self) -> u64 {
        self.in_flight
    }

    /// Messages that are not visible yet.
    pub fn delayed(&self) -> u64 {
        self.delayed
    }

    /// When the oldest message was sent, about.
    pub fn oldest_second(&self) -> Option<u32> {
        let oldest = self.alive.first().and_then(|first| self.marks.second_of(first));
        oldest.into_iter().chain(self.marks.oldest_kept()).min()
    }

    /// Sent, received and deleted, ever.
    pub fn counters(&self) -> [u64; 3] {
        [self.sent, self.received, self.deleted]
    }

    /// Whether a receive may find something.
    pub fn has_ready(&self) -> bool {
        self.lanes.has_ready()
    }

    fn is_fifo(&self) -> bool {
        self.settings.fifo.is_some()
    }

    /// Whether a message that was received so often goes to the dead-letter queue.
    fn is_dead(&self, receives: u32) -> bool {
        !self.dead_letters_stay
            && self.settings.dead_letter.as_ref().is_some_and(|dead| receives >= dead.after)
    }

    /// The record of a message as it is now.
    fn meta(&self, seq: u64, group: u64) -> Meta {
        let sent_second = self.marks.second_of(seq).unwrap_or(0);
        let Some(known) = self.known.get(&seq) else {
            return Meta { sent_second, group, visible_at: Timestamp::from_micros(0), received: None };
        };
        let received =
            ReceivedMeta { receives: known.receives, first_at: known.first_at, last_at: known.last_at };
        Meta {
            sent_second,
            group: known.group,
            visible_at: known.visible_at,
            received: (known.receives > 0).then_some(received),
        }
    }

    fn put_meta(&self, seq: u64, group: u64) -> Op {
        Op::Put(spaces::META, keys::message(self.number, seq), self.meta(seq, group).encode())
    }

    /// Takes a message out of everything, and says what removes it from the store.
    fn remove(&mut self, seq: u64, ops: &mut Vec<Op>) -> usize {
        let wake = self.forget(seq);
        ops.push(Op::Delete(spaces::BODY, keys::message(self.number, seq)));
        ops.push(Op::Delete(spaces::META, keys::message(self.number, seq)));
        wake
    }

    /// Takes a message out of everything in memory. What is to be received instead is counted.
    fn forget(&mut self, seq: u64) -> usize {
        if !self.alive.remove(seq) {
            return 0;
        }
        self.marks.forget(seq);
        let Some(known) = self.known.remove(&seq) else {
            self.lanes.remove_anywhere(seq);
            return 0;
        };
        match known.state {
            State::Back => {
                self.lanes.remove(known.group, seq);
                self.ready_head(known.group)
            }
            State::Delayed => {
                self.delayed -= 1;
                self.timers.remove(&(known.visible_at, seq));
                self.lanes.remove(known.group, seq);
                self.ready_head(known.group)
            }
            State::InFlight => {
                self.in_flight -= 1;
                self.timers.remove(&(known.visible_at, seq));
                self.lanes.settle(known.group);
                self.ready_head(known.group)
            }
            State::Leaving => {
                self.in_flight -= 1;
                self.lanes.settle(known.group);
                self.ready_head(known.group)
            }
        }
    }

    /// Where order is kept: puts a group in the line of those that can be received from, if its head can be.
    fn ready_head(&mut self, group: u64) -> usize {
        if !self.is_fifo() {
            return 0;
        }
        let Some(head) = self.lanes.head_of_free(group) else { return 0 };
        if self.known.get(&head).is_some_and(|known| known.state == State::Delayed) {
            return 0;
        }
        usize::from(self.lanes.line_up(group))
    }

    /// A message that was received waits again.
    fn back(&mut self, seq: u64) {
        if let Some(known) = self.known.get_mut(&seq) {
            known.state = State::Back;
        }
    }

    /// Makes a message that was hidden one that can be received; how many more can be.
    fn appear(&mut self, seq: u64, group: u64) -> usize {
        self.lanes.insert(group, seq);
        if self.is_fifo() { self.ready_head(group) } else { 1 }
    }
}

/// Sequences follow each other: they need no more of a hash than to be spread.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SequenceHasher(u64);

impl Hasher for SequenceHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(self.0 ^ u64::from(*byte));
        }
    }
    fn write_u64(&mut self, word: u64) {
        let spread = word.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = spread ^ spread >> 32;
    }
}
