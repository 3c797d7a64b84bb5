//! Which messages can be published.

use super::fanout::Publication;
use crate::queue::message::{Attribute, AttributeValue};

/// Why a message cannot be published.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPublication {
    /// There is nothing in it.
    #[error("the message is empty")]
    Empty,
    /// It is larger than topics take.
    #[error("the message has {size} bytes with its attributes, and topics take {}", Publication::MOST_BYTES)]
    TooLarge {
        /// Bytes of the message.
        size: usize,
    },
    /// Its subject is none.
    #[error(
        "a subject has 1 to {} characters, no line breaks, and does not begin with a blank",
        Publication::MOST_SUBJECT
    )]
    Subject,
    /// Its group or its identity is none.
    #[error("{0} has 1 to 128 letters, digits and marks of ASCII")]
    Word(&'static str),
    /// It has an identity, and the topic keeps no order.
    #[error("only topics that keep order take an identity for deduplication")]
    DedupWithoutOrder,
    /// An attribute is none.
    #[error("the attribute `{name}` {why}")]
    Attribute {
        /// Its name.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
}

impl Publication {
    /// Most bytes of a message, attributes included.
    pub const MOST_BYTES: usize = 256 * 1024;
    /// Most characters of a subject.
    pub const MOST_SUBJECT: usize = 100;
    /// Most bytes of the name of an attribute, and of its type.
    pub const MOST_NAME: usize = 256;

    /// Whether a topic takes this; `fifo`: one that keeps order. That it has a group there is asked when it is
    /// published.
    pub fn check(&self, fifo: bool) -> Result<(), BadPublication> {
        if self.body.is_empty() {
            return Err(BadPublication::Empty);
        }
        if self.subject.as_deref().is_some_and(|subject| !good_subject(subject)) {
            return Err(BadPublication::Subject);
        }
        for (what, word) in [("a group", &self.group), ("an identity", &self.dedup)] {
            if word.as_deref().is_some_and(|word| !good_word(word)) {
                return Err(BadPublication::Word(what));
            }
        }
        if !fifo && self.dedup.is_some() {
            return Err(BadPublication::DedupWithoutOrder);
        }
        for attribute in &self.attributes {
            let refused = |why| Err(BadPublication::Attribute { name: attribute.name.clone(), why });
            check_attribute(attribute).or_else(refused)?;
        }
        let attributes = self.attributes.iter().map(|attribute| {
            let value = match &attribute.value {
                AttributeValue::Text(text) => text.len(),
                AttributeValue::Binary(bytes) => bytes.len(),
            };
            attribute.name.len() + attribute.kind.len() + value
        });
        let size = self.body.len() + attributes.sum::<usize>();
        if size > Self::MOST_BYTES { Err(BadPublication::TooLarge { size }) } else { Ok(()) }
    }
}

/// Whether a message can be about this.
pub fn good_subject(subject: &str) -> bool {
    !subject.is_empty()
        && subject.chars().count() <= Publication::MOST_SUBJECT
        && !subject.starts_with(char::is_whitespace)
        && !subject.chars().any(char::is_control)
}

/// Whether this can be the group of a message, or its identity.
pub fn good_word(word: &str) -> bool {
    (1..=128).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_graphic())
}

