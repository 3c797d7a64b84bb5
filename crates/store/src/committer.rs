//! The committer: one thread that takes what has come meanwhile, writes it as one batch with one sync, and then answers. The
//! sync of one batch is the time in which the next one gathers: there is no timer.
//!
//! It stops for ever at the first error of a write or a sync. A sync is never tried again: the system may have dropped the
//! very pages that failed, and would call the second one a success.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};

use kit::Clock;
use tokio::sync::oneshot;

use crate::admission::Admission;
use crate::draft::{Draft, Index};
use crate::engine::{Engine, EngineError};
use crate::error::CommitError;
use crate::lease::Held;
use crate::mark::Mark;
use crate::own;
use crate::seam::Committing;
use crate::space::Space;
use crate::txn::{Key, Txn, Version};
use crate::watch::Watchers;

/// Transactions in one batch.
const BATCH_TXNS: usize = 1024;
/// Bytes in one batch, more or less one transaction.
const BATCH_BYTES: usize = 4 * 1024 * 1024;
/// Keys that one step of removing a bucket removes: other commits go between.
const REMOVED_AT_ONCE: usize = 1024;
/// Identities of transactions that a batch forgets beside what it does.
const FORGOTTEN_AT_ONCE: usize = 64;

/// What the committer and everybody else look at.
pub(crate) struct Shared {
    pub(crate) engine: Box<dyn Engine>,
    pub(crate) leases: Held,
    pub(crate) watchers: Watchers,
    pub(crate) version: AtomicU64,
    pub(crate) commits: AtomicU64,
    pub(crate) syncs: AtomicU64,
    /// Why everything is refused.
    pub(crate) stopped: OnceLock<Arc<str>>,
    clock: Arc<dyn Clock>,
    mark: Option<Mark>,
    /// The last bucket of identities that was in use before.
    bucket: u64,
    queue: Mutex<Queue>,
    more: Condvar,
}

/// What was found in the directory.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Found {
    pub(crate) version: Version,
    /// How often it was opened, this time included.
    pub(crate) opened: u64,
    /// The last bucket of identities of transactions.
    pub(crate) bucket: u64,
}

/// Bounded by the room that every job was admitted to.
#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    waiting: bool,
    closed: bool,
}

enum Job {
    Commit {
        admission: Admission,
        bytes: usize,
        txn: Txn,
        answer: oneshot::Sender<Result<Version, CommitError>>,
    },
    Remove(Removal),
}

/// One step of removing all keys of a range.
struct Removal {
    space: Space,
    from: Key,
    to: Option<Key>,
    answer: oneshot::Sender<Result<Option<Key>, CommitError>>,
}

/// An answer that is given once the batch is on disk: also a refusal, for what it was refused for may be in this batch.
enum Answer {
    Commit(oneshot::Sender<Result<Version, CommitError>>, Result<Version, CommitError>),
    Remove(oneshot::Sender<Result<Option<Key>, CommitError>>, Option<Key>),
}

impl Shared {
    pub(crate) fn new(
        engine: Box<dyn Engine>,
        clock: Arc<dyn Clock>,
        mark: Option<Mark>,
        found: Found,
    ) -> Arc<Self> {
        let Found { version, opened, bucket } = found;
        Arc::new(Self {
            engine,
            leases: Held::new(Arc::clone(&clock), opened),
            watchers: Watchers::new(version),
            version: AtomicU64::new(version.0),
            commits: AtomicU64::new(0),
            syncs: AtomicU64::new(0),
            stopped: OnceLock::new(),
            clock,
            mark,
            bucket,
            queue: Mutex::default(),
            more: Condvar::new(),
        })
    }

    /// Starts the thread.
    pub(crate) fn start(self: &Arc<Self>) -> std::io::Result<JoinHandle<()>> {
        let shared = Arc::clone(self);
        thread::Builder::new().name("atoll-store".to_owned()).spawn(move || Committer::new(shared).run())
    }

    pub(crate) fn commit(&self, mut admission: Admission, txn: Txn) -> Committing {
        let (answer, receiver) = oneshot::channel();
        let bytes = txn.bytes();
        admission.grow(bytes);
        self.push(Job::Commit { admission, bytes, txn, answer });
        Committing(receiver)
    }

    /// Removes some keys of a range; answers where to go on.
    pub(crate) fn remove(
        &self,
        space: Space,
        from: Key,
        to: Option<Key>,
    ) -> oneshot::Receiver<Result<Option<Key>, CommitError>> {
        let (answer, receiver) = oneshot::channel();
        self.push(Job::Remove(Removal { space, from, to, answer }));
        receiver
    }

    /// Takes no more jobs. The thread ends when it has done those that were taken.
    pub(crate) fn close(&self) {
        self.queue().closed = true;
        self.more.notify_one();
    }

    fn push(&self, job: Job) {
        let mut queue = self.queue();
        if queue.closed {
            return; // the answer is dropped with the job: whoever waits learns that it failed
        }
        queue.jobs.push_back(job);
        let wake = std::mem::take(&mut queue.waiting);
        drop(queue);
        if wake {
            self.more.notify_one();
        }
    }

    fn stop(&self, why: &str) {
        tracing::error!("the store stops: {why}");
        self.stopped.get_or_init(|| why.into());
        let refused = {
            let mut queue = self.queue();
            queue.closed = true;
            std::mem::take(&mut queue.jobs)
        };
        drop(refused);
        self.watchers.close();
    }

