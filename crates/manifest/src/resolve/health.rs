//! `healthcheck` → one probe and its times.

use std::time::Duration;

use crate::fault::{Fault, Span};
use crate::spec::{HealthCheck, Probe};
use crate::text::Service;
use crate::text::command::{Test, in_shell};
use crate::text::decode::Faults;
use crate::text::health;
use crate::text::shape::{Form, Switch};

/// Compose's defaults, for command checks.
const EXEC_INTERVAL: Duration = Duration::from_secs(30);
const EXEC_TIMEOUT: Duration = Duration::from_secs(30);
/// A probe of our own costs next to nothing: it may come more often.
const PROBE_INTERVAL: Duration = Duration::from_secs(5);
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);
const RETRIES: u32 = 3;

/// How to tell that an instance is ready; `None`: nothing says so.
pub(crate) fn check(service: &Service, faults: &mut Faults) -> Option<HealthCheck> {
    let written = service.healthcheck.as_ref()?;
    if written.disable.as_ref().is_some_and(|disable| disable.value) {
        return None;
    }
    let mut probes: Vec<(&str, Span, Option<Probe>)> = Vec::new();
    if let Some(at) = &written.http {
        probes.push(("http", at.key, http(&at.value, at.span, faults)));
    }
    if let Some(at) = &written.tcp {
        probes.push(("tcp", at.key, tcp(&at.value)));
    }
    if let Some(at) = &written.grpc {
        probes.push(("grpc", at.key, grpc(&at.value)));
    }
    if let Some(at) = &written.test {
        let probe = match &at.value {
            Test::None => None,
            Test::Exec(words) => Some(Probe::Exec(words.clone())),
            Test::Shell(text) => Some(Probe::Exec(in_shell(text))),
        };
        probes.push(("test", at.key, probe));
    }
    if let [(first, place, _), (second, span, _), ..] = &probes[..] {
        let message = format!("a health check asks one thing: `{first}` and `{second}` are both written");
        faults.add(Fault::error("A0203", *span, message).also(*place, "the first").hint("keep one of them"));
    }
    if probes.is_empty() {
        let fault = Fault::error("A0204", written.span, "the health check does not say what to ask");
        faults.add(fault.hint("add `http: /path`, `tcp: true`, `grpc: true` or `test: […]`"));
    }
    let probe = probes.into_iter().next()?.2?;
    let (interval, timeout) = match probe {
        Probe::Exec(_) => (EXEC_INTERVAL, EXEC_TIMEOUT),
        _ => (PROBE_INTERVAL, PROBE_TIMEOUT),
    };
    let positive = |at: &Option<crate::text::At<crate::text::scalar::Time>>, default, faults: &mut Faults| {
        let Some(at) = at else { return default };
        if at.value.0.is_zero() {
            return default; // Compose: zero means the default
        }
        if at.value.0 < MIN_TIME {
            faults.bad_value(at.span, "shorter than a millisecond", "write at least `1ms`");
        }
        at.value.0
    };
    Some(HealthCheck {
        probe,
        interval: positive(&written.interval, interval, faults),
        timeout: positive(&written.timeout, timeout, faults),
        retries: written.retries.as_ref().map_or(RETRIES, |retries| retries.value).max(1),
        start_period: written.start_period.as_ref().map_or(Duration::ZERO, |period| period.value.0),
        start_interval: written
            .start_interval
            .as_ref()
            .map(|time| time.value.0)
            .filter(|time| !time.is_zero()),
    })
}

/// No check comes more often, nor waits shorter.
const MIN_TIME: Duration = Duration::from_millis(1);

fn http(written: &Form<String, health::HttpProbe>, span: Span, faults: &mut Faults) -> Option<Probe> {
    let (path, port) = match written {
        Form::Short(path) => (path.clone(), None),
        Form::Long(long) => (long.path.as_ref()?.value.clone(), long.port.as_ref().map(|port| port.value)),
    };
    if !is_path(&path, span, "/healthz", faults) {
        return None;
    }
    Some(Probe::Http { path, port })
}

fn tcp(written: &Switch<Form<u16, health::TcpProbe>>) -> Option<Probe> {
    match written {
        Switch::Plain(false) => None,
        Switch::Plain(true) => Some(Probe::Tcp { port: None }),
        Switch::Detail(Form::Short(port)) => Some(Probe::Tcp { port: Some(*port) }),
        Switch::Detail(Form::Long(long)) => {
            Some(Probe::Tcp { port: long.port.as_ref().map(|port| port.value) })
        }
    }
}

fn grpc(written: &Switch<Form<String, health::GrpcProbe>>) -> Option<Probe> {
    match written {
        Switch::Plain(false) => None,
        Switch::Plain(true) => Some(Probe::Grpc { service: String::new(), port: None }),
        Switch::Detail(Form::Short(service)) => Some(Probe::Grpc { service: service.clone(), port: None }),
        Switch::Detail(Form::Long(long)) => Some(Probe::Grpc {
            service: long.service.as_ref().map(|service| service.value.clone()).unwrap_or_default(),
            port: long.port.as_ref().map(|port| port.value),
        }),
    }
}

/// Where a service says what it counts.
pub(super) fn metrics(service: &Service, faults: &mut Faults) -> Option<String> {
    let written = service.metrics.as_ref()?;
    is_path(&written.value, written.span, "/metrics", faults).then(|| written.value.clone())
}

fn is_path(path: &str, span: Span, such_as: &str, faults: &mut Faults) -> bool {
    let fits = path.starts_with('/') && path.bytes().all(|b| b.is_ascii_graphic()) && !path.contains('#');
    if !fits {
        let message = format!("`{}` is not a path", crate::text::decode::shown(path));
        faults.bad_value(span, message, format!("a path starts with `/`, such as `{such_as}`"));
    }
    fits
}
