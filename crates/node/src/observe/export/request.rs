//! A request of OTLP, and what an answer to it means.

use std::io::Write;
use std::time::Duration;

use base64::Engine;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderName, HeaderValue, Request, StatusCode};
use http_body_util::Full;
use manifest::spec::{Export, ExportProtocol};
use telemetry::otlp::{self, Signal};

use crate::outbound::{Answer, Version};

/// The header by which a node knows what it sent itself.
pub(in crate::observe) const MARKER: &str = "x-atoll-export";

/// Letters that are told of what another backend says.
const MOST_SAID: usize = 200;

/// What became of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Taken,
    /// It was taken, but for so many records; or the other side has something to say.
    InPart {
        refused: u64,
        why: String,
    },
    /// It may come again, after this time if it is said.
    Later(Option<Duration>, String),
    /// It may come again in parts.
    TooLarge(String),
    /// It may come again if it is not packed.
    NotPacked(String),
    /// It never will be taken.
    Never(String),
}

/// The body of a request, packed or not.
pub(super) struct Packed {
    plain: Bytes,
    packed: Option<Bytes>,
}

impl Packed {
    pub(super) fn new(plain: Bytes, pack: bool) -> Self {
        let packed = pack.then(|| gzip(&plain)).flatten();
        Self { plain, packed }
    }

    pub(super) fn unpack(&mut self) {
        self.packed = None;
    }
}

fn gzip(plain: &[u8]) -> Option<Bytes> {
    let mut packer = GzEncoder::new(Vec::with_capacity(plain.len() / 4), Compression::fast());
    packer.write_all(plain).ok()?;
    Some(packer.finish().ok()?.into())
}

pub(super) const fn version(protocol: ExportProtocol) -> Version {
    match protocol {
        ExportProtocol::Http => Version::One,
        ExportProtocol::Grpc => Version::Two,
    }
}

pub(super) fn of(
    wanted: &Export,
    signal: Signal,
    marker: &str,
    body: &Packed,
) -> Result<Request<Full<Bytes>>, http::Error> {
    let base = wanted.endpoint.trim_end_matches('/');
    let (name, service) = match signal {
        Signal::Traces => ("traces", "trace.v1.TraceService"),
        Signal::Logs => ("logs", "logs.v1.LogsService"),
        Signal::Metrics => ("metrics", "metrics.v1.MetricsService"),
    };
    let (sent, is_packed) = (body.packed.as_ref().unwrap_or(&body.plain), body.packed.is_some());
    let mut request = match wanted.protocol {
        ExportProtocol::Http => {
            let request =
                Request::post(format!("{base}/v1/{name}")).header(CONTENT_TYPE, "application/x-protobuf");
            if is_packed { request.header(CONTENT_ENCODING, "gzip") } else { request }
        }
        ExportProtocol::Grpc => {
            let path = format!("{base}/opentelemetry.proto.collector.{service}/Export");
            let request =
                Request::post(path).header(CONTENT_TYPE, "application/grpc").header("te", "trailers");
            if is_packed { request.header("grpc-encoding", "gzip") } else { request }
        }
    };
    request = request.header(MARKER, marker);
    for (name, value) in &wanted.headers {
        request = request.header(HeaderName::try_from(name)?, HeaderValue::try_from(value)?);
    }
    request.body(Full::new(match wanted.protocol {
        ExportProtocol::Http => sent.clone(),
        ExportProtocol::Grpc => {
            let mut framed = Vec::with_capacity(5 + sent.len());
            framed.push(u8::from(is_packed));
            framed.extend_from_slice(&u32::try_from(sent.len()).unwrap_or(u32::MAX).to_be_bytes());
            framed.extend_from_slice(sent);
            framed.into()
        }
    }))
}

pub(super) fn outcome(protocol: ExportProtocol, answer: &Answer) -> Outcome {
    match protocol {
        ExportProtocol::Http => of_http(answer),
        ExportProtocol::Grpc => of_grpc(answer),
    }
}

/// What was taken, of which part may not have been.
fn taken(body: &[u8]) -> Outcome {
    match otlp::refused(body) {
        Some((refused, why)) => {
            Outcome::InPart { refused, why: format!("it has not taken {refused} records: {}", told(&why)) }
        }
        None => Outcome::Taken,
    }
}

/// What another backend says, on one line.
fn told(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MOST_SAID).collect()
}

/// OTLP/HTTP: 429, 502, 503 and 504 may come again.
fn of_http(answer: &Answer) -> Outcome {
    let kind = answer.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let is_protobuf = kind.starts_with(b"application/x-protobuf");
    if answer.status.is_success() {
        return if is_protobuf { taken(&answer.body) } else { Outcome::Taken };
    }
    let why = match otlp::said(&answer.body).filter(|_| is_protobuf) {
        Some(said) => format!("it answers {}: {}", answer.status, told(&said)),
        None => format!("it answers {}", answer.status),
    };
    match answer.status {
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => {
            let after = answer.headers.get(RETRY_AFTER);
            let after = after.and_then(|value| value.to_str().ok()?.trim().parse().ok());
            Outcome::Later(after.map(Duration::from_secs), why)
        }
        StatusCode::PAYLOAD_TOO_LARGE => Outcome::TooLarge(why),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => Outcome::NotPacked(why),
        _ => Outcome::Never(why),
    }
}

