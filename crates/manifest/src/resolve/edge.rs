//! `gateway.tls`, `.auth` and `.limits` → certificates, who may come in, and what is allowed at most.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use kit::units::Bytes;

use super::guard::{not_zero, units};
use crate::fault::Fault;
use crate::spec::{Certificate, EdgeLimits, Jwt, JwtKeys};
use crate::text::At;
use crate::text::decode::{Faults, shown};
use crate::text::gateway::{GatewayText, JwtText, LimitsText, TlsLong, TlsWord};
use crate::text::scalar::{Size, Time};
use crate::text::shape::{Form, Switch};

/// Certificates at most.
const MAX_CERTIFICATES: usize = 64;
/// Names of a development certificate at most.
const MAX_NAMES: usize = 32;
/// Clocks that are further apart than this are wrong.
const MAX_LEEWAY: Duration = Duration::from_secs(3600);
/// Names of a development certificate where the file says none.
const DEVELOPMENT: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// The certificates of the gateway, the first for clients that name no host.
pub(crate) fn certificates(gateway: &GatewayText, faults: &mut Faults) -> Vec<Certificate> {
    let Some(at) = &gateway.tls else { return Vec::new() };
    let list = match &at.value {
        Switch::Plain(false) => return Vec::new(),
        Switch::Plain(true) => return vec![development()],
        Switch::Detail(list) => list,
    };
    if list.0.is_empty() {
        let fault = Fault::error("A0204", at.span, "there is no certificate");
        faults.add(fault.hint("write `{ cert: …, key: … }`, or `development`"));
    }
    if list.0.len() > MAX_CERTIFICATES {
        faults.bad_value(
            at.key,
            format!("more than {MAX_CERTIFICATES} certificates"),
            "one may hold many names",
        );
    }
    let one = |item: &At<Form<TlsWord, TlsLong>>| match &item.value {
        Form::Short(TlsWord::Development) => Some(development()),
        Form::Long(long) => certificate(&item.with((**long).clone()), faults),
    };
    list.0.iter().take(MAX_CERTIFICATES).filter_map(one).collect()
}

fn development() -> Certificate {
    Certificate::Development { names: DEVELOPMENT.map(str::to_owned).to_vec() }
}

fn certificate(at: &At<TlsLong>, faults: &mut Faults) -> Option<Certificate> {
    let TlsLong { cert, key, development: names, .. } = &at.value;
    if let Some(names) = names {
        if let Some(file) = cert.as_ref().or(key.as_ref()) {
            let fault =
                Fault::error("A0203", file.key, "a certificate comes from files or from Atoll, not both");
            faults.add(fault.also(names.key, "from Atoll").hint("write two entries"));
        }
        return match &names.value {
            Switch::Plain(true) => Some(development()),
            Switch::Plain(false) => {
                faults.bad_value(names.span, "this is no certificate", "take the entry out");
                None
            }
            Switch::Detail(list) => Some(for_names(&names.with(&list.0), faults)),
        };
    }
    match (cert, key) {
        (Some(cert), Some(key)) => {
            Some(Certificate::Files { cert: file(cert, faults)?, key: file(key, faults)? })
        }
        (Some(_), None) => missing(at, "key", faults),
        (None, Some(_)) => missing(at, "cert", faults),
        (None, None) => missing(at, "cert", faults),
    }
}

fn missing<T>(at: &At<TlsLong>, key: &str, faults: &mut Faults) -> Option<T> {
    let fault = Fault::error("A0204", at.span, format!("a certificate needs the key `{key}`"));
    faults.add(
        fault.label(format!("`{key}` is missing")).hint("write `{ cert: …, key: … }`, or `development`"),
    );
    None
}

fn for_names(names: &At<&Vec<At<String>>>, faults: &mut Faults) -> Certificate {
    if names.value.is_empty() || names.value.len() > MAX_NAMES {
        let message = format!("a certificate is for one name to {MAX_NAMES}");
        faults.bad_value(names.span, message, "leave the list out: it is for this machine");
    }
    for name in names.value.iter() {
        if !is_name(name) {
            let message = format!("`{}` is neither a host nor an address", shown(name));
            faults.bad_value(
                name.span,
                message,
                "write it like `shop.localhost`, `*.shop.test` or `10.0.0.5`",
            );
        }
    }
    Certificate::Development { names: names.value.iter().map(|name| name.value.clone()).collect() }
}

fn is_name(name: &str) -> bool {
    name.parse::<std::net::IpAddr>().is_ok() || super::routes::is_host(&name.to_ascii_lowercase())
}

/// A file by its path, which is absolute since the file was settled. It may appear later: the node looks.
fn file(path: &At<String>, faults: &mut Faults) -> Option<PathBuf> {
    if path.trim().is_empty() {
        faults.bad_value(
            path.span,
            "there is no path here",
            "name a file, relative to the project directory",
        );
        return None;
    }
    if path.contains("://") {
        let message = format!("`{}` is not a file", shown(path));
        faults.bad_value(
            path.span,
            message,
            "fetch it into a file and name that; it is read again when it changes",
        );
        return None;
    }
    Some(PathBuf::from(path.value.clone()))
}

