use std::collections::BTreeMap;

use pipes::{
    BadSettings, CreateError, Created, Declared, Fifo, PipeError, QueueName, SendError, SetError, Settings,
};

use crate::world::*;

#[tokio::test]
async fn a_queue_is_made_once_and_made_again_only_as_it_is() {
    let world = World::new().await;
    let make = async |settings: Settings| {
        world.pipes.create_queue(name("jobs"), settings, BTreeMap::new(), Declared::InFile).await
    };
    assert_eq!(make(Settings::default()).await, Ok(Created::New));
    assert_eq!(make(Settings::default()).await, Ok(Created::Existed));
    let other = Settings { delay_seconds: 5, ..Settings::default() };
    assert_eq!(make(other.clone()).await, Err(CreateError::Differs { what: "delay_seconds" }));
    world.again("jobs").set(other.clone()).await.unwrap();
    assert_eq!(make(other).await, Ok(Created::Existed));
}

#[tokio::test]
async fn what_a_queue_is_survives_a_restart() {
    let world = World::new().await;
    let tags = BTreeMap::from([("team".to_owned(), "shop".to_owned())]);
    world.pipes.create_queue(name("jobs"), Settings::default(), tags, Declared::InFile).await.unwrap();
    let queue = world.again("jobs");
    let made_at = world.now();
    world.advance(5);
    queue.set(Settings { visibility_seconds: 7, ..Settings::default() }).await.unwrap();
    queue.set_tags(BTreeMap::from([("team".to_owned(), "books".to_owned())])).await.unwrap();
    drop(queue);
    let world = world.killed().await;
    let queue = world.again("jobs");
    assert_eq!((queue.settings().visibility_seconds, queue.declared()), (7, Declared::InFile));
    assert_eq!((queue.created_at(), queue.changed_at()), (made_at, world.now()));
    assert_eq!(queue.tags()["team"], "books");
}

#[tokio::test]
async fn settings_that_no_queue_can_have_are_refused() {
    let world = World::new().await;
    let queue = world.queue("jobs", Settings::default()).await;
    let long = Settings { visibility_seconds: 43_201, ..Settings::default() };
    let expected = BadSettings::OutOfRange { what: "visibility_seconds", value: 43_201, from: 0, to: 43_200 };
    assert_eq!(queue.set(long).await, Err(SetError::Settings(expected)));
    let fifo = Settings { fifo: Some(Fifo::default()), ..Settings::default() };
    assert_eq!(queue.set(fifo.clone()).await, Err(SetError::Settings(BadSettings::Order)));
    let made = world
        .pipes
        .create_queue(name("x.fifo"), Settings::default(), BTreeMap::new(), Declared::InFile)
        .await;
    assert_eq!(made, Err(CreateError::Settings(BadSettings::Order)));
}

#[tokio::test]
async fn a_queue_that_is_deleted_is_gone_and_one_made_anew_is_empty() {
    let world = World::new().await;
    let queue = world.queue("jobs", Settings::default()).await;
    send(&queue, &["a", "b"]).await;
    let got = receive(&queue, 1).await;
    let text = queue.receipt_text(&got[0].receipt);
    world.pipes.delete_queue(queue.name()).await.unwrap();
    let gone = PipeError::NoSuchQueue(name("jobs"));
    assert_eq!(queue.send(vec![message("c")]).await, Err(gone.clone()));
    assert_eq!(world.pipes.delete_queue(&name("jobs")).await, Err(gone));
    assert!(world.pipes.queue(&name("jobs")).is_none());
    drop(queue);
    let queue = world.queue("jobs", Settings::default()).await;
    assert_eq!(queue.counts(), pipes::Counts::default());
    assert!(queue.parse_receipt(&text).is_err(), "a number is given out once");
    drop(queue);
    let world = world.killed().await;
    let queue = world.again("jobs");
    assert!(receive(&queue, 10).await.is_empty());
    // What it took on disk is given back.
    let store = std::sync::Arc::clone(&world.store);
    for _ in 0..2000 {
        let snapshot = store.snapshot().unwrap();
        let left = snapshot.scan(pipes::spaces::BODY, store::Scan::prefix(Vec::new(), 10)).await.unwrap();
        if left.is_empty() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    panic!("bodies of a deleted queue are left");
}

#[tokio::test]
async fn names_are_listed_in_order_by_prefix_and_from_where_one_left_off() {
    let world = World::new().await;
    for text in ["b1", "a", "b3", "c", "b2"] {
        world.queue(text, Settings::default()).await;
    }
    let list = |prefix: &str, after: Option<QueueName>, limit| {
        let names = world.pipes.queues(prefix, after.as_ref(), limit);
        names.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(list("", None, 10), ["a", "b1", "b2", "b3", "c"]);
    assert_eq!(list("b", None, 2), ["b1", "b2"]);
    assert_eq!(list("b", Some(name("b2")), 10), ["b3"]);
    assert!(list("x", None, 10).is_empty());
}

#[tokio::test]
async fn one_transaction_sends_to_several_queues_or_to_none() {
    let world = World::new().await;
    let (one, two) =
        (world.queue("one", Settings::default()).await, world.queue("two", Settings::default()).await);
    let parts = vec![
        (name("two"), vec![message("a")]),
        (name("one"), vec![message("b"), message("c")]),
        (name("two"), vec![message("d")]),
    ];
    let told = world.pipes.send_all(parts).await.unwrap();
    assert_eq!(told.iter().map(Vec::len).collect::<Vec<_>>(), [1, 2, 1]);
    assert_eq!((one.counts().visible, two.counts().visible), (2, 2));
    let parts = vec![(name("one"), vec![message("e")]), (name("gone"), vec![message("f")])];
    assert_eq!(world.pipes.send_all(parts).await, Err(PipeError::NoSuchQueue(name("gone"))));
    assert_eq!(one.counts().visible, 2);
    let many = (0..2000).map(|_| message("x")).collect();
    let told = world.pipes.send_all(vec![(name("one"), many)]).await.unwrap();
    assert!(told[0].iter().all(|told| *told == Err(SendError::TooMuchAtOnce)));
}
