//! Heads of messages: what is refused, what is not believed, what is passed on. Pure.

use std::net::SocketAddr;

use http::header::{
    CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, FORWARDED, HOST, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE,
    TRAILER, TRANSFER_ENCODING, UPGRADE, VIA,
};
use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version};

use crate::engine::Lines;
use crate::exchange::{Entrance, Exchange, Head};
use crate::failure::{Failure, Kind};
use crate::limits::Limits;

/// The id of a request, kept from whoever sent it or made at the first hop.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The prefix of the path that was taken off.
pub(crate) const FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
/// Which service calls, in the mesh. The proxy alone writes it.
const CALLER: HeaderName = HeaderName::from_static("x-atoll-caller");
/// Headers under this prefix are Atoll's to write.
const OURS: &str = "x-atoll-";
/// How `Via` names this proxy.
const VIA_NAME: &str = "1.1 atoll";
/// Longest `X-Request-Id` that is kept.
const REQUEST_ID_MAX: usize = 128;

/// What a client outside says about clients of its own; at the gateway it is replaced.
const CLAIMS: [HeaderName; 9] = [
    FORWARDED,
    FORWARDED_FOR,
    FORWARDED_HOST,
    FORWARDED_PROTO,
    FORWARDED_PREFIX,
    HeaderName::from_static("x-forwarded-port"),
    HeaderName::from_static("x-forwarded-server"),
    HeaderName::from_static("x-forwarded-ssl"),
    HeaderName::from_static("x-real-ip"),
];

/// Checks what the parser of the engine leaves open, and finds the host.
pub(crate) fn check(head: &mut Head, limits: &Limits) -> Result<(), Failure> {
    let bad = |detail: &str| Failure::new(Kind::BadRequest, detail);
    if head.method == Method::CONNECT {
        return Err(Failure::new(Kind::ConnectRefused, "a gateway opens no tunnels for CONNECT"));
    }
    let listed = head.headers.len() - head.headers.get_all(COOKIE).into_iter().count();
    if listed > limits.headers {
        // HTTP/1's parser has refused these already; HTTP/2's counts bytes only. There a cookie may come in
        // many crumbs (RFC 9113 §8.2.3), which are one line to everybody else.
        let detail = format!("the request's head has more than {} lines", limits.headers);
        return Err(Failure::new(Kind::HeadTooLarge, detail));
    }
    let lines: usize = head.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    let target = head.uri.path_and_query().map_or(0, |target| target.as_str().len());
    if lines + target > limits.header_bytes {
        let detail = format!("the request's head is longer than {} bytes", limits.header_bytes);
        return Err(Failure::new(Kind::HeadTooLarge, detail));
    }
    match head.lines {
        Lines::Fine => {}
        // RFC 9112 §6.1: both at once is an attempt to smuggle a request, or might as well be.
        Lines::TwoFramings => return Err(bad("both Content-Length and Transfer-Encoding are given")),
        Lines::BareLineFeed => return Err(bad("a line of the head ends in a bare line feed")), // §2.2
    }
    if !is_plain(&head.headers) {
        return Err(bad("Transfer-Encoding is not just `chunked`"));
    }
    target_form(head)?;
    let mut hosts = head.headers.get_all(HOST).into_iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(bad("more than one Host is given"));
    }
    if host.is_none() && head.uri.authority().is_none() && head.version == Version::HTTP_11 {
        return Err(bad("Host is missing")); // RFC 9112 §3.2
    }
    let authority = match (head.uri.authority(), host) {
        (Some(authority), Some(host))
            if head.version == Version::HTTP_2
                && !host.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes()) =>
        {
            return Err(bad("Host and :authority differ")); // RFC 9113 §8.3.1
        }
        (Some(authority), _) => Some(authority.clone()),
        (None, Some(host)) if !host.is_empty() => {
            Some(Authority::try_from(host.as_bytes()).map_err(|_| bad("Host is not a host"))?)
        }
        (None, _) => None,
    };
    let Some(authority) = authority else { return Ok(()) };
    if authority.as_str().contains('@') || authority.host().is_empty() {
        return Err(bad("Host is not a host"));
    }
    head.host = Some(authority.host().trim_end_matches('.').to_ascii_lowercase());
    head.authority = HeaderValue::from_str(authority.as_str()).ok();
    Ok(())
}

