//! This reader of HTTP/1.1 beside hyper's: whatever is accepted here is accepted there, as the same message
//! with the same end; whatever is refused here alone breaks a rule with a name ([`STRICTER`]).
//!
//! `ATOLL_FUZZ_CASES` says how many messages are tried; `PROPTEST_…` variables work as everywhere.

use std::cell::RefCell;
use std::convert::Infallible;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestError, TestRunner};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::decode::{Decoded, Decoder};
use super::parse::{Bounds, Scan};
use super::{framing, parse};
use crate::Limits;
use crate::fields::Fields;
use crate::head::Head;

const CASES: u32 = 1500;
const BOUNDS: Bounds = Bounds { bytes: 16 * 1024, lines: 100, empty_before: 1 };

/// Why a message that hyper takes is refused here.
const STRICTER: &[&str] = &[
    // The faults of this module that hyper forgives.
    "BareLineFeed",       // it takes a line feed for the end of a line
    "EmptyLines",         // any number of them
    "TwoFramings",        // the coding wins
    "TwoLengths",         // if they are the same
    "Length",             // leading zeros of any number
    "Coding",             // any list that ends in `chunked`; in answers anything
    "CodingInOldVersion", // in answers
    "ChunkSize",          // white space after it
    "ChunkSizeTooLong",   // leading zeros of any number
    "ChunkExtension",     // control characters
    // What `head::check` refuses on top.
    "Connection names a field that is not this connection's",
    "Host is missing",
    "more than one Host is given",
    "Host is not a host",
    "the path has a `.` or `..` segment",
    "the target `*` is for OPTIONS only",
    "the target is neither a path nor a URL",
    "the target's scheme is neither http nor https",
    "the target's host is not a host",
    "the target has a character that must be escaped",
    "a gateway opens no tunnels for CONNECT",
];

/// A message as its reader understood it.
#[derive(Debug, PartialEq)]
struct Message {
    first: String,
    fields: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
    trailers: Vec<(String, Vec<u8>)>,
}

/// What a reader makes of all bytes of a connection.
#[derive(Debug, PartialEq)]
struct Read {
    messages: Vec<Message>,
    /// Why it stopped before the end; `None`: the end, maybe in the middle of a message, or a message that
    /// is said to be the last.
    refused: Option<String>,
    closes: bool,
}

fn sorted(fields: impl Iterator<Item = (String, Vec<u8>)>) -> Vec<(String, Vec<u8>)> {
    let mut fields: Vec<_> = fields.map(|(name, value)| (name.to_ascii_lowercase(), value)).collect();
    fields.sort_by(|a, b| a.0.cmp(&b.0)); // stable: the order within a name counts
    fields
}

fn of_map(map: &HeaderMap) -> Vec<(String, Vec<u8>)> {
    sorted(map.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())))
}

fn of_fields(fields: &Fields) -> Vec<(String, Vec<u8>)> {
    sorted(
        fields.iter().map(|field| (String::from_utf8_lossy(field.name).into_owned(), field.value.to_vec())),
    )
}

/// Bytes that come in pieces.
struct Pieces<'a> {
    pieces: std::slice::Chunks<'a, u8>,
    input: BytesMut,
}

impl<'a> Pieces<'a> {
    fn new(bytes: &'a [u8], piece: usize) -> Self {
        Self { pieces: bytes.chunks(piece.max(1)), input: BytesMut::new() }
    }

    fn more(&mut self) -> bool {
        let next = self.pieces.next();
        self.input.extend_from_slice(next.unwrap_or_default());
        next.is_some()
    }

    /// A whole head. `None`: the end came first.
    fn head(&mut self, bounds: &Bounds) -> Result<Option<BytesMut>, String> {
        let mut scan = Scan::default();
        loop {
            if let Some(whole) = scan.look(&self.input, bounds).map_err(|fault| format!("{fault:?}"))? {
                let mut head = self.input.split_to(whole.end);
                return Ok(Some(head.split_off(whole.begin)));
            }
            if !self.more() {
                return Ok(None);
            }
        }
    }

