//! Signs what topics tell. The key is made when it is first needed, in the background, and kept in the state directory, sealed.
//!
//! A file that cannot be used is told of and never written over; nothing is signed then, rather than with a key that is
//! another one after the next start.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use std::{fs, io};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use control::{Happening, Level};
use identity::signing::{Hash, SigningError};
use identity::{KeyBook, SigningKey, SigningRecord};
use kit::{BoxFuture, Clock, Explain, Help, SystemClock};
use pipes::topic::Crowded;
use tokio::sync::{Notify, Semaphore, watch};
use tokio_util::sync::CancellationToken;
use wire::sns::{Digest, Signatures};

use crate::edge::Tell;
use crate::state_dir::write_whole;

/// The file in the state directory.
const FILE: &str = "signing.json";
/// The largest file that is read.
const MOST_BYTES: u64 = 64 << 10;
/// Until it is tried again to make and keep a key.
const PAUSE: Duration = Duration::from_secs(60);

/// Calls that may wait until something is signed for them: a second or so of work. Whoever comes then is told to come again.
const LINE: usize = 256;

/// Why nothing is signed.
#[derive(Debug, thiserror::Error)]
enum Unsigned {
    #[error("cannot use the key in `{}` that topics sign with: {why}", .path.display())]
    Unusable { path: PathBuf, why: String },
    #[error(transparent)]
    Make(SigningError),
    #[error("cannot keep the key that topics sign with in `{}`: {source}", .path.display())]
    Unwritable { path: PathBuf, source: io::Error },
}

impl Explain for Unsigned {
    fn help(&self) -> Help {
        Help::code("A0674").hint(match self {
            Self::Unusable { .. } => {
                "put it back from a backup, or remove it and start anew: another key is made then"
            }
            Self::Make(_) | Self::Unwritable { .. } => {
                "see that the disk has room and works; it is tried again every minute"
            }
        })
    }
}

/// What signs for the topics of an app. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Signing {
    inner: Arc<Inner>,
}

struct Inner {
    book: Arc<KeyBook>,
    title: String,
    directory: PathBuf,
    clock: SystemClock,
    tell: Tell,
    wanted: Notify,
    state: watch::Sender<State>,
    /// Signing takes a whole core for as long as it takes: one is left for whoever does not sign.
    places: Arc<Semaphore>,
    /// Who waits for a place, or for the key.
    line: Semaphore,
}

#[derive(Clone)]
enum State {
    /// Nobody needed it yet, or it is being made.
    NotYet,
    Ready(Arc<Ready>),
    /// There is none, for now at least.
    None,
}

struct Ready {
    key: SigningKey,
    /// What its certificate is called where it is served.
    name: Arc<str>,
}

