//! The address made for each pair of caller and callee, and where the gateway really listens. They are
//! kept across restarts of the node, because they stand in the environment of instances that outlive it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use control::ports::{NoFreePort, Ports};
use manifest::spec::{App, Listen, ServiceName, Telemetry};
use serde::{Deserialize, Serialize};

use crate::observe::Doors;
use crate::state_dir::StateDir;

/// The file in the state directory.
const FILE: &str = "addresses.json";

/// How long the sockets of a node that has just been killed may outlive its lock, for all of them together.
const OLD_NODE: Duration = Duration::from_millis(100);

/// Time between two looks at such a socket.
const LOOK: Duration = Duration::from_millis(5);

/// Who calls whom.
pub(crate) type Pair = (ServiceName, ServiceName);

/// Every address that Atoll has made.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Addresses {
    /// Ports of 127.0.0.1, one for each pair.
    pub(crate) mesh: BTreeMap<Pair, u16>,
    /// For each `listen` with port 0: the port it got.
    pub(crate) gateway: BTreeMap<Listen, u16>,
    /// The same for clients of queues and topics.
    pub(crate) pipes: BTreeMap<SocketAddr, u16>,
    /// Ports of 127.0.0.1 where telemetry is taken in, for what the file leaves open.
    pub(crate) telemetry: BTreeMap<Way, u16>,
}

/// How services send telemetry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Way {
    Grpc,
    Http,
}

impl Way {
    pub(crate) const ALL: [Self; 2] = [Self::Grpc, Self::Http];

