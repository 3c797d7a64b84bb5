//! AWS Signature Version 4: is a request from whom it says, and as it was sent?
//!
//! Pure: the time, the keys and the request are arguments. Read in this order: [`Verifier::verify`]; `claim`
//! (what a request says about its signature), `canonical` (what was signed), `keys` (what it was signed with),
//! `chunks` (bodies that are signed piece by piece), `error` (how a service says no).

mod canonical;
mod chunks;
mod claim;
mod error;
mod keys;
mod payload;
mod time;

use std::sync::Arc;
use std::time::Duration;

use kit::Timestamp;
use ring::{digest, hmac};

use crate::credentials::{Principal, Secret};
use crate::text::hex32;
use canonical::PathStyle;
use claim::{ALGORITHM, Claim};
use keys::{SigningKeys, TERMINATOR, signing_key};
use payload::{Rule, payload};

pub use chunks::{BadChunks, ChunkVerifier, Decoded};
pub use error::{Protocol, SignatureError};

/// How far the clock of who signs may be off.
pub const SKEW: Duration = Duration::from_secs(15 * 60);
/// How far in the future a presigned request may have been signed.
pub const PRESIGNED_SKEW: Duration = Duration::from_secs(5 * 60);
/// The longest that a presigned request may hold: a week.
pub const MOST_PRESIGNED: Duration = Duration::from_secs(7 * 24 * 3600);

/// A request as it came, not copied.
#[derive(Clone, Debug)]
pub struct View<'a, H> {
    /// `POST`.
    pub method: &'a str,
    /// The path as on the wire, still encoded. `/a/../b` is signed like `/b`: who goes by the path must read it
    /// like that, too.
    pub path: &'a str,
    /// What follows the `?` as on the wire; empty without one.
    pub query: &'a str,
    /// The headers in the order they came, repeated ones too. The `:authority` of HTTP/2 goes in as `host`.
    pub headers: H,
    /// The body.
    pub body: Body<'a>,
}

/// As much of a body as is known.
#[derive(Clone, Copy, Debug)]
pub enum Body<'a> {
    /// All of it.
    Bytes(&'a [u8]),
    /// Its SHA-256.
    Sha256([u8; 32]),
    /// Nothing yet: only a request whose headers say what stands for it can be verified, and what
    /// [`Verified::payload`] says has to be checked once it is here.
    Later,
}

/// What the signature must be for.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// The region, or `None` for any.
    pub region: Option<&'a str>,
    /// The service: `sqs`.
    pub service: &'a str,
}

/// Where the signature stood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// In the `Authorization` header.
    Header,
    /// In the query: a presigned URL.
    Query,
}

/// Who has which secret.
pub trait KeySource {
    /// The secret of an access key that came with this session token.
    ///
    /// # Errors
    /// When nobody has this key, or its time is over.
    fn find(&self, access_key: &str, token: Option<&str>, now: Timestamp) -> Result<Found, KeyError>;
}

/// An access key that is known.
#[derive(Clone, Debug)]
pub struct Found {
    /// What it signs with.
    pub secret: Secret,
    /// Whose it is.
    pub principal: Principal,
}

/// Why there is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Nobody has this access key, or the session token is missing, another's or made up.
    #[error("nobody has this access key")]
    Unknown,
    /// It was good once.
    #[error("the time of this access key is over")]
    Expired,
}

/// A request whose signature is right.
#[derive(Debug)]
pub struct Verified {
    /// Whose it is.
    pub principal: Principal,
    /// With which key it was signed.
    pub access_key: String,
    /// For which region.
    pub region: String,
    /// When it was signed.
    pub signed_at: Timestamp,
    /// Where the signature stood.
    pub form: Form,
    /// What is left to check of the body.
    pub payload: Payload,
}

/// How much of the body the signature covers.
#[derive(Debug)]
pub enum Payload {
    /// All of it, and it is right.
    Checked,
    /// All of it, which was not there: it is right if this is its SHA-256.
    Sha256([u8; 32]),
    /// None of it, as its sender says.
    Unsigned,
    /// It comes in chunks, to be taken apart (and, where they are signed, checked) by this.
    Chunked(ChunkVerifier),
}

/// Verifies signatures. Keeps the keys it has derived.
pub struct Verifier {
    keys: SigningKeys,
}

impl Default for Verifier {
    fn default() -> Self {
        Self::new()
    }
}

impl Verifier {
    /// Most derived keys that are kept.
    pub const MOST_KEYS: usize = SigningKeys::MOST;

    /// A verifier that has derived no key yet.
    pub fn new() -> Self {
        Self { keys: SigningKeys::new() }
    }

