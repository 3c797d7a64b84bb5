//! Backups: one file, the same whichever engine it comes from or goes to.
//!
//! `ATOLLBK1`, then chunks, each a length (u32), that many bytes and their XXH3 (u64); integers are big-endian. The bytes of a
//! chunk are records of space (u8), lengths of key (u32) and value (u32), key and value. A chunk without bytes comes last;
//! behind it follow the version, the number of keys and the bytes of all chunks (u64 each), and their XXH3.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

use crate::directory::{Directory, sync_directory};
use crate::engine::{Batch, Between, Engine, EngineError, View, Write as Put};
use crate::mark::Mark;
use crate::open::engine_in;
use crate::open_error::OpenError;
use crate::options::{EngineKind, Options};
use crate::own::{self, Known};
use crate::seam::BackupReport;
use crate::space::Space;
use crate::txn::Version;

const MAGIC: &[u8; 8] = b"ATOLLBK1";
/// The name of the file in its directory.
pub const BACKUP_FILE: &str = "store.backup";
const CHUNK_BYTES: usize = 1024 * 1024;
/// No chunk is longer: a value has its bound.
const MOST_CHUNK_BYTES: usize = 64 * CHUNK_BYTES;
const BATCH_BYTES: usize = 4 * CHUNK_BYTES;

