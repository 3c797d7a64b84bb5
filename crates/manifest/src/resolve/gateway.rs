//! `gateway` → the edge and where it listens; and ports that two parties want.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::edge;
use super::guard::{Guarded, guard};
use crate::fault::{Fault, Span};
use crate::spec::{App, Gateway, LimitKey, Listen, ServiceName};
use crate::text::decode::{Faults, shown};
use crate::text::gateway::GatewayText;
use crate::text::guard::Written;
use crate::text::shape::Form;
use crate::text::{At, File};

/// Where the gateway listens when the file does not say: this machine only.
const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
/// Addresses at most.
const MAX_LISTEN: usize = 16;

/// Where a gateway with certificates listens as well when the file does not say.
const DEFAULT_TLS_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8443);

/// The edge of the app; it listens nowhere when no service has routes.
pub(crate) fn resolve(file: &File, has_routes: bool, faults: &mut Faults) -> Gateway {
    let default = Gateway::default();
    let Some(written) = &file.gateway else {
        let listen =
            if has_routes { vec![Listen { address: DEFAULT_LISTEN, tls: false }] } else { Vec::new() };
        return Gateway { listen, ..default };
    };
    // What holds for routes is looked at even if there are none. What is wrong is said once.
    let guarded = Guarded { service: None, limit_key: LimitKey::Client };
    let _ = guard(written.guards(), Written::default(), &guarded, faults);
    let certificates = edge::certificates(written, faults);
    let listen = listen(written, !certificates.is_empty(), faults);
    let flag = |at: &Option<At<bool>>, default| at.as_ref().map_or(default, |at| at.value);
    Gateway {
        listen: if has_routes { listen } else { Vec::new() },
        certificates,
        auth: edge::auth(written, faults),
        limits: edge::limits(written, faults),
        access_log: flag(&written.access_log, default.access_log),
        server_timing: flag(&written.server_timing, default.server_timing),
    }
}

/// Where the gateway listens, as written; else at the default, and with certificates at a second one.
fn listen(gateway: &GatewayText, certificates: bool, faults: &mut Faults) -> Vec<Listen> {
    let Some(written) = &gateway.listen else {
        let mut list = vec![Listen { address: DEFAULT_LISTEN, tls: false }];
        if certificates {
            list.push(Listen { address: DEFAULT_TLS_LISTEN, tls: true });
        }
        return list;
    };
    let mut list: Vec<Listen> = Vec::new();
    for item in &written.0 {
        let (address, tls) = match &item.value {
            Form::Short(word) => (item.with(word.clone()), None),
            Form::Long(long) => match &long.address {
                Some(address) => (address.clone(), long.tls.as_ref()),
                None => continue, // a missing key was noted
            },
        };
        let Some(place) = parse_listen(&address.0) else {
            faults.bad_value(
                address.span,
                format!("`{}` is not an address to listen on", shown(&address.0)),
                "write a port (`8080`: this machine only), `0.0.0.0:8080` or `:8080` (everywhere)",
            );
            continue;
        };
        if let Some(tls) = tls.filter(|tls| tls.value && gateway.tls.is_none()) {
            let fault =
                Fault::error("A0321", tls.span, format!("`{place}` speaks TLS without a certificate"));
            let hint = "add `gateway.tls: { cert: FILE, key: FILE }`, or `tls: development`";
            faults.add(fault.hint(hint));
        }
        if list.iter().any(|known| known.address == place) && place.port() != 0 {
            faults.bad_value(address.span, format!("`{place}` is there twice"), "write it once");
            continue;
        }
        list.push(Listen { address: place, tls: tls.is_some_and(|tls| tls.value) });
    }
    if list.len() > MAX_LISTEN {
        faults.bad_value(
            written.span,
            format!("more than {MAX_LISTEN} addresses"),
            "listen on `:8080` instead",
        );
    }
    if let Some(tls) = gateway.tls.as_ref().filter(|_| certificates && !list.iter().any(|listen| listen.tls))
    {
        let fault = Fault::error("A0321", tls.key, "there are certificates, and no address speaks TLS");
        let fault = fault.also(written.span, "all of these are in the clear");
        faults.add(fault.hint("say which one does: `listen: [8080, { address: 8443, tls: true }]`"));
    }
    list
}

/// Reads `8080`, `127.0.0.1:8080`, `[::1]:8080`, `localhost:8080`, `:8080`.
pub(super) fn parse_listen(text: &str) -> Option<SocketAddr> {
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

/// Notes fixed ports that two parties want: services, the gateway, and what serves queues and topics.
pub(crate) fn check_ports(app: &App, places: &BTreeMap<ServiceName, Span>, file: &File, faults: &mut Faults) {
    let listen = file.gateway.as_ref().and_then(|gateway| gateway.listen.as_ref());
    let pipes = file.pipes.as_ref().and_then(|pipes| pipes.listen.as_ref());
    let port_of_pipes = app.pipes.listen.map(|address| address.port()).filter(|port| *port != 0);
    if let Some(port) = port_of_pipes
        && app.gateway.listen.iter().any(|listen| listen.address.port() == port)
        && let Some(span) = pipes.map(|at| at.span).or(listen.map(|at| at.span))
    {
        let message = format!("the gateway and `pipes` both want port {port}");
        faults.add(Fault::error("A0310", span, message).hint("give one of them another port"));
    }
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
        if port_of_pipes == Some(port) {
            let message = format!("`{name}` wants port {port}, where queues and topics are served");
            let mut fault = Fault::error("A0310", span, message);
            if let Some(pipes) = pipes {
                fault = fault.also(pipes.span, "they are served here");
            }
            faults.add(fault.hint("leave `port` out: Atoll picks one; or move them with `pipes.listen`"));
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