    /// Takes the next jobs; `false`: there will be no more.
    fn next(&self, jobs: &mut VecDeque<Job>) -> bool {
        let mut queue = self.queue();
        while queue.jobs.is_empty() && !queue.closed {
            queue.waiting = true;
            queue = self.more.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        let mut bytes = 0;
        let fits = |job: &Job| {
            // One that is larger than a batch is a batch.
            let before = bytes;
            if let Job::Commit { bytes: size, .. } = job {
                bytes += size;
            }
            before < BATCH_BYTES
        };
        let count = queue.jobs.iter().take(BATCH_TXNS).map(fits).take_while(|fits| *fits).count();
        jobs.extend(queue.jobs.drain(..count));
        count > 0
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Committer {
    shared: Arc<Shared>,
    version: Version,
    /// The bucket of the last batch.
    bucket: u64,
    /// Where to go on forgetting identities of transactions that are too old.
    forget_from: Option<Key>,
    /// What the batch under way has to do, and whom to answer. Not on the stack: if it fails, the store is stopped first, and
    /// only then are these dropped, which says that nobody knows.
    jobs: VecDeque<Job>,
    answers: Vec<Answer>,
    admissions: Vec<Admission>,
    index: Index,
}

impl Committer {
    fn new(shared: Arc<Shared>) -> Self {
        let version = Version(shared.version.load(Ordering::Relaxed));
        Self {
            version,
            bucket: shared.bucket,
            shared,
            forget_from: Some(own::TRANSACTIONS.to_vec()),
            jobs: VecDeque::new(),
            answers: Vec::new(),
            admissions: Vec::new(),
            index: Index::default(),
        }
    }

    fn run(mut self) {
        while self.shared.next(&mut self.jobs) {
            // A panic of an engine is as bad as an error: nobody knows what it has done.
            let done = std::panic::catch_unwind(AssertUnwindSafe(|| self.batch()));
            let failed = match done {
                Ok(Ok(())) => continue,
                Ok(Err(error)) => error.to_string(),
                Err(_) => "the engine has panicked".to_owned(),
            };
            self.shared.stop(&failed);
            break;
        }
        self.shared.watchers.close();
    }

    fn batch(&mut self) -> Result<(), EngineError> {
        let shared = Arc::clone(&self.shared);
        let pause = shared.engine.pace();
        if !pause.is_zero() {
            thread::sleep(pause);
        }
        self.turn_bucket();
        let mut draft =
            Draft::new(&*shared.engine, &shared.leases, &mut self.index, self.bucket, self.version);
        while let Some(job) = self.jobs.pop_front() {
            match job {
                Job::Commit { admission, txn, answer, .. } => {
                    self.admissions.push(admission);
                    let outcome = hold(&mut self.answers, Answer::Commit(answer, Err(CommitError::Failed)));
                    if let Answer::Commit(_, outcome) = outcome {
                        *outcome = draft.take(txn)?;
                    }
                }
                Job::Remove(Removal { space, from, to, answer }) => {
                    if let Answer::Remove(_, next) = hold(&mut self.answers, Answer::Remove(answer, None)) {
                        *next = draft.remove(space, &from, to.as_deref(), REMOVED_AT_ONCE)?;
                    }
                }
            }
        }
        if let Some(from) = self.forget_from.take() {
            let to = own::bucket(self.bucket.saturating_sub(1));
            self.forget_from = draft.remove(Space::OWN, &from, Some(&to), FORGOTTEN_AT_ONCE)?;
        }
        let written = draft.finish();
        if let Some((batch, version)) = &written {
            shared.engine.commit(batch)?;
            if let Some(mark) = &shared.mark {
                mark.raise(*version).map_err(|error| EngineError::new("write the high-water mark", error))?;
            }
            self.version = *version;
            shared.version.store(version.0, Ordering::Release);
            shared.syncs.fetch_add(1, Ordering::Relaxed);
        }
        let done = |answer: &Answer| matches!(answer, Answer::Commit(_, Ok(_)));
        let commits = self.answers.iter().filter(|answer| done(answer)).count();
        shared.commits.fetch_add(commits as u64, Ordering::Relaxed);
        for answer in self.answers.drain(..) {
            // Whoever asked may have gone.
            match answer {
                Answer::Commit(answer, outcome) => drop(answer.send(outcome)),
                Answer::Remove(answer, next) => drop(answer.send(Ok(next))),
            }
        }
        self.admissions.clear();
        if let Some((batch, version)) = written {
            shared.watchers.publish(batch, version);
        }
        Ok(())
    }

    /// Goes to the bucket of now, never back: a clock that was set back while nothing ran begins with the last bucket in use.
    fn turn_bucket(&mut self) {
        let now = self.shared.clock.now().as_micros() / 1_000_000 / Txn::REMEMBERED.as_secs();
        if now > self.bucket {
            self.bucket = now;
            self.forget_from = Some(own::TRANSACTIONS.to_vec());
        }
    }
}

/// Puts an answer where it outlives what may fail.
fn hold(answers: &mut Vec<Answer>, answer: Answer) -> &mut Answer {
    answers.push(answer);
    let last = answers.len() - 1;
    &mut answers[last]
}
