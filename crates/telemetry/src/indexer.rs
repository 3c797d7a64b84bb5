//! The one thread that works on what came in.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kit::Clock;

use crate::catalog::Catalog;
use crate::counters::Reason;
use crate::groups::Groups;
use crate::lane::Lane;
use crate::model::{ErrorEvent, LogRecord, MetricPoint, Span, TakenError, Text};
use crate::options::Options;
use crate::rollup::{Minutes, Rollup};
use crate::shared::{Batch, Kept, Shared, Waiting};
use crate::telemetry::OpenError;

/// How often what is open is written down, and what is old is let go.
const TICK: Duration = Duration::from_secs(1);
const DAY_NS: u64 = 24 * 3_600 * 1_000_000_000;

pub(crate) struct Indexer {
    shared: Arc<Shared>,
    rollup: Rollup,
}

impl Indexer {
    pub(crate) fn open(
        directory: &Path,
        options: Options,
        clock: Arc<dyn Clock>,
    ) -> Result<(Arc<Shared>, Self), OpenError> {
        std::fs::create_dir_all(directory)
            .map_err(|source| OpenError::Directory { path: directory.to_owned(), source })?;
        let kept = Kept {
            spans: Lane::new(),
            logs: Lane::new(),
            points: Lane::new(),
            errors: Lane::new(),
            minutes: Minutes::new(),
        };
        let shared = Arc::new(Shared::new(options, clock, kept, Groups::default(), Catalog::default()));
        let indexer = Self { shared: Arc::clone(&shared), rollup: Rollup::default() };
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
            let Waiting { batches, closed, .. } = std::mem::take(&mut *waiting);
            waiting.closed = closed;
            drop(waiting);
            if closed && batches.is_empty() {
                self.tick();
                return;
            }
            for batch in batches {
                self.work(batch);
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
        for span in &mut spans {
            self.named(&mut catalog, &mut span.service);
            catalog.operation(&span.service, &span.name, limits);
            self.rollup.add(span);
        }
        drop(catalog);
        self.merge_rollup();
        self.shared.change().spans.push(spans);
    }

    fn logs(&mut self, mut records: Vec<LogRecord>) {
        let mut catalog = self.shared.catalog();
        for record in &mut records {
            self.named(&mut catalog, &mut record.service);
        }
        drop(catalog);
        let chunk = self.shared.change().logs.push(records);
        if let Some(chunk) = chunk {
            self.shared.tails.tell(&chunk);
        }
    }

    fn points(&mut self, mut points: Vec<MetricPoint>) {
        let limits = &self.shared.options.limits;
        let before = points.len();
        let mut catalog = self.shared.catalog();
        catalog.on_day(self.shared.now_ns() / DAY_NS);
        points.retain(|point| catalog.point(point, limits));
        drop(catalog);
        self.shared.counters.dropped(Reason::TooManySeries, before - points.len());
        self.shared.change().points.push(points);
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
        self.shared.change().errors.push(taken);
    }

    fn named(&self, catalog: &mut Catalog, service: &mut Text) {
        if let Some(others) = catalog.service(service, &self.shared.options.limits) {
            *service = others;
            self.shared.counters.merged_service();
        }
    }

    fn merge_rollup(&mut self) {
        let fresh = self.rollup.take();
        let mut kept = self.shared.change();
        for (minute, counted) in &fresh {
            kept.minutes.entry(*minute).or_default().merge(counted);
        }
    }

    fn tick(&mut self) {
        self.rollup.age();
    }
}
