//! A certificate with its key, from PEM: what is wrong with it is told here, not by a client's browser.

use std::sync::Arc;
use std::time::Duration;

use kit::{Explain, Help, Timestamp};
use rustls::crypto::ring::default_provider;
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// Certificates of one chain at most. Real chains have two to four; a file with more is usually a
/// collection of trusted roots.
pub const CHAIN_MAX: usize = 16;

/// From when on it is remarked that a certificate is going to expire.
const EXPIRES_SOON: Duration = Duration::from_secs(14 * 24 * 3600);

/// Whose file a fault is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The certificates.
    Chain,
    /// The private key.
    Key,
}

/// Why a certificate cannot be used. Which files they are is known to whoever has read them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// No `BEGIN CERTIFICATE`, or one that cannot be read.
    #[error("no certificate can be read: {why}")]
    Certificate {
        /// What is wrong.
        why: String,
    },
    /// No private key, or one that cannot be used.
    #[error("no private key can be read: {why}")]
    Key {
        /// What is wrong.
        why: String,
    },
    /// Two files that do not belong together.
    #[error("the private key does not belong to the first certificate ({subject})")]
    Mismatch {
        /// Whom the certificate is for.
        subject: String,
    },
}

impl ChainError {
    /// The file that a person should look at first.
    pub fn part(&self) -> Part {
        match self {
            Self::Certificate { .. } => Part::Chain,
            Self::Key { .. } | Self::Mismatch { .. } => Part::Key,
        }
    }
}

impl Explain for ChainError {
    fn help(&self) -> Help {
        match self {
            Self::Certificate { .. } => {
                Help::code("A0750").hint("write PEM there: the server's certificate first, then its issuers")
            }
            Self::Key { .. } => Help::code("A0751")
                .hint("write one PEM key there without a passphrase: RSA, P-256, P-384, Ed25519"),
            Self::Mismatch { .. } => Help::code("A0752").hint(
                "use the key that the certificate was requested with; put the server's \
                                          certificate first in its file",
            ),
        }
    }
}

/// A certificate, its issuers and its private key, found to belong together.
#[derive(Clone, Debug)]
pub struct CertifiedChain {
    pub(super) key: Arc<CertifiedKey>,
    names: Vec<String>,
    not_before: Timestamp,
    not_after: Timestamp,
    ordered: bool,
}

impl CertifiedChain {
    /// Reads both from PEM. The key may be PKCS#8, PKCS#1 or SEC1.
    ///
    /// # Errors
    /// When either cannot be used, or they do not belong together. An expired certificate is none: see
    /// [`Self::remark`].
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, ChainError> {
        let certificates = certificates(chain)?;
        let facts = Facts::of(&certificates)?;
        let key = private_key(key)?;
        let key =
            CertifiedKey::from_der(certificates, key, &default_provider()).map_err(|error| match error {
                Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                    ChainError::Mismatch { subject: facts.subject.clone() }
                }
                Error::InvalidCertificate(why) => ChainError::Certificate { why: format!("{why:?}") },
                other => ChainError::Key { why: kind_of_key(&other) },
            })?;
        let Facts { names, not_before, not_after, ordered, .. } = facts;
        Ok(Self { key: Arc::new(key), names, not_before, not_after, ordered })
    }

    /// The DNS names it is for, lower case.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// When it expires.
    pub fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// Whether both are the same certificates. The key is then the same, too, for it belongs to the first.
    pub fn is_same(&self, other: &Self) -> bool {
        self.key.cert == other.key.cert
    }

    /// The server's own certificate in DER.
    #[cfg(test)]
    pub(super) fn leaf(&self) -> &[u8] {
        self.key.cert[0].as_ref()
    }

    /// What a client is going to mind, though it can be served: for a warning.
    pub fn remark(&self, now: Timestamp) -> Option<String> {
        let days = |time: Duration| time.as_secs() / (24 * 3600);
        if now > self.not_after {
            let ago = days(now.since(self.not_after));
            return Some(format!("it expired on {} ({ago} days ago)", date(self.not_after)));
        }
        // Of one that lives for days only, the last third.
        let soon = EXPIRES_SOON.min(self.not_after.since(self.not_before) / 3);
        if now + soon > self.not_after {
            let left = days(self.not_after.since(now));
            return Some(format!("it expires on {} (in {left} days)", date(self.not_after)));
        }
        if now < self.not_before {
            return Some(format!("it is not valid before {}", date(self.not_before)));
        }
        if !self.ordered {
            return Some(
                "its chain is out of order: each certificate should be followed by its issuer".to_owned(),
            );
        }
        None
    }
}

