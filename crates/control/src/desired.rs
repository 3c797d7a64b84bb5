//! What should be.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use manifest::spec::{App, Guard, Service, ServiceName};
use sha2::{Digest, Sha256};

use crate::fleet::Place;

/// What should be: the services of the app, or that nothing runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Desired {
    /// Run, or go down.
    pub goal: Goal,
    /// The services, by name.
    pub services: BTreeMap<ServiceName, Want>,
    /// Replicas to restart although nothing changed: each with the run that has to go.
    pub restarts: BTreeMap<Place, u32>,
}

/// Run, or go down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Goal {
    /// Run what is wanted.
    #[default]
    Run,
    /// Stop everything; `grace` overrides each service's own.
    Down {
        /// How long instances may take to end.
        grace: Option<Duration>,
    },
}

/// One service as it should be.
#[derive(Clone, Debug, PartialEq)]
pub struct Want {
    /// What the app says of it.
    pub service: Service,
    /// How many instances.
    pub replicas: u32,
    /// Where it reaches those it may call.
    pub urls: BTreeMap<ServiceName, SocketAddr>,
    /// What the platform puts into its environment beside addresses: where pipes are, and credentials for them.
    pub given: BTreeMap<String, String>,
    /// Whether somebody reaches it through the proxy or a check on a port, so that it must listen.
    pub listens: bool,
    /// Digest of [`parts`]: an instance with another revision is replaced.
    pub revision: String,
    /// Digest of what its `prepare` command is; equal commands of several services run once.
    pub prepare_key: Option<String>,
}

impl Desired {
    /// What `app` asks for. `urls` gives the address made for each pair of caller and callee, `given` what else the
    /// platform puts into the environment of a service.
    pub fn of(
        app: &App,
        replicas: &BTreeMap<ServiceName, u32>,
        urls: &BTreeMap<(ServiceName, ServiceName), SocketAddr>,
        given: &BTreeMap<ServiceName, BTreeMap<String, String>>,
    ) -> Self {
        // What guards name is sent requests as well: splits, mirrors, fallbacks.
        let called: BTreeSet<&ServiceName> = app
            .services
            .values()
            .flat_map(|s| s.calls.keys().chain(s.guards().flat_map(Guard::services)))
            .collect();
        let mut services = BTreeMap::new();
        for (name, service) in &app.services {
            let urls: BTreeMap<_, _> = service
                .calls
                .keys()
                .filter_map(|callee| {
                    let address = urls.get(&(name.clone(), callee.clone()))?;
                    Some((callee.clone(), *address))
                })
                .collect();
            let given = given.get(name).cloned().unwrap_or_default();
            let want = Want {
                replicas: replicas.get(name).copied().unwrap_or(service.scale.replicas),
                listens: called.contains(name) || listens(service),
                revision: digest(&parts(service, &urls, &given)),
                prepare_key: service.prepare.as_ref().map(|command| prepare_key(command, service)),
                service: service.clone(),
                urls,
                given,
            };
            services.insert(name.clone(), want);
        }
        Self { goal: Goal::Run, services, restarts: BTreeMap::new() }
    }
}

/// A service must listen when requests are sent to it or a check asks its port.
fn listens(service: &Service) -> bool {
    use manifest::spec::Probe;
    let checked = service.healthcheck.as_ref().is_some_and(|check| {
        matches!(
            check.probe,
            Probe::Http { port: None, .. } | Probe::Tcp { port: None } | Probe::Grpc { port: None, .. }
        )
    });
    !service.routes.is_empty() || service.port.is_some() || checked
}

/// All that would make a new instance differ, by the name people know it under. What is not in here
/// (routes, guards, protocol, balancing, checks, counts, restart policy) changes in place.
fn parts(
    service: &Service,
    urls: &BTreeMap<ServiceName, SocketAddr>,
    given: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let mut parts = BTreeMap::new();
    let mut put = |name: &str, value: String| {
        parts.insert(name.to_owned(), value);
    };
    put("command", format!("{:?}", service.work));
    put("working_dir", service.working_dir.display().to_string());
    if let Some(prepare) = &service.prepare {
        put("prepare", format!("{prepare:?}"));
    }
    if let Some(user) = &service.user {
        put("user", user.clone());
    }
    if let Some(port) = service.port {
        put("port", port.to_string());
    }
    for (name, limit) in &service.ulimits {
        put(&format!("ulimits.{name}"), format!("{limit:?}"));
    }
    if service.limits != Default::default() {
        put("limits", format!("{:?}", service.limits));
    }
    put("logging", format!("{:?}", service.logging));
    put("stop", format!("{} {:?}", service.stop_signal, service.stop_grace));
    for (name, value) in &service.environment {
        put(&format!("environment.{name}"), value.clone());
    }
    for (callee, address) in urls {
        put(&format!("calls.{callee}"), address.to_string());
    }
    for (name, value) in given {
        put(&format!("pipes.{name}"), value.clone());
    }
    parts
}

