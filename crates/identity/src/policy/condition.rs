//! Conditions of a statement.

use std::net::IpAddr;

use super::Context;
use super::parse::moment;
use super::pattern::Pattern;

/// `"StringLike": {"aws:SourceArn": ["…"]}`: one operator on one key.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Condition {
    pub operator: Operator,
    /// In lower case: keys have none.
    pub key: String,
    /// One of them has to fit.
    pub values: Vec<Value>,
}

/// How the values of the request and of the policy are held together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Operator {
    pub kind: Kind,
    /// `Not…`: none of the policy's values may fit.
    pub negated: bool,
    /// `…IfExists`: holds where the request has no such key.
    pub if_exists: bool,
    pub of: Of,
}

/// How many of the request's values must hold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Of {
    /// No word about it: there is one as a rule.
    Single,
    /// `ForAnyValue:`.
    Any,
    /// `ForAllValues:`.
    All,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    /// With wildcards or without: that is in the pattern.
    Text {
        ignore_case: bool,
    },
    Arn,
    Number(Order),
    Date(Order),
    Bool,
    Ip,
    Null,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Order {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Order {
    fn holds<T: PartialOrd>(self, left: &T, right: &T) -> bool {
        match self {
            Self::Equal => left == right,
            Self::Less => left < right,
            Self::LessOrEqual => left <= right,
            Self::Greater => left > right,
            Self::GreaterOrEqual => left >= right,
        }
    }
}

/// A value of the policy.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Pattern(Pattern),
    Number(f64),
    /// In seconds since the epoch.
    Date(i64),
    Bool(bool),
    Network(Network),
}

/// The first bits of an address.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Network {
    address: IpAddr,
    length: u8,
}

impl Network {
    /// Reads `10.0.0.0/8` or an address.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let length = match length {
            None => most,
            Some(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => {
                text.parse().ok().filter(|length| *length <= most)?
            }
            Some(_) => return None,
        };
        Some(Self { address, length })
    }

    fn holds(self, address: IpAddr) -> bool {
        let length = u32::from(self.length);
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                (network.to_bits() ^ address.to_bits()).leading_zeros() >= length
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                (network.to_bits() ^ address.to_bits()).leading_zeros() >= length
            }
            _ => false,
        }
    }
}

impl Condition {
    /// Whether it says "none of these" and of one of these it cannot be said what it is.
    pub(super) fn is_unclear(&self, context: &Context) -> bool {
        let unclear = |value: &Value| matches!(value, Value::Pattern(pattern) if !pattern.is_clear(context));
        self.operator.negated && self.values.iter().any(unclear)
    }

    /// Whether it holds for a request.
    pub(super) fn holds(&self, context: &Context) -> bool {
        let operator = self.operator;
        let given = context.values(&self.key);
        if operator.kind == Kind::Null {
            return self.values.contains(&Value::Bool(given.is_empty()));
        }
        let one = |text: &String| {
            self.values.iter().any(|value| fits(operator.kind, value, text, context)) != operator.negated
        };
        match operator.of {
            Of::All => given.iter().all(one),
            Of::Any => given.iter().any(one),
            Of::Single if given.is_empty() => operator.if_exists || operator.negated,
            Of::Single if operator.negated => given.iter().all(one),
            Of::Single => given.iter().any(one),
        }
    }
}

fn fits(kind: Kind, value: &Value, text: &str, context: &Context) -> bool {
    match (kind, value) {
        (Kind::Text { ignore_case }, Value::Pattern(pattern)) => pattern.matches(text, ignore_case, context),
        (Kind::Arn, Value::Pattern(pattern)) => pattern.matches_arn(text, context),
        (Kind::Number(order), Value::Number(value)) => {
            text.parse::<f64>().is_ok_and(|number| order.holds(&number, value))
        }
        (Kind::Date(order), Value::Date(value)) => {
            moment(text).is_some_and(|moment| order.holds(&moment, value))
        }
        (Kind::Bool, Value::Bool(value)) => text.eq_ignore_ascii_case(if *value { "true" } else { "false" }),
        (Kind::Ip, Value::Network(network)) => text.parse().is_ok_and(|address| network.holds(address)),
        _ => false,
    }
}
