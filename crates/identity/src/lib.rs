//! Who somebody is and what they may do: the development certificate authority, which vouches for names of this
//! machine so that a browser on it trusts a gateway with TLS; credentials of services and of people outside; the
//! signatures that AWS clients make with them; and policies.
//!
//! It knows neither routes nor sockets: certificates and keys are text (PEM), requests are what others have read,
//! and where anything is kept is said by the caller. Time is an argument.
//!
//! - [`development`]: the authority, its files, the certificates it issues;
//! - [`names`]: for whom it may vouch;
//! - [`credentials`]: access keys, secrets, principals;
//! - [`grant`]: what a key for the outside may do;
//! - [`keybook`]: who has which key; [`record`]: keys for the outside as they are stored;
//! - [`signing`]: the key that is signed with, for others to verify;
//! - [`sigv4`]: whether a request is from whom it says;
//! - [`policy`]: who may do what, in the JSON grammar of IAM;
//! - [`access`]: what the platform decides of owners, grants and policies.

pub mod access;
pub mod credentials;
pub mod development;
pub mod grant;
pub mod keybook;
pub mod names;
pub mod policy;
pub mod record;
mod sessions;
pub mod signing;
pub mod sigv4;
mod text;

pub use access::{Access, Grants, Mode, Verb, Verbs, decide};
pub use credentials::{AccessKey, Credentials, Principal, Secret};
pub use development::{Certificate, DevelopmentAuthority, OpenError};
pub use grant::{BadGrant, Grant, PipeKind};
pub use keybook::{KeyBook, NodeSecret};
pub use names::{BadName, Name};
pub use policy::{Caller, Policy};
pub use record::KeyRecord;
pub use signing::{SigningKey, SigningRecord};
