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
    /// Sends that were acknowledged.
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
    Deleted,
}

#[derive(Default)]
pub(super) struct Ledger {
    fates: BTreeMap<(Tried, u64), Fate>,
    next: u64,
    outcome: Outcome,
    /// What was told of already: each fault counts once, however often it is looked at.
    told: BTreeSet<(Tried, u64, &'static str)>,
}

impl Ledger {
    /// The number of the first message that the next worker is to send.
    pub(super) fn next(&self) -> u64 {
        self.next
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
        self.next = self.next.max(number + 1);
        let fate = self.fates.entry((queue, number)).or_insert(Fate::Sending);
        match word {
            "sent" => {
                self.outcome.sent += 1;
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
            let mut seen = BTreeSet::new();
            let mut last = BTreeMap::new();
            for number in there {
                if !seen.insert(*number) {
                    self.tell(queue, *number, "is there twice");
                }
                match self.fates.get(&(queue, *number)) {
                    None => self.tell(queue, *number, "was never sent"),
                    Some(Fate::Deleted) => self.tell(queue, *number, "came back after its delete"),
                    Some(_) => {}
                }
                let before = last.insert(number % GROUPS, *number);
                if queue == Tried::Ordered && before.is_some_and(|before| before > *number) {
                    self.tell(queue, *number, "comes after one that was sent later");
                }
            }
            let mine: Vec<(u64, Fate)> =
                self.fates.range((queue, 0)..=(queue, u64::MAX)).map(|((_, n), fate)| (*n, *fate)).collect();
            for (number, fate) in mine {
                let settled = match (fate, seen.contains(&number)) {
                    (Fate::Sent, false) => {
                        self.tell(queue, number, "is gone");
                        None
                    }
                    (Fate::Sending | Fate::Deleting, true) => Some(Fate::Sent),
                    // Whether it never came or has gone: it may not come back.
                    (Fate::Sending | Fate::Deleting, false) => None,
                    (Fate::Sent, true) | (Fate::Deleted, _) => continue,
                };
                match settled {
                    Some(fate) => self.fates.insert((queue, number), fate),
                    None => self.fates.insert((queue, number), Fate::Deleted),
                };
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
