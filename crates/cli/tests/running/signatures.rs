//! What topics tell is signed: by a key that survives whatever is killed, for whoever verifies it as the service's own clients do.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{
    RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey,
};
use serde_json::Value;
use x509_parser::prelude::FromDer;

use crate::notified::{Address, arn, call, done, face, subscribe, visit};
use crate::queues::until;
use crate::topics::APP;
use crate::world::{World, kill};

/// Whether the signature of what was told holds, with the certificate from where it says.
fn holds(told: &Value) -> bool {
    let text = |name: &str| told[name].as_str();
    let certificate = visit(text("SigningCertURL").unwrap());
    assert_eq!(certificate.status, 200);
    let (_, pem) = x509_parser::pem::parse_x509_pem(certificate.body.as_bytes()).unwrap();
    let (_, parsed) = x509_parser::certificate::X509Certificate::from_der(&pem.contents).unwrap();
    let names: &[&str] = match text("Type").unwrap() {
        "Notification" => &["Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"],
        _ => &["Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"],
    };
    let said = names.iter().filter_map(|name| Some(format!("{name}\n{}\n", text(name)?)));
    let key = &parsed.public_key().subject_public_key.data;
    let key = match text("SignatureVersion").unwrap() {
        "1" => UnparsedPublicKey::new(&RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY, key),
        _ => UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key),
    };
    let signature = STANDARD.decode(text("Signature").unwrap()).unwrap();
    key.verify(said.collect::<String>().as_bytes(), &signature).is_ok()
}

fn publish(world: &World, message: &str) {
    done(world, "Publish", &[("TopicArn", &*arn("order-placed")), ("Message", message), ("Subject", "S")]);
}

/// What is in a queue, as it was told.
fn told(world: &World, queue: &str) -> Vec<Value> {
    let out = world.ok(&["queue", "receive", queue, "-n", "10", "--format", "json"]);
    let messages: Vec<Value> = serde_json::from_str(&out).unwrap();
    messages.iter().map(|message| serde_json::from_str(message["body"].as_str().unwrap()).unwrap()).collect()
}

#[test]
fn what_topics_tell_is_signed_whatever_is_killed() {
    let world = World::new(APP);
    world.ok(&["up", "-d", "--wait"]);
    let address = Address::listen();
    subscribe(&world, "order-placed", &address, &[]);
    let question = address.at(0);
    assert_eq!(question.header("x-amz-sns-message-type"), Some("SubscriptionConfirmation"));
    assert_eq!(question.header("x-amz-sns-subscription-arn"), None);
    assert!(holds(&question.json()));

    publish(&world, "ä \"quoted\"\n");
    let notification = address.at(1).json();
    assert_eq!(notification["SignatureVersion"], "2", "a topic of the file");
    assert!(holds(&notification));
    let mut other = notification.clone();
    other["Message"] = "another".into();
    assert!(!holds(&other));

    // The same key after the node was killed: what was told before still holds. (Nothing is under way: it would be told again.)
    until("it has taken all", || {
        let shown = world.ok(&["topic", "show", "order-placed", "--format", "json"]);
        let shown: api::TopicDetail = serde_json::from_str(&shown).unwrap();
        shown.topic.waiting == 0
    });
    kill(world.node_pid(), "KILL");
    world.ok(&["up", "-d", "--wait"]);
    let topic = arn("order-placed");
    let version = [("TopicArn", &*topic), ("AttributeName", "SignatureVersion"), ("AttributeValue", "1")];
    done(&world, "SetTopicAttributes", &version);
    publish(&world, "two");
    let second = address.at(2).json();
    assert_eq!((&second["Message"], &second["SignatureVersion"]), (&"two".into(), &"1".into()));
    let name = |told: &Value| told["SigningCertURL"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
    assert_eq!(name(&second), name(&notification));
    let queued = told(&world, "settle");
    assert_eq!(queued.len(), 2);
    assert!(holds(&second) && queued.iter().all(holds));
    let missing = visit(
        &second["SigningCertURL"]
            .as_str()
            .unwrap()
            .replace(&name(&second), "SimpleNotificationService-0.pem"),
    );
    assert_eq!(missing.status, 404);

    // What was set stays, whatever the file is applied for: here so that nobody comes in without credentials.
    world.write(&APP.replace("pipes: {", "pipes: { access: enforce,"));
    world.ok(&["up", "-d", "--wait"]);
    let unsigned = [("TopicArn", &*topic), ("Message", "by nobody")];
    assert_eq!(call(&face(&world), "Publish", &unsigned).unwrap().status, 403);
    let publish = |message: &str| world.ok(&["topic", "publish", "order-placed", message]);

    // Whoever is told how to end it can; is told so; and can have it back.
    assert_eq!(visit(second["UnsubscribeURL"].as_str().unwrap()).status, 200);
    let farewell = address.at(3);
    assert_eq!(farewell.header("x-amz-sns-message-type"), Some("UnsubscribeConfirmation"));
    assert!(farewell.header("x-amz-sns-subscription-arn").is_some());
    assert!(holds(&farewell.json()));
    publish("nobody");
    assert_eq!(visit(farewell.json()["SubscribeURL"].as_str().unwrap()).status, 200);
    publish("again");
    let again = address.at(4).json();
    assert_eq!((&again["Message"], &again["SignatureVersion"]), (&"again".into(), &"1".into()));

    world.ok(&["topic", "publish", "steps.fifo", "picked", "--group", "g", "--dedup", "1"]);
    assert!(told(&world, "steps-taken.fifo")[0].get("Signature").is_none());
    world.ok(&["down"]);
}
