//! A request, the message that comes of it and the work on that message are one trace, without a library in any service.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::world::{LIMIT, World, text};

const APP: &str = r#"
pipes: { listen: "127.0.0.1:0" }
services:
  web:
    command: [ECHO]
    healthcheck: { http: /healthz, interval: 1s }
    routes:
      - GET /send/{queue}/{text}: { timeout: 5s }
    topics: [placed]
  worker:
    command: [ECHO]
    healthcheck: { http: /healthz, interval: 1s }
    calls: { web: {} }
    queues:
      jobs: { deliver: POST /call/web/headers, allow: { web: [send] } }
      refused: { deliver: POST /note/refused, dead_letter: 1 }
      heard: { from: web/placed, deliver: POST /note/heard }
"#;

const TRACE: &str = "5759e988bd862e3fe1be46a994272793";
const CLIENT: &str = "53995c3f42cd8ad8";

/// A line of a log: the words before its fields, and the fields.
#[derive(Clone, Debug)]
struct Line {
    words: String,
    fields: BTreeMap<String, String>,
}

impl Line {
    fn read(text: &str) -> Self {
        let (fields, words): (Vec<&str>, Vec<&str>) = text.split(' ').partition(|word| word.contains('='));
        let fields = fields.iter().filter_map(|field| field.split_once('='));
        let fields = fields.map(|(name, value)| (name.to_owned(), value.trim_matches('"').to_owned()));
        Self { words: words.join(" "), fields: fields.collect() }
    }

    fn get(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }
}

/// The one line of a log that is of this trace and begins like this.
fn line(world: &World, log: &str, trace: &str, begin: &str) -> Line {
    let deadline = Instant::now() + LIMIT;
    loop {
        let out = world.ok(&["logs", log, "--format", "json"]);
        let lines: Vec<Line> = out
            .lines()
            .map(|line| {
                Line::read(serde_json::from_str::<serde_json::Value>(line).unwrap()["text"].as_str().unwrap())
            })
            .filter(|line| line.words.starts_with(begin) && (trace.is_empty() || line.get("trace") == trace))
            .collect();
        if let [only] = &lines[..] {
            return only.clone();
        }
        assert!(Instant::now() < deadline, "`{begin}` of {trace} in {log}: {lines:?} of\n{out}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_request_its_message_and_the_work_on_it_are_one_trace() {
    let world = World::new(APP);
    world.ok(&["up", "-d", "--wait"]);
    let gateway = world.status().unwrap().gateway[0].trim_start_matches("http://").to_owned();
    let mut stream = TcpStream::connect(&gateway).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    write!(
        stream,
        "GET /send/jobs/hello HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntraceparent: 00-{TRACE}-{CLIENT}-01\r\n\r\n"
    )
    .unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert!(text(&answer).contains("MessageId"), "{}", text(&answer));

    let request = line(&world, "gateway", TRACE, "200 GET /send/jobs/hello");
    assert_eq!(request.get("parent"), CLIENT);
    let send = line(&world, "pipes", TRACE, "ok send jobs");
    assert_eq!((send.get("parent"), send.get("messages")), (request.get("span"), "1"));
    let deliver = line(&world, "pipes", TRACE, "ok deliver jobs");
    assert_eq!(deliver.get("parent"), send.get("span"));
    assert_eq!(deliver.get("message"), send.get("message"));
    let work = line(&world, "mesh", TRACE, "200 POST /call/web/headers");
    assert_eq!((work.get("parent"), work.get("caller")), (deliver.get("span"), "worker"));
    let further = line(&world, "mesh", TRACE, "200 GET /headers");
    assert_eq!(further.get("parent"), work.get("span"));
    world.ok(&["down"]);
}

#[test]
fn a_message_that_nobody_gave_a_trace_has_one_up_to_the_dead_letters() {
    let world = World::new(APP);
    std::fs::write(world.path().join("refused.refuse"), "").unwrap();
    world.ok(&["up", "-d", "--wait"]);
    world.ok(&["queue", "send", "refused", "poison"]);
    let send = line(&world, "pipes", "", "ok send refused");
    assert!(!send.fields.contains_key("parent") && send.get("trace").len() == 32, "{send:?}");
    let deliver = line(&world, "pipes", send.get("trace"), "500 deliver refused");
    assert_eq!(deliver.get("parent"), send.get("span"));
    let redrive = line(&world, "pipes", send.get("trace"), "ok redrive refused");
    assert_eq!((redrive.get("parent"), redrive.get("to")), (send.get("span"), "refused-dead"));
    assert_eq!(redrive.get("message"), send.get("message"));
    world.ok(&["down"]);
}

#[test]
fn what_is_published_by_hand_has_a_trace_that_goes_on_with_whoever_hears_it() {
    let world = World::new(APP);
    world.ok(&["up", "-d", "--wait"]);
    world.ok(&["topic", "publish", "placed", "order 7"]);
    let publish = line(&world, "pipes", "", "ok publish placed");
    let deliver = line(&world, "pipes", publish.get("trace"), "ok deliver heard");
    assert_eq!(deliver.get("parent"), publish.get("span"));
    let work = line(&world, "mesh", publish.get("trace"), "200 POST /note/heard");
    assert_eq!(work.get("parent"), deliver.get("span"));
    world.ok(&["down"]);
}
