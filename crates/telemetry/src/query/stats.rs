//! What telemetry holds and costs.

use std::collections::BTreeMap;

use super::Query;
use crate::counters::Reason;
use crate::files::segment::Block;
use crate::lane::{Lane, Record};
use crate::rollup::{Edges, Hour};

/// What telemetry holds and costs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Spans kept.
    pub spans: u64,
    /// Log records kept.
    pub logs: u64,
    /// Points of metrics kept.
    pub points: u64,
    /// Errors kept.
    pub errors: u64,
    /// Series of metrics today.
    pub series: usize,
    /// Groups of errors.
    pub error_groups: usize,
    /// Bytes on disk.
    pub disk_bytes: u64,
    /// Bytes in memory, by its own account: what waits, what is open, filters of blocks, roll-ups.
    pub memory_bytes: usize,
    /// The oldest record that is kept, in nanoseconds since the Unix epoch.
    pub oldest_ns: Option<u64>,
    /// What was not kept since the start, by reason.
    pub dropped: BTreeMap<Reason, u64>,
    /// Records that were cut to the limits since the start.
    pub cut: u64,
    /// Records that were too far ahead of our clock since the start.
    pub moved: u64,
    /// Records of services beyond the limit since the start.
    pub merged_services: u64,
    /// Files that were found damaged when opening, and what was done about it.
    pub notes: Vec<String>,
}

impl Query {
    /// What was not kept since the start, by reason.
    pub fn dropped(&self) -> BTreeMap<Reason, u64> {
        self.shared.counters.by_reason()
    }

    /// What telemetry holds and costs.
    pub fn stats(&self) -> Stats {
        let waiting = self.shared.waiting().bytes;
        let (cut, moved, merged_services) = self.shared.counters.mended();
        let (series, error_groups) = (self.shared.catalog().series(), self.shared.groups().len());
        let kept = self.shared.kept();
        let lanes = [of(&kept.spans), of(&kept.logs), of(&kept.points), of(&kept.errors)];
        let rollups: usize = kept.minutes.values().map(memory_of).sum();
        Stats {
            spans: lanes[0].records,
            logs: lanes[1].records,
            points: lanes[2].records,
            errors: lanes[3].records,
            series,
            error_groups,
            disk_bytes: kept.disk_bytes,
            memory_bytes: waiting + rollups + lanes.iter().map(|lane| lane.memory).sum::<usize>(),
            oldest_ns: lanes.iter().filter_map(|lane| lane.oldest_ns).min(),
            dropped: self.dropped(),
            cut,
            moved,
            merged_services,
            notes: self.shared.notes.clone(),
        }
    }
}

struct LaneStats {
    records: u64,
    memory: usize,
    oldest_ns: Option<u64>,
}

fn of<R: Record>(lane: &Lane<R>) -> LaneStats {
    let sealed = lane.sealed.iter();
    let oldest_open = lane.open.iter().map(|chunk| chunk.min_ns);
    LaneStats {
        records: lane.open_rows as u64
            + sealed.clone().map(|block| u64::from(block.header.rows)).sum::<u64>(),
        memory: lane.open_memory
            + sealed.clone().map(|block| size_of::<Block>() + block.bloom_memory()).sum::<usize>(),
        oldest_ns: sealed.map(|block| block.header.min_ns).chain(oldest_open).min(),
    }
}

fn memory_of(hour: &Hour) -> usize {
    let of_edges = |edges: &Edges| edges.values().map(|calls| calls.sketch.memory() + 96).sum::<usize>();
    let minutes = hour.minutes.values().map(|minute| {
        let services: usize = minute.services.values().map(|calls| calls.sketch.memory() + 64).sum();
        services + of_edges(&minute.edges)
    });
    minutes.sum::<usize>() + hour.stretches.values().map(|edges| of_edges(edges)).sum::<usize>()
}
