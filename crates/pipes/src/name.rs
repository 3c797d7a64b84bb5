//! Names of queues and topics.

use std::fmt;
use std::str::FromStr;

/// What ends the name of a queue or topic that keeps order.
pub const FIFO_SUFFIX: &str = ".fifo";

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $most:literal, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(std::sync::Arc<str>);

        impl $name {
            /// Most characters, `.fifo` included.
            pub const MOST: usize = $most;

            /// The name.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// Whether it ends with `.fifo`.
            pub fn is_fifo(&self) -> bool {
                self.0.ends_with(FIFO_SUFFIX)
            }
        }

        impl FromStr for $name {
            type Err = BadName;

            fn from_str(text: &str) -> Result<Self, BadName> {
                let plain = text.strip_suffix(FIFO_SUFFIX).unwrap_or(text);
                let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
                if plain.is_empty() || text.len() > Self::MOST || !plain.bytes().all(allowed) {
                    return Err(BadName { what: $what, most: Self::MOST, text: text.chars().take(100).collect() });
                }
                Ok(Self(text.into()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// Names a queue: letters, digits, `-` and `_`, at most 80 characters; one that keeps order ends with `.fifo`.
    QueueName, 80, "queue"
);
name!(
    /// Names a topic: letters, digits, `-` and `_`, at most 256 characters; one that keeps order ends with `.fifo`.
    TopicName, 256, "topic"
);

/// What begins the name of a queue that no protocol can name: [`QueueName::from_str`] refuses it.
const INTERNAL_PREFIX: char = '/';

impl QueueName {
    /// Names a queue of our own, behind something else: it is listed nowhere and nobody can ask for it. Its text is
    /// only for keys, logs and [`Self::stored`].
    pub(crate) fn internal(what: &str) -> Self {
        Self(format!("{INTERNAL_PREFIX}{what}").into())
    }

    /// Whether it was made by [`Self::internal`].
    pub fn is_internal(&self) -> bool {
        self.0.starts_with(INTERNAL_PREFIX)
    }

    /// A name read back from the store: any of a queue, our own as well.
    pub(crate) fn stored(text: &str) -> Result<Self, BadName> {
        if text.starts_with(INTERNAL_PREFIX) { Ok(Self(text.into())) } else { text.parse() }
    }
}

/// A text that names nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` cannot name a {what}: 1 to {most} letters, digits, `-` and `_`, with `.fifo` at the end of one that keeps order"
)]
pub struct BadName {
    what: &'static str,
    most: usize,
    text: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_name_a_queue() {
        for good in ["a", "Jobs_2-x", "orders.fifo", &"q".repeat(80)] {
            assert_eq!(good.parse::<QueueName>().unwrap().as_str(), good);
        }
        for bad in ["", ".fifo", "a.b", "a b", "ä", "a.fifo.fifo", &"q".repeat(81)] {
            assert!(bad.parse::<QueueName>().is_err(), "{bad}");
        }
        assert!("orders.fifo".parse::<QueueName>().unwrap().is_fifo());
    }

    #[test]
    fn a_queue_of_our_own_cannot_be_named() {
        let own = QueueName::internal("sub-1");
        assert!(own.is_internal() && own.as_str().parse::<QueueName>().is_err());
        assert_eq!(QueueName::stored(own.as_str()).unwrap(), own);
        assert!(!QueueName::stored("jobs").unwrap().is_internal() && QueueName::stored("a b").is_err());
    }
}
