//! `atoll down`: stops an app that runs.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use api::Client;

use super::Context;
use super::up::last_event;
use crate::failure::{CliError, Failure, print, remark};
use crate::flags::{AppFlags, seconds};
use crate::follow::{Follow, OnSignal};
use crate::place::Place;
use crate::show::view::{Look, View};
use crate::show::{Paint, term};
use crate::signals::Signals;

/// How long a node may take to end after everything is stopped.
const END: Duration = Duration::from_secs(10);

/// Time between two looks whether it has.
const LOOK: Duration = Duration::from_millis(5);

/// Stop an app
///
/// Drains and stops every instance in reverse order, then the node. Ctrl-C kills what is left. Also ends what
/// lives on of a detached node that was killed.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct DownArgs {
    /// Where the app is
    #[arg(value_name = "APP")]
    location: Option<PathBuf>,
    /// How long instances may take, instead of their own `stop_grace_period`; 0 kills at once
    #[arg(short, long, value_name = "SECONDS", value_parser = seconds)]
    timeout: Option<u64>,
    /// Which app.
    #[command(flatten)]
    app: AppFlags,
}

/// Runs the command.
pub(crate) fn run(args: DownArgs, context: &Context) -> Result<u8, Failure> {
    let place = Place::new(args.app.after(&context.app), args.location);
    let client = place.client()?;
    context.block_on(down(client, args.timeout))
}

async fn down(client: Client, timeout: Option<u64>) -> Result<u8, Failure> {
    let mut signals =
        Signals::catch().map_err(|source| CliError::Machine { what: "catch signals", source })?;
    let (events_after, own_node) = match last_event_if_running(&client).await? {
        Some(seq) => (seq, None),
        None => match node::left_behind(client.state_dir()) {
            Some(app) => (0, Some(adopt(&client, app)?)),
            None => {
                print("nothing runs here\n")?;
                return Ok(0);
            }
        },
    };
    let look = Look { paint: Paint::stdout(), live: term::can_redraw(), logs: false };
    Follow {
        client: &client,
        view: View::new(look, Instant::now()),
        on_signal: OnSignal::Stop,
        stop_now: true,
        stop_timeout: timeout,
        services: Vec::new(),
        logs_since: None,
        events_after,
    }
    .run(&mut signals)
    .await?;
    if let Some(node) = own_node {
        node.wait()?;
        return Ok(0);
    }
    let give_up = Instant::now() + END;
    while client.node().await.is_ok() {
        if Instant::now() > give_up {
            let source = std::io::Error::new(std::io::ErrorKind::TimedOut, "it still answers after 10 s");
            return Err(CliError::Machine { what: "see the node end", source }.into());
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(0)
}

/// A node was killed and its instances live on. Only a node can end them in order: one in this process, for
/// as long as that takes.
fn adopt(client: &Client, app: String) -> Result<node::Node, Failure> {
    remark("the node of this app was killed; ending what it left running");
    crate::diagnostics::to_stderr();
    let state_dir = client.state_dir().to_owned();
    Ok(node::Node::start(node::Options {
        state_dir,
        app,
        keeper_command: super::keeper_command()?,
        detached: false,
        take_over: None,
    })?)
}

async fn last_event_if_running(client: &Client) -> Result<Option<u64>, Failure> {
    if !client.is_running().await? {
        return Ok(None);
    }
    Ok(Some(last_event(client).await?))
}
