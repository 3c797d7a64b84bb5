//! What must be there before a service may start, and who must be gone before it may stop.

use manifest::spec::{Condition, Dependency, ServiceName, Work};

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

/// Whether `service` may stop when everything goes down: nobody who needs it lives. Those who depend on
/// it or may call it go first; services that call each other in a circle stop together.
pub fn may_stop(service: &ServiceName, desired: &Desired, fleet: &Fleet) -> bool {
    let alive_users = |calls: bool| {
        desired.services.iter().any(|(name, want)| {
            let uses = want.service.depends_on.contains_key(service)
                || (calls && want.service.calls.contains_key(service));
            uses && name != service && fleet.any_alive(name)
        })
    };
    if !alive_users(true) {
        return true;
    }
    // `depends_on` has no circles (the manifest refuses them), `calls` may: when every living service
    // has a living caller, only `depends_on` counts.
    let stuck = desired.services.keys().filter(|name| fleet.any_alive(name)).all(|name| {
        desired.services.iter().any(|(user, want)| {
            let uses = want.service.depends_on.contains_key(name) || want.service.calls.contains_key(name);
            uses && user != name && fleet.any_alive(user)
        })
    });
    stuck && !alive_users(false)
}
