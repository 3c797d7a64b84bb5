//! How things stand, in words. Pure, like the plan, and from the same facts.

use std::time::Duration;

use kit::Timestamp;
use manifest::spec::{ServiceName, Work};
use registry::Health;

use crate::desired::{Desired, Goal, Want};
use crate::fleet::{Fleet, Phase, Place, Prepare, Replica};
use crate::order::{self, Gate};

/// Failures in a row (without a time of life between them, see `Restart::window`) after which a service
/// counts as failed, although it is still tried again.
pub const FAILED_AFTER: u32 = 3;

/// Everything at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct View {
    /// Counts up with every change.
    pub generation: u64,
    /// The app goes down.
    pub stopping: bool,
    /// Services by name.
    pub services: Vec<ServiceView>,
}

/// One service.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceView {
    /// Its name.
    pub name: ServiceName,
    /// Where it stands.
    pub state: ServiceState,
    /// Why.
    pub detail: String,
    /// Instances wanted.
    pub desired: u32,
    /// Instances ready.
    pub ready: u32,
    /// Time the slowest instance took from its start to ready, once all are.
    pub ready_after: Option<Duration>,
    /// Its instances, by index.
    pub instances: Vec<InstanceView>,
}

/// Where a service stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceState {
    /// Its dependencies are not there yet.
    Waiting,
    /// Its `prepare` command runs.
    Preparing,
    /// Instances are starting.
    Starting,
    /// All wanted instances are ready.
    Ready,
    /// Some are not although they were.
    Degraded,
    /// It will not get ready by itself, or has failed [`FAILED_AFTER`] times in a row and is not well since.
    Failed,
    /// Its instances ran to their end with status 0.
    Completed,
    /// None wanted, none alive.
    Stopped,
    /// On its way down.
    Stopping,
    /// This version cannot run it.
    Unsupported,
}

/// One replica.
#[derive(Clone, Debug, PartialEq)]
pub struct InstanceView {
    /// Its place.
    pub place: Place,
    /// The current or last run; 0 before the first.
    pub run: u32,
    /// Where it stands.
    pub state: InstanceState,
    /// Why.
    pub detail: String,
    /// Its main process.
    pub pid: Option<u32>,
    /// Its port.
    pub port: Option<u16>,
    /// What it was started with.
    pub revision: String,
    /// Since when it runs.
    pub since: Option<Timestamp>,
    /// From its start to ready.
    pub ready_after: Option<Duration>,
    /// Restarts after failures.
    pub restarts: u32,
    /// How its last run ended.
    pub last_end: Option<String>,
}

/// Where an instance stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstanceState {
    /// Not started yet.
    Waiting,
    /// It runs and has not passed a check yet.
    Starting,
    /// It passes its checks.
    Ready,
    /// It did and does not now.
    Unready,
    /// It takes no new requests.
    Draining,
    /// It was asked to end.
    Stopping,
    /// It failed and starts again after a while.
    Backoff,
    /// It ended and stays so.
    Exited,
}

/// Puts everything into words.
pub fn view(desired: &Desired, fleet: &Fleet) -> View {
    let stopping = matches!(desired.goal, Goal::Down { .. });
    let mut services: Vec<ServiceView> =
        desired.services.iter().map(|(name, want)| service(name, want, desired, fleet, stopping)).collect();
    // What is no longer in the file is shown until it is gone.
    let mut gone: Vec<&ServiceName> = fleet.replicas.keys().map(|place| &place.service).collect();
    gone.dedup();
    for name in gone {
        if !desired.services.contains_key(name) && fleet.any_alive(name) {
            services.push(ServiceView {
                name: name.clone(),
                state: ServiceState::Stopping,
                detail: "removed from the file".into(),
                desired: 0,
                ready: 0,
                ready_after: None,
                instances: fleet.of(name).map(|(index, replica)| instance(name, index, replica)).collect(),
            });
        }
    }
    View { generation: 0, stopping, services }
}

