//! Every action, by the client of AWS.

use aws_sdk_sns::types::{MessageAttributeValue, PublishBatchRequestEntry, Tag};
use serde_json::Value;

use crate::world::{World, refused};

fn text(value: &str) -> MessageAttributeValue {
    MessageAttributeValue::builder().data_type("String").string_value(value).build().unwrap()
}

fn entry(id: &str, message: &str) -> PublishBatchRequestEntry {
    PublishBatchRequestEntry::builder().id(id).message(message).build().unwrap()
}

#[tokio::test]
async fn topics_come_and_go() {
    let world = World::start().await;
    let sns = &world.sns;
    let tag = Tag::builder().key("team").value("shop").build().unwrap();
    let create = || sns.create_topic().name("orders").attributes("DisplayName", "Orders").tags(tag.clone());
    let arn = create().send().await.unwrap().topic_arn.unwrap();
    assert_eq!(arn, "arn:aws:sns:us-east-1:000000000000:orders");
    assert_eq!(create().send().await.unwrap().topic_arn.unwrap(), arn);
    assert_eq!(sns.create_topic().name("orders").send().await.unwrap().topic_arn.unwrap(), arn);
    let differs = sns.create_topic().name("orders").attributes("DisplayName", "x").send().await;
    assert_eq!(
        refused(differs),
        (
            "InvalidParameter".to_owned(),
            "Invalid parameter: Attributes Reason: Topic already exists with different attributes".to_owned()
        )
    );
    let bad = sns.create_topic().name("a b").send().await;
    assert_eq!(refused(bad).1, "Invalid parameter: Topic Name");
    let mut names = Vec::new();
    for number in 0..150 {
        names.push(world.topic(&format!("many-{number:03}")).await);
    }
    names.push(arn.clone());
    let mut listed = Vec::new();
    let mut token = None;
    loop {
        let page = sns.list_topics().set_next_token(token).send().await.unwrap();
        listed.extend(page.topics.unwrap().into_iter().map(|topic| topic.topic_arn.unwrap()));
        token = page.next_token;
        if token.is_none() {
            break;
        }
    }
    assert_eq!(listed, names);
    sns.delete_topic().topic_arn(&arn).send().await.unwrap();
    sns.delete_topic().topic_arn(&arn).send().await.unwrap();
    let gone = refused(sns.get_topic_attributes().topic_arn(&arn).send().await);
    assert_eq!(gone, ("NotFound".to_owned(), "Topic does not exist".to_owned()));
    let no_arn = refused(sns.get_topic_attributes().topic_arn("orders").send().await);
    assert_eq!(no_arn.1, "Invalid parameter: TopicArn Reason: An ARN must have at least 6 elements, not 1");
    world.end().await;
}

#[tokio::test]
async fn attributes_of_topics() {
    let world = World::start().await;
    let (sns, arn) = (&world.sns, world.topic("orders.fifo").await);
    let set = |name: &str, value: &str| {
        sns.set_topic_attributes().topic_arn(&arn).attribute_name(name).attribute_value(value).send()
    };
    set("DisplayName", "Orders").await.unwrap();
    set("ContentBasedDeduplication", "false").await.unwrap();
    set("FifoThroughputScope", "MessageGroup").await.unwrap();
    set("TracingConfig", "Active").await.unwrap();
    let policy =
        r#"{"http":{"defaultHealthyRetryPolicy":{"numRetries":5,"minDelayTarget":1,"maxDelayTarget":9}}}"#;
    set("DeliveryPolicy", policy).await.unwrap();
    let told = sns.get_topic_attributes().topic_arn(&arn).send().await.unwrap().attributes.unwrap();
    for (name, value) in [
        ("TopicArn", arn.as_str()),
        ("Owner", "000000000000"),
        ("DisplayName", "Orders"),
        ("FifoTopic", "true"),
        ("ContentBasedDeduplication", "false"),
        ("FifoThroughputScope", "MessageGroup"),
        ("TracingConfig", "Active"),
        ("DeliveryPolicy", policy),
        ("SubscriptionsConfirmed", "0"),
    ] {
        assert_eq!(told[name], value, "{name}");
    }
    let effective: Value = serde_json::from_str(&told["EffectiveDeliveryPolicy"]).unwrap();
    assert_eq!(effective["http"]["defaultHealthyRetryPolicy"]["numRetries"], 5);
    assert!(told["Policy"].contains("__default_policy_ID"));
    assert_eq!(refused(set("Nope", "x").await).1, "Invalid parameter: AttributeName");
    assert_eq!(refused(set("Policy", "no json").await).1, "Invalid parameter: Policy: failed to parse JSON.");

    let permit = |label: &str| {
        sns.add_permission()
            .topic_arn(&arn)
            .label(label)
            .aws_account_id("000000000000")
            .action_name("Publish")
            .send()
    };
    permit("friends").await.unwrap();
    assert_eq!(refused(permit("friends").await).1, "Invalid parameter: Statement already exists");
    let told = sns.get_topic_attributes().topic_arn(&arn).send().await.unwrap().attributes.unwrap();
    let policy: Value = serde_json::from_str(&told["Policy"]).unwrap();
    assert_eq!(policy["Statement"][1]["Action"], "SNS:Publish");
    sns.remove_permission().topic_arn(&arn).label("friends").send().await.unwrap();
    let told = sns.get_topic_attributes().topic_arn(&arn).send().await.unwrap().attributes.unwrap();
    assert!(!told["Policy"].contains("friends"));

    let tag = |key: &str| Tag::builder().key(key).value("v").build().unwrap();
    sns.tag_resource().resource_arn(&arn).tags(tag("a")).tags(tag("b")).send().await.unwrap();
    sns.untag_resource().resource_arn(&arn).tag_keys("a").send().await.unwrap();
    let tags = sns.list_tags_for_resource().resource_arn(&arn).send().await.unwrap().tags.unwrap();
    assert_eq!(tags, [tag("b")]);
    let missing =
        sns.list_tags_for_resource().resource_arn("arn:aws:sns:us-east-1:000000000000:no").send().await;
    assert_eq!(refused(missing).0, "ResourceNotFound");
    let data = sns.get_data_protection_policy().resource_arn(&arn).send().await.unwrap();
    assert_eq!(data.data_protection_policy, None);
    world.end().await;
}

