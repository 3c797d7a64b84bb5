//! The connection to the keeper: requests out, answers and events in.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kit::{OnError, Tasks, Timestamp};
use manifest::spec::InstanceId;
use rustix::fs::{FlockOperation, flock};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::driver::{Event, Found, Started};
use crate::wire::{self, LOCK, ToKeeper, ToNode, WireExit, WireStartError, WireUsage};

/// Requests on their way to the keeper; more wait.
const REQUESTS: usize = 256;

/// Requests are written together up to about this length, in bytes.
const WRITE_AT_ONCE: usize = 64 * 1024;

/// Events on their way to whoever took the receiver. The keeper tells at most 512 ends ahead of their
/// acknowledgement, and a few notices once each: the channel behind the reader is never full.
const EVENTS: usize = 64;
const EVENTS_READ: usize = 1024;

/// How long wardens may take to end everything after their keeper died.
const CLEAN_UP_LIMIT: Duration = Duration::from_secs(5);
const CLEAN_UP_PAUSE: Duration = Duration::from_millis(5);

/// What is said of an answer that does not fit the question.
pub(super) const MISTAKEN: &str = "the keeper gave an answer to another question";

/// Every code that the keeper uses in a notice.
const NOTICE_CODES: [&str; 3] = ["A0505", "A0507", "A0511"];

/// Asks the keeper.
#[derive(Debug)]
pub(super) struct Link {
    /// Encoded, each with its length.
    requests: mpsc::Sender<Vec<u8>>,
    waiting: Arc<Mutex<Waiting>>,
    hang_up: CancellationToken,
}

/// The answer to a request.
#[derive(Debug)]
pub(super) enum Answer {
    Started(Started),
    NotStarted(WireStartError),
    Stopped,
    Recovered(Vec<Found>),
    Usage(Vec<WireUsage>),
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum AskError {
    /// The connection is broken; why.
    Gone(String),
    /// The request cannot be sent (it is too long); the connection is as good as before.
    Refused(String),
}

impl AskError {
    pub(super) fn why(self) -> String {
        match self {
            Self::Gone(why) | Self::Refused(why) => why,
        }
    }
}

/// Who waits for an answer.
#[derive(Debug, Default)]
struct Waiting {
    next: u64,
    by_seq: BTreeMap<u64, oneshot::Sender<Answer>>,
    /// Parts of an answer that comes in parts.
    found: BTreeMap<u64, Vec<Found>>,
    /// Why nobody will be answered any more.
    closed: Option<String>,
}

impl Link {
    /// Starts the tasks of a connection. Also returns the events.
    pub(super) fn start(
        stream: UnixStream,
        state_dir: &Path,
        tasks: &Tasks,
    ) -> (Self, mpsc::Receiver<Event>) {
        let (requests, to_write) = mpsc::channel(REQUESTS);
        let (read, to_pass) = mpsc::channel(EVENTS_READ);
        let (pass, events) = mpsc::channel(EVENTS);
        let waiting = Arc::new(Mutex::new(Waiting::default()));
        let hang_up = CancellationToken::new();
        let (input, output) = stream.into_split();
        let reader = Reader {
            input,
            waiting: Arc::clone(&waiting),
            events: read,
            lock: state_dir.join(LOCK),
            hang_up: hang_up.clone(),
        };
        tasks.spawn("runtime.keeper.read", OnError::Log, |stop| async move {
            reader.run(&stop).await;
            Ok::<_, io::Error>(())
        });
        let hung_up = hang_up.clone();
        tasks.spawn("runtime.keeper.write", OnError::Log, |stop| async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = hung_up.cancelled() => {}
                () = write(output, to_write) => {}
            }
            hung_up.cancel();
            Ok::<_, io::Error>(())
        });
        let acknowledgements = requests.clone();
        let hung_up = hang_up.clone();
        tasks.spawn("runtime.keeper.events", OnError::Log, |stop| async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = pass_on(to_pass, pass, acknowledgements, hung_up) => {}
            }
            Ok::<_, io::Error>(())
        });
        (Self { requests, waiting, hang_up }, events)
    }

    /// Asks, and waits for the answer. The error says why there will be none.
    pub(super) async fn ask(&self, request: impl FnOnce(u64) -> ToKeeper) -> Result<Answer, AskError> {
        let (answer, answered) = oneshot::channel();
        let mut encoded = Vec::new();
        let seq = {
            let mut waiting = locked(&self.waiting);
            if let Some(why) = &waiting.closed {
                return Err(AskError::Gone(why.clone()));
            }
            waiting.next += 1;
            let seq = waiting.next;
            wire::encode(&request(seq), &mut encoded)
                .map_err(|error| AskError::Refused(error.to_string()))?;
            waiting.by_seq.insert(seq, answer);
            seq
        };
        let closed = || {
            AskError::Gone(locked(&self.waiting).closed.clone().unwrap_or_else(|| "it was closed".to_owned()))
        };
        if self.requests.send(encoded).await.is_err() {
            locked(&self.waiting).by_seq.remove(&seq);
            return Err(closed());
        }
        answered.await.map_err(|_| closed())
    }

    /// Tells that the end of an instance has been heard.
    pub(super) async fn acknowledge(&self, id: &InstanceId) {
        acknowledge(&self.requests, id).await;
    }

    pub(super) fn close(&self) {
        self.hang_up.cancel();
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.hang_up.cancel();
    }
}

