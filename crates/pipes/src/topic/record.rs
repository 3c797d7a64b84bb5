//! What topics look like on disk. A record begins with the number of its format; what this version does not know it
//! refuses.

use std::collections::BTreeMap;

use kit::Timestamp;

use super::filter::{Filter, Scope};
use super::id::SubscriptionId;
use super::retry::{Curve, Retry};
use super::settings::{FifoTopic, TopicSettings};
use super::subscription::{Endpoint, State, Subscription, SubscriptionSettings};
use crate::name::{QueueName, TopicName};
use crate::shell::Declared;

const FORMAT: u8 = 1;

/// A topic as it is kept.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TopicRecord {
    pub(crate) id: u128,
    pub(crate) created_at: Timestamp,
    pub(crate) declared: Declared,
    pub(crate) settings: TopicSettings,
    pub(crate) tags: BTreeMap<String, String>,
}

#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn byte(&mut self, value: u8) {
        self.0.push(value);
    }

    fn flag(&mut self, value: bool) {
        self.byte(u8::from(value));
    }

    fn u32(&mut self, value: u32) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    fn u128(&mut self, value: u128) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    fn text(&mut self, text: &str) {
        self.u32(u32::try_from(text.len()).unwrap_or(u32::MAX));
        self.0.extend_from_slice(text.as_bytes());
    }

    fn option<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        self.flag(value.is_some());
        if let Some(value) = value {
            write(self, value);
        }
    }

    fn map(&mut self, map: &BTreeMap<String, String>) {
        self.u32(u32::try_from(map.len()).unwrap_or(u32::MAX));
        for (key, value) in map {
            self.text(key);
            self.text(value);
        }
    }

    fn retry(&mut self, retry: &Retry) {
        let Retry {
            retries,
            immediate,
            pre_backoff,
            post_backoff,
            least_seconds,
            most_seconds,
            curve,
            per_second,
            content_type,
        } = retry;
        for number in [retries, immediate, pre_backoff, post_backoff, least_seconds, most_seconds] {
            self.u32(*number);
        }
        self.byte(match curve {
            Curve::Linear => 0,
            Curve::Arithmetic => 1,
            Curve::Geometric => 2,
            Curve::Exponential => 3,
        });
        self.option(*per_second, Self::u32);
        self.option(content_type.as_deref(), Self::text);
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn flag(&mut self) -> Option<bool> {
        match self.byte()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    fn u64(&mut self) -> Option<u64> {
        Some(u64::from_be_bytes(self.take(8)?.try_into().ok()?))
    }

    fn u128(&mut self) -> Option<u128> {
        Some(u128::from_be_bytes(self.take(16)?.try_into().ok()?))
    }

    fn text(&mut self) -> Option<String> {
        let length = usize::try_from(self.u32()?).ok()?;
        String::from_utf8(self.take(length)?.to_vec()).ok()
    }

    fn option<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<Option<T>> {
        if self.flag()? { read(self).map(Some) } else { Some(None) }
    }

    fn map(&mut self) -> Option<BTreeMap<String, String>> {
        let count = self.u32()?;
        (0..count).map(|_| Some((self.text()?, self.text()?))).collect()
    }

    fn retry(&mut self) -> Option<Retry> {
        Some(Retry {
            retries: self.u32()?,
            immediate: self.u32()?,
            pre_backoff: self.u32()?,
            post_backoff: self.u32()?,
            least_seconds: self.u32()?,
            most_seconds: self.u32()?,
            curve: match self.byte()? {
                0 => Curve::Linear,
                1 => Curve::Arithmetic,
                2 => Curve::Geometric,
                3 => Curve::Exponential,
                _ => return None,
            },
            per_second: self.option(Self::u32)?,
            content_type: self.option(Self::text)?,
        })
    }

    fn queue(&mut self) -> Option<QueueName> {
        self.text()?.parse().ok()
    }

    fn ends(self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}

impl TopicRecord {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let Self { id, created_at, declared, settings, tags } = self;
        let TopicSettings { fifo, display_name, policy, retry, kept } = settings;
        let mut to = Writer::default();
        to.byte(FORMAT);
        to.u128(*id);
        to.u64(created_at.as_micros());
        to.flag(*declared == Declared::InFile);
        to.option(fifo.as_ref(), |to, FifoTopic { content_dedup, dedup_by_group }| {
            to.flag(*content_dedup);
            to.flag(*dedup_by_group);
        });
        to.text(display_name);
        to.option(policy.as_deref(), Writer::text);
        to.option(retry.as_ref(), Writer::retry);
        to.map(kept);
        to.map(tags);
        to.0
    }

    /// `None`: damaged, or of a later version.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut from = Reader(bytes);
        if from.byte()? != FORMAT {
            return None;
        }
        let record = Self {
            id: from.u128()?,
            created_at: Timestamp::from_micros(from.u64()?),
            declared: if from.flag()? { Declared::InFile } else { Declared::AtRunTime },
            settings: TopicSettings {
                fifo: from.option(|from| {
                    Some(FifoTopic { content_dedup: from.flag()?, dedup_by_group: from.flag()? })
                })?,
                display_name: from.text()?,
                policy: from.option(Reader::text)?,
                retry: from.option(Reader::retry)?,
                kept: from.map()?,
            },
            tags: from.map()?,
        };
        from.ends()?;
        Some(record)
    }
}

