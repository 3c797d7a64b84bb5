//! Installs what is missing: Debian packages as root, moto in an environment of its own under `target/`.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};

use super::{Peer, moto};
use crate::bench::gateway::machine;

/// Installs the peers that are not there. Their services do not run afterwards: the bench starts its own.
pub(crate) fn install(peers: &[Peer]) -> anyhow::Result<()> {
    let missing: Vec<_> = peers.iter().copied().filter(|peer| peer.program().is_none()).collect();
    let packages: Vec<_> = missing.iter().filter_map(|peer| package(*peer)).collect();
    if !packages.is_empty() {
        let apt =
            machine::find("apt-get").context("--install knows Debian's apt-get only, and there is none")?;
        ensure!(rustix::process::geteuid().is_root(), "--install of {} wants root", packages.join(", "));
        run(Command::new(&apt).arg("update"))?;
        let mut install = Command::new(&apt);
        install.args(["install", "-y", "--no-install-recommends"]).args(&packages);
        run(install.env("DEBIAN_FRONTEND", "noninteractive"))?;
        stop_services(&packages);
    }
    if missing.contains(&Peer::Moto) {
        moto::install()?;
    }
    Ok(())
}

fn package(peer: Peer) -> Option<&'static str> {
    match peer {
        Peer::Redis => Some("redis-server"),
        Peer::Nats => Some("nats-server"),
        Peer::Rabbitmq => Some("rabbitmq-server"),
        Peer::Postgres => Some("postgresql"),
        Peer::Moto => None,
    }
}

/// Distributions start what they install; it would take time of the cores.
fn stop_services(packages: &[&str]) {
    if !Path::new("/run/systemd/system").exists() {
        return;
    }
    for package in packages {
        let stopped = Command::new("systemctl").args(["disable", "--now", package]).status();
        if !stopped.is_ok_and(|status| status.success()) {
            eprintln!("xtask: the service {package} could not be stopped: it may run beside the bench");
        }
    }
}

/// Runs a command to its end, showing what it says.
pub(super) fn run(command: &mut Command) -> anyhow::Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let status = command.status().with_context(|| format!("run {name}"))?;
    ensure!(status.success(), "{name}: {status}");
    Ok(())
}