#[tokio::test]
async fn what_is_published_reaches_queues_with_an_envelope_and_raw() {
    let world = World::start().await;
    let topic = world.topic("orders").await;
    let (plain, plain_arn) = world.queue("plain").await;
    let (raw, raw_arn) = world.queue("raw").await;
    let there = world.subscribe(&topic, &plain_arn, &[]).await;
    world.subscribe(&topic, &raw_arn, &[("RawMessageDelivery", "true")]).await;
    let publish = world.sns.publish().topic_arn(&topic).subject("News").message("say \"hi\" & ä");
    let id = publish.message_attributes("color", text("red")).send().await.unwrap().message_id.unwrap();
    let told: Value = serde_json::from_str(&world.bodies(&plain).await[0]).unwrap();
    assert_eq!((&told["Type"], &told["MessageId"]), (&"Notification".into(), &id.into()));
    assert_eq!((&told["Subject"], &told["Message"]), (&"News".into(), &"say \"hi\" & ä".into()));
    assert_eq!(told["TopicArn"], topic);
    assert_eq!(told["MessageAttributes"]["color"], serde_json::json!({"Type": "String", "Value": "red"}));
    assert!(told["UnsubscribeURL"].as_str().unwrap().ends_with(&there));
    let messages = world.receive(&raw).await;
    assert_eq!(messages[0].body(), Some("say \"hi\" & ä"));
    assert_eq!(messages[0].message_attributes().unwrap()["color"].string_value(), Some("red"));

    let structured = r#"{"default": "for all", "sqs": "for queues"}"#;
    let json = world.sns.publish().topic_arn(&topic).message_structure("json");
    json.message(structured).send().await.unwrap();
    assert_eq!(world.bodies(&raw).await, ["for queues"]);
    let sns = &world.sns;
    let no_default = sns.publish().topic_arn(&topic).message_structure("json").message("{}").send().await;
    assert_eq!(
        refused(no_default).1,
        "Invalid parameter: Message Structure - No default entry in JSON message body"
    );
    let missing = sns.publish().topic_arn("arn:aws:sns:us-east-1:000000000000:no").message("x").send().await;
    assert_eq!(refused(missing).0, "NotFound");
    let long = sns.publish().topic_arn(&topic).message("x".repeat(256 * 1024 + 1)).send().await;
    assert_eq!(
        refused(long),
        ("InvalidParameter".to_owned(), "Invalid parameter: Message too long".to_owned())
    );
    let wrong = text("x");
    let bad_name = sns.publish().topic_arn(&topic).message("x").message_attributes(".a", wrong).send().await;
    assert_eq!(refused(bad_name).0, "ParameterValueInvalid");
    world.end().await;
}

