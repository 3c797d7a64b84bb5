//! What two nodes say to each other: JSON. A later version may add fields; what an older one would misread
//! counts [`PROTOCOL`] up. `Hello` and `Refused` keep their shape for ever.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use proxy::{Entrance, Sockets};
use serde::{Deserialize, Serialize};

/// See above.
pub(super) const PROTOCOL: u32 = 1;

/// From the node that comes.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum ToOld {
    /// First of all.
    Hello {
        protocol: u32,
        /// Of the binary.
        version: String,
        /// How long connections of the old process may take to end, in milliseconds.
        drain_ms: u64,
    },
    /// It could accept connections now, and every service is as ready as it was.
    Ready,
    /// It accepts connections and is the node. Last of all, but for `Stop`.
    Taken,
    /// After `Taken`: everything stops, what still drains is to end at once.
    Stop,
}

/// From the node that goes.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum ToNew {
    /// There will be no hand-over, or none any more.
    Refused { code: String, title: String, hint: Option<String> },
    /// Take over. Before it come the descriptors: the lock, the listeners of the admin API and of upgrades,
    /// then those of `listeners` in their order.
    Granted(Box<Granted>),
    /// Be the node.
    Yours {
        /// What has happened so far.
        events: Vec<api::Event>,
    },
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Granted {
    pub(super) version: String,
    pub(super) pid: u32,
    /// What instances inherit: not what the terminal has in which the upgrade was asked for.
    pub(super) environment: BTreeMap<String, String>,
    pub(super) memory: control::Memory,
    pub(super) listeners: Vec<WireListener>,
}

/// Descriptors before those of the listeners.
pub(super) const FIXED_DESCRIPTORS: usize = 3;

/// One listener and how many sockets it has.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct WireListener {
    address: SocketAddr,
    bound: SocketAddr,
    /// Caller and callee; none: the gateway.
    mesh: Option<(String, String)>,
    pub(super) sockets: usize,
}

impl WireListener {
    pub(super) fn of(sockets: &Sockets) -> Self {
        let mesh = match &sockets.entrance {
            Entrance::Gateway => None,
            Entrance::Mesh { caller, callee } => Some((caller.to_string(), callee.to_string())),
        };
        Self { address: sockets.address, bound: sockets.bound, mesh, sockets: sockets.sockets.len() }
    }

    /// With its sockets. `None` when a name in it makes no sense.
    pub(super) fn into_sockets(self, sockets: Vec<std::net::TcpListener>) -> Option<Sockets> {
        let entrance = match self.mesh {
            None => Entrance::Gateway,
            Some((caller, callee)) => {
                Entrance::Mesh { caller: caller.parse().ok()?, callee: callee.parse().ok()? }
            }
        };
        Some(Sockets { address: self.address, entrance, bound: self.bound, sockets })
    }
}
