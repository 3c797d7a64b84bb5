//! Queues of a running app: what was acknowledged is there whatever is killed, and is handed to services.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use crate::world::{LIMIT, World, kill};

const APP: &str = r#"
pipes: { listen: "127.0.0.1:0" }
services:
  web:
    command: [ECHO]
    healthcheck: { http: /healthz, interval: 1s }
    queues:
      jobs: { dead_letter: 3 }
      first.fifo: {}
"#;

const PUSHED: &str = r#"
pipes: { listen: "127.0.0.1:0" }
services:
  worker:
    command: [ECHO]
    scale: 2
    healthcheck: { http: /healthz, interval: 1s }
    queues:
      notes: { deliver: POST /note/seen, dead_letter: 2 }
"#;

fn app(text: &str) -> World {
    World::new(&text.replace("first.fifo: {}", "first: { fifo: true }"))
}

fn bodies(world: &World, arguments: &[&str]) -> Vec<String> {
    let out = world.ok(&[&["queue"], arguments, &["--format", "json"]].concat());
    let messages: Vec<serde_json::Value> = serde_json::from_str(&out).unwrap();
    messages.iter().map(|message| message["body"].as_str().unwrap().to_owned()).collect()
}

fn counts(world: &World, queue: &str) -> (u64, u64) {
    let out = world.ok(&["queue", "show", queue, "--format", "json"]);
    let shown: serde_json::Value = serde_json::from_str(&out).unwrap();
    let count = |name: &str| shown["queue"][name].as_u64().unwrap();
    (count("visible"), count("in_flight"))
}

