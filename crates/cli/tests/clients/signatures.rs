//! What topics tell, verified by libraries that others wrote for the service's own: one for Python, one for Node.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::app::{files, has, output, python_with};
use crate::notified::{Address, arn, done, subscribe, visit};
use crate::telemetry::node_modules;
use crate::world::{World, text};

const APP: &str = r#"
pipes: { listen: "127.0.0.1:0" }
services:
  orders: { command: [ECHO], topics: [order-placed] }
"#;

/// A question, a notification, one without a subject, and the end, each as a line of `told.jsonl`, signed as `version` says.
fn told(world: &World, version: &str) {
    let topic = arn("order-placed");
    let topic = ("TopicArn", topic.as_str());
    let set = [topic, ("AttributeName", "SignatureVersion"), ("AttributeValue", version)];
    done(world, "SetTopicAttributes", &set);
    let address = Address::listen();
    subscribe(world, "order-placed", &address, &[]);
    let publish = |more: &[(&str, &str)]| {
        let message = [topic, ("Message", "ä \"quoted\"\n😀")];
        done(world, "Publish", &[&message, more].concat());
    };
    publish(&[("Subject", "News")]);
    let first = address.at(1).json();
    publish(&[]);
    address.at(2);
    assert_eq!(visit(first["UnsubscribeURL"].as_str().unwrap()).status, 200);
    let kinds: Vec<Value> = (0..4).map(|place| address.at(place).json()["Type"].clone()).collect();
    assert_eq!(
        kinds,
        ["SubscriptionConfirmation", "Notification", "Notification", "UnsubscribeConfirmation"]
    );
    let lines: String = address.all().iter().map(|told| told.json().to_string() + "\n").collect();
    fs::write(world.path().join("told.jsonl"), lines).unwrap();
}

fn verifies(world: &World, mut command: Command, script: &str) {
    command.arg(files().join(script)).arg(world.path().join("told.jsonl"));
    let said = output(command);
    assert!(said.status.success(), "{script}\n{}\n{}", text(&said.stdout), text(&said.stderr));
    assert!(text(&said.stdout).contains("all well"), "{}", text(&said.stdout));
}

#[test]
fn a_validator_for_python_verifies_what_topics_tell() {
    let Some(python) = python_with("sns_message_validator") else {
        has(&["aws-sns-message-validator for python"]);
        return;
    };
    let world = World::new(APP);
    world.ok(&["up", "-d", "--wait"]);
    told(&world, "1"); // it knows no other
    verifies(&world, Command::new(python), "signatures.py");
    world.ok(&["down"]);
}

#[test]
fn a_validator_for_node_verifies_what_topics_tell() {
    let Some(modules) = node_modules("sns-validator").filter(|_| has(&["node"])) else {
        has(&["sns-validator for node"]);
        return;
    };
    let world = World::new(APP);
    world.ok(&["up", "-d", "--wait"]);
    for version in ["1", "2"] {
        told(&world, version);
        let mut node = Command::new("node");
        node.env("NODE_PATH", &modules);
        verifies(&world, node, "signatures.cjs");
    }
    world.ok(&["down"]);
}