impl Signing {
    pub(crate) fn new(
        book: Arc<KeyBook>,
        app: &str,
        directory: &Path,
        clock: SystemClock,
        tell: Tell,
    ) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let inner = Inner {
            book,
            title: format!("topics of {app}"),
            directory: directory.to_owned(),
            clock,
            tell,
            wanted: Notify::new(),
            state: watch::Sender::new(State::NotYet),
            places: Arc::new(Semaphore::new(cores.saturating_sub(1).max(1))),
            line: Semaphore::new(LINE),
        };
        Self { inner: Arc::new(inner) }
    }

    /// A key will be needed: if there is none, it is made from now on.
    pub(crate) fn prepare(&self) {
        self.inner.wanted.notify_one();
    }

    /// Has a key, and where there is none makes one as soon as somebody needs it.
    pub(crate) async fn run(self, stop: CancellationToken) -> Result<(), Infallible> {
        tokio::select! {
            () = self.have() => {}
            () = stop.cancelled() => {
                // Whoever still waits for one goes without.
                self.inner.state.send_if_modified(|state| {
                    let waits = matches!(state, State::NotYet);
                    if waits {
                        *state = State::None;
                    }
                    waits
                });
            }
        }
        Ok(())
    }

    async fn have(&self) {
        // What is there is known at once: its certificate is asked for by whoever was told something before.
        if self.settle(false).await {
            return;
        }
        self.inner.wanted.notified().await;
        while !self.settle(true).await {
            self.inner.clock.sleep_until(self.inner.clock.now() + PAUSE).await;
        }
    }

    /// Whether it is known for good what there is.
    async fn settle(&self, makes: bool) -> bool {
        let inner = Arc::clone(&self.inner);
        let work = move || {
            inner.read().and_then(|there| match there {
                None if makes => inner.make().map(Some),
                there => Ok(there),
            })
        };
        let outcome = match tokio::task::spawn_blocking(work).await {
            Ok(outcome) => outcome,
            Err(panicked) => Err(Unsigned::Make(SigningError::Make(panicked.to_string()))),
        };
        let (state, settled) = match outcome {
            Ok(Some(key)) => (State::Ready(Arc::new(Ready::of(key))), true),
            Ok(None) => (State::NotYet, false),
            Err(error) => {
                let for_good = matches!(error, Unsigned::Unusable { .. });
                self.tell(&error);
                (State::None, for_good)
            }
        };
        self.inner.state.send_replace(state);
        settled
    }

    fn tell(&self, error: &Unsigned) {
        let help = error.help();
        (self.inner.tell)(Happening {
            level: Level::Warning,
            kind: "topics.unsigned",
            service: None,
            instance: None,
            message: error.to_string(),
            code: Some(help.code.as_str()),
            hint: help.hint,
        });
    }

    /// The key, once it is known whether there is one.
    async fn ready(&self) -> Option<Arc<Ready>> {
        self.inner.wanted.notify_one();
        let mut state = self.inner.state.subscribe();
        let settled = state.wait_for(|state| !matches!(state, State::NotYet)).await.ok()?;
        match &*settled {
            State::Ready(ready) => Some(Arc::clone(ready)),
            State::None | State::NotYet => None,
        }
    }
}

impl Inner {
    fn path(&self) -> PathBuf {
        self.directory.join(FILE)
    }

    fn read(&self) -> Result<Option<SigningKey>, Unsigned> {
        let unusable = |why: String| Unsigned::Unusable { path: self.path(), why };
        let text = match fs::metadata(self.path()) {
            Ok(file) if file.len() > MOST_BYTES => return Err(unusable("it is too large".to_owned())),
            Ok(_) => fs::read(self.path()).map_err(|error| unusable(error.to_string()))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unusable(error.to_string())),
        };
        let record: SigningRecord =
            serde_json::from_slice(&text).map_err(|error| unusable(error.to_string()))?;
        SigningKey::open(&self.book, &record).map(Some).map_err(|error| unusable(error.to_string()))
    }

    fn make(&self) -> Result<SigningKey, Unsigned> {
        let (record, key) =
            SigningKey::make(&self.book, &self.title, self.clock.now()).map_err(Unsigned::Make)?;
        let written = serde_json::to_vec_pretty(&record).map_err(io::Error::from);
        written
            .and_then(|text| write_whole(&self.directory, FILE, &text))
            .map_err(|source| Unsigned::Unwritable { path: self.path(), source })?;
        Ok(key)
    }
}

impl Ready {
    fn of(key: SigningKey) -> Self {
        // As the service calls its own: clients look for that.
        let name = format!("SimpleNotificationService-{}.pem", key.mark()).into();
        Self { key, name }
    }

    /// `None`: the machine has no randomness.
    fn sign(&self, texts: &[(Digest, String)]) -> Option<Vec<String>> {
        let sign = |(digest, text): &(Digest, String)| {
            let hash = match digest {
                Digest::Sha1 => Hash::Sha1,
                Digest::Sha256 => Hash::Sha256,
            };
            Some(STANDARD.encode(self.key.sign(hash, text.as_bytes()).ok()?))
        };
        texts.iter().map(sign).collect()
    }
}

