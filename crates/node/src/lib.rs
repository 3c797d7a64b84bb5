//! Puts a node together, starts and stops it, serves the admin API.

use std::ffi::OsString;
use std::path::PathBuf;

use kit::{Explain, Help};

/// How to start a node.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where its state lives; made if it is not there.
    pub state_dir: PathBuf,
    /// The app's name.
    pub app: String,
    /// Program and first arguments that start a keeper: the binary itself and its hidden command.
    pub keeper_command: Vec<OsString>,
    /// Its instances outlive it.
    pub detached: bool,
}

/// A running node: threads of its own, so that the caller stays free.
pub struct Node {
    _private: (),
}

/// Why a node could not start or had to end.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// Placeholder until the node is put together.
    #[error("cannot start")]
    NotBuilt,
}

impl Explain for NodeError {
    fn help(&self) -> Help {
        Help::code("A0600")
    }
}

impl Node {
    /// Starts a node; returns once its admin API answers. It runs nothing yet, or, when `state_dir` holds
    /// an app of a detached node that was killed, that app again.
    pub fn start(options: Options) -> Result<Self, NodeError> {
        let _ = options;
        Err(NodeError::NotBuilt)
    }

    /// Blocks until the node has ended, asked to by `POST /v1/stop` or by a failure.
    pub fn wait(self) -> Result<(), NodeError> {
        Ok(())
    }
}
