//! The canonical request: one spelling for all requests that mean the same.

use super::View;
use super::claim::SignedHeaders;
use crate::text::{hex_digit, push_percent};

/// How the path of a service's requests is spelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PathStyle {
    /// Without empty and dot segments, and what came encoded is encoded once more: every service but S3.
    Normalised,
    /// As it came: to S3 `a//b` and `a/../b` are names of objects.
    AsIs,
}

impl PathStyle {
    pub(super) fn of(service: &str) -> Self {
        if service == "s3" { Self::AsIs } else { Self::Normalised }
    }
}

/// The query parameter that is not part of what is signed: the signature itself.
pub(super) const SIGNATURE: &str = "X-Amz-Signature";

/// Appends the canonical request.
pub(super) fn write<'a, H>(
    out: &mut Vec<u8>,
    view: &View<'a, H>,
    signed: SignedHeaders<'_>,
    style: PathStyle,
    payload: &[u8],
) where
    H: Iterator<Item = (&'a str, &'a [u8])> + Clone,
{
    out.extend_from_slice(view.method.as_bytes());
    out.push(b'\n');
    write_path(out, view.path, style);
    out.push(b'\n');
    write_query(out, view.query);
    out.push(b'\n');
    for name in signed.names() {
        out.extend_from_slice(name.as_bytes());
        out.push(b':');
        let values = view.headers.clone().filter(|(header, _)| header.eq_ignore_ascii_case(name));
        for (number, (_, value)) in values.enumerate() {
            if number > 0 {
                out.push(b',');
            }
            write_folded(out, value);
        }
        out.push(b'\n');
    }
    out.push(b'\n');
    out.extend_from_slice(signed.text().as_bytes());
    out.push(b'\n');
    out.extend_from_slice(payload);
}

/// A header's value without spaces at its ends and with one where there are several.
fn write_folded(out: &mut Vec<u8>, value: &[u8]) {
    let start = value.iter().position(|byte| *byte != b' ').unwrap_or(value.len());
    let end = value.iter().rposition(|byte| *byte != b' ').map_or(start, |last| last + 1);
    let value = &value[start..end];
    if !value.windows(2).any(|pair| pair == b"  ") {
        return out.extend_from_slice(value); // as nearly all are
    }
    for byte in value {
        if *byte != b' ' || out.last() != Some(&b' ') {
            out.push(*byte);
        }
    }
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

fn push_encoded(out: &mut Vec<u8>, byte: u8) {
    if is_unreserved(byte) { out.push(byte) } else { push_percent(out, byte) }
}

/// Decodes a name or value of a query and encodes it in the one way.
fn write_parameter(out: &mut Vec<u8>, text: &str) {
    let plain = text.bytes().position(|byte| !is_unreserved(byte)).unwrap_or(text.len());
    let (plain, rest) = text.as_bytes().split_at(plain);
    out.extend_from_slice(plain);
    decoded(rest, true).for_each(|byte| push_encoded(out, byte));
}

pub(super) fn write_path(out: &mut Vec<u8>, path: &str, style: PathStyle) {
    if style == PathStyle::AsIs {
        if !path.starts_with('/') {
            out.push(b'/');
        }
        return decoded(path.as_bytes(), false)
            .for_each(|byte| if byte == b'/' { out.push(byte) } else { push_encoded(out, byte) });
    }
    let start = out.len();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                let cut = out[start..].iter().rposition(|byte| *byte == b'/').unwrap_or(0);
                out.truncate(start + cut);
            }
            _ => {
                out.push(b'/');
                segment.bytes().for_each(|byte| push_encoded(out, byte)); // `%` too: encoded once more
            }
        }
    }
    // RFC 3986 §5.2.4: what ends with a dot segment is a directory.
    let is_directory = ["/", "/.", "/.."].iter().any(|end| path.ends_with(end)) || matches!(path, "." | "..");
    if out.len() == start || is_directory {
        out.push(b'/');
    }
}

