//! Heads of messages. Pure: what a request's head is, what is refused ([`check`]), what is not believed
//! ([`trust`]), what is passed on ([`forward`]).

pub(crate) mod check;
pub(crate) mod deadline;
pub(crate) mod forward;
mod host;
pub(crate) mod trust;

use http::{HeaderName, Method, Version};

use crate::fields::{Fields, Known};
use crate::trace::Trace;

/// The id of a request, kept from whoever sent it or made at the first hop.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The prefix of the path that was taken off.
pub(crate) const FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");
/// Longest `X-Request-Id` that is kept.
pub(crate) const REQUEST_ID_MAX: usize = 128;

/// The head of a request, as it came and then as filters left it. Its texts are used again for the next one.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) method: Method,
    pub(crate) version: Version,
    /// As it came; once checked: path and query, or `*`.
    target: String,
    /// Where the query's question mark is, or the end.
    path_len: usize,
    /// As the client wrote it: what `Host` says to the service. Empty: none. On HTTP/2 `:authority`.
    pub(crate) authority: String,
    /// Lower case, without its port and a dot at its end. Empty: none. Known once the head was checked.
    pub(crate) host: String,
    pub(crate) fields: Fields,
    /// It came over TLS.
    pub(crate) secure: bool,
}

impl Default for Head {
    fn default() -> Self {
        Self {
            method: Method::GET,
            version: Version::HTTP_11,
            target: String::new(),
            path_len: 0,
            authority: String::new(),
            host: String::new(),
            fields: Fields::default(),
            secure: false,
        }
    }
}

impl Head {
    /// Path and query.
    pub(crate) fn target(&self) -> &str {
        &self.target
    }

    /// The path alone.
    pub(crate) fn path(&self) -> &str {
        self.target.get(..self.path_len).unwrap_or_default()
    }

    /// The query, without its question mark.
    pub(crate) fn query(&self) -> Option<&str> {
        self.target.get(self.path_len + 1..)
    }

    pub(crate) fn set_target(&mut self, target: &str) {
        self.target.clear();
        self.target.push_str(target);
        self.path_len = target.bytes().position(|byte| byte == b'?').unwrap_or(target.len());
    }

    /// Forgets everything but the memory it was in.
    pub(crate) fn clear(&mut self) {
        self.target.clear();
        self.path_len = 0;
        self.authority.clear();
        self.host.clear();
        self.fields.clear();
    }

    /// Bytes of memory that [`Self::clear`] keeps.
    pub(crate) fn capacity(&self) -> usize {
        self.target.capacity() + self.authority.capacity() + self.host.capacity() + self.fields.capacity()
    }
}

/// The options of `Connection` that name fields (`close` and `keep-alive` name none).
fn options(fields: &Fields) -> impl Iterator<Item = &str> {
    let values = fields.all_known(Known::Connection).filter_map(|value| std::str::from_utf8(value).ok());
    values.flat_map(|value| value.split(',')).map(str::trim).filter(|option| {
        !option.is_empty()
            && !option.eq_ignore_ascii_case("close")
            && !option.eq_ignore_ascii_case("keep-alive")
    })
}

/// The protocol that a request asks to switch to. `h2c` is not one: it would carry requests past the
/// routes (RFC 9113 §3.1 has withdrawn it).
pub(crate) fn wants_upgrade(head: &Head) -> Option<&str> {
    let upgrade = head.fields.known(Known::Upgrade).filter(|_| head.version == Version::HTTP_11)?;
    let listed = options(&head.fields).any(|option| option.eq_ignore_ascii_case("upgrade"));
    let upgrade = std::str::from_utf8(upgrade).ok()?;
    let mut protocols = upgrade.split(',').map(str::trim);
    (listed && !protocols.any(|p| p.eq_ignore_ascii_case("h2c"))).then_some(upgrade)
}

/// Whether the client waits for `100 Continue` before it sends its body.
pub(crate) fn expects_continue(head: &Head) -> bool {
    head.fields.known(Known::Expect).is_some_and(|value| value.eq_ignore_ascii_case(b"100-continue"))
}

/// Whether a request is a call of gRPC: its failures are told in `grpc-status`.
pub(crate) fn is_grpc(fields: &Fields) -> bool {
    fields.known(Known::ContentType).is_some_and(|value| {
        let prefix = b"application/grpc";
        value.len() >= prefix.len()
            && value[..prefix.len()].eq_ignore_ascii_case(prefix)
            && matches!(value.get(prefix.len()), None | Some(b'+' | b';'))
    })
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

/// An `X-Request-Id`: short and plain.
#[derive(Clone)]
pub(crate) struct RequestId(IdText);

/// It moves with its exchange: what is longer than most lies elsewhere.
#[derive(Clone)]
enum IdText {
    Short([u8; ID_SHORT], u8),
    Long(Box<[u8]>),
}

/// A UUID as text has 36 characters.
const ID_SHORT: usize = 38;

impl RequestId {
    /// The id that came along, if it is short and plain; else one of 128 random bits.
    pub(crate) fn of(fields: &Fields) -> Self {
        Self::kept_or(fields, crate::trace::draw::<16>)
    }

    /// The same, but where a trace begins with this request it has the id of the trace: whoever prints the one has named the
    /// other. Therefore an id that came along and could be that of a trace (nginx makes such) is that of the one that begins: like a
    /// `traceparent`, who sends it answers for its being unique.
    pub(crate) fn in_trace(fields: &Fields, trace: &mut Trace) -> Self {
        let begins = trace.parent.is_none();
        let id = Self::kept_or(fields, || if begins { trace.id.0 } else { crate::trace::draw::<16>() });
        if begins && let Ok(same) = id.as_str().parse() {
            trace.id = same;
        }
        id
    }

    fn kept_or(fields: &Fields, made: impl FnOnce() -> [u8; 16]) -> Self {
        let plain = |byte: &u8| {
            let mark = matches!(byte, b'-' | b'_' | b'.' | b':' | b'=' | b'+' | b'/' | b'@' | b'~');
            byte.is_ascii_alphanumeric() || mark
        };
        let sane = |value: &&[u8]| (1..=REQUEST_ID_MAX).contains(&value.len()) && value.iter().all(plain);
        let mut text = [0; ID_SHORT];
        Self(match fields.known(Known::RequestId).filter(sane) {
            Some(kept) if kept.len() <= ID_SHORT => {
                text[..kept.len()].copy_from_slice(kept);
                IdText::Short(text, kept.len() as u8)
            }
            Some(kept) => IdText::Long(kept.into()),
            None => {
                crate::trace::hex_into(&made(), &mut text[..32]);
                IdText::Short(text, 32)
            }
        })
    }

    /// As text.
    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    /// The same for whoever wants bytes.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            IdText::Short(text, length) => text.get(..usize::from(*length)).unwrap_or_default(),
            IdText::Long(text) => text,
        }
    }
}

impl std::fmt::Debug for RequestId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests;
