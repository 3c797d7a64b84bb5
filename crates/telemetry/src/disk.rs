//! What the indexing thread does with the disk: seals what is full, writes down what is open, lets go of what is old.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kit::Clock;

use crate::block::{Kept, Unpacker, Writer};
use crate::catalog::Catalog;
use crate::counters::Reason;
use crate::files::lane_files::LaneFiles;
use crate::files::log::{self, Log};
use crate::files::rollups::{add_entry, entry_of, entry_of_group, read_group, rollup_file, rollup_files};
use crate::files::segment::Segment;
use crate::groups::Groups;
use crate::lane::{Chunk, Lane};
use crate::model::{LogRecord, MetricPoint, Span, TakenError};
use crate::options::Options;
use crate::rollup::{Hour, Minutes};
use crate::shared::{Holdings, Shared};
use crate::telemetry::OpenError;

/// Records of a block.
const BLOCK_ROWS: usize = 4_096;
/// Bytes in memory of open records of a kind: over it a block is sealed with fewer.
const BLOCK_MEMORY: usize = 8 << 20;
/// A segment takes at most this part of what telemetry may take: so much goes at once when it is full.
const PARTS_OF_DISK: u64 = 32;
/// The log of groups is written anew when it is longer.
const MOST_GROUP_LOG: u64 = 16 << 20;
const HOUR_NS: u64 = 3_600 * 1_000_000_000;
/// Blocks that are looked at when opening, to know services and metrics again.
const LOOKED_AT: usize = 8;

pub(crate) struct Disk {
    directory: PathBuf,
    _lock: File,
    spans: LaneFiles<Span>,
    logs: LaneFiles<LogRecord>,
    points: LaneFiles<MetricPoint>,
    errors: LaneFiles<TakenError>,
    groups: Log,
    writer: Writer,
    /// What was counted since it was last written down.
    fresh: Minutes,
    rollup: Option<(u64, Log)>,
    swept_hour: u64,
    /// Blocks there were when it was last swept.
    swept_blocks: usize,
    disk_full: bool,
}

