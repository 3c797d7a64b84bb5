//! Queues and what belongs to them, made and changed by the client of AWS.

use aws_sdk_sqs::error::ProvideErrorMetadata;
use aws_sdk_sqs::types::{MessageSystemAttributeName, QueueAttributeName};

use crate::actions::{queue, receive, refused};
use crate::world::World;

#[tokio::test]
async fn queues_are_made_found_listed_and_deleted() {
    let world = World::start().await;
    let client = world.client();
    for name in ["a-1", "a-2", "a-3", "b"] {
        queue(&client, name, &[]).await;
    }
    let same = queue(&client, "b", &[(QueueAttributeName::DelaySeconds, "0")]).await;
    let found = client.get_queue_url().queue_name("b").send().await.unwrap().queue_url.unwrap();
    assert_eq!(same, found);
    let other = client.create_queue().queue_name("b").attributes(QueueAttributeName::DelaySeconds, "2");
    let error = other.send().await.unwrap_err().into_service_error();
    assert!(error.is_queue_name_exists(), "{error:?}");
    assert_eq!(
        error.message().unwrap(),
        "A queue already exists with the same name and a different value for attribute DelaySeconds"
    );

    let all = client.list_queues().send().await.unwrap();
    assert_eq!((all.queue_urls().len(), all.next_token()), (4, None));
    let first = client.list_queues().queue_name_prefix("a-").max_results(2).send().await.unwrap();
    assert_eq!(first.queue_urls().len(), 2);
    let token = first.next_token().unwrap();
    let rest =
        client.list_queues().queue_name_prefix("a-").max_results(2).next_token(token).send().await.unwrap();
    assert!(rest.queue_urls()[0].ends_with("/a-3") && rest.next_token().is_none());
    let wrong = refused!(client.list_queues().max_results(2).next_token("!").send());
    assert_eq!(wrong.0, "InvalidParameterValue");

    client.delete_queue().queue_url(&found).send().await.unwrap();
    assert!(
        client
            .get_queue_url()
            .queue_name("b")
            .send()
            .await
            .unwrap_err()
            .into_service_error()
            .is_queue_does_not_exist()
    );
    assert!(
        client
            .delete_queue()
            .queue_url(&found)
            .send()
            .await
            .unwrap_err()
            .into_service_error()
            .is_queue_does_not_exist()
    );
    queue(&client, "b", &[]).await; // at once: nothing of the old one is left

    for bad in ["", "a b", "a.b", "x.fifo"] {
        let (code, _) = refused!(client.create_queue().queue_name(bad).send());
        assert!(["InvalidParameterValue", "MissingParameter"].contains(&&*code), "{bad}: {code}");
    }
    world.end().await;
}

#[tokio::test]
async fn attributes_are_set_and_told() {
    let world = World::start().await;
    let client = world.client();
    let url = queue(&client, "jobs", &[(QueueAttributeName::VisibilityTimeout, "7")]).await;
    let dead = queue(&client, "dead", &[]).await;
    let policy =
        "{\"deadLetterTargetArn\":\"arn:aws:sqs:us-east-1:000000000000:dead\",\"maxReceiveCount\":3}";
    let set =
        client.set_queue_attributes().queue_url(&url).attributes(QueueAttributeName::RedrivePolicy, policy);
    set.attributes(QueueAttributeName::MessageRetentionPeriod, "120").send().await.unwrap();
    client.send_message().queue_url(&url).message_body("now").send().await.unwrap();
    client.send_message().queue_url(&url).message_body("later").delay_seconds(900).send().await.unwrap();
    client.send_message().queue_url(&url).message_body("held").send().await.unwrap();
    assert_eq!(client.receive_message().queue_url(&url).send().await.unwrap().messages().len(), 1);

    let all = client
        .get_queue_attributes()
        .queue_url(&url)
        .attribute_names(QueueAttributeName::All)
        .send()
        .await
        .unwrap();
    let all = all.attributes.unwrap();
    for (name, value) in [
        (QueueAttributeName::QueueArn, "arn:aws:sqs:us-east-1:000000000000:jobs"),
        (QueueAttributeName::VisibilityTimeout, "7"),
        (QueueAttributeName::MessageRetentionPeriod, "120"),
        (QueueAttributeName::MaximumMessageSize, "1048576"),
        (QueueAttributeName::RedrivePolicy, policy),
        (QueueAttributeName::ApproximateNumberOfMessages, "1"),
        (QueueAttributeName::ApproximateNumberOfMessagesNotVisible, "1"),
        (QueueAttributeName::ApproximateNumberOfMessagesDelayed, "1"),
    ] {
        assert_eq!(all[&name], value, "{name}");
    }
    assert!(
        !all.contains_key(&QueueAttributeName::FifoQueue) && !all.contains_key(&QueueAttributeName::Policy)
    );
    let none = client.get_queue_attributes().queue_url(&url).send().await.unwrap();
    assert!(none.attributes.is_none());
    let unknown =
        client.get_queue_attributes().queue_url(&url).attribute_names(QueueAttributeName::from("Nope"));
    assert!(unknown.send().await.unwrap_err().into_service_error().is_invalid_attribute_name());
    let bad = client.set_queue_attributes().queue_url(&url).attributes(QueueAttributeName::DelaySeconds, "x");
    assert!(bad.send().await.unwrap_err().into_service_error().is_invalid_attribute_value());
    let gone = policy.replace("dead\"", "gone\"");
    let bad = refused!(
        client
            .set_queue_attributes()
            .queue_url(&url)
            .attributes(QueueAttributeName::RedrivePolicy, gone)
            .send()
    );
    assert_eq!(bad.0, "InvalidParameterValue");

    let sources = client.list_dead_letter_source_queues().queue_url(&dead).send().await.unwrap();
    assert_eq!(sources.queue_urls(), std::slice::from_ref(&url));
    client.purge_queue().queue_url(&url).send().await.unwrap();
    assert!(
        client
            .purge_queue()
            .queue_url(&url)
            .send()
            .await
            .unwrap_err()
            .into_service_error()
            .is_purge_queue_in_progress()
    );
    assert!(receive(&client, &url).await.is_empty());
    world.end().await;
}