/// Whether a body has no transfer coding but `chunked`, the one that is undone here: it goes on without any.
pub(crate) fn is_plain(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(TRANSFER_ENCODING).into_iter();
    codings.next().is_none_or(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked"))
        && codings.next().is_none()
}

/// RFC 9112 §3.2: a path, a URL of this protocol, or for `OPTIONS` an asterisk.
fn target_form(head: &Head) -> Result<(), Failure> {
    let bad = |detail: &str| Err(Failure::new(Kind::BadRequest, detail));
    match (head.uri.scheme_str(), head.uri.authority()) {
        (Some("http" | "https"), _) | (None, None) => {}
        (Some(_), _) => return bad("the target's scheme is neither http nor https"),
        (None, Some(_)) => return bad("the target is neither a path nor a URL"),
    }
    let target = head.uri.path_and_query().map_or("", |target| target.as_str());
    if target == "*" && head.method != Method::OPTIONS {
        return bad("the target `*` is for OPTIONS only");
    }
    // The parser lets UTF-8 pass, and with it what a terminal takes for a command.
    if !target.is_ascii() && target.chars().any(char::is_control) {
        return bad("the target has a control character");
    }
    Ok(())
}

/// Drops what a client may not say: Atoll's own headers everywhere, and at the gateway claims about whom
/// the client speaks for.
pub(crate) fn distrust(headers: &mut HeaderMap, entrance: &Entrance) {
    let dropped: Vec<HeaderName> = headers
        .keys()
        .filter(|name| name.as_str().starts_with(OURS) || is_disguised(name))
        .cloned()
        .collect();
    for name in dropped {
        headers.remove(name);
    }
    if *entrance == Entrance::Gateway {
        for name in CLAIMS {
            headers.remove(name);
        }
    }
}

/// CGI, and what took over its names (WSGI, Rack, PHP), reads `X_Real_IP` and `X-Real-IP` as one. So a name
/// that is ours to write, or that frames a message, must not come with an underscore either.
fn is_disguised(name: &HeaderName) -> bool {
    if !name.as_str().contains('_') {
        return false;
    }
    let plain = name.as_str().replace('_', "-");
    let framing = [CONTENT_LENGTH, TRANSFER_ENCODING, REQUEST_ID];
    plain.starts_with(OURS) || framing.iter().chain(&CLAIMS).any(|name| *name == plain.as_str())
}

/// Drops from trailers what does not belong there: many servers merge them into the head (RFC 9110 §6.5.1).
pub(crate) fn clean_trailers(trailers: &mut HeaderMap, entrance: &Entrance) {
    distrust(trailers, entrance);
    let misplaced = |name: &&HeaderName| {
        is_hop_by_hop(name)
            || CLAIMS.contains(name)
            || [HOST, CONTENT_LENGTH, TRAILER, COOKIE, VIA, EXPECT, http::header::AUTHORIZATION]
                .contains(name)
            || [REQUEST_ID, TRACEPARENT, TRACESTATE].contains(name)
    };
    let dropped: Vec<HeaderName> = trailers.keys().filter(misplaced).cloned().collect();
    for name in dropped {
        trailers.remove(name);
    }
}

/// The id that came along, if it is short and plain; else one of 128 random bits.
pub(crate) fn request_id(headers: &HeaderMap) -> HeaderValue {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:=+/@~".contains(byte);
    let sane = |value: &&HeaderValue| {
        (1..=REQUEST_ID_MAX).contains(&value.len()) && value.as_bytes().iter().all(plain)
    };
    if let Some(kept) = headers.get(REQUEST_ID).filter(sane) {
        return kept.clone();
    }
    let mut text = [0u8; 32];
    crate::trace::hex_into(&rand::random::<[u8; 16]>(), &mut text);
    HeaderValue::from_bytes(&text).unwrap_or_else(|_| HeaderValue::from_static("0"))
}

/// The protocol that a request asks to switch to. `h2c` is not one: it would carry requests past the
/// routes (RFC 9113 §3.1 has withdrawn it).
pub(crate) fn wants_upgrade(head: &Head) -> Option<&HeaderValue> {
    let upgrade = head.headers.get(UPGRADE).filter(|_| head.version == Version::HTTP_11)?;
    let listed = options(&head.headers).any(|option| option.eq_ignore_ascii_case("upgrade"));
    let mut protocols = upgrade.to_str().ok()?.split(',').map(str::trim);
    (listed && !protocols.any(|p| p.eq_ignore_ascii_case("h2c"))).then_some(upgrade)
}

/// Whether the client waits for `100 Continue` before it sends its body.
pub(crate) fn expects_continue(head: &Head) -> bool {
    head.headers.get(EXPECT).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

/// How a body is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// There is none.
    None,
    /// So many bytes.
    Known(u64),
    /// As many as there will be.
    Unknown,
}

/// The request as an upstream gets it, in HTTP/1.1.
pub(crate) fn to_upstream(
    exchange: &Exchange,
    endpoint: SocketAddr,
    framing: Framing,
    limits: &Limits,
) -> Result<Request<()>, Failure> {
    let head = &exchange.head;
    let listed: Vec<&str> = options(&head.headers).collect();
    let mut headers = HeaderMap::with_capacity(head.headers.keys_len() + 10);
    let host = head.authority.clone().or_else(|| HeaderValue::from_str(&endpoint.to_string()).ok());
    if let Some(host) = host {
        headers.insert(HOST, host);
    }
    for (name, value) in &head.headers {
        if *name != HOST && !is_hop_by_hop(name) && !is_listed(name, &listed) {
            headers.append(name.clone(), value.clone());
        }
    }
    join_cookies(&mut headers);
    pass_hop_options(head, &mut headers);
    match framing {
        Framing::None if [Method::POST, Method::PUT, Method::PATCH].contains(&head.method) => {
            headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        Framing::None => _ = headers.remove(CONTENT_LENGTH),
        Framing::Known(length) => _ = headers.insert(CONTENT_LENGTH, length.into()),
        Framing::Unknown => {
            headers.remove(CONTENT_LENGTH);
            headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
    }
    forwarded(exchange, &mut headers);
    via(&mut headers, limits)?;
    headers.insert(REQUEST_ID, exchange.request_id.clone());
    headers.insert(TRACEPARENT, exchange.trace.header());
    if exchange.trace.parent.is_none() {
        headers.remove(TRACESTATE); // it belongs to a traceparent that was not valid
    }
    let mut request = Request::new(());
    *request.method_mut() = head.method.clone();
    *request.uri_mut() = match head.uri.path_and_query() {
        Some(target) => Uri::from(target.clone()),
        None => Uri::from(PathAndQuery::from_static("/")),
    };
    *request.headers_mut() = headers;
    Ok(request)
}

/// Takes what belongs to the connection off an answer's head.
pub(crate) fn from_upstream(headers: &mut HeaderMap, switching: bool) {
    let listed: Vec<String> = options(headers).map(str::to_ascii_lowercase).collect();
    let upgrade = headers.get(UPGRADE).filter(|_| switching).cloned();
    if headers.contains_key(TRANSFER_ENCODING) {
        headers.remove(CONTENT_LENGTH); // RFC 9112 §6.3: the transfer coding has framed the body
    }
    let listed: Vec<&str> = listed.iter().map(String::as_str).collect();
    let dropped: Vec<HeaderName> =
        headers.keys().filter(|name| is_hop_by_hop(name) || is_listed(name, &listed)).cloned().collect();
    for name in dropped {
        headers.remove(name);
    }
    if let Some(upgrade) = upgrade {
        headers.insert(UPGRADE, upgrade);
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    }
}

/// RFC 9110 §7.6.1: fields that mean this connection only. `Proxy-Authorization` speaks to us, not to the
/// service.
fn is_hop_by_hop(name: &HeaderName) -> bool {
    [CONNECTION, KEEP_ALIVE, PROXY_CONNECTION, TE, TRANSFER_ENCODING, UPGRADE].contains(name)
        || [PROXY_AUTHORIZATION, PROXY_AUTHENTICATE].contains(name)
}

/// Whether `Connection` lists a field. A few are for all recipients whatever it says: a client that lists
/// them tries to hide them from the service.
fn is_listed(name: &HeaderName, listed: &[&str]) -> bool {
    const FOR_ALL: [HeaderName; 5] = [HOST, CONTENT_LENGTH, TRAILER, COOKIE, http::header::AUTHORIZATION];
    listed.iter().any(|option| name.as_str().eq_ignore_ascii_case(option)) && !FOR_ALL.contains(name)
}

/// The options of `Connection` that name fields (`close` and `keep-alive` name none).
fn options(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = headers.get_all(CONNECTION).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).filter(|option| {
        !option.is_empty()
            && !option.eq_ignore_ascii_case("close")
            && !option.eq_ignore_ascii_case("keep-alive")
    })
}

/// HTTP/2 may split `Cookie`; HTTP/1.1 may not (RFC 9113 §8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let mut crumbs = headers.get_all(COOKIE).into_iter();
    if crumbs.next().is_none() || crumbs.next().is_none() {
        return;
    }
    let crumbs: Vec<&[u8]> = headers.get_all(COOKIE).into_iter().map(HeaderValue::as_bytes).collect();
    if let Ok(joined) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..])) {
        headers.insert(COOKIE, joined);
    }
}

