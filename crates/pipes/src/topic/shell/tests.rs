//! The shell over real queues, in a store in memory.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use kit::{BoxFuture, SteppedClock};
use store::{Disk, Space};
use tokio::sync::mpsc;

use super::*;
use crate::queue::message::{Attribute, AttributeValue, Delivery};
use crate::shell::{Limits, Options, Receive};
use crate::topic::{
    Crowded, Endpoint, FifoTopic, Filter, Notice, Publication, Push, PushKind, Question, Retry, Scope,
    SubscriptionSettings, Undelivered,
};
use crate::{Fifo, QueueName, Settings};

#[path = "crash_tests.rs"]
mod crash;

/// Says topic, number and body; a question is its token.
struct Plain;

impl Envelope for Plain {
    fn seal<'a>(&'a self, notices: &'a [Notice<'a>]) -> BoxFuture<'a, Result<Vec<String>, Crowded>> {
        let told = |notice: &Notice<'_>| {
            format!("{} {:?} {}", notice.topic, notice.sequence, String::from_utf8_lossy(notice.body))
        };
        Box::pin(async move { Ok(notices.iter().map(told).collect()) })
    }

    fn address(&self, sealed: &str, _: &TopicName, _: SubscriptionId) -> Bytes {
        sealed.to_owned().into()
    }

    fn question<'a>(&'a self, question: &'a Question<'a>) -> BoxFuture<'a, Result<Bytes, Crowded>> {
        Box::pin(async move { Ok(question.token.to_owned().into()) })
    }
}

/// Hands every delivery to the test, which says what became of it.
struct Hand(mpsc::Sender<(Push, tokio::sync::oneshot::Sender<Result<(), Undelivered>>)>);

impl Deliver for Hand {
    fn deliver(&self, push: Push) -> BoxFuture<'_, Result<(), Undelivered>> {
        Box::pin(async move {
            let (answer, answered) = tokio::sync::oneshot::channel();
            let gone = || Undelivered::Again("the test is over".to_owned());
            self.0.send((push, answer)).await.map_err(|_| gone())?;
            answered.await.unwrap_or_else(|_| Err(gone()))
        })
    }
}

struct World {
    disk: Disk,
    store: Arc<dyn Store>,
    clock: Arc<SteppedClock>,
    tasks: Tasks,
    pipes: Pipes,
    topics: Topics,
    pushes: mpsc::Receiver<(Push, tokio::sync::oneshot::Sender<Result<(), Undelivered>>)>,
}

impl World {
    async fn new() -> Self {
        let clock = Arc::new(SteppedClock::new(Timestamp::from_micros(1_800_000_000_000_000)));
        Self::open(Disk::new(), clock).await
    }

    async fn open(disk: Disk, clock: Arc<SteppedClock>) -> Self {
        let spaces: Vec<Space> = crate::SPACES.iter().chain(crate::topic::SPACES).copied().collect();
        let mut options = store::Options::memory(Box::leak(spaces.into_boxed_slice()));
        options.disk = disk.clone();
        // Whoever was killed lets go of the disk when the last of its threads has ended.
        let store = soon(async {
            loop {
                match store::open(options.clone()) {
                    Ok(store) => return store,
                    Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
                }
            }
        })
        .await;
        let tasks = Tasks::new();
        let (sender, pushes) = mpsc::channel(16);
        let pipes = Pipes::open(Options {
            store: Arc::clone(&store),
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            tasks: tasks.clone(),
            limits: Limits::default(),
            watch: None,
        });
        let pipes = pipes.await.unwrap();
        let topics = Topics::open(TopicsOptions {
            pipes: pipes.clone(),
            store: Arc::clone(&store),
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            tasks: tasks.clone(),
            envelope: Arc::new(Plain),
            deliver: Some(Arc::new(Hand(sender))),
            limits: TopicLimits::default(),
        });
        Self { disk, store, clock, tasks, pipes, topics: topics.await.unwrap(), pushes }
    }

    /// As after a crash: nothing of the process is left, everything that was acknowledged is on disk.
    async fn reopened(self) -> Self {
        self.tasks.shutdown(Duration::from_secs(10)).await.unwrap();
        let Self { disk, store, clock, tasks: _, pipes, topics, pushes } = self;
        drop((pipes, topics, pushes, store));
        Self::open(disk, clock).await
    }