    /// What the file says, and the port that everybody tries where it says nothing.
    fn wanted(self, telemetry: &Telemetry) -> (Option<SocketAddr>, u16) {
        match self {
            Self::Grpc => (telemetry.grpc, Telemetry::GRPC),
            Self::Http => (telemetry.http, Telemetry::HTTP),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Kept {
    mesh: Vec<(String, String, u16)>,
    gateway: Vec<(SocketAddr, u16)>,
    /// Those that speak TLS.
    #[serde(default)]
    gateway_tls: Vec<(SocketAddr, u16)>,
    #[serde(default)]
    pipes: Vec<(SocketAddr, u16)>,
    #[serde(default)]
    telemetry: Vec<(Way, u16)>,
}

impl Addresses {
    /// Those of the node's last life. A file that cannot be read costs restarts, not correctness.
    pub(crate) fn read(state: &StateDir) -> Self {
        let Some(kept) = state.read(FILE).and_then(|text| serde_json::from_slice::<Kept>(&text).ok()) else {
            return Self::default();
        };
        let mesh = kept
            .mesh
            .into_iter()
            .filter_map(|(caller, callee, port)| Some(((caller.parse().ok()?, callee.parse().ok()?), port)))
            .collect();
        let listen = |tls| move |(address, port)| (Listen { address, tls }, port);
        let plain = kept.gateway.into_iter().map(listen(false));
        Self {
            mesh,
            gateway: plain.chain(kept.gateway_tls.into_iter().map(listen(true))).collect(),
            pipes: kept.pipes.into_iter().collect(),
            telemetry: kept.telemetry.into_iter().collect(),
        }
    }

    /// Keeps them.
    pub(crate) fn write(&self, state: &StateDir) -> std::io::Result<()> {
        let gateway = |tls| {
            let some = self.gateway.iter().filter(|(listen, _)| listen.tls == tls);
            some.map(|(listen, port)| (listen.address, *port)).collect()
        };
        let kept = Kept {
            mesh: self.mesh.iter().map(|((a, b), port)| (a.to_string(), b.to_string(), *port)).collect(),
            gateway: gateway(false),
            gateway_tls: gateway(true),
            pipes: self.pipes.iter().map(|(wanted, port)| (*wanted, *port)).collect(),
            telemetry: self.telemetry.iter().map(|(way, port)| (*way, *port)).collect(),
        };
        state.write_whole(FILE, &serde_json::to_vec(&kept)?)
    }

    /// Every port among them.
    pub(crate) fn ports(&self) -> impl Iterator<Item = u16> {
        let made = self.mesh.values().chain(self.gateway.values());
        made.chain(self.pipes.values()).chain(self.telemetry.values()).copied()
    }

    /// The addresses `app` needs: those that are there stay, new pairs get new ports, the rest goes. Those of
    /// an earlier life (`in_use` is false) stay only while nobody else has taken them.
    pub(crate) fn fitted(&self, app: &App, ports: &Ports, in_use: bool) -> Result<Self, NoFreePort> {
        let give_up = Instant::now() + OLD_NODE;
        let stays = |port: u16| {
            while !in_use && !Ports::is_free(port) {
                if Instant::now() >= give_up {
                    return false;
                }
                std::thread::sleep(LOOK);
            }
            true
        };
        let pairs: BTreeSet<Pair> = app
            .services
            .values()
            .flat_map(|service| service.calls.keys().map(|callee| (service.name.clone(), callee.clone())))
            .collect();
        let mut mesh = BTreeMap::new();
        for pair in pairs {
            let port = match self.mesh.get(&pair).filter(|port| stays(**port)) {
                Some(port) => {
                    ports.keep(*port);
                    *port
                }
                None => ports.pick()?,
            };
            mesh.insert(pair, port);
        }
        let gateway = self
            .gateway
            .iter()
            .filter(|(wanted, port)| app.gateway.listen.contains(wanted) && stays(**port))
            .inspect(|(_, port)| ports.keep(**port))
            .map(|(wanted, port)| (*wanted, *port))
            .collect();
        let mut pipes = BTreeMap::new();
        if let Some(wanted) = app.pipes.listen.filter(|wanted| wanted.port() == 0) {
            let port = match self.pipes.get(&wanted).filter(|port| stays(**port)) {
                Some(port) => {
                    ports.keep(*port);
                    *port
                }
                None => ports.pick()?,
            };
            pipes.insert(wanted, port);
        }
        // What is sent on to another backend of this machine must not come in again: its port is not taken,
        // though nobody may listen there yet.
        let sent_on =
            app.telemetry.as_ref().and_then(|telemetry| telemetry.export.as_ref()?.port_of_this_machine());
        let mut telemetry = BTreeMap::new();
        for way in app.telemetry.iter().flat_map(|_| Way::ALL) {
            let Some((wanted, usual)) = app.telemetry.as_ref().map(|telemetry| way.wanted(telemetry)) else {
                continue;
            };
            if wanted.is_some_and(|wanted| wanted.port() != 0) {
                continue; // there or nowhere
            }
            let port = match self.telemetry.get(&way).filter(|port| Some(**port) != sent_on && stays(**port))
            {
                Some(port) => *port,
                None if wanted.is_none() && Some(usual) != sent_on && Ports::is_free(usual) => usual,
                None => ports.pick()?,
            };
            ports.keep(port);
            telemetry.insert(way, port);
        }
        Ok(Self { mesh, gateway, pipes, telemetry })
    }

    fn telemetry_at(&self, app: &App, way: Way) -> Option<SocketAddr> {
        let (wanted, usual) = way.wanted(app.telemetry.as_ref()?);
        let wanted = wanted.unwrap_or_else(|| loopback(usual));
        let port = self.telemetry.get(&way).copied().unwrap_or(wanted.port());
        Some(SocketAddr::new(wanted.ip(), port))
    }

    /// Where clients of queues and topics find them, if the app has any.
    pub(crate) fn pipes_at(&self, app: &App) -> Option<SocketAddr> {
        let wanted = app.pipes.listen?;
        let port = self.pipes.get(&wanted).copied().unwrap_or(wanted.port());
        Some(SocketAddr::new(wanted.ip(), port))
    }

    /// Where telemetry is taken in, if it is at all.
    pub(crate) fn doors(&self, app: &App) -> Option<Doors> {
        let at = |way| self.telemetry_at(app, way);
        Some(Doors { grpc: at(Way::Grpc)?, http: at(Way::Http)? })
    }

    /// The mesh addresses as the rest of the node wants them.
    pub(crate) fn urls(&self) -> BTreeMap<Pair, SocketAddr> {
        self.mesh.iter().map(|(pair, port)| (pair.clone(), loopback(*port))).collect()
    }
}

/// An address of this machine's own.
pub(crate) fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}
