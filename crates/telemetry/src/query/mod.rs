//! What can be asked. Questions run on the thread of whoever asks and take milliseconds: inside an async runtime, ask from
//! a thread where that is allowed (`spawn_blocking`). No answer holds up the intake.

mod errors;
mod logs;
mod metrics;
mod newest;
mod rollups;
mod samples;
mod stats;
mod traces;

use std::sync::Arc;

pub use errors::ErrorDetail;
pub use metrics::Series;
pub use rollups::{Edge, Latency};
pub(crate) use samples::{Points, TooMany, Track};
pub use stats::Stats;
pub use traces::{Trace, TraceSummary};

use crate::block::Body;
use crate::block::bloom::may_have;
use crate::catalog::MetricInfo;
use crate::counters::Reason;
use crate::files::segment::Block;
use crate::filter::LogFilter;
use crate::lane::{Chunk, Lane, Record};
use crate::model::Text;
use crate::query::newest::Part;
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

/// Where records are looked for.
enum Unit<'l, R> {
    Sealed(&'l Block),
    Open(&'l Chunk<R>),
}

/// The parts of a lane that can have something.
fn parts<'l, R: Record>(
    lane: &'l Lane<R>,
    sealed: impl Fn(&Block) -> bool,
    open: impl Fn(&Chunk<R>) -> bool,
) -> Vec<Part<Unit<'l, R>>> {
    let sealed = lane.sealed.iter().map(|block| &**block).filter(|block| sealed(block));
    let sealed = sealed.map(|block| Part { max_ns: block.header.max_ns, part: Unit::Sealed(block) });
    let open = lane.open.iter().filter(|chunk| open(chunk));
    sealed.chain(open.map(|chunk| Part { max_ns: chunk.max_ns, part: Unit::Open(chunk) })).collect()
}

impl Query {
    /// Gives the columns of a block to `read`, if all of these keys can be in it. What cannot be read is counted, once.
    fn in_block<T: Default>(&self, block: &Block, keys: &[u64], read: impl FnOnce(&Body) -> Option<T>) -> T {
        let found = (|| {
            if !keys.is_empty() && !may_have(&block.bloom()?, keys) {
                return Some(T::default());
            }
            read(&block.body()?)
        })();
        found.unwrap_or_else(|| {
            if block.newly_damaged() {
                tracing::warn!(
                    "telemetry: a block of `{}` is damaged and left out",
                    block.segment.path.display()
                );
                self.shared.counters.dropped(Reason::Damaged, block.header.rows as usize);
            }
            T::default()
        })
    }
}
