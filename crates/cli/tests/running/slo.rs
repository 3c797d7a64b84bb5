//! What is promised is counted, and who is to be told is told.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::{Value, json};

use crate::telemetry::{post, until, variable};
use crate::world::{World, text};

/// Takes what is posted; refuses the first, so that it must come again.
fn webhook() -> (String, Receiver<Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let (tell, told) = channel();
    std::thread::spawn(move || {
        let mut status = "503 Service Unavailable";
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let (mut request, mut buffer) = (Vec::new(), [0; 4096]);
            let body = loop {
                let read = stream.read(&mut buffer).unwrap();
                request.extend_from_slice(&buffer[..read]);
                let seen = text(&request);
                let (head, body) = seen.split_once("\r\n\r\n").unwrap_or((&seen, ""));
                let length = head.lines().find_map(|line| {
                    line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse::<usize>().ok()
                });
                if read == 0 || length == Some(body.len()) {
                    break body.to_owned();
                }
            };
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            stream.write_all(answer.as_bytes()).unwrap();
            if status.starts_with("200") && tell.send(serde_json::from_str(&body).unwrap()).is_err() {
                return;
            }
            status = "200 OK";
        }
    });
    (url, told)
}

/// Takes letters; is too busy for the first, so that it must come again.
fn mailbox() -> (String, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = listener.local_addr().unwrap().to_string();
    let (tell, told) = channel();
    std::thread::spawn(move || {
        let mut busy = true;
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            stream.write_all(b"220 here\r\n").unwrap();
            while let Some(Ok(line)) = lines.next() {
                let answer = match line.as_str() {
                    "DATA" if busy => "451 busy",
                    "DATA" => "354 go on",
                    _ => "250 well",
                };
                busy &= line != "DATA";
                if stream.write_all(format!("{answer}\r\n").as_bytes()).is_err() {
                    break;
                }
                if answer.starts_with("354") {
                    let letter: Vec<String> =
                        lines.by_ref().map_while(Result::ok).take_while(|line| line != ".").collect();
                    if stream.write_all(b"250 taken\r\n").is_err() || tell.send(letter.join("\n")).is_err() {
                        return;
                    }
                }
            }
        }
    });
    (server, told)
}

#[test]
fn a_promise_that_breaks_is_seen_and_told() {
    let (url, told) = webhook();
    let (server, letters) = mailbox();
    let world = World::new(&format!(
        r#"
telemetry:
  grpc: "127.0.0.1:0"
  http: "127.0.0.1:0"
  alerts: {{ webhook: "{url}", topic: told,
    mail: {{ server: "{server}", tls: off, from: Atoll <atoll@shop.example>, to: [oncall@shop.example] }}, rules: {{
    declined: {{ ask: "sum(declined_cards) > 2" }},
    no-revenue: {{ ask: "sum(increase(revenue[1h])) < 100" }} }} }}
pipes: {{ listen: "127.0.0.1:0" }}
services:
  front:
    command: [ECHO]
    healthcheck: {{ http: /healthz, interval: 1s }}
    slo: {{ availability: 99%, latency: "90% < 10s", window: 1d }}
    measures: {{ declined_cards: {{ text: card declined }}, revenue: {{ field: amount, text: order placed }} }}
    topics: [told]
    queues: {{ mail: {{ from: told }} }}
    routes:
      - GET /call/{{name}}: {{ timeout: 5s, slo: {{ availability: 99.9%, window: 7d }} }}
      - GET /late/{{ms}}: {{ timeout: 100ms, retry: 0, breaker: off }}
    calls: {{ back: {{}} }}
  back:
    command: [ECHO]
    healthcheck: {{ http: /healthz, interval: 1s }}
"#
    ));
    world.ok(&["up", "-d", "--wait"]);
    for _ in 0..5 {
        assert_eq!(world.get("/call/back").status, 200);
    }
    let endpoint = variable(&world, "front-1", "OTEL_EXPORTER_OTLP_ENDPOINT");
    let record = json!({ "severityNumber": 17, "body": { "stringValue": "the card declined" } });
    let resource = json!({ "attributes": [{ "key": "service.name", "value": { "stringValue": "front" } }] });
    let logs = json!({ "resourceLogs": [{ "resource": resource,
        "scopeLogs": [{ "logRecords": [record, record, record] }] }] });
    let sent = post(&format!("{endpoint}/v1/logs"), "application/json", logs.to_string().as_bytes());
    assert!(sent.starts_with("HTTP/1.1 200"), "{sent}");
    for _ in 0..12 {
        assert_eq!(world.get("/late/1000").status, 504);
    }
    let named = |slos: &Value, name: &str| {
        slos.as_array().into_iter().flatten().find(|slo| slo["name"] == name).cloned().unwrap_or_default()
    };
    let slos = until(&world, &["slo", "ls"], |slos| {
        let front = named(slos, "front availability");
        front["bad"].as_u64() >= Some(10) && front["firing"]["urgency"] == "page"
    });
    assert!(named(&slos, "front availability")["budget_left"].as_f64().unwrap() < 0.0, "{slos}");
    let route = named(&slos, "front GET /call/{name} availability");
    assert_eq!((&route["bad"], &route["total"], &route["budget_left"]), (&json!(0), &json!(5), &json!(1.0)));
    let latency = named(&slos, "front latency");
    assert_eq!((&latency["total"], &latency["bad"]), (&json!(5), &json!(0)));
    // The alert of the promise and those of the rules, of which one says that nothing was logged.
    let mut names = Vec::new();
    while names.len() < 3 {
        let posted = told.recv_timeout(Duration::from_secs(60)).expect("an alert is posted");
        assert_eq!((&posted["version"], &posted["status"]), (&json!("4"), &json!("firing")));
        let labels = &posted["alerts"][0]["labels"];
        names.push(labels["alertname"].as_str().unwrap().to_owned());
    }
    names.sort();
    assert_eq!(names, ["declined", "front availability", "no-revenue"]);
    let mut subjects = Vec::new();
    while subjects.len() < 3 {
        let letter = letters.recv_timeout(Duration::from_secs(60)).expect("a letter comes");
        assert!(
            letter.contains("\nFrom: \"Atoll\" <atoll@shop.example>\n")
                || letter.contains("From: Atoll <atoll@shop.example>\n"),
            "{letter}"
        );
        assert!(letter.contains("/objectives"), "{letter}");
        subjects.extend(letter.lines().find_map(|line| line.strip_prefix("Subject: ").map(str::to_owned)));
    }
    subjects.sort();
    assert!(subjects[0].starts_with("[world] page: declined: 3"), "{subjects:?}");
    assert!(subjects[1].starts_with("[world] page: front availability: the budget burns"), "{subjects:?}");
    assert!(subjects[2].starts_with("[world] page: no-revenue: 0"), "{subjects:?}");
    until(&world, &["queue", "show", "mail"], |queue| queue["queue"]["visible"].as_u64() >= Some(2));
    let shown = world.ok(&["slo", "show", "front", "availability"]);
    assert!(shown.contains("alert: page") && shown.contains("budget:"), "{shown}");
    assert!(world.ok(&["ps"]).contains("page for"));
    let none = world.fails(1, &["slo", "show", "nobody"]);
    assert!(none.contains("A0827"), "{none}");
    // What was counted outlives the node.
    world.ok(&["down"]);
    world.ok(&["up", "-d", "--wait"]);
    until(&world, &["slo", "ls"], |slos| named(slos, "front availability")["bad"].as_u64() >= Some(10));
    world.ok(&["down"]);
}
