//! Redis with its append-only file synced before every answer.

use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;

use anyhow::Context;

use super::Peer;
use crate::atoll::free_port;
use crate::bench::gateway::child::Process;
use crate::bench::gateway::machine::Tree;
use crate::bench::queues::client::Endpoint;
use crate::bench::queues::system::{Guard, System, explain, logged};

pub(super) fn start(folder: &Path, slow: Option<&Path>) -> anyhow::Result<Vec<System>> {
    let program = Peer::Redis.program().context("redis-server is gone")?;
    let log = folder.join("log");
    let port = free_port()?;
    let mut command = logged(&program, &log)?;
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--dir"]).arg(folder);
    command.args(["--appendonly", "yes", "--appendfsync", "always", "--save", ""]);
    if let Some(library) = slow {
        command.env("LD_PRELOAD", library);
    }
    let mut process = Process::start_anywhere("redis-server", command)?;
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    explain(process.wait_listening(address), &log)?;
    Ok(vec![System {
        name: "Redis stream, appendfsync always".into(),
        endpoint: Endpoint::Redis(address),
        tree: Tree::Of(process.pid()),
        most: usize::MAX,
        durable: true,
        guard: Guard::Processes { _processes: Rc::new(vec![process]) },
    }])
}