/// Parameters decoded, encoded in one way, sorted by name and value; without the signature.
pub(super) fn write_query(out: &mut Vec<u8>, query: &str) {
    if query.is_empty() {
        return;
    }
    let mut text = Vec::with_capacity(query.len() + query.len() / 4);
    let mut parameters = Vec::with_capacity(16);
    for (name, value) in pairs(query) {
        let start = text.len();
        write_parameter(&mut text, name);
        let middle = text.len();
        if text[start..] == *SIGNATURE.as_bytes() {
            text.truncate(start);
            continue;
        }
        write_parameter(&mut text, value);
        parameters.push((start, middle, text.len()));
    }
    parameters
        .sort_unstable_by(|a, b| (&text[a.0..a.1], &text[a.1..a.2]).cmp(&(&text[b.0..b.1], &text[b.1..b.2])));
    for (number, (start, middle, end)) in parameters.into_iter().enumerate() {
        if number > 0 {
            out.push(b'&');
        }
        out.extend_from_slice(&text[start..middle]);
        out.push(b'=');
        out.extend_from_slice(&text[middle..end]);
    }
}

/// The parameters of a query as they are written.
pub(super) fn pairs(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

/// Without its `%XX`; one that is none stays. In a query `+` is a space.
pub(super) fn decoded(text: &[u8], plus_is_space: bool) -> impl Iterator<Item = u8> + '_ {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (first, after) = rest.split_first()?;
        if *first == b'%'
            && let [high, low, more @ ..] = after
            && let (Some(high), Some(low)) = (hex_digit(*high), hex_digit(*low))
        {
            rest = more;
            return Some(high << 4 | low);
        }
        rest = after;
        Some(if *first == b'+' && plus_is_space { b' ' } else { *first })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = b"before".to_vec();
        write(&mut out);
        String::from_utf8(out).unwrap().strip_prefix("before").unwrap().to_owned()
    }

    #[test]
    fn paths_of_most_services_are_normalised_and_encoded_once_more() {
        for (path, canonical) in [
            ("", "/"),
            ("/", "/"),
            ("//", "/"),
            ("/a/b", "/a/b"),
            ("/a//b/", "/a/b/"),
            ("/a/./b/..", "/a/"),
            ("/a/../..", "/"),
            ("/../a", "/a"),
            ("/a/.", "/a/"),
            ("/000000000000/jobs.fifo", "/000000000000/jobs.fifo"),
            ("/a%20b", "/a%2520b"),
            ("/a b*", "/a%20b%2A"),
            ("/ሴ", "/%E1%88%B4"),
        ] {
            assert_eq!(written(|out| write_path(out, path, PathStyle::Normalised)), canonical, "{path}");
        }
        for (path, canonical) in
            [("/a//b/../c", "/a//b/../c"), ("/a%20b+$", "/a%20b%2B%24"), ("/%zz", "/%25zz")]
        {
            assert_eq!(written(|out| write_path(out, path, PathStyle::AsIs)), canonical, "{path}");
        }
    }

    #[test]
    fn queries_have_one_spelling() {
        for (query, canonical) in [
            ("", ""),
            ("b=2&a=1", "a=1&b=2"),
            ("a=2&a=10&a", "a=&a=10&a=2"),
            ("a-b=1&a=1", "a=1&a-b=1"),
            ("a=%7e&&b=x+y%2f", "a=~&b=x%20y%2F"),
            ("A=1&X-Amz-Signature=00&X%2DAmz-Signature=1&a=1", "A=1&a=1"),
        ] {
            assert_eq!(written(|out| write_query(out, query)), canonical, "{query}");
        }
    }

    #[test]
    fn values_of_headers_are_folded() {
        for (value, folded) in [
            ("", ""),
            ("  ", ""),
            (" a   b ", "a b"),
            ("\"a  b\"", "\"a b\""),
            ("  a  b c   d", "a b c d"),
            ("a\t b", "a\t b"),
        ] {
            assert_eq!(written(|out| write_folded(out, value.as_bytes())), folded, "{value}");
        }
    }
}
