//! A JSON Web Key Set (RFC 7517 §5). Keys for other uses and algorithms, and keys that cannot be used, may stand
//! in it and are passed over, as §5 asks.

use std::collections::HashSet;

use serde::Deserialize;

use super::{Key, MAX_KEYS, Material};
use crate::bearer::base64url;

#[derive(Deserialize)]
struct Set {
    keys: Vec<Jwk>,
}

/// The public members of a key (RFC 7517 §4, RFC 7518 §6, RFC 8037 §2).
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    kid: Option<String>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    n: Option<String>,
    e: Option<String>,
    k: Option<String>,
}

/// Reads a set. The error is a fragment that says why it cannot be used.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<Key>, String> {
    let set: Set = serde_json::from_slice(bytes).map_err(|error| format!("it is no JWKS ({error})"))?;
    if set.keys.len() > MAX_KEYS {
        return Err(format!("it has {} keys, {MAX_KEYS} are the most", set.keys.len()));
    }
    let mut keys = Vec::new();
    let mut broken = None;
    for (index, jwk) in set.keys.iter().enumerate() {
        match jwk.read() {
            Ok(key) => keys.extend(key),
            Err(reason) => {
                let number = || format!("number {}", index + 1);
                let name = jwk.kid.as_ref().map_or_else(number, |kid| format!("`{kid}`"));
                tracing::warn!("a key of a JWKS is passed over: {name}: {reason}");
                broken.get_or_insert(format!("key {name}: {reason}"));
            }
        }
    }
    if keys.is_empty() {
        let none = || "none of its keys is for EdDSA (Ed25519), ES256, RS256 or HS256".to_owned();
        return Err(broken.unwrap_or_else(none));
    }
    let mut names = HashSet::new();
    for key in &keys {
        let alg = std::mem::discriminant(&key.material);
        if let Some(kid) = key.kid.as_ref().filter(|kid| !names.insert((*kid, alg))) {
            return Err(format!("two keys of one kind are called `{kid}`"));
        }
    }
    Ok(keys)
}

impl Jwk {
    /// `None`: it is for something else.
    fn read(&self) -> Result<Option<Key>, String> {
        let signs = self.usage.as_deref().is_none_or(|usage| usage == "sig");
        // Some issuers publish `sign` for the key they sign with.
        let ops = self.key_ops.as_ref();
        let verifies = ops.is_none_or(|ops| ops.iter().any(|op| op == "verify" || op == "sign"));
        if !signs || !verifies {
            return Ok(None);
        }
        let takes = |alg: &str| self.alg.as_deref().is_none_or(|have| have == alg);
        let crv = self.crv.as_deref();
        let material = match self.kty.as_str() {
            "OKP" if crv == Some("Ed25519") && (takes("EdDSA") || takes("Ed25519")) => {
                Material::ed25519(&bytes("x", &self.x)?)
            }
            "EC" if crv == Some("P-256") && takes("ES256") => {
                let (x, y) = (bytes("x", &self.x)?, bytes("y", &self.y)?);
                if x.len() != 32 || y.len() != 32 {
                    return Err("the coordinates of P-256 have 32 bytes".to_owned());
                }
                Material::p256(&[&[4][..], &x, &y].concat())
            }
            "RSA" if takes("RS256") => Material::rsa(&bytes("n", &self.n)?, &bytes("e", &self.e)?),
            "oct" if takes("HS256") => Material::secret(&bytes("k", &self.k)?),
            _ => return Ok(None),
        };
        Ok(Some(Key { kid: self.kid.clone(), material: material? }))
    }
}

fn bytes(name: &str, value: &Option<String>) -> Result<Vec<u8>, String> {
    let text = value.as_deref().ok_or_else(|| format!("it has no `{name}`"))?;
    base64url::decode(text.as_bytes()).ok_or_else(|| format!("its `{name}` is not base64url"))
}
