//! Who comes in at the faces of queues and topics, and what they may do there: signatures against the key book, grants from the
//! application file. What is refused is told once for each caller, action and queue.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use control::{Happening, Level};
use identity::access::{self, Grants, Verb};
use identity::credentials::container_document;
use identity::policy::{self, Context};
use identity::sigv4::{Body, Scope, SignatureError, Verifier, View};
use identity::{KeyBook, PipeKind, Principal};
use kit::{Clock, SystemClock};
use manifest::spec::{self, Access, ServiceName};
use wire::{Caller, Denied, Gatekeeper, Lent, RequestView, Resource};

use super::keys::Keys;
use super::policies::Policies;
use crate::edge::Tell;

/// Distinct refusals that are told. Beyond that they are only answered.
const TOLD_MOST: usize = 1000;
/// Whoever confirms a subscription has no credentials, but the token that was sent to the address: it is the proof.
const CONFIRM: &str = "sns:ConfirmSubscription";
/// Whoever ends one by the address that every message gives has none either; the face knows of which that is enough.
const UNSUBSCRIBE: &str = "sns:Unsubscribe";
/// Where SDKs of services ask for short-lived credentials.
pub(super) const LENDING_PATH: &str = "/credentials";
/// How long those are good. SDKs ask again some minutes before.
const LENT_FOR: Duration = Duration::from_secs(3600);
/// What a caller is called whose signature nobody can verify, where that is only written down.
const ANYBODY: &str = "anonymous";

/// The gate of one node.
pub(crate) struct Gate {
    book: Arc<KeyBook>,
    keys: Arc<Keys>,
    verifier: Verifier,
    clock: SystemClock,
    wanted: ArcSwap<spec::Pipes>,
    policies: Policies,
    told: Mutex<HashSet<String>>,
    tell: Tell,
}

impl Gate {
    pub(crate) fn new(book: Arc<KeyBook>, keys: Arc<Keys>, clock: SystemClock, tell: Tell) -> Self {
        let (verifier, wanted, told) = (Verifier::new(), ArcSwap::default(), Mutex::default());
        Self { book, keys, verifier, clock, wanted, policies: Policies::default(), told, tell }
    }

    /// The file in force says who may do what.
    pub(crate) fn put(&self, wanted: spec::Pipes) {
        self.wanted.store(Arc::new(wanted));
        self.told.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn verify(&self, request: &RequestView<'_>) -> Result<Caller, Denied> {
        let headers = request.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
        let headers: Vec<(&str, &[u8])> = headers.collect();
        let view = View {
            method: request.method,
            path: request.path,
            query: request.query,
            headers: headers.iter().copied(),
            body: Body::Bytes(request.body),
        };
        let service = service_of(request);
        let scope = Scope { region: None, service };
        let verified = self
            .verifier
            .verify(&view, &*self.book, self.clock.now(), scope)
            .map_err(|error| denied(&error))?;
        let name = match &verified.principal {
            Principal::Service(name) | Principal::Function(name) | Principal::Key(name) => Arc::clone(name),
            Principal::Root => "root".into(),
        };
        if let Principal::Key(name) = &verified.principal {
            self.keys.was_used(name, self.clock.now());
        }
        // Who it is is known by the key from here on: two principals of one name are two callers.
        let key = match &verified.principal {
            Principal::Service(_) => "service",
            Principal::Function(_) => "function",
            Principal::Key(_) => "key",
            Principal::Root => "root",
        };
        Ok(Caller { name, key: key.into() })
    }

    /// Why they may not; `None`: they may.
    fn refusal(&self, caller: &Caller, action: &str, resource: &Resource<'_>) -> Option<Refused> {
        let principal = principal(caller);
        let who = principal.as_ref().map_or(policy::Caller::Anonymous, policy::Caller::Principal);
        let arn = resource.arn();
        let grants = match &principal {
            Some(Principal::Key(name)) => self.grants_with_key(name, resource),
            // What the file does not name was made at run time: it belongs to whoever has credentials of the app.
            _ => {
                self.grants(resource).unwrap_or_else(|| principal.clone().map(Grants::of).unwrap_or_default())
            }
        };
        let policy = match resource.policy.map(|text| self.policies.parse(text)) {
            Some(Err(error)) => {
                let why = format!("the policy of `{arn}` cannot be read: {error}");
                return Some(Refused { answer: why.clone(), told: why });
            }
            Some(Ok(policy)) => Some(policy),
            None => None,
        };
        let context = || Context::of(who, self.clock.now(), None, false);
        let access = access::decide(who, action, &arn, &grants, policy.as_deref(), context);
        if access.allowed {
            return None;
        }
        let shown = principal.as_ref().map_or_else(|| ANYBODY.to_owned(), ToString::to_string);
        Some(Refused {
            answer: access.message(who, action, &arn),
            told: format!("{shown} may not {action} on `{}`: {}", resource.name, access.why),
        })
    }

    /// Whose it is and whom the file lets do what; `None`: the file has no such queue or topic.
    fn grants(&self, resource: &Resource<'_>) -> Option<Grants> {
        let wanted = self.wanted.load();
        let name = resource.name.strip_suffix(spec::PipeName::FIFO).unwrap_or(resource.name);
        let name: spec::PipeName = name.parse().ok()?;
        let (owner, allow) = match resource.service {
            "sqs" => wanted.queues.get(&name).map(|queue| (&queue.owner, &queue.allow))?,
            _ => wanted.topics.get(&name).map(|topic| (&topic.owner, &topic.allow))?,
        };
        let service = |name: &ServiceName| Principal::Service(name.as_str().into());
        let named = allow.iter().map(|(name, verbs)| (service(name), verbs.iter().flat_map(verbs_of)));
        Some(named.fold(Grants::of(service(owner)), |grants, (who, verbs)| grants.naming(who, verbs)))
    }

    /// What a key for the outside may do, which is what it was made for: nothing at run time makes something its own.
    fn grants_with_key(&self, key: &Arc<str>, resource: &Resource<'_>) -> Grants {
        let kind = if resource.service == "sqs" { PipeKind::Queue } else { PipeKind::Topic };
        let allowed = self.book.allowed(key).unwrap_or_default();
        let about = allowed.iter().filter(|grant| grant.is_about(kind, resource.name));
        let verbs = about.flat_map(|grant| grant.verbs().iter());
        self.grants(resource).unwrap_or_default().naming(Principal::Key(Arc::clone(key)), verbs)
    }

    /// Tells `what` unless it was told before, by what `same` names.
    fn told(&self, same: &str, what: &str, kind: &'static str, hint: &'static str) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.contains(same) || told.len() >= TOLD_MOST {
            return;
        }
        told.insert(same.to_owned());
        drop(told);
        (self.tell)(Happening {
            level: Level::Warning,
            kind,
            service: None,
            instance: None,
            message: what.to_owned(),
            code: None,
            hint: Some(hint.into()),
        });
    }

