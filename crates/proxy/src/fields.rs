//! Header fields as they stand on the wire: one text, and where in it each line is. A head is read into
//! this once and written out of it once; no field becomes an object of its own on the way.

use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue};

/// The fields of a head, in order, names spelled as they came.
#[derive(Clone, Default)]
pub struct Fields {
    text: Vec<u8>,
    lines: Vec<Line>,
    /// The known names that there are, or were before they were removed: most that are asked for never were.
    seen: KnownSet,
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

/// Some of the known names.
#[derive(Clone, Copy, Default)]
pub(crate) struct KnownSet(u64);

impl KnownSet {
    /// These.
    pub(crate) const fn of(names: &[Known]) -> Self {
        let (mut bits, mut at) = (0, 0);
        while at < names.len() {
            bits |= 1 << names[at] as u8;
            at += 1;
        }
        Self(bits)
    }

    /// Whether a name is one of them.
    pub(crate) const fn has(self, known: Known) -> bool {
        self.0 & (1 << known as u8) != 0
    }

    fn add(&mut self, known: Known) {
        self.0 |= 1 << known as u8;
    }
}

/// A name in lower case as numbers, which are compared at once: a head has many names, and each may be any.
#[derive(PartialEq, Eq)]
struct Folded([u64; 3]);

impl Folded {
    /// Longest name that can be known.
    const LONGEST: usize = 24;
    const ONES: u64 = u64::MAX / 255;

    /// `None`: it is longer.
    fn of(name: &[u8]) -> Option<Self> {
        let mut room = [0; Self::LONGEST];
        room.get_mut(..name.len())?.copy_from_slice(name);
        Some(Self(Self::words(&room).map(Self::lower)))
    }

    /// A name that is in lower case already.
    const fn exactly(name: &str) -> Self {
        let (mut room, mut at) = ([0; Self::LONGEST], 0);
        while at < name.len() {
            room[at] = name.as_bytes()[at];
            at += 1;
        }
        Self(Self::words(&room))
    }

    const fn words(bytes: &[u8; Self::LONGEST]) -> [u64; 3] {
        let (words, _) = bytes.as_chunks::<8>();
        [u64::from_le_bytes(words[0]), u64::from_le_bytes(words[1]), u64::from_le_bytes(words[2])]
    }

    /// Eight letters in lower case; other bytes stay as they are.
    fn lower(word: u64) -> u64 {
        let low = word & (Self::ONES * 0x7f);
        // The high bit of each byte tells: from `A` on, beyond `Z`; no sum reaches the next byte.
        let (from_a, beyond_z) = (low + Self::ONES * (0x80 - 0x41), low + Self::ONES * (0x80 - 0x5b));
        let upper = (from_a & !beyond_z) & !word & (Self::ONES * 0x80);
        word | upper >> 2
    }