    /// A body with its trailers. `None`: the end came first.
    fn body(&mut self, mut decoder: Decoder) -> Result<Option<(Vec<u8>, HeaderMap)>, String> {
        let (mut body, mut trailers) = (Vec::new(), HeaderMap::new());
        loop {
            match decoder.decode(&mut self.input).map_err(|fault| format!("{fault:?}"))? {
                Decoded::Data(data) => body.extend_from_slice(&data),
                Decoded::Trailers(found) => trailers = found,
                Decoded::End => return Ok(Some((body, trailers))),
                Decoded::More if self.more() => {}
                Decoded::More => return Ok(decoder.closed().then_some((body, trailers))),
            }
        }
    }
}

/// What we make of a client's bytes.
fn our_requests(bytes: &[u8], piece: usize) -> Read {
    let mut pieces = Pieces::new(bytes, piece);
    let mut read = Read { messages: Vec::new(), refused: None, closes: false };
    loop {
        match our_request(&mut pieces) {
            Ok(Some((message, persists))) => {
                read.messages.push(message);
                read.closes = !persists;
                if read.closes {
                    return read;
                }
            }
            Ok(None) => return read,
            Err(refused) => return Read { refused: Some(refused), ..read },
        }
    }
}

fn our_request(pieces: &mut Pieces<'_>) -> Result<Option<(Message, bool)>, String> {
    let Some(text) = pieces.head(&BOUNDS)? else { return Ok(None) };
    let mut head = Head::default();
    let named = |fault| format!("{fault:?}");
    parse::request(&text, BOUNDS.lines, &mut head).map_err(named)?;
    let framing = framing::of_request(head.version, &head.fields).map_err(named)?;
    crate::head::check::check(&mut head, &Limits::default()).map_err(|failure| failure.detail)?;
    let Some((body, trailers)) = pieces.body(Decoder::new(framing))? else { return Ok(None) };
    let message = Message {
        first: format!("{} {} {:?}", head.method, head.target(), head.version),
        fields: of_fields(&head.fields),
        body,
        trailers: of_map(&trailers),
    };
    Ok(Some((message, framing::persists(head.version, &head.fields))))
}

/// What hyper makes of them.
async fn hypers_requests(bytes: &[u8]) -> Read {
    let (mut client, server) = tokio::io::duplex(1 << 20);
    client.write_all(bytes).await.unwrap();
    client.shutdown().await.unwrap();
    let messages = RefCell::new(Vec::new());
    let service = hyper::service::service_fn(|request: Request<Incoming>| async {
        let (parts, body) = request.into_parts();
        if let Ok(body) = body.collect().await {
            let trailers = body.trailers().map(of_map).unwrap_or_default();
            let target = parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
            messages.borrow_mut().push(Message {
                first: format!("{} {target} {:?}", parts.method, parts.version),
                fields: of_map(&parts.headers),
                body: body.to_bytes().to_vec(),
                trailers,
            });
        }
        Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
    });
    let mut builder = hyper::server::conn::http1::Builder::new();
    let serving = builder.half_close(true).serve_connection(TokioIo::new(server), service);
    let outcome = tokio::time::timeout(Duration::from_secs(5), serving).await.expect("hyper ends");
    Read {
        messages: messages.into_inner(),
        refused: outcome.err().map(|error| error.to_string()),
        closes: false,
    }
}

/// What we make of a service's bytes.
fn our_answer(bytes: &[u8], piece: usize, to_head: bool) -> Result<Option<Message>, String> {
    let bounds = Bounds { empty_before: 0, ..BOUNDS };
    let mut pieces = Pieces::new(bytes, piece);
    let named = |fault| format!("{fault:?}");
    loop {
        let Some(text) = pieces.head(&bounds)? else { return Ok(None) };
        let mut fields = Fields::new();
        let (status, version) = parse::answer(&text, bounds.lines, &mut fields).map_err(named)?;
        let framing = framing::of_answer(to_head, status, version, &fields).map_err(named)?;
        if status.is_informational() && status != http::StatusCode::SWITCHING_PROTOCOLS {
            continue;
        }
        let Some((body, trailers)) = pieces.body(Decoder::new(framing))? else { return Ok(None) };
        let first = format!("{} {version:?}", status.as_u16());
        let (fields, trailers) = (of_fields(&fields), of_map(&trailers));
        return Ok(Some(Message { first, fields, body, trailers }));
    }
}

