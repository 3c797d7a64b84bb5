//! The development certificate authority: made once per user, trusted once, used by every app.
//!
//! Its directory has three files: `ca.pem` (the certificate, for everybody to read), `ca-key.pem` (the key,
//! mode 0600) and `lock`. What it issues is never written anywhere: a node that starts asks for new ones.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use kit::{Explain, Help, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints, PKCS_ECDSA_P256_SHA256,
    PublicKeyData, SanType,
};
use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::names::{NETWORKS, Name, SUFFIXES};

/// Its certificate.
pub const CERTIFICATE: &str = "ca.pem";
/// Its key.
pub const KEY: &str = "ca-key.pem";
/// Held while the files are made or read.
const LOCK: &str = "lock";

/// What its certificate is called, with the first digits of its key's digest.
const TITLE: &str = "Atoll development CA";

/// How long the authority lives: trusting it is done by hand, so it should not have to be repeated.
pub const LIFETIME: Duration = Duration::from_secs(3650 * DAY);
/// How long what it issues is valid.
pub const LEAF_LIFETIME: Duration = Duration::from_secs(90 * DAY);
/// What it issues is made anew when no more than this is left.
pub const LEAF_RENEW: Duration = Duration::from_secs(30 * DAY);
/// Certificates are valid from this long before they are made: clocks differ.
const BACKDATE: Duration = Duration::from_secs(3600);
const DAY: u64 = 24 * 3600;

/// How long another process may take to make the files.
const LOCK_WAIT: Duration = Duration::from_secs(5);
const LOCK_POLL: Duration = Duration::from_millis(10);
/// Files of an authority are not longer.
const FILE_MAX: u64 = 64 * 1024;

/// A certificate that the authority has issued, with its key.
#[derive(Clone)]
pub struct Certificate {
    /// The certificate, PEM. The authority's own is not in it: who trusts it has it.
    pub chain: String,
    /// Its private key, PEM (PKCS#8).
    pub key: String,
    /// When to ask for another.
    pub renew_at: Timestamp,
}

impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificate").field("renew_at", &self.renew_at).finish_non_exhaustive()
    }
}

/// Why the authority cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A file or directory cannot be read or written.
    #[error("cannot use the development authority's `{}`", .path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Its files are not what was written.
    #[error("the development authority's `{}` is damaged: {why}", .path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// Others than its owner can read the key.
    #[error("the development authority's `{}` can be read by others (mode {mode:03o})", .path.display())]
    Exposed {
        /// The key.
        path: PathBuf,
        /// The permissions that it has.
        mode: u32,
    },
    /// Its time is over.
    #[error("the development authority in `{}` has expired", .path.display())]
    Expired {
        /// Its directory.
        path: PathBuf,
    },
    /// Something in the making failed: the machine has no randomness.
    #[error("cannot make a certificate: {0}")]
    Make(String),
}

impl OpenError {
    fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }

    fn damaged(path: &Path, why: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_owned(), why: why.into() }
    }
}

impl Explain for OpenError {
    fn help(&self) -> Help {
        match self {
            Self::Io { .. } => {
                Help::code("A0643").hint("make it accessible, or name another directory with `ATOLL_CA_DIR`")
            }
            Self::Damaged { .. } => {
                Help::code("A0644").hint("remove the directory: a new authority is made, to be trusted anew")
            }
            Self::Exposed { path, .. } => Help::code("A0644").hint(format!(
                "if nobody else has read it, `chmod 600 {}`; else remove the directory",
                path.display()
            )),
            Self::Expired { .. } => {
                Help::code("A0644").hint("remove the directory: a new authority is made, to be trusted anew")
            }
            Self::Make(_) => Help::code("A0643").hint("`atoll doctor` checks this machine"),
        }
    }
}

/// Where a user's authority is: `ATOLL_CA_DIR`, else `atoll/ca` where the user's data belongs (XDG base
/// directories). `None` for a user without a home. One for all apps, so that it is trusted once.
pub fn usual_directory(variable: impl Fn(&str) -> Option<std::ffi::OsString>) -> Option<PathBuf> {
    let set = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(path) = set("ATOLL_CA_DIR") {
        return Some(path);
    }
    // A relative XDG_DATA_HOME is to be ignored, says its specification.
    let data = set("XDG_DATA_HOME").filter(|path| path.is_absolute());
    let data = data.or_else(|| Some(set("HOME")?.join(".local/share")))?;
    Some(data.join("atoll").join("ca"))
}