impl wire::sns::Signer for Signing {
    fn sign(&self, texts: Vec<(Digest, String)>) -> BoxFuture<'_, Result<Option<Signatures>, Crowded>> {
        Box::pin(async move {
            let _in_line = self.inner.line.try_acquire().map_err(|_| Crowded)?;
            let Some(ready) = self.ready().await else { return Ok(None) };
            let Ok(place) = Arc::clone(&self.inner.places).acquire_owned().await else { return Ok(None) };
            let certificate = Arc::clone(&ready.name);
            // On a thread where nobody waits: one signature takes longer than all else that a publish does. The place is
            // held until it is made, also where nobody waits for it any more.
            let signing = tokio::task::spawn_blocking(move || {
                let texts = ready.sign(&texts);
                drop(place);
                texts
            });
            Ok(signing.await.ok().flatten().map(|texts| Signatures { texts, certificate }))
        })
    }

    fn certificate(&self, name: &str) -> Option<String> {
        match &*self.inner.state.borrow() {
            State::Ready(ready) if *ready.name == *name => Some(ready.key.certificate().to_owned()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use identity::NodeSecret;
    use kit::{OnError, Tasks};
    use wire::sns::Signer as _;

    use super::*;

    /// One that runs over a directory, and what it tells.
    fn signing(directory: &Path, secret: u8, tasks: &Tasks) -> (Signing, Arc<Mutex<Vec<String>>>) {
        let told = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&told);
        let tell: Tell = Arc::new(move |happening: Happening| heard.lock().unwrap().push(happening.message));
        let book = Arc::new(KeyBook::new(&NodeSecret::new([secret; 32]), "shop"));
        let signing = Signing::new(book, "shop", directory, SystemClock::new(), tell);
        let runs = signing.clone();
        tasks.spawn("signing", OnError::Log, |stop| runs.run(stop));
        (signing, told)
    }

    fn texts() -> Vec<(Digest, String)> {
        vec![(Digest::Sha1, "a".to_owned()), (Digest::Sha256, "a".to_owned())]
    }

    #[tokio::test]
    async fn a_key_is_made_once_and_is_the_same_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let tasks = Tasks::new();
        let (first, _) = signing(dir.path(), 1, &tasks);
        assert!(first.certificate("SimpleNotificationService-.pem").is_none());
        assert!(!dir.path().join(FILE).exists(), "nobody needed it");
        // Several at once need it: they get the same one.
        let (one, other) = tokio::join!(first.sign(texts()), first.sign(texts()));
        let (one, other) = (one.unwrap().unwrap(), other.unwrap().unwrap());
        assert_eq!((&one.texts, &one.certificate), (&other.texts, &other.certificate));
        assert!(one.texts[0] != one.texts[1]);
        let pem = first.certificate(&one.certificate).unwrap();
        let kept = fs::read_to_string(dir.path().join(FILE)).unwrap();
        let (second, told) = signing(dir.path(), 1, &tasks);
        let again = second.sign(texts()).await.unwrap().unwrap();
        assert_eq!((again.texts, second.certificate(&again.certificate)), (one.texts, Some(pem)));
        assert_eq!(fs::read_to_string(dir.path().join(FILE)).unwrap(), kept);
        assert!(told.lock().unwrap().is_empty());
        tasks.shutdown(Duration::from_secs(10)).await.unwrap();
    }

    #[tokio::test]
    async fn a_line_that_is_full_sends_the_next_one_away() {
        let dir = tempfile::tempdir().unwrap();
        let tasks = Tasks::new();
        let (signing, _) = signing(dir.path(), 1, &tasks);
        let line = signing.inner.line.acquire_many(LINE as u32).await.unwrap();
        assert_eq!(signing.sign(texts()).await.unwrap_err(), Crowded);
        drop(line);
        assert!(signing.sign(texts()).await.unwrap().is_some());
        tasks.shutdown(Duration::from_secs(10)).await.unwrap();
    }

    #[tokio::test]
    async fn what_cannot_be_used_or_kept_is_told_and_nothing_is_signed() {
        let dir = tempfile::tempdir().unwrap();
        let tasks = Tasks::new();
        fs::write(dir.path().join(FILE), "{").unwrap();
        let (broken, told) = signing(dir.path(), 1, &tasks);
        for _ in 0..2 {
            assert!(broken.sign(texts()).await.unwrap().is_none());
        }
        assert_eq!(fs::read_to_string(dir.path().join(FILE)).unwrap(), "{");
        assert_eq!(told.lock().unwrap().len(), 1);
        let (homeless, told) = signing(&dir.path().join("gone"), 1, &tasks);
        assert!(homeless.sign(texts()).await.unwrap().is_none());
        assert!(told.lock().unwrap()[0].contains("cannot keep"), "{told:?}");
        tasks.shutdown(Duration::from_secs(10)).await.unwrap();
    }
}