/// What hyper makes of them.
async fn hypers_answer(bytes: &[u8], to_head: bool) -> Option<Message> {
    let (client, mut server) = tokio::io::duplex(1 << 20);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(client)).await.unwrap();
    let method = if to_head { "HEAD" } else { "GET" };
    let request =
        Request::builder().method(method).uri("/").header("host", "a").body(Empty::<Bytes>::new()).unwrap();
    let asked = async {
        let response = sender.send_request(request).await.ok()?;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.ok()?;
        let trailers = body.trailers().map(of_map).unwrap_or_default();
        let first = format!("{} {:?}", parts.status.as_u16(), parts.version);
        Some(Message { first, fields: of_map(&parts.headers), body: body.to_bytes().to_vec(), trailers })
    };
    let serve = async {
        let mut request = [0; 1024];
        let _ = server.read(&mut request).await;
        let _ = server.write_all(bytes).await;
        let _ = server.shutdown().await;
    };
    let all = async { tokio::join!(asked, async { connection.await.ok() }, serve).0 };
    tokio::time::timeout(Duration::from_secs(5), all).await.expect("hyper ends")
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn is_named(refused: &str) -> bool {
    STRICTER.contains(&refused)
}

/// Compares both readers. Says how many messages both took.
fn compare_requests(
    runtime: &tokio::runtime::Runtime,
    bytes: &[u8],
    piece: usize,
) -> Result<usize, TestCaseError> {
    let ours = our_requests(bytes, piece);
    prop_assert_eq!(&ours, &our_requests(bytes, usize::MAX), "cut by {}", piece);
    let theirs = runtime.block_on(hypers_requests(bytes));
    let shown = bytes.escape_ascii();
    for (at, message) in ours.messages.iter().enumerate() {
        prop_assert_eq!(Some(message), theirs.messages.get(at), "message {} of {}", at, &shown);
    }
    if theirs.messages.len() > ours.messages.len() && !ours.closes {
        let named = ours.refused.as_deref().is_some_and(is_named);
        prop_assert!(named, "{} is refused here only, for {:?}; theirs {:?}", shown, ours.refused, theirs);
    }
    Ok(ours.messages.len())
}

fn compare_answers(
    runtime: &tokio::runtime::Runtime,
    bytes: &[u8],
    piece: usize,
    to_head: bool,
) -> Result<usize, TestCaseError> {
    let ours = our_answer(bytes, piece, to_head);
    prop_assert_eq!(&ours, &our_answer(bytes, usize::MAX, to_head), "cut by {}", piece);
    let theirs = runtime.block_on(hypers_answer(bytes, to_head));
    let shown = bytes.escape_ascii();
    match ours {
        Ok(ours) => {
            let taken = usize::from(ours.is_some());
            prop_assert_eq!(ours, theirs, "{}", shown);
            Ok(taken)
        }
        Err(refused) => {
            prop_assert!(
                theirs.is_none() || is_named(&refused),
                "{} is refused here only, for {}",
                shown,
                refused
            );
            Ok(0)
        }
    }
}

// ---- what is tried ----

