//! The key that a node signs what it tells others with, in a certificate that says so: RSA with 2,048 bits, because that is
//! what clients of the service it stands in for verify. Kept by the caller as a record whose key is sealed.
//!
//! Nothing is decrypted with it, ever: what is known of attacks on RSA in software begins with decrypting.

use std::time::Duration;

use kit::Timestamp;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, KeyUsagePurpose, PKCS_RSA_SHA256};
use ring::rand::SystemRandom;
use ring::signature::RSA_PKCS1_SHA256;
use rsa::PrivateKey;
use rsa::pkcs8::{DecodePrivateKey, EncodePrivateKey};
use rustls_pki_types::PrivatePkcs8KeyDer;
use serde::{Deserialize, Serialize};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use crate::development::set_validity;
use crate::keybook::KeyBook;

/// Bits of the key.
const BITS: usize = 2048;
/// How long the certificate says that it is good. Whoever verifies with it looks at its key; to have another, the record is
/// removed.
const LIFETIME: Duration = Duration::from_secs(20 * 365 * 24 * 3600);
/// From when on, for machines whose clocks are behind.
const BACKDATE: Duration = Duration::from_secs(24 * 3600);
/// The longest sealed key that is looked at.
const MOST_SEALED: usize = 8 * 1024;

/// Why there is no key to sign with.
#[derive(Debug, thiserror::Error)]
pub enum SigningError {
    /// The machine has no randomness, most likely.
    #[error("a key to sign with cannot be made: {0}")]
    Make(String),
    /// A record that was changed, or was made under another node secret.
    #[error("it cannot be opened: it was changed, or belongs to another node")]
    Sealed,
    /// A record of a later version.
    #[error("it has format {0}, which is of a later version")]
    Later(u8),
}

/// A key as it is stored. Who reads it without the secret of the node learns no key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SigningRecord {
    /// The format of this record: [`SigningRecord::VERSION`].
    pub version: u8,
    /// The certificate, in PEM.
    pub certificate: String,
    /// The key (PKCS #8), sealed (AES-256-GCM) and bound to the certificate, in base 64.
    pub sealed: String,
}

impl SigningRecord {
    /// The format that is written.
    pub const VERSION: u8 = 1;

    /// What the sealed key is bound to.
    fn bound(certificate: &str) -> Vec<u8> {
        [b"signing key\0", certificate.as_bytes()].concat()
    }
}

/// What is signed of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hash {
    /// SHA-1, for clients that know no other.
    Sha1,
    /// SHA-256.
    Sha256,
}

/// A key to sign with.
pub struct SigningKey {
    key: PrivateKey,
    /// The same key. It signs four times as fast, but not with SHA-1.
    quick: ring::rsa::KeyPair,
    random: SystemRandom,
    certificate: String,
    mark: String,
}

impl SigningKey {
    /// Makes a key, which takes a good part of a second, and what is to be stored of it. `title` is who signs, for people who
    /// look at the certificate.
    ///
    /// # Errors
    /// When the machine has no randomness.
    pub fn make(book: &KeyBook, title: &str, now: Timestamp) -> Result<(SigningRecord, Self), SigningError> {
        let failed = |error: &dyn std::error::Error| SigningError::Make(error.to_string());
        let key = PrivateKey::new(&mut rand::rng(), BITS).map_err(|error| failed(&error))?;
        let der = key.to_pkcs8_der().map_err(|error| failed(&error))?;
        let of_certificate = KeyPair::from_pkcs8_der_and_sign_algo(
            &PrivatePkcs8KeyDer::from(der.as_bytes()),
            &PKCS_RSA_SHA256,
        )
        .map_err(|error| failed(&error))?;
        let mut params = CertificateParams::default();
        set_validity(&mut params, now - BACKDATE, now + LIFETIME);
        let mut who = DistinguishedName::new();
        who.push(DnType::OrganizationName, "Atoll");
        who.push(DnType::CommonName, title);
        params.distinguished_name = who;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let certificate = params.self_signed(&of_certificate).map_err(|error| failed(&error))?.pem();
        let sealed =
            book.seal(der.as_bytes(), &SigningRecord::bound(&certificate)).map_err(|error| failed(&error))?;
        let record = SigningRecord { version: SigningRecord::VERSION, certificate, sealed };
        let made = Self::of(key, der.as_bytes(), record.certificate.clone());
        Ok((record, made.ok_or_else(|| SigningError::Make("it is no key".to_owned()))?))
    }

