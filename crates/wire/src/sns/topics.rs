//! CreateTopic, DeleteTopic, ListTopics.

use pipes::Declared;
use pipes::TopicName;
use pipes::topic::TopicSettings;

use super::call::{Answer, Call};
use super::error::SnsError;
use super::names::topic_arn;
use super::tags;
use super::topic_attributes;
use super::xml::Xml;

/// Topics, and subscriptions, of one page.
pub(super) const PAGE: usize = 100;

pub(super) async fn create_topic(call: &Call<'_>) -> Result<Answer, SnsError> {
    let name: TopicName = call.required("Name")?.parse().map_err(|_| SnsError::parameter("Topic Name"))?;
    if call.some("DataProtectionPolicy").is_some() {
        return Err(super::permissions::no_data_protection());
    }
    let given = call.map("Attributes")?;
    let tags = tags::read(call, Default::default())?;
    let there = call.topics.topic(&name);
    call.may(&name, there.as_ref().and_then(|topic| topic.settings().policy.as_deref()))?;
    // What is not said is as it is, or as it is by default.
    let mut settings = match &there {
        Some(topic) => topic.settings().clone(),
        None => TopicSettings { fifo: name.is_fifo().then(Default::default), ..TopicSettings::default() },
    };
    let fifo = given.get("FifoTopic").map(String::as_str).unwrap_or_default().eq_ignore_ascii_case("true");
    if fifo != name.is_fifo() {
        return Err(SnsError::parameter("Topic Name"));
    }
    for (attribute, value) in &given {
        if attribute != "FifoTopic" {
            topic_attributes::apply(&mut settings, &name, attribute, value, "Attributes Reason: ")?;
        }
    }
    call.topics.create(name.clone(), settings, tags, Declared::AtRunTime).await?;
    let mut xml = Xml::default();
    xml.text("TopicArn", &topic_arn(&name));
    Ok(Answer::Result(xml))
}

pub(super) async fn delete_topic(call: &Call<'_>) -> Result<Answer, SnsError> {
    match call.topic("TopicArn") {
        Ok(topic) => call.topics.delete(topic.name()).await?,
        // What is not there needs not be deleted.
        Err(error) if error == SnsError::no_topic() => {}
        Err(error) => return Err(error),
    }
    Ok(Answer::Done)
}

pub(super) async fn list_topics(call: &Call<'_>) -> Result<Answer, SnsError> {
    call.may_at_all()?;
    let after: Option<TopicName> = match call.some("NextToken") {
        None => None,
        Some(token) => Some(read_token(token).and_then(|name| name.parse().ok()).ok_or_else(bad_token)?),
    };
    let mut topics = call.topics.topics(after.as_ref(), PAGE + 1);
    let more = topics.len() > PAGE;
    topics.truncate(PAGE);
    let mut xml = Xml::default();
    xml.list("Topics", &topics, |xml, topic| xml.text("TopicArn", &topic_arn(topic.name())));
    if let Some(last) = topics.last().filter(|_| more) {
        xml.text("NextToken", &token(last.name().as_str()));
    }
    Ok(Answer::Result(xml))
}

/// Where a page ended, for whoever asks for the next one.
pub(super) fn token(last: &str) -> String {
    crate::base64::text(last.as_bytes())
}

pub(super) fn read_token(token: &str) -> Option<String> {
    String::from_utf8(crate::base64::decode(token)?).ok()
}

pub(super) fn bad_token() -> SnsError {
    SnsError::parameter("NextToken")
}