fn first_lines() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        8 => prop::sample::select(vec!["GET / HTTP/1.1", "POST /a/b?c=d HTTP/1.1", "PUT /x HTTP/1.1", "HEAD / HTTP/1.1"]),
        2 => prop::sample::select(vec![
            "GET / HTTP/1.0", "POST / HTTP/1.0", "OPTIONS * HTTP/1.1", "GET http://a/b HTTP/1.1",
            "GET http://b?x HTTP/1.1", "DELETE /%2e%2e/x HTTP/1.1", "GET /\u{e9} HTTP/1.1", "X-Y! /a|b HTTP/1.1",
            "GET http://[::1]:80/ HTTP/1.1", "GET HTTP://A/ HTTP/1.1",
        ]),
        1 => prop::sample::select(vec![
            "GET /", "GET / HTTP/1.2", "GET / HTTP/2.0", "GET  / HTTP/1.1", "GET / HTTP/1.1 ", " GET / HTTP/1.1",
            "GET /a b HTTP/1.1", "GET\t/ HTTP/1.1", "GET /#x HTTP/1.1", "GET * HTTP/1.1", "CONNECT a:1 HTTP/1.1",
            "GET a HTTP/1.1", "GET ftp://a/ HTTP/1.1", "GET http:///x HTTP/1.1", "GET / http/1.1", "",
            "G\u{e9}T / HTTP/1.1", "GET //a HTTP/1.1", "GET ? HTTP/1.1", "GET http://a:b/ HTTP/1.1", "PRI * HTTP/2.0",
            "GET http://u@a/ HTTP/1.1", "GET /\\ HTTP/1.1", "GET /\" HTTP/1.1", "GET http://a\\b/ HTTP/1.1",
        ]),
    ]
}

fn fields() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        6 => prop::sample::select(vec![
            "Host: a", "Content-Length: 5", "Transfer-Encoding: chunked", "X: 1", "Accept:*/*", "Content-Length: 0",
        ]),
        3 => prop::sample::select(vec![
            "host:a", "Connection: close", "Connection: keep-alive", "connection: keep-alive, close", "Content-Length:5",
            "content-length:  5  ", "TRANSFER-ENCODING: CHUNKED", "X-Empty:", "X:\t tab \t", "X: \u{e9}", "TE: trailers",
            "Trailer: x", "Connection: Content-Length", "Connection: Transfer-Encoding", "Connection: Host", "!#$: x",
            "Expect: 100-continue", "Cookie: a=b; c", "Content_Length: 9", "Transfer_Encoding: chunked", "Host: a:80",
        ]),
        2 => prop::sample::select(vec![
            "Transfer-Encoding : chunked", "Transfer-Encoding: \u{b}chunked", "Transfer-Encoding: chunked, identity",
            "Transfer-Encoding: xchunked", "Transfer-Encoding:\tchunked", "Transfer-Encoding: cHuNkEd",
            "Transfer-Encoding: gzip, chunked", "Transfer-Encoding: identity", "Transfer-Encoding:", " chunked",
            "Transfer-Encoding\u{0}: chunked", "X: 1\r\n Transfer-Encoding: chunked", "Transfer-Encoding: \"chunked\"",
            "Transfer-Encoding: chunked,", "Transfer-Encoding: ,chunked", "Transfer-Encoding: chunked;x=1",
            "Content-Length: +5", "Content-Length: -5", "Content-Length: 5, 5", "Content-Length: 5 5", "Content-Length: 0x5",
            "Content-Length: 6", "Content-Length:", "Content-Length: 05", "Content-Length: 00000000000000000000005",
            "Content-Length: 18446744073709551621", "Content-Length: 5\r", "Content-Length\t: 5", "Content Length: 5",
            "Host: b", "Host:", "Host: a b", "Host: u@a", "X Y: 1", ": 1", "X", "X: a\rb", "X: a\u{0}b", "\tX: 1",
            "X: 1\nContent-Length: 5", "X:\u{7f}", "\u{e9}: x", "X[]: 1",
        ]),
    ]
}

fn ends() -> impl Strategy<Value = &'static str> {
    prop_oneof![40 => Just("\r\n"), 1 => prop::sample::select(vec!["\n", "\r", "\r\r\n", "\r\n\r\n", "\n\r", "", "\0\r\n"])]
}

