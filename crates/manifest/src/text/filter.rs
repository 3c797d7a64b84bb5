//! `filter`: which messages of a topic, in the grammar of SNS's filter policies. A value alone stands for a list
//! of one.

use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value as Json};

use super::decode::{Decode, Faults, nearest, shown};
use super::scalar::Loose;
use crate::fault::Fault;
use crate::tree::{Entry, Node};

/// How deep a filter of a body may look.
const MAX_DEPTH: usize = 16;
/// What a condition may be but a value.
const OPERATORS: [&str; 7] =
    ["prefix", "suffix", "equals-ignore-case", "anything-but", "numeric", "exists", "cidr"];
/// What `anything-but` may be but values.
const EXCEPT: [&str; 3] = ["prefix", "suffix", "equals-ignore-case"];
const COMPARISONS: [&str; 5] = ["=", "<", "<=", ">", ">="];

/// A filter policy.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
#[serde(transparent)]
pub struct FilterText(pub Json);

impl FilterText {
    /// Whether it looks into what is nested, which only a body has.
    pub(crate) fn is_nested(&self) -> bool {
        fn nested(policy: &Json) -> bool {
            policy.as_object().into_iter().flatten().any(|(key, value)| match value {
                Json::Object(_) => true,
                Json::Array(items) if key == "$or" => items.iter().any(nested),
                _ => false,
            })
        }
        nested(&self.0)
    }
}

impl Decode for FilterText {
    fn decode(node: &Node, faults: &mut Faults) -> Option<Self> {
        policy(node, MAX_DEPTH, faults).map(Self)
    }

    fn shape(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "object", "examples": [{ "kind": ["paid", { "prefix": "re" }] }] })
    }
}

/// Conditions by the name of what they look at; all of them must hold.
fn policy(node: &Node, depth: usize, faults: &mut Faults) -> Option<Json> {
    let Some(entries) = node.as_map() else {
        faults.wrong_type(node, "a filter (a mapping)", "{ kind: [paid, refunded] }");
        return None;
    };
    let Some(depth) = depth.checked_sub(1) else {
        faults.bad_value(node.span, format!("nested deeper than {MAX_DEPTH} levels"), "filter by less");
        return None;
    };
    if entries.is_empty() {
        faults.bad_value(node.span, "a filter without a condition takes every message", "take it out");
    }
    let mut policy = Map::new();
    for entry in entries {
        let value = if entry.key == "$or" {
            any_of(&entry.value, depth, faults)
        } else if entry.value.as_map().is_some() {
            self::policy(&entry.value, depth, faults)
        } else {
            conditions(&entry.value, faults)
        };
        policy.insert(entry.key.clone(), value?);
    }
    Some(Json::Object(policy))
}

/// `$or`: one of several policies must hold.
fn any_of(node: &Node, depth: usize, faults: &mut Faults) -> Option<Json> {
    let Some(items) = node.as_seq().filter(|items| items.len() >= 2) else {
        faults.wrong_type(node, "a list of two filters or more", "$or: [{ kind: paid }, { total: 0 }]");
        return None;
    };
    items.iter().map(|item| policy(item, depth, faults)).collect::<Option<_>>().map(Json::Array)
}

/// What one thing may be: one of the list.
fn conditions(node: &Node, faults: &mut Faults) -> Option<Json> {
    let Some(items) = node.as_seq() else {
        return Loose::decode(node, faults).map(|one| Json::Array(vec![one.0]));
    };
    if items.is_empty() {
        faults.bad_value(node.span, "an empty list lets no message through", "name what is let through");
    }
    items.iter().map(|item| condition(item, faults)).collect::<Option<_>>().map(Json::Array)
}

fn condition(node: &Node, faults: &mut Faults) -> Option<Json> {
    let Some(entries) = node.as_map() else {
        if node.as_seq().is_some() {
            faults.wrong_type(node, "a value or a condition", "{ prefix: ord- }");
            return None;
        }
        return Some(Loose::decode(node, faults)?.0);
    };
    let operator = operator(node, entries, &OPERATORS, faults)?;
    let operand = Loose::decode(&operator.value, faults)?.0;
    let (fits, example) = match operator.key.as_str() {
        "exists" => (operand.is_boolean(), "{ exists: true }"),
        "numeric" => (is_range(&operand), "{ numeric: [\">=\", 10, \"<\", 100] }"),
        "anything-but" => match operator.value.as_map() {
            Some(inner) => {
                let inner = self::operator(&operator.value, inner, &EXCEPT, faults)?;
                let text = Loose::decode(&inner.value, faults)?.0;
                let texts = text.as_array().map_or(text.is_string(), |list| list.iter().all(Json::is_string));
                (texts, "{ anything-but: { prefix: test- } }")
            }
            None => {
                let plain = |value: &Json| value.is_string() || value.is_number();
                let list = operand.as_array().map(|list| !list.is_empty() && list.iter().all(plain));
                (list.unwrap_or_else(|| plain(&operand)), "{ anything-but: [test, draft] }")
            }
        },
        _ => (operand.is_string(), "{ prefix: ord- }"),
    };
    if !fits {
        let message = format!("`{}` is not told what to compare with", operator.key);
        faults.bad_value(operator.value.span, message, format!("write it like `{example}`"));
        return None;
    }
    Some(Json::Object(Map::from_iter([(operator.key.clone(), operand)])))
}

/// The one entry of a condition, if its key is one of the legal ones.
fn operator<'a>(
    node: &Node,
    entries: &'a [Entry],
    legal: &[&'static str],
    faults: &mut Faults,
) -> Option<&'a Entry> {
    let list = || legal.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let [only] = entries else {
        let fault = Fault::error("A0203", node.span, "a condition has one key");
        faults.add(fault.hint(format!("it is one of {}", list())));
        return None;
    };
    if legal.contains(&only.key.as_str()) {
        return Some(only);
    }
    let hint = match nearest(&only.key, legal.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("it is one of {}", list()),
    };
    faults.bad_value(only.key_span, format!("`{}` is not a condition", shown(&only.key)), hint);
    None
}

/// `["=", 5]`, `[">=", 10, "<", 100]`.
fn is_range(operand: &Json) -> bool {
    let Some(list) = operand.as_array() else { return false };
    let (pairs, rest) = list.as_chunks::<2>();
    let pair = |[comparison, bound]: &[Json; 2]| {
        comparison.as_str().is_some_and(|text| COMPARISONS.contains(&text)) && bound.is_number()
    };
    rest.is_empty() && matches!(pairs.len(), 1 | 2) && pairs.iter().all(pair)
}
