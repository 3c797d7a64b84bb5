//! The one thread that works on what came in.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kit::Clock;

use crate::catalog::Catalog;
use crate::counters::Reason;
use crate::disk::Disk;
use crate::lane::Record;
use crate::model::{ErrorEvent, LogRecord, MetricPoint, Span, TakenError, Text};
use crate::onward::{Giver, Givers};
use crate::options::Options;
use crate::rollup::Rollup;
use crate::sampling::Sampler;
use crate::shared::{Batch, Shared, Waiting};
use crate::telemetry::OpenError;

/// How often what is open is written down, and what is old is let go.
const TICK: Duration = Duration::from_secs(1);
const DAY_NS: u64 = 24 * 3_600 * 1_000_000_000;

pub(crate) struct Indexer {
    shared: Arc<Shared>,
    disk: Disk,
    rollup: Rollup,
    sampler: Sampler,
    ticks: u64,
}

impl Indexer {
    pub(crate) fn open(
        directory: &Path,
        options: Options,
        clock: Arc<dyn Clock>,
    ) -> Result<(Arc<Shared>, Self), OpenError> {
        let sampler = Sampler::new(options.sampling.clone());
        let (shared, disk) = Disk::open(directory, options, clock)?;
        let shared = Arc::new(shared);
        let indexer =
            Self { shared: Arc::clone(&shared), disk, rollup: Rollup::default(), sampler, ticks: 0 };
        Ok((shared, indexer))
    }

    /// Works until telemetry is closed and nothing waits.
    pub(crate) fn run(mut self) {
        let mut due = Instant::now() + TICK;
        loop {
            let mut waiting = self.shared.waiting();
            while waiting.batches.is_empty() && !waiting.closed && Instant::now() < due {
                let patience = due.saturating_duration_since(Instant::now());
                let wait = self.shared.more.wait_timeout(waiting, patience);
                waiting = wait.unwrap_or_else(std::sync::PoisonError::into_inner).0;
            }
            // One batch after the other: what has not been worked on counts against the limit of what waits.
            let batch = waiting.batches.pop_front();
            let Waiting { closed, .. } = *waiting;
            drop(waiting);
            match batch {
                Some((bytes, batch)) => {
                    self.work(batch);
                    let mut waiting = self.shared.waiting();
                    waiting.bytes = waiting.bytes.saturating_sub(bytes);
                }
                None if closed => {
                    let left = self.sampler.all();
                    self.keep_spans(left);
                    self.tick();
                    return;
                }
                None => {}
            }
            if Instant::now() >= due {
                self.tick();
                due = Instant::now() + TICK;
            }
        }
    }

    fn work(&mut self, batch: Batch) {
        match batch {
            Batch::Spans(spans) => self.spans(spans),
            Batch::Logs(records) => self.logs(records),
            Batch::Points(points) => self.points(points),
            Batch::Errors(events) => self.errors(events),
            Batch::Flush(done) => {
                self.tick();
                done.try_send(()).unwrap_or_default(); // whoever asked may have gone
            }
        }
    }

    fn spans(&mut self, mut spans: Vec<Span>) {
        let limits = &self.shared.options.limits;
        let mut catalog = self.shared.catalog();
        let (mut service, mut name) = (Text::default(), Text::default());
        for span in &mut spans {
            self.named(&mut catalog, &mut span.service);
            if span.service != service || span.name != name {
                (service, name) = (span.service.clone(), span.name.clone());
                catalog.operation(&service, &name, limits);
            }
            self.rollup.add(span);
        }
        drop(catalog);
        self.merge_rollup();
        let spans = self.sampler.add(spans, self.shared.now_ns());
        self.keep_spans(spans);
    }

    fn keep_spans(&mut self, spans: Vec<Span>) {
        self.shared.counters.dropped(Reason::Sampled, self.sampler.take_dropped());
        self.give(|givers| &givers.spans, &spans);
        self.disk.put_spans(&self.shared, spans);
    }

    /// Hands on what is kept, if somebody sends it elsewhere.
    fn give<R: Record>(&self, giver: impl FnOnce(&Givers) -> &Option<Giver<R>>, records: &[R]) {
        if let Some(giver) = giver(&self.shared.onward()) {
            self.shared.counters.dropped(Reason::Onward, giver.give(records));
        }
    }

    fn logs(&mut self, mut records: Vec<LogRecord>) {
        let mut catalog = self.shared.catalog();
        for record in &mut records {
            self.named(&mut catalog, &mut record.service);
        }
        drop(catalog);
        self.give(|givers| &givers.logs, &records);
        self.disk.put_logs(&self.shared, records);
    }

    fn points(&mut self, mut points: Vec<MetricPoint>) {
        let limits = &self.shared.options.limits;
        let before = points.len();
        let mut catalog = self.shared.catalog();
        catalog.on_day(self.shared.now_ns() / DAY_NS);
        points.retain(|point| catalog.point(point, limits));
        drop(catalog);
        self.shared.counters.dropped(Reason::TooManySeries, before - points.len());
        self.give(|givers| &givers.points, &points);
        self.disk.put_points(&self.shared, points);
    }

    fn errors(&mut self, events: Vec<ErrorEvent>) {
        let mut taken = Vec::with_capacity(events.len());
        let mut catalog = self.shared.catalog();
        let mut groups = self.shared.groups();
        for mut event in events {
            self.named(&mut catalog, &mut event.service);
            let group = groups.take(&event, self.shared.options.limits.groups);
            taken.push(TakenError { group, event });
        }
        drop((catalog, groups));
        self.disk.put_errors(&self.shared, taken);
    }

    fn named(&self, catalog: &mut Catalog, service: &mut Text) {
        if let Some(others) = catalog.service(service, &self.shared.options.limits) {
            *service = others;
            self.shared.counters.merged_service();
        }
    }

    fn merge_rollup(&mut self) {
        let fresh = self.rollup.take();
        if !fresh.is_empty() {
            self.disk.count(&self.shared, &fresh);
        }
    }

    fn tick(&mut self) {
        self.ticks += 1;
        if self.ticks.is_multiple_of(30) {
            self.rollup.age();
        }
        let decided = self.sampler.decided(self.shared.now_ns());
        self.keep_spans(decided);
        self.disk.tick(&self.shared);
    }
}