fn bodies() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        3 => Just(""),
        3 => prop::sample::select(vec![
            "hello", "5\r\nhello\r\n0\r\n\r\n", "0\r\n\r\n", "2;x=y\r\nhe\r\n3\r\nllo\r\n0\r\nX-Sum: 1\r\n\r\n", "a\r\n0123456789\r\n0\r\n\r\n",
        ]),
        2 => prop::sample::select(vec![
            "hell", "hello there", "0x5\r\nhello\r\n0\r\n\r\n", "+5\r\nhello\r\n0\r\n\r\n", "5 \r\nhello\r\n0\r\n\r\n", "5\nhello\n0\n\n",
            "5\r\nhello0\r\n\r\n", "5\r\nhelloX\r\n0\r\n\r\n", "\r\nhello\r\n0\r\n\r\n", "00000000000000005\r\nhello\r\n0\r\n\r\n",
            "-1\r\nhello\r\n0\r\n\r\n", "5;\n\r\nhello\r\n0\r\n\r\n", "5;a\nb\r\nhello\r\n0\r\n\r\n", "5;a\0\r\nhello\r\n0\r\n\r\n", "ffffffffffffffff\r\nx",
            "5\r\nhello\r\n0\r\nContent-Length: 1\r\n\r\n", "0\r\nX : 1\r\n\r\n", "0\r\n X: 1\r\n\r\n", "0\r\nX: 1\n\r\n", "0\r\n\n", "0\r\nGET / HTTP/1.1\r\n\r\n",
            "10000000000000005\r\nhello\r\n0\r\n\r\n", "5\t;x\r\nhello\r\n0\r\n\r\n", "5;\"\r\n\"\r\nhello\r\n0\r\n\r\n", "0", "5\r\nhello\r\n", "5\r\nhello\r\n0\r\n",
        ]),
    ]
}

fn request_text() -> impl Strategy<Value = String> {
    let line = (fields(), ends());
    (first_lines(), ends(), prop::collection::vec(line, 0..5), ends(), bodies(), any::<bool>()).prop_map(
        |(first, end, lines, last, body, host)| {
            let mut text = format!("{first}{end}{}", if host { "Host: a\r\n" } else { "" });
            for (field, end) in lines {
                text.push_str(field);
                text.push_str(end);
            }
            text + last + body
        },
    )
}

fn answer_text() -> impl Strategy<Value = String> {
    let first = prop_oneof![
        6 => prop::sample::select(vec!["HTTP/1.1 200 OK", "HTTP/1.1 404 Not Found", "HTTP/1.0 200 OK"]),
        2 => prop::sample::select(vec![
            "HTTP/1.1 204 No Content", "HTTP/1.1 304 Not Modified", "HTTP/1.1 200", "HTTP/1.1 999 x", "HTTP/1.1 200 \u{e9}",
            "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created",
        ]),
        1 => prop::sample::select(vec![
            "HTTP/1.2 200 OK", "HTTP/2 200 OK", "HTTP/1.1 20 OK", "HTTP/1.1  200 OK", "HTTP/1.1 2000 OK", "HTTP/1.1 099 x", "ICY 200 OK", "",
            "HTTP/1.1 200 O\0K", "HTTP/1.1 200\tOK", " HTTP/1.1 200 OK", "\r\nHTTP/1.1 200 OK",
        ]),
    ];
    (first, ends(), prop::collection::vec((fields(), ends()), 0..4), ends(), bodies()).prop_map(
        |(first, end, lines, last, body)| {
            let lines: String = lines.into_iter().map(|(field, end)| format!("{field}{end}")).collect();
            format!("{first}{end}{lines}{last}{body}")
        },
    )
}

/// Some bytes changed, left out or put in.
fn mutated(text: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    const EVIL: &[u8] = b"\r\n\0 \t:;,/x05+-\"\\\x0b\x7f\xff#?.=HTc";
    let change = (any::<prop::sample::Index>(), prop::sample::select(EVIL), 0u8..3);
    let changes = prop_oneof![3 => Just(Vec::new()), 2 => prop::collection::vec(change, 1..3)];
    (text, changes).prop_map(|(mut text, changes)| {
        for (place, byte, how) in changes {
            if text.is_empty() {
                break;
            }
            let at = place.index(text.len());
            match how {
                0 => text[at] = byte,
                1 => text.insert(at, byte),
                _ => drop(text.remove(at)),
            }
        }
        text
    })
}

