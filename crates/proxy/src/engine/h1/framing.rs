//! How a body ends (RFC 9112 §6): in one way, told in one way.

use http::{StatusCode, Version};

use super::Fault;
use crate::fields::{Fields, Known};

/// Digits of the longest length: it fits any signed number of 64 bits.
const LENGTH_DIGITS: usize = 18;

/// How a body is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// So many bytes; none: there is no body.
    Length(u64),
    /// In chunks.
    Chunked,
    /// What comes until the connection ends; answers only.
    UntilClose,
}

/// The framing of a request.
pub(crate) fn of_request(version: Version, fields: &Fields) -> Result<Framing, Fault> {
    Ok(declared(version, fields)?.unwrap_or(Framing::Length(0)))
}

/// The framing of an answer to a request, which may have asked for the head alone.
pub(crate) fn of_answer(
    to_head: bool,
    status: StatusCode,
    version: Version,
    fields: &Fields,
) -> Result<Framing, Fault> {
    let declared = declared(version, fields)?; // what contradicts itself is not passed on with any status
    let bodiless =
        status.is_informational() || [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&status);
    if to_head || bodiless {
        return Ok(Framing::Length(0));
    }
    Ok(declared.unwrap_or(Framing::UntilClose))
}

/// Whether the connection is used again after this message, as far as its sender says (RFC 9112 §9.3).
pub(crate) fn persists(version: Version, fields: &Fields) -> bool {
    let says = |option: &[u8]| {
        let mut options =
            fields.all_known(Known::Connection).flat_map(|value| value.split(|byte| *byte == b','));
        options.any(|said| said.trim_ascii().eq_ignore_ascii_case(option))
    };
    match version {
        _ if !fields.has(Known::Connection) => version == Version::HTTP_11,
        Version::HTTP_11 => !says(b"close"),
        _ => says(b"keep-alive") && !says(b"close"),
    }
}

/// Whether an answer that has no body announces one, for no reason that the standard knows: a 304 may say the
/// length of what it spares the client (RFC 9110 §8.6), a 204 says none.
pub(crate) fn is_haunted(status: StatusCode, fields: &Fields) -> bool {
    let coded = fields.has(Known::TransferEncoding);
    match status {
        StatusCode::NOT_MODIFIED => coded,
        StatusCode::NO_CONTENT => {
            coded
                || fields
                    .known(Known::ContentLength)
                    .is_some_and(|length| length.iter().any(|digit| *digit != b'0'))
        }
        _ => false,
    }
}

fn declared(version: Version, fields: &Fields) -> Result<Option<Framing>, Fault> {
    let mut lengths = fields.all_known(Known::ContentLength);
    let length = lengths.next();
    if lengths.next().is_some() {
        return Err(Fault::TwoLengths);
    }
    let length = length.map(number).transpose()?;
    let mut codings = fields.all_known(Known::TransferEncoding);
    let Some(coding) = codings.next() else {
        return Ok(length.map(Framing::Length));
    };
    if length.is_some() {
        return Err(Fault::TwoFramings);
    }
    if codings.next().is_some() || !coding.eq_ignore_ascii_case(b"chunked") {
        return Err(Fault::Coding);
    }
    if version != Version::HTTP_11 {
        return Err(Fault::CodingInOldVersion);
    }
    Ok(Some(Framing::Chunked))
}

