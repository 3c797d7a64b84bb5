//! The wire types of guarded calls.

use kit::Timestamp;
use serde::{Deserialize, Serialize};

/// What guards one route, or one entry of `calls`, towards one service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Guard {
    /// `GET /books/{id}`; `orders -> payments` for an entry of `calls`. The calls that a fallback or a mirror
    /// makes have guards of their own: `GET /books (fallback)`.
    pub route: String,
    /// The service behind it.
    pub service: String,
    /// Its breaker; none with `breaker: off`.
    pub breaker: Option<Breaker>,
    /// Requests under way.
    pub in_use: u32,
    /// Requests under way at most: of the bulkhead, or of the adaptive limit where that is lower now.
    pub concurrency: u32,
    /// Requests that wait for a place.
    pub waiting: u32,
    /// Requests of the last seconds.
    pub requests: u64,
    /// Further tries among them.
    pub retries: u64,
}

/// A circuit breaker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Breaker {
    /// Where it stands.
    pub state: BreakerState,
    /// Since when.
    pub since: Timestamp,
    /// What its window holds.
    pub window: Calls,
    /// How often it has opened.
    pub opened: u64,
    /// How often it has begun to probe.
    pub half_opened: u64,
    /// How often it has closed.
    pub closed: u64,
}

/// Calls that were counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Calls {
    /// All.
    pub total: u64,
    /// Those that failed.
    pub errors: u64,
    /// Those that were slow; zero where `slow` does not say what that is.
    pub slow: u64,
}

/// Where a breaker stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BreakerState {
    /// Calls pass.
    Closed,
    /// Calls are refused.
    Open,
    /// A few calls pass, as probes.
    HalfOpen,
    /// Calls are refused because somebody said so.
    HeldOpen,
    /// Calls pass because somebody said so.
    HeldClosed,
}

impl BreakerState {
    /// The words for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half-open",
            Self::HeldOpen => "held open",
            Self::HeldClosed => "held closed",
        }
    }
}

/// A wish: hold the breakers of a route, or let them judge again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BreakerOrder {
    /// The route, by its whole name: `orders -> payments`.
    pub route: String,
    /// What they shall do.
    pub order: Order,
}

/// What a breaker can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Refuse every call until told otherwise.
    Open,
    /// Let every call pass until told otherwise.
    Close,
    /// Judge again, beginning closed.
    Auto,
}
