//! What the tests of the store share.

#![allow(dead_code, unreachable_pub)] // each test program uses a part
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use store::{
    CommitError, EngineKind, Options, Scan, Snapshot, Space, SpaceKind, Store, StoreError, Txn, Version,
};

/// Put once, deleted once.
pub const BODY: Space = Space::new(1, "body", SpaceKind::WriteOnce);
/// Put again and again.
pub const META: Space = Space::new(2, "meta", SpaceKind::Rewritten);
/// Few.
pub const HEAD: Space = Space::new(3, "head", SpaceKind::Quiet);
/// Declared nowhere.
pub const UNKNOWN: Space = Space::new(9, "unknown", SpaceKind::Quiet);

pub const SPACES: &[Space] = &[BODY, META, HEAD];

/// Where a store is, and what it can be opened with again.
pub struct Place {
    pub directory: tempfile::TempDir,
    pub options: Options,
}

/// A directory of its own: where there is one, on a file system in memory. Nothing here is about what a disk loses in a power
/// cut, and a sync of a disk that other tests keep busy takes its time.
pub fn directory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

impl Place {
    pub fn new(engine: EngineKind) -> Self {
        let directory = directory();
        let mut options = Options::new(directory.path().join("store"), SPACES).engine(engine);
        options.memory_limit = Some(512 * 1024 * 1024);
        Self { directory, options }
    }

    pub fn path(&self) -> &Path {
        &self.options.directory
    }

    pub fn open(&self) -> Arc<dyn Store> {
        store::open(self.options.clone()).unwrap()
    }
}

pub async fn commit(store: &dyn Store, txn: Txn) -> Result<Version, CommitError> {
    let admission = store.admit(txn.bytes()).unwrap();
    store.commit(admission, txn).await
}

pub async fn put(store: &dyn Store, space: Space, key: &str, value: &str) -> Version {
    commit(store, Txn::new().put(space, key, value.to_owned())).await.unwrap()
}

pub async fn get(store: &dyn Store, space: Space, key: &str) -> Option<String> {
    let snapshot = store.snapshot().unwrap();
    let value = snapshot.get(space, key.as_bytes()).await.unwrap();
    value.map(|value| String::from_utf8(value.to_vec()).unwrap())
}

pub async fn number(store: &dyn Store, space: Space, key: &str) -> i64 {
    let value = store.snapshot().unwrap().get(space, key.as_bytes()).await.unwrap().unwrap();
    i64::from_be_bytes(value[..].try_into().unwrap())
}

/// All of a space, page by page.
pub async fn all(snapshot: &dyn Snapshot, space: Space) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
    let mut found = Vec::new();
    let mut scan = Scan::prefix("", 100);
    loop {
        let page = snapshot.scan(space, scan.clone()).await?;
        let Some((last, _)) = page.last() else { return Ok(found) };
        scan = scan.behind(last);
        found.extend(page);
    }
}

/// Its keys, as text.
pub async fn keys(store: &dyn Store, space: Space) -> Vec<String> {
    let found = all(&*store.snapshot().unwrap(), space).await.unwrap();
    found.into_iter().map(|(key, _)| String::from_utf8(key.to_vec()).unwrap()).collect()
}