fn digest(parts: &BTreeMap<String, String>) -> String {
    let mut hash = Sha256::new();
    for (name, value) in parts {
        // Lengths in front, so that no two lists of parts look alike when joined.
        hash.update((name.len() as u64).to_le_bytes());
        hash.update(name.as_bytes());
        hash.update((value.len() as u64).to_le_bytes());
        hash.update(value.as_bytes());
    }
    short_hex(&hash.finalize())
}

fn prepare_key(command: &[String], service: &Service) -> String {
    let mut hash = Sha256::new();
    hash.update(format!("{command:?} {:?} {:?}", service.working_dir, service.user).as_bytes());
    short_hex(&hash.finalize())
}

fn short_hex(digest: &[u8]) -> String {
    digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

/// What going from one wish to another does to one service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What happens.
    pub kind: ChangeKind,
    /// The service.
    pub service: ServiceName,
    /// The replicas it happens to.
    pub replicas: Vec<u32>,
    /// What differs, by the names of the file.
    pub why: Vec<String>,
}

/// What happens to a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// New instances start.
    Start,
    /// Instances stop and start again.
    Replace,
    /// Instances stop.
    Stop,
    /// What is around the instances changes; they go on.
    Update,
}

/// What going from `old` to `new` does, and how many instances stay as they are. Pure: it looks at what was
/// wished, not at what runs, so it can be shown before anything happens.
pub fn changes(old: &Desired, new: &Desired) -> (Vec<Change>, u32) {
    let mut changes = Vec::new();
    let mut unchanged = 0;
    let names: BTreeSet<&ServiceName> = old.services.keys().chain(new.services.keys()).collect();
    for name in names {
        let mut add = |kind, replicas: Vec<u32>, why: Vec<String>| {
            changes.push(Change { kind, service: name.clone(), replicas, why });
        };
        match (old.services.get(name), new.services.get(name)) {
            (Some(old), None) => add(ChangeKind::Stop, (1..=old.replicas).collect(), vec!["removed".into()]),
            (None, Some(new)) => add(ChangeKind::Start, (1..=new.replicas).collect(), vec!["new".into()]),
            (Some(old), Some(new)) => {
                let kept = old.replicas.min(new.replicas);
                if new.replicas > old.replicas {
                    add(
                        ChangeKind::Start,
                        (old.replicas + 1..=new.replicas).collect(),
                        vec![scaled(old, new)],
                    );
                }
                if new.replicas < old.replicas {
                    add(
                        ChangeKind::Stop,
                        (new.replicas + 1..=old.replicas).collect(),
                        vec![scaled(old, new)],
                    );
                }
                if old.revision != new.revision {
                    add(ChangeKind::Replace, (1..=kept).collect(), differing_parts(old, new));
                } else {
                    unchanged += kept;
                    let around = differing_surroundings(&old.service, &new.service);
                    if !around.is_empty() {
                        add(ChangeKind::Update, (1..=kept).collect(), around);
                    }
                }
            }
            (None, None) => {}
        }
    }
    (changes, unchanged)
}

fn scaled(old: &Want, new: &Want) -> String {
    format!("scale {} → {}", old.replicas, new.replicas)
}

fn differing_parts(old: &Want, new: &Want) -> Vec<String> {
    let of = |want: &Want| parts(&want.service, &want.urls, &want.given);
    let (old, new) = (of(old), of(new));
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    names.into_iter().filter(|name| old.get(*name) != new.get(*name)).cloned().collect()
}

fn differing_surroundings(old: &Service, new: &Service) -> Vec<String> {
    let mut why = Vec::new();
    let mut compare = |name: &str, same: bool| {
        if !same {
            why.push(name.to_owned());
        }
    };
    compare("routes", old.routes == new.routes);
    compare("calls", old.calls == new.calls);
    compare("protocol", old.wire == new.wire);
    compare("balance", old.balance == new.balance);
    compare("healthcheck", old.healthcheck == new.healthcheck);
    compare("restart", old.restart == new.restart);
    compare("depends_on", old.depends_on == new.depends_on);
    compare("scale", (old.scale.min, old.scale.max) == (new.scale.min, new.scale.max));
    why
}