    fn enforces(&self) -> bool {
        self.wanted.load().access == Access::Enforce
    }
}

impl Gatekeeper for Gate {
    fn admit(&self, request: &RequestView<'_>) -> Result<Caller, Denied> {
        let denied = match self.verify(request) {
            Ok(caller) => return Ok(caller),
            Err(denied) => denied,
        };
        // Who has signed and is mistaken is told so: SDKs mend that.
        if denied == Denied::Unsigned && is_open(request) {
            return Ok(Caller { name: ANYBODY.into(), key: "".into() });
        }
        if self.enforces() {
            return Err(denied);
        }
        let same = match &denied {
            Denied::ExpiredToken => "expired-token",
            Denied::Expired(_) => "expired", // the text has times in it
            Denied::Malformed(_) => "malformed",
            Denied::WrongSignature(_) => "wrong",
            Denied::Unsigned => "unsigned",
            Denied::UnknownKey | Denied::Forbidden(_) => "unknown",
        };
        self.told(
            same,
            &format!("a request to queues or topics would be refused: {denied}"),
            "pipes.unverified",
            "use the credentials that Atoll gives, or a key of `atoll key create`; `pipes.access: enforce` refuses it",
        );
        Ok(Caller { name: ANYBODY.into(), key: "".into() })
    }

    fn lend(&self, request: &RequestView<'_>, near: bool) -> Option<Lent> {
        if request.method != "GET" || request.path != LENDING_PATH {
            return None;
        }
        // What is lent acts for a service, and services run here.
        if !near {
            return Some(Lent::Refused("credentials are lent to processes of this machine alone"));
        }
        let token = request.headers.get(http::header::AUTHORIZATION).and_then(|token| token.to_str().ok());
        let Some(principal) = token.and_then(|token| self.book.lent_to(token, self.clock.now())) else {
            return Some(Lent::Refused("the authorization token is nobody's"));
        };
        let session = self.book.session(&principal, self.clock.now(), LENT_FOR).ok();
        Some(match session.as_ref().and_then(container_document) {
            Some(document) => Lent::Document { to: principal.name().into(), document },
            None => Lent::Refused("the machine gives no random bytes"),
        })
    }