/// Digits, and nothing else.
fn number(text: &[u8]) -> Result<u64, Fault> {
    if text.is_empty() || text.len() > LENGTH_DIGITS || !text.iter().all(u8::is_ascii_digit) {
        return Err(Fault::Length);
    }
    Ok(text.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(lines: &[(&str, &str)]) -> Fields {
        let mut fields = Fields::new();
        for (name, value) in lines {
            fields.push(name.as_bytes(), value.as_bytes());
        }
        fields
    }

    fn request(lines: &[(&str, &str)]) -> Result<Framing, Fault> {
        of_request(Version::HTTP_11, &fields(lines))
    }

    #[test]
    fn a_request_says_its_length_once_or_comes_in_chunks() {
        assert_eq!(request(&[]), Ok(Framing::Length(0)));
        assert_eq!(request(&[("Content-Length", "5")]), Ok(Framing::Length(5)));
        assert_eq!(request(&[("content-length", "007")]), Ok(Framing::Length(7)));
        assert_eq!(
            request(&[("Content-Length", "999999999999999999")]),
            Ok(Framing::Length(999_999_999_999_999_999))
        );
        assert_eq!(request(&[("Transfer-Encoding", "chunked")]), Ok(Framing::Chunked));
        assert_eq!(request(&[("TRANSFER-ENCODING", "Chunked")]), Ok(Framing::Chunked));
    }

    #[test]
    fn a_length_that_is_not_a_plain_number_is_refused() {
        for length in [
            "",
            "+5",
            "-5",
            "5, 5",
            "5,5",
            "5 5",
            "0x5",
            "5 ",
            "5a",
            "a",
            "1e3",
            "5.0",
            "٥",
            "5;5",
            "\t5",
            "9223372036854775808",
            "18446744073709551621",
            "0000000000000000005",
        ] {
            assert_eq!(request(&[("Content-Length", length)]), Err(Fault::Length), "{length:?}");
        }
        assert_eq!(request(&[("Content-Length", "5"), ("Content-Length", "6")]), Err(Fault::TwoLengths));
        assert_eq!(request(&[("Content-Length", "5"), ("content-length", "5")]), Err(Fault::TwoLengths));
    }

    #[test]
    fn a_transfer_coding_is_chunked_alone_and_never_beside_a_length() {
        for coding in [
            "",
            "xchunked",
            "chunked, identity",
            "identity, chunked",
            "gzip, chunked",
            "chunked, chunked",
            "chunked,",
            "\u{b}chunked",
            "\"chunked\"",
            "chunked;q=1",
            "identity",
            "chunked x",
            "chun\tked",
        ] {
            assert_eq!(request(&[("Transfer-Encoding", coding)]), Err(Fault::Coding), "{coding:?}");
        }
        let twice = [("Transfer-Encoding", "chunked"), ("Transfer-Encoding", "chunked")];
        assert_eq!(request(&twice), Err(Fault::Coding));
        let mixed = [("Transfer-Encoding", "chunked"), ("Transfer-encoding", "identity")];
        assert_eq!(request(&mixed), Err(Fault::Coding));
        for both in [
            [("Transfer-Encoding", "chunked"), ("Content-Length", "5")],
            [("Content-Length", "5"), ("Transfer-Encoding", "chunked")],
            [("Content-Length", "5"), ("Transfer-Encoding", "xchunked")],
        ] {
            assert_eq!(request(&both), Err(Fault::TwoFramings));
        }
        let old = of_request(Version::HTTP_10, &fields(&[("Transfer-Encoding", "chunked")]));
        assert_eq!(old, Err(Fault::CodingInOldVersion));
    }

    #[test]
    fn a_connection_goes_on_unless_somebody_says_otherwise() {
        let both = fields(&[("Connection", "x, Close"), ("Connection", "keep-alive")]);
        let keep = fields(&[("connection", "Keep-Alive")]);
        assert!(persists(Version::HTTP_11, &Fields::new()) && !persists(Version::HTTP_10, &Fields::new()));
        assert!(persists(Version::HTTP_11, &keep) && persists(Version::HTTP_10, &keep));
        assert!(!persists(Version::HTTP_11, &both) && !persists(Version::HTTP_10, &both));
    }

    #[test]
    fn an_answer_has_no_body_where_none_is_allowed_and_else_what_it_says() {
        let sized = fields(&[("Content-Length", "5")]);
        let chunked = fields(&[("Transfer-Encoding", "chunked")]);
        let answer = |head, status, fields: &Fields| {
            of_answer(head, StatusCode::from_u16(status).unwrap(), Version::HTTP_11, fields)
        };
        for (head, status) in
            [(true, 200), (false, 100), (false, 101), (false, 103), (false, 204), (false, 304)]
        {
            for fields in [&sized, &chunked, &Fields::new()] {
                assert_eq!(answer(head, status, fields), Ok(Framing::Length(0)), "{status}");
            }
        }
        assert_eq!(answer(false, 200, &sized), Ok(Framing::Length(5)));
        assert_eq!(answer(false, 200, &chunked), Ok(Framing::Chunked));
        assert_eq!(answer(false, 200, &Fields::new()), Ok(Framing::UntilClose));
        let both = fields(&[("Content-Length", "5"), ("Transfer-Encoding", "chunked")]);
        for head in [true, false] {
            assert_eq!(answer(head, 200, &both), Err(Fault::TwoFramings));
        }
        let old = of_answer(false, StatusCode::OK, Version::HTTP_10, &chunked);
        assert_eq!(old, Err(Fault::CodingInOldVersion));
    }
}