/// Hop-by-hop fields that this hop wants as well: an upgrade, and trailers.
fn pass_hop_options(head: &Head, headers: &mut HeaderMap) {
    let trailers = head.headers.get_all(TE).into_iter().filter_map(|value| value.to_str().ok());
    let trailers = trailers.flat_map(|te| te.split(',')).any(|te| te.trim().eq_ignore_ascii_case("trailers"));
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
        headers.append(CONNECTION, HeaderValue::from_static("te"));
    }
    if let Some(upgrade) = wants_upgrade(head) {
        headers.insert(UPGRADE, upgrade.clone());
        headers.append(CONNECTION, HeaderValue::from_static("upgrade"));
    }
}

/// Says for whom the request is forwarded. What is there already was written by a hop of ours.
fn forwarded(exchange: &Exchange, headers: &mut HeaderMap) {
    let peer = exchange.peer.ip().to_canonical().to_string();
    let chain = match headers.get(FORWARDED_FOR).and_then(|value| value.to_str().ok()) {
        Some(before) => format!("{before}, {peer}"),
        None => peer,
    };
    if let Ok(chain) = HeaderValue::from_str(&chain) {
        headers.insert(FORWARDED_FOR, chain);
    }
    if !headers.contains_key(FORWARDED_PROTO) {
        headers.insert(FORWARDED_PROTO, HeaderValue::from_static("http"));
    }
    if !headers.contains_key(FORWARDED_HOST)
        && let Some(authority) = &exchange.head.authority
    {
        headers.insert(FORWARDED_HOST, authority.clone());
    }
    if let Some(caller) = exchange.caller()
        && let Ok(caller) = HeaderValue::from_str(caller.as_str())
    {
        headers.insert(CALLER, caller);
    }
}

/// Adds this hop to `Via` (RFC 9110 §7.6.3), which also shows a request that goes in circles.
fn via(headers: &mut HeaderMap, limits: &Limits) -> Result<(), Failure> {
    let before: Vec<&[u8]> = headers.get_all(VIA).into_iter().map(HeaderValue::as_bytes).collect();
    let all = before.iter().flat_map(|value| value.split(|byte| *byte == b','));
    let hops = all.filter(|hop| hop.trim_ascii() == VIA_NAME.as_bytes()).count();
    if hops >= limits.hops {
        let detail = format!("the request passed through Atoll {hops} times");
        return Err(Failure::new(Kind::Loop, detail));
    }
    headers.append(VIA, HeaderValue::from_static(VIA_NAME));
    Ok(())
}

#[cfg(test)]
#[path = "head_tests.rs"]
mod tests;
