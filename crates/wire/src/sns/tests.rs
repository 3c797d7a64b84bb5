//! The table of actions.

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
}
