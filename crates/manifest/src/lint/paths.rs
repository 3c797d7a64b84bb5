//! Retries along a path: each level that tries again multiplies what reaches the last one. Only retries
//! that the file asks for count: the default is one, and its budget keeps it from multiplying.

use std::collections::{BTreeMap, BTreeSet};

use super::{Finding, arrows};
use crate::fault::Severity;
use crate::spec::{App, Guard, ServiceName};

/// From one service on: the most attempts that may reach the end of a path, and where it goes.
#[derive(Clone, Copy)]
struct Worst<'a> {
    /// Attempts at the last service for one request at the first; saturates.
    attempts: u64,
    /// Calls on the path that retry.
    levels: u32,
    /// The next service on the path.
    next: Option<&'a ServiceName>,
}

/// One finding for each service that nobody calls, or that has routes, with two or more levels of retries
/// below it. Services in a cycle are left out: there the product has no end, and the cycle is a finding.
pub(super) fn multiplied_retries(app: &App, in_cycle: &BTreeSet<ServiceName>) -> Vec<Finding> {
    let called: BTreeSet<&ServiceName> =
        app.services.values().flat_map(|service| service.calls.keys()).collect();
    let mut worst: BTreeMap<&ServiceName, Worst<'_>> = BTreeMap::new();
    let mut findings = Vec::new();
    for service in app.services.values() {
        if in_cycle.contains(&service.name) || (called.contains(&service.name) && service.routes.is_empty()) {
            continue;
        }
        let found = settle(app, &service.name, in_cycle, &mut worst);
        // The gateway is a level of its own.
        let entrance = service.routes.iter().map(|route| retries(&route.guard)).max().unwrap_or(0);
        if found.levels + u32::from(entrance > 0) < 2 {
            continue;
        }
        let path = path_from(&service.name, &worst);
        let attempts = found.attempts.saturating_mul(u64::from(entrance) + 1);
        let message =
            format!("one request may become {attempts} attempts: {}", described(app, entrance, &path));
        let services = path.into_iter().cloned().collect();
        let hint = "retry at one level only, best the one next to what fails";
        findings.push(Finding::new("A0403", Severity::Warning, message, services, hint));
    }
    findings
}

/// Finds the worst path from `start` on, and from everything below. Iterative, each service once.
fn settle<'a>(
    app: &'a App,
    start: &'a ServiceName,
    in_cycle: &BTreeSet<ServiceName>,
    worst: &mut BTreeMap<&'a ServiceName, Worst<'a>>,
) -> Worst<'a> {
    let mut open = vec![start];
    while let Some(&name) = open.last() {
        if worst.contains_key(name) {
            open.pop();
            continue;
        }
        let mut best = Worst { attempts: 1, levels: 0, next: None };
        let mut waiting = false;
        for (callee, call) in app.services.get(name).into_iter().flat_map(|service| &service.calls) {
            if in_cycle.contains(callee) {
                continue;
            }
            let Some(below) = worst.get(callee) else {
                open.push(callee);
                waiting = true;
                continue;
            };
            let retries = retries(&call.guard);
            let attempts = below.attempts.saturating_mul(u64::from(retries) + 1);
            let levels = below.levels + u32::from(retries > 0);
            if (attempts, levels) > (best.attempts, best.levels) {
                best = Worst { attempts, levels, next: Some(callee) };
            }
        }
        if !waiting {
            worst.insert(name, best);
            open.pop();
        }
    }
    worst.get(start).copied().unwrap_or(Worst { attempts: 1, levels: 0, next: None })
}

fn path_from<'a>(
    start: &'a ServiceName,
    worst: &BTreeMap<&'a ServiceName, Worst<'a>>,
) -> Vec<&'a ServiceName> {
    let mut path = vec![start];
    while let Some(next) = path.last().and_then(|name| worst.get(*name)).and_then(|worst| worst.next) {
        path.push(next);
    }
    path
}

/// Further tries that the file asks for.
fn retries(guard: &Guard) -> u32 {
    if guard.retry.written { guard.retry.attempts } else { 0 }
}

/// `a → b (3 tries) → c (2 tries)`; the gateway before them if it tries again.
fn described(app: &App, entrance: u32, path: &[&ServiceName]) -> String {
    let mut text = arrows(path.first().copied());
    if entrance > 0 {
        text = format!("gateway → {text} ({} tries)", u64::from(entrance) + 1);
    }
    for pair in path.windows(2) {
        let [from, to] = pair else { continue };
        let retries = app
            .services
            .get(*from)
            .and_then(|from| from.calls.get(*to))
            .map_or(0, |call| retries(&call.guard));
        text.push_str(&format!(" → {to}"));
        if retries > 0 {
            text.push_str(&format!(" ({} tries)", u64::from(retries) + 1));
        }
    }
    text
}
