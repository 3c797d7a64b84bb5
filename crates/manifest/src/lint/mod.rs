//! An architecture linter: rules over the whole graph of an app. It has never heard of YAML.

mod guards;
mod paths;
mod queues;
mod times;

use std::collections::{BTreeMap, BTreeSet};

use kit::Code;
use kit::units::format_duration;

use crate::fault::Severity;
use crate::resolve::cycles;
use crate::spec::{App, ServiceName};

/// Findings of one rule at most.
const MAX_PER_RULE: usize = 50;

/// Something about the app as a whole that is likely to hurt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Its kind: `atoll explain` has the page.
    pub code: Code,
    /// How bad it is. A cycle in `calls` is an error, the rest are warnings.
    pub severity: Severity,
    /// What is wrong: a lowercase fragment.
    pub message: String,
    /// The services it is about, in the order of the path.
    pub services: Vec<ServiceName>,
    /// What to do next.
    pub hint: Option<String>,
}

impl Finding {
    fn new(
        code: &'static str,
        severity: Severity,
        message: String,
        services: Vec<ServiceName>,
        hint: &str,
    ) -> Self {
        Self { code: Code::new(code), severity, message, services, hint: Some(hint.to_owned()) }
    }

    /// As one block of text: `warning[A0404]: …` and its hint.
    pub fn render(&self) -> String {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let hint = self.hint.as_ref().map(|hint| format!("  hint: {hint}\n")).unwrap_or_default();
        format!("{severity}[{}]: {}\n{hint}", self.code, self.message)
    }
}

/// Looks at the graph of `calls` and `routes` as a whole, at what guards them, and at queues.
pub fn lint(app: &App) -> Vec<Finding> {
    let mut findings = Vec::new();
    let in_cycle = call_cycles(app, &mut findings);
    times::inner_timeouts(app, &mut findings);
    findings.extend(paths::multiplied_retries(app, &in_cycle).into_iter().take(MAX_PER_RULE));
    routes_without_timeout(app, &mut findings);
    calls_without_check(app, &mut findings);
    guards::look(app, &mut findings);
    queues::look(app, &mut findings);
    findings
}

/// `a → b → c`.
fn arrows<'a>(names: impl IntoIterator<Item = &'a ServiceName>) -> String {
    names.into_iter().map(ServiceName::as_str).collect::<Vec<_>>().join(" → ")
}

/// Notes circles; returns services without which there would be none.
fn call_cycles(app: &App, findings: &mut Vec<Finding>) -> BTreeSet<ServiceName> {
    let edges: BTreeMap<&ServiceName, Vec<&ServiceName>> =
        app.services.values().map(|service| (&service.name, service.calls.keys().collect())).collect();
    let found = cycles(&edges);
    for cycle in found.shown {
        let shown = arrows(cycle.iter().copied().chain(cycle.first().copied()));
        let message = format!("services call each other in a circle: {shown}");
        let services = cycle.into_iter().cloned().collect();
        let hint =
            "turn one of the calls round, or let it be an event: a request could go round until it times out";
        findings.push(Finding::new("A0401", Severity::Error, message, services, hint));
    }
    found.knots.into_iter().cloned().collect()
}

fn routes_without_timeout(app: &App, findings: &mut Vec<Finding>) {
    const SHOWN: usize = 3;
    let mut found = 0;
    for service in app.services.values() {
        if found >= MAX_PER_RULE {
            break;
        }
        let bare: Vec<&str> = service
            .routes
            .iter()
            .filter(|route| !route.guard.timeout_written)
            .map(|route| route.name.as_str())
            .collect();
        let Some(first) = service.routes.iter().find(|route| !route.guard.timeout_written) else { continue };
        found += 1;
        let mut list = bare.iter().take(SHOWN).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        if bare.len() > SHOWN {
            list.push_str(&format!(" and {} more", bare.len() - SHOWN));
        }
        let message = format!("`{}` has routes without a timeout: {list}", service.name);
        let hint = format!(
            "say how long a user waits, for one (`timeout: 2s`) or for all (`gateway: {{ timeout: 5s }}`); until then it is {}",
            format_duration(first.guard.timeout)
        );
        findings.push(Finding::new("A0404", Severity::Warning, message, vec![service.name.clone()], &hint));
    }
}

fn calls_without_check(app: &App, findings: &mut Vec<Finding>) {
    let mut callers: BTreeMap<&ServiceName, Vec<&ServiceName>> = BTreeMap::new();
    for service in app.services.values() {
        for callee in service.calls.keys() {
            let unchecked = app.services.get(callee).is_some_and(|callee| callee.healthcheck.is_none());
            if unchecked {
                callers.entry(callee).or_default().push(&service.name);
            }
        }
    }
    for (callee, callers) in callers.into_iter().take(MAX_PER_RULE) {
        let by = callers.iter().take(3).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let more = if callers.len() > 3 { format!(" and {} more", callers.len() - 3) } else { String::new() };
        let message = format!("{by}{more} call `{callee}`, which has no health check");
        let message = if callers.len() == 1 { message.replace(" call ", " calls ") } else { message };
        let services = callers.into_iter().chain([callee]).cloned().collect();
        let hint =
            "give it one: `healthcheck: { http: /healthz }`; until then it is called as soon as it runs";
        findings.push(Finding::new("A0405", Severity::Warning, message, services, hint));
    }
}

#[cfg(test)]
mod tests;