/// Who may come in, by name.
pub(crate) fn auth(gateway: &GatewayText, faults: &mut Faults) -> BTreeMap<String, Jwt> {
    let mut schemes = BTreeMap::new();
    for (name, at) in gateway.auth.iter().flat_map(|auth| &auth.0) {
        if name.trim().is_empty() {
            faults.bad_value(at.key, "an entry of `auth` has a name", "write it like `customer`");
        }
        let Some(jwt) = &at.value.jwt else { continue }; // a missing key was noted
        if let Some(jwt) = one_jwt(jwt, faults) {
            schemes.insert(name.clone(), jwt);
        }
    }
    schemes
}

fn one_jwt(at: &At<JwtText>, faults: &mut Faults) -> Option<Jwt> {
    let JwtText { jwks, key, secret, issuer, audience, leeway, .. } = &at.value;
    let written: Vec<&At<String>> = [jwks, key, secret].into_iter().flatten().collect();
    match written[..] {
        [] => {
            let fault = Fault::error("A0204", at.span, "nothing says with what tokens are checked");
            faults.add(fault.hint("add `jwks: FILE`, `key: FILE` or `secret: FILE`"));
            return None;
        }
        [first, second, ..] => {
            let fault = Fault::error("A0203", second.key, "tokens are checked against one file");
            faults
                .add(fault.also(first.key, "the first").hint("keep one of them; a JWKS may hold many keys"));
            return None;
        }
        [_] => {}
    }
    let keys = match (jwks, key, secret) {
        (Some(jwks), ..) => JwtKeys::Jwks(file(jwks, faults)?),
        (_, Some(key), _) => JwtKeys::PublicKey(file(key, faults)?),
        (.., secret) => JwtKeys::Secret(file(secret.as_ref()?, faults)?),
    };
    if let Some(issuer) = issuer.as_ref().filter(|issuer| issuer.is_empty()) {
        faults.bad_value(issuer.span, "an empty issuer is nobody", "leave `issuer` out to take any");
    }
    if let Some(list) = audience {
        if list.0.is_empty() {
            faults.bad_value(list.span, "an empty list lets nobody in", "leave `audience` out to take any");
        }
        for name in list.0.iter().filter(|name| name.is_empty()) {
            faults.bad_value(name.span, "an empty audience is nobody", "leave `audience` out to take any");
        }
    }
    if let Some(leeway) = leeway.as_ref().filter(|leeway| leeway.value.0 > MAX_LEEWAY) {
        let message = format!("a leeway of more than {}", units(MAX_LEEWAY));
        faults.bad_value(leeway.span, message, "write it like `30s`, and see that clocks are right");
    }
    Some(Jwt {
        keys,
        issuer: issuer.as_ref().map(|at| at.value.clone()),
        audience: audience.iter().flat_map(|list| &list.0).map(|at| at.value.clone()).collect(),
        leeway: leeway.as_ref().map_or(Jwt::LEEWAY, |at| at.value.0),
    })
}

/// What is allowed at most.
pub(crate) fn limits(gateway: &GatewayText, faults: &mut Faults) -> EdgeLimits {
    let Some(at) = &gateway.limits else { return EdgeLimits::default() };
    let LimitsText { connections, header_bytes, headers, body_bytes, streams, header_read, idle, .. } =
        &at.value;
    EdgeLimits {
        connections: count(connections, 1..=10_000_000, faults),
        header_bytes: bytes(header_bytes, 512..=1 << 20, faults),
        headers: count(headers, 4..=10_000, faults),
        body_bytes: match body_bytes {
            Some(At { value: Size(None), .. }) => Some(Bytes(u64::MAX)),
            written => bytes(written, 1..=u64::MAX, faults),
        },
        streams: count(streams, 1..=100_000, faults),
        header_read: time(header_read, faults),
        idle: time(idle, faults),
    }
}

fn count(
    written: &Option<At<u32>>,
    range: std::ops::RangeInclusive<u32>,
    faults: &mut Faults,
) -> Option<u32> {
    let at = written.as_ref()?;
    if !range.contains(&at.value) {
        let message = format!("`{}` is not a number from {} to {}", at.value, range.start(), range.end());
        faults.bad_value(at.span, message, "leave it out for the default");
    }
    Some(at.value)
}

fn bytes(
    written: &Option<At<Size>>,
    range: std::ops::RangeInclusive<u64>,
    faults: &mut Faults,
) -> Option<Bytes> {
    let at = written.as_ref()?;
    let size = at.value.0;
    if !size.is_some_and(|size| range.contains(&size.0)) {
        let message = match *range.end() {
            u64::MAX => "there is no room for anything".to_owned(),
            end => format!("a size goes from {} to {}", Bytes(*range.start()), Bytes(end)),
        };
        faults.bad_value(at.span, message, "leave it out for the default");
    }
    size
}

fn time(written: &Option<At<Time>>, faults: &mut Faults) -> Option<Duration> {
    let at = written.as_ref()?;
    not_zero(at, "a time of zero closes every connection", "leave it out for the default", faults);
    Some(at.value.0)
}
