//! Whatever is sent, somebody answers, and says that it was the sender's fault.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue};
use kit::{SystemClock, Tasks};
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::gate::{AllowAll, Gatekeeper, RequestView};
use crate::request_id::RequestIds;

const MEMBERS: &[&str] = &[
    "QueueUrl",
    "QueueName",
    "MessageBody",
    "DelaySeconds",
    "MessageAttributes",
    "MessageSystemAttributes",
    "MessageDeduplicationId",
    "MessageGroupId",
    "Entries",
    "Id",
    "ReceiptHandle",
    "VisibilityTimeout",
    "AttributeNames",
    "MessageSystemAttributeNames",
    "MessageAttributeNames",
    "MaxNumberOfMessages",
    "WaitTimeSeconds",
    "ReceiveRequestAttemptId",
    "Attributes",
    "tags",
    "Tags",
    "TagKeys",
    "QueueNamePrefix",
    "MaxResults",
    "NextToken",
    "Label",
    "AWSAccountIds",
    "Actions",
    "SourceArn",
    "DestinationArn",
    "MaxNumberOfMessagesPerSecond",
    "TaskHandle",
    "DataType",
    "StringValue",
    "BinaryValue",
    "AWSTraceHeader",
    "RedrivePolicy",
    "RedriveAllowPolicy",
    "Policy",
    "FifoQueue",
];

const TEXTS: &[&str] = &[
    "",
    "jobs",
    "jobs.fifo",
    "http://h/000000000000/jobs",
    "/000000000000/jobs.fifo",
    "http://h/000000000000/gone",
    "All",
    ".*",
    "String",
    "Number.x",
    "Binary",
    "12",
    "true",
    "AAEC",
    "a b",
    "ä😀",
    "\u{8}",
    "\u{ffff}",
    "arn:aws:sqs:us-east-1:000000000000:jobs",
    "arn:aws:sqs:us-east-1:000000000000:gone",
    "SendMessage",
    "123456789012",
    "{\"deadLetterTargetArn\":\"arn:aws:sqs:us-east-1:000000000000:jobs\",\"maxReceiveCount\":1}",
    "am9icw==",
];

fn text() -> impl Strategy<Value = String> {
    prop_oneof![4 => prop::sample::select(TEXTS).prop_map(str::to_owned), 1 => any::<String>()]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        4 => text().prop_map(Value::from),
        2 => prop::sample::select(&[0i64, 1, -1, 10, 11, 900, 43_200, i64::MAX, i64::MIN][..]).prop_map(Value::from),
        1 => Just(Value::Null),
        1 => any::<bool>().prop_map(Value::from),
        1 => Just(json!(1.5)),
    ];
    leaf.prop_recursive(4, 24, 6, |inner| {
        let key = prop_oneof![3 => prop::sample::select(MEMBERS).prop_map(str::to_owned), 1 => text()];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((key, inner), 0..5)
                .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    })
}

/// An object that names a queue more often than not.
fn input() -> impl Strategy<Value = Value> {
    let members = prop::collection::vec((prop::sample::select(MEMBERS), value()), 0..8);
    (members, prop::option::weighted(0.8, prop::sample::select(&TEXTS[1..6]))).prop_map(|(members, url)| {
        let mut object: Map<String, Value> =
            members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        if let Some(url) = url {
            object.insert("QueueUrl".into(), url.into());
        }
        Value::Object(object)
    })
}

struct World {
    sqs: Sqs,
    runtime: tokio::runtime::Runtime,
    ids: RequestIds,
    stop: CancellationToken,
}

impl World {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let sqs = runtime.block_on(async {
            let store = store::open(store::Options::memory(pipes::SPACES)).unwrap();
            let (clock, tasks) = (Arc::new(SystemClock::new()), Tasks::new());
            let options =
                pipes::Options { store, clock, tasks, limits: pipes::Limits::default(), watch: None };
            Sqs::new(Pipes::open(options).await.unwrap())
        });
        let stop = CancellationToken::new();
        stop.cancel(); // nobody waits for messages
        let world = Self { sqs, runtime, ids: RequestIds::new(), stop };
        for name in [
            "{\"QueueName\":\"jobs\"}",
            "{\"QueueName\":\"jobs.fifo\",\"Attributes\":{\"FifoQueue\":\"true\"}}",
        ] {
            assert_eq!(world.json("CreateQueue", name.as_bytes()).status, 200);
        }
        world
    }

    fn json(&self, action: &str, body: &[u8]) -> Reply {
        let mut headers = HeaderMap::new();
        headers.insert("x-amz-target", HeaderValue::from_str(&format!("{TARGET}{action}")).unwrap());
        self.answer("/", &headers, body)
    }

    fn answer(&self, path: &str, headers: &HeaderMap, body: &[u8]) -> Reply {
        let gate = AllowAll::new("me");
        let view = RequestView { method: "POST", path, query: "", headers, body };
        let hints = Hints::of(&view);
        let caller = gate.admit(&view).unwrap();
        let (id, stop) = (&self.ids.next(), &self.stop);
        self.runtime.block_on(self.sqs.serve(Arrived {
            view,
            hints,
            host: "h",
            caller,
            gate: &gate,
            id,
            came: None,
            stop,
        }))
    }
}

fn check(reply: &Reply, protocol: Protocol) {
    assert!(reply.status.as_u16() < 500, "{reply:?}");
    if protocol == Protocol::Json && !reply.body.is_empty() {
        let told: Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!(told.get("__type").is_some(), reply.status != 200, "{told}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_action_answers_any_object(inputs in prop::collection::vec(input(), 4)) {
        let world = World::new();
        for action in ACTIONS {
            for input in &inputs {
                check(&world.json(action.name, input.to_string().as_bytes()), Protocol::Json);
            }
        }
    }

    #[test]
    fn every_action_answers_any_form(
        pairs in prop::collection::vec(
            ("(QueueName|MessageBody|Attribute|Tag|TagKey|MessageAttribute|SendMessageBatchRequestEntry|DeleteMessageBatchRequestEntry|ReceiptHandle|MaxResults|Label|ActionName)(\\.[1-3])?(\\.(Name|Key|Value|Id|MessageBody|ReceiptHandle|Value\\.DataType|Value\\.StringValue))?", "[a-zA-Z0-9+%.]{0,12}"),
            0..10,
        ),
        bytes: Vec<u8>,
    ) {
        let world = World::new();
        let form: String = pairs.iter().map(|(name, value)| format!("&{name}={value}")).collect();
        for action in ACTIONS {
            let body = format!("Action={}{form}", action.name);
            check(&world.answer("/000000000000/jobs", &HeaderMap::new(), body.as_bytes()), Protocol::Query);
            check(&world.json(action.name, &bytes), Protocol::Json);
        }
    }
}

#[test]
fn the_page_tells_every_operation() {
    let page = include_str!("../../../../docs/sqs.md");
    for action in ACTIONS {
        assert!(
            page.lines().any(|line| line.starts_with('|') && line.contains(action.name)),
            "{}",
            action.name
        );
    }
}
