//! Reading every queue back from the store.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use kit::Timestamp;
use ring::rand::SecureRandom;
use store::{Pre, Scan, Snapshot, Space, Txn, after_prefix};

use super::inner::{Inner, Registry};
use super::moves::{Moves, resume};
use super::options::{Limits, Options};
use super::pipes::Pipes;
use super::shard::Shard;
use super::upkeep;
use crate::error::OpenError;
use crate::name::QueueName;
use crate::queue::core::Core;
use crate::queue::keys;
use crate::queue::receipt::{ReceiptKey, SECRET_BYTES};
use crate::queue::record::{BadRecord, Entry, Head, Identity, Meta, MoveRecord};
use crate::spaces;

/// The lease that makes the queues this process's.
const LEASE: &str = "pipes";
/// Keys that are read at once.
const PAGE: usize = 4096;

impl Pipes {
    /// Reads every queue back from the store, and begins to look after them.
    pub async fn open(options: Options) -> Result<Self, OpenError> {
        let Options { store, clock, tasks, limits, watch } = options;
        let lease = store.lease(LEASE, limits.lease).await?;
        let snapshot = store.snapshot()?;
        let secret = match snapshot.get(spaces::REGISTRY, keys::SECRET).await? {
            Some(secret) => secret,
            None => {
                let secret = new_secret();
                let admission = store.admit(secret.len() + 64)?;
                let fence = Pre::Fence(lease.name.clone(), lease.epoch);
                let txn = Txn::new().when(fence).put(spaces::REGISTRY, keys::SECRET, secret.clone());
                store.commit(admission, txn).await?;
                secret
            }
        };
        let now = clock.now();
        let registry = read_registry(&*snapshot, &limits, now).await?;
        let moves = read_moves(&*snapshot).await?;
        let drops = keys_behind(&*snapshot, keys::DROPS).await?;
        drop(snapshot);
        let shards: Vec<Arc<Shard>> = registry.by_name.values().cloned().collect();
        let receipts = ReceiptKey::new(&secret);
        let inner =
            Arc::new(Inner::new((store, clock, tasks), (limits, watch), lease, receipts, registry, moves));
        for shard in &shards {
            inner.settle(shard, &mut shard.look(), 0);
        }
        let mut numbers = Vec::new();
        for rest in drops {
            let number: [u8; 4] = rest[..].try_into().map_err(|_| damaged("a queue that was deleted"))?;
            numbers.push(u32::from_be_bytes(number));
        }
        upkeep::start(&inner, numbers);
        resume(&inner);
        Ok(Self { inner })
    }
}

fn damaged(what: impl Into<String>) -> OpenError {
    OpenError::Record { what: what.into() }
}

fn new_secret() -> Bytes {
    let mut secret = vec![0; SECRET_BYTES];
    // The system's randomness. Where there is none, that of the process, which was seeded by it.
    if ring::rand::SystemRandom::new().fill(&mut secret).is_err() {
        rand::Rng::fill_bytes(&mut rand::rng(), &mut secret);
    }
    secret.into()
}

/// Every key with a prefix, a page at a time.
async fn each(
    snapshot: &dyn Snapshot,
    space: Space,
    mut scan: Scan,
    mut take: impl FnMut(&[u8], Bytes) -> Result<(), OpenError>,
) -> Result<(), OpenError> {
    loop {
        let page = snapshot.scan(space, scan.clone()).await?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        scan = scan.behind(last);
        for (key, value) in page {
            take(&key, value)?;
        }
    }
}