    async fn queue(&self, name: &str) -> QueueName {
        let name: QueueName = name.parse().unwrap();
        let fifo = name.is_fifo().then(Fifo::default);
        let settings = Settings { fifo, ..Settings::default() };
        self.pipes.create_queue(name.clone(), settings, BTreeMap::new(), Declared::AtRunTime).await.unwrap();
        name
    }

    async fn topic(&self, name: &str) -> TopicName {
        let name: TopicName = name.parse().unwrap();
        let fifo = name.is_fifo().then_some(FifoTopic { content_dedup: true, dedup_by_group: false });
        let settings = TopicSettings { fifo, ..TopicSettings::default() };
        self.topics.create(name.clone(), settings, BTreeMap::new(), Declared::AtRunTime).await.unwrap();
        name
    }

    async fn subscribe(
        &self,
        topic: &TopicName,
        endpoint: Endpoint,
        settings: SubscriptionSettings,
    ) -> Arc<Subscription> {
        let asked = Subscribe { endpoint, settings, owner: "me".to_owned() };
        self.topics.subscribe(topic, asked).await.unwrap().subscription
    }

    async fn receive(&self, queue: &QueueName) -> Vec<Delivery> {
        let want = Receive { max: 10, visibility_seconds: None, wait: Duration::ZERO, attempt: None };
        let queue = self.pipes.queue(queue).unwrap();
        let deliveries = queue.receive(want).await.unwrap();
        queue.delete(deliveries.iter().map(|delivery| delivery.receipt).collect()).await.unwrap();
        deliveries
    }

    async fn bodies(&self, queue: &QueueName) -> Vec<String> {
        let text = |delivery: &Delivery| String::from_utf8(delivery.message.body.to_vec()).unwrap();
        let mut bodies: Vec<_> = self.receive(queue).await.iter().map(text).collect();
        if !queue.is_fifo() {
            bodies.sort();
        }
        bodies
    }

    async fn publish(&self, topic: &TopicName, message: Publication) -> Published {
        self.topics.publish(topic, vec![message]).await.unwrap().remove(0).unwrap()
    }

    /// The next delivery to an address, answered like this.
    async fn pushed(&mut self, answer: Result<(), Undelivered>) -> Push {
        let (push, answered) = soon(self.pushes.recv()).await.unwrap();
        answered.send(answer).unwrap();
        push
    }
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("it should have happened by now")
}

fn message(body: &str) -> Publication {
    Publication { body: Bytes::from(body.to_owned()), ..Publication::default() }
}

fn in_group(body: &str, group: &str) -> Publication {
    Publication { group: Some(group.to_owned()), ..message(body) }
}

fn raw() -> SubscriptionSettings {
    SubscriptionSettings { raw: true, ..SubscriptionSettings::default() }
}

#[tokio::test]
async fn a_message_reaches_every_queue_that_wants_it() {
    let world = World::new().await;
    let topic = world.topic("orders").await;
    let (all, red) = (world.queue("all").await, world.queue("red").await);
    world.subscribe(&topic, Endpoint::Queue(all.clone()), SubscriptionSettings::default()).await;
    let filter = Some(Filter::parse("{\"color\": [\"red\"]}", Scope::Attributes).unwrap());
    world.subscribe(&topic, Endpoint::Queue(red.clone()), SubscriptionSettings { filter, ..raw() }).await;
    let value = AttributeValue::Text("red".to_owned());
    let attributes = vec![Attribute { name: "color".to_owned(), kind: "String".to_owned(), value }];
    world.publish(&topic, message("plain")).await;
    world.publish(&topic, Publication { attributes: attributes.clone(), ..message("rosy") }).await;
    assert_eq!(world.bodies(&all).await, ["orders None plain", "orders None rosy"]);
    let deliveries = world.receive(&red).await;
    assert_eq!(deliveries.len(), 1);
    assert_eq!(
        (&deliveries[0].message.body[..], &deliveries[0].message.attributes),
        (&b"rosy"[..], &attributes)
    );
    let nobody = world.topic("nobody").await;
    world.publish(&nobody, message("x")).await;
    let missing: TopicName = "missing".parse().unwrap();
    assert_eq!(
        world.topics.publish(&missing, vec![message("x")]).await,
        Err(TopicError::NoSuchTopic(missing.clone()))
    );
}

