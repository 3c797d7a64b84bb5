//! `ports` and `expose`: checked for their form; nothing publishes raw ports yet.

use schemars::{Schema, SchemaGenerator, json_schema};

use super::decode::{Decode, Faults, record, shown};
use super::scalar::Word;
use super::shape::Form;
use crate::tree::Node;

/// A published port: `[[IP:]HOST:]CONTAINER[/PROTOCOL]` or the long form.
pub(crate) type Port = Form<PortText, PortLong>;

/// The short form of a published port.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(transparent)]
pub struct PortText(pub String);

impl Decode for PortText {
    fn decode(node: &Node, faults: &mut Faults) -> Option<Self> {
        let text = String::decode(node, faults)?;
        if is_published(&text) {
            return Some(Self(text));
        }
        let message = format!("`{}` is not a published port", shown(&text));
        faults.bad_value(node.span, message, "write it like `8080:80`, `127.0.0.1:8080:80` or `53:53/udp`");
        None
    }

    fn shape(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "number"] })
    }
}

/// A port other containers reach: `80`, `80-90`, `80/udp`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(transparent)]
pub struct Expose(pub String);

impl Decode for Expose {
    fn decode(node: &Node, faults: &mut Faults) -> Option<Self> {
        let text = String::decode(node, faults)?;
        if without_protocol(&text).is_some_and(is_range) {
            return Some(Self(text));
        }
        let message = format!("`{}` is not a port", shown(&text));
        faults.bad_value(node.span, message, "write it like `80`, `80-90` or `53/udp`");
        None
    }

    fn shape(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "number"] })
    }
}

record! {
    /// The long form of a published port.
    pub struct PortLong: "a published port" {
        /// Its name.
        name: String,
        /// `host` or `ingress`.
        mode: String,
        /// The address of the host.
        host_ip: String,
        /// The port of the service.
        target: u16,
        /// The port of the host, or a range.
        published: Word,
        /// `tcp` or `udp`.
        protocol: String,
        /// What is spoken on it.
        app_protocol: String,
    }
}

fn is_published(text: &str) -> bool {
    let Some(text) = without_protocol(text) else { return false };
    let (rest, container) = match text.rsplit_once(':') {
        Some((rest, container)) => (Some(rest), container),
        None => (None, text),
    };
    if !is_range(container) {
        return false;
    }
    let Some(rest) = rest else { return true };
    let (ip, host) = match rest.rsplit_once(':') {
        Some((ip, host)) if !rest.ends_with(']') => (Some(ip), host),
        _ if rest.contains(['.', '[']) => (Some(rest), ""),
        _ => (None, rest),
    };
    let ip_ok = ip.is_none_or(|ip| {
        let bare = ip.strip_prefix('[').and_then(|ip| ip.strip_suffix(']')).unwrap_or(ip);
        bare.parse::<std::net::IpAddr>().is_ok()
    });
    ip_ok && (is_range(host) || ip.is_some() && host.is_empty())
}

fn without_protocol(text: &str) -> Option<&str> {
    match text.split_once('/') {
        None => Some(text),
        Some((port, protocol)) => matches!(protocol, "tcp" | "udp" | "sctp").then_some(port),
    }
}

fn is_range(text: &str) -> bool {
    let port = |text: &str| text.parse::<u16>().ok();
    match text.split_once('-') {
        None => port(text).is_some(),
        Some((from, to)) => matches!((port(from), port(to)), (Some(from), Some(to)) if from <= to),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_ports_are_read_as_compose_writes_them() {
        for good in [
            "3000",
            "3000-3005",
            "8000:8000",
            "9090-9091:8080-8081",
            "49100:22",
            "8000-9000:80",
            "127.0.0.1:8001:8001",
            "127.0.0.1:5000-5010:5000-5010",
            "127.0.0.1::5000",
            "6060:6060/udp",
            "[::1]:8080:80",
            "::1:8080:80",
        ] {
            assert!(is_published(good), "{good}");
        }
        for bad in ["", "x", "80:", "80:x", "1:2:3", "70000", "9-5", "80/tcpp", "example:80:80"] {
            assert!(!is_published(bad), "{bad}");
        }
    }
}
