//! Random histories of one queue against a simple model of it, with a store that is a map, read back at random moments.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kit::Timestamp;
use proptest::prelude::*;
use store::Op;

use super::*;
use crate::error::ReceiptError;
use crate::queue::keys;
use crate::queue::receipt::Receipt;
use crate::queue::record::Identity;
use crate::queue::settings::{DeadLetter, Fifo};

const AFTER: u32 = 4;
const RETENTION: u32 = 120;
const VISIBILITY: u32 = 20;

/// A store as simple as can be, which looks that keys that are to be written once are.
#[derive(Default)]
pub(super) struct Disk {
    pub(super) keys: BTreeMap<(u8, Vec<u8>), Bytes>,
    written_once: HashSet<Vec<u8>>,
}

impl Disk {
    pub(super) fn apply(&mut self, ops: Vec<Op>) {
        for op in ops {
            match op {
                Op::Put(space, key, value) => {
                    if space == spaces::BODY {
                        assert!(self.written_once.insert(key.clone()), "a body is written once");
                    }
                    self.keys.insert((space.id(), key), value);
                }
                Op::Delete(space, key) => {
                    let was = self.keys.remove(&(space.id(), key));
                    assert!(was.is_some(), "{space:?}: what is deleted was there");
                }
                other => panic!("{other:?}"),
            }
        }
    }

    fn space(&self, space: store::Space) -> impl Iterator<Item = (&[u8], &Bytes)> {
        self.keys
            .iter()
            .filter(move |((id, _), _)| *id == space.id())
            .map(|((_, key), value)| (&key[..], value))
    }

    pub(super) fn reopen(&self, settings: &Arc<Settings>, bounds: Bounds, now: Timestamp) -> Core {
        let head = self.space(spaces::HEAD).next().map(|(_, head)| Head::decode(head).unwrap());
        let mut core = Core::new(1, Arc::clone(settings), bounds, head);
        let from = Core::scan_from(head.as_ref());
        for (key, meta) in self.space(spaces::META) {
            let seq = keys::sequence(key).unwrap();
            assert!(from.is_some_and(|from| from <= seq), "no message is below the low-water mark");
            core.restore_message(seq, &Meta::decode(meta).unwrap(), now);
        }
        for (key, identity) in self.space(spaces::DEDUP) {
            let (bucket, hash) = keys::bucket_and_hash(key).unwrap();
            if bucket >= Core::first_bucket(now) {
                core.restore_identity(bucket, hash, Identity::decode(identity).unwrap());
            }
        }
        core.restored(now);
        core
    }
}

#[derive(Clone, Debug)]
enum Act {
    Send { group: u64, identity: u8, delay: Option<u32> },
    Receive { max: usize, visibility: Option<u32> },
    HandBackAfterReceive { max: usize },
    Delete { which: usize },
    Change { which: usize, seconds: u32 },
    MoveDead,
    MoveSome { most: usize, stay: bool },
    Pass { ms: u64 },
    Purge,
    Sweep,
    Checkpoint,
    Reopen,
}

