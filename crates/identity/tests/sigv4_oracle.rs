//! Requests that the signer of the AWS SDK has signed are verified, in both forms; once anything is changed,
//! they are not.

#![allow(clippy::unwrap_used)] // in functions of a test as well

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SignatureLocation,
    SigningSettings, UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use identity::sigv4::{
    Body, Form, Found, KeyError, KeySource, Payload, Scope, SignatureError, Verified, Verifier, View, explain,
};
use identity::{KeyBook, NodeSecret, Principal, Secret};
use kit::Timestamp;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

const ACCESS_KEY: &str = "AKIAIOSFODNN7EXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

struct Keys {
    token: Option<String>,
}

impl KeySource for Keys {
    fn find(&self, access_key: &str, token: Option<&str>, _: Timestamp) -> Result<Found, KeyError> {
        if access_key != ACCESS_KEY || token != self.token.as_deref() {
            return Err(KeyError::Unknown);
        }
        Ok(Found { secret: Secret::new(SECRET), principal: Principal::Root })
    }
}

/// A request as it stands on the wire.
#[derive(Clone, Debug)]
struct Sent {
    method: String,
    path: String,
    query: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Sent {
    fn verify(&self, keys: &dyn KeySource, service: &str, now: u64) -> Result<Verified, SignatureError> {
        let view = self.view();
        let now = Timestamp::from_micros(now * 1_000_000);
        Verifier::new().verify(&view, keys, now, Scope { region: Some("us-east-1"), service })
    }

    fn view(&self) -> View<'_, impl Iterator<Item = (&str, &[u8])> + Clone> {
        View {
            method: &self.method,
            path: &self.path,
            query: &self.query,
            headers: self.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())),
            body: Body::Bytes(&self.body),
        }
    }

    fn set(&mut self, name: &str, change: impl Fn(&mut String)) {
        let (_, value) = self.headers.iter_mut().find(|(header, _)| header == name).unwrap();
        change(value);
    }
}

#[derive(Clone, Debug)]
struct Plan {
    sent: Sent,
    at: u64,
    token: Option<String>,
    service: &'static str,
    presigned: bool,
    expires: u64,
    sha_header: bool,
}

fn encoded(text: &str) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
    text.bytes()
        .map(|byte| if plain(&byte) { char::from(byte).into() } else { format!("%{byte:02X}") })
        .collect()
}

fn segment() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-zA-Z0-9_.~-]{1,12}".boxed(),
        1 => "[ -~äሴ]{1,6}".prop_map(|text| encoded(&text)).boxed(),
        1 => select(vec!["", ".", ".."]).prop_map(str::to_owned).boxed(),
    ]
}

fn pair() -> impl Strategy<Value = String> {
    ("[a-zA-Z0-9 +=&/äሴ~.-]{1,8}", "[ -~ሴ]{0,12}", 0..4_u8).prop_map(|(name, value, form)| match form {
        0 => encoded(&name),
        1 => format!("{}={}", encoded(&name), encoded(&value).replace("%20", "+")),
        _ => format!("{}={}", encoded(&name), encoded(&value)),
    })
}

fn header() -> impl Strategy<Value = (String, String)> {
    let names = vec![
        "content-type",
        "my-header",
        "x-amz-target",
        "x-amzn-query-mode",
        "accept",
        "amz-sdk-request",
        "user-agent",
        "x-amzn-trace-id",
    ];
    (select(names), "[!-~]([ -~]{0,20}[!-~])?").prop_map(|(name, value)| (name.to_owned(), value))
}

