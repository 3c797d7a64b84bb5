//! What random histories do not say by name.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kit::Timestamp;

use super::model::Disk;
use super::*;
use crate::queue::receipt::Receipt;
use crate::queue::settings::Fifo;

const BOUNDS: Bounds = Bounds { in_flight: 100, identities: 3, attempts: 2 };

fn start() -> Timestamp {
    Timestamp::from_micros(1_000_000_000_000_000)
}

fn parcel(identity: u8) -> Parcel {
    let identity = [identity; 16];
    let record = Bytes::from_static(b"a body");
    Parcel {
        id: identity,
        record,
        group: 1,
        delay_seconds: None,
        identity: Some(identity),
        kept_sent_at: None,
    }
}

fn settings(fifo: bool) -> Arc<Settings> {
    Arc::new(Settings { fifo: fifo.then(Fifo::default), ..Settings::default() })
}

fn send(core: &mut Core, disk: &mut Disk, identity: u8, now: Timestamp) -> Result<Taker, Refusal> {
    let decision = core.send(&[parcel(identity)], now);
    disk.apply(decision.ops);
    decision.reply[0]
}

fn receive(core: &mut Core, disk: &mut Disk, attempt: Option<&str>, now: Timestamp) -> Vec<Taken> {
    let want = Want { max: 1, visibility_seconds: None, attempt };
    let decision = core.receive(&want, now).unwrap();
    disk.apply(decision.ops);
    decision.reply
}

#[test]
fn a_sequence_is_given_out_once_even_if_nothing_is_left_of_it() {
    let (settings, mut disk) = (settings(false), Disk::default());
    let mut core = Core::new(1, Arc::clone(&settings), BOUNDS, None);
    let mut last = 0;
    for _ in 0..5 {
        let sent = send(&mut core, &mut disk, 1, start()).unwrap().sequence;
        assert!(sent > last);
        last = sent;
        let taken = receive(&mut core, &mut disk, None, start()).remove(0);
        let receipt = Receipt { shard: 1, sequence: taken.sequence, receives: taken.receives };
        disk.apply(core.delete(&[receipt], start()).ops);
        core = disk.reopen(&settings, BOUNDS, start());
    }
}

#[test]
fn a_queue_that_said_it_was_empty_is_not_scanned_and_the_next_send_takes_it_back() {
    let (settings, mut disk) = (settings(false), Disk::default());
    let mut core = Core::new(1, Arc::clone(&settings), BOUNDS, None);
    let head = |disk: &Disk| {
        let head = disk.keys.iter().find(|((space, _), _)| *space == spaces::HEAD.id());
        head.map(|(_, head)| Head::decode(head).unwrap())
    };
    assert_eq!(Core::scan_from(None), None);
    send(&mut core, &mut disk, 1, start()).unwrap();
    assert_eq!(Core::scan_from(head(&disk).as_ref()), Some(1));
    let taken = receive(&mut core, &mut disk, None, start()).remove(0);
    disk.apply(core.delete(&[Receipt { shard: 1, sequence: taken.sequence, receives: 1 }], start()).ops);
    disk.apply(core.checkpoint().into_iter().collect());
    assert_eq!(Core::scan_from(head(&disk).as_ref()), None);
    assert!(core.checkpoint().is_none(), "what has not changed is not written");
    send(&mut core, &mut disk, 1, start()).unwrap();
    assert_eq!(Core::scan_from(head(&disk).as_ref()), Some(2));
}

#[test]
fn identities_are_bounded_and_free_after_their_time() {
    let mut disk = Disk::default();
    let mut core = Core::new(1, settings(true), BOUNDS, None);
    for identity in 0..3 {
        send(&mut core, &mut disk, identity, start()).unwrap();
    }
    assert_eq!(send(&mut core, &mut disk, 3, start()), Err(Refusal::TooManyIdentities));
    assert!(send(&mut core, &mut disk, 2, start()).unwrap().duplicate, "what is known is known");
    let later = start() + Duration::from_secs(2 * REMEMBERED_SECONDS);
    assert!(!send(&mut core, &mut disk, 3, later).unwrap().duplicate);
    assert!(core.has_old_buckets());
}

#[test]
fn attempts_are_bounded_and_the_oldest_is_forgotten_first() {
    let mut disk = Disk::default();
    let mut core = Core::new(1, settings(true), Bounds { identities: 10, ..BOUNDS }, None);
    for (group, name) in [(1, "one"), (2, "two"), (3, "three")] {
        let decision = core.send(&[Parcel { group, ..parcel(group as u8) }], start());
        disk.apply(decision.ops);
        assert_eq!(receive(&mut core, &mut disk, Some(name), start()).len(), 1);
    }
    assert_eq!(receive(&mut core, &mut disk, Some("three"), start()).len(), 1);
    assert!(receive(&mut core, &mut disk, Some("one"), start()).is_empty());
    assert!(core.attempts.len() <= 2 && core.attempts_in_order.len() <= 2);
}

#[test]
fn a_backlog_in_one_piece_costs_next_to_nothing_in_memory() {
    let mut core = Core::new(1, settings(false), BOUNDS, None);
    let parcels = vec![Parcel { group: 0, ..parcel(1) }; 1000];
    for second in 0..200 {
        let _ = core.send(&parcels, start() + Duration::from_secs(second)).ops;
    }
    assert_eq!(core.visible(), 200_000);
    assert!(core.known.is_empty() && core.timers.is_empty() && core.alive.chunks() < 5);
}
