//! For whom the development authority may vouch: names that mean this machine or its own network, and no
//! name that somebody else could have in public. It says so in its own certificate (name constraints, RFC
//! 5280 §4.2.1.10), so that whoever steals its key cannot pretend to be a bank.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use kit::{Explain, Help};

/// Ends of names that are never public: RFC 6761 (`localhost`, `test`, `example`), RFC 8375 (`home.arpa`),
/// RFC 6762 (`local`), the `internal` that ICANN has reserved, and `lan`, which many routers use.
pub const SUFFIXES: [&str; 7] = ["localhost", "test", "example", "internal", "local", "lan", "home.arpa"];

/// Networks that are never public, with the length of their prefix: loopback, RFC 1918, link-local, RFC 4193.
pub const NETWORKS: [(IpAddr, u8); 8] = [
    (IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)), 8),
    (IpAddr::V4(Ipv4Addr::new(10, 0, 0, 0)), 8),
    (IpAddr::V4(Ipv4Addr::new(172, 16, 0, 0)), 12),
    (IpAddr::V4(Ipv4Addr::new(192, 168, 0, 0)), 16),
    (IpAddr::V4(Ipv4Addr::new(169, 254, 0, 0)), 16),
    (IpAddr::V6(Ipv6Addr::LOCALHOST), 128),
    (IpAddr::V6(Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0)), 7),
    (IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0)), 10),
];

/// The longest DNS name (RFC 1035 §2.3.4), without its final dot.
const NAME_MAX: usize = 253;
/// The longest label of one.
const LABEL_MAX: usize = 63;

/// One name that the authority vouches for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Name {
    /// A DNS name, lower case; `*.shop.test` stands for every name with one more label.
    Dns(String),
    /// An address.
    Ip(IpAddr),
}

/// Why a name is none for the development authority.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadName {
    /// Neither a DNS name nor an address.
    #[error("`{0}` is neither a DNS name nor an IP address")]
    Malformed(String),
    /// It could be somebody's in public.
    #[error("the development authority may not vouch for `{0}`, which can be a public name")]
    Public(String),
}

impl Explain for BadName {
    fn help(&self) -> Help {
        match self {
            Self::Malformed(_) => Help::code("A0645").hint("write names such as `shop.localhost` or `127.0.0.1`"),
            Self::Public(_) => Help::code("A0645").hint(
                "use a name under `.localhost`, `.test`, `.internal`, `.local` or a private address; for public \
                 names give certificate files",
            ),
        }
    }
}

impl FromStr for Name {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let public = || BadName::Public(text.to_owned());
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
        if let Ok(address) = bare.parse::<IpAddr>() {
            let address = address.to_canonical();
            return if is_private(address) { Ok(Self::Ip(address)) } else { Err(public()) };
        }
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        let plain = name.strip_prefix("*.").unwrap_or(&name);
        if name.len() > NAME_MAX || !plain.split('.').all(is_label) {
            return Err(BadName::Malformed(text.to_owned()));
        }
        if !is_never_public(plain) {
            return Err(public());
        }
        Ok(Self::Dns(name))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => f.write_str(name),
            Self::Ip(address) => address.fmt(f),
        }
    }
}

fn is_label(label: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=LABEL_MAX).contains(&label.len())
        && label.bytes().all(allowed)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// Whether a name ends in one of [`SUFFIXES`], at a dot.
fn is_never_public(name: &str) -> bool {
    SUFFIXES.iter().any(|suffix| {
        name.strip_suffix(suffix).is_some_and(|before| before.is_empty() || before.ends_with('.'))
    })
}

fn is_private(address: IpAddr) -> bool {
    NETWORKS.iter().any(|(network, length)| match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) => {
            (address.to_bits() ^ network.to_bits()).leading_zeros() >= u32::from(*length)
        }
        (IpAddr::V6(address), IpAddr::V6(network)) => {
            (address.to_bits() ^ network.to_bits()).leading_zeros() >= u32::from(*length)
        }
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_this_machine_and_its_network_are_vouched_for() {
        for (text, shown) in [
            ("localhost", "localhost"),
            ("Shop.LOCALHOST", "shop.localhost"),
            ("*.shop.test", "*.shop.test"),
            ("nas.home.arpa.", "nas.home.arpa"),
            ("127.0.0.1", "127.0.0.1"),
            ("[::1]", "::1"),
            ("::ffff:10.1.2.3", "10.1.2.3"),
            ("172.31.255.255", "172.31.255.255"),
            ("fd00::1", "fd00::1"),
        ] {
            assert_eq!(text.parse::<Name>().map(|name| name.to_string()).as_deref(), Ok(shown));
        }
    }

    #[test]
    fn no_name_is_vouched_for_that_somebody_could_have_in_public() {
        for text in
            ["example.com", "notlocalhost", "xtest", "arpa", "8.8.8.8", "172.32.0.1", "2001:db8::1", "com"]
        {
            assert_eq!(text.parse::<Name>(), Err(BadName::Public(text.to_owned())));
        }
        for text in
            ["", "*", "*.", "a..test", "-a.test", "a b.test", "*.*.test", "a.*.test", "a_b.test", "x."]
        {
            assert!(text.parse::<Name>().is_err(), "{text}");
        }
        assert!(format!("{}.test", "a".repeat(64)).parse::<Name>().is_err());
    }
}
