//! Messages, sent and received by the client of AWS.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use aws_sdk_sqs::Client;
use aws_sdk_sqs::error::ProvideErrorMetadata;
use aws_sdk_sqs::primitives::Blob;
use aws_sdk_sqs::types::{
    ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry, Message, MessageAttributeValue,
    MessageSystemAttributeName, MessageSystemAttributeNameForSends, MessageSystemAttributeValue,
    QueueAttributeName, SendMessageBatchRequestEntry,
};

use crate::world::{World, until};

pub(crate) async fn queue(client: &Client, name: &str, attributes: &[(QueueAttributeName, &str)]) -> String {
    let attributes: HashMap<_, _> =
        attributes.iter().map(|(name, value)| (name.clone(), (*value).to_owned())).collect();
    let attributes = Some(attributes).filter(|attributes| !attributes.is_empty());
    client.create_queue().queue_name(name).set_attributes(attributes).send().await.unwrap().queue_url.unwrap()
}

pub(crate) async fn receive(client: &Client, url: &str) -> Vec<Message> {
    client
        .receive_message()
        .queue_url(url)
        .max_number_of_messages(10)
        .message_attribute_names("All")
        .message_system_attribute_names(MessageSystemAttributeName::All)
        .send()
        .await
        .unwrap()
        .messages
        .unwrap_or_default()
}

fn attribute(kind: &str, text: &str) -> MessageAttributeValue {
    MessageAttributeValue::builder().data_type(kind).string_value(text).build().unwrap()
}

/// The code and the message of an error.
macro_rules! refused {
    ($call:expr) => {{
        let error = $call.await.unwrap_err().into_service_error();
        (error.code().unwrap_or_default().to_owned(), error.message().unwrap_or_default().to_owned())
    }};
}
pub(crate) use refused;

#[tokio::test]
async fn a_message_goes_through_a_queue() {
    let world = World::start().await;
    let client = world.client();
    let url = queue(&client, "jobs", &[]).await;
    assert_eq!(url, format!("{}/000000000000/jobs", world.url()));

    let trace = MessageSystemAttributeValue::builder()
        .data_type("String")
        .string_value("Root=1-5759e988-bd862e3f")
        .build();
    let sent = client
        .send_message()
        .queue_url(&url)
        .message_body("resize \"cat\".png\n ä😀")
        .message_attributes("size", attribute("Number.int", "12"))
        .message_attributes("kind", attribute("String", "png"))
        .message_attributes(
            "raw",
            MessageAttributeValue::builder()
                .data_type("Binary")
                .binary_value(Blob::new([0, 1, 255]))
                .build()
                .unwrap(),
        )
        .message_system_attributes(MessageSystemAttributeNameForSends::AwsTraceHeader, trace.unwrap())
        .send()
        .await
        .unwrap(); // the client compares the digests itself
    assert!(sent.sequence_number.is_none());
    assert!(sent.md5_of_message_attributes.is_some() && sent.md5_of_message_system_attributes.is_some());

    let got = receive(&client, &url).await;
    let [message] = &got[..] else { panic!("{got:?}") };
    assert_eq!(message.message_id, sent.message_id);
    assert_eq!(message.body.as_deref(), Some("resize \"cat\".png\n ä😀"));
    assert_eq!(message.md5_of_body, sent.md5_of_message_body);
    assert_eq!(message.md5_of_message_attributes, sent.md5_of_message_attributes);
    let attributes = message.message_attributes.as_ref().unwrap();
    assert_eq!(attributes["size"].string_value.as_deref(), Some("12"));
    assert_eq!(attributes["raw"].binary_value, Some(Blob::new([0, 1, 255])));
    let system = message.attributes.as_ref().unwrap();
    assert_eq!(system[&MessageSystemAttributeName::SenderId], "tester");
    assert_eq!(system[&MessageSystemAttributeName::ApproximateReceiveCount], "1");
    assert_eq!(system[&MessageSystemAttributeName::AwsTraceHeader], "Root=1-5759e988-bd862e3f");
    assert!(!system.contains_key(&MessageSystemAttributeName::SequenceNumber));

    assert!(receive(&client, &url).await.is_empty(), "it is in flight");
    let handle = message.receipt_handle.clone().unwrap();
    client
        .change_message_visibility()
        .queue_url(&url)
        .receipt_handle(&handle)
        .visibility_timeout(0)
        .send()
        .await
        .unwrap();
    let again = receive(&client, &url).await;
    let system = again[0].attributes.as_ref().unwrap();
    assert_eq!(system[&MessageSystemAttributeName::ApproximateReceiveCount], "2");
    let handle = again[0].receipt_handle.clone().unwrap();
    for _ in 0..2 {
        client.delete_message().queue_url(&url).receipt_handle(&handle).send().await.unwrap();
    }
    let wrong = refused!(client.delete_message().queue_url(&url).receipt_handle("made up").send());
    assert_eq!(wrong.0, "ReceiptHandleIsInvalid");

    let lines = world.seen.lines();
    assert!(lines.contains(&"tester sqs:SendMessage jobs 200 - 1".to_owned()), "{lines:?}");
    assert!(
        lines.contains(&"tester sqs:DeleteMessage jobs 404 ReceiptHandleIsInvalid 0".to_owned()),
        "{lines:?}"
    );
    world.end().await;
}

