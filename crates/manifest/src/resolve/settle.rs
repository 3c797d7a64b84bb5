//! Makes a text form stand on its own: profiles applied, environment files and the command's environment
//! folded in, name and directory written down. What is left needs no other file and no variable.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::env_files::EnvFiles;
use super::targets;
use crate::fault::{Fault, Sources, Span};
use crate::text::decode::{At, Faults, shown};
use crate::text::shape::{Pairs, near_hint};
use crate::text::{File, Service, support};

/// Bytes of environment over all services; an environment file that every one of a thousand services names
/// must not fill the memory.
const MAX_ENVIRONMENT_BYTES: usize = 16 << 20;

/// What the text form is settled with.
pub(crate) struct Surroundings<'a> {
    /// The project directory.
    pub(crate) root: &'a Path,
    /// Active profiles; `*` is all of them.
    pub(crate) profiles: &'a [String],
    /// Services named on the command line: enabled whatever their profiles.
    pub(crate) named: &'a [String],
    /// What a variable without a value is taken from.
    pub(crate) variables: &'a BTreeMap<String, String>,
}

/// Settles `file`. Warns about keys that are not acted on, in enabled services only.
pub(crate) fn settle(file: &mut File, around: &Surroundings<'_>, sources: &mut Sources, faults: &mut Faults) {
    let disabled = drop_disabled(file, around);
    support::warn(file, faults);
    file.version = None;
    file.include = None;
    let enabled: BTreeSet<String> =
        file.services.iter().flat_map(|services| &services.0).map(|(name, _)| name.clone()).collect();
    let names = Names { enabled, disabled };
    if let Some(gateway) = &mut file.gateway {
        targets::absolute_files(&mut gateway.value, around.root);
    }
    let mut env_files = EnvFiles::new(around.root, around.variables);
    let mut bytes = 0;
    for (name, service) in file.services.iter_mut().flat_map(|services| &mut services.value.0) {
        let service = &mut service.value;
        service.profiles = None;
        service.extends = None;
        names.settle_dependencies(name, service, faults);
        names.settle_calls(name, service, faults);
        names.settle_targets(name, service, faults);
        names.settle_pipes(service, faults);
        bytes += fold_environment(service, around, &mut env_files, sources, faults);
        fold_labels(service, &mut env_files, sources, faults);
        if bytes > MAX_ENVIRONMENT_BYTES {
            let message =
                format!("the environment of all services grows past {} MiB", MAX_ENVIRONMENT_BYTES >> 20);
            let span = service.environment.as_ref().map(|at| at.key);
            let fault = Fault::new(crate::Severity::Error, "A0308", span, message);
            faults.add(fault.hint("hand large texts over in files"));
            return;
        }
    }
}

/// Removes services whose profiles are not active; returns them with their profiles.
fn drop_disabled(file: &mut File, around: &Surroundings<'_>) -> BTreeMap<String, Vec<String>> {
    let mut disabled = BTreeMap::new();
    let Some(services) = &mut file.services else { return disabled };
    let named = named_with_dependencies(&services.value.0, around.named);
    let active = |profile: &str| around.profiles.iter().any(|one| one == "*" || one == profile);
    services.value.0.retain(|(name, service)| {
        let profiles = profiles(service);
        let enabled =
            profiles.is_empty() || profiles.iter().any(|profile| active(profile)) || named.contains(name);
        if !enabled {
            disabled.insert(name.clone(), profiles.iter().map(|profile| profile.value.clone()).collect());
        }
        enabled
    });
    disabled
}

fn profiles(service: &Service) -> &[At<String>] {
    service.profiles.as_ref().map_or(&[], |list| &list.value.0)
}

/// The services that were named, and what they depend on as far as it is in one of their own profiles: as
/// in Compose, naming a service enables its profiles for it.
fn named_with_dependencies(services: &[(String, At<Service>)], named: &[String]) -> BTreeSet<String> {
    if named.is_empty() {
        return BTreeSet::new();
    }
    let by_name: BTreeMap<&str, &Service> =
        services.iter().map(|(name, service)| (name.as_str(), &service.value)).collect();
    let mut found = BTreeSet::new();
    let mut open: Vec<&str> = named.iter().map(String::as_str).collect();
    while let Some(name) = open.pop() {
        let Some(service) = by_name.get(name) else { continue };
        if !found.insert(name.to_owned()) {
            continue;
        }
        for (other, _) in service.depends_on.iter().flat_map(|list| &list.0) {
            let shares = by_name.get(other.as_str()).is_some_and(|other| {
                profiles(other).iter().any(|one| profiles(service).iter().any(|two| one.value == two.value))
            });
            if shares {
                open.push(other);
            }
        }
    }
    found
}

/// The services of the app, and those that are not enabled with their profiles.
pub(super) struct Names {
    pub(super) enabled: BTreeSet<String>,
    pub(super) disabled: BTreeMap<String, Vec<String>>,
}

