use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use pipes::{Limits, PipeError, ReceiveError, Settings};

use crate::world::*;

#[tokio::test]
async fn a_receive_waits_for_the_next_message() {
    let world = World::new().await;
    let queue = world.queue("jobs", Settings::default()).await;
    let (got, ()) = tokio::join!(queue.receive(waiting(20)), send(&queue, &["a"]));
    assert_eq!(bodies(&got.unwrap()), ["a"]);
}

#[tokio::test]
async fn a_receive_that_waits_in_vain_ends_when_its_time_is_over() {
    let world = World::new().await;
    let queue = world.queue("jobs", Settings::default()).await;
    let mut waits = Box::pin(queue.receive(waiting(20)));
    assert!((&mut waits).now_or_never().is_none());
    world.advance(19);
    assert!((&mut waits).now_or_never().is_none());
    world.advance(1);
    assert_eq!(waits.await.unwrap(), []);
}

#[tokio::test]
async fn a_receive_that_waits_gets_what_comes_back_or_was_delayed() {
    let world = World::new().await;
    let queue = world.queue("jobs", Settings::default()).await;
    send(&queue, &["a"]).await;
    receive(&queue, 1).await;
    let mut waits = Box::pin(queue.receive(waiting(60)));
    assert!((&mut waits).now_or_never().is_none());
    world.advance(30);
    let got = waits.await.unwrap();
    assert_eq!((bodies(&got), got[0].receives), (vec!["a"], 2));
}

#[tokio::test]
async fn those_who_wait_are_served_in_their_order_and_nobody_twice() {
    let world = World::new().await;
    let queue = world.queue("jobs", Settings::default()).await;
    let mut waits: Vec<_> = (0..5).map(|_| Box::pin(queue.receive(waiting(20)))).collect();
    for wait in &mut waits {
        assert!(wait.now_or_never().is_none());
    }
    send(&queue, &["1", "2"]).await;
    for (at, mut wait) in waits.into_iter().enumerate() {
        if at < 2 {
            assert_eq!(bodies(&wait.await.unwrap()), [(at + 1).to_string()]);
        } else {
            assert!((&mut wait).now_or_never().is_none());
        }
    }
}

#[tokio::test]
async fn a_call_for_somebody_who_has_gone_goes_to_the_next() {
    let world = World::new().await;
    let queue = world.queue("jobs", Settings::default()).await;
    let mut first = Box::pin(queue.receive(waiting(20)));
    let mut second = Box::pin(queue.receive(waiting(20)));
    assert!((&mut first).now_or_never().is_none() && (&mut second).now_or_never().is_none());
    send(&queue, &["a"]).await; // calls the first, which does not get to look
    drop(first);
    assert_eq!(bodies(&second.await.unwrap()), ["a"]);
}

#[tokio::test]
async fn what_was_taken_for_somebody_who_has_gone_is_back_at_once_and_was_not_received() {
    let world = World::new().await;
    let queue = world.queue("jobs", Settings::default()).await;
    send(&queue, &["a", "b"]).await;
    let held = world.gate.hold();
    let mut gone = Box::pin(queue.receive(at_once(10)));
    assert!((&mut gone).now_or_never().is_none(), "it waits for the disk");
    assert_eq!(queue.counts().in_flight, 2);
    drop((gone, held));
    assert_eq!(queue.counts().in_flight, 0);
    let got = receive(&queue, 10).await;
    assert_eq!((bodies(&got), got[0].receives, queue.counts().received), (vec!["a", "b"], 1, 2));
    drop(queue);
    let world = world.killed().await;
    world.advance(30);
    assert_eq!(receive(&world.again("jobs"), 10).await[0].receives, 2);
}

#[tokio::test]
async fn a_send_whose_sender_has_gone_is_either_there_or_not() {
    let world = World::new().await;
    let queue = world.queue("jobs", Settings::default()).await;
    let held = world.gate.hold();
    let mut gone = Box::pin(queue.send(vec![message("a")]));
    assert!((&mut gone).now_or_never().is_none());
    drop((gone, held));
    assert_eq!(bodies(&receive(&queue, 10).await), ["a"]);
}

#[tokio::test]
async fn only_so_many_may_wait() {
    let limits = Limits { waiting: 2, ..Limits::default() };
    let world = World::with(limits, 1 << 20).await;
    let queue = world.queue("jobs", Settings::default()).await;
    let mut waits: Vec<_> = (0..2).map(|_| Box::pin(queue.receive(waiting(20)))).collect();
    for wait in &mut waits {
        assert!(wait.now_or_never().is_none());
    }
    assert_eq!(queue.receive(waiting(20)).await, Err(ReceiveError::Pipe(PipeError::Busy)));
    drop(waits);
    assert!(queue.receive(waiting(20)).now_or_never().is_none(), "a place that is left is free");
}

#[tokio::test]
async fn those_who_wait_at_a_queue_that_is_deleted_are_told() {
    let world = World::new().await;
    let queue = world.queue("jobs", Settings::default()).await;
    let mut waits = Box::pin(queue.receive(waiting(20)));
    assert!((&mut waits).now_or_never().is_none());
    world.pipes.delete_queue(queue.name()).await.unwrap();
    assert_eq!(waits.await, Err(ReceiveError::Pipe(PipeError::NoSuchQueue(name("jobs")))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_who_wait_each_get_one_message() {
    let world = World::new().await;
    let queue = world.queue("jobs", Settings::default()).await;
    let served = Arc::new(AtomicUsize::new(0));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..10_000 {
        let (queue, served) = (queue.clone(), Arc::clone(&served));
        tasks.spawn(async move {
            let got = queue.receive(waiting(20)).await.unwrap();
            served.fetch_add(got.len(), Ordering::Relaxed);
            delete(&queue, &got).await;
        });
    }
    for _ in 0..1000 {
        send(&queue, &["x"; 10]).await;
    }
    let all = async { while tasks.join_next().await.is_some() {} };
    tokio::time::timeout(Duration::from_secs(20), all).await.unwrap();
    assert_eq!(served.load(Ordering::Relaxed), 10_000);
    assert_eq!((queue.counts().visible, queue.counts().in_flight), (0, 0));
}
