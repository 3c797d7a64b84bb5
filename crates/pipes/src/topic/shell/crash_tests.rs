//! Kills and failing disks in the middle of publishing: what was acknowledged is with everybody who wants it, and what
//! was not is with all of them or with none.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use store::Fault;

use super::*;

const FAULTS: [Fault; 5] =
    [Fault::Write, Fault::Sync { kept: false }, Fault::Sync { kept: true }, Fault::Torn, Fault::Short];

/// As if the process had been killed, and started anew.
async fn killed(world: World) -> World {
    let World { disk, store, clock, tasks, pipes, topics, pushes } = world;
    store.close().await; // before anybody can write a last word
    drop((pipes, topics, pushes, store));
    tasks.shutdown(Duration::from_secs(10)).await.unwrap();
    drop(tasks);
    World::open(disk, clock).await
}

/// A topic of each kind; two queues have all of one, and one has what is red.
struct Shop {
    topics: [TopicName; 2],
    all: [QueueName; 2],
    red: [QueueName; 2],
}

async fn shop(world: &World) -> Shop {
    let shop = Shop {
        topics: [world.topic("orders").await, world.topic("orders.fifo").await],
        all: [world.queue("all").await, world.queue("all-of-fifo").await],
        red: [world.queue("red").await, world.queue("red-of-fifo").await],
    };
    for (topic, (all, red)) in shop.topics.iter().zip(shop.all.iter().zip(&shop.red)) {
        world.subscribe(topic, Endpoint::Queue(all.clone()), raw()).await;
        let filter = Some(Filter::parse("{\"color\": [\"red\"]}", Scope::Attributes).unwrap());
        world.subscribe(topic, Endpoint::Queue(red.clone()), SubscriptionSettings { filter, ..raw() }).await;
    }
    shop
}

fn red(number: u64) -> Publication {
    let value = AttributeValue::Text("red".to_owned());
    let attributes = vec![Attribute { name: "color".to_owned(), kind: "String".to_owned(), value }];
    Publication { attributes, ..in_group(&number.to_string(), &format!("g{}", number % 3)) }
}

/// Everything in a queue, sorted.
async fn everything(world: &World, queue: &QueueName) -> Vec<u64> {
    let mut all: Vec<u64> = Vec::new();
    loop {
        let got = world.bodies(queue).await;
        if got.is_empty() {
            all.sort_unstable();
            return all;
        }
        all.extend(got.iter().map(|body| body.parse::<u64>().unwrap()));
    }
}

/// Publishes at random, with faults and kills in between. Whoever publishes in order tries again until it is taken.
async fn live_through(seed: u64) {
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut world = World::new().await;
    let shop = shop(&world).await;
    let mut acknowledged: [Vec<u64>; 2] = Default::default();
    let mut requests: Vec<Vec<u64>> = Vec::new();
    let mut pending: Option<Vec<u64>> = None;
    let mut next = 0;
    for _ in 0..120 {
        if world.disk.has_failed() || random.random_range(0..12) == 0 {
            world = killed(world).await;
        }
        if random.random_range(0..8) == 0 {
            world.disk.fail_after(random.random_range(0..3), FAULTS[random.random_range(0..FAULTS.len())]);
        }
        let kind = random.random_range(0..2);
        let again = pending.take().filter(|_| kind == 1);
        let numbers = again.unwrap_or_else(|| {
            let numbers: Vec<u64> = (0..random.random_range(1..4)).map(|at| next + at).collect();
            next += numbers.len() as u64;
            requests.push(numbers.clone());
            numbers
        });
        let messages = numbers.iter().map(|number| red(*number)).collect();
        match world.topics.publish(&shop.topics[kind], messages).await {
            Ok(outcomes) => {
                assert!(outcomes.iter().all(Result::is_ok), "seed {seed}: {outcomes:?}");
                acknowledged[kind].extend(numbers);
            }
            Err(_) if kind == 1 => pending = Some(numbers),
            Err(_) => {}
        }
    }
    world.disk.fail_after(u64::MAX, Fault::Write);
    let world = killed(world).await;
    for (kind, acknowledged) in acknowledged.iter().enumerate() {
        let all = everything(&world, &shop.all[kind]).await;
        let red = everything(&world, &shop.red[kind]).await;
        assert_eq!(all, red, "seed {seed}: one queue has what the other has not");
        assert!(all.is_sorted_by(|one, other| one < other), "seed {seed}: twice: {all:?}");
        for number in acknowledged {
            assert!(all.contains(number), "seed {seed}: {number} was acknowledged and is not there");
        }
        for request in &requests {
            let there = request.iter().filter(|number| all.contains(number)).count();
            assert!([0, request.len()].contains(&there), "seed {seed}: half of {request:?} is there");
        }
    }
}

#[tokio::test]
async fn what_was_published_is_with_everybody_or_nobody_whatever_fails() {
    let seeds: u64 = std::env::var("ATOLL_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(6);
    let first = rand::rng().random_range(0..1_000_000);
    for seed in first..first + seeds {
        live_through(seed).await;
    }
}

#[tokio::test]
async fn a_publish_that_keeps_order_is_one_commit_with_what_is_remembered_of_it() {
    for fault in FAULTS {
        let world = World::new().await;
        let shop = shop(&world).await;
        world.disk.fail_after(1, fault);
        world.publish(&shop.topics[1], red(1)).await;
        assert!(!world.disk.has_failed(), "{fault:?}: it takes one commit");
        let refused = world.topics.publish(&shop.topics[1], vec![red(2)]).await;
        assert!(matches!(refused, Err(TopicError::Stopped(_))), "{fault:?}: {refused:?}");
        let world = killed(world).await;
        for (number, known) in [(1, true), (2, fault == Fault::Sync { kept: true })] {
            assert_eq!(world.publish(&shop.topics[1], red(number)).await.duplicate, known, "{fault:?}");
        }
        assert_eq!(everything(&world, &shop.all[1]).await, [1, 2], "{fault:?}");
        assert_eq!(everything(&world, &shop.red[1]).await, [1, 2], "{fault:?}");
    }
}

#[tokio::test]
async fn the_end_of_a_subscription_is_one_commit_with_what_its_address_is_told() {
    for fault in FAULTS {
        let mut world = World::new().await;
        let topic = world.topic("orders").await;
        let id = confirmed(&mut world, &topic).await;
        let outbox = world.pipes.queue(&crate::topic::subscription::outbox_name(id)).unwrap();
        soon(async {
            while outbox.counts().visible + outbox.counts().in_flight > 0 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        world.topic("other").await; // on disk, and with it that the question is gone
        drop(outbox);
        world.disk.fail_after(0, fault);
        let outcome = world.topics.unsubscribe(id, true).await;
        assert!(matches!(outcome, Err(TopicError::Stopped(_))), "{fault:?}: {outcome:?}");
        assert!(world.topics.subscription(id).is_some(), "{fault:?}: nobody was told that it ended");
        let mut world = killed(world).await;
        let ended = fault == Fault::Sync { kept: true };
        assert_eq!(world.topics.subscription(id).is_none(), ended, "{fault:?}");
        world.publish(&topic, message("after")).await;
        let expected = if ended { PushKind::Farewell } else { PushKind::Notification };
        assert_eq!(world.pushed(Ok(())).await.kind, expected, "{fault:?}");
    }
}
