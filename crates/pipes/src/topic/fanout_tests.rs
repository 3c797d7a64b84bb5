//! Who gets what.

use super::*;
use crate::topic::filter::Filter;
use crate::topic::subscription::{State, SubscriptionSettings};

struct Plain;

impl Envelope for Plain {
    fn seal<'a>(&'a self, _: &'a [Notice<'a>]) -> BoxFuture<'a, Result<Vec<String>, Crowded>> {
        unreachable!("who gets what is decided without waiting")
    }

    fn address(&self, sealed: &str, _: &TopicName, to: SubscriptionId) -> Bytes {
        format!("{sealed} to {}", to.0).into()
    }

    fn question<'a>(&'a self, _: &'a Question<'a>) -> BoxFuture<'a, Result<Bytes, Crowded>> {
        unreachable!("nobody is asked")
    }
}

fn to_queue(id: u128, queue: &str, change: impl FnOnce(&mut Subscription)) -> Arc<Subscription> {
    let mut subscription = Subscription {
        id: SubscriptionId(id),
        topic: "t".parse().unwrap(),
        endpoint: Endpoint::Queue(queue.parse().unwrap()),
        owner: String::new(),
        created_at: Timestamp::from_micros(0),
        state: State::Confirmed { authenticated: true },
        settings: SubscriptionSettings::default(),
    };
    change(&mut subscription);
    Arc::new(subscription)
}

fn planned(subscriptions: &[Arc<Subscription>], message: &Publication) -> (Vec<Parcel>, Vec<Parcel>) {
    let dedup = message.dedup.clone();
    let stamped = Stamped { index: 0, message, id: MessageId(9), sequence: Some(1), dedup };
    let (topic, settings, messages) = ("t".parse().unwrap(), TopicSettings::default(), [stamped]);
    let plan = plan(&topic, &settings, subscriptions, &messages, Timestamp::from_micros(0));
    let sealed = |notice: &Notice<'_>| format!("{}:{}", notice.topic, String::from_utf8_lossy(notice.body));
    let sealed: Vec<String> = plan.notices.iter().map(sealed).collect();
    plan.parcels(&sealed, &Plain)
}

fn color(value: &str) -> Vec<Attribute> {
    vec![own("color", value)]
}

#[test]
fn everybody_who_wants_it_gets_a_copy() {
    let red = |subscription: &mut Subscription| {
        subscription.settings.filter =
            Some(Filter::parse("{\"color\": [\"red\"]}", Scope::Attributes).unwrap());
    };
    let subscriptions = [
        to_queue(1, "all", |_| {}),
        to_queue(2, "red", red),
        to_queue(3, "raw", |subscription| subscription.settings.raw = true),
        to_queue(4, "pending", |subscription| subscription.state = State::Pending),
    ];
    let message = Publication { body: "hi".into(), attributes: color("blue"), ..Publication::default() };
    let (parcels, impossible) = planned(&subscriptions, &message);
    assert!(impossible.is_empty());
    let seen: Vec<_> = parcels
        .iter()
        .map(|p| (p.queue.as_str(), &p.outgoing.body[..], p.outgoing.attributes.len()))
        .collect();
    assert_eq!(seen, [("all", &b"t:hi to 1"[..], 0), ("raw", b"hi", 1)]);
    let message = Publication { body: "hi".into(), attributes: color("red"), ..Publication::default() };
    assert_eq!(planned(&subscriptions, &message).0.len(), 3);
    let (topic, settings) = ("t".parse().unwrap(), TopicSettings::default());
    let stamped = [Stamped { index: 0, message: &message, id: MessageId(9), sequence: None, dedup: None }];
    let plan = plan(&topic, &settings, &subscriptions, &stamped, Timestamp::from_micros(0));
    assert_eq!(plan.notices.len(), 1, "two are told the same");
}

#[test]
fn a_kind_of_endpoint_can_have_a_body_of_its_own() {
    let http = |subscription: &mut Subscription| subscription.endpoint = Endpoint::Http("http://x/".into());
    let subscriptions = [to_queue(1, "a", |_| {}), to_queue(2, "b", http)];
    let bodies = [(Protocol::Queue, Bytes::from("for queues"))].into();
    let message = Publication { body: "for all".into(), bodies, ..Publication::default() };
    let (parcels, _) = planned(&subscriptions, &message);
    assert_eq!(parcels[0].outgoing.body, "t:for queues to 1");
    assert_eq!(parcels[1].outgoing.body, "t:for all to 2");
    assert!(parcels[1].queue.is_internal());
    assert_eq!(parcels[1].outgoing.attributes, [own(OWN_ID, &MessageId(9).to_string())]);
}

#[test]
fn groups_and_identities_reach_queues_that_keep_order() {
    let subscriptions = [to_queue(1, "q.fifo", |_| {}), to_queue(2, "q", |_| {})];
    let message = Publication { group: Some("g".into()), dedup: Some("d".into()), ..Publication::default() };
    let (parcels, _) = planned(&subscriptions, &message);
    assert_eq!(
        (parcels[0].outgoing.group.as_deref(), parcels[0].outgoing.dedup.as_deref()),
        (Some("g"), Some("d"))
    );
    assert_eq!(
        (parcels[1].outgoing.group.as_deref(), parcels[1].outgoing.dedup.as_deref()),
        (Some("g"), None)
    );
}

#[test]
fn more_attributes_than_a_queue_takes_cannot_be_delivered_raw() {
    let attributes: Vec<_> = (0..11).map(|n| own(&format!("a{n:02}"), "x")).collect();
    let message = Publication { body: "hi".into(), attributes, ..Publication::default() };
    let dead = |subscription: &mut Subscription| {
        subscription.settings.raw = true;
        subscription.settings.dead_letter = Some("dead".parse().unwrap());
    };
    let (parcels, mut impossible) = planned(&[to_queue(1, "a", dead), to_queue(2, "b", |_| {})], &message);
    assert_eq!(parcels.len(), 1);
    let diverted = impossible.remove(0).diverted().unwrap();
    assert_eq!(diverted.queue.as_str(), "dead");
    assert_eq!(diverted.diverted(), None);
}

#[test]
fn what_does_not_fit_into_one_transaction_goes_into_several() {
    let body = Bytes::from(vec![0; 256 * 1024]);
    let parcel = |index| Parcel {
        index,
        subscription: SubscriptionId(1),
        queue: if index % 2 == 0 { "a".parse().unwrap() } else { "b".parse().unwrap() },
        outgoing: Outgoing { body: body.clone(), ..Outgoing::default() },
        dead_letter: None,
    };
    let all = chunks((0..70).map(parcel).collect());
    assert_eq!(all.iter().map(Vec::len).collect::<Vec<_>>(), [32, 32, 6]);
    let parts = by_queue(all.into_iter().flatten().collect());
    assert_eq!(parts.len(), 2);
    assert!(parts[1].1.iter().map(|parcel| parcel.index).eq((1..70).step_by(2)));
    assert!(chunks(Vec::new()).is_empty());
}
