//! `gateway` → where the edge listens; and ports that two parties want.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::fault::{Fault, Span};
use crate::spec::{App, Listen, ServiceName};
use crate::text::File;
use crate::text::decode::{Faults, shown};

/// Where the gateway listens when the file does not say: this machine only.
const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
/// Addresses at most.
const MAX_LISTEN: usize = 16;

/// Where the gateway listens; empty when no service has routes.
pub(crate) fn listen(file: &File, has_routes: bool, faults: &mut Faults) -> Vec<Listen> {
    let written = file.gateway.as_ref().and_then(|gateway| gateway.listen.as_ref());
    let Some(written) = written else {
        return if has_routes { vec![Listen { address: DEFAULT_LISTEN, tls: false }] } else { Vec::new() };
    };
    let mut list: Vec<SocketAddr> = Vec::new();
    for item in &written.0 {
        match parse_listen(&item.0) {
            Some(address) if list.contains(&address) && address.port() != 0 => {
                faults.bad_value(item.span, format!("`{address}` is there twice"), "write it once");
            }
            Some(address) => list.push(address),
            None => faults.bad_value(
                item.span,
                format!("`{}` is not an address to listen on", shown(&item.0)),
                "write a port (`8080`: this machine only), `0.0.0.0:8080` or `:8080` (everywhere)",
            ),
        }
    }
    if list.len() > MAX_LISTEN {
        faults.bad_value(
            written.span,
            format!("more than {MAX_LISTEN} addresses"),
            "listen on `:8080` instead",
        );
    }
    let plain = |address| Listen { address, tls: false };
    if has_routes { list.into_iter().map(plain).collect() } else { Vec::new() }
}

/// Reads `8080`, `127.0.0.1:8080`, `[::1]:8080`, `localhost:8080`, `:8080`.
fn parse_listen(text: &str) -> Option<SocketAddr> {
    if let Ok(port) = text.parse() {
        return Some(SocketAddr::new(DEFAULT_LISTEN.ip(), port));
    }
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    let (host, port) = text.rsplit_once(':')?;
    let port = port.parse().ok()?;
    let ip = match host {
        // Dual-stack: Linux takes IPv4 on `::` too unless told otherwise.
        "" | "*" => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        "localhost" => DEFAULT_LISTEN.ip(),
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

/// Notes fixed ports that two parties want.
pub(crate) fn check_ports(app: &App, places: &BTreeMap<ServiceName, Span>, file: &File, faults: &mut Faults) {
    let listen = file.gateway.as_ref().and_then(|gateway| gateway.listen.as_ref());
    let mut holders: BTreeMap<u16, &ServiceName> = BTreeMap::new();
    for service in app.services.values() {
        let (Some(port), Some(&span)) = (service.port, places.get(&service.name)) else { continue };
        let name = &service.name;
        if service.scale.replicas > 1 {
            let message =
                format!("{} instances of `{name}` cannot all listen on port {port}", service.scale.replicas);
            let hint = "leave `port` out: Atoll picks one for each instance and passes it as `PORT`";
            faults.add(Fault::error("A0310", span, message).hint(hint));
        }
        if let Some(holder) = holders.get(&port) {
            let message = format!("`{name}` wants port {port}, which `{holder}` has");
            let mut fault = Fault::error("A0310", span, message);
            if let Some(&place) = places.get(*holder) {
                fault = fault.also(place, format!("`{holder}` has it here"));
            }
            faults.add(fault.hint("leave `port` out: Atoll picks one"));
            continue;
        }
        holders.insert(port, name);
        if app.gateway.listen.iter().any(|listen| listen.address.port() == port) {
            let message = format!("`{name}` wants port {port}, which the gateway has");
            let mut fault = Fault::error("A0310", span, message);
            if let Some(listen) = listen {
                fault = fault.also(listen.span, "the gateway listens here");
            }
            faults.add(fault.hint("leave `port` out: Atoll picks one, and the gateway finds it"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_port_is_this_machine_only() {
        let read = |text| parse_listen(text).map(|address| address.to_string());
        assert_eq!(read("8080").as_deref(), Some("127.0.0.1:8080"));
        assert_eq!(read("0.0.0.0:80").as_deref(), Some("0.0.0.0:80"));
        assert_eq!(read(":80").as_deref(), Some("[::]:80"));
        assert_eq!(read("localhost:80").as_deref(), Some("127.0.0.1:80"));
        assert_eq!(read("[::1]:80").as_deref(), Some("[::1]:80"));
        assert_eq!(read("example.com:80"), None);
        assert_eq!(read("99999"), None);
    }
}
