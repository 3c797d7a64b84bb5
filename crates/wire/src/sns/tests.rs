//! The table of actions, and decoders under wild input.

use pipes::topic::{SubscriptionSettings, TopicSettings};
use proptest::prelude::*;

use super::message::Parts;
use super::*;

/// Every operation that the service has, from its published model; those of mobile push, SMS and phone numbers aside.
const OPERATIONS: [&str; 21] = [
    "AddPermission",
    "ConfirmSubscription",
    "CreateTopic",
    "DeleteTopic",
    "GetDataProtectionPolicy",
    "GetSubscriptionAttributes",
    "GetTopicAttributes",
    "ListSubscriptions",
    "ListSubscriptionsByTopic",
    "ListTagsForResource",
    "ListTopics",
    "Publish",
    "PublishBatch",
    "PutDataProtectionPolicy",
    "RemovePermission",
    "SetSubscriptionAttributes",
    "SetTopicAttributes",
    "Subscribe",
    "TagResource",
    "UntagResource",
    "Unsubscribe",
];

#[test]
fn every_operation_on_topics_is_there() {
    let mut names: Vec<_> = ACTIONS.iter().map(|action| action.name).collect();
    names.sort_unstable();
    let mut expected = OPERATIONS;
    expected.sort_unstable();
    assert_eq!(names, expected);
    // The page tells each of them, and each attribute that can be set.
    let page = include_str!("../../../../docs/sns.md");
    for name in OPERATIONS {
        assert!(page.lines().any(|line| line.starts_with('|') && line.contains(name)), "{name}");
    }
    for name in super::topic_attributes::KEPT.iter().filter(|name| !name.contains("Feedback")) {
        assert!(page.contains(&format!("`{name}`")), "{name}");
    }
}

/// Texts that are close to what is expected, and texts that are not.
fn values() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => "\\PC{0,30}",
        1 => "(String|Number|Binary|String\\.Array|Number\\.|)(\\.[a-z]{0,3})?",
        1 => "-?[0-9]{0,5}(\\.[0-9]{0,3})?(e[0-9]{0,3})?",
        1 => "arn:aws:(sns|sqs):us-east-1:000000000000:[a-z.:-]{0,40}",
        1 => "\\{\"(http|healthyRetryPolicy|deadLetterTargetArn|default|a)\": (\\{\\}|\\[\\]|null|5|\"x\"|\\{\"numRetries\": -?[0-9]{1,10}\\})\\}",
    ]
}

fn fields() -> impl Strategy<Value = Vec<(&'static str, String)>> {
    let names = vec!["Name", "Value.DataType", "Value.StringValue", "Value.BinaryValue", "Value", "é"];
    prop::collection::vec((prop::sample::select(names), values()), 0..5)
}

proptest! {
    #[test]
    fn no_message_is_too_wild(
        message in prop::option::of(values()), subject in prop::option::of(values()), structure in any::<bool>(),
        group in prop::option::of(values()), dedup in prop::option::of(values()), fifo in any::<bool>(),
        attributes in prop::collection::vec(fields(), 0..3),
    ) {
        let parts = Parts {
            message: message.as_deref(),
            subject: subject.as_deref(),
            structure: structure.then_some("json"),
            group: group.as_deref(),
            dedup: dedup.as_deref(),
            attributes: attributes.iter().map(|one| one.iter().map(|(name, value)| (*name, &**value)).collect()).collect(),
            place: None,
        };
        let size = parts.size();
        if let Ok(publication) = parts.into_domain(fifo, "me") {
            prop_assert!(publication.body.len() <= size);
            prop_assert_eq!(publication.group.is_some(), group.is_some());
        }
    }

    #[test]
    fn no_attribute_is_too_wild(name in 0usize..9, value in values()) {
        let names = [
            "FilterPolicy", "FilterPolicyScope", "RedrivePolicy", "DeliveryPolicy", "RawMessageDelivery", "Policy", "DisplayName",
            "FifoThroughputScope", "SignatureVersion",
        ];
        let topic = "orders.fifo".parse().unwrap();
        let mut settings = TopicSettings { fifo: Some(Default::default()), ..TopicSettings::default() };
        let _ = topic_attributes::apply(&mut settings, &topic, names[name], &value, "");
        let _ = subscription_attributes::apply(&mut SubscriptionSettings::default(), names[name], &value, "");
        let _ = (names::parse_topic_arn(&value, "TopicArn"), names::parse_subscription_arn(&value));
        if let Some(text) = topics::read_token(&value) {
            prop_assert_eq!(topics::read_token(&topics::token(&text)), Some(text));
        }
    }

    #[test]
    fn what_is_written_is_xml(text in "\\PC{0,30}|[\\x00-\\x7f]{0,30}") {
        let reply = SnsError::parameter(&text).reply(&crate::request_id::RequestIds::new().next());
        let body = std::str::from_utf8(&reply.body).unwrap();
        let message = body.split_once("<Message>").and_then(|(_, rest)| rest.split_once("</Message>")).unwrap().0;
        prop_assert!(!message.contains('<') && !message.contains('\0'));
    }
}
