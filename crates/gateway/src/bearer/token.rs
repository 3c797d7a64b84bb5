//! What a token is: a signed JWT in compact form (RFC 7515 §3.1, RFC 7519 §7.2), after RFC 8725. Pure.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use kit::clock::Timestamp;
use manifest::spec::Jwt;

use super::base64url;
use super::claims::{self, Claims, Header};
use super::refusal::Refusal;
use crate::keys::{Key, Keys, NoKey};

/// Bytes of a token at most.
pub(crate) const MAX_TOKEN: usize = 8 * 1024;

/// Bytes of a subject at most; it goes along with every request and into keys of rate limits.
pub(crate) const MAX_SUBJECT: usize = 512;

/// Kinds of tokens that are signed with the same keys and are for other uses (RFC 8725 §3.11). Others than
/// these are taken: what an access token calls itself differs from issuer to issuer.
const OTHER_TYPES: [&str; 5] =
    ["dpop+jwt", "logout+jwt", "secevent+jwt", "token-introspection+jwt", "oauth-authz-req+jwt"];

/// A token whose form is right; nothing in it is true yet.
#[derive(Debug)]
pub(crate) struct Unchecked<'a> {
    header: Header,
    claims: Claims,
    /// What is signed: the first two parts as they came.
    signed: &'a [u8],
    signature: Vec<u8>,
}

/// What a token that holds has said.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Verified {
    /// Whom it speaks for.
    pub(crate) subject: Option<Arc<str>>,
    /// The same as the value of a header: what is not printable ASCII, `%`, and spaces percent-encoded.
    pub(crate) header: Option<HeaderValue>,
}

/// Takes a token apart.
pub(crate) fn parse(token: &[u8]) -> Result<Unchecked<'_>, Refusal> {
    if token.len() > MAX_TOKEN {
        return Err(Refusal::TooLong);
    }
    let mut parts = token.split(|byte| *byte == b'.');
    let (Some(header), Some(payload), Some(signature), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Refusal::Malformed);
    };
    let decoded = |part| base64url::decode(part).ok_or(Refusal::Malformed);
    let signed = &token[..header.len() + 1 + payload.len()];
    let header: Header = claims::read(&decoded(header)?).ok_or(Refusal::Malformed)?;
    let claims = claims::read(&decoded(payload)?).ok_or(Refusal::Malformed)?;
    let signature = decoded(signature)?;
    if header.crit {
        return Err(Refusal::Critical);
    }
    if header.typ.as_deref().is_some_and(is_of_another_type) {
        return Err(Refusal::Type);
    }
    Ok(Unchecked { header, claims, signed, signature })
}

/// Media types compare without case, and `application/` may be left out (RFC 7515 §4.1.9).
fn is_of_another_type(typ: &str) -> bool {
    let typ = typ.to_ascii_lowercase();
    OTHER_TYPES.contains(&typ.strip_prefix("application/").unwrap_or(&typ))
}

impl Unchecked<'_> {
    /// The keys that it may be signed with.
    pub(crate) fn candidates<'k>(&self, keys: &'k Keys) -> Result<Vec<&'k Key>, Refusal> {
        let alg = self.header.alg.as_deref().ok_or(Refusal::Malformed)?;
        keys.candidates(alg, self.header.kid.as_deref()).map_err(|none| match none {
            NoKey::Unknown => Refusal::UnknownKey,
            NoKey::Algorithm => Refusal::Algorithm,
        })
    }

    /// What costs less than a signature and is the same for whoever sends it: its times and its issuer. The
    /// moment until which it holds.
    pub(crate) fn holds_until(&self, jwt: &Jwt, now: Timestamp) -> Result<Timestamp, Refusal> {
        let exp = self.claims.exp.ok_or(Refusal::NoExpiry)?;
        let until = moment(exp) + jwt.leeway;
        if now >= until {
            return Err(Refusal::Expired);
        }
        if self.claims.nbf.is_some_and(|nbf| now + jwt.leeway < moment(nbf)) {
            return Err(Refusal::NotYet);
        }
        if jwt.issuer.is_some() && self.claims.iss != jwt.issuer {
            return Err(Refusal::Issuer);
        }
        Ok(until)
    }

    /// Whether one of these keys has signed it.
    pub(crate) fn is_signed_by(&self, keys: &[&Key]) -> bool {
        keys.iter().any(|key| key.material.verifies(self.signed, &self.signature))
    }

    /// What a genuine token must have besides to be let in here.
    pub(crate) fn admit(self, jwt: &Jwt) -> Result<Verified, Refusal> {
        let named = |audience: &String| self.claims.aud.contains(audience);
        if !jwt.audience.is_empty() && !jwt.audience.iter().any(named) {
            return Err(Refusal::Audience);
        }
        let Some(subject) = self.claims.sub.filter(|subject| !subject.is_empty()) else {
            return Ok(Verified { subject: None, header: None });
        };
        if subject.len() > MAX_SUBJECT {
            return Err(Refusal::Subject);
        }
        let header = HeaderValue::from_str(&percent_encoded(&subject)).map_err(|_| Refusal::Subject)?;
        Ok(Verified { subject: Some(subject.into()), header: Some(header) })
    }
}

/// A NumericDate (RFC 7519 §2). What lies before 1970 has passed and what lies too far ahead is far ahead.
fn moment(seconds: f64) -> Timestamp {
    Timestamp::from_micros(0) + Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX)
}

/// One way only, and back again: two subjects never look the same to a service.
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'!'..=b'~' if byte != b'%' => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}
