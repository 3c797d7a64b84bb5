//! What was acknowledged, and what must follow from it. Pure.
//!
//! A worker says what it is about to do (`sending`, `deleting`) and what it was told is done (`sent`, `deleted`), each with the
//! queue and the number of the message. What was begun and not acknowledged may have happened or not; everything else is
//! certain.

use std::collections::{BTreeMap, BTreeSet};

/// Problems that are told one by one.
const MOST_TOLD: usize = 20;

/// A queue that is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Tried {
    /// Without order.
    Plain,
    /// With order, each message sent twice under one identity now and then.
    Ordered,
}

impl Tried {
    pub(super) const ALL: [Self; 2] = [Self::Plain, Self::Ordered];

    /// The queue's name.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Ordered => "ordered.fifo",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|tried| tried.name() == name)
    }
}

/// How many groups the queue with order has.
pub(super) const GROUPS: u64 = 4;

/// What is in each queue, in the order in which it would be received.
pub(super) type Found = BTreeMap<Tried, Vec<u64>>;

/// What was acknowledged, and what became of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Messages whose send was acknowledged; one that was sent twice under one identity is one.
    pub sent: u64,
    /// Those whose message is gone although nobody asked for it.
    pub lost: u64,
    /// Deletes that were acknowledged.
    pub deleted: u64,
    /// Those whose message came back.
    pub came_back: u64,
    /// Messages that are there more than once.
    pub doubled: u64,
    /// Messages that are before one that was sent before them.
    pub out_of_order: u64,
    /// Messages that nobody sent.
    pub made_up: u64,
    /// Each of these in words, the first ones.
    pub problems: Vec<String>,
}

impl Outcome {
    /// Whether everything is as it was acknowledged.
    pub fn is_whole(&self) -> bool {
        self.lost + self.came_back + self.doubled + self.out_of_order + self.made_up == 0
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It may be there or not.
    Sending,
    Sent,
    /// It was sent, and may be there or not.
    Deleting,
    /// It is gone. Only until the next look: what is not remembered is gone.
    Deleted,
}

/// A message that is remembered.
#[derive(Clone, Copy)]
struct Message {
    fate: Fate,
    /// Its send was acknowledged, and counted.
    acknowledged: bool,
}

/// The messages of a queue. After a look only those that are there are remembered, so that a run may be as long as it likes.
#[derive(Default)]
struct Messages {
    remembered: BTreeMap<u64, Message>,
    /// Nobody has sent this one or a later one.
    next: u64,
    /// What it was at the last look: those before it that are not remembered are gone.
    settled: u64,
}

#[derive(Default)]
pub(super) struct Ledger {
    queues: BTreeMap<Tried, Messages>,
    outcome: Outcome,
    /// What was told of already: each fault counts once, however often it is looked at.
    told: BTreeSet<(Tried, u64, &'static str)>,
}

impl Ledger {
    /// The number of the first message that the next worker is to send.
    pub(super) fn next(&self) -> u64 {
        self.queues.values().map(|messages| messages.next).max().unwrap_or_default()
    }

    pub(super) fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    /// A line of a worker.
    pub(super) fn hear(&mut self, line: &str) {
        let mut words = line.split_ascii_whitespace();
        let (Some(word), Some(queue), Some(number)) = (words.next(), words.next(), words.next()) else {
            return;
        };
        let (Some(queue), Ok(number)) = (Tried::parse(queue), number.parse::<u64>()) else { return };
        let Messages { remembered, next, settled } = self.queues.entry(queue).or_default();
        if number < *settled && !remembered.contains_key(&number) {
            return; // it is gone: that it is there nevertheless the next look tells
        }
        *next = (*next).max(number.saturating_add(1));
        let new = Message { fate: Fate::Sending, acknowledged: false };
        let Message { fate, acknowledged } = remembered.entry(number).or_insert(new);
        match word {
            "sent" => {
                self.outcome.sent += u64::from(!*acknowledged);
                *acknowledged = true;
                // It may have been received, and deleted, before its sender was told.
                if *fate == Fate::Sending {
                    *fate = Fate::Sent;
                }
            }
            "deleting" if *fate != Fate::Deleted => *fate = Fate::Deleting,
            "deleted" if *fate != Fate::Deleted => {
                *fate = Fate::Deleted;
                self.outcome.deleted += 1;
            }
            _ => {}
        }
    }

    /// What is there after a kill must be what was acknowledged. From then on it is certain what had become of what was under
    /// way.
    pub(super) fn compare(&mut self, found: &Found) {
        let nothing = Vec::new();
        for queue in Tried::ALL {
            let there = found.get(&queue).unwrap_or(&nothing);
            let Messages { remembered, next, settled } = self.queues.entry(queue).or_default();
            *settled = *next;
            let mut faults = Vec::new();
            let mut seen = BTreeSet::new();
            let mut last = BTreeMap::new();
            for number in there {
                if !seen.insert(*number) {
                    faults.push((*number, "is there twice"));
                }
                match remembered.get(number).map(|message| message.fate) {
                    None if number >= next => faults.push((*number, "was never sent")),
                    None | Some(Fate::Deleted) => faults.push((*number, "came back after its delete")),
                    Some(_) => {}
                }
                let before = last.insert(number % GROUPS, *number);
                if queue == Tried::Ordered && before.is_some_and(|before| before > *number) {
                    faults.push((*number, "comes after one that was sent later"));
                }
            }
            remembered.retain(|number, message| {
                let is_there = seen.contains(number);
                if message.fate == Fate::Sent && !is_there {
                    faults.push((*number, "is gone"));
                }
                // What was under way and is there has to stay; what is not never came or has gone, and may not come back.
                let stays = is_there && message.fate != Fate::Deleted;
                message.fate = Fate::Sent;
                stays
            });
            for (number, what) in faults {
                self.tell(queue, number, what);
            }
        }
    }

