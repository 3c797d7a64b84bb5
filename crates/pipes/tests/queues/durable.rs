use std::collections::{BTreeMap, BTreeSet};

use futures_util::FutureExt;
use pipes::{Limits, Outgoing, PipeError, Receive, Settings};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use store::Fault;

use crate::world::*;

#[tokio::test]
async fn what_there_is_no_room_for_is_refused_before_anything_changes() {
    let world = World::with(Limits::default(), 10_000).await;
    let queue = world.queue("jobs", Settings::default()).await;
    let large = || message(&"x".repeat(8_000));
    let held = world.gate.hold();
    let mut first = Box::pin(queue.send(vec![large()]));
    assert!((&mut first).now_or_never().is_none(), "it waits for the disk");
    assert_eq!(queue.send(vec![large()]).now_or_never(), Some(Err(PipeError::Busy)));
    assert_eq!(queue.counts().visible, 1);
    assert!(queue.receive(waiting(20)).now_or_never().is_none(), "a small thing finds room");
    drop(held);
    first.await.unwrap();
    until(|| world.store.stats().under_way.0 == 0).await;
    assert_eq!((queue.counts().visible, queue.counts().in_flight), (1, 0));
    send(&queue, &["there is room again"]).await;
}

#[tokio::test]
async fn after_a_failed_commit_nothing_is_taken_until_the_store_was_opened_anew() {
    for fault in
        [Fault::Write, Fault::Sync { kept: false }, Fault::Sync { kept: true }, Fault::Torn, Fault::Short]
    {
        let world = World::new().await;
        let queue = world.queue("jobs", Settings::default()).await;
        send(&queue, &["kept"]).await;
        world.disk.fail_after(0, fault);
        let failed = queue.send(vec![message("nobody knows")]).await;
        assert!(matches!(failed, Err(PipeError::Stopped(_))), "{failed:?}");
        let refused = queue.receive(at_once(10)).await;
        assert!(matches!(refused, Err(pipes::ReceiveError::Pipe(PipeError::Stopped(_)))), "{refused:?}");
        drop(queue);
        let world = world.killed().await;
        let queue = world.again("jobs");
        let got = receive(&queue, 10).await;
        assert_eq!(bodies(&got)[0], "kept", "{fault:?}");
        assert_eq!(got.len(), if fault == (Fault::Sync { kept: true }) { 2 } else { 1 }, "{fault:?}");
    }
}

/// Random operations, with kills and faults in between: what was acknowledged is kept, what was deleted stays so.
async fn live_through(seed: u64, fifo: bool) {
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let settings =
        Settings { fifo: fifo.then(pipes::Fifo::default), visibility_seconds: 20, ..Settings::default() };
    let text = if fifo { "jobs.fifo" } else { "jobs" };
    let mut world = World::new().await;
    drop(world.queue(text, settings).await);
    let (mut acknowledged, mut deleted, mut unknown) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let mut held: BTreeMap<String, pipes::Receipt> = BTreeMap::new();
    let mut last_of_group: BTreeMap<String, u64> = BTreeMap::new();
    let mut next = 0;
    for _ in 0..300 {
        let queue = world.again(text);
        match random.random_range(0..100) {
            0..40 => {
                let bodies: Vec<String> =
                    (0..random.random_range(1..4)).map(|at| format!("{}", next + at)).collect();
                next += bodies.len();
                let group = |body: &str| format!("g{}", body.len() % 3);
                let messages: Vec<Outgoing> =
                    bodies.iter().map(|body| of_group(body, &group(body))).collect();
                match queue.send(messages).await {
                    Ok(_) => acknowledged.extend(bodies),
                    Err(_) => unknown.extend(bodies),
                }
            }
            40..65 => {
                let Ok(got) = queue.receive(at_once(random.random_range(1..=10))).await else { continue };
                for one in got {
                    let body = String::from_utf8(one.message.body.to_vec()).unwrap();
                    assert!(!deleted.contains(&body), "seed {seed}: {body} was deleted and comes back");
                    assert!(acknowledged.contains(&body) || unknown.contains(&body));
                    held.insert(body, one.receipt);
                }
            }
            65..85 => {
                let Some(body) = held.keys().nth(random.random_range(0..=held.len())).cloned() else {
                    continue;
                };
                let receipt = held.remove(&body).unwrap();
                match queue.delete(vec![receipt]).await {
                    Ok(told) if told[0].is_ok() => {
                        deleted.insert(body);
                    }
                    Ok(_) => {}
                    // It may be deleted, and may not.
                    Err(_) => {
                        acknowledged.remove(&body);
                        unknown.insert(body);
                    }
                }
            }
            85..93 => world.advance(random.random_range(0..30)),
            93..96 => {
                let fault = [Fault::Write, Fault::Sync { kept: true }, Fault::Short, Fault::Torn];
                world.disk.fail_after(random.random_range(0..3), fault[random.random_range(0..4)]);
            }
            _ => {
                drop(queue);
                world = world.killed().await;
            }
        }
    }
    world.disk.fail_after(u64::MAX, Fault::Write);
    world = world.killed().await;
    world.advance(60);
    let queue = world.again(text);
    let mut left: BTreeSet<String> = BTreeSet::new();
    loop {
        let got = queue.receive(Receive { visibility_seconds: Some(600), ..at_once(10) }).await.unwrap();
        if got.is_empty() {
            break;
        }
        for one in &got {
            let body = String::from_utf8(one.message.body.to_vec()).unwrap();
            if let Some(sequence) = one.sequence {
                let last = last_of_group.insert(one.message.group.clone().unwrap(), sequence);
                assert!(last.is_none_or(|last| last < sequence), "seed {seed}: out of order");
            }
            assert!(!deleted.contains(&body), "seed {seed}: {body} was deleted and comes back");
            assert!(left.insert(body), "seed {seed}: twice");
        }
        delete(&queue, &got).await;
    }
    for body in acknowledged.difference(&deleted) {
        assert!(left.contains(body), "seed {seed}: {body} was acknowledged and is lost");
    }
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_and_nothing_deleted_comes_back_through_kills_and_faults() {
    for _ in 0..6 {
        live_through(rand::random(), false).await;
    }
}

#[tokio::test]
async fn where_order_is_kept_it_is_kept_through_kills_and_faults() {
    for _ in 0..6 {
        live_through(rand::random(), true).await;
    }
}
