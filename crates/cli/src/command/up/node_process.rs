//! The hidden command `__node`: the process of a detached node.

use std::path::PathBuf;
use std::time::Duration;

use crate::command::keeper_command;
use crate::diagnostics;
use crate::failure::{CliError, Failure};
use crate::signals::Signals;

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
    /// Take over from the node that runs it, whose connections get so many seconds to end
    #[arg(long, value_name = "SECONDS")]
    pub(crate) take_over: Option<u64>,
}

/// Runs the node to its end.
pub(crate) fn run(args: NodeArgs) -> Result<u8, Failure> {
    let NodeArgs { state_dir, app, take_over } = args;
    // Away from the terminal and its signals. It fails for a leader of a process group: then somebody else
    // (a supervisor) has made the session.
    let _ = rustix::process::setsid();
    diagnostics::to_stderr();
    let take_over = take_over.map(Duration::from_secs);
    let options =
        node::Options { state_dir, app, keeper_command: keeper_command()?, detached: true, take_over };
    let client = api::Client::new(&options.state_dir);
    let node = node::Node::start(options)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|source| CliError::Machine { what: "start a runtime", source })?;
    let (ended, end) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || ended.send(node.wait()));
    runtime.block_on(until_ended(client, end))
}

/// A supervisor's SIGTERM (or a Ctrl-C of whoever runs this by hand) stops the app like `atoll down`; a second
/// one kills what is left.
async fn until_ended(
    client: api::Client,
    mut end: tokio::sync::oneshot::Receiver<Result<(), node::NodeError>>,
) -> Result<u8, Failure> {
    let mut signals =
        Signals::catch().map_err(|source| CliError::Machine { what: "catch signals", source })?;
    let mut grace = None;
    loop {
        tokio::select! {
            ended = &mut end => {
                if let Ok(ended) = ended {
                    ended?;
                }
                return Ok(0);
            }
            _ = signals.next() => {
                // The app may be another node's by now: this process finishes its connections, and need not.
                if client.node().await.is_ok_and(|node| node.pid != std::process::id()) {
                    return Ok(0);
                }
                let stop = api::Stop { timeout_s: grace };
                // Answers when everything has stopped; a second signal does not wait for that.
                tokio::select! {
                    _ = client.stop(&stop) => {}
                    _ = signals.next() => { let _ = client.stop(&api::Stop { timeout_s: Some(0) }).await; }
                }
                grace = Some(0);
            }
        }
    }
}
