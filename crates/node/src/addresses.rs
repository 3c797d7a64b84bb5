//! The address made for each pair of caller and callee, and where the gateway really listens. They are
//! kept across restarts of the node, because they stand in the environment of instances that outlive it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};

use control::ports::{NoFreePort, Ports};
use manifest::spec::{App, ServiceName};
use serde::{Deserialize, Serialize};

use crate::state_dir::StateDir;

/// The file in the state directory.
const FILE: &str = "addresses.json";

/// Who calls whom.
pub(crate) type Pair = (ServiceName, ServiceName);

/// Every address that Atoll has made.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Addresses {
    /// Ports of 127.0.0.1, one for each pair.
    pub(crate) mesh: BTreeMap<Pair, u16>,
    /// For each `listen` with port 0: the port it got.
    pub(crate) gateway: BTreeMap<SocketAddr, u16>,
}

#[derive(Serialize, Deserialize)]
struct Kept {
    mesh: Vec<(String, String, u16)>,
    gateway: Vec<(SocketAddr, u16)>,
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
        Self { mesh, gateway: kept.gateway.into_iter().collect() }
    }

    /// Keeps them.
    pub(crate) fn write(&self, state: &StateDir) -> std::io::Result<()> {
        let kept = Kept {
            mesh: self.mesh.iter().map(|((a, b), port)| (a.to_string(), b.to_string(), *port)).collect(),
            gateway: self.gateway.iter().map(|(address, port)| (*address, *port)).collect(),
        };
        state.write_whole(FILE, &serde_json::to_vec(&kept)?)
    }

    /// The addresses `app` needs: those that are there stay, new pairs get new ports, the rest goes.
    pub(crate) fn fitted(&self, app: &App, ports: &Ports) -> Result<Self, NoFreePort> {
        let pairs: BTreeSet<Pair> = app
            .services
            .values()
            .flat_map(|service| service.calls.keys().map(|callee| (service.name.clone(), callee.clone())))
            .collect();
        let mut mesh = BTreeMap::new();
        for pair in pairs {
            let port = match self.mesh.get(&pair) {
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
            .filter(|(wanted, _)| app.gateway.listen.contains(wanted))
            .map(|(wanted, port)| (*wanted, *port))
            .collect();
        Ok(Self { mesh, gateway })
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
