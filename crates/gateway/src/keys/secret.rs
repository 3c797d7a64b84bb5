//! A shared secret: the bytes of a file.

use std::path::Path;

use super::{Key, KeyError, Material};

/// Reads a secret. White space at the end is left out: editors and `echo` put a line feed there.
pub(super) fn read(path: &Path, bytes: &[u8]) -> Result<Key, KeyError> {
    let weak = |reason: String| KeyError::WeakSecret { path: path.to_owned(), reason };
    let secret = bytes.trim_ascii_end();
    // What everybody knows is no secret: whoever has a public key could sign with it.
    if secret.windows(PEM.len()).any(|window| window == PEM) {
        return Err(weak("it is a PEM file; a public key goes under `key`".to_owned()));
    }
    let material = Material::secret(secret).map_err(weak)?;
    Ok(Key { kid: None, material })
}

const PEM: &[u8] = b"-----BEGIN ";
