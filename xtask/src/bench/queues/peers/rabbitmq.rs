//! RabbitMQ: one node, a classic and a quorum queue.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use anyhow::Context;

use super::Peer;
use crate::atoll::free_port;
use crate::bench::gateway::child::Process;
use crate::bench::gateway::machine::{self, Tree};
use crate::bench::queues::client::{Endpoint, amqp};
use crate::bench::queues::system::{Guard, System, explain, logged};

/// How long it may take until it listens.
const START_PATIENCE: Duration = Duration::from_secs(90);

/// The server's own script, where distributions put one before it that changes the user.
pub(super) fn program() -> Option<PathBuf> {
    let own = Path::new("/usr/lib/rabbitmq/bin/rabbitmq-server");
    if own.is_file() { Some(own.to_owned()) } else { machine::find("rabbitmq-server") }
}

pub(super) fn start(folder: &Path, slow: Option<&Path>) -> anyhow::Result<Vec<System>> {
    let server = Peer::Rabbitmq.program().context("rabbitmq-server is gone")?;
    let (port, mapper, nodes) = (free_port()?, free_port()?, free_port()?);
    // Started here: the server would start one that outlives it.
    let names = machine::find("epmd").context("epmd, which comes with Erlang, is not installed")?;
    let mut epmd = logged(&names, &folder.join("epmd.log"))?;
    epmd.args(["-address", "127.0.0.1", "-port", &mapper.to_string()]);
    let mut epmd = Process::start_anywhere("epmd", epmd)?;
    epmd.wait_listening(SocketAddr::from(([127, 0, 0, 1], mapper)))?;

    let (log, config, plugins) = (folder.join("log"), folder.join("rabbitmq.conf"), folder.join("plugins"));
    std::fs::write(&config, format!("listeners.tcp.1 = 127.0.0.1:{port}\n"))?;
    std::fs::write(&plugins, "[].\n")?;
    let mut command = logged(&server, &log)?;
    command
        .env("HOME", folder)
        .env("RABBITMQ_NODENAME", "bench@localhost")
        .env("RABBITMQ_CONFIG_FILE", &config)
        .env("RABBITMQ_ENABLED_PLUGINS_FILE", &plugins)
        .env("RABBITMQ_MNESIA_BASE", folder.join("data"))
        .env("RABBITMQ_LOG_BASE", folder.join("logs"))
        .env("RABBITMQ_CONF_ENV_FILE", folder.join("none"))
        .env("RABBITMQ_DIST_PORT", nodes.to_string())
        .env("ERL_EPMD_PORT", mapper.to_string())
        .env("ERL_EPMD_ADDRESS", "127.0.0.1")
        // Schedulers that have nothing to do do not spin: time on the cores is what is measured.
        .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "+sbwt none +sbwtdcpu none +sbwtdio none");
    if let Some(library) = slow {
        command.env("LD_PRELOAD", library);
    }
    let mut process = Process::start_anywhere("rabbitmq-server", command)?;
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    explain(process.wait_listening_within(address, START_PATIENCE), &log)?;
    let tree = Tree::Of(process.pid());
    let guard = Rc::new(vec![process, epmd]);
    let kind = |name: &str, quorum| System {
        name: name.to_owned(),
        endpoint: Endpoint::Amqp(amqp::Place { address, quorum }),
        tree: tree.clone(),
        most: usize::MAX,
        durable: true,
        guard: Guard::Processes { _processes: Rc::clone(&guard) },
    };
    Ok(vec![kind("RabbitMQ classic, confirms", false), kind("RabbitMQ quorum, confirms", true)])
}
