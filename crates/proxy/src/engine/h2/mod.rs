//! HTTP/2 on the `h2` crate, without anything between: [`server`] for clients, [`client`] for instances, whose
//! connections [`links`] keeps. [`message`] turns heads into ours and back with what is [`recent`], [`stream`] moves bodies with their
//! flow control, [`calm`] tells a busy peer from a hostile one by what
//! [`frames`] has counted. The crate itself refuses what breaks
//! RFC 9113 in frames, header compression, pseudo headers and lengths.

mod calm;
pub(crate) mod client;
mod frames;
mod io;
pub(crate) mod links;
mod message;
mod recent;
pub(crate) mod server;
mod stream;
mod workers;

pub(crate) use links::{Links, NoPlace};
pub(crate) use workers::Workers;

/// What a client of HTTP/2 sends first (RFC 9113 §3.4).
pub(crate) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