/// Writes requests until nobody asks any more or the keeper is gone.
async fn write(mut output: OwnedWriteHalf, mut requests: mpsc::Receiver<Vec<u8>>) {
    while let Some(mut buffer) = requests.recv().await {
        // The length first: what has been received must be written.
        while buffer.len() <= WRITE_AT_ONCE
            && let Ok(request) = requests.try_recv()
        {
            buffer.extend_from_slice(&request);
        }
        if output.write_all(&buffer).await.is_err() {
            return;
        }
    }
}

/// Hands events to whoever took the receiver; an end that has been taken in is acknowledged.
async fn pass_on(
    mut read: mpsc::Receiver<Event>,
    pass: mpsc::Sender<Event>,
    requests: mpsc::Sender<Vec<u8>>,
    hung_up: CancellationToken,
) {
    while let Some(event) = read.recv().await {
        let ended = match &event {
            Event::Exited { id, .. } => Some(id.clone()),
            _ => None,
        };
        // Without a taker ends stay unacknowledged, and the keeper keeps them for the next node.
        if pass.send(event).await.is_err() {
            return;
        }
        if let Some(id) = ended
            && !hung_up.is_cancelled()
        {
            acknowledge(&requests, &id).await;
        }
    }
}

async fn acknowledge(requests: &mpsc::Sender<Vec<u8>>, id: &InstanceId) {
    let mut encoded = Vec::new();
    if wire::encode(&ToKeeper::Ack { id: id.to_string() }, &mut encoded).is_ok() {
        let _ = requests.send(encoded).await;
    }
}

struct Reader {
    input: OwnedReadHalf,
    waiting: Arc<Mutex<Waiting>>,
    events: mpsc::Sender<Event>,
    lock: PathBuf,
    hang_up: CancellationToken,
}

impl Reader {
    async fn run(mut self, stop: &CancellationToken) {
        let hang_up = self.hang_up.clone();
        let why = tokio::select! {
            () = stop.cancelled() => None,
            () = hang_up.cancelled() => None,
            why = self.read() => Some(why),
        };
        hang_up.cancel();
        let text = why.clone().unwrap_or_else(|| "it was closed".to_owned());
        {
            let mut waiting = locked(&self.waiting);
            waiting.closed = Some(text);
            waiting.by_seq.clear();
        }
        let Some(why) = why else { return };
        let text = match self.clean_up().await {
            true => format!("the keeper is gone ({why}); nothing that it ran lives any more"),
            false => format!("the keeper is gone ({why}); some of what it ran may still live"),
        };
        let _ = self.events.try_send(Event::Failed(text));
    }