impl Names {
    /// How to get a service that is not enabled, or which one was meant.
    pub(super) fn hint(&self, name: &str) -> String {
        match self.disabled.get(name) {
            Some(profiles) => format!("enable it with `--profile {}`", profiles.join("` or `--profile ")),
            None => {
                let known = self.enabled.iter().chain(self.disabled.keys()).map(String::as_str);
                near_hint(name, known).unwrap_or_else(|| "write the service, or take the name out".to_owned())
            }
        }
    }

    pub(super) fn state(&self, name: &str) -> &'static str {
        if self.disabled.contains_key(name) {
            "is in a profile that is not active"
        } else {
            "is no service of this app"
        }
    }

    /// Checks that dependencies exist; takes out those that need not.
    fn settle_dependencies(&self, name: &str, service: &mut Service, faults: &mut Faults) {
        let Some(dependencies) = &mut service.depends_on else { return };
        dependencies.value.0.retain(|(other, options)| {
            if self.enabled.contains(other) {
                return true;
            }
            let message =
                format!("`{}` depends on `{}`, which {}", shown(name), shown(other), self.state(other));
            let fault = if options.required.as_ref().is_some_and(|required| !required.value) {
                Fault::warning("A0303", options.key, message).label("gone on without, as it is not required")
            } else {
                Fault::error("A0303", options.key, message)
            };
            faults.add(if faults.full() { fault } else { fault.hint(self.hint(other)) });
            false
        });
    }

    /// Checks that callees exist; takes out those that are not enabled.
    fn settle_calls(&self, name: &str, service: &mut Service, faults: &mut Faults) {
        let Some(calls) = &mut service.calls else { return };
        calls.value.0.retain(|(other, options)| {
            if self.enabled.contains(other) {
                return true;
            }
            let message = format!("`{}` calls `{}`, which {}", shown(name), shown(other), self.state(other));
            let fault = if self.disabled.contains_key(other) {
                Fault::warning("A0314", options.key, message).label("it gets no address for it")
            } else {
                Fault::error("A0305", options.key, message)
            };
            faults.add(if faults.full() { fault } else { fault.hint(self.hint(other)) });
            false
        });
    }
}

/// Folds `env_file` and the command's environment into `environment`; returns its size in bytes.
fn fold_environment(
    service: &mut Service,
    around: &Surroundings<'_>,
    env_files: &mut EnvFiles<'_>,
    sources: &mut Sources,
    faults: &mut Faults,
) -> usize {
    let files = service.env_file.take();
    if files.is_none() && service.environment.is_none() {
        return 0;
    }
    let mut folded: BTreeMap<String, At<Option<String>>> = BTreeMap::new();
    for item in files.iter().flat_map(|files| &files.0) {
        for (key, value) in env_files.read(item, sources, faults).iter() {
            folded.insert(key.clone(), At { value: Some(value.clone()), span: item.span, key: item.key });
        }
    }
    let mut place: Option<(Span, Span)> = files.map(|files| (files.span, files.key));
    if let Some(written) = service.environment.take() {
        place = Some((written.span, written.key));
        for (key, at) in written.value.0 {
            check_name(&key, at.key, faults);
            let value = at.value.clone().or_else(|| around.variables.get(&key).cloned());
            match value {
                Some(value) => folded.insert(key, at.with(Some(value))),
                // As Compose: a variable that is set nowhere is not handed on.
                None => folded.remove(&key),
            };
        }
    }
    let bytes = folded.iter().map(|(key, at)| key.len() + at.value.as_ref().map_or(0, String::len)).sum();
    service.environment =
        place.map(|(span, key)| At { value: Pairs(folded.into_iter().collect()), span, key });
    bytes
}

fn check_name(key: &str, span: Span, faults: &mut Faults) {
    if key.is_empty() || key.contains(['=', '\0']) {
        let message = format!("`{}` cannot be the name of a variable", shown(key));
        faults.bad_value(span, message, "a name is not empty and has no `=`");
    }
}

fn fold_labels(
    service: &mut Service,
    env_files: &mut EnvFiles<'_>,
    sources: &mut Sources,
    faults: &mut Faults,
) {
    let Some(files) = service.label_file.take() else { return };
    let mut folded: BTreeMap<String, At<Option<String>>> = BTreeMap::new();
    for item in &files.0 {
        for (key, value) in env_files.read_labels(item, sources, faults).iter() {
            folded.insert(key.clone(), At { value: Some(value.clone()), span: item.span, key: item.key });
        }
    }
    folded.extend(service.labels.take().into_iter().flat_map(|labels| labels.value.0));
    let labels = Pairs(folded.into_iter().collect());
    service.labels = Some(At { value: labels, span: files.span, key: files.key });
}
