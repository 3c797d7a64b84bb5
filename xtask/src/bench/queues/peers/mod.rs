//! Other systems: found on this machine, installed if that is asked for, started with their data in a folder
//! of their own, on ports of their own.

mod install;
mod moto;
mod nats;
mod postgres;
mod rabbitmq;
mod redis;

use std::path::{Path, PathBuf};

use super::system::System;
use crate::bench::gateway::machine;
use crate::go_on;
pub(crate) use install::install;

/// A system to compare with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    Redis,
    Nats,
    Rabbitmq,
    Postgres,
    Moto,
}

impl Peer {
    /// All of them.
    pub(crate) const ALL: [(&str, Self); 5] = [
        ("redis", Self::Redis),
        ("nats", Self::Nats),
        ("rabbitmq", Self::Rabbitmq),
        ("postgresql", Self::Postgres),
        ("moto", Self::Moto),
    ];

    fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, peer)| *peer == self).map_or("", |(name, _)| *name)
    }

    /// Where its server is; `None`: not installed.
    fn program(self) -> Option<PathBuf> {
        match self {
            Self::Redis => machine::find("redis-server"),
            Self::Nats => machine::find("nats-server"),
            Self::Rabbitmq => rabbitmq::program(),
            Self::Postgres => postgres::program("postgres"),
            Self::Moto => moto::program(),
        }
    }

    fn start(self, folder: &Path, slow: Option<&Path>) -> anyhow::Result<Vec<System>> {
        match self {
            Self::Redis => redis::start(folder, slow),
            Self::Nats => nats::start(folder),
            Self::Rabbitmq => rabbitmq::start(folder, slow),
            Self::Postgres => postgres::start(folder, slow),
            Self::Moto => moto::start(folder),
        }
    }
}

/// Starts peers that are there; what is not, and why, is added to the notes. `slow` is a library that is
/// loaded into those that sync.
pub(crate) fn start(
    peers: &[Peer],
    folder: &Path,
    slow: Option<&Path>,
    notes: &mut Vec<String>,
) -> anyhow::Result<Vec<System>> {
    let mut systems = Vec::new();
    for peer in peers {
        go_on()?;
        if peer.program().is_none() {
            notes.push(format!("left out: {} is not installed; `--install` does it", peer.name()));
            continue;
        }
        let started = super::system::folder(folder, peer.name()).and_then(|own| peer.start(&own, slow));
        match started {
            Ok(found) => systems.extend(found),
            Err(error) => {
                go_on()?;
                notes.push(format!("left out: {} does not start: {error:#}", peer.name()));
            }
        }
    }
    if peers.contains(&Peer::Nats) && slow.is_none() {
        notes.extend(nats::lack());
    }
    Ok(systems)
}