#[tokio::test]
async fn only_those_attributes_come_that_were_asked_for() {
    let world = World::start().await;
    let client = world.client();
    let url = queue(&client, "jobs", &[(QueueAttributeName::VisibilityTimeout, "0")]).await;
    let sending = client.send_message().queue_url(&url).message_body("x");
    let sending = sending.message_attributes("bar.one", attribute("String", "1"));
    let sending = sending.message_attributes("other", attribute("String", "2"));
    let sent = sending.send().await.unwrap();

    let plain = client.receive_message().queue_url(&url).send().await.unwrap().messages.unwrap().remove(0);
    assert!(
        plain.attributes.is_none()
            && plain.message_attributes.is_none()
            && plain.md5_of_message_attributes.is_none()
    );
    for (names, expected) in [
        (vec!["bar.*"], vec!["bar.one"]),
        (vec!["other", "none"], vec!["other"]),
        (vec![".*"], vec!["bar.one", "other"]),
    ] {
        let names = names.into_iter().map(str::to_owned).collect();
        let got = client
            .receive_message()
            .queue_url(&url)
            .set_message_attribute_names(Some(names))
            .send()
            .await
            .unwrap();
        let message = got.messages.unwrap().remove(0);
        let mut got: Vec<_> = message.message_attributes.unwrap().into_keys().collect();
        got.sort();
        assert_eq!(got, expected);
        assert_eq!(message.md5_of_message_attributes == sent.md5_of_message_attributes, expected.len() == 2);
    }
    #[allow(deprecated)] // what it was called before
    let old =
        client.receive_message().queue_url(&url).attribute_names(QueueAttributeName::from("SentTimestamp"));
    let message = old.send().await.unwrap().messages.unwrap().remove(0);
    assert_eq!(
        message.attributes.unwrap().into_keys().collect::<Vec<_>>(),
        [MessageSystemAttributeName::SentTimestamp]
    );
    world.end().await;
}

#[tokio::test]
async fn batches_fail_in_parts() {
    let world = World::start().await;
    let client = world.client();
    let url = queue(&client, "jobs", &[]).await;
    let entry = |id: &str, body: &str| {
        SendMessageBatchRequestEntry::builder().id(id).message_body(body).build().unwrap()
    };
    let sent = client
        .send_message_batch()
        .queue_url(&url)
        .entries(entry("good", "one"))
        .entries(entry("bad", "\u{8}"))
        .entries(entry("late", "two"))
        .entries(
            SendMessageBatchRequestEntry::builder()
                .id("slow")
                .message_body("x")
                .delay_seconds(901)
                .build()
                .unwrap(),
        )
        .send()
        .await
        .unwrap();
    assert_eq!(sent.successful.iter().map(|entry| &*entry.id).collect::<Vec<_>>(), ["good", "late"]);
    let failed: Vec<_> =
        sent.failed.iter().map(|entry| (&*entry.id, &*entry.code, entry.sender_fault)).collect();
    assert_eq!(failed, [("bad", "InvalidMessageContents", true), ("slow", "InvalidParameterValue", true)]);

    let got = receive(&client, &url).await;
    assert_eq!(got.len(), 2);
    let handle = |index: usize| got[index].receipt_handle.clone().unwrap();
    let change = |id: &str, handle: &str| {
        ChangeMessageVisibilityBatchRequestEntry::builder()
            .id(id)
            .receipt_handle(handle)
            .visibility_timeout(600)
            .build()
            .unwrap()
    };
    let changed = client.change_message_visibility_batch().queue_url(&url);
    let changed = changed.entries(change("a", &handle(0))).entries(change("b", "no")).send().await.unwrap();
    assert_eq!((changed.successful.len(), &*changed.failed[0].code), (1, "ReceiptHandleIsInvalid"));

    let delete = |id: &str, handle: &str| {
        DeleteMessageBatchRequestEntry::builder().id(id).receipt_handle(handle).build().unwrap()
    };
    let deleted = client.delete_message_batch().queue_url(&url);
    let deleted =
        deleted.entries(delete("a", &handle(0))).entries(delete("b", &handle(1))).entries(delete("c", "no"));
    let deleted = deleted.send().await.unwrap();
    assert_eq!((deleted.successful.len(), &*deleted.failed[0].id), (2, "c"));

    let many = (0..11).map(|n| entry(&n.to_string(), "x")).collect();
    let refused = refused!(client.send_message_batch().queue_url(&url).set_entries(Some(many)).send());
    assert_eq!(refused.1, "Maximum number of entries per request are 10. You have sent 11.");
    let twice = client.send_message_batch().queue_url(&url).entries(entry("a", "x")).entries(entry("a", "y"));
    let error = twice.send().await.unwrap_err().into_service_error();
    assert!(error.is_batch_entry_ids_not_distinct(), "{error:?}");
    let half = "x".repeat(600 * 1024);
    let long =
        client.send_message_batch().queue_url(&url).entries(entry("a", &half)).entries(entry("b", &half));
    assert!(long.send().await.unwrap_err().into_service_error().is_batch_request_too_long());
    let empty = client.delete_message_batch().queue_url(&url).set_entries(Some(Vec::new()));
    assert!(empty.send().await.unwrap_err().into_service_error().is_empty_batch_request());
    world.end().await;
}