fn check_attribute(attribute: &Attribute) -> Result<(), &'static str> {
    let Attribute { name, kind, value } = attribute;
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    let dots = name.starts_with('.') || name.ends_with('.') || name.contains("..");
    if name.is_empty() || name.len() > Publication::MOST_NAME || dots || !name.bytes().all(allowed) {
        return Err(
            "has a name that none can have: 1 to 256 letters, digits, `_`, `-` and `.`, which neither begins nor \
                    ends it, nor follows another",
        );
    }
    let (logical, custom) = kind.split_once('.').map_or((kind.as_str(), None), |(a, b)| (a, Some(b)));
    if !matches!(logical, "String" | "Number" | "Binary")
        || custom == Some("")
        || kind.len() > Publication::MOST_NAME
    {
        return Err("has a type that there is not: it begins with String, Number or Binary");
    }
    match value {
        AttributeValue::Text(text) if text.is_empty() => Err("is empty"),
        AttributeValue::Binary(bytes) if bytes.is_empty() => Err("is empty"),
        AttributeValue::Text(_) if logical == "Binary" => Err("is text, and its type is Binary"),
        AttributeValue::Binary(_) if logical != "Binary" => Err("is binary, and its type is not"),
        AttributeValue::Text(text)
            if logical == "Number" && !text.trim().parse::<f64>().is_ok_and(f64::is_finite) =>
        {
            Err("is no number, and its type is Number")
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message() -> Publication {
        Publication { body: "order 17".into(), ..Publication::default() }
    }

    fn with(name: &str, kind: &str, value: &str) -> Publication {
        let value = AttributeValue::Text(value.to_owned());
        let attribute = Attribute { name: name.to_owned(), kind: kind.to_owned(), value };
        Publication { attributes: vec![attribute], ..message() }
    }

    #[test]
    fn what_topics_take() {
        assert_eq!(message().check(false), Ok(()));
        let full = Publication { body: vec![b'x'; Publication::MOST_BYTES].into(), ..message() };
        assert_eq!(full.check(false), Ok(()));
        let subject = Publication { subject: Some("ä".repeat(100)), ..message() };
        assert_eq!(subject.check(false), Ok(()));
        let ordered = Publication { group: Some("g".repeat(128)), dedup: Some("d!".into()), ..message() };
        assert_eq!(ordered.check(true), Ok(()));
        for (name, kind, value) in
            [("a", "String", "x"), ("a.b-c_1", "Number.float", " -1.5e3 "), ("a", "String.Array", "[1]")]
        {
            assert_eq!(with(name, kind, value).check(false), Ok(()), "{name} {kind} {value}");
        }
    }

    #[test]
    fn what_they_refuse() {
        assert_eq!(Publication::default().check(false), Err(BadPublication::Empty));
        let large = vec![b'x'; Publication::MOST_BYTES - 7];
        let large = Publication { body: large.into(), ..with("a", "String", "b") };
        assert_eq!(large.check(false), Err(BadPublication::TooLarge { size: Publication::MOST_BYTES + 1 }));
        for bad in ["", " a", "a\nb", &"ä".repeat(101)] {
            let subject = Publication { subject: Some(bad.to_owned()), ..message() };
            assert_eq!(subject.check(false), Err(BadPublication::Subject), "{bad}");
        }
        for bad in ["", "a b", "ä", &"g".repeat(129)] {
            let group = Publication { group: Some(bad.to_owned()), ..message() };
            assert_eq!(group.check(true), Err(BadPublication::Word("a group")), "{bad}");
            let dedup = Publication { dedup: Some(bad.to_owned()), ..message() };
            assert_eq!(dedup.check(true), Err(BadPublication::Word("an identity")), "{bad}");
        }
        let dedup = Publication { dedup: Some("d".into()), ..message() };
        assert_eq!(dedup.check(false), Err(BadPublication::DedupWithoutOrder));
        for (name, kind, value) in [
            ("", "String", "x"),
            (".a", "String", "x"),
            ("a.", "String", "x"),
            ("a..b", "String", "x"),
            ("a b", "String", "x"),
            ("\u{1}id", "String", "x"),
            ("a", "Text", "x"),
            ("a", "String.", "x"),
            ("a", "String", ""),
            ("a", "Number", "five"),
            ("a", "Number", "inf"),
            ("a", "Binary", "x"),
        ] {
            let refused = with(name, kind, value).check(false);
            assert!(matches!(refused, Err(BadPublication::Attribute { .. })), "{name:?} {kind} {value}");
        }
    }
}
