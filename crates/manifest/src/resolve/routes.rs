//! `routes` → what the gateway matches on, and no two of them alike.

use std::collections::HashMap;

use super::guard::{self, Guarded};
use crate::fault::{Fault, Span};
use crate::spec::{Guard, LimitKey, Route, ServiceName};
use crate::text::decode::{Faults, nearest, shown};
use crate::text::gateway::GatewayText;
use crate::text::routing::RouteText;
use crate::text::shape::near_hint;
use crate::text::{At, Service};

/// Segments of a path pattern at most.
const MAX_SEGMENTS: usize = 64;

const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"];

/// The routes of a service, in file order; those that are wrong are noted and left out.
pub(crate) fn of_service(
    name: &ServiceName,
    service: &Service,
    gateway: Option<&GatewayText>,
    faults: &mut Faults,
) -> Vec<Route> {
    let routes = service.routes.iter().flat_map(|routes| &routes.0);
    routes.filter_map(|route| one(name, route, gateway, faults)).collect()
}

fn one(
    service: &ServiceName,
    written: &RouteText,
    gateway: Option<&GatewayText>,
    faults: &mut Faults,
) -> Option<Route> {
    let span = written.pattern.span;
    let pattern = match parse_pattern(&written.pattern) {
        Ok(pattern) => pattern,
        Err(bad) => {
            let fault = Fault::error("A0306", span, format!("`{}` is not a route", shown(&written.pattern)));
            faults.add(fault.label(bad.what).hint(bad.hint));
            return None;
        }
    };
    let options = &written.options;
    let host = match &options.host {
        Some(host) => Some(parse_host(host, faults)?),
        None => None,
    };
    let strip_prefix = match &options.strip_prefix {
        Some(prefix) => Some(parse_prefix(prefix, &pattern.path, faults)?),
        None => None,
    };
    let guarded = Guarded { service: Some(service), limit_key: LimitKey::Client };
    let outer = gateway.map(GatewayText::guards).unwrap_or_default();
    Some(Route {
        name: pattern.name,
        methods: pattern.methods,
        path: pattern.path,
        host,
        headers: guard::headers(options.headers.as_ref(), faults),
        auth: options.auth.as_ref().and_then(|auth| scheme(auth, gateway, faults)),
        guard: Guard {
            idempotent: options.idempotent.as_ref().is_some_and(|at| says_yes(&at.value.0)),
            ..guard::guard(options.guards(), outer, &guarded, faults)
        },
        strip_prefix,
        slo: super::slo::slo(options.slo.as_ref(), faults),
    })
}

/// The entry of `gateway.auth` that a route names.
fn scheme(name: &At<String>, gateway: Option<&GatewayText>, faults: &mut Faults) -> Option<String> {
    let known = || gateway.and_then(|gateway| gateway.auth.as_ref()).into_iter().flat_map(|auth| &auth.0);
    if known().any(|(known, _)| *known == name.value) {
        return Some(name.value.clone());
    }
    let fault = Fault::error("A0318", name.span, format!("`gateway.auth` has no entry `{}`", shown(name)));
    let hint = near_hint(name, known().map(|(known, _)| known.as_str())).unwrap_or_else(|| {
        format!("write it: `gateway: {{ auth: {{ {}: {{ jwt: {{ jwks: keys.json }} }} }} }}`", shown(name))
    });
    faults.add(fault.hint(hint));
    None
}

/// `idempotent` is not looked into yet but for this.
fn says_yes(value: &serde_json::Value) -> bool {
    !matches!(value, serde_json::Value::Null | serde_json::Value::Bool(false))
}

/// Methods and path of a route.
#[derive(Debug, PartialEq)]
struct Pattern {
    name: String,
    methods: Vec<http::Method>,
    path: String,
}

/// Why a text is not a route.
#[derive(Debug, PartialEq)]
struct BadPattern {
    what: String,
    hint: String,
}

fn bad<T>(what: impl Into<String>, hint: impl Into<String>) -> Result<T, BadPattern> {
    Err(BadPattern { what: what.into(), hint: hint.into() })
}

