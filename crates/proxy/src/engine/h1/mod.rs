//! HTTP/1.1 as Atoll speaks it. Pure, without a socket: [`parse`] reads heads, [`framing`] tells how a body
//! ends, [`chunked`] and [`decode`] take it apart, [`write`] puts heads and chunks together. What another
//! server might read in another way is a [`Fault`], each with a name; `differential` holds all of it against
//! a second implementation.

mod answer;
pub(crate) mod chunked;
pub(crate) mod client;
pub(crate) mod decode;
#[cfg(test)]
mod differential;
pub(crate) mod fault;
pub(crate) mod framing;
pub(crate) mod incoming;
pub(crate) mod parse;
pub(crate) mod server;
mod wire;
pub(crate) mod write;

pub(crate) use fault::Fault;
