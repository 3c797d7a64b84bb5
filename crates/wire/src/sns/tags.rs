//! TagResource, UntagResource, ListTagsForResource.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pipes::topic::Topic;

use super::call::{Answer, Call};
use super::error::{Code, SnsError};
use super::xml::Xml;

/// Most tags of a topic, and most characters of a key and of a value.
const MOST_TAGS: usize = 50;
const MOST_KEY: usize = 128;
const MOST_VALUE: usize = 256;

pub(super) async fn tag_resource(call: &Call<'_>) -> Result<Answer, SnsError> {
    let topic = resource(call)?;
    // Read against what is there now; put into what is there then.
    let added = read(call, BTreeMap::new())?;
    call.topics
        .change(topic.name(), |_, tags| {
            tags.extend(added);
            within(tags.len())
        })
        .await?;
    Ok(Answer::Result(Xml::default()))
}

pub(super) async fn untag_resource(call: &Call<'_>) -> Result<Answer, SnsError> {
    let topic = resource(call)?;
    let keys: BTreeSet<String> = call
        .members("TagKeys")
        .iter()
        .filter_map(|member| member.get(""))
        .map(|key| (*key).to_owned())
        .collect();
    call.topics
        .change(topic.name(), |_, tags| {
            tags.retain(|key, _| !keys.contains(key));
            Ok::<_, SnsError>(())
        })
        .await?;
    Ok(Answer::Result(Xml::default()))
}

pub(super) async fn list_tags_for_resource(call: &Call<'_>) -> Result<Answer, SnsError> {
    let topic = resource(call)?;
    let mut xml = Xml::default();
    xml.list("Tags", topic.tags(), |xml, (key, value)| {
        xml.text("Key", key);
        xml.text("Value", value);
    });
    Ok(Answer::Result(xml))
}

fn resource(call: &Call<'_>) -> Result<Arc<Topic>, SnsError> {
    call.topic("ResourceArn").map_err(|error| {
        if error == SnsError::no_topic() {
            SnsError::new(Code::ResourceNotFound, "Resource does not exist")
        } else {
            error
        }
    })
}

/// The tags of a request, added to others.
pub(super) fn read(
    call: &Call<'_>,
    mut tags: BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, SnsError> {
    let mut seen = BTreeSet::new();
    for member in call.members("Tags") {
        let key = member.get("Key").copied().unwrap_or_default();
        let value = member.get("Value").copied().unwrap_or_default();
        let reserved = key.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("aws:"));
        if key.is_empty() || key.chars().count() > MOST_KEY || value.chars().count() > MOST_VALUE || reserved
        {
            return Err(SnsError::parameter(
                "Tags Reason: Tag keys have 1 to 128 characters and do not begin with aws:, values have 0 to 256",
            ));
        }
        if !seen.insert(key) {
            return Err(SnsError::parameter("Duplicated keys are not allowed."));
        }
        tags.insert(key.to_owned(), value.to_owned());
    }
    within(tags.len())?;
    Ok(tags)
}

fn within(count: usize) -> Result<(), SnsError> {
    if count > MOST_TAGS {
        return Err(SnsError::new(
            Code::TagLimitExceeded,
            format!("Could not complete request: tag quota of per resource exceeded, it is {MOST_TAGS}"),
        ));
    }
    Ok(())
}
