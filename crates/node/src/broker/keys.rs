//! Keys for who is outside: made, listed and revoked here, kept in the state directory with their secrets sealed.
//!
//! A file that cannot be read lets nobody in and is never written over: services have credentials that need no file.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use control::{Happening, Level};
use identity::keybook::BookError;
use identity::{Credentials, Grant, KeyBook, KeyRecord};
use kit::{Explain, Help, Timestamp};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::edge::Tell;
use crate::state_dir::write_whole;

/// The file in the state directory.
const FILE: &str = "keys.json";
/// The format of the file that is written; a later one is not read.
const FORMAT: u32 = 1;
/// The largest file that is read: more than as many keys as there may be need.
const MOST_BYTES: u64 = 64 << 20;
/// How exactly it is known when a key was used last.
const USE: Duration = Duration::from_secs(60);

/// Why keys are not as somebody wants them.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum KeysError {
    #[error("cannot use the keys in `{}`: {why}", .path.display())]
    Unreadable { path: PathBuf, why: String },
    #[error("there is no key `{0}`")]
    NoSuchKey(String),
    #[error(transparent)]
    Refused(#[from] BookError),
    #[error("cannot write the keys to `{}`: {why}{}", .path.display(), if *.revoked { "; it lets nobody in until the next start, which has it again" } else { "" })]
    Unwritable { path: PathBuf, why: String, revoked: bool },
}

impl Explain for KeysError {
    fn help(&self) -> Help {
        match self {
            Self::Unreadable { .. } => Help::code("A0670").hint(
                "put it back from a backup, or move it away and make the keys anew; services need none",
            ),
            Self::NoSuchKey(_) => Help::code("A0671").hint("`atoll key ls` lists them"),
            Self::Refused(BookError::NameTaken(_)) => {
                Help::code("A0672").hint("use another name, or `atoll key revoke` it first")
            }
            Self::Refused(_) => Help::code("A0672").hint("see `atoll key create --help`"),
            Self::Unwritable { .. } => Help::code("A0673").hint("see that the disk has room and works"),
        }
    }
}

/// The file.
#[derive(Serialize, Deserialize)]
struct Kept {
    format: u32,
    keys: Vec<KeptKey>,
}

/// Only what says what the rest is.
#[derive(Deserialize)]
struct Format {
    format: u32,
}

#[derive(Clone, Serialize, Deserialize)]
struct KeptKey {
    key: KeyRecord,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_used: Option<Timestamp>,
}

/// A key as it is shown.
#[derive(Clone, Debug)]
pub(crate) struct ShownKey {
    pub(crate) record: KeyRecord,
    /// To the minute.
    pub(crate) last_used: Option<Timestamp>,
    /// Whether its record can be opened.
    pub(crate) usable: bool,
}

/// The keys of an app.
pub(crate) struct Keys {
    book: Arc<KeyBook>,
    directory: PathBuf,
    held: Mutex<Option<Result<Held, KeysError>>>,
    /// When each was used last, in microseconds; 0: never. What the path of a request touches.
    uses: ArcSwap<HashMap<Arc<str>, Arc<AtomicU64>>>,
}

#[derive(Default)]
struct Held {
    keys: BTreeMap<String, KeyRecord>,
    /// Those that cannot be opened, with why.
    useless: BTreeMap<String, BookError>,
    /// What the file says of uses.
    written: BTreeMap<String, Timestamp>,
}

impl Keys {
    pub(crate) fn new(book: Arc<KeyBook>, directory: &Path) -> Self {
        Self { book, directory: directory.to_owned(), held: Mutex::default(), uses: ArcSwap::default() }
    }

    /// Reads the file, and tells what cannot be used of it.
    pub(crate) fn read_again(&self, tell: &Tell) {
        let mut held = self.lock();
        let read = self.read();
        let problems: Vec<KeysError> = match &read {
            Ok(held) => held.useless.values().cloned().map(KeysError::from).collect(),
            Err(error) => vec![error.clone()],
        };
        *held = Some(read);
        drop(held);
        for problem in problems {
            let help = problem.help();
            tell(Happening {
                level: Level::Warning,
                kind: "keys.unusable",
                service: None,
                instance: None,
                message: problem.to_string(),
                code: Some(help.code.as_str()),
                hint: help.hint,
            });
        }
    }

    /// All of them, by name.
    pub(crate) fn list(&self) -> Result<Vec<ShownKey>, KeysError> {
        let mut held = self.lock();
        let held = self.opened(&mut held)?;
        Ok(held.keys.values().map(|record| self.shown(held, record)).collect())
    }

    /// Makes a key, which is kept once this returns.
    pub(crate) fn create(
        &self,
        name: &str,
        allow: Vec<Grant>,
        now: Timestamp,
        expires: Option<Timestamp>,
    ) -> Result<(ShownKey, Credentials), KeysError> {
        let mut held = self.lock();
        let held = self.opened(&mut held)?;
        if held.keys.contains_key(name) {
            return Err(BookError::NameTaken(name.to_owned()).into());
        }
        let (record, credentials) = self.book.create_key(name, allow, now, expires)?;
        held.keys.insert(name.to_owned(), record.clone());
        if let Err(error) = self.write(held) {
            held.keys.remove(name);
            self.book.revoke_key(name);
            return Err(self.unwritable(&error, false));
        }
        self.watch_uses(held);
        Ok((self.shown(held, &record), credentials))
    }

