//! Random histories against all engines at once, and against a plain map: they have to agree on every answer.

#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use common::{BODY, HEAD, META, Place, SPACES, all};
use proptest::prelude::*;
use store::{CommitError, EngineKind, Key, Op, Pre, Space, Store, Txn, TxnId, Version};

/// One step of a history.
#[derive(Clone, Debug)]
enum Step {
    /// Transactions that are given together.
    Commit(Vec<Txn>),
    Reopen,
    Drop(Space, Key),
}

fn key() -> impl Strategy<Value = Key> {
    // Few and short, so that they meet.
    proptest::collection::vec(0u8..4, 1..3)
}

fn value() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..20).prop_map(Bytes::from),
        any::<i64>().prop_map(|number| Bytes::copy_from_slice(&number.to_be_bytes())),
    ]
}

fn rewritten() -> impl Strategy<Value = Space> {
    prop_oneof![Just(META), Just(HEAD)]
}

fn pre() -> impl Strategy<Value = Pre> {
    prop_oneof![
        (rewritten(), key()).prop_map(|(space, key)| Pre::Absent(space, key)),
        (rewritten(), key(), value()).prop_map(|(space, key, value)| Pre::Value(space, key, value)),
        (rewritten(), key(), key()).prop_map(|(space, from, to)| Pre::RangeEmpty(space, from, to)),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (rewritten(), key(), value()).prop_map(|(space, key, value)| Op::Put(space, key, value)),
        3 => (rewritten(), key()).prop_map(|(space, key)| Op::Delete(space, key)),
        2 => (rewritten(), key(), -3i64..3).prop_map(|(space, key, by)| Op::Add(space, key, by)),
        // What is put once lies under the version: it can never be put again.
        2 => (key(), key(), value()).prop_map(|(prefix, suffix, value)| Op::PutAtVersion(BODY, prefix, suffix, value)),
    ]
}

fn txn() -> impl Strategy<Value = Txn> {
    let pre = proptest::collection::vec(pre(), 0..2);
    let ops = proptest::collection::vec(op(), 0..6);
    let id = proptest::option::weighted(0.3, (0u128..6).prop_map(TxnId));
    (pre, ops, id).prop_map(|(pre, ops, id)| Txn { pre, ops, id })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        20 => proptest::collection::vec(txn(), 1..8).prop_map(Step::Commit),
        1 => Just(Step::Reopen),
        1 => (prop_oneof![Just(META), Just(BODY)], key()).prop_map(|(space, key)| Step::Drop(space, key)),
    ]
}

/// What a store is, in the plainest words.
#[derive(Clone, Debug, Default)]
struct Model {
    version: u64,
    keys: BTreeMap<(Space, Key), Bytes>,
    known: BTreeMap<u128, Version>,
}

impl Model {
    fn commit(&mut self, txn: &Txn) -> Result<Version, CommitError> {
        if let Some(version) = txn.id.and_then(|id| self.known.get(&id.0)) {
            return Ok(*version);
        }
        for (place, pre) in txn.pre.iter().enumerate() {
            let holds = match pre {
                Pre::Absent(space, key) => !self.keys.contains_key(&(*space, key.clone())),
                Pre::Value(space, key, value) => self.keys.get(&(*space, key.clone())) == Some(value),
                Pre::RangeEmpty(space, from, to) => {
                    !self.keys.keys().any(|(of, key)| of == space && key >= from && key < to)
                }
                Pre::Fence(..) => false,
            };
            if !holds {
                return Err(CommitError::Conflict(place));
            }
        }
        let mut next = self.clone();
        next.version += 1;
        for op in &txn.ops {
            match op {
                Op::Put(space, key, value) => drop(next.keys.insert((*space, key.clone()), value.clone())),
                Op::Delete(space, key) => drop(next.keys.remove(&(*space, key.clone()))),
                Op::PutAtVersion(space, prefix, suffix, value) => {
                    let key = [prefix, &next.version.to_be_bytes()[..], suffix].concat();
                    next.keys.insert((*space, key), value.clone());
                }
                Op::Add(space, key, by) => {
                    let place = next.keys.entry((*space, key.clone())).or_insert_with(|| vec![0; 8].into());
                    let number: Result<[u8; 8], _> = place[..].try_into();
                    let sum = number.ok().and_then(|number| i64::from_be_bytes(number).checked_add(*by));
                    let Some(sum) = sum else { return Err(CommitError::Invalid("")) };
                    *place = Bytes::copy_from_slice(&sum.to_be_bytes());
                }
            }
        }
        let version = Version(next.version);
        if let Some(id) = txn.id {
            next.known.insert(id.0, version);
        }
        *self = next;
        Ok(version)
    }
}

fn same(one: &Result<Version, CommitError>, other: &Result<Version, CommitError>) -> bool {
    matches!((one, other), (Err(CommitError::Invalid(_)), Err(CommitError::Invalid(_)))) || one == other
}

async fn run(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let places = [EngineKind::Fjall, EngineKind::Redb, EngineKind::Memory].map(Place::new);
    let mut stores: Vec<Arc<dyn Store>> = places.iter().map(Place::open).collect();
    let mut model = Model::default();
    for step in steps {
        match step {
            Step::Commit(txns) => {
                let expected: Vec<_> = txns.iter().map(|txn| model.commit(txn)).collect();
                for store in &stores {
                    let under_way: Vec<_> = txns
                        .iter()
                        .map(|txn| store.commit(store.admit(txn.bytes()).unwrap(), txn.clone()))
                        .collect();
                    for ((committing, expected), txn) in under_way.into_iter().zip(&expected).zip(&txns) {
                        let got = committing.await;
                        let engine = store.stats().engine;
                        prop_assert!(
                            same(&got, expected),
                            "{engine}: {got:?}, not {expected:?}, for {txn:?}"
                        );
                    }
                }
            }
            Step::Reopen => {
                stores.clear();
                stores = places.iter().map(Place::open).collect();
            }
            Step::Drop(space, prefix) => {
                let before = model.keys.len();
                model.keys.retain(|(of, key), _| *of != space || !key.starts_with(&prefix));
                model.version += u64::from(model.keys.len() != before);
                for store in &stores {
                    store.drop_bucket(space, &prefix).await.unwrap();
                }
            }
        }
        for store in &stores {
            let snapshot = store.snapshot().unwrap();
            prop_assert_eq!(snapshot.version(), Version(model.version));
            for space in SPACES {
                let found = all(&*snapshot, *space).await.unwrap();
                let found: Vec<(Key, Bytes)> =
                    found.into_iter().map(|(key, value)| (key.to_vec(), value)).collect();
                let expected = model.keys.iter().filter(|((of, _), _)| of == space);
                let expected: Vec<_> =
                    expected.map(|((_, key), value)| (key.clone(), value.clone())).collect();
                prop_assert_eq!(found, expected, "{} in {:?}", store.stats().engine, space);
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn engines_agree_with_a_plain_map(steps in proptest::collection::vec(step(), 1..25)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(run(steps))?;
    }
}
