//! The output of instances, as log records: what they print is read from their logs, as anybody else reads it, so that a
//! line is never in the way of the one who prints it. The time of the last line taken is kept, so that what was printed
//! while no node ran is taken too, and nothing twice but what came within the last moments before a crash.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kit::Timestamp;
use manifest::spec::InstanceId;
use runtime::logs::{Follow, LogLine, Query, Reader, Stream, Which};
use telemetry::model::{LogRecord, Text};
use telemetry::{Intake, loglines};
use tokio_util::sync::CancellationToken;

use super::thrown::Thrown;
use crate::access;

/// Lines that are handed over at once.
const BATCH: usize = 512;
/// How often the time of the last line is kept.
const KEEP_EVERY: Duration = Duration::from_secs(2);
/// Between two looks at what was thrown, while something waits.
const LOOK: Duration = Duration::from_millis(50);
/// After an error of the directory of logs.
const TRY_AGAIN: Duration = Duration::from_secs(5);

/// Takes lines until told to stop. `kept` is the file that holds the time of the last one.
pub(super) async fn take(
    logs: PathBuf,
    kept: PathBuf,
    (intake, mut thrown): (Intake, Thrown),
    stop: CancellationToken,
) {
    let mut since = read(&kept);
    loop {
        let followed = tokio::select! {
            followed = follow(&logs, &kept, &mut since, (&intake, &mut thrown)) => followed,
            () = stop.cancelled() => break,
        };
        if let Err(error) = followed {
            tracing::warn!("the output of services cannot be read for telemetry: {error}");
        }
        tokio::select! {
            () = tokio::time::sleep(TRY_AGAIN) => {}
            () = stop.cancelled() => break,
        }
    }
    write(&kept, since);
}

async fn follow(
    logs: &Path,
    kept: &Path,
    since: &mut Option<Timestamp>,
    (intake, thrown): (&Intake, &mut Thrown),
) -> io::Result<()> {
    let ours = |name: &str| !access::ALL.contains(&name); // those are spans
    let from = since.map(|last| last + Duration::from_micros(1));
    let query = Query { which: Which::Matching(Arc::new(ours)), tail: None, since: from };
    let mut follow: Follow = Reader::new(logs).follow(query)?;
    let mut written = Instant::now();
    loop {
        let waits = thrown.waits();
        let first = tokio::select! {
            line = follow.next() => line?,
            () = tokio::time::sleep(LOOK), if waits => {
                thrown.look();
                continue;
            }
        };
        let mut batch = vec![record(first, since, thrown)];
        while batch.len() < BATCH
            && let Some(line) = follow.take()?
        {
            batch.push(record(line, since, thrown));
        }
        thrown.look();
        intake.offer_logs(batch); // what has no room is counted there
        if written.elapsed() >= KEEP_EVERY {
            write(kept, *since);
            written = Instant::now();
        }
        tokio::task::yield_now().await; // a service that prints without end is not all there is
    }
}

fn record(line: LogLine, since: &mut Option<Timestamp>, thrown: &mut Thrown) -> LogRecord {
    *since = Some(since.map_or(line.at, |last| last.max(line.at)));
    let service = service_of(&line.instance);
    let error = line.stream == Stream::Err;
    let read_ns = line.at.as_micros().saturating_mul(1000);
    let record = loglines::parse(&service, &Text::from(line.instance), &line.text, read_ns, error);
    thrown.line(&record, &line.text, error, read_ns);
    record
}

/// The service of an instance.
pub(super) fn service_of(instance: &str) -> Text {
    match InstanceId::read_name(instance) {
        Some((service, _)) => Text::from(service.as_str()),
        None => Text::from(instance), // no name that we give
    }
}

fn read(kept: &Path) -> Option<Timestamp> {
    let text = std::fs::read_to_string(kept).ok()?; // not there yet: from the beginning
    text.trim().parse().ok().map(Timestamp::from_micros)
}

/// A file that cannot be written costs lines that are taken twice after the next start.
fn write(kept: &Path, since: Option<Timestamp>) {
    if let Some(since) = since {
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(kept);
        // In place and always as long: whoever is killed here leaves the one or the other.
        let _ = file.and_then(|file| file.write_all_at(format!("{:020}\n", since.as_micros()).as_bytes(), 0));
    }
}
