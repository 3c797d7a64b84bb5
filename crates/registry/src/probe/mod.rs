//! Asking an instance how it is. One file per kind of check; each says in one line why it failed.

mod exec;
mod grpc;
mod http;
mod tcp;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use manifest::spec::{HealthCheck, InstanceId, Probe};

pub use exec::ExecProbe;

/// What checks call themselves in `User-Agent`.
const USER_AGENT: &str = "atoll-health";
/// The reason why a check failed is cut at this many characters.
const MAX_REASON_CHARS: usize = 200;

/// What to ask whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// `GET path`.
    Http { address: SocketAddr, path: String },
    /// Whether a connection opens.
    Tcp { address: SocketAddr },
    /// The standard gRPC health service.
    Grpc { address: SocketAddr, service: String },
    /// A command.
    Exec { command: Vec<String> },
    /// Nothing: that it has not ended is all that can be known.
    Alive,
    /// A check by network of an instance that has no port.
    Nowhere,
}

impl Target {
    /// What `check` asks of an instance at `address`. A port of the check's own is one of the same machine.
    pub(crate) fn of(check: &HealthCheck, address: Option<SocketAddr>) -> Self {
        let at = |port: Option<u16>| match (port, address) {
            (None, own) => own,
            (Some(port), Some(own)) => Some(SocketAddr::new(own.ip(), port)),
            (Some(port), None) => Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)),
        };
        let target = match &check.probe {
            Probe::Exec(command) => Some(Self::Exec { command: command.clone() }),
            Probe::Tcp { port } => at(*port).map(|address| Self::Tcp { address }),
            Probe::Http { path, port } => at(*port).map(|address| Self::Http { address, path: path.clone() }),
            Probe::Grpc { service, port } => {
                at(*port).map(|address| Self::Grpc { address, service: service.clone() })
            }
        };
        target.unwrap_or(Self::Nowhere)
    }

    /// Whether asking starts a process.
    pub(crate) fn is_exec(&self) -> bool {
        matches!(self, Self::Exec { .. })
    }
}

/// Asks once. `Err` says why it did not pass, in one line. Dropping the future ends the check.
pub(crate) async fn run(
    target: &Target,
    id: &InstanceId,
    timeout: Duration,
    exec: &Arc<dyn ExecProbe>,
) -> Result<(), String> {
    let (limit, asked) = match target {
        Target::Exec { command } => {
            return exec::check(exec.as_ref(), id, command, timeout).await.map_err(|why| one_line(&why));
        }
        Target::Alive => return Ok(()), // one that has ended is not registered any more
        Target::Nowhere => return Err("there is no port to check".to_owned()),
        Target::Tcp { address } => (tokio::time::timeout(timeout, tcp::check(*address)).await, String::new()),
        Target::Http { address, path } => {
            (tokio::time::timeout(timeout, http::check(*address, path)).await, format!("GET {path}: "))
        }
        Target::Grpc { address, service } => {
            let asked = tokio::time::timeout(timeout, grpc::check(*address, service, timeout)).await;
            (asked, "grpc.health.v1: ".to_owned())
        }
    };
    match limit {
        Ok(outcome) => outcome.map_err(|why| one_line(&why)),
        Err(_) => Err(one_line(&format!("{asked}no answer within {}", kit::units::format_duration(timeout)))),
    }
}

/// Text from outside becomes one line of bounded length without control characters.
fn one_line(text: &str) -> String {
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    let mut line: String = text.trim().chars().map(clean).take(MAX_REASON_CHARS + 1).collect();
    if line.chars().count() > MAX_REASON_CHARS {
        line = line.chars().take(MAX_REASON_CHARS - 1).chain(['…']).collect();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(probe: Probe) -> HealthCheck {
        let second = Duration::from_secs(1);
        let (retries, start_period, start_interval) = (3, Duration::ZERO, None);
        HealthCheck { probe, interval: second, timeout: second, retries, start_period, start_interval }
    }

    #[test]
    fn a_check_goes_to_its_own_port_or_else_to_the_instances() {
        let own: SocketAddr = "127.0.0.7:20001".parse().unwrap();
        let tcp = |port, address| Target::of(&check(Probe::Tcp { port }), address);
        assert_eq!(tcp(None, Some(own)), Target::Tcp { address: own });
        assert_eq!(tcp(Some(9), Some(own)), Target::Tcp { address: "127.0.0.7:9".parse().unwrap() });
        assert_eq!(tcp(Some(9), None), Target::Tcp { address: "127.0.0.1:9".parse().unwrap() });
        assert_eq!(tcp(None, None), Target::Nowhere);
    }

    #[test]
    fn a_reason_is_one_bounded_line() {
        assert_eq!(one_line("  exit status 1\nbad\tluck \u{1b}[31m"), "exit status 1 bad luck  [31m");
        assert_eq!(one_line(&"ä".repeat(1000)).chars().count(), MAX_REASON_CHARS);
    }
}