fn plan() -> impl Strategy<Value = Plan> {
    let sent = (
        select(vec!["GET", "POST", "PUT", "DELETE"]),
        vec(segment(), 0..5),
        vec(pair(), 0..5),
        vec(header(), 0..6),
        vec(any::<u8>(), 0..200),
    )
        .prop_map(|(method, path, query, mut headers, body)| {
            headers.push(("host".to_owned(), "sqs.us-east-1.amazonaws.com".to_owned()));
            let path = format!("/{}", path.join("/"));
            Sent { method: method.to_owned(), path, query: query.join("&"), headers, body }
        });
    (
        sent,
        1_600_000_000_u64..2_000_000_000,
        proptest::option::of("[A-Za-z0-9+/=]{1,60}"),
        select(vec!["sqs", "sns", "dynamodb"]),
        any::<bool>(),
        1_u64..=604_800,
        any::<bool>(),
    )
        .prop_map(|(sent, at, token, service, presigned, expires, sha_header)| Plan {
            sent,
            at,
            token,
            service,
            presigned,
            expires,
            sha_header,
        })
}

/// The plan as the SDK sends it.
fn signed(plan: &Plan) -> Sent {
    signed_with(plan, Credentials::new(ACCESS_KEY, SECRET, plan.token.clone(), None, "test"))
}

fn signed_with(plan: &Plan, credentials: Credentials) -> Sent {
    let Sent { method, path, query, headers, body } = plan.sent.clone();
    let identity = credentials.into();
    let mut settings = SigningSettings::default();
    settings.percent_encoding_mode = PercentEncodingMode::Double;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Enabled;
    if plan.presigned {
        settings.signature_location = SignatureLocation::QueryParams;
        settings.expires_in = Some(Duration::from_secs(plan.expires));
    }
    if plan.sha_header {
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    }
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region("us-east-1")
        .name(plan.service)
        .time(SystemTime::UNIX_EPOCH + Duration::from_secs(plan.at))
        .settings(settings)
        .build()
        .unwrap()
        .into();
    let mark = if query.is_empty() { "" } else { "?" };
    let uri = format!("https://sqs.us-east-1.amazonaws.com{path}{mark}{query}");
    let named = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let request = SignableRequest::new(&method, &uri, named, SignableBody::Bytes(&body)).unwrap();
    let (instructions, _) = sign(request, &params).unwrap().into_parts();

    let mut request = http::Request::builder().method(method.as_str()).uri(&uri).body(()).unwrap();
    for (name, value) in &headers {
        request.headers_mut().append(name.parse::<http::HeaderName>().unwrap(), value.parse().unwrap());
    }
    instructions.apply_to_request_http1x(&mut request);
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    Sent {
        method,
        path: request.uri().path().to_owned(),
        query: request.uri().query().unwrap_or_default().to_owned(),
        headers: request.headers().iter().map(|(name, value)| (name.to_string(), text(value))).collect(),
        body,
    }
}

