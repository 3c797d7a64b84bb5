//! The store inside one process, over any engine.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytes::Bytes;
use kit::BoxFuture;
use tokio::sync::oneshot;

use crate::admission::{Admission, Room};
use crate::backup;
use crate::committer::Shared;
use crate::directory::Directory;
use crate::engine::{Between, View};
use crate::error::{CommitError, Refused, StoreError};
use crate::open::{Opened, opened};
use crate::open_error::OpenError;
use crate::options::Options;
use crate::own;
use crate::seam::{BackupReport, Committing, Lease, Scan, Snapshot, Stats, Store, Watch, after_prefix};
use crate::space::Space;
use crate::txn::{Op, Pre, Txn, Version};

/// Bytes of keys and values in one page of a scan, more or less one of them.
const PAGE_BYTES: usize = 1024 * 1024;
/// Keys that are read where they are asked for. More go to a thread where waiting for the disk holds up nobody else.
const READ_IN_PLACE: usize = 64;

/// A store of this process alone. Dropping it waits until all that was given to it is on disk.
pub struct Embedded {
    shared: Arc<Shared>,
    room: Arc<Room>,
    spaces: u64,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// Unlocked when all else is gone.
    _directory: Option<Directory>,
}

impl Embedded {
    /// Opens a store, making it if there is none. Blocks on the disk.
    pub fn open(options: Options) -> Result<Self, OpenError> {
        let Opened { engine, mark, found, directory, .. } = opened(&options)?;
        let shared = Shared::new(engine, options.clock, mark, found);
        let thread = shared.start().map_err(OpenError::io("start a thread for", &options.directory))?;
        let spaces = options.spaces.iter().fold(0, |spaces, space| spaces | 1 << space.id());
        Ok(Self {
            shared,
            room: Room::new(options.under_way_bytes),
            spaces,
            thread: Mutex::new(Some(thread)),
            _directory: directory,
        })
    }

    /// What makes a transaction one that no store can take.
    fn fault(&self, txn: &Txn) -> Option<&'static str> {
        if txn.bytes() > Txn::MOST_BYTES {
            return Some("it has too many bytes");
        }
        if txn.pre.len() + txn.ops.len() > Txn::MOST_PARTS {
            return Some("it has too many parts");
        }
        let pre = txn.pre.iter().filter_map(|pre| match pre {
            Pre::Absent(space, key) | Pre::Value(space, key, _) => Some((space, key.len())),
            Pre::RangeEmpty(space, from, _) => Some((space, from.len().max(1))),
            Pre::Fence(..) => None,
        });
        let ops = txn.ops.iter().map(|op| match op {
            Op::Put(space, key, _) | Op::Delete(space, key) | Op::Add(space, key, _) => (space, key.len()),
            Op::PutAtVersion(space, prefix, suffix, _) => (space, prefix.len() + 8 + suffix.len()),
        });
        for (space, length) in pre.chain(ops) {
            if self.spaces & (1 << space.id()) == 0 {
                return Some("the store was not opened with its space");
            }
            if length == 0 || length > Txn::MOST_KEY_BYTES {
                return Some("a key is empty or too long");
            }
        }
        None
    }

    fn check(&self) -> Result<(), Refused> {
        match self.shared.stopped.get() {
            Some(why) => Err(Refused::Stopped(Arc::clone(why))),
            None => Ok(()),
        }
    }

    fn end(&self) {
        self.shared.close();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // A panic in it has been told where it happened.
            let _ = thread.join();
        }
        self.shared.stopped.get_or_init(|| "it was closed".into());
    }

    fn seen(&self) -> Result<Seen, StoreError> {
        let view = self.shared.engine.view()?;
        let version = view.get(Space::OWN.id(), own::VERSION)?;
        let version = Version(version.and_then(|value| own::number(&value)).unwrap_or_default());
        Ok(Seen { view, version, blocks: self.shared.engine.reads_block() })
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.end();
    }
}

impl Store for Embedded {
    fn admit(&self, bytes: usize) -> Result<Admission, Refused> {
        self.check()?;
        self.room.admit(bytes)
    }

