//! `deploy`: replicas, resources, restarts, roll-outs.

use schemars::{Schema, SchemaGenerator, json_schema};

use super::decode::{Decode, Faults, decode_word, record, words};
use super::scalar::{Loose, Size, Time, Word};
use super::shape::{List, Pairs};
use crate::tree::Node;

record! {
    /// How the service is deployed.
    pub struct Deploy: "a deploy section" {
        /// `replicated` (default) or one of Swarm's other modes.
        mode: DeployMode,
        /// How clients find it on a Swarm.
        endpoint_mode: String,
        /// How many instances.
        replicas: u32,
        /// Labels.
        labels: Pairs,
        /// Limits and reservations.
        resources: Resources,
        /// When an instance that ended starts again.
        restart_policy: RestartPolicy,
        /// How an update goes.
        update_config: UpdateConfig,
        /// How a rollback goes.
        rollback_config: UpdateConfig,
        /// Where instances may run.
        placement: Placement,
        /// How a new revision takes over: `rolling`, `canary`, `blue-green`.
        strategy: Loose,
        /// Shares of traffic a canary goes through.
        steps: Loose,
        /// How long each step is held.
        hold: Loose,
    }
}

words! {
    /// How instances are counted.
    pub enum DeployMode: "a deploy mode" {
        /// A number of instances.
        Replicated = "replicated",
        /// One for each node.
        Global = "global",
        /// A number of runs to the end.
        ReplicatedJob = "replicated-job",
        /// One run for each node.
        GlobalJob = "global-job",
    }
}

record! {
    /// Limits and reservations.
    pub struct Resources: "a resources section" {
        /// What an instance may use.
        limits: ResourceLimits,
        /// What is kept for an instance.
        reservations: Reservations,
    }
}

record! {
    /// What an instance may use.
    pub struct ResourceLimits: "a limits section" {
        /// CPU time per wall time.
        cpus: f64,
        /// Memory.
        memory: Size,
        /// Processes and threads.
        pids: i64,
    }
}

record! {
    /// What is kept for an instance.
    pub struct Reservations: "a reservations section" {
        /// CPU time per wall time.
        cpus: f64,
        /// Memory.
        memory: Size,
        /// Other resources.
        generic_resources: List<GenericResource>,
        /// Devices.
        devices: List<DeviceRequest>,
    }
}

record! {
    /// Another resource.
    pub struct GenericResource: "a generic resource" {
        /// A resource that can be counted.
        discrete_resource_spec: DiscreteResource,
    }
}

record! {
    /// A resource that can be counted.
    pub struct DiscreteResource: "a discrete resource" {
        /// Its kind.
        kind: String,
        /// How many.
        value: Word,
    }
}

record! {
    /// Devices kept for an instance.
    pub struct DeviceRequest: "a device request" {
        /// What they must be able to do.
        capabilities: List<String>,
        /// How many, or `all`.
        count: Word,
        /// Which.
        device_ids: List<String>,
        /// The driver.
        driver: String,
        /// Its options.
        options: Pairs,
    }
}

record! {
    /// When an instance that ended starts again.
    pub struct RestartPolicy: "a restart policy" {
        /// Which ends count.
        condition: RestartCondition,
        /// The first delay.
        delay: Time,
        /// At most this many in a row.
        max_attempts: u32,
        /// An instance that ran this long counts as recovered.
        window: Time,
    }
}

words! {
    /// Which ends of an instance lead to a new start.
    pub enum RestartCondition: "a restart condition" {
        /// None.
        Never = "none",
        /// A failure.
        OnFailure = "on-failure",
        /// Every end.
        Any = "any",
    }
}

record! {
    /// How an update goes.
    pub struct UpdateConfig: "an update section" {
        /// How many at once.
        parallelism: u32,
        /// Time between two.
        delay: Time,
        /// What happens on a failure.
        failure_action: String,
        /// How long a new instance is watched.
        monitor: Time,
        /// Share of failures that is still fine.
        max_failure_ratio: f64,
        /// Which comes first.
        order: UpdateOrder,
    }
}

words! {
    /// Which comes first.
    pub enum UpdateOrder: "an update order" {
        /// The new one starts first.
        StartFirst = "start-first",
        /// The old one stops first.
        StopFirst = "stop-first",
    }
}

record! {
    /// Where instances may run.
    pub struct Placement: "a placement section" {
        /// What a node must meet.
        constraints: List<String>,
        /// What is better.
        preferences: List<PlacementPreference>,
        /// At most this many on one node.
        max_replicas_per_node: u32,
    }
}

record! {
    /// What makes a node better.
    pub struct PlacementPreference: "a placement preference" {
        /// Spread over the values of this label.
        spread: String,
    }
}

/// GPU devices: `all`, or a list of requests.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
#[serde(untagged)]
pub enum Gpus {
    /// All of them.
    All(&'static str),
    /// Some.
    Some(List<DeviceRequest>),
}

impl Decode for Gpus {
    fn decode(node: &Node, faults: &mut Faults) -> Option<Self> {
        if node.as_seq().is_some() {
            return List::decode(node, faults).map(Self::Some);
        }
        decode_word(node, faults, "`all` or a list of devices", &["all"]).map(Self::All)
    }

    fn shape(generator: &mut SchemaGenerator) -> Schema {
        let list = List::<DeviceRequest>::shape(generator);
        json_schema!({ "anyOf": [{ "const": "all" }, list] })
    }
}
