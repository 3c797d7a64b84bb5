//! The whole: opened, used through handles, closed.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use kit::{Clock, Explain, Help};

use crate::counters::Reason;
use crate::indexer::Indexer;
use crate::intake::Intake;
use crate::model::{LogRecord, MetricPoint, Span};
use crate::onward::{Givers, OnwardReader, channel};
use crate::options::Options;
use crate::query::Query;
use crate::shared::{Batch, Shared};

/// Telemetry, open. Dropping it closes it.
pub struct Telemetry {
    shared: Arc<Shared>,
    /// Until it is closed.
    indexing: Mutex<Option<JoinHandle<()>>>,
}

/// Why telemetry cannot be opened. Damaged files are no reason: they are set aside.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory cannot be made or read.
    #[error("cannot use the directory of telemetry `{}`", .path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another process has it open.
    #[error("telemetry in `{}` is open in another process", .path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// The machine gives no thread.
    #[error("cannot start the thread that indexes telemetry")]
    Thread {
        /// Why.
        source: io::Error,
    },
}

impl Explain for OpenError {
    fn help(&self) -> Help {
        match self {
            Self::Directory { .. } => Help::code("A0920")
                .hint("let the user that runs Atoll write there, or choose another place with `--state-dir`"),
            Self::InUse { .. } => {
                Help::code("A0921").hint("stop the other one, or choose another `--state-dir`")
            }
            Self::Thread { .. } => {
                Help::code("A0922").hint("raise the limit of threads of this user (`ulimit -u`)")
            }
        }
    }
}

impl Telemetry {
    /// Opens what is kept in a directory of its own, and starts the thread that indexes.
    pub fn open(directory: &Path, options: Options, clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        let (shared, indexer) = Indexer::open(directory, options, clock)?;
        let indexing = std::thread::Builder::new()
            .name("atoll-telemetry".to_owned())
            .spawn(move || indexer.run())
            .map_err(|source| OpenError::Thread { source })?;
        Ok(Self { shared, indexing: Mutex::new(Some(indexing)) })
    }

    /// How records come in.
    pub fn intake(&self) -> Intake {
        Intake::new(Arc::clone(&self.shared))
    }

    /// What can be asked.
    pub fn query(&self) -> Query {
        Query::new(Arc::clone(&self.shared))
    }

    /// The spans that are kept from now on, after sampling, for whoever sends them elsewhere; there is one reader at a time.
    pub fn onward_spans(&self) -> OnwardReader<Span> {
        let (giver, reader) = channel();
        self.shared.onward().spans = Some(giver);
        reader
    }

    /// The same of log records.
    pub fn onward_logs(&self) -> OnwardReader<LogRecord> {
        let (giver, reader) = channel();
        self.shared.onward().logs = Some(giver);
        reader
    }

    /// The same of points of metrics.
    pub fn onward_points(&self) -> OnwardReader<MetricPoint> {
        let (giver, reader) = channel();
        self.shared.onward().points = Some(giver);
        reader
    }

    /// Counts what could not be sent on.
    pub fn not_sent_on(&self, count: usize) {
        self.shared.counters.dropped(Reason::Onward, count);
    }

    /// Waits until everything that was offered before can be found, and is written.
    pub fn flush(&self) {
        let (done, wait) = std::sync::mpsc::sync_channel(1);
        let mut waiting = self.shared.waiting();
        if waiting.closed {
            return;
        }
        waiting.batches.push_back((0, Batch::Flush(done)));
        drop(waiting);
        self.shared.more.notify_one();
        wait.recv().unwrap_or_default(); // the thread is gone, and nothing more will be written
    }

    /// Writes everything and ends the thread. What is asked later is still answered, what is offered is dropped. Whoever reads
    /// onward has everything then.
    pub fn close(&self) {
        self.shared.waiting().closed = true;
        self.shared.more.notify_one();
        let indexing = self.indexing.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(indexing) = indexing
            && indexing.join().is_err()
        {
            tracing::error!(
                "the thread that indexes telemetry has panicked: what it had not written is lost"
            );
        }
        self.shared.tails.close();
        *self.shared.onward() = Givers::default();
    }
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        self.close();
    }
}
