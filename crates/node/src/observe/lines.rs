//! The output of instances, as log records: what they print is read from their logs, as anybody else reads it, so that a
//! line is never in the way of the one who prints it. The time of the last line taken is kept, so that what was printed
//! while no node ran is taken too, and nothing twice but what came within the last moments before a crash.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kit::Timestamp;
use runtime::logs::{Follow, LogLine, Query, Reader, Stream, Which};
use telemetry::model::{LogRecord, Text};
use telemetry::{Intake, loglines};
use tokio_util::sync::CancellationToken;

use crate::access;

/// Lines that are handed over at once.
const BATCH: usize = 512;
/// How often the time of the last line is kept.
const KEEP_EVERY: Duration = Duration::from_secs(2);
/// After an error of the directory of logs.
const TRY_AGAIN: Duration = Duration::from_secs(5);

/// Takes lines until told to stop. `kept` is the file that holds the time of the last one.
pub(super) async fn take(logs: PathBuf, kept: PathBuf, intake: Intake, stop: CancellationToken) {
    let mut since = read(&kept);
    loop {
        let followed = tokio::select! {
            followed = follow(&logs, &kept, &mut since, &intake) => followed,
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

async fn follow(logs: &Path, kept: &Path, since: &mut Option<Timestamp>, intake: &Intake) -> io::Result<()> {
    let ours = |name: &str| !access::ALL.contains(&name); // those are spans
    let from = since.map(|last| last + Duration::from_micros(1));
    let query = Query { which: Which::Matching(Arc::new(ours)), tail: None, since: from };
    let mut follow: Follow = Reader::new(logs).follow(query)?;
    let mut written = Instant::now();
    loop {
        let mut batch = vec![record(follow.next().await?, since)];
        while batch.len() < BATCH
            && let Some(line) = follow.take()?
        {
            batch.push(record(line, since));
        }
        intake.offer_logs(batch); // what has no room is counted there
        if written.elapsed() >= KEEP_EVERY {
            write(kept, *since);
            written = Instant::now();
        }
        tokio::task::yield_now().await; // a service that prints without end is not all there is
    }
}

fn record(line: LogLine, since: &mut Option<Timestamp>) -> LogRecord {
    *since = Some(since.map_or(line.at, |last| last.max(line.at)));
    let service = Text::from(service_of(&line.instance));
    let error = line.stream == Stream::Err;
    loglines::parse(
        &service,
        &Text::from(line.instance),
        &line.text,
        line.at.as_micros().saturating_mul(1000),
        error,
    )
}

/// `catalog` of `catalog-2` and of `catalog.prepare`.
fn service_of(instance: &str) -> &str {
    let name = instance.split_once('.').map_or(instance, |(name, _)| name);
    match name.rsplit_once('-') {
        Some((service, number)) if !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) => {
            service
        }
        _ => name,
    }
}

fn read(kept: &Path) -> Option<Timestamp> {
    let text = std::fs::read_to_string(kept).ok()?; // not there yet: from the beginning
    text.trim().parse().ok().map(Timestamp::from_micros)
}

/// A file that cannot be written costs lines that are taken twice after the next start.
fn write(kept: &Path, since: Option<Timestamp>) {
    if let Some(since) = since {
        let _ = std::fs::write(kept, format!("{}\n", since.as_micros()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_belongs_to_the_service_of_its_instance() {
        for (instance, service) in [
            ("catalog-2", "catalog"),
            ("web-api-1", "web-api"),
            ("catalog.prepare", "catalog"),
            ("web-", "web-"),
            ("a-1.check", "a"),
        ] {
            assert_eq!(service_of(instance), service, "{instance}");
        }
    }
}