/// The key of a subscription.
pub(crate) fn subscription_key(topic: &TopicName, id: SubscriptionId) -> Vec<u8> {
    let mut key = subscription_prefix(topic);
    key.extend_from_slice(&id.0.to_be_bytes());
    key
}

/// What the keys of all subscriptions of a topic begin with.
pub(crate) fn subscription_prefix(topic: &TopicName) -> Vec<u8> {
    let mut key = topic.as_str().as_bytes().to_vec();
    key.push(0);
    key
}

/// Topic and identity from a key.
pub(crate) fn read_subscription_key(key: &[u8]) -> Option<(TopicName, SubscriptionId)> {
    let (name, id) = key.split_at_checked(key.len().checked_sub(16)?)?;
    let name = std::str::from_utf8(name.strip_suffix(&[0])?).ok()?.parse().ok()?;
    Some((name, SubscriptionId(u128::from_be_bytes(id.try_into().ok()?))))
}

/// A subscription without what its key says.
pub(crate) fn encode_subscription(subscription: &Subscription) -> Vec<u8> {
    let Subscription { id: _, topic: _, endpoint, owner, created_at, state, settings } = subscription;
    let SubscriptionSettings { raw, filter, scope, dead_letter, retry, kept } = settings;
    let mut to = Writer::default();
    to.byte(FORMAT);
    let (kind, target) = match endpoint {
        Endpoint::Queue(name) => (0, name.as_str()),
        Endpoint::Http(url) => (1, &**url),
        Endpoint::Https(url) => (2, &**url),
        Endpoint::Function(name) => (3, &**name),
    };
    to.byte(kind);
    to.text(target);
    to.text(owner);
    to.u64(created_at.as_micros());
    match state {
        State::Pending => to.byte(0),
        State::Confirmed { authenticated: false } => to.byte(1),
        State::Confirmed { authenticated: true } => to.byte(2),
        State::Ended { at } => {
            to.byte(3);
            to.u64(at.as_micros());
        }
    }
    to.flag(*raw);
    to.flag(*scope == Scope::Body);
    to.option(filter.as_ref(), |to, filter| to.text(filter.text()));
    to.option(dead_letter.as_ref(), |to, name| to.text(name.as_str()));
    to.option(retry.as_ref(), Writer::retry);
    to.map(kept);
    to.0
}

