use std::time::Duration;

use pipes::{DeadLetter, MoveError, MoveState, PipeError, Queue, Settings};

use crate::world::*;

/// A queue, its dead-letter queue, and so many dead letters.
async fn with_dead_letters(world: &World, many: usize) -> (Queue, Queue) {
    let dead = world.queue("dead", Settings::default()).await;
    let dead_letter = Some(DeadLetter { target: name("dead"), after: 1 });
    let queue = world.queue("jobs", Settings { dead_letter, ..Settings::default() }).await;
    for _ in 0..many {
        send(&queue, &["poison"]).await;
        receive(&queue, 1).await;
    }
    world.advance(30);
    until(|| dead.counts().visible == many as u64).await;
    (queue, dead)
}

#[tokio::test]
async fn dead_letters_are_moved_back_to_where_they_came_from_as_new_messages() {
    let world = World::new().await;
    let (queue, dead) = with_dead_letters(&world, 120).await;
    let before = dead.peek(1).await.unwrap().remove(0);
    world.advance(5);
    let id = world.pipes.start_move(dead.name(), None, None).await.unwrap();
    until(|| world.pipes.moves(dead.name())[0].state == MoveState::Completed).await;
    let task = world.pipes.moves(dead.name()).remove(0);
    assert_eq!((task.id, task.moved, task.to_move), (id, 120, 120));
    assert_eq!((queue.counts().visible, dead.counts().visible, dead.counts().in_flight), (120, 0, 0));
    let got = receive(&queue, 1).await.remove(0);
    assert!(got.id != before.id && got.sent_at == world.now() && got.receives == 1);
    assert_eq!(got.message.dead_letter_source, None);
}

#[tokio::test]
async fn a_move_has_a_rate_goes_on_after_a_restart_and_can_be_cancelled() {
    let world = World::new().await;
    let (queue, dead) = with_dead_letters(&world, 60).await;
    let id = world.pipes.start_move(dead.name(), Some(name("jobs")), Some(10)).await.unwrap();
    let under_way = world.pipes.start_move(dead.name(), None, None).await;
    assert_eq!(under_way, Err(MoveError::UnderWay(name("dead"))));
    for _ in 0..20 {
        world.clock.advance(Duration::from_millis(100));
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    until(|| queue.counts().visible >= 2).await;
    let moved = queue.counts().visible;
    assert!(moved <= 21, "two seconds at ten a second: {moved}");
    drop((queue, dead));
    let world = world.killed().await;
    let (queue, dead) = (world.again("jobs"), world.again("dead"));
    for _ in 0..10 {
        world.clock.advance(Duration::from_millis(100));
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    until(|| queue.counts().visible > moved).await;
    let told = world.pipes.cancel_move(&id).await.unwrap();
    world.advance(100);
    tokio::time::sleep(Duration::from_millis(5)).await;
    let task = world.pipes.moves(dead.name()).remove(0);
    assert_eq!((task.state, task.moved), (MoveState::Cancelled, told));
    assert_eq!(
        (queue.counts().visible, dead.counts().visible),
        (told, 60 - told),
        "nothing is lost or doubled"
    );
    assert_eq!(world.pipes.cancel_move(&id).await, Err(MoveError::Ended));
    assert_eq!(dead.counts().in_flight, 0);
}

#[tokio::test]
async fn what_cannot_be_moved_is_refused() {
    let world = World::new().await;
    let (_queue, dead) = with_dead_letters(&world, 1).await;
    let start = async |from: &str, to: Option<&str>, rate| {
        world.pipes.start_move(&name(from), to.map(name), rate).await
    };
    assert_eq!(start("jobs", None, None).await, Err(MoveError::NotADeadLetterQueue(name("jobs"))));
    assert_eq!(start("none", None, None).await, Err(MoveError::Pipe(PipeError::NoSuchQueue(name("none")))));
    assert_eq!(start("dead", Some("dead"), None).await, Err(MoveError::Target(name("dead"))));
    assert_eq!(start("dead", None, Some(501)).await, Err(MoveError::Rate));
    // One that came from nowhere: it stays, and the task says why it ended.
    send(&dead, &["sent here"]).await;
    start("dead", None, None).await.unwrap();
    until(|| matches!(world.pipes.moves(dead.name())[0].state, MoveState::Failed(_))).await;
    assert!(dead.counts().visible >= 1 && dead.counts().in_flight == 0);
}