    /// Opens a key that was stored.
    ///
    /// # Errors
    /// When the record was not made by this node, or was changed.
    pub fn open(book: &KeyBook, record: &SigningRecord) -> Result<Self, SigningError> {
        let SigningRecord { version, certificate, sealed } = record;
        if *version != SigningRecord::VERSION {
            return Err(SigningError::Later(*version));
        }
        if sealed.len() > MOST_SEALED {
            return Err(SigningError::Sealed);
        }
        let mut der = book.unseal(sealed, &SigningRecord::bound(certificate)).ok_or(SigningError::Sealed)?;
        let key = PrivateKey::from_pkcs8_der(&der).ok();
        let opened = key.and_then(|key| Self::of(key, &der, certificate.clone()));
        der.fill(0);
        std::hint::black_box(&der); // else the compiler may leave out what nobody reads
        opened.ok_or(SigningError::Sealed)
    }

    fn of(key: PrivateKey, der: &[u8], certificate: String) -> Option<Self> {
        let quick = ring::rsa::KeyPair::from_pkcs8(der).ok()?;
        let digest = Sha256::digest(certificate.as_bytes());
        let mark = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        Some(Self { key, quick, random: SystemRandom::new(), certificate, mark })
    }

    /// RSA with PKCS #1 v1.5 over a text. Takes a millisecond or more: not where others wait.
    ///
    /// # Errors
    /// When the machine has no randomness.
    pub fn sign(&self, hash: Hash, text: &[u8]) -> Result<Vec<u8>, SigningError> {
        match hash {
            Hash::Sha1 => {
                self.key.pkcs1v15_sign::<Sha1>(text).map_err(|error| SigningError::Make(error.to_string()))
            }
            Hash::Sha256 => {
                let mut signature = vec![0; self.quick.public().modulus_len()];
                let signed = self.quick.sign(&RSA_PKCS1_SHA256, &self.random, text, &mut signature);
                signed.map_err(|error| SigningError::Make(error.to_string()))?;
                Ok(signature)
            }
        }
    }

    /// The certificate that signatures are verified with, in PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// What tells this key's certificate from all others: 32 hexadecimal digits.
    pub fn mark(&self) -> &str {
        &self.mark
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKey").field("mark", &self.mark).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use ring::signature::{
        RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey,
        VerificationAlgorithm,
    };
    use x509_parser::prelude::FromDer;

    use super::*;
    use crate::keybook::NodeSecret;

    const NOW: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

    fn book(secret: u8) -> KeyBook {
        KeyBook::new(&NodeSecret::new([secret; 32]), "shop")
    }

    /// Whether a signature holds, by another library and with what is in the certificate alone.
    fn holds(
        certificate: &str,
        by: &'static dyn VerificationAlgorithm,
        text: &[u8],
        signature: &[u8],
    ) -> bool {
        let (_, pem) = x509_parser::pem::parse_x509_pem(certificate.as_bytes()).unwrap();
        let (_, parsed) = x509_parser::certificate::X509Certificate::from_der(&pem.contents).unwrap();
        assert_eq!(parsed.subject(), parsed.issuer());
        let key = &parsed.public_key().subject_public_key.data;
        UnparsedPublicKey::new(by, key).verify(text, signature).is_ok()
    }

    #[test]
    fn what_is_signed_is_verified_by_others_and_the_key_comes_back_from_its_record() {
        let (record, made) = SigningKey::make(&book(1), "topics of `shop`", NOW).unwrap();
        let text = serde_json::to_string(&record).unwrap();
        let kept = SigningKey::open(&book(1), &serde_json::from_str(&text).unwrap()).unwrap();
        assert_eq!((kept.mark(), kept.certificate()), (made.mark(), made.certificate()));
        for key in [&made, &kept] {
            let one = key.sign(Hash::Sha1, b"hello").unwrap();
            let two = key.sign(Hash::Sha256, b"hello").unwrap();
            let (sha1, sha256): (&'static dyn VerificationAlgorithm, &'static dyn VerificationAlgorithm) =
                (&RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY, &RSA_PKCS1_2048_8192_SHA256);
            assert!(holds(key.certificate(), sha1, b"hello", &one));
            assert!(holds(key.certificate(), sha256, b"hello", &two));
            assert!(!holds(key.certificate(), sha256, b"hello", &one));
            assert!(!holds(key.certificate(), sha1, b"hullo", &one));
        }
        assert!(matches!(SigningKey::open(&book(2), &record), Err(SigningError::Sealed)));
        let other = SigningRecord { certificate: format!("{}\n", record.certificate), ..record.clone() };
        assert!(matches!(SigningKey::open(&book(1), &other), Err(SigningError::Sealed)));
        let cut = SigningRecord { sealed: record.sealed[..100].to_owned(), ..record.clone() };
        assert!(matches!(SigningKey::open(&book(1), &cut), Err(SigningError::Sealed)));
        assert!(matches!(
            SigningKey::open(&book(1), &SigningRecord { version: 2, ..record }),
            Err(SigningError::Later(2))
        ));
        assert!(!format!("{made:?}").contains("PrivateKey"));
    }
}