#[tokio::test]
async fn filters_choose() {
    let world = World::start().await;
    let topic = world.topic("orders").await;
    let (red, red_arn) = world.queue("red").await;
    let (dear, dear_arn) = world.queue("dear").await;
    let raw = ("RawMessageDelivery", "true");
    let there = world
        .subscribe(&topic, &red_arn, &[raw, ("FilterPolicy", r#"{"color": ["red", {"prefix": "dark"}]}"#)])
        .await;
    let by_body = [
        raw,
        ("FilterPolicyScope", "MessageBody"),
        ("FilterPolicy", r#"{"order": {"total": [{"numeric": [">", 100]}]}}"#),
    ];
    world.subscribe(&topic, &dear_arn, &by_body).await;
    let publish = |message: &str, color: &str| {
        world.sns.publish().topic_arn(&topic).message(message).message_attributes("color", text(color)).send()
    };
    publish(r#"{"order": {"total": 7}}"#, "darkblue").await.unwrap();
    publish(r#"{"order": {"total": 101}}"#, "blue").await.unwrap();
    assert_eq!(world.bodies(&red).await, [r#"{"order": {"total": 7}}"#]);
    assert_eq!(world.bodies(&dear).await, [r#"{"order": {"total": 101}}"#]);

    let set = |name: &str, value: &str| {
        world
            .sns
            .set_subscription_attributes()
            .subscription_arn(&there)
            .attribute_name(name)
            .attribute_value(value)
            .send()
    };
    set("FilterPolicy", r#"{"color": ["green"]}"#).await.unwrap();
    let get = || world.sns.get_subscription_attributes().subscription_arn(&there).send();
    let told = get().await.unwrap().attributes.unwrap();
    assert_eq!(
        (told["FilterPolicy"].as_str(), told["FilterPolicyScope"].as_str()),
        (r#"{"color": ["green"]}"#, "MessageAttributes")
    );
    assert_eq!(
        (told["RawMessageDelivery"].as_str(), told["PendingConfirmation"].as_str()),
        ("true", "false")
    );
    let (code, message) = refused(set("FilterPolicy", r#"{"color": [{"like": "x"}]}"#).await);
    assert_eq!(code, "InvalidParameter");
    assert!(
        message.starts_with("Invalid parameter: FilterPolicy: Unrecognized match type like\n at [Source:"),
        "{message}"
    );
    let subscribe = world
        .sns
        .subscribe()
        .topic_arn(&topic)
        .protocol("sqs")
        .endpoint("arn:aws:sqs:us-east-1:000000000000:x");
    let (_, message) = refused(subscribe.attributes("FilterPolicy", r#"{"a": []}"#).send().await);
    assert!(
        message.starts_with("Invalid parameter: Attributes Reason: FilterPolicy: Empty arrays"),
        "{message}"
    );
    world.end().await;
}

#[tokio::test]
async fn batches_fail_in_part() {
    let world = World::start().await;
    let topic = world.topic("orders.fifo").await;
    let (queue, queue_arn) = world.queue("jobs.fifo").await;
    world.subscribe(&topic, &queue_arn, &[("RawMessageDelivery", "true")]).await;
    let grouped = |id: &str, message: &str| {
        PublishBatchRequestEntry::builder().id(id).message(message).message_group_id("g").build().unwrap()
    };
    let batch = || world.sns.publish_batch().topic_arn(&topic);
    let entries = [grouped("a", "one"), grouped("b", "two"), grouped("c", "one"), entry("d", "no group")];
    let answer = batch().set_publish_batch_request_entries(Some(entries.to_vec())).send().await.unwrap();
    let done = answer.successful.unwrap();
    assert_eq!(done.iter().map(|one| one.id().unwrap()).collect::<Vec<_>>(), ["a", "b", "c"]);
    assert_eq!(done[0].message_id(), done[2].message_id(), "the same content within five minutes");
    assert!(done[0].sequence_number() < done[1].sequence_number());
    assert_eq!(done[0].sequence_number().unwrap().len(), 20);
    let failed = answer.failed.unwrap();
    assert_eq!((failed[0].id(), failed[0].code(), failed[0].sender_fault()), ("d", "InvalidParameter", true));
    assert_eq!(world.bodies(&queue).await, ["one", "two"]);
    for (entries, code) in [
        (vec![], "EmptyBatchRequest"),
        ((0..11).map(|n| grouped(&n.to_string(), "x")).collect(), "TooManyEntriesInBatchRequest"),
        (vec![grouped("a", "x"), grouped("a", "y")], "BatchEntryIdsNotDistinct"),
        (vec![grouped("a b", "x")], "InvalidBatchEntryId"),
        ((0..2).map(|n| grouped(&n.to_string(), &"x".repeat(200_000))).collect(), "BatchRequestTooLong"),
    ] {
        let outcome = batch().set_publish_batch_request_entries(Some(entries)).send().await;
        assert_eq!(refused(outcome).0, code);
    }
    world.end().await;
}

/// Goes to an address of the face, as anybody does.
async fn visit(world: &World, url: &Value) -> String {
    let path = url.as_str().unwrap().strip_prefix(&format!("http://{}", world.address)).unwrap();
    world.raw(format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")).await
}

#[tokio::test]
async fn an_address_confirms_and_is_told() {
    let mut world = World::start().await;
    let topic = world.topic("orders").await;
    let subscribe =
        world.sns.subscribe().topic_arn(&topic).protocol("http").endpoint("http://shop.test/hook");
    let pending = subscribe.clone().send().await.unwrap().subscription_arn.unwrap();
    assert_eq!(pending, "pending confirmation");
    let question: Value = serde_json::from_slice(&world.pushed().await.body).unwrap();
    assert_eq!(question["Type"], "SubscriptionConfirmation");
    let listed = world.sns.list_subscriptions_by_topic().topic_arn(&topic).send().await.unwrap();
    assert_eq!(listed.subscriptions()[0].subscription_arn(), Some("PendingConfirmation"));
    // As an endpoint does it: it visits the address.
    let answer = visit(&world, &question["SubscribeURL"]).await;
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.contains("<ConfirmSubscriptionResult><SubscriptionArn>"),
        "{answer}"
    );
    let token = question["Token"].as_str().unwrap();
    let confirm = world.sns.confirm_subscription().topic_arn(&topic).token(token);
    let arn = confirm.send().await.unwrap().subscription_arn.unwrap();
    assert_eq!(subscribe.send().await.unwrap().subscription_arn.unwrap(), arn);
    let wrong = world.sns.confirm_subscription().topic_arn(&topic).token("x").send().await;
    assert_eq!(refused(wrong).1, "Invalid parameter: Token");

    let policy =
        r#"{"healthyRetryPolicy":{"numRetries":2},"requestPolicy":{"headerContentType":"application/json"}}"#;
    let set = world.sns.set_subscription_attributes().subscription_arn(&arn);
    set.attribute_name("DeliveryPolicy").attribute_value(policy).send().await.unwrap();
    world.sns.publish().topic_arn(&topic).message("hello").send().await.unwrap();
    let push = world.pushed().await;
    assert_eq!(
        (&*push.url, push.content_type.as_deref()),
        ("http://shop.test/hook", Some("application/json"))
    );
    let told: Value = serde_json::from_slice(&push.body).unwrap();
    assert_eq!((&told["Message"], &told["MessageId"]), (&"hello".into(), &push.message_id.into()));
    // By the address that the message gives, without a signature.
    assert!(visit(&world, &told["UnsubscribeURL"]).await.starts_with("HTTP/1.1 200"));
    let gone = world.sns.get_subscription_attributes().subscription_arn(&arn).send().await;
    assert_eq!(refused(gone), ("NotFound".to_owned(), "Subscription does not exist".to_owned()));
    assert!(world.sns.list_subscriptions().send().await.unwrap().subscriptions().is_empty());
    // The address is told, and can have it back.
    let farewell: Value = serde_json::from_slice(&world.pushed().await.body).unwrap();
    assert_eq!(farewell["Type"], "UnsubscribeConfirmation");
    assert!(farewell["Message"].as_str().unwrap().contains(&arn), "{farewell}");
    assert!(visit(&world, &farewell["SubscribeURL"]).await.starts_with("HTTP/1.1 200"));
    let listed = world.sns.list_subscriptions().send().await.unwrap();
    assert_eq!(listed.subscriptions()[0].subscription_arn(), Some(&*arn));
    world.end().await;
}

#[tokio::test]
async fn who_cannot_be_subscribed_is_told_why() {
    let world = World::start().await;
    let topic = world.topic("orders").await;
    for (protocol, endpoint, message) in [
        (
            "carrier-pigeon",
            "x",
            "Invalid parameter: Amazon SNS does not support this protocol string: carrier-pigeon",
        ),
        ("email", "a@b.c", "Invalid parameter: Protocol Reason: email is not served here"),
        (
            "lambda",
            "arn:aws:lambda:x",
            "Invalid parameter: Protocol Reason: a function cannot be subscribed here yet",
        ),
        ("http", "https://x/", "Invalid parameter: Endpoint must match the specified protocol"),
        ("sqs", "jobs", "Invalid parameter: SQS endpoint ARN"),
        (
            "sqs",
            "arn:aws:sqs:us-east-1:000000000000:jobs.fifo",
            "Invalid parameter: Invalid parameter: Endpoint Reason: FIFO SQS Queues can not be subscribed to standard \
             SNS topics",
        ),
    ] {
        let outcome =
            world.sns.subscribe().topic_arn(&topic).protocol(protocol).endpoint(endpoint).send().await;
        assert_eq!(refused(outcome), ("InvalidParameter".to_owned(), message.to_owned()));
    }
    let unknown = world.raw("POST /?Action=CreatePlatformApplication HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
        authorization: AWS4-HMAC-SHA256 Credential=A/20261130/us-east-1/sns/aws4_request\r\ncontent-length: 0\r\n\r\n".to_owned()).await;
    assert!(
        unknown.starts_with("HTTP/1.1 400") && unknown.contains("<Code>InvalidAction</Code>"),
        "{unknown}"
    );
    world.end().await;
}