impl Disk {
    pub(crate) fn open(
        directory: &Path,
        options: Options,
        clock: Arc<dyn Clock>,
    ) -> Result<(Shared, Self), OpenError> {
        let failed = |source| OpenError::Directory { path: directory.to_owned(), source };
        fs::create_dir_all(directory).map_err(failed)?;
        let lock = File::create(directory.join("lock")).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(OpenError::InUse { path: directory.to_owned() }),
            Err(fs::TryLockError::Error(source)) => return Err(failed(source)),
        }
        let mut notes = Vec::new();
        let now_ns = clock.now().as_micros().saturating_mul(1_000);
        let mut catalog = Catalog::default();
        let (spans, spans_lane) = open_lane::<Span>(directory, &mut notes).map_err(failed)?;
        let (logs, logs_lane) = open_lane::<LogRecord>(directory, &mut notes).map_err(failed)?;
        let (points, points_lane) = open_lane::<MetricPoint>(directory, &mut notes).map_err(failed)?;
        let (errors, errors_lane) = open_lane::<TakenError>(directory, &mut notes).map_err(failed)?;
        let limits = &options.limits;
        each_recent(&spans_lane, |span| {
            catalog.service(&span.service, limits);
            catalog.operation(&span.service, &span.name, limits);
        });
        each_recent(&logs_lane, |record| {
            catalog.service(&record.service, limits);
        });
        each_recent(&errors_lane, |error| {
            catalog.service(&error.event.service, limits);
        });
        catalog.on_day(now_ns / (24 * HOUR_NS));
        each_recent(&points_lane, |point| {
            catalog.point(point, limits);
        });
        let hour = now_ns / HOUR_NS;
        let mut minutes = BTreeMap::new();
        for (hour, path) in
            rollup_files(directory).into_iter().filter(|(of, _)| (hour.saturating_sub(1)..=hour).contains(of))
        {
            let mut counted = Minutes::new();
            for entry in log::read(&path, Some(&mut notes)) {
                add_entry(&entry, &mut counted).unwrap_or_default(); // its checksum was right: written by a later version
            }
            let kept: &mut Hour = minutes.entry(hour).or_default();
            counted.iter().for_each(|(minute, counted)| kept.add(*minute, counted));
        }
        let (groups_log, entries) = Log::open(&directory.join("groups.log"), &mut notes).map_err(failed)?;
        let mut groups = Groups::default();
        for (id, group) in entries.iter().filter_map(|entry| read_group(entry)) {
            groups.restore(id, group);
        }
        let kept = Holdings {
            spans: spans_lane,
            logs: logs_lane,
            points: points_lane,
            errors: errors_lane,
            minutes,
            disk_bytes: 0,
        };
        let shared = Shared::new(directory.to_owned(), notes, options, clock, kept, groups, catalog);
        let mut disk = Self {
            directory: directory.to_owned(),
            _lock: lock,
            spans,
            logs,
            points,
            errors,
            groups: groups_log,
            writer: Writer::new(),
            fresh: Minutes::new(),
            rollup: None,
            swept_hour: 0,
            swept_blocks: usize::MAX,
            disk_full: false,
        };
        disk.sweep(&shared);
        Ok((shared, disk))
    }

    pub(crate) fn put_spans(&mut self, shared: &Shared, spans: Vec<Span>) {
        put(shared, &mut self.writer, &mut self.spans, |kept| &mut kept.spans, spans, |_| {});
    }

    pub(crate) fn put_logs(&mut self, shared: &Shared, records: Vec<LogRecord>) {
        put(
            shared,
            &mut self.writer,
            &mut self.logs,
            |kept| &mut kept.logs,
            records,
            |chunk| shared.tails.tell(chunk),
        );
    }

    pub(crate) fn put_points(&mut self, shared: &Shared, points: Vec<MetricPoint>) {
        put(shared, &mut self.writer, &mut self.points, |kept| &mut kept.points, points, |_| {});
    }

    pub(crate) fn put_errors(&mut self, shared: &Shared, errors: Vec<TakenError>) {
        put(shared, &mut self.writer, &mut self.errors, |kept| &mut kept.errors, errors, |_| {});
    }

    /// Takes in what was counted.
    pub(crate) fn count(&mut self, shared: &Shared, fresh: &Minutes) {
        let hour = shared.now_ns() / HOUR_NS;
        let mut kept = shared.change();
        let counted = kept.minutes.entry(hour).or_default();
        for (minute, one) in fresh {
            counted.add(*minute, one);
            self.fresh.entry(*minute).or_default().merge(one);
        }
    }

    /// Once a second: writes down what is open, and lets go of what is old.
    pub(crate) fn tick(&mut self, shared: &Shared) {
        let written = self.write_down(shared);
        if let Err(error) = &written
            && !self.disk_full
        {
            tracing::warn!("telemetry cannot be written to `{}`: {error}", self.directory.display());
        }
        self.disk_full = written.is_err();
        self.sweep(shared);
    }

    fn write_down(&mut self, shared: &Shared) -> io::Result<()> {
        write_open(shared, &mut self.writer, &mut self.spans, |kept| &kept.spans)?;
        write_open(shared, &mut self.writer, &mut self.logs, |kept| &kept.logs)?;
        write_open(shared, &mut self.writer, &mut self.points, |kept| &kept.points)?;
        write_open(shared, &mut self.writer, &mut self.errors, |kept| &kept.errors)?;
        for (id, group) in shared.groups().changes() {
            self.groups.append(&entry_of_group(id, group.as_ref()))?;
        }
        if self.groups.length() > MOST_GROUP_LOG {
            let all: Vec<_> =
                shared.groups().iter().map(|group| entry_of_group(group.id, Some(group))).collect();
            let path = self.directory.join("groups.log");
            log::replace(&path, &all)?;
            self.groups = Log::open(&path, &mut Vec::new())?.0;
        }
        self.write_rollup(shared)
    }

    fn write_rollup(&mut self, shared: &Shared) -> io::Result<()> {
        let hour = shared.now_ns() / HOUR_NS;
        if self.rollup.as_ref().is_some_and(|(open, _)| *open != hour)
            && let Some((ended, _)) = self.rollup.take()
        {
            // An hour that has ended is written anew as one entry instead of thousands.
            let counted = shared.kept().minutes.get(&ended).cloned();
            if let Some(counted) = counted {
                log::replace(&rollup_file(&self.directory, ended), &[entry_of(&counted.minutes)])?;
            }
        }
        if self.fresh.is_empty() {
            return Ok(());
        }
        let mut rollup = match self.rollup.take() {
            Some(open) => open,
            None => (hour, Log::open(&rollup_file(&self.directory, hour), &mut Vec::new())?.0),
        };
        let entry = entry_of(&std::mem::take(&mut self.fresh));
        let appended = rollup.1.append(&entry);
        self.rollup = Some(rollup);
        appended
    }

    /// Keeps to what telemetry may take on disk and in memory.
    fn sweep(&mut self, shared: &Shared) {
        let now_ns = shared.now_ns();
        let hour = now_ns / HOUR_NS;
        let blocks = blocks_of(shared);
        if self.swept_hour == hour && self.swept_blocks == blocks {
            return self.forget_filters(shared);
        }
        self.forget_filters(shared);
        let hours = |keep: std::time::Duration| keep.as_secs().div_ceil(3_600);
        let oldest = hour.saturating_sub(hours(shared.options.keep));
        let sizes = self.sizes(shared);
        let mut total: u64 = sizes.values().map(|(size, _)| size).sum::<u64>() + self.journals();
        for ((of, _), (size, segment)) in sizes {
            if of >= oldest && total <= shared.options.disk_bytes {
                break;
            }
            self.drop_segment(shared, &segment);
            total -= size;
        }
        shared.change().disk_bytes = total;
        self.swept_blocks = blocks_of(shared);
        if self.swept_hour != hour {
            self.swept_hour = hour;
            shared.change().minutes.retain(|of, _| of.saturating_add(1) >= hour);
            let oldest = hour.saturating_sub(hours(shared.options.keep_rollups));
            for (_, path) in rollup_files(&self.directory).into_iter().filter(|(of, _)| *of < oldest) {
                fs::remove_file(path).unwrap_or_default(); // it is tried again in an hour
            }
        }
    }

    fn journals(&self) -> u64 {
        self.spans.journal_length()
            + self.logs.journal_length()
            + self.points.journal_length()
            + self.errors.journal_length()
    }

    /// All segments, those of the oldest hour first, with their sizes.
    fn sizes(&self, shared: &Shared) -> BTreeMap<(u64, PathBuf), (u64, Arc<Segment>)> {
        let mut sizes: BTreeMap<(u64, PathBuf), (u64, Arc<Segment>)> = BTreeMap::new();
        let kept = shared.kept();
        let lanes = [&kept.spans.sealed, &kept.logs.sealed, &kept.points.sealed, &kept.errors.sealed];
        for block in lanes.into_iter().flat_map(|lane| lane.iter()) {
            let segment = &block.segment;
            let (size, _) =
                sizes.entry((segment.hour, segment.path.clone())).or_insert_with(|| (0, Arc::clone(segment)));
            *size += block.length();
        }
        sizes
    }

    fn drop_segment(&mut self, shared: &Shared, segment: &Arc<Segment>) {
        fn without<R>(lane: &mut Lane<R>, segment: &Arc<Segment>) {
            if lane.sealed.iter().any(|block| Arc::ptr_eq(&block.segment, segment)) {
                Arc::make_mut(&mut lane.sealed).retain(|block| !Arc::ptr_eq(&block.segment, segment));
            }
        }
        let mut kept = shared.change();
        without(&mut kept.spans, segment);
        without(&mut kept.logs, segment);
        without(&mut kept.points, segment);
        without(&mut kept.errors, segment);
        drop(kept);
        if self.spans.writes_to(segment) {
            self.spans.end_segment();
        } else if self.logs.writes_to(segment) {
            self.logs.end_segment();
        } else if self.points.writes_to(segment) {
            self.points.end_segment();
        } else if self.errors.writes_to(segment) {
            self.errors.end_segment();
        }
        if let Err(error) = fs::remove_file(&segment.path) {
            tracing::warn!("telemetry: cannot remove `{}`: {error}", segment.path.display());
        }
    }

    /// Lets go of the filters of the oldest blocks, and of the descriptors of files.
    fn forget_filters(&self, shared: &Shared) {
        let kept = shared.kept();
        let mut room = shared.options.filter_bytes;
        for lane in [&kept.spans.sealed, &kept.logs.sealed, &kept.points.sealed, &kept.errors.sealed] {
            for block in lane.iter().rev() {
                let memory = block.bloom_memory();
                if memory > room {
                    block.forget_bloom();
                } else {
                    room -= memory;
                }
            }
        }
        for lane in [&kept.spans.sealed, &kept.logs.sealed, &kept.points.sealed, &kept.errors.sealed] {
            lane.iter().for_each(|block| block.segment.rest());
        }
    }
}

