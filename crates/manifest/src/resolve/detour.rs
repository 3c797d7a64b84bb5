//! Requests that go another way: `fallback`, `split`, `mirror`, and faults made on purpose.
//!
//! That the services they name exist was seen to when the file was settled.

use kit::units::Share;

use super::guard::{header_name, headers, not_zero};
use crate::fault::{Fault, Span};
use crate::spec::{self, Fallback, Mirror, ServiceName, Split};
use crate::text::At;
use crate::text::decode::{Faults, shown};
use crate::text::guard::{FallbackText, FaultText, MirrorLong, SplitText};
use crate::text::scalar::Status;
use crate::text::shape::{Form, Items};

/// Faults on purpose, or splits, of one place at most.
const MAX_LIST: usize = 16;
/// The status of a fixed answer that does not say one.
const STATUS: u16 = 200;
/// Bytes of a fixed answer's body at most: it is kept in memory.
const MAX_BODY: usize = 64 << 10;
/// Fields that frame an answer or belong to a connection: Atoll writes these itself.
const FRAMING: [&str; 8] = [
    "connection",
    "content-length",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// What is answered when the service cannot.
pub(crate) fn fallback(
    at: &At<FallbackText>,
    guarded: Option<&ServiceName>,
    faults: &mut Faults,
) -> Option<Fallback> {
    let written = &at.value;
    let fixed = [
        written.status.as_ref().map(|at| at.key),
        written.headers.as_ref().map(|at| at.key),
        written.body.as_ref().map(|at| at.key),
    ];
    let fixed = fixed.into_iter().flatten().next();
    let stale = written.stale.as_ref().map(|at| at.key);
    let other = written.from.as_ref().map(|at| at.key).or(written.path.as_ref().map(|at| at.key));
    let kinds: Vec<Span> = [fixed, stale, other].into_iter().flatten().collect();
    match kinds[..] {
        [] => {
            let fault = Fault::error("A0204", at.span, "the fallback does not say what to answer");
            faults.add(fault.hint("write `{ body: … }`, `{ stale: 10m }` or `{ from: service, path: /x }`"));
            return None;
        }
        [first, second, ..] => {
            let fault = Fault::error("A0203", second, "a fallback is one answer, and this is a second one");
            let hint = "keep a fixed answer (`status`, `headers`, `body`), `stale`, or `from` and `path`";
            faults.add(fault.also(first, "the first").hint(hint));
            return None;
        }
        [_] => {}
    }
    if let Some(stale) = &written.stale {
        not_zero(stale, "an answer is older than that at once", "write it like `10m`", faults);
        return Some(Fallback::Stale { max_age: stale.value.0 });
    }
    if other.is_some() {
        return elsewhere(written, guarded, faults);
    }
    let mut list = Vec::new();
    for (name, value) in written.headers.iter().flat_map(|headers| &headers.0) {
        let Some(name) = header_name(name, value.key, faults) else { continue };
        if FRAMING.contains(&name.as_str()) {
            faults.bad_value(value.key, format!("`{name}` is written by Atoll"), "take it out");
        } else if http::HeaderValue::from_str(value).is_err() {
            faults.bad_value(
                value.span,
                format!("the value of `{name}` has characters that no header has"),
                "take out line breaks and control characters",
            );
        } else {
            list.push((name, value.value.clone()));
        }
    }
    if let Some(body) = written.body.as_ref().filter(|body| body.len() > MAX_BODY) {
        let message = format!("a body of more than {} KiB", MAX_BODY >> 10);
        faults.bad_value(body.span, message, "answer with `from` and `path` instead");
    }
    Some(Fallback::Static {
        status: written.status.as_ref().map_or(STATUS, |at| at.value.0),
        headers: list,
        body: written.body.as_ref().map(|at| at.value.clone()).unwrap_or_default(),
    })
}

fn elsewhere(written: &FallbackText, guarded: Option<&ServiceName>, faults: &mut Faults) -> Option<Fallback> {
    let service = match &written.from {
        Some(from) => Some(other_service(from, "falls back on", guarded, faults)?),
        None => None,
    };
    let path = match &written.path {
        Some(path) => Some(target(path, faults)?),
        None => None,
    };
    Some(Fallback::From { service, path })
}

/// A path with or without a query, as it stands in a request.
pub(super) fn target(path: &At<String>, faults: &mut Faults) -> Option<String> {
    let fits = path.starts_with('/') && path.bytes().all(|b| b.is_ascii_graphic() && b != b'#' && b != b'\\');
    let dots = path.split('?').next().unwrap_or_default().split('/').any(|part| matches!(part, "." | ".."));
    if fits && !dots && !path.contains(['{', '}']) {
        return Some(path.value.clone());
    }
    let message = format!("`{}` is not a path that can be asked", shown(path));
    faults.bad_value(path.span, message, "write it in full, such as `/popular` or `/books?top=10`");
    None
}

/// Faults made on purpose.
pub(crate) fn on_purpose(at: &At<Items<FaultText>>, faults: &mut Faults) -> Vec<spec::Fault> {
    bounded(at, "faults", faults);
    at.0.iter().take(MAX_LIST).filter_map(|item| one_fault(item, faults)).collect()
}

fn one_fault(at: &At<FaultText>, faults: &mut Faults) -> Option<spec::Fault> {
    let written = &at.value;
    if written.delay.is_none() && written.abort.is_none() && written.truncate.is_none() {
        let fault = Fault::error("A0204", at.span, "the fault does not say what happens");
        faults.add(fault.hint("add `delay: 100ms`, `abort: 503` or `truncate: 1k`"));
        return None;
    }
    if let Some(delay) = &written.delay {
        not_zero(delay, "a delay of zero is none", "take it out", faults);
    }
    if let (Some(abort), Some(truncate)) = (&written.abort, &written.truncate) {
        let message = "an answer that Atoll makes itself is not broken off";
        let fault = Fault::error("A0203", truncate.key, message).also(abort.key, "it is made here");
        faults.add(fault.hint("keep one of them, or write two faults"));
    }
    let truncate = match &written.truncate {
        Some(at) if at.value.0.is_none() => {
            faults.bad_value(
                at.span,
                "an answer is broken off after a number of bytes",
                "write it like `1k`",
            );
            None
        }
        Some(at) => at.value.0,
        None => None,
    };
    Some(spec::Fault {
        share: written.share.as_ref().map_or(Share::ALL, |at| at.value.0),
        headers: headers(written.headers.as_ref(), faults),
        delay: written.delay.as_ref().map(|at| at.value.0),
        abort: written.abort.as_ref().map(|At { value: Status(status), .. }| *status),
        truncate,
    })
}

/// Other services that take a part of the requests.
pub(crate) fn split(
    at: &At<Items<SplitText>>,
    guarded: Option<&ServiceName>,
    faults: &mut Faults,
) -> Vec<Split> {
    bounded(at, "splits", faults);
    let list: Vec<Split> =
        at.0.iter().take(MAX_LIST).filter_map(|item| one_split(item, guarded, faults)).collect();
    // Shares of what matches may overlap; those of everything may not.
    let plain = list.iter().filter(|split| split.headers.is_empty() && split.cookies.is_empty());
    let sum: u64 = plain.map(|split| u64::from(split.share.millionths())).sum();
    if sum > u64::from(Share::ALL.millionths()) {
        let message = format!("the shares add up to {}%", sum as f64 / 10_000.0);
        faults.bad_value(at.key, message, "together they take at most all: 100%");
    }
    list
}

fn one_split(at: &At<SplitText>, guarded: Option<&ServiceName>, faults: &mut Faults) -> Option<Split> {
    let written = &at.value;
    let to = other_service(written.to.as_ref()?, "splits to", guarded, faults)?;
    if written.share.is_none() && written.headers.is_none() && written.cookies.is_none() {
        let fault = Fault::error("A0204", at.span, "the split does not say which requests go there");
        faults.add(fault.hint("add `share: 10%`, `headers` or `cookies`"));
    }
    let mut cookies = Vec::new();
    for (name, value) in written.cookies.iter().flat_map(|cookies| &cookies.0) {
        if let Some(name) = cookie_name(name, value.key, faults) {
            cookies.push((name, value.0.clone()));
        }
    }
    Some(Split {
        to,
        share: written.share.as_ref().map_or(Share::ALL, |at| at.value.0),
        headers: headers(written.headers.as_ref(), faults),
        cookies,
    })
}

/// The name of a cookie: a token (RFC 6265, section 4.1.1).
pub(crate) fn cookie_name(text: &str, span: Span, faults: &mut Faults) -> Option<String> {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if !text.is_empty() && text.bytes().all(token) {
        return Some(text.to_owned());
    }
    faults.bad_value(span, format!("`{}` is not a cookie's name", shown(text)), "write it like `session`");
    None
}

/// A service that sees copies.
pub(crate) fn mirror(
    at: &At<Form<String, MirrorLong>>,
    guarded: Option<&ServiceName>,
    faults: &mut Faults,
) -> Option<Mirror> {
    let (to, share) = match &at.value {
        Form::Short(to) => (at.with(to.clone()), None),
        Form::Long(long) => (long.to.clone()?, long.share.as_ref()),
    };
    Some(Mirror {
        to: other_service(&to, "is mirrored to", guarded, faults)?,
        share: share.map_or(Share::ALL, |at| at.value.0),
    })
}

/// A service that is named in a guard; not the guarded one itself.
fn other_service(
    name: &At<String>,
    verb: &str,
    guarded: Option<&ServiceName>,
    faults: &mut Faults,
) -> Option<ServiceName> {
    let parsed: ServiceName = name.parse().ok()?; // that it is none was noted when it was looked up
    if guarded == Some(&parsed) {
        let fault = Fault::error("A0319", name.span, format!("`{parsed}` {verb} itself"));
        faults.add(fault.label("the service that is guarded").hint("name another one, or take it out"));
        return None;
    }
    Some(parsed)
}

fn bounded<T>(at: &At<Items<T>>, what: &str, faults: &mut Faults) {
    if at.0.len() > MAX_LIST {
        faults.bad_value(at.key, format!("more than {MAX_LIST} {what}"), "keep those that matter");
    }
}
