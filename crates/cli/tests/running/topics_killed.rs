//! Topics of a node that is killed at random moments: what was acknowledged is where it belongs, and nowhere else.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::bookshop::Dice;
use crate::notified::{Address, arn, call, face, subscribe};
use crate::world::{self, LIMIT, World, kill};

const APP: &str = r#"
pipes: { listen: "127.0.0.1:0" }
services:
  orders:
    command: [ECHO]
    topics: { placed: {}, steps: { fifo: true } }
    queues:
      all: { from: orders/placed }
      large: { from: { topic: orders/placed, raw: true, filter: { total: [{ numeric: [">=", 50] }] } } }
      refunds: { from: { topic: orders/placed, raw: true, filter_scope: body, filter: { kind: [refund] } } }
      steps-told: { fifo: true, from: orders/steps }
      steps-raw: { fifo: true, from: { topic: orders/steps, raw: true, filter: { half: ["odd"] } } }
"#;

/// For how long the node is killed again and again.
const STORM: Duration = Duration::from_secs(9);
/// Who publishes without order, and how many groups have one.
const HANDS: u64 = 2;
const GROUPS: u64 = 2;
/// Between two publishes of one hand.
const PACE: Duration = Duration::from_millis(4);

/// Message `n` without order, and what the filters see of it.
fn total(n: u64) -> u64 {
    n * 37 % 100
}

fn is_refund(n: u64) -> bool {
    n % 3 == 1
}

/// Whether a publish was acknowledged.
fn publish(
    address: &str,
    topic: &str,
    message: &str,
    name: &str,
    kind: &str,
    value: &str,
    more: &[(&str, &str)],
) -> bool {
    let topic = arn(topic);
    let attribute = [
        ("TopicArn", &*topic),
        ("Message", message),
        ("MessageAttributes.entry.1.Name", name),
        ("MessageAttributes.entry.1.Value.DataType", kind),
        ("MessageAttributes.entry.1.Value.StringValue", value),
    ];
    let answer = call(address, "Publish", &[&attribute[..], more].concat());
    std::thread::sleep(PACE);
    answer.is_ok_and(|answer| answer.status == 200 && answer.body.ends_with("</PublishResponse>"))
}

/// Publishes until it is over; which were acknowledged.
fn without_order(address: &str, next: &AtomicU64, over: &AtomicBool, acknowledged: &Mutex<BTreeSet<u64>>) {
    while !over.load(Ordering::Relaxed) {
        let n = next.fetch_add(1, Ordering::Relaxed);
        let message = json!({ "n": n, "kind": if is_refund(n) { "refund" } else { "order" } }).to_string();
        if publish(address, "placed", &message, "total", "Number", &total(n).to_string(), &[]) {
            acknowledged.lock().unwrap().insert(n);
        }
    }
}

/// Publishes to a group, each until it is acknowledged, until it is over; how many were.
fn in_order(address: &str, group: u64, over: &AtomicBool) -> u64 {
    let (group, mut n) = (format!("g{group}"), 0);
    let deadline = Instant::now() + STORM + LIMIT;
    while !over.load(Ordering::Relaxed) {
        let (message, half) = (format!("{group} {n}"), if n % 2 == 1 { "odd" } else { "even" });
        let dedup = format!("{group}-{n}");
        let order = [("MessageGroupId", &*group), ("MessageDeduplicationId", &*dedup)];
        while !publish(address, "steps.fifo", &message, "half", "String", half, &order) {
            assert!(Instant::now() < deadline, "the node does not come back");
        }
        n += 1;
    }
    n
}