fn blocks_of(shared: &Shared) -> usize {
    let kept = shared.kept();
    kept.spans.sealed.len() + kept.logs.sealed.len() + kept.points.sealed.len() + kept.errors.sealed.len()
}

fn open_lane<R: Kept>(directory: &Path, notes: &mut Vec<String>) -> io::Result<(LaneFiles<R>, Lane<R>)> {
    let (files, restored) = LaneFiles::<R>::open(directory, notes)?;
    Ok((files, Lane::restored(restored.blocks, restored.open, restored.next)))
}

fn each_recent<R: Kept>(lane: &Lane<R>, mut each: impl FnMut(&R)) {
    let unpacker = Unpacker::default();
    for block in lane.sealed.iter().rev().take(LOOKED_AT) {
        let rows = block.body(&unpacker).and_then(|body| R::read(&body, None)).unwrap_or_default();
        rows.iter().for_each(&mut each);
    }
    lane.open.iter().flat_map(|chunk| chunk.rows.iter()).for_each(each);
}

/// Puts records into a lane, and seals a block whenever one is full.
fn put<R: Kept>(
    shared: &Shared,
    writer: &mut Writer,
    files: &mut LaneFiles<R>,
    lane: impl Fn(&mut Holdings) -> &mut Lane<R>,
    mut rows: Vec<R>,
    told: impl Fn(&Chunk<R>),
) {
    while !rows.is_empty() {
        let rest = if rows.len() > BLOCK_ROWS { rows.split_off(BLOCK_ROWS) } else { Vec::new() };
        let mut kept = shared.change();
        let lane_now = lane(&mut kept);
        let chunk = lane_now.push(rows);
        let full = lane_now.open_rows >= BLOCK_ROWS || lane_now.open_memory >= BLOCK_MEMORY;
        let open = full.then(|| lane_now.open.clone());
        drop(kept);
        told(&chunk);
        if let Some(open) = open {
            let block = seal(shared, writer, files, &open);
            if block.is_none() {
                shared.counters.dropped(Reason::Disk, open.iter().map(|chunk| chunk.rows.len()).sum());
            }
            lane(&mut shared.change()).seal(block);
        }
        rows = rest;
    }
}

