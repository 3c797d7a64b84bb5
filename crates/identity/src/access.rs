//! Who may do what to a pipe: its owner all, those whom its owner has named what was named, and beyond that what
//! the policy of the pipe says. A policy's "deny" comes before all but the owner of the node.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::credentials::{ACCOUNT, Principal};
use crate::policy::{Caller, Context, Decider, Decision, Policy, Request};
use crate::sigv4::Protocol;

/// What somebody may be named for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Verb {
    /// Send messages to a queue.
    Send,
    /// Receive messages of a queue, which come back: to take them out is [`Verb::Consume`].
    Receive,
    /// Receive messages of a queue, delete them, change their visibility.
    Consume,
    /// All that its owner may.
    Manage,
    /// Publish to a topic.
    Publish,
    /// Subscribe to a topic.
    Subscribe,
}

impl Verb {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Send, Self::Receive, Self::Consume, Self::Manage, Self::Publish, Self::Subscribe];

    /// As the file of the app has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::Receive => "receive",
            Self::Consume => "consume",
            Self::Manage => "manage",
            Self::Publish => "publish",
            Self::Subscribe => "subscribe",
        }
    }

    /// Whether who has this may do that.
    fn includes(self, other: Self) -> bool {
        self == other || self == Self::Manage || (self == Self::Consume && other == Self::Receive)
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that is no verb.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not one of send, receive, consume, manage, publish, subscribe")]
pub struct BadVerb(String);

impl FromStr for Verb {
    type Err = BadVerb;

    fn from_str(text: &str) -> Result<Self, BadVerb> {
        let known = Self::ALL.into_iter().find(|verb| verb.as_str() == text);
        known.ok_or_else(|| BadVerb(text.chars().take(60).collect()))
    }
}

/// Several verbs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verbs(u8);

impl Verbs {
    /// With one more.
    #[must_use]
    pub fn with(self, verb: Verb) -> Self {
        Self(self.0 | 1 << verb as u8)
    }

    /// The verbs.
    pub fn iter(self) -> impl Iterator<Item = Verb> {
        Verb::ALL.into_iter().filter(move |verb| self.0 & 1 << *verb as u8 != 0)
    }

    /// Which of them gives this one.
    fn giving(self, verb: Verb) -> Option<Verb> {
        self.iter().find(|own| own.includes(verb))
    }
}

impl FromIterator<Verb> for Verbs {
    fn from_iter<I: IntoIterator<Item = Verb>>(verbs: I) -> Self {
        verbs.into_iter().fold(Self::default(), Self::with)
    }
}

/// Whose a pipe is, and whom its owner has named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    /// Whose it is; nobody's if it is not there yet.
    pub owner: Option<Principal>,
    /// What others may.
    pub named: BTreeMap<Principal, Verbs>,
}

impl Grants {
    /// Of a pipe that belongs to somebody, who has named nobody.
    pub fn of(owner: Principal) -> Self {
        Self { owner: Some(owner), named: BTreeMap::new() }
    }

    /// Names somebody for these verbs, beside those that they have.
    #[must_use]
    pub fn naming(mut self, who: Principal, verbs: impl IntoIterator<Item = Verb>) -> Self {
        let all = self.named.entry(who).or_default();
        *all = verbs.into_iter().fold(*all, Verbs::with);
        self
    }
}

/// What an action of AWS needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// To be the owner or to be named for this.
    Verb(Verb),
    /// To be the owner or to be named for anything: asks for attributes, changes nothing.
    Look,
    /// To make it: whoever is known may, if it is not there; what is there has to be theirs to look at. A key for
    /// the outside has to be made for [`Verb::Manage`].
    Create,
    /// To be known: asks for names of all pipes.
    List,
}