/// The day of a moment: `2026-11-21`.
fn date(moment: Timestamp) -> String {
    moment.to_string().chars().take(10).collect()
}

/// What the certificates themselves say.
struct Facts {
    subject: String,
    names: Vec<String>,
    not_before: Timestamp,
    not_after: Timestamp,
    ordered: bool,
}

impl Facts {
    fn of(certificates: &[CertificateDer<'_>]) -> Result<Self, ChainError> {
        let mut parsed = Vec::with_capacity(certificates.len());
        for (index, der) in certificates.iter().enumerate() {
            let (_, certificate) = X509Certificate::from_der(der).map_err(|_| ChainError::Certificate {
                why: format!("number {} in the file is not an X.509 certificate", index + 1),
            })?;
            parsed.push(certificate);
        }
        let Some(leaf) = parsed.first() else {
            return Err(ChainError::Certificate { why: "the file has none".to_owned() });
        };
        let san = leaf.subject_alternative_name().ok().flatten();
        let names = san.iter().flat_map(|san| &san.value.general_names).filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            _ => None,
        });
        let moment = |seconds: i64| {
            Timestamp::from_micros(u64::try_from(seconds).unwrap_or_default().saturating_mul(1_000_000))
        };
        Ok(Self {
            subject: leaf.subject().to_string(),
            names: names.collect(),
            not_before: moment(leaf.validity().not_before.timestamp()),
            not_after: moment(leaf.validity().not_after.timestamp()),
            ordered: parsed.windows(2).all(|pair| pair[0].issuer() == pair[1].subject()),
        })
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, ChainError> {
    let mut chain = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        if chain.len() == CHAIN_MAX {
            let why = format!("the file has more than {CHAIN_MAX}, which looks like a list of trusted roots");
            return Err(ChainError::Certificate { why });
        }
        chain.push(certificate.map_err(|error| ChainError::Certificate { why: broken(&error) })?);
    }
    if chain.is_empty() {
        let why = if PrivateKeyDer::from_pem_slice(pem).is_ok() {
            "the file has a private key in the certificate's place"
        } else {
            "the file has no `-----BEGIN CERTIFICATE-----`"
        };
        return Err(ChainError::Certificate { why: why.to_owned() });
    }
    Ok(chain)
}

fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, ChainError> {
    let has = |text: &str| pem.windows(text.len()).any(|window| window == text.as_bytes());
    if has("BEGIN ENCRYPTED PRIVATE KEY") || has("Proc-Type: 4,ENCRYPTED") {
        return Err(ChainError::Key { why: "it is encrypted with a passphrase".to_owned() });
    }
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| match error {
        pem::Error::NoItemsFound if has("BEGIN CERTIFICATE") => {
            ChainError::Key { why: "the file has a certificate in the key's place".to_owned() }
        }
        pem::Error::NoItemsFound => {
            ChainError::Key { why: "the file has no `-----BEGIN PRIVATE KEY-----`".to_owned() }
        }
        error => ChainError::Key { why: broken(&error) },
    })
}

/// What is wrong with a PEM file, without its bytes: they may be those of a key.
fn broken(error: &pem::Error) -> String {
    match error {
        pem::Error::MissingSectionEnd { .. } => {
            "the file is cut off: a `-----END` line is missing".to_owned()
        }
        pem::Error::IllegalSectionStart { .. } => "a `-----BEGIN` line is malformed".to_owned(),
        pem::Error::Base64Decode(_) => {
            "between `-----BEGIN` and `-----END` is something else than base64".to_owned()
        }
        _ => "the file is not PEM".to_owned(),
    }
}

/// What kind of key it is that cannot be used. The text of the library says no more than that it failed.
fn kind_of_key(error: &Error) -> String {
    tracing::debug!("private key: {error}");
    "it is damaged or of a kind that is not supported (RSA of 2048 bits and more, P-256, P-384, Ed25519 are)"
        .to_owned()
}