/// Reads `GET /books/{id}`, `GET|POST /x`, `ANY /x`, `/x`.
fn parse_pattern(text: &str) -> Result<Pattern, BadPattern> {
    let mut words = text.split_whitespace();
    let (methods, path) = match (words.next(), words.next(), words.next()) {
        (Some(path), None, _) if path.starts_with('/') => ("ANY", path),
        (Some(methods), Some(path), None) => (methods, path),
        (Some(word), None, _) if METHODS.contains(&word) => {
            return bad("the path is missing", format!("write `{word} /path`"));
        }
        (Some(word), None, _) => {
            return bad("a path starts with `/`", format!("write `/{word}` or `GET /{word}`"));
        }
        (None, ..) => return bad("there is nothing here", "write it like `GET /books/{id}`"),
        _ => {
            return bad("methods and a path are all there is", "options go below: `GET /x: { timeout: 1s }`");
        }
    };
    let mut list = Vec::new();
    if methods != "ANY" {
        for word in methods.split('|') {
            if !METHODS.contains(&word) {
                let hint = match nearest(word, METHODS.into_iter().chain(["ANY"])) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => "leave the method out to take them all".to_owned(),
                };
                return bad(format!("`{}` is not a method", shown(word)), hint);
            }
            match http::Method::from_bytes(word.as_bytes()) {
                Ok(method) if !list.contains(&method) => list.push(method),
                _ => return bad(format!("`{word}` is there twice"), "write each method once"),
            }
        }
    }
    check_path(path)?;
    let name = if methods == "ANY" { path.to_owned() } else { format!("{methods} {path}") };
    Ok(Pattern { name, methods: list, path: path.to_owned() })
}

fn check_path(path: &str) -> Result<(), BadPattern> {
    let Some(rest) = path.strip_prefix('/') else {
        return bad("a path starts with `/`", format!("write `/{path}`"));
    };
    if let Some(c) = path.chars().find(|c| !c.is_ascii_graphic() || matches!(c, '?' | '#' | '\\')) {
        return bad(
            format!("a path has no `{}`", c.escape_debug()),
            "percent-encode it; queries take no part in matching",
        );
    }
    let segments: Vec<&str> = rest.split('/').collect();
    if segments.len() > MAX_SEGMENTS {
        return bad(format!("more than {MAX_SEGMENTS} segments"), "end it with `{*rest}`");
    }
    let mut names: Vec<&str> = Vec::new();
    for (place, segment) in segments.iter().enumerate() {
        let last = place + 1 == segments.len();
        if segment.is_empty() && !last {
            return bad("two slashes in a row", "write one");
        }
        if matches!(*segment, "." | "..") {
            return bad(format!("`{segment}` never reaches the gateway"), "write the path it leads to");
        }
        let Some(inner) = segment.strip_prefix('{').and_then(|inner| inner.strip_suffix('}')) else {
            if let Some(name) = segment.strip_prefix(':').filter(|name| !name.is_empty()) {
                return bad("a variable is written between braces", format!("write `{{{name}}}`"));
            }
            if segment.contains(['{', '}']) || segment.contains('*') {
                return bad(
                    "a variable is a whole segment",
                    "write `{name}` between two slashes, `{*rest}` at the end",
                );
            }
            continue;
        };
        let name = inner.strip_prefix('*').unwrap_or(inner);
        if inner.starts_with('*') && !last {
            return bad("`{*…}` takes the rest of the path", "put it at the end");
        }
        let fits = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
        if !fits {
            return bad(
                format!("`{}` is not a name", shown(name)),
                "letters, digits, `_` and `-`, first a letter",
            );
        }
        if names.contains(&name) {
            return bad(format!("`{name}` is there twice"), "give each segment a name of its own");
        }
        names.push(name);
    }
    Ok(())
}

/// Whether this is a host's name, lower case, or `*.` and one.
pub(super) fn is_host(lower: &str) -> bool {
    let plain = lower.strip_prefix("*.").unwrap_or(lower);
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    plain.len() <= 253 && plain.split('.').all(label)
}

fn parse_host(host: &At<String>, faults: &mut Faults) -> Option<String> {
    let lower = host.to_ascii_lowercase();
    if is_host(&lower) {
        return Some(lower);
    }
    let message = format!("`{}` is not a host", shown(host));
    faults.bad_value(
        host.span,
        message,
        "write it like `shop.example.com` or `*.example.com`, without a port",
    );
    None
}

