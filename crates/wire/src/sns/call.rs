//! One call of an action: what it was given, and how it answers.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::StatusCode;
use pipes::topic::{Publication, Subscription, Topic, Topics};
use pipes::{Pipes, QueueName, TopicName};

use super::error::SnsError;
use super::names::{parse_subscription_arn, parse_topic_arn};
use super::xml::Xml;
use crate::face::{Arrived, Reply, Told};
use crate::form::Params;
use crate::gate::Resource;
use crate::trace::Span;

/// One call of an action.
pub(super) struct Call<'a> {
    pub(super) topics: &'a Topics,
    pub(super) pipes: &'a Pipes,
    pub(super) arrived: &'a Arrived<'a>,
    /// The action's name, and how policies call it.
    pub(super) action: &'static str,
    pub(super) verb: &'static str,
    pub(super) params: Params<'a>,
    /// What a witness is told of it.
    pub(super) seen: Seen,
}

/// What a witness is told, filled in on the way.
#[derive(Default)]
pub(super) struct Seen {
    resource: OnceLock<TopicName>,
    messages: AtomicU32,
    message: OnceLock<String>,
    span: OnceLock<Span>,
}

/// What an action answers.
pub(super) enum Answer {
    /// That it was done, and nothing else: there is no result in the answer.
    Done,
    /// What is in its result, maybe nothing.
    Result(Xml),
}

impl Call<'_> {
    /// A parameter, if it is there: the first one of that name.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.params.iter().find_map(|(key, value)| (key == name).then_some(value))
    }

    /// A parameter that is there and not empty.
    pub(super) fn some(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|text| !text.is_empty())
    }

    /// A parameter that has to be there.
    pub(super) fn required(&self, name: &str) -> Result<&str, SnsError> {
        self.some(name).ok_or_else(|| SnsError::missing(name))
    }

    /// What stands under `NAME.member.1`, `NAME.member.2`, …: for each member its fields, by what is behind the number.
    /// The field of a plain text is empty.
    pub(super) fn members(&self, name: &str) -> Vec<BTreeMap<&str, &str>> {
        numbered(&self.params, &format!("{name}.member."))
    }

    /// The map under `NAME.entry.1.key`, `NAME.entry.1.value`, …
    pub(super) fn map(&self, name: &str) -> Result<BTreeMap<String, String>, SnsError> {
        let entries = numbered(&self.params, &format!("{name}.entry."));
        let entry = |entry: &BTreeMap<&str, &str>| {
            let key = entry.get("key").ok_or_else(|| SnsError::missing(&format!("{name}.key")))?;
            Ok(((*key).to_owned(), entry.get("value").copied().unwrap_or_default().to_owned()))
        };
        entries.iter().map(entry).collect()
    }

    /// The topic of a parameter, if there is one and the caller may do this to it.
    pub(super) fn topic(&self, parameter: &str) -> Result<Arc<Topic>, SnsError> {
        let arn = self.required(parameter)?;
        let name = parse_topic_arn(arn, parameter)?.ok_or_else(|| SnsError::parameter(parameter))?;
        self.topic_of(&name)
    }

    /// The topic of a name, if there is one and the caller may do this to it.
    pub(super) fn topic_of(&self, name: &TopicName) -> Result<Arc<Topic>, SnsError> {
        let topic = self.topics.topic(name);
        self.may(name, topic.as_ref().and_then(|topic| topic.settings().policy.as_deref()))?;
        topic.ok_or_else(SnsError::no_topic)
    }

    /// The subscription of `SubscriptionArn`, if there is one and the caller may do this to its topic.
    pub(super) fn subscription(&self) -> Result<Arc<Subscription>, SnsError> {
        let (topic, id) = parse_subscription_arn(self.required("SubscriptionArn")?)?;
        let policy = self.topics.topic(&topic);
        self.may(&topic, policy.as_ref().and_then(|topic| topic.settings().policy.as_deref()))?;
        let there = self.topics.subscription(id).filter(|there| there.topic == topic);
        there.ok_or_else(SnsError::no_subscription)
    }

    /// Whether the caller may do this to the topic of that name.
    pub(super) fn may(&self, name: &TopicName, policy: Option<&str>) -> Result<(), SnsError> {
        self.saw_topic(name);
        let resource = Resource { service: "sns", name: name.as_str(), policy };
        Ok(self.arrived.gate.may(&self.arrived.caller, self.verb, &resource)?)
    }

    /// Whether the caller may do this, which is about no particular topic.
    pub(super) fn may_at_all(&self) -> Result<(), SnsError> {
        let resource = Resource { service: "sns", name: "*", policy: None };
        Ok(self.arrived.gate.may(&self.arrived.caller, self.verb, &resource)?)
    }

    /// Whether the caller may send to a queue: who cannot send there must not have a topic do it.
    pub(super) fn may_send_to(&self, name: &QueueName) -> Result<(), SnsError> {
        let queue = self.pipes.queue(name);
        let settings = queue.map(|queue| queue.settings());
        let policy = settings.as_ref().and_then(|settings| settings.policy.as_deref());
        let resource = Resource { service: "sqs", name: name.as_str(), policy };
        Ok(self.arrived.gate.may(&self.arrived.caller, "sqs:SendMessage", &resource)?)
    }

    /// Messages are about to be published: each is told what trace it belongs to.
    pub(super) fn trace_messages(&self, messages: &mut [Publication]) {
        self.seen.messages.store(u32::try_from(messages.len()).unwrap_or(u32::MAX), Ordering::Relaxed);
        let contexts: Vec<_> =
            messages.iter().map(|message| pipes::context(&message.attributes, None)).collect();
        let span = self.seen.span.get_or_init(|| Span::of(self.arrived.came.as_ref(), &contexts));
        for (message, own) in messages.iter_mut().zip(contexts) {
            message.trace = span.for_message(own);
        }
    }

    /// It is about this topic.
    pub(super) fn saw_topic(&self, name: &TopicName) {
        let _ = self.seen.resource.set(name.clone()); // the first one is what the action is about
    }

    /// It was about this message, and no other.
    pub(super) fn saw_message(&self, id: &str) {
        let _ = self.seen.message.set(id.to_owned());
    }

    /// The reply to be sent.
    pub(super) fn reply(&self, outcome: Result<Answer, SnsError>) -> Reply {
        let mut reply = match outcome {
            Err(error) => error.reply(self.arrived.id),
            Ok(answer) => self.success(answer),
        };
        reply.told.action = self.action;
        reply.told.resource =
            self.seen.resource.get().map(|name| name.as_str().to_owned()).unwrap_or_default();
        reply.told.messages = self.seen.messages.load(Ordering::Relaxed);
        reply.told.message = self.seen.message.get().cloned();
        if let Some(Span { trace, links }) = self.seen.span.get() {
            reply.told.span = Some(*trace);
            reply.told.links.clone_from(links);
        }
        reply
    }

    fn success(&self, answer: Answer) -> Reply {
        let mut xml = Xml::default();
        for piece in ["<", self.action, "Response xmlns=\"", super::NAMESPACE, "\">"] {
            xml.raw(piece);
        }
        if let Answer::Result(result) = answer {
            let result = String::from_utf8(result.into_bytes()).unwrap_or_default();
            xml.within(&format!("{}Result", self.action), |xml| xml.raw(&result));
        }
        xml.within("ResponseMetadata", |xml| xml.text("RequestId", self.arrived.id.as_str()));
        xml.close(&format!("{}Response", self.action));
        Reply {
            status: StatusCode::OK,
            content_type: Some(super::XML),
            query_error: None,
            body: Bytes::from(xml.into_bytes()),
            told: Told::default(),
        }
    }
}

