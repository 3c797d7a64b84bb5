//! Heads of requests and answers, from bytes. A head that trickles in is looked at once, byte by byte as it
//! comes ([`Scan`]), and parsed once, when it is whole.

use std::mem::MaybeUninit;

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};
use httparse::Header;
use memchr::memchr;

use super::Fault;
use crate::fields::Fields;
use crate::head::Head;

/// Lines of a head that are parsed without memory of their own.
const LINES_ON_STACK: usize = 100;
/// Longest name of a field.
const NAME_MAX: usize = 8 * 1024;

/// How much a head may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Bytes, the empty line at its end included.
    pub(crate) bytes: usize,
    /// Lines of fields.
    pub(crate) lines: usize,
    /// Empty lines before it (RFC 9112 §2.2: one is forgiven a client, none a service).
    pub(crate) empty_before: usize,
}

/// How far the bytes of a head have been looked through for its end.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Scan {
    /// Where to look on.
    at: usize,
    /// Where the line under way begins.
    line: usize,
    /// Where the head begins.
    begin: usize,
    /// Empty lines before it.
    empty: usize,
    /// Lines so far, the first one included.
    lines: usize,
}

/// Where a whole head lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Whole {
    /// After empty lines.
    pub(crate) begin: usize,
    /// With the empty line at its end.
    pub(crate) end: usize,
}

impl Scan {
    /// Looks on in `bytes`, which begin with those that it was given before.
    pub(crate) fn look(&mut self, bytes: &[u8], bounds: &Bounds) -> Result<Option<Whole>, Fault> {
        self.begins_well(bytes)?;
        while let Some(offset) = bytes.get(self.at..).and_then(|rest| memchr(b'\n', rest)) {
            let at = self.at + offset;
            if at == self.line || bytes[at - 1] != b'\r' {
                return Err(Fault::BareLineFeed);
            }
            let is_empty = at - 1 == self.line;
            (self.at, self.line) = (at + 1, at + 1);
            match (is_empty, self.lines) {
                (true, 0) => {
                    self.empty += 1;
                    self.begin = self.at;
                    if self.empty > bounds.empty_before {
                        return Err(Fault::EmptyLines);
                    }
                    self.begins_well(bytes)?;
                }
                (true, _) => {
                    self.bounded(self.at, bounds)?;
                    return Ok(Some(Whole { begin: self.begin, end: self.at }));
                }
                (false, lines) => {
                    if lines == 0 {
                        self.bounded(self.at, bounds)?; // told the same, however the bytes came
                    }
                    self.lines += 1;
                    if self.lines > bounds.lines + 1 {
                        return Err(Fault::TooManyLines);
                    }
                }
            }
        }
        self.at = bytes.len();
        self.bounded(self.at, bounds)?;
        Ok(None)
    }

    /// What does not even begin like HTTP is not waited for to end like it.
    fn begins_well(&self, bytes: &[u8]) -> Result<(), Fault> {
        match bytes.get(self.begin) {
            Some(first) if !is_token(*first) && !b"\r\n".contains(first) => Err(Fault::FirstLine),
            _ => Ok(()),
        }
    }

    fn bounded(&self, end: usize, bounds: &Bounds) -> Result<(), Fault> {
        if end - self.begin <= bounds.bytes {
            return Ok(());
        }
        Err(if self.lines == 0 { Fault::TargetTooLong } else { Fault::TooLong })
    }
}

/// RFC 9110 §5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Parses a whole head of a request into `head`, whose fields are those of the request alone afterwards.
pub(crate) fn request(bytes: &[u8], lines: usize, head: &mut Head) -> Result<(), Fault> {
    head.clear();
    with_lines(lines, |room| {
        let mut request = httparse::Request::new(&mut []);
        whole(request.parse_with_uninit_headers(bytes, room), bytes)?;
        head.method = method(request.method.unwrap_or_default())?;
        head.version = version(request.version)?;
        head.set_target(request.path.ok_or(Fault::Target)?);
        fields(request.headers, &mut head.fields)
    })
}

