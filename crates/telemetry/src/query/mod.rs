//! What can be asked. Questions run on the thread of whoever asks and take milliseconds: inside an async runtime, ask from
//! a thread where that is allowed (`spawn_blocking`). No answer holds up the intake.

mod errors;
mod logs;
mod metrics;
mod newest;
mod rollups;
mod stats;
mod traces;

use std::sync::Arc;

pub use errors::ErrorDetail;
pub use metrics::Series;
pub use rollups::{Edge, Latency};
pub use stats::Stats;
pub use traces::{Trace, TraceSummary};

use crate::catalog::MetricInfo;
use crate::filter::LogFilter;
use crate::model::Text;
use crate::shared::Shared;
use crate::tail::Tail;

/// Answers questions. Cheap to copy.
#[derive(Clone)]
pub struct Query {
    shared: Arc<Shared>,
}

impl Query {
    pub(crate) const fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// The services that have told anything.
    pub fn services(&self) -> Vec<Text> {
        self.shared.catalog().services()
    }

    /// What a service does: the names of its spans.
    pub fn operations(&self, service: &str) -> Vec<Text> {
        self.shared.catalog().operations(service)
    }

    /// The metrics of today.
    pub fn metrics(&self) -> Vec<MetricInfo> {
        self.shared.catalog().metrics()
    }

    /// Log records as they come, from now on. Range, cursor and limit of the filter: only the range counts.
    pub fn tail(&self, filter: LogFilter) -> Tail {
        self.shared.tails.start(filter)
    }
}
