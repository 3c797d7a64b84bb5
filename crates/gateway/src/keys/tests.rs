//! Which key files are taken, and what is said of the others.

use std::path::PathBuf;

use manifest::spec::JwtKeys;
use serde_json::{Value, json};

use super::*;

use crate::signer::{Signer, jwks};

fn parse(kind: fn(PathBuf) -> JwtKeys, content: &str) -> Result<usize, String> {
    let keys = Keys::parse(&kind("keys".into()), content.as_bytes());
    keys.map(|keys| keys.len()).map_err(|error| error.to_string())
}

#[track_caller]
fn says(kind: fn(PathBuf) -> JwtKeys, content: &str, part: &str) {
    let error = parse(kind, content).unwrap_err();
    assert!(error.contains(part), "{error}");
}

fn changed(mut key: Value, name: &str, value: impl Into<Value>) -> Value {
    key[name] = value.into();
    key
}

#[test]
fn keys_for_other_uses_are_passed_over() {
    let key = Signer::ed25519().jwk("k");
    let others = [
        changed(key.clone(), "use", "enc"),
        changed(key.clone(), "alg", "ES256"),
        changed(key.clone(), "key_ops", json!(["encrypt"])),
        json!({"kty": "OKP", "crv": "X25519", "x": "AA"}),
        json!({"kty": "EC", "crv": "P-384", "x": "AA", "y": "AA"}),
        json!({"kty": "AKP", "alg": "ML-DSA-44", "pub": "AA"}),
        changed(Signer::rsa().jwk("r"), "alg", "PS256"),
        changed(Signer::rsa().jwk("r"), "n", "AQAB"),
    ];
    assert_eq!(parse(JwtKeys::Jwks, &jwks(&[&others[..], &[key]].concat())), Ok(1));
    says(JwtKeys::Jwks, &jwks(&others[..7]), "none of its keys is for");
    says(JwtKeys::Jwks, &jwks(&others), "key `r`: an RSA key has 2048 to 8192 bits, this one 17");
}

#[test]
fn keys_that_cannot_be_are_no_keys() {
    let (point, rsa, flat) = (Signer::p256().jwk("k"), Signer::rsa().jwk("k"), Signer::ed25519().jwk("k"));
    let zero = crate::signer::encode(&[0; 32]);
    let says = |key: Value, part: &str| says(JwtKeys::Jwks, &jwks(&[key]), part);
    says(changed(point.clone(), "x", zero.as_str()), "no uncompressed point of P-256");
    says(changed(point.clone(), "x", "AA"), "32 bytes");
    says(changed(point, "y", Value::Null), "it has no `y`");
    says(changed(flat.clone(), "x", "AA"), "32 bytes");
    says(changed(flat, "x", "AA=="), "not base64url");
    says(changed(rsa, "e", "AQ"), "impossible");
    says(json!({"kty": "oct", "k": "AAAA"}), "at least 32 bytes, this one 3");
}

#[test]
fn a_set_is_a_set_of_a_size_and_its_names_tell_keys_apart() {
    let key = Signer::ed25519().jwk("k");
    says(JwtKeys::Jwks, "", "it is no JWKS");
    says(JwtKeys::Jwks, "[]", "it is no JWKS");
    says(JwtKeys::Jwks, "{}", "it is no JWKS");
    says(JwtKeys::Jwks, &jwks(&[]), "none of its keys");
    says(JwtKeys::Jwks, &jwks(&vec![key.clone(); MAX_KEYS + 1]), "101 keys");
    says(JwtKeys::Jwks, &jwks(&[key.clone(), key.clone()]), "are called `k`");
    assert_eq!(parse(JwtKeys::Jwks, &jwks(&[key, Signer::p256().jwk("k")])), Ok(2), "RFC 7517 §4.5");
}

#[test]
fn a_pem_file_has_one_public_key() {
    let pem = Signer::rsa().pem();
    assert_eq!(parse(JwtKeys::PublicKey, &pem), Ok(1));
    assert_eq!(parse(JwtKeys::PublicKey, &format!("# ours\n{pem}")), Ok(1));
    says(JwtKeys::PublicKey, "", "no `BEGIN PUBLIC KEY`");
    says(JwtKeys::PublicKey, &format!("{pem}{pem}"), "several keys go into a JWKS");
    says(JwtKeys::PublicKey, &pem.replace("PUBLIC", "PRIVATE"), "openssl pkey -pubout");
    says(JwtKeys::PublicKey, &pem.replace("PUBLIC KEY", "CERTIFICATE"), "openssl x509");
    says(JwtKeys::PublicKey, &pem.replace("MII", "MIE"), "ASN.1");
    let end = "-----END PUBLIC KEY-----";
    says(JwtKeys::PublicKey, pem.strip_suffix(&format!("{end}\n")).unwrap(), "not PEM");
}

#[test]
fn a_secret_is_long_and_not_known_to_everybody() {
    assert_eq!(parse(JwtKeys::Secret, &"s".repeat(32)), Ok(1));
    says(JwtKeys::Secret, &format!("{}\n \n", "s".repeat(31)), "at least 32 bytes, this one 31");
    says(JwtKeys::Secret, &Signer::ed25519().pem(), "a public key goes under `key`");
}

#[test]
fn what_is_shown_of_keys_is_not_the_keys() {
    let keys = Keys::parse(&JwtKeys::Secret("keys".into()), &[b'x'; 40]).unwrap();
    assert!(!format!("{keys:?}").contains("xxx"));
}
