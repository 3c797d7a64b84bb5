//! What it costs to verify a request: `cargo run --release -p identity --example sigv4_bench`.
//!
//! Each figure is CPU time of one thread, in the best of several runs: the machine is shared.

use std::hint::black_box;
use std::time::Duration;

use identity::sigv4::{Body, KeySource, Scope, SignatureError, Verifier, View, explain};
use identity::{KeyBook, NodeSecret, Principal};
use kit::Timestamp;
use ring::hmac;
use rustix::time::{ClockId, clock_gettime};

/// 2015-08-30T12:36:00Z.
const NOW: Timestamp = Timestamp::from_micros(1_440_938_160_000_000);
const SCOPE: Scope<'static> = Scope { region: Some("us-east-1"), service: "sqs" };
const ROUNDS: u32 = 5_000;
const RUNS: usize = 40;

/// A request as an SDK sends it.
struct Sent {
    query: String,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl Sent {
    fn view(&self) -> View<'_, impl Iterator<Item = (&str, &[u8])> + Clone> {
        View {
            method: "POST",
            path: "/",
            query: &self.query,
            headers: self.headers.iter().map(|(name, value)| (*name, value.as_bytes())),
            body: Body::Bytes(&self.body),
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let book = KeyBook::new(&NodeSecret::new([7; 32]), "shop");
    let orders = Principal::Service("orders".into());
    let lasting = book.declare(&orders);
    let session = book.session(&orders, NOW, Duration::from_secs(3600))?;
    let strangers = KeyBook::new(&NodeSecret::new([8; 32]), "shop");
    for (title, credentials, presigned, size) in [
        ("header, lasting key, 100 B", &lasting, false, 100),
        ("header, lasting key, 1 KB", &lasting, false, 1024),
        ("header, lasting key, 256 KB", &lasting, false, 256 * 1024),
        ("header, session, 100 B", &session, false, 100),
        ("presigned, lasting key, no body", &lasting, true, 0),
    ] {
        let token = credentials.session_token.as_ref().map(|token| token.expose().to_owned());
        let sent = signed(&book, credentials.access_key.as_str(), token, presigned, size)?;
        let verifier = Verifier::new();
        verifier.verify(&sent.view(), &book, NOW, SCOPE)?;
        let rounds = if size > 10_000 { ROUNDS / 50 } else { ROUNDS };
        let warm = best(rounds, || verifier.verify(&sent.view(), &book, NOW, SCOPE))?;
        let cold = best(rounds.min(500), || Verifier::new().verify(&sent.view(), &book, NOW, SCOPE))?;
        let empty = best(rounds.min(500), || Ok(Verifier::new()))?;
        println!(
            "{title:34} {warm:8.2} µs   key not cached {:8.2} µs   no key {:8.2} µs",
            cold - empty,
            best(rounds, || Ok(matches!(
                verifier.verify(&sent.view(), &strangers, NOW, SCOPE),
                Err(SignatureError::UnknownKey)
            )))?
        );
    }
    Ok(())
}

/// Microseconds a call, in the best run.
fn best<T>(rounds: u32, mut call: impl FnMut() -> Result<T, SignatureError>) -> Result<f64, SignatureError> {
    let mut least = f64::INFINITY;
    for _ in 0..RUNS {
        let start = cpu_micros();
        for _ in 0..rounds {
            black_box(call()?);
        }
        least = least.min((cpu_micros() - start) / f64::from(rounds));
    }
    Ok(least)
}

fn cpu_micros() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e6 + time.tv_nsec as f64 / 1e3
}

/// Signs with what [`explain`] says is to be signed.
fn signed(
    book: &KeyBook,
    access_key: &str,
    token: Option<String>,
    presigned: bool,
    size: usize,
) -> Result<Sent, Box<dyn std::error::Error>> {
    let secret = book.find(access_key, token.as_deref(), NOW)?.secret;
    let mut sent = Sent {
        query: String::new(),
        headers: vec![
            ("host", "sqs.us-east-1.amazonaws.com".to_owned()),
            ("content-type", "application/x-amz-json-1.0".to_owned()),
            ("content-length", size.to_string()),
            ("user-agent", "aws-sdk-rust/1.3 os/linux lang/rust/1.95".to_owned()),
        ],
        body: vec![b'x'; size],
    };
    let none = "0".repeat(64);
    let mut names = "content-type;host".to_owned();
    if presigned {
        sent.query = format!(
            "Action=ReceiveMessage&QueueUrl=http%3A%2F%2Flocalhost%2F000000000000%2Fjobs&Version=2012-11-05\
             &X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={access_key}%2F20150830%2Fus-east-1%2Fsqs%2F\
             aws4_request&X-Amz-Date=20150830T123600Z&X-Amz-Expires=3600&X-Amz-SignedHeaders=host\
             &X-Amz-Signature={none}"
        );
    } else {
        sent.headers.push(("x-amz-date", "20150830T123600Z".to_owned()));
        sent.headers.push(("x-amz-target", "AmazonSQS.SendMessage".to_owned()));
        names.push_str(";x-amz-date");
        if let Some(token) = token {
            sent.headers.push(("x-amz-security-token", token));
            names.push_str(";x-amz-security-token");
        }
        names.push_str(";x-amz-target");
        sent.headers.push((
            "authorization",
            format!(
                "AWS4-HMAC-SHA256 Credential={access_key}/20150830/us-east-1/sqs/aws4_request, \
                 SignedHeaders={names}, Signature={none}"
            ),
        ));
    }
    let mut key = format!("AWS4{}", secret.expose()).into_bytes();
    for part in ["20150830", "us-east-1", "sqs", "aws4_request"] {
        key = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), part.as_bytes()).as_ref().to_vec();
    }
    let to_sign = explain(&sent.view())?.string_to_sign;
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), to_sign.as_bytes());
    let signature: String = signature.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    sent.query = sent.query.replace(&none, &signature);
    for (_, value) in &mut sent.headers {
        *value = value.replace(&none, &signature);
    }
    Ok(sent)
}
