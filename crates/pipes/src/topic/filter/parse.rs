//! From the text of a policy to its compiled form; everything that can be wrong with one is found here.

use super::json::{self, Member, Node, Value};
use super::pattern::{Cidr, Wildcard};
use super::rule::{Bound, Form, Leaf, Rule, Rules, lower};
use super::{Clause, Field, PolicyError, Scope};

/// Bytes of a policy.
pub const MOST_BYTES: usize = 256 * 1024;
/// Names at the top of a policy.
pub const MOST_NAMES: usize = 5;
/// Combinations of values: the product of how many there are under each name, each times its depth.
pub const MOST_COMBINATIONS: u64 = 150;
/// No range reaches further, to either side.
pub const MOST_NUMBER: f64 = 1e9;

/// Words that make an object a rule: an alternative of `$or` cannot have them as names.
const RESERVED: [&str; 9] = [
    "exact",
    "exists",
    "anything-but",
    "prefix",
    "suffix",
    "numeric",
    "cidr",
    "equals-ignore-case",
    "wildcard",
];

pub(crate) fn policy(text: &str, scope: Scope) -> Result<Vec<Clause>, PolicyError> {
    let mut parser = Parser { text, scope, path: Vec::new() };
    if text.len() > MOST_BYTES {
        return Err(parser.wrong(0, format!("Filter policy can not have more than {MOST_BYTES} bytes")));
    }
    let root = json::parse(text)
        .map_err(|error| parser.wrong(error.at, format!("failed to parse JSON: {}", error.what)))?;
    let Value::Object(members) = &root.value else {
        return Err(parser.wrong(root.at, "Filter is not an object".to_owned()));
    };
    if members.len() > MOST_NAMES {
        return Err(parser.wrong(root.at, format!("Filter policy can not have more than {MOST_NAMES} keys")));
    }
    let (clauses, combinations) = parser.members(members, 1, 1)?;
    if combinations > MOST_COMBINATIONS {
        return Err(parser.wrong(root.at, "Filter policy is too complex".to_owned()));
    }
    Ok(clauses)
}

struct Parser<'a> {
    text: &'a str,
    scope: Scope,
    /// The names that lead to where we are.
    path: Vec<&'a str>,
}

impl<'a> Parser<'a> {
    fn wrong(&self, at: usize, what: String) -> PolicyError {
        let (line, column) = json::place(self.text, at);
        PolicyError { what, path: self.path.join("."), line, column }
    }

