//! Header fields as they stand on the wire: one text, and where in it each line is. A head is read into
//! this once and written out of it once; no field becomes an object of its own on the way.

use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue};

/// The fields of a head, in order, names spelled as they came.
#[derive(Clone, Default)]
pub struct Fields {
    text: Vec<u8>,
    lines: Vec<Line>,
}

#[derive(Clone, Copy)]
struct Line {
    name: u32,
    value: u32,
    value_len: u32,
    name_len: u16,
    known: Known,
}

/// Names that Atoll itself looks at; told once, when a field is added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Known {
    /// Any other name.
    Other,
    Authorization,
    Connection,
    ContentLength,
    ContentType,
    Cookie,
    Expect,
    Forwarded,
    GrpcTimeout,
    Host,
    KeepAlive,
    ProxyAuthenticate,
    ProxyAuthorization,
    ProxyConnection,
    RequestId,
    /// `X-Request-Timeout-Ms`: what is left of the caller's deadline.
    RequestTimeout,
    RetryAfter,
    ServerTiming,
    Te,
    Traceparent,
    Tracestate,
    Trailer,
    TransferEncoding,
    Upgrade,
    Via,
    ForwardedFor,
    ForwardedHost,
    ForwardedProto,
    /// Further claims about whom a client speaks for (`X-Real-IP`, `X-Forwarded-Port`, …), and `Proxy`, which CGI
    /// would take for the proxy that its own requests should use (CVE-2016-5385).
    Claim,
    /// `X-Atoll-*`.
    Ours,
    /// A name that is ours to write, or that frames a message, with an underscore for a hyphen: CGI and what
    /// took over its names (WSGI, Rack, PHP) read both as one.
    Disguised,
}

impl Known {
    /// What a name is; letters in any case.
    pub(crate) fn of(name: &[u8]) -> Self {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        let found = match name.len() {
            2 if is("te") => Self::Te,
            3 if is("via") => Self::Via,
            4 if is("host") => Self::Host,
            5 if is("proxy") => Self::Claim,
            6 if is("cookie") => Self::Cookie,
            6 if is("expect") => Self::Expect,
            7 if is("trailer") => Self::Trailer,
            7 if is("upgrade") => Self::Upgrade,
            9 if is("forwarded") => Self::Forwarded,
            9 if is("x-real-ip") => Self::Claim,
            10 if is("connection") => Self::Connection,
            10 if is("keep-alive") => Self::KeepAlive,
            10 if is("tracestate") => Self::Tracestate,
            11 if is("traceparent") => Self::Traceparent,
            11 if is("retry-after") => Self::RetryAfter,
            12 if is("content-type") => Self::ContentType,
            12 if is("x-request-id") => Self::RequestId,
            12 if is("grpc-timeout") => Self::GrpcTimeout,
            13 if is("authorization") => Self::Authorization,
            13 if is("server-timing") => Self::ServerTiming,
            14 if is("content-length") => Self::ContentLength,
            15 if is("x-forwarded-for") => Self::ForwardedFor,
            15 if is("x-forwarded-ssl") => Self::Claim,
            16 if is("x-forwarded-host") => Self::ForwardedHost,
            16 if is("x-forwarded-port") => Self::Claim,
            16 if is("proxy-connection") => Self::ProxyConnection,
            17 if is("transfer-encoding") => Self::TransferEncoding,
            17 if is("x-forwarded-proto") => Self::ForwardedProto,
            18 if is("x-forwarded-prefix") => Self::Claim,
            18 if is("x-forwarded-server") => Self::Claim,
            18 if is("proxy-authenticate") => Self::ProxyAuthenticate,
            19 if is("proxy-authorization") => Self::ProxyAuthorization,
            20 if is("x-request-timeout-ms") => Self::RequestTimeout,
            _ => Self::Other,
        };
        if found != Self::Other {
            return found;
        }
        if name.len() >= 8 && name[..8].eq_ignore_ascii_case(b"x-atoll-") {
            return Self::Ours;
        }
        if name.contains(&b'_') { Self::disguised(name) } else { Self::Other }
    }

    #[cold]
    fn disguised(name: &[u8]) -> Self {
        let plain: Vec<u8> = name.iter().map(|byte| if *byte == b'_' { b'-' } else { *byte }).collect();
        match Self::of(&plain) {
            Self::Ours
            | Self::Claim
            | Self::Forwarded
            | Self::ForwardedFor
            | Self::ForwardedHost
            | Self::ForwardedProto
            | Self::ContentLength
            | Self::TransferEncoding
            | Self::RequestId
            | Self::RequestTimeout => Self::Disguised,
            _ => Self::Other,
        }
    }
}

/// One field.
#[derive(Clone, Copy)]
pub(crate) struct Field<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) value: &'a [u8],
    pub(crate) known: Known,
}

impl Fields {
    /// Longest text of all fields together; beyond it nothing is added. Heads are far shorter by
    /// `Limits::header_bytes`.
    const MAX_TEXT: usize = 1 << 24;

    /// No fields.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a field. The name is a token and the value has no control characters but tabs: the parser, or
    /// the types `HeaderName` and `HeaderValue`, have seen to that.
    pub(crate) fn push(&mut self, name: &[u8], value: &[u8]) {
        let at = self.text.len();
        let Ok(name_len) = u16::try_from(name.len()) else { return };
        if at + name.len() + value.len() > Self::MAX_TEXT {
            return;
        }
        self.text.extend_from_slice(name);
        self.text.extend_from_slice(value);
        self.lines.push(Line {
            name: at as u32,
            value: (at + name.len()) as u32,
            value_len: value.len() as u32,
            name_len,
            known: Known::of(name),
        });
    }