/// Parses a whole head of an answer; its fields are put into `into`.
pub(crate) fn answer(bytes: &[u8], lines: usize, into: &mut Fields) -> Result<(StatusCode, Version), Fault> {
    into.clear();
    with_lines(lines, |room| {
        let mut answer = httparse::Response::new(&mut []);
        let config = httparse::ParserConfig::default();
        whole(config.parse_response_with_uninit_headers(&mut answer, bytes, room), bytes)?;
        let status = StatusCode::from_u16(answer.code.unwrap_or_default()).map_err(|_| Fault::Status)?;
        let version = version(answer.version)?;
        fields(answer.headers, into)?;
        Ok((status, version))
    })
}

/// Parses the lines after a last chunk, with the empty line at their end.
pub(crate) fn trailers(bytes: &[u8], lines: usize) -> Result<HeaderMap, Fault> {
    let mut room = vec![httparse::EMPTY_HEADER; lines];
    let headers = match httparse::parse_headers(bytes, &mut room) {
        Ok(httparse::Status::Complete((length, headers))) if length == bytes.len() => headers,
        Ok(_) => return Err(Fault::Name),
        Err(error) => return Err(fault(error)),
    };
    let mut map = HeaderMap::with_capacity(headers.len());
    for header in headers {
        let name = HeaderName::from_bytes(header.name.as_bytes()).map_err(|_| Fault::Name)?;
        let value = HeaderValue::from_bytes(header.value).map_err(|_| Fault::Value)?;
        map.append(name, value);
    }
    Ok(map)
}

/// Lends room for the lines of a head: on the stack where that is enough.
fn with_lines<'b, T>(
    lines: usize,
    parse: impl FnOnce(&mut [MaybeUninit<Header<'b>>]) -> Result<T, Fault>,
) -> Result<T, Fault> {
    if lines <= LINES_ON_STACK {
        parse(&mut [const { MaybeUninit::uninit() }; LINES_ON_STACK])
    } else {
        let mut room = Vec::new();
        room.resize_with(lines, MaybeUninit::uninit);
        parse(&mut room)
    }
}

/// A head that was found to be whole is: a parser that sees its end elsewhere has read something else.
fn whole(outcome: httparse::Result<usize>, bytes: &[u8]) -> Result<(), Fault> {
    match outcome {
        Ok(httparse::Status::Complete(length)) if length == bytes.len() => Ok(()),
        Ok(_) => Err(Fault::FirstLine),
        Err(error) => Err(fault(error)),
    }
}

fn fault(error: httparse::Error) -> Fault {
    match error {
        httparse::Error::HeaderName => Fault::Name,
        httparse::Error::HeaderValue => Fault::Value,
        httparse::Error::NewLine => Fault::BareReturn,
        httparse::Error::Version => Fault::Version,
        httparse::Error::Status => Fault::Status,
        httparse::Error::TooManyHeaders => Fault::TooManyLines,
        httparse::Error::Token => Fault::FirstLine,
    }
}

fn method(text: &str) -> Result<Method, Fault> {
    match text {
        "GET" => Ok(Method::GET),
        "POST" => Ok(Method::POST),
        _ => Method::from_bytes(text.as_bytes()).map_err(|_| Fault::FirstLine),
    }
}

fn version(minor: Option<u8>) -> Result<Version, Fault> {
    match minor {
        Some(1) => Ok(Version::HTTP_11),
        Some(0) => Ok(Version::HTTP_10),
        _ => Err(Fault::Version),
    }
}

fn fields(headers: &[Header<'_>], into: &mut Fields) -> Result<(), Fault> {
    for header in headers {
        if header.name.is_empty() || header.name.len() > NAME_MAX {
            return Err(Fault::Name);
        }
        into.push(header.name.as_bytes(), header.value);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