/// The authority, open.
pub struct DevelopmentAuthority {
    directory: PathBuf,
    pem: String,
    fingerprint: String,
    not_after: Timestamp,
    issuer: Issuer<'static, KeyPair>,
}

impl DevelopmentAuthority {
    /// Opens the authority in a directory, which is made together with it if it is not there. Blocks for a
    /// few milliseconds, and for no more than five seconds while another process makes it.
    ///
    /// # Errors
    /// When files cannot be read or written, or are not what was written.
    pub fn open(directory: &Path, now: Timestamp) -> Result<Self, OpenError> {
        DirBuilder::new().recursive(true).mode(0o755).create(directory).map_err(OpenError::io(directory))?;
        let _lock = lock(&directory.join(LOCK))?;
        let certificate = directory.join(CERTIFICATE);
        // Without a certificate nobody can trust this authority: a key alone is what an interrupted
        // making has left, or an owner who wants another.
        if !certificate.try_exists().map_err(OpenError::io(&certificate))? {
            make(directory, now)?;
        }
        read(directory, now)
    }

    /// Its certificate, PEM: what is to be trusted.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Where its certificate is.
    pub fn certificate_path(&self) -> PathBuf {
        self.directory.join(CERTIFICATE)
    }

    /// The SHA-256 of its certificate, as browsers show it: `AB:CD:…`.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// When its time is over.
    pub fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// Issues a certificate for these names, with a key of its own.
    ///
    /// # Errors
    /// When the machine has no randomness.
    pub fn issue(&self, names: &[Name], now: Timestamp) -> Result<Certificate, OpenError> {
        let failed = |error: rcgen::Error| OpenError::Make(error.to_string());
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(failed)?;
        let mut params = CertificateParams::default();
        let end = (now + LEAF_LIFETIME).min(self.not_after);
        set_validity(&mut params, now - BACKDATE, end);
        // For people. OpenSSL takes it for a DNS name, to be held against the constraints, where it looks like
        // one and no other is there; an address does, so it stands behind a word.
        params.distinguished_name = titled(match names.first() {
            Some(Name::Dns(name)) => name.clone(),
            Some(Name::Ip(address)) => format!("address {address}"),
            None => String::new(),
        });
        for name in names {
            params.subject_alt_names.push(match name {
                Name::Ip(address) => SanType::IpAddress(*address),
                Name::Dns(name) => SanType::DnsName(name.as_str().try_into().map_err(failed)?),
            });
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &self.issuer).map_err(failed)?;
        let renew_at = end - LEAF_RENEW;
        Ok(Certificate { chain: certificate.pem(), key: key.serialize_pem(), renew_at })
    }
}

impl std::fmt::Debug for DevelopmentAuthority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DevelopmentAuthority").field("directory", &self.directory).finish_non_exhaustive()
    }
}

/// Makes an authority: the key first, for the certificate is what says that there is one.
fn make(directory: &Path, now: Timestamp) -> Result<(), OpenError> {
    let failed = |error: rcgen::Error| OpenError::Make(error.to_string());
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(failed)?;
    let digest = Sha256::digest(key.subject_public_key_info());
    let mark: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();

    let mut params = CertificateParams::default();
    set_validity(&mut params, now - BACKDATE, now + LIFETIME);
    params.distinguished_name = titled(format!("{TITLE} {mark}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)); // it issues no further authorities
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let names = SUFFIXES.iter().map(|suffix| GeneralSubtree::DnsName((*suffix).to_owned()));
    let networks = NETWORKS.iter();
    let networks =
        networks.map(|(net, len)| GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(*net, *len)));
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: names.chain(networks).collect(),
        excluded_subtrees: Vec::new(),
    });
    let certificate = params.self_signed(&key).map_err(failed)?;

    write_whole(&directory.join(KEY), key.serialize_pem().as_bytes(), 0o600)?;
    write_whole(&directory.join(CERTIFICATE), certificate.pem().as_bytes(), 0o644)?;
    sync_directory(directory)
}