    /// Adds a field, beside others of its name.
    pub fn append(&mut self, name: &HeaderName, value: &HeaderValue) {
        self.push(name.as_str().as_bytes(), value.as_bytes());
    }

    /// Sets a field, in place of all of its name.
    pub fn set(&mut self, name: &HeaderName, value: &HeaderValue) {
        self.remove(name);
        self.append(name, value);
    }

    /// Removes all fields of a name. Says whether there were any.
    pub fn remove(&mut self, name: &HeaderName) -> bool {
        let before = self.lines.len();
        let text = &self.text;
        self.lines.retain(|line| !line.name(text).eq_ignore_ascii_case(name.as_str().as_bytes()));
        self.lines.len() != before
    }

    /// Keeps the fields that `keep` says yes to.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(Field<'_>) -> bool) {
        let text = &self.text;
        self.lines.retain(|line| keep(line.field(text)));
    }

    /// The first value of a name.
    pub fn get(&self, name: &HeaderName) -> Option<&[u8]> {
        self.get_all(name).next()
    }

    /// Every value of a name, in order.
    pub fn get_all<'a>(&'a self, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let name = name.clone(); // a standard name is a number: nothing is copied
        let lines = self.lines.iter().map(|line| line.field(&self.text));
        lines
            .filter(move |field| field.name.eq_ignore_ascii_case(name.as_str().as_bytes()))
            .map(|field| field.value)
    }

    /// The first value of a known name.
    pub(crate) fn known(&self, known: Known) -> Option<&[u8]> {
        self.all_known(known).next()
    }

    /// Every value of a known name, in order.
    pub(crate) fn all_known(&self, known: Known) -> impl Iterator<Item = &[u8]> {
        let lines = self.lines.iter().filter(move |line| line.known == known);
        lines.map(|line| line.field(&self.text).value)
    }

    /// Whether there is a field of this name.
    pub(crate) fn has(&self, known: Known) -> bool {
        self.lines.iter().any(|line| line.known == known)
    }

    /// Every field, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Field<'_>> {
        self.lines.iter().map(|line| line.field(&self.text))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Forgets all fields and keeps the memory for the next head.
    pub(crate) fn clear(&mut self) {
        self.text.clear();
        self.lines.clear();
    }

    /// Bytes of memory that [`Self::clear`] would keep.
    pub(crate) fn capacity(&self) -> usize {
        self.text.capacity() + self.lines.capacity() * size_of::<Line>()
    }
}

impl Line {
    fn name<'a>(&self, text: &'a [u8]) -> &'a [u8] {
        let at = self.name as usize;
        text.get(at..at + usize::from(self.name_len)).unwrap_or_default()
    }

    fn field<'a>(&self, text: &'a [u8]) -> Field<'a> {
        let at = self.value as usize;
        let value = text.get(at..at + self.value_len as usize).unwrap_or_default();
        Field { name: self.name(text), value, known: self.known }
    }
}

impl From<&HeaderMap> for Fields {
    fn from(map: &HeaderMap) -> Self {
        let mut fields = Self::default();
        for (name, value) in map {
            fields.append(name, value);
        }
        fields
    }
}

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |bytes| String::from_utf8_lossy(bytes).into_owned();
        f.debug_list().entries(self.iter().map(|field| (shown(field.name), shown(field.value)))).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::header::{ACCEPT, HOST};
    use proptest::prelude::*;

    #[test]
    fn fields_keep_their_order_and_spelling_and_are_found_in_any_case() {
        let mut fields = Fields::new();
        fields.push(b"HOST", b"a");
        fields.push(b"Accept", b"x");
        fields.push(b"accept", b"y");
        assert_eq!(fields.get(&HOST), Some(&b"a"[..]));
        assert_eq!(fields.known(Known::Host), Some(&b"a"[..]));
        assert_eq!(fields.get_all(&ACCEPT).collect::<Vec<_>>(), [b"x", b"y"]);
        assert_eq!(format!("{fields:?}"), r#"[("HOST", "a"), ("Accept", "x"), ("accept", "y")]"#);
        fields.set(&ACCEPT, &HeaderValue::from_static("z"));
        assert_eq!(fields.get_all(&ACCEPT).collect::<Vec<_>>(), [b"z"]);
        assert!(fields.remove(&HOST) && !fields.remove(&HOST));
        assert_eq!(fields.len(), 1);
    }

    #[test]
    fn names_that_only_look_harmless_are_known() {
        for (name, known) in [
            ("X_Real_IP", Known::Disguised),
            ("content_length", Known::Disguised),
            ("X-Atoll_Caller", Known::Disguised),
            ("x_atoll-caller", Known::Disguised),
            ("x-atoll-", Known::Ours),
            ("x_custom", Known::Other),
            ("TRANSFER-encoding", Known::TransferEncoding),
        ] {
            assert_eq!(Known::of(name.as_bytes()), known, "{name}");
        }
    }

    proptest! {
        #[test]
        fn what_is_put_in_comes_out(pairs in proptest::collection::vec(("[a-z-]{1,20}", "[ -~]{0,40}"), 0..20)) {
            let mut fields = Fields::new();
            for (name, value) in &pairs {
                fields.push(name.as_bytes(), value.as_bytes());
            }
            let out: Vec<_> = fields.iter().map(|field| (field.name.to_vec(), field.value.to_vec())).collect();
            let put: Vec<_> = pairs.iter().map(|(name, value)| (name.clone().into_bytes(), value.clone().into_bytes())).collect();
            prop_assert_eq!(out, put);
            fields.clear();
            prop_assert!(fields.is_empty());
        }
    }
}
