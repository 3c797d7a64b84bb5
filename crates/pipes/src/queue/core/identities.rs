//! Identities of messages that were sent in the last minutes, whether the messages are still there or not.

use std::collections::{HashMap, VecDeque};

use kit::Timestamp;

use super::super::record::Identity;
use super::REMEMBERED_SECONDS;

/// Identities, in buckets of five minutes, which are forgotten whole.
#[derive(Debug, Default)]
pub(super) struct Identities {
    buckets: VecDeque<(u32, HashMap<[u8; 16], Identity>)>,
    len: usize,
    /// Buckets that can be dropped from the store.
    over: Vec<u32>,
}

impl Identities {
    /// The bucket of a moment.
    pub(super) fn bucket(moment: Timestamp) -> u32 {
        u32::try_from(moment.as_micros() / (REMEMBERED_SECONDS * 1_000_000)).unwrap_or(u32::MAX)
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The message that has this identity, if it was sent less than five minutes ago.
    pub(super) fn find(&self, hash: &[u8; 16], now: Timestamp) -> Option<Identity> {
        let found = self.buckets.iter().rev().find_map(|(_, bucket)| bucket.get(hash))?;
        (now.since(found.sent_at).as_secs() < REMEMBERED_SECONDS).then_some(*found)
    }

    pub(super) fn insert(&mut self, bucket: u32, hash: [u8; 16], identity: Identity) {
        // Times do not run backwards, nor do buckets; after a restart they may, and then the last one is as good.
        if self.buckets.back().is_none_or(|(last, _)| *last < bucket) {
            self.buckets.push_back((bucket, HashMap::new()));
        }
        if let Some((_, identities)) = self.buckets.back_mut() {
            self.len += usize::from(identities.insert(hash, identity).is_none());
        }
    }

    /// Forgets what is over.
    pub(super) fn pass(&mut self, now: Timestamp) {
        let bucket = Self::bucket(now);
        while self.buckets.front().is_some_and(|(first, _)| first.saturating_add(1) < bucket) {
            if let Some((first, identities)) = self.buckets.pop_front() {
                self.len -= identities.len();
                self.over.push(first);
            }
        }
    }

    /// When something can be forgotten.
    pub(super) fn next_over(&self) -> Option<Timestamp> {
        let (first, _) = self.buckets.front()?;
        Some(Timestamp::from_micros((u64::from(*first) + 2) * REMEMBERED_SECONDS * 1_000_000))
    }

    /// Buckets that are left from before and can be dropped.
    pub(super) fn leave(&mut self, buckets: std::ops::Range<u32>) {
        self.over.extend(buckets);
    }

    pub(super) fn has_over(&self) -> bool {
        !self.over.is_empty()
    }

    pub(super) fn take_over(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.over)
    }
}
