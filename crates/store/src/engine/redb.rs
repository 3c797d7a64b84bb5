//! The second engine: one file, a copy-on-write tree per space. Steady and small; random puts cost more than in the first.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::redb::{
    Database, Durability, ReadOnlyTable, ReadTransaction, ReadableDatabase, TableDefinition, TableError,
};
use bytes::Bytes;

use super::{Batch, Between, Engine, EngineError, View, Visitor};
use crate::share::Share;
use crate::space::SpaceKind;

type Definition<'a> = TableDefinition<'a, &'static [u8], &'static [u8]>;

pub(crate) struct Redb {
    database: Database,
    file: PathBuf,
    spaces: Arc<BTreeSet<u8>>,
}

impl Redb {
    /// Opens a file, or makes one. `thorough`: reads all of it, whether or not it was closed well.
    pub(crate) fn open(file: &Path, share: Share, thorough: bool) -> Result<Self, EngineError> {
        let cache = usize::try_from(share.cache_bytes).unwrap_or(usize::MAX);
        let database = Database::builder()
            .set_cache_size(cache)
            .set_check_integrity_on_open(thorough)
            .create(file)
            .map_err(|error| EngineError::new("open the database", error))?;
        Ok(Self { database, file: file.to_owned(), spaces: Arc::default() })
    }

    fn write(
        &self,
        fill: impl FnOnce(&::redb::WriteTransaction) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        let mut transaction =
            self.database.begin_write().map_err(|error| EngineError::new("begin to write", error))?;
        transaction
            .set_durability(Durability::Immediate)
            .map_err(|error| EngineError::new("begin to write", error))?;
        fill(&transaction)?;
        transaction.commit().map_err(|error| EngineError::new("write and sync", error))
    }
}

fn table_name(space: u8) -> String {
    format!("s{space}")
}

impl Engine for Redb {
    fn name(&self) -> &'static str {
        "redb"
    }

    fn open_space(&mut self, id: u8, _: SpaceKind) -> Result<(), EngineError> {
        let name = table_name(id);
        let read = self.database.begin_read().map_err(|error| EngineError::new("begin to read", error))?;
        match read.open_table(Definition::new(&name)) {
            Ok(_) => {}
            Err(TableError::TableDoesNotExist(_)) => self.write(|transaction| {
                let made = transaction.open_table(Definition::new(&name));
                made.map(drop).map_err(|error| EngineError::new("make a space", error))
            })?,
            Err(error) => return Err(EngineError::new("open a space", error)),
        }
        let mut spaces = BTreeSet::clone(&self.spaces);
        spaces.insert(id);
        self.spaces = Arc::new(spaces);
        Ok(())
    }

    fn commit(&self, batch: &Batch) -> Result<(), EngineError> {
        // In the order of keys: pages next to each other are written one after the other.
        let mut writes: Vec<_> = batch.last_writes().collect();
        writes.sort_unstable_by(|a, b| (a.space, &a.key).cmp(&(b.space, &b.key)));
        self.write(|transaction| {
            for run in writes.chunk_by(|a, b| a.space == b.space) {
                let space = run[0].space;
                if !self.spaces.contains(&space) {
                    return Err(EngineError::no_space(space));
                }
                let name = table_name(space);
                let mut table = transaction
                    .open_table(Definition::new(&name))
                    .map_err(|error| EngineError::new("open a space", error))?;
                for write in run {
                    let key: &[u8] = &write.key;
                    let done = match &write.value {
                        Some(value) => table.insert(key, &**value).map(drop),
                        None => table.remove(key).map(drop),
                    };
                    done.map_err(|error| EngineError::new("write a key", error))?;
                }
            }
            Ok(())
        })
    }

    fn view(&self) -> Result<Arc<dyn View>, EngineError> {
        let read = self.database.begin_read().map_err(|error| EngineError::new("begin to read", error))?;
        Ok(Arc::new(Seen { read, spaces: Arc::clone(&self.spaces) }))
    }

    fn disk_bytes(&self) -> u64 {
        self.file.metadata().map(|file| file.len()).unwrap_or_default()
    }

    fn check(&mut self) -> Result<Vec<String>, EngineError> {
        match self.database.check_integrity() {
            Ok(true) => Ok(Vec::new()),
            Ok(false) => Ok(vec!["the file was damaged and has been repaired".to_owned()]),
            Err(error) => Err(EngineError::new("check the file", error)),
        }
    }
}

struct Seen {
    read: ReadTransaction,
    spaces: Arc<BTreeSet<u8>>,
}

impl Seen {
    fn table(&self, space: u8) -> Result<ReadOnlyTable<&'static [u8], &'static [u8]>, EngineError> {
        if !self.spaces.contains(&space) {
            return Err(EngineError::no_space(space));
        }
        let name = table_name(space);
        self.read.open_table(Definition::new(&name)).map_err(|error| EngineError::new("open a space", error))
    }
}

impl View for Seen {
    fn get(&self, space: u8, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        let value = self.table(space)?.get(key).map_err(|error| EngineError::new("read a key", error))?;
        Ok(value.map(|value| Bytes::copy_from_slice(value.value())))
    }

    fn scan(&self, space: u8, range: Between<'_>, visit: Visitor<'_>) -> Result<(), EngineError> {
        if range.is_empty() {
            return Ok(());
        }
        let failed = |error: ::redb::StorageError| EngineError::new("read a range", error);
        let mut found = self.table(space)?.range::<&[u8]>(range.bounds()).map_err(failed)?;
        while let Some(entry) = if range.reverse { found.next_back() } else { found.next() } {
            let (key, value) = entry.map_err(failed)?;
            let (key, value) = (Bytes::copy_from_slice(key.value()), Bytes::copy_from_slice(value.value()));
            if let ControlFlow::Break(()) = visit(key, value) {
                break;
            }
        }
        Ok(())
    }
}
