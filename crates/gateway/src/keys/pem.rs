//! One public key in PEM: `BEGIN PUBLIC KEY`, a SubjectPublicKeyInfo (RFC 7468 §13, RFC 5280 §4.1).

use rustls_pki_types::pem::{PemObject, SectionKind};
use x509_parser::prelude::FromDer;
use x509_parser::public_key::RSAPublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::{Key, Material};

/// RFC 8410 §3.
const ED25519: &str = "1.3.101.112";
/// RFC 5480 §2.1.1.
const EC_PUBLIC_KEY: &str = "1.2.840.10045.2.1";
/// RFC 5480 §2.1.1.1.
const P256: &str = "1.2.840.10045.3.1.7";
/// RFC 3279 §2.3.1.
const RSA: &str = "1.2.840.113549.1.1.1";

/// Reads the one key of a file. The error is a fragment that says why there is none.
pub(super) fn read(bytes: &[u8]) -> Result<Key, String> {
    let mut sections = Vec::new();
    for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(bytes) {
        sections.push(section.map_err(|error| format!("it is not PEM ({error})"))?);
    }
    let der = match sections.as_slice() {
        [(SectionKind::PublicKey, der)] => der,
        [] => return Err("it has no `BEGIN PUBLIC KEY`".to_owned()),
        [(kind, _)] => {
            let private = "PRIVATE KEY";
            return Err(match kind {
                SectionKind::PrivateKey | SectionKind::RsaPrivateKey | SectionKind::EcPrivateKey => {
                    format!("it is a {private}; take its public part with `openssl pkey -pubout`")
                }
                SectionKind::Certificate => {
                    "it is a certificate; take its key with `openssl x509 -pubkey -noout`".to_owned()
                }
                _ => "it has no `BEGIN PUBLIC KEY`".to_owned(),
            });
        }
        [..] => return Err("it holds several sections; several keys go into a JWKS".to_owned()),
    };
    Ok(Key { kid: None, material: public_key(der)? })
}

fn public_key(der: &[u8]) -> Result<Material, String> {
    let broken = || "its ASN.1 is broken".to_owned();
    let (rest, info) = SubjectPublicKeyInfo::from_der(der).map_err(|_| broken())?;
    if !rest.is_empty() || info.subject_public_key.unused_bits != 0 {
        return Err(broken());
    }
    let bits = info.subject_public_key.data.as_ref();
    match info.algorithm.algorithm.to_id_string().as_str() {
        ED25519 => Material::ed25519(bits),
        RSA => {
            let (rest, RSAPublicKey { modulus, exponent }) =
                RSAPublicKey::from_der(bits).map_err(|_| broken())?;
            if !rest.is_empty() {
                return Err(broken());
            }
            Material::rsa(modulus, exponent)
        }
        EC_PUBLIC_KEY => {
            let curve = info.algorithm.parameters.as_ref().and_then(|parameters| parameters.as_oid().ok());
            match curve.map(|curve| curve.to_id_string()) {
                Some(curve) if curve == P256 => Material::p256(bits),
                _ => Err("its curve is not P-256".to_owned()),
            }
        }
        other => Err(format!("its kind of key ({other}) is none of Ed25519, P-256, RSA")),
    }
}
