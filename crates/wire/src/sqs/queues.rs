//! CreateQueue, GetQueueUrl, ListQueues, DeleteQueue, PurgeQueue.

use std::collections::BTreeMap;

use pipes::{Declared, Fifo, QueueName, Settings};
use serde::Deserialize;

use super::call::{Answer, Call};
use super::error::SqsError;
use super::settings::{self, Change};
use super::tags;
use crate::base64;
use crate::encode::Named;
use crate::names::ACCOUNT;
use crate::text::{Pairs, Text};

/// Most queues that one answer lists.
pub(super) const MOST_LISTED: usize = 1000;

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct CreateQueue<'a> {
    #[serde(borrow)]
    queue_name: Option<Text<'a>>,
    #[serde(borrow)]
    attributes: Option<Pairs<'a, Text<'a>>>,
    /// So in JSON; the query protocol has `Tag.1.Key`.
    #[serde(borrow, rename = "tags", alias = "Tags")]
    tags: Option<Pairs<'a, Text<'a>>>,
}

pub(super) async fn create_queue(call: &Call<'_>) -> Result<Answer, SqsError> {
    let CreateQueue { queue_name, attributes, tags } = call.decode()?;
    let name = queue_name.filter(|name| !name.is_empty()).ok_or_else(|| SqsError::missing("QueueName"))?;
    let attributes = attributes.unwrap_or_default();
    let fifo = settings::asks_for_order(&attributes)?;
    let name = checked_name(&name, fifo)?;
    let tags = tags::collect(BTreeMap::new(), tags.unwrap_or_default())?;
    let existing = call.pipes.queue(&name).map(|queue| queue.settings());
    call.may(&name, existing.as_ref().and_then(|settings| settings.policy.as_deref()))?;

    let begin = match existing {
        // What is not said is as it is; what is said must be as it is.
        Some(settings) => Settings::clone(&settings),
        None => Settings { fifo: fifo.then(Fifo::default), ..Settings::default() },
    };
    let Change { settings, redrive } = settings::change(&begin, &attributes, settings::Moment::Creation)?;
    if call.pipes.queue(&name).is_some() {
        if let Some(different) = settings::first_difference(&begin, &settings) {
            return Err(SqsError::differs(different));
        }
    } else {
        let created = call.pipes.create_queue(name.clone(), settings, tags, Declared::AtRunTime);
        created.await.map_err(|error| SqsError::create(error, &redrive))?;
    }
    let mut out = call.answer(128);
    out.text("QueueUrl", &call.url(&name));
    Ok(Answer::Members(out))
}

fn checked_name(name: &str, fifo: bool) -> Result<QueueName, SqsError> {
    let wrong = || {
        SqsError::invalid(if fifo {
            "The name of a FIFO queue can only include alphanumeric characters, hyphens, or underscores, \
             must end with .fifo suffix and be 1 to 80 in length"
        } else {
            "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length"
        })
    };
    let name: QueueName = name.parse().map_err(|_| wrong())?;
    if name.is_fifo() == fifo { Ok(name) } else { Err(wrong()) }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct GetQueueUrl<'a> {
    #[serde(borrow)]
    queue_name: Option<Text<'a>>,
    #[serde(borrow, rename = "QueueOwnerAWSAccountId")]
    owner: Option<Text<'a>>,
}

pub(super) async fn get_queue_url(call: &Call<'_>) -> Result<Answer, SqsError> {
    let GetQueueUrl { queue_name, owner } = call.decode()?;
    let name = queue_name.filter(|name| !name.is_empty()).ok_or_else(|| SqsError::missing("QueueName"))?;
    let name: QueueName = name.parse().map_err(|_| SqsError::no_queue())?;
    call.queue_of(&name)?;
    if owner.is_some_and(|owner| &*owner != ACCOUNT) {
        return Err(SqsError::no_queue());
    }
    let mut out = call.answer(128);
    out.text("QueueUrl", &call.url(&name));
    Ok(Answer::Members(out))
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ListQueues<'a> {
    #[serde(borrow)]
    queue_name_prefix: Option<Text<'a>>,
    max_results: Option<i64>,
    #[serde(borrow)]
    next_token: Option<Text<'a>>,
}

pub(super) async fn list_queues(call: &Call<'_>) -> Result<Answer, SqsError> {
    let ListQueues { queue_name_prefix, max_results, next_token } = call.decode()?;
    call.may_at_all()?;
    let page = Page::read(max_results, next_token.as_ref())?;
    let prefix = queue_name_prefix.as_deref().unwrap_or_default();
    let names = call.pipes.queues(prefix, page.after.as_ref(), page.limit + 1);
    let mut out = call.answer(64 + 80 * names.len());
    page.write(&mut out, call, "QueueUrls", &names);
    Ok(Answer::Members(out))
}

/// A part of a list of queues.
pub(super) struct Page {
    pub(super) after: Option<QueueName>,
    pub(super) limit: usize,
    /// Whether the client wants to go on, as whoever names a limit does.
    paged: bool,
}

impl Page {
    /// Where a page begins and how long it is. A token is the name of the last queue of the page before.
    pub(super) fn read(max_results: Option<i64>, token: Option<&Text<'_>>) -> Result<Self, SqsError> {
        let limit = match max_results {
            None => MOST_LISTED,
            Some(most @ 1..=1000) => most.unsigned_abs() as usize,
            Some(most) => {
                return Err(SqsError::value(
                    &most.to_string(),
                    "MaxResults",
                    "Must be an integer between 1 and 1000.",
                ));
            }
        };
        let name = |token: &Text<'_>| String::from_utf8(base64::decode(token)?).ok()?.parse().ok();
        let after =
            token.map(|token| name(token).ok_or_else(|| SqsError::invalid("Invalid or expired next token.")));
        Ok(Self { after: after.transpose()?, limit, paged: max_results.is_some() })
    }

    /// Writes the page; `names` is one longer if there is another one behind it.
    pub(super) fn write(
        &self,
        out: &mut crate::encode::Encoder,
        call: &Call<'_>,
        json: &'static str,
        names: &[QueueName],
    ) {
        let page = &names[..names.len().min(self.limit)];
        let urls: Vec<String> = page.iter().map(|name| call.url(name)).collect();
        if !urls.is_empty() {
            out.texts(Named { json, xml: "QueueUrl" }, urls.iter().map(String::as_str));
        }
        if let Some(last) = page.last().filter(|_| self.paged && names.len() > page.len()) {
            out.ascii("NextToken", base64::text(last.as_str().as_bytes()).as_bytes());
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct OneQueue<'a> {
    #[serde(borrow)]
    queue_url: Option<Text<'a>>,
}

pub(super) async fn delete_queue(call: &Call<'_>) -> Result<Answer, SqsError> {
    let OneQueue { queue_url } = call.decode()?;
    let queue = call.queue(queue_url.as_ref())?;
    call.pipes.delete_queue(queue.name()).await?;
    Ok(Answer::Done)
}

pub(super) async fn purge_queue(call: &Call<'_>) -> Result<Answer, SqsError> {
    let OneQueue { queue_url } = call.decode()?;
    let queue = call.queue(queue_url.as_ref())?;
    queue.purge().await.map_err(|error| SqsError::purge(error, queue.name()))?;
    Ok(Answer::Done)
}