    /// Lets a key in no longer, from now on. It may be called by its name or its id.
    pub(crate) fn revoke(&self, name: &str) -> Result<ShownKey, KeysError> {
        let mut held = self.lock();
        let held = self.opened(&mut held)?;
        let named = |record: &&KeyRecord| record.name == name || record.access_key == name;
        let record = held.keys.values().find(named).cloned();
        let record = record.ok_or_else(|| KeysError::NoSuchKey(name.chars().take(200).collect()))?;
        let shown = self.shown(held, &record);
        self.book.revoke_key(&record.name);
        held.keys.remove(&record.name);
        held.useless.remove(&record.name);
        held.written.remove(&record.name);
        self.write(held).map_err(|error| self.unwritable(&error, true))?;
        self.watch_uses(held);
        Ok(shown)
    }

    /// A request was signed with a key. Called on the path of requests.
    pub(crate) fn was_used(&self, name: &str, now: Timestamp) {
        if let Some(used) = self.uses.load().get(name) {
            let step = u64::try_from(USE.as_micros()).unwrap_or(u64::MAX);
            let minute = now.as_micros() / step * step;
            if used.load(Ordering::Relaxed) < minute {
                used.fetch_max(minute, Ordering::Relaxed);
            }
        }
    }

    /// Writes down when keys were used, every now and then and at the end.
    pub(crate) async fn keep_uses(self: Arc<Self>, stop: CancellationToken) -> Result<(), Infallible> {
        loop {
            let ending = tokio::select! {
                () = tokio::time::sleep(USE) => false,
                () = stop.cancelled() => true,
            };
            let keys = Arc::clone(&self);
            let _ = tokio::task::spawn_blocking(move || keys.write_uses()).await;
            if ending {
                return Ok(());
            }
        }
    }

    fn write_uses(&self) {
        let mut held = self.lock();
        let Ok(held) = self.opened(&mut held) else { return };
        let now: BTreeMap<String, Timestamp> =
            held.keys.keys().filter_map(|name| Some((name.clone(), self.last_used(name)?))).collect();
        if now == held.written {
            return;
        }
        match self.write(held) {
            Ok(()) => held.written = now,
            Err(error) => tracing::warn!("cannot write down when keys were used: {error}"),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Result<Held, KeysError>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the file has, which is read at the first need.
    fn opened<'a>(&self, held: &'a mut Option<Result<Held, KeysError>>) -> Result<&'a mut Held, KeysError> {
        held.get_or_insert_with(|| self.read()).as_mut().map_err(|error| error.clone())
    }

