//! `filter`: which messages of a topic, in the grammar of SNS's filter policies. A value alone stands for a list
//! of one. What is let through here is a policy that SNS would take.

use std::net::IpAddr;

use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value as Json};

use super::decode::{Decode, Faults, nearest, shown};
use super::scalar::Loose;
use crate::fault::Fault;
use crate::tree::{Entry, Node};

/// How deep a filter of a body may look.
const MAX_DEPTH: usize = 16;
/// Keys at the top of a filter: SNS's bound.
const MAX_KEYS: usize = 5;
/// The product of how many values there are under each key, each times its depth: SNS's bound.
const MAX_COMBINATIONS: u64 = 150;
/// No range reaches further, to either side: SNS's bound.
const MAX_NUMBER: f64 = 1e9;
/// What a condition may be but a value.
const OPERATORS: [&str; 8] =
    ["prefix", "suffix", "equals-ignore-case", "wildcard", "anything-but", "numeric", "exists", "cidr"];
/// What `anything-but` may be but values.
const EXCEPT: [&str; 4] = ["prefix", "suffix", "equals-ignore-case", "wildcard"];

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
        let policy = policy(node, MAX_DEPTH, faults)?;
        if node.as_map().is_some_and(|entries| entries.len() > MAX_KEYS) {
            faults.bad_value(node.span, format!("a filter has at most {MAX_KEYS} keys"), "filter by fewer");
        }
        if combinations(&policy, 1, 1) > MAX_COMBINATIONS {
            let message = format!("a filter allows for at most {MAX_COMBINATIONS} combinations of values");
            faults.bad_value(node.span, message, "list fewer values, or filter by fewer keys");
        }
        Some(Self(policy))
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
    let mut whole = true; // what is wrong is told of all keys
    for entry in entries {
        let value = if entry.key == "$or" {
            any_of(&entry.value, depth, faults)
        } else if entry.value.as_map().is_some() {
            self::policy(&entry.value, depth, faults)
        } else {
            conditions(&entry.value, faults)
        };
        whole &= value.is_some();
        policy.extend(value.map(|value| (entry.key.clone(), value)));
    }
    whole.then_some(Json::Object(policy))
}

/// `$or`: one of several policies must hold.
fn any_of(node: &Node, depth: usize, faults: &mut Faults) -> Option<Json> {
    let Some(items) = node.as_seq().filter(|items| items.len() >= 2) else {
        faults.wrong_type(node, "a list of two filters or more", "$or: [{ kind: paid }, { total: 0 }]");
        return None;
    };
    for entry in items.iter().filter_map(Node::as_map).flatten() {
        if OPERATORS.contains(&entry.key.as_str()) || entry.key == "exact" {
            let message = format!("`{}` is a condition, and below `$or` stand filters", entry.key);
            faults.bad_value(
                entry.key_span,
                message,
                "say what it looks at: `$or: [{ kind: [{ prefix: re }] }, …]`",
            );
        }
    }
    all(items.iter().map(|item| policy(item, depth, faults)).collect())
}

/// What one thing may be: one of the list.
fn conditions(node: &Node, faults: &mut Faults) -> Option<Json> {
    let Some(items) = node.as_seq() else {
        return Loose::decode(node, faults).map(|one| Json::Array(vec![one.0]));
    };
    if items.is_empty() {
        faults.bad_value(node.span, "an empty list lets no message through", "name what is let through");
    }
    all(items.iter().map(|item| condition(item, faults)).collect())
}

/// A list, if all of it could be read.
fn all(items: Vec<Option<Json>>) -> Option<Json> {
    items.into_iter().collect::<Option<_>>().map(Json::Array)
}

