//! What is passed on: a request's fields to an instance, an answer's to the client.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use http::Method;

use super::{Framing, options, wants_upgrade};
use crate::exchange::Asked;
use crate::failure::{Failure, Kind};
use crate::fields::{Fields, Known, KnownSet};
use crate::limits::Limits;

/// How `Via` names this proxy.
const VIA_NAME: &str = "1.1 atoll";
/// Which service calls, in the mesh. The proxy alone writes it.
const CALLER: &[u8] = b"x-atoll-caller";
/// What is left of the deadline, in whole milliseconds. A hop that knows it does not begin what nobody will
/// wait for.
pub(crate) const REQUEST_TIMEOUT: &str = "x-request-timeout-ms";

/// What is special about one attempt.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempt {
    /// The instance.
    pub(crate) endpoint: SocketAddr,
    pub(crate) framing: Framing,
    /// What is left of the deadline.
    pub(crate) left: Duration,
}

/// The fields of a request as an instance gets them, one by one, `Host` first. HTTP/2 leaves out what is
/// HTTP/1's own (`host`, `connection`, `te` but trailers, `transfer-encoding`, `upgrade`).
pub(crate) fn to_upstream(
    asked: &Asked,
    attempt: &Attempt,
    limits: &Limits,
    mut put: impl FnMut(&[u8], &[u8]),
) -> Result<(), Failure> {
    let head = &asked.head;
    let fields = &head.fields;
    match head.authority.as_str() {
        "" => put(b"host", attempt.endpoint.to_string().as_bytes()),
        authority => put(b"host", authority.as_bytes()),
    }
    let mut seen = Seen::default();
    let listed = fields.has(Known::Connection);
    for field in fields.iter() {
        if listed && is_listed(field.name, field.known, fields) {
            continue;
        }
        match field.known {
            Known::Host | Known::RequestId | Known::Traceparent | Known::RequestTimeout => continue,
            Known::ContentLength => continue, // written from the framing
            Known::Cookie => {
                seen.cookies += 1;
                continue;
            }
            Known::ForwardedFor => {
                seen.forwarded_for = true;
                continue;
            }
            Known::GrpcTimeout => {
                seen.grpc_timeout = true;
                continue;
            }
            // It belongs to a traceparent that was not valid.
            Known::Tracestate if asked.trace.parent.is_none() => continue,
            Known::ForwardedProto => seen.forwarded_proto = true,
            Known::ForwardedHost => seen.forwarded_host = true,
            known if is_hop_by_hop(known) => continue,
            _ => {}
        }
        put(field.name, field.value);
    }
    cookies(fields, seen.cookies, &mut put);
    hop_options(asked, &mut put);
    let mut number = Number::default();
    match attempt.framing {
        Framing::None if [Method::POST, Method::PUT, Method::PATCH].contains(&head.method) => {
            put(b"content-length", b"0");
        }
        Framing::None => {}
        Framing::Known(length) => put(b"content-length", number.of(length)),
        Framing::Unknown => put(b"transfer-encoding", b"chunked"),
    }
    forwarded(asked, &seen, &mut put);
    via(fields, limits)?;
    put(b"via", VIA_NAME.as_bytes());
    put(b"x-request-id", asked.request_id.as_bytes());
    put(b"traceparent", &asked.trace.text());
    let left_ms = u64::try_from(attempt.left.as_millis()).unwrap_or(u64::MAX).max(1);
    put(REQUEST_TIMEOUT.as_bytes(), number.of(left_ms));
    if seen.grpc_timeout {
        // At most eight digits (gRPC over HTTP/2): milliseconds reach for a day, which is the longest here.
        let value = [number.of(left_ms.min(99_999_999)), b"m"].concat();
        put(b"grpc-timeout", &value);
    }
    Ok(())
}

/// What was found on the way.
#[derive(Default)]
struct Seen {
    cookies: usize,
    forwarded_for: bool,
    forwarded_proto: bool,
    forwarded_host: bool,
    grpc_timeout: bool,
}

/// Room for a number as text.
#[derive(Default)]
pub(crate) struct Number([u8; 20]);

impl Number {
    /// Its digits.
    pub(crate) fn of(&mut self, mut number: u64) -> &[u8] {
        let mut at = self.0.len();
        loop {
            at -= 1;
            self.0[at] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                return &self.0[at..];
            }
        }
    }
}

/// Takes what belongs to the connection off an answer's head. The body's framing is the engine's business:
/// it has read `Transfer-Encoding` and `Content-Length` by now.
pub(crate) fn from_upstream(fields: &mut Fields, switching: bool) {
    if !fields.may_have(HOP_BY_HOP) {
        return; // without `Connection` nothing is listed, without a coding nothing is framed
    }
    let upgrade = fields.known(Known::Upgrade).filter(|_| switching).map(<[u8]>::to_vec);
    let coded = fields.has(Known::TransferEncoding);
    let listed: Vec<Vec<u8>> = options(fields).map(|option| option.as_bytes().to_vec()).collect();
    let is_listed = |name: &[u8], known| {
        listed.iter().any(|option| option.eq_ignore_ascii_case(name)) && !is_for_all(known)
    };
    fields.retain(|field| {
        let framed = coded && field.known == Known::ContentLength; // RFC 9112 §6.3: the coding has framed it
        !framed && !is_hop_by_hop(field.known) && !is_listed(field.name, field.known)
    });
    if let Some(upgrade) = upgrade {
        fields.push(b"upgrade", &upgrade);
        fields.push(b"connection", b"upgrade");
    }
}