    fn read(&self) -> Result<Held, KeysError> {
        let path = self.directory.join(FILE);
        let unreadable = |why: String| KeysError::Unreadable { path: path.clone(), why };
        let text = match read_bounded(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Held::default()),
            Err(error) => return Err(unreadable(error.to_string())),
        };
        let damaged = |error: serde_json::Error| unreadable(format!("it is damaged: {error}"));
        let Format { format } = serde_json::from_slice(&text).map_err(damaged)?;
        if format != FORMAT {
            return Err(unreadable(format!("it is of format {format}, this version knows {FORMAT}")));
        }
        let kept: Kept = serde_json::from_slice(&text).map_err(damaged)?;
        let mut held = Held::default();
        for KeptKey { key, last_used } in kept.keys {
            if let Err(error) = self.book.load_key(&key) {
                held.useless.insert(key.name.clone(), error);
            }
            if let Some(at) = last_used {
                held.written.insert(key.name.clone(), at);
            }
            held.keys.insert(key.name.clone(), key);
        }
        self.watch_uses(&held);
        Ok(held)
    }

    fn write(&self, held: &Held) -> io::Result<()> {
        let kept = |key: &KeyRecord| KeptKey { last_used: self.last_used(&key.name), key: key.clone() };
        let kept = Kept { format: FORMAT, keys: held.keys.values().map(kept).collect() };
        write_whole(&self.directory, FILE, &serde_json::to_vec_pretty(&kept)?)
    }

    fn unwritable(&self, error: &io::Error, revoked: bool) -> KeysError {
        KeysError::Unwritable { path: self.directory.join(FILE), why: error.to_string(), revoked }
    }

    fn shown(&self, held: &Held, record: &KeyRecord) -> ShownKey {
        ShownKey {
            record: record.clone(),
            last_used: self.last_used(&record.name),
            usable: !held.useless.contains_key(&record.name),
        }
    }

    fn last_used(&self, name: &str) -> Option<Timestamp> {
        let used = self.uses.load().get(name).map(|used| used.load(Ordering::Relaxed));
        used.filter(|at| *at > 0).map(Timestamp::from_micros)
    }

    /// Has a place for each key; what is known of its use stays.
    fn watch_uses(&self, held: &Held) {
        let before = self.uses.load();
        let place = |name: &String| {
            let known = before.get(name.as_str()).cloned();
            let used = known.unwrap_or_else(|| {
                Arc::new(AtomicU64::new(held.written.get(name).map_or(0, |at| at.as_micros())))
            });
            (Arc::from(name.as_str()), used)
        };
        let uses: HashMap<Arc<str>, Arc<AtomicU64>> = held.keys.keys().map(place).collect();
        self.uses.store(Arc::new(uses));
    }
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    use std::io::Read;
    let file = std::fs::File::open(path)?;
    let mut text = Vec::new();
    file.take(MOST_BYTES + 1).read_to_end(&mut text)?;
    if text.len() as u64 > MOST_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is larger than 64 MiB"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use identity::NodeSecret;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    const NOW: Timestamp = Timestamp::from_micros(1_767_225_600_000_000);

    fn keys(directory: &Path, secret: u8) -> Keys {
        Keys::new(Arc::new(KeyBook::new(&NodeSecret::new([secret; 32]), "shop")), directory)
    }

    fn names(keys: &Keys) -> Vec<(String, bool)> {
        keys.list().unwrap().into_iter().map(|key| (key.record.name, key.usable)).collect()
    }

    fn allow() -> Vec<Grant> {
        vec!["jobs:send".parse().unwrap()]
    }

    #[test]
    fn keys_and_their_last_use_are_there_after_a_restart_and_what_was_revoked_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let first = keys(dir.path(), 1);
        first.create("ci", allow(), NOW, None).unwrap();
        first.create("laptop", allow(), NOW, None).unwrap();
        let again = first.create("ci", allow(), NOW, None).unwrap_err();
        assert!(matches!(again, KeysError::Refused(BookError::NameTaken(_))));
        let mode = fs::metadata(dir.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        first.was_used("ci", NOW + Duration::from_secs(90));
        first.was_used("nobody", NOW);
        first.write_uses();

        let next = keys(dir.path(), 1);
        assert_eq!(names(&next), [("ci".to_owned(), true), ("laptop".to_owned(), true)]);
        assert_eq!(next.list().unwrap()[0].last_used, Some(NOW + USE));
        let laptop = next.list().unwrap()[1].record.access_key.clone();
        next.revoke(&laptop).unwrap();
        assert!(matches!(next.revoke("laptop"), Err(KeysError::NoSuchKey(_))));
        assert_eq!(next.book.allowed("laptop"), None);
        assert_eq!(names(&keys(dir.path(), 1)), [("ci".to_owned(), true)]);
    }

    #[test]
    fn a_file_that_cannot_be_read_is_said_to_be_and_stays_as_it_is() {
        for bad in ["", "{", r#"{"format":2,"keys":[]}"#, r#"{"format":1,"keys":[{"key":{}}]}"#] {
            let dir = tempfile::tempdir().unwrap();
            fs::write(dir.path().join(FILE), bad).unwrap();
            let keys = keys(dir.path(), 1);
            assert!(matches!(keys.list(), Err(KeysError::Unreadable { .. })), "{bad}");
            assert!(
                matches!(keys.create("ci", allow(), NOW, None), Err(KeysError::Unreadable { .. })),
                "{bad}"
            );
            keys.write_uses();
            assert_eq!(fs::read_to_string(dir.path().join(FILE)).unwrap(), bad);
        }
    }

    #[test]
    fn a_record_that_was_changed_lets_nobody_in_and_harms_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let first = keys(dir.path(), 1);
        first.create("ci", allow(), NOW, None).unwrap();
        first.create("ops", allow(), NOW, None).unwrap();
        let text = fs::read_to_string(dir.path().join(FILE)).unwrap();
        fs::write(dir.path().join(FILE), text.replacen("jobs:send", "jobs:*", 1)).unwrap();
        let next = keys(dir.path(), 1);
        let told = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&told);
        let tell: Tell = Arc::new(move |happening: Happening| heard.lock().unwrap().push(happening.message));
        next.read_again(&tell);
        assert_eq!(names(&next), [("ci".to_owned(), false), ("ops".to_owned(), true)]);
        assert_eq!(told.lock().unwrap().len(), 1);
        assert_eq!((next.book.allowed("ci"), next.book.allowed("ops").is_some()), (None, true));
        next.revoke("ci").unwrap();
        assert_eq!(names(&keys(dir.path(), 1)), [("ops".to_owned(), true)]);
    }

    #[test]
    fn a_key_that_cannot_be_kept_is_not_made() {
        let dir = tempfile::tempdir().unwrap();
        let keys = keys(&dir.path().join("gone"), 1);
        assert!(matches!(keys.create("ci", allow(), NOW, None), Err(KeysError::Unwritable { .. })));
        assert_eq!((names(&keys), keys.book.allowed("ci")), (vec![], None));
    }
}
