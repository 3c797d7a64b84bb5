use pipes::{
    BadSettings, CreateError, DeadLetter, DeadLettersFrom, Declared, Fifo, Queue, Receive, Settings,
};

use crate::world::*;

fn dead_after(after: u32, target: &str) -> Settings {
    Settings { dead_letter: Some(DeadLetter { target: name(target), after }), ..Settings::default() }
}

async fn fail(world: &World, queue: &Queue, times: u32) {
    for _ in 0..times {
        assert!(!receive(queue, 10).await.is_empty());
        world.advance(30);
    }
}

#[tokio::test]
async fn a_message_received_too_often_goes_to_the_dead_letter_queue() {
    let world = World::new().await;
    let dead = world.queue("dead", Settings::default()).await;
    let queue = world.queue("jobs", dead_after(2, "dead")).await;
    let sent = queue.send(vec![message("poison")]).await.unwrap().remove(0).unwrap();
    let sent_at = world.now();
    fail(&world, &queue, 2).await;
    until(|| dead.counts().visible == 1).await;
    assert_eq!((queue.counts().visible, queue.counts().in_flight), (0, 0));
    let got = receive(&dead, 1).await.remove(0);
    assert_eq!((got.id, got.receives, got.sent_at), (sent.id, 1, sent_at), "it is still the same message");
    assert_eq!(got.message.dead_letter_source.as_deref(), Some("jobs"));
    drop((queue, dead));
    let world = world.killed().await;
    world.advance(30);
    assert_eq!(bodies(&receive(&world.again("dead"), 1).await), ["poison"]);
}

#[tokio::test]
async fn a_dead_letter_is_kept_from_when_it_was_sent_first() {
    let world = World::new().await;
    let dead = world.queue("dead", Settings { retention_seconds: 100, ..Settings::default() }).await;
    let queue = world.queue("jobs", dead_after(1, "dead")).await;
    send(&queue, &["poison"]).await;
    fail(&world, &queue, 1).await;
    until(|| dead.counts().visible == 1).await;
    send(&dead, &["sent here"]).await;
    world.advance(71);
    assert_eq!(
        bodies(&receive(&dead, 10).await),
        ["sent here"],
        "101 s since it was sent, 71 since it was moved"
    );
}

#[tokio::test]
async fn where_order_is_kept_a_dead_letter_lets_its_group_go_on() {
    let world = World::new().await;
    let fifo = Settings { fifo: Some(Fifo::default()), ..Settings::default() };
    let dead = world.queue("dead.fifo", fifo.clone()).await;
    let queue = world.queue("jobs.fifo", Settings { fifo: fifo.fifo, ..dead_after(1, "dead.fifo") }).await;
    queue.send(vec![of_group("poison", "a"), of_group("good", "a")]).await.unwrap();
    assert_eq!(bodies(&receive(&queue, 1).await), ["poison"]);
    let mut waits = Box::pin(queue.receive(waiting(60)));
    let nothing = futures_util::FutureExt::now_or_never(&mut waits);
    assert!(nothing.is_none());
    world.advance(30);
    assert_eq!(bodies(&waits.await.unwrap()), ["good"]);
    assert_eq!(bodies(&receive(&dead, 1).await), ["poison"]);
}

#[tokio::test]
async fn dead_letters_stay_as_long_as_their_queue_is_gone() {
    let world = World::new().await;
    world.queue("dead", Settings::default()).await;
    let queue = world.queue("jobs", dead_after(1, "dead")).await;
    world.pipes.delete_queue(&name("dead")).await.unwrap();
    send(&queue, &["poison"]).await;
    fail(&world, &queue, 1).await;
    until(|| queue.counts().visible == 1).await;
    let got = receive(&queue, 1).await;
    assert_eq!(got[0].receives, 2);
    let dead = world.queue("dead", Settings::default()).await;
    world.advance(30);
    until(|| dead.counts().visible == 1).await;
}

#[tokio::test]
async fn messages_that_are_dead_at_once_by_new_settings_are_not_received_again() {
    let world = World::new().await;
    let dead = world.queue("dead", Settings::default()).await;
    let queue = world.queue("jobs", Settings::default()).await;
    send(&queue, &["a"]).await;
    fail(&world, &queue, 3).await;
    queue.set(dead_after(3, "dead")).await.unwrap();
    assert!(receive(&queue, 1).await.is_empty());
    until(|| dead.counts().visible == 1).await;
}

#[tokio::test]
async fn many_dead_letters_are_moved_whole_even_if_they_are_large() {
    let world = World::new().await;
    let dead = world.queue("dead", Settings::default()).await;
    let queue = world.queue("jobs", dead_after(1, "dead")).await;
    let large = "x".repeat(1024 * 1024);
    for _ in 0..12 {
        send(&queue, &[&large]).await;
    }
    let want = Receive { visibility_seconds: Some(1), ..at_once(10) };
    queue.receive(want.clone()).await.unwrap();
    queue.receive(want).await.unwrap();
    world.advance(1);
    until(|| dead.counts().visible == 12 && queue.counts().in_flight == 0).await;
}

#[tokio::test]
async fn who_may_send_dead_letters_is_said_by_who_gets_them() {
    let world = World::new().await;
    let make = async |text: &str, settings| {
        world.pipes.create_queue(name(text), settings, Default::default(), Declared::AtRunTime).await
    };
    let refused = |why| Err(CreateError::Settings(why));
    assert_eq!(
        make("jobs", dead_after(1, "dead")).await,
        refused(BadSettings::NoDeadLetterQueue(name("dead")))
    );
    assert_eq!(make("jobs", dead_after(1, "jobs")).await, refused(BadSettings::OwnDeadLetterQueue));
    let only = DeadLettersFrom::These(vec![name("orders")]);
    let dead = world.queue("dead", Settings { dead_letters_from: only, ..Settings::default() }).await;
    assert_eq!(
        make("jobs", dead_after(1, "dead")).await,
        refused(BadSettings::DeadLettersRefused(name("dead")))
    );
    make("orders", dead_after(1, "dead")).await.unwrap();
    dead.set(Settings { dead_letters_from: DeadLettersFrom::Nobody, ..Settings::default() }).await.unwrap();
    assert_eq!(
        make("more", dead_after(1, "dead")).await,
        refused(BadSettings::DeadLettersRefused(name("dead")))
    );
    world.queue("dead.fifo", Settings { fifo: Some(Fifo::default()), ..Settings::default() }).await;
    let order = refused(BadSettings::DeadLetterOrder(name("dead.fifo")));
    assert_eq!(make("jobs", dead_after(1, "dead.fifo")).await, order);
    assert_eq!(world.pipes.dead_letter_sources(&name("dead")), [name("orders")]);
    drop(dead);
    let world = world.killed().await;
    assert_eq!(world.pipes.dead_letter_sources(&name("dead")), [name("orders")], "over a restart, too");
}