/// One call of SQS.
fn sqs(address: &str, action: &str, input: &Value) -> Value {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let body = input.to_string();
    write!(
        stream,
        "POST / HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\nx-amz-target: AmazonSQS.{action}\r\n\
         content-type: application/x-amz-json-1.0\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let answer = world::answer(&bytes).unwrap();
    assert_eq!(answer.status, 200, "{action}: {}", answer.body);
    serde_json::from_str(&answer.body).unwrap()
}

/// Everything in a queue, in the order in which it is received.
fn drain(address: &str, queue: &str) -> Vec<String> {
    let url = format!("http://{address}/000000000000/{queue}");
    let mut bodies = Vec::new();
    loop {
        let received = sqs(address, "ReceiveMessage", &json!({ "QueueUrl": url, "MaxNumberOfMessages": 10 }));
        let Some(messages) = received["Messages"].as_array().filter(|messages| !messages.is_empty()) else {
            return bodies;
        };
        let entry = |(at, one): (usize, &Value)| json!({ "Id": at.to_string(), "ReceiptHandle": one["ReceiptHandle"] });
        let entries: Vec<Value> = messages.iter().enumerate().map(entry).collect();
        bodies.extend(messages.iter().map(|one| one["Body"].as_str().unwrap().to_owned()));
        let deleted = sqs(address, "DeleteMessageBatch", &json!({ "QueueUrl": url, "Entries": entries }));
        assert_eq!(deleted["Successful"].as_array().map(Vec::len), Some(messages.len()), "{deleted}");
    }
}

/// What was published, from an envelope.
fn told(envelope: &str) -> String {
    serde_json::from_str::<Value>(envelope).unwrap()["Message"].as_str().unwrap().to_owned()
}

fn number(message: &str) -> u64 {
    serde_json::from_str::<Value>(message).unwrap()["n"].as_u64().unwrap()
}

#[test]
fn what_was_published_is_where_it_belongs_however_often_the_node_is_killed() {
    let world = World::new(APP);
    world.ok(&["up", "-d", "--wait"]);
    let (address, hook) = (face(&world), Address::listen());
    subscribe(&world, "placed", &hook, &[("FilterPolicy", r#"{"total":[{"numeric":["<",30]}]}"#)]);
    let (mut dice, seed) = Dice::of_this_run();
    println!("ATOLL_SEED={seed} kills in the same order");
    let (over, next, acknowledged) = (AtomicBool::new(false), AtomicU64::new(0), Mutex::default());
    let mut kills = 0;
    let groups: Vec<u64> = std::thread::scope(|scope| {
        for _ in 0..HANDS {
            scope.spawn(|| without_order(&address, &next, &over, &acknowledged));
        }
        let hands: Vec<_> = (0..GROUPS)
            .map(|group| {
                scope.spawn({
                    let (address, over) = (&address, &over);
                    move || in_order(address, group, over)
                })
            })
            .collect();
        let end = Instant::now() + STORM;
        while Instant::now() < end {
            std::thread::sleep(Duration::from_millis(30 + dice.throw(400)));
            kill(world.node_pid(), "KILL");
            world.ok(&["up", "-d", "--wait"]);
            kills += 1;
        }
        over.store(true, Ordering::Relaxed);
        hands.into_iter().map(|hand| hand.join().unwrap()).collect()
    });
    let acknowledged: BTreeSet<u64> = acknowledged.into_inner().unwrap();
    println!("{kills} kills; {} of {} and {groups:?} acknowledged", acknowledged.len(), next.into_inner());
    assert!(kills >= 3 && acknowledged.len() > 50 && groups.iter().all(|count| *count > 10));
    assert_eq!(face(&world), address);

    // Without order: at least once, wherever it is wanted; and what was not acknowledged is everywhere or nowhere.
    let numbers = |bodies: Vec<String>| bodies.iter().map(|body| number(body)).collect::<BTreeSet<u64>>();
    let all = numbers(drain(&address, "all").iter().map(|body| told(body)).collect());
    let missing: Vec<_> = acknowledged.difference(&all).collect();
    assert!(missing.is_empty(), "lost: {missing:?}");
    let wanted = |by: fn(u64) -> bool| all.iter().copied().filter(|n| by(*n)).collect::<BTreeSet<u64>>();
    assert_eq!(numbers(drain(&address, "large")), wanted(|n| total(n) >= 50));
    assert_eq!(numbers(drain(&address, "refunds")), wanted(is_refund));

    // An address: what it has not heard yet, because the node was killed meanwhile, waits for it.
    let heard: BTreeSet<u64> = hook.all()[1..].iter().map(|one| number(&told(&one.body))).collect();
    let for_hook = wanted(|n| total(n) < 30);
    assert!(heard.is_subset(&for_hook), "{:?}", heard.difference(&for_hook));
    let shown: api::TopicDetail =
        serde_json::from_str(&world.ok(&["topic", "show", "placed", "--format", "json"])).unwrap();
    let waiting = shown.subscriptions.iter().find_map(|one| one.waiting).unwrap();
    let heard_by_now: BTreeSet<u64> = hook.all()[1..].iter().map(|one| number(&told(&one.body))).collect();
    let unheard = for_hook.difference(&heard).count() as u64;
    assert!(
        unheard <= waiting + (heard_by_now.len() - heard.len()) as u64,
        "{unheard} unheard, {waiting} wait"
    );

    // In order: once each, one behind the other.
    let steps: Vec<String> = drain(&address, "steps-told.fifo").iter().map(|body| told(body)).collect();
    let mut by_group: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for step in steps
        .iter()
        .chain(&drain(&address, "steps-raw.fifo").iter().map(|raw| format!("raw-{raw}")).collect::<Vec<_>>())
    {
        let (group, n) = step.split_once(' ').unwrap();
        by_group.entry(group.to_owned()).or_default().push(n.parse().unwrap());
    }
    for (group, count) in groups.iter().enumerate() {
        let (every, odd): (Vec<u64>, Vec<u64>) =
            ((0..*count).collect(), (0..*count).filter(|n| n % 2 == 1).collect());
        assert_eq!(by_group[&format!("g{group}")], every);
        assert_eq!(by_group[&format!("raw-g{group}")], odd);
    }
    world.ok(&["down"]);
    world.until_nothing_lives();
}
