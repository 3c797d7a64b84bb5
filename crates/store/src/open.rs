//! Opening a store: the lock, the format, the engine, and whether all that was acknowledged is there.

use std::fs;
use std::ops::ControlFlow;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use crate::committer::Found;
use crate::directory::Directory;
use crate::embedded::Embedded;
use crate::engine::fjall::Fjall;
use crate::engine::memory::Memory;
use crate::engine::redb::Redb;
use crate::engine::{Batch, Between, Engine, View, Write};
use crate::journal;
use crate::mark::Mark;
use crate::open_error::OpenError;
use crate::options::{EngineKind, Options};
use crate::own::{self, Known};
use crate::seam::Store;
use crate::share::{self, Share};
use crate::space::Space;
use crate::txn::Version;

/// Opens a store, making it if there is none. Blocks on the disk, after a crash for seconds: call it where that is allowed.
pub fn open(options: Options) -> Result<Arc<dyn Store>, OpenError> {
    Ok(Arc::new(Embedded::open(options)?))
}

/// An engine that is open, and what was found in it.
pub(crate) struct Opened {
    pub(crate) engine: Box<dyn Engine>,
    pub(crate) spaces: Vec<Known>,
    pub(crate) mark: Option<Mark>,
    pub(crate) found: Found,
    pub(crate) directory: Option<Directory>,
}

/// Opens whatever the options ask for, and counts this opening.
pub(crate) fn opened(options: &Options) -> Result<Opened, OpenError> {
    let mut opened = match options.engine {
        EngineKind::Memory => in_memory(options)?,
        EngineKind::Fjall | EngineKind::Redb => on_disk(options)?,
    };
    opened.declare(options)?;
    if let Some(mark) = &opened.mark {
        let reset = mark.reset(opened.found.version);
        reset.map_err(OpenError::io("write", options.directory.join("mark")))?;
    }
    if let Some(directory) = &opened.directory {
        directory.write_engine(options.engine)?;
    }
    Ok(opened)
}

fn in_memory(options: &Options) -> Result<Opened, OpenError> {
    let engine = Memory::open(options.disk.clone());
    let engine = engine.ok_or_else(|| OpenError::Locked {
        directory: options.directory.clone(),
        pid: Some(std::process::id()),
    })?;
    Opened::read(Box::new(engine), &options.directory, None, None)
}

fn on_disk(options: &Options) -> Result<Opened, OpenError> {
    let directory = Directory::take(&options.directory)?;
    if directory.is_being_restored() {
        return Err(OpenError::Unfinished { directory: options.directory.clone() });
    }
    let made_with = directory.engine()?;
    if let Some(is) = made_with.filter(|is| *is != options.engine) {
        let (directory, asked) = (options.directory.clone(), options.engine.name());
        return Err(OpenError::Engine { directory, is: is.to_string(), asked });
    }
    let path = directory.join("mark");
    let (mark, acknowledged) = Mark::open(&path).map_err(OpenError::io("open", path))?;
    let engine = match engine_in(&directory, options) {
        // Nobody has ever finished making it, so nobody was told that anything is in it.
        Err(OpenError::Unreadable { .. }) if made_with.is_none() && acknowledged.is_none() => {
            put_aside(&directory, options.engine)?;
            engine_in(&directory, options)?
        }
        opened => opened?,
    };
    let opened = Opened::read(engine, &options.directory, Some(mark), Some(directory))?;
    match acknowledged {
        Some(acknowledged) if opened.found.version < acknowledged && !options.salvage => {
            Err(OpenError::Lost {
                directory: options.directory.clone(),
                found: opened.found.version,
                acknowledged,
            })
        }
        // What is given out from here on must not be taken for what was lost.
        Some(acknowledged) => Ok(opened.at_least(acknowledged)),
        None => Ok(opened),
    }
}

/// Opens, or makes, the engine's files.
pub(crate) fn engine_in(directory: &Directory, options: &Options) -> Result<Box<dyn Engine>, OpenError> {
    let share = Share::new(options.cache_bytes, options.memory_limit.unwrap_or_else(share::limit));
    let place = directory.join(options.engine.name());
    // Engines panic at some kinds of damage.
    let opened = std::panic::catch_unwind(AssertUnwindSafe(|| -> Result<Box<dyn Engine>, OpenError> {
        let opened: Box<dyn Engine> = match options.engine {
            EngineKind::Fjall => {
                journal::check(&place, &directory.join("damaged"), options.salvage)?;
                Box::new(Fjall::open(&place, share).map_err(OpenError::engine(directory.path()))?)
            }
            _ => {
                let opened = Redb::open(&place, share, options.salvage);
                Box::new(opened.map_err(OpenError::engine(directory.path()))?)
            }
        };
        Ok(opened)
    }));
    opened.unwrap_or_else(|_| {
        let directory = directory.path().to_owned();
        Err(OpenError::Unreadable { directory, why: "the engine has panicked: its files are damaged".into() })
    })
}

