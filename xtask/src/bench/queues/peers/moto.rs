//! moto's server: the API of SQS in memory, for tests of those who use it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;

use super::Peer;
use super::install::run;
use crate::atoll::free_port;
use crate::bench::gateway::child::Process;
use crate::bench::gateway::machine::{self, Tree};
use crate::bench::queues::client::{Endpoint, sigv4::Keys, sqs};
use crate::bench::queues::system::{Guard, System, explain, logged};
use crate::schema;

/// How long it may take until it listens.
const START_PATIENCE: Duration = Duration::from_secs(60);

/// Operations at once: it answers one after the other anyway.
const MOST: usize = 16;

/// The environment it is installed in.
fn environment() -> PathBuf {
    schema::root().join("target/bench-moto")
}

/// Where its server is.
pub(super) fn program() -> Option<PathBuf> {
    let own = environment().join("bin/moto_server");
    if own.is_file() { Some(own) } else { machine::find("moto_server") }
}

/// Installs it from the package index that pip is set to.
pub(super) fn install() -> anyhow::Result<()> {
    let folder = environment();
    run(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
    run(Command::new(folder.join("bin/pip")).args(["install", "--quiet", "moto[server]"]))
}

pub(super) fn start(folder: &Path) -> anyhow::Result<Vec<System>> {
    let program = Peer::Moto.program().context("moto_server is gone")?;
    let (port, log) = (free_port()?, folder.join("log"));
    let mut command = logged(&program, &log)?;
    command.args(["-H", "127.0.0.1", "-p", &port.to_string()]);
    let mut process = Process::start_anywhere("moto_server", command)?;
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    explain(process.wait_listening_within(address, START_PATIENCE), &log)?;
    let keys = Keys { id: "bench".into(), secret: "bench".into() };
    let place = sqs::Place::new(address, keys, format!("http://{address}/123456789012"));
    Ok(vec![System {
        name: "moto SQS, in memory".into(),
        endpoint: Endpoint::Sqs(Arc::new(place)),
        tree: Tree::Of(process.pid()),
        most: MOST,
        durable: false,
        guard: Guard::Processes { _processes: Rc::new(vec![process]) },
    }])
}