/// Why a backup was not written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BackupError {
    #[error("cannot {doing} `{}`", .path.display())]
    Io { doing: &'static str, path: PathBuf, source: io::Error },
    #[error("there is something in `{}` already", .0.display())]
    NotEmpty(PathBuf),
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// Writes all that a view shows into an empty directory.
pub(crate) fn write(view: &dyn View, version: Version, to: &Path) -> Result<BackupReport, BackupError> {
    let failed = |doing| move |source| BackupError::Io { doing, path: to.to_owned(), source };
    fs::create_dir_all(to).map_err(failed("make the directory"))?;
    if fs::read_dir(to).map_err(failed("list"))?.next().is_some() {
        return Err(BackupError::NotEmpty(to.to_owned()));
    }
    let partial = to.join(format!("{BACKUP_FILE}.partial"));
    let file = File::create(&partial).map_err(failed("write to"))?;
    let mut writer = Writer { file: BufWriter::new(file), chunk: Vec::new(), keys: 0, bytes: 0 };
    writer.file.write_all(MAGIC).map_err(failed("write to"))?;
    let mut spaces = vec![Space::OWN.id()];
    let end = crate::seam::after_prefix(own::SPACES);
    view.scan(Space::OWN.id(), Between::up(own::SPACES, end.as_deref()), &mut |key, _| {
        spaces.extend(key.get(1));
        ControlFlow::Continue(())
    })?;
    for space in spaces {
        let mut written = Ok(());
        view.scan(space, Between::all(), &mut |key, value| {
            written = writer.put(space, &key, &value);
            if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        written.map_err(failed("write to"))?;
    }
    let report = writer.finish(version).map_err(failed("write to"))?;
    fs::rename(&partial, to.join(BACKUP_FILE))
        .and_then(|()| sync_directory(to))
        .map_err(failed("write to"))?;
    Ok(report)
}

struct Writer {
    file: BufWriter<File>,
    chunk: Vec<u8>,
    keys: u64,
    bytes: u64,
}

impl Writer {
    fn put(&mut self, space: u8, key: &[u8], value: &[u8]) -> io::Result<()> {
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).map_err(io::Error::other);
        self.chunk.push(space);
        self.chunk.extend(length(key)?.to_be_bytes());
        self.chunk.extend(length(value)?.to_be_bytes());
        self.chunk.extend(key);
        self.chunk.extend(value);
        self.keys += 1;
        if self.chunk.len() < CHUNK_BYTES { Ok(()) } else { self.end_chunk() }
    }

    fn end_chunk(&mut self) -> io::Result<()> {
        let length = u32::try_from(self.chunk.len()).map_err(io::Error::other)?;
        self.file.write_all(&length.to_be_bytes())?;
        self.file.write_all(&self.chunk)?;
        self.file.write_all(&xxh3_64(&self.chunk).to_be_bytes())?;
        self.bytes += u64::from(length);
        self.chunk.clear();
        Ok(())
    }

    fn finish(mut self, version: Version) -> io::Result<BackupReport> {
        if !self.chunk.is_empty() {
            self.end_chunk()?;
        }
        self.file.write_all(&0u32.to_be_bytes())?;
        let trailer = [version.0, self.keys, self.bytes].map(u64::to_be_bytes).concat();
        self.file.write_all(&trailer)?;
        self.file.write_all(&xxh3_64(&trailer).to_be_bytes())?;
        self.file.flush()?;
        let file = self.file.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        Ok(BackupReport { version, keys: self.keys, bytes: file.metadata()?.len() })
    }
}

/// Makes a store from a backup, in a directory that is empty or not there. Blocks on the disk. Versions and epochs go on
/// where they were.
pub fn restore(backup: &Path, directory: &Path, engine: EngineKind) -> Result<BackupReport, OpenError> {
    let path = if backup.is_dir() { backup.join(BACKUP_FILE) } else { backup.to_owned() };
    let not_empty = || OpenError::NotEmpty { directory: directory.to_owned() };
    if engine == EngineKind::Memory || fs::read_dir(directory).is_ok_and(|mut found| found.next().is_some()) {
        return Err(not_empty());
    }
    let mut reader = Reader::open(&path)?;
    let directory = Directory::take(directory)?;
    directory.write("restoring", b"")?;
    let options = Options::new(directory.path(), &[]).engine(engine);
    let mut to = engine_in(&directory, &options)?;
    let unreadable = || OpenError::engine(directory.path());
    to.open_space(Space::OWN.id(), Space::OWN.kind()).map_err(unreadable())?;
    let mut batch = Batch::default();
    while let Some(chunk) = reader.chunk()? {
        for record in chunk {
            if let (0, Some(known)) =
                (record.space, Known::read(&record.key, record.value.as_deref().unwrap_or(&[])))
            {
                to.open_space(known.id, known.kind).map_err(unreadable())?;
            }
            batch.bytes += record.key.len() + record.value.as_ref().map_or(0, Bytes::len);
            batch.writes.push(record);
        }
        if batch.bytes > BATCH_BYTES {
            commit(&*to, &mut batch).map_err(unreadable())?;
        }
    }
    commit(&*to, &mut batch).map_err(unreadable())?;
    let report = reader.report;
    let path = directory.join("mark");
    let marked = Mark::open(&path).and_then(|(mark, _)| mark.reset(report.version));
    marked.map_err(OpenError::io("write", path))?;
    directory.write_engine(engine)?;
    drop(to);
    directory.remove("restoring")?;
    Ok(report)
}

fn commit(engine: &dyn Engine, batch: &mut Batch) -> Result<(), EngineError> {
    // What the engine holds back must be on its way to the disk before more comes.
    std::thread::sleep(engine.pace());
    engine.commit(&std::mem::take(batch))
}

struct Reader {
    path: PathBuf,
    file: BufReader<File>,
    keys: u64,
    bytes: u64,
    /// What the end of the file says, once that is reached.
    report: BackupReport,
}

impl Reader {
    fn open(path: &Path) -> Result<Self, OpenError> {
        let file = File::open(path).map_err(OpenError::io("read", path))?;
        let length = file.metadata().map_err(OpenError::io("read", path))?.len();
        let report = BackupReport { version: Version(0), keys: 0, bytes: length };
        let mut reader =
            Self { path: path.to_owned(), file: BufReader::new(file), keys: 0, bytes: 0, report };
        if reader.take(MAGIC.len())? != MAGIC {
            return Err(reader.damaged("it does not begin as one"));
        }
        Ok(reader)
    }

    /// The records of the next chunk; `None` at the end, when all has been found whole.
    fn chunk(&mut self) -> Result<Option<Vec<Put>>, OpenError> {
        let length = self.take(4)?.try_into().map(u32::from_be_bytes).unwrap_or_default() as usize;
        if length == 0 {
            return self.end().map(|()| None);
        }
        if length > MOST_CHUNK_BYTES {
            return Err(self.damaged("a part of it is too long"));
        }
        let chunk = Bytes::from(self.take(length)?);
        if self.take(8)? != xxh3_64(&chunk).to_be_bytes() {
            return Err(self.damaged("a checksum does not hold"));
        }
        self.bytes += length as u64;
        let mut records = Vec::new();
        let mut rest = chunk;
        while !rest.is_empty() {
            let Some(record) = record(&mut rest) else { return Err(self.damaged("a record is cut off")) };
            records.push(record);
        }
        self.keys += records.len() as u64;
        Ok(Some(records))
    }

    fn end(&mut self) -> Result<(), OpenError> {
        let trailer = self.take(24)?;
        if self.take(8)? != xxh3_64(&trailer).to_be_bytes() {
            return Err(self.damaged("a checksum does not hold"));
        }
        let number = |at: usize| own::number(&trailer[at..at + 8]).unwrap_or_default();
        if (number(8), number(16)) != (self.keys, self.bytes) {
            return Err(self.damaged("a part of it is missing"));
        }
        self.report = BackupReport { version: Version(number(0)), keys: self.keys, ..self.report };
        Ok(())
    }

    fn take(&mut self, count: usize) -> Result<Vec<u8>, OpenError> {
        let mut bytes = vec![0; count];
        match self.file.read_exact(&mut bytes) {
            Ok(()) => Ok(bytes),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(self.damaged("its end is missing"))
            }
            Err(error) => Err(OpenError::io("read", &self.path)(error)),
        }
    }

    fn damaged(&self, what: &str) -> OpenError {
        OpenError::Backup { path: self.path.clone(), what: what.to_owned() }
    }
}

fn record(rest: &mut Bytes) -> Option<Put> {
    let (head, _) = rest.split_first_chunk::<9>()?;
    let length = |at: usize| head[at..at + 4].try_into().ok().map(u32::from_be_bytes);
    let (space, key, value) = (head[0], length(1)? as usize, length(5)? as usize);
    if rest.len() - 9 < key.checked_add(value)? {
        return None;
    }
    let _ = rest.split_to(9);
    // Copied: an engine that keeps a value in memory would keep the whole chunk.
    let key = Bytes::copy_from_slice(&rest.split_to(key));
    let value = Bytes::copy_from_slice(&rest.split_to(value));
    Some(Put { version: Version(0), space, key, value: Some(value), weak: false, last: true })
}