#[tokio::test]
async fn a_queue_that_keeps_order() {
    let world = World::start().await;
    let client = world.client();
    let fifo =
        [(QueueAttributeName::FifoQueue, "true"), (QueueAttributeName::ContentBasedDeduplication, "true")];
    let url = queue(&client, "orders.fifo", &fifo).await;
    let send = |group: &str, body: &str| {
        client.send_message().queue_url(&url).message_group_id(group).message_body(body)
    };
    let first = send("g", "one").send().await.unwrap();
    let again = send("g", "one").send().await.unwrap();
    assert_eq!((&first.message_id, &first.sequence_number), (&again.message_id, &again.sequence_number));
    let second = send("g", "two").message_deduplication_id("2").send().await.unwrap();
    assert!(second.sequence_number > first.sequence_number);
    let no_group = refused!(client.send_message().queue_url(&url).message_body("x").send());
    assert_eq!(
        no_group,
        ("MissingParameter".into(), "The request must contain the parameter MessageGroupId.".into())
    );
    let delayed = refused!(send("g", "x").delay_seconds(2).send());
    assert_eq!(
        delayed.1,
        "Value 2 for parameter DelaySeconds is invalid. Reason: The request include parameter that is not valid for this queue type."
    );

    let got = receive(&client, &url).await;
    assert_eq!(got.iter().filter_map(Message::body).collect::<Vec<_>>(), ["one", "two"]);
    let system = got[1].attributes.as_ref().unwrap();
    assert_eq!(system[&MessageSystemAttributeName::MessageGroupId], "g");
    assert_eq!(system[&MessageSystemAttributeName::MessageDeduplicationId], "2");
    assert_eq!(system.get(&MessageSystemAttributeName::SequenceNumber), second.sequence_number.as_ref());
    world.end().await;
}

#[tokio::test]
async fn a_long_poll_ends_with_a_message_or_with_the_server() {
    let world = World::start().await;
    let client = world.client();
    let url = queue(&client, "jobs", &[]).await;
    let poll = || client.receive_message().queue_url(&url).wait_time_seconds(20).send();
    let server = world.server.clone();
    let sender = async {
        until("the poll is under way", || server.counts().in_flight == 1).await;
        client.send_message().queue_url(&url).message_body("x").send().await.unwrap();
    };
    let began = Instant::now();
    let (got, ()) = tokio::join!(poll(), sender);
    assert_eq!(got.unwrap().messages().len(), 1);

    let stopper = async {
        until("the poll is under way", || server.counts().in_flight == 1).await;
        world.stop.cancel();
    };
    let (got, ()) = tokio::join!(poll(), stopper);
    assert!(got.unwrap().messages().is_empty());
    assert!(began.elapsed() < Duration::from_secs(19), "nobody waited for the end of a poll");
    world.end().await;
}

#[tokio::test]
async fn numbers_out_of_range_are_named() {
    let world = World::start().await;
    let client = world.client();
    let url = queue(&client, "jobs", &[]).await;
    for (most, wait, hidden, expected) in [
        (
            11,
            0,
            0,
            "Value 11 for parameter MaxNumberOfMessages is invalid. Reason: Must be between 1 and 10, if provided.",
        ),
        (
            1,
            21,
            0,
            "Value 21 for parameter WaitTimeSeconds is invalid. Reason: Must be >= 0 and <= 20, if provided.",
        ),
        (
            1,
            0,
            43201,
            "Value 43201 for parameter VisibilityTimeout is invalid. Reason: VisibilityTimeout must be an integer between 0 and 43200",
        ),
    ] {
        let call =
            client.receive_message().queue_url(&url).max_number_of_messages(most).wait_time_seconds(wait);
        let (code, message) = refused!(call.visibility_timeout(hidden).send());
        assert_eq!((&*code, &*message), ("InvalidParameterValue", expected));
    }
    let nowhere =
        client.send_message().queue_url(format!("{}/000000000000/none", world.url())).message_body("x");
    assert!(nowhere.send().await.unwrap_err().into_service_error().is_queue_does_not_exist());
    let large = "x".repeat(1024 * 1024 + 1);
    let (_, message) = refused!(client.send_message().queue_url(&url).message_body(large).send());
    assert_eq!(
        message,
        "One or more parameters are invalid. Reason: Message must be shorter than 1048576 bytes."
    );
    let most = "\n".repeat(1024 * 1024); // twice as long in JSON
    client.send_message().queue_url(&url).message_body(most).send().await.unwrap();
    world.end().await;
}
