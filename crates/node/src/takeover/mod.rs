//! A node upgraded in place: a new process takes the app over from the one that runs it, and no request fails.
//!
//! ```text
//! old (runs the app)                        new (`atoll __node --take-over`)
//!   ← Hello: version, protocol                connects to upgrade.sock
//!   no wish is met any more; the controller
//!   is held; what is under way ends
//!   lets go of the keeper
//!   Granted: every listening socket, the
//!   lock, the admin socket, memory     →      joins the keeper, adopts every instance, checks them,
//!                                             listens on the same sockets, accepts nothing yet
//!                                             until each service that was ready is ready
//!                                      ← Ready
//!   Yours: the events so far           →      accepts
//!                                      ← Taken; acts, answers the admin API: it is the node now
//!   accepts nothing more, finishes its
//!   connections, ends
//! ```
//!
//! Until `Taken` the old node can go on at any moment as if nothing had happened, and does when the new one
//! says or does anything else, or ends. It still accepts, and takes the keeper back. From `Taken` on the app is
//! the new node's.
//!
//! No moment is without an owner: the lock belongs to an open file that both have, and so do the sockets
//! and the connections that wait in their queues.
//!
//! `messages` is what is said, `channel` how, `reins` a driver that can be let go of and taken back, `give`
//! the old node's side and `take` the new one's.

mod channel;
mod give;
mod messages;
mod reins;
mod take;

use std::time::Duration;

use kit::{Explain, Help};

pub(crate) use give::{Given, Giver};
pub(crate) use reins::{Keeper, Reins, SteadyChecks};
pub(crate) use take::{Inheritance, Predecessor, Taker};

/// The socket's name within a state directory.
pub(crate) const SOCKET: &str = "upgrade.sock";

/// How long idle connections of clients stay open in the old process for one more request.
pub(crate) const IDLE_GRACE: Duration = Duration::from_secs(10);

/// How long the old process may take for exchanges and tunnels under way, by default.
pub const DRAIN: Duration = Duration::from_secs(60);

/// Whose turn it is to decide what runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// This node's.
    Ours,
    /// Another node is taking over: this one may have to go on.
    Open,
    /// The other node's.
    Theirs,
}

/// Why one node could not take over from another. Where nothing else is said, the old one goes on.
#[derive(Debug, thiserror::Error)]
pub enum TakeOverError {
    /// Nobody is there to take over from, or somebody who does not know how.
    #[error("cannot reach the node that runs this app")]
    Unreachable(#[source] std::io::Error),
    /// The other one said no, or took everything back.
    #[error("{title}")]
    Refused {
        /// Its code.
        code: String,
        /// What it said.
        title: String,
        /// What it advised.
        hint: Option<String>,
    },
    /// The connection broke off, or something came that makes no sense.
    #[error("the hand-over broke off: {0}")]
    Broken(String),
    /// The new node cannot carry the app as well as the old one.
    #[error("the new node does not get ready: {0}")]
    NotReady(String),
}

impl Explain for TakeOverError {
    fn help(&self) -> Help {
        match self {
            Self::Unreachable(_) => {
                Help::code("A0631").hint("`atoll version` shows what runs; `atoll down`, then `atoll up -d`")
            }
            Self::Refused { code, hint, .. } => Help {
                code: kit::Code::new(known(code)),
                hint: hint.clone(),
                exit: kit::report::Exit::Failed,
            },
            Self::Broken(_) => {
                Help::code("A0634").hint("the old node goes on; see `node.log`, then try again")
            }
            Self::NotReady(_) => {
                Help::code("A0635").hint("the old node goes on; `atoll ps` shows how its services are")
            }
        }
    }
}

/// Every code that a refusal can have.
const CODES: [&str; 7] = ["A0616", "A0630", "A0632", "A0633", "A0634", "A0637", "A0638"];

fn known(code: &str) -> &'static str {
    CODES.into_iter().find(|known| *known == code).unwrap_or("A0634")
}
