//! What must be there before a service may start, and who must be gone before it may stop.

use std::collections::BTreeSet;

use manifest::spec::{Condition, Dependency, Guard, RestartWhen, ServiceName, Work};

use crate::desired::Desired;
use crate::fleet::Fleet;

/// Whether the dependencies of a service allow it to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gate {
    /// They do.
    Open,
    /// Not yet; the text says for what it waits.
    Waits(String),
    /// They never will by themselves; the text says why.
    Blocked(String),
}

/// Looks at the dependencies of `service`.
pub fn gate(service: &ServiceName, desired: &Desired, fleet: &Fleet) -> Gate {
    let Some(want) = desired.services.get(service) else {
        return Gate::Open;
    };
    let mut waits = None;
    for (name, dependency) in &want.service.depends_on {
        match look(name, *dependency, desired, fleet) {
            Gate::Open => {}
            Gate::Waits(why) => waits = waits.or(Some(why)),
            blocked @ Gate::Blocked(_) => return blocked,
        }
    }
    waits.map_or(Gate::Open, Gate::Waits)
}

fn look(name: &ServiceName, dependency: Dependency, desired: &Desired, fleet: &Fleet) -> Gate {
    let blocked = |why: String| if dependency.required { Gate::Blocked(why) } else { Gate::Open };
    let Some(want) = desired.services.get(name) else {
        // Left out on purpose (`--no-deps`): whoever left it out takes care of it.
        return Gate::Open;
    };
    if let Work::Unsupported(why) = &want.service.work {
        return blocked(format!("depends on `{name}`, which cannot run: {why}"));
    }
    if want.replicas == 0 {
        return blocked(format!("depends on `{name}`, which is scaled to 0"));
    }
    if dependency.condition == Condition::Completed && want.service.restart.when == RestartWhen::Always {
        return blocked(format!("waits for `{name}` to complete, but `restart: always` never lets it"));
    }
    let mut reached = 0;
    for (index, replica) in fleet.of(name) {
        if index > want.replicas {
            continue;
        }
        let there = match dependency.condition {
            Condition::Started => replica.is_alive() || replica.is_completed(),
            Condition::Healthy => replica.is_ready(),
            Condition::Completed => replica.is_completed(),
        };
        if there {
            reached += 1;
        } else if replica.has_given_up() {
            let how = replica.last_end.as_ref().map_or("ended", |end| end.why.as_str());
            return blocked(format!("depends on `{name}`, which has failed: {how}"));
        } else if dependency.condition != Condition::Completed && replica.is_completed() {
            return blocked(format!("depends on `{name}` to be healthy, but it has ended"));
        }
    }
    if reached >= want.replicas {
        return Gate::Open;
    }
    let state = match dependency.condition {
        Condition::Started => "to start",
        Condition::Healthy => "to be healthy",
        Condition::Completed => "to complete",
    };
    Gate::Waits(format!("waits for `{name}` {state}"))
}

/// Whether anything that `service` depends on is still to be replaced.
pub fn is_changing_below(service: &ServiceName, desired: &Desired, fleet: &Fleet) -> bool {
    let Some(want) = desired.services.get(service) else { return false };
    want.service.depends_on.keys().any(|name| {
        desired.services.get(name).is_some_and(|want| {
            fleet.of(name).any(|(index, replica)| index <= want.replicas && replica.revision != want.revision)
        })
    })
}

/// The services that may stop when everything goes down: nobody who needs them lives. Those who depend on a
/// service or may call it go first; services that call each other in a circle stop together.
pub fn may_stop(desired: &Desired, fleet: &Fleet) -> BTreeSet<ServiceName> {
    let living = fleet.replicas.iter().filter(|(_, replica)| replica.is_alive());
    let alive: BTreeSet<&ServiceName> = living.map(|(place, _)| &place.service).collect();
    let mut depended_on = BTreeSet::new();
    let mut called = BTreeSet::new();
    for name in &alive {
        let Some(want) = desired.services.get(*name) else { continue };
        depended_on.extend(want.service.depends_on.keys().filter(|other| other != name));
        let named = want.service.guards().flat_map(Guard::services);
        called.extend(want.service.calls.keys().chain(named).filter(|other| other != name));
    }
    let unneeded: BTreeSet<_> = alive.difference(&depended_on).copied().collect();
    let free: BTreeSet<_> = unneeded.difference(&called).copied().cloned().collect();
    if free.is_empty() {
        // `depends_on` has no circles (the manifest refuses them), `calls` may: when every living service
        // has a living user, only `depends_on` counts.
        return unneeded.into_iter().cloned().collect();
    }
    free
}
