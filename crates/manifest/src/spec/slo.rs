//! What is promised of a service or a route, and who is told when a promise is at risk.

use std::collections::BTreeMap;
use std::time::Duration;

use kit::units::Share;

use super::PipeName;

/// What is promised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slo {
    /// The share of requests that do not fail.
    pub availability: Option<Share>,
    /// The share of requests that are answered within a time.
    pub latency: Option<LatencySlo>,
    /// Over how long both hold.
    pub window: Duration,
}

/// A share of requests, and the time within which they are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LatencySlo {
    /// Of those that do not fail.
    pub share: Share,
    /// To the end of the answer.
    pub within: Duration,
}

impl Slo {
    /// Where the file says nothing.
    pub const WINDOW: Duration = Duration::from_secs(30 * 24 * 3600);
    /// The shortest: the windows of alerts are parts of it.
    pub const MIN_WINDOW: Duration = Duration::from_secs(3600);
    /// The longest.
    pub const MAX_WINDOW: Duration = Duration::from_secs(90 * 24 * 3600);
}

/// Who is told, and of what beside promises.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Alerts {
    /// Where alerts are posted as JSON.
    pub webhook: Option<String>,
    /// A topic of the app on which they are published.
    pub topic: Option<PipeName>,
    /// What else is an alert, by name.
    pub rules: BTreeMap<String, AlertRule>,
}

/// A question whose every answer is an alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertRule {
    /// In PromQL.
    pub ask: String,
    /// For how long it has to have an answer.
    pub hold: Duration,
}

/// A number that services log becomes a series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measure {
    /// The field that is added up; `None`: records are counted.
    pub field: Option<String>,
    /// Words that the text of a record has.
    pub text: Option<String>,
}
