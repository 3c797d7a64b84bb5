//! Policies in the JSON grammar of IAM: who may do what to which pipe, when.
//!
//! A policy is read once ([`Policy::parse`]) and asked often ([`Policy::decide`]): what denies comes before what
//! allows, and what nothing allows is not allowed. Whoever else may allow is none of its business.

mod condition;
mod json;
mod parse;
mod pattern;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::IpAddr;

use kit::Timestamp;

use crate::credentials::{ACCOUNT, Principal};
use condition::Condition;
use pattern::Pattern;

/// A policy that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    version: Version,
    id: Option<String>,
    statements: Vec<Statement>,
}

/// What a policy belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyKind {
    /// A queue or topic: says whom it is about.
    Resource,
    /// Somebody: is about them.
    Identity,
}

/// Which edition of the grammar: variables came with the new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// `2008-10-17`, also where none is given.
    Old,
    /// `2012-10-17`.
    New,
}

/// What a statement does where it applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Allows.
    Allow,
    /// Denies, whatever allows.
    Deny,
}

/// Why a text is no policy, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {why}")]
pub struct PolicyError {
    /// `Statement[1].Condition.IpAddress."aws:SourceIp"`, or the line and column.
    pub place: String,
    /// What is wrong there.
    pub why: String,
}

#[derive(Clone, Debug, PartialEq)]
struct Statement {
    sid: Option<String>,
    effect: Effect,
    /// `None` in the policy of an identity.
    principal: Option<Rule<Matcher>>,
    action: Rule<Pattern>,
    resource: Rule<Pattern>,
    conditions: Vec<Condition>,
}

/// `Action` or `NotAction`: one of these, or none of these.
#[derive(Clone, Debug, PartialEq)]
struct Rule<T> {
    negated: bool,
    matchers: Vec<T>,
}

impl<T> Rule<T> {
    fn applies(&self, fits: impl Fn(&T) -> bool) -> bool {
        self.matchers.iter().any(fits) != self.negated
    }
}

/// Whom an entry of `Principal` stands for.
#[derive(Clone, Debug, PartialEq)]
enum Matcher {
    Anybody,
    Nobody,
    /// Everybody of an account.
    Account(String),
    Arn(String),
    Service(String),
}

impl Matcher {
    fn fits(&self, caller: Caller<'_>) -> bool {
        match (self, caller) {
            (Self::Anybody, _) => true,
            (Self::Account(account), Caller::Principal(_)) => account == ACCOUNT,
            (Self::Arn(arn), Caller::Principal(principal)) => *arn == principal.arn(),
            (Self::Service(name), Caller::Service(service)) => name == service,
            _ => false,
        }
    }
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller<'a> {
    /// Nobody has signed.
    Anonymous,
    /// Somebody with credentials.
    Principal(&'a Principal),
    /// A part of the platform on its own behalf: `sns.amazonaws.com` brings messages to a queue.
    Service(&'a str),
}

/// What is known about a request beside who asks for what. Keys have no case; one may have several values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Context(BTreeMap<String, Vec<String>>);

impl Context {
    /// What every request has: who, when, from where, and whether by TLS.
    pub fn of(caller: Caller<'_>, now: Timestamp, from: Option<IpAddr>, secure: bool) -> Self {
        let mut context = Self::default();
        let seconds = now.as_micros() / 1_000_000;
        context.add("aws:EpochTime", seconds.to_string());
        if let Ok(moment) = jiff::Timestamp::from_second(i64::try_from(seconds).unwrap_or(i64::MAX)) {
            context.add("aws:CurrentTime", moment.to_string());
        }
        context.add("aws:SecureTransport", if secure { "true" } else { "false" });
        if let Some(from) = from {
            context.add("aws:SourceIp", from.to_canonical().to_string());
        }
        match caller {
            Caller::Anonymous => context.add("aws:PrincipalType", "Anonymous"),
            Caller::Principal(principal) => {
                let kind = match principal {
                    Principal::Root => "Account",
                    Principal::Key(_) => "User",
                    Principal::Service(_) | Principal::Function(_) => "AssumedRole",
                };
                context.add("aws:PrincipalType", kind);
                context.add("aws:PrincipalArn", principal.arn());
                context.add("aws:PrincipalAccount", ACCOUNT);
                context.add("aws:username", principal.name());
                context.add("aws:userid", principal.name());
            }
            Caller::Service(name) => {
                context.add("aws:PrincipalIsAWSService", "true");
                context.add("aws:PrincipalServiceName", name);
            }
        }
        context
    }

    /// Adds a value to those of a key.
    pub fn add(&mut self, key: &str, value: impl Into<String>) {
        self.0.entry(key.to_ascii_lowercase()).or_default().push(value.into());
    }

    /// The values of a key, which is in lower case.
    fn values(&self, key: &str) -> &[String] {
        self.0.get(key).map_or(&[], Vec::as_slice)
    }
}

/// A question to a policy.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Who asks.
    pub caller: Caller<'a>,
    /// To do what: `sqs:SendMessage`.
    pub action: &'a str,
    /// To what: an ARN.
    pub resource: &'a str,
    /// What else is known.
    pub context: &'a Context,
}

/// The statement that has decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decider {
    /// Its place in the policy, from 0.
    pub statement: usize,
    /// Its name, if it has one.
    pub sid: Option<String>,
}

/// What a policy says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is denied, whatever others say.
    Denied(Decider),
    /// It is allowed.
    Allowed(Decider),
    /// No statement applies.
    Silent,
}

impl Policy {
    /// The longest text of one, in bytes.
    pub const MOST_TEXT: usize = 30 * 1024;
    /// The most statements.
    pub const MOST_STATEMENTS: usize = 200;

    /// Reads a policy.
    ///
    /// # Errors
    /// When it is none, with where and why.
    pub fn parse(text: &str, kind: PolicyKind) -> Result<Self, PolicyError> {
        parse::policy(text, kind)
    }

    /// Which edition of the grammar it is in.
    pub fn version(&self) -> Version {
        self.version
    }

    /// What it calls itself.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// How many statements it has.
    pub fn statements(&self) -> usize {
        self.statements.len()
    }

    /// What it says to a request: the first statement that denies, else the first that allows.
    pub fn decide(&self, request: &Request<'_>) -> Decision {
        let mut allowed = None;
        for (number, statement) in self.statements.iter().enumerate() {
            if (statement.effect == Effect::Allow && allowed.is_some()) || !statement.applies(request) {
                continue;
            }
            let decider = Decider { statement: number, sid: statement.sid.clone() };
            match statement.effect {
                Effect::Deny => return Decision::Denied(decider),
                Effect::Allow => allowed = Some(decider),
            }
        }
        allowed.map_or(Decision::Silent, Decision::Allowed)
    }
}

impl Statement {
    fn applies(&self, request: &Request<'_>) -> bool {
        let context = request.context;
        self.action.applies(|pattern| pattern.matches(request.action, true, context))
            && self.resource.applies(|pattern| pattern.matches_arn(request.resource, context))
            && self.principal.as_ref().is_none_or(|rule| rule.applies(|matcher| matcher.fits(request.caller)))
            && self.conditions.iter().all(|condition| condition.holds(context))
            && (self.effect == Effect::Deny || !self.is_unclear(context))
    }

    /// Whether it says "all but these" and of one of these it cannot be said what it is: nothing is allowed by
    /// that.
    fn is_unclear(&self, context: &Context) -> bool {
        (self.resource.negated && !self.resource.matchers.iter().all(|pattern| pattern.is_clear(context)))
            || self.conditions.iter().any(|condition| condition.is_unclear(context))
    }
}
