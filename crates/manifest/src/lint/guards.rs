//! Guards that do harm, or nothing, where they stand.

use http::Method;
use kit::units::format_duration;

use super::{Finding, MAX_PER_RULE};
use crate::fault::Severity;
use crate::spec::{App, Guard, LimitKey, Route, Service, ServiceName};

/// Looks at each route and call by itself, and at who can reach the gateway.
pub(super) fn look(app: &App, findings: &mut Vec<Finding>) {
    let rules: [fn(&App) -> Vec<Finding>; 5] =
        [repeated_writes, late_hedges, mirrored_writes, tokens_in_the_clear, limits_per_nobody];
    for rule in rules {
        findings.extend(rule(app).into_iter().take(MAX_PER_RULE));
    }
}

fn warning(code: &'static str, message: String, services: Vec<ServiceName>, hint: &str) -> Finding {
    Finding::new(code, Severity::Warning, message, services, hint)
}

fn routes(app: &App) -> impl Iterator<Item = (&Service, &Route)> {
    app.services.values().flat_map(|service| service.routes.iter().map(move |route| (service, route)))
}

/// Whether a request that comes in here may do something each time it is sent (RFC 9110, section 9.2.2).
fn may_write(route: &Route) -> bool {
    let repeatable = |method: &Method| {
        [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE, Method::PUT, Method::DELETE]
            .contains(method)
    };
    route.methods.is_empty() || !route.methods.iter().all(repeatable)
}

fn repeated_writes(app: &App) -> Vec<Finding> {
    const HINT: &str = "see that the service knows a request it has had, and say so with `idempotent`; or take `any_method` out";
    let repeated = |route: &Route| {
        route.guard.retry.any_method
            && route.guard.retry.attempts > 0
            && !route.guard.idempotent
            && may_write(route)
    };
    let found = routes(app).filter(|(_, route)| repeated(route));
    found
        .map(|(service, route)| {
            let message =
                format!("`{}` of `{}` is repeated, and may do its work twice", route.name, service.name);
            warning("A0406", message, vec![service.name.clone()], HINT)
        })
        .collect()
}

fn late_hedges(app: &App) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut note = |what: String, guard: &Guard, services: Vec<ServiceName>| {
        let Some(hedge) = guard.hedge.filter(|hedge| hedge.after >= guard.timeout) else { return };
        let message = format!(
            "{what} has ended after {} when its second try would begin, after {}",
            format_duration(guard.timeout),
            format_duration(hedge.after)
        );
        let hint = "let the second try begin where few requests are slower, such as `hedge: 50ms`";
        findings.push(warning("A0407", message, services, hint));
    };
    for (service, route) in routes(app) {
        note(format!("the route `{}`", route.name), &route.guard, vec![service.name.clone()]);
    }
    for service in app.services.values() {
        for (callee, call) in &service.calls {
            let services = vec![service.name.clone(), callee.clone()];
            note(format!("the call `{}` → `{callee}`", service.name), &call.guard, services);
        }
    }
    findings
}

fn mirrored_writes(app: &App) -> Vec<Finding> {
    const HINT: &str = "mirror only routes that read (`GET /x`), or see that the copy writes nowhere that counts, and say `idempotent`";
    let mut findings = Vec::new();
    for (service, route) in routes(app) {
        let Some(mirror) = &route.guard.mirror else { continue };
        if may_write(route) && !route.guard.idempotent {
            let message =
                format!("`{}` of `{}` is done a second time by `{}`", route.name, service.name, mirror.to);
            findings.push(warning("A0408", message, vec![service.name.clone(), mirror.to.clone()], HINT));
        }
    }
    findings
}

fn tokens_in_the_clear(app: &App) -> Vec<Finding> {
    let mut guarded = routes(app).filter(|(_, route)| route.auth.is_some());
    let Some((service, route)) = guarded.next() else { return Vec::new() };
    let open = app.gateway.listen.iter().filter(|listen| !listen.tls && !listen.address.ip().is_loopback());
    open.map(|listen| {
        let message = format!(
            "`{}` takes tokens, and `{}` can be reached from other machines without TLS",
            route.name, listen.address
        );
        let hint = "whoever reads along has the token: `{ address: …, tls: true }` with `gateway.tls`, or listen on this machine only behind something that has TLS";
        warning("A0409", message, vec![service.name.clone()], hint)
    })
    .collect()
}

fn limits_per_nobody(app: &App) -> Vec<Finding> {
    let per_user = |guard: &Guard| guard.limits.iter().any(|limit| limit.per == LimitKey::User);
    let mut findings = Vec::new();
    for (service, route) in routes(app) {
        if route.auth.is_none() && per_user(&route.guard) {
            let message = format!(
                "the limit of `{}` counts by user, and nobody checks who that is: it counts by address",
                route.name
            );
            let hint = "add `auth`, or write `per client`";
            findings.push(warning("A0410", message, vec![service.name.clone()], hint));
        }
    }
    for service in app.services.values() {
        for (callee, _) in service.calls.iter().filter(|(_, call)| per_user(&call.guard)) {
            let message =
                format!("the limit of `{}` → `{callee}` counts by user, and calls carry none", service.name);
            let hint = "write `per route`, or limit the route at the gateway";
            findings.push(warning("A0410", message, vec![service.name.clone(), callee.clone()], hint));
        }
    }
    findings
}
