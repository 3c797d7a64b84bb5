//! `atoll verify durability`: a process that sends, receives and deletes is killed at random moments, on the disk that the
//! user names. What it was told stays true is compared with what is there when the store is opened again.
//!
//! Read in this order: [`verify`], `ledger` (what was acknowledged, and what must follow; pure), `worker` (what is killed),
//! `look` (what is there), `fsync` (whether the disk can be believed).

mod fsync;
mod ledger;
mod look;
mod worker;

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use kit::{Explain, Help};
use rand::RngExt;

pub use fsync::{Disk, Fsync};
pub use ledger::Outcome;
pub use store::EngineKind;
pub use worker::{Work, work};

use ledger::Ledger;

/// Where the store is, in the directory of a run.
const STORE: &str = "store";
/// How long a worker lives after it has said something for the first time.
const LIFE: std::ops::Range<Duration> = Duration::from_millis(20)..Duration::from_millis(600);
/// How long it may take to say something.
const PATIENCE: Duration = Duration::from_secs(30);
/// Lines that may wait to be read: more than a worker says in its life.
const LINES: usize = 1 << 20;

/// What is asked for.
pub struct Wanted {
    /// An empty directory of this run's own, on the disk that is tried.
    pub directory: PathBuf,
    /// What keeps the store.
    pub engine: EngineKind,
    /// For how long processes are killed.
    pub time: Duration,
    /// What starts a worker: a program that calls [`work`] with what is appended to this.
    pub worker: Vec<OsString>,
    /// Workers acknowledge what they have not done yet: to see that it would be found.
    pub lie: bool,
    /// Once this is set, it ends with the kill that is next, however long it was to take.
    pub stop: Arc<AtomicBool>,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Processes that were killed.
    pub kills: u32,
    /// What was acknowledged, and what became of it.
    pub outcome: Outcome,
    /// How long the disk takes to be sure.
    pub fsync: Fsync,
}