fn seal<R: Kept>(
    shared: &Shared,
    writer: &mut Writer,
    files: &mut LaneFiles<R>,
    open: &[Chunk<R>],
) -> Option<Arc<crate::files::segment::Block>> {
    let first = open.first()?.first;
    let made = writer.make(first, &mut open.iter().flat_map(|chunk| chunk.rows.iter()), true);
    let hour = shared.now_ns() / HOUR_NS;
    let most = shared.options.disk_bytes / PARTS_OF_DISK;
    match files.append(hour, most, made) {
        Ok(block) => Some(block),
        Err(error) => {
            tracing::warn!("telemetry: a block cannot be written and is dropped: {error}");
            files.forget_journal().unwrap_or_default(); // what it has are the same records: found again, if at all
            None
        }
    }
}

/// Writes down what is open and has not been written yet.
fn write_open<R: Kept>(
    shared: &Shared,
    writer: &mut Writer,
    files: &mut LaneFiles<R>,
    lane: impl Fn(&Holdings) -> &Lane<R>,
) -> io::Result<()> {
    let open = lane(&shared.kept()).open.clone();
    let from = files.journaled();
    let fresh: Vec<_> = open.iter().filter(|chunk| chunk.first >= from).collect();
    let Some(first) = fresh.first().map(|chunk| chunk.first) else { return Ok(()) };
    let made = writer.make(first, &mut fresh.iter().flat_map(|chunk| chunk.rows.iter()), false);
    files.write_down(&made)
}
