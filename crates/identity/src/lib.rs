//! Who somebody is. So far: the development certificate authority, which vouches for names of this machine
//! so that a browser on it trusts a gateway with TLS.
//!
//! It knows neither routes nor sockets: certificates and keys are text (PEM), and where they are kept is said
//! by the caller.
//!
//! - [`development`]: the authority, its files, the certificates it issues;
//! - [`names`]: for whom it may vouch.

pub mod development;
pub mod names;

pub use development::{Certificate, DevelopmentAuthority, OpenError};
pub use names::{BadName, Name};
