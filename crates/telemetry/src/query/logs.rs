//! Log records, the newest first.

use std::ops::ControlFlow;

use super::newest::{keep_newest, newest_first};
use super::{Query, Unit, parts};
use crate::block::Unpacker;
use crate::block::logs::{Search, read_logs};
use crate::filter::LogFilter;
use crate::model::{Cursor, LogHit, LogRecord};

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
        let (search, unpacker) = (Search::new(filter), Unpacker::default());
        let older =
            |place: (u64, u64)| filter.before.is_none_or(|before| place < (before.time_ns, before.number));
        let latest = filter.before.map_or(u64::MAX, |before| before.time_ns);
        let parts = parts(
            &lane,
            |block| search.may_be_in(&block.header),
            |chunk| filter.range.meets(chunk.min_ns, chunk.max_ns) && chunk.min_ns <= latest,
        );
        let scan = |unit: &Unit<'_, LogRecord>, limit: usize| match unit {
            Unit::Sealed(block) => self.in_block(block, search.keys(), &unpacker, |body| {
                let first = block.header.first;
                let (found, known) = search.scan(body, first)?;
                if found.is_empty() {
                    return Some(Vec::new());
                }
                let mut hits: Vec<_> =
                    found.into_iter().map(|(row, time)| ((time, first + row as u64), row)).collect();
                keep_newest(&mut hits, limit);
                let places: Vec<usize> = hits.iter().map(|(_, row)| *row).collect();
                let records = read_logs(body, Some(&places), known)?;
                Some(hits.into_iter().map(|(place, _)| place).zip(records).collect())
            }),
            Unit::Open(chunk) => {
                let numbered = chunk.numbered().map(|(number, record)| ((record.time_ns, number), record));
                let mut hits: Vec<_> =
                    numbered.filter(|(place, record)| older(*place) && filter.matches(record)).collect();
                keep_newest(&mut hits, limit);
                hits.into_iter().map(|(place, record)| (place, record.clone())).collect()
            }
        };
        newest_first(parts, filter.limit, scan, |(time_ns, number), record| {
            found(LogHit { cursor: Cursor { time_ns, number }, record })
        });
    }
}
