//! A running system of the comparison, ready to be asked.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::rc::Rc;

use anyhow::Context;

use super::client::Endpoint;
use crate::atoll::Detached;
use crate::bench::gateway::child::Process;
use crate::bench::gateway::machine::Tree;

/// A system. Stopped when dropped.
pub(crate) struct System {
    /// For tables.
    pub(crate) name: String,
    /// Where it is, and what it speaks.
    pub(crate) endpoint: Endpoint,
    /// Its processes.
    pub(crate) tree: Tree,
    /// Operations at once that it can be asked for.
    pub(crate) most: usize,
    /// Whether an answer says that a message is on disk, as far as the system's documentation tells.
    pub(crate) durable: bool,
    /// What ends it.
    pub(crate) guard: Guard,
}

/// Ends a system with its value, in the order of fields.
pub(crate) enum Guard {
    /// The processes of a peer. Several systems may be kinds of queue of one peer.
    Processes {
        /// Held for their drop.
        _processes: Rc<Vec<Process>>,
    },
    /// An app.
    App(Detached),
}

/// A command whose output goes to a file beside its data.
pub(crate) fn logged(program: &Path, log: &Path) -> anyhow::Result<Command> {
    let file = std::fs::File::create(log).with_context(|| format!("create {}", log.display()))?;
    let mut command = Command::new(program);
    command.stderr(Stdio::from(file.try_clone()?)).stdout(Stdio::from(file));
    Ok(command)
}

/// Adds the end of what a program said to a failure to start it.
pub(crate) fn explain<T>(result: anyhow::Result<T>, log: &Path) -> anyhow::Result<T> {
    result.map_err(|error| {
        let said = std::fs::read_to_string(log).unwrap_or_default();
        let lines: Vec<_> = said.lines().rev().filter(|line| !line.trim().is_empty()).take(3).collect();
        let said: Vec<_> = lines.into_iter().rev().collect();
        error.context(format!("it said: {}", said.join(" / ")))
    })
}

/// A folder of its own for a system's data.
pub(crate) fn folder(parent: &Path, name: &str) -> anyhow::Result<PathBuf> {
    let folder = parent.join(name);
    std::fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    Ok(folder)
}
