//! Which route takes a request. Pure: the table compiles into this, the tests compare it with a naive
//! matcher.
//!
//! Of all routes that take a request the most specific wins, compared in this order:
//! 1. host: exact, then `*.` with the longer suffix first, then none;
//! 2. path, segment by segment: literal, then `{name}`, then `{*rest}`;
//! 3. method: listed, then `HEAD` through a listed `GET`, then any;
//! 4. more required headers;
//! 5. the order in which the routes were added.
//!
//! A route that does not take the method or the headers does not hide a less specific one that does.

use std::collections::HashMap;

use http::{HeaderName, Method};

/// What a request must be like.
#[derive(Clone, Debug, Default)]
pub(crate) struct Criteria {
    /// Lower case; `*.example.com` takes one label or more in front. `None`: any.
    pub(crate) host: Option<String>,
    /// Segments are literal, `{name}` (one, not empty), or at the end `{*name}` (what is left, if only the
    /// empty text after a slash).
    pub(crate) path: String,
    /// Empty: all.
    pub(crate) methods: Vec<Method>,
    /// Each with its exact value, or `None` for any.
    pub(crate) headers: Vec<(HeaderName, Option<String>)>,
}

/// Why no route takes a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Miss {
    /// Nothing at this host and path.
    NoRoute,
    /// Something, but for these methods only.
    Method(Vec<Method>),
}

/// What the router asks about a request.
pub(crate) struct Wanted<'a> {
    /// Lower case, without a port.
    pub(crate) host: Option<&'a str>,
    /// As it came, or normalised by [`normal_path`].
    pub(crate) path: &'a str,
    pub(crate) method: &'a Method,
}

/// Routes to values of `T`.
#[derive(Debug)]
pub(crate) struct Router<T> {
    entries: Vec<Entry<T>>,
    exact: HashMap<String, Node>,
    /// Suffixes with their dot (`.example.com`), longest first.
    wildcard: Vec<(String, Node)>,
    any: Node,
}

#[derive(Debug)]
struct Entry<T> {
    criteria: Criteria,
    value: T,
}

#[derive(Debug, Default)]
struct Node {
    literal: HashMap<Box<str>, Node>,
    one: Option<Box<Node>>,
    /// Entries whose pattern ends here in `{*rest}`.
    rest: Vec<usize>,
    /// Entries whose pattern ends here.
    here: Vec<usize>,
}

/// What a pattern says of one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Segment<'a> {
    Literal(&'a str),
    One,
    Rest,
}

/// The segments of a pattern; `{*rest}` counts only at the end.
pub(crate) fn segments(pattern: &str) -> Vec<Segment<'_>> {
    let texts: Vec<&str> = pattern.strip_prefix('/').unwrap_or(pattern).split('/').collect();
    let last = texts.len() - 1;
    let braced = |text: &str| text.len() > 2 && text.starts_with('{') && text.ends_with('}');
    let segment = |(index, text)| match text {
        text if braced(text) && text.starts_with("{*") && index == last => Segment::Rest,
        text if braced(text) && !text.starts_with("{*") => Segment::One,
        text => Segment::Literal(text),
    };
    texts.into_iter().enumerate().map(segment).collect()
}

impl<T> Default for Router<T> {
    fn default() -> Self {
        Self::new([])
    }
}

impl<T> Router<T> {
    /// A router over these routes.
    pub(crate) fn new(routes: impl IntoIterator<Item = (Criteria, T)>) -> Self {
        let entries: Vec<_> = routes.into_iter().map(|(criteria, value)| Entry { criteria, value }).collect();
        let mut exact: HashMap<String, Node> = HashMap::new();
        let mut wildcard: HashMap<String, Node> = HashMap::new();
        let mut any = Node::default();
        for (index, Entry { criteria, .. }) in entries.iter().enumerate() {
            let root = match criteria.host.as_deref() {
                None => &mut any,
                Some(host) => match host.strip_prefix('*') {
                    Some(suffix) => wildcard.entry(suffix.to_owned()).or_default(),
                    None => exact.entry(host.to_owned()).or_default(),
                },
            };
            root.add(&segments(&criteria.path), index);
        }
        let mut wildcard: Vec<_> = wildcard.into_iter().collect();
        wildcard.sort_by_key(|(suffix, _)| std::cmp::Reverse(suffix.len()));
        Self { entries, exact, wildcard, any }
    }

    /// The value of the route that takes a request. `header` tells whether the request has a header, with
    /// the value where one is given.
    pub(crate) fn find(
        &self,
        wanted: &Wanted<'_>,
        header: impl Fn(&HeaderName, Option<&str>) -> bool,
    ) -> Result<&T, Miss> {
        let mut allowed = Vec::new();
        let path = wanted.path.strip_prefix('/').unwrap_or(wanted.path);
        let mut choose = |indices: &[usize]| self.choose(indices, wanted.method, &header, &mut allowed);
        let found = self.roots(wanted.host).find_map(|root| root.walk(Some(path), &mut choose));
        match found.and_then(|index| self.entries.get(index)) {
            Some(entry) => Ok(&entry.value),
            None if allowed.is_empty() => Err(Miss::NoRoute),
            None => Err(Miss::Method(with_head(allowed))),
        }
    }