/// What an action needs. One that is not known needs [`Verb::Manage`].
pub fn need(action: &str) -> Need {
    match action {
        "sqs:SendMessage" => Need::Verb(Verb::Send),
        "sqs:ReceiveMessage" => Need::Verb(Verb::Receive),
        "sqs:DeleteMessage" | "sqs:ChangeMessageVisibility" => Need::Verb(Verb::Consume),
        "sqs:GetQueueUrl"
        | "sqs:GetQueueAttributes"
        | "sqs:ListQueueTags"
        | "sqs:ListDeadLetterSourceQueues"
        | "sqs:ListMessageMoveTasks"
        | "sns:GetTopicAttributes"
        | "sns:GetSubscriptionAttributes"
        | "sns:ListSubscriptionsByTopic"
        | "sns:ListTagsForResource"
        | "sns:GetDataProtectionPolicy" => Need::Look,
        "sqs:CreateQueue" | "sns:CreateTopic" => Need::Create,
        "sqs:ListQueues" | "sns:ListTopics" | "sns:ListSubscriptions" => Need::List,
        "sns:Publish" => Need::Verb(Verb::Publish),
        "sns:Subscribe" | "sns:ConfirmSubscription" | "sns:Unsubscribe" | "sns:SetSubscriptionAttributes" => {
            Need::Verb(Verb::Subscribe)
        }
        _ => Need::Verb(Verb::Manage),
    }
}

/// The action that permission is asked for: a batch asks for what each of its entries does.
pub fn asked_for(action: &str) -> &str {
    match action {
        "sqs:SendMessageBatch"
        | "sqs:DeleteMessageBatch"
        | "sqs:ChangeMessageVisibilityBatch"
        | "sns:PublishBatch" => action.strip_suffix("Batch").unwrap_or(action),
        _ => action,
    }
}

/// What was decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// Whether it may be.
    pub allowed: bool,
    /// By what.
    pub why: Why,
}

/// Why it was decided like that. `Display` ends a sentence such as "`orders` may send: …".
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// The owner of the node may all.
    Root,
    /// It is their own.
    Owner,
    /// They were named for this.
    Named(Verb),
    /// They were named for something, and only look.
    NamedAtAll,
    /// Whoever is known may.
    Known,
    /// The policy of the pipe allows it.
    PolicyAllows(Decider),
    /// The policy of the pipe denies it.
    PolicyDenies(Decider),
    /// Nobody has signed, and no policy lets everybody.
    NotSigned,
    /// Nothing allows it.
    Nothing(Need),
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by = |f: &mut fmt::Formatter<'_>, decider: &Decider, what: &str| match &decider.sid {
            Some(sid) => write!(f, "statement `{sid}` of its policy {what}"),
            None => write!(f, "statement {} of its policy {what}", decider.statement + 1),
        };
        match self {
            Self::Root => f.write_str("the owner of the node may"),
            Self::Owner => f.write_str("it is their own"),
            Self::Named(verb) => write!(f, "its owner has named them for `{verb}`"),
            Self::NamedAtAll => f.write_str("its owner has named them"),
            Self::Known => f.write_str("whoever has credentials may"),
            Self::PolicyAllows(decider) => by(f, decider, "allows it"),
            Self::PolicyDenies(decider) => by(f, decider, "denies it"),
            Self::NotSigned => f.write_str("the request is not signed, and no policy allows everybody"),
            Self::Nothing(Need::Verb(verb)) => {
                write!(f, "its owner has not named them for `{verb}`, and no policy allows it")
            }
            Self::Nothing(_) => f.write_str("its owner has not named them, and no policy allows it"),
        }
    }
}

