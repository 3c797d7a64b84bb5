//! What guards point at: services, which must be there and not lead in a circle, and files, whose paths
//! become absolute.

use std::collections::BTreeMap;
use std::path::Path;

use super::clean;
use super::graph::cycles;
use super::settle::Names;
use crate::fault::{Fault, Span};
use crate::spec::{App, Fallback, ServiceName};
use crate::text::decode::{Faults, shown};
use crate::text::gateway::GatewayText;
use crate::text::guard::Targets;
use crate::text::shape::{Form, Switch};
use crate::text::{At, Service};

impl Names {
    /// Checks that the services exist which `split`, `mirror` and `fallback` name; takes out those that are
    /// not enabled.
    pub(super) fn settle_targets(&self, name: &str, service: &mut Service, faults: &mut Faults) {
        let routes = service.routes.iter_mut().flat_map(|routes| &mut routes.value.0);
        for route in routes {
            self.settle_guard(name, route.options.targets(), faults);
        }
        for (_, call) in service.calls.iter_mut().flat_map(|calls| &mut calls.value.0) {
            self.settle_guard(name, call.value.targets(), faults);
        }
    }

    fn settle_guard(&self, name: &str, targets: Targets<'_>, faults: &mut Faults) {
        let Targets { fallback, split, mirror } = targets;
        if let Some(from) = fallback.as_ref().and_then(|at| at.from.as_ref())
            && !self.is_there(name, "falls back on", from, faults)
        {
            *fallback = None;
        }
        if let Some(list) = split {
            list.value.0.retain(|item| {
                item.to.as_ref().is_none_or(|to| self.is_there(name, "splits to", to, faults))
            });
        }
        let to = mirror.as_ref().and_then(|at| match &at.value {
            Form::Short(to) => Some(at.with(to.clone())),
            Form::Long(long) => long.to.clone(),
        });
        if let Some(to) = to
            && !self.is_there(name, "is mirrored to", &to, faults)
        {
            *mirror = None;
        }
    }

    /// Whether a service is enabled; notes it if not.
    fn is_there(&self, name: &str, verb: &str, other: &At<String>, faults: &mut Faults) -> bool {
        if self.enabled.contains(&other.value) {
            return true;
        }
        let message = format!("`{}` {verb} `{}`, which {}", shown(name), shown(other), self.state(other));
        let fault = if self.disabled.contains_key(&other.value) {
            Fault::warning("A0319", other.span, message).label("gone on as if this were not written")
        } else {
            Fault::error("A0319", other.span, message)
        };
        faults.add(if faults.full() { fault } else { fault.hint(self.hint(other)) });
        false
    }
}

/// Makes the paths of certificates and keys absolute: a file that stands on its own is read anywhere.
pub(super) fn absolute_files(gateway: &mut GatewayText, root: &Path) {
    let absolute = |at: &mut Option<At<String>>| {
        // An address that is no file is refused later, as it was written.
        if let Some(at) = at.as_mut().filter(|at| !at.value.is_empty() && !at.value.contains("://")) {
            at.value = clean(&root.join(&at.value)).to_string_lossy().into_owned();
        }
    };
    if let Some(Switch::Detail(list)) = gateway.tls.as_mut().map(|at| &mut at.value) {
        for item in &mut list.0 {
            if let Form::Long(long) = &mut item.value {
                absolute(&mut long.cert);
                absolute(&mut long.key);
            }
        }
    }
    for (_, scheme) in gateway.auth.iter_mut().flat_map(|auth| &mut auth.value.0) {
        if let Some(jwt) = &mut scheme.value.jwt {
            absolute(&mut jwt.value.jwks);
            absolute(&mut jwt.value.key);
            absolute(&mut jwt.value.secret);
        }
    }
}

/// Notes services that fall back on each other in a circle: the one that fails would be asked again.
pub(super) fn check_fallbacks(app: &App, services: &[(String, At<Service>)], faults: &mut Faults) {
    let mut edges: BTreeMap<&ServiceName, Vec<&ServiceName>> = BTreeMap::new();
    for service in app.services.values() {
        for route in &service.routes {
            if let Some(Fallback::From { service: Some(from), .. }) = &route.guard.fallback {
                edges.entry(&service.name).or_default().push(from);
            }
        }
        for (callee, call) in &service.calls {
            if let Some(Fallback::From { service: Some(from), .. }) = &call.guard.fallback {
                edges.entry(callee).or_default().push(from);
            }
        }
    }
    if edges.is_empty() {
        return;
    }
    let found = cycles(&edges).shown;
    if found.is_empty() {
        return;
    }
    let places = fallback_places(services);
    for cycle in found {
        let steps: Vec<(&str, &str)> = cycle
            .iter()
            .map(|name| name.as_str())
            .zip(cycle.iter().map(|name| name.as_str()).cycle().skip(1))
            .collect();
        let mut spans = steps.iter().filter_map(|step| Some((*places.get(step)?, step.0, step.1)));
        let Some((span, ..)) = spans.next() else { continue };
        let mut path: Vec<&str> = steps.iter().map(|(name, _)| *name).collect();
        path.extend(path.first().copied());
        const MOST: usize = 12;
        path.truncate(MOST);
        let message = format!("services fall back on each other: {}", path.join(" → "));
        let mut fault = Fault::error("A0320", span, message);
        for (span, from, to) in spans.take(MOST) {
            fault = fault.also(span, format!("`{from}` falls back on `{to}`"));
        }
        faults.add(
            fault.hint(
                "let the last of them answer by itself: `fallback: { status: 503 }` or `{ stale: 10m }`",
            ),
        );
    }
}

/// Where it is written that one service falls back on another.
fn fallback_places(services: &[(String, At<Service>)]) -> BTreeMap<(&str, &str), Span> {
    let mut places = BTreeMap::new();
    for (name, service) in services {
        let routes = service.routes.iter().flat_map(|routes| &routes.0);
        let of_routes = routes.map(|route| (name.as_str(), route.options.fallback.as_ref()));
        let calls = service.calls.iter().flat_map(|calls| &calls.0);
        let of_calls = calls.map(|(callee, call)| (callee.as_str(), call.fallback.as_ref()));
        for (guarded, fallback) in of_routes.chain(of_calls) {
            if let Some(from) = fallback.and_then(|fallback| fallback.from.as_ref()) {
                places.entry((guarded, from.value.as_str())).or_insert(from.span);
            }
        }
    }
    places
}