/// OTLP/gRPC: CANCELLED, DEADLINE_EXCEEDED, ABORTED, OUT_OF_RANGE, UNAVAILABLE and DATA_LOSS may come again, and RESOURCE_EXHAUSTED
/// if it is said when. It may say that a message was too large, as OUT_OF_RANGE may: libraries have their own words for that.
fn of_grpc(answer: &Answer) -> Outcome {
    // A refusal at once has its status in the head.
    let said = |name| answer.trailers.get(name).or_else(|| answer.headers.get(name));
    let Some(status) = said("grpc-status").and_then(|status| status.to_str().ok()?.parse::<u8>().ok()) else {
        let why = format!("it answers {} without a status of gRPC", answer.status);
        return match answer.status {
            StatusCode::PAYLOAD_TOO_LARGE => Outcome::TooLarge(why),
            status if status.is_server_error() => Outcome::Later(None, why),
            _ => Outcome::Never(why),
        };
    };
    let message = said("grpc-message").map(|text| unescaped(text.as_bytes())).unwrap_or_default();
    let why = match told(&message) {
        said if said.is_empty() => format!("it answers with the status {status} of gRPC"),
        said => format!("it answers with the status {status} of gRPC: {said}"),
    };
    match status {
        0 => taken(answer.body.get(5..).unwrap_or_default()),
        8 | 11 if is_of_size(&message) => Outcome::TooLarge(why),
        1 | 4 | 10 | 11 | 14 | 15 => Outcome::Later(None, why),
        8 if said("grpc-status-details-bin").is_some_and(has_retry_info) => Outcome::Later(None, why),
        12 => Outcome::NotPacked(why),
        _ => Outcome::Never(why),
    }
}

/// Whether this is what a library of gRPC says of a message that is larger than it takes, and not of a quota.
fn is_of_size(message: &str) -> bool {
    ["larger than max", "too large"].iter().any(|words| message.contains(words))
        || message.contains("exceeds") && message.contains(" size")
}

