//! Which series are meant.

use regex::{Regex, RegexBuilder};

use super::Labels;

/// Bytes that a compiled pattern may take.
pub(super) const PATTERN_BYTES: usize = 1 << 20;

/// How a label is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `=~`
    Like,
    /// `!~`
    NotLike,
}

/// What is said of one label. A label that a series does not have is the empty text.
#[derive(Clone, Debug)]
pub struct Matcher {
    pub(crate) label: String,
    pub(crate) op: Op,
    pub(crate) text: String,
    /// Of the whole text.
    pattern: Option<Regex>,
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        self.label == other.label && self.op == other.op && self.text == other.text
    }
}

impl Matcher {
    /// Fails where the pattern is none, or too large.
    pub fn new(label: &str, op: Op, text: &str) -> Result<Self, String> {
        let pattern = match op {
            Op::Equal | Op::NotEqual => None,
            Op::Like | Op::NotLike => {
                let whole = format!("^(?:{text})$");
                let built = RegexBuilder::new(&whole).size_limit(PATTERN_BYTES).build();
                Some(built.map_err(|_| format!("error parsing regexp: {text:?}"))?)
            }
        };
        Ok(Self { label: label.to_owned(), op, text: text.to_owned(), pattern })
    }

    /// Whether this value of its label is meant.
    pub fn is_met_by(&self, value: &str) -> bool {
        match (self.op, &self.pattern) {
            (Op::NotEqual, _) => value != self.text,
            (Op::Like, Some(pattern)) => pattern.is_match(value),
            (Op::NotLike, Some(pattern)) => !pattern.is_match(value),
            (Op::Equal | Op::Like | Op::NotLike, _) => value == self.text,
        }
    }

    /// Whether these labels are meant.
    pub fn is_met(&self, labels: &Labels) -> bool {
        self.is_met_by(value_of(labels, &self.label))
    }
}

/// The value of a label, empty where there is none.
pub(super) fn value_of<'l>(labels: &'l Labels, name: &str) -> &'l str {
    labels.binary_search_by(|(other, _)| other.as_str().cmp(name)).map_or("", |at| labels[at].1.as_str())
}