    /// The roots that take a host, most specific first.
    fn roots<'a>(&'a self, host: Option<&'a str>) -> impl Iterator<Item = &'a Node> {
        let exact = host.and_then(|host| self.exact.get(host));
        let wildcard = self.wildcard.iter().filter_map(move |(suffix, root)| {
            host.filter(|host| host.len() > suffix.len() && host.ends_with(suffix.as_str())).map(|_| root)
        });
        exact.into_iter().chain(wildcard).chain(std::iter::once(&self.any))
    }

    /// Of entries with one path the one that takes the request best; notes what methods the others take.
    fn choose(
        &self,
        indices: &[usize],
        method: &Method,
        header: &impl Fn(&HeaderName, Option<&str>) -> bool,
        allowed: &mut Vec<Method>,
    ) -> Option<usize> {
        let mut best: Option<(u8, usize, usize)> = None;
        for &index in indices {
            let Some(Entry { criteria, .. }) = self.entries.get(index) else { continue };
            if !criteria.headers.iter().all(|(name, value)| header(name, value.as_deref())) {
                continue;
            }
            let Some(rank) = method_rank(&criteria.methods, method) else {
                allowed.extend(
                    criteria.methods.iter().filter(|m| !allowed.contains(m)).cloned().collect::<Vec<_>>(),
                );
                continue;
            };
            let key = (rank, usize::MAX - criteria.headers.len(), index);
            best = Some(best.map_or(key, |best| best.min(key)));
        }
        best.map(|(_, _, index)| index)
    }
}

/// How well a list of methods takes one: 0 listed, 1 `HEAD` through `GET` (RFC 9110 §9.3.2), 2 any.
fn method_rank(methods: &[Method], method: &Method) -> Option<u8> {
    if methods.is_empty() {
        Some(2)
    } else if methods.contains(method) {
        Some(0)
    } else if *method == Method::HEAD && methods.contains(&Method::GET) {
        Some(1)
    } else {
        None
    }
}

fn with_head(mut methods: Vec<Method>) -> Vec<Method> {
    if methods.contains(&Method::GET) && !methods.contains(&Method::HEAD) {
        methods.push(Method::HEAD);
    }
    methods.sort_by(|a, b| a.as_str().cmp(b.as_str()));
    methods
}

impl Node {
    fn add(&mut self, pattern: &[Segment<'_>], index: usize) {
        match pattern {
            [] => self.here.push(index),
            [Segment::Rest, ..] => self.rest.push(index),
            [Segment::One, left @ ..] => self.one.get_or_insert_default().add(left, index),
            [Segment::Literal(text), left @ ..] => {
                self.literal.entry((*text).into()).or_default().add(left, index);
            }
        }
    }

    /// Visits what takes the path, most specific first, until `choose` takes one. `None`: no segment is
    /// left. It goes no deeper than the patterns do and sees no node twice.
    fn walk(&self, path: Option<&str>, choose: &mut impl FnMut(&[usize]) -> Option<usize>) -> Option<usize> {
        let Some(path) = path else { return choose(&self.here) };
        let slash = path.bytes().position(|byte| byte == b'/'); // segments are short: no search machinery
        let (segment, left) = match slash.and_then(|at| path.split_at_checked(at)) {
            Some((segment, left)) => (segment, left.get(1..)),
            None => (path, None),
        };
        if let Some(found) = self.literal.get(segment).and_then(|node| node.walk(left, choose)) {
            return Some(found);
        }
        if !segment.is_empty()
            && let Some(found) = self.one.as_ref().and_then(|node| node.walk(left, choose))
        {
            return Some(found);
        }
        choose(&self.rest)
    }
}

/// A path as the router compares it: percent-encoded unreserved characters decoded, so that `/%61dmin` is
/// `/admin` (RFC 3986 §6.2.2.2). `None`: the path has a `.` or `..` segment, which the service might
/// resolve to a path that another route guards.
pub(crate) fn normal_path(path: &str) -> Option<std::borrow::Cow<'_, str>> {
    let is_special = |byte: u8| byte == b'%' || byte == b'.';
    if !path.bytes().fold(false, |any, byte| any | is_special(byte)) {
        return Some(path.into()); // as most are
    }
    let normal = if path.contains('%') { decoded(path).into() } else { std::borrow::Cow::Borrowed(path) };
    (!is_dotted(&normal)).then_some(normal)
}

/// Whether somebody would see a `.` or `..` segment in a path whose escapes are in upper case. There are
/// services to which an escaped slash or a backslash parts segments, and `;` begins what does not count.
fn is_dotted(path: &str) -> bool {
    if !path.contains('.') {
        return false;
    }
    let dots = |segment: &str| matches!(segment.split(';').next(), Some("." | ".."));
    if !path.contains(['%', '\\']) {
        return path.split('/').any(dots);
    }
    path.replace("%2F", "/").replace("%5C", "/").replace("%3B", ";").split(['/', '\\']).any(dots)
}

fn decoded(path: &str) -> String {
    let mut text = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = rest.find('%') {
        text.push_str(&rest[..at]);
        let escape = rest.get(at..at + 3);
        let byte = escape.and_then(|escape| u8::from_str_radix(&escape[1..], 16).ok());
        match (byte, escape) {
            (Some(byte), _) if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => {
                text.push(char::from(byte));
                rest = &rest[at + 3..];
            }
            (Some(_), Some(escape)) => {
                text.push_str(&escape.to_ascii_uppercase());
                rest = &rest[at + 3..];
            }
            _ => {
                text.push('%');
                rest = &rest[at + 1..];
            }
        }
    }
    text.push_str(rest);
    text
}

#[cfg(test)]
#[path = "router_tests.rs"]
mod tests;
