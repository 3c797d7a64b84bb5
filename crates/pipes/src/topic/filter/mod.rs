//! Filter policies: which messages a subscription wants. A policy is JSON; it is read once, with every rule checked,
//! into sorted values and few patterns, and each message is held against that.
//!
//! ```text
//! {"store": ["a", {"prefix": "b-"}], "price": [{"numeric": [">", 0, "<=", 150]}], "$or": [{..}, {..}]}
//!  name     any of these has to hold  … and under every name something
//! ```

pub(crate) mod json;
mod parse;
mod pattern;
mod rule;

#[cfg(test)]
mod tests;

use bytes::Bytes;

use crate::queue::message::{Attribute, AttributeValue};
use json::{Node, Value};
pub use parse::{MOST_BYTES, MOST_COMBINATIONS, MOST_NAMES, MOST_NUMBER};
use rule::{Found, Leaf, Rules};

/// What of a message a policy looks at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Its attributes.
    #[default]
    Attributes,
    /// Its body, which has to be a JSON object.
    Body,
}

/// A policy that can be held against messages.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter {
    scope: Scope,
    text: String,
    clauses: Vec<Clause>,
}

/// All clauses of a list have to hold.
#[derive(Clone, Debug, PartialEq)]
enum Clause {
    Field(Field),
    /// `$or`: all clauses of one of these.
    AnyOf(Vec<Vec<Clause>>),
}

/// What is asked under one name.
#[derive(Clone, Debug, PartialEq)]
struct Field {
    /// The names that lead there, joined by `.`: a body that has a dot in a name and one that has an object are the
    /// same.
    path: Box<str>,
    rules: Rules,
}

/// What is wrong with a policy, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} (line {line}, column {column}{})", in_path(.path))]
pub struct PolicyError {
    /// What is wrong.
    pub what: String,
    /// Under which names, joined by `.`; empty at the top.
    pub path: String,
    /// The line, from 1.
    pub line: usize,
    /// The character in it, from 1.
    pub column: usize,
}

fn in_path(path: &str) -> String {
    if path.is_empty() { String::new() } else { format!(", under `{path}`") }
}

impl Filter {
    /// Reads a policy.
    pub fn parse(text: &str, scope: Scope) -> Result<Self, PolicyError> {
        Ok(Self { scope, text: text.to_owned(), clauses: parse::policy(text, scope)? })
    }

    /// What it looks at.
    pub fn scope(&self) -> Scope {
        self.scope
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether a subscription with this policy wants the message.
    pub fn accepts(&self, message: &Looked<'_>) -> bool {
        match self.scope {
            Scope::Attributes => all(&self.clauses, &|path| message.attribute(path)),
            Scope::Body => {
                let Some(root @ Node { value: Value::Object(_), .. }) = &message.body else { return false };
                all(&self.clauses, &|path| {
                    let mut found = Found::default();
                    collect(root, path, &mut found);
                    found
                })
            }
        }
    }
}

fn all<'a>(clauses: &[Clause], find: &dyn Fn(&str) -> Found<'a>) -> bool {
    clauses.iter().all(|clause| match clause {
        Clause::Field(field) => field.rules.hold(&find(&field.path)),
        Clause::AnyOf(alternatives) => alternatives.iter().any(|clauses| all(clauses, find)),
    })
}

/// Every value at the end of a path. No value is met twice: the names above it say how much of the path they take.
fn collect<'a>(node: &'a Node<'a>, path: &str, found: &mut Found<'a>) {
    match &node.value {
        Value::Array(items) => items.iter().for_each(|item| collect(item, path, found)),
        Value::Object(members) => {
            for member in members {
                match path.strip_prefix(&*member.name) {
                    Some("") => collect_leaves(&member.node, found),
                    Some(rest) if rest.starts_with('.') => collect(&member.node, &rest[1..], found),
                    _ => {}
                }
            }
        }
        _ => {}
    }
}

fn collect_leaves<'a>(node: &'a Node<'a>, found: &mut Found<'a>) {
    let leaf = match &node.value {
        Value::Array(items) => return items.iter().for_each(|item| collect_leaves(item, found)),
        Value::Object(_) => return,
        Value::Null => Leaf::Null,
        Value::Bool(bool) => Leaf::Bool(*bool),
        Value::Number(number) => Leaf::Number(*number),
        Value::Text(text) => Leaf::Text(text),
    };
    found.present = true;
    found.leaves.push(leaf);
}

/// A message as filters look at it: read once, however many there are.
#[derive(Clone, Debug)]
pub struct Looked<'a> {
    /// In the order of their names.
    attributes: Vec<Seen<'a>>,
    body: Option<Node<'a>>,
}

#[derive(Clone, Debug)]
struct Seen<'a> {
    name: &'a str,
    value: SeenValue<'a>,
}

#[derive(Clone, Debug)]
enum SeenValue<'a> {
    One(Leaf<'a>),
    Several(Vec<Node<'a>>),
}

/// The type of an attribute that is a list of values, as JSON.
pub const ARRAY: &str = "String.Array";

impl<'a> Looked<'a> {
    /// Reads the attributes, and the body if a filter will look at it.
    pub fn new(body: &'a Bytes, attributes: &'a [Attribute], with_body: bool) -> Self {
        let mut seen: Vec<_> = attributes.iter().filter_map(see).collect();
        seen.sort_by_key(|attribute| attribute.name);
        let body = if with_body { std::str::from_utf8(body).ok() } else { None };
        Self { attributes: seen, body: body.and_then(|text| json::parse(text).ok()) }
    }

    fn attribute(&self, name: &str) -> Found<'_> {
        let Ok(at) = self.attributes.binary_search_by(|seen| seen.name.cmp(name)) else {
            return Found::default();
        };
        let mut found = Found { present: true, leaves: Vec::new() };
        match &self.attributes[at].value {
            SeenValue::One(leaf) => found.leaves.push(*leaf),
            SeenValue::Several(items) => items.iter().for_each(|item| collect_leaves(item, &mut found)),
        }
        found
    }
}

/// An attribute of bytes is not looked at. Of a list that is none nothing can be wanted: it is there, without values.
fn see(attribute: &Attribute) -> Option<Seen<'_>> {
    let AttributeValue::Text(text) = &attribute.value else { return None };
    let value = if attribute.kind == ARRAY {
        match json::parse(text).map(|node| node.value) {
            Ok(Value::Array(items)) => SeenValue::Several(items),
            _ => SeenValue::Several(Vec::new()),
        }
    } else if attribute.kind == "Number" || attribute.kind.starts_with("Number.") {
        match text.trim().parse() {
            Ok(number) => SeenValue::One(Leaf::Number(number)),
            Err(_) => SeenValue::One(Leaf::Text(text)),
        }
    } else {
        SeenValue::One(Leaf::Text(text))
    };
    Some(Seen { name: &attribute.name, value })
}
