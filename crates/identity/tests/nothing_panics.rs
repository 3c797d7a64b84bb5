//! Whatever comes, the answer is an error and never a panic.

use identity::sigv4::{
    Body, ChunkVerifier, Found, KeyError, KeySource, Payload, Scope, SignatureError, Verifier, View, explain,
};
use identity::{Principal, Secret};
use kit::Timestamp;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

struct Everybody;

impl KeySource for Everybody {
    fn find(&self, _: &str, _: Option<&str>, _: Timestamp) -> Result<Found, KeyError> {
        Ok(Found { secret: Secret::new("secret"), principal: Principal::Root })
    }
}

/// A text that is often nearly right.
fn piece() -> impl Strategy<Value = String> {
    let words = vec![
        "AWS4-HMAC-SHA256 ",
        "Credential=",
        "AKIDEXAMPLE/20150830/us-east-1/sqs/aws4_request",
        "SignedHeaders=",
        "host;x-amz-date",
        "Signature=",
        "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7",
        "20150830T123600Z",
        "Sun, 30 Aug 2015 12:36:00 GMT",
        "X-Amz-Algorithm=AWS4-HMAC-SHA256",
        "X-Amz-Credential=",
        "X-Amz-Date=",
        "X-Amz-Expires=60",
        "X-Amz-SignedHeaders=host",
        "X-Amz-Signature=",
        "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        "UNSIGNED-PAYLOAD",
        "&",
        "=",
        ",",
        ";",
        "/",
        "%",
        "%2",
        "%2F",
        "..",
        "+",
    ];
    prop_oneof![4 => select(words).prop_map(str::to_owned), 1 => ".{0,8}"]
}

fn text(pieces: usize) -> impl Strategy<Value = String> {
    vec(piece(), 0..pieces).prop_map(|pieces| pieces.concat())
}

fn header() -> impl Strategy<Value = (String, Vec<u8>)> {
    let names = vec![
        "Authorization",
        "X-Amz-Date",
        "Date",
        "Host",
        "X-Amz-Security-Token",
        "X-Amz-Content-SHA256",
        "x-amz-é",
        "",
    ];
    let value = prop_oneof![5 => text(9).prop_map(String::into_bytes), 1 => vec(any::<u8>(), 0..20)];
    (select(names).prop_map(str::to_owned), value)
}

/// A body in chunks that is often nearly right.
fn chunks() -> impl Strategy<Value = Vec<u8>> {
    let words = vec![
        "0",
        "5",
        "10",
        "ffffffff",
        "\r\n",
        "\n",
        ";chunk-signature=",
        "hello",
        "x-amz-checksum-crc32:AAAA",
        "x-amz-trailer-signature:",
        ":",
        "5\r\nhello\r\n",
        "0\r\n",
    ];
    let piece = prop_oneof![
        5 => select(words).prop_map(|word| word.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 0..8),
        1 => Just(vec![b'a'; 1100]),
    ];
    vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

/// A verifier of chunks, from a request that says that its body comes in unsigned ones.
fn unsigned_chunks() -> ChunkVerifier {
    let headers = [
        ("host", "h".to_owned()),
        ("x-amz-date", "20150830T123600Z".to_owned()),
        ("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER".to_owned()),
    ];
    let mut signature = "0".repeat(64);
    loop {
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential=A/20150830/r/sqs/aws4_request, \
             SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature={signature}"
        );
        let all = headers.iter().map(|(name, value)| (*name, value.as_bytes()));
        let all = all.chain([("authorization", authorization.as_bytes())]);
        let view = View { method: "PUT", path: "/", query: "", headers: all, body: Body::Later };
        let scope = Scope { region: None, service: "sqs" };
        let now = Timestamp::from_micros(1_440_938_160_000_000);
        match Verifier::new().verify(&view, &Everybody, now, scope).map(|verified| verified.payload) {
            Ok(Payload::Chunked(chunks)) => return chunks,
            Err(SignatureError::DoesNotMatch) => {
                let to_sign = explain(&view).map(|explained| explained.string_to_sign).unwrap_or_default();
                let mut key = b"AWS4secret".to_vec();
                for part in ["20150830", "r", "sqs", "aws4_request", &to_sign] {
                    let hmac = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &key);
                    key = ring::hmac::sign(&hmac, part.as_bytes()).as_ref().to_vec();
                }
                signature = key.iter().map(|byte| format!("{byte:02x}")).collect();
            }
            other => panic!("{other:?}"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_request_does(
        method in ".{0,6}",
        path in text(6),
        query in text(14),
        headers in vec(header(), 0..8),
        digest in any::<[u8; 32]>(),
        now in any::<u64>(),
        known in 0..4_u8,
    ) {
        let body = [Body::Later, Body::Sha256(digest), Body::Bytes(&digest), Body::Bytes(b"")][usize::from(known)];
        let headers = headers.iter().map(|(name, value)| (name.as_str(), value.as_slice()));
        let view = View { method: &method, path: &path, query: &query, headers, body };
        let scope = Scope { region: None, service: "sqs" };
        for now in [now, 1_440_938_160_000_000] {
            let outcome = Verifier::new().verify(&view, &Everybody, Timestamp::from_micros(now), scope);
            prop_assert!(outcome.is_err());
        }
        let _ = explain(&view);
    }

    #[test]
    fn no_body_in_chunks_does(body in chunks(), most in 0_usize..40) {
        if let Ok(decoded) = unsigned_chunks().decode(&body, most) {
            prop_assert!(decoded.body.len() <= most);
        }
    }
}
