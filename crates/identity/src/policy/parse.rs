//! Reads a policy. What is wrong is said with its place.

use std::collections::HashSet;

use super::condition::{Condition, Kind, Network, Of, Operator, Order, Value};
use super::json::Json;
use super::pattern::{Pattern, Syntax};
use super::{Effect, Matcher, Policy, PolicyError, PolicyKind, Rule, Statement, Version};

/// A value and where it stands: `Statement[1].Condition`.
struct Place<'j> {
    path: String,
    value: &'j Json,
}

type Read<T> = Result<T, PolicyError>;

impl<'j> Place<'j> {
    fn fault<T>(&self, why: impl Into<String>) -> Read<T> {
        Err(PolicyError { place: self.path.clone(), why: why.into() })
    }

    fn text(&self) -> Read<&'j str> {
        match self.value {
            Json::Text(text) => Ok(text),
            other => self.fault(format!("must be a text, not {}", other.kind())),
        }
    }

    fn members(&self) -> Read<&'j [(String, Json)]> {
        match self.value {
            Json::Object(members) => Ok(members),
            other => self.fault(format!("must be an object, not {}", other.kind())),
        }
    }

    fn member(&self, name: &str, value: &'j Json) -> Self {
        let path = if self.path == WHOLE { name.to_owned() } else { format!("{}.{name}", self.path) };
        Self { path, value }
    }

    /// The items of a list; anything else is a list of itself.
    fn items(&self) -> Read<Vec<Self>> {
        match self.value {
            Json::List(items) if items.is_empty() => self.fault("must not be empty"),
            Json::List(items) => Ok(items
                .iter()
                .enumerate()
                .map(|(number, value)| Self { path: format!("{}[{number}]", self.path), value })
                .collect()),
            value => Ok(vec![Self { path: self.path.clone(), value }]),
        }
    }
}

/// The place of the policy itself.
const WHOLE: &str = "the policy";

pub(super) fn policy(text: &str, kind: PolicyKind) -> Read<Policy> {
    if text.len() > Policy::MOST_TEXT {
        let why = format!("has {} bytes; {} is the most", text.len(), Policy::MOST_TEXT);
        return Err(PolicyError { place: WHOLE.to_owned(), why });
    }
    let json: Json = serde_json::from_str(text).map_err(|error| {
        let place = format!("line {}, column {}", error.line(), error.column());
        // The message of the reader ends with the same place.
        let why = error.to_string();
        let why = why.split(" at line ").next().unwrap_or_default().to_owned();
        PolicyError { place, why }
    })?;
    let whole = Place { path: WHOLE.to_owned(), value: &json };
    let (mut version, mut id, mut statement) = (Version::Old, None, None);
    for (name, value) in whole.members()? {
        let place = whole.member(name, value);
        match name.as_str() {
            "Version" => {
                version = match place.text()? {
                    "2012-10-17" => Version::New,
                    "2008-10-17" => Version::Old,
                    _ => return place.fault("must be \"2012-10-17\" or \"2008-10-17\""),
                }
            }
            "Id" => id = Some(place.text()?.to_owned()),
            "Statement" => statement = Some(place),
            _ => return place.fault("is not known here: Version, Id and Statement are"),
        }
    }
    let Some(statement) = statement else { return whole.fault("has no Statement") };
    let mut statements = Vec::new();
    let mut sids = HashSet::new();
    for place in statement.items()? {
        if statements.len() == Policy::MOST_STATEMENTS {
            return place.fault(format!("is one too many: {} is the most", Policy::MOST_STATEMENTS));
        }
        let statement = read_statement(&place, kind, version)?;
        if let Some(sid) = &statement.sid
            && !sids.insert(sid.clone())
        {
            return place.fault(format!("has the Sid `{sid}` of another statement"));
        }
        statements.push(statement);
    }
    Ok(Policy { version, id, statements })
}

