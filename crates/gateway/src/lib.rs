//! What only the edge does, as filters for the proxy's routes. So far: who may come in ([`bearer`]).
//!
//! In the order to read:
//!
//! - [`edge`]: all of it for one app, as the node uses it: made from the file, kept up to date;
//! - [`bearer`]: the filter, and what it answers; `bearer::authenticator` is the function to read;
//! - `bearer::token`, `bearer::claims`, `bearer::base64url`: what a token is, and what is none;
//! - [`keys`]: keys from a file, which of them a token means, and when the file has changed;
//! - `bearer::cache`, `bearer::fingerprint`: tokens that were checked are not checked again;
//! - `bearer::throttle`: what strangers may cost.
//!
//! Signatures are checked with ring directly. What a JWT library would add is small (three parts, two JSON
//! objects) and is what has to be strict: no member twice, one way only to write base64, an algorithm that
//! comes from the key. Such a library would also bring a provider of algorithms to be installed at run time;
//! without one it panics at the first token.

pub mod bearer;
pub mod edge;
pub mod keys;

#[cfg(test)]
#[path = "../tests/signer/mod.rs"]
mod signer;

pub use edge::{Edge, EdgeError, News};