fn parse_prefix(prefix: &At<String>, path: &str, faults: &mut Faults) -> Option<String> {
    let trimmed = prefix.trim_end_matches('/');
    let below = path.strip_prefix(trimmed).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    if trimmed.starts_with('/') && below && !trimmed.contains('{') {
        return Some(trimmed.to_owned());
    }
    let message = format!("`{}` is not at the front of `{}`", shown(prefix), shown(path));
    faults.bad_value(prefix.span, message, "write the first segments of the path, such as `/shop`");
    None
}

/// A route of the app with its place, for [`conflicts`].
pub(crate) struct Placed<'a> {
    /// Its service.
    pub(crate) service: &'a str,
    /// The route.
    pub(crate) route: &'a Route,
    /// Where it stands.
    pub(crate) span: Span,
}

/// Notes every route that another one before it matches just as well.
pub(crate) fn conflicts(routes: &[Placed<'_>], faults: &mut Faults) {
    let mut taken: HashMap<String, &Placed<'_>> = HashMap::new();
    for placed in routes {
        for key in keys(placed.route) {
            let Some(first) = taken.get(&key) else {
                taken.insert(key, placed);
                continue;
            };
            let message = if first.service == placed.service {
                format!("`{}` has the route `{}` twice", shown(placed.service), shown(&placed.route.name))
            } else {
                let (one, two) = (shown(first.service), shown(placed.service));
                format!("`{one}` and `{two}` both want `{}`", shown(&placed.route.name))
            };
            let fault = Fault::error("A0307", placed.span, message).label("the same requests match here");
            let fault = fault.also(first.span, "and here, written first");
            faults.add(fault.hint("change one of them: another path, method, `host` or `headers`"));
            break;
        }
    }
}

/// One key for each method: what a request must look like, the names of variables left out.
fn keys(route: &Route) -> Vec<String> {
    let shape: Vec<&str> = route
        .path
        .split('/')
        .map(|segment| match segment.as_bytes() {
            [b'{', b'*', ..] => "{*}",
            [b'{', ..] => "{}",
            _ => segment,
        })
        .collect();
    let mut headers: Vec<String> =
        route.headers.iter().map(|header| format!("{}={:?}", header.name, header.value)).collect();
    headers.sort();
    let rest = format!("{} {} {}", route.host.as_deref().unwrap_or("*"), shape.join("/"), headers.join(","));
    if route.methods.is_empty() {
        return vec![format!("ANY {rest}")];
    }
    route.methods.iter().map(|method| format!("{method} {rest}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> String {
        match parse_pattern(text) {
            Ok(pattern) => format!("{:?} {} ({})", pattern.methods, pattern.path, pattern.name),
            Err(bad) => format!("{}; {}", bad.what, bad.hint),
        }
    }

    #[test]
    fn routes_are_read_in_every_form() {
        assert_eq!(read("GET /books/{id}"), "[GET] /books/{id} (GET /books/{id})");
        assert_eq!(read("GET|POST  /x/"), "[GET, POST] /x/ (GET|POST /x/)");
        assert_eq!(read("ANY /"), "[] / (/)");
        assert_eq!(read("/files/{*path}"), "[] /files/{*path} (/files/{*path})");
    }

    #[test]
    fn what_is_no_route_is_told_apart() {
        let cases = [
            ("", "there is nothing here; write it like `GET /books/{id}`"),
            ("GET", "the path is missing; write `GET /path`"),
            ("books", "a path starts with `/`; write `/books` or `GET /books`"),
            ("GTE /x", "`GTE` is not a method; did you mean `GET`?"),
            ("get /x", "`get` is not a method; did you mean `GET`?"),
            ("GET /a//b", "two slashes in a row; write one"),
            ("GET /a/:id", "a variable is written between braces; write `{id}`"),
            (
                "GET /a/x{id}",
                "a variable is a whole segment; write `{name}` between two slashes, `{*rest}` at the end",
            ),
            ("GET /{*a}/b", "`{*…}` takes the rest of the path; put it at the end"),
            ("GET /{a}/{a}", "`a` is there twice; give each segment a name of its own"),
            ("GET /a?b=c", "a path has no `?`; percent-encode it; queries take no part in matching"),
            ("GET /a 5s", "methods and a path are all there is; options go below: `GET /x: { timeout: 1s }`"),
        ];
        for (text, expected) in cases {
            assert_eq!(read(text), expected, "{text}");
        }
    }
}
