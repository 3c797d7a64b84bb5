//! What was published within the last five minutes, by identity: a second message with the same one is answered as the
//! first was.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use kit::Timestamp;
use ring::digest;
use tokio::sync::watch;

use super::id::MessageId;

/// For how long an identity is remembered.
pub(crate) const WINDOW: Duration = Duration::from_secs(300);

/// An identity within its topic, or within a group of it.
pub(crate) type Key = [u8; 16];

/// The key of an identity.
pub(crate) fn key(topic: u128, group: Option<&str>, identity: &str) -> Key {
    let mut hash = digest::Context::new(&digest::SHA256);
    hash.update(&topic.to_be_bytes());
    // Lengths before texts: no two different pairs look the same.
    let group = group.map_or(u64::MAX.to_be_bytes().to_vec(), |group| {
        [&(group.len() as u64).to_be_bytes()[..], group.as_bytes()].concat()
    });
    hash.update(&group);
    hash.update(identity.as_bytes());
    let mut key = [0; 16];
    key.copy_from_slice(&hash.finish().as_ref()[..16]);
    key
}

/// The identity that a body gives a message which has none.
pub(crate) fn of_content(body: &[u8]) -> String {
    let hash = digest::digest(&digest::SHA256, body);
    hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What the first one was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct First {
    pub(crate) id: MessageId,
    pub(crate) sequence: u64,
    pub(crate) at: Timestamp,
}

impl First {
    pub(crate) fn encode(self) -> Vec<u8> {
        let mut bytes = self.id.0.to_be_bytes().to_vec();
        bytes.extend_from_slice(&self.sequence.to_be_bytes());
        bytes.extend_from_slice(&self.at.as_micros().to_be_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (id, rest) = bytes.split_at_checked(16)?;
        let (sequence, at) = rest.split_at_checked(8)?;
        Some(Self {
            id: MessageId(u128::from_be_bytes(id.try_into().ok()?)),
            sequence: u64::from_be_bytes(sequence.try_into().ok()?),
            at: Timestamp::from_micros(u64::from_be_bytes(at.try_into().ok()?)),
        })
    }
}

/// The five minutes that a moment is in; keys on disk begin with it, and are dropped by it.
pub(crate) fn bucket(at: Timestamp) -> u32 {
    u32::try_from(at.as_micros() / 1_000_000 / WINDOW.as_secs()).unwrap_or(u32::MAX)
}

/// The key on disk.
pub(crate) fn disk_key(at: Timestamp, key: &Key) -> Vec<u8> {
    [&bucket(at).to_be_bytes()[..], key].concat()
}

enum Entry {
    Known(First),
    /// Somebody is at it; over when the other end is dropped.
    UnderWay(watch::Receiver<()>),
}

/// What begins when an identity is met.
pub(crate) enum Met {
    /// It is new: publish it, then say how it went. The other end wakes those who wait for the outcome.
    New(watch::Sender<()>),
    /// It was published.
    Known(First),
    /// It is being published: look again when this ends.
    UnderWay(watch::Receiver<()>),
    /// As many are remembered as may be.
    Full,
}

/// The window in memory.
#[derive(Default)]
pub(crate) struct Window {
    entries: HashMap<Key, Entry>,
    /// Known ones in the order of their times.
    by_time: VecDeque<(Timestamp, Key)>,
}

impl Window {
    pub(crate) fn meet(&mut self, key: Key, now: Timestamp, most: usize) -> Met {
        self.expire(now);
        match self.entries.get(&key) {
            Some(Entry::Known(first)) => Met::Known(*first),
            Some(Entry::UnderWay(over)) => Met::UnderWay(over.clone()),
            None if self.entries.len() >= most => Met::Full,
            None => {
                let (sender, receiver) = watch::channel(());
                self.entries.insert(key, Entry::UnderWay(receiver));
                Met::New(sender)
            }
        }
    }

    /// It was published, or is read back from disk.
    pub(crate) fn know(&mut self, key: Key, first: First) {
        self.entries.insert(key, Entry::Known(first));
        self.by_time.push_back((first.at, key));
    }

    /// If it was not published after all, it never was.
    pub(crate) fn forget_unknown(&mut self, key: &Key) {
        if matches!(self.entries.get(key), Some(Entry::UnderWay(_))) {
            self.entries.remove(key);
        }
    }

    pub(crate) fn expire(&mut self, now: Timestamp) {
        while let Some((at, key)) = self.by_time.front() {
            if now.since(*at) < WINDOW {
                break;
            }
            self.entries.remove(key);
            self.by_time.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn an_identity_is_remembered_for_five_minutes() {
        let mut window = Window::default();
        let identity = key(1, None, "x");
        let first = First { id: MessageId(1), sequence: 5, at: at(10) };
        assert!(matches!(window.meet(identity, at(10), 10), Met::New(_)));
        assert!(matches!(window.meet(identity, at(10), 10), Met::UnderWay(_)));
        window.know(identity, first);
        assert!(matches!(window.meet(identity, at(309), 10), Met::Known(known) if known == first));
        assert!(matches!(window.meet(identity, at(310), 10), Met::New(_)));
    }

    #[test]
    fn what_failed_is_new_again_and_what_is_too_much_is_refused() {
        let mut window = Window::default();
        let identity = key(1, None, "x");
        assert!(matches!(window.meet(identity, at(0), 1), Met::New(_)));
        assert!(matches!(window.meet(key(1, None, "y"), at(0), 1), Met::Full));
        window.forget_unknown(&identity);
        assert!(matches!(window.meet(identity, at(0), 1), Met::New(_)));
    }

    #[test]
    fn groups_and_topics_have_identities_of_their_own() {
        let keys = [
            key(1, None, "x"),
            key(2, None, "x"),
            key(1, Some(""), "x"),
            key(1, Some("x"), ""),
            key(1, None, "y"),
        ];
        for (index, one) in keys.iter().enumerate() {
            assert!(!keys[..index].contains(one));
        }
        assert_eq!(of_content(b"abc").len(), 64);
    }

    #[test]
    fn what_is_on_disk_comes_back() {
        let first = First { id: MessageId(3), sequence: 9, at: at(700) };
        assert_eq!(First::decode(&first.encode()), Some(first));
        assert_eq!(First::decode(b"x"), None);
        assert_eq!(disk_key(at(700), &[7; 16])[..4], [0, 0, 0, 2]);
    }
}