/// `None`: damaged, or of a later version.
pub(crate) fn decode_subscription(key: &[u8], bytes: &[u8]) -> Option<Subscription> {
    let (topic, id) = read_subscription_key(key)?;
    let mut from = Reader(bytes);
    if from.byte()? != FORMAT {
        return None;
    }
    let kind = from.byte()?;
    let target = from.text()?;
    let endpoint = match kind {
        0 => Endpoint::Queue(target.parse().ok()?),
        1 => Endpoint::Http(target.into()),
        2 => Endpoint::Https(target.into()),
        3 => Endpoint::Function(target.into()),
        _ => return None,
    };
    let owner = from.text()?;
    let created_at = Timestamp::from_micros(from.u64()?);
    let state = match from.byte()? {
        0 => State::Pending,
        1 => State::Confirmed { authenticated: false },
        2 => State::Confirmed { authenticated: true },
        3 => State::Ended { at: Timestamp::from_micros(from.u64()?) },
        _ => return None,
    };
    let raw = from.flag()?;
    let scope = if from.flag()? { Scope::Body } else { Scope::Attributes };
    let settings = SubscriptionSettings {
        raw,
        filter: from.option(|from| Filter::parse(&from.text()?, scope).ok())?,
        scope,
        dead_letter: from.option(Reader::queue)?,
        retry: from.option(Reader::retry)?,
        kept: from.map()?,
    };
    from.ends()?;
    Some(Subscription { id, topic, endpoint, owner, created_at, state, settings })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn retry() -> Retry {
        Retry { retries: 7, per_second: Some(3), content_type: Some("text/x".into()), ..Retry::default() }
    }

    fn topic() -> TopicRecord {
        TopicRecord {
            id: 5 << 70,
            created_at: Timestamp::from_micros(9),
            declared: Declared::InFile,
            settings: TopicSettings {
                fifo: Some(FifoTopic { content_dedup: true, dedup_by_group: false }),
                display_name: "Ä".into(),
                policy: Some("{}".into()),
                retry: Some(retry()),
                kept: [("a".into(), "b".into())].into(),
            },
            tags: [("t".into(), String::new())].into(),
        }
    }

    fn subscription(kind: usize) -> Subscription {
        Subscription {
            id: SubscriptionId(77),
            topic: "orders.fifo".parse().unwrap(),
            endpoint: match kind {
                0 => Endpoint::Queue("jobs".parse().unwrap()),
                1 => Endpoint::Http("http://x/".into()),
                2 => Endpoint::Https("https://x/".into()),
                _ => Endpoint::Function("f".into()),
            },
            owner: "me".into(),
            created_at: Timestamp::from_micros(1),
            state: match kind {
                0 => State::Pending,
                2 => State::Ended { at: Timestamp::from_micros(5) },
                _ => State::Confirmed { authenticated: kind == 1 },
            },
            settings: SubscriptionSettings {
                raw: true,
                filter: Some(Filter::parse("{\"a\":[1]}", Scope::Body).unwrap()),
                scope: Scope::Body,
                dead_letter: Some("dead".parse().unwrap()),
                retry: Some(retry()),
                kept: BTreeMap::new(),
            },
        }
    }

    #[test]
    fn records_come_back_as_they_were() {
        assert_eq!(TopicRecord::decode(&topic().encode()), Some(topic()));
        for kind in 0..4 {
            let there = subscription(kind);
            let key = subscription_key(&there.topic, there.id);
            assert!(key.starts_with(&subscription_prefix(&there.topic)));
            assert_eq!(decode_subscription(&key, &encode_subscription(&there)), Some(there));
        }
    }

    #[test]
    fn a_later_format_is_refused() {
        let mut bytes = topic().encode();
        bytes[0] += 1;
        assert_eq!(TopicRecord::decode(&bytes), None);
    }

    proptest! {
        #[test]
        fn damage_is_no_panic(at in 0usize..300, with: u8, cut in 0usize..300) {
            let whole = subscription(1);
            let key = subscription_key(&whole.topic, whole.id);
            for mut bytes in [topic().encode(), encode_subscription(&whole)] {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = with;
                }
                bytes.truncate(cut);
                let _ = (TopicRecord::decode(&bytes), decode_subscription(&key, &bytes), read_subscription_key(&bytes));
            }
        }
    }
}