    fn may(&self, caller: &Caller, action: &str, resource: &Resource<'_>) -> Result<(), Denied> {
        if action == CONFIRM {
            return Ok(());
        }
        let Some(Refused { answer, told }) = self.refusal(caller, action, resource) else { return Ok(()) };
        if self.enforces() {
            return Err(Denied::Forbidden(answer));
        }
        let hint = match &*caller.key {
            "key" => "make a key that may, with `atoll key create`; `pipes.access: enforce` refuses it",
            _ => "name it under `allow` of the queue or topic; `pipes.access: enforce` refuses it",
        };
        self.told(&told, &format!("would be refused: {told}"), "pipes.forbidden", hint);
        Ok(())
    }
}

/// The service that a request is for, as its signature must say.
fn service_of(request: &RequestView<'_>) -> &'static str {
    let scope = wire::face::Hints::of(request).scope;
    if scope == Some("sns") { "sns" } else { "sqs" }
}

/// Whether somebody follows an address that a topic has told them: to confirm, or to end a subscription.
fn is_open(request: &RequestView<'_>) -> bool {
    let action = wire::face::Hints::of(request).action;
    action.is_some_and(|action| {
        [CONFIRM, UNSUBSCRIBE].iter().any(|open| open.strip_prefix("sns:") == Some(&action))
    })
}

fn denied(error: &SignatureError) -> Denied {
    match error {
        SignatureError::MissingAuthenticationToken => Denied::Unsigned,
        SignatureError::UnknownKey => Denied::UnknownKey,
        SignatureError::ExpiredToken => Denied::ExpiredToken,
        SignatureError::WrongScope(_) | SignatureError::DoesNotMatch => {
            Denied::WrongSignature(error.to_string())
        }
        SignatureError::Expired { .. }
        | SignatureError::NotYetCurrent { .. }
        | SignatureError::RequestExpired => Denied::Expired(error.to_string()),
        SignatureError::IncompleteSignature(_) => Denied::Malformed(error.to_string()),
    }
}

/// Why somebody may not do something.
struct Refused {
    /// In the words of the service.
    answer: String,
    /// For whoever runs the app.
    told: String,
}

/// Who a caller of [`Gate::admit`] is; `None`: nobody that is known.
fn principal(caller: &Caller) -> Option<Principal> {
    let name = || Arc::clone(&caller.name);
    match &*caller.key {
        "service" => Some(Principal::Service(name())),
        "function" => Some(Principal::Function(name())),
        "key" => Some(Principal::Key(name())),
        "root" => Some(Principal::Root),
        _ => None,
    }
}

/// What the file calls `receive` is what makes a consumer.
fn verbs_of(verb: &spec::Verb) -> Vec<Verb> {
    match verb {
        spec::Verb::Send => vec![Verb::Send],
        spec::Verb::Receive => vec![Verb::Consume],
        spec::Verb::Publish => vec![Verb::Publish],
        spec::Verb::Subscribe => vec![Verb::Subscribe],
        spec::Verb::Manage => vec![Verb::Manage],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(access: Access) -> Gate {
        let book = Arc::new(KeyBook::new(&identity::NodeSecret::new([7; 32]), "shop"));
        let allow = ["settle:send,receive", "queue/ours*:*"].map(|text| text.parse().unwrap()).into();
        let now = kit::Timestamp::from_micros(1);
        book.create_key("ops", allow, now, None).unwrap();
        let keys = Arc::new(Keys::new(Arc::clone(&book), std::path::Path::new("/nowhere")));
        let gate = Gate::new(book, keys, SystemClock::new(), Arc::new(|_| ()));
        let settle: spec::PipeName = "settle".parse().unwrap();
        let mut queue = spec::Queue::new(settle.clone(), "settlement".parse().unwrap());
        queue.allow.insert("orders".parse().unwrap(), [spec::Verb::Send].into());
        let queues = [(settle, queue)].into();
        gate.put(spec::Pipes { queues, access, ..spec::Pipes::default() });
        gate
    }

    fn caller(kind: &str, name: &str) -> Caller {
        Caller { name: name.into(), key: kind.into() }
    }

    #[test]
    fn the_owner_does_everything_and_others_what_the_file_names() {
        let gate = gate(Access::Enforce);
        let may = |caller: &Caller, action, name| {
            gate.may(caller, action, &Resource { service: "sqs", name, policy: None }).is_ok()
        };
        let (owner, orders) = (caller("service", "settlement"), caller("service", "orders"));
        for action in ["sqs:SendMessage", "sqs:DeleteMessageBatch", "sqs:PurgeQueue"] {
            assert!(may(&owner, action, "settle"), "{action}");
            assert!(!may(&caller("", ANYBODY), action, "settle"), "{action}");
            assert!(may(&orders, action, "made-by-an-sdk"), "{action}");
        }
        assert!(may(&orders, "sqs:SendMessageBatch", "settle"));
        assert!(may(&orders, "sqs:GetQueueUrl", "settle"));
        for action in ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:SetQueueAttributes"] {
            assert!(!may(&orders, action, "settle"), "{action}");
        }
        assert!(!may(&caller("function", "settlement"), "sqs:SendMessage", "settle"));
    }

    #[test]
    fn a_key_does_what_it_was_made_for_and_a_revoked_one_nothing() {
        let gate = gate(Access::Enforce);
        let ops = caller("key", "ops");
        let may =
            |service, action, name| gate.may(&ops, action, &Resource { service, name, policy: None }).is_ok();
        for action in ["sqs:SendMessage", "sqs:DeleteMessageBatch", "sqs:GetQueueAttributes"] {
            assert!(may("sqs", action, "settle"), "{action}");
            assert!(!may("sqs", action, "made-by-an-sdk"), "{action}");
            assert!(may("sqs", action, "ours.fifo"), "{action}");
        }
        assert!(!may("sqs", "sqs:PurgeQueue", "settle") && !may("sqs", "sqs:CreateQueue", "settle"));
        assert!(may("sqs", "sqs:PurgeQueue", "ours-1") && may("sqs", "sqs:CreateQueue", "ours-1"));
        assert!(!may("sqs", "sqs:CreateQueue", "theirs") && may("sqs", "sqs:ListQueues", "*"));
        assert!(!may("sns", "sns:Publish", "ours-1"), "it names queues");
        assert!(gate.book.revoke_key("ops"));
        assert!(!may("sqs", "sqs:SendMessage", "settle"));
    }

    #[test]
    fn credentials_are_lent_to_a_service_on_this_machine_and_to_nobody_else() {
        let gate = gate(Access::Enforce);
        let orders = Principal::Service("orders".into());
        gate.book.declare(&orders);
        let mut headers = http::HeaderMap::new();
        let lent = |headers: &http::HeaderMap, path, near| {
            gate.lend(&RequestView { method: "GET", path, query: "", headers, body: b"" }, near)
        };
        assert!(matches!(lent(&headers, LENDING_PATH, true), Some(Lent::Refused(_))), "without a token");
        let token = gate.book.lending_token(&orders);
        headers.insert(http::header::AUTHORIZATION, token.parse().unwrap());
        assert!(
            matches!(lent(&headers, LENDING_PATH, true), Some(Lent::Document { to, .. }) if &*to == "orders")
        );
        assert!(
            matches!(lent(&headers, LENDING_PATH, false), Some(Lent::Refused(why)) if why.contains("machine"))
        );
        assert_eq!(lent(&headers, "/", true), None);
    }

    #[test]
    fn addresses_that_topics_tell_need_no_signature_and_nothing_else_does_not() {
        let gate = gate(Access::Enforce);
        let headers = http::HeaderMap::new();
        let admitted = |query| {
            gate.admit(&RequestView { method: "GET", path: "/", query, headers: &headers, body: b"" })
        };
        for open in ["Action=ConfirmSubscription&Token=x", "Action=Unsubscribe&SubscriptionArn=x"] {
            let caller = admitted(open).unwrap();
            assert_eq!((&*caller.name, &*caller.key), (ANYBODY, ""), "{open}");
            let topic = Resource { service: "sns", name: "orders", policy: None };
            assert!(gate.may(&caller, UNSUBSCRIBE, &topic).is_err(), "only where the face asks nobody");
        }
        assert!(admitted("Action=Publish&Message=x").is_err() && admitted("").is_err());
        // Signed, but not so that it holds: said as it is.
        let signed = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=k/20260101/us-east-1/sns/aws4_request\
                      &X-Amz-Date=20260101T000000Z&X-Amz-SignedHeaders=host&X-Amz-Signature=00&X-Amz-Expires=60";
        assert!(admitted(&format!("Action=Unsubscribe&{signed}")).is_err());
    }

    #[test]
    fn an_audit_refuses_nothing_and_tells_each_refusal_once() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let mut gate = gate(Access::Audit);
        let heard = Arc::clone(&told);
        gate.tell = Arc::new(move |happening: Happening| heard.lock().unwrap().push(happening.message));
        let resource = Resource { service: "sqs", name: "settle", policy: None };
        for _ in 0..3 {
            gate.may(&caller("service", "orders"), "sqs:ReceiveMessage", &resource).unwrap();
        }
        assert_eq!(
            *told.lock().unwrap(),
            [
                "would be refused: service `orders` may not sqs:ReceiveMessage on `settle`: its owner has not named them for `receive`, and no policy allows it"
            ]
        );
    }
}