fn condition(node: &Node, faults: &mut Faults) -> Option<Json> {
    let Some(entries) = node.as_map() else {
        if node.as_seq().is_some() {
            faults.wrong_type(node, "a value or a condition", "{ prefix: ord- }");
            return None;
        }
        return Some(Loose::decode(node, faults)?.0);
    };
    let Entry { key, value, .. } = operator(node, entries, &OPERATORS, faults)?;
    let operand = Loose::decode(value, faults)?.0;
    let (fits, example) = match key.as_str() {
        "exists" => (operand.is_boolean(), "{ exists: true }"),
        "numeric" => (is_range(&operand), "{ numeric: [\">=\", 10, \"<\", 100] }"),
        "cidr" => (operand.as_str().is_some_and(is_block), "{ cidr: 10.0.0.0/8 }"),
        "wildcard" => (operand.as_str().is_some_and(is_wildcard), "{ wildcard: \"ord-*-eu\" }"),
        "anything-but" => match value.as_map() {
            Some(inner) => {
                let form = operator(value, inner, &EXCEPT, faults)?;
                let text = Loose::decode(&form.value, faults)?.0;
                let fits = |text: &str| form.key != "wildcard" || is_wildcard(text);
                (
                    is_one_or_list(&text, |one| one.as_str().is_some_and(fits)),
                    "{ anything-but: { prefix: test- } }",
                )
            }
            None => {
                let plain = |value: &Json| !value.is_array() && !value.is_object();
                (is_one_or_list(&operand, plain), "{ anything-but: [test, draft] }")
            }
        },
        _ => (operand.is_string(), "{ prefix: ord- }"),
    };
    if !fits {
        let message = format!("`{key}` is not told what to compare with");
        faults.bad_value(value.span, message, format!("write it like `{example}`"));
        return None;
    }
    Some(Json::Object(Map::from_iter([(key.clone(), operand)])))
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

fn is_one_or_list(operand: &Json, fits: impl Fn(&Json) -> bool) -> bool {
    match operand.as_array() {
        Some(list) => !list.is_empty() && list.iter().all(fits),
        None => fits(operand),
    }
}

/// `["=", 5]`, `[">=", 10, "<", 100]`.
fn is_range(operand: &Json) -> bool {
    let number = |value: &Json| value.as_f64().filter(|number| number.abs() <= MAX_NUMBER);
    match operand.as_array().map(Vec::as_slice) {
        Some([Json::String(comparison), bound]) => {
            matches!(comparison.as_str(), "=" | "<" | "<=" | ">" | ">=") && number(bound).is_some()
        }
        Some([Json::String(from), bottom, Json::String(to), top]) => {
            matches!(from.as_str(), ">" | ">=")
                && matches!(to.as_str(), "<" | "<=")
                && number(bottom).zip(number(top)).is_some_and(|(bottom, top)| bottom < top)
        }
        _ => false,
    }
}

/// `10.0.0.0/8`, `2001:db8::/32`.
fn is_block(text: &str) -> bool {
    let Some((address, bits)) = text.split_once('/') else { return false };
    let width = match address.parse() {
        Ok(IpAddr::V4(_)) => 32,
        Ok(IpAddr::V6(_)) => 128,
        Err(_) => return false,
    };
    bits.parse::<u32>().is_ok_and(|bits| bits <= width)
}

/// Stars, not two in a row; a backslash stands before a star or a backslash that is meant as such.
fn is_wildcard(text: &str) -> bool {
    let mut star_before = false;
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        let star = character == '*';
        if star && star_before || character == '\\' && !matches!(characters.next(), Some('*' | '\\')) {
            return false;
        }
        star_before = star;
    }
    true
}

/// How many combinations of values there are, as SNS counts them.
fn combinations(policy: &Json, depth: u64, before: u64) -> u64 {
    let mut product = before;
    for (key, value) in policy.as_object().into_iter().flatten() {
        product = match value {
            Json::Object(_) => combinations(value, depth + 1, product),
            Json::Array(filters) if key == "$or" => filters
                .iter()
                .fold(0, |sum: u64, filter| sum.saturating_add(combinations(filter, depth, product))),
            Json::Array(values) => {
                let values = u64::try_from(values.len()).unwrap_or(u64::MAX);
                product.saturating_mul(values).saturating_mul(depth)
            }
            _ => product,
        };
    }
    product
}
