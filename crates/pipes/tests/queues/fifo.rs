use std::time::Duration;

use pipes::{Delivery, Fifo, Outgoing, ReceiptError, Receive, SendError, Settings};

use crate::world::*;

fn fifo() -> Settings {
    Settings { fifo: Some(Fifo::default()), ..Settings::default() }
}

#[tokio::test]
async fn a_group_is_delivered_in_order_and_to_one_at_a_time() {
    let world = World::new().await;
    let queue = world.queue("orders.fifo", fifo()).await;
    let all = vec![of_group("a1", "a"), of_group("b1", "b"), of_group("a2", "a"), of_group("a3", "a")];
    let sent = queue.send(all).await.unwrap();
    let sequences: Vec<u64> = sent.iter().map(|sent| sent.as_ref().unwrap().sequence.unwrap()).collect();
    assert!(sequences.is_sorted());
    let first = receive(&queue, 2).await;
    assert_eq!(bodies(&first), ["a1", "a2"]);
    assert_eq!(bodies(&receive(&queue, 10).await), ["b1"], "a3 waits for those before it");
    delete(&queue, &first[1..]).await;
    assert!(receive(&queue, 10).await.is_empty(), "a1 is still held");
    delete(&queue, &first[..1]).await;
    assert_eq!(bodies(&receive(&queue, 10).await), ["a3"]);
}

#[tokio::test]
async fn what_comes_back_comes_before_what_is_behind_it() {
    let world = World::new().await;
    let queue = world.queue("orders.fifo", fifo()).await;
    queue.send(vec![of_group("1", "a"), of_group("2", "a"), of_group("3", "a")]).await.unwrap();
    let first = receive(&queue, 2).await;
    delete(&queue, &first[1..]).await;
    world.advance(30);
    assert_eq!(bodies(&receive(&queue, 10).await), ["1", "3"]);
    assert_eq!(queue.delete(receipts(&first[..1])).await.unwrap(), [Err(ReceiptError::Stale)]);
}

#[tokio::test]
async fn an_identity_is_sent_once_in_five_minutes_even_if_its_message_is_gone() {
    let world = World::new().await;
    let queue = world.queue("orders.fifo", fifo()).await;
    let first = queue.send(vec![of_group("x", "a")]).await.unwrap().remove(0).unwrap();
    delete(&queue, &receive(&queue, 1).await).await;
    world.advance(299);
    drop(queue);
    let world = world.killed().await;
    let queue = world.again("orders.fifo");
    let again = queue.send(vec![of_group("x", "b")]).await.unwrap().remove(0).unwrap();
    assert!(again.duplicate && again.id == first.id && again.sequence == first.sequence);
    world.advance(1);
    let new = queue.send(vec![of_group("x", "a")]).await.unwrap().remove(0).unwrap();
    assert!(!new.duplicate && new.sequence > first.sequence);
    let twice = queue.send(vec![of_group("y", "a"), of_group("y", "a")]).await.unwrap();
    assert!(twice[1].as_ref().unwrap().duplicate);
    assert_eq!(queue.counts().visible, 2);
}

#[tokio::test]
async fn identities_are_of_the_content_and_of_the_group_where_the_queue_says_so() {
    let world = World::new().await;
    let settings = Settings {
        fifo: Some(Fifo { content_dedup: true, dedup_by_group: true, ..Fifo::default() }),
        ..fifo()
    };
    let queue = world.queue("orders.fifo", settings).await;
    let of = |body: &str, group: &str| Outgoing { group: Some(group.to_owned()), ..message(body) };
    let told = queue.send(vec![of("x", "a"), of("x", "b"), of("x", "a")]).await.unwrap();
    let duplicates: Vec<bool> = told.iter().map(|told| told.as_ref().unwrap().duplicate).collect();
    assert_eq!(duplicates, [false, false, true]);
}

#[tokio::test]
async fn a_message_without_group_or_identity_or_with_a_delay_of_its_own_is_refused() {
    let world = World::new().await;
    let queue = world.queue("orders.fifo", fifo()).await;
    let no_group = message("x");
    let no_identity = Outgoing { dedup: None, ..of_group("x", "a") };
    let delayed = Outgoing { delay_seconds: Some(1), ..of_group("x", "a") };
    let told = queue.send(vec![no_group, no_identity, delayed]).await.unwrap();
    assert_eq!(told, [Err(SendError::NoGroup), Err(SendError::NoDedup), Err(SendError::OwnDelay)]);
}

#[tokio::test]
async fn an_attempt_that_is_repeated_gets_the_same_messages_and_receipts() {
    let world = World::new().await;
    let queue = world.queue("orders.fifo", fifo()).await;
    queue.send(vec![of_group("1", "a"), of_group("2", "a"), of_group("3", "b")]).await.unwrap();
    let attempt = |attempt: &str| Receive { attempt: Some(attempt.to_owned()), ..at_once(2) };
    let first = queue.receive(attempt("one")).await.unwrap();
    let at = first[0].received_at;
    let again = async || {
        let again = queue.receive(attempt("one")).await.unwrap();
        assert!(again.iter().all(|delivery| delivery.received_at > at));
        again.into_iter().map(|delivery| Delivery { received_at: at, ..delivery }).collect::<Vec<_>>()
    };
    world.advance(20);
    assert_eq!(again().await, first);
    assert_eq!(bodies(&queue.receive(attempt("two")).await.unwrap()), ["3"]);
    world.advance(20);
    assert_eq!(again().await, first, "it was hidden anew");
    delete(&queue, &first[..1]).await;
    assert!(queue.receive(attempt("one")).await.unwrap().is_empty(), "not once one of them is gone");
    world.advance(31);
    let later = queue.receive(attempt("one")).await.unwrap();
    assert_eq!((bodies(&later), later[0].receives), (vec!["3", "2"], 2), "what is back first comes first");
}

#[tokio::test]
async fn deleting_lets_whoever_waits_have_the_next_of_the_group() {
    let world = World::new().await;
    let queue = world.queue("orders.fifo", fifo()).await;
    queue.send(vec![of_group("1", "a"), of_group("2", "a")]).await.unwrap();
    let first = receive(&queue, 1).await;
    let (got, ()) = tokio::join!(queue.receive(waiting(20)), async {
        tokio::time::sleep(Duration::from_millis(1)).await;
        delete(&queue, &first).await;
    });
    assert_eq!(bodies(&got.unwrap()), ["2"]);
}