#[tokio::test]
async fn what_was_set_is_there_after_a_restart() {
    let world = World::new().await;
    let topic = world.topic("orders").await;
    let queue = world.queue("jobs").await;
    let there = world.subscribe(&topic, Endpoint::Queue(queue.clone()), raw()).await;
    let http =
        world.subscribe(&topic, Endpoint::Http("http://x/".into()), SubscriptionSettings::default()).await;
    world
        .topics
        .change(&topic, |settings, tags| {
            settings.display_name = "Orders".to_owned();
            tags.insert("team".to_owned(), "shop".to_owned());
            Ok::<_, CreateTopicError>(())
        })
        .await
        .unwrap();
    world.publish(&topic, message("before")).await;
    let gone = world.topic("gone").await;
    world.topics.delete(&gone).await.unwrap();
    let world = world.reopened().await;
    assert!(world.topics.topic(&gone).is_none());
    let topics = world.topics.topics(None, 10);
    assert_eq!(topics.len(), 1);
    assert_eq!((topics[0].settings().display_name.as_str(), topics[0].tags().len()), ("Orders", 1));
    let mut expected = vec![there.id, http.id];
    expected.sort();
    assert_eq!(topics[0].subscriptions().iter().map(|there| there.id).collect::<Vec<_>>(), expected);
    assert_eq!(world.topics.subscription(there.id), Some(there));
    assert_eq!(world.topics.subscription(http.id), Some(http));
    world.publish(&topic, message("after")).await;
    assert_eq!(world.bodies(&queue).await, ["after", "before"]);
}

#[tokio::test]
async fn an_address_is_asked_first_and_then_delivered_to() {
    let mut world = World::new().await;
    let topic = world.topic("orders").await;
    let there =
        world.subscribe(&topic, Endpoint::Https("https://x/".into()), SubscriptionSettings::default()).await;
    assert!(!there.is_confirmed());
    let question = world.pushed(Ok(())).await;
    assert_eq!((question.kind, &*question.url), (PushKind::Question, "https://x/"));
    world.publish(&topic, message("too early")).await;
    let token = String::from_utf8(question.body.to_vec()).unwrap();
    let other = world.topic("other").await;
    assert_eq!(world.topics.confirm(&other, &token, false).await, Err(ConfirmError::Token));
    assert_eq!(world.topics.confirm(&topic, "x", false).await, Err(ConfirmError::Token));
    let confirmed = world.topics.confirm(&topic, &token, true).await.unwrap();
    assert!(confirmed.is_confirmed() && confirmed.id == there.id);
    let published = world.publish(&topic, message("hello")).await;
    let push = world.pushed(Ok(())).await;
    assert_eq!((push.kind, push.tries, push.raw), (PushKind::Notification, 1, false));
    assert_eq!((&push.body[..], push.message_id), (&b"orders None hello"[..], published.id.to_string()));
}

/// An address that has answered.
async fn confirmed(world: &mut World, topic: &TopicName) -> SubscriptionId {
    let there = world.subscribe(topic, Endpoint::Http("http://x/".into()), raw()).await;
    let token = loop {
        let (push, answer) = soon(world.pushes.recv()).await.unwrap();
        let _ = answer.send(Ok(())); // nobody waits for that of what came twice while time was made to pass
        if (push.kind, push.subscription) == (PushKind::Question, there.id) {
            break push.body;
        }
    };
    world.topics.confirm(topic, std::str::from_utf8(&token).unwrap(), false).await.unwrap();
    there.id
}