fn read_statement(place: &Place<'_>, kind: PolicyKind, version: Version) -> Read<Statement> {
    let (mut sid, mut effect, mut conditions) = (None, None, Vec::new());
    let (mut principal, mut action, mut resource) = (None, None, None);
    for (name, value) in place.members()? {
        let member = place.member(name, value);
        let negated = name.starts_with("Not");
        match name.as_str() {
            "Sid" => sid = Some(member.text()?).filter(|sid| !sid.is_empty()).map(str::to_owned),
            "Effect" => {
                effect = match member.text()? {
                    "Allow" => Some(Effect::Allow),
                    "Deny" => Some(Effect::Deny),
                    _ => return member.fault("must be \"Allow\" or \"Deny\""),
                }
            }
            "Principal" | "NotPrincipal" => {
                if kind == PolicyKind::Identity {
                    return member.fault("has no place in the policy of an identity");
                }
                once(&member, &mut principal, Rule { negated, matchers: principals(&member)? })?;
            }
            "Action" | "NotAction" => {
                once(&member, &mut action, Rule { negated, matchers: actions(&member)? })?;
            }
            "Resource" | "NotResource" => {
                once(&member, &mut resource, Rule { negated, matchers: resources(&member, version)? })?;
            }
            "Condition" => conditions = read_conditions(&member, version)?,
            _ => {
                return member.fault(
                    "is not known here: Sid, Effect, Principal, Action, Resource, Condition are, and Not… of \
                     Principal, Action and Resource",
                );
            }
        }
    }
    let Some(effect) = effect else { return place.fault("has no Effect") };
    let Some(action) = action else { return place.fault("has neither Action nor NotAction") };
    let Some(resource) = resource else { return place.fault("has neither Resource nor NotResource") };
    if principal.is_none() && kind == PolicyKind::Resource {
        return place.fault("has neither Principal nor NotPrincipal");
    }
    Ok(Statement { sid, effect, principal, action, resource, conditions })
}

fn once<T>(place: &Place<'_>, slot: &mut Option<T>, value: T) -> Read<()> {
    if slot.replace(value).is_some() {
        return place.fault("stands beside its opposite: only one of both may be given");
    }
    Ok(())
}

fn principals(place: &Place<'_>) -> Read<Vec<Matcher>> {
    if let Json::Text(text) = place.value {
        return if text == "*" {
            Ok(vec![Matcher::Anybody])
        } else {
            place.fault("must be \"*\" or an object such as {\"AWS\": …}")
        };
    }
    let mut matchers = Vec::new();
    for (name, value) in place.members()? {
        let member = place.member(name, value);
        for item in member.items()? {
            let text = item.text()?;
            matchers.push(match name.as_str() {
                "AWS" => aws_principal(&item, text)?,
                "Service" if text.contains(['*', '?']) => return item.fault("may have no wildcards"),
                "Service" => Matcher::Service(text.to_owned()),
                // Nobody comes here like that.
                "Federated" | "CanonicalUser" => Matcher::Nobody,
                _ => return member.fault("is not known here: AWS, Service, Federated and CanonicalUser are"),
            });
        }
    }
    if matchers.is_empty() {
        return place.fault("must not be empty");
    }
    Ok(matchers)
}

fn aws_principal(place: &Place<'_>, text: &str) -> Read<Matcher> {
    if text == "*" {
        return Ok(Matcher::Anybody);
    }
    if text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(Matcher::Account(text.to_owned()));
    }
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    match parts[..] {
        _ if text.contains(['*', '?']) => place.fault("may have no wildcards but a single `*`"),
        ["arn", _, "iam", "", account, "root"] => Ok(Matcher::Account(account.to_owned())),
        ["arn", _, "iam" | "sts", "", _, _] => Ok(Matcher::Arn(text.to_owned())),
        _ => place.fault("must be `*`, an account of 12 digits or the ARN of a user or role"),
    }
}

fn actions(place: &Place<'_>) -> Read<Vec<Pattern>> {
    let mut patterns = Vec::new();
    for item in place.items()? {
        let text = item.text()?;
        let is_action = text == "*"
            || text.split_once(':').is_some_and(|(service, action)| {
                let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_*?".contains(&byte);
                !service.is_empty()
                    && !action.is_empty()
                    && service.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
                    && action.bytes().all(allowed)
            });
        if !is_action {
            return item.fault("must be `*` or `service:Action`, with `*` and `?` in the action");
        }
        patterns.push(pattern(&item, text, Syntax { wildcards: true, variables: false })?);
    }
    Ok(patterns)
}

fn resources(place: &Place<'_>, version: Version) -> Read<Vec<Pattern>> {
    let syntax = Syntax { wildcards: true, variables: version == Version::New };
    let mut patterns = Vec::new();
    for item in place.items()? {
        let text = item.text()?;
        if text != "*" && !text.starts_with("arn:") {
            return item.fault("must be `*` or an ARN");
        }
        patterns.push(pattern(&item, text, syntax)?);
    }
    Ok(patterns)
}

fn pattern(place: &Place<'_>, text: &str, syntax: Syntax) -> Read<Pattern> {
    Pattern::parse(text, syntax).or_else(|why| place.fault(why))
}

fn read_conditions(place: &Place<'_>, version: Version) -> Read<Vec<Condition>> {
    let mut conditions = Vec::new();
    for (name, value) in place.members()? {
        let block = place.member(name, value);
        let Some((operator, wildcards)) = operator(name) else {
            return block.fault("is no condition operator that is known here");
        };
        let syntax = Syntax { wildcards, variables: version == Version::New };
        for (key, value) in block.members()? {
            let member = block.member(&format!("{key:?}"), value);
            let mut values = Vec::new();
            for item in member.items()? {
                values.push(condition_value(&item, operator.kind, syntax)?);
            }
            conditions.push(Condition { operator, key: key.to_ascii_lowercase(), values });
        }
    }
    Ok(conditions)
}

