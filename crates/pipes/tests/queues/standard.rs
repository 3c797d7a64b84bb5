use std::time::Duration;

use pipes::{
    Attribute, AttributeValue, Outgoing, PurgeError, ReceiptError, Receive, ReceiveError, SendError, Settings,
};

use crate::world::*;

#[tokio::test]
async fn what_was_sent_is_received_as_it_was_sent() {
    let world = World::new().await;
    let queue = world.queue("jobs", Settings::default()).await;
    let value = AttributeValue::Binary(vec![1, 2, 3].into());
    let attribute = Attribute { name: "picture".to_owned(), kind: "Binary.png".to_owned(), value };
    let trace = Some("00-abc-def-01".to_owned());
    let sent = Outgoing { attributes: vec![attribute], trace, ..message("resize cat.png") };
    let told = queue.send(vec![sent.clone()]).await.unwrap().remove(0).unwrap();
    let got = receive(&queue, 10).await.remove(0);
    assert_eq!((&got.message, &got.id, got.receives, got.sequence), (&sent, &told.id, 1, None));
    assert_eq!((got.sent_at, got.first_received_at), (world.now(), world.now()));
    assert!(receive(&queue, 10).await.is_empty(), "what somebody holds, nobody else gets");
}

#[tokio::test]
async fn a_message_not_deleted_comes_back_after_its_visibility_timeout() {
    let world = World::new().await;
    let queue = world.queue("jobs", Settings::default()).await;
    send(&queue, &["a"]).await;
    let first = receive(&queue, 1).await;
    world.advance(29);
    assert!(receive(&queue, 1).await.is_empty());
    world.advance(1);
    let second = receive(&queue, 1).await;
    assert_eq!((bodies(&second), second[0].receives), (vec!["a"], 2));
    assert_eq!(second[0].first_received_at, first[0].sent_at);
    let told = queue.delete(receipts(&first)).await.unwrap();
    assert_eq!(told, [Err(ReceiptError::Stale)], "what somebody else holds is not deleted");
    delete(&queue, &second).await;
    delete(&queue, &second).await; // what is gone is deleted
    world.advance(3600);
    assert!(receive(&queue, 1).await.is_empty());
    assert_eq!(queue.counts().deleted, 1);
}

#[tokio::test]
async fn a_stale_receipt_deletes_as_long_as_nobody_else_holds_the_message() {
    let world = World::new().await;
    let queue = world.queue("jobs", Settings::default()).await;
    send(&queue, &["a"]).await;
    let got = receive(&queue, 1).await;
    world.advance(31);
    delete(&queue, &got).await;
    assert!(receive(&queue, 1).await.is_empty());
}

#[tokio::test]
async fn visibility_can_be_given_back_and_extended_up_to_twelve_hours() {
    let world = World::new().await;
    let queue = world.queue("jobs", Settings::default()).await;
    send(&queue, &["a"]).await;
    let got = receive(&queue, 1).await;
    let receipt = got[0].receipt;
    world.advance(20);
    assert_eq!(queue.change_visibility(vec![(receipt, 43_200)]).await.unwrap(), [Err(ReceiptError::TooLong)]);
    assert_eq!(queue.change_visibility(vec![(receipt, 43_180)]).await.unwrap(), [Ok(())]);
    world.advance(43_000);
    assert_eq!(queue.change_visibility(vec![(receipt, 0)]).await.unwrap(), [Ok(())]);
    assert_eq!(receive(&queue, 1).await[0].receives, 2);
    assert_eq!(queue.change_visibility(vec![(receipt, 0)]).await.unwrap(), [Err(ReceiptError::Stale)]);
    world.advance(40);
    assert_eq!(queue.change_visibility(vec![(receipt, 0)]).await.unwrap(), [Err(ReceiptError::NotInFlight)]);
    delete(&queue, &receive(&queue, 1).await).await;
    assert_eq!(
        queue.change_visibility(vec![(receipt, 0)]).await.unwrap(),
        [Err(ReceiptError::NoSuchMessage)]
    );
}

#[tokio::test]
async fn what_nobody_has_seen_is_given_back_as_if_it_had_not_been_received() {
    let world = World::new().await;
    let queue = world.queue("jobs", Settings::default()).await;
    send(&queue, &["a", "b"]).await;
    let got = receive(&queue, 1).await;
    queue.hand_back(&[got[0].receipt]).await.unwrap();
    assert_eq!((queue.counts().visible, queue.counts().in_flight), (2, 0));
    drop(queue);
    let world = world.killed().await;
    let queue = world.again("jobs");
    let again = receive(&queue, 10).await;
    assert!(again.iter().all(|delivery| delivery.receives == 1), "{again:?}");
    world.advance(31);
    let other = receive(&queue, 10).await;
    queue.hand_back(&[again[0].receipt]).await.unwrap();
    assert_eq!(queue.counts().in_flight, 2, "a stale receipt gives nothing back");
    assert!(other.iter().all(|delivery| delivery.receives == 2));
}

#[tokio::test]
async fn a_delay_hides_a_message_and_its_own_counts_more_than_the_queues() {
    let world = World::new().await;
    let queue = world.queue("jobs", Settings { delay_seconds: 60, ..Settings::default() }).await;
    let own = |body, delay| Outgoing { delay_seconds: Some(delay), ..message(body) };
    queue.send(vec![own("none", 0), own("short", 10), message("as the queue says")]).await.unwrap();
    assert_eq!(bodies(&receive(&queue, 10).await), ["none"]);
    assert_eq!(queue.counts().delayed, 2);
    world.advance(10);
    assert_eq!(bodies(&receive(&queue, 10).await), ["short"]);
    world.advance(50);
    assert!(bodies(&receive(&queue, 10).await).contains(&"as the queue says"));
}

