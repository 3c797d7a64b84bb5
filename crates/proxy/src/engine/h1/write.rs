//! Heads, put together in memory that is used again.

use http::{Method, StatusCode, Version};

/// The first line of a request.
pub(crate) fn request_line(out: &mut Vec<u8>, method: &Method, target: &str) {
    out.extend_from_slice(method.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(target.as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
}

/// The first line of an answer. Its version is that of Atoll (RFC 9110 §2.5), whoever asks; but for one who
/// speaks 1.0 it is said as he would.
pub(crate) fn status_line(out: &mut Vec<u8>, version: Version, status: StatusCode) {
    if status == StatusCode::OK && version == Version::HTTP_11 {
        return out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
    }
    out.extend_from_slice(if version == Version::HTTP_10 { b"HTTP/1.0 " } else { b"HTTP/1.1 " });
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' '); // also where no reason follows (RFC 9112 §4)
    out.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// One field.
pub(crate) fn field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.reserve(name.len() + value.len() + 4);
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// The empty line at the end of a head.
pub(crate) fn end(out: &mut Vec<u8>) {
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_what_the_standard_says() {
        let mut out = Vec::new();
        request_line(&mut out, &Method::PATCH, "/a?b");
        field(&mut out, b"host", b"a");
        end(&mut out);
        assert_eq!(out, b"PATCH /a?b HTTP/1.1\r\nhost: a\r\n\r\n");
        for (version, status, line) in [
            (Version::HTTP_11, 200, "HTTP/1.1 200 OK\r\n"),
            (Version::HTTP_10, 200, "HTTP/1.0 200 OK\r\n"),
            (Version::HTTP_11, 503, "HTTP/1.1 503 Service Unavailable\r\n"),
            (Version::HTTP_11, 299, "HTTP/1.1 299 \r\n"),
        ] {
            out.clear();
            status_line(&mut out, version, StatusCode::from_u16(status).unwrap());
            assert_eq!(out, line.as_bytes());
        }
    }
}
