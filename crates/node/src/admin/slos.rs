//! Objectives and alerts over the API.

use axum::Json;
use axum::extract::State;
use telemetry::slo::{Burn, Urgency};

use super::Shared;
use crate::objectives::{Notice, Shown};

pub(crate) async fn list(State(admin): Shared) -> Json<Vec<api::Slo>> {
    Json(admin.applier.objectives.shown().into_iter().map(shown).collect())
}

pub(crate) async fn alerts(State(admin): Shared) -> Json<Vec<api::Alert>> {
    let alert = |notice: Notice| api::Alert {
        name: notice.name,
        service: notice.service.map(|service| service.to_string()),
        route: notice.route,
        urgency: urgency(notice.urgency),
        summary: notice.summary,
        since: notice.since,
    };
    Json(admin.applier.objectives.alerts().into_iter().map(alert).collect())
}

fn shown(shown: Shown) -> api::Slo {
    let Shown { promise, standing, firing, burn_down } = shown;
    api::Slo {
        name: promise.name.to_string(),
        service: promise.service.to_string(),
        route: promise.route,
        within_us: promise.within.map(|within| u64::try_from(within.as_micros()).unwrap_or(u64::MAX)),
        promised: promise.objective.share,
        window_s: promise.window.as_secs(),
        total: standing.counts.total,
        bad: standing.counts.bad,
        good: standing.good,
        budget_left: standing.left,
        burns: standing.burns.iter().map(burn).collect(),
        firing: firing.map(|(of, since)| api::Firing { urgency: urgency(of), since }),
        burn_down,
    }
}

fn burn(burn: &Burn) -> api::SloBurn {
    api::SloBurn {
        long_s: burn.long_min * 60,
        short_s: burn.short_min * 60,
        long: burn.long,
        short: burn.short,
        limit: burn.limit,
        urgency: urgency(burn.urgency),
        holds: burn.holds,
    }
}

fn urgency(urgency: Urgency) -> api::Urgency {
    match urgency {
        Urgency::Page => api::Urgency::Page,
        Urgency::Ticket => api::Urgency::Ticket,
    }
}
