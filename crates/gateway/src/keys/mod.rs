//! Keys that tokens are checked with: what each is good for, and which of them a token means.
//!
//! The algorithm is a property of the key (RFC 8725 §3.1): a public key cannot be used as a shared secret, and
//! for `none` there is no key. What the token says must merely agree.

mod error;
mod file;
mod jwks;
mod pem;
mod secret;

use std::sync::atomic::{AtomicU64, Ordering};

use manifest::spec::JwtKeys;
use ring::signature::{self, UnparsedPublicKey};
use ring::{agreement, hmac, rsa};

pub use error::KeyError;
pub(crate) use file::{Seen, Watched};

/// Keys of one file at most.
pub(crate) const MAX_KEYS: usize = 100;

/// Keys that are tried for one token that does not say which.
const MAX_TRIES: usize = 4;

/// Bytes of a shared secret at least (RFC 7518 §3.2): as many as its hash has.
pub(crate) const MIN_SECRET: usize = 32;

/// The keys of one file, as they were read at one time.
#[derive(Debug)]
pub(crate) struct Keys {
    /// Different for all keys ever read in this process: what was checked under others is not believed.
    pub(crate) generation: u64,
    keys: Vec<Key>,
}

/// One key.
#[derive(Debug)]
pub(crate) struct Key {
    /// Its name, by which tokens ask for it; a file with one key has none.
    pub(crate) kid: Option<String>,
    pub(crate) material: Material,
}

/// What of a key is needed to check signatures.
pub(crate) enum Material {
    /// EdDSA on Curve25519 (RFC 8037).
    Ed25519([u8; 32]),
    /// ES256: an uncompressed point of P-256.
    P256([u8; 65]),
    /// RS256: modulus and exponent, big endian, without leading zeros.
    Rsa { n: Vec<u8>, e: Vec<u8> },
    /// HS256.
    Secret(hmac::Key),
}

/// Why no key is right for a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoKey {
    /// None has the name that the token asks for.
    Unknown,
    /// Those that could be meant are for other algorithms.
    Algorithm,
}

impl Keys {
    pub(crate) fn new(keys: Vec<Key>) -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        Self { generation: LAST.fetch_add(1, Ordering::Relaxed) + 1, keys }
    }

    /// Reads what a key file holds.
    pub(crate) fn parse(source: &JwtKeys, bytes: &[u8]) -> Result<Vec<Key>, KeyError> {
        let path = file::path(source);
        let keys = match source {
            JwtKeys::Jwks(_) => jwks::read(bytes),
            JwtKeys::PublicKey(_) => pem::read(bytes).map(|key| vec![key]),
            JwtKeys::Secret(_) => return secret::read(path, bytes).map(|key| vec![key]),
        };
        keys.map_err(|reason| KeyError::NotUnderstood { path: path.to_owned(), reason })
    }

    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// The keys that a token may be signed with: those it names, else (it names none, or the file names none)
    /// all of its algorithm, up to [`MAX_TRIES`].
    pub(crate) fn candidates(&self, alg: &str, kid: Option<&str>) -> Result<Vec<&Key>, NoKey> {
        // A name that a key has is no way to a key without a name.
        let named = kid.filter(|kid| self.keys.iter().any(|key| key.kid.as_deref() == Some(*kid)));
        let meant = |key: &&Key| kid.is_none() || key.kid.as_deref() == named;
        let meant: Vec<&Key> = self.keys.iter().filter(meant).collect();
        if meant.is_empty() {
            return Err(NoKey::Unknown);
        }
        let fit = meant.into_iter().filter(|key| key.material.takes(alg)).take(MAX_TRIES);
        let fit: Vec<&Key> = fit.collect();
        if fit.is_empty() { Err(NoKey::Algorithm) } else { Ok(fit) }
    }
}

impl Material {
    /// Whether `alg` of a token is this key's algorithm (RFC 7518 §3.1, RFC 8037 §3.1, RFC 9864 §2.2).
    pub(crate) fn takes(&self, alg: &str) -> bool {
        match self {
            Self::Ed25519(_) => matches!(alg, "EdDSA" | "Ed25519"),
            Self::P256(_) => alg == "ES256",
            Self::Rsa { .. } => alg == "RS256",
            Self::Secret(_) => alg == "HS256",
        }
    }

    /// Whether `signature` is this key's on `message`.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Ed25519(key) => {
                UnparsedPublicKey::new(&signature::ED25519, key).verify(message, signature).is_ok()
            }
            Self::P256(point) => UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point)
                .verify(message, signature)
                .is_ok(),
            Self::Rsa { n, e } => rsa::PublicKeyComponents { n, e }
                .verify(&signature::RSA_PKCS1_2048_8192_SHA256, message, signature)
                .is_ok(),
            Self::Secret(key) => hmac::verify(key, message, signature).is_ok(),
        }
    }

    pub(crate) fn ed25519(bytes: &[u8]) -> Result<Self, String> {
        bytes.try_into().map(Self::Ed25519).map_err(|_| "an Ed25519 key has 32 bytes".to_owned())
    }

    /// A point of P-256, proven to be one: ring refuses to agree on a key with anything else.
    pub(crate) fn p256(point: &[u8]) -> Result<Self, String> {
        let bad = || "it is no uncompressed point of P-256".to_owned();
        let bytes = point.try_into().map_err(|_| bad())?;
        let random = ring::rand::SystemRandom::new();
        let ours = agreement::EphemeralPrivateKey::generate(&agreement::ECDH_P256, &random);
        let theirs = agreement::UnparsedPublicKey::new(&agreement::ECDH_P256, point);
        let ours = ours.map_err(|_| "there is no randomness to test it with".to_owned())?;
        agreement::agree_ephemeral(ours, &theirs, |_| ()).map_err(|_| bad())?;
        Ok(Self::P256(bytes))
    }

    /// An RSA key within the bounds that ring checks at every signature.
    pub(crate) fn rsa(n: &[u8], e: &[u8]) -> Result<Self, String> {
        let n: Vec<u8> = n.iter().copied().skip_while(|byte| *byte == 0).collect();
        let e: Vec<u8> = e.iter().copied().skip_while(|byte| *byte == 0).collect();
        let bits = n.first().map_or(0, |first| n.len() * 8 - first.leading_zeros() as usize);
        if !(2048..=8192).contains(&bits) {
            return Err(format!("an RSA key has 2048 to 8192 bits, this one {bits}"));
        }
        let odd = |bytes: &[u8]| bytes.last().is_some_and(|byte| byte % 2 == 1);
        let exponent = e.iter().take(8).fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
        if !odd(&n) || !odd(&e) || !(3..1 << 33).contains(&exponent) || e.len() > 5 {
            return Err("its modulus or exponent is impossible".to_owned());
        }
        Ok(Self::Rsa { n, e })
    }

    /// A shared secret.
    pub(crate) fn secret(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() < MIN_SECRET {
            let length = bytes.len();
            return Err(format!("a secret for HS256 has at least {MIN_SECRET} bytes, this one {length}"));
        }
        Ok(Self::Secret(hmac::Key::new(hmac::HMAC_SHA256, bytes)))
    }
}

impl std::fmt::Debug for Material {
    /// Which kind; never what.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Ed25519(_) => "Ed25519(…)",
            Self::P256(_) => "P256(…)",
            Self::Rsa { .. } => "Rsa(…)",
            Self::Secret(_) => "Secret(…)",
        })
    }
}

#[cfg(test)]
mod tests;
