use super::*;
use proptest::prelude::*;

const NOW: Timestamp = Timestamp::from_micros(1_767_225_600_000_000); // 2026-01-01T00:00:00Z
const JOBS: &str = "arn:aws:sqs:us-east-1:000000000000:jobs";

fn orders() -> Principal {
    Principal::Service("orders".into())
}

fn policy(statement: &str) -> Policy {
    Policy::parse(&format!(r#"{{"Version": "2012-10-17", "Statement": {statement}}}"#), PolicyKind::Resource)
        .unwrap_or_else(|error| panic!("{error}: {statement}"))
}

fn decide(policy: &Policy, caller: Caller<'_>, more: &[(&str, &str)]) -> Decision {
    let mut context = Context::of(caller, NOW, Some("10.1.2.3".parse().unwrap()), false);
    more.iter().for_each(|(key, value)| context.add(key, *value));
    policy.decide(&Request { caller, action: "sqs:SendMessage", resource: JOBS, context: &context })
}

/// Whether a statement with these members applies when `orders` sends to `jobs`.
fn applies(members: &str, more: &[(&str, &str)]) -> bool {
    let policy = policy(&format!(r#"{{"Effect": "Allow", {members}}}"#));
    decide(&policy, Caller::Principal(&orders()), more) != Decision::Silent
}

#[test]
fn whom_what_and_on_what() {
    let rest = r#""Action": "sqs:*", "Resource": "*""#;
    for (principal, fits) in [
        (r#""Principal": "*""#, true),
        (r#""Principal": {"AWS": "*"}"#, true),
        (r#""Principal": {"AWS": "000000000000"}"#, true),
        (r#""Principal": {"AWS": "arn:aws:iam::000000000000:root"}"#, true),
        (r#""Principal": {"AWS": ["123456789012", "arn:aws:iam::000000000000:role/orders"]}"#, true),
        (r#""Principal": {"AWS": "123456789012"}"#, false),
        (r#""Principal": {"AWS": "arn:aws:iam::000000000000:user/orders"}"#, false),
        (r#""Principal": {"Service": "sns.amazonaws.com"}"#, false),
        (r#""Principal": {"Federated": "id.example"}"#, false),
        (r#""NotPrincipal": {"AWS": "arn:aws:iam::000000000000:role/orders"}"#, false),
        (r#""NotPrincipal": {"AWS": "arn:aws:iam::000000000000:role/cart"}"#, true),
    ] {
        assert_eq!(applies(&format!("{principal}, {rest}"), &[]), fits, "{principal}");
    }
    for (action, fits) in [
        (r#""Action": "*""#, true),
        (r#""Action": ["sqs:ReceiveMessage", "SQS:sendmessage"]"#, true),
        (r#""Action": "sqs:Send*""#, true),
        (r#""Action": "sqs:Send""#, false),
        (r#""Action": "sns:*""#, false),
        (r#""NotAction": "sqs:Delete*""#, true),
        (r#""NotAction": ["sqs:Send*", "sqs:Delete*"]"#, false),
    ] {
        assert_eq!(
            applies(&format!(r#"{action}, "Principal": "*", "Resource": "*""#), &[]),
            fits,
            "{action}"
        );
    }
    for (resource, fits) in [
        (r#""Resource": "arn:aws:sqs:us-east-1:000000000000:jobs""#, true),
        (r#""Resource": "arn:aws:sqs:*:*:j?bs""#, true),
        (r#""Resource": ["arn:aws:sqs:*:*:a", "arn:aws:sqs:*:*:*"]"#, true),
        (r#""Resource": "arn:aws:sqs:us-east-1:000000000000:Jobs""#, false),
        (r#""NotResource": "arn:aws:sqs:*:*:jobs""#, false),
        (r#""NotResource": "arn:aws:sqs:*:*:a""#, true),
        (r#""Resource": "arn:aws:sqs:*:*:${aws:username}""#, false),
        (r#""Resource": "arn:aws:sqs:*:*:${none, 'jobs'}""#, true),
        (r#""NotResource": "arn:aws:sqs:*:*:${aws:username}""#, true),
        (r#""NotResource": "arn:aws:sqs:*:*:${none}""#, false),
    ] {
        assert_eq!(
            applies(&format!(r#"{resource}, "Principal": "*", "Action": "*""#), &[]),
            fits,
            "{resource}"
        );
    }
}

#[test]
fn a_variable_of_an_old_policy_is_text() {
    let old = r#"{"Statement": {"Effect": "Allow", "Principal": "*", "Action": "*",
        "Resource": "arn:aws:sqs:*:*:${none, 'jobs'}"}}"#;
    let old = Policy::parse(old, PolicyKind::Resource).unwrap();
    assert_eq!(old.version(), Version::Old);
    assert_eq!(decide(&old, Caller::Anonymous, &[]), Decision::Silent);
}

type Values<'a> = &'a [(&'a str, &'a str)];

#[test]
fn conditions() {
    let source = ("aws:SourceArn", "arn:aws:sns:us-east-1:000000000000:placed");
    let tags = [("aws:TagKeys", "a"), ("aws:TagKeys", "b")];
    let table: &[(&str, Values<'_>, bool)] = &[
        (r#"{"StringEquals": {"aws:username": "orders"}}"#, &[], true),
        (r#"{"StringEquals": {"AWS:UserName": ["cart", "orders"]}}"#, &[], true),
        (r#"{"StringEquals": {"aws:username": "Orders"}}"#, &[], false),
        (r#"{"StringEquals": {"aws:username": "*"}}"#, &[], false),
        (r#"{"StringEquals": {"none": "x"}}"#, &[], false),
        (r#"{"StringEqualsIfExists": {"none": "x"}}"#, &[], true),
        (r#"{"StringEqualsIfExists": {"aws:username": "x"}}"#, &[], false),
        (r#"{"StringNotEquals": {"aws:username": ["cart", "orders"]}}"#, &[], false),
        (r#"{"StringNotEquals": {"aws:username": "cart"}}"#, &[], true),
        (r#"{"StringNotEquals": {"none": "x"}}"#, &[], true),
        (r#"{"StringNotEquals": {"aws:username": "${none}"}}"#, &[], false),
        (r#"{"StringEqualsIgnoreCase": {"aws:username": "ORDERS"}}"#, &[], true),
        (r#"{"StringNotEqualsIgnoreCase": {"aws:username": "ORDERS"}}"#, &[], false),
        (r#"{"StringLike": {"aws:username": "or*"}}"#, &[], true),
        (r#"{"StringNotLike": {"aws:username": "or*"}}"#, &[], false),
        (
            r#"{"StringEquals": {"aws:PrincipalArn": "arn:aws:iam::000000000000:role/${aws:username}"}}"#,
            &[],
            true,
        ),
        (r#"{"ArnEquals": {"aws:SourceArn": "arn:aws:sns:*:*:placed"}}"#, &[source], true),
        (r#"{"ArnLike": {"aws:SourceArn": "arn:aws:sns:*:placed"}}"#, &[source], false),
        (r#"{"ArnNotLike": {"aws:SourceArn": "arn:aws:sns:*:*:other"}}"#, &[source], true),
        (r#"{"ArnNotEquals": {"aws:SourceArn": "arn:aws:sns:*:*:placed"}}"#, &[source], false),
        (r#"{"ArnLike": {"aws:SourceArn": "*"}}"#, &[], false),
        (r#"{"NumericEquals": {"n": 10}}"#, &[("n", "10.0")], true),
        (r#"{"NumericNotEquals": {"n": "10"}}"#, &[("n", "10")], false),
        (r#"{"NumericLessThan": {"n": "10"}}"#, &[("n", "9")], true),
        (r#"{"NumericLessThanEquals": {"n": "10"}}"#, &[("n", "10")], true),
        (r#"{"NumericGreaterThan": {"n": "10"}}"#, &[("n", "10")], false),
        (r#"{"NumericGreaterThanEquals": {"n": "10"}}"#, &[("n", "x")], false),
        (r#"{"DateLessThan": {"aws:CurrentTime": "2026-01-01T00:00:01Z"}}"#, &[], true),
        (r#"{"DateGreaterThan": {"aws:CurrentTime": "2026-01-01"}}"#, &[], false),
        (r#"{"DateGreaterThanEquals": {"aws:EpochTime": "2026-01-01"}}"#, &[], true),
        (r#"{"DateEquals": {"aws:CurrentTime": 1767225600}}"#, &[], true),
        (r#"{"DateNotEquals": {"aws:CurrentTime": "2026-01-01T01:00:00+01:00"}}"#, &[], false),
        (r#"{"DateLessThanEquals": {"aws:CurrentTime": "2025-12-31"}}"#, &[], false),
        (r#"{"Bool": {"aws:SecureTransport": false}}"#, &[], true),
        (r#"{"Bool": {"aws:SecureTransport": "true"}}"#, &[], false),
        (r#"{"IpAddress": {"aws:SourceIp": ["192.168.0.0/16", "10.0.0.0/8"]}}"#, &[], true),
        (r#"{"IpAddress": {"aws:SourceIp": "10.1.2.4"}}"#, &[], false),
        (r#"{"IpAddress": {"aws:SourceIp": "0.0.0.0/0"}}"#, &[], true),
        (r#"{"IpAddress": {"aws:SourceIp": "::/0"}}"#, &[], false),
        (r#"{"NotIpAddress": {"aws:SourceIp": "10.1.0.0/16"}}"#, &[], false),
        (r#"{"Null": {"none": "true"}}"#, &[], true),
        (r#"{"Null": {"aws:username": true}}"#, &[], false),
        (r#"{"Null": {"aws:username": "false"}}"#, &[], true),
        (r#"{"ForAnyValue:StringEquals": {"aws:TagKeys": ["b", "c"]}}"#, &tags, true),
        (r#"{"ForAllValues:StringEquals": {"aws:TagKeys": ["b", "c"]}}"#, &tags, false),
        (r#"{"ForAllValues:StringLike": {"aws:TagKeys": "?"}}"#, &tags, true),
        (r#"{"ForAnyValue:StringNotEquals": {"aws:TagKeys": "a"}}"#, &tags, true),
        (r#"{"ForAllValues:StringNotEquals": {"aws:TagKeys": "a"}}"#, &tags, false),
        (r#"{"ForAnyValue:StringEquals": {"aws:TagKeys": "a"}}"#, &[], false),
        (r#"{"ForAllValues:StringEquals": {"aws:TagKeys": "a"}}"#, &[], true),
        // All of them have to hold.
        (r#"{"StringLike": {"aws:username": "or*", "none": "x"}}"#, &[], false),
        (r#"{"StringLike": {"aws:username": "or*"}, "Bool": {"aws:SecureTransport": true}}"#, &[], false),
        (r"{}", &[], true),
    ];
    for (condition, context, holds) in table {
        let members =
            format!(r#""Principal": "*", "Action": "*", "Resource": "*", "Condition": {condition}"#);
        assert_eq!(applies(&members, context), *holds, "{condition}");
    }
}

#[test]
fn what_denies_comes_first_and_says_who_it_was() {
    let policy = policy(
        r#"[{"Sid": "all", "Effect": "Allow", "Principal": "*", "Action": "sqs:SendMessage", "Resource": "*"},
            {"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"},
            {"Sid": "not-cart", "Effect": "Deny", "Principal": {"AWS": "arn:aws:iam::000000000000:role/cart"},
             "Action": "*", "Resource": "*"}]"#,
    );
    let sid = |sid: &str, statement| Decider { statement, sid: Some(sid.to_owned()) };
    let cart = Principal::Service("cart".into());
    assert_eq!(decide(&policy, Caller::Principal(&orders()), &[]), Decision::Allowed(sid("all", 0)));
    assert_eq!(decide(&policy, Caller::Anonymous, &[]), Decision::Allowed(sid("all", 0)));
    assert_eq!(decide(&policy, Caller::Principal(&cart), &[]), Decision::Denied(sid("not-cart", 2)));
}

/// As the SNS developer guide has it for a queue that a topic is to send to.
#[test]
fn a_topic_may_send_to_a_queue() {
    let policy = policy(
        r#"[{"Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage",
             "Resource": "arn:aws:sqs:us-east-1:000000000000:jobs",
             "Condition": {"ArnEquals": {"aws:SourceArn": "arn:aws:sns:us-east-1:000000000000:placed"}}}]"#,
    );
    let sns = Caller::Service("sns.amazonaws.com");
    let from = |topic: &str| {
        let arn = format!("arn:aws:sns:us-east-1:000000000000:{topic}");
        decide(&policy, sns, &[("aws:SourceArn", &arn)])
    };
    assert_eq!(from("placed"), Decision::Allowed(Decider { statement: 0, sid: None }));
    assert_eq!(from("other"), Decision::Silent);
    assert_eq!(decide(&policy, Caller::Principal(&orders()), &[]), Decision::Silent);
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let full = |member: &str| {
        let all =
            [("Effect", r#""Allow""#), ("Principal", r#""*""#), ("Action", r#""*""#), ("Resource", r#""*""#)];
        let (name, _) = member.split_once(':').unwrap_or((member, ""));
        let others: Vec<String> = all
            .iter()
            .filter(|(other, _)| name != format!("{other:?}"))
            .map(|(name, value)| format!("{name:?}: {value}"))
            .chain((!member.is_empty() && member.contains(':')).then(|| member.to_owned()))
            .collect();
        format!(r#"{{"Statement": [{{{}}}]}}"#, others.join(", "))
    };
    for (text, said) in [
        ("{\n  \"Statement\": [}", "line 2, column 17: expected value"),
        (r#"{"Id": "a", "Id": "b"}"#, "line 1, column 16: `Id` is given twice"),
        ("[]", "the policy: must be an object, not a list"),
        ("{}", "the policy: has no Statement"),
        (r#"{"Statement": []}"#, "Statement: must not be empty"),
        (r#"{"Statement": {}, "Version": "2012"}"#, r#"Version: must be "2012-10-17" or "2008-10-17""#),
        (r#"{"statement": {}}"#, "statement: is not known here: Version, Id and Statement are"),
        (r#"{"Statement": [1]}"#, "Statement[0]: must be an object, not a number"),
        (&full(r#""Effect": "allow""#), r#"Statement[0].Effect: must be "Allow" or "Deny""#),
        (&full(r#""Effect""#), "Statement[0]: has no Effect"),
        (&full(r#""Action""#), "Statement[0]: has neither Action nor NotAction"),
        (&full(r#""Resource""#), "Statement[0]: has neither Resource nor NotResource"),
        (&full(r#""Principal""#), "Statement[0]: has neither Principal nor NotPrincipal"),
        (
            &full(r#""NotAction": "*""#),
            "Statement[0].NotAction: stands beside its opposite: only one of both may be given",
        ),
        (
            &full(r#""Principal": "me""#),
            r#"Statement[0].Principal: must be "*" or an object such as {"AWS": …}"#,
        ),
        (&full(r#""Principal": {}"#), "Statement[0].Principal: must not be empty"),
        (
            &full(r#""Principal": {"AWS": ["*", "arn:aws:iam::*:root"]}"#),
            "Statement[0].Principal.AWS[1]: may have no wildcards but a single `*`",
        ),
        (
            &full(r#""Principal": {"AWS": "me"}"#),
            "Statement[0].Principal.AWS: must be `*`, an account of 12 digits or the ARN of a user or role",
        ),
        (
            &full(r#""Action": ["sqs:*", "SendMessage"]"#),
            "Statement[0].Action[1]: must be `*` or `service:Action`, with `*` and `?` in the action",
        ),
        (&full(r#""Resource": "jobs""#), "Statement[0].Resource: must be `*` or an ARN"),
        (
            &full(r#""Condition": {"StringIs": {}}"#),
            "Statement[0].Condition.StringIs: is no condition operator that is known here",
        ),
        (
            &full(r#""Condition": {"NullIfExists": {}}"#),
            "Statement[0].Condition.NullIfExists: is no condition operator that is known here",
        ),
        (
            &full(r#""Condition": {"IpAddress": {"aws:SourceIp": ["::1", "10.0.0.0/33"]}}"#),
            r#"Statement[0].Condition.IpAddress."aws:SourceIp"[1]: must be an IP address or a network such as 10.0.0.0/8"#,
        ),
        (
            &full(r#""Condition": {"NumericEquals": {"n": "nan"}}"#),
            r#"Statement[0].Condition.NumericEquals."n": must be a number"#,
        ),
        (
            &full(r#""Condition": {"Bool": {"b": null}}"#),
            r#"Statement[0].Condition.Bool."b": must be a text, a number or a boolean, not null"#,
        ),
    ] {
        let error = Policy::parse(text, PolicyKind::Resource).unwrap_err();
        assert_eq!(error.to_string(), said, "{text}");
    }
    let twice = r#"{"Sid": "a", "Effect": "Deny", "Principal": "*", "Action": "*", "Resource": "*"}"#;
    let error = Policy::parse(&format!(r#"{{"Statement": [{twice}, {twice}]}}"#), PolicyKind::Resource);
    assert_eq!(error.unwrap_err().to_string(), "Statement[1]: has the Sid `a` of another statement");
    let error = Policy::parse(&format!(r#"{{"Statement": [{twice}]}}"#), PolicyKind::Identity);
    assert_eq!(
        error.unwrap_err().to_string(),
        "Statement[0].Principal: has no place in the policy of an identity"
    );
}

#[test]
fn what_is_too_big_is_refused() {
    let error = Policy::parse(&" ".repeat(Policy::MOST_TEXT + 1), PolicyKind::Resource).unwrap_err();
    assert_eq!(error.to_string(), "the policy: has 30721 bytes; 30720 is the most");
    let one = r#"{"Effect":"Deny","Principal":"*","Action":"*","Resource":"*"}"#;
    let many = vec![one; Policy::MOST_STATEMENTS + 1].join(",");
    let error = Policy::parse(&format!(r#"{{"Statement":[{many}]}}"#), PolicyKind::Resource).unwrap_err();
    assert_eq!(error.to_string(), "Statement[200]: is one too many: 200 is the most");
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    assert!(Policy::parse(&deep, PolicyKind::Resource).unwrap_err().why.contains("recursion limit"));
}

/// JSON that often has the words of a policy.
fn json() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "*",
        "Allow",
        "Deny",
        "sqs:*",
        "arn:aws:sqs:*:*:${aws:username}",
        "${",
        "AWS",
        "Service",
        "2012-10-17",
        "10.0.0.0/8",
        "true",
        "2026-01-01",
        "000000000000",
        "arn:aws:iam::000000000000:root",
        "",
    ]);
    let leaf = prop_oneof![
        word.prop_map(|word| format!("{word:?}")),
        any::<i64>().prop_map(|number| number.to_string()),
        Just("null".to_owned()),
        Just("1e300".to_owned()),
    ];
    let name = prop::sample::select(vec![
        "Version",
        "Statement",
        "Effect",
        "Principal",
        "NotPrincipal",
        "Action",
        "NotAction",
        "Resource",
        "NotResource",
        "Condition",
        "Sid",
        "AWS",
        "StringLike",
        "ForAnyValue:ArnLike",
        "IpAddressIfExists",
        "DateLessThan",
        "NumericEquals",
        "Null",
        "Bool",
        "aws:username",
    ]);
    leaf.prop_recursive(6, 60, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(","))),
            prop::collection::vec((name.clone(), inner), 0..6).prop_map(|members| {
                let members: Vec<String> =
                    members.into_iter().map(|(name, value)| format!("{name:?}:{value}")).collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_makes_it_panic(text in json(), noise in ".{0,60}", value in ".{0,30}") {
        let _ = Policy::parse(&noise, PolicyKind::Resource);
        let statement = format!(
            r#"{{"Version": "2012-10-17", "Statement": {{"Effect": "Allow", "Principal": "*", "Action": "*",
                "Resource": "*", "Condition": {text}}}}}"#
        );
        for text in [&text, &statement] {
            for kind in [PolicyKind::Resource, PolicyKind::Identity] {
                if let Ok(policy) = Policy::parse(text, kind) {
                    decide(&policy, Caller::Principal(&orders()), &[("aws:username", &value)]);
                }
            }
        }
    }
}
