//! TagQueue, UntagQueue, ListQueueTags.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::call::{Answer, Call};
use super::error::SqsError;
use crate::encode::Named;
use crate::text::{Pairs, Text};

/// Most tags of a queue, and most characters of a key and of a value.
const MOST_TAGS: usize = 50;
const MOST_KEY: usize = 128;
const MOST_VALUE: usize = 256;

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct TagQueue<'a> {
    #[serde(borrow)]
    queue_url: Option<Text<'a>>,
    #[serde(borrow)]
    tags: Option<Pairs<'a, Text<'a>>>,
}

pub(super) async fn tag_queue(call: &Call<'_>) -> Result<Answer, SqsError> {
    let TagQueue { queue_url, tags } = call.decode()?;
    let queue = call.queue(queue_url.as_ref())?;
    let tags = tags.filter(|tags| !tags.0.is_empty()).ok_or_else(|| SqsError::missing("Tags"))?;
    queue.set_tags(collect(queue.tags(), tags)?).await?;
    Ok(Answer::Done)
}

/// Tags with others added, within their limits.
pub(super) fn collect(
    mut tags: BTreeMap<String, String>,
    added: Pairs<'_, Text<'_>>,
) -> Result<BTreeMap<String, String>, SqsError> {
    for (key, value) in added.0 {
        if key.is_empty() || key.chars().count() > MOST_KEY {
            return Err(SqsError::invalid(format!(
                "Tag keys must be between 1 and {MOST_KEY} characters in length."
            )));
        }
        if value.chars().count() > MOST_VALUE {
            return Err(SqsError::invalid(format!(
                "Tag values must be between 0 and {MOST_VALUE} characters in length."
            )));
        }
        if key.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("aws:")) {
            return Err(SqsError::invalid("Tag keys cannot start with 'aws:'."));
        }
        tags.insert(key.0.into_owned(), value.0.into_owned());
    }
    if tags.len() > MOST_TAGS {
        return Err(SqsError::invalid(format!("Too many tags added for queue: at most {MOST_TAGS}.")));
    }
    Ok(tags)
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct UntagQueue<'a> {
    #[serde(borrow)]
    queue_url: Option<Text<'a>>,
    #[serde(borrow)]
    tag_keys: Option<Vec<Text<'a>>>,
}

pub(super) async fn untag_queue(call: &Call<'_>) -> Result<Answer, SqsError> {
    let UntagQueue { queue_url, tag_keys } = call.decode()?;
    let queue = call.queue(queue_url.as_ref())?;
    let keys = tag_keys.filter(|keys| !keys.is_empty()).ok_or_else(|| SqsError::missing("TagKeys"))?;
    let mut tags = queue.tags();
    tags.retain(|key, _| !keys.iter().any(|gone| **gone == **key));
    queue.set_tags(tags).await?;
    Ok(Answer::Done)
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ListQueueTags<'a> {
    #[serde(borrow)]
    queue_url: Option<Text<'a>>,
}

pub(super) async fn list_queue_tags(call: &Call<'_>) -> Result<Answer, SqsError> {
    let ListQueueTags { queue_url } = call.decode()?;
    let tags = call.queue(queue_url.as_ref())?.tags();
    let mut out = call.answer(64 * tags.len());
    if !tags.is_empty() {
        out.map(Named { json: "Tags", xml: "Tag" }, ("Key", "Value"), &tags);
    }
    Ok(Answer::Members(out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_have_limits() {
        let with = |pairs: &[(&str, &str)]| {
            let pairs =
                pairs.iter().map(|(key, value)| (Text((*key).into()), Text((*value).into()))).collect();
            collect(BTreeMap::from([("old".to_owned(), "1".to_owned())]), Pairs(pairs))
        };
        assert_eq!(with(&[("old", "2"), ("new", "")]).unwrap().len(), 2);
        let (long_key, long_value) = ("k".repeat(129), "v".repeat(257));
        for bad in [("", "v"), (&*long_key, "v"), ("k", &*long_value), ("aws:k", "v")] {
            assert!(with(&[bad]).is_err(), "{bad:?}");
        }
        let many: Vec<String> = (0..50).map(|n| n.to_string()).collect();
        let many: Vec<_> = many.iter().map(|key| (&**key, "v")).collect();
        assert!(with(&many[..49]).is_ok() && with(&many).is_err());
    }
}
