//! The hidden command `__node`: the process of a detached node.

use std::path::PathBuf;

use crate::command::keeper_command;
use crate::diagnostics;
use crate::failure::Failure;

/// The first argument that asks for it. It is kept apart from the commands, so that neither help nor
/// completions know it.
pub(crate) const NODE: &str = "__node";

/// Start a node that goes on without a terminal; `atoll up -d` calls it
#[derive(clap::Parser, Clone, Debug)]
pub(crate) struct NodeArgs {
    /// Where its state lives
    #[arg(long)]
    pub(crate) state_dir: PathBuf,
    /// The app's name
    #[arg(long)]
    pub(crate) app: String,
}

/// Runs the node to its end.
pub(crate) fn run(args: NodeArgs) -> Result<u8, Failure> {
    let NodeArgs { state_dir, app } = args;
    // Away from the terminal and its signals. It fails for a leader of a process group: then somebody else
    // (a supervisor) has made the session.
    let _ = rustix::process::setsid();
    diagnostics::to_stderr();
    let options = node::Options { state_dir, app, keeper_command: keeper_command()?, detached: true };
    node::Node::start(options)?.wait()?;
    Ok(0)
}
