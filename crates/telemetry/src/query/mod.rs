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
use std::sync::atomic::{AtomicBool, Ordering};

pub use errors::ErrorDetail;
pub use metrics::Series;
pub use rollups::{Edge, Latency, Party};
pub(crate) use samples::{Points, TooMany, Track};
pub use stats::Stats;
pub use traces::{Trace, TraceSummary};

use crate::block::bloom::may_have;
use crate::block::{Body, Unpacker};
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
    patience: Option<Arc<Patience>>,
}

/// How long somebody waits for an answer.
struct Patience {
    may_go_on: Box<dyn Fn() -> bool + Send + Sync>,
    given_up: AtomicBool,
}

impl Query {
    pub(crate) const fn new(shared: Arc<Shared>) -> Self {
        Self { shared, patience: None }
    }

    /// The same, which gives up once `may_go_on` says no: it is asked at every block. What is answered then has less in it than there
    /// is, and [`Self::has_given_up`] says so.
    pub fn as_long_as(&self, may_go_on: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        let patience = Patience { may_go_on: Box::new(may_go_on), given_up: AtomicBool::new(false) };
        Self { shared: Arc::clone(&self.shared), patience: Some(Arc::new(patience)) }
    }

    /// Whether any answer may have less in it than there is, because it took too long.
    pub fn has_given_up(&self) -> bool {
        self.patience.as_ref().is_some_and(|patience| patience.given_up.load(Ordering::Relaxed))
    }

    fn goes_on(&self) -> bool {
        let Some(patience) = &self.patience else { return true };
        let goes_on = !patience.given_up.load(Ordering::Relaxed) && (patience.may_go_on)();
        if !goes_on {
            patience.given_up.store(true, Ordering::Relaxed);
        }
        goes_on
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
    fn in_block<T: Default>(
        &self,
        block: &Block,
        keys: &[u64],
        unpacker: &Unpacker,
        read: impl FnOnce(&Body<'_>) -> Option<T>,
    ) -> T {
        if !self.goes_on() {
            return T::default();
        }
        let found = (|| {
            if !keys.is_empty() && !may_have(&block.bloom()?, keys) {
                return Some(T::default());
            }
            read(&block.body(unpacker)?)
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