fn act() -> impl Strategy<Value = Act> {
    let delay = prop_oneof![3 => Just(None), 1 => (0u32..30).prop_map(Some)];
    let visibility = prop_oneof![2 => Just(None), 1 => (0u32..40).prop_map(Some)];
    prop_oneof![
        12 => (0u64..4, 0u8..24, delay).prop_map(|(group, identity, delay)| Act::Send { group, identity, delay }),
        10 => (1usize..=10, visibility).prop_map(|(max, visibility)| Act::Receive { max, visibility }),
        1 => (1usize..=10).prop_map(|max| Act::HandBackAfterReceive { max }),
        8 => any::<usize>().prop_map(|which| Act::Delete { which }),
        3 => (any::<usize>(), 0u32..60).prop_map(|(which, seconds)| Act::Change { which, seconds }),
        2 => Just(Act::MoveDead),
        1 => (1usize..5, any::<bool>()).prop_map(|(most, stay)| Act::MoveSome { most, stay }),
        8 => (0u64..15_000).prop_map(|ms| Act::Pass { ms }),
        1 => (100_000u64..400_000).prop_map(|ms| Act::Pass { ms }),
        1 => Just(Act::Purge),
        1 => Just(Act::Sweep),
        1 => Just(Act::Checkpoint),
        3 => Just(Act::Reopen),
    ]
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Is {
    Visible,
    Delayed(Timestamp),
    Held(Timestamp),
    Dead,
}

#[derive(Clone, Debug)]
struct Message {
    is: Is,
    group: u64,
    receives: u32,
    sent_at: Timestamp,
}

/// What a queue is, said as plainly as possible.
#[derive(Default)]
struct Model {
    fifo: bool,
    messages: BTreeMap<u64, Message>,
    identities: BTreeMap<u8, (u64, Timestamp)>,
    purged_at: Option<Timestamp>,
    gone: BTreeSet<u64>,
    moved: BTreeSet<u64>,
}

impl Model {
    fn pass(&mut self, now: Timestamp) {
        for message in self.messages.values_mut() {
            match message.is {
                Is::Delayed(until) if until <= now => message.is = Is::Visible,
                Is::Held(until) if until <= now => {
                    message.is = if message.receives >= AFTER { Is::Dead } else { Is::Visible };
                }
                _ => {}
            }
        }
        let second = |at: Timestamp| at.as_micros() / 1_000_000;
        let over = |message: &Message| {
            (second(message.sent_at) + 1 + u64::from(RETENTION)) * 1_000_000 <= now.as_micros()
        };
        let over: Vec<u64> =
            self.messages.iter().filter(|(_, message)| over(message)).map(|(seq, _)| *seq).collect();
        over.into_iter().for_each(|seq| self.remove(seq));
    }

    fn remove(&mut self, seq: u64) {
        assert!(self.messages.remove(&seq).is_some());
        self.gone.insert(seq);
    }

    /// What of a group may be received now, in order.
    fn ready(&self, group: u64) -> Vec<u64> {
        let of_group = || self.messages.iter().filter(|(_, message)| message.group == group);
        let visible = |(_, message): &(&u64, &Message)| message.is == Is::Visible;
        if !self.fifo {
            return of_group().filter(visible).map(|(seq, _)| *seq).collect();
        }
        if of_group().any(|(_, message)| matches!(message.is, Is::Held(_) | Is::Dead)) {
            return Vec::new();
        }
        of_group().take_while(visible).map(|(seq, _)| *seq).collect()
    }

    fn count(&self, is: impl Fn(Is) -> bool) -> u64 {
        self.messages.values().filter(|message| is(message.is)).count() as u64
    }
}

struct World {
    settings: Arc<Settings>,
    bounds: Bounds,
    disk: Disk,
    core: Core,
    model: Model,
    now: Timestamp,
    receipts: Vec<Receipt>,
}

impl World {
    fn new(fifo: bool) -> Self {
        let settings = Arc::new(Settings {
            visibility_seconds: VISIBILITY,
            retention_seconds: RETENTION,
            fifo: fifo.then(Fifo::default),
            dead_letter: Some(DeadLetter { target: "dead".parse().unwrap(), after: AFTER }),
            ..Settings::default()
        });
        let bounds = Bounds { in_flight: 30, identities: 1000, attempts: 10 };
        let core = Core::new(1, Arc::clone(&settings), bounds, None);
        let model = Model { fifo, ..Model::default() };
        let now = Timestamp::from_micros(1_000_000_000_000_000);
        Self { settings, bounds, disk: Disk::default(), core, model, now, receipts: Vec::new() }
    }

    fn commit<T>(&mut self, decision: Decision<T>) -> T {
        self.disk.apply(decision.ops);
        decision.reply
    }

    fn receive(&mut self, max: usize, visibility: Option<u32>) -> Vec<Taken> {
        let want = Want { max, visibility_seconds: visibility, attempt: None };
        let held = self.model.count(|is| matches!(is, Is::Held(_) | Is::Dead));
        let taken = match self.core.receive(&want, self.now) {
            Ok(decision) => self.commit(decision),
            Err(OverLimit) => {
                assert!(held >= self.bounds.in_flight, "only a full queue is over its limit");
                return Vec::new();
            }
        };
        let groups: Vec<(u64, Vec<u64>)> = (0..4).map(|group| (group, self.model.ready(group))).collect();
        let there: usize = groups.iter().map(|(_, ready)| ready.len()).sum();
        let room = usize::try_from(self.bounds.in_flight - held).unwrap();
        assert_eq!(
            taken.len(),
            there.min(max).min(room),
            "a receive gets all there is, up to what it asked for"
        );
        let mut served = 0;
        for (group, ready) in &groups {
            let got: Vec<u64> = taken
                .iter()
                .map(|one| one.sequence)
                .filter(|seq| self.model.messages[seq].group == *group)
                .collect();
            served += usize::from(!got.is_empty());
            if self.model.fifo {
                assert_eq!(got, ready[..got.len()], "a group is received in order and without gaps");
            } else {
                assert!(got.iter().all(|seq| ready.contains(seq)), "only what can be received is");
            }
        }
        if !self.model.fifo {
            let waiting = groups.iter().filter(|(_, ready)| !ready.is_empty()).count();
            assert_eq!(served, waiting.min(taken.len()), "every group has its turn before one has another");
        }
        let until = self.now + Duration::from_secs(visibility.unwrap_or(VISIBILITY).into());
        for one in &taken {
            let message = self.model.messages.get_mut(&one.sequence).unwrap();
            message.is = Is::Held(until);
            message.receives += 1;
            assert_eq!(one.receives, message.receives);
            let receipt = Receipt { shard: 1, sequence: one.sequence, receives: one.receives };
            self.receipts.push(receipt);
        }
        taken
    }

    fn act(&mut self, act: &Act) {
        self.model.pass(self.now);
        match *act {
            Act::Send { group, identity, delay } => self.send(group, identity, delay),
            Act::Receive { max, visibility } => drop(self.receive(max, visibility)),
            Act::HandBackAfterReceive { max } => {
                let before = self.receipts.len();
                let taken = self.receive(max, None);
                self.receipts.truncate(before);
                for one in &taken {
                    let message = self.model.messages.get_mut(&one.sequence).unwrap();
                    message.is = Is::Visible;
                    message.receives -= 1;
                }
                let decision = self.core.hand_back(&taken, self.now);
                self.commit(decision);
            }
            Act::Delete { which } => {
                let Some(receipt) = pick(&self.receipts, which) else { return };
                let decision = self.core.delete(&[receipt], self.now);
                let told = self.commit(decision).remove(0);
                let expected = match self.model.messages.get(&receipt.sequence).cloned() {
                    None => Ok(()),
                    Some(Message { is: Is::Held(_), receives, .. }) if receives == receipt.receives => Ok(()),
                    Some(Message { is: Is::Visible, .. }) if !self.model.fifo => Ok(()),
                    Some(Message { is: Is::Dead, receives, .. })
                        if !self.model.fifo && receives == receipt.receives =>
                    {
                        Ok(())
                    }
                    Some(_) => Err(ReceiptError::Stale),
                };
                assert_eq!(told, expected);
                if told.is_ok() && self.model.messages.contains_key(&receipt.sequence) {
                    self.model.remove(receipt.sequence);
                }
            }
            Act::Change { which, seconds } => {
                let Some(receipt) = pick(&self.receipts, which) else { return };
                let decision = self.core.change_visibility(&[(receipt, seconds)], self.now);
                let told = self.commit(decision).remove(0);
                let message = self.model.messages.get_mut(&receipt.sequence);
                let holds = |message: &&mut Message| {
                    matches!(message.is, Is::Held(_)) && message.receives == receipt.receives
                };
                let message = message.filter(holds);
                assert_eq!(told.is_ok(), message.is_some());
                if let Some(message) = message {
                    message.is = Is::Held(self.now + Duration::from_secs(seconds.into()));
                }
            }
            Act::MoveDead => {
                let _ = self.core.pass(self.now);
                let dead = self.core.take_dead(3);
                let mut ops = Vec::new();
                for seq in dead {
                    assert_eq!(
                        self.model.messages[&seq].is,
                        Is::Dead,
                        "only what was received too often is moved"
                    );
                    let _ = self.core.left(seq, &mut ops);
                    self.model.remove(seq);
                    self.model.moved.insert(seq);
                }
                self.disk.apply(ops);
            }
            Act::MoveSome { most, stay } => {
                let decision = self.core.take_to_move(most, self.now);
                let taken = self.commit(decision);
                let there: usize = (0..4).map(|group| self.model.ready(group).len()).sum();
                assert_eq!(taken.len(), there.min(most));
                let mut ops = Vec::new();
                if stay {
                    let _ = self.core.stay(&taken);
                } else {
                    for seq in taken {
                        let _ = self.core.left(seq, &mut ops);
                        self.model.remove(seq);
                    }
                }
                self.disk.apply(ops);
            }
            Act::Pass { ms } => self.now = self.now + Duration::from_millis(ms),
            Act::Purge => {
                let soon =
                    self.model.purged_at.is_some_and(|at| self.now.since(at) < Duration::from_secs(60));
                match self.core.purge(self.now) {
                    Err(_) => assert!(soon),
                    Ok(decision) => {
                        assert!(!soon);
                        self.commit(decision);
                        self.model.purged_at = Some(self.now);
                        let all: Vec<u64> = self.model.messages.keys().copied().collect();
                        all.into_iter().for_each(|seq| self.model.remove(seq));
                    }
                }
            }
            Act::Sweep => {
                let ops = self.core.sweep(5);
                self.disk.apply(ops);
            }
            Act::Checkpoint => self.disk.apply(self.core.checkpoint().into_iter().collect()),
            Act::Reopen => self.core = self.disk.reopen(&self.settings, self.bounds, self.now),
        }
    }

    fn send(&mut self, group: u64, identity: u8, delay: Option<u32>) {
        let parcel = Parcel {
            id: [identity; 16],
            record: Bytes::from_static(b"a body"),
            group,
            delay_seconds: delay,
            identity: self.model.fifo.then_some([identity; 16]),
            kept_sent_at: None,
        };
        let decision = self.core.send(&[parcel], self.now);
        let taker = self.commit(decision).remove(0).unwrap();
        let window = Duration::from_secs(REMEMBERED_SECONDS);
        let first = self.model.identities.get(&identity).filter(|(_, at)| self.now.since(*at) < window);
        if let Some((seq, _)) = first.filter(|_| self.model.fifo) {
            assert_eq!(
                (taker.sequence, taker.duplicate),
                (*seq, true),
                "an identity is sent once in five minutes"
            );
            return;
        }
        assert!(!taker.duplicate, "what is new is no duplicate");
        let seq = taker.sequence;
        let known = self.model.messages.keys().next_back().copied().max(self.model.gone.last().copied());
        assert!(known.is_none_or(|last| last < seq), "sequences grow");
        self.model.identities.insert(identity, (seq, self.now));
        let delay = delay.filter(|delay| *delay > 0 && !self.model.fifo);
        let is = delay.map_or(Is::Visible, |delay| Is::Delayed(self.now + Duration::from_secs(delay.into())));
        self.model.messages.insert(seq, Message { is, group, receives: 0, sent_at: self.now });
    }

    fn check(&mut self) {
        self.model.pass(self.now);
        let _ = self.core.pass(self.now);
        assert_eq!(self.core.visible(), self.model.count(|is| is == Is::Visible), "visible");
        assert_eq!(
            self.core.in_flight(),
            self.model.count(|is| matches!(is, Is::Held(_) | Is::Dead)),
            "in flight"
        );
        assert_eq!(self.core.delayed(), self.model.count(|is| matches!(is, Is::Delayed(_))), "delayed");
        let on_disk: BTreeSet<u64> =
            self.disk.space(spaces::BODY).map(|(key, _)| keys::sequence(key).unwrap()).collect();
        let metas: BTreeSet<u64> =
            self.disk.space(spaces::META).map(|(key, _)| keys::sequence(key).unwrap()).collect();
        assert_eq!(on_disk, metas, "each message has a body and a record");
        assert!(self.model.messages.keys().all(|seq| on_disk.contains(seq)), "nothing that was sent is lost");
        if !self.core.has_doomed() {
            assert_eq!(on_disk.len(), self.model.messages.len(), "what is gone leaves nothing behind");
        }
    }

    /// Everything that is left can be received, once, and then nothing is.
    fn drain(&mut self) {
        self.bounds.in_flight = 1000;
        self.core = self.disk.reopen(&self.settings, self.bounds, self.now);
        for _ in 0..300 {
            self.now = self.now + Duration::from_secs(1);
            self.model.pass(self.now);
            for one in self.receive(10, Some(30)) {
                let receipt = Receipt { shard: 1, sequence: one.sequence, receives: one.receives };
                let decision = self.core.delete(&[receipt], self.now);
                assert_eq!(self.commit(decision), [Ok(())]);
                self.model.remove(one.sequence);
            }
            self.act(&Act::MoveDead);
            self.act(&Act::Sweep);
        }
        self.check();
        assert!(self.model.messages.is_empty(), "everything comes to an end: {:?}", self.model.messages);
    }
}

fn pick<T: Copy>(from: &[T], which: usize) -> Option<T> {
    (!from.is_empty()).then(|| from[which % from.len()])
}

fn run(fifo: bool, acts: &[Act]) {
    let mut world = World::new(fifo);
    for act in acts {
        world.act(act);
        world.check();
    }
    world.drain();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, max_shrink_iters: 2000, ..ProptestConfig::default() })]

    #[test]
    fn a_standard_queue_does_what_the_model_does(acts in proptest::collection::vec(act(), 1..150)) {
        run(false, &acts);
    }

    #[test]
    fn a_fifo_queue_does_what_the_model_does(acts in proptest::collection::vec(act(), 1..150)) {
        run(true, &acts);
    }
}