/// Reads the name of an operator; with whether its values have wildcards.
fn operator(name: &str) -> Option<(Operator, bool)> {
    let (of, name) = match name.split_once(':') {
        None => (Of::Single, name),
        Some(("ForAnyValue", name)) => (Of::Any, name),
        Some(("ForAllValues", name)) => (Of::All, name),
        Some(_) => return None,
    };
    let (if_exists, name) = match name.strip_suffix("IfExists") {
        Some(name) => (true, name),
        None => (false, name),
    };
    const TEXT: Kind = Kind::Text { ignore_case: false };
    const FOLDED: Kind = Kind::Text { ignore_case: true };
    let (kind, negated, wildcards) = match name {
        "StringEquals" | "BinaryEquals" => (TEXT, false, false),
        "StringNotEquals" => (TEXT, true, false),
        "StringEqualsIgnoreCase" => (FOLDED, false, false),
        "StringNotEqualsIgnoreCase" => (FOLDED, true, false),
        "StringLike" => (TEXT, false, true),
        "StringNotLike" => (TEXT, true, true),
        "ArnEquals" | "ArnLike" => (Kind::Arn, false, true),
        "ArnNotEquals" | "ArnNotLike" => (Kind::Arn, true, true),
        "NumericEquals" => (Kind::Number(Order::Equal), false, false),
        "NumericNotEquals" => (Kind::Number(Order::Equal), true, false),
        "NumericLessThan" => (Kind::Number(Order::Less), false, false),
        "NumericLessThanEquals" => (Kind::Number(Order::LessOrEqual), false, false),
        "NumericGreaterThan" => (Kind::Number(Order::Greater), false, false),
        "NumericGreaterThanEquals" => (Kind::Number(Order::GreaterOrEqual), false, false),
        "DateEquals" => (Kind::Date(Order::Equal), false, false),
        "DateNotEquals" => (Kind::Date(Order::Equal), true, false),
        "DateLessThan" => (Kind::Date(Order::Less), false, false),
        "DateLessThanEquals" => (Kind::Date(Order::LessOrEqual), false, false),
        "DateGreaterThan" => (Kind::Date(Order::Greater), false, false),
        "DateGreaterThanEquals" => (Kind::Date(Order::GreaterOrEqual), false, false),
        "Bool" => (Kind::Bool, false, false),
        "IpAddress" => (Kind::Ip, false, false),
        "NotIpAddress" => (Kind::Ip, true, false),
        "Null" if of == Of::Single && !if_exists => (Kind::Null, false, false),
        _ => return None,
    };
    Some((Operator { kind, negated, if_exists, of }, wildcards))
}

fn condition_value(place: &Place<'_>, kind: Kind, syntax: Syntax) -> Read<Value> {
    let text = match place.value {
        Json::Text(text) | Json::Number(text) => text.as_str(),
        Json::Bool(true) => "true",
        Json::Bool(false) => "false",
        other => return place.fault(format!("must be a text, a number or a boolean, not {}", other.kind())),
    };
    match kind {
        Kind::Text { .. } | Kind::Arn => Ok(Value::Pattern(pattern(place, text, syntax)?)),
        Kind::Number(_) => match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(Value::Number(number)),
            _ => place.fault("must be a number"),
        },
        Kind::Date(_) => match moment(text) {
            Some(moment) => Ok(Value::Date(moment)),
            None => place.fault("must be a date such as 2026-01-31T12:00:00Z, or seconds since 1970"),
        },
        Kind::Bool | Kind::Null => match text {
            _ if text.eq_ignore_ascii_case("true") => Ok(Value::Bool(true)),
            _ if text.eq_ignore_ascii_case("false") => Ok(Value::Bool(false)),
            _ => place.fault("must be true or false"),
        },
        Kind::Ip => match Network::parse(text) {
            Some(network) => Ok(Value::Network(network)),
            None => place.fault("must be an IP address or a network such as 10.0.0.0/8"),
        },
    }
}

/// Reads a date, with or without the time of day, or seconds since the epoch.
pub(super) fn moment(text: &str) -> Option<i64> {
    if let Ok(seconds) = text.parse::<i64>() {
        return Some(seconds);
    }
    if let Ok(moment) = text.parse::<jiff::Timestamp>() {
        return Some(moment.as_second());
    }
    let civil: jiff::civil::DateTime = text.parse().ok()?;
    Some(jiff::tz::Offset::UTC.to_timestamp(civil).ok()?.as_second())
}
