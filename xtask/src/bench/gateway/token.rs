//! Bearer tokens for the comparison: JWTs signed with EdDSA, and the key set that checks them.

use std::time::SystemTime;

use anyhow::Context;
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair};

/// What `iss` says.
pub(crate) const ISSUER: &str = "https://issuer.test";

/// What `aud` says.
pub(crate) const AUDIENCE: &str = "bench";

/// The name of the key.
const KEY_ID: &str = "bench-1";

/// How long a token is good, in seconds: longer than any run.
const LIFE_S: u64 = 24 * 3600;

/// Signs tokens.
pub(crate) struct Issuer {
    pair: Ed25519KeyPair,
}

impl Issuer {
    /// With a new key.
    pub(crate) fn new() -> anyhow::Result<Self> {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).ok().context("make a key")?;
        let pair = Ed25519KeyPair::from_pkcs8(document.as_ref()).ok().context("read the key just made")?;
        Ok(Self { pair })
    }

    /// The public key as a JSON Web Key Set (RFC 7517, RFC 8037).
    pub(crate) fn jwks(&self) -> String {
        let x = base64url(self.pair.public_key().as_ref());
        format!(
            r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","alg":"EdDSA","use":"sig","kid":"{KEY_ID}","x":"{x}"}}]}}"#
        )
    }

    /// A token for a subject (RFC 7519).
    pub(crate) fn token(&self, subject: &str) -> anyhow::Result<String> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
        let head = format!(r#"{{"alg":"EdDSA","typ":"JWT","kid":"{KEY_ID}"}}"#);
        let claims = format!(
            r#"{{"iss":"{ISSUER}","aud":"{AUDIENCE}","sub":"{subject}","iat":{now},"exp":{}}}"#,
            now + LIFE_S
        );
        let signed = format!("{}.{}", base64url(head.as_bytes()), base64url(claims.as_bytes()));
        let signature = self.pair.sign(signed.as_bytes());
        Ok(format!("{signed}.{}", base64url(signature.as_ref())))
    }
}

/// RFC 4648, section 5, without padding.
fn base64url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits =
            group.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for place in 0..=group.len() {
            let index = bits >> (18 - 6 * place) & 0x3f;
            text.push(char::from(ALPHABET[index as usize]));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64url_is_that_of_the_standard() {
        let texts = [&b""[..], b"f", b"fo", b"foo", b"\xfb\xff\xbf", b"hello world"].map(base64url);
        assert_eq!(texts, ["", "Zg", "Zm8", "Zm9v", "-_-_", "aGVsbG8gd29ybGQ"]);
    }

    #[test]
    fn a_token_has_three_parts_and_a_signature_of_its_key() {
        let issuer = Issuer::new().unwrap();
        let token = issuer.token("user-1").unwrap();
        assert_eq!(token.split('.').count(), 3);
        let (signed, _) = token.rsplit_once('.').unwrap();
        let key =
            ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, issuer.pair.public_key());
        key.verify(signed.as_bytes(), issuer.pair.sign(signed.as_bytes()).as_ref()).unwrap();
        assert!(serde_json::from_str::<serde_json::Value>(&issuer.jwks()).is_ok());
    }
}
