//! Looking at a store that nobody has open: everything is read, everything that has a checksum is compared with it.

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use crate::directory::Directory;
use crate::engine::{Between, EngineError, View};
use crate::mark::Mark;
use crate::open::{Opened, engine_in};
use crate::open_error::OpenError;
use crate::options::{EngineKind, Options};
use crate::own::{self, Known};
use crate::space::Space;
use crate::txn::Version;

/// What was found in a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyReport {
    /// Its engine.
    pub engine: EngineKind,
    /// The last commit in it.
    pub version: Version,
    /// How often it was opened.
    pub opened: u64,
    /// Its spaces.
    pub spaces: Vec<SpaceReport>,
    /// What is wrong, a sentence each; none: it is sound.
    pub problems: Vec<String>,
}

/// What was found in a space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpaceReport {
    /// Its name.
    pub name: String,
    /// Keys in it.
    pub keys: u64,
    /// Bytes of its keys and values.
    pub bytes: u64,
}

/// Reads all of a store. What a crash has left unfinished at its end is cut off, as at any opening; nothing else is changed.
/// Blocks on the disk for as long as that takes.
pub fn verify(directory: &Path) -> Result<VerifyReport, OpenError> {
    if !directory.join("format").exists() {
        return Err(OpenError::Format { directory: directory.to_owned(), found: String::new() });
    }
    let taken = Directory::take(directory)?;
    if taken.is_being_restored() {
        return Err(OpenError::Unfinished { directory: directory.to_owned() });
    }
    let engine = taken.engine()?.unwrap_or(EngineKind::Fjall);
    let path = taken.join("mark");
    let (_, acknowledged) = Mark::open(&path).map_err(OpenError::io("open", path))?;
    let options = Options::new(directory, &[]).engine(engine);
    let mut opened = Opened::read(engine_in(&taken, &options)?, directory, None, Some(taken))?;
    let version = opened.found.version;
    let mut problems = Vec::new();
    if let Some(acknowledged) = acknowledged.filter(|acknowledged| *acknowledged > version) {
        problems.push(format!("it ends at version {}, but {} was acknowledged", version.0, acknowledged.0));
    }
    let mut spaces = Vec::new();
    // Engines panic at some kinds of damage.
    let read = catch_unwind(AssertUnwindSafe(|| read(&mut opened, &mut spaces, &mut problems)));
    match read {
        Ok(Ok(())) => {}
        Ok(Err(error)) => problems.push(error.to_string()),
        Err(_) => problems.push("the engine has panicked: its files are damaged".to_owned()),
    }
    Ok(VerifyReport { engine, version, opened: opened.found.opened, spaces, problems })
}

fn read(
    opened: &mut Opened,
    spaces: &mut Vec<SpaceReport>,
    problems: &mut Vec<String>,
) -> Result<(), EngineError> {
    problems.extend(opened.engine.check()?);
    let view = opened.engine.view()?;
    for known in std::iter::once(&Known::of(Space::OWN)).chain(&opened.spaces) {
        let mut report = SpaceReport { name: known.name.clone(), keys: 0, bytes: 0 };
        if let Err(error) = walk(&*view, known.id, opened.found.version, &mut report, problems) {
            problems.push(format!("space `{}` behind key {}: {error}", known.name, report.keys));
        }
        spaces.push(report);
    }
    Ok(())
}

/// Reads a space, counting; keys must rise, and nothing may be newer than the last commit.
fn walk(
    view: &dyn View,
    space: u8,
    version: Version,
    report: &mut SpaceReport,
    problems: &mut Vec<String>,
) -> Result<(), EngineError> {
    let mut last = bytes::Bytes::new();
    view.scan(space, Between::all(), &mut |key, value| {
        if report.keys > 0 && key <= last {
            problems.push(format!("keys of space `{}` are out of order at key {}", report.name, report.keys));
        }
        if space == Space::OWN.id() && own::remembered(&key, &value).is_some_and(|(_, of)| of > version) {
            problems.push("a transaction is remembered that is newer than the last commit".to_owned());
        }
        report.keys += 1;
        report.bytes += (key.len() + value.len()) as u64;
        last = key;
        // A store that is wrong everywhere has said enough.
        if problems.len() < 100 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })
}