fn service(name: &ServiceName, want: &Want, desired: &Desired, fleet: &Fleet, stopping: bool) -> ServiceView {
    let supported = !matches!(want.service.work, Work::Unsupported(_));
    let wanted = if supported { want.replicas } else { 0 };
    let mut instances: Vec<InstanceView> =
        fleet.of(name).map(|(index, replica)| instance(name, index, replica)).collect();
    for index in 1..=wanted {
        if !instances.iter().any(|i| i.place.index == index) {
            instances.push(not_started(name, index));
        }
    }
    instances.sort_by_key(|i| i.place.index);
    let counted = || fleet.of(name).filter(|(index, _)| *index <= wanted).map(|(_, replica)| replica);
    let ready = counted().filter(|r| r.is_ready()).count() as u32;
    let (state, detail) = service_state(name, want, desired, fleet, stopping, ready);
    for instance in instances.iter_mut().filter(|instance| instance.state == InstanceState::Waiting) {
        instance.detail.clone_from(&detail); // whatever keeps them from starting keeps the service
    }
    let ready_after =
        if ready == wanted && wanted > 0 { counted().filter_map(|r| r.ready_after).max() } else { None };
    ServiceView { name: name.clone(), state, detail, desired: wanted, ready, ready_after, instances }
}

fn service_state(
    name: &ServiceName,
    want: &Want,
    desired: &Desired,
    fleet: &Fleet,
    stopping: bool,
    ready: u32,
) -> (ServiceState, String) {
    use ServiceState::{
        Completed, Degraded, Failed, Preparing, Ready, Starting, Stopped, Stopping, Unsupported, Waiting,
    };
    if stopping {
        let state = if fleet.any_alive(name) { Stopping } else { Stopped };
        return (state, String::new());
    }
    if let Work::Unsupported(why) = &want.service.work {
        return (Unsupported, why.clone());
    }
    if want.replicas == 0 {
        return if fleet.any_alive(name) {
            (Stopping, "scaled to 0".into())
        } else {
            (Stopped, "scaled to 0".into())
        };
    }
    let counted: Vec<&Replica> =
        fleet.of(name).filter(|(index, _)| *index <= want.replicas).map(|(_, replica)| replica).collect();
    let prepare = want.prepare_key.as_ref().and_then(|key| fleet.prepares.get(key));
    if let Some(Prepare::Failed { why, last_lines }) = prepare
        && (counted.len() < want.replicas as usize || counted.iter().any(|r| r.revision != want.revision))
    {
        return (Failed, with_last_line(&format!("prepare failed: {why}"), last_lines));
    }
    if ready == want.replicas {
        return (Ready, String::new());
    }
    if counted.len() == want.replicas as usize && counted.iter().all(|r| r.is_completed()) {
        return (Completed, String::new());
    }
    for replica in &counted {
        if replica.has_given_up() || is_crashing(replica) {
            return (Failed, how_it_ended(replica));
        }
    }
    if let Some(Prepare::Running { service, .. }) = prepare {
        let detail = if service == name { String::new() } else { format!("prepared with `{service}`") };
        return (Preparing, detail);
    }
    if counted.iter().any(|r| r.was_ready) {
        let why = counted.iter().find(|r| !r.is_ready()).map_or_else(String::new, |r| why_not_ready(r));
        return (Degraded, why);
    }
    if counted.is_empty() {
        return match order::gate(name, desired, fleet) {
            Gate::Open => (Starting, String::new()),
            Gate::Waits(why) => (Waiting, why),
            Gate::Blocked(why) => (Failed, why),
        };
    }
    let why = counted.iter().find(|r| !r.is_ready()).map_or_else(String::new, |r| why_not_ready(r));
    (Starting, why)
}

/// Whether a replica fails again and again: so often in a row, and not well since.
fn is_crashing(replica: &Replica) -> bool {
    let unwell = match replica.phase {
        Phase::Ended { .. } => true,
        Phase::Starting { .. } | Phase::Running { .. } => replica.ready_after.is_none(),
        Phase::Stopping { .. } => false,
    };
    unwell && replica.failures >= FAILED_AFTER
}

