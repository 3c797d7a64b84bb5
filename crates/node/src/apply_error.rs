//! Why a wish is not met, in words for people.

use std::net::SocketAddr;

use kit::{Explain, Help};

use crate::app::MAX_REPLICAS;
use crate::broker::BrokerError;
use crate::certificates::LoadError;
use crate::port_holder::{self, held_by};

/// Why a wish was not met. What ran goes on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApplyError {
    #[error("the application file has faults")]
    Faults { report: String },
    #[error("this node runs `{running}`, not `{wanted}`")]
    OtherApp { running: String, wanted: String },
    #[error("{0}")]
    Select(String),
    #[error("there is no service `{name}`")]
    NoService { name: String },
    #[error("{count} instances of `{name}` are more than {MAX_REPLICAS}")]
    TooMany { name: String, count: u32 },
    #[error("cannot listen on {address}{}", held_by(.holder))]
    Listen { address: SocketAddr, holder: Option<port_holder::Holder>, source: std::io::Error },
    #[error(transparent)]
    Certificate(#[from] LoadError),
    #[error(transparent)]
    Edge(#[from] gateway::EdgeError),
    #[error(transparent)]
    Broker(#[from] BrokerError),
    #[error(transparent)]
    Ports(#[from] control::ports::NoFreePort),
    #[error("cannot keep the application file in the state directory")]
    Keep(#[source] std::io::Error),
    #[error("the node is stopping")]
    Stopping,
    #[error("the node is being upgraded")]
    Upgrading,
}

impl Explain for ApplyError {
    fn help(&self) -> Help {
        match self {
            Self::Faults { .. } => Help::code("A0610").hint("mend the file: `atoll check` shows every fault"),
            Self::OtherApp { .. } => Help::code("A0611").hint("use another project name with `-p`"),
            Self::Select(_) | Self::NoService { .. } => {
                Help::code("A0612").hint("`atoll config --services` lists the services")
            }
            Self::TooMany { .. } => Help::code("A0617").hint("ask for fewer"),
            Self::Listen { .. } => Help::code("A0613")
                .hint("stop what holds the port, set `gateway.listen`, or run with `--isolated`"),
            Self::Certificate(error) => error.help(),
            Self::Edge(error) => error.help(),
            Self::Broker(error) => error.help(),
            Self::Ports(_) => Help::code("A0614").hint("stop services of other apps on this machine"),
            Self::Keep(_) => Help::code("A0615").hint("free space, or say another place with `--state-dir`"),
            Self::Stopping => Help::code("A0616").hint("wait for it to end, then `atoll up` again"),
            Self::Upgrading => Help::code("A0636").hint("do it again when `atoll upgrade` is done"),
        }
    }
}