    fn commit(&self, admission: Admission, txn: Txn) -> Committing {
        if let Some(fault) = self.fault(&txn) {
            let (answer, receiver) = oneshot::channel();
            let _ = answer.send(Err(CommitError::Invalid(fault)));
            return Committing(receiver);
        }
        self.shared.commit(admission, txn)
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot>, Refused> {
        self.check()?;
        match self.seen() {
            Ok(seen) => Ok(Box::new(seen)),
            Err(error) => Err(Refused::Stopped(error.to_string().into())),
        }
    }

    fn watch(&self, space: Space, prefix: &[u8], from: Version) -> Watch {
        self.shared.watchers.watch(space, prefix, from)
    }

    fn lease<'a>(&'a self, name: &'a str, ttl: Duration) -> BoxFuture<'a, Result<Lease, StoreError>> {
        Box::pin(async move {
            self.check()?;
            self.shared.leases.take(name, ttl)
        })
    }

    fn renew<'a>(&'a self, lease: &'a Lease, ttl: Duration) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            self.check()?;
            self.shared.leases.renew(lease, ttl)
        })
    }

    fn release(&self, lease: Lease) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            self.shared.leases.release(&lease);
            Ok(())
        })
    }

    fn drop_bucket<'a>(&'a self, space: Space, prefix: &'a [u8]) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            self.check()?;
            let to = after_prefix(prefix);
            let mut next = Some(prefix.to_vec());
            while let Some(from) = next {
                next = match self.shared.remove(space, from, to.clone()).await {
                    Ok(Ok(next)) => next,
                    _ => {
                        return Err(self
                            .check()
                            .err()
                            .unwrap_or_else(|| Refused::Stopped("it was closed".into()))
                            .into());
                    }
                };
            }
            Ok(())
        })
    }

    fn backup<'a>(&'a self, to: &'a Path) -> BoxFuture<'a, Result<BackupReport, StoreError>> {
        Box::pin(async move {
            self.check()?;
            let Seen { view, version, .. } = self.seen()?;
            let to: PathBuf = to.to_owned();
            let (answer, report) = oneshot::channel();
            let failed = |why: &dyn std::fmt::Display| StoreError::Io {
                doing: "write a backup",
                why: why.to_string().into(),
            };
            // A thread of its own: it reads everything.
            thread::Builder::new()
                .name("atoll-backup".to_owned())
                .spawn(move || answer.send(backup::write(&*view, version, &to)))
                .map_err(|error| failed(&error))?;
            report
                .await
                .map_err(|_| failed(&"it has panicked"))?
                .map_err(|error| failed(&kit::report::chain(&error)))
        })
    }

    fn stats(&self) -> Stats {
        Stats {
            engine: self.shared.engine.name(),
            version: Version(self.shared.version.load(Ordering::Acquire)),
            commits: self.shared.commits.load(Ordering::Relaxed),
            syncs: self.shared.syncs.load(Ordering::Relaxed),
            under_way: self.room.used(),
            disk_bytes: self.shared.engine.disk_bytes(),
            failed: self.shared.stopped.get().cloned(),
        }
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.shared.close();
            let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(thread) = thread {
                let (done, ended) = oneshot::channel();
                // Waiting for a thread blocks: let another one do it.
                let waiter = thread::Builder::new().name("atoll-store-end".to_owned()).spawn(move || {
                    let _ = thread.join();
                    let _ = done.send(());
                });
                if waiter.is_ok() {
                    let _ = ended.await;
                }
            }
            self.end();
        })
    }
}

struct Seen {
    view: Arc<dyn View>,
    version: Version,
    blocks: bool,
}

impl Snapshot for Seen {
    fn version(&self) -> Version {
        self.version
    }

    fn get<'a>(&'a self, space: Space, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Bytes>, StoreError>> {
        // One key is read in place: where it is in memory, and it nearly always is, that is a microsecond.
        Box::pin(std::future::ready(self.view.get(space.id(), key).map_err(StoreError::from)))
    }

    fn scan<'a>(
        &'a self,
        space: Space,
        scan: Scan,
    ) -> BoxFuture<'a, Result<Vec<(Bytes, Bytes)>, StoreError>> {
        let runtime =
            tokio::runtime::Handle::try_current().ok().filter(|_| self.blocks && scan.limit > READ_IN_PLACE);
        let Some(runtime) = runtime else {
            return Box::pin(std::future::ready(page(&*self.view, space, &scan)));
        };
        let view = Arc::clone(&self.view);
        Box::pin(async move {
            let read = runtime.spawn_blocking(move || page(&*view, space, &scan)).await;
            read.unwrap_or_else(|error| {
                Err(StoreError::Io { doing: "read a range", why: error.to_string().into() })
            })
        })
    }
}

fn page(view: &dyn View, space: Space, scan: &Scan) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
    let mut found: Vec<(Bytes, Bytes)> = Vec::new();
    if scan.limit == 0 {
        return Ok(found);
    }
    let range = Between { from: &scan.from, to: scan.to.as_deref(), reverse: scan.reverse };
    let mut bytes = 0;
    view.scan(space.id(), range, &mut |key, value| {
        bytes += key.len() + value.len();
        found.push((key, value));
        if found.len() < scan.limit && bytes < PAGE_BYTES {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    })?;
    Ok(found)
}