/// `PREFIX1.FIELD`, `PREFIX2.FIELD`, … in the order of their numbers.
fn numbered<'p>(params: &'p Params<'_>, prefix: &str) -> Vec<BTreeMap<&'p str, &'p str>> {
    let mut elements: BTreeMap<u32, BTreeMap<&str, &str>> = BTreeMap::new();
    for (name, value) in params.iter() {
        let Some(rest) = name.strip_prefix(prefix) else { continue };
        let (number, field) = rest.split_once('.').unwrap_or((rest, ""));
        if let Ok(number) = number.parse() {
            elements.entry(number).or_default().entry(field).or_insert(value);
        }
    }
    elements.into_values().collect()
}

/// The members of a list within an element: `PREFIX.entry.1.FIELD` among the fields of [`Call::members`].
pub(super) fn inner_entries<'p>(
    fields: &BTreeMap<&'p str, &'p str>,
    name: &str,
) -> Vec<BTreeMap<&'p str, &'p str>> {
    let mut elements: BTreeMap<u32, BTreeMap<&str, &str>> = BTreeMap::new();
    let prefix = format!("{name}.entry.");
    for (field, value) in fields {
        let Some(rest) = field.strip_prefix(&prefix) else { continue };
        let (number, field) = rest.split_once('.').unwrap_or((rest, ""));
        if let Ok(number) = number.parse() {
            elements.entry(number).or_default().insert(field, value);
        }
    }
    elements.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_come_in_the_order_of_their_numbers() {
        let mut params = Params::default();
        params.read(b"Tags.member.10.Key=b&Tags.member.2.Key=a&Tags.member.2.Value=x&TagKeys.member.1=k&Tags.member.z=1").unwrap();
        let tags = numbered(&params, "Tags.member.");
        assert_eq!(tags.len(), 2);
        assert_eq!((tags[0]["Key"], tags[0]["Value"], tags[1]["Key"]), ("a", "x", "b"));
        assert_eq!(numbered(&params, "TagKeys.member.")[0][""], "k");
    }
}
