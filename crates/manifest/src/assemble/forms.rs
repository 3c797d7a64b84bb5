//! Short and long forms of one thing, brought to one form before they are merged.

use std::collections::HashMap;

use super::unique;
use crate::fault::Span;
use crate::tree::{Entry, Node, Scalar, Value};

/// What a name alone stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Alone {
    /// Nothing more.
    Null,
    /// `depends_on`'s default: wait until it is started.
    Started,
}

/// A value that is not there.
pub(super) fn null(span: Span) -> Node {
    scalar(String::new(), true, span)
}

fn scalar(text: String, plain: bool, span: Span) -> Node {
    Node { value: Value::Scalar(Scalar { text, plain }), span }
}

/// A scalar as a list of one.
pub(super) fn into_list(node: Node) -> Node {
    match node.value {
        Value::Scalar(_) => Node { span: node.span, value: Value::Seq(vec![node]) },
        _ => node,
    }
}

/// `build: dir` as `build: {context: dir}`.
pub(super) fn build_into_map(node: Node) -> Node {
    match node.value {
        Value::Scalar(_) => {
            let span = node.span;
            let entry = Entry { key: "context".to_owned(), key_span: span, value: node };
            Node { value: Value::Map(vec![entry]), span }
        }
        _ => node,
    }
}

/// `[K=V, K]` as `{K: V, K: null}`, the last of equal keys winning in the place of the first; a mapping
/// stays. `Err` when an item is not a scalar.
pub(super) fn pairs_into_map(node: Node) -> Result<Vec<Entry>, Node> {
    let items = match node.value {
        Value::Map(entries) => return Ok(entries),
        Value::Seq(items) if items.iter().all(|item| item.as_scalar().is_some()) => items,
        value => return Err(Node { value, span: node.span }),
    };
    let mut entries: Vec<Entry> = Vec::with_capacity(items.len());
    let mut index: HashMap<String, usize> = HashMap::new();
    for item in items {
        let Value::Scalar(Scalar { text, .. }) = item.value else { continue };
        let (key, value) = match text.split_once('=') {
            Some((key, value)) => (key.to_owned(), scalar(value.to_owned(), false, item.span)),
            None => (text, null(item.span)),
        };
        let entry = Entry { key, key_span: item.span, value };
        match index.get(&entry.key) {
            Some(&at) => entries[at] = entry,
            None => {
                index.insert(entry.key.clone(), entries.len());
                entries.push(entry);
            }
        }
    }
    Ok(entries)
}

/// `{K: V, K: [V, V]}` as `[K=V, K=V, K=V]`; a list stays.
pub(super) fn pairs_into_list(node: Node) -> Node {
    let Value::Map(entries) = node.value else { return node };
    let mut items = Vec::new();
    for entry in entries {
        let values = match entry.value.value {
            Value::Seq(values) => values,
            _ => vec![entry.value],
        };
        for value in values {
            if let Value::Scalar(Scalar { text, .. }) = value.value {
                items.push(scalar(format!("{}={text}", entry.key), false, value.span));
            }
        }
    }
    Node { value: Value::Seq(items), span: node.span }
}

/// `[name, {name: …}]` as a mapping. What is neither stays a list, for whoever decodes it to complain.
pub(super) fn names_into_map(node: Node, alone: Alone) -> Node {
    let Value::Seq(items) = &node.value else { return node };
    if items.iter().any(|item| unique::name_of(item).is_none()) {
        return node;
    }
    let (span, Value::Seq(items)) = (node.span, node.value) else { return null(node.span) };
    let mut entries: Vec<Entry> = Vec::with_capacity(items.len());
    let mut index: HashMap<String, usize> = HashMap::new();
    for item in items {
        let entry = match item.value {
            Value::Scalar(Scalar { text, .. }) => {
                let value = match alone {
                    Alone::Null => null(item.span),
                    Alone::Started => started(item.span),
                };
                Some(Entry { key: text, key_span: item.span, value })
            }
            Value::Map(single) => single.into_iter().next(),
            Value::Seq(_) => None,
        };
        let Some(entry) = entry else { continue };
        match index.get(&entry.key) {
            Some(&at) => entries[at] = entry,
            None => {
                index.insert(entry.key.clone(), entries.len());
                entries.push(entry);
            }
        }
    }
    Node { value: Value::Map(entries), span }
}

/// What a name in the list form of `depends_on` stands for.
fn started(span: Span) -> Node {
    let entry = |key: &str, text: &str| Entry {
        key: key.to_owned(),
        key_span: span,
        value: scalar(text.to_owned(), true, span),
    };
    Node { value: Value::Map(vec![entry("condition", "service_started"), entry("required", "true")]), span }
}

/// `{GET /a: …}` as `[{GET /a: …}]`.
pub(super) fn routes_into_list(node: Node) -> Node {
    let Value::Map(entries) = node.value else { return into_list(node) };
    let single = |entry: Entry| Node { span: entry.key_span, value: Value::Map(vec![entry]) };
    Node { value: Value::Seq(entries.into_iter().map(single).collect()), span: node.span }
}