    /// The clauses of one object, all of which have to hold, and the combinations so far.
    fn members(
        &mut self,
        members: &'a [Member<'a>],
        depth: u64,
        mut combinations: u64,
    ) -> Result<(Vec<Clause>, u64), PolicyError> {
        let mut clauses = Vec::with_capacity(members.len());
        for (index, member) in members.iter().enumerate() {
            if members[..index].iter().any(|before| before.name == member.name) {
                return Err(self.wrong(member.at, format!("\"{}\" is there twice", member.name)));
            }
            if let Some(alternatives) = alternatives(member) {
                let mut any = Vec::with_capacity(alternatives.len());
                let mut sum: u64 = 0;
                for alternative in alternatives {
                    let (all, product) = self.members(alternative, depth, combinations)?;
                    any.push(all);
                    sum = sum.saturating_add(product);
                }
                combinations = sum;
                clauses.push(Clause::AnyOf(any));
                continue;
            }
            self.path.push(&member.name);
            match &member.node.value {
                Value::Object(_) if self.scope == Scope::Attributes => {
                    let what = "Filter policy scope MessageAttributes does not support nested filter policy";
                    return Err(self.wrong(member.node.at, what.to_owned()));
                }
                Value::Object(inner) if inner.is_empty() => {
                    return Err(self.wrong(member.node.at, "Empty objects are not allowed".to_owned()));
                }
                Value::Object(inner) => {
                    let (all, product) = self.members(inner, depth + 1, combinations)?;
                    combinations = product;
                    clauses.extend(all);
                }
                Value::Array(items) => {
                    let rules = self.rules(&member.node, items)?;
                    let values = u64::try_from(items.len()).unwrap_or(u64::MAX);
                    combinations = combinations.saturating_mul(values).saturating_mul(depth);
                    clauses.push(Clause::Field(Field { path: self.path.join(".").into_boxed_str(), rules }));
                }
                _ => {
                    let what = format!("\"{}\" must be an object or an array", member.name);
                    return Err(self.wrong(member.node.at, what));
                }
            }
            self.path.pop();
        }
        Ok((clauses, combinations))
    }

    fn rules(&self, node: &Node<'_>, items: &[Node<'_>]) -> Result<Rules, PolicyError> {
        if items.is_empty() {
            return Err(self.wrong(node.at, "Empty arrays are not allowed".to_owned()));
        }
        let mut rules = Rules::default();
        for item in items {
            match (leaf(&item.value), &item.value) {
                (Some(leaf), _) => rules.values.add(leaf),
                (None, Value::Object(members)) => self.expression(item, members, &mut rules)?,
                _ => {
                    let what = "Match value must be String, number, true, false, or null";
                    return Err(self.wrong(item.at, what.to_owned()));
                }
            }
        }
        Ok(rules)
    }

    fn expression(
        &self,
        node: &Node<'_>,
        members: &[Member<'_>],
        rules: &mut Rules,
    ) -> Result<(), PolicyError> {
        let [Member { at, name, node: value }] = members else {
            return Err(self.wrong(node.at, "Only one key allowed in match expression".to_owned()));
        };
        match &**name {
            "exists" => match value.value {
                Value::Bool(true) => rules.present = true,
                Value::Bool(false) => rules.absent = true,
                _ => {
                    let what = "exists match pattern must be either true or false.";
                    return Err(self.wrong(value.at, what.to_owned()));
                }
            },
            "anything-but" => rules.others.push(self.anything_but(value)?),
            "numeric" => rules.others.push(self.numeric(value)?),
            "cidr" => {
                let block =
                    Cidr::parse(self.string(value, "cidr")?).map_err(|what| self.wrong(value.at, what))?;
                rules.others.push(Rule::Cidr(block));
            }
            "prefix" | "suffix" | "equals-ignore-case" | "wildcard" => {
                rules.others.push(Rule::Form(self.form(name, value)?));
            }
            other => return Err(self.wrong(*at, format!("Unrecognized match type {other}"))),
        }
        Ok(())
    }

    fn string<'n>(&self, node: &'n Node<'_>, of: &str) -> Result<&'n str, PolicyError> {
        match &node.value {
            Value::Text(text) => Ok(text),
            _ => Err(self.wrong(node.at, format!("{of} match pattern must be a string"))),
        }
    }

    fn form(&self, name: &str, node: &Node<'_>) -> Result<Form, PolicyError> {
        let text = self.string(node, name)?;
        Ok(match name {
            "prefix" => Form::Prefix(text.into()),
            "suffix" => Form::Suffix(text.into()),
            "equals-ignore-case" => Form::NoCase(lower(text)),
            _ => Form::Wildcard(Wildcard::parse(text).map_err(|what| self.wrong(node.at, what))?),
        })
    }

    fn anything_but(&self, node: &Node<'_>) -> Result<Rule, PolicyError> {
        let mut rules = Rules::default();
        match &node.value {
            Value::Array(items) if items.is_empty() => {
                Err(self.wrong(node.at, "Empty arrays are not allowed".to_owned()))
            }
            Value::Array(items) => {
                for item in items {
                    let leaf = leaf(&item.value).ok_or_else(|| {
                        let what =
                            "Inside anything-but list, number, string, true, false and null are supported";
                        self.wrong(item.at, what.to_owned())
                    })?;
                    rules.values.add(leaf);
                }
                Ok(Rule::NotValues(rules.values))
            }
            Value::Object(members) => {
                let [Member { at, name, node: value }] = &members[..] else {
                    return Err(self.wrong(node.at, "Only one key allowed in match expression".to_owned()));
                };
                if !matches!(&**name, "prefix" | "suffix" | "equals-ignore-case" | "wildcard") {
                    return Err(self.wrong(*at, format!("Unsupported anything-but pattern: {name}")));
                }
                let forms = match &value.value {
                    Value::Array(items) if items.is_empty() => {
                        return Err(self.wrong(value.at, "Empty arrays are not allowed".to_owned()));
                    }
                    Value::Array(items) => {
                        items.iter().map(|item| self.form(name, item)).collect::<Result<_, _>>()?
                    }
                    _ => vec![self.form(name, value)?],
                };
                Ok(Rule::NotForms(forms))
            }
            scalar => {
                rules.values.add(leaf(scalar).unwrap_or(Leaf::Null));
                Ok(Rule::NotValues(rules.values))
            }
        }
    }

    fn numeric(&self, node: &Node<'_>) -> Result<Rule, PolicyError> {
        let Value::Array(items) = &node.value else {
            return Err(self.wrong(node.at, "Value of numeric must be an array.".to_owned()));
        };
        let Some(first) = items.first() else {
            return Err(self.wrong(node.at, "Invalid member in numeric match: ]".to_owned()));
        };
        let Value::Text(operator) = &first.value else {
            return Err(self.wrong(first.at, "Invalid member in numeric match".to_owned()));
        };
        let value = self.operand(node, items.get(1), operator)?;
        let bound = Bound { at: value, included: matches!(&**operator, "=" | "<=" | ">=") };
        let (low, high) = match &**operator {
            "=" => (Some(bound), Some(bound)),
            "<" | "<=" => (None, Some(bound)),
            ">" | ">=" => (Some(bound), None),
            other => {
                return Err(self.wrong(first.at, format!("Unrecognized numeric range operator: {other}")));
            }
        };
        let Some(second) = items.get(2) else { return Ok(Rule::Range { low, high }) };
        if high.is_some() {
            return Err(self.wrong(second.at, "Too many elements in numeric expression".to_owned()));
        }
        let Value::Text(operator) = &second.value else {
            return Err(self.wrong(second.at, "Bad value in numeric range".to_owned()));
        };
        if !matches!(&**operator, "<" | "<=") {
            return Err(self.wrong(second.at, format!("Bad numeric range operator: {operator}")));
        }
        let top = self.operand(node, items.get(3), operator)?;
        if top <= value {
            return Err(self.wrong(second.at, "Bottom must be less than top".to_owned()));
        }
        if let Some(more) = items.get(4) {
            return Err(self.wrong(more.at, "Too many terms in numeric range expression".to_owned()));
        }
        Ok(Rule::Range { low, high: Some(Bound { at: top, included: operator == "<=" }) })
    }

    fn operand(&self, list: &Node<'_>, node: Option<&Node<'_>>, operator: &str) -> Result<f64, PolicyError> {
        let at = node.map_or(list.at, |node| node.at);
        match node.map(|node| &node.value) {
            Some(Value::Number(number)) if number.abs() <= MOST_NUMBER => Ok(*number),
            Some(Value::Number(_)) => {
                Err(self.wrong(at, "Value must be between -1.0E9 and 1.0E9, inclusive".to_owned()))
            }
            _ => {
                let operator = if operator == "=" { "equals" } else { operator };
                Err(self.wrong(at, format!("Value of {operator} must be numeric")))
            }
        }
    }
}

/// The alternatives of a `$or` that is one: at least two objects, none with a name that only rules have. Any other
/// `$or` is a name like each other.
fn alternatives<'a>(member: &'a Member<'a>) -> Option<Vec<&'a [Member<'a>]>> {
    let Value::Array(items) = &member.node.value else { return None };
    if member.name != "$or" || items.len() < 2 {
        return None;
    }
    let alternatives = items.iter().map(|item| match &item.value {
        Value::Object(members) if !members.is_empty() => Some(&members[..]),
        _ => None,
    });
    let alternatives: Vec<_> = alternatives.collect::<Option<_>>()?;
    let reserved = alternatives.iter().flat_map(|members| members.iter());
    let reserved = reserved.into_iter().any(|member| RESERVED.contains(&&*member.name));
    (!reserved).then_some(alternatives)
}

fn leaf<'a>(value: &'a Value<'_>) -> Option<Leaf<'a>> {
    Some(match value {
        Value::Null => Leaf::Null,
        Value::Bool(bool) => Leaf::Bool(*bool),
        Value::Number(number) => Leaf::Number(*number),
        Value::Text(text) => Leaf::Text(text),
        Value::Array(_) | Value::Object(_) => return None,
    })
}