#[tokio::test]
async fn an_address_is_told_of_the_end_and_can_have_the_subscription_back() {
    let mut world = World::new().await;
    let topic = world.topic("orders").await;
    let id = confirmed(&mut world, &topic).await;
    // One that waits for its next try when the end comes.
    world.publish(&topic, message("waits")).await;
    world.pushed(Err(Undelivered::Again("busy".to_owned()))).await;
    world.topics.unsubscribe(id, true).await.unwrap();
    assert!(world.topics.topic(&topic).unwrap().subscriptions().is_empty());
    assert!(world.topics.subscription(id).is_none() && world.topics.subscriptions(None, 9).is_empty());
    world.publish(&topic, message("nobody")).await;
    // It is told, whatever is killed meanwhile, and of nothing else.
    let mut world = world.reopened().await;
    assert!(world.topics.subscription(id).is_none());
    world.clock.advance(Duration::from_secs(121)); // the one that was killed may have had it in hand
    let farewell = world.pushed(Ok(())).await;
    assert_eq!((farewell.kind, farewell.subscription), (PushKind::Farewell, id));
    let token = String::from_utf8(farewell.body.to_vec()).unwrap();
    let back = world.topics.confirm(&topic, &token, false).await.unwrap();
    assert!(back.id == id && back.is_confirmed());
    world.publish(&topic, message("again")).await;
    assert_eq!(&world.pushed(Ok(())).await.body[..], b"again");
    let world = world.reopened().await;
    assert!(world.topics.subscription(id).is_some_and(|there| there.is_confirmed()));
}

#[tokio::test]
async fn whom_the_owner_ends_is_told_nothing_and_cannot_come_back() {
    let mut world = World::new().await;
    let topic = world.topic("orders").await;
    let there = world.subscribe(&topic, Endpoint::Http("http://x/".into()), raw()).await;
    let token = String::from_utf8(world.pushed(Ok(())).await.body.to_vec()).unwrap();
    world.topics.confirm(&topic, &token, false).await.unwrap();
    world.topics.unsubscribe(there.id, false).await.unwrap();
    assert!(world.pipes.queue(&crate::topic::subscription::outbox_name(there.id)).is_none());
    assert_eq!(world.topics.confirm(&topic, &token, false).await, Err(ConfirmError::Token));
}

#[tokio::test]
async fn what_has_ended_is_forgotten_after_two_days_or_with_a_new_subscription_or_its_topic() {
    let mut world = World::new().await;
    let topic = world.topic("orders").await;
    let outbox = |world: &World, id| world.pipes.queue(&crate::topic::subscription::outbox_name(id));
    let first = confirmed(&mut world, &topic).await;
    world.topics.unsubscribe(first, true).await.unwrap();
    let token = world.pushed(Ok(())).await.body;
    let second = confirmed(&mut world, &topic).await;
    assert!(second != first && outbox(&world, first).is_none());
    let token = std::str::from_utf8(&token).unwrap();
    assert_eq!(world.topics.confirm(&topic, token, false).await, Err(ConfirmError::Token));
    world.topics.unsubscribe(second, true).await.unwrap();
    world.pushed(Ok(())).await;
    soon(async {
        while outbox(&world, second).is_some() {
            world.clock.advance(Duration::from_secs(3600));
            tokio::task::yield_now().await;
        }
    })
    .await;
    let third = confirmed(&mut world, &topic).await;
    world.topics.unsubscribe(third, true).await.unwrap();
    world.topics.delete(&topic).await.unwrap();
    assert!(outbox(&world, third).is_none());
    let world = world.reopened().await;
    assert!(world.topics.topics(None, 9).is_empty() && outbox(&world, third).is_none());
}