#[tokio::test]
async fn tags_and_permissions_come_and_go() {
    let world = World::start().await;
    let client = world.client();
    let made =
        client.create_queue().queue_name("jobs").tags("team", "a").tags("empty", "").send().await.unwrap();
    let url = made.queue_url.unwrap();
    client.tag_queue().queue_url(&url).tags("team", "b").tags("cost", "1").send().await.unwrap();
    client.untag_queue().queue_url(&url).tag_keys("empty").send().await.unwrap();
    let tags = client.list_queue_tags().queue_url(&url).send().await.unwrap().tags.unwrap();
    let mut tags: Vec<_> = tags.iter().map(|(key, value)| (&**key, &**value)).collect();
    tags.sort_unstable();
    assert_eq!(tags, [("cost", "1"), ("team", "b")]);

    let add = || {
        client
            .add_permission()
            .queue_url(&url)
            .label("them")
            .aws_account_ids("123456789012")
            .actions("SendMessage")
    };
    add().send().await.unwrap();
    let (code, message) = refused!(add().send());
    assert_eq!(
        (&*code, &*message),
        ("InvalidParameterValue", "Value them for parameter Label is invalid. Reason: Already exists.")
    );
    let policy = || async {
        let asked = client.get_queue_attributes().queue_url(&url).attribute_names(QueueAttributeName::Policy);
        asked
            .send()
            .await
            .unwrap()
            .attributes
            .and_then(|mut attributes| attributes.remove(&QueueAttributeName::Policy))
    };
    assert!(policy().await.unwrap().contains("arn:aws:iam::123456789012:root"));
    client.remove_permission().queue_url(&url).label("them").send().await.unwrap();
    assert_eq!(policy().await, None);
    let (code, _) = refused!(client.remove_permission().queue_url(&url).label("them").send());
    assert_eq!(code, "InvalidParameterValue");
    world.end().await;
}

#[tokio::test]
async fn dead_letters_are_kept_and_moved_back() {
    let world = World::start().await;
    let client = world.client();
    let dead = queue(&client, "dead", &[]).await;
    let (source_arn, dead_arn) =
        ("arn:aws:sqs:us-east-1:000000000000:jobs", "arn:aws:sqs:us-east-1:000000000000:dead");
    let early = refused!(client.start_message_move_task().source_arn(dead_arn).send());
    assert_eq!(early.1, "Source queue must be configured as a Dead Letter Queue.");
    let policy = format!("{{\"deadLetterTargetArn\":\"{dead_arn}\",\"maxReceiveCount\":1}}");
    let attributes =
        [(QueueAttributeName::RedrivePolicy, &*policy), (QueueAttributeName::VisibilityTimeout, "0")];
    let url = queue(&client, "jobs", &attributes).await;
    client.send_message().queue_url(&url).message_body("poison").send().await.unwrap();
    assert_eq!(receive(&client, &url).await.len(), 1);
    assert!(receive(&client, &url).await.is_empty());
    let message = client
        .receive_message()
        .queue_url(&dead)
        .visibility_timeout(0)
        .message_system_attribute_names(MessageSystemAttributeName::DeadLetterQueueSourceArn)
        .wait_time_seconds(5)
        .send()
        .await
        .unwrap()
        .messages
        .unwrap()
        .remove(0);
    assert_eq!(
        message.attributes.unwrap()[&MessageSystemAttributeName::DeadLetterQueueSourceArn],
        source_arn
    );

    let missing = dead_arn.replace("dead", "gone");
    let error = client
        .start_message_move_task()
        .source_arn(dead_arn)
        .destination_arn(missing)
        .send()
        .await
        .unwrap_err();
    assert!(error.into_service_error().is_resource_not_found_exception());
    client.start_message_move_task().source_arn(dead_arn).send().await.unwrap();
    let back = client.receive_message().queue_url(&url).wait_time_seconds(10).send().await.unwrap();
    assert_eq!(back.messages()[0].body(), Some("poison"));
    let tasks = client.list_message_move_tasks().source_arn(dead_arn).max_results(10).send().await.unwrap();
    assert_eq!(tasks.results()[0].source_arn(), Some(dead_arn));
    let (code, _) = refused!(client.cancel_message_move_task().task_handle("bm8=").send());
    assert_eq!(code, "InvalidParameterValue");

    // A slow one, to have something to cancel.
    for n in 0..3 {
        client.send_message().queue_url(&dead).message_body(n.to_string()).send().await.unwrap();
    }
    let slow = client.start_message_move_task().source_arn(dead_arn).destination_arn(source_arn);
    let handle = slow.max_number_of_messages_per_second(1).send().await.unwrap().task_handle.unwrap();
    let cancelled = client.cancel_message_move_task().task_handle(handle).send().await.unwrap();
    assert!(cancelled.approximate_number_of_messages_moved <= 3);
    world.end().await;
}