async fn read_registry(
    snapshot: &dyn Snapshot,
    limits: &Limits,
    now: Timestamp,
) -> Result<Registry, OpenError> {
    let next_number = match snapshot.get(spaces::REGISTRY, keys::NEXT_NUMBER).await? {
        None => 1,
        Some(number) => {
            let bytes = number[..].try_into().map_err(|_| damaged("the numbers of queues"))?;
            u32::from_be_bytes(bytes)
        }
    };
    let mut entries: Vec<(QueueName, Entry)> = Vec::new();
    each(snapshot, spaces::REGISTRY, Scan::prefix(keys::QUEUES, PAGE), |key, value| {
        let text = String::from_utf8_lossy(&key[keys::QUEUES.len()..]).into_owned();
        let name = QueueName::stored(&text).map_err(|_| damaged(format!("queue `{text}`")))?;
        let entry = Entry::decode(&value).map_err(|_| damaged(format!("queue `{text}`")))?;
        entries.push((name, entry));
        Ok(())
    })
    .await?;
    let mut heads: HashMap<u32, Head> = HashMap::new();
    each(snapshot, spaces::HEAD, Scan::prefix(Vec::new(), PAGE), |key, value| {
        let number = keys::queue_of(key).ok_or_else(|| damaged("the head of a queue"))?;
        let head = Head::decode(&value).map_err(|_| damaged(format!("the head of queue {number}")))?;
        heads.insert(number, head);
        Ok(())
    })
    .await?;
    let mut registry = Registry { by_name: BTreeMap::new(), sources: BTreeMap::new(), next_number };
    for (name, entry) in entries {
        let core =
            read_queue(snapshot, limits, &name, &entry, heads.get(&entry.number).copied(), now).await?;
        registry.link(&name, None, Some(&entry.settings));
        registry.by_name.insert(name.clone(), Arc::new(Shard::new(name, entry, core)));
    }
    Ok(registry)
}

/// The messages of a queue, from the low-water mark of its head on; of one that says it is empty, nothing is read.
async fn read_queue(
    snapshot: &dyn Snapshot,
    limits: &Limits,
    name: &QueueName,
    entry: &Entry,
    head: Option<Head>,
    now: Timestamp,
) -> Result<Core, OpenError> {
    let settings = Arc::new(entry.settings.clone());
    let bounds = Inner::bounds(limits, &settings);
    let mut core = Core::new(entry.number, settings, bounds, head);
    let of_queue = |error: Option<BadRecord>| {
        let _ = error;
        damaged(format!("a message of queue `{name}`"))
    };
    let end = after_prefix(&keys::queue(entry.number));
    if let Some(from) = Core::scan_from(head.as_ref()) {
        let from = keys::message(entry.number, from);
        let scan = Scan { from, to: end.clone(), limit: PAGE, reverse: false };
        each(snapshot, spaces::META, scan, |key, value| {
            let sequence = keys::sequence(key).ok_or_else(|| of_queue(None))?;
            let meta = Meta::decode(&value).map_err(|error| of_queue(Some(error)))?;
            core.restore_message(sequence, &meta, now);
            Ok(())
        })
        .await?;
    }
    if entry.settings.fifo.is_some() {
        let first = Core::first_bucket(now);
        let from = keys::bucket(entry.number, first);
        let scan = Scan { from, to: end, limit: PAGE, reverse: false };
        each(snapshot, spaces::DEDUP, scan, |key, value| {
            let (bucket, hash) = keys::bucket_and_hash(key).ok_or_else(|| of_queue(None))?;
            let identity = Identity::decode(&value).map_err(|error| of_queue(Some(error)))?;
            core.restore_identity(bucket, hash, identity);
            Ok(())
        })
        .await?;
        // Older buckets may be left from before; they are dropped one by one, as time would have it.
        let scan = Scan {
            from: keys::queue(entry.number),
            to: Some(keys::bucket(entry.number, first)),
            limit: 1,
            reverse: false,
        };
        if let Some((key, _)) = snapshot.scan(spaces::DEDUP, scan).await?.first()
            && let Some((bucket, _)) = keys::bucket_and_hash(key)
        {
            core.forget_buckets(bucket, first);
        }
    }
    core.restored(now);
    Ok(core)
}

async fn read_moves(snapshot: &dyn Snapshot) -> Result<Moves, OpenError> {
    let moves = Moves::default();
    each(snapshot, spaces::REGISTRY, Scan::prefix(keys::MOVES, PAGE), |key, value| {
        let id = String::from_utf8_lossy(&key[keys::MOVES.len()..]).into_owned();
        let record = MoveRecord::decode(&value).map_err(|_| damaged(format!("move task `{id}`")))?;
        moves.put(id.parse().map_err(|_| damaged(format!("move task `{id}`")))?, record);
        Ok(())
    })
    .await?;
    Ok(moves)
}

async fn keys_behind(snapshot: &dyn Snapshot, prefix: &[u8]) -> Result<Vec<Vec<u8>>, OpenError> {
    let mut found = Vec::new();
    each(snapshot, spaces::REGISTRY, Scan::prefix(prefix, PAGE), |key, _| {
        found.push(key[prefix.len()..].to_vec());
        Ok(())
    })
    .await?;
    Ok(found)
}
