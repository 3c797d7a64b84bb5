//! From the text form to [`spec`](crate::spec): defaults filled in, names looked up, what belongs together
//! checked together. Every fault is noted and the walk goes on.

mod balance;
mod console;
mod detour;
mod edge;
mod env_files;
mod gateway;
mod graph;
mod guard;
mod health;
mod limit;
mod mail;
mod pipes;
mod process;
mod routes;
mod select;
mod settle;
mod slo;
mod targets;
mod telemetry;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

pub(crate) use graph::cycles;
pub use select::{SelectError, select};
pub(crate) use settle::{Surroundings, settle};

use crate::fault::{Fault, Severity, Span};
use crate::spec::{
    App, AppName, Call, Condition, Console, Dependency, Gateway, LimitKey, Pipes, Scale, Service,
    ServiceName, Work,
};
use crate::text::decode::{Faults, shown};
use crate::text::gateway::GatewayText;
use crate::text::guard::Written;
use crate::text::service::DependencyCondition;
use crate::text::shape::Form;
use crate::text::{self, At, File};
use graph::EdgePlaces;

/// Instances of one service at most.
const MAX_REPLICAS: u32 = 1000;
/// How long an instance may take to end where the file says nothing; Compose's default.
const STOP_GRACE: Duration = Duration::from_secs(10);

/// Resolves a settled file. Where something is wrong, what comes out is not to be used.
pub(crate) fn resolve(file: &File, name: AppName, root: &Path, faults: &mut Faults) -> App {
    let services: &[(String, At<text::Service>)] = file.services.as_ref().map_or(&[], |services| &services.0);
    let mut resolver = Resolver {
        root,
        gateway: file.gateway.as_ref(),
        awaited: awaited(services),
        dependency_places: EdgePlaces::new(),
        port_places: BTreeMap::new(),
        faults,
    };
    let mut app = App {
        name,
        root: root.to_owned(),
        services: BTreeMap::new(),
        gateway: Gateway::default(),
        pipes: Pipes::default(),
        telemetry: None,
        console: Console::default(),
    };
    for (name, service) in services {
        if let Some(service) = resolver.service(name, service) {
            app.services.insert(service.name.clone(), service);
        }
    }
    let Resolver { dependency_places, port_places, .. } = resolver;

    let mut placed = Vec::new();
    for (name, service) in services {
        let Some(resolved) = name.parse().ok().and_then(|name: ServiceName| app.services.get(&name)) else {
            continue;
        };
        let written = service.routes.iter().flat_map(|routes| &routes.0);
        // Only when every route of the service was understood do the two lists go side by side.
        if written.clone().count() == resolved.routes.len() {
            placed.extend(written.zip(&resolved.routes).map(|(written, route)| routes::Placed {
                service: name,
                route,
                span: written.pattern.span,
            }));
        }
    }
    routes::conflicts(&placed, faults);
    graph::check_dependencies(&app, &dependency_places, faults);
    targets::check_fallbacks(&app, services, faults);
    let has_routes = app.services.values().any(|service| !service.routes.is_empty());
    app.gateway = gateway::resolve(file, has_routes, faults);
    app.pipes = pipes::resolve(file, &awaited(services), faults);
    app.telemetry = telemetry::resolve(file, &app.pipes, faults);
    app.console = console::resolve(file, faults);
    gateway::check_ports(&app, &port_places, file, faults);
    app
}

/// Services that another one waits for to run to their end.
fn awaited(services: &[(String, At<text::Service>)]) -> BTreeSet<&str> {
    let dependencies =
        services.iter().flat_map(|(_, service)| service.depends_on.iter().flat_map(|list| &list.0));
    dependencies
        .filter(|(_, options)| {
            options.condition.as_ref().is_some_and(|at| at.value == DependencyCondition::Completed)
        })
        .map(|(name, _)| name.as_str())
        .collect()
}

struct Resolver<'a> {
    root: &'a Path,
    gateway: Option<&'a At<GatewayText>>,
    awaited: BTreeSet<&'a str>,
    dependency_places: EdgePlaces,
    port_places: BTreeMap<ServiceName, Span>,
    faults: &'a mut Faults,
}

