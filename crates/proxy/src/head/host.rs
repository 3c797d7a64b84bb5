//! The authority of a request (RFC 3986 §3.2, RFC 9110 §7.2): a host and maybe a port, never a user.

use std::net::Ipv6Addr;

/// The host of an authority, without its port. `None`: it is not one.
pub(super) fn host_of(authority: &str) -> Option<&str> {
    let (host, rest) = match authority.strip_prefix('[') {
        Some(inner) => {
            let end = inner.find(']')?;
            inner[..end].parse::<Ipv6Addr>().ok()?;
            authority.split_at(end + 2)
        }
        None => {
            let end = authority.bytes().position(|byte| !is_of_a_name(byte)).unwrap_or(authority.len());
            let (host, rest) = authority.split_at_checked(end)?;
            if host.is_empty() {
                return None;
            }
            (host, rest) // which is a port, or nothing
        }
    };
    match rest.strip_prefix(':') {
        None => rest.is_empty().then_some(host),
        Some(port) => {
            let fits = port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit());
            (fits && (port.is_empty() || port.parse::<u16>().is_ok())).then_some(host)
        }
    }
}

/// RFC 3986 §3.2.2: `reg-name`.
fn is_of_a_name(byte: u8) -> bool {
    matches!(byte, b'!' | b'$'..=b'.' | b';' | b'=' | b'_' | b'~') || byte.is_ascii_alphanumeric()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_authority_is_a_host_and_maybe_a_port() {
        for (authority, host) in [
            ("a", Some("a")),
            ("a.example:80", Some("a.example")),
            ("a:", Some("a")),
            ("[::1]:8080", Some("[::1]")),
            ("[::1]", Some("[::1]")),
            ("", None),
            (":80", None),
            ("a b", None),
            ("a@b", None),
            ("a/b", None),
            ("a\\b", None),
            ("[::1", None),
            ("[x]", None),
            ("[::1]x", None),
            ("::1", None),
            ("a:b", None),
            ("a:65536", None),
            ("a:+1", None),
        ] {
            assert_eq!(host_of(authority), host, "{authority}");
        }
    }

    proptest! {
        /// `http::uri::Authority` reads the same host out of whatever is taken for an authority here.
        #[test]
        fn what_is_an_authority_here_is_one_elsewhere(text in "[a-c.:@\\[\\]0-9 %/-]{0,12}") {
            if let (Some(host), Ok(other)) = (host_of(&text), text.parse::<http::uri::Authority>()) {
                prop_assert_eq!(other.host(), host);
            }
        }
    }
}
