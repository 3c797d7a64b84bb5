//! `atoll upgrade`: another binary takes a running app over.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use api::{Client, Node};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::Context;
use super::up::detached::{LOG, died, open_log};
use super::up::last_event;
use crate::failure::{CliError, Failure, print, remark};
use crate::flags::{AppFlags, seconds};
use crate::place::Place;
use crate::show::board::counted;
use crate::show::{Paint, clean, time};

/// How long a new node may take to become the node: all limits of the hand-over together.
const TAKE_OVER: Duration = Duration::from_secs(150);

/// Time between two looks at who answers.
const LOOK: Duration = Duration::from_millis(5);

/// Upgrade a running app's node in place
///
/// Starts this very binary (or another one) as the app's new node. It takes over every listening socket and every
/// instance from the node that runs; that one finishes its connections and ends. No request fails, no instance
/// restarts. If the new node does not get ready, the old one goes on as if nothing had happened.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct UpgradeArgs {
    /// Where the app is
    #[arg(value_name = "APP")]
    location: Option<PathBuf>,
    /// The program to upgrade to [default: this one]
    #[arg(long, value_name = "PATH")]
    binary: Option<PathBuf>,
    /// How long connections of the old node may take to finish
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value_t = node::DRAIN.as_secs())]
    drain_timeout: u64,
    /// Return once the old node has ended
    #[arg(long)]
    wait: bool,
    /// Which app.
    #[command(flatten)]
    app: AppFlags,
}

/// Why there is no upgrade.
#[derive(Debug, thiserror::Error)]
enum UpgradeError {
    /// A node in a terminal belongs to it.
    #[error("`{app}` runs in the foreground (process {pid}) and ends with its terminal")]
    Foreground { app: String, pid: u32 },
    /// The program cannot be started.
    #[error("cannot start `{}`", .program.display())]
    Program { program: PathBuf, source: io::Error },
    /// It neither takes over nor ends.
    #[error("the new node has not taken over within {after}")]
    Late { after: String },
}

impl kit::Explain for UpgradeError {
    fn help(&self) -> kit::Help {
        match self {
            Self::Foreground { .. } => kit::Help::code("A0630")
                .hint("end it with Ctrl-C and start it again; `atoll up -d` can be upgraded in place"),
            Self::Program { .. } => kit::Help::code("A0639").hint("say another one with `--binary`"),
            Self::Late { .. } => {
                kit::Help::code("A0634").hint("the old node goes on; see `node.log`, then try again")
            }
        }
    }
}

/// Runs the command.
pub(crate) fn run(args: UpgradeArgs, context: &Context) -> Result<u8, Failure> {
    let place = Place::new(args.app.clone().after(&context.app), args.location.clone());
    let client = place.client()?;
    context.block_on(upgrade(client, args))
}

async fn upgrade(client: Client, args: UpgradeArgs) -> Result<u8, Failure> {
    let before = client.node().await?;
    if !before.detached {
        return Err(UpgradeError::Foreground { app: clean::text(&before.app), pid: before.pid }.into());
    }
    let status = client.status().await?;
    let events_after = last_event(&client).await?;
    let began = Instant::now();
    let old = process(before.pid);
    let program = match args.binary {
        Some(path) => std::path::absolute(&path).unwrap_or(path),
        None => this_program()?,
    };
    let log_path = client.state_dir().join(LOG);
    let (log, log_start) =
        open_log(&log_path).map_err(|source| CliError::State { path: log_path.clone(), source })?;
    let mut child = spawn(&program, &before, &status.root, args.drain_timeout, log)
        .map_err(|source| UpgradeError::Program { program: program.clone(), source })?;
    remark(&format!("process {} takes over from process {} …", child.id(), before.pid));
    let Some(after) = take_over(&client, &mut child).await? else {
        let status =
            child.wait().map_err(|source| CliError::Machine { what: "watch the new node", source })?;
        return Err(died(status.to_string(), log_path, log_start));
    };
    let instances = status.services.iter().flat_map(|service| &service.instances);
    let instances = instances.filter(|instance| instance.pid.is_some()).count();
    print(&format!(
        "{} upgraded from {} to {} in {} (pid {}); {} went on\n",
        Paint::stdout().bold(clean::text(&after.app)),
        clean::text(&before.version),
        clean::text(&after.version),
        time::span(began.elapsed()),
        after.pid,
        counted(instances, "instance"),
    ))?;
    tell_errors(&client, events_after).await?;
    if args.wait {
        remark(&format!("process {} finishes its connections …", before.pid));
        if let Some(old) = &old {
            until_gone(old).await;
        }
    } else {
        remark(&format!("process {} finishes its connections and ends", before.pid));
    }
    Ok(0)
}

/// This program. When the file has been replaced since, what is there now.
fn this_program() -> Result<PathBuf, Failure> {
    let program = std::env::current_exe();
    Ok(program.map_err(|source| CliError::Machine { what: "tell where this program is", source })?)
}

/// The new node makes itself a session of its own first thing, as every detached one does.
fn spawn(program: &Path, before: &Node, root: &Path, drain_s: u64, log: File) -> io::Result<Child> {
    let mut command = Command::new(program);
    command.arg(super::NODE).arg("--state-dir").arg(&before.state_dir).arg("--app").arg(&before.app);
    command.arg("--take-over").arg(drain_s.to_string());
    if root.is_dir() {
        command.current_dir(root);
    }
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()
}

/// Waits until the child answers for the app. `None`: it has ended instead.
async fn take_over(client: &Client, child: &mut Child) -> Result<Option<Node>, Failure> {
    let give_up = Instant::now() + TAKE_OVER;
    loop {
        let ended = child.try_wait();
        if ended.map_err(|source| CliError::Machine { what: "watch the new node", source })?.is_some() {
            return Ok(None);
        }
        if let Ok(node) = client.node().await
            && node.pid == child.id()
        {
            return Ok(Some(node));
        }
        if Instant::now() > give_up {
            let _ = child.kill(); // it has ended by itself
            let _ = child.wait();
            return Err(UpgradeError::Late { after: time::span(TAKE_OVER) }.into());
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Shows what has gone wrong meanwhile, if anything.
async fn tell_errors(client: &Client, after: u64) -> Result<(), Failure> {
    let mut events = client.events(after, false).await?;
    while let Some(event) = events.next().await {
        let event = event?;
        if event.level == api::Level::Error {
            remark(&clean::line(&event.message, false));
        }
    }
    Ok(())
}

/// A handle to the process, so that its end is seen whoever waits for it. `None`: it has ended already.
fn process(pid: u32) -> Option<OwnedFd> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw)?;
    pidfd_open(pid, PidfdFlags::empty()).ok()
}

/// Returns when it has ended.
async fn until_gone(process: &OwnedFd) {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    while poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&now)) == Ok(0) {
        tokio::time::sleep(LOOK).await;
    }
}
