//! The certificate that every proxy shows, and a client that trusts it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use rcgen::{CertificateParams, DnType, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};

/// Whom the certificate is for.
const NAME: &str = "bench.test";

/// An ECDSA P-256 certificate in files, in every form that somebody wants.
pub(crate) struct Certificate {
    /// PEM.
    pub(crate) cert: PathBuf,
    /// PEM.
    pub(crate) key: PathBuf,
    /// Both in one PEM file, as HAProxy reads them.
    pub(crate) both: PathBuf,
    /// Trusts it; TLS 1.3, nothing is resumed.
    pub(crate) client: Arc<ClientConfig>,
}

/// The name to ask for.
pub(crate) fn server_name() -> ServerName<'static> {
    match ServerName::try_from(NAME) {
        Ok(name) => name,
        Err(_) => ServerName::IpAddress(std::net::Ipv4Addr::LOCALHOST.into()), // NAME is one: not reached
    }
}

impl Certificate {
    /// Makes one in a folder.
    pub(crate) fn make(folder: &Path) -> anyhow::Result<Self> {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).context("make a key")?;
        let mut params = CertificateParams::new(vec![NAME.to_owned()]).context("name the certificate")?;
        params.distinguished_name.push(DnType::CommonName, NAME);
        let certificate = params.self_signed(&pair).context("sign the certificate")?;
        let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
        let both = folder.join("both.pem");
        let (cert_text, key_text) = (certificate.pem(), pair.serialize_pem());
        std::fs::write(&cert, &cert_text)?;
        std::fs::write(&key, &key_text)?;
        std::fs::write(&both, format!("{cert_text}{key_text}"))?;
        let mut roots = RootCertStore::empty();
        roots.add(certificate.der().clone()).context("trust the certificate")?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots)
            .with_no_client_auth();
        client.resumption = Resumption::disabled();
        client.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { cert, key, both, client: Arc::new(client) })
    }
}