    fn has_underscore(&self) -> bool {
        self.0.iter().any(|word| {
            let differs = word ^ (Self::ONES * 0x5f);
            differs.wrapping_sub(Self::ONES) & !differs & (Self::ONES * 0x80) != 0
        })
    }
}

impl Known {
    /// What a name is; letters in any case.
    pub(crate) fn of(name: &[u8]) -> Self {
        let Some(folded) = Folded::of(name) else { return Self::of_long(name) };
        macro_rules! is {
            ($known:literal) => {
                folded == const { Folded::exactly($known) }
            };
        }
        let found = match name.len() {
            2 if is!("te") => Self::Te,
            3 if is!("via") => Self::Via,
            4 if is!("host") => Self::Host,
            5 if is!("proxy") => Self::Claim,
            6 if is!("cookie") => Self::Cookie,
            6 if is!("expect") => Self::Expect,
            7 if is!("trailer") => Self::Trailer,
            7 if is!("upgrade") => Self::Upgrade,
            9 if is!("forwarded") => Self::Forwarded,
            9 if is!("x-real-ip") => Self::Claim,
            10 if is!("connection") => Self::Connection,
            10 if is!("keep-alive") => Self::KeepAlive,
            10 if is!("tracestate") => Self::Tracestate,
            11 if is!("traceparent") => Self::Traceparent,
            11 if is!("retry-after") => Self::RetryAfter,
            12 if is!("content-type") => Self::ContentType,
            12 if is!("x-request-id") => Self::RequestId,
            12 if is!("grpc-timeout") => Self::GrpcTimeout,
            13 if is!("authorization") => Self::Authorization,
            13 if is!("server-timing") => Self::ServerTiming,
            14 if is!("content-length") => Self::ContentLength,
            15 if is!("x-forwarded-for") => Self::ForwardedFor,
            15 if is!("x-forwarded-ssl") => Self::Claim,
            16 if is!("x-forwarded-host") => Self::ForwardedHost,
            16 if is!("x-forwarded-port") => Self::Claim,
            16 if is!("proxy-connection") => Self::ProxyConnection,
            17 if is!("transfer-encoding") => Self::TransferEncoding,
            17 if is!("x-forwarded-proto") => Self::ForwardedProto,
            18 if is!("x-forwarded-prefix") => Self::Claim,
            18 if is!("x-forwarded-server") => Self::Claim,
            18 if is!("proxy-authenticate") => Self::ProxyAuthenticate,
            19 if is!("proxy-authorization") => Self::ProxyAuthorization,
            20 if is!("x-request-timeout-ms") => Self::RequestTimeout,
            _ => Self::Other,
        };
        if found != Self::Other {
            return found;
        }
        if folded.0[0] == const { Folded::exactly("x-atoll-").0[0] } {
            return Self::Ours;
        }
        if folded.has_underscore() { Self::disguised(name) } else { Self::Other }
    }

    /// What a name is that is longer than any in particular.
    fn of_long(name: &[u8]) -> Self {
        if name[..8].eq_ignore_ascii_case(b"x-atoll-") {
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
        let known = Known::of(name);
        self.seen.add(known);
        self.lines.push(Line {
            name: at as u32,
            value: (at + name.len()) as u32,
            value_len: value.len() as u32,
            name_len,
            known,
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
        let lines = if self.seen.has(known) { self.lines.as_slice() } else { &[] };
        let lines = lines.iter().filter(move |line| line.known == known);
        lines.map(|line| line.field(&self.text).value)
    }

    /// Whether there is a field of this name.
    pub(crate) fn has(&self, known: Known) -> bool {
        self.seen.has(known) && self.lines.iter().any(|line| line.known == known)
    }

    /// Whether there may be a field of one of these names. False: there is none.
    pub(crate) fn may_have(&self, names: KnownSet) -> bool {
        self.seen.0 & names.0 != 0
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
        self.seen = KnownSet::default();
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

    const NAMES: [&str; 33] = [
        "te",
        "via",
        "host",
        "proxy",
        "cookie",
        "expect",
        "trailer",
        "upgrade",
        "forwarded",
        "x-real-ip",
        "connection",
        "keep-alive",
        "tracestate",
        "traceparent",
        "retry-after",
        "content-type",
        "x-request-id",
        "grpc-timeout",
        "authorization",
        "server-timing",
        "content-length",
        "x-forwarded-for",
        "x-forwarded-ssl",
        "x-forwarded-host",
        "x-forwarded-port",
        "proxy-connection",
        "transfer-encoding",
        "x-forwarded-proto",
        "x-forwarded-prefix",
        "x-forwarded-server",
        "proxy-authenticate",
        "proxy-authorization",
        "x-request-timeout-ms",
    ];

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
        /// Names are compared as numbers: every byte counts, and case does not.
        #[test]
        fn a_name_is_known_in_any_case_and_no_other_one_is(name in "[ -~]{0,30}", known in 0..NAMES.len(), at in 0_usize..24, byte: u8) {
            let spelled = NAMES[known].as_bytes();
            let what = Known::of(spelled);
            prop_assert!(what != Known::Other);
            prop_assert_eq!(Known::of(&spelled.to_ascii_uppercase()), what);
            let mut other = spelled.to_vec();
            other[at % spelled.len()] = byte;
            let is_named = |name: &[u8]| NAMES.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()));
            for name in [other.as_slice(), name.as_bytes()] {
                let special = matches!(Known::of(name), Known::Ours | Known::Disguised | Known::Other);
                prop_assert!(is_named(name) != special, "{}", String::from_utf8_lossy(name));
            }
        }

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