/// A message of gRPC as it was before it was put in a header: some letters are `%20` there.
fn unescaped(text: &[u8]) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, behind)) = rest.split_first() {
        let escaped = behind.get(..2).filter(|_| *first == b'%');
        let byte = escaped.and_then(|two| u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { behind.get(2..).unwrap_or_default() } else { behind };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Whether a `google.rpc.Status` says when to come again.
fn has_retry_info(details: &HeaderValue) -> bool {
    let text = details.as_bytes();
    let text = text.split(|byte| *byte == b'=').next().unwrap_or_default();
    let details = base64::engine::general_purpose::STANDARD_NO_PAD.decode(text).unwrap_or_default();
    String::from_utf8_lossy(&details).contains("google.rpc.RetryInfo")
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    fn answer(
        status: u16,
        headers: &[(&'static str, &'static str)],
        trailers: &[(&'static str, &'static str)],
        body: &'static [u8],
    ) -> Answer {
        let map = |pairs: &[(&'static str, &'static str)]| {
            let pair = |(name, value): &(&'static str, &'static str)| {
                (HeaderName::from_static(name), HeaderValue::from_static(value))
            };
            pairs.iter().map(pair).collect::<HeaderMap>()
        };
        Answer {
            status: StatusCode::from_u16(status).unwrap(),
            headers: map(headers),
            trailers: map(trailers),
            body: Bytes::from_static(body),
        }
    }

    #[test]
    fn what_may_come_again_is_what_otlp_says() {
        assert_eq!(of_http(&answer(200, &[], &[], b"")), Outcome::Taken);
        for status in [429, 502, 503, 504] {
            assert!(matches!(of_http(&answer(status, &[], &[], b"")), Outcome::Later(None, _)), "{status}");
        }
        for status in [400, 401, 404, 500] {
            assert!(matches!(of_http(&answer(status, &[], &[], b"")), Outcome::Never(_)), "{status}");
        }
        let later = of_http(&answer(503, &[("retry-after", "7")], &[], b""));
        assert!(matches!(later, Outcome::Later(Some(after), _) if after.as_secs() == 7));
        assert_eq!(of_grpc(&answer(200, &[], &[("grpc-status", "0")], b"")), Outcome::Taken);
        for (status, again) in [("14", true), ("4", true), ("8", false), ("3", false), ("16", false)] {
            let refused = answer(200, &[("grpc-status", status)], &[], b"");
            assert_eq!(matches!(of_grpc(&refused), Outcome::Later(..)), again, "{status}");
        }
        assert!(matches!(of_grpc(&answer(502, &[], &[], b"")), Outcome::Later(..)));
    }

    #[test]
    fn what_is_too_large_or_packed_is_told_from_what_never_will_do() {
        assert!(matches!(of_http(&answer(413, &[], &[], b"")), Outcome::TooLarge(_)));
        assert!(matches!(of_http(&answer(415, &[], &[], b"")), Outcome::NotPacked(_)));
        let grpc = |fields: &[(&'static str, &'static str)]| of_grpc(&answer(200, &[], fields, b""));
        assert!(matches!(grpc(&[("grpc-status", "8")]), Outcome::Never(_)), "a quota");
        for said in [
            "grpc: received message larger than max (5000000 vs. 4194304)",
            "gRPC message exceeds maximum size 4194304: 5000000",
            "Received message exceeds the maximum configured message size.",
        ] {
            assert!(
                matches!(grpc(&[("grpc-status", "8"), ("grpc-message", said)]), Outcome::TooLarge(_)),
                "{said}"
            );
        }
        let large = [("grpc-status", "11"), ("grpc-message", "message%20length%20too%20large")];
        assert!(matches!(grpc(&large), Outcome::TooLarge(_)));
        assert!(matches!(grpc(&[("grpc-status", "11")]), Outcome::Later(..)));
        assert!(matches!(grpc(&[("grpc-status", "12")]), Outcome::NotPacked(_)));
        // A `google.rpc.Status` of code 8 with a `RetryInfo`.
        let details = "CAgaKgoodHlwZS5nb29nbGVhcGlzLmNvbS9nb29nbGUucnBjLlJldHJ5SW5mbw==";
        let exhausted = [("grpc-status", "8"), ("grpc-status-details-bin", details)];
        assert!(matches!(grpc(&exhausted), Outcome::Later(..)));
    }

    #[test]
    fn why_it_was_not_taken_is_told_as_it_was_said() {
        let kind = [("content-type", "application/x-protobuf")];
        let said = of_http(&answer(400, &kind, &[], b"\x08\x03\x12\x06no\nway"));
        assert_eq!(said, Outcome::Never("it answers 400 Bad Request: noway".into()));
        let unsaid = of_http(&answer(400, &[], &[], b"\x08\x03\x12\x06no\nway"));
        assert_eq!(unsaid, Outcome::Never("it answers 400 Bad Request".into()), "no protobuf");
        let said = [("grpc-status", "3"), ("grpc-message", "100%25 no%20%C3%A9%")];
        let expected = Outcome::Never("it answers with the status 3 of gRPC: 100% no é%".into());
        assert_eq!(of_grpc(&answer(200, &[], &said, b"")), expected);
    }

    #[test]
    fn what_was_taken_in_part_is_told() {
        let partial: &[u8] = b"\x0a\x06\x08\x03\x12\x02no";
        let kind = [("content-type", "application/x-protobuf")];
        let expected = Outcome::InPart { refused: 3, why: "it has not taken 3 records: no".into() };
        assert_eq!(of_http(&answer(200, &kind, &[], b"\x0a\x06\x08\x03\x12\x02no")), expected);
        assert_eq!(
            of_http(&answer(200, &[], &[], b"\x0a\x06\x08\x03\x12\x02no")),
            Outcome::Taken,
            "no protobuf"
        );
        assert_eq!(of_http(&answer(200, &kind, &[], b"\xff\xff")), Outcome::Taken, "no answer of OTLP");
        let framed = b"\0\0\0\0\x08\x0a\x06\x08\x03\x12\x02no";
        assert_eq!(&framed[5..], partial);
        assert_eq!(of_grpc(&answer(200, &[], &[("grpc-status", "0")], framed)), expected);
    }

    #[test]
    fn a_body_is_packed_as_its_protocol_says() {
        let wanted = |protocol| Export {
            endpoint: "http://127.0.0.1:1/x/".into(),
            protocol,
            compression: manifest::spec::Compression::Gzip,
            headers: [("x-key".to_owned(), "abc".to_owned())].into(),
            traces: true,
            logs: true,
            metrics: true,
        };
        let mut body = Packed::new(Bytes::from(vec![b'a'; 10_000]), true);
        let sent =
            |protocol, body: &Packed| of(&wanted(protocol), Signal::Logs, "me", body).unwrap().into_parts().0;
        fn said<'h>(head: &'h http::request::Parts, name: &str) -> &'h str {
            head.headers[name].to_str().unwrap()
        }
        let head = sent(ExportProtocol::Http, &body);
        assert_eq!((head.uri.path(), said(&head, "content-encoding")), ("/x/v1/logs", "gzip"));
        assert_eq!((said(&head, "x-key"), said(&head, MARKER)), ("abc", "me"));
        let head = sent(ExportProtocol::Grpc, &body);
        assert_eq!(head.uri.path(), "/x/opentelemetry.proto.collector.logs.v1.LogsService/Export");
        assert_eq!(head.headers["grpc-encoding"], "gzip");
        body.unpack();
        for protocol in [ExportProtocol::Http, ExportProtocol::Grpc] {
            let head = sent(protocol, &body);
            assert!(
                !head.headers.contains_key(CONTENT_ENCODING) && !head.headers.contains_key("grpc-encoding")
            );
        }
    }
}
