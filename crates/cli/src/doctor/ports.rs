//! Whether the usual ports are free, and who holds them where they are not.

use std::net::{Ipv4Addr, TcpListener};

use node::port_holder;

use super::Check;

/// The usual ports and what listens on them.
const USUAL: [(u16, &str); 5] = [
    (8080, "gateway"),
    (4566, "AWS wires"),
    (4317, "OTLP over gRPC"),
    (4318, "OTLP over HTTP"),
    (4000, "console"),
];

/// One check per port.
pub(super) fn check() -> Vec<Check> {
    USUAL.iter().map(|(port, role)| check_one(*port, role)).collect()
}

fn check_one(port: u16, role: &str) -> Check {
    let name = format!("port {port}");
    match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
        Ok(_) => Check::good(name, format!("free ({role})")),
        Err(error) => {
            let holder = port_holder::of_tcp_port(port)
                .map(|holder| format!(" by {} (pid {})", holder.command, holder.pid));
            let found = match &holder {
                Some(holder) => format!("in use{holder} ({role})"),
                None => format!("cannot be used: {error} ({role})"),
            };
            Check::worse(name, found, "stop what holds it, or run with `--isolated`")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Outcome;
    use super::*;

    #[test]
    fn a_port_in_use_is_told() {
        let holder = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = holder.local_addr().unwrap().port();
        let check = check_one(port, "gateway");
        assert_eq!((check.outcome, check.name), (Outcome::Worse, format!("port {port}")));
    }
}