/// Decides whether somebody may do something to a pipe. `action` is as AWS has it, `sqs:SendMessage`; `resource`
/// is the ARN of the pipe; `context` is asked for only where there is a policy.
pub fn decide(
    caller: Caller<'_>,
    action: &str,
    resource: &str,
    grants: &Grants,
    policy: Option<&Policy>,
    context: impl FnOnce() -> Context,
) -> Access {
    let allowed = |why| Access { allowed: true, why };
    let refused = |why| Access { allowed: false, why };
    let action = asked_for(action);
    if caller == Caller::Principal(&Principal::Root) {
        return allowed(Why::Root); // also what a policy that locks everybody out is mended by
    }
    let said = policy.map_or(Decision::Silent, |policy| {
        policy.decide(&Request { caller, action, resource, context: &context() })
    });
    if let Decision::Denied(decider) = said {
        return refused(Why::PolicyDenies(decider));
    }
    let need = need(action);
    if let Caller::Principal(principal) = caller
        && let Some(why) = granted(principal, need, grants)
    {
        return allowed(why);
    }
    match said {
        Decision::Allowed(decider) => allowed(Why::PolicyAllows(decider)),
        _ if caller == Caller::Anonymous => refused(Why::NotSigned),
        _ => refused(Why::Nothing(need)),
    }
}

fn granted(principal: &Principal, need: Need, grants: &Grants) -> Option<Why> {
    if grants.owner.as_ref() == Some(principal) {
        return Some(Why::Owner);
    }
    let verbs = grants.named.get(principal).copied().unwrap_or_default();
    match need {
        Need::Verb(verb) => verbs.giving(verb).map(Why::Named),
        Need::Look => (verbs != Verbs::default()).then_some(Why::NamedAtAll),
        // A key has what it was made for and no more.
        Need::Create if matches!(principal, Principal::Key(_)) => verbs.giving(Verb::Manage).map(Why::Named),
        Need::Create if grants.owner.is_none() => Some(Why::Known),
        Need::Create => (verbs != Verbs::default()).then_some(Why::NamedAtAll),
        Need::List => Some(Why::Known),
    }
}

impl Access {
    /// The code that the service of an action refuses with.
    pub fn code(action: &str, protocol: Protocol) -> &'static str {
        match (action.split(':').next(), protocol) {
            (Some("sns"), _) => "AuthorizationError",
            (_, Protocol::Json) => "AccessDeniedException",
            (_, Protocol::Query) => "AccessDenied",
        }
    }

    /// What the service says to whom it refuses.
    pub fn message(&self, caller: Caller<'_>, action: &str, resource: &str) -> String {
        let who = match caller {
            Caller::Anonymous => "anonymous".to_owned(),
            Caller::Principal(principal) => principal.arn(),
            Caller::Service(name) => format!("arn:aws:iam::{ACCOUNT}:service/{name}"),
        };
        let action = match asked_for(action) {
            action if action.starts_with("sqs:") => action.to_ascii_lowercase(),
            action => action.replacen("sns:", "SNS:", 1),
        };
        let because = match &self.why {
            Why::PolicyDenies(_) => "with an explicit deny in a resource-based policy".to_owned(),
            _ => format!("because no resource-based policy allows the {action} action"),
        };
        format!("User: {who} is not authorized to perform: {action} on resource: {resource} {because}")
    }
}

/// What becomes of a refusal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// It is written down, and what was asked is done: while an app is being built.
    #[default]
    Audit,
    /// It is one.
    Enforce,
}

/// What is to be done with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// Do it.
    Pass,
    /// Do it, and write down that it would be refused.
    PassAndTell,
    /// Refuse it.
    Refuse,
}

impl Mode {
    /// What is to be done after this decision.
    pub fn rule(self, access: &Access) -> Ruling {
        match (access.allowed, self) {
            (true, _) => Ruling::Pass,
            (false, Self::Audit) => Ruling::PassAndTell,
            (false, Self::Enforce) => Ruling::Refuse,
        }
    }

    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Audit => "audit",
            Self::Enforce => "enforce",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that is no mode.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is neither `audit` nor `enforce`")]
pub struct BadMode(String);

impl FromStr for Mode {
    type Err = BadMode;

    fn from_str(text: &str) -> Result<Self, BadMode> {
        match text {
            "audit" => Ok(Self::Audit),
            "enforce" => Ok(Self::Enforce),
            _ => Err(BadMode(text.chars().take(60).collect())),
        }
    }
}

#[cfg(test)]
#[path = "access_tests.rs"]
mod tests;
