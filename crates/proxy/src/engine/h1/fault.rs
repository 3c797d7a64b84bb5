//! What is wrong with bytes that should have been HTTP/1.1.

use std::fmt;

use crate::failure::Kind;

/// One broken rule. RFC 9112 lets a recipient be lenient with some; none is lenient here, for where two
/// servers on a path differ in what they forgive, a request can be hidden from one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// A line ends without a carriage return (RFC 9112 §2.2).
    BareLineFeed,
    /// A carriage return stands alone (RFC 9112 §2.2), or a line does not end where it should.
    BareReturn,
    /// Empty lines before a message: more than the one that old clients send after a body.
    EmptyLines,
    /// The head is longer than allowed.
    TooLong,
    /// Its first line alone is.
    TargetTooLong,
    /// More lines than allowed.
    TooManyLines,
    /// The first line is not one of HTTP/1.
    FirstLine,
    /// The target is not text.
    Target,
    /// A version that is not spoken here.
    Version,
    /// A status that is none.
    Status,
    /// A field's name is no token, or something stands before its colon; folded lines are this as well.
    Name,
    /// A field's value has a control character.
    Value,
    /// Both `Content-Length` and `Transfer-Encoding` (RFC 9112 §6.1).
    TwoFramings,
    /// `Content-Length` more than once, be it the same.
    TwoLengths,
    /// `Content-Length` is not digits alone, or no number that fits.
    Length,
    /// `Transfer-Encoding` is not `chunked` alone.
    Coding,
    /// `Transfer-Encoding` in HTTP/1.0, which has none.
    CodingInOldVersion,
    /// A chunk's size is not hexadecimal digits alone.
    ChunkSize,
    /// A chunk's size has too many digits.
    ChunkSizeTooLong,
    /// A chunk's extensions have a control character.
    ChunkExtension,
    /// A body's chunk extensions are longer than allowed together.
    ChunkExtensionsTooLong,
    /// A chunk does not end where its size says.
    ChunkEnd,
}

impl Fault {
    /// What a client is told.
    pub(crate) fn detail(self) -> &'static str {
        match self {
            Self::BareLineFeed => "a line of the head ends in a bare line feed",
            Self::BareReturn => "a line of the head does not end in CRLF where it should",
            Self::EmptyLines => "there are empty lines before the head",
            Self::TooLong => "the head is too long",
            Self::TargetTooLong => "the target is too long",
            Self::TooManyLines => "the head has too many lines",
            Self::FirstLine => "the first line is not one of HTTP/1.1",
            Self::Target => "the target is not text",
            Self::Version => "the version of HTTP is neither 1.0 nor 1.1",
            Self::Status => "the status is none",
            Self::Name => "a field's name is not a token that a colon follows",
            Self::Value => "a field's value has a control character",
            Self::TwoFramings => "both Content-Length and Transfer-Encoding are given",
            Self::TwoLengths => "Content-Length is given more than once",
            Self::Length => "Content-Length is not a number of digits",
            Self::Coding => "Transfer-Encoding is not just `chunked`",
            Self::CodingInOldVersion => "HTTP/1.0 has no Transfer-Encoding",
            Self::ChunkSize => "the size of a chunk is not a hexadecimal number",
            Self::ChunkSizeTooLong => "the size of a chunk has too many digits",
            Self::ChunkExtension => "an extension of a chunk has a control character",
            Self::ChunkExtensionsTooLong => "the extensions of chunks are too long",
            Self::ChunkEnd => "a chunk does not end where its size says",
        }
    }

    /// What kind of failure it is in a request's head.
    pub(crate) fn kind(self) -> Kind {
        match self {
            Self::TooLong | Self::TooManyLines => Kind::HeadTooLarge,
            Self::TargetTooLong => Kind::TargetTooLong,
            _ => Kind::BadRequest,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.detail())
    }
}

impl std::error::Error for Fault {}