impl Resolver<'_> {
    fn service(&mut self, text_name: &str, written: &At<text::Service>) -> Option<Service> {
        let name: ServiceName = match text_name.parse() {
            Ok(name) => name,
            Err(bad) => {
                let message = format!("`{}` is not a name for a service", shown(text_name));
                self.faults
                    .add(Fault::error("A0301", written.key, message).hint(format!("use {}", bad.rule)));
                return None;
            }
        };
        let environment: BTreeMap<String, String> = written
            .environment
            .iter()
            .flat_map(|pairs| &pairs.0)
            .filter_map(|(key, at)| Some((key.clone(), at.value.clone()?)))
            .collect();
        let work = process::work(text_name, written, (written.key, written.span), self.faults);
        let service = Service {
            port: self.port(&name, written),
            user: process::user(written, self.faults),
            ulimits: process::ulimits(written, self.faults),
            limits: process::limits(written, self.faults),
            restart: process::restart(written, self.awaited.contains(text_name), self.faults),
            stop_signal: process::stop_signal(written, self.faults),
            stop_grace: written.stop_grace_period.as_ref().map_or(STOP_GRACE, |grace| grace.value.0),
            depends_on: self.dependencies(&name, written),
            healthcheck: health::check(written, self.faults),
            metrics: health::metrics(written, self.faults),
            slo: slo::slo(written.slo.as_ref(), self.faults),
            measures: slo::measures(written.measures.as_ref(), self.faults),
            wire: balance::wire(written),
            balance: balance::balance(written, self.faults),
            scale: self.scale(written),
            routes: routes::of_service(
                &name,
                written,
                self.gateway.map(|gateway| &gateway.value),
                self.faults,
            ),
            calls: self.calls(&name, written),
            logging: process::logging(written, self.faults),
            labels: labels(written),
            prepare: self.prepare(written),
            working_dir: self.working_dir(written),
            environment,
            work: work.unwrap_or_else(|| Work::Unsupported(String::new())), // noted: the app is not used
            name,
        };
        Some(service)
    }

    fn prepare(&mut self, written: &text::Service) -> Option<Vec<String>> {
        let prepare = written.prepare.as_ref()?;
        if prepare.0.first().is_none_or(|program| program.trim().is_empty()) {
            self.faults.bad_value(
                prepare.span,
                "there is no command here",
                "write it like `cargo build --release`",
            );
        }
        Some(prepare.value.0.clone())
    }

    fn working_dir(&self, written: &text::Service) -> PathBuf {
        let Some(dir) = &written.working_dir else { return self.root.to_owned() };
        clean(&self.root.join(dir.as_str()))
    }

    fn port(&mut self, name: &ServiceName, written: &text::Service) -> Option<u16> {
        if let Some(port) = &written.port {
            self.port_places.insert(name.clone(), port.span);
            return Some(port.value);
        }
        // Programs that read `PORT` do so whoever set it.
        let pairs = written.environment.as_ref()?;
        let (_, at) = pairs.0.iter().find(|(key, _)| key == "PORT")?;
        let port = at.value.as_deref()?.parse().ok().filter(|port| *port != 0)?;
        self.port_places.insert(name.clone(), at.span);
        Some(port)
    }

    fn dependencies(
        &mut self,
        name: &ServiceName,
        written: &text::Service,
    ) -> BTreeMap<ServiceName, Dependency> {
        let mut dependencies = BTreeMap::new();
        for (other, options) in written.depends_on.iter().flat_map(|list| &list.0) {
            let Ok(other) = other.parse::<ServiceName>() else { continue }; // noted where it is defined
            self.dependency_places.insert((name.clone(), other.clone()), options.key);
            let condition = match options.condition.as_ref().map(|at| at.value) {
                Some(DependencyCondition::Healthy) => Condition::Healthy,
                Some(DependencyCondition::Completed) => Condition::Completed,
                Some(DependencyCondition::Started) | None => Condition::Started,
            };
            let flag = |at: &Option<At<bool>>, default| at.as_ref().map_or(default, |at| at.value);
            let dependency = Dependency {
                condition,
                restart: flag(&options.restart, false),
                required: flag(&options.required, true),
            };
            dependencies.insert(other, dependency);
        }
        dependencies
    }

    fn calls(&mut self, name: &ServiceName, written: &text::Service) -> BTreeMap<ServiceName, Call> {
        let mut calls = BTreeMap::new();
        let mut prefixes: BTreeMap<String, (String, Span)> = BTreeMap::new();
        for (callee, options) in written.calls.iter().flat_map(|list| &list.0) {
            let Ok(callee) = callee.parse::<ServiceName>() else { continue }; // noted where it is defined
            if let Some((other, place)) = prefixes.get(&callee.env_prefix()) {
                let variable = format!("{}_URL", callee.env_prefix());
                let message = format!("`{other}` and `{callee}` would both be `{variable}` in `{name}`");
                let fault = Fault::error("A0315", options.key, message).also(*place, "the first");
                self.faults.add(fault.hint("rename one of the two services"));
            }
            prefixes.insert(callee.env_prefix(), (callee.to_string(), options.key));
            let guarded = guard::Guarded { service: Some(&callee), limit_key: LimitKey::Route };
            let call =
                Call { guard: guard::guard(options.guards(), Written::default(), &guarded, self.faults) };
            calls.insert(callee, call);
        }
        calls
    }

    fn scale(&mut self, written: &text::Service) -> Scale {
        let fixed = written.scale.as_ref().and_then(|at| match &at.value {
            Form::Short(count) => Some((*count, at.span)),
            Form::Long(_) => None,
        });
        let replicas = written.deploy.as_ref().and_then(|deploy| deploy.replicas.as_ref());
        let counted = process::one_of(
            fixed,
            replicas.map(|at| (at.value, at.span)),
            ["scale", "deploy.replicas"],
            self.faults,
        );
        let bounds = match written.scale.as_ref().map(|at| &at.value) {
            Some(Form::Long(bounds)) => Some(bounds),
            _ => None,
        };
        let Some(bounds) = bounds else {
            let replicas = counted.map_or(1, |(count, span)| self.count(count, span));
            return Scale { replicas, min: replicas, max: replicas, target: BTreeMap::new(), predict: false };
        };
        let mut bound = |at: &Option<At<u32>>| at.as_ref().map(|at| self.count(at.value, at.span));
        let (min, max) = (bound(&bounds.min), bound(&bounds.max));
        let replicas = counted.map(|(count, span)| self.count(count, span)).or(min).unwrap_or(1);
        let min = min.unwrap_or_else(|| max.map_or(replicas, |max| replicas.min(max)));
        let max = max.unwrap_or_else(|| min.max(replicas));
        if min > max
            && let Some(at) = &bounds.min
        {
            self.faults.bad_value(
                at.span,
                format!("`min` {min} is above `max` {max}"),
                "raise `max` or lower `min`",
            );
        }
        let mut target = BTreeMap::new();
        for (key, at) in bounds.target.iter().flat_map(|target| &target.0) {
            if at.value <= 0.0 {
                self.faults.bad_value(at.span, "a target is above zero", "write it like `concurrency: 32`");
            }
            target.insert(key.clone(), at.value);
        }
        let predict = bounds.predict.as_ref().is_some_and(|predict| predict.value);
        Scale { replicas, min, max, target, predict }
    }

    fn count(&mut self, count: u32, span: Span) -> u32 {
        if count > MAX_REPLICAS {
            let message = format!("more than {MAX_REPLICAS} instances on one node");
            self.faults.bad_value(span, message, "spread them over several services or nodes");
        }
        count.min(MAX_REPLICAS)
    }
}

/// The path without `.` and `..`, by its text alone (as Compose does it).
fn clean(path: &Path) -> PathBuf {
    let mut cleaned = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                cleaned.pop();
            }
            other => cleaned.push(other),
        }
    }
    cleaned
}

fn labels(written: &text::Service) -> BTreeMap<String, String> {
    let pairs = written.annotations.iter().chain(&written.labels).flat_map(|pairs| &pairs.0);
    pairs.map(|(key, at)| (key.clone(), at.value.clone().unwrap_or_default())).collect()
}

/// Notes a file without services.
pub(crate) fn check_not_empty(file: &File, span: Span, faults: &mut Faults) {
    // Services that could not be read are told of already.
    if file.services.as_ref().is_none_or(|services| services.0.is_empty()) && !faults.any_error() {
        let place = file.services.as_ref().map_or(span, |services| services.key);
        let fault = Fault::new(Severity::Error, "A0317", Some(place), "the file has no services");
        faults.add(fault.hint("write one: `services: { web: { command: [./web] } }`"));
    }
}
