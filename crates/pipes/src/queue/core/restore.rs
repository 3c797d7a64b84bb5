//! Reading a queue back from its records: its messages in order, then its identities, then [`Core::restored`].

use kit::Timestamp;

use super::identities::Identities;
use super::marks::second;
use super::{Core, Known, State};
use crate::queue::record::{Head, Identity, Meta};

impl Core {
    /// Where the messages begin, and whether there are any at all.
    pub fn scan_from(head: Option<&Head>) -> Option<u64> {
        head.filter(|head| !head.empty).map(|head| head.low)
    }

    /// A message, as its record says. In the order of sequences.
    pub fn restore_message(&mut self, seq: u64, meta: &Meta, now: Timestamp) {
        self.next = self.next.max(seq + 1);
        if seq < self.purged_below {
            self.doomed.insert(seq);
            return;
        }
        self.alive.insert(seq);
        // What came from another queue may be older than what is before it.
        if self.marks.last().is_some_and(|last| meta.sent_second < last) {
            self.marks.note_kept(seq, meta.sent_second);
        } else {
            self.marks.note(seq, meta.sent_second);
        }
        let hidden = meta.visible_at > now;
        match meta.received {
            None if hidden => self.hide(seq, meta.group, meta.visible_at),
            None => {
                self.appear(seq, meta.group);
            }
            Some(received) => {
                let state = match hidden {
                    true => State::InFlight,
                    false if self.is_dead(received.receives) => State::Leaving,
                    false => State::Back,
                };
                let known = Known {
                    state,
                    group: meta.group,
                    visible_at: meta.visible_at,
                    receives: received.receives,
                    first_at: received.first_at,
                    last_at: received.last_at,
                };
                self.known.insert(seq, known);
                match state {
                    State::InFlight => {
                        self.timers.insert((meta.visible_at, seq));
                    }
                    State::Leaving => self.dead.push_back(seq),
                    State::Back | State::Delayed => {
                        self.appear(seq, meta.group);
                        return;
                    }
                }
                self.in_flight += 1;
                self.lanes.hold(meta.group);
            }
        }
    }

    /// An identity.
    pub fn restore_identity(&mut self, bucket: u32, hash: [u8; 16], identity: Identity) {
        self.identities.insert(bucket, hash, identity);
    }

    /// The first bucket of identities that still counts.
    pub fn first_bucket(now: Timestamp) -> u32 {
        Identities::bucket(now).saturating_sub(1)
    }

    /// Buckets of identities that are still there and count no longer. Beyond some weeks' worth they wait for the
    /// next time.
    pub fn forget_buckets(&mut self, from: u32, to: u32) {
        self.identities.leave(from..to.min(from.saturating_add(10_000)));
    }

    /// Everything was read.
    pub fn restored(&mut self, now: Timestamp) {
        debug_assert!(second(now) > 0, "a clock that stands at the epoch forgets nothing");
        self.pass(now);
    }
}
