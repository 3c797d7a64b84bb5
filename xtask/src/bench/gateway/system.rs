//! A running proxy of the comparison, ready to be asked.

use std::net::SocketAddr;

use tempfile::TempDir;

use super::child::Process;
use super::machine::Tree;
use crate::atoll::Detached;

/// A proxy, or the upstream itself. Stopped when dropped.
pub(crate) struct System {
    /// For tables.
    pub(crate) name: String,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// Its processes.
    pub(crate) tree: Tree,
    /// What ends it.
    #[allow(dead_code)] // held for its drop
    pub(crate) guard: Guard,
}

/// Ends a system with its value; fields are dropped in their order, the folder last.
pub(crate) enum Guard {
    /// Nothing was started for it.
    Nothing,
    /// A process and the folder with its files.
    Process {
        /// Ended first.
        _process: Process,
        /// Removed last.
        _folder: TempDir,
    },
    /// An app and the folder with its file and state.
    App {
        /// Stopped first.
        _app: Detached,
        /// Removed last.
        _folder: TempDir,
    },
}

impl System {
    /// The upstream without anything before it.
    pub(crate) fn direct(address: SocketAddr) -> Self {
        Self { name: "upstream, direct".into(), address, tree: Tree::Nothing, guard: Guard::Nothing }
    }
}