    /// Reads until the connection breaks; returns why.
    async fn read(&mut self) -> String {
        let mut buffer = Vec::with_capacity(64 * 1024);
        loop {
            match self.input.read_buf(&mut buffer).await {
                Ok(0) => return "it hung up".to_owned(),
                Ok(_) => {}
                Err(error) => return error.to_string(),
            }
            loop {
                match wire::decode(&mut buffer) {
                    Ok(Some(message)) => self.take(message),
                    Ok(None) => break,
                    Err(error) => return format!("it sent nonsense: {error}"),
                }
            }
        }
    }

    fn take(&self, message: ToNode) {
        match message {
            ToNode::Started { seq, pid, at } => {
                self.answer(seq, Answer::Started(Started { pid, at: Timestamp::from_micros(at) }));
            }
            ToNode::NotStarted { seq, error } => self.answer(seq, Answer::NotStarted(error)),
            ToNode::Stopped { seq } => self.answer(seq, Answer::Stopped),
            ToNode::Usage { seq, list } => self.answer(seq, Answer::Usage(list)),
            ToNode::Found { seq, launch, pid, at, exit, asked } => {
                let found = wire::found(*launch, pid, at, exit, asked);
                locked(&self.waiting).found.entry(seq).or_default().extend(found);
            }
            ToNode::Recovered { seq } => {
                let found = locked(&self.waiting).found.remove(&seq).unwrap_or_default();
                self.answer(seq, Answer::Recovered(found));
            }
            ToNode::Exited { id, exit, at, last_lines } => self.exited(&id, exit, at, last_lines),
            ToNode::Notice { code, message, hint } => {
                let known = NOTICE_CODES.into_iter().find(|known| *known == code);
                self.event(Event::Notice { code: known.unwrap_or("A0504"), message, hint });
            }
            ToNode::Welcome { .. } | ToNode::Refused { .. } => {}
        }
    }

    fn answer(&self, seq: u64, answer: Answer) {
        let waiting = locked(&self.waiting).by_seq.remove(&seq);
        if let Some(waiting) = waiting {
            let _ = waiting.send(answer); // who asked may have given up
        }
    }

    fn exited(&self, id: &str, exit: WireExit, at: u64, last_lines: Vec<String>) {
        let Ok(id) = id.parse() else { return };
        let at = Timestamp::from_micros(at);
        self.event(Event::Exited { id, exit: exit.into_domain(), at, last_lines });
    }

    fn event(&self, event: Event) {
        if self.events.try_send(event).is_err() {
            tracing::debug!("an event came after the last one that anybody takes");
        }
    }

    /// Waits until the wardens of the dead keeper have ended everything: they hold its lock until then.
    async fn clean_up(&self) -> bool {
        let Ok(lock) = std::fs::File::open(&self.lock) else { return false };
        let began = Instant::now();
        while began.elapsed() < CLEAN_UP_LIMIT {
            if flock(&lock, FlockOperation::NonBlockingLockShared).is_ok() {
                return true;
            }
            sleep(CLEAN_UP_PAUSE).await;
        }
        false
    }
}

fn locked(waiting: &Mutex<Waiting>) -> MutexGuard<'_, Waiting> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn no_request_is_lost_however_many_wait_to_be_written() {
        let (node, mut keeper) = UnixStream::pair().unwrap();
        let (requests, to_write) = mpsc::channel(REQUESTS);
        for number in 0..REQUESTS {
            let id = format!("{number} {}", "x".repeat(2000));
            let mut encoded = Vec::new();
            wire::encode(&ToKeeper::Ack { id }, &mut encoded).unwrap();
            requests.try_send(encoded).unwrap();
        }
        drop(requests);
        let mut written = Vec::new();
        let ((), read) = tokio::join!(write(node.into_split().1, to_write), keeper.read_to_end(&mut written));
        read.unwrap();
        for number in 0..REQUESTS {
            let Ok(Some(ToKeeper::Ack { id })) = wire::decode(&mut written) else {
                panic!("{number} is lost")
            };
            assert!(id.starts_with(&format!("{number} ")), "{number}: {}", &id[..8]);
        }
    }
}
