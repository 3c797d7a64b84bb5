//! Why keys cannot be used.

use std::io;
use std::path::PathBuf;

use kit::{Explain, Help};

use super::file::MAX_BYTES;

/// Why the keys of a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read.
    #[error("cannot read the key file `{}`", .path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It holds no key, or none that Atoll can use.
    #[error("the key file `{}` holds no usable key: {reason}", .path.display())]
    NotUnderstood {
        /// Which.
        path: PathBuf,
        /// Why, as a fragment.
        reason: String,
    },
    /// It would be no secret.
    #[error("the secret in `{}` cannot be used: {reason}", .path.display())]
    WeakSecret {
        /// Which.
        path: PathBuf,
        /// Why, as a fragment.
        reason: String,
    },
}

impl Explain for KeyError {
    fn help(&self) -> Help {
        match self {
            Self::Read { .. } => Help::code("A0743").hint(format!(
                "`gateway.auth` must name a file of at most {} KiB that Atoll's user may read",
                MAX_BYTES / 1024
            )),
            Self::NotUnderstood { .. } => Help::code("A0744")
                .hint("give a JWKS with Ed25519, P-256 or RSA keys, or one key in `BEGIN PUBLIC KEY`"),
            Self::WeakSecret { .. } => {
                Help::code("A0745").hint("make one with `openssl rand -base64 48`, for this use alone")
            }
        }
    }
}
