//! The web console of an app.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Whether there is a console, and where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Console {
    /// At [`Console::LISTEN`], or at the next port that is free.
    #[default]
    Usual,
    /// Here and nowhere else. Port 0: one that is free.
    At(SocketAddr),
    /// There is none.
    Off,
}

impl Console {
    /// Where it is when the file does not say: this machine only.
    pub const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 4000);
}
