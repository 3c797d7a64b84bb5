//! NATS JetStream: as it comes, where an answer is before the sync, and with a sync for each message where
//! the version has that.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::rc::Rc;

use anyhow::Context;

use super::Peer;
use crate::atoll::free_port;
use crate::bench::gateway::child::Process;
use crate::bench::gateway::machine::Tree;
use crate::bench::queues::client::Endpoint;
use crate::bench::queues::system::{self, Guard, System, explain, logged};

/// The first version that can sync before it answers.
const SYNCS_SINCE: (u32, u32) = (2, 10);

pub(super) fn start(folder: &Path) -> anyhow::Result<Vec<System>> {
    let mut systems = vec![one(folder, "NATS JetStream, default", false)?];
    if lack().is_none() {
        systems.push(one(folder, "NATS JetStream, sync always", true)?);
    }
    Ok(systems)
}

/// What this version cannot do.
pub(super) fn lack() -> Option<String> {
    let output = Command::new(Peer::Nats.program()?).arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    match version(&text) {
        Some(version) if version >= SYNCS_SINCE => None,
        _ => Some(format!("left out: NATS with synchronous writes, which {} has not", text.trim())),
    }
}

/// Of `nats-server: v2.9.10`, 2 and 9.
fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.trim().rsplit_once('v')?.1.split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

fn one(folder: &Path, name: &str, syncs: bool) -> anyhow::Result<System> {
    let program = Peer::Nats.program().context("nats-server is gone")?;
    let own = system::folder(folder, if syncs { "sync" } else { "default" })?;
    let (port, log, file) = (free_port()?, own.join("log"), own.join("nats.conf"));
    let sync = if syncs { "sync_interval: always" } else { "" };
    let text = format!(
        "listen: 127.0.0.1:{port}\njetstream {{ store_dir: \"{}\"\n{sync}\nmax_mem: 1G\nmax_file: 50G }}\n",
        own.join("data").display()
    );
    std::fs::write(&file, text)?;
    let mut command = logged(&program, &log)?;
    command.arg("-c").arg(&file);
    let mut process = Process::start_anywhere("nats-server", command)?;
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    explain(process.wait_listening(address), &log)?;
    Ok(System {
        name: name.to_owned(),
        endpoint: Endpoint::Nats(address),
        tree: Tree::Of(process.pid()),
        most: usize::MAX,
        durable: syncs,
        guard: Guard::Processes { _processes: Rc::new(vec![process]) },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_number() {
        assert_eq!(version("nats-server: v2.9.10\n"), Some((2, 9)));
        assert!(version("nats-server: v2.10.1").unwrap() >= SYNCS_SINCE);
        assert_eq!(version("nats-server: unknown"), None);
    }
}
