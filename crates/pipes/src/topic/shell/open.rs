//! Reading topics back from the store.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, RwLock};

use bytes::Bytes;
use rand::RngExt;
use store::{Pre, Scan, Snapshot, Space, Store, StoreError, Txn};

use super::publish::Order;
use super::token::Secret;
use super::{Inner, OpenTopicsError, State, Topic, Topics, TopicsOptions};
use crate::topic::dedup::{First, Window, bucket};
use crate::topic::record::{TopicRecord, decode_subscription};
use crate::topic::spaces::{DEDUP, META, SEQUENCE, SUB, TOPIC};
use crate::topic::subscription::State as Lasts;

/// Keys that are read at once.
const PAGE: usize = 1000;
const SECRET: &[u8] = b"secret";

impl Topics {
    /// Reads every topic back from the store, and goes on delivering.
    pub async fn open(options: TopicsOptions) -> Result<Self, OpenTopicsError> {
        let TopicsOptions { pipes, store, clock, tasks, envelope, deliver, limits } = options;
        let secret = secret(&*store).await?;
        let snapshot = store.snapshot()?;
        let now = clock.now();
        let state = read_topics(&*snapshot).await?;
        let mut window = Window::default();
        let mut first_bucket = bucket(now);
        let mut known = Vec::new();
        each(&*snapshot, DEDUP, |key, value| {
            let damaged = || OpenTopicsError::Record { what: "an identity".to_owned() };
            let (time, hash) = key.split_at_checked(4).ok_or_else(damaged)?;
            let time = u32::from_be_bytes(time.try_into().map_err(|_| damaged())?);
            let hash = hash.try_into().map_err(|_| damaged())?;
            first_bucket = first_bucket.min(time);
            known.push((First::decode(value).ok_or_else(damaged)?, hash));
            Ok(())
        })
        .await?;
        drop(snapshot);
        known.sort_by_key(|(first, _)| first.at);
        for (first, hash) in known {
            window.know(hash, first);
        }
        window.expire(now);

        let inner = Arc::new(Inner {
            pipes,
            store,
            clock,
            tasks,
            envelope,
            deliver,
            limits,
            secret,
            state: RwLock::new(state),
            change: tokio::sync::Mutex::new(()),
            window: Mutex::new(window),
            tallies: Mutex::default(),
        });
        inner.open_outboxes().await?;
        inner.start_sweeping(first_bucket);
        Ok(Self { inner })
    }
}

impl Inner {
    /// Every subscription with an address has its queue: it is made after the subscription was kept, and there may have
    /// been a crash between the two.
    async fn open_outboxes(self: &Arc<Self>) -> Result<(), OpenTopicsError> {
        let all: Vec<_> = {
            let state = self.read();
            state.subscriptions.values().chain(state.ended.values()).cloned().collect()
        };
        for subscription in all.iter().filter(|subscription| subscription.endpoint.url().is_some()) {
            let id = subscription.id;
            self.open_outbox(id)
                .await
                .map_err(|source| OpenTopicsError::Outbox { subscription: id, source })?;
        }
        Ok(())
    }
}

async fn secret(store: &dyn Store) -> Result<Secret, OpenTopicsError> {
    if let Some(bytes) = store.snapshot()?.get(META, SECRET).await? {
        return Ok(Secret::new(&bytes));
    }
    let bytes: [u8; 32] = rand::rng().random();
    let txn =
        Txn::new().when(Pre::Absent(META, SECRET.to_vec())).put(META, SECRET, Bytes::copy_from_slice(&bytes));
    let admission = store.admit(txn.bytes())?;
    store.commit(admission, txn).await?;
    Ok(Secret::new(&bytes))
}

async fn read_topics(snapshot: &dyn Snapshot) -> Result<State, OpenTopicsError> {
    let mut sequences: BTreeMap<Vec<u8>, u64> = BTreeMap::new();
    each(snapshot, SEQUENCE, |key, value| {
        let number = value.try_into().map(u64::from_be_bytes);
        let number = number.map_err(|_| OpenTopicsError::Record { what: "a sequence".to_owned() })?;
        sequences.insert(key.to_vec(), number);
        Ok(())
    })
    .await?;
    let mut topics = BTreeMap::new();
    each(snapshot, TOPIC, |key, value| {
        let name = String::from_utf8_lossy(key);
        let damaged = || OpenTopicsError::Record { what: format!("the topic `{name}`") };
        let TopicRecord { id, created_at, declared, settings, tags } =
            TopicRecord::decode(value).ok_or_else(damaged)?;
        let next = sequences.get(&id.to_be_bytes()[..]).copied().unwrap_or(0);
        let order = settings.fifo.map(|_| Arc::new(Order::reopened(next)));
        let name: crate::TopicName = name.parse()?;
        let topic = Topic {
            id,
            name: name.clone(),
            settings,
            tags,
            declared,
            created_at,
            subscriptions: Vec::new(),
            order,
        };
        topics.insert(name, topic);
        Ok(())
    })
    .await?;
    let mut state = State::default();
    each(snapshot, SUB, |key, value| {
        let damaged = || OpenTopicsError::Record { what: "a subscription".to_owned() };
        let subscription = Arc::new(decode_subscription(key, value).ok_or_else(damaged)?);
        let topic = topics.get_mut(&subscription.topic).ok_or_else(damaged)?;
        if matches!(subscription.state, Lasts::Ended { .. }) {
            state.ended.insert(subscription.id, subscription);
            return Ok(());
        }
        topic.subscriptions.push(Arc::clone(&subscription));
        state.subscriptions.insert(subscription.id, subscription);
        Ok(())
    })
    .await?;
    state.topics = topics.into_iter().map(|(name, topic)| (name, Arc::new(topic))).collect();
    Ok(state)
}

/// Every key of a space, in order.
async fn each(
    snapshot: &dyn Snapshot,
    space: Space,
    mut take: impl FnMut(&[u8], &[u8]) -> Result<(), OpenTopicsError>,
) -> Result<(), OpenTopicsError> {
    let mut scan = Scan { from: Vec::new(), to: None, limit: PAGE, reverse: false };
    loop {
        let page = snapshot.scan(space, scan.clone()).await.map_err(|error: StoreError| error)?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        scan = scan.behind(last);
        for (key, value) in &page {
            take(key, value)?;
        }
    }
}