#[tokio::test]
async fn a_delivery_is_tried_again_and_given_up_at_last() {
    let mut world = World::new().await;
    let topic = world.topic("orders").await;
    let dead = world.queue("dead").await;
    let retry =
        Some(Retry { retries: 2, immediate: 1, least_seconds: 40, most_seconds: 40, ..Retry::default() });
    let settings = SubscriptionSettings { retry, dead_letter: Some(dead.clone()), ..raw() };
    world.subscribe(&topic, Endpoint::Http("http://x/".into()), settings).await;
    let token = world.pushed(Ok(())).await.body;
    world.topics.confirm(&topic, std::str::from_utf8(&token).unwrap(), false).await.unwrap();
    let again = || Err(Undelivered::Again("busy".to_owned()));
    world.publish(&topic, message("hard")).await;
    assert_eq!(world.pushed(again()).await.tries, 1);
    let (second, answer) = soon(world.pushes.recv()).await.unwrap();
    assert_eq!(second.tries, 2, "at once");
    let commits = world.store.stats().commits;
    answer.send(again()).unwrap();
    // That it is to wait has to be on disk before time passes.
    soon(async {
        while world.store.stats().commits == commits {
            tokio::task::yield_now().await;
        }
    })
    .await;
    // The third comes when its delay is over, and not before: between three quarters of it and all of it.
    world.clock.advance(Duration::from_secs(29));
    tokio::task::yield_now().await;
    assert!(world.pushes.try_recv().is_err());
    world.clock.advance(Duration::from_secs(12));
    let third = soon(world.pushes.recv()).await.unwrap();
    assert_eq!(third.0.tries, 3);
    third.1.send(again()).unwrap();
    soon(async {
        while world.pipes.queue(&dead).unwrap().counts().visible == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(world.bodies(&dead).await, ["hard"]);
    // A refusal is final at once.
    world.publish(&topic, message("refused")).await;
    world.pushed(Err(Undelivered::Never("404".to_owned()))).await;
    soon(async {
        while world.pipes.queue(&dead).unwrap().counts().visible == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let dead_letter = world.receive(&dead).await.remove(0);
    assert_eq!((&dead_letter.message.body[..], dead_letter.message.attributes.len()), (&b"refused"[..], 0));
}

#[tokio::test]
async fn one_slow_address_keeps_nobody_waiting() {
    let mut world = World::new().await;
    let topic = world.topic("orders").await;
    let mut held = Vec::new();
    for url in ["http://slow/", "http://fast/"] {
        world.subscribe(&topic, Endpoint::Http(url.into()), raw()).await;
        let token = world.pushed(Ok(())).await.body;
        world.topics.confirm(&topic, std::str::from_utf8(&token).unwrap(), false).await.unwrap();
    }
    for number in 0..40 {
        world.publish(&topic, message(&number.to_string())).await;
    }
    let mut fast = 0;
    while fast < 40 {
        let (push, answer) = soon(world.pushes.recv()).await.unwrap();
        if &*push.url == "http://slow/" {
            held.push(answer); // never answered
        } else {
            fast += 1;
            answer.send(Ok(())).unwrap();
        }
    }
    assert!(held.len() <= crate::topic::IN_FLIGHT);
}

#[tokio::test]
async fn the_same_message_is_published_once_within_five_minutes_even_over_a_restart() {
    let world = World::new().await;
    let topic = world.topic("orders.fifo").await;
    let (ordered, plain) = (world.queue("jobs.fifo").await, world.queue("plain").await);
    world.subscribe(&topic, Endpoint::Queue(ordered.clone()), raw()).await;
    world.subscribe(&topic, Endpoint::Queue(plain.clone()), raw()).await;
    let first = world.publish(&topic, in_group("one", "g")).await;
    let again = world.publish(&topic, in_group("one", "h")).await;
    assert_eq!((again.id, again.sequence, again.duplicate), (first.id, first.sequence, true));
    let batch = vec![in_group("two", "g"), in_group("two", "g"), in_group("three", "g"), message("no group")];
    let outcomes = world.topics.publish(&topic, batch).await.unwrap();
    assert_eq!(outcomes[3], Err(PublishError::NoGroup));
    let [two, twin, three] = [0, 1, 2].map(|index| outcomes[index].clone().unwrap());
    assert!(twin.duplicate && twin.id == two.id && !three.duplicate);
    assert!(first.sequence < two.sequence && two.sequence < three.sequence);
    let world = world.reopened().await;
    let known = world.publish(&topic, in_group("three", "g")).await;
    assert_eq!((known.id, known.sequence, known.duplicate), (three.id, three.sequence, true));
    let four = world.publish(&topic, in_group("four", "g")).await;
    assert!(four.sequence > three.sequence);
    assert_eq!(world.bodies(&ordered).await, ["one", "two", "three", "four"]);
    assert_eq!(world.bodies(&plain).await, ["four", "one", "three", "two"]);
    world.clock.advance(Duration::from_secs(301));
    let new = world.publish(&topic, in_group("four", "g")).await;
    assert!(!new.duplicate && new.id != four.id);
}

#[tokio::test]
async fn two_who_publish_the_same_at_once_get_one_answer() {
    let world = World::new().await;
    let topic = world.topic("orders.fifo").await;
    let queue = world.queue("plain").await;
    world.subscribe(&topic, Endpoint::Queue(queue.clone()), raw()).await;
    let both = |group: &'static str| {
        let other = if group == "g" { "two" } else { "one" };
        let mine = if group == "g" { "one" } else { "two" };
        world.topics.publish(&topic, vec![in_group(mine, group), in_group(other, group)])
    };
    let (left, right) = soon(async { tokio::join!(both("g"), both("h")) }).await;
    let ids =
        |outcomes: Vec<Result<Published, PublishError>>| outcomes.into_iter().map(|one| one.unwrap().id);
    let (left, mut right): (Vec<_>, Vec<_>) = (ids(left.unwrap()).collect(), ids(right.unwrap()).collect());
    right.reverse();
    assert_eq!(left, right);
    assert_eq!(world.bodies(&queue).await, ["one", "two"]);
}

#[tokio::test]
async fn what_a_queue_cannot_take_is_dead_lettered_and_stops_nobody() {
    let world = World::new().await;
    let topic = world.topic("orders").await;
    let (gone, small, fine, dead) = (
        world.queue("gone").await,
        world.queue("small").await,
        world.queue("fine").await,
        world.queue("dead").await,
    );
    let small_queue = world.pipes.queue(&small).unwrap();
    small_queue.set(Settings { message_bytes: 1024, ..Settings::default() }).await.unwrap();
    for queue in [&gone, &small, &fine] {
        let settings = SubscriptionSettings { dead_letter: Some(dead.clone()), ..raw() };
        world.subscribe(&topic, Endpoint::Queue(queue.clone()), settings).await;
    }
    world.pipes.delete_queue(&gone).await.unwrap();
    let long = "x".repeat(2000);
    world.publish(&topic, message(&long)).await;
    assert_eq!(world.bodies(&fine).await, std::slice::from_ref(&long));
    assert_eq!(world.bodies(&dead).await, [long.clone(), long]);
    world.publish(&topic, message("short")).await;
    assert_eq!(world.bodies(&small).await, ["short"]);
}

#[tokio::test]
async fn the_same_again_is_no_error_and_something_else_is() {
    let world = World::new().await;
    let topic = world.topic("orders").await;
    let other = TopicSettings { display_name: "x".to_owned(), ..TopicSettings::default() };
    let create =
        |settings| world.topics.create(topic.clone(), settings, BTreeMap::new(), Declared::AtRunTime);
    assert_eq!(create(TopicSettings::default()).await, Ok(TopicCreated::Existed));
    assert_eq!(create(other).await, Err(CreateTopicError::Differs { what: "display_name" }));
    let fifo = TopicSettings { fifo: Some(FifoTopic::default()), ..TopicSettings::default() };
    assert_eq!(create(fifo).await, Err(CreateTopicError::Order));
    let queue = world.queue("jobs").await;
    let ask = |endpoint, settings| {
        let asked = Subscribe { endpoint, settings, owner: String::new() };
        async { world.topics.subscribe(&topic, asked).await.map(|done| done.existed) }
    };
    assert_eq!(ask(Endpoint::Queue(queue.clone()), raw()).await, Ok(false));
    assert_eq!(ask(Endpoint::Queue(queue.clone()), raw()).await, Ok(true));
    let default = SubscriptionSettings::default();
    assert_eq!(ask(Endpoint::Queue(queue), default.clone()).await, Err(SubscribeError::Differs));
    let ordered = Endpoint::Queue("jobs.fifo".parse().unwrap());
    assert_eq!(ask(ordered, default.clone()).await, Err(SubscribeError::QueueOrder));
    let function = Endpoint::Function("f".into());
    assert_eq!(ask(function, default.clone()).await, Err(SubscribeError::NotServed("a function")));
    let dead_letter = Some("dead.fifo".parse().unwrap());
    let wrong = SubscriptionSettings { dead_letter, ..default };
    let outcome = ask(Endpoint::Queue("b".parse().unwrap()), wrong).await;
    assert!(matches!(outcome, Err(SubscribeError::DeadLetterOrder(_))));
}

#[tokio::test]
async fn a_question_nobody_answers_is_forgotten_after_two_days() {
    let mut world = World::new().await;
    let topic = world.topic("orders").await;
    let there = world.subscribe(&topic, Endpoint::Http("http://x/".into()), raw()).await;
    let token = world.pushed(Ok(())).await.body;
    soon(async {
        while world.topics.subscription(there.id).is_some() {
            world.clock.advance(Duration::from_secs(3600));
            tokio::task::yield_now().await;
        }
    })
    .await;
    let token = std::str::from_utf8(&token).unwrap();
    assert!(world.topics.confirm(&topic, token, false).await.is_err());
}