/// One message or several, one after the other.
fn several(text: impl Strategy<Value = String>) -> impl Strategy<Value = Vec<u8>> {
    mutated(prop::collection::vec(text, 1..4).prop_map(|texts| texts.concat().into_bytes()))
}

fn runner() -> (TestRunner, u32) {
    let cases = std::env::var("ATOLL_FUZZ_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(CASES);
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 5000, ..Config::default() };
    (TestRunner::new(config), cases)
}

/// Why it failed, with the shortest bytes that show it as text: the message has them.
fn reason<T>(error: &TestError<T>) -> String {
    match error {
        TestError::Abort(why) | TestError::Fail(why, _) => why.to_string(),
    }
}

#[test]
fn what_is_accepted_of_a_client_is_what_hyper_accepts_with_the_same_framing() {
    let (runtime, taken) = (runtime(), RefCell::new(0));
    let (mut runner, cases) = runner();
    let outcome = runner.run(&(several(request_text()), 1usize..40), |(bytes, piece)| {
        *taken.borrow_mut() += compare_requests(&runtime, &bytes, piece)?;
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{}", reason(&error)));
    let taken = taken.into_inner();
    assert!(taken as u32 > cases / 20, "only {taken} messages were accepted: nothing was compared");
}

#[test]
fn what_is_accepted_of_a_service_is_what_hyper_accepts_with_the_same_framing() {
    let (runtime, taken) = (runtime(), RefCell::new(0));
    let (mut runner, cases) = runner();
    let strategy = (mutated(answer_text().prop_map(String::into_bytes)), 1usize..40, any::<bool>());
    let outcome = runner.run(&strategy, |(bytes, piece, to_head)| {
        *taken.borrow_mut() += compare_answers(&runtime, &bytes, piece, to_head)?;
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{}", reason(&error)));
    let taken = taken.into_inner();
    assert!(taken as u32 > cases / 20, "only {taken} answers were accepted: nothing was compared");
}

/// Every line of the catalogue alone, between harmless ones, with every body, so that none is left to chance.
#[test]
fn every_known_trick_is_read_as_hyper_reads_it_or_refused() {
    let runtime = runtime();
    let mut runner = TestRunner::deterministic();
    let mut all = |strategy: BoxedStrategy<&'static str>| {
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..3000 {
            seen.insert(strategy.new_tree(&mut runner).unwrap().current());
        }
        seen
    };
    let (firsts, lines, bodies) = (all(first_lines().boxed()), all(fields().boxed()), all(bodies().boxed()));
    for first in &firsts {
        let text = format!("{first}\r\nHost: a\r\n\r\nGET /next HTTP/1.1\r\nHost: a\r\n\r\n");
        compare_requests(&runtime, text.as_bytes(), 7).unwrap();
    }
    for line in &lines {
        for framing in ["", "Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n"] {
            for body in ["", "hello", "5\r\nhello\r\n0\r\n\r\n"] {
                let text = format!(
                    "POST / HTTP/1.1\r\nHost: a\r\n{framing}{line}\r\n\r\n{body}GET /next HTTP/1.1\r\nHost: a\r\n\r\n"
                );
                compare_requests(&runtime, text.as_bytes(), 5).unwrap();
                let answer = format!("HTTP/1.1 200 OK\r\n{framing}{line}\r\n\r\n{body}");
                compare_answers(&runtime, answer.as_bytes(), 5, false).unwrap();
            }
        }
    }
    for body in &bodies {
        for framing in ["Content-Length: 5", "Transfer-Encoding: chunked"] {
            let text = format!(
                "POST / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n{body}GET /next HTTP/1.1\r\nHost: a\r\n\r\n"
            );
            compare_requests(&runtime, text.as_bytes(), 3).unwrap();
            let answer = format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n{body}");
            compare_answers(&runtime, answer.as_bytes(), 3, false).unwrap();
        }
    }
}