/// Why nothing was found out.
#[derive(Debug, thiserror::Error)]
pub enum DurabilityError {
    /// The directory cannot be used.
    #[error("cannot write in `{}`", .path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A worker did not do its work.
    #[error("the process that is to be killed ended by itself: {0}")]
    Worker(String),
    /// What a killed process left cannot be opened.
    #[error("the store cannot be opened after process number {kill} was killed")]
    Open {
        /// Which.
        kill: u32,
        /// Why.
        source: store::OpenError,
    },
    /// What a killed process left cannot be read.
    #[error("the queues cannot be read after process number {kill} was killed: {why}")]
    Read {
        /// Which.
        kill: u32,
        /// Why.
        why: String,
    },
    /// The machine does not do what it should.
    #[error("cannot {what}")]
    Machine {
        /// What.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
}

impl Explain for DurabilityError {
    fn help(&self) -> Help {
        match self {
            Self::Directory { .. } => Help::code("A0930").hint("say another place with `--dir`"),
            Self::Worker(_) => {
                Help::code("A0931").hint("see whether there is room and memory: `atoll doctor`")
            }
            Self::Open { .. } | Self::Read { .. } => Help::code("A0932")
                .hint("do not keep anything on this disk; please report it with what `--keep` leaves"),
            Self::Machine { .. } => {
                Help::code("A0931").hint("`atoll doctor` checks what this machine allows")
            }
        }
    }
}

/// Kills processes for as long as is wanted. `told` hears of each kill: how many there were, and what was found so far.
///
/// # Errors
/// When it could not be found out; what is lost is in the report.
pub fn verify(wanted: &Wanted, mut told: impl FnMut(u32, &Outcome)) -> Result<Report, DurabilityError> {
    let unusable = |source| DurabilityError::Directory { path: wanted.directory.clone(), source };
    let fsync = fsync::measure(&wanted.directory).map_err(unusable)?;
    let mut ledger = Ledger::default();
    let end = Instant::now() + wanted.time;
    let mut kills = 0;
    while !wanted.stop.load(Ordering::Relaxed) && (kills == 0 || Instant::now() < end) {
        for line in one_life(wanted, &ledger)? {
            ledger.hear(&line);
        }
        kills += 1;
        let found = look::at(&wanted.directory.join(STORE), wanted.engine, kills)?;
        ledger.compare(&found);
        told(kills, ledger.outcome());
    }
    Ok(Report { kills, outcome: ledger.outcome().clone(), fsync })
}

/// Starts a worker and kills it; what it said, whole lines only.
fn one_life(wanted: &Wanted, ledger: &Ledger) -> Result<Vec<String>, DurabilityError> {
    let machine = |what| move |source| DurabilityError::Machine { what, source };
    let (program, arguments) = wanted
        .worker
        .split_first()
        .ok_or_else(|| DurabilityError::Worker("nobody said what starts it".into()))?;
    let mut command = Command::new(program);
    command.args(arguments).arg(wanted.directory.join(STORE)).arg(wanted.engine.to_string());
    command.arg(ledger.next().to_string());
    if wanted.lie {
        command.arg("lie");
    }
    // Ctrl-C in a terminal is for us alone.
    let mut child = command
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(machine("start another process"))?;
    let heard = listen(&mut child);
    let first = heard.recv_timeout(PATIENCE);
    if first.is_ok() {
        std::thread::sleep(rand::rng().random_range(LIFE));
    }
    let ended = child.try_wait().map_err(machine("ask for another process"))?;
    let _ = child.kill(); // it may have ended just now
    let output = child.wait_with_output().map_err(machine("wait for another process"))?;
    let mut lines: Vec<String> = first.iter().cloned().chain(heard).collect();
    if let Some(status) = ended {
        let said = String::from_utf8_lossy(&output.stderr);
        let why = said.lines().last().unwrap_or_default();
        return Err(DurabilityError::Worker(format!("{status} {why}")));
    }
    if lines.is_empty() {
        return Err(DurabilityError::Worker(format!("it said nothing within {} s", PATIENCE.as_secs())));
    }
    // The last one may have been cut off.
    if lines.last().is_some_and(|line| !line.ends_with('\n')) {
        lines.pop();
    }
    Ok(lines)
}

/// Reads what a worker says on a thread of its own, which ends with it.
fn listen(child: &mut Child) -> Receiver<String> {
    let (tell, heard) = sync_channel(LINES);
    if let Some(out) = child.stdout.take() {
        std::thread::spawn(move || {
            let mut out = BufReader::new(out);
            let mut line = String::new();
            while out.read_line(&mut line).is_ok_and(|read| read > 0) {
                if tell.send(std::mem::take(&mut line)).is_err() {
                    return;
                }
            }
        });
    }
    heard
}

/// Directories of runs that have left theirs, and whose process had the same id, at most.
const MOST_LEFT: u32 = 100;

/// An empty directory of this run's own under `parent`, which must be there.
///
/// # Errors
/// When it cannot be made.
pub fn place(parent: &Path) -> Result<PathBuf, DurabilityError> {
    let own = format!(".atoll-verify-{}", std::process::id());
    let mut left = 0;
    loop {
        let name = if left == 0 { own.clone() } else { format!("{own}-{left}") };
        let path = parent.join(name);
        match std::fs::create_dir(&path) {
            Ok(()) => return Ok(path),
            // What a run has left is somebody's to look at: what is in it is not of this run.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && left < MOST_LEFT => left += 1,
            Err(source) => return Err(DurabilityError::Directory { path, source }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_run_has_a_directory_of_its_own_where_there_is_one_for_it() {
        let dir = tempfile::tempdir().unwrap();
        let first = place(dir.path()).unwrap();
        assert!(first != place(dir.path()).unwrap());
        let missing = dir.path().join("tpyo");
        assert!(matches!(place(&missing), Err(DurabilityError::Directory { .. })));
        assert!(!missing.exists());
    }
}
