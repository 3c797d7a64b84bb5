//! What becomes of messages in flight: they are deleted, hidden for longer or shorter, or handed back.

use std::time::Duration;

use kit::Timestamp;
use store::Op;

use super::{Core, Decision, MOST_HIDDEN_SECONDS, State, Taken};
use crate::error::ReceiptError;
use crate::queue::receipt::Receipt;

impl Core {
    /// Deletes messages. One that is gone is deleted; one that somebody else holds is not; and where order is kept,
    /// neither is one that the receipt does not hold any longer.
    pub fn delete(
        &mut self,
        receipts: &[Receipt],
        now: Timestamp,
    ) -> Decision<Vec<Result<(), ReceiptError>>> {
        let mut wake = self.pass(now);
        let mut ops = Vec::with_capacity(receipts.len() * 2);
        let mut reply = Vec::with_capacity(receipts.len());
        for receipt in receipts {
            reply.push(self.may_delete(receipt).map(|there| {
                if there {
                    self.deleted += 1;
                    wake += self.remove(receipt.sequence, &mut ops);
                }
            }));
        }
        Decision { ops, barrier: true, wake, reply }
    }

    /// Whether the message is there to be deleted.
    fn may_delete(&self, receipt: &Receipt) -> Result<bool, ReceiptError> {
        if receipt.shard != self.number {
            return Err(ReceiptError::OtherQueue);
        }
        if !self.alive.contains(receipt.sequence) {
            return Ok(false);
        }
        // Receipts are of messages that were received: one that was never is another's receipt, from before the disk
        // was changed.
        let known = self.known.get(&receipt.sequence).ok_or(ReceiptError::Stale)?;
        let current = known.receives == receipt.receives;
        match known.state {
            State::InFlight if current => Ok(true),
            State::Back if !self.is_fifo() => Ok(true),
            // Whoever has worked on it to the end is right, as long as it has not left.
            State::Leaving if current && !self.is_fifo() => Ok(true),
            _ => Err(ReceiptError::Stale),
        }
    }

    /// Hides messages for so many seconds from now on; with 0 they are back at once.
    pub fn change_visibility(
        &mut self,
        changes: &[(Receipt, u32)],
        now: Timestamp,
    ) -> Decision<Vec<Result<(), ReceiptError>>> {
        let mut wake = self.pass(now);
        let mut ops = Vec::with_capacity(changes.len());
        let mut reply = Vec::with_capacity(changes.len());
        for (receipt, seconds) in changes {
            reply.push(self.change(receipt, *seconds, now, &mut ops).map(|more| wake += more));
        }
        Decision { ops, barrier: true, wake, reply }
    }

    fn change(
        &mut self,
        receipt: &Receipt,
        seconds: u32,
        now: Timestamp,
        ops: &mut Vec<Op>,
    ) -> Result<usize, ReceiptError> {
        let seq = receipt.sequence;
        if receipt.shard != self.number {
            return Err(ReceiptError::OtherQueue);
        }
        if !self.alive.contains(seq) {
            return Err(ReceiptError::NoSuchMessage);
        }
        let known = self.known.get_mut(&seq).ok_or(ReceiptError::NotInFlight)?;
        if known.state != State::InFlight {
            return Err(if self.is_fifo() { ReceiptError::Stale } else { ReceiptError::NotInFlight });
        }
        if known.receives != receipt.receives {
            return Err(ReceiptError::Stale);
        }
        let visible_at = now + Duration::from_secs(seconds.into());
        if visible_at > known.last_at + Duration::from_secs(MOST_HIDDEN_SECONDS.into()) {
            return Err(ReceiptError::TooLong);
        }
        self.timers.remove(&(known.visible_at, seq));
        known.visible_at = visible_at;
        let group = known.group;
        self.timers.insert((visible_at, seq));
        ops.push(self.put_meta(seq, group));
        Ok(if seconds == 0 { self.pass(now) } else { 0 })
    }

    /// Puts messages back that were taken and never delivered, as if they had not been received.
    pub fn hand_back(&mut self, taken: &[Taken], now: Timestamp) -> Decision<()> {
        let mut wake = self.pass(now);
        let mut ops = Vec::with_capacity(taken.len());
        for Taken { sequence: seq, receives, .. } in taken {
            let Some(known) = self.known.get_mut(seq) else { continue };
            if known.state != State::InFlight || known.receives != *receives {
                continue;
            }
            let group = known.group;
            self.timers.remove(&(known.visible_at, *seq));
            self.in_flight -= 1;
            self.received = self.received.saturating_sub(1);
            known.receives -= 1;
            known.visible_at = now;
            known.state = State::Back;
            if known.receives == 0 {
                self.known.remove(seq);
            }
            self.lanes.settle(group);
            wake += self.appear(*seq, group);
            ops.push(self.put_meta(*seq, group));
        }
        Decision { ops, barrier: false, wake, reply: () }
    }
}