/// Lines of a file that services write to.
fn noted(world: &World) -> Vec<String> {
    let text = fs::read_to_string(world.path().join("seen")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

pub(crate) fn until(what: &str, done: impl Fn() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !done() {
        assert!(Instant::now() < deadline, "{what}: not within {LIMIT:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn what_was_sent_is_there_after_the_node_was_killed_and_what_was_deleted_is_not() {
    let world = app(APP);
    world.ok(&["up", "-d", "--wait"]);
    for body in ["one", "two", "three"] {
        world.ok(&["queue", "send", "jobs", body, "-a", "kind=test"]);
    }
    assert_eq!(bodies(&world, &["receive", "jobs"]), ["one"]);
    kill(world.node_pid(), "KILL");
    world.ok(&["up", "-d", "--wait"]);
    assert_eq!(bodies(&world, &["peek", "jobs"]), ["two", "three"]);
    let rest: BTreeSet<String> = bodies(&world, &["receive", "jobs", "-n", "10"]).into_iter().collect();
    assert_eq!(rest, ["two".to_owned(), "three".to_owned()].into());
    assert_eq!(counts(&world, "jobs"), (0, 0));
    world.ok(&["down"]);
    world.ok(&["up", "-d", "--wait"]);
    assert_eq!(bodies(&world, &["peek", "jobs"]), [""; 0]);
    world.ok(&["down"]);
    world.until_nothing_lives();
}

#[test]
fn a_queue_that_keeps_order_wants_a_group_and_knows_what_was_sent_twice() {
    let world = app(APP);
    world.ok(&["up", "-d", "--wait"]);
    let refused = world.fails(1, &["queue", "send", "first.fifo", "x"]);
    assert!(refused.contains("A0629"), "{refused}");
    for (body, id) in [("a", "1"), ("b", "2"), ("a", "1")] {
        world.ok(&["queue", "send", "first.fifo", body, "--group", "g", "--dedup", id]);
    }
    assert_eq!(bodies(&world, &["receive", "first.fifo", "-n", "10"]), ["a", "b"]);
    let unknown = world.fails(1, &["queue", "show", "nothing"]);
    assert!(unknown.contains("A0626"), "{unknown}");
    let listed = world.ok(&["queue", "ls"]);
    assert!(listed.contains("jobs-dead after 3") && listed.contains("first.fifo"), "{listed}");
    world.ok(&["down"]);
}

#[test]
fn a_message_is_handed_to_the_service_and_what_it_refuses_is_a_dead_letter_until_it_is_moved_back() {
    let world = app(PUSHED);
    world.ok(&["up", "-d", "--wait"]);
    for number in 0..5 {
        world.ok(&["queue", "send", "notes", &format!("note {number}")]);
    }
    until("all are handed over", || noted(&world).len() >= 5);
    until("and deleted", || counts(&world, "notes") == (0, 0));
    let seen: BTreeSet<String> = noted(&world).into_iter().collect();
    assert_eq!(seen, (0..5).map(|number| format!("note {number}")).collect());

    let refuse = world.path().join("seen.refuse");
    fs::write(&refuse, "").unwrap();
    world.ok(&["queue", "send", "notes", "poison"]);
    until("it is a dead letter", || counts(&world, "notes-dead") == (1, 0));
    assert_eq!(counts(&world, "notes"), (0, 0));
    fs::remove_file(&refuse).unwrap();
    world.ok(&["queue", "redrive", "notes-dead"]);
    until("it is handed over after all", || noted(&world).contains(&"poison".to_owned()));
    world.ok(&["down"]);
}

#[test]
fn what_no_instance_has_seen_is_no_dead_letter_however_long_none_is_there() {
    let world = app(PUSHED);
    world.ok(&["up", "-d", "--wait"]);
    world.ok(&["scale", "worker=0"]);
    world.ok(&["queue", "send", "notes", "late"]);
    let tried = || world.ok(&["logs", "pipes"]).matches("503 deliver notes").count();
    until("it was tried more often than it may be received", || tried() > 4);
    assert_eq!(counts(&world, "notes-dead"), (0, 0));
    world.ok(&["scale", "worker=1"]);
    until("it is handed over", || noted(&world) == ["late"]);
    world.ok(&["down"]);
}

#[test]
fn every_message_is_handed_over_whatever_is_killed() {
    let world = app(&PUSHED.replace("dead_letter: 2", "dead_letter: off, visibility: 2s"));
    world.ok(&["up", "-d", "--wait"]);
    let mut accepted = BTreeSet::new();
    for round in 0..4 {
        for number in 0..10 {
            let body = format!("{round}-{number}");
            world.ok(&["queue", "send", "notes", &body]);
            accepted.insert(body);
            if number == 5 {
                match round % 2 {
                    0 => kill(world.node_pid(), "KILL"),
                    _ => world.pids().iter().for_each(|(_, pid)| kill(*pid, "KILL")),
                }
                world.ok(&["up", "-d", "--wait"]);
            }
        }
    }
    until("every accepted message was handed over", || {
        accepted.is_subset(&noted(&world).into_iter().collect())
    });
    until("and none is left", || counts(&world, "notes") == (0, 0));
    world.ok(&["down"]);
    world.until_nothing_lives();
}

#[test]
fn an_upgrade_hands_the_queues_over() {
    let world = app(APP);
    world.ok(&["up", "-d", "--wait"]);
    world.ok(&["queue", "send", "jobs", "before"]);
    world.ok(&["upgrade"]);
    until("the new node has the queues", || world.run(&["queue", "show", "jobs"]).status.success());
    assert_eq!(bodies(&world, &["receive", "jobs"]), ["before"]);
    world.ok(&["queue", "send", "jobs", "after"]);
    assert_eq!(bodies(&world, &["receive", "jobs"]), ["after"]);
    world.ok(&["down"]);
    world.until_nothing_lives();
}

#[test]
fn another_app_on_the_same_port_is_told_who_holds_it_and_what_ran_goes_on() {
    let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = holder.local_addr().unwrap().port();
    let world = app("services:\n  web:\n    command: [ECHO]\n    routes: [\"/{*path}\"]\n");
    world.ok(&["up", "-d", "--wait"]);
    world.write(&format!(
        "pipes: {{ listen: \"127.0.0.1:{port}\" }}\nservices:\n  web:\n    command: [ECHO]\n    routes: [\"/{{*path}}\"]\n    queues: [jobs]\n"
    ));
    let refused = world.fails(1, &["up", "-d"]);
    assert!(refused.contains("A0662"), "{refused}");
    assert_eq!(world.get("/").status, 200);
    // As it is told to do: a copy beside others takes any port.
    world.ok(&["up", "-d", "--wait", "--isolated"]);
    let pipes = world.status().unwrap().pipes.unwrap();
    assert!(!pipes.ends_with(&format!(":{port}")), "{pipes}");
    world.ok(&["queue", "send", "jobs", "one"]);
    world.ok(&["down"]);
}

#[test]
fn a_topic_of_the_file_brings_what_is_published_to_every_queue_that_takes_it() {
    let world = app(r#"
pipes: { listen: "127.0.0.1:0" }
services:
  orders:
    command: [ECHO]
    topics: [order-placed]
  settlement:
    command: [ECHO]
    queues:
      settle: { from: orders/order-placed }
      large: { from: { topic: orders/order-placed, raw: true, filter_scope: body, filter: { total: [{ numeric: [">=", 100] }] } } }
"#);
    world.ok(&["up", "-d", "--wait"]);
    let publish = |total: u32| {
        let body = format!(
            "Action=Publish&Version=2010-03-31&TopicArn=arn:aws:sns:us-east-1:000000000000:order-placed&Message=%7B%22total%22:{total}%7D"
        );
        let address = world.status().unwrap().pipes.unwrap().replace("http://", "");
        let answer = post(&address, "/", "application/x-www-form-urlencoded", &body);
        assert!(answer.contains("200 OK") && answer.contains("<MessageId>"), "{answer}");
    };
    publish(10);
    publish(200);
    let settle = bodies(&world, &["receive", "settle", "-n", "10"]);
    assert_eq!(settle.len(), 2);
    let envelope: serde_json::Value = serde_json::from_str(&settle[0]).unwrap();
    assert_eq!(
        (&envelope["Type"], &envelope["Message"]),
        (&"Notification".into(), &r#"{"total":10}"#.into())
    );
    assert_eq!(bodies(&world, &["receive", "large"]), [r#"{"total":200}"#]);
    assert_eq!(counts(&world, "large"), (0, 0));
    world.ok(&["down"]);
}

pub(crate) fn post(address: &str, path: &str, content_type: &str, body: &str) -> String {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    let length = body.len();
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_backup_of_a_running_app_is_restored_whole_and_a_damaged_store_is_said_to_be() {
    let world = app(APP);
    world.ok(&["up", "-d", "--wait"]);
    world.ok(&["queue", "send", "jobs", "kept"]);
    let told = world.ok(&["store", "backup", "copy"]);
    assert!(told.contains("keys"), "{told}");
    world.ok(&["queue", "send", "jobs", "later"]);
    let busy = world.fails(1, &["store", "verify"]);
    assert!(busy.contains("A090"), "{busy}");
    world.ok(&["down"]);
    let whole = world.ok(&["store", "verify"]);
    assert!(whole.contains("the store is whole"), "{whole}");
    assert!(world.fails(1, &["store", "restore", "copy"]).contains("A09"), "it has a store");
    fs::remove_dir_all(world.state_dir().join("store")).unwrap();
    world.ok(&["store", "restore", "copy"]);
    world.ok(&["up", "-d", "--wait"]);
    assert_eq!(bodies(&world, &["peek", "jobs"]), ["kept"]);
    world.ok(&["down"]);
}