fn why_not_ready(replica: &Replica) -> String {
    match &replica.phase {
        Phase::Running { detail, .. } => detail.clone(),
        Phase::Ended { asked: false, .. } => how_it_ended(replica),
        Phase::Starting { .. } if replica.last_end.is_none() => String::new(), // its first start
        Phase::Stopping { .. } | Phase::Ended { .. } | Phase::Starting { .. } => "restarting".into(),
    }
}

fn how_it_ended(replica: &Replica) -> String {
    match &replica.last_end {
        Some(end) => with_last_line(&end.why, &end.last_lines),
        None => String::new(),
    }
}

/// The last line a process wrote is most often the reason for its end.
fn with_last_line(why: &str, last_lines: &[String]) -> String {
    match last_lines.iter().rev().find(|line| !line.trim().is_empty()) {
        Some(line) => format!("{why}: {}", line.trim()),
        None => why.to_owned(),
    }
}

fn not_started(name: &ServiceName, index: u32) -> InstanceView {
    InstanceView {
        place: Place { service: name.clone(), index },
        run: 0,
        state: InstanceState::Waiting,
        detail: String::new(),
        pid: None,
        port: None,
        revision: String::new(),
        since: None,
        ready_after: None,
        restarts: 0,
        last_end: None,
    }
}

fn instance(name: &ServiceName, index: u32, replica: &Replica) -> InstanceView {
    let (state, detail, pid, since) = match &replica.phase {
        Phase::Starting { .. } => (InstanceState::Starting, String::new(), None, None),
        Phase::Running { pid, since, health, detail } => {
            let state = match health {
                Health::Starting => InstanceState::Starting,
                Health::Ready => InstanceState::Ready,
                Health::Unready => InstanceState::Unready,
                Health::Draining => InstanceState::Draining,
            };
            let detail = if *health == Health::Ready { String::new() } else { detail.clone() };
            (state, detail, Some(*pid), Some(*since))
        }
        Phase::Stopping { pid, since, .. } => {
            (InstanceState::Stopping, String::new(), Some(*pid), Some(*since))
        }
        Phase::Ended { asked: false, retry_at: Some(_), .. } => {
            (InstanceState::Backoff, how_it_ended(replica), None, None)
        }
        Phase::Ended { .. } => (InstanceState::Exited, how_it_ended(replica), None, None),
    };
    InstanceView {
        place: Place { service: name.clone(), index },
        run: replica.run,
        state,
        detail,
        pid,
        port: replica.port,
        revision: replica.revision.clone(),
        since,
        ready_after: replica.ready_after,
        restarts: replica.restarts,
        last_end: replica.last_end.as_ref().map(|end| end.why.clone()),
    }
}

/// Whether a request to this service may wait for an instance: one is on its way. One that runs and fails
/// its checks, or crashes again and again, is not.
pub fn is_expected(view: &ServiceView, fleet: &Fleet) -> bool {
    let on_its_way = |replica: &Replica| match &replica.phase {
        Phase::Starting { .. } | Phase::Stopping { .. } => true,
        Phase::Running { health, .. } => matches!(health, Health::Starting | Health::Ready),
        Phase::Ended { asked, retry_at, .. } => {
            *asked || (retry_at.is_some() && replica.failures < FAILED_AFTER)
        }
    };
    match view.state {
        ServiceState::Waiting | ServiceState::Preparing | ServiceState::Starting | ServiceState::Ready => {
            true
        }
        ServiceState::Degraded => {
            fleet.of(&view.name).any(|(index, replica)| index <= view.desired && on_its_way(replica))
        }
        ServiceState::Failed
        | ServiceState::Completed
        | ServiceState::Stopped
        | ServiceState::Stopping
        | ServiceState::Unsupported => false,
    }
}
