//! Timeouts along a path. A timeout is the deadline of a request with all its tries, and it is lowered at
//! each hop to what is left: an inner one above the outer one never comes to bear.

use std::collections::BTreeMap;
use std::time::Duration;

use kit::units::format_duration;

use super::{Finding, MAX_PER_RULE};
use crate::fault::Severity;
use crate::spec::{App, Call, Service, ServiceName};

/// Notes an inner step that may take longer than whoever waits for it. Only timeouts that somebody wrote
/// are held against an outer one: the default gives way without a word.
pub(super) fn inner_timeouts(app: &App, findings: &mut Vec<Finding>) {
    const HINT: &str =
        "give the outer one more time, or the inner one less: what is left of the outer one is all it gets";
    let mut found = Vec::new();
    // The longest step below each service, so that services without a finding cost one look.
    let longest: BTreeMap<&ServiceName, Duration> = app
        .services
        .values()
        .filter_map(|service| Some((&service.name, written(service).map(|(_, time)| time).max()?)))
        .collect();
    for service in app.services.values() {
        // The tightest route stands for all of them.
        let Some(route) = service.routes.iter().min_by_key(|route| route.guard.timeout) else { continue };
        let outer = route.guard.timeout;
        if longest.get(&service.name).is_none_or(|longest| *longest <= outer) {
            continue;
        }
        let ends = format!("the route `{}` ends after {}", route.name, format_duration(outer));
        for (callee, inner) in written(service).filter(|(_, inner)| *inner > outer) {
            let message = format!("{}, but {ends}", may_take(&service.name, callee, inner));
            found.push((message, vec![service.name.clone(), callee.clone()]));
            if found.len() >= MAX_PER_RULE {
                break;
            }
        }
    }
    'all: for caller in app.services.values() {
        for (middle, outer) in &caller.calls {
            let outer = outer.guard.timeout;
            let Some(service) = app.services.get(middle) else { continue };
            if longest.get(middle).is_none_or(|longest| *longest <= outer) {
                continue;
            }
            let ends = format!("`{}` → `{middle}` ends after {}", caller.name, format_duration(outer));
            for (callee, inner) in written(service).filter(|(_, inner)| *inner > outer) {
                let message = format!("{}, but {ends}", may_take(middle, callee, inner));
                found.push((message, vec![caller.name.clone(), middle.clone(), callee.clone()]));
                if found.len() >= MAX_PER_RULE {
                    break 'all;
                }
            }
        }
    }
    for (message, services) in found.into_iter().take(MAX_PER_RULE) {
        findings.push(Finding::new("A0402", Severity::Warning, message, services, HINT));
    }
}

/// The calls of a service whose timeout somebody wrote.
fn written(service: &Service) -> impl Iterator<Item = (&ServiceName, Duration)> {
    let asked =
        |(callee, call): (_, &Call)| call.guard.timeout_written.then_some((callee, call.guard.timeout));
    service.calls.iter().filter_map(asked)
}

fn may_take(caller: &ServiceName, callee: &ServiceName, inner: Duration) -> String {
    format!("`{caller}` → `{callee}` may take {}", format_duration(inner))
}
