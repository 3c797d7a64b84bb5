//! Sending.

use std::time::Duration;

use bytes::Bytes;
use kit::Timestamp;
use store::Op;

use super::identities::Identities;
use super::marks::second;
use super::{Core, Decision, Known, RESERVED_AT_ONCE, State};
use crate::queue::keys;
use crate::queue::record::Identity;
use crate::spaces;

/// A message ready to be sent: everything that can be done before it has its place is done.
#[derive(Clone, Debug)]
pub struct Parcel {
    /// The UUID that it is known by from now on.
    pub id: [u8; 16],
    /// Its record: [`crate::queue::record::Stored`].
    pub record: Bytes,
    /// The digest of its group; 0: it has none.
    pub group: u64,
    /// For how long nobody gets it, in seconds; `None`: as the queue says.
    pub delay_seconds: Option<u32>,
    /// The digest of its identity, where order is kept.
    pub identity: Option<[u8; 16]>,
    /// When it was sent first, if it comes from another queue and keeps that time.
    pub kept_sent_at: Option<Timestamp>,
}

/// What became of a parcel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taker {
    /// Its sequence, or that of the first one with its identity.
    pub sequence: u64,
    /// Its UUID, or that of the first one.
    pub id: [u8; 16],
    /// There was one with its identity.
    pub duplicate: bool,
}

/// Why a parcel was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// As many identities are remembered as can be.
    TooManyIdentities,
}

impl Core {
    /// Takes messages, in their order.
    pub fn send(&mut self, parcels: &[Parcel], now: Timestamp) -> Decision<Vec<Result<Taker, Refusal>>> {
        let mut ops = Vec::with_capacity(parcels.len() * 2 + 1);
        let mut wake = self.pass(now);
        let mut barrier = false;
        let mut reply = Vec::with_capacity(parcels.len());
        for parcel in parcels {
            if let Some(hash) = parcel.identity.filter(|_| self.is_fifo()) {
                if let Some(first) = self.identities.find(&hash, now) {
                    barrier = true;
                    reply.push(Ok(Taker { sequence: first.sequence, id: first.id, duplicate: true }));
                    continue;
                }
                if self.identities.len() >= self.bounds.identities {
                    reply.push(Err(Refusal::TooManyIdentities));
                    continue;
                }
                let bucket = Identities::bucket(now);
                let identity = Identity { sequence: self.next, id: parcel.id, sent_at: now };
                self.identities.insert(bucket, hash, identity);
                ops.push(Op::Put(
                    spaces::DEDUP,
                    keys::identity(self.number, bucket, &hash),
                    identity.encode(),
                ));
            }
            let delay =
                parcel.delay_seconds.filter(|_| !self.is_fifo()).unwrap_or(self.settings.delay_seconds);
            let (sequence, more) = self.take_in(parcel, delay, now, &mut ops);
            wake += more;
            reply.push(Ok(Taker { sequence, id: parcel.id, duplicate: false }));
        }
        self.announce(&mut ops);
        Decision { ops, barrier, wake, reply }
    }

    /// Takes a message that comes from another queue; its sequence here.
    pub fn take_over(&mut self, parcel: &Parcel, now: Timestamp) -> Decision<u64> {
        let mut ops = Vec::with_capacity(3);
        let before = self.pass(now);
        let (reply, more) = self.take_in(parcel, 0, now, &mut ops);
        self.announce(&mut ops);
        Decision { ops, barrier: false, wake: before + more, reply }
    }

    fn take_in(&mut self, parcel: &Parcel, delay: u32, now: Timestamp, ops: &mut Vec<Op>) -> (u64, usize) {
        let seq = self.next;
        self.next += 1;
        self.alive.insert(seq);
        self.marks.note(seq, second(now));
        if let Some(kept) = parcel.kept_sent_at.map(second).filter(|kept| *kept < second(now)) {
            self.marks.note_kept(seq, kept);
        }
        self.sent += 1;
        let mut wake = 0;
        if delay > 0 {
            let visible_at = now + Duration::from_secs(delay.into());
            self.hide(seq, parcel.group, visible_at);
        } else {
            wake = self.appear(seq, parcel.group);
        }
        ops.push(Op::Put(spaces::BODY, keys::message(self.number, seq), parcel.record.clone()));
        ops.push(self.put_meta(seq, parcel.group));
        (seq, wake)
    }

    /// Keeps a message from being received until a moment. Where order is kept it has its place in its group already.
    pub(super) fn hide(&mut self, seq: u64, group: u64, visible_at: Timestamp) {
        let none = Timestamp::from_micros(0);
        let state = State::Delayed;
        self.known
            .insert(seq, Known { state, group, visible_at, receives: 0, first_at: none, last_at: none });
        self.timers.insert((visible_at, seq));
        self.delayed += 1;
        if self.is_fifo() {
            self.lanes.insert(group, seq);
        }
    }

    /// Says on disk, in the same commit, that the queue is not empty, and which sequences may be given out.
    fn announce(&mut self, ops: &mut Vec<Op>) {
        if self.next > self.reserved {
            self.reserved = self.next + RESERVED_AT_ONCE;
        }
        if self.reserved != self.head.reserved || (self.head.empty && !self.alive.is_empty()) {
            ops.push(self.put_head());
        }
    }
}
