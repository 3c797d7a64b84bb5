//! Records of one kind: sealed ones in blocks on disk, open ones in memory.

use std::sync::Arc;

use crate::files::segment::Block;
use crate::model::{LogRecord, MetricPoint, Span, TakenError};

/// A kind of record.
pub(crate) trait Record: Clone + Send + Sync + 'static {
    /// When it was.
    fn time_ns(&self) -> u64;
    /// About how many bytes it takes in memory.
    fn memory(&self) -> usize;
}

impl Record for Span {
    fn time_ns(&self) -> u64 {
        self.start_ns
    }
    fn memory(&self) -> usize {
        self.size()
    }
}

impl Record for LogRecord {
    fn time_ns(&self) -> u64 {
        self.time_ns
    }
    fn memory(&self) -> usize {
        self.size()
    }
}

impl Record for MetricPoint {
    fn time_ns(&self) -> u64 {
        self.time_ns
    }
    fn memory(&self) -> usize {
        self.size()
    }
}

impl Record for TakenError {
    fn time_ns(&self) -> u64 {
        self.event.time_ns
    }
    fn memory(&self) -> usize {
        self.event.size()
    }
}

/// Records that came together and belong to the open block.
#[derive(Clone, Debug)]
pub(crate) struct Chunk<R> {
    /// The number of the first record among all of its kind.
    pub(crate) first: u64,
    pub(crate) rows: Arc<Vec<R>>,
    pub(crate) min_ns: u64,
    pub(crate) max_ns: u64,
    pub(crate) memory: usize,
}

impl<R: Record> Chunk<R> {
    fn new(first: u64, rows: Vec<R>) -> Self {
        let (mut min_ns, mut max_ns, mut memory) = (u64::MAX, 0, 0);
        for row in &rows {
            let time = row.time_ns();
            (min_ns, max_ns) = (min_ns.min(time), max_ns.max(time));
            memory += row.memory();
        }
        Self { first, rows: Arc::new(rows), min_ns, max_ns, memory }
    }

    /// The records with their numbers.
    pub(crate) fn numbered(&self) -> impl Iterator<Item = (u64, &R)> {
        (self.first..).zip(self.rows.iter())
    }
}

/// Records of one kind. Copying it copies what points to them, so that questions hold nothing up.
#[derive(Clone, Debug)]
pub(crate) struct Lane<R> {
    /// By the numbers of their records.
    pub(crate) sealed: Arc<Vec<Arc<Block>>>,
    pub(crate) open: Vec<Chunk<R>>,
    pub(crate) open_rows: usize,
    pub(crate) open_memory: usize,
    next: u64,
}

impl<R: Record> Lane<R> {
    /// What was found on disk. The next record is numbered `next`.
    pub(crate) fn restored(sealed: Vec<Arc<Block>>, open: Vec<(u64, Vec<R>)>, next: u64) -> Self {
        let mut lane =
            Self { sealed: Arc::new(sealed), open: Vec::new(), open_rows: 0, open_memory: 0, next };
        for (first, rows) in open {
            lane.add(Chunk::new(first, rows));
        }
        lane
    }

    /// Puts in records. Tells what they were numbered as.
    pub(crate) fn push(&mut self, rows: Vec<R>) -> Chunk<R> {
        let chunk = Chunk::new(self.next, rows);
        self.next += chunk.rows.len() as u64;
        self.add(chunk.clone());
        chunk
    }

    fn add(&mut self, chunk: Chunk<R>) {
        self.open_rows += chunk.rows.len();
        self.open_memory += chunk.memory;
        self.open.push(chunk);
    }

    /// What was open is in this block, or given up.
    pub(crate) fn seal(&mut self, block: Option<Arc<Block>>) {
        Arc::make_mut(&mut self.sealed).extend(block);
        self.open.clear();
        (self.open_rows, self.open_memory) = (0, 0);
    }
}