    fn tell(&mut self, queue: Tried, number: u64, what: &'static str) {
        if !self.told.insert((queue, number, what)) {
            return;
        }
        let counter = match what {
            "is gone" => &mut self.outcome.lost,
            "came back after its delete" => &mut self.outcome.came_back,
            "is there twice" => &mut self.outcome.doubled,
            "was never sent" => &mut self.outcome.made_up,
            _ => &mut self.outcome.out_of_order,
        };
        *counter += 1;
        if self.outcome.problems.len() < MOST_TOLD {
            self.outcome.problems.push(format!("message {number} of `{}` {what}", queue.name()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(lines: &[&str]) -> Ledger {
        let mut ledger = Ledger::default();
        lines.iter().for_each(|line| ledger.hear(line));
        ledger
    }

    fn found(plain: &[u64], ordered: &[u64]) -> Found {
        [(Tried::Plain, plain.to_vec()), (Tried::Ordered, ordered.to_vec())].into()
    }

    fn remembered(ledger: &Ledger) -> usize {
        ledger.queues.values().map(|messages| messages.remembered.len()).sum()
    }

    #[test]
    fn a_message_that_is_sent_twice_or_deleted_before_its_sender_knows_is_one() {
        let twice = [
            "sending ordered.fifo 4",
            "sent ordered.fifo 4",
            "sending ordered.fifo 4",
            "sent ordered.fifo 4",
        ];
        let early = ["sending plain 5", "deleting plain 5", "deleted plain 5", "sent plain 5"];
        let mut ledger = ledger(&[twice, early].concat());
        assert_eq!((ledger.outcome().sent, ledger.outcome().deleted), (2, 1));
        ledger.compare(&found(&[], &[4]));
        assert!(ledger.outcome().is_whole(), "{:?}", ledger.outcome());
    }

    #[test]
    fn what_is_gone_takes_no_room_however_long_it_goes_on() {
        let mut ledger = Ledger::default();
        for life in 0..50 {
            for number in life * 100..life * 100 + 100 {
                for word in ["sending", "sent", "deleting", "deleted"] {
                    ledger.hear(&format!("{word} plain {number}"));
                }
            }
            ledger.compare(&found(&[], &[]));
            assert_eq!(remembered(&ledger), 0);
        }
        assert_eq!((ledger.outcome().sent, ledger.next()), (5000, 5000));
        ledger.compare(&found(&[7, 5000], &[]));
        assert_eq!((ledger.outcome().came_back, ledger.outcome().made_up), (1, 1));
    }

    #[test]
    fn what_was_acknowledged_is_certain_and_what_was_under_way_is_not() {
        let lines = [
            "sending plain 0",
            "sent plain 0",
            "sending plain 1",
            "deleting plain 0",
            "nonsense",
            "sent x 9",
        ];
        for there in [found(&[0, 1], &[]), found(&[0], &[]), found(&[1], &[]), found(&[], &[])] {
            let mut ledger = ledger(&lines);
            ledger.compare(&there);
            assert!(ledger.outcome().is_whole(), "{there:?}: {:?}", ledger.outcome());
            assert_eq!((ledger.outcome().sent, ledger.outcome().deleted, ledger.next()), (1, 0, 2));
            assert_eq!(remembered(&ledger), there[&Tried::Plain].len(), "no more than is there");
            // What turned out to be there has to stay.
            ledger.compare(&found(&[], &[]));
            assert_eq!(ledger.outcome().lost as usize, there[&Tried::Plain].len());
        }
    }

    #[test]
    fn each_fault_is_found_and_counted_once() {
        let sent = |queue: &str, numbers: &[u64]| -> Vec<String> {
            numbers.iter().map(|number| format!("sent {queue} {number}")).collect()
        };
        let lines = [sent("plain", &[0, 1, 2]), sent("ordered.fifo", &[0, 4, 8, 1])].concat();
        let mut ledger = ledger(&lines.iter().map(String::as_str).collect::<Vec<_>>());
        ledger.hear("deleting plain 2");
        ledger.hear("deleted plain 2");
        for _ in 0..2 {
            ledger.compare(&found(&[0, 2, 7], &[1, 4, 0, 8, 8]));
        }
        let Outcome { lost, came_back, doubled, out_of_order, made_up, problems, .. } = ledger.outcome();
        assert_eq!((*lost, *came_back, *doubled, *out_of_order, *made_up), (1, 1, 1, 1, 1), "{problems:?}");
        assert_eq!(problems[0], "message 2 of `plain` came back after its delete");
    }

    #[test]
    fn what_never_came_or_has_gone_may_not_come_later() {
        let mut ledger = ledger(&["sending plain 0", "sent plain 1", "deleting plain 1"]);
        ledger.compare(&found(&[], &[]));
        assert!(ledger.outcome().is_whole());
        ledger.compare(&found(&[0, 1], &[]));
        assert_eq!(ledger.outcome().came_back, 2);
    }
}
