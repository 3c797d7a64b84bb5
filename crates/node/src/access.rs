//! The access log: one line per exchange, in files beside those of the instances, as `gateway` and
//! `mesh`. The data path hands records over and never waits.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kit::units::Bytes;
use kit::{OnError, Tasks};
use manifest::spec::Logging;
use proxy::{AccessRecord, AccessSink};
use runtime::logs::{RotatingFile, Stream};
use tokio::sync::mpsc;

/// Records that may wait for the disk; more are dropped and counted.
const MAX_WAITING: usize = 4096;

/// How much of each log is kept.
const KEEP: Logging = Logging { max_size: Bytes(16 << 20), max_files: 3 };

/// The pseudo instances under which exchanges are logged.
pub(crate) const GATEWAY: &str = "gateway";
pub(crate) const MESH: &str = "mesh";

/// Takes records from the data path.
pub(crate) struct AccessLog {
    records: mpsc::Sender<AccessRecord>,
    dropped: Arc<AtomicU64>,
}

impl AccessLog {
    /// Starts the writer.
    pub(crate) fn start(logs: &Path, tasks: &Tasks) -> Self {
        let mut gateway = RotatingFile::new(logs, GATEWAY, KEEP);
        let mut mesh = RotatingFile::new(logs, MESH, KEEP);
        let (records, mut waiting) = mpsc::channel::<AccessRecord>(MAX_WAITING);
        tasks.spawn("node.access_log", OnError::Log, |stop| async move {
            loop {
                let record = tokio::select! {
                    record = waiting.recv() => record,
                    () = stop.cancelled() => None,
                };
                let Some(record) = record else { return Ok::<_, String>(()) };
                let file = if record.caller().is_none() { &mut gateway } else { &mut mesh };
                // A full disk costs lines of the log, not requests.
                let _ = file.line(record.time, Stream::Out, line(&record).as_bytes());
            }
        });
        Self { records, dropped: Arc::default() }
    }

    /// Records dropped because the disk was slower than the data path.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

impl AccessSink for AccessLog {
    fn record(&self, record: AccessRecord) {
        if self.records.try_send(record).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// One line: what a person scans first comes first, then `key=value` for tools.
fn line(record: &AccessRecord) -> String {
    let instance = record.instance().map_or_else(|| "-".to_owned(), manifest::spec::InstanceId::name);
    let mut line = format!(
        "{} {} {} {:.1}ms {instance}",
        record.status,
        record.method,
        record.path(),
        record.duration_us as f64 / 1000.0,
    );
    if let Some(caller) = record.caller() {
        line.push_str(&format!(" caller={caller}"));
    }
    if let Some(route) = record.route_name() {
        line.push_str(&format!(" route=\"{route}\""));
    }
    if let Some(host) = &record.host {
        line.push_str(&format!(" host={host:?}"));
    }
    if let Some(session) = &record.tls {
        line.push_str(&format!(" tls={}", session.version()));
    }
    line.push_str(&format!(
        " peer={} in={} out={} request={} trace={}",
        record.peer,
        record.bytes_in,
        record.bytes_out,
        record.request_id(),
        record.trace.id,
    ));
    if let Some(error) = &record.error {
        line.push_str(&format!(" error={}", error.token()));
    }
    line
}
