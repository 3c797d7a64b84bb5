//! What a key for the outside may do: `orders:send`, `queue/jobs:receive,send`, `topic/*:publish`, `*:*`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::access::{Verb, Verbs};

/// What a grant may be limited to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PipeKind {
    /// Queues.
    Queue,
    /// Topics.
    Topic,
}

/// Some queues or topics, and what may be done with them. It is what it was written as: that is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    text: String,
    kind: Option<PipeKind>,
    /// A name in which `*` stands for any characters.
    name: String,
    verbs: Verbs,
}

impl Grant {
    /// The longest one, in bytes.
    pub const MOST: usize = 300;
    /// What a queue or topic that keeps order is called by at the end.
    const FIFO: &'static str = ".fifo";

    /// Whether it is about the queue or topic of this name, with or without `.fifo`.
    pub fn is_about(&self, kind: PipeKind, name: &str) -> bool {
        let bare = name.strip_suffix(Self::FIFO).unwrap_or(name);
        self.kind.is_none_or(|own| own == kind) && (matches(&self.name, name) || matches(&self.name, bare))
    }

    /// What may be done.
    pub fn verbs(&self) -> Verbs {
        self.verbs
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A text that is no grant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not NAME:VERB: {why}")]
pub struct BadGrant {
    text: String,
    why: &'static str,
}

impl FromStr for Grant {
    type Err = BadGrant;

    fn from_str(text: &str) -> Result<Self, BadGrant> {
        let bad = |why| BadGrant { text: text.chars().take(80).collect(), why };
        if text.len() > Self::MOST {
            return Err(bad("it is longer than 300 bytes"));
        }
        let (pipe, words) = text.split_once(':').ok_or_else(|| bad("it has no `:`"))?;
        let (kind, name) = match pipe.split_once('/') {
            None => (None, pipe),
            Some(("queue", name)) => (Some(PipeKind::Queue), name),
            Some(("topic", name)) => (Some(PipeKind::Topic), name),
            Some(_) => return Err(bad("what stands before the `/` is neither `queue` nor `topic`")),
        };
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.*".contains(&byte);
        if name.is_empty() || !name.bytes().all(allowed) {
            return Err(bad("a name has letters, digits, `-`, `_` and `.`; `*` stands for any of them"));
        }
        let mut verbs = Verbs::default();
        for word in words.split(',') {
            let verb = match word {
                "send" => Verb::Send,
                // As in the file of the app: who receives also deletes what was received.
                "receive" => Verb::Consume,
                "publish" => Verb::Publish,
                "subscribe" => Verb::Subscribe,
                "manage" | "*" => Verb::Manage,
                _ => {
                    return Err(bad(
                        "a verb is one of send, receive, publish, subscribe, manage, or `*` for all",
                    ));
                }
            };
            let fits = match kind {
                Some(PipeKind::Queue) => !matches!(verb, Verb::Publish | Verb::Subscribe),
                Some(PipeKind::Topic) => !matches!(verb, Verb::Send | Verb::Consume),
                None => true,
            };
            if !fits {
                return Err(bad("queues have send and receive, topics publish and subscribe"));
            }
            verbs = verbs.with(verb);
        }
        Ok(Self { text: text.to_owned(), kind, name: name.to_owned(), verbs })
    }
}

impl Serialize for Grant {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Grant {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Whether a name is what a text with `*` in it stands for. Goes back to the last `*` only: no text takes longer than
/// the product of both lengths.
fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut at, mut here) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while here < name.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at + 1, here));
                at += 1;
            }
            Some(byte) if *byte == name[here] => (at, here) = (at + 1, here + 1),
            _ => {
                let Some((after, from)) = star else { return false };
                star = Some((after, from + 1));
                (at, here) = (after, from + 1);
            }
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use PipeKind::{Queue, Topic};
    use proptest::prelude::*;

    fn grant(text: &str) -> Grant {
        text.parse().unwrap()
    }

    #[test]
    fn a_grant_names_queues_and_topics_and_what_may_be_done() {
        let send = grant("orders:send,receive");
        assert!(send.is_about(Queue, "orders") && send.is_about(Topic, "orders"));
        assert!(send.is_about(Queue, "orders.fifo") && !send.is_about(Queue, "orders2"));
        assert_eq!(send.verbs().iter().collect::<Vec<_>>(), [Verb::Send, Verb::Consume]);
        let jobs = grant("queue/job*:*");
        assert!(
            jobs.is_about(Queue, "jobs-dead") && jobs.is_about(Queue, "job") && !jobs.is_about(Topic, "jobs")
        );
        assert_eq!(jobs.verbs().iter().collect::<Vec<_>>(), [Verb::Manage]);
        assert!(grant("*:publish").is_about(Topic, "anything.fifo"));
        assert!(!grant("topic/a*b*c:publish").is_about(Topic, "abcd"));
        assert_eq!(serde_json::to_string(&jobs).unwrap(), r#""queue/job*:*""#);
        assert!(serde_json::from_str::<Grant>(r#""jobs:dance""#).is_err());
    }

    #[test]
    fn what_is_no_grant_says_why() {
        for (bad, why) in [
            ("", "no `:`"),
            ("orders", "no `:`"),
            (":send", "a name has"),
            ("a b:send", "a name has"),
            ("table/x:send", "neither"),
            ("orders:", "a verb is one of"),
            ("orders:consume", "a verb is one of"),
            ("queue/orders:publish", "queues have"),
            ("topic/orders:send", "queues have"),
        ] {
            let error = bad.parse::<Grant>().unwrap_err().to_string();
            assert!(error.contains(why), "{bad}: {error}");
        }
        assert!(format!("{}:send", "n".repeat(300)).parse::<Grant>().is_err());
    }

    proptest! {
        #[test]
        fn a_star_stands_for_what_is_between(before in "[a-c]{0,4}", between in "[a-c]{0,6}", after in "[a-c]{0,4}") {
            let name = format!("{before}{between}{after}");
            let pattern = format!("{before}*{after}");
            prop_assert!(matches(&pattern, &name));
            prop_assert_eq!(matches(&before, &name), before == name);
        }
    }
}
