use super::*;
use crate::policy::PolicyKind;

const JOBS: &str = "arn:aws:sqs:us-east-1:000000000000:jobs";

fn service(name: &str) -> Principal {
    Principal::Service(name.into())
}

/// A queue of `settlement`, to which `orders` sends, of which `audit` reads, which `ops` looks after.
fn grants() -> Grants {
    Grants::of(service("settlement"))
        .naming(service("orders"), [Verb::Send])
        .naming(service("orders"), [Verb::Publish])
        .naming(service("audit"), [Verb::Receive])
        .naming(service("worker"), [Verb::Consume])
        .naming(Principal::Key("ops".into()), [Verb::Manage])
}

fn ask(caller: Caller<'_>, action: &str, policy: Option<&str>) -> Access {
    let policy = policy.map(|statement| {
        let text = format!(r#"{{"Version": "2012-10-17", "Statement": {statement}}}"#);
        Policy::parse(&text, PolicyKind::Resource).unwrap()
    });
    decide(caller, action, JOBS, &grants(), policy.as_ref(), Context::default)
}

#[test]
fn the_owner_may_all_and_others_what_they_were_named_for() {
    use Need::{Look, Verb as Needs};
    let sends = Why::Named(Verb::Send);
    let consumes = Why::Named(Verb::Consume);
    let manages = Why::Named(Verb::Manage);
    let ops = Principal::Key("ops".into());
    for (who, action, allowed, why) in [
        (service("settlement"), "sqs:DeleteQueue", true, Why::Owner),
        (service("settlement"), "sqs:SendMessageBatch", true, Why::Owner),
        (service("orders"), "sqs:SendMessage", true, sends.clone()),
        (service("orders"), "sqs:SendMessageBatch", true, sends),
        (service("orders"), "sqs:GetQueueUrl", true, Why::NamedAtAll),
        (service("orders"), "sqs:CreateQueue", true, Why::NamedAtAll),
        (service("orders"), "sqs:ReceiveMessage", false, Why::Nothing(Needs(Verb::Receive))),
        (service("orders"), "sqs:PurgeQueue", false, Why::Nothing(Needs(Verb::Manage))),
        (service("orders"), "sqs:Unheard", false, Why::Nothing(Needs(Verb::Manage))),
        (service("audit"), "sqs:ReceiveMessage", true, Why::Named(Verb::Receive)),
        (service("audit"), "sqs:DeleteMessage", false, Why::Nothing(Needs(Verb::Consume))),
        (service("worker"), "sqs:ReceiveMessage", true, consumes.clone()),
        (service("worker"), "sqs:ChangeMessageVisibilityBatch", true, consumes),
        (service("worker"), "sqs:SendMessage", false, Why::Nothing(Needs(Verb::Send))),
        (ops, "sqs:SetQueueAttributes", true, manages),
        (service("cart"), "sqs:GetQueueAttributes", false, Why::Nothing(Look)),
        (service("cart"), "sqs:CreateQueue", false, Why::Nothing(Need::Create)),
        (service("cart"), "sqs:ListQueues", true, Why::Known),
        (Principal::Function("orders".into()), "sqs:SendMessage", false, Why::Nothing(Needs(Verb::Send))),
        (Principal::Root, "sqs:DeleteQueue", true, Why::Root),
    ] {
        assert_eq!(ask(Caller::Principal(&who), action, None), Access { allowed, why }, "{who} {action}");
    }
    assert_eq!(ask(Caller::Anonymous, "sqs:ListQueues", None).why, Why::NotSigned);
    let sns = ask(Caller::Service("sns.amazonaws.com"), "sqs:SendMessage", None);
    assert_eq!(sns.why, Why::Nothing(Needs(Verb::Send)));
}

#[test]
fn what_is_not_there_may_be_made_by_whoever_is_known() {
    let make =
        |caller| decide(caller, "sqs:CreateQueue", JOBS, &Grants::default(), None, Context::default).allowed;
    let cart = service("cart");
    assert!(make(Caller::Principal(&cart)));
    assert!(!make(Caller::Anonymous));
}

#[test]
fn a_policy_adds_to_it_and_its_deny_takes_away() {
    let everybody = r#"{"Sid": "open", "Effect": "Allow", "Principal": "*", "Action": "sqs:SendMessage", "Resource": "*"}"#;
    let nobody = r#"{"Effect": "Deny", "Principal": "*", "Action": "sqs:*", "Resource": "*"}"#;
    let open = Why::PolicyAllows(Decider { statement: 0, sid: Some("open".into()) });
    assert_eq!(ask(Caller::Anonymous, "sqs:SendMessageBatch", Some(everybody)).why, open);
    assert_eq!(ask(Caller::Principal(&service("cart")), "sqs:SendMessage", Some(everybody)).why, open);
    assert!(!ask(Caller::Principal(&service("cart")), "sqs:ReceiveMessage", Some(everybody)).allowed);
    for who in ["settlement", "orders", "cart"] {
        let access = ask(Caller::Principal(&service(who)), "sqs:SendMessage", Some(nobody));
        assert_eq!(access.why, Why::PolicyDenies(Decider { statement: 0, sid: None }));
        assert!(!access.allowed);
    }
    assert!(ask(Caller::Principal(&Principal::Root), "sqs:SetQueueAttributes", Some(nobody)).allowed);
}

#[test]
fn refusals_are_those_of_the_service() {
    let cart = service("cart");
    let caller = Caller::Principal(&cart);
    let access = ask(caller, "sqs:SendMessageBatch", None);
    assert_eq!(
        access.message(caller, "sqs:SendMessageBatch", JOBS),
        "User: arn:aws:iam::000000000000:role/cart is not authorized to perform: sqs:sendmessage on resource: \
         arn:aws:sqs:us-east-1:000000000000:jobs because no resource-based policy allows the sqs:sendmessage action"
    );
    assert_eq!(access.why.to_string(), "its owner has not named them for `send`, and no policy allows it");
    assert_eq!(Access::code("sqs:SendMessage", Protocol::Json), "AccessDeniedException");
    assert_eq!(Access::code("sqs:SendMessage", Protocol::Query), "AccessDenied");
    assert_eq!(Access::code("sns:Publish", Protocol::Query), "AuthorizationError");
}

#[test]
fn modes_and_verbs_are_read_as_written() {
    let refused = ask(Caller::Anonymous, "sqs:SendMessage", None);
    assert_eq!("audit".parse::<Mode>().unwrap().rule(&refused), Ruling::PassAndTell);
    assert_eq!("enforce".parse::<Mode>().unwrap().rule(&refused), Ruling::Refuse);
    assert_eq!(Mode::default().rule(&ask(Caller::Principal(&Principal::Root), "sqs:X", None)), Ruling::Pass);
    assert!("off".parse::<Mode>().is_err());
    for verb in Verb::ALL {
        assert_eq!(verb.to_string().parse::<Verb>(), Ok(verb));
        assert_eq!(Verbs::from_iter([verb]).iter().collect::<Vec<_>>(), [verb]);
    }
    assert_eq!(
        "sends".parse::<Verb>().unwrap_err().to_string(),
        "`sends` is not one of send, receive, consume, manage, publish, subscribe"
    );
}
