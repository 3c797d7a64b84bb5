//! What is refused: what the parsers leave open, and what is read in another way by others.

use http::{Method, Version};

use super::host::host_of;
use super::{Head, options};
use crate::failure::{Failure, Kind};
use crate::fields::{Fields, Known};
use crate::limits::Limits;

/// Checks a head, and finds the host. Afterwards its target is a path and a query (or `*`).
pub(crate) fn check(head: &mut Head, limits: &Limits) -> Result<(), Failure> {
    if head.method == Method::CONNECT {
        return Err(Failure::new(Kind::ConnectRefused, "a gateway opens no tunnels for CONNECT"));
    }
    size(head, limits)?;
    if !is_plain(&head.fields) {
        return Err(bad("Transfer-Encoding is not just `chunked`"));
    }
    length(&head.fields)?;
    connection(&head.fields)?;
    target(head)?;
    host(head)
}

/// RFC 9110 §8.6: one length, and a number. On HTTP/1 the parser has seen to that before.
fn length(fields: &Fields) -> Result<(), Failure> {
    let mut lengths = fields.all_known(Known::ContentLength);
    match lengths.next() {
        None => Ok(()),
        Some(length) if lengths.next().is_none() && is_number(length) => Ok(()),
        Some(_) => Err(bad("Content-Length is not one number")),
    }
}

fn is_number(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(u8::is_ascii_digit)
}

fn bad(detail: &str) -> Failure {
    Failure::new(Kind::BadRequest, detail)
}

fn size(head: &Head, limits: &Limits) -> Result<(), Failure> {
    let (mut lines, mut bytes) = (0, head.target().len());
    for field in head.fields.iter() {
        // On HTTP/2 a cookie may come in many crumbs (RFC 9113 §8.2.3), which are one line to everybody else.
        lines += usize::from(field.known != Known::Cookie);
        bytes += field.name.len() + field.value.len() + 4;
    }
    if head.target().len() > limits.header_bytes {
        return Err(Failure::new(Kind::TargetTooLong, "the target is too long"));
    }
    if lines > limits.headers {
        let detail = format!("the request's head has more than {} lines", limits.headers);
        return Err(Failure::new(Kind::HeadTooLarge, detail));
    }
    if bytes > limits.header_bytes {
        let detail = format!("the request's head is longer than {} bytes", limits.header_bytes);
        return Err(Failure::new(Kind::HeadTooLarge, detail));
    }
    Ok(())
}

/// RFC 9110 §7.6.1: `Connection` names what is for this hop alone. Whoever names what frames, addresses, vouches for or traces
/// a message wants it hidden from the service, or from a filter that has just written it.
fn connection(fields: &Fields) -> Result<(), Failure> {
    let is_for_all = |option: &str| {
        matches!(
            Known::of(option.as_bytes()),
            Known::Authorization
                | Known::Claim
                | Known::ContentLength
                | Known::ContentType
                | Known::Cookie
                | Known::Disguised
                | Known::Expect
                | Known::Forwarded
                | Known::ForwardedFor
                | Known::ForwardedHost
                | Known::ForwardedProto
                | Known::GrpcTimeout
                | Known::Host
                | Known::Ours
                | Known::RequestId
                | Known::RequestTimeout
                | Known::Traceparent
                | Known::Tracestate
                | Known::Trailer
                | Known::TransferEncoding
                | Known::Via
        )
    };
    if options(fields).any(is_for_all) {
        return Err(bad("Connection names a field that is not this connection's"));
    }
    Ok(())
}

/// Whether a body has no transfer coding but `chunked`, the one that is undone here: it goes on without any.
pub(crate) fn is_plain(fields: &Fields) -> bool {
    let mut codings = fields.all_known(Known::TransferEncoding);
    codings.next().is_none_or(|coding| coding.eq_ignore_ascii_case(b"chunked")) && codings.next().is_none()
}

/// RFC 9112 §3.2: a path, a URL of http, or for `OPTIONS` an asterisk.
fn target(head: &mut Head) -> Result<(), Failure> {
    let target = head.target();
    if target.starts_with('/') {
        // The common case changes nothing.
    } else if head.version == Version::HTTP_2 && target != "*" {
        return Err(bad(":path is not a path")); // RFC 9113 §8.3.1
    } else if target == "*" {
        if head.method != Method::OPTIONS {
            return Err(bad("the target `*` is for OPTIONS only"));
        }
    } else {
        let Some((scheme, rest)) = target.split_once("://") else {
            return Err(bad("the target is neither a path nor a URL"));
        };
        if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
            return Err(bad("the target's scheme is neither http nor https"));
        }
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if host_of(authority).is_none() {
            return Err(bad("the target's host is not a host"));
        }
        let authority = authority.to_owned();
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        head.authority = authority;
        head.set_target(&path);
    }
    if head.query().is_some_and(|query| query.contains('"')) {
        return Err(bad("the target has a character that must be escaped")); // some end the query there
    }
    if head.target().bytes().all(is_of_a_target) {
        return Ok(());
    }
    // The parsers let UTF-8 pass, and with it what a terminal takes for a command.
    let unfit = |c: char| if c.is_ascii() { !is_of_a_target(c as u8) } else { c.is_control() };
    if head.target().contains(unfit) {
        return Err(bad("the target has a character that must be escaped"));
    }
    Ok(())
}

/// What may stand in a path and a query (RFC 3986 §3.3, §3.4), and what browsers and tools send although it
/// may not: `"`, `[`, `]`, `^`, `{`, `|`, `}`, `` ` ``. A fragment, white space and a backslash never.
fn is_of_a_target(byte: u8) -> bool {
    matches!(byte, b'!' | b'"' | b'$'..=b';' | b'=' | b'?'..=b'[' | b']'..=b'~')
}

/// RFC 9112 §3.2, RFC 9113 §8.3.1: the host, once and the same.
fn host(head: &mut Head) -> Result<(), Failure> {
    let Head { fields, authority, host, version, .. } = head;
    let mut hosts = fields.all_known(Known::Host);
    let written = hosts.next();
    if hosts.next().is_some() {
        return Err(bad("more than one Host is given"));
    }
    match written {
        None if authority.is_empty() && *version == Version::HTTP_11 => return Err(bad("Host is missing")),
        None | Some(b"") => {}
        Some(written) => {
            let written = std::str::from_utf8(written).map_err(|_| bad("Host is not a host"))?;
            if authority.is_empty() {
                authority.push_str(written);
            } else if *version == Version::HTTP_2 && !written.eq_ignore_ascii_case(authority) {
                return Err(bad("Host and :authority differ"));
            } else if host_of(written).is_none() {
                return Err(bad("Host is not a host"));
            }
        }
    }
    if authority.is_empty() {
        return Ok(());
    }
    let name = host_of(authority).ok_or_else(|| bad("Host is not a host"))?;
    host.clear();
    host.push_str(name.trim_end_matches('.'));
    host.make_ascii_lowercase();
    Ok(())
}