fn check(plan: &Plan) -> Sent {
    let sent = signed(plan);
    let keys = Keys { token: plan.token.clone() };
    let verified = sent.verify(&keys, plan.service, plan.at).unwrap_or_else(|error| {
        panic!("{error}\n{sent:#?}\n{}", explain(&sent.view()).unwrap().canonical_request)
    });
    assert_eq!(verified.form, if plan.presigned { Form::Query } else { Form::Header });
    assert_eq!(verified.access_key, ACCESS_KEY);
    assert!(matches!(verified.payload, Payload::Checked));
    sent
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_the_sdk_signs_is_verified(plan in plan()) {
        check(&plan);
    }

    #[test]
    fn what_was_changed_on_the_way_is_refused(
        plan in plan(),
        what in 0_usize..10,
        at in any::<prop::sample::Index>(),
        by in 1_u8..=255,
    ) {
        let mut sent = check(&plan);
        let keys = Keys { token: plan.token.clone() };
        match what {
            0 => sent.method = if sent.method == "GET" { "POST" } else { "GET" }.to_owned(),
            1 => sent.path.push_str("/another"),
            2 => sent.query = format!("{}&zz=1", sent.query),
            3 if sent.body.is_empty() => sent.body.push(by),
            3 => { let at = at.index(sent.body.len()); sent.body[at] ^= by },
            4 => sent.set("host", |value| value.push('x')),
            5 => sent.headers.push(("x-amz-more".to_owned(), "1".to_owned())),
            6 => sent.headers.push(("host".to_owned(), "evil".to_owned())),
            // One digit of the signature.
            7 => {
                let at = at.index(64);
                let flip = |text: &mut String, mark: &str| {
                    let at = text.find(mark).unwrap() + mark.len() + at;
                    let other = if &text[at..=at] == "0" { "1" } else { "0" };
                    text.replace_range(at..=at, other);
                };
                if plan.presigned {
                    flip(&mut sent.query, "X-Amz-Signature=");
                } else {
                    sent.set("authorization", |value| flip(value, "Signature="));
                }
            },
            // Another second.
            8 => {
                let other = |text: &str, mark: &str| {
                    let at = text.find(mark).unwrap() + mark.len() + 14;
                    let digit = if &text[at..=at] == "0" { "1" } else { "0" };
                    format!("{}{digit}{}", &text[..at], &text[at + 1..])
                };
                if plan.presigned {
                    sent.query = other(&sent.query, "X-Amz-Date=");
                } else {
                    sent.set("x-amz-date", |value| *value = other(value, ""));
                }
            },
            // A longer life, another session.
            _ if plan.presigned => {
                let longer = format!("X-Amz-Expires={}", plan.expires % 604_800 + 1);
                sent.query = sent.query.replace(&format!("X-Amz-Expires={}", plan.expires), &longer);
            },
            _ => {
                sent.headers.retain(|(name, _)| name != "x-amz-security-token");
                sent.headers.push(("x-amz-security-token".to_owned(), "another".to_owned()));
            },
        }
        prop_assert!(sent.verify(&keys, plan.service, plan.at).is_err());
    }

    #[test]
    fn a_signature_holds_for_its_time_and_its_scope_only(plan in plan()) {
        let sent = check(&plan);
        let keys = Keys { token: plan.token.clone() };
        let said = |service: &str, now: u64| sent.verify(&keys, service, now).map(|_| ());
        let (before, after) = if plan.presigned { (300, plan.expires) } else { (900, 900) };
        prop_assert_eq!(said(plan.service, plan.at - before), Ok(()));
        prop_assert_eq!(said(plan.service, plan.at + after), Ok(()));
        let is_early = matches!(said(plan.service, plan.at - before - 1), Err(SignatureError::NotYetCurrent { .. }));
        prop_assert!(is_early);
        match said(plan.service, plan.at + after + 1) {
            Err(SignatureError::RequestExpired) => prop_assert!(plan.presigned),
            Err(SignatureError::Expired { .. }) => prop_assert!(!plan.presigned),
            other => prop_assert!(false, "{:?}", other),
        }
        let is_wrong = matches!(said("s4", plan.at), Err(SignatureError::WrongScope(_)));
        prop_assert!(is_wrong);
        let others = Keys { token: Some("another one".to_owned()) };
        prop_assert_eq!(sent.verify(&others, plan.service, plan.at).unwrap_err(), SignatureError::UnknownKey);
    }

    #[test]
    fn the_credentials_of_a_key_book_sign(plan in plan()) {
        let book = KeyBook::new(&NodeSecret::new([1; 32]), "shop");
        let orders = Principal::Service("orders".into());
        let now = Timestamp::from_micros(plan.at * 1_000_000);
        let lasting = book.declare(&orders);
        let session = book.session(&orders, now, Duration::from_secs(3600)).unwrap();
        let (_, outside) = book.create_key("ci", vec!["jobs:send".parse().unwrap()], now, None).unwrap();
        for (ours, principal) in [(&lasting, &orders), (&session, &orders), (&outside, &Principal::Key("ci".into()))] {
            let token = ours.session_token.as_ref().map(|token| token.expose().to_owned());
            let theirs = Credentials::new(ours.access_key.as_str(), ours.secret.expose(), token, None, "test");
            let verified = signed_with(&plan, theirs).verify(&book, plan.service, plan.at).unwrap();
            prop_assert_eq!(&verified.principal, principal);
        }
    }
}
