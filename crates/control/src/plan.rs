//! All the thinking: what to do next. Pure: the same desired state, fleet and time give the same plan.

use std::collections::BTreeSet;

use kit::Timestamp;
use manifest::spec::{RestartWhen, ServiceName, Work};

use crate::desired::{Desired, Goal, Want};
use crate::fleet::{End, Fleet, Phase, Place, Prepare, Replica};
use crate::order::{self, Gate};

/// Instances that may be starting at the same time; more would only make each other slow.
pub const MAX_STARTING: usize = 32;

/// What to do next.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// In this order; each is one idempotent call.
    pub steps: Vec<Step>,
    /// When to look again even if nothing happens.
    pub look_again: Option<Timestamp>,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Run the `prepare` command of this service.
    Prepare {
        /// On whose behalf.
        service: ServiceName,
        /// What it is.
        key: String,
    },
    /// Start run `run` of a replica.
    Start {
        /// Where.
        place: Place,
        /// Which run.
        run: u32,
    },
    /// Drain and end the current run of a replica.
    Stop {
        /// Where.
        place: Place,
        /// Why.
        why: StopWhy,
    },
    /// A replica that is not wanted has ended: forget it.
    Forget {
        /// Where.
        place: Place,
    },
}

/// Why an instance is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopWhy {
    /// The app goes down.
    Down,
    /// It is no longer wanted.
    Surplus,
    /// Something it was started with has changed.
    Changed,
    /// Somebody asked for a restart.
    Restart,
}

/// Compares and plans.
pub fn plan(desired: &Desired, fleet: &Fleet, now: Timestamp) -> Plan {
    let mut plan = Plan::default();
    if matches!(desired.goal, Goal::Down { .. }) {
        plan_down(desired, fleet, &mut plan);
        return plan;
    }
    for (place, replica) in &fleet.replicas {
        let wanted = desired.services.get(&place.service).is_some_and(|want| {
            place.index <= want.replicas && !matches!(want.service.work, Work::Unsupported(_))
        });
        if wanted {
            continue;
        }
        match replica.phase {
            Phase::Running { .. } => {
                plan.steps.push(Step::Stop { place: place.clone(), why: StopWhy::Surplus });
            }
            Phase::Ended { .. } => plan.steps.push(Step::Forget { place: place.clone() }),
            Phase::Starting { .. } | Phase::Stopping { .. } => {}
        }
    }
    let mut starting = fleet.replicas.values().filter(|r| is_coming_up(r)).count();
    let mut prepares: BTreeSet<&str> = BTreeSet::new();
    for (name, want) in &desired.services {
        if matches!(want.service.work, Work::Unsupported(_)) || want.replicas == 0 {
            continue;
        }
        let mut replace = replacements(name, want, desired, fleet);
        let missing: Vec<(u32, u32)> = (1..=want.replicas)
            .filter_map(|index| {
                let place = Place { service: name.clone(), index };
                match due(want, fleet.replicas.get(&place), fleet.forgotten, now) {
                    Due::Now { run } => Some((index, run)),
                    Due::At(at) => {
                        plan.look_again = Some(plan.look_again.map_or(at, |other| other.min(at)));
                        None
                    }
                    Due::Never => None,
                }
            })
            .collect();
        if missing.is_empty() && replace.is_empty() {
            continue;
        }
        let can_start = order::gate(name, desired, fleet) == Gate::Open;
        // What is to be replaced goes on until its successor may start and is prepared, and until what it
        // depends on has been replaced: that may fail.
        if !can_start || order::is_changing_below(name, desired, fleet) {
            replace.clear();
        }
        if replace.is_empty() && (missing.is_empty() || !can_start) {
            continue;
        }
        match want.prepare_key.as_deref().map(|key| (key, fleet.prepares.get(key))) {
            None | Some((_, Some(Prepare::Done))) => {}
            Some((key, None)) => {
                if prepares.insert(key) {
                    plan.steps.push(Step::Prepare { service: name.clone(), key: key.to_owned() });
                }
                continue;
            }
            Some((_, Some(Prepare::Running { .. } | Prepare::Failed { .. }))) => continue,
        }
        plan.steps.extend(replace);
        for (index, run) in missing {
            if starting >= MAX_STARTING {
                break; // the next end of a start is the next look
            }
            starting += 1;
            plan.steps.push(Step::Start { place: Place { service: name.clone(), index }, run });
        }
    }
    plan
}

/// Whether a replica still takes part in the rush of starting.
fn is_coming_up(replica: &Replica) -> bool {
    matches!(replica.phase, Phase::Starting { .. })
}

fn plan_down(desired: &Desired, fleet: &Fleet, plan: &mut Plan) {
    let may_stop = order::may_stop(desired, fleet);
    for (place, replica) in &fleet.replicas {
        if matches!(replica.phase, Phase::Running { .. }) && may_stop.contains(&place.service) {
            plan.steps.push(Step::Stop { place: place.clone(), why: StopWhy::Down });
        }
    }
}

/// When a missing replica is to start.
enum Due {
    Now { run: u32 },
    At(Timestamp),
    Never,
}

fn due(want: &Want, replica: Option<&Replica>, forgotten: u32, now: Timestamp) -> Due {
    let Some(replica) = replica else {
        return Due::Now { run: forgotten.saturating_add(1) };
    };
    let Phase::Ended { asked, retry_at, .. } = replica.phase else {
        return Due::Never; // it lives
    };
    let run = replica.run.saturating_add(1);
    if asked || replica.revision != want.revision {
        return Due::Now { run };
    }
    match retry_at {
        Some(at) if at <= now => Due::Now { run },
        Some(at) => Due::At(at),
        None => Due::Never,
    }
}

/// The replicas to stop because they were started with something else or are to restart.
///
/// A replica that is not ready may go at once. One that is ready goes only while all others are ready (or
/// done), so that a service with several replicas is never without one, and a revision that does not get ready
/// stops its own roll-out.
fn replacements(name: &ServiceName, want: &Want, desired: &Desired, fleet: &Fleet) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut all_well = (1..=want.replicas).all(|index| {
        let place = Place { service: name.clone(), index };
        fleet.replicas.get(&place).is_some_and(|replica| replica.is_ready() || replica.is_completed())
    });
    for (index, replica) in fleet.of(name) {
        if index > want.replicas || !matches!(replica.phase, Phase::Running { .. }) {
            continue;
        }
        let place = Place { service: name.clone(), index };
        let why = if replica.revision != want.revision {
            StopWhy::Changed
        } else if desired.restarts.get(&place).is_some_and(|run| *run >= replica.run) {
            StopWhy::Restart
        } else {
            continue;
        };
        if !replica.is_ready() {
            steps.push(Step::Stop { place, why });
        } else if all_well {
            all_well = false;
            steps.push(Step::Stop { place, why });
        }
    }
    steps
}

/// Whether a replica that ended by itself starts again, by the restart policy.
pub fn restarts_after(want: &Want, failures: u32, end: &End) -> bool {
    let policy = want.service.restart;
    let counts = match policy.when {
        RestartWhen::Never => false,
        RestartWhen::OnFailure => !end.is_success(),
        RestartWhen::Always => true,
    };
    counts && policy.max_attempts.is_none_or(|max| failures <= max)
}
