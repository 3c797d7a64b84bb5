//! The faces that AWS clients know, over pipes: each decodes a request, calls the pipes, encodes what they say. Protocols end
//! here.
//!
//! Read in this order: [`server`] (from a connection to a face and back), [`face`] (what a face is), [`gate`] (who comes in),
//! [`sqs`] (queues), [`sns`] (topics); [`names`] are URLs and ARNs; `form`, `encode`, `text`, `base64` and `digest` are how it is written,
//! `trace` is where it stands in traces.

pub mod face;
pub mod gate;
pub mod names;
pub mod request_id;
pub mod server;
pub mod sns;
pub mod sqs;
pub mod witness;

mod base64;
mod digest;
mod encode;
mod form;
mod text;
mod trace;

pub use encode::Protocol;
pub use gate::{AllowAll, Caller, Denied, Gatekeeper, Lent, RequestView, Resource};
pub use server::{Limits, Options, Server};
pub use sns::Sns;
pub use sqs::Sqs;
pub use witness::{Exchange, Unseen, Witness};