fn read(directory: &Path, now: Timestamp) -> Result<DevelopmentAuthority, OpenError> {
    let (certificate_path, key_path) = (directory.join(CERTIFICATE), directory.join(KEY));
    let pem = read_text(&certificate_path)?;
    let key_pem = match read_text(&key_path) {
        Err(OpenError::Io { path, source }) if source.kind() == io::ErrorKind::NotFound => {
            return Err(OpenError::Damaged { path, why: "it is not there".to_owned() });
        }
        text => text?,
    };
    let mode = fs::metadata(&key_path).map_err(OpenError::io(&key_path))?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(OpenError::Exposed { path: key_path, mode });
    }
    let key = KeyPair::from_pem(&key_pem)
        .map_err(|_| OpenError::damaged(&key_path, "it is not a private key in PEM"))?;
    let no_certificate = || OpenError::damaged(&certificate_path, "it is not a certificate in PEM");
    let (_, parsed_pem) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).map_err(|_| no_certificate())?;
    let der = parsed_pem.contents;
    let (_, parsed) = X509Certificate::from_der(&der).map_err(|_| no_certificate())?;
    if parsed.public_key().raw != key.subject_public_key_info() {
        return Err(OpenError::damaged(&key_path, format!("it is not the key of `{CERTIFICATE}`")));
    }
    if !parsed.is_ca() {
        return Err(OpenError::damaged(&certificate_path, "it is not the certificate of an authority"));
    }
    let not_after = u64::try_from(parsed.validity().not_after.timestamp()).unwrap_or_default();
    let not_after = Timestamp::from_micros(not_after.saturating_mul(1_000_000));
    if now + LEAF_RENEW >= not_after {
        return Err(OpenError::Expired { path: directory.to_owned() });
    }
    let fingerprint: Vec<String> = Sha256::digest(&der).iter().map(|byte| format!("{byte:02X}")).collect();
    let issuer = Issuer::from_ca_cert_pem(&pem, key).map_err(|_| no_certificate())?;
    let fingerprint = fingerprint.join(":");
    Ok(DevelopmentAuthority { directory: directory.to_owned(), pem, fingerprint, not_after, issuer })
}

fn titled(common_name: String) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, TITLE);
    name.push(DnType::CommonName, common_name);
    name
}

/// To the second: certificates know no finer.
pub(crate) fn set_validity(params: &mut CertificateParams, from: Timestamp, to: Timestamp) {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + Duration::from_secs(from.as_micros() / 1_000_000);
    params.not_after = epoch + Duration::from_secs(to.as_micros() / 1_000_000);
}

/// Takes the lock; it is free again when the file is dropped, and also when a process dies.
fn lock(path: &Path) -> Result<File, OpenError> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path);
    let file = file.map_err(OpenError::io(path))?;
    for _ in 0..(LOCK_WAIT.as_millis() / LOCK_POLL.as_millis()) {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_POLL),
            Err(TryLockError::Error(source)) => return Err(OpenError::io(path)(source)),
        }
    }
    Err(OpenError::io(path)(io::Error::new(io::ErrorKind::TimedOut, "another process holds it")))
}

fn read_text(path: &Path) -> Result<String, OpenError> {
    let size = fs::metadata(path).map_err(OpenError::io(path))?.len();
    if size > FILE_MAX {
        return Err(OpenError::damaged(path, format!("it has {size} bytes")));
    }
    let bytes = fs::read(path).map_err(OpenError::io(path))?;
    String::from_utf8(bytes).map_err(|_| OpenError::damaged(path, "it is not text"))
}

/// Replaces a file whole: written beside with its permissions, synced, renamed.
fn write_whole(path: &Path, bytes: &[u8], mode: u32) -> Result<(), OpenError> {
    let beside = path.with_extension("new");
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(OpenError::io(&beside)(error)),
        _ => {} // what an interrupted making has left might have other permissions
    }
    let written = || {
        let mut file = OpenOptions::new().create_new(true).write(true).mode(mode).open(&beside)?;
        file.set_permissions(fs::Permissions::from_mode(mode))?; // whatever the umask says
        file.write_all(bytes)?;
        file.sync_all()
    };
    written().map_err(OpenError::io(&beside))?;
    fs::rename(&beside, path).map_err(OpenError::io(path))
}

fn sync_directory(path: &Path) -> Result<(), OpenError> {
    File::open(path).and_then(|directory| directory.sync_all()).map_err(OpenError::io(path))
}

#[cfg(test)]
#[path = "development_tests.rs"]
mod tests;
