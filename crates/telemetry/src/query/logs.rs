//! Log records, the newest first.

use std::ops::ControlFlow;

use super::Query;
use super::newest::{Part, keep_newest, newest_first};
use crate::filter::LogFilter;
use crate::model::{Cursor, LogHit};

impl Query {
    /// Log records, the newest first.
    pub fn logs(&self, filter: &LogFilter) -> Vec<LogHit> {
        let mut hits = Vec::new();
        self.each_log(filter, |hit| {
            hits.push(hit);
            ControlFlow::Continue(())
        });
        hits
    }

    /// Log records, the newest first, each given to `found` as soon as it is certain that no newer one comes.
    pub fn each_log(&self, filter: &LogFilter, mut found: impl FnMut(LogHit) -> ControlFlow<()>) {
        let lane = self.shared.kept().logs.clone();
        let latest = filter.range.until_ns.min(filter.before.map_or(u64::MAX, |before| before.time_ns));
        let parts = lane
            .open
            .iter()
            .filter(|chunk| filter.range.meets(chunk.min_ns, chunk.max_ns) && chunk.min_ns <= latest)
            .map(|chunk| Part { max_ns: chunk.max_ns, part: chunk })
            .collect();
        let scan = |chunk: &&crate::lane::Chunk<_>, limit: usize| {
            let older = |place: (u64, u64)| {
                filter.before.is_none_or(|before| place < (before.time_ns, before.number))
            };
            let mut hits: Vec<_> = chunk
                .numbered()
                .map(|(number, record): (u64, &crate::model::LogRecord)| ((record.time_ns, number), record))
                .filter(|(place, record)| older(*place) && filter.matches(record))
                .collect();
            keep_newest(&mut hits, limit);
            hits.into_iter().map(|(place, record)| (place, record.clone())).collect()
        };
        newest_first(parts, filter.limit, scan, |(time_ns, number), record| {
            found(LogHit { cursor: Cursor { time_ns, number }, record })
        });
    }
}