/// RFC 9110 §7.6.1: fields that mean this connection only. `Proxy-Authorization` speaks to us, not to the
/// service.
pub(crate) fn is_hop_by_hop(known: Known) -> bool {
    HOP_BY_HOP.has(known)
}

const HOP_BY_HOP: KnownSet = KnownSet::of(&[
    Known::Connection,
    Known::KeepAlive,
    Known::ProxyConnection,
    Known::Te,
    Known::TransferEncoding,
    Known::Upgrade,
    Known::ProxyAuthorization,
    Known::ProxyAuthenticate,
]);

/// Whether `Connection` lists a field.
fn is_listed(name: &[u8], known: Known, fields: &Fields) -> bool {
    !is_for_all(known) && options(fields).any(|option| option.as_bytes().eq_ignore_ascii_case(name))
}

/// A few are for all recipients whatever `Connection` says: a client that lists them tries to hide them from
/// the service.
fn is_for_all(known: Known) -> bool {
    matches!(
        known,
        Known::Host | Known::ContentLength | Known::Trailer | Known::Cookie | Known::Authorization
    )
}

/// HTTP/2 may split `Cookie`; HTTP/1.1 may not (RFC 9113 §8.2.3).
fn cookies(fields: &Fields, count: usize, put: &mut impl FnMut(&[u8], &[u8])) {
    let mut crumbs = fields.all_known(Known::Cookie);
    match count {
        0 => {}
        1 => put(b"cookie", crumbs.next().unwrap_or_default()),
        _ => put(b"cookie", &crumbs.collect::<Vec<_>>().join(&b"; "[..])),
    }
}

/// Hop-by-hop fields that this hop wants as well: an upgrade, and trailers.
fn hop_options(asked: &Asked, put: &mut impl FnMut(&[u8], &[u8])) {
    let head = &asked.head;
    let te = head.fields.all_known(Known::Te).flat_map(|te| te.split(|byte| *byte == b','));
    let trailers = te.into_iter().any(|te| te.trim_ascii().eq_ignore_ascii_case(b"trailers"));
    let upgrade = wants_upgrade(head);
    if trailers {
        put(b"te", b"trailers");
    }
    if let Some(upgrade) = upgrade {
        put(b"upgrade", upgrade.as_bytes());
    }
    match (trailers, upgrade.is_some()) {
        (true, true) => put(b"connection", b"te, upgrade"),
        (true, false) => put(b"connection", b"te"),
        (false, true) => put(b"connection", b"upgrade"),
        (false, false) => {}
    }
}

/// Says for whom the request is forwarded. What is there already was written by a hop of ours.
fn forwarded(asked: &Asked, seen: &Seen, put: &mut impl FnMut(&[u8], &[u8])) {
    let mut room = [0; ADDRESS];
    let peer = text_of(asked.peer.ip().to_canonical(), &mut room);
    if seen.forwarded_for {
        let mut chain: Vec<&[u8]> = asked.head.fields.all_known(Known::ForwardedFor).collect();
        chain.push(peer);
        put(b"x-forwarded-for", &chain.join(&b", "[..]));
    } else {
        put(b"x-forwarded-for", peer);
    }
    if !seen.forwarded_proto {
        put(b"x-forwarded-proto", if asked.head.secure { b"https" } else { b"http" });
    }
    if !seen.forwarded_host && !asked.head.authority.is_empty() {
        put(b"x-forwarded-host", asked.head.authority.as_bytes());
    }
    if let Some(caller) = asked.caller() {
        put(CALLER, caller.as_str().as_bytes());
    }
}

/// Longest text of an address: that of IPv6 has 39 characters at most.
const ADDRESS: usize = 40;

/// An address as text; of IPv4, which most are, without formatting machinery.
fn text_of(ip: IpAddr, room: &mut [u8; ADDRESS]) -> &[u8] {
    let mut length = 0;
    let mut put = |text: &[u8]| {
        room[length..length + text.len()].copy_from_slice(text);
        length += text.len();
    };
    match ip {
        IpAddr::V4(ip) => {
            let mut number = Number::default();
            for (at, octet) in ip.octets().into_iter().enumerate() {
                if at > 0 {
                    put(b".");
                }
                put(number.of(octet.into()));
            }
        }
        IpAddr::V6(ip) => put(ip.to_string().as_bytes()),
    }
    &room[..length]
}

/// `Via` (RFC 9110 §7.6.3) also shows a request that goes in circles.
pub(super) fn via(fields: &Fields, limits: &Limits) -> Result<(), Failure> {
    let all = fields.all_known(Known::Via).flat_map(|value| value.split(|byte| *byte == b','));
    let hops = all.filter(|hop| hop.trim_ascii() == VIA_NAME.as_bytes()).count();
    if hops >= limits.hops {
        let detail = format!("the request passed through Atoll {hops} times");
        return Err(Failure::new(Kind::Loop, detail));
    }
    Ok(())
}