#[tokio::test]
async fn messages_are_kept_for_as_long_as_the_queue_says() {
    let world = World::new().await;
    let queue = world.queue("jobs", Settings { retention_seconds: 60, ..Settings::default() }).await;
    send(&queue, &["held", "waiting"]).await;
    receive(&queue, 1).await;
    world.advance(60);
    assert_eq!(queue.counts().visible, 2);
    world.advance(1);
    let counts = queue.counts();
    assert_eq!((counts.visible, counts.in_flight, counts.oldest_sent_at), (0, 0, None));
    drop(queue);
    let world = world.killed().await;
    assert_eq!(world.again("jobs").counts().visible, 0);
}

#[tokio::test]
async fn a_noisy_group_does_not_starve_the_others() {
    let world = World::new().await;
    let queue = world.queue("jobs", Settings::default()).await;
    let of = |group: &str| Outgoing { group: Some(group.to_owned()), ..message(group) };
    for _ in 0..50 {
        queue.send((0..10).map(|_| of("noisy")).collect()).await.unwrap();
    }
    queue.send(vec![of("quiet"), of("shy")]).await.unwrap();
    let got = receive(&queue, 10).await;
    assert!(bodies(&got).contains(&"quiet") && bodies(&got).contains(&"shy"), "{:?}", bodies(&got));
}

#[tokio::test]
async fn a_purge_removes_everything_and_the_next_one_has_to_wait_a_minute() {
    let world = World::new().await;
    let queue = world.queue("jobs", Settings::default()).await;
    for _ in 0..120 {
        send(&queue, &["a"; 10]).await;
    }
    let held = receive(&queue, 5).await;
    queue.purge().await.unwrap();
    let counts = queue.counts();
    assert_eq!((counts.visible, counts.in_flight), (0, 0));
    delete(&queue, &held).await;
    assert_eq!(queue.purge().await, Err(PurgeError::InProgress));
    send(&queue, &["after"]).await;
    drop(queue);
    let world = world.killed().await;
    let queue = world.again("jobs");
    assert_eq!(bodies(&receive(&queue, 10).await), ["after"]);
    assert_eq!(queue.purge().await, Err(PurgeError::InProgress), "that is remembered");
    world.advance(60);
    queue.purge().await.unwrap();
}

#[tokio::test]
async fn as_many_messages_are_in_flight_as_may_be() {
    let limits = pipes::Limits { in_flight: 15, ..pipes::Limits::default() };
    let world = World::with(limits, 1 << 20).await;
    let queue = world.queue("jobs", Settings::default()).await;
    send(&queue, &["a"; 20]).await;
    assert_eq!(receive(&queue, 10).await.len(), 10);
    let last = receive(&queue, 10).await;
    assert_eq!(last.len(), 5, "up to the limit");
    assert_eq!(queue.receive(at_once(1)).await, Err(ReceiveError::OverLimit));
    delete(&queue, &last[..1]).await;
    assert_eq!(receive(&queue, 10).await.len(), 1);
}

#[tokio::test]
async fn what_is_too_large_is_refused_and_the_rest_is_taken() {
    let world = World::new().await;
    let queue = world.queue("jobs", Settings { message_bytes: 1024, ..Settings::default() }).await;
    let told = queue.send(vec![message("good"), message(&"x".repeat(1025)), message("too")]).await.unwrap();
    assert_eq!(told[1], Err(SendError::TooLarge { size: 1025, most: 1024 }));
    assert!(told[0].is_ok() && told[2].is_ok());
    assert_eq!(queue.counts().visible, 2);
}

#[tokio::test]
async fn looking_changes_nothing() {
    let world = World::new().await;
    let queue = world.queue("jobs", Settings::default()).await;
    send(&queue, &["a", "b", "c"]).await;
    let seen = queue.peek(2).await.unwrap();
    assert_eq!((bodies(&seen), seen[0].receives), (vec!["a", "b"], 0));
    assert_eq!(queue.counts().visible, 3);
    assert_eq!(receive(&queue, 10).await[0].receives, 1);
}

#[tokio::test]
async fn a_receipt_as_text_is_good_for_its_queue_alone() {
    let world = World::new().await;
    let (queue, other) =
        (world.queue("jobs", Settings::default()).await, world.queue("other", Settings::default()).await);
    send(&queue, &["a"]).await;
    let got = receive(&queue, 1).await;
    let text = queue.receipt_text(&got[0].receipt);
    assert_eq!(other.parse_receipt(&text), Err(ReceiptError::OtherQueue));
    assert_eq!(queue.parse_receipt("made up"), Err(ReceiptError::Malformed));
    drop((queue, other));
    let world = world.killed().await;
    let queue = world.again("jobs");
    let receipt = queue.parse_receipt(&text).unwrap();
    assert_eq!(queue.delete(vec![receipt]).await.unwrap(), [Ok(())], "over a restart, too");
}

#[tokio::test]
async fn bodies_are_read_from_the_store_when_they_are_no_longer_fresh() {
    let world = World::new().await;
    let queue = world.queue("jobs", Settings::default()).await;
    send(&queue, &["a", "b"]).await;
    world.advance(31);
    tokio::time::sleep(Duration::from_millis(1)).await;
    drop(queue);
    let world = world.killed().await;
    let want = Receive { visibility_seconds: Some(0), ..at_once(10) };
    assert_eq!(bodies(&world.again("jobs").receive(want).await.unwrap()), ["a", "b"]);
}
