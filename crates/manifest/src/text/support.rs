//! Which keys Atoll acts on: the one table. A key that is not acted on is a warning, never silence and
//! never a refusal. `docs/application-file.md` has the same table, kept equal by a test.

use super::decode::{Faults, Record, shown};
use super::deploy::DeployMode;
use super::shape::Form;
use super::{File, Service};
use crate::{Fault, Span};

/// Where a key stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    /// At the top level.
    App,
    /// Under a service.
    Service,
    /// Under `deploy`.
    Deploy,
    /// Under `routes: - PATTERN:`.
    Route,
    /// Under `calls: NAME:`.
    Call,
    /// Under `scale`.
    Scale,
    /// Under `gateway`.
    Gateway,
    /// Under `queues: NAME:`.
    Queue,
    /// Under `topics: NAME:`.
    Topic,
    /// Under `pipes`.
    Pipes,
    /// Under `telemetry`.
    Telemetry,
    /// Under `console`.
    Console,
}

/// What Atoll does with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Support {
    /// It acts on it.
    Served,
    /// Compose's; Atoll does not act on it yet: why.
    Ignored(&'static str),
    /// Our own, named but served by no code yet: what it is for.
    Later(&'static str),
}

use Place::{App, Call, Console, Deploy, Gateway, Pipes, Queue, Route, Scale, Telemetry, Topic};
use Support::{Ignored, Later, Served};

const CONTAINER: &str = "containers come later: the service is shown but not started";
const CONTAINER_ONLY: &str = "it shapes a container, and containers come later";
const NAMESPACE: &str = "host processes share the machine's namespaces until sandboxes come";
const NETWORK: &str = "every service is reached through `calls` and `routes`; there are no networks yet";
const DNS: &str = "host processes use the machine's resolver; a service is reached at its `<NAME>_URL`";
const CPU: &str = "of the CPU limits only `cpus` is enforced";
const MEMORY: &str = "of the memory limits only `mem_limit` is enforced";
const PRIVILEGE: &str = "host processes run with the rights of their user until sandboxes come";
const MOUNT: &str = "host processes see the machine's own files until sandboxes come";
const DEVICE: &str = "host processes see the machine's own devices";
const SWARM: &str = "it is Swarm's, and a node runs its instances itself";
const ROLLOUT: &str = "roll-outs come later: instances are replaced one after another";
const GRANT: &str = "secrets and configs are not handed to services yet";
const MODEL: &str = "Atoll runs no AI models";

#[rustfmt::skip] // a table reads best as one
const TABLE: &[(Place, &str, Support)] = &[
    (App, "name", Served),
    (App, "version", Ignored("the format has no versions any more")),
    (App, "project_directory", Served),
    (App, "include", Served),
    (App, "services", Served),
    (App, "gateway", Served),
    (App, "pipes", Served),
    (App, "telemetry", Served),
    (App, "console", Served),
    (App, "functions", Later("functions come later")),
    (App, "sagas", Later("sagas come later")),
    (App, "networks", Ignored(NETWORK)),
    (App, "volumes", Ignored(MOUNT)),
    (App, "secrets", Ignored(GRANT)),
    (App, "configs", Ignored(GRANT)),
    (App, "models", Ignored(MODEL)),

    (Place::Service, "prepare", Served),
    (Place::Service, "command", Served),
    (Place::Service, "entrypoint", Served),
    (Place::Service, "working_dir", Served),
    (Place::Service, "user", Served),
    (Place::Service, "environment", Served),
    (Place::Service, "env_file", Served),
    (Place::Service, "port", Served),
    (Place::Service, "protocol", Served),
    (Place::Service, "balance", Served),
    (Place::Service, "routes", Served),
    (Place::Service, "calls", Served),
    (Place::Service, "healthcheck", Served),
    (Place::Service, "metrics", Served),
    (Place::Service, "scale", Served),
    (Place::Service, "depends_on", Served),
    (Place::Service, "restart", Served),
    (Place::Service, "stop_signal", Served),
    (Place::Service, "stop_grace_period", Served),
    (Place::Service, "ulimits", Served),
    (Place::Service, "cpus", Served),
    (Place::Service, "mem_limit", Served),
    (Place::Service, "pids_limit", Served),
    (Place::Service, "deploy", Served),
    (Place::Service, "logging", Served),
    (Place::Service, "labels", Served),
    (Place::Service, "label_file", Served),
    (Place::Service, "annotations", Served),
    (Place::Service, "profiles", Served),
    (Place::Service, "extends", Served),
    (Place::Service, "queues", Served),
    (Place::Service, "topics", Served),
    (Place::Service, "tables", Later("tables come later")),
    (Place::Service, "streams", Later("streams come later")),
    (Place::Service, "slo", Served),
    (Place::Service, "measures", Served),
    (Place::Service, "image", Ignored(CONTAINER)),
    (Place::Service, "build", Ignored(CONTAINER)),
    (Place::Service, "ports", Ignored("the gateway routes HTTP (`routes`); raw ports are not published yet")),
    (Place::Service, "expose", Ignored(NETWORK)),
    (Place::Service, "networks", Ignored(NETWORK)),
    (Place::Service, "volumes", Ignored(MOUNT)),
    (Place::Service, "secrets", Ignored(GRANT)),
    (Place::Service, "configs", Ignored(GRANT)),
    (Place::Service, "develop", Ignored("files are not watched yet")),
    (Place::Service, "models", Ignored(MODEL)),
    (Place::Service, "attach", Ignored("the output of every service is shown")),
    (Place::Service, "blkio_config", Ignored("block I/O is not limited yet")),
    (Place::Service, "cap_add", Ignored(PRIVILEGE)),
    (Place::Service, "cap_drop", Ignored(PRIVILEGE)),
    (Place::Service, "cgroup", Ignored(NAMESPACE)),
    (Place::Service, "cgroup_parent", Ignored("instances get a cgroup of Atoll's own")),
    (Place::Service, "container_name", Ignored("instances are named after their service")),
    (Place::Service, "cpu_count", Ignored(CPU)),
    (Place::Service, "cpu_percent", Ignored(CPU)),
    (Place::Service, "cpu_shares", Ignored(CPU)),
    (Place::Service, "cpu_quota", Ignored(CPU)),
    (Place::Service, "cpu_period", Ignored(CPU)),
    (Place::Service, "cpu_rt_period", Ignored(CPU)),
    (Place::Service, "cpu_rt_runtime", Ignored(CPU)),
    (Place::Service, "cpuset", Ignored(CPU)),
    (Place::Service, "credential_spec", Ignored(CONTAINER_ONLY)),
    (Place::Service, "device_cgroup_rules", Ignored(DEVICE)),
    (Place::Service, "devices", Ignored(DEVICE)),
    (Place::Service, "dns", Ignored(DNS)),
    (Place::Service, "dns_opt", Ignored(DNS)),
    (Place::Service, "dns_search", Ignored(DNS)),
    (Place::Service, "domainname", Ignored(NAMESPACE)),
    (Place::Service, "provider", Ignored("providers are not called")),
    (Place::Service, "external_links", Ignored(NETWORK)),
    (Place::Service, "extra_hosts", Ignored(DNS)),
    (Place::Service, "gpus", Ignored(DEVICE)),
    (Place::Service, "group_add", Ignored("a process gets the group of `user` alone")),
    (Place::Service, "hostname", Ignored(NAMESPACE)),
    (Place::Service, "init", Ignored("Atoll itself reaps what a process leaves behind")),
    (Place::Service, "ipc", Ignored(NAMESPACE)),
    (Place::Service, "isolation", Ignored(CONTAINER_ONLY)),
    (Place::Service, "links", Ignored("write `calls` and `depends_on` instead")),
    (Place::Service, "mac_address", Ignored(NETWORK)),
    (Place::Service, "mem_reservation", Ignored(MEMORY)),
    (Place::Service, "mem_swappiness", Ignored(MEMORY)),
    (Place::Service, "memswap_limit", Ignored(MEMORY)),
    (Place::Service, "network_mode", Ignored(NETWORK)),
    (Place::Service, "oom_kill_disable", Ignored(MEMORY)),
    (Place::Service, "oom_score_adj", Ignored(MEMORY)),
    (Place::Service, "pid", Ignored(NAMESPACE)),
    (Place::Service, "platform", Ignored(CONTAINER_ONLY)),
    (Place::Service, "post_start", Ignored("hooks are not run yet; `prepare` runs before the start")),
    (Place::Service, "pre_stop", Ignored("hooks are not run yet; a service is told by `stop_signal`")),
    (Place::Service, "privileged", Ignored(PRIVILEGE)),
    (Place::Service, "pull_policy", Ignored(CONTAINER_ONLY)),
    (Place::Service, "pull_refresh_after", Ignored(CONTAINER_ONLY)),
    (Place::Service, "read_only", Ignored(MOUNT)),
    (Place::Service, "runtime", Ignored(CONTAINER_ONLY)),
    (Place::Service, "security_opt", Ignored(PRIVILEGE)),
    (Place::Service, "shm_size", Ignored(MOUNT)),
    (Place::Service, "stdin_open", Ignored("services get no standard input")),
    (Place::Service, "storage_opt", Ignored(CONTAINER_ONLY)),
    (Place::Service, "sysctls", Ignored(NAMESPACE)),
    (Place::Service, "tmpfs", Ignored(MOUNT)),
    (Place::Service, "tty", Ignored("output is kept line by line, without a terminal")),
    (Place::Service, "use_api_socket", Ignored("there is no container engine behind")),
    (Place::Service, "userns_mode", Ignored(NAMESPACE)),
    (Place::Service, "uts", Ignored(NAMESPACE)),
    (Place::Service, "volumes_from", Ignored(MOUNT)),

    (Deploy, "mode", Ignored("instances are counted by `replicas`")),
    (Deploy, "endpoint_mode", Ignored(SWARM)),
    (Deploy, "replicas", Served),
    (Deploy, "labels", Ignored(SWARM)),
    (Deploy, "resources", Served),
    (Deploy, "restart_policy", Served),
    (Deploy, "update_config", Ignored(ROLLOUT)),
    (Deploy, "rollback_config", Ignored(ROLLOUT)),
    (Deploy, "placement", Ignored("there is one node")),
    (Deploy, "strategy", Later("roll-outs come later")),
    (Deploy, "steps", Later("roll-outs come later")),
    (Deploy, "hold", Later("roll-outs come later")),

    (Route, "host", Served),
    (Route, "headers", Served),
    (Route, "timeout", Served),
    (Route, "strip_prefix", Served),
    (Route, "auth", Served),
    (Route, "limit", Served),
    (Route, "retry", Served),
    (Route, "hedge", Served),
    (Route, "breaker", Served),
    (Route, "bulkhead", Served),
    (Route, "adaptive", Served),
    (Route, "priority", Served),
    (Route, "fallback", Served),
    (Route, "fault", Served),
    (Route, "split", Served),
    (Route, "mirror", Served),
    (Route, "slo", Served),
    (Route, "cache", Later("response caching comes later")),
    (Route, "idempotent", Later("idempotency keys come later")),

    (Call, "timeout", Served),
    (Call, "limit", Served),
    (Call, "retry", Served),
    (Call, "hedge", Served),
    (Call, "breaker", Served),
    (Call, "bulkhead", Served),
    (Call, "adaptive", Served),
    (Call, "priority", Served),
    (Call, "fallback", Served),
    (Call, "fault", Served),
    (Call, "split", Served),
    (Call, "mirror", Served),
    (Call, "cache", Later("response caching comes later")),

    (Scale, "min", Served),
    (Scale, "max", Later("autoscaling comes later, until then `min` instances run")),
    (Scale, "target", Later("autoscaling comes later, until then `min` instances run")),
    (Scale, "predict", Later("autoscaling comes later, until then `min` instances run")),

    (Gateway, "listen", Served),
    (Gateway, "timeout", Served),
    (Gateway, "tls", Served),
    (Gateway, "auth", Served),
    (Gateway, "limits", Served),
    (Gateway, "limit", Served),
    (Gateway, "retry", Served),
    (Gateway, "breaker", Served),
    (Gateway, "bulkhead", Served),
    (Gateway, "access_log", Served),
    (Gateway, "server_timing", Served),

    (Queue, "from", Served),
    (Queue, "visibility", Served),
    (Queue, "delay", Served),
    (Queue, "retention", Served),
    (Queue, "max_message", Served),
    (Queue, "wait", Served),
    (Queue, "fifo", Served),
    (Queue, "dead_letter", Served),
    (Queue, "deliver", Served),
    (Queue, "allow", Served),

    (Topic, "fifo", Served),
    (Topic, "allow", Served),

    (Pipes, "listen", Served),
    (Pipes, "access", Served),
    (Pipes, "credentials", Served),
    (Pipes, "engine", Served),

    (Telemetry, "grpc", Served),
    (Telemetry, "http", Served),
    (Telemetry, "query", Served),
    (Telemetry, "export", Served),
    (Telemetry, "alerts", Served),
    (Telemetry, "keep", Served),
    (Telemetry, "size", Served),
    (Telemetry, "sample", Served),
    (Telemetry, "slow", Served),

    (Console, "listen", Served),
];

/// What Atoll does with `key` at `place`.
pub(crate) fn of(place: Place, key: &str) -> Option<Support> {
    TABLE.iter().find(|(at, name, _)| *at == place && *name == key).map(|(_, _, support)| *support)
}

/// Services named in one warning at most; the others are counted.
const MAX_NAMED: usize = 4;
/// Places of one warning that are kept.
const MAX_PLACES: usize = 64;

/// Warns about every key that is written and not acted on: once for each reason, with every key, the
/// services and the places.
pub(crate) fn warn(file: &File, faults: &mut Faults) {
    let mut groups = Groups::default();
    groups.gather(None, file.present().into_iter().map(|key| (App, key)));
    groups.say("", faults);
    if let Some(gateway) = &file.gateway {
        groups.gather(None, gateway.present().into_iter().map(|key| (Gateway, key)));
        groups.say("`gateway`: ", faults);
    }
    for (name, service) in file.services.iter().flat_map(|services| &services.0) {
        groups.gather(Some(name), of_service(service));
    }
    groups.say("", faults);
}

type PlacedKey = (Place, (&'static str, Span));

/// The keys of a service and of its parts that the table knows.
fn of_service(service: &Service) -> Vec<PlacedKey> {
    let mut keys: Vec<PlacedKey> = Vec::new();
    let mut add = |place, present: Vec<(&'static str, Span)>| {
        keys.extend(present.into_iter().map(|key| (place, key)));
    };
    add(Place::Service, service.present());
    if let Some(deploy) = &service.deploy {
        let mut present = deploy.present();
        if deploy.mode.as_ref().is_some_and(|mode| mode.value == DeployMode::Replicated) {
            present.retain(|(key, _)| *key != "mode");
        }
        add(Deploy, present);
    }
    if let Some(Form::Long(bounds)) = service.scale.as_ref().map(|scale| &scale.value) {
        add(Scale, bounds.present());
    }
    for route in service.routes.iter().flat_map(|routes| &routes.0) {
        add(Route, route.options.present());
    }
    for (_, call) in service.calls.iter().flat_map(|calls| &calls.0) {
        add(Call, call.present());
    }
    keys
}

/// Keys that have no effect for the same reason.
struct Group<'a> {
    support: Support,
    keys: Vec<&'static str>,
    /// The services they stand under; empty elsewhere.
    owners: Vec<&'a str>,
    places: Vec<Span>,
}

#[derive(Default)]
struct Groups<'a>(Vec<Group<'a>>);

impl<'a> Groups<'a> {
    fn gather(&mut self, owner: Option<&'a str>, keys: impl IntoIterator<Item = PlacedKey>) {
        for (place, (key, span)) in keys {
            let Some(support) = of(place, key).filter(|support| *support != Served) else { continue };
            let at = self.0.iter().position(|group| group.support == support).unwrap_or_else(|| {
                self.0.push(Group { support, keys: Vec::new(), owners: Vec::new(), places: Vec::new() });
                self.0.len() - 1
            });
            let group = &mut self.0[at];
            if !group.keys.contains(&key) {
                group.keys.push(key);
            }
            if let Some(owner) = owner.filter(|owner| group.owners.last() != Some(owner)) {
                group.owners.push(owner);
            }
            // Services that share a part of the file share its places.
            if group.places.len() < MAX_PLACES && !group.places.contains(&span) {
                group.places.push(span);
            }
        }
    }

    /// Notes a warning for each group, `part` before its keys, and forgets them.
    fn say(&mut self, part: &str, faults: &mut Faults) {
        for Group { support, keys, owners, places } in self.0.drain(..) {
            let whose = match owners.as_slice() {
                [] => part.to_owned(),
                [one] => format!("service `{}`: ", shown(one)),
                many => format!("services {}: ", names(many)),
            };
            let names = keys.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ");
            let (is, has) = if keys.len() == 1 { ("is", "has") } else { ("are", "have") };
            let (code, message) = match support {
                Later(what) => {
                    ("A0206", format!("{whose}{names} {is} accepted and {has} no effect yet: {what}"))
                }
                Ignored(why) => ("A0205", format!("{whose}{names} {has} no effect: {why}")),
                Served => continue,
            };
            let Some((first, others)) = places.split_first() else { continue };
            let mut fault = Fault::warning(code, *first, message);
            for other in others {
                fault = fault.also(*other, "");
            }
            faults.add(fault);
        }
    }
}

/// The first of them by name, the others by number.
fn names(owners: &[&str]) -> String {
    let shown_names: Vec<String> =
        owners.iter().take(MAX_NAMED).map(|name| format!("`{}`", shown(name))).collect();
    match owners.len() - shown_names.len() {
        0 => shown_names.join(", "),
        more => format!("{} and {more} more", shown_names.join(", ")),
    }
}

/// The table as Markdown, for the reference page: for each place the keys that are acted on, then the
/// others by reason.
#[cfg(test)]
pub(crate) fn markdown() -> String {
    let mut text = String::new();
    let places = [
        (App, "At the top level"),
        (Place::Service, "Under a service"),
        (Deploy, "Under `deploy`"),
        (Route, "Of a route"),
        (Call, "Of a call"),
        (Scale, "Under `scale`"),
        (Gateway, "Under `gateway`"),
        (Queue, "Of a queue"),
        (Topic, "Of a topic"),
        (Pipes, "Under `pipes`"),
        (Telemetry, "Under `telemetry`"),
        (Console, "Under `console`"),
    ];
    for (place, title) in places {
        let mut groups: Vec<(Support, Vec<String>)> = Vec::new();
        for (_, key, support) in TABLE.iter().filter(|(at, ..)| *at == place) {
            match groups.iter_mut().find(|(group, _)| group == support) {
                Some((_, keys)) => keys.push(format!("`{key}`")),
                None => groups.push((*support, vec![format!("`{key}`")])),
            }
        }
        text.push_str(&format!("### {title}\n\n| keys | what Atoll does |\n|---|---|\n"));
        for (support, keys) in groups {
            let what = match support {
                Served => "acts on them".to_owned(),
                Ignored(why) => format!("A0205: {why}"),
                Later(what) => format!("A0206: {what}"),
            };
            text.push_str(&format!("| {} | {what} |\n", keys.join(", ")));
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::console::ConsoleLong;
    use super::super::deploy;
    use super::super::gateway::GatewayText;
    use super::super::pipes::{PipesText, QueueText, TopicText};
    use super::super::routing::{CallOptions, RouteOptions, ScaleBounds};
    use super::super::telemetry::TelemetryText;
    use super::*;

    #[test]
    fn every_key_of_the_records_is_in_the_table_and_no_other() {
        let places = [
            (App, File::KEYS),
            (Place::Service, Service::KEYS),
            (Deploy, deploy::Deploy::KEYS),
            (Route, RouteOptions::KEYS),
            (Call, CallOptions::KEYS),
            (Scale, ScaleBounds::KEYS),
            (Gateway, GatewayText::KEYS),
            (Queue, QueueText::KEYS),
            (Topic, TopicText::KEYS),
            (Pipes, PipesText::KEYS),
            (Telemetry, TelemetryText::KEYS),
            (Console, ConsoleLong::KEYS),
        ];
        let mut count = 0;
        for (place, keys) in places {
            for key in keys {
                assert!(of(place, key).is_some(), "{place:?} {key} is not in the table");
                count += 1;
            }
        }
        assert_eq!(count, TABLE.len(), "the table names a key that no record has");
    }
}