    /// Verifies the signature of a request.
    ///
    /// # Errors
    /// When it has none, or it is not right here and now.
    pub fn verify<'a, H>(
        &self,
        view: &View<'a, H>,
        source: &dyn KeySource,
        now: Timestamp,
        expected: Scope<'_>,
    ) -> Result<Verified, SignatureError>
    where
        H: Iterator<Item = (&'a str, &'a [u8])> + Clone,
    {
        let claim = claim::read(view)?;
        check_scope(&claim, expected)?;
        check_time(&claim, now)?;
        let found =
            source.find(&claim.access_key, claim.token.as_deref(), now).map_err(|error| match error {
                KeyError::Unknown => SignatureError::UnknownKey,
                KeyError::Expired => SignatureError::ExpiredToken,
            })?;
        let signature = claim.signature.ok_or(SignatureError::DoesNotMatch)?;

        let (payload, rule) = payload(view, &claim)?;
        let to_sign = string_to_sign(view, &claim, payload.as_bytes(&claim));
        let (region, service) = (&*claim.region, &*claim.service);
        let kept = self.keys.find(&claim.access_key, &found.secret, claim.day, region, service);
        let is_kept = kept.is_some();
        let key = kept.unwrap_or_else(|| Arc::new(signing_key(&found.secret, &claim.day, region, service)));
        // Compares in constant time.
        hmac::verify(&key, &to_sign, &signature).map_err(|_| SignatureError::DoesNotMatch)?;
        if !is_kept {
            let key = Arc::clone(&key);
            self.keys.keep(&claim.access_key, &found.secret, claim.day, region, service, key);
        }

        let payload = match rule {
            Rule::Plain(payload) => payload,
            Rule::Chunks { signed, trailer } => {
                let scope =
                    format!("{}/{region}/{service}/{TERMINATOR}", String::from_utf8_lossy(&claim.day));
                let key = signed.then_some(key);
                let seed = hex32(&signature);
                Payload::Chunked(ChunkVerifier::new(key, *claim.signed_at.as_bytes(), scope, seed, trailer))
            }
        };
        Ok(Verified {
            principal: found.principal,
            access_key: claim.access_key.into_owned(),
            region: claim.region.into_owned(),
            signed_at: claim.signed_at.moment,
            form: claim.form,
            payload,
        })
    }
}

/// What a request says about itself, whether it is true or not: to route it, and for logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimed {
    /// With which key it says that it is signed.
    pub access_key: String,
    /// For which region.
    pub region: String,
    /// For which service.
    pub service: String,
    /// Where its signature stands.
    pub form: Form,
}

/// Reads what a request says about itself. Proves nothing.
///
/// # Errors
/// When it does not say enough.
pub fn claimed<'a, H>(view: &View<'a, H>) -> Result<Claimed, SignatureError>
where
    H: Iterator<Item = (&'a str, &'a [u8])> + Clone,
{
    let claim = claim::read(view)?;
    Ok(Claimed {
        access_key: claim.access_key.into_owned(),
        region: claim.region.into_owned(),
        service: claim.service.into_owned(),
        form: claim.form,
    })
}

/// What was to be signed, for whoever looks for the reason of a signature that does not match. Contains the
/// request's headers, a session token among them: not for answers to others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The canonical request.
    pub canonical_request: String,
    /// What its signature is made of.
    pub string_to_sign: String,
}

/// What the signature of a request should have been made of.
///
/// # Errors
/// When the request does not say enough about its signature.
pub fn explain<'a, H>(view: &View<'a, H>) -> Result<Explanation, SignatureError>
where
    H: Iterator<Item = (&'a str, &'a [u8])> + Clone,
{
    let claim = claim::read(view)?;
    let (payload, _) = payload(view, &claim)?;
    let payload = payload.as_bytes(&claim);
    let mut request = Vec::new();
    canonical::write(&mut request, view, claim.signed_headers(), PathStyle::of(&claim.service), payload);
    let to_sign = string_to_sign(view, &claim, payload);
    Ok(Explanation {
        canonical_request: String::from_utf8_lossy(&request).into_owned(),
        string_to_sign: String::from_utf8_lossy(&to_sign).into_owned(),
    })
}

fn check_scope(claim: &Claim<'_>, expected: Scope<'_>) -> Result<(), SignatureError> {
    let mut wrong = String::new();
    if let Some(region) = expected.region
        && region != claim.region
    {
        wrong.push_str(&format!("Credential should be scoped to a valid region, not '{}'. ", claim.region));
    }
    if expected.service != claim.service {
        wrong.push_str(&format!("Credential should be scoped to correct service: '{}'. ", expected.service));
    }
    let (day, moment) = (claim.day, &claim.signed_at);
    if day != moment.day() {
        wrong.push_str(&format!(
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: \
             '{}' != '{}', from '{}'. ",
            String::from_utf8_lossy(&day),
            String::from_utf8_lossy(&moment.day()),
            String::from_utf8_lossy(moment.as_bytes()),
        ));
    }
    if wrong.is_empty() { Ok(()) } else { Err(SignatureError::WrongScope(wrong.trim_end().to_owned())) }
}

fn check_time(claim: &Claim<'_>, now: Timestamp) -> Result<(), SignatureError> {
    let signed = claim.signed_at.moment;
    let ahead = if claim.expires.is_some() { PRESIGNED_SKEW } else { SKEW };
    if signed > now + ahead {
        let limit = now + ahead;
        return Err(SignatureError::NotYetCurrent { signed, limit, now, minutes: ahead.as_secs() / 60 });
    }
    match claim.expires {
        Some(expires) if now > signed + expires => Err(SignatureError::RequestExpired),
        None if signed < now - SKEW => {
            Err(SignatureError::Expired { signed, limit: now - SKEW, now, minutes: SKEW.as_secs() / 60 })
        }
        _ => Ok(()),
    }
}

fn string_to_sign<'a, H>(view: &View<'a, H>, claim: &Claim<'_>, payload: &[u8]) -> Vec<u8>
where
    H: Iterator<Item = (&'a str, &'a [u8])> + Clone,
{
    let mut text = Vec::with_capacity(1024 + view.query.len() + view.path.len());
    canonical::write(&mut text, view, claim.signed_headers(), PathStyle::of(&claim.service), payload);
    let digest = hex32(digest::digest(&digest::SHA256, &text).as_ref());
    text.clear();
    for part in [
        ALGORITHM.as_bytes(),
        b"\n",
        claim.signed_at.as_bytes(),
        b"\n",
        &claim.day,
        b"/",
        claim.region.as_bytes(),
        b"/",
        claim.service.as_bytes(),
        b"/",
        TERMINATOR.as_bytes(),
        b"\n",
        &digest,
    ] {
        text.extend_from_slice(part);
    }
    text
}
