//! Objectives, their budgets, and alerts.

use kit::Timestamp;
use serde::{Deserialize, Serialize};

/// How a promise stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Slo {
    /// Names it: `orders availability`, `orders GET /orders/{id} latency`.
    pub name: String,
    /// The service.
    pub service: String,
    /// The route; `None`: all requests to the service, from other services too.
    pub route: Option<String>,
    /// What is good: to be answered within so long. `None`: not to fail.
    pub within_us: Option<u64>,
    /// The share that is to be good.
    pub promised: f64,
    /// Over so many seconds.
    pub window_s: u64,
    /// Requests in this window.
    pub total: u64,
    /// Those that were not good.
    pub bad: u64,
    /// The share that was good; 1 where there were none.
    pub good: f64,
    /// The share of the budget that is left; below 0 the promise is broken.
    pub budget_left: f64,
    /// How fast it burns.
    pub burns: Vec<SloBurn>,
    /// The alert that fires.
    pub firing: Option<Firing>,
    /// What was left of the budget, over the window.
    pub burn_down: Vec<(Timestamp, f64)>,
}

/// How many times faster than it may a budget burns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SloBurn {
    /// The long window, in seconds.
    pub long_s: u64,
    /// The short one.
    pub short_s: u64,
    /// Over the long one; 1 uses the budget up in just its window.
    pub long: f64,
    /// Over the short one.
    pub short: f64,
    /// An alert fires when both are above this.
    pub limit: f64,
    /// How urgent that is.
    pub urgency: Urgency,
    /// Whether both are.
    pub holds: bool,
}

/// An alert that fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Firing {
    /// How urgent it is.
    pub urgency: Urgency,
    /// Since when.
    pub since: Timestamp,
}

/// How urgent an alert is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Urgency {
    /// Within days.
    Ticket,
    /// Now.
    Page,
}

impl Urgency {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ticket => "ticket",
            Self::Page => "page",
        }
    }
}

/// What fires, of promises and of rules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// The promise, or the rule.
    pub name: String,
    /// The service that it is about.
    pub service: Option<String>,
    /// The route.
    pub route: Option<String>,
    /// How urgent it is.
    pub urgency: Urgency,
    /// One line.
    pub summary: String,
    /// Since when.
    pub since: Timestamp,
}