fn put_aside(directory: &Directory, engine: EngineKind) -> Result<(), OpenError> {
    let (from, to) = (directory.join(engine.name()), directory.join("unfinished"));
    if to.is_dir() {
        fs::remove_dir_all(&to).map_err(OpenError::io("remove", &to))?;
    }
    fs::rename(&from, &to).map_err(OpenError::io("put aside", from))
}

impl Opened {
    pub(crate) fn read(
        mut engine: Box<dyn Engine>,
        path: &Path,
        mark: Option<Mark>,
        directory: Option<Directory>,
    ) -> Result<Self, OpenError> {
        let unreadable = || OpenError::engine(path);
        engine.open_space(Space::OWN.id(), Space::OWN.kind()).map_err(unreadable())?;
        let view = engine.view().map_err(unreadable())?;
        let mut spaces = Vec::new();
        let mut odd = None;
        view.scan(Space::OWN.id(), prefix(own::SPACES, &mut Vec::new()), &mut |key, value| {
            match Known::read(&key, &value) {
                Some(known) => spaces.push(known),
                None => odd = Some(format!("the entry {key:?} of a space is {value:?}")),
            }
            ControlFlow::Continue(())
        })
        .map_err(unreadable())?;
        if let Some(why) = odd {
            return Err(OpenError::Unreadable { directory: path.to_owned(), why: why.into() });
        }
        let number = |key: &[u8]| -> Result<u64, OpenError> {
            let value = view.get(Space::OWN.id(), key).map_err(unreadable())?;
            Ok(value.and_then(|value| own::number(&value)).unwrap_or_default())
        };
        let found = Found {
            version: Version(number(own::VERSION)?),
            opened: number(own::OPENED)?,
            bucket: last_bucket(&*view).map_err(unreadable())?,
        };
        drop(view);
        for known in &spaces {
            engine.open_space(known.id, known.kind).map_err(unreadable())?;
        }
        Ok(Self { engine, spaces, mark, found, directory })
    }

    fn at_least(mut self, version: Version) -> Self {
        self.found.version = self.found.version.max(version);
        self
    }

    /// Opens the spaces that are asked for, and writes down what is new.
    fn declare(&mut self, options: &Options) -> Result<(), OpenError> {
        let mut batch = Batch::default();
        self.found.opened += 1;
        let version = self.found.version;
        let mut put = |key: &[u8], value: &[u8]| {
            batch.writes.push(Write {
                version,
                space: Space::OWN.id(),
                key: Bytes::copy_from_slice(key),
                value: Some(Bytes::copy_from_slice(value)),
                weak: false,
                last: true,
            });
        };
        put(own::VERSION, &version.0.to_be_bytes());
        put(own::OPENED, &self.found.opened.to_be_bytes());
        for space in options.spaces {
            let asked = Known::of(*space);
            let directory = || options.directory.clone();
            match self.spaces.iter().find(|known| known.id == asked.id) {
                Some(known) if *known == asked => {}
                Some(known) => {
                    let describe = |known: &Known| format!("{} ({:?})", known.name, known.kind);
                    let (is, asked) = (describe(known), describe(&asked));
                    return Err(OpenError::Space { directory: directory(), id: space.id(), is, asked });
                }
                None => {
                    let opened = self.engine.open_space(asked.id, asked.kind);
                    opened.map_err(OpenError::engine(directory()))?;
                    put(&asked.key(), &asked.value());
                    self.spaces.push(asked);
                }
            }
        }
        self.engine.commit(&batch).map_err(OpenError::engine(&options.directory))
    }
}

fn last_bucket(view: &dyn View) -> Result<u64, crate::engine::EngineError> {
    let mut bucket = 0;
    let mut end = Vec::new();
    let range = Between { reverse: true, ..prefix(own::TRANSACTIONS, &mut end) };
    view.scan(Space::OWN.id(), range, &mut |key, value| {
        bucket = own::remembered(&key, &value).map_or(0, |(bucket, _)| bucket);
        ControlFlow::Break(())
    })?;
    Ok(bucket)
}

fn prefix<'a>(prefix: &'a [u8], end: &'a mut Vec<u8>) -> Between<'a> {
    *end = crate::seam::after_prefix(prefix).unwrap_or_default();
    Between::up(prefix, Some(end))
}
